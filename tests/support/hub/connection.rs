//! One TCP connection: which worker it belongs to, the requests on it one after another, and the faults on the way.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::balance::{Routing, STICKY_COOKIE};
use super::faults::{self, Fault, FaultId};
use super::http::{Ending, Request, Response};
use super::state::{Logged, State, Worker, lock};
use super::wire::{self, Received};

/// Serve a connection until somebody closes it, or its worker restarts.
pub async fn serve(state: Arc<State>, stream: TcpStream, client: IpAddr, number: u64) {
    // Answers are small and tests are many: waiting for more to send would only cost time.
    let _ = stream.set_nodelay(true);
    let pinned = state.settings.routing.pins_connections().then(|| lock(&state.balancer).pick());
    let connection = Connection { state: &state, client, number, pinned };
    let restart = async {
        match pinned.and_then(|worker| state.workers.get(worker)) {
            Some(worker) => drop(worker.starts.subscribe().changed().await),
            None => pending().await,
        }
    };
    tokio::select! {
        // An error here is the client's going away, which is its right.
        _ = connection.converse(stream) => {}
        () = restart => {}
    }
}

struct Connection<'a> {
    state: &'a State,
    client: IpAddr,
    number: u64,
    pinned: Option<usize>,
}

/// What is put on the wire.
enum Delivery {
    Whole,
    HalfBody,
    ByteByByte(std::time::Duration),
    HeadOnly,
}

/// What becomes of one request.
enum Outcome {
    Answer(Response, Delivery),
    Raw(&'static [u8]),
    Close,
    Silence,
}

impl Connection<'_> {
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        let mut idle = None;
        loop {
            let request = match wire::receive(&mut stream, &mut buffer, idle).await? {
                Received::Request(request) => request,
                Received::Nonsense => return refuse(&mut stream).await,
                Received::Nothing => return Ok(()),
            };
            idle = Some(self.state.settings.keep_alive);

            let (worker, pin) = self.route(&request);
            let entry = self.log(worker, &request);
            match self.handle(worker, &request).await {
                Outcome::Close => return Ok(()),
                Outcome::Raw(bytes) => return stream.write_all(bytes).await,
                Outcome::Silence => return read_to_end(&mut stream).await,
                Outcome::Answer(mut response, delivery) => {
                    if let Some(cookie) = pin {
                        response.headers.push(("set-cookie".to_owned(), cookie.into_bytes()));
                    }
                    lock(&self.state.log).answered(entry, response.status);
                    send(&mut stream, &request, &response, delivery).await?;
                    if response.ending == Ending::SilentClose || request.wants_close() {
                        return stream.shutdown().await;
                    }
                }
            }
        }
    }

    /// The worker for a request, and the cookie with which a sticky proxy remembers it.
    fn route(&self, request: &Request) -> (usize, Option<String>) {
        if let Some(worker) = self.pinned {
            return (worker, None);
        }
        if !matches!(self.state.settings.routing, Routing::Sticky) {
            return (lock(&self.state.balancer).pick(), None);
        }
        let known = request.cookie(STICKY_COOKIE).and_then(|value| value.parse().ok());
        match known.filter(|worker| *worker < self.state.workers.len()) {
            Some(worker) => (worker, None),
            None => {
                let worker = lock(&self.state.balancer).pick();
                (worker, Some(format!("{STICKY_COOKIE}={worker}; Path=/")))
            }
        }
    }

    fn log(&self, worker: usize, request: &Request) -> usize {
        lock(&self.state.log).push(Logged {
            worker,
            connection: self.number,
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            status: None,
        })
    }

    async fn handle(&self, worker: usize, request: &Request) -> Outcome {
        let judged = lock(&self.state.faults).judge(worker, request);
        let Some(worker) = self.state.workers.get(worker) else { return Outcome::Close };
        match judged {
            None => Outcome::Answer(self.state.answer(worker, request, self.client), Delivery::Whole),
            Some((id, fault)) => self.fail(worker, request, id, fault).await,
        }
    }

    async fn fail(&self, worker: &Worker, request: &Request, id: FaultId, fault: Fault) -> Outcome {
        if let Some(mut response) = fault.instead(self.state.settings.rate_limit) {
            if matches!(fault, Fault::Json500 | Fault::TooManyRequests) {
                self.state.dress(&mut response, request);
            }
            return Outcome::Answer(response, Delivery::Whole);
        }
        match fault {
            Fault::Garbage => return Outcome::Raw(b"\x00\xff\x1b[2J SSH-2.0-not http at all \r\n\r\n\x80\x81"),
            Fault::Dripped { status, body } => {
                let response = Response::new(status, "application/json", body);
                return Outcome::Answer(response, Delivery::ByteByByte(std::time::Duration::from_micros(10)));
            }
            Fault::CloseBeforeAnswer => return Outcome::Close,
            Fault::Silence => return Outcome::Silence,
            Fault::Hang => self.until_cleared(id).await,
            Fault::Cached => {
                let cached = lock(&self.state.faults).cached(request);
                if let Some(response) = cached {
                    return Outcome::Answer(response, Delivery::Whole);
                }
            }
            _ => {}
        }
        let mut response = self.state.answer(worker, request, self.client);
        let mut delivery = Delivery::Whole;
        match fault {
            Fault::LostAnswer => return Outcome::Close,
            Fault::Slow(delay) => tokio::time::sleep(delay).await,
            Fault::Truncated => {
                delivery = Delivery::HalfBody;
                response.ending = Ending::SilentClose;
            }
            Fault::Drip(pause) => delivery = Delivery::ByteByByte(pause),
            Fault::HeadersOnly => delivery = Delivery::HeadOnly,
            Fault::NoContent => response = Response::empty(204),
            Fault::ContentType(content_type) => response.set("content-type", content_type),
            Fault::TerminalEscapes => faults::add_escapes(&mut response),
            Fault::CloseAfterAnswer => response.ending = Ending::SilentClose,
            Fault::Cached => lock(&self.state.faults).store(request, &response),
            _ => {}
        }
        Outcome::Answer(response, delivery)
    }

    async fn until_cleared(&self, id: FaultId) {
        let mut changed = self.state.faults_changed.subscribe();
        while lock(&self.state.faults).contains(id) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// h11's answer to what is no HTTP.
async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
                   Invalid HTTP request received.";
    stream.write_all(answer).await?;
    stream.shutdown().await
}

/// Stay silent, but notice when the client gives up, so that no connection outlives its test.
async fn read_to_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn send(stream: &mut TcpStream, request: &Request, response: &Response, delivery: Delivery) -> io::Result<()> {
    let (mut message, body) = wire::encode(response, request);
    match delivery {
        Delivery::Whole => {
            message.extend(body);
            stream.write_all(&message).await
        }
        Delivery::HalfBody => {
            message.extend(body.iter().take(body.len() / 2));
            stream.write_all(&message).await
        }
        Delivery::ByteByByte(pause) => {
            stream.write_all(&message).await?;
            for byte in body {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            Ok(())
        }
        Delivery::HeadOnly => {
            stream.write_all(&message).await?;
            read_to_end(stream).await
        }
    }
}
