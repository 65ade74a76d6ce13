//! A backup that somebody wants to use: is it the very file that was made, and does it hold what was counted?

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::store::StoreError;
use crate::store::pg_tools::{Archive, PgTools};

use super::metadata::{Metadata, metadata_path};
use super::partial::hex;
use super::tally::Table;

/// What must be known of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// llmhub's metadata.
    Metadata,
    /// Nothing: it was made by another program.
    None,
}

/// A dump that was checked; it stays open, so that what was checked is what is restored.
#[derive(Debug)]
pub struct Checked {
    /// Where it is.
    pub path: PathBuf,
    /// What is known of it; `None` for a foreign dump.
    pub metadata: Option<Metadata>,
    pub(in crate::store::database) file: File,
}

/// Check a dump against its metadata: size, hash, and every table in its table of contents.
///
/// # Errors
/// [`StoreError::Refused`] for whatever does not fit; [`StoreError::Local`] when it cannot be read.
pub async fn check(path: &Path, evidence: Evidence, tools: &PgTools) -> Result<Checked, StoreError> {
    let name = path.display();
    let unreadable = |error: std::io::Error| StoreError::Local(format!("{name} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?;
    if !size.is_file() {
        return Err(StoreError::Refused(format!("{name} is not a regular file")));
    }
    let metadata = match evidence {
        Evidence::None => None,
        Evidence::Metadata => {
            let beside = metadata_path(path);
            let metadata = Metadata::read(&beside)?.ok_or_else(|| {
                StoreError::Refused(format!(
                    "{name} has no metadata ({}), so nobody can say whether it is whole; a dump of another program is \
                     restored with --without-metadata and a reason",
                    beside.display()
                ))
            })?;
            Some(metadata)
        }
    };
    if let Some(metadata) = &metadata {
        if size.len() != metadata.size {
            return Err(StoreError::Refused(format!(
                "{name} has {} bytes and had {} when it was made: it is not whole",
                size.len(),
                metadata.size
            )));
        }
        let copy = file.try_clone().map_err(unreadable)?;
        let hashed = tokio::task::spawn_blocking(move || hash(copy)).await;
        let hashed = hashed.map_err(|_| StoreError::Local("the disk's task died".to_owned()))?.map_err(unreadable)?;
        if hashed != metadata.sha256 {
            return Err(StoreError::Refused(format!(
                "{name} is not what was made: its sha256 is {hashed} instead of {}",
                metadata.sha256
            )));
        }
    }
    let listing = tools.list(Archive::File(&file)).await?;
    let expected = metadata.as_ref().map(|metadata| metadata.tables.as_slice()).unwrap_or_default();
    if let Some(absent) = absent(&listing, expected) {
        return Err(StoreError::Refused(format!("{name} does not hold {absent}, which its metadata names")));
    }
    Ok(Checked { path: path.to_owned(), metadata, file })
}

fn hash(mut file: File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1024 * 1024]);
    loop {
        let read = file.read(&mut chunk)?;
        match chunk.get(..read) {
            Some(bytes) if !bytes.is_empty() => hash.update(bytes),
            _ => return Ok(hex(&hash.finalize())),
        }
    }
}

/// The first table whose rows are not in the listing.
pub(super) fn absent(listing: &[String], tables: &[Table]) -> Option<String> {
    // `4123; 0 16390 TABLE DATA public users owner`; the names are as they are, without quotes, on one line.
    let entries: Vec<&str> = listing.iter().filter_map(|line| Some(line.split_once(" TABLE DATA ")?.1)).collect();
    let missing = |table: &&Table| {
        let words = format!("{} {} ", table.schema, table.name).replace(['\n', '\r'], " ");
        !entries.iter().any(|entry| entry.starts_with(&words))
    };
    tables.iter().find(missing).map(|table| format!("the rows of {}.{}", table.schema, table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_there_when_its_rows_are() {
        #[track_caller]
        fn case(listing: &str, schema: &str, name: &str, there: bool) {
            let tables = [Table { schema: schema.to_owned(), name: name.to_owned(), rows: 0 }];
            let listing: Vec<String> = listing.lines().map(str::to_owned).collect();
            assert_eq!(absent(&listing, &tables).is_none(), there, "{schema}.{name}");
        }
        let listing = "215; 1259 16386 TABLE public users unicorn\n3321; 0 16386 TABLE DATA public users unicorn\n\
                       216; 1259 16390 TABLE public bare unicorn\n3322; 0 16390 TABLE DATA odd schema a table unicorn";
        case(listing, "public", "users", true);
        case(listing, "public", "user", false);
        case(listing, "public", "bare", false);
        case(listing, "odd schema", "a table", true);
        case("", "public", "users", false);
    }
}
