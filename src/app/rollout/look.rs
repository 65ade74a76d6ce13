//! The steady watch: whether the processes still hold what this run wrote, and what it means when they do not.
//!
//! A process that restarted is brought back to the rung, and the bake begins again. An edit of somebody else is a conflict:
//! nothing goes up over it, and whoever switched the feature off by hand is never overruled.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::controller::{Controller, Happening, event};
use super::snapshot::on_rung;
use super::targets::{Known, Look, differing};
use crate::domain::flags::{Flag, Percent};
use crate::domain::rollout::decide::{Agreement, ForeignEdit};
use crate::domain::rollout::narrow::{Narrowing, narrowing};
use crate::domain::rollout::state::State;
use crate::store::rollout::Commit;
use crate::store::{Source, StoreError};

/// A write of somebody else reaches one process after the other. What is still mixed after this time is no such write.
const SECOND_LOOK: Duration = Duration::from_secs(3);

impl Controller<'_> {
    /// Look at all sources and remember what is known of them.
    pub(super) async fn look(&mut self, rung: Percent) -> Result<(), StoreError> {
        let mut look = self.held.guard(self.targets.look()).await?;
        if self.restarted(&look, rung) {
            self.held.guard(sleep(SECOND_LOOK)).await?;
            look = self.held.guard(self.targets.look()).await?;
            if self.restarted(&look, rung) {
                self.looked = Some(Instant::now());
                return self.bring_back(rung).await;
            }
        }
        self.looked = Some(Instant::now());
        let was_foreign = self.foreign.is_some();
        self.foreign = self.stranger_of(&look, rung);
        if was_foreign && self.foreign.is_none() {
            self.progress.begin_bake_again(self.held.now());
        }
        if !look.silent.is_empty() {
            if let Some(live) = &mut self.progress.live {
                live.verdict = "partial".to_owned();
                live.agree = live.agree.min(live.of.unwrap_or(live.agree).saturating_sub(1));
                live.evidence = look.silent.join("; ");
            }
            return Ok(());
        }
        let partial = self.progress.live.as_ref().is_some_and(|live| live.agreement() == Agreement::Partial);
        if partial && self.foreign.is_none() {
            return self.prove_again(rung).await;
        }
        Ok(())
    }

    /// Whether some processes, but not all, fell back to what a restart loads.
    fn restarted(&self, look: &Look, rung: Percent) -> bool {
        let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.is_of(Source::Hub)) else { return false };
        let before = snapshot.flag(&self.identity.flag);
        let wanted = on_rung(&before, rung);
        let loads = self.restart_loads.clone().unwrap_or(before);
        let states = look.of(Source::Hub);
        let holds = |state: &Flag| differing(state, &wanted).is_empty();
        let loaded = |state: &Flag| differing(state, &loads).is_empty();
        let others = look.states.iter().filter(|state| state.source != Source::Hub);
        let kept = others.into_iter().all(|state| self.is_wanted(state.source, &state.flag, rung));
        kept && states.iter().any(holds)
            && states.iter().any(|state| !holds(state))
            && states.iter().all(|state| holds(state) || loaded(state))
    }

    fn is_wanted(&self, source: Source, flag: &Flag, rung: Percent) -> bool {
        let wanted = self.targets.wanted(&self.snapshots, source, rung);
        wanted.is_some_and(|wanted| differing(flag, &wanted).is_empty())
    }

    /// The edit of somebody else, and whether a rollback over it can only take users away.
    fn stranger_of(&self, look: &Look, rung: Percent) -> Option<ForeignEdit> {
        let mut members: Vec<String> = Vec::new();
        let mut widening: Vec<String> = Vec::new();
        for state in &look.states {
            let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.is_of(state.source)) else { continue };
            let before = snapshot.flag(&self.identity.flag);
            let differs = differing(&state.flag, &on_rung(&before, rung));
            members.extend(differs.iter().map(|member| format!("{member} ({})", state.source)));
            if !differs.is_empty()
                && let Narrowing::Widens(by) = narrowing(self.plan.rollback_to, &before, [&state.flag])
            {
                widening.extend(by);
            }
        }
        for list in [&mut members, &mut widening] {
            list.sort();
            list.dedup();
        }
        let rollback = if widening.is_empty() { Narrowing::Narrows } else { Narrowing::Widens(widening) };
        (!members.is_empty()).then_some(ForeignEdit { members, rollback })
    }

    /// Bring processes that restarted back to the rung; its bake begins again.
    async fn bring_back(&mut self, rung: Percent) -> Result<(), StoreError> {
        self.show(Some(Happening {
            kind: "process_restarted",
            text: format!("a process restarted and came back with other values: bringing it to {rung} % again"),
        }));
        self.prove_again(rung).await?;
        self.progress.begin_bake_again(self.held.now());
        if matches!(self.progress.state, State::Evaluating | State::Holding) {
            self.progress.state = State::Baking;
        }
        let events = vec![event("process_restarted", json!({"rung": rung.get(), "live": self.progress.live}))];
        self.keep(Commit { events, ..Commit::default() }).await
    }

    /// Repair on contact until all agree, or it is known that they do not.
    async fn prove_again(&mut self, rung: Percent) -> Result<(), StoreError> {
        self.held.check().await?;
        match self.held.guard(self.targets.raise_live(&self.snapshots, rung)).await? {
            Ok(saved) => {
                if let Some(live) = saved.and_then(|saved| saved.live) {
                    self.progress.live = Some(Known::of(&live));
                }
            }
            Err(error) => {
                if let Some(live) = &mut self.progress.live {
                    live.verdict = "partial".to_owned();
                    live.evidence = error.to_string();
                }
            }
        }
        Ok(())
    }
}
