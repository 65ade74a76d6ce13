//! Playing scripts on a scratch database, as an apply would, and looking at what they made of it.
//!
//! A script's own error is an answer, with file, line and column; only a server that goes away is an error. Nothing of a script
//! but what it committed reaches the next one.

use sqlx::Row;

use crate::domain::migrations::{Script, Statement, Wrapping};
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

    /// Run a down in a transaction that is rolled back; what it would have changed. A failure is as good as no change.
    pub(super) async fn try_down(&mut self, down: &Script, base: &Fingerprint) -> Result<Vec<Difference>, StoreError> {
        let statements = down.statements().unwrap_or_default();
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
        Ok(differences)
    }

    /// Run a script as an apply would. The inner error is the script's own, with its place; everything of a script that runs in a
    /// transaction is then rolled back.
    pub(super) async fn play(&mut self, script: &Script) -> Result<Result<(), String>, StoreError> {
        let statements = match script.statements() {
            Ok(statements) => statements,
            Err(error) => return Ok(Err(format!("{}:{}: {error}", script.file(), error.at()))),
        };
        let done = match script.wrapping() {
            Wrapping::Transaction => self.in_transaction(script, &statements).await?,
            Wrapping::None => self.one_by_one(script, &statements).await?,
        };
        // Settings, roles and temporary tables of a script are not those of the next one.
        self.session.send("DISCARD ALL").await?;
        Ok(done)
    }

    async fn in_transaction(
        &mut self,
        script: &Script,
        statements: &[Statement<'_>],
    ) -> Result<Result<(), String>, StoreError> {
        if let Some(control) = statements.iter().find(|statement| statement.controls_transaction()) {
            let (file, at) = (script.file(), control.position());
            return Ok(Err(format!(
                "{file}:{at}: a migration runs in llmhub's transaction; take the transaction control out"
            )));
        }
        let transaction = self.session.begin_write(Pace::Long).await?;
        let mut done = self.statements(script, statements).await?;
        if done.is_ok() {
            self.session.pin_again().await?;
            let row = self.session.row(sqlx::query("SELECT pg_current_xact_id_if_assigned()::text")).await?;
            let now: Option<String> = row.and_then(|row| row.try_get(0).ok()).flatten();
            if now.as_deref() != Some(transaction.as_str()) {
                done = Err(format!("{}: it ended the transaction it was run in", script.file()));
            }
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

    async fn one_by_one(
        &mut self,
        script: &Script,
        statements: &[Statement<'_>],
    ) -> Result<Result<(), String>, StoreError> {
        self.session.settle_down().await?;
        let done = self.statements(script, statements).await?;
        // It may have left a transaction open; where none is, this is only a warning.
        self.session.send("ROLLBACK").await?;
        Ok(done)
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
