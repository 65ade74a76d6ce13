//! What a step destroys, read from the schemas before and after it: relations, columns, values that the new type cannot hold.
//!
//! Two fingerprints of one database tell a rename from a drop by the catalog's own numbers. Where that is not known the names
//! decide, and a thing that seems to be gone counts as gone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Fingerprint, Kind, Object};

/// Something that a step destroys if it holds anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doomed {
    /// Its full name, quoted as SQL would.
    pub object: String,
    /// What is lost of it.
    #[serde(flatten)]
    pub loses: Loses,
}

/// What is lost of an object. Names are quoted; a partitioned table speaks for its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "loses", rename_all = "snake_case")]
pub enum Loses {
    /// The table with all its rows.
    Table {
        /// Whether the rows are those of its partitions.
        extent: Extent,
    },
    /// Derived data, which can be computed again from tables that survive.
    MaterializedView,
    /// The values of a column of a table that survives.
    Column {
        /// The table, as it is called before the step.
        table: String,
        /// The column.
        column: String,
        /// Whether the values are those of partitions.
        extent: Extent,
    },
    /// The values of a column that its new type cannot hold, or not as exactly.
    Narrowed {
        /// The table, as it is called before the step.
        table: String,
        /// The column.
        column: String,
        /// Whether the values are those of partitions.
        extent: Extent,
        /// Its type before.
        from: String,
        /// Its type after.
        to: String,
    },
    /// A label of an enum, in a column that may hold it.
    Label {
        /// The table.
        table: String,
        /// The column, of the enum or an array of it.
        column: String,
        /// Whether the values are those of partitions.
        extent: Extent,
        /// The label as an SQL literal.
        label: String,
        /// The enum; `[]` follows where the column holds arrays.
        of: String,
    },
    /// The position of a sequence that belongs to no column.
    Sequence,
    /// A type with its labels; its columns are listed by themselves.
    Type,
    /// Rows that a statement of the down removes or changes.
    Rows {
        /// What becomes of them.
        fate: Fate,
        /// What follows FROM in the query that counts them.
        from: String,
    },
    /// Rows that a statement may change in a way that cannot be counted.
    Uncounted {
        /// The statement, and why.
        why: String,
    },
}

/// Which rows a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Those of the table itself; what inherits from it is listed by itself.
    Only,
    /// Those of all its partitions.
    Partitions,
}

/// What a statement does to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// TRUNCATE.
    Truncated,
    /// DELETE.
    Deleted,
    /// UPDATE: their old values.
    Changed,
}

/// What the step from `before` to `after` destroys, in the order of the first.
pub fn doomed(before: &Fingerprint, after: &Fingerprint) -> Vec<Doomed> {
    let step = Step::new(before, after);
    before.objects.iter().flat_map(|object| step.lost(object)).collect()
}

struct Step<'a> {
    before: BTreeMap<&'a str, &'a Object>,
    columns: Vec<&'a Object>,
    by_oid: BTreeMap<u32, &'a Object>,
    by_name: BTreeMap<(Kind, &'a str), &'a Object>,
    columns_after: BTreeMap<&'a str, Vec<&'a Object>>,
}

impl<'a> Step<'a> {
    fn new(before: &'a Fingerprint, after: &'a Fingerprint) -> Self {
        let whole = |object: &&Object| !object.kind.is_part();
        let column = |object: &&Object| object.kind == Kind::Column;
        let mut columns_after: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
        for object in after.objects.iter().filter(column) {
            columns_after.entry(object.of.as_deref().unwrap_or_default()).or_default().push(object);
        }
        let tables = before.objects.iter().filter(|object| matches!(object.kind, Kind::Table | Kind::ForeignTable));
        Self {
            before: tables.map(|object| (object.name.as_str(), object)).collect(),
            columns: before.objects.iter().filter(column).collect(),
            by_oid: after.objects.iter().filter(whole).map(|object| (object.oid, object)).collect(),
            by_name: after
                .objects
                .iter()
                .filter(whole)
                .map(|object| ((object.kind, object.name.as_str()), object))
                .collect(),
            columns_after,
        }
    }

    /// The same thing after the step, under whatever name.
    fn survivor(&self, object: &Object) -> Option<&'a Object> {
        let named = self.by_name.get(&(object.kind, object.name.as_str())).copied();
        if object.oid == 0 || named.is_some_and(|named| named.oid == 0) {
            return named;
        }
        self.by_oid.get(&object.oid).copied().filter(|found| found.kind == object.kind)
    }

    fn lost(&self, object: &'a Object) -> Vec<Doomed> {
        let whole = |loses| vec![Doomed { object: object.path(), loses }];
        match object.kind {
            Kind::Table if self.survivor(object).is_none() && !self.inside_doomed(object) => {
                whole(Loses::Table { extent: extent(object) })
            }
            Kind::MaterializedView if self.survivor(object).is_none() => whole(Loses::MaterializedView),
            Kind::Sequence if object.fact("belongs to").is_none() && self.survivor(object).is_none() => {
                whole(Loses::Sequence)
            }
            Kind::Enum => self.labels(object),
            Kind::Column => self.column(object).map(whole).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Whether the rows are counted with a partitioned table above.
    fn inside_doomed(&self, table: &Object) -> bool {
        let parent = table.fact("partition of").and_then(|name| self.before.get(name));
        parent.is_some_and(|parent| self.survivor(parent).is_none())
    }

    fn column(&self, column: &'a Object) -> Option<Loses> {
        let table = *self.before.get(column.of.as_deref()?)?;
        let table_after = self.survivor(table).filter(|_| table.kind == Kind::Table)?;
        let columns = self.columns_after.get(table_after.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let same = columns.iter().find(|other| match (column.place, other.place) {
            (Some(one), Some(other)) if table.oid != 0 && table_after.oid != 0 => one == other,
            _ => column.name == other.name,
        });
        let counted_above = column.fact("inherited").is_some() && table.fact("partition of").is_some();
        if counted_above || column.fact("generated").is_some() {
            return None;
        }
        let (name, extent) = (column.name.clone(), extent(table));
        let Some(same) = same else {
            return Some(Loses::Column { table: table.name.clone(), column: name, extent });
        };
        let (from, to) = (column.fact("type")?.to_owned(), same.fact("type")?.to_owned());
        (!holds(&from, &to)).then(|| Loses::Narrowed { table: table.name.clone(), column: name, extent, from, to })
    }

    fn labels(&self, object: &Object) -> Vec<Doomed> {
        let old = literals(object.fact("labels").unwrap_or_default());
        // A type that lost labels was made anew under the old name; one that is still itself can only have renamed them.
        if object.oid != 0 && self.survivor(object).is_some_and(|same| same.oid == object.oid) {
            return Vec::new();
        }
        let Some(new) = self.by_name.get(&(Kind::Enum, object.name.as_str())) else {
            return vec![Doomed { object: object.path(), loses: Loses::Type }];
        };
        let new: BTreeSet<&str> = literals(new.fact("labels").unwrap_or_default()).into_iter().collect();
        let array = format!("{}[]", object.name);
        let holders = self.columns.iter().filter(|column| {
            let kind = column.fact("type").unwrap_or_default();
            (kind == object.name || kind == array) && column.fact("inherited").is_none()
        });
        let mut doomed = Vec::new();
        for column in holders {
            let Some(table) = column.of.as_deref().and_then(|of| self.before.get(of)) else { continue };
            for label in old.iter().filter(|label| !new.contains(**label)) {
                let loses = Loses::Label {
                    table: table.name.clone(),
                    column: column.name.clone(),
                    extent: extent(table),
                    label: (*label).to_owned(),
                    of: column.fact("type").unwrap_or_default().to_owned(),
                };
                doomed.push(Doomed { object: format!("{}.{label}", object.name), loses });
            }
        }
        doomed
    }
}

fn extent(table: &Object) -> Extent {
    if table.fact("partitioned by").is_some() { Extent::Partitions } else { Extent::Only }
}

/// The literals of a list such as `'a', 'it''s'`.
fn literals(list: &str) -> Vec<&str> {
    let (mut found, mut start, mut inside) = (Vec::new(), 0, false);
    for (offset, byte) in list.bytes().enumerate() {
        match byte {
            b'\'' => inside = !inside,
            b',' if !inside => {
                found.extend(list.get(start..offset).map(str::trim));
                start = offset + 1;
            }
            _ => {}
        }
    }
    found.extend(list.get(start..).map(str::trim).filter(|last| !last.is_empty()));
    found
}

/// Whether every value of type `from` is kept by a column of type `to`. Unknown pairs are not.
pub(super) fn holds(from: &str, to: &str) -> bool {
    const WIDER: &[(&str, &[&str])] = &[
        ("smallint", &["integer", "bigint", "numeric", "real", "double precision"]),
        ("integer", &["bigint", "numeric", "double precision"]),
        ("bigint", &["numeric"]),
        ("real", &["double precision"]),
        ("date", &["timestamp without time zone"]),
        ("character", &["character varying"]),
    ];
    let ((from_base, from_size), (to_base, to_size)) = (sized(from), sized(to));
    if from == to || to == "text" || to == "character varying" {
        return true;
    }
    let wider = |(base, wider): &(&str, &[&str])| *base == from_base && wider.contains(&to_base.as_str());
    match (from_size.as_slice(), to_size.as_slice()) {
        (_, []) => from_base == to_base || WIDER.iter().any(wider),
        ([size], [room]) if from_base == to_base || WIDER.iter().any(wider) => size <= room,
        ([digits, scale], [room, fraction]) if from_base == to_base => {
            scale <= fraction && digits.saturating_sub(*scale) <= room.saturating_sub(*fraction)
        }
        _ => false,
    }
}

/// `numeric(12,6)` is (`numeric`, [12, 6]); the size may stand inside the name, as in `timestamp(3) with time zone`.
fn sized(name: &str) -> (String, Vec<i64>) {
    let parts =
        name.split_once('(').and_then(|(base, rest)| rest.split_once(')').map(|(size, tail)| (base, size, tail)));
    let Some((base, size, tail)) = parts else { return (name.to_owned(), Vec::new()) };
    (format!("{base}{tail}"), size.split(',').filter_map(|number| number.trim().parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::FORMAT;
    use super::*;

    fn table(name: &str, oid: u32, facts: &[(&str, &str)]) -> Object {
        let mut table = Object::new(Kind::Table, name);
        table.oid = oid;
        table.facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        table
    }

    fn column(of: &str, oid: u32, place: i32, name: &str, kind: &str) -> Object {
        let mut column = table(name, oid, &[("type", kind)]);
        (column.kind, column.of, column.place) = (Kind::Column, Some(of.to_owned()), Some(place));
        column
    }

    #[track_caller]
    fn case(before: Vec<Object>, after: Vec<Object>, lost: &[&str]) {
        let before = Fingerprint::new(FORMAT, 150_004, before);
        let after = Fingerprint::new(FORMAT, 150_004, after);
        let found: Vec<String> = doomed(&before, &after)
            .iter()
            .map(|doomed| {
                let json = serde_json::to_value(&doomed.loses).unwrap();
                format!("{} {}", json["loses"].as_str().unwrap(), doomed.object)
            })
            .collect();
        assert_eq!(found, lost);
    }

    #[test]
    fn a_rename_loses_nothing_and_a_table_made_anew_loses_everything() {
        case(vec![table("public.a", 1, &[])], vec![table("public.b", 1, &[])], &[]);
        case(vec![table("public.a", 1, &[])], vec![table("public.a", 2, &[])], &["table public.a"]);
        case(vec![table("public.a", 0, &[])], vec![table("public.a", 2, &[])], &[]);
        case(vec![table("public.a", 1, &[])], vec![], &["table public.a"]);
        let t = || table("public.t", 1, &[]);
        let a = |place, name| column("public.t", 1, place, name, "text");
        case(vec![t(), a(1, "a")], vec![t(), a(1, "b")], &[]);
        case(vec![t(), a(1, "a")], vec![t(), a(2, "a")], &["column public.t.a"]);
        case(vec![t(), a(1, "a")], vec![], &["table public.t"]);
    }

    #[test]
    fn a_partition_is_counted_with_its_parent() {
        let parent = || table("public.p", 1, &[("partitioned by", "RANGE (a)")]);
        let child = || table("public.c", 2, &[("partition of", "public.p")]);
        case(vec![parent(), child()], vec![], &["table public.p"]);
        case(vec![parent(), child()], vec![parent()], &["table public.c"]);
    }

    #[test]
    fn labels_are_lost_in_the_columns_that_can_hold_them() {
        let state = |oid, labels| {
            let mut state = table("public.state", oid, &[("labels", labels)]);
            state.kind = Kind::Enum;
            state
        };
        let rest = |labels, oid| {
            vec![table("public.t", 1, &[]), column("public.t", 1, 1, "s", "public.state"), state(oid, labels)]
        };
        case(rest("'a', 'b,''c'", 7), rest("'a'", 8), &["label public.state.'b,''c'"]);
        case(rest("'a', 'b'", 7), rest("'a', 'c'", 7), &[]);
        case(rest("'a'", 7), vec![], &["type public.state", "table public.t"]);
    }

    #[test]
    fn a_type_that_holds_less_is_narrower() {
        #[track_caller]
        fn case(from: &str, to: &str, kept: bool) {
            assert_eq!(holds(from, to), kept, "{from} to {to}");
        }
        case("integer", "bigint", true);
        case("bigint", "integer", false);
        case("character varying(10)", "character varying(20)", true);
        case("character varying(20)", "character varying(10)", false);
        case("text", "character varying(10)", false);
        case("character varying(10)", "text", true);
        case("numeric(12,6)", "numeric(14,6)", true);
        case("numeric(12,6)", "numeric(12,7)", false);
        case("numeric(12,6)", "numeric", true);
        case("timestamp without time zone", "timestamp(0) without time zone", false);
        case("timestamp(0) with time zone", "timestamp with time zone", true);
        case("timestamp with time zone", "date", false);
        case("uuid", "public.thing", false);
    }
}
