//! Seed sets: the shipped ones and the profile's, and running them.
//!
//! Sets keep their order, whatever the order in which they are named: later ones may need the rows of earlier ones.

use super::App;
use super::migrate::PATIENCE;
use super::progress::Progress;
use crate::domain::seeds::{SeedSet, distinct, embedded};
use crate::error::{Error, nearest};
use crate::store::database::{Effect, Run, Seeded, seed};
use crate::store::seed_files::read_folder;

impl App {
    /// Every seed set: the shipped ones, then the profile's, folder by folder.
    ///
    /// # Errors
    /// [`Error::Store`] for a folder that cannot be read; [`Error::Input`] for a name that stands twice.
    pub fn seed_sets(&self) -> Result<Vec<SeedSet>, Error> {
        let mut sets = embedded().map_err(|error| Error::Bug(error.to_string()))?;
        for folder in self.config().seeds.iter().flat_map(|setting| &setting.value) {
            sets.extend(read_folder(folder)?);
        }
        distinct(sets).map_err(|error| Error::Input {
            message: error.to_string(),
            hint: "see which there are: llmhub db seed --list".to_owned(),
        })
    }

    /// The sets of these names, or all.
    ///
    /// # Errors
    /// As [`App::seed_sets`]; [`Error::NotFound`] for a name that no set has.
    pub fn chosen_seed_sets(&self, names: &[String]) -> Result<Vec<SeedSet>, Error> {
        let sets = self.seed_sets()?;
        let known: Vec<String> = sets.iter().map(|set| set.name().to_owned()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            let near = nearest(unknown, &known);
            let near = near.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Error::NotFound {
                message: format!("there is no seed set `{unknown}`{near}"),
                hint: "llmhub db seed --list".to_owned(),
            });
        }
        Ok(sets.into_iter().filter(|set| names.is_empty() || names.iter().any(|name| name == set.name())).collect())
    }

    /// Run the sets in one transaction; says once whom it waits for.
    ///
    /// # Errors
    /// As [`seed`].
    pub async fn seed(&self, sets: &[SeedSet], effect: Effect) -> Result<Vec<Seeded>, Error> {
        let target = self.target().await?;
        let progress = Progress::new(&self.ui);
        let run = Run { watch: &progress, ..Run::new(self.operator(), PATIENCE) };
        Ok(seed(&target, sets, &run, effect).await?)
    }
}
