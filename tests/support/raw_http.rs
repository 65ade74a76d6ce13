//! A tiny HTTP/1.1 client that sends exactly the bytes it is given and hides nothing of the answer.
//!
//! It never retries, never follows, never decodes unasked, and says how a connection died.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing listens.
    Refused,
    /// Closed or reset before a whole answer was there.
    Closed,
    /// No whole answer in time.
    TimedOut,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Without chunking, still compressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The body, unpacked if it says that it is packed.
    pub fn content(&self) -> Vec<u8> {
        if self.header("content-encoding").as_deref() != Some("gzip") {
            return self.body.clone();
        }
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(self.body.as_slice()).read_to_end(&mut content).expect("a sound gzip body");
        content
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content()).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.content()).expect("a JSON body")
    }
}

/// A request, byte by byte.
#[derive(Clone, Debug)]
pub struct RawRequest {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl RawRequest {
    /// Method and target go on the wire as they are.
    pub fn new(method: &str, target: impl Into<Vec<u8>>) -> Self {
        Self { method: method.to_owned(), target: target.into(), headers: Vec::new(), body: None }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Add a header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Give it a body and its `Content-Length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Give it a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    fn encode(&self, address: SocketAddr) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        let mut line = |name: &str, value: &[u8]| bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            line("Host", address.to_string().as_bytes());
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        if let Some(body) = &self.body {
            line("Content-Length", body.len().to_string().as_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connect.
    pub fn open(address: SocketAddr) -> Result<Self, Lost> {
        let stream = TcpStream::connect(address).map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
        Ok(Self { stream, address, buffer: Vec::new() })
    }

    /// Give up sooner than after 20 s.
    pub fn patience(self, limit: Duration) -> Result<Self, Lost> {
        self.stream.set_read_timeout(Some(limit)).map_err(lost)?;
        Ok(self)
    }

    /// Send a request and wait for its answer.
    pub fn send(&mut self, request: &RawRequest) -> Result<Answer, Lost> {
        let message = request.encode(self.address);
        // The server may answer, or close, before it has read all: what it said still counts.
        let sent = self.stream.write_all(&message);
        let answer = self.receive(&request.method);
        if answer.is_err() {
            sent.map_err(lost)?;
        }
        answer
    }

    /// Whether the server closes without saying more.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.read_more() == Err(Lost::Closed)
    }

    fn receive(&mut self, method: &str) -> Result<Answer, Lost> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().and_then(|line| std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok());
        let headers = lines.filter(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            (String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec())
        });
        // What is no HTTP cannot be told from a broken connection by those who wait for an answer.
        let mut answer = Answer { status: status.ok_or(Lost::Closed)?, headers: headers.collect(), body: Vec::new() };
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            _ if method == "HEAD" || answer.status == 204 => Vec::new(),
            (Some(length), _) => self.take(length.parse().map_err(|_| Lost::Closed)?)?,
            (None, Some(_)) => self.chunks()?,
            (None, None) => self.rest()?,
        };
        Ok(answer)
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Lost> {
        while self.buffer.len() < count {
            self.read_more()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Lost> {
        let mut body = Vec::new();
        loop {
            while !self.buffer.contains(&b'\n') {
                self.read_more()?;
            }
            let line: Vec<u8> =
                self.buffer.drain(..=self.buffer.iter().position(|b| *b == b'\n').unwrap_or(0)).collect();
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).map_err(|_| Lost::Closed)?;
            let chunk = self.take(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk.into_iter().take(size));
        }
    }

    fn rest(&mut self) -> Result<Vec<u8>, Lost> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(Lost::Closed) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
    }

    fn read_more(&mut self) -> Result<(), Lost> {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece).map_err(lost)? {
            0 => Err(Lost::Closed),
            count => {
                self.buffer.extend(piece.into_iter().take(count));
                Ok(())
            }
        }
    }
}

fn lost(error: std::io::Error) -> Lost {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Lost::Refused,
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Lost::TimedOut,
        _ => Lost::Closed,
    }
}

/// One request on a fresh connection that is closed after it.
pub fn fetch(address: SocketAddr, request: RawRequest) -> Result<Answer, Lost> {
    Connection::open(address)?.send(&request.header("Connection", "close"))
}
