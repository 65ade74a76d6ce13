//! Taking over the ledger of another tool: whose it is, which files it speaks of, whether the live schema is what they make.
//!
//! All of it is found out before anything is written, the last by replaying the files on a scratch database. The other tool's
//! table is read and left as it is.

use std::path::PathBuf;

use super::App;
use super::migrate::PATIENCE;
use crate::domain::foreign_ledger::{Claims, Obstacle, Revisions, Rows, Shape, Tool, adoption};
use crate::domain::migrations::{MANIFEST, Migration, Recorded, Script};
use crate::domain::schema::{Difference, Fingerprint, Kind, Level, diff};
use crate::error::Error;
use crate::store::database::{self, ForeignTable, Handover, Rehearsal, Run, Schema};
use crate::store::{StoreError, revision_files};

/// What shall be taken over.
#[derive(Clone, Debug)]
pub struct LedgerWish {
    /// Whose ledger; whichever is there without it.
    pub tool: Option<Tool>,
    /// `--table`: the table, with its schema or without.
    pub table: Option<String>,
    /// `--dir`.
    pub dir: Option<PathBuf>,
    /// `--revisions`: the Python files of Alembic.
    pub revisions: Option<PathBuf>,
}

/// Whether the live schema is what the files make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveSchema {
    /// It is: the hash of the schema that they made on a scratch database.
    AsReplayed(String),
    /// It is not, or nobody could find out: the reasons.
    Doubtful(Vec<String>),
    /// It was taken over before, so the question does not arise.
    TakenOver,
}

/// What would be taken over.
#[derive(Debug)]
pub struct Handed {
    /// Whose ledger it is.
    pub tool: Tool,
    /// Where it is, `schema.name`.
    pub table: String,
    /// The migrations, oldest first.
    pub migrations: Vec<Migration>,
    /// Whether the live schema is what they make.
    pub live: LiveSchema,
    /// What else was found, one sentence each.
    pub notes: Vec<String>,
    from: ForeignTable,
    rows: Rows,
}

impl App {
    /// Find out what another tool's ledger is worth. Writes nothing to the live database.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none; [`StoreError::Conflict`] where there are several, or llmhub's own ledger says
    /// something else; [`Error::Refused`] for rows that cannot be taken over, by name.
    pub async fn handed(&self, wish: &LedgerWish) -> Result<Handed, Error> {
        let target = self.target().await?;
        let (tool, from) = self.foreign_ledger(wish).await?;
        let rows = database::foreign_rows(&target, tool, &from).await?;
        let table = from.path();
        let refused = |obstacle: Obstacle| Error::Refused {
            message: format!("{tool}'s ledger {table} cannot be taken over: {obstacle}; nothing was written"),
            hint: obstacle.remedy().to_owned(),
        };
        let revisions = self.revisions(wish)?.transpose().map_err(refused)?;
        let found = rows.claims(revisions.as_ref()).map_err(refused)?;
        let set = self.migrations(wish.dir.as_deref()).map_err(|error| listed(error, tool, &found))?;
        let Claims { claims, notes } = found;
        let adoption = adoption(&claims, &set).map_err(refused)?;
        let migrations: Vec<Migration> = adoption.migrations.into_iter().cloned().collect();
        let mut handed =
            Handed { tool, table: from.path(), migrations, live: LiveSchema::TakenOver, notes, from, rows };
        let ledger = database::ledger(&target).await?;
        if handed.is_taken_over(&ledger.recorded)? {
            return Ok(handed);
        }
        self.ui.progress("replaying the files on a scratch database");
        let ups: Vec<&Script> = handed.migrations.iter().map(|migration| &migration.up).collect();
        let replayed = database::rehearse(&target, Schema::Replay(&ups), &[]).await;
        self.ui.progress_end();
        let compared = match replayed {
            Ok(replayed) => compared(&replayed, &handed.from)?,
            Err(
                error @ (StoreError::Refused(_)
                | StoreError::Denied(_)
                | StoreError::Unsupported { .. }
                | StoreError::Invalid(_)),
            ) => Compared { doubts: vec![error.to_string()], ..Compared::default() },
            Err(error) => return Err(error.into()),
        };
        handed.notes.extend(compared.notes);
        let doubts: Vec<String> = adoption.edited.into_iter().chain(compared.doubts).collect();
        handed.live =
            if doubts.is_empty() { LiveSchema::AsReplayed(compared.hash) } else { LiveSchema::Doubtful(doubts) };
        Ok(handed)
    }

    /// Put on the ledger what was found.
    ///
    /// # Errors
    /// As [`database::adopt`].
    pub async fn take_over(&self, handed: &Handed, reason: Option<&str>) -> Result<(), Error> {
        let target = self.target().await?;
        let run = Run { reason: reason.map(str::to_owned), ..Run::new(self.operator(), PATIENCE) };
        let (proven, schema, doubts) = match &handed.live {
            LiveSchema::AsReplayed(hash) => (true, Some(hash), None),
            LiveSchema::Doubtful(doubts) => (false, None, Some(doubts)),
            // It is on the ledger, so there is nothing to write.
            LiveSchema::TakenOver => return Ok(()),
        };
        let details = serde_json::json!({
            "tool": handed.tool.word(), "table": handed.table, "proven": proven, "schema": schema, "doubts": doubts,
        });
        let details = details.to_string();
        let from = Handover { tool: handed.tool, table: &handed.from, rows: &handed.rows, details: &details };
        let migrations: Vec<&Migration> = handed.migrations.iter().collect();
        Ok(database::adopt(&target, &migrations, from, &run).await?)
    }

    /// The one ledger that is meant.
    async fn foreign_ledger(&self, wish: &LedgerWish) -> Result<(Tool, ForeignTable), Error> {
        let target = self.target().await?;
        let (schema, table) = match wish.table.as_deref().map(|text| text.rsplit_once('.').ok_or(text)) {
            None => (None, None),
            Some(Ok((schema, table))) => (Some(schema), Some(table)),
            Some(Err(table)) => (None, Some(table)),
        };
        let tools = wish.tool.map_or_else(|| Tool::ALL.to_vec(), |tool| vec![tool]);
        let names = match table {
            Some(table) => vec![table],
            None => tools.iter().flat_map(|tool| tool.tables()).copied().collect(),
        };
        let tables = database::foreign_tables(&target, &names, schema).await?;
        let whose = |table: &ForeignTable| match table.shape {
            Shape::Of(tool) => format!("{} is {tool}'s", table.path()),
            Shape::Rails => format!("{} is that of Rails, whose migrations are Ruby", table.path()),
            Shape::Unknown => format!("{} has the columns of no tool that is known here", table.path()),
        };
        let meant: Vec<(Tool, &ForeignTable)> = tables
            .iter()
            .filter_map(|table| match table.shape {
                Shape::Of(tool) if tools.contains(&tool) => Some((tool, table)),
                Shape::Of(_) | Shape::Rails | Shape::Unknown => None,
            })
            .collect();
        match meant.as_slice() {
            [(tool, table)] => Ok((*tool, (*table).clone())),
            [_, _, ..] => {
                let all: Vec<String> = meant.iter().map(|(_, table)| whose(table)).collect();
                let text = format!("there are several ledgers: {}; choose with --from and --table", all.join("; "));
                Err(StoreError::Conflict(format!("{text}; nothing was written")).into())
            }
            [] if tables.is_empty() => {
                let mut names = names;
                names.dedup();
                Err(Error::NotFound {
                    message: format!("no schema of this database has a table {}", names.join(", ")),
                    hint: "--table SCHEMA.NAME, if the tool was told another name".to_owned(),
                })
            }
            [] => {
                let found: Vec<String> = tables.iter().map(whose).collect();
                Err(Error::Refused {
                    message: format!("{}; nothing was written", found.join("; ")),
                    hint: "name the tool that made it (--from), or its table (--table SCHEMA.NAME)".to_owned(),
                })
            }
        }
    }

    fn revisions(&self, wish: &LedgerWish) -> Result<Option<Result<Revisions, Obstacle>>, Error> {
        let Some(folder) = &wish.revisions else { return Ok(None) };
        let files = revision_files::read_folder(&self.environment.directory().join(folder))?;
        Ok(Some(Revisions::read(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))))
    }
}

impl Handed {
    /// Whether llmhub's own ledger begins with just these; one that says something else is a conflict.
    fn is_taken_over(&self, recorded: &[Recorded]) -> Result<bool, Error> {
        let Some(first) = recorded.first() else { return Ok(false) };
        let same = |migration: &Migration, entry: &Recorded| {
            let sum = migration.up.checksum();
            migration.version == entry.version && sum.is_ok_and(|sum| sum.as_str() == entry.up_checksum)
        };
        let pairs = self.migrations.iter().zip(recorded);
        if recorded.len() >= self.migrations.len() && pairs.clone().all(|(migration, entry)| same(migration, entry)) {
            return Ok(true);
        }
        let other = pairs.filter(|(migration, entry)| !same(migration, entry)).map(|(_, entry)| entry).next();
        let entry = other.or(recorded.last()).unwrap_or(first);
        Err(StoreError::Conflict(format!(
            "llmhub has a ledger here already, and it does not begin with what {} says: it has {}_{}; nothing was written",
            self.table, entry.version, entry.name
        ))
        .into())
    }
}

/// A folder that is no set of migrations because its tool names files in a way that is no layout here: how to list them.
fn listed(error: Error, tool: Tool, claims: &Claims) -> Error {
    let Error::Store(StoreError::Refused(message)) = error else { return error };
    let hint = match (tool, claims.manifest()) {
        (_, Some(manifest)) => {
            format!("write {MANIFEST} into the folder, and go on with the files that are not applied yet:\n{manifest}")
        }
        (Tool::Alembic, None) => {
            format!(
                "write each revision as SQL (alembic upgrade --sql FROM:TO) into a file REVISION_name.sql, and list them in {MANIFEST}"
            )
        }
        (_, None) => return Error::Store(StoreError::Refused(message)),
    };
    Error::Refused { message: format!("{message}; nothing was written"), hint }
}

/// What the comparison of a replay with the live schema says.
#[derive(Default)]
struct Compared {
    doubts: Vec<String>,
    notes: Vec<String>,
    hash: String,
}

/// The old tool ran as a role of its own, so owners and grants are left out.
fn compared(replayed: &Rehearsal, from: &ForeignTable) -> Result<Compared, StoreError> {
    let level = Level::LogicalWithoutOwners;
    let Some(built) = replayed.built.as_ref().map(Fingerprint::portable) else {
        return Ok(Compared { doubts: vec!["nothing could be replayed".to_owned()], ..Compared::default() });
    };
    let differences = diff(&built, &replayed.live.portable(), level);
    let differences = differences.map_err(|error| StoreError::Invalid(error.to_string()))?;
    let mut found = Compared { hash: built.hash(level), ..Compared::default() };
    let mut outside = Vec::new();
    for difference in differences {
        let (kind, name) = difference.object();
        match &difference {
            Difference::Removed { .. } => {
                found.doubts.push(format!("the files make the {kind} {name}, which is not there"))
            }
            // An extension is of the version that the server had when it was made.
            Difference::Changed { .. } if kind == Kind::Extension => found.notes.push(difference.to_string()),
            Difference::Changed { facts, .. } => {
                let facts: Vec<String> = facts.iter().map(ToString::to_string).collect();
                found.doubts.push(format!("the {kind} {name} is not as the files make it: {}", facts.join("; ")));
            }
            // It changes what the files make, although nothing of them is gone.
            Difference::Added { .. } if kind.is_part() => {
                found.doubts.push(format!("the {kind} {name} is there, and no file makes it"));
            }
            Difference::Added { .. } if from.owns(name) => {}
            Difference::Added { .. } => outside.push(format!("{kind} {name}")),
        }
    }
    if let Some(more) = outside.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        outside.truncate(SHOWN);
        outside.push(format!("and {more} more"));
    }
    if !outside.is_empty() {
        found.notes.push(format!("no file makes these, and they are left alone: {}", outside.join(", ")));
    }
    Ok(found)
}

/// How many objects that no file makes are named.
const SHOWN: usize = 20;
