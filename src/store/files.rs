//! Plain files that an operator names: read whole and bounded, written atomically.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::StoreError;

/// A file named on the command line is a list or a plan; a larger one is a mistake.
const LIMIT: u64 = 64 * 1024 * 1024;

/// The text of a file, or of stdin for `-`.
///
/// # Errors
/// [`StoreError::Refused`] with the line for what is not UTF-8 or too large; [`StoreError::Local`] for what cannot be read.
pub fn read_text(path: &Path) -> Result<String, StoreError> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| StoreError::Local(format!("{name} cannot be read: {error}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(StoreError::Refused(format!("{name} is larger than {} MiB", LIMIT / 1024 / 1024)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        StoreError::Refused(format!("{name}:{line}: the text is not UTF-8"))
    })
}

/// Write a file so that it is there whole or not at all.
///
/// # Errors
/// [`StoreError::Local`] with the path.
pub fn write_text(path: &Path, text: &str) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::Local(format!("{} cannot be written: {error}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // A half-written file under its temporary name is of no use to anybody.
        let _ = std::fs::remove_file(&temporary);
        fail(error)
    })
}

/// A file of secrets is a line or a `.env`.
const SECRET_LIMIT: u64 = 1024 * 1024;

/// The text of a file that holds secrets, or of stdin for `-`. A file that others can read is refused.
///
/// # Errors
/// [`StoreError::Credentials`] for a file that others can read; [`StoreError::Local`] for what cannot be read or is no text.
pub fn read_secret(path: &Path) -> Result<SecretString, StoreError> {
    let name = path.display();
    let fail = |error: std::io::Error| StoreError::Local(format!("{name} cannot be read: {error}"));
    let mut bytes = Zeroizing::new(Vec::new());
    if path == Path::new("-") {
        std::io::stdin().lock().take(SECRET_LIMIT + 1).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        // Looked at through the open file, so that nobody can change which file it is in between.
        let file = File::open(path).map_err(fail)?;
        if readable_by_others(&file.metadata().map_err(fail)?) {
            return Err(StoreError::Credentials(format!(
                "{name} holds a secret and can be read by others; `chmod 600 {name}` closes it, then change the secret"
            )));
        }
        file.take(SECRET_LIMIT + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > SECRET_LIMIT {
        return Err(StoreError::Refused(format!("{name} is larger than 1 MiB, which no file of secrets is")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::Local(format!("{name} holds no UTF-8 text")))?;
    Ok(SecretString::from(text))
}

/// Whether group or others may read a plain file; a pipe of the shell (`<(…)`) is nobody else's.
#[cfg(unix)]
fn readable_by_others(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    found.is_file() && found.permissions().mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &std::fs::Metadata) -> bool {
    false
}
