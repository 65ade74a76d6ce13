//! Properties that ALTER, COMMENT or GRANT change in place, without touching data.

use super::lists::{foreign, parts, storage};
use super::names::{literal, quoted, split};
use super::{Fact, Kind, Object, Repairs, Script, Steps};

impl Repairs<'_> {
    /// Turn `now` into `goal` in these properties.
    pub(super) fn alter(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Steps {
        let mut script = Script::default();
        // The owner first: it takes the grants along.
        let owner = facts.iter().filter(|fact| fact.what == "owner");
        let others = facts.iter().filter(|fact| !matches!(fact.what.as_str(), "owner" | "grants"));
        for fact in owner.chain(others) {
            script.append(self.alter_one(now, goal, fact)?);
        }
        if facts.iter().any(|fact| fact.what == "grants") {
            let sql = match goal.kind {
                Kind::DefaultPrivileges => {
                    vec![self.default_privileges(now.acl.as_deref(), goal.acl.as_deref(), &goal.name)?]
                }
                _ => self.grants(Some(now), goal)?,
            };
            sql.into_iter().for_each(|sql| script.push(sql));
        }
        Ok(script)
    }

    fn alter_one(&self, now: &Object, goal: &Object, fact: &Fact) -> Steps {
        let (name, value) = (&goal.name, fact.both());
        let called = || self.called(goal);
        Ok(match (goal.kind, fact.what.as_str()) {
            (_, "comment") => {
                let comment = value.1.map_or_else(|| "NULL".to_owned(), literal);
                Script::of(format!("COMMENT ON {} IS {comment}", called()?))
            }
            (_, "owner") => match value.1 {
                Some(owner) => Script::of(format!("ALTER {} OWNER TO {}", called()?, quoted(owner))),
                None => return Err("its owner is not recorded".to_owned()),
            },
            (Kind::Column, what) => return self.alter_column(now, goal, what, value),
            (Kind::Table | Kind::ForeignTable | Kind::View | Kind::MaterializedView, what) => {
                return self.alter_relation(goal, what, value);
            }
            (Kind::Index, what) => return self.alter_index(goal, what, value),
            (Kind::Constraint, "triggers") => return self.constraint_triggers(goal, value.1),
            (Kind::Trigger | Kind::Rule, "enabled") => {
                let of = goal.of.as_deref().unwrap_or_default();
                let noun = if goal.kind == Kind::Rule { "RULE" } else { "TRIGGER" };
                Script::of(format!("ALTER TABLE {of} {} {noun} {name}", enable(value.1)))
            }
            (Kind::EventTrigger, "enabled") => Script::of(format!("ALTER EVENT TRIGGER {name} {}", enable(value.1))),
            (Kind::Sequence, "belongs to") => {
                Script::of(format!("ALTER SEQUENCE {name} OWNED BY {}", value.1.unwrap_or("NONE")))
            }
            (Kind::Sequence, "persistence") => {
                let word = if value.1.is_some() { "UNLOGGED" } else { "LOGGED" };
                Script::of(format!("ALTER SEQUENCE {name} SET {word}"))
            }
            (Kind::Sequence, _) => Script::of(format!("ALTER SEQUENCE {name} {}", sequence_parameters(goal))),
            (Kind::Domain, "default") => match value.1 {
                Some(default) => Script::of(format!("ALTER DOMAIN {name} SET DEFAULT {default}")),
                None => Script::of(format!("ALTER DOMAIN {name} DROP DEFAULT")),
            },
            (Kind::Domain, "not null") => match value.1 {
                Some(_) => {
                    Script::of(format!("ALTER DOMAIN {name} SET NOT NULL")).but("it fails while a value is null")
                }
                None => Script::of(format!("ALTER DOMAIN {name} DROP NOT NULL")),
            },
            (Kind::Enum, "labels") => return labels(name, value),
            (Kind::Type, "attributes") => return attributes(name, value),
            (Kind::Type, "attribute comments") => return attribute_comments(name, value),
            (Kind::Setting, "value") => Script::of(self.setting(goal, value.1)?),
            (Kind::Statistics, "target") => {
                Script::of(format!("ALTER STATISTICS {name} SET STATISTICS {}", value.1.unwrap_or("-1")))
            }
            (Kind::Server | Kind::ForeignDataWrapper, "options") => {
                Script::of(foreign(&format!("ALTER {}", called()?), value.0, value.1)?)
            }
            (Kind::Server, "version") if value.1.is_some() => {
                Script::of(format!("ALTER SERVER {name} VERSION {}", literal(value.1.unwrap_or_default())))
            }
            (Kind::Extension, "schema") => {
                Script::of(format!("ALTER EXTENSION {name} SET SCHEMA {}", quoted(value.1.unwrap_or_default())))
            }
            (Kind::Extension, "version") => {
                return Err(format!(
                    "whether there is a way between the two versions only the extension knows: ALTER EXTENSION {name} UPDATE TO {}",
                    literal(value.1.unwrap_or_default())
                ));
            }
            (Kind::Database, "connection limit") => {
                Script::of(format!("ALTER {} CONNECTION LIMIT {}", called()?, value.1.unwrap_or("-1")))
            }
            (Kind::Database, "template") => {
                Script::of(format!("ALTER {} IS_TEMPLATE {}", called()?, value.1.is_some()))
            }
            (Kind::Publication, "publishes" | "via root") => {
                let publishes = goal.fact("publishes").unwrap_or_default();
                let root = goal.fact("via root").is_some();
                Script::of(format!(
                    "ALTER PUBLICATION {name} SET (publish = {}, publish_via_partition_root = {root})",
                    literal(publishes)
                ))
            }
            (Kind::Publication, "tables" | "schemas") => self.published(now, goal)?,
            (Kind::Subscription, "enabled") => {
                let word = if value.1.is_some() { "DISABLE" } else { "ENABLE" };
                Script::of(format!("ALTER SUBSCRIPTION {name} {word}"))
            }
            (Kind::SecurityLabel, _) => return Err("a label is given by its provider: SECURITY LABEL".to_owned()),
            (kind, what) => return Err(format!("the {what} of a {kind} is not changed by one simple statement")),
        })
    }

    fn alter_relation(&self, goal: &Object, what: &str, (now, value): (Option<&str>, Option<&str>)) -> Steps {
        let (name, alter) = (&goal.name, format!("ALTER {}", self.called(goal)?));
        Ok(match what {
            "options" | "toast options" => {
                let prefix = if what == "options" { "" } else { "toast." };
                Script { sql: storage(&alter, prefix, now, value)?, caveats: Vec::new() }
            }
            "persistence" => {
                let word = if value.is_some() { "UNLOGGED" } else { "LOGGED" };
                Script::of(format!("{alter} SET {word}")).but("it rewrites the table")
            }
            "row security" => {
                let (on, force) = match value {
                    Some("enabled and forced") => ("ENABLE", "FORCE"),
                    Some("enabled") => ("ENABLE", "NO FORCE"),
                    Some("forced") => ("DISABLE", "FORCE"),
                    _ => ("DISABLE", "NO FORCE"),
                };
                Script::of(format!("{alter} {on} ROW LEVEL SECURITY, {force} ROW LEVEL SECURITY"))
            }
            "replica identity" => match self.identity_index(name) {
                _ if value.is_none() => Script::of(format!("{alter} REPLICA IDENTITY DEFAULT")),
                _ if value == Some("full") => Script::of(format!("{alter} REPLICA IDENTITY FULL")),
                _ if value == Some("nothing") => Script::of(format!("{alter} REPLICA IDENTITY NOTHING")),
                Some(index) => Script::of(format!("{alter} REPLICA IDENTITY USING INDEX {index}")),
                None => return Err("the index of its replica identity is not recorded".to_owned()),
            },
            "tablespace" => {
                let space = value.map_or_else(|| "pg_default".to_owned(), quoted);
                Script::of(format!("{alter} SET TABLESPACE {space}")).but("it rewrites the table")
            }
            "access method" if self.major >= 15 && goal.fact("partitioned by").is_none() => {
                let method = value.map_or_else(|| "heap".to_owned(), quoted);
                Script::of(format!("{alter} SET ACCESS METHOD {method}")).but("it rewrites the table")
            }
            "partition of" | "partition bound" => match (goal.fact("partition of"), now) {
                (Some(_), Some(_)) => return Err("detach it, and attach it again with its old bound".to_owned()),
                (Some(parent), None) => {
                    let bound = goal.fact("partition bound").unwrap_or("DEFAULT");
                    Script::of(format!("ALTER TABLE {parent} ATTACH PARTITION {name} {bound}"))
                        .but("it fails while a row does not fit")
                }
                (None, _) => match self.now.get(&(goal.kind, name.clone())).and_then(|now| now.fact("partition of")) {
                    Some(parent) => Script::of(format!("ALTER TABLE {parent} DETACH PARTITION {name}")),
                    None => return Err("its parent is not known".to_owned()),
                },
            },
            "inherits" => {
                let (now, value) = (parts(now.unwrap_or_default()), parts(value.unwrap_or_default()));
                let mut script = Script::default();
                let gone = now.iter().filter(|parent| !value.contains(parent));
                gone.for_each(|parent| script.push(format!("{alter} NO INHERIT {parent}")));
                let come = value.iter().filter(|parent| !now.contains(parent));
                come.for_each(|parent| script.push(format!("{alter} INHERIT {parent}")));
                script
            }
            "detached" if now.is_some() => match goal.fact("partition of") {
                Some(_) => {
                    return Err(
                        "a detachment that was begun can only be finished: DETACH PARTITION … FINALIZE".to_owned()
                    );
                }
                None => return Err("it goes with its detachment".to_owned()),
            },
            "populated" if value.is_none() => Script::of(format!("REFRESH MATERIALIZED VIEW {name}")),
            "populated" => Script::of(format!("REFRESH MATERIALIZED VIEW {name} WITH NO DATA")),
            "server options" => Script::of(foreign(&alter, now, value)?),
            _ => return Err(format!("the {what} of a {} is not changed by one simple statement", goal.kind)),
        })
    }

    /// The bare name of the index that identifies the rows of a table.
    fn identity_index(&self, table: &str) -> Option<String> {
        let indexes = self.goal.values().filter(|one| one.kind == Kind::Index && one.of.as_deref() == Some(table));
        let mut chosen = indexes.filter(|index| index.fact("replica identity").is_some());
        chosen.next().map(|index| split(&index.name).1.to_owned())
    }

    fn alter_index(&self, goal: &Object, what: &str, (_, value): (Option<&str>, Option<&str>)) -> Steps {
        let (name, of) = (&goal.name, goal.of.as_deref().unwrap_or_default());
        let table = self.goal.get(&(Kind::Table, of.to_owned()));
        Ok(match what {
            "valid" | "ready" if value.is_none() => {
                Script::of(format!("REINDEX INDEX {name}")).but("it blocks writes while it runs; CONCURRENTLY does not")
            }
            "clustered on" if value.is_some() => Script::of(format!("ALTER TABLE {of} CLUSTER ON {}", split(name).1)),
            // Another index may be meant to have it, which then says so itself.
            "clustered on" => Script::of(format!("ALTER TABLE {of} SET WITHOUT CLUSTER")),
            "replica identity" => {
                let identity = table.and_then(|table| table.fact("replica identity"));
                return match table {
                    Some(table) => self.alter_relation(table, "replica identity", (None, identity)),
                    None => Err("its table is not recorded".to_owned()),
                };
            }
            "tablespace" => {
                let space = value.map_or_else(|| "pg_default".to_owned(), quoted);
                Script::of(format!("ALTER INDEX {name} SET TABLESPACE {space}"))
            }
            "partition of" if value.is_some() => {
                Script::of(format!("ALTER INDEX {} ATTACH PARTITION {name}", value.unwrap_or_default()))
            }
            "partition of" => return Err("it belongs to the index of its parent as long as the table does".to_owned()),
            "statistics targets" => {
                let now = self.now.get(&(Kind::Index, name.clone())).and_then(|now| now.fact(what));
                let (now, value) = (parts(now.unwrap_or_default()), parts(value.unwrap_or_default()));
                let mut script = Script::default();
                for target in now.iter().filter(|target| !value.contains(target)) {
                    let column = target.split('=').next().unwrap_or_default();
                    script.push(format!("ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS -1"));
                }
                for (column, target) in
                    value.iter().filter(|one| !now.contains(one)).filter_map(|one| one.split_once('='))
                {
                    script.push(format!("ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS {target}"));
                }
                script
            }
            _ => return Err(format!("the {what} of an index is not changed by one simple statement")),
        })
    }

    /// The internal triggers of a foreign key have no names to rely on: all are enabled, and those that were off go off again.
    fn constraint_triggers(&self, goal: &Object, value: Option<&str>) -> Steps {
        if value.is_some() {
            return Err("the triggers of a foreign key are disabled with all others of the table: DISABLE TRIGGER ALL"
                .to_owned());
        }
        let of = goal.of.as_deref().unwrap_or_default();
        let definition = goal.fact("definition").unwrap_or_default();
        let other = definition.split_once("REFERENCES ").map(|(_, rest)| rest);
        let other = other.and_then(|rest| parts_before_columns(rest));
        let mut script = Script::default();
        for table in [Some(of), other].into_iter().flatten() {
            script.push(format!("ALTER TABLE {table} ENABLE TRIGGER ALL"));
            let triggers =
                self.goal.values().filter(|one| one.kind == Kind::Trigger && one.of.as_deref() == Some(table));
            for trigger in triggers {
                if let Some(state) = trigger.fact("enabled") {
                    script.push(format!("ALTER TABLE {table} {} TRIGGER {}", enable(Some(state)), trigger.name));
                }
            }
        }
        Ok(script)
    }

    fn published(&self, now: &Object, goal: &Object) -> Steps {
        let list = |object: &Object| {
            let tables = parts(object.fact("tables").unwrap_or_default());
            let mut all: Vec<String> = tables.iter().map(|table| format!("TABLE {table}")).collect();
            let schemas = parts(object.fact("schemas").unwrap_or_default());
            all.extend(schemas.iter().map(|schema| format!("TABLES IN SCHEMA {schema}")));
            all
        };
        let (name, wanted) = (&goal.name, list(goal));
        if !wanted.is_empty() {
            return Ok(Script::of(format!("ALTER PUBLICATION {name} SET {}", wanted.join(", "))));
        }
        let gone = list(now).into_iter().map(|one| match one.strip_prefix("TABLE ") {
            Some(table) => format!("TABLE {}", parts_before_columns(table).unwrap_or(table)),
            None => one,
        });
        Ok(Script::of(format!("ALTER PUBLICATION {name} DROP {}", gone.collect::<Vec<_>>().join(", "))))
    }
}

/// The name in front of a list of columns or a condition.
fn parts_before_columns(text: &str) -> Option<&str> {
    let mut inside = false;
    let end = text.bytes().position(|byte| {
        inside ^= byte == b'"';
        !inside && matches!(byte, b'(' | b' ')
    });
    text.get(..end.unwrap_or(text.len()))
}

fn enable(state: Option<&str>) -> &'static str {
    match state {
        Some("no") => "DISABLE",
        Some("on replicas") => "ENABLE REPLICA",
        Some("always") => "ENABLE ALWAYS",
        _ => "ENABLE",
    }
}

/// All parameters of a sequence; its position is not one.
pub(super) fn sequence_parameters(sequence: &Object) -> String {
    let kind = sequence.fact("type").unwrap_or("bigint");
    let most = match kind {
        "smallint" => "32767",
        "integer" => "2147483647",
        _ => "9223372036854775807",
    };
    let or = |what: &str, usual: &'static str| sequence.fact(what).unwrap_or(usual).to_owned();
    let cycle = if sequence.fact("cycle").is_some() { "CYCLE" } else { "NO CYCLE" };
    format!(
        "AS {kind} INCREMENT {} MINVALUE {} MAXVALUE {} START {} CACHE {} {cycle}",
        or("increment", "1"),
        or("minimum", "1"),
        or("maximum", most),
        or("start", "1"),
        or("cache", "1")
    )
}

fn labels(name: &str, (now, value): (Option<&str>, Option<&str>)) -> Steps {
    let (now, goal) = (parts(now.unwrap_or_default()), parts(value.unwrap_or_default()));
    let other: Vec<_> = now.iter().zip(&goal).filter(|(now, goal)| now != goal).collect();
    if let ([(now, label)], true) = (other.as_slice(), now.len() == goal.len()) {
        return Ok(Script::of(format!("ALTER TYPE {name} RENAME VALUE {now} TO {label}")));
    }
    if now.iter().any(|label| !goal.contains(label)) {
        return Err("a label of an enum cannot be dropped: rows may hold it".to_owned());
    }
    let kept: Vec<_> = goal.iter().filter(|label| now.contains(label)).collect();
    if !kept.into_iter().eq(now.iter()) {
        return Err("the order of an enum's labels cannot be changed".to_owned());
    }
    let mut script = Script::default();
    for (number, label) in goal.iter().enumerate().filter(|(_, label)| !now.contains(label)) {
        let place = match number.checked_sub(1).and_then(|before| goal.get(before)) {
            Some(before) => format!(" AFTER {before}"),
            None => goal.iter().find(|one| now.contains(one)).map(|next| format!(" BEFORE {next}")).unwrap_or_default(),
        };
        script.push(format!("ALTER TYPE {name} ADD VALUE {label}{place}"));
    }
    Ok(script)
}

fn attributes(name: &str, (now, value): (Option<&str>, Option<&str>)) -> Steps {
    let (now, goal) = (parts(now.unwrap_or_default()), parts(value.unwrap_or_default()));
    let mut script = Script::default();
    if let Some(gone) = now.strip_prefix(goal.as_slice()) {
        let bare = |attribute: &str| parts_before_columns(attribute).unwrap_or(attribute).to_owned();
        gone.iter()
            .rev()
            .for_each(|attribute| script.push(format!("ALTER TYPE {name} DROP ATTRIBUTE {}", bare(attribute))));
        return Ok(script.but("what the attribute holds goes with it"));
    }
    if let Some(come) = goal.strip_prefix(now.as_slice()) {
        come.iter().for_each(|attribute| script.push(format!("ALTER TYPE {name} ADD ATTRIBUTE {attribute}")));
        return Ok(script);
    }
    Err("the attributes of a type are not changed by one simple statement".to_owned())
}

fn attribute_comments(name: &str, (now, value): (Option<&str>, Option<&str>)) -> Steps {
    let (now, goal) = (parts(now.unwrap_or_default()), parts(value.unwrap_or_default()));
    let named = |line: &str| line.split_once(": ").map(|(name, text)| (name.to_owned(), text.to_owned()));
    let mut script = Script::default();
    for (attribute, _) in now.iter().filter_map(|line| named(line)) {
        script.push(format!("COMMENT ON COLUMN {name}.{attribute} IS NULL"));
    }
    for (attribute, text) in goal.iter().filter_map(|line| named(line)) {
        script.push(format!("COMMENT ON COLUMN {name}.{attribute} IS {text}"));
    }
    Ok(script)
}

impl Fact {
    /// Its two values.
    fn both(&self) -> (Option<&str>, Option<&str>) {
        (self.from.as_deref(), self.to.as_deref())
    }
}
