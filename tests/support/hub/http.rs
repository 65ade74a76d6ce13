//! Requests and answers as the hub's Python sees them: paths decoded before routing, header bytes read as latin-1, the first
//! of repeated headers and the last of repeated parameters.

use serde_json::{Value, json};

/// A header: name in lower case, value as sent.
pub type Header = (String, Vec<u8>);

/// What a client sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// In the order sent.
    pub headers: Vec<Header>,
    /// Without transfer coding.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// The same, read as latin-1, which turns UTF-8 into other letters (CONTRACT 3.2).
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.header(name).map(|value| value.iter().copied().map(char::from).collect())
    }

    /// The path, percent-decoded before routing: an encoded slash is a slash.
    pub fn path(&self) -> String {
        let (path, _) = self.target.split_once('?').unwrap_or((&self.target, ""));
        percent_decode(path)
    }

    /// The query as sent.
    pub fn raw_query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The decoded query, in order, blank values kept.
    pub fn query(&self) -> Vec<(String, String)> {
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        self.raw_query()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect()
    }

    /// The last query parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().into_iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A cookie that is not empty.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.header_text("cookie")?;
        let value = cookies.split(';').rev().find_map(|pair| {
            let (known, value) = pair.split_once('=')?;
            (known.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
        });
        value.filter(|value| !value.is_empty())
    }

    /// Whether the client wants the connection closed after the answer.
    pub fn wants_close(&self) -> bool {
        self.header_text("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `content-length`.
    Length,
    /// `transfer-encoding: chunked`, one chunk.
    Chunked,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stays, unless the client asked for the close.
    Keep,
    /// It is closed without having said so.
    SilentClose,
}

/// What the hub answers.
#[derive(Clone, Debug)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// Without those of framing and connection.
    pub headers: Vec<Header>,
    /// The body, also where HEAD keeps it back.
    pub body: Vec<u8>,
    /// How its length is told.
    pub framing: Framing,
    /// What happens next.
    pub ending: Ending,
}

impl Response {
    /// An answer of any type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut response =
            Self { status, headers: Vec::new(), body: body.into(), framing: Framing::Length, ending: Ending::Keep };
        response.set("content-type", content_type);
        response
    }

    /// A JSON answer, compact as Python writes it.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// `{"detail": …}`, the form of all errors of the routers.
    pub fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }

    /// An exception that nobody caught: plain text, and the connection is closed without a word (CONTRACT 2).
    pub fn crash() -> Self {
        Self { ending: Ending::SilentClose, ..Self::new(500, "text/plain; charset=utf-8", "Internal Server Error") }
    }

    /// No body at all.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), framing: Framing::Length, ending: Ending::Keep }
    }

    /// Give a header, replacing one of that name.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The same answer with that header.
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.set(name, value);
        self
    }
}

/// Percent-decoding as Python's `unquote`: bad escapes stay, bytes that are not UTF-8 become U+FFFD.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit())) {
            Some(digits) => {
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'%'));
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encoding of a redirect's address, as starlette's `RedirectResponse` does it.
pub fn percent_encode_url(url: &str) -> String {
    const KEPT: &[u8] = b"_.-~:/%#?=@[]!$&'()*+,;";
    let mut encoded = String::new();
    for byte in url.bytes() {
        if byte.is_ascii_alphanumeric() || KEPT.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
