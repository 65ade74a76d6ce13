//! A program that prints a secret: run without a shell, bounded in time and size, its output never shown.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use zeroize::Zeroize;

use super::StoreError;

/// A password manager may have to be unlocked by hand.
const PATIENCE: Duration = Duration::from_secs(60);

/// No secret is longer.
const LIMIT: u64 = 8 * 1024;

/// The first line that the program prints.
///
/// # Errors
/// [`StoreError::Credentials`] with the program's name and how it ended.
pub fn secret(words: &[String], what: &str) -> Result<SecretString, StoreError> {
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
    let mut output = String::new();
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let read = stdout.map(|stdout| stdout.take(LIMIT).read_to_string(&mut output));
        (read.is_some_and(|read| read.is_ok()), output)
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It is ours, and it is ended by its id; there is nothing else to do if that fails.
                let _ = child.kill().and_then(|()| child.wait().map(drop));
                return Err(fail(format!("it did not end within {} s", PATIENCE.as_secs())));
            }
            Err(error) => return Err(fail(error.to_string())),
        }
    };
    let (read, mut output) = reader.join().map_err(|_| fail("its output cannot be read".to_owned()))?;
    if !status.success() {
        output.zeroize();
        return Err(fail(format!("it ended with {status}")));
    }
    let secret = output.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(SecretString::from);
    output.zeroize();
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
    fn a_failure_names_the_program_and_never_its_output() {
        for command in [&["sh", "-c", "echo CANARY; exit 3"][..], &["no-such-program-llmhub"], &["true"], &[]] {
            let message = secret(&words(command), "key").unwrap_err().to_string();
            assert!(!message.contains("CANARY") && message.contains("key"), "{message}");
        }
    }
}
