//! What the service's other middlewares add around the router (CONTRACT 6): request ids, cache headers, gzip, CORS, a filter
//! over the query and 1000 requests an hour per client address and path.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::http::{Framing, Request, Response};

/// Which middlewares run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Router and CSRF only.
    Core,
    /// All that the service has.
    Full,
}

const VARY: &str = "Accept, Authorization, Accept-Encoding";
const ALLOWED_ORIGIN: &str = "http://localhost:3000";

/// What CORS answers by itself: a preflight.
pub fn preflight(request: &Request) -> Option<Response> {
    let origin = request.header_text("origin")?;
    if request.method != "OPTIONS" || request.header("access-control-request-method").is_none() {
        return None;
    }
    let mut response = if origin == ALLOWED_ORIGIN {
        Response::new(200, "text/plain; charset=utf-8", "OK").with("access-control-allow-origin", origin)
    } else {
        Response::new(400, "text/plain; charset=utf-8", "Disallowed CORS origin")
    };
    response.set("access-control-allow-methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS");
    response.set("access-control-max-age", "600");
    response.set("access-control-allow-credentials", "true");
    if let Some(wanted) = request.header("access-control-request-headers") {
        response.set("access-control-allow-headers", wanted);
    }
    Some(response)
}

/// The 400 of the filter over query values; headers and paths are not looked at.
pub fn suspicious_query(request: &Request) -> Option<Response> {
    let (name, _) = request.query().into_iter().find(|(_, value)| is_suspicious(value))?;
    Some(Response::detail(400, &format!("Invalid input in parameter: {name}")))
}

fn is_suspicious(value: &str) -> bool {
    let value = value.to_lowercase();
    // `on\w+=` anywhere, which also hits `online=yes`.
    let handler = value.match_indices("on").any(|(at, _)| {
        let rest = value.get(at + 2..).unwrap_or_default();
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        word > 0 && rest.get(word..).is_some_and(|rest| rest.starts_with('='))
    });
    let union = value.split_once("union").is_some_and(|(_, rest)| rest.trim_start().starts_with("select"));
    handler || union || value.contains("<script") || value.contains("javascript:") || value.ends_with("--")
}

/// Requests of the last hour of one worker, in its memory.
#[derive(Debug, Default)]
pub struct Limiter(HashMap<(IpAddr, String), (Instant, u32)>);

impl Limiter {
    /// Count a request that reached a route; the 429 when there were more than `limit` within the hour.
    pub fn count(&mut self, client: IpAddr, path: String, limit: u32) -> Option<Response> {
        const WINDOW: Duration = Duration::from_secs(3600);
        let now = Instant::now();
        let (since, count) = self.0.entry((client, path)).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        (*count > limit).then(|| too_many(limit))
    }
}

/// The general limiter's answer: `error`, not `detail`, and no Retry-After.
pub fn too_many(limit: u32) -> Response {
    Response::json(429, &json!({"error": format!("Rate limit exceeded: {limit} per 1 hour")}))
}

/// What every answer gets on its way out. `request_id` is the one of this request.
pub fn dress(response: &mut Response, request: &Request, request_id: &str) {
    if request.method != "OPTIONS" && request.header_text("origin").as_deref() == Some(ALLOWED_ORIGIN) {
        response.set("access-control-allow-credentials", "true");
        response.set("access-control-expose-headers", "X-CSRF-Token, X-Request-ID");
        response.set("access-control-allow-origin", ALLOWED_ORIGIN);
    }
    let wants_gzip = request.header_text("accept-encoding").is_some_and(|codings| codings.contains("gzip"));
    if wants_gzip && !response.body.is_empty() {
        response.body = gzip(&response.body);
        response.set("content-encoding", "gzip");
        response.framing = Framing::Chunked;
    }
    response.set("x-request-id", request_id);
    if request.path().starts_with("/api") {
        response.set("cache-control", "public, max-age=60, must-revalidate");
    }
    response.set("vary", VARY);
}

/// `body`, compressed.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default()
}
