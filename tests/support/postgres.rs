//! A real PostgreSQL for the tests: a private cluster, started once per test binary, gone when the binary is gone.
//!
//! Each test gets a fresh database, empty or copied from a migrated template. `LLMHUB_TEST_DATABASE_URL` (a superuser's URL)
//! names another server to use instead. No server at all is a failure with the line that installs one, never a skip.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use llmhub::config::database_url::DatabaseUrl;
use llmhub::domain::migrations::Set;
use llmhub::store::database::{Operator, Run, Wanted, apply};
use llmhub::store::postgres::Target;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

/// The password of every role that logs in over TCP; no output may ever hold it.
pub const CANARY_PASSWORD: &str = "CANARY-pg-5d1f0c7be2a94386";

/// What the server keeps of it, after one round of hashing instead of 4,096: thousands of logins are a quarter of the tests' work.
const CANARY_VERIFIER: &str = "SCRAM-SHA-256$1:\
    bGxtaHViIHRlc3RzIHNhbA==$GDGEaOwuAvrimacr3CjQD2H97A14dFVqQJaCo3Uezsg=:tJdJcAhSJKE0mKdzE5XSrw5qbyEJH8Tkqmucm6NVyy8=";

const INSTALL: &str =
    "no PostgreSQL server binaries found: `apt-get install postgresql`, or set LLMHUB_TEST_DATABASE_URL";

/// Where the tests' server is.
#[derive(Clone, Debug)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub superuser: String,
    pub password: String,
    /// The socket's directory, for a private cluster; `certificate` in it is the server's, for the name `localhost` only.
    pub socket: Option<PathBuf>,
}

/// A database of one test; dropped with the value.
pub struct Database {
    pub name: String,
    pub server: &'static Server,
}

/// The server, started at the first call.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("LLMHUB_TEST_DATABASE_URL") {
        Ok(url) => outside_server(&url),
        Err(_) => start_cluster(),
    })
}

impl Database {
    /// A database without anything in it.
    pub fn empty() -> Self {
        Self::create("template0")
    }

    /// A database with the shipped migrations applied.
    pub fn migrated() -> Self {
        static TEMPLATE: OnceLock<Database> = OnceLock::new();
        if server().socket.is_none() {
            // A template would stay behind on somebody else's server: statics are never dropped.
            return Self::with_migrations();
        }
        Self::create(&TEMPLATE.get_or_init(Self::with_migrations).name)
    }

    fn with_migrations() -> Self {
        let database = Self::empty();
        let target = database.target();
        block_on(async move {
            let operator = Operator { user: "tests".to_owned(), host: "localhost".to_owned() };
            let run = Run::new(operator, Duration::from_secs(10));
            let applied = apply(&target, &Set::embedded(), &Wanted::default(), &run).await;
            assert!(applied.expect("the shipped migrations apply").failed.is_none());
        });
        database
    }

    fn create(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = server();
        let name = format!("llmhub_t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        block_on(async move {
            let mut admin = connect(server, "postgres").await;
            // The template's last session may still be on its way out.
            let deadline = Instant::now() + Duration::from_secs(10);
            while let Err(error) = admin.execute(sqlx::raw_sql(AssertSqlSafe(sql.as_str()))).await {
                assert!(Instant::now() < deadline, "{sql}: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            admin.close().await.ok();
        });
        Self { name, server }
    }

    /// The URL of this database for the superuser.
    pub fn url(&self) -> String {
        self.url_for(&self.server.superuser, &self.server.password, &self.server.host, self.server.port)
    }

    /// The URL of this database for another role or through another address.
    pub fn url_for(&self, user: &str, password: &str, host: &str, port: u16) -> String {
        format!("postgres://{user}:{password}@{host}:{port}/{}", self.name)
    }

    /// The superuser's URL through another port of this machine, for a proxy in front of the server.
    pub fn url_through(&self, port: u16) -> String {
        self.url_for(&self.server.superuser, &self.server.password, "127.0.0.1", port)
    }

    /// The same, as the library opens it.
    pub fn target_through(&self, port: u16) -> Target {
        target(&self.url_for(&self.server.superuser, &self.server.password, "127.0.0.1", port))
    }

    /// How the library opens it.
    pub fn target(&self) -> Target {
        target(&self.url())
    }

    /// A connection of the test itself.
    pub async fn connect(&self) -> PgConnection {
        connect(self.server, &self.name).await
    }

    /// The same through another port, for a pooler in front of the server.
    pub async fn connect_through(&self, port: u16) -> PgConnection {
        let through = Server { host: "127.0.0.1".to_owned(), port, ..self.server.clone() };
        connect(&through, &self.name).await
    }

    /// Run SQL as the superuser.
    pub async fn sql(&self, sql: &str) {
        let mut connection = self.connect().await;
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.ok();
    }

    /// Lines of text from a query of one text column.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        let rows: Result<Vec<String>, _> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        connection.close().await.ok();
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) = (self.server, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        block_on(async move {
            let mut admin = connect(server, "postgres").await;
            // A failed drop leaves a database in a cluster that is about to go: no reason to fail a test twice.
            admin.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.ok();
        });
    }
}

/// Parse a URL for the library.
pub fn target(url: &str) -> Target {
    Target::Url(DatabaseUrl::parse(url).unwrap_or_else(|error| panic!("{error}")))
}

async fn connect(server: &Server, database: &str) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(&server.superuser)
        .password(&server.password)
        .database(database)
        .extra_float_digits(None)
        .ssl_mode(PgSslMode::Disable);
    options.connect().await.unwrap_or_else(|error| panic!("cannot connect to the tests' own server: {error}"))
}

/// Run a future on a thread of its own, so that it may be called inside and outside a runtime.
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(future)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn outside_server(url: &str) -> Server {
    use secrecy::ExposeSecret;
    let url = DatabaseUrl::parse(url).unwrap_or_else(|error| panic!("LLMHUB_TEST_DATABASE_URL: {error}"));
    let host = match url.host() {
        llmhub::config::database_url::Host::Tcp(name) => name.clone(),
        llmhub::config::database_url::Host::Socket(_) => panic!("LLMHUB_TEST_DATABASE_URL must name a TCP address"),
    };
    Server {
        host,
        port: url.port(),
        superuser: url.user().expect("LLMHUB_TEST_DATABASE_URL names a user").to_owned(),
        password: url.password().map(|password| password.expose_secret().to_owned()).unwrap_or_default(),
        socket: None,
    }
}

/// A private cluster of one test, which may stop it; gone with the value.
pub struct Cluster {
    folder: PathBuf,
    user: Option<(String, u32, u32)>,
    port: u16,
}

impl Cluster {
    /// Start one on a free port.
    pub fn start() -> Self {
        let user = unprivileged_user();
        let folder = tempfile::Builder::new().prefix("llmhub-pg-").tempdir().expect("a temporary folder").keep();
        hand_over(&folder, &user);
        let cluster = Self { folder, user, port: free_port() };
        let options =
            ["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres", "--auth=trust", "-D", "data"];
        cluster.tool("initdb", &options);
        cluster.start_again();
        cluster
    }

    /// A copy that follows this one and takes no writes.
    pub fn standby(&self) -> Self {
        let standby = Self {
            folder: tempfile::Builder::new().prefix("llmhub-pg-").tempdir().expect("a folder").keep(),
            user: self.user.clone(),
            port: free_port(),
        };
        hand_over(&standby.folder, &standby.user);
        let port = self.port.to_string();
        let options = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-D",
            "data",
            "-R",
            "--no-sync",
            "-X",
            "stream",
            "-c",
            "fast",
        ];
        standby.tool("pg_basebackup", &options);
        standby.start_again();
        standby
    }

    /// Its database `postgres`, for the superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Lines of text from a query of one text column.
    pub async fn lines(&self, sql: &str) -> Vec<String> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable);
        let mut connection = options.connect().await.unwrap_or_else(|error| panic!("{error}"));
        let rows: Result<Vec<String>, _> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        connection.close().await.ok();
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As a crash would.
    pub fn stop_immediately(&self) {
        self.tool("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"]);
    }

    /// Start it, or start it again with the same data on the same port.
    pub fn start_again(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB -c max_connections=50",
            self.port,
            self.folder.display()
        );
        self.tool("pg_ctl", &["-D", "data", "-w", "-s", "-l", "log", "-o", &options, "start"]);
    }

    fn tool(&self, program: &str, arguments: &[&str]) {
        let mut command = as_user(&self.user, &binaries().join(program));
        // Not captured: the server would keep the pipes open.
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().unwrap_or_else(|error| panic!("{program}: {error}"));
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {status}\n{log}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = as_user(&self.user, &binaries().join("pg_ctl"));
        stop.args(["-D", "data", "-m", "immediate", "-w", "stop"]).current_dir(&self.folder);
        // One that is stopped already is as well.
        drop(stop.stdout(Stdio::null()).stderr(Stdio::null()).status());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The folder of the newest installed server, else what `PATH` finds.
pub fn binaries() -> PathBuf {
    let mut installed: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    installed.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = installed.into_iter().rev().map(|(_, folder)| folder).chain(std::env::split_paths(&path));
    candidates
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .unwrap_or_else(|| panic!("{INSTALL}"))
}

/// Where the cluster lies: in memory where there is plenty, because its databases are made and dropped by the hundred.
fn place() -> PathBuf {
    const PLENTY: u64 = 8 << 30;
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    if free >= PLENTY { memory.to_owned() } else { std::env::temp_dir() }
}

fn start_cluster() -> Server {
    let binaries = binaries();
    let user = unprivileged_user();
    let folder = tempfile::Builder::new().prefix("llmhub-pg-").tempdir_in(place()).expect("a temporary folder").keep();
    let password_file = folder.join("password");
    std::fs::write(&password_file, CANARY_VERIFIER).expect("the password file");
    for path in [&folder, &password_file] {
        hand_over(path, &user);
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("folder mode");
    let data = folder.join("data");
    let initdb = as_user(&user, &binaries.join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
        .arg(&password_file)
        .arg("-D")
        .arg(&data)
        .current_dir(&folder)
        .output()
        .expect("initdb starts");
    assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));

    make_certificate(&user, &folder);

    for _ in 0..5 {
        let port = free_port();
        let mut watchdog = start_watchdog(&user, &binaries, &folder, port);
        if is_ready(&data) {
            // Its standard input stays open until the process ends, however it ends; then the watchdog stops the server and cleans up.
            std::mem::forget(watchdog);
            let password = CANARY_PASSWORD.to_owned();
            let (host, superuser) = ("127.0.0.1".to_owned(), "postgres".to_owned());
            return Server { host, port, superuser, password, socket: Some(folder) };
        }
        watchdog.wait().expect("the watchdog of a server that did not start ends");
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    std::fs::remove_dir_all(&folder).ok();
    panic!("the tests' PostgreSQL did not start:\n{log}");
}

/// A certificate signed by itself, so that it is its own authority.
fn make_certificate(user: &Option<(String, u32, u32)>, folder: &Path) {
    let openssl = as_user(user, Path::new("openssl"))
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=llmhub tests", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key", "-out", "certificate"])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("the tests need `openssl` ({error}): `apt-get install openssl`"));
    assert!(openssl.status.success(), "openssl: {}", String::from_utf8_lossy(&openssl.stderr));
}

/// A shell that runs the server, waits until its standard input closes (which the end of this process does, even by kill -9),
/// then stops the server by its pid and removes the folder.
fn start_watchdog(user: &Option<(String, u32, u32)>, binaries: &Path, folder: &Path, port: u16) -> Child {
    const SCRIPT: &str = r#"
        "$1/postgres" -D "$2/data" -p "$3" -k "$2" >"$2/log" 2>&1 \
            -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=32MB \
            -c fsync=off -c full_page_writes=off -c autovacuum=off -c log_statement=none \
            -c ssl=on -c ssl_cert_file="$2/certificate" -c ssl_key_file="$2/key" &
        server=$!
        read -r _
        kill -INT "$server"
        wait "$server"
        case "$?" in 0) rm -rf "$2";; esac
    "#;
    as_user(user, Path::new("/bin/sh"))
        .args(["-c", SCRIPT, "watchdog"])
        .arg(binaries)
        .arg(folder)
        .arg(port.to_string())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the server's watchdog starts")
}

/// The last line of `postmaster.pid` says "ready" once connections are taken; the file goes when the server fails.
fn is_ready(data: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut seen = false;
    while Instant::now() < deadline {
        match std::fs::read_to_string(data.join("postmaster.pid")) {
            Ok(text) if text.lines().any(|line| line.trim() == "ready") => return true,
            Ok(_) => seen = true,
            Err(_) if seen => return false,
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// The server refuses to run as root: then the user `postgres`, else `nobody`.
pub fn unprivileged_user() -> Option<(String, u32, u32)> {
    if std::fs::metadata("/proc/self").map(|me| me.uid()).unwrap_or(1) != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((name.to_owned(), fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user `postgres` or `nobody` to run the server as"))
}

/// Let a server's user have a file or folder.
pub fn hand_over(path: &Path, user: &Option<(String, u32, u32)>) {
    if let Some((_, uid, gid)) = user {
        chown(path, Some(*uid), Some(*gid)).expect("handing a file to the server's user");
    }
}

pub fn as_user(user: &Option<(String, u32, u32)>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    if let Some((_, uid, gid)) = user {
        // Without supplementary groups: the standard library clears them for a root parent.
        command.uid(*uid).gid(*gid);
    }
    command
}
