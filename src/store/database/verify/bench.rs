//! A scratch database with the migrations so far on it, and what stands there.

use std::collections::BTreeSet;

use crate::domain::migrations::{Migration, Script};
use crate::domain::schema::{Fingerprint, reaches_outside};
use crate::store::StoreError;
use crate::store::database::scratch::Scratch;
use crate::store::database::sentinel::Sentinels;
use crate::store::database::stage::{Broken, Left, Stage};
use crate::store::postgres::Target;

use super::How;

/// Whether the next migration can be examined on what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Just what the ups so far make.
    Clean,
    /// Something else.
    Spoilt,
}

/// A scratch database with the migrations so far on it.
pub(super) struct Bench<'a> {
    server: &'a Target,
    how: &'a How<'a>,
    pub(super) scratch: Scratch,
    pub(super) stage: Stage,
    /// Our rows there.
    pub(super) sentinels: Sentinels,
    /// What was said of tables that take none.
    pub(super) told: BTreeSet<String>,
    /// What stands there.
    pub(super) schema: Fingerprint,
}

impl<'a> Bench<'a> {
    /// Put the ups of `earlier` on an empty scratch database, as far as they run: those that do not are examined elsewhere.
    pub(super) async fn set_up(
        server: &'a Target,
        how: &'a How<'a>,
        scratch: Scratch,
        earlier: &[Migration],
    ) -> Result<Self, StoreError> {
        match Self::play_all(how, &scratch, earlier).await {
            Ok((stage, sentinels, schema)) => {
                Ok(Self { server, how, scratch, stage, sentinels, told: BTreeSet::new(), schema })
            }
            Err(error) => Err(scratch.close_after(error).await),
        }
    }

    async fn play_all(
        how: &How<'_>,
        scratch: &Scratch,
        earlier: &[Migration],
    ) -> Result<(Stage, Sentinels, Fingerprint), StoreError> {
        let mut stage = Stage::open(scratch, how.limit).await?;
        for migration in earlier {
            if outside(&migration.up).is_some() {
                continue;
            }
            if let Err(Broken { left: Left::Unknown, .. }) = stage.play(&migration.up).await? {
                stage = Stage::open(scratch, how.limit).await?;
            }
        }
        let schema = stage.look().await?;
        Ok((stage, Sentinels::on(scratch).await?, schema))
    }

    /// Begin again on a new scratch database with the ups of `earlier`.
    pub(super) async fn afresh(self, earlier: &[Migration]) -> Result<Self, StoreError> {
        let (server, how, told) = (self.server, self.how, self.told.clone());
        self.close().await?;
        let scratch = Scratch::create_for(server, how.rights).await?;
        Ok(Self { told, ..Self::set_up(server, how, scratch, earlier).await? })
    }

    /// Leave nothing behind.
    pub(super) async fn close(self) -> Result<(), StoreError> {
        self.stage.close().await;
        self.sentinels.close().await;
        self.scratch.close().await
    }

    /// Leave nothing behind because of `error`, and say so if something stays.
    pub(super) async fn abandon(self, error: StoreError) -> StoreError {
        self.stage.close().await;
        self.sentinels.close().await;
        self.scratch.close_after(error).await
    }
}

/// Why a script may not run beside other databases, with file, line and column. What cannot be split is told when it is played.
pub(super) fn outside(script: &Script) -> Option<String> {
    script.statements().unwrap_or_default().iter().find_map(|statement| {
        let why = reaches_outside(statement)?;
        Some(format!("{}:{}: {why}, so it is not run on a scratch database", script.file(), statement.position()))
    })
}
