//! What changed since a commit, asked of `git`: run without a shell, bounded in time, and never for its configuration's programs.
//!
//! Nothing is written: git takes no optional locks, and neither hooks nor filters of the repository run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::StoreError;

/// A large repository needs seconds; a hanging file system must not keep a CI job for an hour.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that git may print, in bytes: names of some hundred thousand files.
const LIMIT: u64 = 64 * 1024 * 1024;

/// The files that were added or changed since the commit where HEAD left `reference`, with what is not committed yet and what
/// git does not know. Real paths, without links. A renamed file counts as changed.
///
/// # Errors
/// [`StoreError::Refused`] for a reference that git does not know and for a folder in no repository; [`StoreError::Local`]
/// where git cannot be run or does not end.
pub fn changed_since(folder: &Path, reference: &str) -> Result<BTreeSet<PathBuf>, StoreError> {
    let shown = folder.display();
    let top = git(folder, &["rev-parse", "--show-toplevel"])?.ok_or_else(|| {
        StoreError::Refused(format!("{shown} is in no git repository, so --since has no meaning there"))
    })?;
    let top = PathBuf::from(OsStr::from_bytes(top.strip_suffix(b"\n").unwrap_or(&top)));
    let commit = format!("{reference}^{{commit}}");
    let known = git(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])?;
    let known = known.and_then(|id| String::from_utf8(id).ok()).ok_or_else(|| {
        StoreError::Refused(format!(
            "git knows no commit `{reference}` in {shown}; in CI, fetch it first: git fetch origin"
        ))
    })?;
    let base = git(folder, &["merge-base", known.trim(), "HEAD"])?.and_then(|id| String::from_utf8(id).ok());
    let base = base.ok_or_else(|| {
        StoreError::Refused(format!(
            "`{reference}` and HEAD have no commit in common here; a shallow clone has too little history: git fetch --unshallow"
        ))
    })?;
    let diff = [
        "diff",
        "--name-only",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "--diff-filter=d",
        "-z",
        base.trim(),
        "--",
    ];
    let new = ["ls-files", "--others", "--exclude-standard", "--full-name", "-z"];
    let mut changed = BTreeSet::new();
    for arguments in [&diff[..], &new[..]] {
        let names = git(&top, arguments)?
            .ok_or_else(|| StoreError::Refused(format!("git cannot compare {shown} with `{reference}`")))?;
        let paths = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        // What is gone again has no real path, and nothing to say.
        changed.extend(paths.filter_map(|name| top.join(OsStr::from_bytes(name)).canonicalize().ok()));
    }
    Ok(changed)
}

/// What git prints; nothing where it says no.
fn git(folder: &Path, arguments: &[&str]) -> Result<Option<Vec<u8>>, StoreError> {
    let fail = |why: String| StoreError::Local(format!("git cannot be run for --since: {why}"));
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| fail(error.to_string()))?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.map(|stdout| stdout.take(LIMIT).read_to_end(&mut bytes)).transpose().map(|_| bytes)
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                // It is ours, and it is ended by its id; there is nothing else to do if that fails.
                let _ = child.kill().and_then(|()| child.wait().map(drop));
                return Err(fail(format!("it did not end within {} s", PATIENCE.as_secs())));
            }
            Err(error) => return Err(fail(error.to_string())),
        }
    };
    let bytes = reader.join().map_err(|_| fail("its output cannot be read".to_owned()))?;
    let bytes = bytes.map_err(|error| fail(error.to_string()))?;
    Ok(status.success().then_some(bytes))
}
