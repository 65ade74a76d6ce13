//! Verifying: every migration is applied, undone and applied again on a scratch database, with the schema read at every stop.
//!
//! Nothing of it touches a database that anybody uses. The scripts run as a role that owns the scratch database and nothing
//! else, where the server lets us make one; a statement that would act beyond it is refused before it runs. A migration that
//! fails does not keep the others from being examined. What was not checked is said.

mod bench;
mod examine;
mod shares;
mod watched;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::domain::migrations::Migration;
use crate::domain::proof::{Proof, Verdict, prerequisites};
use crate::store::StoreError;
use crate::store::postgres::Target;

use self::bench::Bench;
use self::shares::shares;
use super::scratch::{Rights, Scratch};

/// So many migrations are worth a scratch database of their own.
const WORTH: usize = 8;

/// How to verify.
pub struct How<'a> {
    /// With whose rights the scripts run.
    pub rights: Rights,
    /// How long one statement may take.
    pub limit: Duration,
    /// How many scratch databases are worked on at once, at least 1.
    pub workers: usize,
    /// Told after each migration: its label, how many are done, how many there are.
    pub on_done: &'a (dyn Fn(&str, usize, usize) + Sync),
}

/// What was found of one migration.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// The word for it.
    pub verdict: Verdict,
    /// What is different from what it should be.
    pub differences: Vec<Deviation>,
    /// Why it failed, with file, line and column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What is no reason to refuse it, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was not checked, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
    /// Whether its up failed because something is not there.
    #[serde(skip)]
    lacks: bool,
    /// What can be kept, where it is proven.
    #[serde(skip)]
    pub proof: Option<Proof>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// When it was seen.
    pub at: Seen,
    /// What it is about: kind and full name.
    pub object: String,
    /// All of it in words.
    pub text: String,
}

/// When something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The down has run where the up was never applied.
    NeverApplied,
    /// The down has run, and the schema or the rows are not those before the up.
    AfterDown,
    /// The up has run for the second time, and made something else than the first time.
    Again,
}

/// Examine every migration, each on the schema that those before it make.
///
/// # Errors
/// Those of [`Scratch::create`], and of a server that goes away. What a migration does wrong is in its [`Examined`].
pub async fn verify(server: &Target, migrations: &[Migration], how: &How<'_>) -> Result<Vec<Examined>, StoreError> {
    let wanted = (migrations.len() / WORTH).clamp(1, how.workers.max(1));
    let mut scratches = vec![Scratch::create_for(server, how.rights).await?];
    while scratches.len() < wanted {
        // A server that has room for no more is worked on with those that are there.
        match Scratch::create_for(server, how.rights).await {
            Ok(scratch) => scratches.push(scratch),
            Err(error) => {
                tracing::debug!(%error, "no further scratch database");
                break;
            }
        }
    }
    let done = AtomicUsize::new(0);
    let tell = |label: &str| (how.on_done)(label, done.fetch_add(1, Ordering::Relaxed) + 1, migrations.len());
    let ranges = shares(migrations.len(), scratches.len());
    let workers = scratches.into_iter().zip(ranges).map(|(scratch, range)| {
        let tell = &tell;
        async move {
            let (earlier, own) = (migrations.get(..range.start), migrations.get(range.clone()));
            let mut bench = Bench::set_up(server, how, scratch, earlier.unwrap_or_default()).await?;
            let mut found = Vec::with_capacity(range.len());
            for (number, migration) in range.clone().zip(own.unwrap_or_default()) {
                let (examined, state) = match bench.examine(migration).await {
                    Ok(examined) => examined,
                    Err(error) => return Err(bench.abandon(error).await),
                };
                found.push(examined);
                tell(&format!("{}_{}", migration.version, migration.name));
                if state == bench::State::Spoilt && number + 1 < range.end {
                    bench = bench.afresh(migrations.get(..=number).unwrap_or_default()).await?;
                }
            }
            bench.close().await?;
            Ok::<_, StoreError>(found)
        }
    });
    let mut found: Vec<Examined> = try_join_all(workers).await?.into_iter().flatten().collect();
    for (number, examined) in found.iter_mut().enumerate().filter(|(_, examined)| examined.lacks) {
        examined.notes.extend(prerequisites(migrations, number));
    }
    Ok(found)
}
