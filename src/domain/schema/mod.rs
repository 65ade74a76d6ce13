//! What a schema is made of, when two are the same, and what a step between them destroys.
//!
//! Pure: the catalog is read elsewhere. A fingerprint keeps its objects, not only a hash, so that every difference can be
//! printed; fingerprints of another format or server major are never compared.

mod blame;
mod difference;
mod doomed;
mod format;
mod outside;
mod predict;
mod privileged;
mod repair;
mod restored;
mod statements;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use blame::{Sides, Traced, trace};
pub use difference::{Difference, Fact, Incomparable, diff};
pub use doomed::{Doomed, Extent, Fate, Loses, doomed};
pub use outside::reaches_outside;
pub use privileged::{Privilege, privilege};
pub use repair::{Repair, Repairs};
pub use statements::{all_doomed, doomed_by};

/// The format of the fingerprints that this llmhub makes.
///
/// Format 2 only adds to format 1, see `format.rs`: fingerprints that older ledgers hold stay comparable.
pub const FORMAT: u32 = 2;

/// The property that levels add for a column's place.
const PLACE: &str = "place";

/// Everything in a schema that a migration can make, as one server prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What the objects hold and how it is written; see [`FORMAT`].
    pub format: u32,
    /// The server's `server_version_num`, such as 150004.
    pub server: u32,
    /// In the order of kind, relation and name.
    pub objects: Vec<Object>,
}

/// One thing that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its name, quoted where SQL needs it, with its schema unless it is `of` a relation that has one.
    pub name: String,
    /// The relation or domain that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Its properties; one that is as usual is not listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// The role that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its grants, unless they are those that every new object of its kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    /// A column's number, or how many numbers a table has given out: dropped columns leave gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<i32>,
    /// Its identity in one database, 0 where unknown; a column has that of its table. It tells a rename from a drop and means
    /// nothing elsewhere, so it is not kept.
    #[serde(skip)]
    pub oid: u32,
}

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is called as PostgreSQL calls it")]
pub enum Kind {
    Database,
    Setting,
    Extension,
    Language,
    Schema,
    DefaultPrivileges,
    Collation,
    Type,
    Enum,
    Domain,
    Range,
    Cast,
    Operator,
    OperatorClass,
    OperatorFamily,
    TextSearchConfiguration,
    TextSearchDictionary,
    Function,
    Procedure,
    Aggregate,
    ForeignDataWrapper,
    Server,
    Sequence,
    Table,
    ForeignTable,
    View,
    MaterializedView,
    Column,
    Constraint,
    Index,
    Trigger,
    Rule,
    Policy,
    EventTrigger,
    Statistics,
    Publication,
    TextSearchParser,
    TextSearchTemplate,
    Conversion,
    Transform,
    AccessMethod,
    UserMapping,
    Subscription,
    SecurityLabel,
    /// A kind that only a newer format has.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// All that this llmhub knows.
    pub const ALL: [Self; Self::Unknown as usize] = [
        Self::Database,
        Self::Setting,
        Self::Extension,
        Self::Language,
        Self::Schema,
        Self::DefaultPrivileges,
        Self::Collation,
        Self::Type,
        Self::Enum,
        Self::Domain,
        Self::Range,
        Self::Cast,
        Self::Operator,
        Self::OperatorClass,
        Self::OperatorFamily,
        Self::TextSearchConfiguration,
        Self::TextSearchDictionary,
        Self::Function,
        Self::Procedure,
        Self::Aggregate,
        Self::ForeignDataWrapper,
        Self::Server,
        Self::Sequence,
        Self::Table,
        Self::ForeignTable,
        Self::View,
        Self::MaterializedView,
        Self::Column,
        Self::Constraint,
        Self::Index,
        Self::Trigger,
        Self::Rule,
        Self::Policy,
        Self::EventTrigger,
        Self::Statistics,
        Self::Publication,
        Self::TextSearchParser,
        Self::TextSearchTemplate,
        Self::Conversion,
        Self::Transform,
        Self::AccessMethod,
        Self::UserMapping,
        Self::Subscription,
        Self::SecurityLabel,
    ];

    /// The kind of this word, as the catalog's queries write it.
    pub fn parse(word: &str) -> Option<Self> {
        let kind = serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()?;
        (kind != Self::Unknown).then_some(kind)
    }

    /// Whether it is named after the relation or domain that it is a part of.
    pub fn is_part(self) -> bool {
        matches!(self, Self::Column | Self::Constraint | Self::Trigger | Self::Rule | Self::Policy)
    }

    /// Whether it belongs to the database and not to what stands in it: no copy of a schema has it.
    pub fn is_of_the_database(self) -> bool {
        matches!(self, Self::Database | Self::Setting | Self::Subscription)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word of the JSON, with blanks.
        let word = serde_json::to_value(self).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        word.chars().try_for_each(|c| f.write_char(if c == '_' { ' ' } else { c }))
    }
}

/// How much must agree for two schemas to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything, with the numbers of columns and the gaps that dropped ones leave.
    Exact,
    /// The columns in the same order; gaps are as nothing, every `ADD COLUMN` that was undone leaves one.
    Ordered,
    /// The columns in any order: the rule.
    Logical,
    /// As logical, without owners and grants.
    LogicalWithoutOwners,
    /// As that, with every definition as it reads after a dump and a restore: for two schemas of which only one is a restored
    /// copy. What differs at this level means something else, or was written with other words.
    Restored,
}

impl Object {
    /// An object without properties.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        let facts = BTreeMap::new();
        Self { kind, name: name.into(), of: None, facts, owner: None, acl: None, place: None, oid: 0 }
    }

    /// A property.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// Its full name, as SQL would quote it: `public.users`, `public.users.email`.
    pub fn path(&self) -> String {
        match &self.of {
            Some(of) if self.kind.is_part() => format!("{of}.{}", self.name),
            _ => self.name.clone(),
        }
    }

    fn key(&self) -> (Kind, &str, &str) {
        (self.kind, self.of.as_deref().unwrap_or_default(), &self.name)
    }
}

impl Fingerprint {
    /// The fingerprint of these objects, put in order.
    pub fn new(format: u32, server: u32, mut objects: Vec<Object>) -> Self {
        objects.sort_by(|one, other| one.key().cmp(&other.key()));
        Self { format, server, objects }
    }

    /// SHA-256 in hexadecimal of what this level compares, of the format and of the server's major. Equal hashes are equal
    /// schemas.
    pub fn hash(&self, level: Level) -> String {
        let mut hash = Sha256::new();
        // Each part with its length, so that no two lists of parts read alike.
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(&format!("{} {}", self.format, self.major()));
        for (object, rank) in self.ranked() {
            if level.leaves_out(object.kind) {
                continue;
            }
            part(&object.kind.to_string());
            part(object.of.as_deref().unwrap_or_default());
            part(&object.name);
            let facts = level.facts(object, rank);
            part(&facts.len().to_string());
            for (name, value) in facts {
                part(&name);
                part(&value);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same without what only a database has as a whole: the form in which a copy can be compared.
    pub fn portable(&self) -> Self {
        let objects = self.objects.iter().filter(|object| !object.kind.is_of_the_database()).cloned().collect();
        Self { format: self.format, server: self.server, objects }
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.server / 10_000
    }

    /// Every object; a column with its rank among those of its table that are there, from 1.
    fn ranked(&self) -> impl Iterator<Item = (&Object, Option<usize>)> {
        let mut places: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for object in self.objects.iter().filter(|object| object.kind == Kind::Column) {
            places.entry(object.of.as_deref().unwrap_or_default()).or_default().extend(object.place);
        }
        places.values_mut().for_each(|places| places.sort_unstable());
        self.objects.iter().map(move |object| {
            let of = places.get(object.of.as_deref().unwrap_or_default());
            let rank = of.zip(object.place).and_then(|(places, place)| places.binary_search(&place).ok());
            (object, rank.filter(|_| object.kind == Kind::Column).map(|rank| rank + 1))
        })
    }
}

impl Level {
    /// Whether owners and grants count.
    fn knows_owners(self) -> bool {
        !matches!(self, Self::LogicalWithoutOwners | Self::Restored)
    }

    /// Whether all that an object of this kind says is about owners and grants.
    fn leaves_out(self, kind: Kind) -> bool {
        !self.knows_owners() && kind == Kind::DefaultPrivileges
    }

    /// Everything of an object that counts at this level, by name.
    fn facts(self, object: &Object, rank: Option<usize>) -> BTreeMap<String, String> {
        let mut facts = object.facts.clone();
        if self == Self::Restored {
            facts.retain(|what, _| !restored::is_lost(object.kind, what));
            for (what, value) in &mut facts {
                *value = restored::restored(object, what, value).into_owned();
            }
        }
        if self.knows_owners() {
            facts.extend(object.owner.clone().map(|owner| ("owner".to_owned(), owner)));
            facts.extend(object.acl.clone().map(|acl| ("grants".to_owned(), acl)));
        }
        let place = match self {
            Self::Exact => object.place.map(|place| place.to_string()),
            Self::Ordered => rank.map(|rank| rank.to_string()),
            Self::Logical | Self::LogicalWithoutOwners | Self::Restored => None,
        };
        facts.extend(place.map(|place| (PLACE.to_owned(), place)));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, place: i32) -> Object {
        let mut column = Object::new(Kind::Column, name);
        (column.of, column.place) = (Some("public.t".to_owned()), Some(place));
        column
    }

    #[test]
    fn each_level_sees_less_than_the_one_before() {
        let base = Fingerprint::new(FORMAT, 150_004, vec![column("a", 1), column("b", 2)]);
        let gap = Fingerprint::new(FORMAT, 150_004, vec![column("a", 1), column("b", 3)]);
        let order = Fingerprint::new(FORMAT, 150_004, vec![column("a", 3), column("b", 2)]);
        let mut owned = base.clone();
        owned.objects[0].acl = Some("=r/a".to_owned());
        #[track_caller]
        fn case(one: &Fingerprint, other: &Fingerprint, same: [bool; 5]) {
            let levels = [Level::Exact, Level::Ordered, Level::Logical, Level::LogicalWithoutOwners, Level::Restored];
            for (level, same) in levels.into_iter().zip(same) {
                assert_eq!(one.hash(level) == other.hash(level), same, "{level:?}");
                assert_eq!(diff(one, other, level).unwrap().is_empty(), same, "{level:?}");
            }
        }
        let defined = |text: &str| {
            let mut defined = base.clone();
            defined.objects[0].facts.insert("default".to_owned(), text.to_owned());
            defined
        };
        let (read, again) = (defined("((a AND b) AND c)"), defined("(a AND b AND c)"));
        case(&base, &base, [true; 5]);
        case(&base, &gap, [false, true, true, true, true]);
        case(&base, &order, [false, false, true, true, true]);
        case(&base, &owned, [false, false, false, true, true]);
        case(&read, &again, [false, false, false, false, true]);
        case(&read, &defined("((a AND b) OR c)"), [false; 5]);
    }

    #[test]
    fn a_restored_schema_does_not_know_whether_a_view_was_filled() {
        let mut view = Object::new(Kind::MaterializedView, "public.m");
        view.facts.insert("populated".to_owned(), "no".to_owned());
        let one = Fingerprint::new(FORMAT, 150_004, vec![view.clone()]);
        view.facts.clear();
        let other = Fingerprint::new(FORMAT, 150_004, vec![view]);
        assert_eq!(diff(&one, &other, Level::Restored), Ok(vec![]));
        assert_eq!(diff(&one, &other, Level::LogicalWithoutOwners).unwrap().len(), 1);
    }

    #[test]
    fn every_kind_is_listed_once_and_has_a_word() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind}");
            assert_eq!(Kind::parse(&kind.to_string().replace(' ', "_")), Some(kind));
        }
    }

    #[test]
    fn the_hash_is_a_named_algorithm_that_never_changes() {
        let known = "07aa0dbe09878bb3530627f9f3a1994bef0bbbd55713cff6377bb211b1038856";
        let fingerprint = Fingerprint::new(1, 150_004, vec![column("a", 1)]);
        assert_eq!(fingerprint.hash(Level::Exact), known);
    }

    #[test]
    fn a_fingerprint_survives_its_json_and_a_newer_one_is_still_read() {
        let fingerprint = Fingerprint::new(FORMAT, 150_004, vec![column("a", 1)]);
        let json = serde_json::to_string(&fingerprint).unwrap();
        let object = r#"{"kind":"column","name":"a","of":"public.t","place":1}"#;
        assert_eq!(json, format!(r#"{{"format":2,"server":150004,"objects":[{object}]}}"#));
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
        let newer = json.replace("\"column\"", "\"property_graph\"").replace("\"format\":2", "\"format\":3");
        assert_eq!(serde_json::from_str::<Fingerprint>(&newer).unwrap().objects[0].kind, Kind::Unknown);
    }
}
