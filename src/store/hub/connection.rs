//! One HTTP connection to a hub, and what came back on it.
//!
//! Flags live in each worker process, and a keep-alive connection stays with one of them (CONTRACT 3.8). So a connection is
//! a value here: one client with one pooled connection, HTTP/1.1 only, whose local address is compared on each answer,
//! because the client reconnects without a word. Redirects are never followed, bodies are capped, every wait is bounded.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::store::StoreError;
use crate::store::http::{Anchors, NoBody, body, reason, straight, tls};

/// A larger answer is refused: no hub of a sane size sends one, and memory stays bounded.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Bounds of one request (craft.md 1.5).
const CONNECT: Duration = Duration::from_secs(5);
const IDLE_READ: Duration = Duration::from_secs(10);

/// What all connections of one command share: the trust anchors, read once, and the time limit of a request.
pub struct Transport {
    ca_file: Option<PathBuf>,
    request: Duration,
    idle: Duration,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Transport {
    /// `request` bounds one request from connect to the last byte; `ca_file` is trusted beside the system's anchors.
    pub fn new(request: Duration, ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, request, idle: IDLE_READ, tls: OnceLock::new() }
    }

    /// For requests to which the hub answers only after it has waited for somebody else: silence is bounded by the time limit
    /// of the request alone.
    pub fn patient(self) -> Self {
        Self { idle: self.request, ..self }
    }

    /// A fresh connection to `base`; nothing is sent before the first request.
    ///
    /// # Errors
    /// [`StoreError::Local`] when the CA file or the system's anchors cannot be read.
    pub fn connect(&self, base: &Url) -> Result<Connection, StoreError> {
        let client = straight(Client::builder(), base)
            .http1_only()
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(self.request))
            .read_timeout(self.idle.min(self.request))
            .timeout(self.request)
            .user_agent(concat!("llmhub/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls(base)?)
            .build()
            .map_err(|error| StoreError::Local(format!("the HTTP client could not be set up: {}", reason(&error))))?;
        Ok(Connection { client, base: base.clone(), local: None })
    }

    fn tls(&self, base: &Url) -> Result<rustls::ClientConfig, StoreError> {
        if let Some(config) = self.tls.get() {
            return Ok(rustls::ClientConfig::clone(config));
        }
        let https = base.scheme() == "https";
        let config = tls(if https { Anchors::System(self.ca_file.as_deref()) } else { Anchors::Nobody })?;
        Ok(rustls::ClientConfig::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

/// The two cookies that let a write through (CONTRACT 2).
#[derive(Clone, Default)]
pub struct WriteAuth {
    /// The session's cookie.
    pub session: Option<SecretString>,
    /// The token that goes with it; `None` when the hub minted none.
    pub csrf: Option<SecretString>,
}

/// One connection, kept alive between calls.
pub struct Connection {
    client: Client,
    base: Url,
    local: Option<SocketAddr>,
}

/// What a call was answered.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The decoded body.
    pub body: Vec<u8>,
    /// `x-request-id` as it came: to compare, never to show. [`Answer::shown_id`] is for people.
    pub request_id: Option<String>,
    /// A cache says how old its answer is.
    pub aged: bool,
    /// A `text/plain` body: on a 500 that is the CSRF failure, not a crash.
    pub plain_text: bool,
    /// Where a redirect points.
    pub location: Option<String>,
    /// The server's clock.
    pub date: Option<String>,
    /// The token this answer mints.
    pub csrf: Option<SecretString>,
    /// The session this answer mints.
    pub session: Option<SecretString>,
    /// Whether this answer came over the same TCP connection as the one before it on this [`Connection`].
    pub same_connection: bool,
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum CallError {
    /// Nothing was sent: the connection could not be made.
    NotSent(String),
    /// It may have been sent; what became of it is unknown.
    Lost(String),
}

impl CallError {
    /// The reason in words.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) => reason,
        }
    }
}

impl Connection {
    /// The address as the operator wrote it, without a trailing slash.
    pub fn address(&self) -> &str {
        address(&self.base)
    }

    /// A read. `segments` are joined by slashes below the hub's address and percent-encoded; an empty last one is the final
    /// slash that the list needs. A made-up query keeps caches from answering.
    ///
    /// A kept connection may have died unannounced: the hub closes idle ones, and after a CSRF failure at once (CONTRACT 2, 6).
    /// A read is then repeated once, on a new one; the answer says that it is not the same connection.
    pub async fn get(
        &mut self,
        segments: &[&str],
        query: &[(&str, &str)],
        session: Option<&SecretString>,
    ) -> Result<Answer, CallError> {
        let auth = WriteAuth { session: session.cloned(), csrf: None };
        let kept = self.local.is_some();
        match self.call(Method::GET, segments, query, &auth, None).await {
            Err(CallError::Lost(_)) if kept => self.call(Method::GET, segments, query, &auth, None).await,
            result => result,
        }
    }

    /// A write with a JSON body.
    pub async fn put(&mut self, segments: &[&str], auth: &WriteAuth, body: String) -> Result<Answer, CallError> {
        self.call(Method::PUT, segments, &[], auth, Some(body)).await
    }

    /// One request, sent once.
    pub async fn call(
        &mut self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
        auth: &WriteAuth,
        body: Option<String>,
    ) -> Result<Answer, CallError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let (verb, path) = (method.clone(), url.path().to_owned());
        let mut request = self.client.request(method, url).header(CACHE_CONTROL, "no-cache");
        if !query.is_empty() {
            request = request.query(query);
        }
        request = request.headers(auth.headers().map_err(|()| {
            CallError::NotSent("the session token holds characters that no HTTP header can carry".to_owned())
        })?);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| {
            let why = reason(&error);
            tracing::debug!(%verb, path, why, "no answer");
            if error.is_connect() || error.is_builder() { CallError::NotSent(why) } else { CallError::Lost(why) }
        })?;
        let local = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let same_connection = self.local.is_none() || self.local == local;
        self.local = local;
        let mut answer = Answer::head(response.status(), response.headers(), same_connection);
        tracing::debug!(%verb, path, status = answer.status.as_u16(), request_id = answer.shown_id(), ?local, "answered");
        answer.body = read_body(response).await.map_err(CallError::Lost)?;
        Ok(answer)
    }
}

/// An address without its trailing slash, as it is shown.
pub fn address(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

async fn read_body(response: reqwest::Response) -> Result<Vec<u8>, String> {
    body(response, BODY_LIMIT).await.map_err(|error| match error {
        NoBody::TooLarge => format!("the answer is larger than {} MiB", BODY_LIMIT / 1024 / 1024),
        NoBody::Broken(why) => why,
    })
}

impl WriteAuth {
    fn headers(&self) -> Result<HeaderMap, ()> {
        let mut headers = HeaderMap::new();
        let mut secret = |name, text: String| {
            let mut value = HeaderValue::try_from(text).map_err(|_| ())?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        if let Some(session) = &self.session {
            secret(COOKIE, format!("session_token={}", session.expose_secret()))?;
        }
        if let Some(csrf) = &self.csrf {
            secret(reqwest::header::HeaderName::from_static("x-csrf-token"), csrf.expose_secret().to_owned())?;
        }
        Ok(headers)
    }
}

impl Answer {
    fn head(status: StatusCode, headers: &HeaderMap, same_connection: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let cookie = |name: &str| {
            headers.get_all(SET_COOKIE).iter().find_map(|value| {
                let pair = value.to_str().ok()?.split(';').next()?;
                let (key, value) = pair.split_once('=')?;
                (key.trim() == name && !value.is_empty()).then(|| SecretString::from(value.trim()))
            })
        };
        Self {
            status,
            body: Vec::new(),
            request_id: text("x-request-id"),
            aged: headers.contains_key("age"),
            plain_text: text(CONTENT_TYPE.as_str()).is_some_and(|value| value.starts_with("text/plain")),
            location: text(LOCATION.as_str()),
            date: text("date"),
            csrf: cookie("csrf_token"),
            session: cookie("session_token"),
            same_connection,
        }
    }

    /// The hub's `detail` text, when it gives one.
    pub fn detail(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body.get("detail")?.as_str().map(str::to_owned)
    }

    /// The request id, in the form that the hub's middleware makes. Anything else may be a key that a hub sends back.
    fn shown_id(&self) -> Option<&str> {
        let is_uuid = |id: &&str| {
            id.len() == 36 && id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c))
        };
        self.request_id.as_deref().filter(is_uuid)
    }

    /// The request id in brackets, for the end of an error message; empty when there is none.
    pub fn reference(&self) -> String {
        self.shown_id().map(|id| format!(" (request id {id})")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_repeated_only_in_the_form_that_the_hub_makes() {
        #[track_caller]
        fn case(id: Option<&str>, expected: &str) {
            let answer = Answer {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                body: Vec::new(),
                request_id: id.map(str::to_owned),
                aged: false,
                plain_text: false,
                location: None,
                date: None,
                csrf: None,
                session: None,
                same_connection: true,
            };
            assert_eq!(answer.reference(), expected);
        }
        let id = "a59fab65-0e1f-4a2b-8c3d-4e5f60718293";
        case(Some(id), &format!(" (request id {id})"));
        case(None, "");
        case(Some("sk-proj-0123456789abcdef"), "");
        case(Some("sk-proj-0123456789abcdefghijklmnopqr"), "");
        case(Some(&id.to_uppercase()), "");
    }
}
