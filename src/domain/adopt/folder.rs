//! The files of a legacy folder, sorted into changes with their way back, and files that are none.
//!
//! Nothing is run. What cannot be a change is passed over with a reason; where somebody must look, that is a problem as well.

use std::collections::BTreeSet;

use super::super::migrations::{FileContent, FolderFile, Ignored, Script, Wrapping, has_sections, sql_stem};
use super::comments::{Offer, offer};
use super::facts::{Facts, Kind, Made, Object, facts};
use super::habits::{Habit, Way};
use super::outside::outside;
use super::pairs::pair;
use super::problem::{Problem, Trouble};
use super::rivals::rank;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It changes the schema, or may.
    Change,
    /// It only adds or changes rows.
    Seeds,
    /// It only reads.
    Reads,
}

/// A file that goes forward.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it runs.
    pub up: Script,
    /// What undoes it.
    pub down: Option<Script>,
    /// What it is for.
    pub role: Role,
    /// Everything that its statements make.
    pub makes: Vec<Made>,
    /// What must be there before it, as far as it does not make it itself.
    pub needs: BTreeSet<Object>,
    /// Every name in it.
    pub mentions: BTreeSet<String>,
    /// The digits of its name.
    pub number: Option<String>,
    /// Copies of one change have the same number here; only one of them is to run.
    pub group: Option<usize>,
    /// Its place among them: the lowest is tried first.
    pub rank: usize,
    pub(super) habit: Habit,
}

impl Candidate {
    /// Its path in the folder.
    pub fn file(&self) -> &str {
        self.up.file()
    }
}

/// A folder, sorted.
#[derive(Debug, Default)]
pub struct Legacy {
    /// What goes forward, by path.
    pub candidates: Vec<Candidate>,
    /// What is passed over, and why.
    pub ignored: Vec<Ignored>,
    /// What somebody must look at.
    pub problems: Vec<Problem>,
    /// Rollbacks that stand in comments.
    pub offers: Vec<Offer>,
}

impl Legacy {
    /// Sort the files of a folder, at any depth, given in any order.
    pub fn read(mut files: Vec<FolderFile>) -> Self {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let mut legacy = Self::default();
        let mut backs = Vec::new();
        for file in files {
            // What is no `.sql` file is told by the reader of the manifest, with its reason.
            let name = file.path.rsplit('/').next().unwrap_or_default();
            if file.content == FileContent::Folder || sql_stem(name).is_err() {
                continue;
            }
            if let Some((script, habit)) = legacy.script(&file) {
                match habit.way {
                    Way::Forth => legacy.forth(script, habit),
                    Way::Back => backs.push((script, habit)),
                    Way::Check => legacy.ignore(&file.path, "it checks another file's work"),
                }
            }
        }
        pair(&mut legacy, backs);
        rank(&mut legacy);
        legacy.offers = legacy
            .candidates
            .iter()
            .filter(|candidate| candidate.down.is_none())
            .filter_map(|candidate| offer(&candidate.up))
            .collect();
        legacy
    }

    pub(super) fn ignore(&mut self, file: &str, reason: impl Into<String>) {
        self.ignored.push(Ignored { file: file.to_owned(), reason: reason.into() });
    }

    /// Pass a file over because of a problem.
    pub(super) fn refuse(&mut self, problem: Problem) {
        self.ignore(&problem.file, problem.message.clone());
        self.problems.push(problem);
    }

    /// The script in a file, if it can be run at all.
    fn script(&mut self, file: &FolderFile) -> Option<(Script, Habit)> {
        let refused = |message: &str| Problem::of(&file.path, Trouble::Unreadable, message);
        let text = match &file.content {
            FileContent::Text(text) => text,
            FileContent::NotUtf8 { line } => {
                let problem = Problem { line: Some(*line), ..refused("its text is not UTF-8; save it as UTF-8") };
                self.refuse(problem);
                return None;
            }
            FileContent::Unread | FileContent::Folder => {
                self.refuse(refused("it is not a regular file; put the SQL itself there"));
                return None;
            }
        };
        let script = Script::new(text).named(&file.path);
        let statements = match script.statements() {
            Ok(statements) => statements,
            Err(error) => {
                self.refuse(refused(&error.to_string()).at(error.at()));
                return None;
            }
        };
        if has_sections(text) {
            let message =
                "its up and its down stand in one file behind another tool's markers; split it into two files";
            self.refuse(Problem::of(&file.path, Trouble::OtherLayout, message));
            return None;
        }
        if statements.is_empty() {
            self.ignore(&file.path, "it holds no statement");
            return None;
        }
        if let Some((at, why)) = outside(&script) {
            let message = format!("{why}, so it is never tried beside a live server; run it by hand");
            self.refuse(Problem::of(&file.path, Trouble::ActsOutside, message).at(at));
            return None;
        }
        match runnable(script) {
            Ok(script) => Some((script, Habit::of(&file.path))),
            Err(error) => {
                self.refuse(refused(&error.what).at(error.at));
                None
            }
        }
    }

    fn forth(&mut self, script: Script, habit: Habit) {
        let contents = Contents::of(&script);
        if contents.role == Role::Reads {
            return self.ignore(script.file(), "it only reads: a report, and no migration");
        }
        self.candidates.push(Candidate {
            role: contents.role,
            makes: contents.makes,
            needs: contents.needs,
            mentions: contents.mentions,
            number: habit.number.clone(),
            group: None,
            rank: 0,
            down: None,
            up: script,
            habit,
        });
    }
}

/// The script as it can be run: where its own transaction control stands in the way, without a transaction of ours.
fn runnable(script: Script) -> Result<Script, super::super::migrations::ScriptError> {
    let Err(error) = script.phases().map(drop) else { return Ok(script) };
    let bare = script.wrapped(Wrapping::None);
    if bare.phases().is_ok() { Ok(bare) } else { Err(error) }
}

struct Contents {
    role: Role,
    makes: Vec<Made>,
    needs: BTreeSet<Object>,
    mentions: BTreeSet<String>,
}

impl Contents {
    fn of(script: &Script) -> Self {
        let (mut makes, mut needs, mut mentions) = (Vec::<Made>::new(), BTreeSet::new(), BTreeSet::new());
        let (mut reads, mut seeds) = (true, true);
        let mut temporary = BTreeSet::new();
        for statement in script.statements().unwrap_or_default() {
            let Facts { makes: made, needs: needed, mentions: named } = facts(&statement);
            let words = statement.words(3);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            reads &= matches!(words.as_slice(), ["select" | "show" | "explain" | "values" | "table", ..])
                && named.contains("from")
                || words.first() == Some(&"show");
            seeds &= matches!(
                words.first(),
                Some(
                    &("insert" | "update" | "copy" | "select" | "with" | "set" | "begin" | "commit" | "start" | "end")
                )
            );
            if let ["create", "temp" | "temporary", ..] = words.as_slice() {
                temporary.extend(named.iter().cloned());
            }
            let is_made = |object: &Object| makes.iter().any(|made| made.object == *object);
            let own = |object: &Object| object.kind == Kind::Relation && temporary.contains(&object.name);
            needs.extend(needed.into_iter().filter(|object| !is_made(object) && !own(object)));
            makes.extend(made);
            mentions.extend(named);
        }
        let role = match (reads, seeds) {
            (true, _) => Role::Reads,
            (false, true) => Role::Seeds,
            (false, false) => Role::Change,
        };
        Self { role, makes, needs, mentions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of each file, one word or the reason.
    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| FolderFile {
            path: (*path).to_owned(),
            content: FileContent::Text((*text).to_owned()),
        });
        let legacy = Legacy::read(files.collect());
        let candidates = legacy.candidates.iter().map(|one| {
            let down = one.down.as_ref().map(|down| format!(" back {}", down.file())).unwrap_or_default();
            let bare = if one.up.wrapping() == Wrapping::None { " bare" } else { "" };
            format!("{} {:?}{bare}{down}", one.file(), one.role)
        });
        let ignored = legacy.ignored.iter().map(|one| format!("{}: {}", one.file, one.reason));
        candidates.chain(ignored).collect()
    }

    #[test]
    fn every_file_is_a_change_or_passed_over_with_a_reason() {
        #[track_caller]
        fn case(path: &str, text: &str, expected: &str) {
            assert_eq!(told(&[(path, text)]), [expected]);
        }
        case("a.sql", "CREATE TABLE t ();", "a.sql Change");
        case("a.sql", "INSERT INTO t VALUES (1);", "a.sql Seeds");
        case("a.sql", "SELECT count(*) FROM t;", "a.sql: it only reads: a report, and no migration");
        case("a.sql", "SELECT make_things();", "a.sql Seeds");
        case("a.sql", "-- nothing", "a.sql: it holds no statement");
        case("a.sql", "BEGIN; SELECT f(); COMMIT; BEGIN; DROP TABLE t; COMMIT;", "a.sql Change bare");
        case("a.sql", "CREATE TABLE t ();\n\\i b.sql", "a.sql: psql commands cannot be run; write plain SQL");
        case("verify/a.sql", "SELECT 1/0;", "verify/a.sql: it checks another file's work");
        assert!(told(&[("a.sql", "CREATE ROLE x;")])[0].starts_with("a.sql: it acts on roles, so it is never tried"));
        assert!(
            told(&[("a.sql", "-- migrate:up\nSELECT f();\n-- migrate:down\n")])[0].contains("another tool's markers")
        );
        assert!(told(&[("a.sql.bak", "CREATE TABLE t ();")]).is_empty());
    }
}
