//! A double of the providers: any answer of theirs at any path, and every way in which a server can be slow, cut, huge or false.
//!
//! One port serves them all: the first segment of a path chooses the provider, so that a test gives each its own base URL. It
//! runs on a thread of its own, stops on drop, and remembers what it was asked and how many asked at once.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::hub::http::{Ending, Request, Response};
use super::hub::wire::{self, Received};

/// What a provider does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status, a content type and a body.
    Text(u16, &'static str, Vec<u8>),
    /// A status with this `Location`.
    Redirect(u16, String),
    /// An answer after a while.
    Slow(Duration, Value),
    /// What it was sent, key and all, as the message of an error.
    Echo(u16),
    /// Half of a list of models, then a close.
    Cut,
    /// Bytes that are no HTTP.
    Garbage,
    /// Nothing, as long as the client waits.
    Silence,
    /// A close instead of an answer.
    Close,
    /// A head and never a body.
    HeadOnly,
    /// A list of models, a byte at a time.
    Drip(Duration),
    /// 1 GB of JSON.
    Huge,
    /// A small gzip body that unpacks to this many blanks.
    Bomb(usize),
}

/// Replies by method and path below the provider's own segment; whatever is not there is a 404.
type Routes = HashMap<(&'static str, &'static str), Reply>;

#[derive(Default)]
struct State {
    providers: Mutex<HashMap<String, Routes>>,
    log: Mutex<Vec<Request>>,
    now: AtomicUsize,
    most: AtomicUsize,
    sent: AtomicU64,
}

/// A running double.
pub struct Provider {
    state: Arc<State>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Provider {
    /// Listen on a port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let accept = async {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else { continue };
                        tokio::spawn(serve(Arc::clone(&served), stream));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { state, address, stop: Some(stop), thread: Some(thread) }
    }

    /// A provider with one reply; returns its base URL.
    pub fn at(&self, name: &str, method: &'static str, path: &'static str, reply: Reply) -> String {
        lock(&self.state.providers).entry(name.to_owned()).or_default().insert((method, path), reply);
        format!("http://{}/{name}", self.address)
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.log).clone()
    }

    /// How many requests were under way at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    /// How many bytes of huge bodies went out.
    pub fn bytes_sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
    }
}

async fn serve(state: Arc<State>, mut stream: TcpStream) {
    let mut buffer = Vec::new();
    while let Ok(Received::Request(request)) = wire::receive(&mut stream, &mut buffer, None).await {
        let path = request.path();
        let (name, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let rest = format!("/{rest}");
        let reply = lock(&state.providers).get(name).and_then(|routes| {
            let fits = |route: &&(&str, &str)| route.0 == request.method && route.1 == rest;
            routes.keys().find(fits).and_then(|route| routes.get(route)).cloned()
        });
        lock(&state.log).push(request.clone());
        let now = state.now.fetch_add(1, Ordering::SeqCst) + 1;
        state.most.fetch_max(now, Ordering::SeqCst);
        let not_found = Reply::Json(404, serde_json::json!({"detail": "Not Found"}));
        let stays = answer(&state, &mut stream, &request, reply.unwrap_or(not_found)).await;
        state.now.fetch_sub(1, Ordering::SeqCst);
        if stays.is_err() {
            return;
        }
    }
}

/// Answer one request; an error ends the connection.
async fn answer(state: &State, stream: &mut TcpStream, request: &Request, reply: Reply) -> std::io::Result<()> {
    let list = serde_json::json!({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "c"}]});
    let over = || std::io::Error::other("the connection ends here");
    let response = match reply {
        Reply::Json(status, body) => Response::json(status, &body),
        Reply::Text(status, content_type, body) => Response::new(status, content_type, body),
        Reply::Redirect(status, to) => Response::empty(status).with("location", to),
        Reply::Slow(time, body) => {
            tokio::time::sleep(time).await;
            Response::json(200, &body)
        }
        Reply::Echo(status) => {
            let seen: Vec<String> = request
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
                .collect();
            let seen = seen.join("; ");
            let location = request.header("authorization").map(<[u8]>::to_vec).unwrap_or_default();
            Response::json(status, &serde_json::json!({"error": {"message": seen, "code": seen}}))
                .with("x-request-id", location.clone())
                .with("location", [b"/".as_slice(), &location].concat())
        }
        Reply::Garbage => {
            stream.write_all(b"\x00\xff\x1b[2J SSH-2.0-not http at all \r\n\r\n\x80\x81").await?;
            return Err(over());
        }
        Reply::Close => return Err(over()),
        Reply::Silence => return rest(stream).await,
        Reply::HeadOnly => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await?;
            return rest(stream).await;
        }
        Reply::Cut => {
            let (head, body) = wire::encode(&Response::json(200, &list), request);
            stream.write_all(&[head.as_slice(), body.get(..body.len() / 2).unwrap_or_default()].concat()).await?;
            return Err(over());
        }
        Reply::Drip(pause) => {
            let (head, body) = wire::encode(&Response::json(200, &list), request);
            stream.write_all(&head).await?;
            for byte in body {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            return Ok(());
        }
        Reply::Huge => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n").await?;
            stream.write_all(b"content-length: 1000000000\r\n\r\n[").await?;
            let piece = vec![b' '; 100_000];
            for _ in 0..10_000 {
                stream.write_all(&piece).await?;
                state.sent.fetch_add(100_000, Ordering::SeqCst);
            }
            return Err(over());
        }
        Reply::Bomb(size) => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut packed, &vec![b' '; size])?;
            Response::new(200, "application/json", packed.finish()?).with("content-encoding", "gzip")
        }
    };
    let (mut message, body) = wire::encode(&response, request);
    message.extend(body);
    stream.write_all(&message).await?;
    if response.ending == Ending::SilentClose { Err(over()) } else { Ok(()) }
}

/// Stay silent until the client gives up.
async fn rest(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Err(std::io::Error::other("the client has gone"))
}
