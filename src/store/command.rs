//! A program that prints a secret: run without a shell, bounded in time and size, its output never shown.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::StoreError;

/// A password manager may have to be unlocked by hand.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long its output may come after its end.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// No secret is longer; what is longer is refused, not cut.
const LIMIT: u64 = 8 * 1024;

/// The first line that the program prints, which may take [`PATIENCE`].
///
/// # Errors
/// As [`secret_within`].
pub fn secret(words: &[String], what: &str) -> Result<SecretString, StoreError> {
    secret_within(words, what, PATIENCE)
}

/// The first line that the program prints; after `patience` it is ended.
///
/// # Errors
/// [`StoreError::Credentials`] with the program's name and how it ended.
pub fn secret_within(words: &[String], what: &str, patience: Duration) -> Result<SecretString, StoreError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(StoreError::Credentials(format!("the command for the {what} is empty")));
    };
    let fail = |why: String| StoreError::Credentials(format!("`{program}` gave no {what}: {why}"));
    // Its stderr is the operator's: that is where it asks for a passphrase.
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| fail(format!("it cannot be started ({error})")))?;
    let stdout = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = Zeroizing::new(String::new());
        let read = stdout.map(|stdout| stdout.take(LIMIT + 1).read_to_string(&mut output));
        // Nobody listens any more after a failure.
        let _ = sender.send((read.is_some_and(|read| read.is_ok()), output));
    });
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It is ours, and it is ended by its id; there is nothing else to do if that fails.
                let _ = child.kill().and_then(|()| child.wait().map(drop));
                return Err(fail(format!("it did not end within {} s", patience.as_secs())));
            }
            Err(error) => return Err(fail(error.to_string())),
        }
    };
    if !status.success() {
        return Err(fail(format!("it ended with {status}")));
    }
    // A child of its own that lives on, such as an agent, may hold its output open for ever.
    let (read, output) = receiver
        .recv_timeout(AFTERWARDS)
        .map_err(|_| fail("it ended, but something that it started keeps its output open".to_owned()))?;
    if output.len() as u64 > LIMIT {
        return Err(fail(format!("it printed more than {} KiB, which no secret is", LIMIT / 1024)));
    }
    let secret = output.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(SecretString::from);
    match secret {
        Some(secret) if read => Ok(secret),
        _ => Err(fail("it printed nothing that is text".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_first_line_is_the_secret() {
        let secret = secret(&words(&["printf", "s3cret\\nrest\\n"]), "key").unwrap();
        assert_eq!(secret.expose_secret(), "s3cret");
    }

    #[test]
    fn a_program_that_hangs_is_ended_when_its_time_is_over() {
        let started = Instant::now();
        let message = secret_within(&words(&["sleep", "60"]), "key", Duration::from_secs(1)).unwrap_err().to_string();
        assert!(message.contains("did not end within 1 s"), "{message}");
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_failure_names_the_program_and_never_its_output() {
        for command in [&["sh", "-c", "echo CANARY; exit 3"][..], &["no-such-program-llmhub"], &["true"], &[]] {
            let message = secret(&words(command), "key").unwrap_err().to_string();
            assert!(!message.contains("CANARY") && message.contains("key"), "{message}");
        }
    }

    #[test]
    fn a_secret_that_is_too_long_is_refused_and_not_cut() {
        let long = format!("head -c {} /dev/zero | tr '\\0' k", LIMIT + 1);
        let message = secret(&words(&["sh", "-c", &long]), "key").unwrap_err().to_string();
        assert!(message.contains("8 KiB"), "{message}");
        let fits = format!("head -c {LIMIT} /dev/zero | tr '\\0' k");
        assert_eq!(secret(&words(&["sh", "-c", &fits]), "key").unwrap().expose_secret().len() as u64, LIMIT);
    }

    #[test]
    fn what_the_program_leaves_behind_does_not_hold_us_up() {
        let started = Instant::now();
        // The shell's own child ends by itself soon after the test.
        let message = secret(&words(&["sh", "-c", "sleep 20 & echo CANARY"]), "key").unwrap_err().to_string();
        assert!(message.contains("keeps its output open") && !message.contains("CANARY"), "{message}");
        assert!(started.elapsed() < Duration::from_secs(15));
    }
}
