//! Rows of our own in every table of a scratch database, so that a down that harms data shows.
//!
//! They are known by their keys, in memory: nothing of ours gets into the schema. Each call is a transaction of its own, and a
//! table that takes no row is named with the reason.

mod fill;
mod insert;
mod own;
mod read;
mod shape;

use std::collections::{HashMap, HashSet};

use crate::domain::rows::{self as domain, Rows};
use crate::store::StoreError;
use crate::store::database::literal::quote;
use crate::store::database::scratch::Scratch;
use crate::store::postgres::{Pace, Session, Target};

use insert::{Outcome, Wish, block, insert, returning};
use own::{Late, Own, condition, is_there, own_row};
use shape::{Shapes, Table};

/// How often a table is tried with other values.
const TRIES: usize = 40;

/// What planting or editing did.
#[derive(Clone, Debug, Default)]
pub struct Planted {
    /// The tables that have a new or changed row of ours.
    pub tables: Vec<String>,
    /// The tables that have not, each with the reason, one sentence each.
    pub uncovered: Vec<String>,
}

/// Our rows in one scratch database.
pub struct Sentinels {
    session: Session,
    shapes: Shapes,
    own: Vec<Own>,
    number: u32,
    choices: HashMap<u32, HashMap<i16, usize>>,
    hopeless: HashMap<u32, (Table, String)>,
}

impl Sentinels {
    /// Open a session on a scratch database; never on a live one.
    ///
    /// # Errors
    /// Those of connecting.
    pub async fn open(scratch: &Target) -> Result<Self, StoreError> {
        let session = Session::open(scratch).await?;
        let (choices, hopeless) = (HashMap::new(), HashMap::new());
        Ok(Self { session, shapes: Shapes::default(), own: Vec::new(), number: 0, choices, hopeless })
    }

    /// The same with the rights of the scratch database's own role, where it has one: planting fires triggers.
    ///
    /// # Errors
    /// Those of connecting.
    pub(super) async fn on(scratch: &Scratch) -> Result<Self, StoreError> {
        let mut sentinels = Self::open(scratch.target()).await?;
        if let Some(role) = scratch.role() {
            sentinels.session.act_as(quote(role));
        }
        Ok(sentinels)
    }

    /// Leave, so that the database can be dropped.
    pub async fn close(self) {
        self.session.close().await;
    }

    /// All rows as they are committed. What follows works on the schema that was read here, and rows of ours that are gone are
    /// forgotten.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn read(&mut self) -> Result<Rows, StoreError> {
        self.session.begin_read(Pace::Long).await?;
        self.shapes = Shapes::read(&mut self.session).await?;
        let rows = read::rows(&mut self.session, &self.shapes.tables).await;
        self.session.send("ROLLBACK").await?;
        let rows = rows?;
        self.own.retain(|own| is_there(own, &rows));
        Ok(rows)
    }

    /// A row in each table that has none of ours.
    ///
    /// # Errors
    /// Those of the connection; a table that takes no row is no error.
    pub async fn plant(&mut self) -> Result<Planted, StoreError> {
        let covered: HashSet<u32> = self.own.iter().map(|own| own.table).collect();
        self.insert_where(|table| !covered.contains(&table.oid), Late::No).await
    }

    /// One more row in each table that was there `before` the up, by identity or by name, and one in each new table.
    ///
    /// # Errors
    /// As [`Self::plant`].
    pub async fn plant_more(&mut self, before: &Rows) -> Result<Planted, StoreError> {
        let covered: HashSet<u32> = self.own.iter().map(|own| own.table).collect();
        let old = |table: &Table| before.tables.iter().any(|old| old.oid == table.oid || old.name == table.name);
        self.insert_where(|table| old(table) || !covered.contains(&table.oid), Late::Yes).await
    }

    async fn insert_where(&mut self, wanted: impl Fn(&Table) -> bool, late: Late) -> Result<Planted, StoreError> {
        let shapes = std::mem::take(&mut self.shapes);
        let mut done = Planted::default();
        let mut wishes = Vec::new();
        for table in parents_first(&shapes).into_iter().filter(|table| wanted(table)) {
            let known = self.hopeless.get(&table.oid).filter(|(shape, _)| shape == table);
            let reason = table.hidden.clone().map(|why| format!("it is {why}"));
            if let Some(reason) = reason.or_else(|| known.map(|(_, reason)| reason.clone())) {
                done.uncovered.push(format!("{} has no row of ours: {reason}", table.name));
                continue;
            }
            self.number += 1;
            let choice = self.choices.get(&table.oid).cloned().unwrap_or_default();
            wishes.push(Wish { table, number: self.number, choice });
        }
        let planted = self.passes(&shapes, wishes, late, &mut done).await;
        self.shapes = shapes;
        planted.map(|()| done)
    }

    async fn passes(
        &mut self,
        shapes: &Shapes,
        mut wishes: Vec<Wish<'_>>,
        late: Late,
        done: &mut Planted,
    ) -> Result<(), StoreError> {
        if wishes.is_empty() {
            return Ok(());
        }
        self.session.begin_write(Pace::Long).await?;
        self.session.send("SET LOCAL statement_timeout = '30s'; SET LOCAL jit = off").await?;
        for pass in 1..=TRIES {
            let own = self.values(shapes, &wishes);
            let statements: Vec<String> = wishes.iter().map(|wish| insert(shapes, wish, &own)).collect();
            let outcomes = block(&mut self.session, &statements).await?;
            let mut again = Vec::new();
            for (at, mut wish) in wishes.into_iter().enumerate() {
                let Some(outcome) = outcomes.iter().find(|outcome| outcome.at == at) else { continue };
                if let Some(row) = &outcome.row {
                    self.choices.insert(wish.table.oid, wish.choice);
                    self.own.push(own_row(wish.table, row, late));
                    done.tables.push(wish.table.name.clone());
                } else if pass < TRIES && advance(shapes, &mut wish, outcome) {
                    self.number += 1;
                    wish.number = self.number;
                    again.push(wish);
                } else {
                    let reason = reason(outcome);
                    done.uncovered.push(format!("{} has no row of ours: {reason}", wish.table.name));
                    self.hopeless.insert(wish.table.oid, (wish.table.clone(), reason));
                }
            }
            wishes = again;
            if wishes.is_empty() {
                break;
            }
        }
        self.session.send("COMMIT").await
    }

    /// The values of our rows by table and column, planned ones too, for foreign keys to lean on.
    fn values(&self, shapes: &Shapes, wishes: &[Wish<'_>]) -> HashMap<(u32, String), Vec<String>> {
        let mut found: HashMap<(u32, String), Vec<String>> = HashMap::new();
        let referenced: HashSet<(u32, &str)> = wishes
            .iter()
            .flat_map(|wish| &wish.table.references)
            .flat_map(|reference| reference.keys.iter().map(|key| (reference.table, key.as_str())))
            .collect();
        for (oid, name) in referenced {
            let Some(table) = shapes.table(oid) else { continue };
            let Some(column) = table.columns.iter().find(|column| column.name == name) else { continue };
            let stored = self.own.iter().filter(|own| own.table == oid);
            let mut values: Vec<String> =
                stored.filter_map(|own| own.row.get(&column.number).cloned().flatten()).collect();
            for wish in wishes.iter().filter(|wish| wish.table.oid == oid) {
                // `literal::type`, and the text of a literal that is a key is what the server prints.
                let planned = fill::candidates(shapes, table, column, wish.number);
                let planned = planned.get(wish.choice.get(&column.number).copied().unwrap_or_default());
                let text = planned.and_then(|value| value.strip_prefix("E'")?.split_once("'::"));
                values.extend(text.map(|(text, _)| text.to_owned()));
            }
            if !values.is_empty() {
                found.insert((oid, name.to_owned()), values);
            }
        }
        found
    }

    /// Change one row of ours in each table that was there `before` the up, in a column that no rule speaks of.
    ///
    /// # Errors
    /// Those of the connection; a table that refuses is named.
    pub async fn edit(&mut self, before: &Rows) -> Result<Planted, StoreError> {
        let mut done = Planted::default();
        let mut jobs = Vec::new();
        for old in &before.tables {
            let found = self.shapes.tables.iter().find(|table| table.oid == old.oid);
            let Some(table) = found.or_else(|| self.shapes.tables.iter().find(|table| table.name == old.name)) else {
                continue;
            };
            let own = self.own.iter().position(|own| own.table == table.oid && own.late == Late::No);
            let Some((own, place)) = own.and_then(|place| Some((self.own.get(place)?, place))) else { continue };
            self.number += 1;
            match harmless(table, old, self.number) {
                Some(change) => {
                    let condition = condition(table, own);
                    let end = returning(table);
                    jobs.push((
                        table.clone(),
                        place,
                        format!("UPDATE {} t SET {change} WHERE {condition} {end}", table.name),
                    ));
                }
                None => {
                    done.uncovered.push(format!("no row of {} was changed: no column is free of rules", table.name))
                }
            }
        }
        self.session.begin_write(Pace::Long).await?;
        let statements: Vec<String> = jobs.iter().map(|(_, _, sql)| sql.clone()).collect();
        for outcome in block(&mut self.session, &statements).await? {
            let Some((table, place, _)) = jobs.get(outcome.at) else { continue };
            match &outcome.row {
                Some(row) => {
                    if let Some(own) = self.own.get_mut(*place) {
                        *own = own_row(table, row, own.late);
                    }
                    done.tables.push(table.name.clone());
                }
                None => done.uncovered.push(format!("no row of {} was changed: {}", table.name, reason(&outcome))),
            }
        }
        self.session.send("COMMIT").await?;
        Ok(done)
    }

    /// Delete what [`Self::plant_more`] has planted. Returns the tables in which rows stay, each with the reason.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn unplant(&mut self) -> Result<Vec<String>, StoreError> {
        self.delete(|own| own.late == Late::Yes).await
    }

    /// Delete every row of ours. Returns the tables in which rows stay, each with the reason.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn forget(&mut self) -> Result<Vec<String>, StoreError> {
        self.delete(|_| true).await
    }

    async fn delete(&mut self, which: impl Fn(&Own) -> bool) -> Result<Vec<String>, StoreError> {
        let (mut doomed, kept): (Vec<Own>, Vec<Own>) = std::mem::take(&mut self.own).into_iter().partition(which);
        self.own = kept;
        let mut left = Vec::new();
        self.session.begin_write(Pace::Long).await?;
        // Each pass frees the parents of what the last one has deleted.
        loop {
            let before = doomed.len();
            // Children were planted last.
            doomed.reverse();
            let known: Vec<(&Own, &Table)> =
                doomed.iter().filter_map(|own| Some((own, self.shapes.table(own.table)?))).collect();
            let delete = |(own, table): &(&Own, &Table)| {
                format!("DELETE FROM {} t WHERE {} {}", table.name, condition(table, own), returning(table))
            };
            let statements: Vec<String> = known.iter().map(delete).collect();
            let outcomes = block(&mut self.session, &statements).await?;
            left.clear();
            let mut stay = Vec::new();
            for outcome in outcomes.iter().filter(|outcome| outcome.code.is_some()) {
                if let Some((own, table)) = known.get(outcome.at) {
                    left.push(format!("a row of ours stays in {}: {}", table.name, reason(outcome)));
                    stay.push((*own).clone());
                }
            }
            stay.reverse();
            doomed = stay;
            if doomed.is_empty() || doomed.len() == before {
                break;
            }
        }
        self.own.append(&mut doomed);
        self.session.send("COMMIT").await?;
        Ok(left)
    }
}

/// The tables so that each comes after those that it refers to, as far as that goes.
fn parents_first(shapes: &Shapes) -> Vec<&Table> {
    let mut rest: Vec<&Table> = shapes.tables.iter().collect();
    let mut sorted = Vec::with_capacity(rest.len());
    let mut waiting: HashSet<u32> = rest.iter().map(|table| table.oid).collect();
    while !rest.is_empty() {
        let free =
            |table: &&Table| table.references.iter().all(|to| to.table == table.oid || !waiting.contains(&to.table));
        let (mut next, later): (Vec<&Table>, Vec<&Table>) = rest.iter().copied().partition(free);
        if next.is_empty() {
            // A circle: whoever comes first leaves its reference empty.
            next.extend(later.first());
        }
        waiting.retain(|oid| !next.iter().any(|table| table.oid == *oid));
        rest.retain(|table| waiting.contains(&table.oid));
        sorted.extend(next);
    }
    sorted
}

/// A change in a column that is in no key and no rule, and of which the up has not changed the type: a down could not read the
/// new value.
fn harmless(table: &Table, old: &domain::Table, number: u32) -> Option<String> {
    let free = |column: &&shape::Column| {
        let ruled = table
            .checks
            .iter()
            .any(|check| check.columns.as_ref().is_none_or(|columns| columns.contains(&column.number)));
        let refers = table.references.iter().any(|to| to.columns.contains(&column.number));
        let keyed = table.key.contains(&column.number) || table.indexed.contains(&column.number) || table.opaque;
        let routed = table.routed.contains(&column.name);
        let settled = old
            .columns
            .iter()
            .any(|was| (was.number == column.number || was.name == column.name) && was.data_type == column.data_type);
        settled && !(ruled || refers || keyed || routed || column.generated || column.always || column.stamp)
    };
    let mut columns = table.columns.iter().filter(free);
    columns.find_map(|column| {
        let name = quote(&column.name);
        let kind = column.data_type.split('(').next().unwrap_or_default();
        match kind {
            "text" => Some(format!("{name} = 'zqe{number}'")),
            "character varying" => {
                let limit = column.data_type.trim_end_matches(')').rsplit('(').next()?;
                Some(format!("{name} = right('zqe{number}', {})", limit.parse::<u32>().unwrap_or(32)))
            }
            "integer" | "bigint" => Some(format!("{name} = 1000 + {number}")),
            "boolean" => Some(format!("{name} = NOT coalesce({name}, false)")),
            _ => None,
        }
    })
}

/// Choose other values where the server says what is wrong; `false` when there is nothing left to try.
fn advance(shapes: &Shapes, wish: &mut Wish<'_>, outcome: &Outcome) -> bool {
    let (code, table) = (outcome.code.as_deref().unwrap_or_default(), wish.table);
    let rule = outcome.rule.as_deref().unwrap_or_default();
    let concerned: Vec<i16> = match code {
        // Another number is another value.
        "23505" | "23P01" => return true,
        "23514" if rule.is_empty() => {
            table.columns.iter().filter(|column| table.routed.contains(&column.name)).map(|c| c.number).collect()
        }
        "23514" => {
            let check = table.checks.iter().find(|check| check.name == rule);
            match check.and_then(|check| check.columns.clone()) {
                Some(columns) => columns,
                None => domains(shapes, table),
            }
        }
        _ if code.starts_with("22") => table.columns.iter().map(|column| column.number).collect(),
        _ => return false,
    };
    for number in concerned {
        let Some(column) = table.column(number) else { continue };
        let choices = fill::candidates(shapes, table, column, wish.number).len();
        let choice = wish.choice.entry(number).or_default();
        *choice += 1;
        if *choice < choices {
            return true;
        }
        *choice = 0;
    }
    false
}

fn domains(shapes: &Shapes, table: &Table) -> Vec<i16> {
    let is_domain = |oid: &u32| shapes.types.get(oid).is_some_and(|kind| kind.kind == 'd');
    let held = |column: &&shape::Column| {
        let element = shapes.types.get(&column.type_oid).map(|kind| kind.element);
        is_domain(&column.type_oid) || element.is_some_and(|oid| is_domain(&oid))
    };
    table.columns.iter().filter(held).map(|column| column.number).collect()
}

fn reason(outcome: &Outcome) -> String {
    match (&outcome.message, &outcome.code) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        _ => "a rule, a trigger or a policy swallows it".to_owned(),
    }
}
