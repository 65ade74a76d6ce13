//! Replays recordings of the real hub against its double and collects every difference.
//!
//! Compared are status, all headers, body and its length. What is random by nature is compared by form (request ids) or by
//! identity (a token must stay the same token), and the address of the hub is put in the place of the recorded one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;

use super::recording::{Recording, Returned, Sent, Step, lists_written_out};
use super::steering;
use crate::support::hub::{Hub, MASTER_KEY, Mount, Service, Stack, User};
use crate::support::raw_http::{Answer, Connection, Lost, RawRequest, fetch};

/// How far a step that is not compared in full is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is no request: the double is steered as the recorder steered the hub.
    Steer,
}

/// A step that is not compared in full, and why.
pub struct Exception {
    /// The file, by its number.
    pub file: &'static str,
    /// The steps, by their numbers.
    pub steps: &'static [u32],
    /// How far it is followed.
    pub follow: Follow,
    /// Why not further.
    pub reason: &'static str,
}

/// The authority that the recorded hub was called by.
const RECORDED_AUTHORITY: &str = "127.0.0.1:58084";
/// The double's keep-alive here, and pauses that stand for the recorded 4 s and 6 s around the hub's 5 s.
const KEEP_ALIVE: Duration = Duration::from_millis(1200);
const PAUSES: [(&str, Duration); 2] =
    [("after 4 s idle", Duration::from_millis(200)), ("after 6 s idle", Duration::from_millis(2000))];

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps compared in full.
    pub compared: usize,
    /// Steps that an exception covers.
    pub excepted: usize,
    /// One sentence for each difference.
    pub differences: Vec<String>,
}

/// One hub and what is known of it; a chain of recordings was made on the same hub, one after another.
pub struct Replay<'a> {
    exceptions: &'a [Exception],
    hub: Hub,
    /// Recorded tokens, and the ones that the double handed out in their place.
    tokens: HashMap<String, String>,
    kept: Option<Connection>,
    report: Report,
}

/// Replay recordings that were made on one hub.
pub fn replay(chain: &[&str], exceptions: &[Exception]) -> Report {
    let recordings: Vec<(&str, Recording)> = chain.iter().map(|name| (*name, Recording::read(name))).collect();
    let (_, first) = recordings.first().expect("a chain of recordings");
    let hub = start(&first.server_env);
    steering::prepare(chain.first().copied().unwrap_or_default(), &hub);
    let mut replay = Replay { exceptions, hub, tokens: HashMap::new(), kept: None, report: Report::default() };
    for (name, recording) in &recordings {
        for (index, step) in recording.steps.iter().enumerate() {
            let number = step.n.unwrap_or(index as u32 + 1);
            replay.step(name, number, step, recording);
        }
        replay.kept = None;
    }
    replay.report
}

fn start(env: &BTreeMap<String, String>) -> Hub {
    let is = |name: &str, value: &str| env.get(name).is_some_and(|known| known == value);
    let mount = match (is("HUB_FEATURES", "0"), is("HUB_CATCHALL", "1")) {
        (true, _) => Mount::Missing,
        (false, true) => Mount::BeforeCatchAll,
        (false, false) => Mount::Bare,
    };
    let mut env = env.clone();
    env.entry("BYOK_ENCRYPTION_KEY".to_owned()).or_insert_with(|| MASTER_KEY.to_owned());
    let hub = Hub::builder()
        .stack(if is("HUB_STACK", "full") { Stack::Full } else { Stack::Core })
        .mount(mount)
        .keep_alive(KEEP_ALIVE)
        .now(jiff::civil::date(2026, 11, 21).at(2, 0, 0, 0))
        .env(env.clone())
        .start();
    if is("HUB_JSONB", "0") {
        hub.set_service(Service::AsIs);
    }
    // The logins of which the recordings make use.
    for (token, role) in [
        ("adm-session-0001", Some("admin")),
        ("adm2-session-0001", Some("admin")),
        ("adm3-session-0001", Some("admin")),
        ("admUP-session-0001", Some("Admin")),
        ("view-session-0001", Some("viewer")),
        ("norole-session-0001", None),
        ("fresh-login-session", Some("admin")),
        ("fresh-login-session-b", Some("admin")),
    ] {
        // An address each: the limit of tests is by address.
        let user = User { role: role.map(str::to_owned), email: format!("{token}@example.com") };
        hub.install_session(token, Some(user), None);
    }
    hub
}

impl Replay<'_> {
    fn step(&mut self, name: &str, number: u32, step: &Step, recording: &Recording) {
        let exception = self
            .exceptions
            .iter()
            .rfind(|exception| name.starts_with(exception.file) && exception.steps.contains(&number))
            .map(|exception| exception.follow);
        let differences = match (exception, &step.request, &step.response) {
            (Some(Follow::Steer), None, None) => self.steer(step, recording),
            (None, Some(sent), Some(returned)) => {
                let outcome = self.send(sent, returned, step);
                self.compare(&outcome, returned)
            }
            (exception, ..) => vec![format!("neither sent nor an exception that fits: {exception:?}")],
        };
        if exception.is_some() {
            self.report.excepted += 1;
        } else {
            self.report.compared += 1;
        }
        self.report.differences.extend(differences.into_iter().map(|text| format!("[{name}:{number}] {text}")));
    }

    /// Do what the recorder did to the hub itself.
    fn steer(&mut self, step: &Step, recording: &Recording) -> Vec<String> {
        if let Some(recorded) = &step.db {
            return steering::compare_rows(&self.hub, recorded);
        }
        if step.note.as_deref().is_some_and(|note| steering::steer(&self.hub, note)) {
            return Vec::new();
        }
        if let Some(dates) = &step.env {
            let dates = dates.iter().map(|(name, date)| (format!("FEATURE_LLM_HUB_{name}_DATE"), date.clone()));
            self.hub = start(&recording.server_env.clone().into_iter().chain(dates).collect());
            self.tokens.clear();
        } else if let Some(recorded) = &step.counts {
            let mut counts = BTreeMap::new();
            let mut connection = Connection::open(self.hub.address()).expect("the double listens");
            for _ in 0..recorded.values().sum::<usize>() {
                let request = RawRequest::get("/api/v1/features/unified_llm_hub");
                *counts.entry(connection.send(&request).expect("an answer").status).or_insert(0) += 1;
            }
            if counts != *recorded {
                return vec![format!("counts {counts:?}, recorded {recorded:?}")];
            }
        } else if let (Some(workers), Some(log)) = (step.workers, &step.log_last_error) {
            let started = Hub::builder().workers(workers).env([("FEATURE_LLM_HUB_ROLLOUT", "abc")]).try_start();
            let words = started.map(|_| ()).map_err(|error| error.0);
            if words.as_ref().err() != log.last() {
                return vec![format!("start ended with {words:?}, recorded {log:?}")];
            }
        } else if step.note.as_ref().is_some_and(|note| note.contains("restarted")) {
            self.hub.restart();
        } else {
            return vec!["a step that nobody knows how to follow".to_owned()];
        }
        Vec::new()
    }

    fn send(&mut self, sent: &Sent, returned: &Returned, step: &Step) -> Result<Answer, Lost> {
        self.mint_unrecorded(sent, returned);
        for (note, pause) in PAUSES {
            if step.note.as_ref().is_some_and(|known| known.starts_with(note)) {
                std::thread::sleep(pause);
            }
        }
        if step.note.as_ref().is_some_and(|note| note.starts_with("61 s after")) {
            self.hub.forget_tests();
        }
        let target = String::from_utf8(sent.target()).map(|target| self.translate(target).into_bytes());
        let mut request = RawRequest::new(&sent.method, target.unwrap_or_else(std::string::FromUtf8Error::into_bytes));
        for (name, value) in sent.headers() {
            request = request.header(name, self.with_own_tokens(value));
        }
        if let Some(body) = sent.body() {
            request = request.body(body);
        }
        // The recorder closed after each answer unless it looked at the connection itself.
        let closes = returned.headers.iter().any(|(name, value)| name == "connection" && value == "close");
        let died = returned.transport_error.as_ref().is_some_and(|error| error.contains("Remote end closed"));
        if closes || (returned.transport_error.is_some() && !died) {
            return fetch(self.hub.address(), request);
        }
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.hub.address())?,
        };
        let outcome = connection.send(&request);
        self.kept = outcome.is_ok().then_some(connection);
        outcome
    }

    /// A token that was accepted without having been seen before was fetched off the record; fetch one too.
    fn mint_unrecorded(&mut self, sent: &Sent, returned: &Returned) {
        let Some(recorded) = sent.header("X-CSRF-Token").filter(|token| !self.tokens.contains_key(token)) else {
            return;
        };
        let accepted = returned.headers.iter().any(|(name, value)| name == "set-cookie" && value.contains(&recorded));
        if let (true, Some(session)) = (accepted, sent.header("Cookie")) {
            let request = RawRequest::get("/api/v1/features/").header("Cookie", session);
            let answer = fetch(self.hub.address(), request).expect("an answer");
            if let Some((_, own)) = answer.header("set-cookie").as_deref().and_then(cookie) {
                self.tokens.insert(recorded, own.to_owned());
            }
        }
    }

    fn with_own_tokens(&self, value: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(value) {
            Ok(text) => self.translate(text).into_bytes(),
            Err(error) => error.into_bytes(),
        }
    }

    fn translate(&self, text: String) -> String {
        self.tokens.iter().fold(text, |text, (recorded, own)| text.replace(recorded.as_str(), own))
    }

    /// Learn which of our tokens stand in the place of the recorded ones; each recorded one has exactly one.
    fn learn(&mut self, answer: &Answer, returned: &Returned) {
        let mut pairs = Vec::new();
        let recorded = returned.headers.iter().filter(|(name, _)| name == "set-cookie");
        let own = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
        for ((_, recorded), (_, own)) in recorded.zip(own) {
            let own = String::from_utf8_lossy(own);
            if let (Some((name, recorded)), Some((own_name, own))) = (cookie(recorded), cookie(&own))
                && name == own_name
            {
                pairs.push((recorded.to_owned(), own.to_owned()));
            }
        }
        if let Some(Value::String(recorded)) = returned.json.as_ref().and_then(|body| body.get("csrf_token"))
            && let Some(Value::String(own)) = answer.json().get("csrf_token")
        {
            pairs.push((recorded.clone(), own.clone()));
        }
        if let (Some(recorded), Ok(own)) = (&returned.json, serde_json::from_slice(&answer.content())) {
            steering::pair_up(recorded, &own, &mut pairs);
        }
        for (recorded, own) in pairs {
            if recorded.len() == own.len() {
                self.tokens.entry(recorded).or_insert(own);
            }
        }
    }

    fn compare(&mut self, outcome: &Result<Answer, Lost>, returned: &Returned) -> Vec<String> {
        let answer = match (outcome, &returned.transport_error) {
            (Err(Lost::Closed), Some(_)) => return Vec::new(),
            (Ok(answer), None) => answer,
            (outcome, recorded) => return vec![format!("ended as {outcome:?}, recorded {recorded:?}")],
        };
        self.learn(answer, returned);
        let mut differences = Vec::new();
        if Some(answer.status) != returned.status {
            differences.push(format!("status {}, recorded {:?}: {}", answer.status, returned.status, answer.text()));
        }
        let (own, recorded) = (own_headers(answer), self.recorded_headers(returned));
        if own != recorded {
            differences.push(format!("headers {own:?}, recorded {recorded:?}"));
        }
        let content = answer.content();
        if let Some(recorded) = returned.body_bytes
            && recorded != content.len()
        {
            differences.push(format!("{} bytes of body, recorded {recorded}", content.len()));
        }
        match (&returned.json, &returned.body_text) {
            // A body too long to record; its length has been compared.
            (Some(json), _) if json.get("trimmed").is_some() => {
                let bytes = json["bytes"].as_u64();
                if bytes != Some(content.len() as u64) {
                    differences.push(format!("{} bytes of body, recorded {bytes:?}", content.len()));
                }
            }
            (Some(json), _) => {
                let recorded = self.translate(lists_written_out(json).to_string());
                let mut recorded: Value = serde_json::from_str(&recorded).expect("tokens are plain text");
                steering::times_by_length(&mut recorded);
                let own = serde_json::from_slice::<Value>(&content).ok().map(|mut own| {
                    steering::times_by_length(&mut own);
                    own
                });
                if own.as_ref() != Some(&recorded) {
                    differences.push(format!("body {}, recorded {recorded}", answer.text()));
                }
            }
            (None, Some(text)) if *text != answer.text() => {
                differences.push(format!("body {:?}, recorded {text:?}", answer.text()));
            }
            (None, _) => {}
        }
        differences
    }

    fn recorded_headers(&self, returned: &Returned) -> Vec<(String, String)> {
        let headers = returned.headers.iter().map(|(name, value)| {
            let value = value.replace(RECORDED_AUTHORITY, &self.hub.address().to_string());
            comparable(name, self.translate(value))
        });
        // The authority in a redirect is shorter or longer than the recorded one, but a redirect has no body.
        sorted(headers.collect())
    }
}

fn own_headers(answer: &Answer) -> Vec<(String, String)> {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date" && name != "server");
    sorted(headers.map(|(name, value)| comparable(name, String::from_utf8_lossy(value).into_owned())).collect())
}

/// A request id as its form.
fn comparable(name: &str, value: String) -> (String, String) {
    let is_uuid = value.len() == 36 && value.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    (name.to_owned(), if name == "x-request-id" && is_uuid { "<uuid>".to_owned() } else { value })
}

fn sorted(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.sort();
    headers
}

/// Name and value of a `Set-Cookie`.
fn cookie(text: &str) -> Option<(&str, &str)> {
    text.split(';').next()?.split_once('=')
}
