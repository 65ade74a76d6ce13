//! Reading the server's answers to their end, where an error may hide, within a limit.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgRow;
use tokio::time::timeout;

use super::failure::Failure;

/// The first row, if there is one.
pub(super) async fn first(mut rows: BoxStream<'_, Result<PgRow, sqlx::Error>>) -> Result<Option<PgRow>, sqlx::Error> {
    let mut first = None;
    while let Some(row) = rows.try_next().await? {
        first.get_or_insert(row);
    }
    Ok(first)
}

/// The last row, if there is one.
pub(super) async fn last(mut rows: BoxStream<'_, Result<PgRow, sqlx::Error>>) -> Result<Option<PgRow>, sqlx::Error> {
    let mut last = None;
    while let Some(row) = rows.try_next().await? {
        last = Some(row);
    }
    Ok(last)
}

/// A step of the conversation; a server that says nothing for so long is gone.
pub(super) async fn bounded<T>(
    limit: Option<Duration>,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return step.await.map_err(Failure::of) };
    match timeout(limit, step).await {
        Ok(result) => result.map_err(Failure::of),
        Err(_) => Err(Failure::silent(limit.as_secs())),
    }
}
