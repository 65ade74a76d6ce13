//! Testing keys that only the hub can open, by the hub's own test: one type after another, because it counts 10 a minute.
//!
//! What it does not say stays unknown, and the limit stops the tests that are left, not those that were made.

use super::{KeyTest, StoredKey};
use crate::app::App;
use crate::domain::keys::provider::KeyStatus;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::hub::keys::Tested;

impl App {
    /// Have the hub test the stored keys of these rows, in their order.
    ///
    /// # Errors
    /// As [`App::hub_keys`]; [`Error::Store`] where the hub refuses or does not answer.
    pub async fn test_keys_by_hub(&self, rows: &[StoredKey]) -> Result<Vec<KeyTest>, Error> {
        let hub = self.hub_keys()?;
        let mut tests: Vec<KeyTest> = Vec::with_capacity(rows.len());
        let mut limit: Option<KeyTest> = None;
        for (at, row) in rows.iter().enumerate() {
            // The hub tests by type: another row of the same type would be the same test, and count again.
            let same = tests.iter().find(|test| test.provider == row.provider).cloned();
            if let Some(known) = same.or_else(|| limit.clone()) {
                tests.push(KeyTest { name: row.name.clone(), provider: row.provider.clone(), ..known });
                continue;
            }
            self.ui.progress(&format!("the hub tests {} ({}/{})", row.name, at + 1, rows.len()));
            let tested = hub.test(row).await;
            self.ui.progress_end();
            tests.push(match tested {
                Ok(tested) => told(row, tested),
                Err(StoreError::RateLimited(why)) => {
                    let untested =
                        Tested { status: KeyStatus::RateLimited, models: None, latency_ms: None, notes: vec![why] };
                    limit.insert(told(row, untested)).clone()
                }
                Err(error) => return Err(error.into()),
            });
        }
        Ok(tests)
    }
}

fn told(row: &StoredKey, tested: Tested) -> KeyTest {
    KeyTest {
        name: row.name.clone(),
        provider: row.provider.clone(),
        status: tested.status,
        why: tested.notes.join("; "),
        latency_ms: tested.latency_ms,
        models: tested.models.and_then(|models| u32::try_from(models).ok()),
        unreadable: false,
    }
}
