//! A program that prints one number: run without a shell, bounded in time and size, and ended with all that it started.
//!
//! What it is about stands in its environment: `LLMHUB_FLAG`, `LLMHUB_PERCENT`, and the window as `LLMHUB_FROM` and
//! `LLMHUB_TO`. What it says on stderr becomes part of the reason when it fails.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::Question;
use crate::domain::rollout::reading::{Measured, Reading};
use crate::store::StoreError;

/// No number is longer.
const OUTPUT: usize = 4 * 1024;

/// As much of its complaints as a reason shows.
const COMPLAINT: usize = 300;

/// A process group, ended with the value: whatever the program has started and left behind goes too.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone is as well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Run it and read its number.
pub(super) async fn measure(words: &[String], question: &Question<'_>, limit: Duration) -> Reading {
    let Some((program, arguments)) = words.split_first() else {
        return Reading::Failed("the command names no program".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LLMHUB_FLAG", question.flag.key.as_str())
        .env("LLMHUB_PERCENT", question.rung.to_string())
        .env("LLMHUB_FROM", question.window.from.to_string())
        .env("LLMHUB_TO", question.window.to.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Reading::Failed(format!("`{program}` cannot be started: {error}")),
    };
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = Group(pid);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let run = async {
        // Read beside the wait: a program that says much would wait for us for ever.
        let (printed, complaint, status) =
            tokio::join!(beginning(stdout, OUTPUT), beginning(stderr, OUTPUT), child.wait());
        (printed, complaint, status)
    };
    let ended = timeout(limit, run).await;
    drop(group);
    let (printed, complaint, status) = match ended {
        Ok((printed, complaint, Ok(status))) => (printed, complaint, status),
        Ok((_, _, Err(error))) => return Reading::Failed(format!("`{program}` cannot be waited for: {error}")),
        Err(_) => return Reading::Failed(format!("`{program}` did not end within {} s", limit.as_secs_f64())),
    };
    if !status.success() {
        return Reading::Failed(format!("`{program}` ended with {status}{}", said(&complaint)));
    }
    number(program, &printed)
}

/// Whether there is a word to run; running it could change something, so it is not.
pub(super) fn check(words: &[String]) -> Result<(), StoreError> {
    match words.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err(StoreError::Refused("the command names no program".to_owned())),
    }
}

fn number(program: &str, printed: &[u8]) -> Reading {
    let text = String::from_utf8_lossy(printed);
    let text = text.trim();
    if text.is_empty() {
        return Reading::Nothing(format!("`{program}` printed nothing"));
    }
    match text.parse() {
        Ok(value) => Reading::Number(Measured { value, samples: None, errors: None, at: None, control: None }),
        Err(_) => Reading::Unusable(format!("`{program}` printed something that is not one number")),
    }
}

/// The beginning of a stream that is read to its end.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let Some(mut stream) = stream else { return Vec::new() };
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        let room = most.saturating_sub(kept.len());
        kept.extend(chunk.iter().take(read.min(room)));
    }
    kept
}

fn said(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let words = text.split(char::is_whitespace).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let clean: String = words.chars().filter(|c| !c.is_control()).take(COMPLAINT).collect();
    if clean.is_empty() { String::new() } else { format!(": {clean}") }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::domain::flags::{Flag, Percent};
    use crate::domain::rollout::query::Query;
    use crate::domain::rollout::reading::Window;

    async fn run(words: &[&str], limit: Duration) -> Reading {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let query = Query::Command(words.clone());
        let flag = Flag::off("a".parse().unwrap());
        let window =
            Window { from: "2026-01-01T00:00:00Z".parse().unwrap(), to: "2026-01-01T00:05:00Z".parse().unwrap() };
        let question = Question { flag: &flag, rung: Percent::try_from(25).unwrap(), query: &query, window };
        measure(&words, &question, limit).await
    }

    #[tokio::test]
    async fn what_a_program_prints_is_the_reading() {
        let sh = |script: &'static str| async move {
            format!("{:?}", run(&["sh", "-c", script], Duration::from_secs(20)).await)
        };
        for (script, part) in [
            ("echo ' 0.25 '", "value: 0.25"),
            ("echo NaN", "value: NaN"),
            ("test $LLMHUB_FLAG:$LLMHUB_PERCENT = a:25 && echo 1", "value: 1.0"),
            (
                "test $LLMHUB_FROM = 2026-01-01T00:00:00Z && test $LLMHUB_TO = 2026-01-01T00:05:00Z && echo 2",
                "value: 2.0",
            ),
            ("true", "Nothing"),
            ("echo 1 2", "Unusable"),
            ("echo 5%", "Unusable"),
            ("yes", "did not end"),
            ("yes | head -c 9000000", "Unusable"),
            ("echo why >&2; printf '\\033[2J' >&2; exit 3", "exit status: 3: why [2J"),
        ] {
            let limit = if script == "yes" { Duration::from_millis(300) } else { Duration::from_secs(5) };
            let reading = if script == "yes" { format!("{:?}", run(&["yes"], limit).await) } else { sh(script).await };
            assert!(reading.contains(part), "{script}: {reading}");
        }
        assert!(matches!(run(&["no-such-program-llmhub"], Duration::from_secs(5)).await, Reading::Failed(_)));
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_ended() {
        let marker = format!("86399.{}", std::process::id());
        let started = Instant::now();
        let script = format!("sleep {marker} & echo 1");
        let reading = run(&["sh", "-c", &script], Duration::from_millis(500)).await;
        // Its child keeps the pipe open: the number never ends, and nothing is left.
        assert!(matches!(reading, Reading::Failed(_)), "{reading:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        let left = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let read = |name| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
            read("cmdline").contains(&marker) && !read("stat").contains(") Z ")
        });
        assert!(!left, "`sleep {marker}` still runs");
    }
}
