//! Adopting a folder of legacy scripts: read, ordered, tried on a scratch database, and its manifest written.
//!
//! Nothing is applied and no file is moved. The manifest stays only if llmhub reads it back as it was proposed.

use std::path::Path;
use std::time::Duration;

use super::App;
use crate::domain::adopt::{Legacy, Proposal, order, propose};
use crate::domain::migrations::{Layout, Set};
use crate::error::Error;
use crate::store::database;
use crate::store::migrations_folder::{self, Everything, TakenBack};

/// How long to wait for somebody else who works in the folder.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the scripts are run on a scratch database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// They are; one statement may take this long.
    Within(Duration),
    /// They are not: the order is a guess.
    Skipped,
}

/// A folder as it was found.
#[derive(Debug)]
pub struct Found {
    everything: Everything,
    /// The layout that the folder has of its own, if every script in it is part of a migration already.
    pub layout: Option<Layout>,
}

impl Found {
    /// The text of its manifest, if it has one.
    pub fn manifest(&self) -> Option<&str> {
        self.everything.manifest.as_deref()
    }
}

impl App {
    /// Read a folder that may be adopted.
    ///
    /// # Errors
    /// [`Error::Store`] for what cannot be read.
    pub fn found(&self, folder: &Path) -> Result<Found, Error> {
        let everything = migrations_folder::everything(folder)?;
        // A folder that cannot be read as it is has no layout of its own: that is what an adoption is for.
        let set = if everything.manifest.is_none() { Set::read(everything.files.clone()).ok() } else { None };
        let layout = set.filter(|set| is_whole(set, &everything)).map(|set| set.layout());
        Ok(Found { everything, layout })
    }

    /// What to write into the manifest of the folder.
    ///
    /// # Errors
    /// [`Error::Refused`] for a folder without a script that could be a migration; as [`database::try_out`].
    pub async fn proposal(&self, folder: &Path, found: &Found, trial: Trial) -> Result<Proposal, Error> {
        let legacy = Legacy::read(found.everything.files.clone());
        if legacy.candidates.is_empty() {
            let first = legacy.problems.first().map(|problem| (problem.place(), problem.message.clone()));
            let first = first.or_else(|| legacy.ignored.first().map(|one| (one.file.clone(), one.reason.clone())));
            let why = first.map(|(file, why)| format!("; {file}: {why}")).unwrap_or_default();
            return Err(Error::Refused {
                message: format!("{} holds no script that could be a migration{why}", folder.display()),
                hint: "name the folder that holds the scripts, or write the first one: llmhub db new NAME".to_owned(),
            });
        }
        let order = order(&legacy.candidates);
        let verdict = match trial {
            Trial::Skipped => None,
            Trial::Within(limit) => {
                let target = self.target().await?;
                let tell = |file: &str| self.ui.progress(&format!("trying {file} on a scratch database"));
                let tried = database::try_out(&target, &legacy.candidates, &order.places, limit, &tell).await;
                self.ui.progress_end();
                Some(tried?)
            }
        };
        Ok(propose(legacy, &order, verdict))
    }

    /// Write the manifest in the place of the one that was found, and read the folder back.
    ///
    /// # Errors
    /// [`Error::Store`] for what cannot be written or was changed meanwhile; [`Error::Bug`] if llmhub does not read what it
    /// wrote, which is then taken back.
    pub fn write_manifest(&self, folder: &Path, found: &Found, proposal: &Proposal) -> Result<(), Error> {
        let written = migrations_folder::write_manifest(folder, found.manifest(), &proposal.text(), PATIENCE)?;
        let set = written.map_err(|TakenBack(why)| {
            Error::Bug(format!("the manifest that was proposed cannot be read, and was taken back: {why}"))
        })?;
        let is_same = set.migrations().len() == proposal.entries.len()
            && set.migrations().iter().zip(&proposal.entries).all(|(one, entry)| {
                let down = one.down.as_ref().map(|down| down.file());
                one.version.as_str() == entry.version && one.up.file() == entry.up && down == entry.down.as_deref()
            });
        if is_same {
            return Ok(());
        }
        Err(Error::Bug("the manifest reads as another order than the one that was proposed".to_owned()))
    }
}

/// Whether every `.sql` file of the folder is part of a migration.
fn is_whole(set: &Set, everything: &Everything) -> bool {
    let parts = |file: &str| {
        set.migrations().iter().any(|one| {
            let downs = one.down.as_ref().map(|down| down.file());
            [Some(one.up.file()), downs].into_iter().flatten().any(|part| part == file || file.starts_with(part))
        })
    };
    everything.files.iter().filter(|file| file.path.ends_with(".sql")).all(|file| parts(&file.path))
}
