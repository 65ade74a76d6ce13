//! A command of the profile, run because somebody asked for it: without a shell, bounded in time and output.

use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::StoreError;

/// What is kept of its output.
const LIMIT: usize = 64 * 1024;

/// How long its output may come after its end.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether it says that it succeeded.
    pub success: Success,
    /// How it ended, in words.
    pub words: String,
    /// What it printed, both streams, cut at 64 KiB each.
    pub output: String,
}

/// What a command says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// It ended with 0.
    Yes,
    /// It ended otherwise, or had to be ended.
    No,
}

/// Run `words` for at most `limit`; then it is ended.
///
/// # Errors
/// [`StoreError::Local`] when it cannot be started.
pub async fn run(words: &[String], limit: Duration) -> Result<Ended, StoreError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(StoreError::Local("the hook is empty".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| StoreError::Local(format!("`{program}` cannot be started: {error}")))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let mut reading = pin!(async { tokio::join!(read(stdout, &mut out), read(stderr, &mut err)) });
        let work = async {
            tokio::select! {
                _ = &mut reading => child.wait().await,
                status = child.wait() => {
                    // A child of its own that lives on may hold its output open for ever.
                    let _ = timeout(AFTERWARDS, &mut reading).await;
                    status
                }
            }
        };
        timeout(limit, work).await
    };
    let output = format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
    let (success, words) = match ended {
        Ok(Ok(status)) if status.success() => (Success::Yes, "ended with 0".to_owned()),
        Ok(Ok(status)) => (Success::No, format!("ended with {status}")),
        Ok(Err(error)) => (Success::No, error.to_string()),
        Err(_) => {
            // It is ours, and dropping it ends it as well; there is nothing else to do if that fails.
            let _ = child.kill().await;
            (Success::No, format!("did not end within {} s and was ended", limit.as_secs()))
        }
    };
    Ok(Ended { success, words, output })
}

/// All of a stream, of which the first part is kept: a full pipe would stop the program.
async fn read(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        let room = LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(words: &[&str], limit: Duration) -> Result<Ended, StoreError> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&words, limit))
    }

    #[test]
    fn what_it_prints_and_how_it_ends_is_told() {
        let ended = done(&["sh", "-c", "echo out; echo err >&2; exit 3"], Duration::from_secs(10)).unwrap();
        assert_eq!((ended.success, ended.output.as_str()), (Success::No, "out\nerr\n"));
        assert!(ended.words.contains('3'), "{}", ended.words);
        assert_eq!(done(&["true"], Duration::from_secs(10)).unwrap().success, Success::Yes);
        assert!(done(&["no-such-program-llmhub"], Duration::from_secs(1)).is_err());
        assert!(done(&[], Duration::from_secs(1)).is_err());
    }

    #[test]
    fn what_it_leaves_running_does_not_hold_us_up() {
        let started = std::time::Instant::now();
        // The shell's own child ends by itself soon after the test.
        let ended = done(&["sh", "-c", "sleep 20 & echo started"], Duration::from_secs(60)).unwrap();
        assert_eq!((ended.success, ended.output.as_str()), (Success::Yes, "started\n"));
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn one_that_hangs_is_ended_and_one_that_talks_is_cut() {
        let ended = done(&["sleep", "60"], Duration::from_millis(100)).unwrap();
        assert!(ended.success == Success::No && ended.words.contains("did not end"), "{ended:?}");
        let ended = done(&["sh", "-c", "yes | head -c 1000000"], Duration::from_secs(10)).unwrap();
        assert_eq!((ended.success, ended.output.len()), (Success::Yes, LIMIT));
    }
}
