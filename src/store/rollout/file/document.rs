//! The document of one flag: read whole, changed under a file lock, replaced atomically.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;
use crate::store::files::write_text;
use crate::store::rollout::lease::Row;
use crate::store::rollout::record::{EventRecord, MeasurementRecord, Request, RunRecord, StepRecord};

/// The document's own format; a higher number belongs to a newer llmhub.
const FORMAT: u32 = 1;

/// How long another process may keep the lock: a change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// A document that is larger is none of ours.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Everything that is known of the rollouts of one flag.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u32,
    pub(super) lease: Row,
    /// The newest run; older ones lie beside it, each in a file of its own.
    pub(super) run: Option<FileRun>,
}

/// A run and everything about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRun {
    pub(super) record: RunRecord,
    pub(super) steps: Vec<StepRecord>,
    pub(super) measurements: Vec<MeasurementRecord>,
    pub(super) events: Vec<EventRecord>,
    pub(super) requests: Vec<Request>,
    /// The number of the newest request ever.
    pub(super) asked: i64,
}

impl Default for Document {
    fn default() -> Self {
        Self { format: FORMAT, lease: Row::default(), run: None }
    }
}

impl Document {
    /// The document in `folder`, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join("state.json");
        let unread = |error: std::io::Error| StoreError::Local(format!("{} cannot be read: {error}", path.display()));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unread(error)),
        };
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text).map_err(unread)?;
        // The format comes first: a newer document may hold members that this llmhub cannot read.
        let format = serde_json::from_str::<serde_json::Value>(&text).ok();
        let format = format.and_then(|value| value.get("format")?.as_u64());
        match format {
            Some(newer) if newer > u64::from(FORMAT) => Err(StoreError::Conflict(format!(
                "{} has format {newer} and this llmhub knows {FORMAT}: use the newer llmhub",
                path.display()
            ))),
            _ => serde_json::from_str(&text).map(Some).map_err(|error| {
                StoreError::Invalid(format!("{} is damaged ({error}); it was left as it is", path.display()))
            }),
        }
    }
}

/// The right to change one document, until it is dropped.
#[derive(Debug)]
pub(super) struct Access {
    path: PathBuf,
    /// Closing it gives the lock back.
    _lock: File,
    pub(super) document: Document,
}

impl Access {
    /// Lock the document in `folder`, which is created where it is missing.
    pub(super) fn create(folder: &Path) -> Result<Self, StoreError> {
        let local = |what: String| StoreError::Local(format!("{} {what}; nothing was changed", folder.display()));
        // Others of this machine have no business with the users of a white list.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        created.map_err(|error| local(format!("cannot be created: {error}")))?;
        refuse_network(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.map_err(|error| local(format!("cannot be locked: {error}")))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(Errno::WOULDBLOCK) => {
                    return Err(StoreError::Conflict(format!(
                        "{} is kept locked by another process",
                        folder.display()
                    )));
                }
                Err(error) => return Err(local(format!("cannot be locked: {error}"))),
            }
        }
        let document = Document::read(folder)?.unwrap_or_default();
        Ok(Self { path: folder.join("state.json"), _lock: lock, document })
    }

    /// Put a run that has ended into a file of its own.
    pub(super) fn archive(&self, run: &FileRun) -> Result<(), StoreError> {
        let text = serde_json::to_string(run).map_err(unwritable)?;
        let name = format!("run-{}.json", run.record.id.as_str());
        write_text(&self.path.with_file_name(name), &text)
    }

    /// Replace the document.
    pub(super) fn keep(self) -> Result<(), StoreError> {
        let text = serde_json::to_string(&self.document).map_err(unwritable)?;
        write_text(&self.path, &text)
    }
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Invalid(format!("the state cannot be written as JSON: {error}"))
}

/// File systems on which a lock of this host need not hold on another, by the number that the kernel gives them.
#[cfg(target_os = "linux")]
const NETWORK: [(i128, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x7461_636f, "OCFS2"),
];

#[cfg(target_os = "linux")]
fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    let Ok(found) = rustix::fs::statfs(folder) else { return Ok(()) };
    match NETWORK.iter().find(|(number, _)| i128::from(found.f_type) & 0xffff_ffff == *number) {
        Some((_, name)) => Err(StoreError::Refused(format!(
            "{} lies on a network file system ({name}), where a lock may not hold: set XDG_STATE_HOME to a local folder, or \
             use a profile with a database",
            folder.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "only Linux says what a file system is by number")]
fn refuse_network(_folder: &Path) -> Result<(), StoreError> {
    Ok(())
}
