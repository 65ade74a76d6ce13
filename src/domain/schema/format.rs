//! What each format of fingerprints has added, so that an older one is compared in what it knows.
//!
//! A ledger keeps the fingerprints that the llmhub of its day has made. A format may only add kinds and properties, or give a
//! property another form under the format that did so; nothing that a format knows goes away.

use super::{FORMAT, Kind};

/// The format in which two fingerprints can be compared; `None` where one is newer than this llmhub.
pub(super) fn common(one: u32, other: u32) -> Option<u32> {
    let known = |format: u32| (1..=FORMAT).contains(&format);
    (known(one) && known(other)).then(|| one.min(other))
}

/// The first format with this kind.
pub(super) fn since(kind: Kind) -> u32 {
    match kind {
        Kind::TextSearchParser
        | Kind::TextSearchTemplate
        | Kind::Conversion
        | Kind::Transform
        | Kind::AccessMethod
        | Kind::UserMapping
        | Kind::Subscription
        | Kind::SecurityLabel => 2,
        _ => 1,
    }
}

/// The first format with this property in the form that it has now.
pub(super) fn fact_since(kind: Kind, what: &str) -> u32 {
    match (kind, what) {
        (Kind::View | Kind::MaterializedView, "columns") | (Kind::Table | Kind::ForeignTable, "detached") => 2,
        (Kind::Range, "multirange") | (Kind::Type, "attribute comments" | "subscript") => 2,
        (Kind::Database, "collation rules" | "template" | "tablespace") | (Kind::Setting, "role") => 2,
        (Kind::Language, "comment" | "grants") | (Kind::Publication, "tables") => 2,
        (Kind::ForeignDataWrapper | Kind::Server, "grants") => 2,
        _ => 1,
    }
}
