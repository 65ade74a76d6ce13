//! The controls of the provider keys: what the hub's database holds, how far the service was repaired, who answers behind it.

use serde_json::Value;

use super::providers::{Database, Pydantic, Row, Service, Upstream, seed};
use super::state::lock;
use super::{Hub, config};

/// A master key that the hub takes.
pub const MASTER_KEY: &str = "8yJx0m3sW0aJYpZb1mJtq4m4kq5vV1o2mYb3r0N7c1E=";

impl Hub {
    /// Set how far the service was repaired.
    pub fn set_service(&self, service: Service) {
        lock(&self.state.providers).service = service;
    }

    /// Set how it refuses and fails.
    pub fn set_pydantic(&self, pydantic: Pydantic) {
        lock(&self.state.providers).pydantic = pydantic;
    }

    /// Set what is behind it.
    pub fn set_database(&self, database: Database) {
        lock(&self.state.providers).database = database;
    }

    /// Say how the provider of a type answers.
    pub fn set_upstream(&self, provider: &str, upstream: Upstream) {
        lock(&self.state.providers).upstreams.insert(provider.to_owned(), upstream);
    }

    /// Run the service's own seed: seven rows without keys.
    pub fn seed_providers(&self) {
        for (name, provider, priority, config) in seed() {
            let id = lock(&self.state.random).uuid();
            lock(&self.state.providers).rows.push(Row::seeded(id, name, provider, priority, config));
        }
    }

    /// Put a row into the database, its key sealed under the hub's present master key.
    pub fn add_provider(&self, name: &str, provider: &str, key: Option<&str>, config: Value) {
        let id = lock(&self.state.random).uuid();
        let master = lock(&self.state.env).get("BYOK_ENCRYPTION_KEY").cloned().unwrap_or_default();
        let key = key.map(|key| (key.to_owned(), master));
        lock(&self.state.providers).rows.push(Row { key, ..Row::seeded(id, name, provider, 50, config) });
    }

    /// Change a row behind the hub's back.
    ///
    /// # Panics
    /// When there is no row of that name.
    pub fn edit_provider(&self, name: &str, edit: impl FnOnce(&mut Row)) {
        let mut providers = lock(&self.state.providers);
        edit(providers.rows.iter_mut().find(|row| row.name == name).expect("a row of that name"));
    }

    /// Remove rows behind the hub's back.
    pub fn drop_providers(&self, doomed: impl Fn(&Row) -> bool) {
        lock(&self.state.providers).rows.retain(|row| !doomed(row));
    }

    /// The rows as they are.
    pub fn providers(&self) -> Vec<Row> {
        lock(&self.state.providers).rows.clone()
    }

    /// Take a variable out of the environment.
    pub fn unset_env(&self, name: &str) {
        let env: &mut config::Env = &mut lock(&self.state.env);
        env.remove(name);
    }

    /// Have one worker keep a variable of before until it is restarted.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn keep_env(&self, worker: usize, name: &str, value: &str) {
        lock(&self.worker(worker).kept).insert(name.to_owned(), value.to_owned());
    }

    /// Let a minute pass for the limit of tests.
    pub fn forget_tests(&self) {
        self.state.workers.iter().for_each(|worker| lock(&worker.tests).forget());
    }
}
