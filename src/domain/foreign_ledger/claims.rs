//! What the rows of each tool's table say is applied, in that tool's own meaning of its rows.

use std::collections::BTreeMap;

use super::{Checksum, FlywayVersion, Obstacle, Revisions, Tool, VersionWidth, flyway};

/// The rows of a ledger, as its tool writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// `_sqlx_migrations`, in any order.
    Sqlx(Vec<SqlxRow>),
    /// The versions of dbmate's `schema_migrations`.
    Dbmate(Vec<String>),
    /// golang-migrate's `schema_migrations`: one row, or none.
    GolangMigrate(Vec<GolangMigrateRow>),
    /// `goose_db_version`, in the order of `id`.
    Goose(Vec<GooseRow>),
    /// The versions of `__diesel_schema_migrations`.
    Diesel(Vec<String>),
    /// `refinery_schema_history`, in any order.
    Refinery(Vec<RefineryRow>),
    /// `flyway_schema_history`, in the order of `installed_rank`.
    Flyway(Vec<FlywayRow>),
    /// The heads of `alembic_version`.
    Alembic(Vec<String>),
}

/// A row of `_sqlx_migrations`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of that tool")]
pub struct SqlxRow {
    pub version: i64,
    pub description: String,
    pub success: bool,
    pub checksum: Vec<u8>,
}

/// The row of golang-migrate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of that tool")]
pub struct GolangMigrateRow {
    pub version: i64,
    pub dirty: bool,
}

/// A row of `goose_db_version`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of that tool")]
pub struct GooseRow {
    pub version_id: i64,
    pub is_applied: bool,
}

/// A row of `refinery_schema_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefineryRow {
    /// The version.
    pub version: i64,
    /// How wide the column is.
    pub width: VersionWidth,
    /// The name.
    pub name: String,
    /// The checksum, in decimal digits.
    pub checksum: String,
}

/// A row of `flyway_schema_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlywayRow {
    /// Nothing for what is repeatable.
    pub version: Option<String>,
    /// The column `type`.
    pub kind: String,
    /// The file.
    pub script: String,
    /// Nothing for what has no file.
    pub checksum: Option<i32>,
    /// Whether it ended well.
    pub success: bool,
}

/// Something that a ledger says is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The row, as messages name it.
    pub row: String,
    /// How its files are found.
    pub key: Key,
    /// What the file was, where the tool keeps that.
    pub checksum: Option<Checksum>,
}

/// How the files of a claim are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The file with this version.
    Version(String),
    /// The file with this version, and every file before it.
    UpTo(String),
    /// Flyway's file of this name, or with this version.
    FlywayFile {
        /// The version.
        version: FlywayVersion,
        /// The file's name.
        script: String,
    },
    /// Flyway's files up to this version, if there are any.
    FlywayUpTo(FlywayVersion),
    /// The file whose name begins with this revision.
    Revision(String),
}

/// What a ledger says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// What is applied.
    pub claims: Vec<Claim>,
    /// What the operator should know of it, one sentence each.
    pub notes: Vec<String>,
}

impl Claims {
    /// A manifest (`llmhub.migrations.toml`) of the files that the rows name, in their order; for tools whose names of files are no
    /// layout here. `None` where the rows name none.
    pub fn manifest(&self) -> Option<String> {
        let file = |claim: &Claim| match &claim.key {
            Key::FlywayFile { script, .. } => Some(script.clone()),
            Key::Version(version) => match &claim.checksum {
                Some(Checksum::Sip { name, .. }) => Some(format!("V{version}__{name}.sql")),
                _ => None,
            },
            Key::UpTo(_) | Key::FlywayUpTo(_) | Key::Revision(_) => None,
        };
        let files: Vec<String> = self.claims.iter().filter_map(file).collect();
        let entry = |(number, file): (usize, &String)| {
            format!("[[migration]]\nversion = \"{}\"\nup = {}\n", number + 1, toml::Value::from(file.as_str()))
        };
        (!files.is_empty()).then(|| files.iter().enumerate().map(entry).collect())
    }
}

impl Rows {
    /// Whose rows they are.
    pub fn tool(&self) -> Tool {
        match self {
            Self::Sqlx(_) => Tool::Sqlx,
            Self::Dbmate(_) => Tool::Dbmate,
            Self::GolangMigrate(_) => Tool::GolangMigrate,
            Self::Goose(_) => Tool::Goose,
            Self::Diesel(_) => Tool::Diesel,
            Self::Refinery(_) => Tool::Refinery,
            Self::Flyway(_) => Tool::Flyway,
            Self::Alembic(_) => Tool::Alembic,
        }
    }

    /// What they say is applied. `revisions` is Alembic's graph; the others need none.
    ///
    /// # Errors
    /// [`Obstacle`] for a row that cannot be trusted, and for no row at all.
    pub fn claims(&self, revisions: Option<&Revisions>) -> Result<Claims, Obstacle> {
        let found = match self {
            Self::Sqlx(rows) => sqlx(rows)?,
            Self::Dbmate(versions) | Self::Diesel(versions) => {
                let claim = |version: &String| plain(version, Key::Version(version.clone()));
                Claims { claims: versions.iter().map(claim).collect(), notes: Vec::new() }
            }
            Self::GolangMigrate(rows) => golang_migrate(rows)?,
            Self::Goose(rows) => goose(rows),
            Self::Refinery(rows) => refinery(rows),
            Self::Flyway(rows) => flyway::claims(rows)?,
            Self::Alembic(heads) => alembic(heads, revisions)?,
        };
        if found.claims.is_empty() { Err(Obstacle::Empty) } else { Ok(found) }
    }
}

fn plain(version: &str, key: Key) -> Claim {
    Claim { row: format!("the version {version}"), key, checksum: None }
}

fn sqlx(rows: &[SqlxRow]) -> Result<Claims, Obstacle> {
    let mut found = Claims::default();
    for row in rows {
        let told = format!("the version {} ({})", row.version, row.description);
        if !row.success {
            return Err(Obstacle::Failed { row: told });
        }
        let checksum = Some(Checksum::Sha384(row.checksum.clone()));
        found.claims.push(Claim { row: told, key: Key::Version(row.version.to_string()), checksum });
    }
    Ok(found)
}

fn golang_migrate(rows: &[GolangMigrateRow]) -> Result<Claims, Obstacle> {
    let mut found = Claims::default();
    for row in rows {
        if row.dirty {
            return Err(Obstacle::Failed { row: format!("the version {} (dirty)", row.version) });
        }
        // It writes -1 for "nothing".
        if row.version >= 0 {
            let version = row.version.to_string();
            found.notes.push(format!(
                "golang-migrate records the version {version} only; that all before it were applied is its rule, which only the comparison \
                 with the live schema can prove"
            ));
            found.claims.push(plain(&version, Key::UpTo(version.clone())));
        }
    }
    Ok(found)
}

fn goose(rows: &[GooseRow]) -> Claims {
    // A version that was rolled back may have a newer row that says so; the row 0 says that the table was made.
    let newest: BTreeMap<i64, bool> = rows.iter().map(|row| (row.version_id, row.is_applied)).collect();
    let applied = newest.into_iter().filter(|(version, applied)| *version != 0 && *applied);
    let claim = |(version, _): (i64, bool)| plain(&version.to_string(), Key::Version(version.to_string()));
    Claims { claims: applied.map(claim).collect(), notes: Vec::new() }
}

fn refinery(rows: &[RefineryRow]) -> Claims {
    let claim = |row: &RefineryRow| Claim {
        row: format!("the version {} ({})", row.version, row.name),
        key: Key::Version(row.version.to_string()),
        checksum: row.checksum.parse().ok().map(|sum| Checksum::Sip {
            sum,
            name: row.name.clone(),
            version: row.version,
            width: row.width,
        }),
    };
    let unread = rows.iter().filter(|row| row.checksum.parse::<u64>().is_err());
    let notes = unread.map(|row| format!("the version {} has no checksum that can be read: not checked", row.version));
    Claims { claims: rows.iter().map(claim).collect(), notes: notes.collect() }
}

fn alembic(heads: &[String], revisions: Option<&Revisions>) -> Result<Claims, Obstacle> {
    if heads.is_empty() {
        return Ok(Claims::default());
    }
    let Some(revisions) = revisions else {
        return Err(Obstacle::NoRevisions { heads: heads.join(", ") });
    };
    let applied = revisions.applied(heads)?;
    let claim = |revision: String| Claim {
        row: format!("the revision {revision}"),
        key: Key::Revision(revision),
        checksum: None,
    };
    Ok(Claims { claims: applied.into_iter().map(claim).collect(), notes: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(rows: &Rows, expected: &str) {
        let told = match rows.claims(None) {
            Ok(found) => found.claims.into_iter().map(|claim| claim.row).collect::<Vec<_>>().join(", "),
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected, "{rows:?}");
    }

    #[test]
    fn nothing_recorded_is_nothing_to_adopt() {
        const EMPTY: &str = "it records nothing as applied";
        case(&Rows::Sqlx(vec![]), EMPTY);
        case(&Rows::Alembic(vec![]), EMPTY);
        case(&Rows::GolangMigrate(vec![]), EMPTY);
        case(&Rows::Goose(vec![GooseRow { version_id: 0, is_applied: true }]), EMPTY);
    }

    #[test]
    fn a_row_that_did_not_succeed_is_refused() {
        let row = |version, success| SqlxRow { version, description: "a".to_owned(), success, checksum: vec![] };
        case(&Rows::Sqlx(vec![row(1, true)]), "the version 1 (a)");
        let failed = "the version 2 (a) is recorded as failed, and what it left behind is not known";
        case(&Rows::Sqlx(vec![row(1, true), row(2, false)]), failed);
    }

    #[test]
    fn golang_migrate_says_up_to_where_and_a_dirty_row_says_nothing() {
        let rows = |version, dirty| Rows::GolangMigrate(vec![GolangMigrateRow { version, dirty }]);
        case(&rows(3, false), "the version 3");
        case(&rows(-1, false), "it records nothing as applied");
        case(&rows(3, true), "the version 3 (dirty) is recorded as failed, and what it left behind is not known");
    }

    #[test]
    fn gooses_newest_row_of_a_version_counts_and_row_0_never() {
        let rows = |rows: &[(i64, bool)]| {
            Rows::Goose(rows.iter().map(|&(version_id, is_applied)| GooseRow { version_id, is_applied }).collect())
        };
        case(&rows(&[(0, true), (1, true), (2, true)]), "the version 1, the version 2");
        case(&rows(&[(0, true), (1, true), (2, true), (2, false)]), "the version 1");
        case(&rows(&[(1, true), (1, false), (1, true)]), "the version 1");
    }

    #[test]
    fn the_manifest_lists_the_files_that_the_rows_name_in_their_order() {
        let row = |version: &str, script: &str| FlywayRow {
            version: Some(version.to_owned()),
            kind: "SQL".to_owned(),
            script: script.to_owned(),
            checksum: None,
            success: true,
        };
        let flyway = Rows::Flyway(vec![row("1.10", "V1.10__b.sql"), row("1.9", "sql/V1.9__a.sql")]);
        let expected = "[[migration]]\nversion = \"1\"\nup = \"sql/V1.9__a.sql\"\n\
                        [[migration]]\nversion = \"2\"\nup = \"V1.10__b.sql\"\n";
        assert_eq!(flyway.claims(None).unwrap().manifest().as_deref(), Some(expected));
        assert_eq!(Rows::Dbmate(vec!["1".to_owned()]).claims(None).unwrap().manifest(), None);
    }

    #[test]
    fn alembics_heads_alone_say_too_little() {
        let words = "ab, cd is all that is recorded: which revisions came before it stands in Alembic's own files only";
        case(&Rows::Alembic(vec!["ab".to_owned(), "cd".to_owned()]), words);
    }
}
