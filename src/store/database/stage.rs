//! Playing scripts on a scratch database, as an apply would, and looking at what they made of it.
//!
//! A script's own error is an answer, with file, line and column; only a server that goes away is an error. Nothing of a script
//! but what it committed reaches the next one.

use crate::domain::migrations::{Phase, Phases, Script, Statement};
use crate::domain::schema::{Difference, Fingerprint, Level, diff};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Pace, Session, Target};

use super::fingerprint::read;

/// One session on the scratch database.
pub(super) struct Stage {
    session: Session,
}

impl Stage {
    /// Open it.
    pub(super) async fn open(scratch: &Target) -> Result<Self, StoreError> {
        Ok(Self { session: Session::open(scratch).await? })
    }

    /// Leave, so that the database can be dropped.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    /// The schema as it is committed.
    pub(super) async fn look(&mut self) -> Result<Fingerprint, StoreError> {
        self.session.begin_read(Pace::Long).await?;
        let fingerprint = read(&mut self.session).await?;
        self.session.send("ROLLBACK").await?;
        Ok(fingerprint)
    }

    /// Run a down in a transaction that is rolled back; what it would have changed. A failure is as good as no change. `None` for
    /// a down that no transaction holds.
    pub(super) async fn try_down(
        &mut self,
        down: &Script,
        base: &Fingerprint,
    ) -> Result<Option<Vec<Difference>>, StoreError> {
        let Some(phases) = down.phases().ok().filter(Phases::is_transactional) else { return Ok(None) };
        let statements: Vec<Statement<'_>> = phases.statements().copied().collect();
        self.session.begin_write(Pace::Long).await?;
        let differences = match self.statements(down, &statements).await? {
            Ok(()) => {
                self.session.pin_again().await?;
                let now = read(&mut self.session).await?;
                diff(base, &now, Level::Logical).map_err(|error| StoreError::Invalid(error.to_string()))?
            }
            Err(_) => Vec::new(),
        };
        self.session.send("ROLLBACK").await?;
        self.session.send("DISCARD ALL").await?;
        Ok(Some(differences))
    }

    /// Run a script as an apply would, part by part. The inner error is the script's own, with its place; the part that it
    /// happened in is then rolled back.
    pub(super) async fn play(&mut self, script: &Script) -> Result<Result<(), String>, StoreError> {
        let phases = match script.phases() {
            Ok(phases) => phases,
            Err(error) => return Ok(Err(error.to_string())),
        };
        for phase in phases.all() {
            let done = match phase {
                Phase::Together(statements) => self.together(script, statements).await?,
                Phase::Alone(statement, _) => {
                    self.session.settle_down().await?;
                    self.statements(script, std::slice::from_ref(statement)).await?
                }
            };
            if done.is_err() {
                self.session.send("DISCARD ALL").await?;
                return Ok(done);
            }
        }
        // Settings, roles and temporary tables of a script are not those of the next one.
        self.session.send("DISCARD ALL").await?;
        Ok(Ok(()))
    }

    async fn together(
        &mut self,
        script: &Script,
        statements: &[Statement<'_>],
    ) -> Result<Result<(), String>, StoreError> {
        let transaction = self.session.begin_write(Pace::Long).await?;
        let mut done = self.statements(script, statements).await?;
        if done.is_ok() && self.session.pin_again().await?.as_ref() != Some(&transaction) {
            done = Err(format!("{}: it ended the transaction it was run in", script.file()));
        }
        if done.is_err() {
            self.session.send("ROLLBACK").await?;
            return Ok(done);
        }
        // Constraints that are checked late speak now.
        match self.session.foreign("COMMIT", None).await {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Server { sqlstate, message, .. }) => {
                Ok(Err(format!("{}: {message} ({sqlstate}) at the COMMIT", script.file())))
            }
            Err(failure) => Err(failure.into_store_error(self.session.place())),
        }
    }

    async fn statements(
        &mut self,
        script: &Script,
        statements: &[Statement<'_>],
    ) -> Result<Result<(), String>, StoreError> {
        for statement in statements {
            match self.session.foreign(statement.text(), statement.copy_data()).await {
                Ok(()) => {}
                Err(Failure::Server { sqlstate, message, position, .. }) => {
                    let at = position.map_or_else(|| statement.position(), |character| statement.locate(character));
                    return Ok(Err(format!("{}:{at}: {message} ({sqlstate})", script.file())));
                }
                Err(failure) => return Err(failure.into_store_error(self.session.place())),
            }
        }
        Ok(Ok(()))
    }
}
