//! Playing scripts on a scratch database, as an apply would, and looking at what they made of it.
//!
//! A script's own error is an answer, with file, line and column. Nothing of a script but what it committed reaches the next
//! one. On a contained scratch database scripts run as its owner, who may do nothing elsewhere.

use std::time::Duration;

use crate::domain::migrations::{Phase, Phases, Script, Statement};
use crate::domain::schema::{Difference, Fingerprint, Level, Privilege, diff, privilege};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Pace, Session};

use super::fingerprint::read;
use super::literal::quote;
use super::scratch::Scratch;

/// How long a statement waits for a lock: nobody else works on a scratch database.
const LOCKS: Duration = Duration::from_secs(5);

/// One session on the scratch database.
pub(super) struct Stage {
    session: Session,
    /// How long one statement of a script may take.
    limit: Duration,
    /// The role that scripts run as, quoted, where it is another than ours.
    role: Option<String>,
}

/// A script that did not run to its end.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// Why, with file, line and column.
    pub(super) text: String,
    /// The server's code, where it is an error of the server.
    pub(super) sqlstate: Option<String>,
    /// What is left of it.
    pub(super) left: Left,
}

/// What came of a down that was tried and taken back.
#[derive(Clone, Debug)]
pub(super) enum Tried {
    /// It would have changed this.
    Changed(Vec<Difference>),
    /// No transaction holds it: it was not tried.
    NotInATransaction,
    /// It ended the session, which is of no use any more.
    Died(Broken),
}

/// What is left of a script that did not run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing: all of it was rolled back, or nothing was run.
    Nothing,
    /// What came before the statement that failed.
    Parts,
    /// The session is gone, and nobody knows.
    Unknown,
}

impl Broken {
    fn text(text: String) -> Self {
        Self { text, sqlstate: None, left: Left::Nothing }
    }

    /// Whether a table, column, function, type or schema is not there.
    pub(super) fn is_about_something_missing(&self) -> bool {
        matches!(self.sqlstate.as_deref(), Some("42P01" | "42703" | "42883" | "42704" | "3F000"))
    }

    /// Whether rows were in the way: an error about values or constraints.
    pub(super) fn is_about_rows(&self) -> bool {
        self.sqlstate.as_deref().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
    }
}

impl Stage {
    /// Open it; one statement of a script may take `limit`.
    pub(super) async fn open(scratch: &Scratch, limit: Duration) -> Result<Self, StoreError> {
        let mut session = Session::open(scratch.target()).await?;
        let role = scratch.role().map(quote);
        if let Some(role) = &role {
            session.act_as(role.clone());
        }
        Ok(Self { session, limit, role })
    }

    /// Leave, so that the database can be dropped.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    fn pace(&self) -> Pace {
        Pace::Work { lock: LOCKS, statement: Some(self.limit) }
    }

    /// The schema as it is committed.
    pub(super) async fn look(&mut self) -> Result<Fingerprint, StoreError> {
        self.session.begin_read(Pace::Long).await?;
        let fingerprint = read(&mut self.session).await?;
        self.session.send("ROLLBACK").await?;
        Ok(fingerprint)
    }

    /// Run a down in a transaction that is rolled back; what it would have changed. A failure is as good as no change.
    pub(super) async fn try_down(&mut self, down: &Script, base: &Fingerprint) -> Result<Tried, StoreError> {
        let Some(phases) = down.phases().ok().filter(Phases::is_transactional) else {
            return Ok(Tried::NotInATransaction);
        };
        let statements: Vec<Statement<'_>> = phases.statements().copied().collect();
        self.session.begin_write(self.pace()).await?;
        let differences = match self.statements(down, &statements).await {
            Ok(()) => {
                self.session.pin_again().await?;
                let now = read(&mut self.session).await?;
                diff(base, &now, Level::Logical).map_err(|error| StoreError::Invalid(error.to_string()))?
            }
            Err(broken) if broken.left == Left::Unknown => return Ok(Tried::Died(broken)),
            Err(_) => Vec::new(),
        };
        self.session.send("ROLLBACK").await?;
        self.session.send("DISCARD ALL").await?;
        Ok(Tried::Changed(differences))
    }

    /// Run a script as an apply would, part by part. The inner error is the script's own; the part that it happened in is then
    /// rolled back.
    pub(super) async fn play(&mut self, script: &Script) -> Result<Result<(), Broken>, StoreError> {
        let phases = match script.phases() {
            Ok(phases) => phases,
            Err(error) => return Ok(Err(Broken::text(error.to_string()))),
        };
        for (number, phase) in phases.all().iter().enumerate() {
            let done = match phase {
                Phase::Together(statements) => self.together(script, statements).await?,
                Phase::Alone(statement, _) => {
                    self.session.settle_down().await?;
                    self.session.send(&format!("SET statement_timeout = {}", self.limit.as_millis())).await?;
                    self.statements(script, std::slice::from_ref(statement)).await
                }
            };
            if let Err(mut broken) = done {
                if broken.left == Left::Nothing {
                    self.session.send("DISCARD ALL").await?;
                    // A statement outside of a transaction can fail half way.
                    if number > 0 || matches!(phase, Phase::Alone(..)) {
                        broken.left = Left::Parts;
                    }
                }
                return Ok(Err(broken));
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
    ) -> Result<Result<(), Broken>, StoreError> {
        let transaction = self.session.begin_write(self.pace()).await?;
        let mut done = self.statements(script, statements).await;
        if done.is_ok() && self.session.pin_again().await?.as_ref() != Some(&transaction) {
            let text = format!("{}: it ended the transaction it was run in", script.file());
            done = Err(Broken { left: Left::Parts, ..Broken::text(text) });
        }
        match done {
            Ok(()) => {}
            Err(broken) if broken.left == Left::Unknown => return Ok(Err(broken)),
            Err(broken) => {
                self.session.send("ROLLBACK").await?;
                return Ok(Err(broken));
            }
        }
        // Constraints that are checked late speak now.
        match self.session.foreign("COMMIT", None).await {
            Ok(()) => Ok(Ok(())),
            Err(Failure::Server { sqlstate, message, .. }) => {
                let text = format!("{}: {message} ({sqlstate}) at the COMMIT", script.file());
                Ok(Err(Broken { sqlstate: Some(sqlstate), ..Broken::text(text) }))
            }
            Err(failure) => Err(failure.into_store_error(self.session.place())),
        }
    }

    async fn statements(&mut self, script: &Script, statements: &[Statement<'_>]) -> Result<(), Broken> {
        for statement in statements {
            if let Err(failure) = self.statement(statement).await {
                return Err(self.broken(script, statement, failure));
            }
        }
        Ok(())
    }

    /// Run one, with our own rights where its owner's are too few and it stays inside of the database.
    async fn statement(&mut self, statement: &Statement<'_>) -> Result<(), Failure> {
        let (Some(role), Some(needed)) = (self.role.clone(), privilege(statement)) else {
            return self.session.foreign(statement.text(), statement.copy_data()).await;
        };
        self.session.foreign("SET ROLE NONE", None).await?;
        if let Privilege::Owner(owner) = needed {
            // What is given away is still worked on by the scripts that follow.
            self.session.foreign(&format!("GRANT {owner} TO {role}"), None).await?;
        }
        self.session.foreign(statement.text(), statement.copy_data()).await?;
        self.session.foreign(&format!("SET ROLE {role}"), None).await
    }

    fn broken(&self, script: &Script, statement: &Statement<'_>, failure: Failure) -> Broken {
        let file = script.file();
        match failure {
            Failure::Server { sqlstate, message, position, .. } => {
                let at = position.map_or_else(|| statement.position(), |character| statement.locate(character));
                let why = match sqlstate.as_str() {
                    "57014" => format!("; one statement may take {} s here", self.limit.as_secs()),
                    "42501" if self.role.is_some() => {
                        "; it ran as a role that owns the scratch database and may do nothing else".to_owned()
                    }
                    _ => String::new(),
                };
                let text = format!("{file}:{at}: {message} ({sqlstate}){why}");
                Broken { sqlstate: Some(sqlstate), ..Broken::text(text) }
            }
            Failure::Gone { reason, sqlstate } => {
                let text = format!("{file}:{}: the session ended: {reason}", statement.position());
                Broken { sqlstate, left: Left::Unknown, text }
            }
            Failure::Nonsense(what) => {
                let text = format!("{file}:{}: the server answered with {what}", statement.position());
                Broken { left: Left::Unknown, ..Broken::text(text) }
            }
        }
    }
}
