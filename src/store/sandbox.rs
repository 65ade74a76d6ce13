//! The sandbox: a PostgreSQL 17 inside this process, for trying llmhub without a server.
//!
//! One process at a time owns a sandbox folder, and one connection at a time is served; both rules are enforced here, because
//! the engine itself would fail obscurely on the first and hang on the second. What was committed survives a killed process
//! (the write-ahead log is replayed), but not a power failure: the engine runs without fsync. A first start that is
//! interrupted leaves nothing that the next one could mistake for a database.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pglite_oxide::{Pglite, PgliteServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::StoreError;

/// The finished cluster, inside the sandbox folder.
const CLUSTER: &str = "cluster";
/// A cluster that is being made; whatever is found here at a start was interrupted.
const UNFINISHED: &str = "cluster.new";
/// In the finished cluster, once its first use has come to its end.
const READY: &str = "ready";
/// Locked by the process that owns the folder. It is never deleted: a second file of that name would be a second lock.
const LOCK: &str = "lock";
/// PostgreSQL derives the socket's name from it; nothing listens on TCP.
const PORT: u16 = 5432;
/// Superuser and database that every new cluster has.
const USER: &str = "postgres";
const DATABASE: &str = "postgres";
/// In bytes, the least that any Unix takes: macOS has 104 with the final NUL.
const SOCKET_PATH_MAX: usize = 103;
/// How often a waiting process looks whether the sandbox is free.
const POLL: Duration = Duration::from_millis(100);
/// How long an idle engine may take to stop: it writes a checkpoint, some 20 ms.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const STOP_POLL: Duration = Duration::from_millis(2);

/// How to reach the sandbox: no password and no TLS, the folder of the socket is private (mode 0700).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The absolute folder that holds the Unix socket.
    pub socket_dir: PathBuf,
    /// The port in the socket's name.
    pub port: u16,
    /// The superuser.
    pub user: &'static str,
    /// The database that is always there; others can be created beside it.
    pub database: &'static str,
}

/// A running sandbox, owned by this process alone.
///
/// Dropping it stops the engine. One that still serves a client is not waited for; it ends with the process, like a kill.
#[derive(Debug)]
pub struct Sandbox {
    /// `None` once stopped.
    engine: Mutex<Option<Engine>>,
    data_dir: PathBuf,
    slot_taken: Arc<AtomicBool>,
}

/// The engine and what it needs.
#[derive(Debug)]
struct Engine {
    server: PgliteServer,
    /// Unlocked by being closed, so it must outlive the server.
    lock: File,
}

/// The right to hold the one connection; keep it for as long as the connection is open.
#[derive(Debug)]
pub struct ConnectionSlot {
    endpoint: Endpoint,
    taken: Arc<AtomicBool>,
}

impl Sandbox {
    /// Start the sandbox in `data_dir`, which is created if need be and made private to its owner.
    ///
    /// If another process owns it, `on_wait` is called once and the folder is asked for again until `wait` is over.
    /// The first start makes the cluster; it needs no network. Needs a tokio runtime with its clock.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another process still owns the folder after `wait`; [`StoreError::Local`] when the folder
    /// cannot be used or the engine does not start.
    pub async fn open(data_dir: &Path, wait: Duration, on_wait: impl FnOnce()) -> Result<Self, StoreError> {
        let data_dir = std::path::absolute(data_dir).map_err(|error| unusable(data_dir, &error))?;
        if socket(&data_dir).as_os_str().len() > SOCKET_PATH_MAX {
            return Err(StoreError::Local(format!(
                "the sandbox folder {} has too long a name for a Unix socket; choose a shorter one",
                data_dir.display(),
            )));
        }
        make_private(&data_dir).map_err(|error| unusable(&data_dir, &error))?;
        let lock = acquire(&data_dir, wait, on_wait).await?;
        let engine = start(data_dir.clone(), lock).await?;
        Ok(Self { engine: Mutex::new(Some(engine)), data_dir, slot_taken: Arc::new(AtomicBool::new(false)) })
    }

    /// Whether [`Sandbox::set_ready`] was called for this cluster, by whatever process.
    pub fn is_ready(&self) -> bool {
        self.data_dir.join(CLUSTER).join(READY).exists()
    }

    /// Remember that the cluster holds what its first use puts there, so that no later one puts it there again.
    ///
    /// # Errors
    /// [`StoreError::Local`] when the mark cannot be written.
    pub fn set_ready(&self) -> Result<(), StoreError> {
        let mark = self.data_dir.join(CLUSTER).join(READY);
        File::create(&mark).map(drop).map_err(|error| unusable(&mark, &error))
    }

    /// Take the one connection slot; it is free again when the returned value is dropped.
    ///
    /// A connection that was given up in mid-statement stays busy until the statement ends, and then takes the engine with
    /// it: that end is waited for, up to `wait`, and the engine started anew.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while another slot is out: it is not waited for, the holder may well be the caller.
    /// [`StoreError::Unreachable`] when an abandoned statement still runs after `wait`; [`StoreError::Local`] when the engine
    /// cannot be started again.
    pub async fn slot(&self, wait: Duration) -> Result<ConnectionSlot, StoreError> {
        if self.slot_taken.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Conflict(
                "the sandbox serves only one connection at a time; use a Postgres server for this".to_owned(),
            ));
        }
        let endpoint = Endpoint { socket_dir: self.data_dir.clone(), port: PORT, user: USER, database: DATABASE };
        // From here on every way out gives the slot back.
        let slot = ConnectionSlot { endpoint, taken: Arc::clone(&self.slot_taken) };
        match tokio::time::timeout(wait, answers(&socket(&self.data_dir))).await {
            Ok(true) => Ok(slot),
            Ok(false) => self.restart().await.map(|()| slot),
            Err(_) => Err(StoreError::Unreachable(format!(
                "the sandbox is still busy with an abandoned statement after {wait:?}; run the command again",
            ))),
        }
    }

    /// Stop the engine and give the folder free, with everything written to its files.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while a slot is out; [`StoreError::Local`] when the engine had failed or does not stop within
    /// two seconds. What was committed is safe in every case: the next start replays the write-ahead log.
    pub async fn close(mut self) -> Result<(), StoreError> {
        if self.slot_taken.load(Ordering::Acquire) {
            return Err(StoreError::Conflict("the sandbox cannot be closed while its connection is open".to_owned()));
        }
        let Some(stopping) = self.engine.get_mut().take().and_then(stop) else { return Ok(()) };
        let since = Instant::now();
        while !stopping.is_finished() {
            if since.elapsed() > STOP_PATIENCE {
                return Err(StoreError::Local("the sandbox's database engine is busy and does not stop".to_owned()));
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        match stopping.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(StoreError::Local(format!("the sandbox's database engine had failed: {reason}"))),
            Err(_) => Err(StoreError::Local("the sandbox's database engine crashed while stopping".to_owned())),
        }
    }

    /// Replace an engine that has ended.
    async fn restart(&self) -> Result<(), StoreError> {
        let mut engine = self.engine.lock().await;
        let Some(Engine { server, lock }) = engine.take() else {
            return Err(StoreError::Local("the sandbox was stopped in mid-restart; run it again".to_owned()));
        };
        // Only clears away what is left of it; why it ended is known: its client went.
        drop(server);
        *engine = Some(start(self.data_dir.clone(), lock).await?);
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let Some(stopping) = self.engine.get_mut().take().and_then(stop) else { return };
        // A connection that is still open may belong to this very thread, and would never end while it waits here.
        let patience = if self.slot_taken.load(Ordering::Acquire) { Duration::ZERO } else { STOP_PATIENCE };
        let since = Instant::now();
        while !stopping.is_finished() && since.elapsed() < patience {
            thread::sleep(STOP_POLL);
        }
    }
}

impl ConnectionSlot {
    /// Where to connect.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}

/// Whether the engine serves; knocks and leaves, and waits until the engine has noticed.
async fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return false };
    stream.shutdown().await.is_ok() && stream.read(&mut [0]).await.is_ok()
}

/// Stop the engine in a thread of its own: it waits for its client without a limit, and nobody else should.
///
/// `None` when no thread could be had; the engine is then stopped already.
fn stop(engine: Engine) -> Option<JoinHandle<Result<(), String>>> {
    let work = move || {
        let Engine { server, lock: _held_until_stopped } = engine;
        server.shutdown().map_err(|error| format!("{error:#}"))
    };
    thread::Builder::new().name("sandbox-stop".to_owned()).spawn(work).ok()
}

/// Create the folder if it is missing, and keep others out of it: whoever reaches the socket is superuser.
fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Lock the folder, or wait for it.
async fn acquire(data_dir: &Path, wait: Duration, on_wait: impl FnOnce()) -> Result<File, StoreError> {
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| unusable(&path, &error))?;
    let since = Instant::now();
    let mut on_wait = Some(on_wait);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = wait.saturating_sub(since.elapsed());
        if left.is_zero() {
            let folder = data_dir.display();
            return Err(StoreError::Conflict(format!(
                "another llmhub is using the sandbox in {folder}, and was not done after {wait:?}; wait for it or end it"
            )));
        }
        if let Some(tell) = on_wait.take() {
            tell();
        }
        tokio::time::sleep(POLL.min(left)).await;
    }
}

/// Make the cluster if there is none, and serve it.
async fn start(data_dir: PathBuf, lock: File) -> Result<Engine, StoreError> {
    // The lock travels with the work: a caller that stops waiting must not free the folder while it is being written.
    let work = move || {
        let cluster = data_dir.join(CLUSTER);
        if !cluster.try_exists().map_err(|error| unusable(&cluster, &error))? {
            create_cluster(&data_dir, &cluster)?;
        }
        let server = PgliteServer::builder()
            .path(&cluster)
            .unix(socket(&data_dir))
            .start()
            .map_err(|error| engine_failed(&data_dir, &format!("{error:#}")))?;
        Ok(Engine { server, lock })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(started) => started,
        Err(_) => Err(StoreError::Local("the sandbox's database engine crashed while starting".to_owned())),
    }
}

/// Make a cluster beside its final place, then move it there in one step.
///
/// By a real `initdb`: the engine's quicker way leaves most files in a cache folder outside and copies each, not atomically,
/// when it is first written. Clearing the cache, or a kill at the wrong moment, would then damage the data.
fn create_cluster(data_dir: &Path, cluster: &Path) -> Result<(), StoreError> {
    let unfinished = data_dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&unfinished, &error)),
        _ => {}
    }
    Pglite::builder()
        .path(&unfinished)
        .template_cache(false)
        .open()
        .and_then(|mut fresh| fresh.close())
        .map_err(|error| engine_failed(data_dir, &format!("{error:#}")))?;
    fs::rename(&unfinished, cluster).map_err(|error| unusable(cluster, &error))
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join(format!(".s.PGSQL.{PORT}"))
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Local(format!("{} cannot be used for the sandbox: {error}", path.display()))
}

fn engine_failed(data_dir: &Path, reason: &str) -> StoreError {
    let folder = data_dir.display();
    StoreError::Local(format!(
        "the sandbox's engine does not start: {reason}; if that stays so, delete {folder} and the cache folder `pglite-oxide`"
    ))
}
