//! `db backup` and `db restore` through the real binary: what is whole is known to be whole, and nothing else looks so.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Home, Run};
use crate::support::postgres::{CANARY_PASSWORD, Database, binaries, server};

/// A database with rows, a home that names it, and a folder of programs that stand before the real ones on PATH.
struct World {
    database: Database,
    home: Home,
}

impl World {
    fn new() -> Self {
        let database = Database::migrated();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        sql(
            &database,
            "CREATE TABLE noise AS SELECT i, md5(i::text) || md5((i * 7)::text) AS text FROM generate_series(1, 20000) i; \
             CREATE SCHEMA \"Odd Schema\"; CREATE TABLE \"Odd Schema\".\"a \"\"table\" (i int); \
             INSERT INTO \"Odd Schema\".\"a \"\"table\" VALUES (1), (2); \
             CREATE TABLE parts (i int) PARTITION BY RANGE (i); \
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100); INSERT INTO parts VALUES (1), (2), (3)",
        );
        Self { database, home }
    }

    fn line(&self, line: &str) -> Run {
        self.home.line(line)
    }

    /// A finished backup `x.dump`.
    fn backup(&self) -> PathBuf {
        self.line("db backup x.dump").exits(0);
        self.home.path().join("x.dump")
    }

    /// A PATH whose `pg_dump` is this script, with the real one as `$REAL` and the folder as `$HERE`.
    fn script(&self, text: &str) -> String {
        let folder = self.home.path().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let real = binaries();
        symlink(real.join("pg_restore"), folder.join("pg_restore")).ok();
        let head = format!("#!/bin/sh\nREAL='{}/pg_dump'\nHERE='{}'\n", real.display(), folder.display());
        write_program(&folder.join("pg_dump"), &format!("{head}{text}"));
        format!("{}:/usr/bin:/bin", folder.display())
    }

    /// A `pg_dump` that stops in the middle of its output, until there is a file `go`.
    fn halting(&self) -> String {
        self.script(
            "case \"$1\" in --version) exec \"$REAL\" --version;; esac\n\
             printf '%s\\n' \"$@\" >\"$HERE/arguments\"; echo $$ >\"$HERE/pid\"\n\
             \"$REAL\" \"$@\" >\"$HERE/whole\" || exit 1\n\
             head -c 4000 \"$HERE/whole\"; touch \"$HERE/half\"\n\
             while [ ! -e \"$HERE/go\" ]; do sleep 0.05; done\n\
             tail -c +4001 \"$HERE/whole\"\n",
        )
    }

    fn wait_for(&self, name: &str) -> PathBuf {
        let path = self.home.path().join("bin").join(name);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !path.exists() {
            assert!(Instant::now() < deadline, "{name} never came");
            std::thread::sleep(Duration::from_millis(10));
        }
        path
    }

    /// What looks like a backup or the beginning of one, in the current folder of the runs.
    fn files(&self) -> Vec<String> {
        let names =
            fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.contains("dump")).collect();
        names.sort();
        names
    }

    /// The databases that begin with this one's name, without it.
    fn others(&self) -> Vec<String> {
        let name = &self.database.name;
        lines(
            &self.database,
            &format!("SELECT datname::text FROM pg_database WHERE datname LIKE '{name}\\_%' ORDER BY 1"),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Also after a failure: on somebody else's server nothing may stay behind.
        for name in self.others() {
            sql(&self.database, &format!("DROP DATABASE \"{name}\" WITH (FORCE)"));
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn sql(database: &Database, text: &str) {
    wait(database.sql(text));
}

fn lines(database: &Database, text: &str) -> Vec<String> {
    wait(database.lines(text))
}

fn write_program(path: &Path, text: &str) {
    // Through another process: a file that this one holds open for writing cannot be executed by a test beside it.
    let status = Command::new("sh")
        .args(["-c", "printf '%s' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"])
        .args([path.as_os_str(), text.as_ref()])
        .status();
    assert!(status.unwrap().success());
}

fn is_alive(pid: &str) -> bool {
    // A zombie in the hands of a container's first process has ended all the same.
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn noise(database: &Database) -> String {
    lines(database, "SELECT count(*)::text FROM noise").remove(0)
}

#[test]
fn a_backup_is_private_whole_and_described() {
    let world = World::new();
    let document = world.line("db backup x.dump --verify -o json").exits(0).json();
    let path = world.home.path().join("x.dump");
    assert_eq!(document["file"], path.to_str().unwrap());
    assert_eq!(document["database"], world.database.name.as_str());
    assert_eq!((&document["verified"], &document["deleted"]), (&Value::from("restore"), &serde_json::json!([])));
    assert_eq!(document["size"], fs::metadata(&path).unwrap().len());
    let metadata: Value = serde_json::from_slice(&fs::read(world.home.path().join("x.dump.json")).unwrap()).unwrap();
    assert_eq!((&metadata["sha256"], &metadata["current"]), (&document["sha256"], &Value::from("0003")));
    let rows = |schema: &str, name: &str| {
        let table = metadata["tables"]
            .as_array()
            .unwrap()
            .iter()
            .find(|table| table["schema"] == schema && table["name"] == name);
        table.map(|table| table["rows"].as_u64().unwrap())
    };
    assert_eq!(rows("public", "noise"), Some(20_000));
    assert_eq!(rows("Odd Schema", "a \"table"), Some(2));
    assert_eq!((rows("public", "parts"), rows("public", "parts_1")), (None, Some(3)));
    for name in ["x.dump", "x.dump.json"] {
        assert_eq!(fs::metadata(world.home.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(world.files(), ["x.dump", "x.dump.json"]);
    assert_eq!(
        lines(&world.database, "SELECT datname::text FROM pg_database WHERE datname LIKE 'llmhub\\_verify%'"),
        [""; 0]
    );
    // It never replaces a file.
    world.line("db backup x.dump").exits(7).says("a backup replaces nothing");
    world.line("db backup .").exits(2).says("is a folder");
}

#[test]
fn without_a_name_it_goes_into_the_state_folder_and_a_dry_run_writes_nothing() {
    let world = World::new();
    let folder = world.home.path().join(".local/state/llmhub/backups");
    let dry = world.line("db backup --dry-run -o json").exits(0).json();
    assert_eq!((&dry["dry_run"], &dry["sha256"]), (&Value::from(true), &Value::Null));
    assert!(!folder.exists());
    let made = world.line("db backup -o json").exits(0).json();
    assert_eq!((&made["rows"], &made["tables"]), (&dry["rows"], &dry["tables"]));
    let file = PathBuf::from(made["file"].as_str().unwrap());
    assert_eq!(file.parent().unwrap(), folder);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("{}-20", world.database.name)) && name.ends_with("Z.dump"), "{name}");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn writes_during_the_dump_are_in_the_next_backup_and_the_database_goes_there_and_back() {
    let world = World::new();
    let path = world.script(
        "case \"$1\" in --version) exec \"$REAL\" --version;; esac\n\
         touch \"$HERE/half\"; while [ ! -e \"$HERE/go\" ]; do sleep 0.05; done; exec \"$REAL\" \"$@\"\n",
    );
    let running = world.line("db backup x.dump -o json").env("PATH", path).spawn();
    world.wait_for("half");
    sql(&world.database, "INSERT INTO noise SELECT i, 'late' FROM generate_series(1, 500) i; DELETE FROM parts");
    fs::write(world.home.path().join("bin/go"), "").unwrap();
    let made = running.wait();
    assert_eq!(made.status, 0, "{}", made.stderr);
    let rows = made.json()["rows"].as_u64().unwrap();

    let name = world.database.name.clone();
    sql(
        &world.database,
        &format!(
            "ALTER DATABASE {name} SET work_mem TO '5MB'; ALTER DATABASE {name} SET search_path TO \"$user\", public; \
             COMMENT ON DATABASE {name} IS 'it''s ours'; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC; \
             ALTER DATABASE {name} CONNECTION LIMIT 77"
        ),
    );
    let properties = "SELECT concat_ws('|', datacl, datconnlimit, setconfig, shobj_description(d.oid, 'pg_database'), \
                      encoding, datcollate) FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid \
                      WHERE datname = current_database()";
    let before = lines(&world.database, properties);
    // Somebody works in it, and comes back as soon as it is thrown out.
    let restored = wait(async {
        let stop = tokio::sync::Notify::new();
        let busy = async {
            let url = world.database.url();
            let mut connection = None::<sqlx::PgConnection>;
            loop {
                // In the moment of the swap a login is turned away once; a pool tries again, and so does this.
                connection = match connection.take() {
                    None => <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.ok(),
                    Some(mut open) => {
                        sqlx::Executor::execute(&mut open, sqlx::raw_sql("SELECT 1")).await.ok().map(|_| open)
                    }
                };
                tokio::select! { () = stop.notified() => return, () = tokio::time::sleep(Duration::from_millis(2)) => {} }
            }
        };
        let run = world.line("db restore x.dump -y -o json");
        let restore = async {
            let done = tokio::task::spawn_blocking(|| run.exits(0)).await.unwrap();
            stop.notify_one();
            done
        };
        tokio::join!(busy, restore).1
    });
    let document = restored.json();
    assert_eq!((&document["restored"], &document["rows"]), (&Value::from(name.as_str()), &Value::from(rows)));
    assert_eq!(noise(&world.database), "20000");
    assert_eq!(lines(&world.database, properties), before);
    let previous = document["previous"].as_str().unwrap().to_owned();
    assert_eq!(world.others(), [previous.as_str()]);
    assert!(Path::new(document["safety_backup"].as_str().unwrap()).exists());

    // The way back is what was printed.
    let note =
        restored.stderr.lines().find_map(|line| line.split_once("to swap back, from another database of the server: "));
    let way_back = note.unwrap().1.to_owned();
    let outside = Database::empty();
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{name}', '{previous}')");
    sql(&outside, &end);
    sql(&outside, &way_back);
    assert_eq!(noise(&world.database), "20500");
    assert_eq!(lines(&world.database, properties), before);
    // And the safety backup holds what was there before the restore.
    let line = format!("db restore {} --into {name}_copy -y -o json", document["safety_backup"].as_str().unwrap());
    let copy = world.line(&line).exits(0).json();
    assert_eq!((&copy["previous"], &copy["safety_backup"]), (&Value::Null, &Value::Null));
    assert_eq!(copy["rows"], rows + 500 - 3);
}

#[test]
fn a_damaged_backup_is_refused_before_anything_happens() {
    let world = World::new();
    let file = world.backup();
    let whole = fs::read(&file).unwrap();
    let metadata = fs::read_to_string(world.home.path().join("x.dump.json")).unwrap();
    let refused = |said: &str| {
        world.line("db restore x.dump -y").exits(7).says(said);
        assert_eq!(world.others(), [""; 0]);
        assert!(!world.home.path().join(".local").exists(), "no safety backup before the check");
    };
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    refused("it is not whole");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, flipped).unwrap();
    refused("is not what was made");
    fs::write(&file, &whole).unwrap();
    // A table that the metadata names and the archive lacks.
    let more = metadata.replacen(
        "\"tables\": [",
        "\"tables\": [{\"schema\": \"public\", \"name\": \"gone\", \"rows\": 1},",
        1,
    );
    fs::write(world.home.path().join("x.dump.json"), more).unwrap();
    refused("does not hold the rows of public.gone");
    // Rows that are not there show only in the new database, which goes again.
    fs::write(world.home.path().join("x.dump.json"), metadata.replace("\"rows\": 20000", "\"rows\": 20001")).unwrap();
    world
        .line("db restore x.dump -y")
        .exits(7)
        .says("public.noise has 20000 rows instead of 20001")
        .says("is as it was");
    assert_eq!((world.others(), noise(&world.database)), (vec![], "20000".to_owned()));
    fs::write(world.home.path().join("x.dump.json"), metadata.replace("\"format\": 1", "\"format\": 2")).unwrap();
    world.line("db restore x.dump -y").exits(7).says("use the llmhub that made it");
    fs::remove_file(world.home.path().join("x.dump.json")).unwrap();
    world.line("db restore x.dump -y").exits(7).says("has no metadata");
    world.line("db restore x.dump -y --without-metadata").exits(7).says("needs a reason");
    let name = &world.database.name;
    world
        .line(&format!("db restore x.dump -y --without-metadata -m foreign --into {name}_new"))
        .exits(0)
        .prints("holds");
    world.line("db restore y.dump -y").exits(4).says("there is no file");
}

#[test]
fn a_dump_that_lacks_a_table_or_fails_half_way_leaves_nothing() {
    let world = World::new();
    for (script, said) in [
        ("exec \"$REAL\" \"$@\" --exclude-table=noise", "does not hold the rows of public.noise"),
        ("\"$REAL\" \"$@\" | head -c 5000; echo \"no more, said $PGPASSWORD\" >&2; exit 3", "no more, said ***"),
    ] {
        let path = world.script(&format!("case \"$1\" in --version) exec \"$REAL\" --version;; esac\n{script}\n"));
        world.line("db backup x.dump").env("PATH", path).exits(7).says(said).says("no backup was made");
        assert_eq!(world.files(), [""; 0], "{said}");
    }
}

#[test]
fn a_server_that_ends_the_snapshot_is_unreachable_and_leaves_nothing() {
    let world = World::new();
    let path = world.script(
        "case \"$1\" in --version) exec \"$REAL\" --version;; esac\n\
         touch \"$HERE/half\"; while [ ! -e \"$HERE/go\" ]; do sleep 0.05; done; exec \"$REAL\" \"$@\"\n",
    );
    let running = world.line("db backup x.dump -o json").env("PATH", path).spawn();
    world.wait_for("half");
    let name = &world.database.name;
    sql(
        &world.database,
        &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND application_name LIKE 'llmhub-db%'"
        ),
    );
    fs::write(world.home.path().join("bin/go"), "").unwrap();
    let done = running.wait();
    assert_eq!((done.status, done.code().as_str()), (6, "unreachable"));
    done.says("the server ended the backup");
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_full_disk_leaves_nothing_that_looks_whole() {
    let world = World::new();
    let run = |before: &str| {
        let folder = world.home.path().join("disk");
        fs::create_dir_all(&folder).unwrap();
        let line = format!("{before}; llmhub db backup disk/x.dump; code=$?; ls -A disk; exit $code");
        let mut shell = world.home.command("unshare", ["--mount", "sh", "-c", &line]);
        if before.contains("ulimit") {
            shell = world.home.command("sh", ["-c", &line]);
        }
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned(), text)
    };
    // With the signal ignored, a file over the limit fails as on a full disk: in the middle of the content.
    let (status, left, said) = run("trap '' XFSZ; ulimit -f 100");
    assert_eq!((status, left.as_str()), (7, ""), "{said}");
    assert!(said.contains("there is no room for"), "{said}");
    if is_root() {
        let (status, left, said) = run("mount -t tmpfs -o size=100k tmpfs disk || exit 99");
        // A container may forbid mounts even to root; then the limit above stands for the disk.
        if status != 99 && !said.contains("unshare failed") {
            assert_eq!((status, left.as_str()), (7, ""), "{said}");
            assert!(said.contains("there is no room for"), "{said}");
        }
    }
}

#[test]
fn a_pg_dump_that_is_older_than_the_server_is_passed_over_or_refused() {
    let world = World::new();
    let path = world.script("echo 'pg_dump (PostgreSQL) 9.6.24'\n");
    let old = world.home.path().join("bin/pg_dump");
    // Another one in the usual places is new enough.
    world.line("db backup x.dump").env("PATH", &path).exits(0);
    // The profile's own is not argued with.
    let program = world.home.path().join("bin/run");
    write_program(&program, &format!("#!/bin/sh\nexec '{}'\n", old.display()));
    let config = format!("default_profile = \"p\"\n[profiles.p]\npg_tools = [\"{}\"]\n", program.display());
    world.home.file(".config/llmhub/config.toml", config);
    let done = world.line("db backup y.dump -o json").exits(7);
    assert_eq!(done.code(), "unsupported");
    done.says("is 9.6.24, older than the server").says("nothing was done");
    world
        .home
        .file(".config/llmhub/config.toml", "default_profile = \"p\"\n[profiles.p]\npg_tools = [\"no-such-engine\"]\n");
    world.line("db backup y.dump").exits(7).says("cannot be started");
    if !is_root() {
        return;
    }
    // The usual places are hidden from one run, in a mount namespace that ends with it.
    fs::remove_file(world.home.path().join(".config/llmhub/config.toml")).unwrap();
    for (path, said) in [("bin", "found 9.6.24 in"), ("empty", "there is no pg_dump")] {
        let line = format!(
            "mount -t tmpfs tmpfs /usr/lib/postgresql || exit 99; PATH={}/{path} exec {} db backup y.dump",
            world.home.path().display(),
            env!("CARGO_BIN_EXE_llmhub"),
        );
        let output = world.home.command("unshare", ["--mount", "sh", "-c", &line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(99) && !text.contains("unshare failed") {
            assert_eq!(output.status.code(), Some(7), "{text}");
            assert!(text.contains(said) || text.contains("pg_restore"), "{text}");
        }
    }
    assert_eq!(world.files(), ["x.dump", "x.dump.json"]);
}

#[test]
fn an_engines_prefix_gets_the_password_by_name_and_uses_the_socket_beside_the_server() {
    let Some(socket) = &server().socket else { return };
    let world = World::new();
    let engine = world.home.path().join("bin/docker");
    fs::create_dir_all(engine.parent().unwrap()).unwrap();
    // A container: nothing passes but the variables that are named, the standard streams, and its own socket.
    let text = format!(
        "#!/bin/sh\necho \"$@\" >>'{0}/engine'\nshift; names=\nwhile [ \"$1\" = -e ]; do names=\"$2 $names\"; shift 2; done\n\
         shift 2; program=$1; shift\ntest \"${{PGHOST-none}}\" = none || exit 66\n\
         set -- PGHOST='{1}' PGPORT={2} {3}/$program \"$@\"\n\
         for name in $names; do eval \"set -- \\\"$name=\\$$name\\\" \\\"\\$@\\\"\"; done\nexec env -i \"$@\"\n",
        world.home.path().display(),
        socket.display(),
        server().port,
        binaries().display()
    );
    write_program(&engine, &text);
    let config = format!(
        "default_profile = \"p\"\n[profiles.p]\npg_tools = [\"{}\", \"exec\", \"-i\", \"box\"]\n",
        engine.display()
    );
    world.home.file(".config/llmhub/config.toml", config);
    world.line("db backup x.dump --verify").exits(0);
    world.line("db restore x.dump -y").exits(0);
    let calls = fs::read_to_string(world.home.path().join("engine")).unwrap();
    assert!(calls.contains("exec -e PGUSER -e PGPASSWORD"), "{calls}");
    assert!(calls.contains("-i box pg_dump --format=custom") && calls.contains("-i box pg_restore"), "{calls}");
    assert!(!calls.contains(CANARY_PASSWORD), "{calls}");
}

#[test]
fn a_killed_backup_looks_like_none_and_the_next_run_clears_up() {
    let world = World::new();
    let path = world.halting();
    let running = world.line("db backup x.dump").env("PATH", &path).spawn();
    world.wait_for("half");
    // A second run may not touch what a living one writes.
    world.line("db backup x.dump").exits(5).says("another llmhub is writing");
    // Neither program has the password among its arguments.
    let own = fs::read_to_string(world.home.path().join("bin/arguments")).unwrap();
    assert!(own.contains("--snapshot=") && !own.contains(CANARY_PASSWORD), "{own}");
    let tool = fs::read_to_string(world.home.path().join("bin/pid")).unwrap();
    for process in [running.id().to_string().as_str(), tool.trim()] {
        let line = fs::read(format!("/proc/{process}/cmdline")).expect("it runs");
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.contains("dump") && !line.contains(CANARY_PASSWORD), "{line}");
    }
    running.signal("KILL");
    let done = running.wait();
    assert_eq!(done.status, -9);
    assert_eq!(world.files(), ["x.dump.partial"]);
    world.line("db restore x.dump -y").exits(4);
    // pg_dump's pipe is broken: it ends with the next bytes.
    fs::write(world.home.path().join("bin/go"), "").unwrap();
    world.home.file("other.dump.partial", "somebody's download");
    world.line("db backup y.dump").exits(0);
    assert_eq!(world.files(), ["other.dump.partial", "y.dump", "y.dump.json"]);
}

#[test]
fn ctrl_c_ends_the_backup_its_programs_and_its_file() {
    let world = World::new();
    let path = world.halting();
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let running = world.line("db backup x.dump").env("PATH", &path).spawn();
        let half = world.wait_for("half");
        let pid = fs::read_to_string(world.home.path().join("bin/pid")).unwrap();
        running.signal(signal);
        let done = running.wait().says("nothing was written");
        assert_eq!(done.status, status);
        assert!(!is_alive(&pid), "pg_dump {pid} is left");
        assert_eq!(world.files(), [""; 0]);
        fs::remove_file(half).unwrap();
    }
    let started = Instant::now();
    let running = world.line("db backup x.dump --timeout 3s").env("PATH", &path).spawn();
    world.wait_for("half");
    let pid = fs::read_to_string(world.home.path().join("bin/pid")).unwrap();
    assert_eq!(running.wait().status, 6);
    assert!(!is_alive(&pid) && started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_interrupted_restore_drops_the_new_database_and_leaves_the_live_one() {
    let world = World::new();
    world.backup();
    let folder = world.home.path().join("bin");
    world.script("exec \"$REAL\" \"$@\"\n");
    fs::remove_file(folder.join("pg_restore")).unwrap();
    let real = binaries().join("pg_restore");
    write_program(
        &folder.join("pg_restore"),
        &format!(
            "#!/bin/sh\ncase \"$1\" in --version|--list) exec '{0}' \"$@\";; esac\n'{0}' \"$@\"; touch '{1}/half'\n\
             while [ ! -e '{1}/go' ]; do sleep 0.05; done\n",
            real.display(),
            folder.display()
        ),
    );
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let running = world.line("db restore x.dump -y").env("PATH", &path).spawn();
    let half = world.wait_for("half");
    assert_eq!(world.others().len(), 1, "the new database is there");
    running.signal("INT");
    assert_eq!(running.wait().says("nothing was written").status, 130);
    assert_eq!((world.others(), noise(&world.database)), (vec![], "20000".to_owned()));
    // Nobody can clean up after itself when it is killed; the next one says what is left.
    fs::remove_file(half).unwrap();
    let running = world.line("db restore x.dump -y").env("PATH", &path).spawn();
    world.wait_for("half");
    running.signal("KILL");
    assert_eq!(running.wait().status, -9);
    fs::write(folder.join("go"), "").unwrap();
    let left = world.others().remove(0);
    world.line("db restore x.dump --dry-run").exits(0).says(&format!("DROP DATABASE {left}"));
    assert_eq!(noise(&world.database), "20000");
}

#[test]
fn a_restore_asks_and_the_role_needs_its_rights_first() {
    let world = World::new();
    world.backup();
    world.line("db restore x.dump").exits(9).says("give -y");
    let dry = world.line("db restore x.dump --dry-run -o json").exits(0).json();
    assert_eq!((&dry["dry_run"], &dry["restored"]), (&Value::from(true), &Value::from(world.database.name.as_str())));
    let role = format!("{}_weak", world.database.name);
    sql(
        &world.database,
        &format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; GRANT pg_read_all_data TO {role}"),
    );
    let server = world.database.server;
    let url = world.database.url_for(&role, CANARY_PASSWORD, &server.host, server.port);
    let done = world.line("db restore x.dump -y -o json").env("LLMHUB_DATABASE_URL", &url).exits(7);
    assert_eq!(done.code(), "denied");
    done.says("may not create databases");
    sql(&world.database, &format!("ALTER ROLE {role} CREATEDB"));
    world.line("db restore x.dump -y").env("LLMHUB_DATABASE_URL", &url).exits(7).says("does not own the database");
    assert!(!world.home.path().join(".local").exists() && world.others().is_empty());
    // To read is enough for a backup.
    world.line("db backup weak.dump --verify").env("LLMHUB_DATABASE_URL", &url).exits(0);
    sql(&world.database, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_template_and_a_name_that_does_not_fit_are_refused() {
    let world = World::new();
    world.backup();
    world.line("db restore x.dump -y --into template1").exits(7).says("is a template");
    let long = "x".repeat(64);
    world.line(&format!("db restore x.dump -y --into {long}")).exits(2);
}

/// A pooler as `pg_dump` and llmhub meet it: a startup packet with `options` is refused in PgBouncer's words.
fn pooler() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut packet = vec![0; 4096];
                let read = client.read(&mut packet).unwrap();
                if packet[..read].windows(8).any(|bytes| bytes == b"options\0") {
                    let body = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
                    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
                    client.write_all(&[b"E", &length[..], body].concat()).unwrap();
                    return;
                }
                let mut up = TcpStream::connect((server().host.as_str(), server().port)).unwrap();
                up.write_all(&packet[..read]).unwrap();
                let (mut from, mut to) = (up.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                std::io::copy(&mut client, &mut up).ok();
            });
        }
    });
    port
}

#[test]
fn behind_a_pooler_both_are_refused() {
    let world = World::new();
    world.backup();
    let url = world.database.url_for(&server().superuser, CANARY_PASSWORD, "127.0.0.1", pooler());
    for line in ["db backup y.dump", "db restore x.dump -y"] {
        let done = world.line(&format!("{line} -o json")).env("LLMHUB_DATABASE_URL", &url).exits(7);
        assert_eq!(done.code(), "unsupported");
        done.says("is a connection pooler");
    }
    assert_eq!((world.files().len(), world.others().len()), (2, 0));
}

#[test]
fn a_terminal_sees_the_progress_and_the_line_is_gone_at_the_end() {
    let world = World::new();
    let path = world.halting();
    let start = |line: &str| {
        let mut command = world.home.command(env!("CARGO_BIN_EXE_llmhub"), line.split(' '));
        // The terminal takes the place of all three streams.
        command.stdin(Stdio::inherit()).env("TERM", "xterm").env("NO_COLOR", "1").env("PATH", &path);
        rexpect::session::spawn_command(command, Some(60_000)).unwrap()
    };
    let mut session = start("db backup x.dump");
    session.exp_string("backup: counting rows").unwrap();
    session.exp_string("\r\x1b[K").unwrap();
    session.exp_string("backup: 4000 bytes written").unwrap();
    fs::write(world.home.path().join("bin/go"), "").unwrap();
    let rest = session.exp_eof().unwrap();
    let (progress, result) = rest.rsplit_once("\r\x1b[K").unwrap();
    assert!(progress.contains("backup: verifying") && !result.contains("backup:"), "{rest:?}");
    assert!(result.contains("sha256"), "{rest:?}");
    let quiet = start("db backup y.dump -q").exp_eof().unwrap();
    assert!(!quiet.contains("backup:") && !quiet.contains('\x1b'), "{quiet:?}");
}

#[test]
fn only_what_llmhub_made_is_ever_deleted_and_never_the_newest() {
    let world = World::new();
    for name in ["a.dump", "b.dump", "c.dump"] {
        world.line(&format!("db backup {name}")).exits(0);
    }
    world.home.file("foreign.dump", "PGDMP");
    let age = |name: &str, time: &str| {
        let path = world.home.path().join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap();
        let mut metadata: Value = serde_json::from_str(&text).unwrap();
        metadata["snapshot_at"] = time.into();
        fs::write(&path, metadata.to_string()).unwrap();
    };
    age("a.dump", "2020-01-01T00:00:00Z");
    age("b.dump", "2021-01-01T00:00:00Z");
    let dry = world.line("db backup d.dump --keep-days 7 --dry-run -o json").exits(0).json();
    assert_eq!(dry["deleted"].as_array().unwrap().len(), 2);
    let done = world.line("db backup d.dump --keep-days 7 -o json").exits(0).json();
    let path = |name: &str| Value::from(world.home.path().join(name).to_str().unwrap());
    assert_eq!(done["deleted"], Value::from(vec![path("a.dump"), path("b.dump")]));
    assert_eq!(world.files(), ["c.dump", "c.dump.json", "d.dump", "d.dump.json", "foreign.dump"]);
}
