//! What a test database may be called, which one may be dropped, and when a cached template fits.
//!
//! A name ending in `_test` says that its content is worth nothing. Any other database is dropped only if a comment on it
//! says, under this very name, that llmhub made it: a test database that was renamed is somebody's again.

use std::fmt;

use sha2::{Digest, Sha256};

use super::migrations::Migration;
use super::seeds::SeedSet;

/// What templates are called, before their hash.
pub const TEMPLATE: &str = "llmhub_tpl_";
/// What a database is called while it is being made, before a random number.
pub const UNFINISHED: &str = "llmhub_tmp_";

const TEMPLATE_MARK: &str = "template ";

/// A name that a test database may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestName(String);

/// Why a name cannot be a test database's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestNameError {
    /// Nothing, too much, or what cannot be typed.
    #[error("a database name has 1 to 63 bytes and no control characters")]
    Malformed,
    /// The server's own, or one of our templates.
    #[error("`{0}` is not a test database and never will be: the server, or llmhub, needs it")]
    Reserved(String),
}

impl TestName {
    /// The name for tests beside `database`: itself if it ends in `_test`, else with `_test` added.
    ///
    /// # Errors
    /// [`TestNameError`].
    pub fn beside(database: &str) -> Result<Self, TestNameError> {
        if database.ends_with("_test") { database.parse() } else { format!("{database}_test").parse() }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The comment that says llmhub made this database.
    pub fn mark(&self) -> String {
        format!("test database {}, made by llmhub db setup-test, which may drop it", self.0)
    }

    /// Whether a database of this name may be dropped, given the comment on it.
    pub fn may_be_dropped(&self, comment: Option<&str>) -> bool {
        self.0.ends_with("_test") || self.is_marked(comment)
    }

    /// Whether the comment is ours.
    pub fn is_marked(&self, comment: Option<&str>) -> bool {
        comment == Some(self.mark().as_str())
    }
}

impl std::str::FromStr for TestName {
    type Err = TestNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // PostgreSQL would cut a longer name off, and then another database is meant.
        if !(1..=63).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(TestNameError::Malformed);
        }
        let folded = name.to_ascii_lowercase();
        let reserved =
            folded == "postgres" || ["template", TEMPLATE, UNFINISHED].iter().any(|prefix| folded.starts_with(prefix));
        if reserved { Err(TestNameError::Reserved(name.to_owned())) } else { Ok(Self(name.to_owned())) }
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that decides what is in a template, as one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateKey(String);

impl TemplateKey {
    /// The key of a template made of these migrations and seeds by `role` (who owns its objects) on a server of `version`.
    /// llmhub's own version counts, because it decides the ledger's form.
    ///
    /// # Errors
    /// A sentence, for a migration that cannot be split.
    pub fn of(migrations: &[Migration], seeds: &[SeedSet], version: i32, role: &str) -> Result<Self, String> {
        let mut hash = Sha256::new();
        // Each part is preceded by its length, so that no two lists of parts look the same.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(env!("CARGO_PKG_VERSION").as_bytes());
        part(&version.to_be_bytes());
        part(role.as_bytes());
        part(&(migrations.len() as u64).to_be_bytes());
        for migration in migrations {
            part(migration.version.as_str().as_bytes());
            part(migration.name.as_bytes());
            for script in [Some(&migration.up), migration.down.as_ref()] {
                let sum = script.map(|script| script.checksum().map_err(|error| format!("{}: {error}", script.file())));
                part(sum.transpose()?.as_ref().map_or("", |sum| sum.as_str()).as_bytes());
            }
        }
        for set in seeds {
            part(set.name().as_bytes());
            part(set.hash());
        }
        Ok(Self(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The template's name.
    pub fn database(&self) -> String {
        format!("{TEMPLATE}{}", self.0)
    }

    /// Whether a comment is that of a finished template, of whatever key.
    pub fn is_mark(comment: &str) -> bool {
        comment.starts_with(TEMPLATE_MARK)
    }

    /// The comment that a finished template carries.
    pub fn mark(&self) -> String {
        format!("{TEMPLATE_MARK}{} of llmhub db setup-test; it may be dropped, and is made again when needed", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::migrations::embedded;
    use super::super::seeds;
    use super::*;

    #[test]
    fn the_default_name_ends_in_test_exactly_once() {
        #[track_caller]
        fn case(database: &str, expected: Result<&str, TestNameError>) {
            let name = TestName::beside(database);
            assert_eq!(name.as_ref().map(TestName::as_str), expected.as_ref().copied(), "{database}");
        }
        case("unicorn_test", Ok("unicorn_test"));
        case("unicorn", Ok("unicorn_test"));
        case("postgres", Ok("postgres_test"));
        case("template1", Err(TestNameError::Reserved("template1_test".to_owned())));
        case(&"x".repeat(59), Err(TestNameError::Malformed));
    }

    #[test]
    fn the_servers_own_databases_and_our_templates_are_no_test_databases() {
        for name in
            ["postgres", "Postgres", "template0", "template1", "template_mine", "llmhub_tpl_00", "llmhub_tmp_00"]
        {
            assert_eq!(name.parse::<TestName>(), Err(TestNameError::Reserved(name.to_owned())));
        }
        for name in ["", "a\nb", &"x".repeat(64)] {
            assert_eq!(name.parse::<TestName>(), Err(TestNameError::Malformed), "{name:?}");
        }
        for name in ["hub", "Hub Test", "postgres_test", "ä_test", "a\"b\\c'd"] {
            assert!(name.parse::<TestName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn only_a_name_or_a_mark_allows_a_drop_and_the_mark_speaks_of_one_name() {
        #[track_caller]
        fn case(name: &str, comment: Option<&str>, expected: bool) {
            assert_eq!(name.parse::<TestName>().unwrap().may_be_dropped(comment), expected, "{name} {comment:?}");
        }
        let mark = "scratch".parse::<TestName>().unwrap().mark();
        case("hub_test", None, true);
        case("hub_test", Some("production!"), true);
        case("hub", None, false);
        case("hub", Some("made by llmhub"), false);
        case("scratch", Some(&mark), true);
        case("hub", Some(&mark), false);
        case("hub_TEST", None, false);
    }

    #[test]
    fn whatever_decides_the_content_decides_the_key() {
        let migrations = embedded();
        let sets = seeds::embedded().unwrap();
        let key = |count: usize, sets: &[SeedSet], version, role| {
            TemplateKey::of(migrations.get(..count).unwrap(), sets, version, role).unwrap()
        };
        let base = key(3, &sets, 150_000, "me");
        assert_eq!(base, key(3, &sets, 150_000, "me"));
        for (other, what) in [
            (key(2, &sets, 150_000, "me"), "a migration less"),
            (key(3, &sets[1..], 150_000, "me"), "a set less"),
            (key(3, &sets, 150_001, "me"), "another server"),
            (key(3, &sets, 150_000, "you"), "another owner"),
        ] {
            assert_ne!(base, other, "{what}");
        }
        assert_eq!(base.database().len(), TEMPLATE.len() + 32);
        assert!(TemplateKey::is_mark(&base.mark()));
        assert!(!TemplateKey::is_mark(&"a_test".parse::<TestName>().unwrap().mark()));
    }
}
