//! A program that is running: its complaints are kept, bounded and without the password, and it ends when nobody waits.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::store::StoreError;

use super::connection::Access;

/// The last bytes of stderr that are kept: the reason stands at the end.
const KEPT: usize = 4 * 1024;

/// What a program gets to cancel its statement and go; then it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// A program in a process group of its own; dropping it ends the group.
pub(super) struct Running {
    child: Child,
    /// `None` once it was waited for: the number may then belong to somebody else.
    group: Option<Pid>,
    complaints: Option<JoinHandle<Vec<u8>>>,
    name: &'static str,
    password: Option<secrecy::SecretString>,
}

impl Running {
    /// Start it; its stdin and stdout are what the command says.
    pub(super) fn start(mut command: Command, name: &'static str, access: &Access) -> Result<Self, StoreError> {
        // Its own group: a Ctrl-C at the terminal reaches us alone, and whatever it starts ends with it.
        command.process_group(0).stderr(std::process::Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| StoreError::Local(format!("{name} cannot be started: {error}")))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let complaints = child.stderr.take().map(|stderr| tokio::spawn(last_words(stderr)));
        Ok(Self { child, group, complaints, name, password: access.password().cloned() })
    }

    pub(super) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(super) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Wait for its end.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        let ended = self.child.wait().await;
        self.group = None;
        let status =
            ended.map_err(|error| StoreError::Local(format!("{} cannot be waited for: {error}", self.name)))?;
        if status.success() {
            return Ok(());
        }
        let said = match self.complaints.take() {
            Some(complaints) => complaints.await.unwrap_or_default(),
            None => Vec::new(),
        };
        Err(self.failure(status, &String::from_utf8_lossy(&said)))
    }

    fn failure(&self, status: ExitStatus, said: &str) -> StoreError {
        let mut said: String = said.trim().chars().filter(|c| !c.is_control() || *c == '\n').collect();
        if let Some(password) =
            self.password.as_ref().map(|password| password.expose_secret()).filter(|p| !p.is_empty())
        {
            said = said.replace(password, "***");
        }
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        StoreError::Refused(format!("{} failed ({status}): {said}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        // Asked politely it cancels its statement on the server; a failure means that it has ended already.
        let _ = kill_process_group(group, Signal::TERM);
        let since = Instant::now();
        while since.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.try_wait();
    }
}

/// Read to the end, so that the program never waits for us, and keep the last of it.
async fn last_words(mut stderr: ChildStderr) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), vec![0; KEPT]);
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    kept
}
