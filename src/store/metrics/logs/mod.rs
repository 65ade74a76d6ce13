//! The hub's logs as a source: a file, standard input, or a program that prints them.
//!
//! Records are counted by their own times; nobody's clock but the log's decides what lies in a window. Lines are never kept.

mod file;
mod line;
mod stamp;
mod stream;
mod tally;

use std::path::PathBuf;

use self::stream::Stream;
use crate::domain::rollout::plan::LogsFrom;
use crate::domain::rollout::query::LogQuery;
use crate::domain::rollout::reading::{Reading, Window};
use crate::store::StoreError;

/// A longer line is passed over.
const LONGEST_LINE: usize = 10 * 1024 * 1024;

/// An opened log.
pub(super) enum LogSource {
    /// A file, read anew for each measurement.
    File(PathBuf),
    /// What arrives, counted as it does.
    Stream(Stream),
}

impl LogSource {
    /// Open it for these questions; what arrives is counted from now on.
    ///
    /// # Errors
    /// [`StoreError::Local`] when a program cannot be started.
    pub(super) fn open(from: &LogsFrom, asked: &[LogQuery]) -> Result<Self, StoreError> {
        match from {
            LogsFrom::File(path) => Ok(Self::File(path.clone())),
            LogsFrom::Stdin => Ok(Self::Stream(Stream::stdin(asked))),
            LogsFrom::Command(words) => Stream::command(words, asked).map(Self::Stream),
        }
    }

    /// Measure.
    pub(super) async fn measure(&self, query: &LogQuery, window: Window) -> Reading {
        match self {
            Self::File(path) => {
                let (path, query) = (path.clone(), query.clone());
                let scan = tokio::task::spawn_blocking(move || file::measure(&path, &query, window));
                scan.await.unwrap_or_else(|_| Reading::Failed("the scan of the log ended early".to_owned()))
            }
            Self::Stream(stream) => stream.measure(query, window),
        }
    }

    /// Whether there is a log to read.
    ///
    /// # Errors
    /// [`StoreError::Local`] for a file; [`StoreError::Unreachable`] for a program that has ended.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let path = match self {
            Self::File(path) => path,
            Self::Stream(stream) => return stream.check().await,
        };
        let unusable = |why: String| StoreError::Local(format!("the log {} cannot be read: {why}", path.display()));
        // Looked at before it is opened: to open a pipe would wait for its writer.
        let seen = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
        if !seen.is_file() {
            return Err(unusable("it is no regular file; a pipe can be standard input".to_owned()));
        }
        std::fs::File::open(path).map(drop).map_err(|error| unusable(error.to_string()))
    }
}
