//! Texts that say more than is true: failures that are swallowed, success that is printed whatever happened, scripts that look
//! as if they could run twice.

use super::cursor::Cursor;
use super::rules::{Check, Rule, examples, rule};
use super::unit::{Hit, Line};
use super::{Context, Severity};

pub(super) const RULES: [Rule; 3] = [
    rule!(
        "swallowed-error",
        Warning,
        Check::Ours(swallowed),
        "EXCEPTION WHEN OTHERS that does not raise again",
        "The failure becomes a notice, the migration goes on and counts as applied, and the message of success at its end is a lie.",
        "let it fail, name the one condition that is meant, or end the handler with RAISE"
    ),
    rule!(
        "success-message",
        Note,
        Check::Ours(success),
        "a message of success as a statement",
        "It prints what the author hoped. Runners that go on after an error print it too, and nobody sees that nothing was done.",
        "leave it out; llmhub says what it has seen in the catalog"
    ),
    rule!(
        "half-rerunnable",
        Warning,
        Check::Ours(half_rerunnable),
        "some statements can run twice and others cannot",
        "IF NOT EXISTS promises that the script can be run again; the next run fails at the statement without it, or adds rows twice.",
        "guard all of them, or none: the ledger runs each migration once"
    ),
];

fn swallowed(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for line in &unit.lines {
            for (start, body) in line.bodies() {
                let mut cursor = Cursor::of(body);
                while cursor.find("exception") {
                    if !cursor.take("when") {
                        continue;
                    }
                    let at = cursor.offset();
                    if cursor.take("others") && cursor.take("then") && !raises(&mut cursor) {
                        hits.push(unit.hit(line.start + start + at, "every failure in this block is swallowed here"));
                    }
                }
            }
        }
    }
    hits
}

/// Whether the handler raises an error before its END.
fn raises(cursor: &mut Cursor<'_>) -> bool {
    const QUIET: [&str; 5] = ["notice", "info", "log", "warning", "debug"];
    while let Some(token) = cursor.peek() {
        if token.eq_ignore_ascii_case("end") {
            return false;
        }
        cursor.step();
        let is_raise = token.eq_ignore_ascii_case("raise");
        if is_raise && cursor.peek().is_some_and(|next| !QUIET.iter().any(|quiet| next.eq_ignore_ascii_case(quiet))) {
            return true;
        }
    }
    false
}

fn success(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for line in &unit.lines {
            let mut cursor = line.cursor();
            let literal = cursor.take("select")
                && cursor.peek().is_some_and(|token| token.starts_with('\''))
                && !cursor.has("from");
            if literal || line.starts(&["do"]) && line.bodies().iter().any(|(_, body)| only_notices(body)) {
                hits.push(unit.hit(line.start, "this prints a message and does nothing"));
            }
        }
    }
    hits
}

fn only_notices(body: &str) -> bool {
    let mut cursor = Cursor::of(body);
    if !cursor.take("begin") {
        return false;
    }
    let mut count = 0;
    while cursor.take_all(&["raise", "notice"]) || cursor.take_all(&["raise", "info"]) {
        count += 1;
        cursor.find(";");
    }
    count > 0 && cursor.take("end")
}

/// Whether a statement can run twice; none where the question does not arise.
fn rerunnable(line: &Line<'_>) -> Option<Guard> {
    let mut cursor = line.cursor();
    let guarded = |yes: bool| Some(if yes { Guard::Yes } else { Guard::No });
    if cursor.take("create") {
        if cursor.take_all(&["or", "replace"]) {
            return None;
        }
        cursor.skip_any(&["unique", "unlogged"]);
        if !(cursor.take("table") || cursor.take("index") || cursor.take("schema") || cursor.take("sequence")) {
            return None;
        }
        cursor.take("concurrently");
        return guarded(cursor.take_all(&["if", "not", "exists"]));
    }
    if cursor.take_all(&["alter", "table"]) {
        return (cursor.find("add") && cursor.take("column"))
            .then(|| if cursor.take_all(&["if", "not", "exists"]) { Guard::Yes } else { Guard::No });
    }
    if cursor.take_all(&["insert", "into"]) && cursor.has("values") {
        // A guard of an INSERT promises nothing for the rest: seeds have it in scripts that run once.
        return (!cursor.has("conflict")).then_some(Guard::No);
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Yes,
    No,
}

fn half_rerunnable(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in context.forward() {
        let guards: Vec<_> = unit.lines.iter().filter_map(|line| rerunnable(line).map(|guard| (line, guard))).collect();
        let open: Vec<_> = guards.iter().filter(|(_, guard)| *guard == Guard::No).collect();
        if let (Some((first, _)), true) = (open.first(), open.len() < guards.len()) {
            let others = if open.len() > 1 { format!(", like {} more", open.len() - 1) } else { String::new() };
            hits.push(
                unit.hit(first.start, format!("this cannot run twice{others}, though other statements here can")),
            );
        }
    }
    hits
}
