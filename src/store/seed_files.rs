//! The seed sets in a folder: every `*.sql` and `*.toml` directly in it, by name.
//!
//! Read whole and checked before a database is opened.

use std::path::Path;

use crate::domain::seeds::SeedSet;

use super::StoreError;
use super::files::read_text;

/// The sets of a folder, sorted by their files' names; other files are none.
///
/// # Errors
/// [`StoreError::Local`] for what cannot be read; [`StoreError::Refused`] for what is no set, with file and line.
pub fn read_folder(folder: &Path) -> Result<Vec<SeedSet>, StoreError> {
    let unread = |error: std::io::Error| {
        StoreError::Local(format!("the folder of seeds {} cannot be read: {error}", folder.display()))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !hidden && matches!(extension, Some("sql" | "toml")) {
            paths.push(path);
        }
    }
    paths.sort();
    let parse = |path: &std::path::PathBuf| {
        let file = path.display().to_string();
        let text = read_text(path)?;
        SeedSet::parse(&file, &text).map_err(|error| StoreError::Refused(format!("{error}; nothing was written")))
    };
    paths.iter().map(parse).collect()
}
