//! Everything the double remembers: the workers, each with flags and limits of its own, what they share, and the log of requests.
//!
//! Handlers are synchronous and short, so plain mutexes do; none is held across an await.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use super::api;
use super::balance::{Balancer, Routing};
use super::config::{self, Env, Flags, ImportError};
use super::faults::Faults;
use super::http::{Ending, Header, Request, Response};
use super::pages::Pages;
use super::providers::{self, Providers, Surroundings, TestLimiter};
use super::random::Random;
use super::routes::{self, Endpoint, Mount, Target};
use super::sessions::{Csrf, Sessions};
use super::stack::{self, Limiter, Stack};

/// What was asked of the builder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many processes share the port, at least one.
    pub workers: usize,
    /// How they share it.
    pub routing: Routing,
    /// Which middlewares run.
    pub stack: Stack,
    /// What is mounted.
    pub mount: Mount,
    /// Silence after which a kept connection is closed.
    pub keep_alive: Duration,
    /// How long a session lives after each write to it.
    pub session_lifetime: Duration,
    /// Requests an hour for each client address and path.
    pub rate_limit: u32,
    /// The clock, when it stands still.
    pub now: Option<DateTime>,
    /// Where all randomness starts.
    pub seed: u64,
}

/// One process.
#[derive(Debug)]
pub struct Worker {
    /// Its own copy of the flags.
    pub flags: Mutex<Flags>,
    limiter: Mutex<Limiter>,
    /// Tests of provider keys.
    pub tests: Mutex<TestLimiter>,
    /// Variables that only a restart takes from the environment of all.
    pub kept: Mutex<Env>,
    /// Counts its starts; its connections end when this changes.
    pub starts: watch::Sender<u64>,
}

/// A request as it was received, and what was answered.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The worker it reached.
    pub worker: usize,
    /// The connection it came on, counted from 1 in the order of acceptance.
    pub connection: u64,
    /// Such as `GET`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<Header>,
    /// Without transfer coding.
    pub body: Vec<u8>,
    /// What was answered; `None` when nothing was, or not yet.
    pub status: Option<u16>,
}

impl Logged {
    /// The path as sent, without query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }
}

/// All requests so far, of which the first may be out of sight: an answer still finds its entry by number.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<Logged>,
    hidden: usize,
}

impl Log {
    /// Remember a request; its number.
    pub fn push(&mut self, request: Logged) -> usize {
        self.entries.push(request);
        self.entries.len() - 1
    }

    /// Remember what was answered.
    pub fn answered(&mut self, number: usize, status: u16) {
        if let Some(request) = self.entries.get_mut(number) {
            request.status = Some(status);
        }
    }

    /// Put all requests so far out of sight.
    pub fn hide(&mut self) {
        self.hidden = self.entries.len();
    }

    /// The requests in sight.
    pub fn visible(&self) -> &[Logged] {
        self.entries.get(self.hidden..).unwrap_or_default()
    }
}

/// The whole double.
#[derive(Debug)]
pub struct State {
    /// What it was built with.
    pub settings: Settings,
    /// The environment that a restart reads.
    pub env: Mutex<Env>,
    /// The processes.
    pub workers: Vec<Worker>,
    /// Shared by all processes.
    pub sessions: Mutex<Sessions>,
    /// The database behind the provider keys, shared by all processes.
    pub providers: Mutex<Providers>,
    /// Which worker is next.
    pub balancer: Mutex<Balancer>,
    /// What is broken at the moment.
    pub faults: Mutex<Faults>,
    /// The front end, shared by all processes.
    pub pages: Mutex<Pages>,
    /// Told whenever a fault is cleared.
    pub faults_changed: watch::Sender<u64>,
    /// All requests so far.
    pub log: Mutex<Log>,
    /// For request ids and row ids.
    pub random: Mutex<Random>,
}

/// The guard, also after a panic in a test that held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// A hub that has just started.
    pub fn new(settings: Settings, env: Env) -> Result<Self, ImportError> {
        let flags = config::from_env(&env)?;
        let workers = (0..settings.workers)
            .map(|_| Worker {
                flags: Mutex::new(flags.clone()),
                limiter: Mutex::default(),
                tests: Mutex::default(),
                kept: Mutex::default(),
                starts: watch::Sender::new(1),
            })
            .collect();
        let seed = settings.seed;
        Ok(Self {
            env: Mutex::new(env),
            workers,
            sessions: Mutex::new(Sessions::new(settings.session_lifetime, Random::seeded(seed ^ 1))),
            providers: Mutex::default(),
            balancer: Mutex::new(Balancer::new(&settings.routing, settings.workers, Random::seeded(seed ^ 2))),
            faults: Mutex::default(),
            pages: Mutex::default(),
            faults_changed: watch::Sender::new(0),
            log: Mutex::default(),
            random: Mutex::new(Random::seeded(seed ^ 3)),
            settings,
        })
    }

    /// Start a worker again: flags from the environment, empty limiter, its connections cut. Sessions stay.
    pub fn restart(&self, worker: usize) -> Result<(), ImportError> {
        let flags = config::from_env(&lock(&self.env))?;
        let Some(worker) = self.workers.get(worker) else { return Ok(()) };
        *lock(&worker.flags) = flags;
        *lock(&worker.limiter) = Limiter::default();
        lock(&worker.tests).forget();
        lock(&worker.kept).clear();
        worker.starts.send_modify(|starts| *starts += 1);
        Ok(())
    }

    fn csrf(&self) -> Csrf {
        let off = lock(&self.env).get("CSRF_ENABLED").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        if off { Csrf::Off } else { Csrf::On }
    }

    fn now(&self) -> DateTime {
        self.settings.now.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(TimeZone::UTC).datetime())
    }

    /// Answer a request on a worker: CSRF outermost, then the stack, then the router.
    pub fn answer(&self, worker: &Worker, request: &Request, client: IpAddr) -> Response {
        let csrf = self.csrf();
        if csrf == Csrf::On && !lock(&self.sessions).passes(request) {
            return Response::crash();
        }
        let mut response = self.inside_csrf(worker, request, client);
        // A crash leaves no middleware the chance to add anything.
        if response.ending == Ending::SilentClose {
            return response;
        }
        self.dress(&mut response, request);
        if csrf == Csrf::On
            && let Some(cookie) = lock(&self.sessions).cookie_after(request)
        {
            response.headers.push(("set-cookie".to_owned(), cookie.into_bytes()));
        }
        response
    }

    /// Add what the stack adds to every answer.
    pub fn dress(&self, response: &mut Response, request: &Request) {
        if self.settings.stack == Stack::Full {
            let request_id = lock(&self.random).uuid();
            stack::dress(response, request, &request_id);
        }
    }

    fn inside_csrf(&self, worker: &Worker, request: &Request, client: IpAddr) -> Response {
        let full = self.settings.stack == Stack::Full;
        if full && let Some(answer) = stack::preflight(request).or_else(|| stack::suspicious_query(request)) {
            return answer;
        }
        match routes::find(self.settings.mount, request) {
            Target::Framework(response) => response,
            Target::Endpoint(endpoint, captures) => {
                if full
                    && let Some(refused) = lock(&worker.limiter).count(client, request.path(), self.settings.rate_limit)
                {
                    return refused;
                }
                match endpoint {
                    Endpoint::CsrfToken => lock(&self.sessions).token_answer(request),
                    Endpoint::CatchAll => lock(&self.pages).answer(&request.path()).unwrap_or_else(routes::not_found),
                    Endpoint::ProviderInfo
                    | Endpoint::Keys
                    | Endpoint::SaveKey
                    | Endpoint::TestKey
                    | Endpoint::DeleteKey => {
                        let mut env = lock(&self.env).clone();
                        env.extend(lock(&worker.kept).clone());
                        let surroundings = Surroundings {
                            sessions: &lock(&self.sessions),
                            env: &env,
                            providers: &mut lock(&self.providers),
                            tests: &mut lock(&worker.tests),
                            now: self.now(),
                            random: &mut lock(&self.random),
                        };
                        providers::answer(endpoint, &captures, request, surroundings)
                    }
                    flags => api::answer(flags, &captures, request, &mut lock(&worker.flags), self.now()),
                }
            }
        }
    }
}
