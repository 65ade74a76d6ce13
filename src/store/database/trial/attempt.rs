//! One script on the scratch database: run as an apply would, with every wait bounded, and what stopped it.
//!
//! Before a statement that skips what is there, the thing that is there is compared with what the statement spells out: another
//! table of the same name would pass in silence (migrations.md 2.8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::Row;

use crate::domain::adopt::{Kind, Made, Object, Stumble, Taken, facts, name_at};
use crate::domain::migrations::{Alone, Phase, Script, Statement};
use crate::store::StoreError;
use crate::store::database::literal::quote;
use crate::store::postgres::{Failure, Pace, Session};

use super::Traces;

/// How a script ended.
pub(super) enum Ended {
    /// It ran, and stands.
    Well,
    /// It did not.
    Badly {
        /// Why.
        stumble: Stumble,
        /// Whether a part of it stands.
        traces: Traces,
    },
}

/// What the scripts that ran have made, in their own words.
#[derive(Default)]
pub(super) struct Known {
    /// The table of each index.
    indexes: BTreeMap<String, String>,
    /// The columns that a table was created with.
    tables: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    fn learn(&mut self, made: Made) {
        let name = made.object.name;
        match (made.object.kind, made.on, made.columns) {
            (Kind::Index, Some(table), _) => drop(self.indexes.entry(name).or_insert(table)),
            (Kind::Relation, _, Some(columns)) => drop(self.tables.entry(name).or_insert(columns)),
            _ => {}
        }
    }
}

/// A script that is tried.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a mut Session,
    pub(super) script: &'a Script,
    /// The longest that one statement may take.
    pub(super) limit: Duration,
    pub(super) known: &'a mut Known,
}

impl Attempt<'_> {
    pub(super) async fn run(mut self) -> Result<Ended, StoreError> {
        let phases = match self.script.phases() {
            Ok(phases) => phases,
            Err(error) => {
                let stumble = stumble(error.at, error.what);
                return Ok(Ended::Badly { stumble, traces: Traces::None });
            }
        };
        let mut stands = Traces::None;
        for phase in phases.all() {
            let done = match phase {
                Phase::Together(statements) => self.together(statements).await?,
                Phase::Alone(statement, alone) => {
                    let done = self.alone(statement).await?;
                    // A build that was begun leaves an invalid index; one whose table is missing was not begun.
                    let begun = |stumble: &Stumble| stumble.missing.is_empty() && stumble.differs.is_none();
                    if done.as_ref().is_err_and(begun) && *alone != Alone::Repeatable {
                        stands = Traces::Some;
                    }
                    done
                }
            };
            if let Err(stumble) = done {
                self.session.send("DISCARD ALL").await?;
                return Ok(Ended::Badly { stumble, traces: stands });
            }
            stands = Traces::Some;
        }
        // Settings, roles and temporary tables of a script are not those of the next one.
        self.session.send("DISCARD ALL").await?;
        phases.statements().flat_map(|statement| facts(statement).makes).for_each(|made| self.known.learn(made));
        Ok(Ended::Well)
    }

    async fn together(&mut self, statements: &[Statement<'_>]) -> Result<Result<(), Stumble>, StoreError> {
        let pace = Pace::Work { lock: self.limit, statement: Some(self.limit) };
        let transaction = self.session.begin_write(pace).await?;
        let mut done = Ok(());
        for statement in statements {
            done = self.statement(statement).await?;
            if let Err(stumble) = &mut done {
                // The transaction is over; what is missing is asked outside of it.
                self.session.send("ROLLBACK").await?;
                self.ask_missing(statement, stumble).await?;
                return Ok(done);
            }
        }
        let last = statements.last().map_or_else(|| self.script.position(0), Statement::position);
        if self.session.pin_again().await?.as_ref() != Some(&transaction) {
            done = Err(stumble(last, "it ended the transaction it was run in"));
        }
        if done.is_err() {
            self.session.send("ROLLBACK").await?;
            return Ok(done);
        }
        // Constraints that are checked late speak now.
        match self.session.foreign("COMMIT", None).await {
            Ok(()) => Ok(Ok(())),
            Err(failure) => self.failed(failure, last).map(Err),
        }
    }

    async fn alone(&mut self, statement: &Statement<'_>) -> Result<Result<(), Stumble>, StoreError> {
        self.session.settle_down().await?;
        // Here a lock must be waited for, but not for ever.
        self.session.send(&format!("SET statement_timeout = {}", self.limit.as_millis())).await?;
        let mut done = self.statement(statement).await?;
        if let Err(stumble) = &mut done {
            self.ask_missing(statement, stumble).await?;
        }
        Ok(done)
    }

    async fn statement(&mut self, statement: &Statement<'_>) -> Result<Result<(), Stumble>, StoreError> {
        for made in facts(statement).makes.iter().filter(|made| made.taken == Taken::Skipped) {
            if let Some(message) = self.differs(made).await? {
                let differs = Some(made.object.clone());
                return Ok(Err(Stumble { differs, ..stumble(statement.position(), message) }));
            }
        }
        match self.session.foreign(statement.text(), statement.copy_data()).await {
            Ok(()) => Ok(Ok(())),
            Err(failure) => {
                let at = match &failure {
                    Failure::Server { position: Some(place), .. } => statement.locate(*place),
                    _ => statement.position(),
                };
                self.failed(failure, at).map(Err)
            }
        }
    }

    /// The script's own error; a server that went away is an error of ours.
    fn failed(&self, failure: Failure, at: crate::domain::migrations::Position) -> Result<Stumble, StoreError> {
        match failure {
            Failure::Server { sqlstate, message, .. } => {
                Ok(Stumble { sqlstate: Some(sqlstate), ..stumble(at, message) })
            }
            failure => Err(failure.into_store_error(self.session.place())),
        }
    }

    /// How what is there differs from what a statement with IF NOT EXISTS spells out.
    async fn differs(&mut self, made: &Made) -> Result<Option<String>, StoreError> {
        let name = regular(&made.object.name);
        match (made.object.kind, &made.columns, &made.on) {
            (Kind::Relation, Some(columns), _) => {
                let query = sqlx::query(
                    "SELECT attname::text FROM pg_catalog.pg_attribute \
                     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
                );
                let rows = self.session.rows(query.bind(name)).await?;
                let there: BTreeSet<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
                // What a later file has added to the table is no other definition of it.
                let first = self.known.tables.get(&made.object.name);
                if there.is_empty() || *columns == there || first == Some(columns) {
                    return Ok(None);
                }
                let lacks: Vec<&str> = columns.difference(&there).map(String::as_str).collect();
                let more: Vec<&str> = there.difference(columns).map(String::as_str).collect();
                Ok(match (lacks.is_empty(), first) {
                    (false, _) => {
                        Some(format!("{} is there already without its columns {}", made.object, lacks.join(", ")))
                    }
                    (true, Some(_)) => {
                        Some(format!("{} is there already with other columns: {}", made.object, more.join(", ")))
                    }
                    (true, None) => None,
                })
            }
            (Kind::Index, _, Some(table)) => {
                let other = self.known.indexes.get(&made.object.name).filter(|other| *other != table);
                Ok(other.map(|other| format!("{} is there already, on the table {other}", made.object)))
            }
            _ => Ok(None),
        }
    }

    /// Which of the things that a statement needs are not there, where the server says that one is missing.
    async fn ask_missing(&mut self, statement: &Statement<'_>, stumble: &mut Stumble) -> Result<(), StoreError> {
        let kind = match stumble.sqlstate.as_deref() {
            Some("42P01") => Kind::Relation,
            Some("42703") => Kind::Column,
            Some("42883") => Kind::Function,
            Some("42704") => Kind::Type,
            Some("3F000") => Kind::Schema,
            _ => return Ok(()),
        };
        let needed: Vec<Object> = facts(statement).needs.into_iter().filter(|need| need.kind == kind).collect();
        for need in needed {
            if !self.is_there(&need).await? {
                stumble.missing.push(need);
            }
        }
        if stumble.missing.is_empty() {
            // The server points at the first letter of the name, and the script counts from its own start.
            // At the very start stands a keyword: there it did not point at all, as where a role is missing.
            let offset = stumble.at.offset.checked_sub(statement.position().offset).filter(|offset| *offset > 0);
            let name = offset.and_then(|offset| name_at(statement, offset));
            stumble.missing.extend(name.map(|name| Object::new(kind, name)));
        }
        Ok(())
    }

    async fn is_there(&mut self, object: &Object) -> Result<bool, StoreError> {
        let sql = match object.kind {
            Kind::Relation | Kind::Index => "SELECT to_regclass($1) IS NOT NULL",
            Kind::Function => {
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = (parse_ident($1))[array_length(parse_ident($1), 1)])"
            }
            Kind::Type => "SELECT to_regtype($1) IS NOT NULL",
            Kind::Schema => "SELECT to_regnamespace($1) IS NOT NULL",
            Kind::Column => return Ok(true),
        };
        self.session.begin_read(Pace::Quick).await?;
        let row = self.session.row(sqlx::query(sql).bind(regular(&object.name))).await?;
        self.session.send("ROLLBACK").await?;
        Ok(row.and_then(|row| row.try_get(0).ok()).unwrap_or(false))
    }
}

/// A name as SQL would write it.
fn regular(name: &str) -> String {
    name.split('.').map(quote).collect::<Vec<_>>().join(".")
}

fn stumble(at: crate::domain::migrations::Position, message: impl Into<String>) -> Stumble {
    Stumble { sqlstate: None, message: message.into(), at, missing: Vec::new(), differs: None }
}
