//! Drift: what somebody has changed by hand, between which two runs, and what would undo it. Everything is only read.

use super::App;
use crate::domain::schema::{Difference, Incomparable, Level, Repair, Repairs, Sides, trace};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::database::{self, Moment, Recorded};

/// How the live schema differs from what our runs alone would have made.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run whose schema the live one is compared with.
    pub since: Moment,
    /// What differs; empty when nothing does.
    pub drift: Vec<Drifted>,
}

/// One object that was changed by hand.
#[derive(Clone, Debug)]
pub struct Drifted {
    /// From the recorded schema to the live one.
    pub difference: Difference,
    /// The last run before the change.
    pub after: Moment,
    /// The first run after it; `None` where it was changed after the newest run.
    pub before: Option<Moment>,
    /// What gives the live schema its recorded state back.
    pub undo: Repair,
    /// What a migration would say that makes the change official.
    pub keep: Repair,
}

impl App {
    /// Find what was changed by hand.
    ///
    /// # Errors
    /// [`Error::NotFound`] where nothing is recorded to compare with, [`Error::Refused`] after an upgrade of the server,
    /// [`Error::Store`].
    pub async fn drift(&self) -> Result<Report, Error> {
        let target = self.target().await?;
        let observed = database::observe(&target).await?;
        let states = match observed.recorded {
            Recorded::States(states) => states,
            Recorded::Nothing(why) => return Err(nothing(&target.to_string(), &why)),
        };
        let runs: Vec<Sides<'_>> =
            states.iter().map(|state| Sides { before: state.before.as_ref(), after: &state.after }).collect();
        let traced = trace(&runs, &observed.live, Level::Logical).map_err(incomparable)?;
        let (Some(traced), Some(newest)) = (traced, states.last()) else {
            return Err(nothing(&target.to_string(), "it records no run"));
        };
        let undo = Repairs::new(&observed.live, &traced.expected, &observed.database);
        let keep = Repairs::new(&traced.expected, &observed.live, &observed.database);
        let drift = traced.drift.iter().map(|(difference, run)| Drifted {
            undo: undo.of(&difference.reversed()),
            keep: keep.of(difference),
            after: states.get(*run).unwrap_or(newest).moment.clone(),
            before: states.get(run + 1).map(|state| state.moment.clone()),
            difference: difference.clone(),
        });
        Ok(Report { since: newest.moment.clone(), drift: drift.collect() })
    }
}

fn nothing(database: &str, why: &str) -> Error {
    Error::NotFound {
        message: format!("nothing is recorded to compare {database} with: {why}"),
        hint: "every run records the schema that it leaves: llmhub db apply (or llmhub db rollback) with one migration"
            .to_owned(),
    }
}

fn incomparable(error: Incomparable) -> Error {
    match error {
        Incomparable::Major(recorded, live) => Error::Refused {
            message: format!(
                "the schema was recorded on PostgreSQL {recorded} and this is PostgreSQL {live}: each prints its catalog in its own \
                 way, so nothing can be said about drift"
            ),
            hint: "the next run records it on this server: llmhub db apply".to_owned(),
        },
        Incomparable::Format(recorded, live) => Error::Store(StoreError::Conflict(format!(
            "the schema was recorded in format {recorded} and this llmhub knows {live}: use the newer llmhub"
        ))),
    }
}
