//! A script into the phases in which it is run: statements that share a transaction, and statements that stand alone.
//!
//! Whoever runs the phases in order and knows which of them are done can go on after any death. A file's own transaction is
//! taken over where that cannot change its meaning, and refused where it could (migrations.md 2.7).

use std::fmt;

use super::checksum::{Checksum, phase_checksum};
use super::conduct::{Alone, Conduct};
use super::script::{Position, Script, Wrapping};
use super::split::Statement;

/// A part of a script that is run, and recorded, as one.
#[derive(Clone, Debug)]
pub enum Phase<'a> {
    /// In one transaction, with the record of it.
    Together(Vec<Statement<'a>>),
    /// In no transaction; what became of it is read from the catalog.
    Alone(Statement<'a>, Alone),
}

impl<'a> Phase<'a> {
    /// Its statements.
    pub fn statements(&self) -> &[Statement<'a>] {
        match self {
            Self::Together(statements) => statements,
            Self::Alone(statement, _) => std::slice::from_ref(statement),
        }
    }

    /// What its statements do, to see later whether a part that was run has been edited.
    pub fn checksum(&self) -> Checksum {
        phase_checksum(self.statements())
    }
}

/// A script that was read to its end.
#[derive(Clone, Debug)]
pub struct Phases<'a> {
    phases: Vec<Phase<'a>>,
    own_transaction: Option<Position>,
}

impl<'a> Phases<'a> {
    /// The phases in their order; none when the script holds no statement.
    pub fn all(&self) -> &[Phase<'a>] {
        &self.phases
    }

    /// The statements in their order.
    pub fn statements(&self) -> impl Iterator<Item = &Statement<'a>> {
        self.phases.iter().flat_map(|phase| phase.statements())
    }

    /// Whether one transaction holds all of it.
    pub fn is_transactional(&self) -> bool {
        matches!(self.phases.as_slice(), [] | [Phase::Together(_)])
    }

    /// The first statement that cannot be in a transaction.
    pub fn first_alone(&self) -> Option<&Statement<'a>> {
        self.phases.iter().find_map(|phase| match phase {
            Phase::Alone(statement, _) => Some(statement),
            Phase::Together(_) => None,
        })
    }

    /// Where the file's own BEGIN stands that was left out together with its COMMIT, since the transaction around it is ours.
    pub fn own_transaction(&self) -> Option<Position> {
        self.own_transaction
    }
}

/// A script that cannot be run, with its file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The file, as [`Script::file`] names it.
    pub file: String,
    /// The place.
    pub at: Position,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.at, self.what)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// The phases in which it is run.
    ///
    /// # Errors
    /// [`ScriptError`] for what cannot be split for certain, and for transaction control that would end a transaction of ours.
    pub fn phases(&self) -> Result<Phases<'_>, ScriptError> {
        let statements = self.statements().map_err(|error| self.error(error.at(), error.to_string()))?;
        match self.wrapping() {
            Wrapping::Transaction => self.wrapped_phases(statements),
            Wrapping::None => self.bare_phases(statements),
        }
    }

    /// Our transaction around it all, but for what must stand alone.
    fn wrapped_phases<'a>(&'a self, mut statements: Vec<Statement<'a>>) -> Result<Phases<'a>, ScriptError> {
        let own_transaction = match statements.as_slice() {
            [first, .., last] if first.opens_transaction() && last.commits() => Some(first.position()),
            _ => None,
        };
        if own_transaction.is_some() {
            statements.pop();
            statements.remove(0);
        }
        if let Some(control) = statements.iter().find(|statement| statement.controls_transaction()) {
            let what = "this ends or opens a transaction, and a migration runs inside one: leave transaction control out, or \
                        let the file's first line be `-- no-transaction`";
            return Err(self.error(control.position(), what.to_owned()));
        }
        let mut phases = Vec::new();
        let mut together = Vec::new();
        for statement in statements {
            match statement.conduct() {
                Conduct::Together => together.push(statement),
                Conduct::Alone(effect) => {
                    close(&mut phases, &mut together);
                    phases.push(Phase::Alone(statement, effect));
                }
            }
        }
        close(&mut phases, &mut together);
        Ok(Phases { phases, own_transaction })
    }

    /// No transaction of ours: each statement is a phase, and the file's own BEGIN … COMMIT make one of those between them.
    fn bare_phases<'a>(&'a self, statements: Vec<Statement<'a>>) -> Result<Phases<'a>, ScriptError> {
        let mut phases = Vec::new();
        let mut open: Option<(Position, Vec<Statement<'a>>)> = None;
        for statement in statements {
            let at = statement.position();
            match open.take() {
                None if statement.opens_transaction() => open = Some((at, Vec::new())),
                None if statement.controls_transaction() => {
                    return Err(self.error(at, "this ends a transaction that the file did not open".to_owned()));
                }
                None => phases.push(match statement.conduct() {
                    Conduct::Alone(effect) => Phase::Alone(statement, effect),
                    Conduct::Together if statement.may_commit() => Phase::Alone(statement, Alone::Undecidable),
                    Conduct::Together => Phase::Together(vec![statement]),
                }),
                Some((_, mut group)) if statement.commits() => close(&mut phases, &mut group),
                Some(_) if statement.controls_transaction() => {
                    return Err(self.error(at, "between BEGIN and COMMIT only savepoints are allowed".to_owned()));
                }
                Some(_) if statement.conduct() != Conduct::Together => {
                    return Err(self.error(at, "this cannot run between BEGIN and COMMIT".to_owned()));
                }
                Some((at, mut group)) => {
                    group.push(statement);
                    open = Some((at, group));
                }
            }
        }
        match open {
            Some((at, _)) => Err(self.error(at, "the transaction that is opened here is never committed".to_owned())),
            None => Ok(Phases { phases, own_transaction: None }),
        }
    }

    fn error(&self, at: Position, what: String) -> ScriptError {
        ScriptError { file: self.file().to_owned(), at, what }
    }
}

fn close<'a>(phases: &mut Vec<Phase<'a>>, together: &mut Vec<Statement<'a>>) {
    if !together.is_empty() {
        phases.push(Phase::Together(std::mem::take(together)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Phases as text: `[a|b]` share a transaction, `<a>` stands alone.
    fn shape(text: &str) -> Result<String, String> {
        let script = Script::new(text).named("f.sql");
        let phases = script.phases().map_err(|error| error.to_string())?;
        let shape = phases.all().iter().map(|phase| match phase {
            Phase::Together(all) => format!("[{}]", all.iter().map(Statement::text).collect::<Vec<_>>().join("|")),
            Phase::Alone(one, _) => format!("<{}>", one.text()),
        });
        Ok(shape.collect())
    }

    #[test]
    fn statements_share_a_transaction_but_for_those_that_cannot() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(shape(text).as_deref(), Ok(expected), "{text}");
        }
        case("", "");
        case("-- nothing", "");
        case("a; b;", "[a|b]");
        case("a; VACUUM; b; c; VACUUM x;", "[a]<VACUUM>[b|c]<VACUUM x>");
        case("BEGIN; a; b; COMMIT;", "[a|b]");
        case("start transaction; a; end;", "[a]");
        case("BEGIN; COMMIT;", "");
        case("SAVEPOINT s; a; ROLLBACK TO s;", "[SAVEPOINT s|a|ROLLBACK TO s]");
    }

    #[test]
    fn a_file_that_declines_the_transaction_decides_by_itself() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(shape(&format!("-- no-transaction\n{text}")).as_deref(), Ok(expected), "{text}");
        }
        case("a; b; VACUUM;", "[a][b]<VACUUM>");
        case("a; BEGIN; b; c; COMMIT; d;", "[a][b|c][d]");
        case("CALL p(); DO $$ commit; $$; DO $$ x $$;", "<CALL p()><DO $$ commit; $$>[DO $$ x $$]");
    }

    #[test]
    fn transaction_control_that_would_end_ours_is_refused_with_its_place() {
        #[track_caller]
        fn case(text: &str, place: &str) {
            let error = shape(text).expect_err(text);
            assert!(error.starts_with(place), "{text}: {error}");
        }
        case("a;\nCOMMIT;", "f.sql:2:1: this ends or opens");
        case("BEGIN; a; COMMIT; b;", "f.sql:1:1: this ends or opens");
        case("BEGIN; a; COMMIT; BEGIN; b; COMMIT;", "f.sql:1:11: this ends or opens");
        case("BEGIN; a; ROLLBACK;", "f.sql:1:1: this ends or opens");
        case("-- no-transaction\nCOMMIT;", "f.sql:2:1: this ends a transaction");
        case("-- no-transaction\nBEGIN; a;", "f.sql:2:1: the transaction that is opened here");
        case("-- no-transaction\nBEGIN; a; ROLLBACK;", "f.sql:2:11: between BEGIN and COMMIT");
        case("-- no-transaction\nBEGIN; VACUUM; COMMIT;", "f.sql:2:8: this cannot run between");
        case("a; SELECT 'b", "f.sql:1:11: the string that starts here never ends");
    }

    #[test]
    fn a_phase_is_the_same_when_only_its_layout_changed() {
        let sums = |text: &str| {
            let script = Script::new(text);
            let phases = script.phases().unwrap();
            phases.all().iter().map(Phase::checksum).collect::<Vec<_>>()
        };
        assert_eq!(sums("a;\nVACUUM;"), sums("A ; -- x\n vacuum"));
        assert_ne!(sums("a; VACUUM;"), sums("b; VACUUM;"));
    }
}
