//! Alembic's revision graph, read as text from its Python files: the ledger names the newest revisions only.
//!
//! Nothing is run. A file is a revision by the line `revision = "…"` at column 0, with or without a type annotation.

use std::collections::{BTreeMap, BTreeSet};

use super::Obstacle;

/// Which revisions come before which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions(BTreeMap<String, Vec<String>>);

impl Revisions {
    /// Read the Python files of a folder, each as path and text. A file without a revision is none.
    ///
    /// # Errors
    /// [`Obstacle::RevisionFile`] for a value that is computed, or a revision that two files have.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Obstacle> {
        let mut revisions = BTreeMap::new();
        for (file, text) in files {
            let wrong = |what| Obstacle::RevisionFile { file: file.to_owned(), what };
            let Some(own) = value(text, "revision") else { continue };
            let [own] = own.as_slice() else { return Err(wrong("its revision is not a plain text")) };
            // What another branch must have made before counts as an ancestor too.
            let before = value(text, "down_revision").ok_or_else(|| wrong("it does not say down_revision"))?;
            let needed = value(text, "depends_on").unwrap_or_default();
            let before = before.into_iter().chain(needed).collect();
            if revisions.insert(own.clone(), before).is_some() {
                return Err(wrong("another file has the same revision"));
            }
        }
        Ok(Self(revisions))
    }

    /// The heads and all that came before them.
    ///
    /// # Errors
    /// [`Obstacle::UnknownRevision`].
    pub fn applied(&self, heads: &[String]) -> Result<BTreeSet<String>, Obstacle> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&String> = heads.iter().collect();
        while let Some(revision) = open.pop() {
            let before =
                self.0.get(revision).ok_or_else(|| Obstacle::UnknownRevision { revision: revision.clone() })?;
            if found.insert(revision.clone()) {
                open.extend(before);
            }
        }
        Ok(found)
    }
}

/// The texts that a variable at column 0 is given; nothing for `None`. A tuple may go over several lines.
fn value(text: &str, name: &str) -> Option<Vec<String>> {
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ':']) && rest.contains('='))
    };
    let line = text.lines().find(is_it)?;
    let start = text.find(&format!("\n{line}")).map_or(0, |at| at + 1);
    let behind = text.get(start..)?.split_once('=')?.1;
    let trimmed = behind.trim_start();
    let end = match trimmed.chars().next() {
        Some('(') => trimmed.find(')'),
        Some('[') => trimmed.find(']'),
        _ => trimmed.find(['\n', '#']),
    };
    let own = trimmed.get(..end.unwrap_or(trimmed.len()))?;
    Some(quoted(own))
}

/// The quoted texts in a piece of Python.
fn quoted(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(at) = text.find(['"', '\'']) {
        // The mark is one byte, and so is its end.
        let (mark, rest) = (text.get(at..=at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        let Some((inside, after)) = rest.split_once(mark) else { break };
        found.push(inside.to_owned());
        text = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_in_every_way_in_which_alembic_writes_it() {
        #[track_caller]
        fn case(text: &str, before: &[&str]) {
            let read = Revisions::read([("a.py", text)]).unwrap();
            assert_eq!(read.0.get("abc").unwrap(), before, "{text}");
        }
        case("revision = 'abc'\ndown_revision = None\n", &[]);
        case("\"\"\"x\n\nRevision ID: abc\n\"\"\"\nrevision = \"abc\"\ndown_revision = \"x\"  # 'no'\n", &["x"]);
        case("revision: str = 'abc'\ndown_revision: Union[str, None] = 'x'\ndepends_on: str | None = None\n", &["x"]);
        case("revision: str = 'abc'\r\ndown_revision: Union[str, Sequence[str], None] = 'x'\r\n", &["x"]);
        case("revision = 'abc'\ndown_revision = (\n    'x',\n    'y',\n)\ndepends_on = ['z']\n", &["x", "y", "z"]);
    }

    #[test]
    fn a_file_that_hides_its_revision_is_refused_and_another_one_is_passed_over() {
        #[track_caller]
        fn case(text: &str, what: &str) {
            let error = Revisions::read([("a.py", text)]).map(|read| read.0.len()).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        case("revision = make()\ndown_revision = None\n", "not a plain text");
        case("revision = 'a'\n", "down_revision");
        assert_eq!(Revisions::read([("env.py", "import x\n    revision = 'a'\n")]), Ok(Revisions::default()));
        let twice = Revisions::read([
            ("a.py", "revision='a'\ndown_revision=None"),
            ("b.py", "revision='a'\ndown_revision=None"),
        ]);
        assert!(twice.unwrap_err().to_string().starts_with("b.py: another file"));
    }

    #[test]
    fn what_is_applied_are_the_heads_and_all_before_them_through_every_merge() {
        let graph = |edges: &[(&str, &[&str])]| {
            Revisions(
                edges
                    .iter()
                    .map(|(own, before)| ((*own).to_owned(), before.iter().map(|&text| text.to_owned()).collect()))
                    .collect(),
            )
        };
        let graph = graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"]), ("e", &["d"])]);
        let applied = |heads: &[&str]| {
            let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
            graph.applied(&heads).map(|found| found.into_iter().collect::<String>())
        };
        assert_eq!(applied(&["d"]), Ok("abcd".to_owned()));
        assert_eq!(applied(&["b", "c"]), Ok("abc".to_owned()));
        assert_eq!(applied(&["x"]), Err(Obstacle::UnknownRevision { revision: "x".to_owned() }));
    }
}
