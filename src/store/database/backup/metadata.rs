//! What is known of a backup, in a file beside it: a dump without it was not made by llmhub, or was never finished.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::StoreError;
use crate::store::pg_tools::ToolVersion;

use super::tally::Table;

/// The version of this file's form.
pub(super) const FORMAT: u32 = 1;

/// Thousands of tables fit.
const LIMIT: u64 = 16 * 1024 * 1024;

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The form of this file.
    pub format: u32,
    /// The database's name.
    pub database: String,
    /// `host:port` of its server.
    pub server: String,
    /// As the server calls it.
    pub server_version: String,
    /// Of the `pg_dump` that made it.
    pub tool_version: ToolVersion,
    /// The moment whose state it holds, RFC 3339 UTC.
    pub snapshot_at: String,
    /// The dump's size in bytes.
    pub size: u64,
    /// The dump's hash, hexadecimal.
    pub sha256: String,
    /// The newest migration on llmhub's ledger; `None` without a ledger.
    pub current: Option<String>,
    /// Every table with its rows.
    pub tables: Vec<Table>,
}

/// Where the metadata of a dump is: `x.dump.json` for `x.dump`.
pub fn metadata_path(dump: &Path) -> PathBuf {
    let mut name = dump.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    dump.with_file_name(name)
}

impl Metadata {
    /// Read the metadata in `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a file of another form; [`StoreError::Local`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        let name = path.display();
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::Local(format!("{name} cannot be read: {error}"))),
        }
        let metadata: Self = serde_json::from_str(&text).map_err(|error| {
            StoreError::Refused(format!("{name} is not the metadata of a backup: line {}", error.line()))
        })?;
        if metadata.format != FORMAT {
            return Err(StoreError::Refused(format!(
                "{name} has format {} and this llmhub knows {FORMAT}: use the llmhub that made it",
                metadata.format
            )));
        }
        Ok(Some(metadata))
    }
}
