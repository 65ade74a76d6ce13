//! HTTP/1.1 as uvicorn with h11 speaks it: how a request is taken off the wire and an answer put on it.
//!
//! Not axum: a double must answer `%2F`, header bytes beyond ASCII, unannounced closes and half answers exactly as recorded.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::{Framing, Request, Response};

/// Requests with a longer head are cut off without an answer: 66 kB pass and 200 kB do not (CONTRACT 6).
const LONGEST_HEAD: usize = 100_000;

/// What came of waiting for a request.
pub enum Received {
    /// A whole request.
    Request(Request),
    /// Bytes that are no HTTP.
    Nonsense,
    /// The client closed, sent too long a head, or stayed silent for longer than allowed.
    Nothing,
}

/// Read one request; `buffer` holds what was already read of it. `idle` bounds the wait for its first byte.
pub async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>, idle: Option<Duration>) -> io::Result<Received> {
    let mut searched = 0usize;
    let end = loop {
        if let Some(found) = find(buffer, b"\r\n\r\n", searched.saturating_sub(3)) {
            break found;
        }
        searched = buffer.len();
        if buffer.len() > LONGEST_HEAD {
            return Ok(Received::Nothing);
        }
        let read = match idle {
            Some(limit) if buffer.is_empty() => match tokio::time::timeout(limit, stream.read_buf(buffer)).await {
                Ok(read) => read?,
                Err(_) => return Ok(Received::Nothing),
            },
            _ => stream.read_buf(buffer).await?,
        };
        if read == 0 {
            return Ok(Received::Nothing);
        }
    };
    if end > LONGEST_HEAD {
        return Ok(Received::Nothing);
    }
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let Some(mut request) = parse_head(&head) else {
        return Ok(Received::Nonsense);
    };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if request.header_text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let Some(size) = chunk_size(stream, buffer).await? else {
                return Ok(Received::Nothing);
            };
            if !fill(stream, buffer, size + 2).await? {
                return Ok(Received::Nothing);
            }
            request.body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        }
    } else {
        let length = request.header_text("content-length").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        if !fill(stream, buffer, length).await? {
            return Ok(Received::Nothing);
        }
        request.body = buffer.drain(..length).collect();
    }
    Ok(Received::Request(request))
}

async fn chunk_size(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = find(buffer, b"\r\n", 0) {
            let line: Vec<u8> = buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&line);
            return Ok(usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16).ok());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Read until `buffer` holds `length` bytes; false when the client closed before.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    buffer.reserve(length.saturating_sub(buffer.len()));
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let tail = haystack.get(from..)?;
    tail.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

fn parse_head(head: &[u8]) -> Option<Request> {
    let mut lines = head
        .strip_suffix(b"\r\n\r\n")?
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next()?;
    // h11 takes visible ASCII only; raw UTF-8 in a request line is a 400 (CONTRACT 5).
    let visible = line.iter().all(|byte| (b' '..=b'~').contains(byte));
    let line = std::str::from_utf8(line).ok().filter(|_| visible)?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || method.is_empty() || target.is_empty() {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        headers.push((name, value.get(1..)?.trim_ascii().to_vec()));
    }
    Some(Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() })
}

/// The answer on the wire, split into head and body.
pub fn encode(response: &Response, request: &Request) -> (Vec<u8>, Vec<u8>) {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\ndate: {}\r\nserver: uvicorn\r\n",
        response.status,
        reason_phrase(response.status),
        jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    )
    .into_bytes();
    let no_body = response.status == 204 || response.status == 304;
    if response.framing == Framing::Length && !no_body {
        head.extend(format!("content-length: {}\r\n", response.body.len()).bytes());
    }
    for (name, value) in &response.headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if response.framing == Framing::Chunked && !no_body {
        head.extend(b"transfer-encoding: chunked\r\n");
    }
    if request.wants_close() {
        head.extend(b"connection: close\r\n");
    }
    head.extend(b"\r\n");
    let body = match response.framing {
        _ if request.method == "HEAD" || no_body => Vec::new(),
        Framing::Length => response.body.clone(),
        Framing::Chunked if response.body.is_empty() => b"0\r\n\r\n".to_vec(),
        Framing::Chunked => {
            [format!("{:x}\r\n", response.body.len()).as_bytes(), &response.body, b"\r\n0\r\n\r\n"].concat()
        }
    };
    (head, body)
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
