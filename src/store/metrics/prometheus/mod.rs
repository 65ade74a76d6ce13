//! Prometheus over its HTTP API: one number at one time, with the questions beside it that say what the number is worth.
//!
//! Redirects are not followed, answers and waits are bounded, and a bearer token leaves in one header to the configured
//! address. A free query's age cannot be told, since an instant query answers with its own time: only built-ins ask for the
//! newest scrape behind them, and a quantile in the last bucket is found for built-ins alone.

mod answer;

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use url::Url;
use url::form_urlencoded::Serializer;

use self::answer::{Answer, Trouble, names};
use crate::domain::rollout::plan::Prometheus;
use crate::domain::rollout::query::PromQuery;
use crate::domain::rollout::reading::{Arm, Measured, Reading, Window};
use crate::store::StoreError;
use crate::store::http::{self, Anchors, NoBody};

/// A larger answer is no measurement.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// What ends in this names the prefix of the hub's metrics.
const NAMED: &str = "http_requests_total";

/// A server.
pub(super) struct Server {
    base: Url,
    client: Client,
    bearer: Option<HeaderValue>,
    scrape_interval: Duration,
    limit: Duration,
    /// What `$P_` stands for; found at the first question that needs it.
    prefix: OnceCell<String>,
}

/// Whose numbers are asked.
#[derive(Clone, Copy)]
enum Group {
    Cohort,
    Control,
}

impl Group {
    fn word(self) -> &'static str {
        match self {
            Self::Cohort => "cohort",
            Self::Control => "control",
        }
    }
}

/// What the questions of one group gave.
struct Answers {
    value: Answer,
    samples: Option<Answer>,
    errors: Option<Answer>,
    resets: Option<Answer>,
    newest: Option<Answer>,
    buckets: Option<Answer>,
}

/// What a query asks of the second group, if it holds this.
const ARM: &str = "$ARM";

impl Server {
    /// A server at its address; nothing is asked yet. `limit` bounds one question.
    pub(super) fn open(
        described: &Prometheus,
        bearer: Option<SecretString>,
        ca_file: Option<&Path>,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        let base = described.url.clone();
        let loopback = match base.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let bearer = bearer.map(|token| {
            if base.scheme() == "http" && !loopback {
                let words = "the token for Prometheus would travel in clear text: use an https:// address";
                return Err(StoreError::Refused(words.to_owned()));
            }
            let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut header = header.map_err(|_| {
                StoreError::Credentials("the token for Prometheus holds characters that no header can carry".to_owned())
            })?;
            header.set_sensitive(true);
            Ok(header)
        });
        let anchors = if base.scheme() == "https" { Anchors::System(ca_file) } else { Anchors::Nobody };
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limit)
            .timeout(limit)
            .user_agent(concat!("llmhub/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(http::tls(anchors)?)
            .build()
            .map_err(|error| {
                StoreError::Local(format!("the HTTP client could not be set up: {}", http::reason(&error)))
            })?;
        let prefix = OnceCell::new_with(described.prefix.clone());
        let scrape_interval = described.scrape_interval;
        Ok(Self { base, client, bearer: bearer.transpose()?, scrape_interval, limit, prefix })
    }

    /// Measure at the end of the window.
    pub(super) async fn measure(&self, query: &PromQuery, window: Window) -> Reading {
        let mut measured = match self.group(query, window, Group::Cohort).await {
            Reading::Number(measured) => measured,
            other => return other,
        };
        if query.value.contains(ARM) {
            match self.group(query, window, Group::Control).await {
                Reading::Number(Measured { value, samples, .. }) => {
                    measured.control = Some(Arm { value, samples: samples.unwrap_or(0) });
                }
                // Nobody is without the feature: the number stands, with nothing to compare it with.
                Reading::Nothing(_) => {}
                other => return other,
            }
        }
        Reading::Number(measured)
    }

    /// Whether every question can be asked.
    pub(super) async fn check(&self, query: &PromQuery) -> Result<(), StoreError> {
        let refuse = |trouble: Trouble| match trouble {
            Trouble::BadQuery(words) => StoreError::Refused(self.said(&words)),
            Trouble::Locked(words) => StoreError::Credentials(self.said(&words)),
            Trouble::Failed(words) => StoreError::Unreachable(self.said(&words)),
        };
        if query.texts().iter().flatten().any(|text| text.contains(PREFIX)) {
            match self.prefix().await.map_err(refuse)? {
                Prefix::Known => {}
                Prefix::Unknown(words) => return Err(StoreError::Refused(self.said(&words))),
            }
        }
        for (place, text) in query.texts().into_iter().enumerate() {
            let Some(text) = text else { continue };
            let text = self.spelled(text, CHECK_WINDOW, Group::Cohort);
            let wrong = match (place, self.ask(&text, None).await.map_err(refuse)?) {
                (_, Answer::Shapeless(what)) => format!("`{text}` gives {what}"),
                (0, Answer::Several(series)) => format!("`{text}` gives {}: one is wanted", names(&series)),
                _ => continue,
            };
            return Err(StoreError::Refused(self.said(&wrong)));
        }
        Ok(())
    }

    /// One group's number.
    async fn group(&self, query: &PromQuery, window: Window, group: Group) -> Reading {
        if query.texts().iter().flatten().any(|text| text.contains(PREFIX)) {
            match self.prefix().await {
                Ok(Prefix::Known) => {}
                Ok(Prefix::Unknown(words)) => return Reading::Nothing(self.said(&words)),
                Err(trouble) => return Reading::Failed(self.said(trouble.words())),
            }
        }
        let span = span(window);
        let questions = query.texts().map(|text| async move {
            let text = self.spelled(text?, span, group);
            Some(self.ask(&text, Some(window.to)).await)
        });
        let mut answers = Vec::with_capacity(6);
        for answer in join_all(questions).await {
            match answer.transpose() {
                Ok(answer) => answers.push(answer),
                Err(trouble) => return Reading::Failed(self.said(trouble.words())),
            }
        }
        let mut answers = answers.into_iter();
        let mut next = || answers.next().flatten();
        let Some(value) = next() else { return Reading::Failed(self.said("it was asked for nothing")) };
        Answers { value, samples: next(), errors: next(), resets: next(), newest: next(), buckets: next() }
            .reading(window.to, self.scrape_interval)
    }

    /// The prefix of the hub's metric names, from the plan or from the names of what carries an `endpoint`: Prometheus' own
    /// metric of that name does not.
    async fn prefix(&self) -> Result<Prefix, Trouble> {
        if self.prefix.initialized() {
            return Ok(Prefix::Known);
        }
        let selector = format!("{{__name__=~\"(.+_)?{NAMED}\",endpoint!=\"\"}}");
        let parameters = Serializer::new(String::new()).append_pair("match[]", &selector).finish();
        let (status, body) = self.send("api/v1/label/__name__/values", Some(&parameters), None).await?;
        let found = answer::read_labels(status, &body)?;
        let prefixes: Vec<&str> = found.iter().filter_map(|name| name.strip_suffix(NAMED)).collect();
        match *prefixes.as_slice() {
            [] => Ok(Prefix::Unknown(format!("it has no metric with an `endpoint` whose name ends in {NAMED}"))),
            [prefix] => {
                let prefix = prefix.trim_end_matches('_').to_owned();
                self.prefix.get_or_init(|| async { prefix }).await;
                Ok(Prefix::Known)
            }
            _ => Ok(Prefix::Unknown(format!(
                "it has several metrics whose name ends in {NAMED} ({}): set `prefix` for prometheus in the plan",
                found.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// A question with everything filled in.
    fn spelled(&self, text: &str, span: Duration, group: Group) -> String {
        let prefix = match self.prefix.get().map(String::as_str) {
            None | Some("") => String::new(),
            Some(prefix) => format!("{prefix}_"),
        };
        text.replace(PREFIX, &prefix)
            .replace("[$W", &format!("[{}ms", span.as_millis().max(1)))
            .replace(ARM, group.word())
    }

    /// One question, at a time or now.
    async fn ask(&self, text: &str, at: Option<Timestamp>) -> Result<Answer, Trouble> {
        let form = {
            let mut form = Serializer::new(String::new());
            form.append_pair("query", text).append_pair("timeout", &format!("{}ms", self.limit.as_millis()));
            if let Some(at) = at {
                let millis = at.as_millisecond();
                form.append_pair("time", &format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000)));
            }
            form.finish()
        };
        // Posted: a query may be longer than an address.
        let (status, body) = self.send("api/v1/query", None, Some(form)).await?;
        answer::read(status, &body)
    }

    async fn send(&self, path: &str, query: Option<&str>, form: Option<String>) -> Result<(u16, Vec<u8>), Trouble> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url.set_fragment(None);
        let mut request = match form {
            Some(form) => self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form),
            None => self.client.get(url),
        };
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        let response = request.send().await;
        let response = response.map_err(|error| Trouble::Failed(http::reason(&error.without_url())))?;
        let status = response.status().as_u16();
        match http::body(response, BODY_LIMIT).await {
            Ok(body) => Ok((status, body)),
            Err(NoBody::TooLarge) => Err(Trouble::Failed("its answer is larger than 10 MiB".to_owned())),
            Err(NoBody::Broken(why)) => Err(Trouble::Failed(why)),
        }
    }

    /// A sentence about this server; its address may hold a password, and is shown without.
    fn said(&self, words: &str) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        format!("Prometheus at {host}:{port}: {words}")
    }
}

/// What stands for the prefix in a question.
const PREFIX: &str = "$P_";

/// The window of a question that only wants to know whether it can be asked.
const CHECK_WINDOW: Duration = Duration::from_secs(300);

/// What is known of the prefix.
enum Prefix {
    Known,
    Unknown(String),
}

fn span(window: Window) -> Duration {
    Duration::try_from(window.to.duration_since(window.from)).unwrap_or_default()
}

impl Answers {
    /// What they come to; the first thing that spoils the number is the reason.
    fn reading(self, at: Timestamp, scrape_interval: Duration) -> Reading {
        let reset = match &self.resets {
            Some(Answer::One(resets, _)) => *resets,
            Some(Answer::Several(series)) => series.iter().map(|(_, resets)| resets).sum(),
            _ => 0.0,
        };
        if reset > 0.0 {
            return Reading::Unusable(format!(
                "a counter went backwards {reset} times in the window: a process restarted, or one address answers for \
                 several workers; scrape one target per worker"
            ));
        }
        let newest = match self.newest {
            Some(Answer::One(seconds, _)) if seconds.is_finite() => {
                Timestamp::from_millisecond((seconds * 1e3) as i64).ok()
            }
            Some(_) => return Reading::Nothing("there is no fresh sample behind it: is the hub scraped?".to_owned()),
            None => None,
        };
        if let Some(newest) = newest {
            let age = Duration::try_from(at.duration_since(newest)).unwrap_or_default();
            if age > scrape_interval * 2 {
                let (age, interval) = (age.as_secs(), scrape_interval.as_secs_f64());
                return Reading::Nothing(format!(
                    "the newest sample is {age} s old, more than two scrape intervals of {interval} s"
                ));
            }
        }
        let (value, taken) = match self.value {
            Answer::One(value, taken) => (value, taken),
            Answer::Empty => return Reading::Nothing("no series answers the query".to_owned()),
            Answer::Several(series) => return Reading::Unusable(format!("{}: one is wanted", names(&series))),
            Answer::Shapeless(what) => return Reading::Unusable(format!("the query gives {what}")),
        };
        // A server answers with the time it was asked for; another one, or none, has something old.
        let late = at.as_millisecond() as f64 / 1e3 - taken;
        if late > scrape_interval.as_secs_f64() * 2.0 {
            return Reading::Nothing(format!("the sample is {late:.0} s old, more than two scrape intervals"));
        }
        if let Some(last) = self.buckets.as_ref().and_then(last_finite)
            && value == last
        {
            return Reading::Unusable(format!(
                "the quantile lies in the last finite bucket ({last} s) or beyond: the histogram cannot tell where"
            ));
        }
        let samples = match count(self.samples.as_ref(), "samples") {
            Ok(samples) => samples,
            Err(reading) => return reading,
        };
        let errors = match count(self.errors.as_ref(), "errors") {
            Ok(errors) => errors,
            Err(reading) => return reading,
        };
        Reading::Number(Measured { value, samples, errors, at: newest, control: None })
    }
}

/// A number of events: a rate over a window is extrapolated, so it is rounded. No series is no event.
fn count(answer: Option<&Answer>, what: &str) -> Result<Option<u64>, Reading> {
    match answer {
        None => Ok(None),
        Some(Answer::Empty) => Ok(Some(0)),
        // In range: not negative, and a cast of what is too large saturates.
        Some(Answer::One(count, _)) if *count >= 0.0 && count.is_finite() => Ok(Some(count.round() as u64)),
        Some(Answer::One(count, _)) => Err(Reading::Unusable(format!("the number of {what} is {count}"))),
        Some(Answer::Several(series)) => {
            Err(Reading::Unusable(format!("the question for {what} gives {}", names(series))))
        }
        Some(Answer::Shapeless(shape)) => Err(Reading::Unusable(format!("the question for {what} gives {shape}"))),
    }
}

/// The largest finite `le`.
fn last_finite(buckets: &Answer) -> Option<f64> {
    let Answer::Several(series) = buckets else { return None };
    let bound = |labels: &serde_json::Map<String, serde_json::Value>| labels.get("le")?.as_str()?.parse::<f64>().ok();
    series.iter().filter_map(|(labels, _)| bound(labels)).filter(|bound| bound.is_finite()).reduce(f64::max)
}
