//! Previews: counting a cohort over a file or over the users table, off the thread that listens for signals.

use std::ops::ControlFlow;
use std::path::Path;

use super::App;
use crate::domain::flags::cohort::Cohort;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::postgres::Identity;
use crate::store::users::{Spool, Tally, UserFile, gained, read_ids, tally};

/// A counted cohort.
pub struct Preview {
    /// The sizes.
    pub tally: Tally,
    /// Users of the table without an id of the kind asked for.
    pub unidentified: u64,
    /// The ids that gain the flag, if they were asked for.
    pub names: Option<Vec<String>>,
}

impl App {
    /// The ids of a list that fits on a flag; says what is odd about it.
    ///
    /// # Errors
    /// [`Error::Store`] with the line of what cannot be an id.
    pub fn user_list(&self, path: &Path) -> Result<Vec<String>, Error> {
        let list = read_ids(path)?;
        if list.duplicates > 0 {
            self.ui.note(&format!("{} lines repeat an id; each counts once", list.duplicates));
        }
        if list.padded > 0 {
            self.ui.warn(&format!("{} ids have blanks around them, which makes them other users", list.padded));
        }
        Ok(list.ids)
    }

    /// Count over a file, or stdin for `-`.
    ///
    /// # Errors
    /// [`Error::Store`] with the line of what is no id.
    pub async fn preview_file(&self, path: &Path, cohort: Cohort, names: bool) -> Result<Preview, Error> {
        let path = path.to_owned();
        self.count(cohort, names, 0, move || UserFile::open(&path)).await
    }

    /// Count over the users table.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub async fn preview_database(&self, identity: Identity, cohort: Cohort, names: bool) -> Result<Preview, Error> {
        let mut spool = Spool::new("the users table")?;
        let mut failed = None;
        let users = self.postgres().await?;
        let count = users
            .users(identity, |id| match spool.push(id) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })
            .await?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        self.count(cohort, names, count.unidentified, move || spool.finish()).await
    }

    async fn count(
        &self,
        cohort: Cohort,
        names: bool,
        unidentified: u64,
        open: impl FnOnce() -> Result<UserFile, StoreError> + Send + 'static,
    ) -> Result<Preview, Error> {
        let counted = tokio::task::spawn_blocking(move || {
            let users = open()?;
            let tally = tally(&users, &cohort)?;
            let names = if names { Some(gained(&users, &cohort)?) } else { None };
            Ok::<_, StoreError>(Preview { tally, unidentified, names })
        });
        Ok(counted.await.map_err(|_| Error::Bug("the count died".to_owned()))??)
    }
}
