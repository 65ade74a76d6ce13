//! A PgBouncer in transaction mode in front of the tests' server: started on loopback, ended with the value.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::postgres::{Server, as_user, free_port, hand_over, unprivileged_user};

const INSTALL: &str = "no pgbouncer found: `apt-get install pgbouncer`";

pub struct PgBouncer {
    child: Child,
    folder: PathBuf,
    pub port: u16,
}

impl PgBouncer {
    /// Start one that keeps up to eight sessions of each database.
    pub fn start(server: &Server) -> Self {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
        let program = folders.iter().map(|folder| folder.join("pgbouncer")).find(|program| program.exists());
        let program = program.unwrap_or_else(|| panic!("{INSTALL}"));
        let user = unprivileged_user();
        let folder = tempfile::Builder::new().prefix("llmhub-pgb-").tempdir().expect("a temporary folder").keep();
        let port = free_port();
        let config = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 8\n\
             server_idle_timeout = 600\nlogfile = {}\n",
            server.host,
            server.port,
            folder.join("users").display(),
            folder.join("log").display()
        );
        std::fs::write(folder.join("config"), config).expect("its configuration");
        let users = format!("\"{}\" \"{}\"\n", server.superuser, server.password);
        std::fs::write(folder.join("users"), users).expect("its users");
        for path in [folder.clone(), folder.join("config"), folder.join("users")] {
            hand_over(&path, &user);
        }
        let mut command: Command = as_user(&user, &program);
        command.arg("-q").arg(folder.join("config")).current_dir(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("pgbouncer: {error}"));
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(10), "pgbouncer does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, folder, port }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
