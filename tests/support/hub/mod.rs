//! A double of the hub: its flag API, CSRF and middlewares as CONTRACT and its recordings say, several worker states behind one
//! port, and every way to fail that an operator meets. It runs on a thread of its own, stops on drop, and is steered while it
//! runs, so that synchronous tests can drive the real binary against it.

#![allow(dead_code, unused_imports, reason = "the test binary and the example each use their own part of the controls")]
#![allow(clippy::expect_used, reason = "a double that cannot start, or is steered wrongly, shall stop its test")]

mod api;
mod balance;
mod builder;
mod config;
mod connection;
mod evaluate;
mod faults;
pub mod http;
mod keys;
mod pages;
mod providers;
mod python_json;
mod random;
mod routes;
mod sessions;
mod stack;
mod state;
mod update;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

pub use balance::{Routing, STICKY_COOKIE};
pub use builder::Builder;
pub use config::ImportError;
pub use faults::{ESCAPES, Fault, FaultId, When};
pub use keys::MASTER_KEY;
pub use providers::{Database, Pydantic, Row, Service, Upstream};
pub use routes::Mount;
pub use sessions::User;
pub use stack::Stack;
pub use state::Logged;

use state::{State, lock};

/// A running double.
#[derive(Debug)]
pub struct Hub {
    state: Arc<State>,
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serve `state` on a port of 127.0.0.1 until the hub is dropped.
fn listen(state: State, port: u16) -> Hub {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port on loopback");
    listener.set_nonblocking(true).expect("a listener that tokio can use");
    let address = listener.local_addr().expect("a bound listener has an address");
    let state = Arc::new(state);
    let connections = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = oneshot::channel();

    let (served, counter) = (Arc::clone(&state), Arc::clone(&connections));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener that tokio can use");
            let accept = async {
                loop {
                    // Out of file descriptors, mostly; the client will see it.
                    let Ok((stream, client)) = listener.accept().await else { continue };
                    let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
                    tokio::spawn(connection::serve(Arc::clone(&served), stream, client.ip(), number));
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
    });
    Hub { state, address, connections, stop: Some(stop), thread: Some(thread) }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already, and panicking here could abort the test run.
            let _ = thread.join();
        }
    }
}

impl Hub {
    /// Say what it is to be like, then start it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Such as `http://127.0.0.1:40001`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many processes share the port.
    pub fn workers(&self) -> usize {
        self.state.workers.len()
    }

    /// All flags of one worker, as its list answer shows them.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn flags(&self, worker: usize) -> Value {
        config::to_object(lock(&self.worker(worker).flags).iter())
    }

    /// One member of a flag on every worker, in the order of the workers.
    pub fn member(&self, flag: &str, member: &str) -> Vec<Value> {
        (0..self.workers()).map(|worker| self.flags(worker)[flag][member].clone()).collect()
    }

    /// Replace members of a flag on one worker, dates and nulls included.
    ///
    /// # Panics
    /// When there is no such worker, flag or member, or the member cannot hold the value.
    pub fn set_flag(&self, worker: usize, flag: &str, members: Value) {
        let mut flags = lock(&self.worker(worker).flags);
        let (_, config) = flags.iter_mut().find(|(name, _)| name == flag).expect("a flag of that name");
        *config = config.with(&members);
    }

    /// The same on all workers.
    pub fn set_flag_everywhere(&self, flag: &str, members: Value) {
        (0..self.workers()).for_each(|worker| self.set_flag(worker, flag, members.clone()));
    }

    fn worker(&self, worker: usize) -> &state::Worker {
        self.state.workers.get(worker).expect("a worker of that number")
    }

    /// Start one worker again: its flags come from the environment, its connections are cut, sessions stay.
    ///
    /// # Panics
    /// When the environment stops the import.
    pub fn restart_worker(&self, worker: usize) {
        self.state.restart(worker).expect("an environment that the hub can import");
    }

    /// Start all workers again.
    pub fn restart(&self) {
        (0..self.workers()).for_each(|worker| self.restart_worker(worker));
    }

    /// Change the environment that the next restart reads.
    pub fn set_env(&self, name: &str, value: &str) {
        lock(&self.state.env).insert(name.to_owned(), value.to_owned());
    }

    /// A fresh login with this role; the value of its `session_token` cookie.
    pub fn mint_session(&self, role: &str) -> String {
        let user = User { role: Some(role.to_owned()), email: format!("{role}@example.com") };
        lock(&self.state.sessions).log_in(user)
    }

    /// Put a session under a known cookie value, with or without user and CSRF token.
    pub fn install_session(&self, token: &str, user: Option<User>, csrf: Option<&str>) {
        lock(&self.state.sessions).install(token, user, csrf);
    }

    /// End all sessions at once.
    pub fn expire_sessions(&self) {
        lock(&self.state.sessions).expire();
    }

    /// Let this much time pass for all sessions.
    pub fn age_sessions(&self, time: Duration) {
        lock(&self.state.sessions).age(time);
    }

    /// The user of a session; the outer `None` means that there is no such session.
    pub fn session_user(&self, token: &str) -> Option<Option<User>> {
        lock(&self.state.sessions).user(token)
    }

    /// Break something, for the requests that `when` describes.
    pub fn fail(&self, when: When, fault: Fault) -> FaultId {
        lock(&self.state.faults).add(when, fault)
    }

    /// Repair one thing.
    pub fn repair(&self, fault: FaultId) {
        lock(&self.state.faults).clear(fault);
        self.state.faults_changed.send_modify(|change| *change += 1);
    }

    /// Repair everything.
    pub fn repair_all(&self) {
        lock(&self.state.faults).clear_all();
        self.state.faults_changed.send_modify(|change| *change += 1);
    }

    /// All requests so far, in the order in which they were understood.
    pub fn requests(&self) -> Vec<Logged> {
        lock(&self.state.log).visible().to_vec()
    }

    /// Forget the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.state.log).hide();
    }

    /// How many requests each method and path got, as in `GET /api/v1/features/`.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in lock(&self.state.log).visible() {
            *counts.entry(format!("{} {}", request.method, request.path())).or_default() += 1;
        }
        counts
    }

    /// How many requests one method and path got.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let log = lock(&self.state.log);
        log.visible().iter().filter(|request| request.method == method && request.path() == path).count()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}
