//! The Python files of an Alembic folder, as text: nothing of them is run.

use std::path::Path;

use super::StoreError;
use super::files::read_text;

/// Every `*.py` directly in the folder, as path and text, sorted by path.
///
/// # Errors
/// [`StoreError::Local`] for what cannot be read; [`StoreError::Refused`] for what is not UTF-8.
pub fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, StoreError> {
    let unread = |error: std::io::Error| {
        StoreError::Local(format!("the folder of revisions {} cannot be read: {error}", folder.display()))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|extension| extension == "py") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Ok((path.display().to_string(), read_text(path)?))).collect()
}
