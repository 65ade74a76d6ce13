//! The history of a repository: every version of every file of every commit that git still reaches, and the commits' messages.
//!
//! `git` is run without a shell, bounded in time, and never for its configuration's programs, for the network or for a
//! repository above the folder. A version is looked at once, under the first commit that holds it.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Sweep;

/// A history of many years needs minutes; a hanging file system must not keep an audit for a night.
const PATIENCE: Duration = Duration::from_secs(600);

/// The longest line that git may say about a file, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// Every commit, the oldest first, with the new version of each file that it changed; of a merge, against each parent.
const LOG: [&str; 14] = [
    "log",
    "--all",
    "--reflog",
    "--reverse",
    "--format=commit %H",
    "--raw",
    "--no-abbrev",
    "--no-renames",
    "--diff-merges=separate",
    "--no-ext-diff",
    "--no-textconv",
    "--no-show-signature",
    "--no-color",
    "--ignore-submodules=all",
];

/// A program that we started; ended and waited for when dropped.
struct Running(Arc<Mutex<Child>>);

impl Running {
    /// Whether it ended well. Its output must have been read to the end.
    fn ended_well(&self) -> bool {
        self.0.lock().is_ok_and(|mut child| child.wait().is_ok_and(|status| status.success()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill(&self.0);
        if let Ok(mut child) = self.0.lock() {
            let _ = child.wait();
        }
    }
}

impl Sweep<'_> {
    /// Search the history of the repository in this folder.
    pub(super) fn history(&mut self, folder: &Path, base: &Path) {
        let shown = self.shown(folder, base);
        let name = if shown.is_empty() { ".".to_owned() } else { shown.clone() };
        let prefix = if shown.is_empty() { String::new() } else { format!("{shown}@") };
        if folder.join(".git/shallow").is_file() || folder.join("shallow").is_file() {
            self.unread(format!(
                "{name} is a shallow clone: what lies before it was not searched (git fetch --unshallow)"
            ));
        }
        match self.versions(folder, &prefix) {
            Ok(true) => {}
            Ok(false) => self.unread(format!(
                "the history of {name} was not searched to its end: git refused it (`git -C {name} log` says why), or took \
                 more than {} min",
                PATIENCE.as_secs() / 60
            )),
            Err(error) => self.unread(format!("the history of {name} was not searched to its end: {error}")),
        }
    }

    fn versions(&mut self, folder: &Path, prefix: &str) -> io::Result<bool> {
        let (log, _, names) = git(folder, &LOG, Stdio::null())?;
        let (cat, requests, contents) = git(folder, &["cat-file", "--batch"], Stdio::piped())?;
        let (Some(names), Some(mut requests), Some(contents)) = (names, requests, contents) else {
            return Err(io::Error::other("git has no output"));
        };
        let (mut names, mut contents) = (BufReader::new(names), BufReader::new(contents));
        let watched = watch([&log, &cat]);
        let (mut seen, mut commit, mut line) = (HashSet::new(), String::new(), Vec::new());
        loop {
            line.clear();
            if names.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches('\n');
            let (object, place) = if let Some(id) = text.strip_prefix("commit ") {
                commit = id.get(..12).unwrap_or(id).to_owned();
                (id, commit.clone())
            } else if let Some((object, path)) = changed(text) {
                (object, format!("{commit}:{path}"))
            } else {
                continue;
            };
            let Some(number) = object.get(..32).and_then(|start| u128::from_str_radix(start, 16).ok()) else {
                continue;
            };
            if seen.insert(number) {
                let place = format!("{prefix}{place}");
                let place = if self.searcher.is_in(place.as_bytes()) { format!("{prefix}{commit}") } else { place };
                self.version(object, &place, &mut requests, &mut contents)?;
            }
        }
        drop(requests);
        let ended_well = log.ended_well();
        drop(watched);
        Ok(ended_well)
    }

    /// Ask for one object, and look at what comes.
    fn version(
        &mut self,
        object: &str,
        place: &str,
        requests: &mut ChildStdin,
        contents: &mut BufReader<ChildStdout>,
    ) -> io::Result<()> {
        requests.write_all(format!("{object}\n").as_bytes())?;
        let mut head = String::new();
        contents.by_ref().take(LONGEST_LINE).read_line(&mut head)?;
        if head.is_empty() {
            return Err(io::Error::other("git ended early"));
        }
        // `ID missing` where a partial clone has left it out: it is not fetched for this.
        let Some(size) = head.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok()) else {
            self.unread(format!("{place} is not in this clone"));
            return Ok(());
        };
        let mut content = contents.by_ref().take(size);
        self.look(place, &mut content)?;
        // What was not searched to its end is read over, and the newline behind it.
        io::copy(&mut content, &mut io::sink())?;
        io::copy(&mut contents.by_ref().take(1), &mut io::sink())?;
        Ok(())
    }
}

/// The new object and the path of a line such as `:100644 100644 OLD NEW M<tab>PATH`; nothing for a file that went and for
/// another repository's commit.
fn changed(line: &str) -> Option<(&str, &str)> {
    let (facts, path) = line.strip_prefix(':')?.split_once('\t')?;
    let mut facts = facts.split(' ').skip(1);
    let (mode, object) = (facts.next()?, facts.nth(1)?);
    (!matches!(mode, "000000" | "160000")).then_some((object, path))
}

/// End both when [`PATIENCE`] is over, unless the handle is dropped before.
fn watch(running: [&Running; 2]) -> mpsc::Sender<()> {
    let (handle, dropped) = mpsc::channel();
    let children = running.map(|running| Arc::clone(&running.0));
    std::thread::spawn(move || {
        if dropped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            children.iter().for_each(kill);
        }
    });
    handle
}

fn kill(child: &Arc<Mutex<Child>>) {
    if let Ok(mut child) = child.lock() {
        // It is ours, and it is ended by its id; there is nothing else to do if that fails.
        let _ = child.kill();
    }
}

type Started = (Running, Option<ChildStdin>, Option<ChildStdout>);

fn git(folder: &Path, arguments: &[&str], stdin: Stdio) -> io::Result<Started> {
    let mut command = Command::new("git");
    // Whatever the caller's own repository is, this one is meant.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
        command.env_remove(variable);
    }
    let mut child = command
        .arg("-C")
        .arg(folder)
        .args(["--no-pager", "--no-replace-objects"])
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"])
        .args(["-c", "log.showRoot=true"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("git cannot be run: {error}")))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    Ok((Running(Arc::new(Mutex::new(child))), stdin, stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_what_is_new() {
        #[track_caller]
        fn case(line: &str, expected: Option<(&str, &str)>) {
            assert_eq!(changed(line), expected, "{line}");
        }
        case(":000000 100644 0000 1234 A\ta b", Some(("1234", "a b")));
        case(":100644 100755 1111 1234 M\t\"a\\tb\"", Some(("1234", "\"a\\tb\"")));
        case(":100644 000000 1111 0000 D\ta", None);
        case(":000000 160000 0000 1234 A\tmodule", None);
        case("", None);
    }
}
