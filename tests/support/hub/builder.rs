//! What a hub is to be like, before it starts. The defaults are a repaired production hub: one worker, all middlewares, the
//! flag router in front of the catch-all.

use std::time::Duration;

use jiff::civil::DateTime;

use super::balance::Routing;
use super::config::{Env, ImportError};
use super::routes::Mount;
use super::stack::Stack;
use super::state::{Settings, State};
use super::{Hub, listen};

/// Builds a [`Hub`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    settings: Settings,
    env: Env,
    port: u16,
}

impl Default for Builder {
    fn default() -> Self {
        let settings = Settings {
            workers: 1,
            routing: Routing::EvenRandom,
            stack: Stack::Full,
            mount: Mount::BeforeCatchAll,
            keep_alive: Duration::from_secs(5),
            session_lifetime: Duration::from_secs(7200),
            rate_limit: 1000,
            now: None,
            seed: 1,
        };
        Self { settings, env: Env::new(), port: 0 }
    }
}

impl Builder {
    /// This many processes behind the one port, at least one.
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers.max(1);
        self
    }

    /// Add variables to the environment of all processes; `CSRF_ENABLED=false` counts too.
    pub fn env<K: Into<String>, V: Into<String>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// How connections or requests are spread over the workers.
    pub fn routing(mut self, routing: Routing) -> Self {
        self.settings.routing = routing;
        self
    }

    /// Which middlewares run.
    pub fn stack(mut self, stack: Stack) -> Self {
        self.settings.stack = stack;
        self
    }

    /// What is mounted.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.settings.mount = mount;
        self
    }

    /// Close a kept connection after this silence; 5 s unless told.
    pub fn keep_alive(mut self, silence: Duration) -> Self {
        self.settings.keep_alive = silence;
        self
    }

    /// How long a session lives after each write to it; two hours unless told.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.session_lifetime = lifetime;
        self
    }

    /// Requests an hour for each client address and path; 1000 unless told. Only the full stack limits.
    pub fn rate_limit(mut self, requests: u32) -> Self {
        self.settings.rate_limit = requests;
        self
    }

    /// Stop the hub's clock at this naive UTC moment.
    pub fn now(mut self, now: DateTime) -> Self {
        self.settings.now = Some(now);
        self
    }

    /// Where the randomness of routing, tokens and ids starts.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// A fixed port of 127.0.0.1; 0, the default, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Start it on a thread of its own.
    ///
    /// # Panics
    /// When the environment stops the import (see [`Self::try_start`]) or the port is taken.
    pub fn start(self) -> Hub {
        self.try_start().expect("an environment that the hub can import")
    }

    /// The same, for environments that stop the import: such a hub never opens its port (CONTRACT 3.7).
    ///
    /// # Errors
    /// With the words of Python.
    pub fn try_start(self) -> Result<Hub, ImportError> {
        let state = State::new(self.settings, self.env)?;
        Ok(listen(state, self.port))
    }
}
