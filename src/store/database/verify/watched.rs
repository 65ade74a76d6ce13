//! The rows of one migration's examination: planted before the up, changed after it, and looked at after the down.
//!
//! A table that takes no row is named. An error on the way is no verdict on the migration: its rows are then not watched, and
//! that is said.

use super::bench::Bench;
use super::{Deviation, Examined, Seen};
use crate::domain::proof::Verdict;
use crate::domain::rows::{Rows, examine};
use crate::store::StoreError;
use crate::store::database::sentinel::Sentinels;

/// The rows at the moments that were seen so far.
pub(super) struct Watched {
    before: Rows,
    /// Right after the up, and after others have written since.
    after_up: Option<(Rows, Rows)>,
}

impl Bench<'_> {
    /// A row in every table, before the up.
    pub(super) async fn watch(&mut self, found: &mut Examined) -> Result<Option<Watched>, StoreError> {
        let seen = async |sentinels: &mut Sentinels| {
            sentinels.read().await?;
            let planted = sentinels.plant().await?;
            Ok::<_, StoreError>((sentinels.read().await?, planted.uncovered))
        };
        match seen(&mut self.sentinels).await {
            Ok((before, uncovered)) => {
                self.say_uncovered(found, before.unchecked.iter().chain(&uncovered));
                Ok(Some(Watched { before, after_up: None }))
            }
            Err(error) => self.give_up(found, error).await,
        }
    }

    /// What others would have written by the time of the rollback: new rows, and edits of old ones.
    pub(super) async fn write_since(
        &mut self,
        watched: Option<Watched>,
        found: &mut Examined,
    ) -> Result<Option<Watched>, StoreError> {
        let Some(Watched { before, .. }) = watched else { return Ok(None) };
        let written = async |sentinels: &mut Sentinels| {
            let after_up = sentinels.read().await?;
            let uncovered = sentinels.plant_more(&before).await?.uncovered;
            // A table whose rows hold nothing that can be edited is still watched by its rows.
            sentinels.edit(&before).await?;
            let edited = sentinels.read().await?;
            Ok::<_, StoreError>((after_up, edited, uncovered))
        };
        match written(&mut self.sentinels).await {
            Ok((after_up, edited, uncovered)) => {
                self.say_uncovered(found, uncovered.iter());
                Ok(Some(Watched { before, after_up: Some((after_up, edited)) }))
            }
            Err(error) => self.give_up(found, error).await,
        }
    }

    /// Take back the new rows, which the down cannot bear.
    pub(super) async fn unwrite(
        &mut self,
        watched: Option<Watched>,
        found: &mut Examined,
    ) -> Result<Option<Watched>, StoreError> {
        let Some(Watched { before, after_up: Some((after_up, _)) }) = watched else { return Ok(None) };
        let taken = async |sentinels: &mut Sentinels| {
            sentinels.unplant().await?;
            sentinels.read().await
        };
        match taken(&mut self.sentinels).await {
            Ok(edited) => Ok(Some(Watched { before, after_up: Some((after_up, edited)) })),
            Err(error) => self.give_up(found, error).await,
        }
    }

    /// What the down did to rows.
    pub(super) async fn judge_rows(
        &mut self,
        watched: Option<Watched>,
        found: &mut Examined,
    ) -> Result<(), StoreError> {
        let Some(Watched { before, after_up: Some((after_up, edited)) }) = watched else { return Ok(()) };
        let seen = async |sentinels: &mut Sentinels| {
            let after_down = sentinels.read().await?;
            sentinels.unplant().await?;
            Ok::<_, StoreError>(after_down)
        };
        let after_down = match seen(&mut self.sentinels).await {
            Ok(after_down) => after_down,
            Err(error) => return self.give_up(found, error).await.map(drop),
        };
        for finding in examine(&before, &after_up, &edited, &after_down) {
            let text = finding.to_string();
            if finding.is_harm() {
                found.verdict.worsen(Verdict::DataLoss);
                let object = format!("rows {}", finding.about().table);
                found.differences.push(Deviation { at: Seen::AfterDown, object, text });
            } else {
                found.notes.push(text);
            }
        }
        Ok(())
    }

    /// Empty the tables of our rows: a script does not run on tables that hold any.
    pub(super) async fn forget_rows(&mut self) -> Result<(), StoreError> {
        let forgotten = async |sentinels: &mut Sentinels| {
            sentinels.read().await?;
            sentinels.forget().await
        };
        if forgotten(&mut self.sentinels).await.is_err() {
            // Rows that nobody knows any more are in nobody's way but their table's.
            self.sentinels = Sentinels::on(&self.scratch).await?;
        }
        Ok(())
    }

    async fn give_up(&mut self, found: &mut Examined, error: StoreError) -> Result<Option<Watched>, StoreError> {
        found.unchecked.push(format!("what becomes of rows was not watched: {error}"));
        self.sentinels = Sentinels::on(&self.scratch).await?;
        Ok(None)
    }

    /// Each table once, not with every migration after it.
    fn say_uncovered<'l>(&mut self, found: &mut Examined, lines: impl Iterator<Item = &'l String>) {
        for line in lines {
            if self.told.insert(line.clone()) {
                found.unchecked.push(line.clone());
            }
        }
    }
}
