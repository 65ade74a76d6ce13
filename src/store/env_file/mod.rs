//! Flags in the hub's `.env` file, which the hub reads at its next start.
//!
//! A write happens under a lock, only if the file still holds what was seen, changes only the values it must, and is read
//! back from the path before it counts. What the hub would load is computed by its own rules, its failures included.

mod lock;
mod replace;
mod variable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::lock::Lock;
use self::replace::{Original, resolve};
pub use self::variable::EnvVariable;
use super::{Depth, Edit, FlagStore, Note, Saved, Source, StoreError, Survey, Variant, pick};
use crate::domain::dotenv::{Document, Doubt};
use crate::domain::flags::env_names::{EnvMapping, ImportFails, RenderError};
use crate::domain::flags::{Flag, FlagKey, Member};

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The flags of one env file.
#[derive(Clone, Debug)]
pub struct EnvFlags {
    path: PathBuf,
    mapping: Arc<EnvMapping>,
}

/// Why it cannot be said which flag a restart would load.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The hub would not start at all.
    #[error("{path}: line {line}: {fails}")]
    ImportFails {
        /// The file.
        path: String,
        /// The line of the value that stops it.
        line: usize,
        /// The variable.
        fails: ImportFails,
    },
    /// Its readers may see another value: the answer is unknown.
    #[error("{path}: line {line}: {variable} {doubt}, so it is not known what a restart loads")]
    Unknown {
        /// The file.
        path: String,
        /// The line of the value.
        line: usize,
        /// The variable.
        variable: String,
        /// What the readers may do with it.
        doubt: Doubt,
    },
    /// The file cannot be read, or does not know the flag.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnvFlags {
    /// The flags that `mapping` names in the file at `path`, which is not touched yet.
    pub fn new(path: impl Into<PathBuf>, mapping: EnvMapping) -> Self {
        Self { path: path.into(), mapping: Arc::new(mapping) }
    }

    /// The file as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The flag that a hub would hold if it were started on this file now.
    ///
    /// # Errors
    /// [`PredictError::ImportFails`] when it would not start, whichever flag's variable is to blame;
    /// [`PredictError::Unknown`] when readers may disagree about a value of any flag.
    pub fn predict(&self, key: &FlagKey) -> Result<Flag, PredictError> {
        let original = Original::read(&self.path)?;
        let document = self.parse(&original)?;
        let path = || original.path.display().to_string();
        if let Some((line, variable, doubt)) = self.doubts(&document).into_iter().next() {
            return Err(PredictError::Unknown { path: path(), line, variable, doubt });
        }
        let flags = self.mapping.load(|name| text(&document, name)).map_err(|fails| {
            let line = document.get(&fails.variable).map_or(0, |entry| entry.line());
            PredictError::ImportFails { path: path(), line, fails }
        })?;
        Ok(pick(Source::Env, flags, key)?)
    }

    fn parse(&self, original: &Original) -> Result<Document, StoreError> {
        Document::parse(original.text.as_str())
            .map_err(|error| StoreError::Refused(format!("{}: {error}", original.path.display())))
    }

    /// The mapped variables whose value is not certain, in the order of the mapping.
    fn doubts(&self, document: &Document) -> Vec<(usize, String, Doubt)> {
        let doubt = |name: &str| {
            let entry = document.get(name)?;
            Some((entry.line(), name.to_owned(), entry.doubt()?))
        };
        self.mapping.variables().filter_map(doubt).collect()
    }

    /// What an operator must know of the file as it is.
    fn notes(&self, document: &Document) -> Vec<String> {
        let doubts = self.doubts(document);
        let mut notes: Vec<String> =
            doubts.iter().map(|(line, name, doubt)| format!("line {line}: {name} {doubt}")).collect();
        if let Err(fails) = self.mapping.load(|name| text(document, name))
            && !doubts.iter().any(|(_, name, _)| *name == fails.variable)
        {
            let line = document.get(&fails.variable).map_or(0, |entry| entry.line());
            notes.push(format!("line {line}: {fails}"));
        }
        notes
    }

    fn read(&self) -> Result<(Vec<Flag>, Vec<String>), StoreError> {
        let document = self.parse(&Original::read(&self.path)?)?;
        Ok((self.mapping.stored(|name| text(&document, name)), self.notes(&document)))
    }

    fn write(&self, edit: &Edit) -> Result<Saved, StoreError> {
        let target = resolve(&self.path)?;
        let _lock = Lock::acquire(&target, PATIENCE)?;
        let original = Original::read(&self.path)?;
        if original.path != target {
            return Err(StoreError::Conflict(format!(
                "{} was pointed at another file meanwhile; nothing was changed, run the command again",
                self.path.display()
            )));
        }
        let mut document = self.parse(&original)?;
        let current = self.flag(&document, &edit.wanted.key)?;
        if let Some(changed) = Member::DECIDING.into_iter().find(|member| !member.same(&current, &edit.seen)) {
            return Err(StoreError::Conflict(format!(
                "{} of `{}` was changed in {} since it was read; nothing was written, look at it again",
                changed.name(),
                current.key,
                self.path.display()
            )));
        }
        let members: Vec<Member> =
            edit.members.iter().copied().filter(|member| !member.same(&current, &edit.wanted)).collect();
        let mut notes = self.apply(&mut document, &edit.wanted, &members)?;
        let changed = document.as_str() != original.text;
        if changed {
            original.replace(document.as_str())?;
            if original.names() > 1 {
                notes.push(format!("{} has other hard links, which keep the old content", target.display()));
            }
            self.read_back(&mut document, &edit.wanted, &members, &mut notes)?;
        }
        notes.extend(self.notes(&document));
        let after = self.flag(&document, &edit.wanted.key)?;
        Ok(Saved { after, changed, live: None, persisted: true, notes })
    }

    fn flag(&self, document: &Document, key: &FlagKey) -> Result<Flag, StoreError> {
        pick(Source::Env, self.mapping.stored(|name| text(document, name)), key)
    }

    /// Make the document hold these members of `wanted`; the notes tell what else stands in the file.
    fn apply(&self, document: &mut Document, wanted: &Flag, members: &[Member]) -> Result<Vec<String>, StoreError> {
        let mut notes = Vec::new();
        for assignment in self.mapping.render(wanted, members).map_err(unexpressed)? {
            let name = assignment.variable;
            match assignment.value {
                None => {
                    document.unset(&name);
                }
                Some(value) => {
                    let edited = document.set(&name, &value).map_err(|error| StoreError::Refused(error.to_string()))?;
                    if let Some(line) = edited.shadowed.first() {
                        notes.push(format!(
                            "{name} is also set on line {line}; only the last one counts and was edited"
                        ));
                    }
                }
            }
        }
        Ok(notes)
    }

    /// Open the path again: `document` becomes what is there, which must hold what was wanted.
    fn read_back(
        &self,
        document: &mut Document,
        wanted: &Flag,
        members: &[Member],
        notes: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let unknown = |what: &dyn std::fmt::Display| {
            StoreError::OutcomeUnknown(format!("{} was written, but read back: {what}", self.path.display()))
        };
        let there = Original::read(&self.path).map_err(|error| unknown(&error))?;
        if there.text == document.as_str() {
            return Ok(());
        }
        *document = self.parse(&there).map_err(|error| unknown(&error))?;
        let flag = self.flag(document, &wanted.key).map_err(|error| unknown(&error))?;
        if let Some(lost) = members.iter().find(|member| !member.same(&flag, wanted)) {
            return Err(unknown(&format!("{} is not what was written; another program edits the file", lost.name())));
        }
        notes.push("another program changed other lines right after the write".to_owned());
        Ok(())
    }

    /// Run file work where it may block: a lock is waited for, and a network file system may hang.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await.map_err(|error| {
            StoreError::OutcomeUnknown(format!("the work on {} broke off: {error}", self.path.display()))
        })?
    }
}

fn text<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.get(name).and_then(|entry| entry.text())
}

fn unexpressed(error: RenderError) -> StoreError {
    match error {
        RenderError::NoVariable { .. } => StoreError::Unsupported {
            message: error.to_string(),
            hint: "set it in the running hub or in the database: --via hub, --via db".to_owned(),
        },
        RenderError::UnknownFlag(_) | RenderError::Poisoned { .. } | RenderError::Id { .. } | RenderError::Date(_) => {
            StoreError::Refused(error.to_string())
        }
    }
}

#[async_trait]
impl FlagStore for EnvFlags {
    fn source(&self) -> Source {
        Source::Env
    }

    fn scope(&self) -> Option<String> {
        None
    }

    async fn list(&self) -> Result<Vec<Flag>, StoreError> {
        self.blocking(Self::read).await.map(|(flags, _)| flags)
    }

    async fn survey(&self, _depth: Depth) -> Result<Survey, StoreError> {
        let (flags, notes) = self.blocking(Self::read).await?;
        let addresses = vec![self.path.display().to_string()];
        Ok(Survey {
            variants: vec![Variant { flags, reads: 1, addresses }],
            unreachable: Vec::new(),
            live: None,
            notes,
        })
    }

    /// The note is not kept: the file has no history.
    async fn save(&self, edit: &Edit, _note: &Note) -> Result<Saved, StoreError> {
        let edit = edit.clone();
        self.blocking(move |this| this.write(&edit)).await
    }
}
