//! A proxy in front of PostgreSQL that counts what all connections of a run ask, and kills the run at one of the questions.
//!
//! Every simple query, every Sync that ends a batch and every end of COPY data counts as one question. The proxy works on
//! threads of its own: the tests wait for processes with theirs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, Signal, kill_process};

/// When the run dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server never gets the question.
    Before,
    /// The server has the question, and nobody waits for the answer.
    Sent,
    /// The answer has come back.
    Answered,
}

pub const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Sent, Moment::Answered];

/// What is done at the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Only counting.
    Nothing,
    /// The run is killed.
    Kill(Moment),
    /// The connection ends when the answer comes, for this COMMIT; the run lives.
    LoseCommit,
}

/// The proxy of one run.
#[derive(Clone)]
pub struct Strike(Arc<State>);

struct State {
    port: u16,
    server: u16,
    /// The question, from 1.
    at: u64,
    deed: Deed,
    questions: AtomicU64,
    commits: AtomicU64,
    connections: AtomicUsize,
    victim: OnceLock<u32>,
    struck: AtomicBool,
}

impl Strike {
    /// A proxy that only counts.
    pub fn counting(server: u16) -> Self {
        Self::start(server, 0, Deed::Nothing)
    }

    /// A proxy that kills the run at its question number `at`, from 1.
    pub fn killing(server: u16, at: u64, moment: Moment) -> Self {
        Self::start(server, at, Deed::Kill(moment))
    }

    /// A proxy that cuts the connection of COMMIT number `at` before its answer comes back.
    pub fn losing_commit(server: u16, at: u64) -> Self {
        Self::start(server, at, Deed::LoseCommit)
    }

    fn start(server: u16, at: u64, deed: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let port = listener.local_addr().expect("its number").port();
        let state = Arc::new(State {
            port,
            server,
            at,
            deed,
            questions: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            victim: OnceLock::new(),
            struck: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        // Ends with the process; an idle listener costs nothing.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(&state, client);
                    state.connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self(state)
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whom to kill; until it is known, the question waits.
    pub fn aim(&self, victim: u32) {
        self.0.victim.set(victim).expect("one victim");
    }

    pub fn questions(&self) -> u64 {
        self.0.questions.load(Ordering::SeqCst)
    }

    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
    }

    pub fn has_struck(&self) -> bool {
        self.0.struck.load(Ordering::SeqCst)
    }
}

impl State {
    fn kill(&self) {
        self.struck.store(true, Ordering::SeqCst);
        let victim = i32::try_from(*self.victim.wait()).ok().and_then(Pid::from_raw).expect("a process");
        // It is not waited for yet, so its number cannot be another's; it may have ended by itself.
        let _ended_or_killed = kill_process(victim, Signal::KILL);
    }
}

/// What a message of the client means to the count.
enum Message {
    Question { commit: bool },
    Other,
}

fn serve(state: &State, mut client: TcpStream) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", state.server)) else { return };
    for side in [&client, &server] {
        drop(side.set_nodelay(true));
    }
    let (answers, to_client) = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
    let after = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| give_back(state, answers, to_client, &after));
        pass_on(state, &mut client, &mut server, &after);
        for side in [&client, &server] {
            drop(side.shutdown(Shutdown::Both));
        }
    });
}

/// From the client to the server, message by message.
fn pass_on(state: &State, client: &mut TcpStream, server: &mut TcpStream, after: &AtomicBool) {
    let mut greeted = false;
    loop {
        let mut head = vec![0; if greeted { 5 } else { 4 }];
        if client.read_exact(&mut head).is_err() {
            return;
        }
        let length = head.last_chunk().map_or(4, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes));
        let mut body = vec![0; length as usize - 4];
        if client.read_exact(&mut body).is_err() {
            return;
        }
        let message = match head.first() {
            Some(b'Q') => Message::Question { commit: commits(&body) },
            Some(b'S' | b'c') if greeted => Message::Question { commit: false },
            _ => Message::Other,
        };
        // A startup message has a version; a request for TLS or a cancel has not.
        greeted = greeted || body.starts_with(&[0, 3, 0, 0]);
        let mut now = false;
        if let Message::Question { commit } = message {
            let number = state.questions.fetch_add(1, Ordering::SeqCst) + 1;
            let commits = if commit { state.commits.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            now = match state.deed {
                Deed::Nothing => false,
                Deed::Kill(_) => number == state.at,
                Deed::LoseCommit => commits == state.at,
            };
        }
        match state.deed {
            Deed::Kill(Moment::Before) if now => return state.kill(),
            Deed::Kill(Moment::Answered) | Deed::LoseCommit if now => after.store(true, Ordering::SeqCst),
            _ => {}
        }
        head.append(&mut body);
        if server.write_all(&head).is_err() {
            return;
        }
        if now && state.deed == Deed::Kill(Moment::Sent) {
            return state.kill();
        }
    }
}

/// Whether a simple query ends a transaction with success, alone or as the last of several statements.
fn commits(query: &[u8]) -> bool {
    query.starts_with(b"COMMIT") || query.windows(15).any(|bytes| bytes == b"COMMIT; SELECT ")
}

/// From the server to the client, as it comes.
fn give_back(state: &State, mut server: TcpStream, mut client: TcpStream, after: &AtomicBool) {
    let mut bytes = vec![0; 65536];
    while let Ok(length @ 1..) = server.read(&mut bytes) {
        let answer = bytes.get(..length).unwrap_or_default();
        // ReadyForQuery ends every answer but that to COPY, which asks for the data.
        let complete =
            answer.starts_with(b"G") || answer.last_chunk().is_some_and(|end: &[u8; 6]| end[..5] == *b"Z\0\0\0\x05");
        let last = complete && after.load(Ordering::SeqCst);
        if last && state.deed == Deed::LoseCommit {
            state.struck.store(true, Ordering::SeqCst);
            break;
        }
        if client.write_all(answer).is_err() {
            break;
        }
        if last {
            state.kill();
            break;
        }
    }
    for side in [&client, &server] {
        drop(side.shutdown(Shutdown::Both));
    }
}
