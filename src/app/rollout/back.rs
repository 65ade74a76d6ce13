//! The way back: the whole flag as it was, in every source, verified (rollout.md 5, Rollback).
//!
//! Gates, bake, ladder and approval do not matter here. It ends proven, or it names what is not.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::controller::{Controller, Happening, event};
use super::step::digest;
use super::targets::Lowered;
use crate::domain::flags::Percent;
use crate::domain::rollout::plan::RollbackTo;
use crate::domain::rollout::state::State;
use crate::store::StoreError;
use crate::store::rollout::{Commit, Direction, StepWrite};

/// How often the way back is tried before what is missing is named.
const TRIES: u32 = 3;

/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

impl Controller<'_> {
    /// Decide to go back, and write it down.
    pub(super) async fn turn_back(&mut self, why: String) -> Result<(), StoreError> {
        self.begin_back(why.clone());
        let steps = vec![self.intent_down()];
        let events = vec![event("rolling_back", json!({"because": why}))];
        self.keep(Commit { steps, events, ..Commit::default() }).await?;
        self.show(Some(Happening { kind: "rolling_back", text: why }));
        Ok(())
    }

    /// The state of a run that goes back.
    pub(super) fn begin_back(&mut self, why: String) {
        self.progress.state = State::RollingBack;
        self.progress.going_back = Some(why);
        self.progress.next = None;
    }

    /// The step that leads back; its intent is committed before anything is written.
    pub(super) fn intent_down(&mut self) -> StepWrite {
        let wanted = self.snapshot();
        let before = digest(&self.wanted());
        self.progress.step += 1;
        let rung = wanted.percentage.effective().unwrap_or(Percent::ZERO).get();
        StepWrite::Intent {
            number: self.progress.step,
            rung,
            direction: Direction::Down,
            before,
            wanted: digest(&wanted),
        }
    }

    /// Go back, in every source, until it is proven or cannot be.
    pub(super) async fn go_back(&mut self) -> Result<(), StoreError> {
        let to = self.plan.rollback_to;
        let mut lowered = self.lower(to).await?;
        for _ in 1..TRIES {
            if lowered.is_proven() {
                break;
            }
            self.show(Some(Happening { kind: "not_proven", text: lowered.gaps().join("; ") }));
            self.held.guard(sleep(PAUSE)).await?;
            lowered = self.lower(to).await?;
        }
        if !self.late_writes.is_zero() {
            // Whoever had the lease before may have had a write on its way.
            let wait = std::mem::take(&mut self.late_writes);
            self.held.guard(sleep(wait)).await?;
            lowered = self.lower(to).await?;
        }
        self.went_back(lowered).await
    }

    async fn lower(&mut self, to: RollbackTo) -> Result<Lowered, StoreError> {
        self.held.check().await?;
        let lowered = self.held.guard(self.targets.lower(&self.snapshots, to)).await?;
        self.progress.live = lowered.live.clone();
        Ok(lowered)
    }

    async fn went_back(&mut self, lowered: Lowered) -> Result<(), StoreError> {
        let proven = lowered.is_proven();
        self.progress.state = if proven { State::RolledBack } else { State::RollbackUnverified };
        self.progress.back_status = Some(match (proven, lowered.unknown) {
            (true, _) => 8,
            (false, true) => 11,
            (false, false) => 10,
        });
        self.progress.unproven = lowered.gaps();
        self.progress.persisted = self.targets.keeps().then_some(lowered.unproven.is_empty());
        let steps = if proven { vec![StepWrite::Applied { number: self.progress.step }] } else { Vec::new() };
        let kind = if proven { "rolled_back" } else { "rollback_unverified" };
        let details = json!({"live": self.progress.live, "unproven": self.progress.unproven, "notes": lowered.notes});
        self.keep(Commit { steps, events: vec![event(kind, details)], ..Commit::default() }).await?;
        let text = if proven {
            self.progress.live.as_ref().map_or_else(|| "read back".to_owned(), super::targets::Known::words)
        } else {
            self.progress.unproven.join("; ")
        };
        self.show(Some(Happening { kind, text }));
        Ok(())
    }
}
