//! Which old backups go: those that llmhub made, of the same database, in the same folder, past their age. Never the newest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::store::StoreError;

use super::metadata::{Metadata, metadata_path};
use super::partial::folder;

/// Delete what is older than `age` beside the backup `newest`; the dump goes first, for metadata alone is no backup.
pub(super) fn delete_older(
    newest: &Path,
    metadata: &Metadata,
    age: Duration,
    now: Timestamp,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut deleted = Vec::new();
    for dump in older(newest, &metadata.server, &metadata.database, age, now)? {
        let removed = std::fs::remove_file(&dump).and_then(|()| std::fs::remove_file(metadata_path(&dump)));
        removed.map_err(|error| {
            let path = dump.display();
            StoreError::Local(format!(
                "the backup {} was made, but the old {path} cannot be deleted: {error}",
                newest.display()
            ))
        })?;
        deleted.push(dump);
    }
    Ok(deleted)
}

/// The backups beside `newest`, oldest first, that are past their age.
pub(super) fn older(
    newest: &Path,
    server: &str,
    database: &str,
    age: Duration,
    now: Timestamp,
) -> Result<Vec<PathBuf>, StoreError> {
    let folder = folder(newest);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::Local(format!("{} cannot be read: {error}", folder.display()))),
    };
    let mut found = Vec::new();
    for beside in entries.flatten().map(|entry| entry.path()) {
        let Some(dump) = beside.to_str().and_then(|path| path.strip_suffix(".json")).map(PathBuf::from) else {
            continue;
        };
        if dump.file_name() == newest.file_name() {
            continue;
        }
        // What is no metadata of ours was not made by llmhub, and is not ours to delete.
        let Ok(Some(metadata)) = Metadata::read(&beside) else { continue };
        let whole = dump.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() == metadata.size);
        let Ok(taken) = metadata.snapshot_at.parse::<Timestamp>() else { continue };
        let past = Duration::try_from(now.duration_since(taken)).is_ok_and(|since| since > age);
        if whole && past && metadata.server == server && metadata.database == database {
            found.push((taken, dump));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, dump)| dump).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::pg_tools::ToolVersion;

    const NOW: &str = "2026-03-11T00:00:00Z";

    fn backup(folder: &Path, name: &str, database: &str, taken: &str) {
        let tool_version: ToolVersion = serde_json::from_str("\"15.1\"").unwrap();
        let metadata = Metadata {
            format: 1,
            database: database.to_owned(),
            server: "h:5432".to_owned(),
            server_version: "15.1".to_owned(),
            tool_version,
            snapshot_at: taken.to_owned(),
            size: 1,
            sha256: String::new(),
            current: None,
            tables: Vec::new(),
        };
        std::fs::write(folder.join(name), "x").unwrap();
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_string(&metadata).unwrap()).unwrap();
    }

    #[test]
    fn only_old_backups_of_the_same_database_that_llmhub_made_are_past_their_age() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        backup(path, "old", "d", "2026-03-01T00:00:00Z");
        backup(path, "older", "d", "2026-02-01T00:00:00Z");
        backup(path, "just", "d", "2026-03-04T00:00:00Z");
        backup(path, "other", "e", "2026-01-01T00:00:00Z");
        backup(path, "cut", "d", "2026-01-01T00:00:00Z");
        std::fs::write(path.join("cut"), "").unwrap();
        backup(path, "newest", "d", "2026-01-01T00:00:00Z");
        std::fs::write(path.join("foreign.dump"), "x").unwrap();
        std::fs::write(path.join("foreign2.json"), "{}").unwrap();
        std::fs::write(path.join("foreign2"), "x").unwrap();
        let week = Duration::from_secs(7 * 86_400);
        let found = older(&path.join("newest"), "h:5432", "d", week, NOW.parse().unwrap()).unwrap();
        assert_eq!(found, [path.join("older"), path.join("old")]);
        assert_eq!(
            older(&path.join("newest"), "elsewhere:1", "d", week, NOW.parse().unwrap()).unwrap(),
            [""; 0].map(PathBuf::from)
        );
    }
}
