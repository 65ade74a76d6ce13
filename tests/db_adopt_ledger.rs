//! `db adopt --from` through the real binary: the ledger of each tool, made as that tool makes it, is taken over and not touched.
//!
//! The tables are those of sqlx 0.9, dbmate 2.36, golang-migrate 4, goose 3.27, diesel 2.3, refinery 0.9, Flyway 10 and
//! Alembic 1.20 on PostgreSQL.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::support::cli::{Done, Home};
use crate::support::postgres::Database;

const UP: [&str; 3] = [
    "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL);\n",
    "CREATE TABLE u (id int);\nCREATE INDEX u_id ON u (id);\n",
    "CREATE TABLE v (id int);\n",
];
const DOWN: [&str; 3] = ["DROP TABLE t;\n", "DROP TABLE u;\n", "DROP TABLE v;\n"];

/// A database where a tool has applied the first two of three files, and a table that it did not make.
struct World {
    database: Database,
    home: Home,
    tool: &'static str,
    table: &'static str,
    options: &'static str,
}

impl World {
    async fn new(tool: &'static str, table: &'static str, ledger: &str, files: &[(String, String)]) -> Self {
        let database = Database::empty();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        for (name, text) in files {
            home.file(&format!("m/{name}"), text);
        }
        database.sql(&format!("{}{}CREATE TABLE stray (id int);{ledger}", UP[0], UP[1])).await;
        Self { database, home, tool, table, options: "" }
    }

    /// Run it and expect this status.
    #[track_caller]
    fn adopt(&self, options: &str, status: i32) -> Done {
        let line = format!("db adopt --from {} --dir m {} {options}", self.tool, self.options);
        self.home.line(line.trim()).exits(status)
    }

    /// The tool's table: definition, storage, rows with their places and transactions.
    async fn old(&self) -> Vec<String> {
        let table = self.table;
        let definition = "SELECT concat_ws(' ', attname, atttypid::regtype, attnotnull, attnum, relfilenode, relacl) \
                          FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attrelid = ";
        let mut lines = self.database.lines(&format!("{definition}'{table}'::regclass ORDER BY attnum")).await;
        lines.extend(self.database.lines(&format!("SELECT concat_ws(' ', ctid, xmin, x::text) FROM {table} x")).await);
        lines
    }

    /// All that must hold for every tool.
    async fn is_taken_over(&self, versions: [&str; 3]) {
        let old = self.old().await;
        let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'";
        let looked = self.adopt("--dry-run --json", 0).json();
        assert_eq!((&looked["proven"], &looked["dry_run"]), (&true.into(), &true.into()), "{looked}");
        assert_eq!(self.database.lines(schemas).await, [""; 0]);

        self.database.sql("ALTER TABLE t ALTER a DROP NOT NULL").await;
        self.adopt("", 7).says("the column public.t.a is not as the files make it: not null yes → none");
        self.database.sql("ALTER TABLE t ALTER a SET NOT NULL; DROP TABLE u").await;
        self.adopt("--json", 7).prints("the files make the table public.u, which is not there");
        self.adopt("--unproven", 7).says("--reason");
        assert_eq!(self.database.lines(schemas).await, [""; 0]);
        self.database.sql(UP[1]).await;

        let done = self.adopt("--json --reason moving", 0).json();
        let adopted: Vec<&str> =
            done["adopted"].as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap()).collect();
        assert_eq!(adopted, &versions[..2]);
        assert_eq!(done["tool"], self.tool);
        assert_eq!(done["table"], self.table);
        assert_eq!(done["current"], versions[1]);
        assert_eq!(done["proven"], true);
        assert!(done["notes"].to_string().contains("table public.stray"), "{done}");
        assert!(!done["notes"].to_string().contains(self.table), "{done}");
        let events = "SELECT concat_ws(' ', kind, version, details->>'tool', details->>'table', details->>'proven', reason) \
                      FROM llmhub.migration_event WHERE kind <> 'failed' ORDER BY id LIMIT 1";
        let event = format!("adopted {} {} {} true moving", versions[0], self.tool, self.table);
        assert_eq!(self.database.lines(events).await, [event]);

        let again = self.adopt("--json", 0).json();
        assert_eq!(again["adopted"], serde_json::json!([]));
        self.home.line("db apply --dir m").exits(0).prints(versions[2]);
        self.adopt("", 0).prints("it was taken over before");
        let status = self.home.line("db status --dir m --json").exits(0).json();
        assert_eq!((status["applied"].as_array().unwrap().len(), &status["pending"]), (3, &serde_json::json!([])));
        assert_eq!(self.old().await, old);
    }
}

/// Files `01_t.up.sql`, `01_t.down.sql` and so on.
fn paired() -> Vec<(String, String)> {
    let pair = |number: usize, name: &str| {
        let file = |way: &str, text: &str| (format!("0{}_{name}.{way}.sql", number + 1), text.to_owned());
        [file("up", UP[number]), file("down", DOWN[number])]
    };
    [pair(0, "t"), pair(1, "u"), pair(2, "v")].concat()
}

/// One file each, with this text before the up and before the down.
fn marked(up: &str, down: &str) -> Vec<(String, String)> {
    let file = |(number, name): (usize, &str)| {
        (format!("0{}_{name}.sql", number + 1), format!("{up}\n{}{down}\n{}", UP[number], DOWN[number]))
    };
    ["t", "u", "v"].into_iter().enumerate().map(file).collect()
}

/// A manifest over files of these names, with a name of the undoing file where there is one.
fn listed(names: [&str; 3]) -> Vec<(String, String)> {
    let mut manifest = String::new();
    let mut files: Vec<(String, String)> = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        manifest.push_str(&format!("[[migration]]\nversion = '{}'\nup = '{name}'\n", number + 1));
        files.push((name.to_owned(), UP[number].to_owned()));
    }
    files.push(("llmhub.migrations.toml".to_owned(), manifest));
    files
}

fn sqlx_ledger() -> String {
    let row = |number: usize, name: &str| {
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES ({}, '{name}', true, sha384(convert_to($${}$$, 'UTF8')), 1000);",
            number + 1,
            UP[number]
        )
    };
    format!(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, \
         execution_time BIGINT NOT NULL);{}{}",
        row(0, "t"),
        row(1, "u")
    )
}

#[tokio::test]
async fn sqlx_is_taken_over_by_version_and_checksum() {
    let world = World::new("sqlx", "public._sqlx_migrations", &sqlx_ledger(), &paired()).await;
    world.is_taken_over(["01", "02", "03"]).await;
}

#[tokio::test]
async fn what_was_taken_over_can_be_rolled_back() {
    let world = World::new("sqlx", "public._sqlx_migrations", &sqlx_ledger(), &paired()).await;
    let old = world.old().await;
    world.adopt("", 0).prints("PROVEN");
    world.home.line("db rollback --dir m -y --no-backup --reason 'nothing is in it'").exits(0).says("PROVEN");
    assert_eq!(world.database.lines("SELECT to_regclass('u')::text IS NULL || ''").await, ["true"]);
    assert_eq!(world.old().await, old);
}

#[tokio::test]
async fn sqlx_rows_that_cannot_be_trusted_are_refused_by_name() {
    let world = World::new("sqlx", "public._sqlx_migrations", &sqlx_ledger(), &paired()).await;
    let files = |name: &str, text: &str| drop(world.home.file(&format!("m/{name}"), text));
    files("01_t.up.sql", &UP[0].replace('\n', "\r\n"));
    world.adopt("--dry-run", 0);
    files("01_t.up.sql", &format!("-- later\n{}", UP[0]));
    world
        .adopt("", 7)
        .says("01_t.up.sql is not the text that was applied: the checksum of the version 1 (t) is another");
    world.adopt("--unproven --reason 'a comment' --dry-run", 0).prints("not proven");
    files("01_t.up.sql", UP[0]);

    let set = |sql: &'static str| world.database.sql(sql);
    set("UPDATE _sqlx_migrations SET success = false WHERE version = 2").await;
    world.adopt("--unproven --reason no", 7).says("the version 2 (u) is recorded as failed");
    set("UPDATE _sqlx_migrations SET success = true, version = 3 WHERE version = 2").await;
    world.adopt("", 7).says("02_u.up.sql is not recorded as applied, and the later 03_v.up.sql is");
    set("UPDATE _sqlx_migrations SET version = 7 WHERE version = 3").await;
    world.adopt("", 7).says("the version 7 (u) is recorded as applied, and no file is that migration");
    set("DELETE FROM _sqlx_migrations").await;
    world.adopt("", 7).says("it records nothing as applied");
}

#[tokio::test]
async fn dbmate_is_told_from_golang_migrate_and_rails_by_its_columns() {
    let ledger = "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);\
                  INSERT INTO schema_migrations VALUES ('02'), ('01');";
    let files = marked("-- migrate:up", "-- migrate:down");
    let world = World::new("dbmate", "public.schema_migrations", ledger, &files).await;
    let other = |tool: &str| world.home.line(&format!("db adopt --from {tool} --dir m")).exits(7);
    other("golang-migrate").says("public.schema_migrations is dbmate's");
    world.database.sql("CREATE TABLE ar_internal_metadata (key varchar)").await;
    world.adopt("", 7).says("that of Rails");
    world.database.sql("DROP TABLE ar_internal_metadata").await;
    world.is_taken_over(["01", "02", "03"]).await;
}

#[tokio::test]
async fn golang_migrate_means_everything_up_to_its_row() {
    let ledger = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);\
                  INSERT INTO schema_migrations VALUES (2, false);";
    let world = World::new("golang-migrate", "public.schema_migrations", ledger, &paired()).await;
    world.database.sql("UPDATE schema_migrations SET dirty = true").await;
    world.adopt("", 7).says("the version 2 (dirty) is recorded as failed");
    world.database.sql("UPDATE schema_migrations SET dirty = false").await;
    world.is_taken_over(["01", "02", "03"]).await;
}

#[tokio::test]
async fn gooses_newest_rows_are_taken_over() {
    let ledger = "CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, \
                  version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now());\
                  INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (3, true), (3, false);";
    let files = marked("-- +goose Up", "-- +goose Down");
    let world = World::new("goose", "public.goose_db_version", ledger, &files).await;
    world.is_taken_over(["01", "02", "03"]).await;
}

#[tokio::test]
async fn diesels_versions_are_digits_of_its_folders() {
    let ledger = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
                  run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);\
                  INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000000'), ('20240102030405');";
    let folder = |name: &str, number: usize| {
        [(format!("{name}/up.sql"), UP[number].to_owned()), (format!("{name}/down.sql"), DOWN[number].to_owned())]
    };
    let files =
        [folder("00000000000000_t", 0), folder("2024-01-02-030405_u", 1), folder("2024-01-03-030405_v", 2)].concat();
    let world = World::new("diesel", "public.__diesel_schema_migrations", ledger, &files).await;
    world.is_taken_over(["00000000000000", "20240102030405", "20240103030405"]).await;
}

#[tokio::test]
async fn refinerys_rows_are_checked_by_their_hash() {
    // Rust's own hasher is the algorithm that refinery has kept.
    let row = |number: usize, name: &str| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        (i32::try_from(number).unwrap() + 1).hash(&mut hasher);
        UP[number].hash(&mut hasher);
        format!(
            "INSERT INTO refinery_schema_history VALUES ({}, '{name}', '2026-01-01T00:00:00Z', '{}');",
            number + 1,
            hasher.finish()
        )
    };
    let ledger = format!(
        "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), \
         checksum VARCHAR(255));{}{}",
        row(0, "t"),
        row(1, "u")
    );
    let files = listed(["V1__t.sql", "V2__u.sql", "V3__v.sql"]);
    let world = World::new("refinery", "public.refinery_schema_history", &ledger, &files).await;
    world.database.sql("UPDATE refinery_schema_history SET checksum = '7' WHERE version = 2").await;
    world.adopt("", 7).says("V2__u.sql is not the text that was applied");
    world.database.sql("DELETE FROM refinery_schema_history WHERE version = 2").await;
    world.database.sql(&row(1, "u")).await;
    world.is_taken_over(["1", "2", "3"]).await;
}

#[tokio::test]
async fn flyways_rows_are_found_by_their_files() {
    let ledger = "CREATE SCHEMA app; CREATE TABLE app.flyway_schema_history (installed_rank INT NOT NULL, version VARCHAR(50), \
         description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL, script VARCHAR(1000) NOT NULL, checksum INTEGER, \
         installed_by VARCHAR(100) NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT now(), execution_time INTEGER NOT NULL, \
         success BOOLEAN NOT NULL);\
         ALTER TABLE app.flyway_schema_history ADD CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank);\
         CREATE INDEX flyway_schema_history_s_idx ON app.flyway_schema_history (success);\
         INSERT INTO app.flyway_schema_history VALUES \
         (0, NULL, '<< Flyway Schema Creation >>', 'SCHEMA', '\"app\"', NULL, 'app', now(), 0, true), \
         (1, '1', 't', 'SQL', 'V1__t.sql', -500035772, 'app', now(), 5, true), \
         (2, '1.1', 'u', 'SQL', 'V1.1__u.sql', 254375809, 'app', now(), 5, true), \
         (3, '2', 'v', 'SQL', 'V2__v.sql', 1, 'app', now(), 5, true), \
         (4, '2', 'v', 'UNDO_SQL', 'U2__v.sql', 1, 'app', now(), 5, true);";
    let files = listed(["V1__t.sql", "V1.1__u.sql", "V2__v.sql"]);
    let world = World::new("flyway", "app.flyway_schema_history", ledger, &files).await;
    let set = |sql: &'static str| world.database.sql(sql);
    let manifest = world.home.path().join("m/llmhub.migrations.toml");
    let own = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    world.adopt("", 7).says("write llmhub.migrations.toml into the folder").says("up = \"V1.1__u.sql\"");
    std::fs::write(&manifest, own).unwrap();
    set("UPDATE app.flyway_schema_history SET success = false WHERE installed_rank = 2").await;
    world.adopt("", 7).says("the version 1.1 (V1.1__u.sql) is recorded as failed");
    set("UPDATE app.flyway_schema_history SET success = true, checksum = 7 WHERE installed_rank = 2").await;
    world.adopt("", 7).says("V1.1__u.sql is not the text that was applied");
    set("UPDATE app.flyway_schema_history SET checksum = 254375809 WHERE installed_rank = 2").await;
    world.is_taken_over(["1", "2", "3"]).await;
}

#[tokio::test]
async fn alembics_heads_are_taken_over_with_its_python_files() {
    let ledger = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, \
                  CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));INSERT INTO alembic_version VALUES ('27c6a30d7c24');";
    let files = listed(["ae1027a6acf_t.sql", "27c6a30d7c24_u.sql", "3c1b2f0d11aa_v.sql"]);
    let mut world = World::new("alembic", "public.alembic_version", ledger, &files).await;
    world.adopt("", 7).says("27c6a30d7c24 is all that is recorded").says("--revisions PATH");
    for (own, before) in
        [("ae1027a6acf", "None"), ("27c6a30d7c24", "'ae1027a6acf'"), ("3c1b2f0d11aa", "'27c6a30d7c24'")]
    {
        let text = format!("revision: str = '{own}'\ndown_revision: Union[str, None] = {before}\n");
        world.home.file(&format!("versions/{own}_x.py"), text);
    }
    world.options = "--revisions versions";
    world.is_taken_over(["1", "2", "3"]).await;
}

#[tokio::test]
async fn which_ledger_is_meant_is_found_or_asked_for_and_never_guessed() {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    for (name, text) in paired() {
        home.file(&format!("m/{name}"), text);
    }
    home.line("db adopt --from auto --dir m").exits(4).says("_sqlx_migrations, schema_migrations, goose_db_version");
    home.line("db adopt --from goose --dir m").exits(4).says("has a table goose_db_version");
    database.sql("CREATE TABLE schema_migrations (id int, filename text)").await;
    home.line("db adopt --from auto --dir m").exits(7).says("has the columns of no tool that is known here");
    database.sql(&format!("{}{}{}DROP TABLE schema_migrations", UP[0], UP[1], sqlx_ledger())).await;
    home.line("db adopt --from auto --dir m --dry-run").exits(0).prints("sqlx's public._sqlx_migrations");
    database.sql("CREATE SCHEMA \"Old\"; CREATE TABLE \"Old\".ledger AS TABLE _sqlx_migrations").await;
    home.line("db adopt --from sqlx --table Old.ledger --dir m --dry-run").exits(0).prints("Old.ledger");
    database.sql("CREATE TABLE \"Old\"._sqlx_migrations AS TABLE _sqlx_migrations").await;
    home.line("db adopt --from auto --dir m")
        .exits(5)
        .says("Old._sqlx_migrations is sqlx's; public._sqlx_migrations is sqlx's");
    home.line("db adopt --from sqlx --table public._sqlx_migrations --dir m").exits(0);
}

#[tokio::test]
async fn a_ledger_of_llmhubs_own_that_says_something_else_is_a_conflict() {
    let world = World::new("sqlx", "public._sqlx_migrations", &sqlx_ledger(), &paired()).await;
    world.home.line("db baseline 01 --dir m").exits(0);
    world.adopt("--json", 5).prints("it has 01_t");
}

#[tokio::test]
async fn a_role_that_may_not_read_the_ledger_is_denied_and_a_reason_goes_on_where_no_proof_can_be_had() {
    let world = World::new("sqlx", "public._sqlx_migrations", &sqlx_ledger(), &paired()).await;
    let role = format!("reader_{}", world.database.name);
    let password = crate::support::postgres::CANARY_PASSWORD;
    let database = &world.database;
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'")).await;
    let url = database.url_for(&role, password, &database.server.host, database.server.port);
    let line = |options: &str| {
        world.home.line(format!("db adopt --from sqlx --dir m {options}").trim()).env("LLMHUB_DATABASE_URL", &url)
    };
    line("").exits(7).says("permission denied");
    database
        .sql(&format!(
            "GRANT SELECT ON _sqlx_migrations TO {role}; GRANT CREATE ON DATABASE {} TO {role}",
            database.name
        ))
        .await;
    line("").exits(7).says("may not create databases");
    line("--unproven --reason 'looked by hand'").exits(0).prints("not proven");
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
