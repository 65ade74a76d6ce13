//! Faults: how a hub, or what stands in front of it, fails an operator. Switched on and off while it runs.
//!
//! Each fault says whether the request still takes effect; a test of a lost answer depends on it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Crc, FlushCompress};
use serde_json::{Value, json};

use super::http::{Request, Response};
use super::stack;

/// One way to fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 500 with `{"detail":"Internal server error"}`. Not applied.
    Json500,
    /// The 500 in plain text of a CSRF failure or a crash, then a silent close. Not applied.
    Text500,
    /// The error page of a proxy. Not applied.
    Html502,
    /// The general limiter's 429. Not applied.
    TooManyRequests,
    /// 302 to this address. Not applied.
    Redirect(String),
    /// Any answer. Not applied.
    Answer {
        /// Such as 503.
        status: u16,
        /// Such as `text/html`.
        content_type: &'static str,
        /// Sent as it is.
        body: Vec<u8>,
    },
    /// A JSON answer, one byte at a time: whatever stands in it is split over many reads. Not applied.
    Dripped {
        /// Such as 422.
        status: u16,
        /// Sent as it is.
        body: Vec<u8>,
    },
    /// A 200 with a JSON text of this many bytes. Not applied.
    Huge(usize),
    /// A 200 whose small gzip body unpacks to about this many blanks. Not applied.
    GzipBomb(usize),
    /// Bytes that are no HTTP, then a close. Not applied.
    Garbage,
    /// The connection is closed without an answer. Not applied.
    CloseBeforeAnswer,
    /// The request is read and never answered. Not applied.
    Silence,
    /// The request waits until the fault is cleared, then goes its normal way: a stopped process that goes on later.
    Hang,
    /// Applied, then this long nothing, then the true answer.
    Slow(Duration),
    /// Applied, then closed without an answer: the caller cannot know.
    LostAnswer,
    /// Applied; half of the true answer's body, then a close.
    Truncated,
    /// Applied; the true answer's head, then one byte of its body at a time.
    Drip(Duration),
    /// Applied; the true answer's head and never a body.
    HeadersOnly,
    /// Applied; a 204 in place of the true answer.
    NoContent,
    /// Applied; the true answer under this content type.
    ContentType(&'static str),
    /// Applied; descriptions, details and the request id carry terminal escapes.
    TerminalEscapes,
    /// Applied; the true answer, then a silent close, so that a pooled connection is dead.
    CloseAfterAnswer,
    /// Successful reads are answered once and then repeated with `Age`, whatever the query or `Cache-Control` say: a stubborn
    /// shared cache. Writes pass.
    Cached,
}

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct When {
    worker: Option<usize>,
    method: Option<String>,
    path: Option<String>,
    nth: Nth,
}

#[derive(Clone, Copy, Debug, Default)]
enum Nth {
    #[default]
    Every,
    Only(usize),
    First(usize),
    From(usize),
}

impl When {
    /// Every request.
    pub fn always() -> Self {
        Self::default()
    }

    /// Only on this worker.
    pub fn on_worker(self, worker: usize) -> Self {
        Self { worker: Some(worker), ..self }
    }

    /// Only this method.
    pub fn method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// Only this path, decoded and without query.
    pub fn path(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// Only the `n`-th request that matches so far, counted from 1.
    pub fn nth(self, n: usize) -> Self {
        Self { nth: Nth::Only(n), ..self }
    }

    /// Only the first `n` requests that match.
    pub fn first(self, n: usize) -> Self {
        Self { nth: Nth::First(n), ..self }
    }

    /// The `n`-th request that matches, counted from 1, and all after it.
    pub fn from(self, n: usize) -> Self {
        Self { nth: Nth::From(n), ..self }
    }

    fn matches(&self, worker: usize, request: &Request) -> bool {
        self.worker.is_none_or(|wanted| wanted == worker)
            && self.method.as_ref().is_none_or(|wanted| *wanted == request.method)
            && self.path.as_ref().is_none_or(|wanted| *wanted == request.path())
    }
}

/// Names a fault, to clear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

#[derive(Debug)]
struct Rule {
    id: FaultId,
    when: When,
    fault: Fault,
    matched: usize,
}

/// The faults that are switched on.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    last: u64,
    cache: HashMap<String, (Response, Instant)>,
}

impl Faults {
    /// Switch one on; earlier ones go first.
    pub fn add(&mut self, when: When, fault: Fault) -> FaultId {
        self.last += 1;
        let id = FaultId(self.last);
        self.rules.push(Rule { id, when, fault, matched: 0 });
        id
    }

    /// Switch one off.
    pub fn clear(&mut self, id: FaultId) {
        self.rules.retain(|rule| rule.id != id);
        self.cache.clear();
    }

    /// Switch all off.
    pub fn clear_all(&mut self) {
        self.rules.clear();
        self.cache.clear();
    }

    /// Whether it is still switched on.
    pub fn contains(&self, id: FaultId) -> bool {
        self.rules.iter().any(|rule| rule.id == id)
    }

    /// The fault for this request. Each rule counts the requests that match it, also when an earlier rule acts.
    pub fn judge(&mut self, worker: usize, request: &Request) -> Option<(FaultId, Fault)> {
        let mut found = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.when.matches(worker, request)) {
            rule.matched += 1;
            let acts = match rule.when.nth {
                Nth::Every => true,
                Nth::Only(n) => rule.matched == n,
                Nth::First(n) => rule.matched <= n,
                Nth::From(n) => rule.matched >= n,
            };
            if acts && found.is_none() {
                found = Some((rule.id, rule.fault.clone()));
            }
        }
        found
    }

    /// A stored answer, with its age in seconds, at least 1.
    pub fn cached(&self, request: &Request) -> Option<Response> {
        let (response, stored) = self.cache.get(&request.path()).filter(|_| request.method == "GET")?;
        Some(response.clone().with("age", stored.elapsed().as_secs().max(1).to_string()))
    }

    /// Keep a successful read, without its cookies.
    pub fn store(&mut self, request: &Request, response: &Response) {
        if request.method == "GET" && response.status == 200 {
            let mut stored = response.clone();
            stored.headers.retain(|(name, _)| name != "set-cookie");
            self.cache.insert(request.path(), (stored, Instant::now()));
        }
    }
}

impl Fault {
    /// The answer of a fault that replaces the true one without applying the request.
    pub fn instead(&self, rate_limit: u32) -> Option<Response> {
        Some(match self {
            Self::Json500 => Response::detail(500, "Internal server error"),
            Self::Text500 => Response::crash(),
            Self::Html502 => Response::new(
                502,
                "text/html",
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\
                 \r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
            ),
            Self::TooManyRequests => stack::too_many(rate_limit),
            Self::Redirect(address) => Response::empty(302).with("location", address.as_str()),
            Self::Answer { status, content_type, body } => Response::new(*status, content_type, body.clone()),
            Self::Huge(bytes) => {
                let frame = br#"{"detail":""}"#.len();
                Response::json(200, &json!({"detail": "x".repeat(bytes.saturating_sub(frame))}))
            }
            Self::GzipBomb(bytes) => {
                Response::new(200, "application/json", bomb(*bytes)).with("content-encoding", "gzip")
            }
            _ => return None,
        })
    }
}

/// Escapes that colour, retitle, clear and move, in the seven-bit and the eight-bit form, and a bidirectional override.
pub const ESCAPES: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1A\u{202e}\r";

/// Put [`ESCAPES`] into the texts of an answer, and the form that a header can carry into its request id.
pub fn add_escapes(response: &mut Response) {
    fn spoil(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if name == "description" || name == "detail" => text.push_str(ESCAPES),
                        _ => spoil(member),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(spoil),
            _ => {}
        }
    }
    if let Ok(mut body) = serde_json::from_slice(&response.body) {
        spoil(&mut body);
        response.body = body.to_string().into_bytes();
    }
    if let Some((_, id)) = response.headers.iter_mut().find(|(name, _)| name == "x-request-id") {
        id.extend("\u{9b}31m\u{202e}".bytes());
    }
}

/// A gzip file of blanks. One compressed megabyte is repeated, so that making it costs next to nothing.
fn bomb(bytes: usize) -> Vec<u8> {
    const PIECE: usize = 1 << 20;
    let pieces = bytes.div_ceil(PIECE).max(1);
    let blanks = vec![b' '; PIECE];
    let mut piece = Vec::with_capacity(PIECE / 64);
    // A full flush ends on a byte and forgets what came before, so the same bytes can follow one another. Memory is ample
    // and deflate knows no bad input, so compressing cannot fail.
    let _ = Compress::new(Compression::best(), false).compress_vec(&blanks, &mut piece, FlushCompress::Full);
    let mut one = Crc::new();
    one.update(&blanks);
    let mut crc = Crc::new();
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..pieces {
        file.extend(&piece);
        crc.combine(&one);
    }
    // The last block: empty, fixed codes.
    file.extend([0x03, 0x00]);
    file.extend(crc.sum().to_le_bytes());
    file.extend(crc.amount().to_le_bytes());
    file
}
