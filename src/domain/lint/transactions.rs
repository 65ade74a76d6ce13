//! Transaction control inside a file: the one around it is llmhub's.

use super::rules::{Check, Rule, examples, rule};
use super::unit::Hit;
use super::{Context, Severity};

pub(super) const RULES: [Rule; 2] = [
    rule!(
        "own-transaction",
        Note,
        Check::Ours(own),
        "one BEGIN … COMMIT around the whole file",
        "llmhub runs every migration in a transaction of its own and leaves these two out. Other tools end theirs with this COMMIT.",
        "leave BEGIN and COMMIT out"
    ),
    rule!(
        "transaction-control",
        Error,
        Check::Ours(control),
        "BEGIN, COMMIT or ROLLBACK inside a migration",
        "The first COMMIT ends the transaction around the migration; what follows can no longer be taken back. db apply refuses it.",
        "leave it out, or make the first line `-- no-transaction`"
    ),
];

fn own(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in context.units.iter().filter(|unit| unit.error.is_none()) {
        if let Some(at) = unit.script.phases().ok().and_then(|phases| phases.own_transaction()) {
            hits.push(unit.hit(at.offset, "this transaction is left out: llmhub opens one around the migration"));
        }
    }
    hits
}

fn control(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in context.units.iter().filter(|unit| unit.error.is_none()) {
        if let Err(error) = unit.script.phases() {
            hits.push(unit.hit(error.at.offset, error.what));
        }
    }
    hits
}
