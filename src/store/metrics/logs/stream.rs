//! A log that arrives: standard input, or what a program such as `docker logs -f` prints on either of its outputs.
//!
//! Lines are counted as they come and forgotten: one tally for each second and question, of the last two hours. The program
//! runs in a process group of its own, which ends with the value.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use memchr::memchr;
use rustix::process::{Pid, Signal, kill_process_group};

use super::LONGEST_LINE;
use super::line::record;
use super::tally::{Tally, field};
use crate::domain::rollout::query::LogQuery;
use crate::domain::rollout::reading::{Reading, Window};
use crate::store::StoreError;

/// Seconds that are kept: the hour before rung 0, and a window of half an hour, with room.
const KEPT: usize = 2 * 60 * 60;

/// A clock that is further ahead is wrong, and its records would crowd out the others.
const AHEAD: i64 = 60 * 60 * 1000;

/// A program that cannot work says so within this time.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// A log as it comes.
pub(in crate::store::metrics) struct Stream {
    state: Arc<Mutex<State>>,
    name: String,
    group: Option<Pid>,
}

struct State {
    asked: Vec<LogQuery>,
    /// By second since 1970, one tally for each question.
    seconds: BTreeMap<i64, Vec<Tally>>,
    /// From when on nothing is missing, milliseconds since 1970.
    covered: i64,
    newest: Option<i64>,
    /// How it ended, in words.
    ended: Option<String>,
    /// The last line that was no record.
    complaint: String,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A reader that failed leaves counts behind, which are true as far as they go.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// Read standard input from now on.
    pub(super) fn stdin(asked: &[LogQuery]) -> Self {
        let state = State::new(asked);
        let reader = Arc::clone(&state);
        std::thread::spawn(move || {
            read(&reader, &mut std::io::stdin().lock());
            lock(&reader).ended = Some("it was closed".to_owned());
        });
        Self { state, name: "standard input".to_owned(), group: None }
    }

    /// Start a program and read what it prints.
    ///
    /// # Errors
    /// [`StoreError::Local`] when it cannot be started.
    pub(super) fn command(words: &[String], asked: &[LogQuery]) -> Result<Self, StoreError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(StoreError::Refused("the command of the logs names no program".to_owned()));
        };
        let mut command = Command::new(program);
        // Python logs to stderr, and `docker logs` keeps the two apart.
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| {
            StoreError::Local(format!("`{program}`, which prints the logs, cannot be started: {error}"))
        })?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let state = State::new(asked);
        let readers = [
            child.stdout.take().map(|stdout| reader(&state, stdout)),
            child.stderr.take().map(|stderr| reader(&state, stderr)),
        ];
        let waiting = Arc::clone(&state);
        std::thread::spawn(move || wait(&waiting, child, readers.into_iter().flatten()));
        Ok(Self { state, name: format!("`{program}`"), group })
    }

    /// Measure a window, to the second.
    pub(super) fn measure(&self, query: &LogQuery, window: Window) -> Reading {
        let state = lock(&self.state);
        let Some(number) = state.asked.iter().position(|asked| asked == query) else {
            return Reading::Failed(super::super::NOT_OPENED.to_owned());
        };
        let (from, to) = (window.from.as_millisecond(), window.to.as_millisecond());
        if let Some(ended) = state.ended.as_ref().filter(|_| state.newest.is_none_or(|newest| newest < to)) {
            return Reading::Failed(format!("{} gives no more logs: {ended}", self.name));
        }
        if state.covered > from {
            let begins =
                Timestamp::from_millisecond(state.covered).map(|begins| begins.to_string()).unwrap_or_default();
            return Reading::Nothing(format!("the log is known from {begins} on, after the window begins"));
        }
        let mut sum = Tally::default();
        for tallies in state.seconds.range(from.div_euclid(1000)..to.div_euclid(1000)).map(|(_, tallies)| tallies) {
            if let Some(tally) = tallies.get(number) {
                sum.join(tally);
            }
        }
        sum.reading(query)
    }

    /// Whether it goes on; what cannot work gets a moment to say so.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let since = std::time::Instant::now();
        loop {
            {
                let state = lock(&self.state);
                if state.newest.is_some() {
                    return Ok(());
                }
                if let Some(ended) = &state.ended {
                    return Err(StoreError::Unreachable(format!("{} gives no logs: {ended}", self.name)));
                }
            }
            if since.elapsed() >= FIRST_WORDS {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Once it has ended and was waited for, the number may belong to somebody else.
        if let (Some(group), None) = (self.group, &lock(&self.state).ended) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl State {
    fn new(asked: &[LogQuery]) -> Arc<Mutex<Self>> {
        let covered = Timestamp::now().as_millisecond();
        let (seconds, complaint) = (BTreeMap::new(), String::new());
        Arc::new(Mutex::new(Self { asked: asked.to_vec(), seconds, covered, newest: None, ended: None, complaint }))
    }

    fn line(&mut self, line: &[u8], now: i64) {
        // All questions of one field read the line once; others read it again.
        let mut fields: Vec<Vec<u8>> = Vec::new();
        for query in &self.asked {
            if !fields.iter().any(|known| known == field(query)) {
                fields.push(field(query).to_vec());
            }
        }
        for wanted in &fields {
            let Some(record) = record(line, wanted) else {
                let text = String::from_utf8_lossy(line.get(..300.min(line.len())).unwrap_or_default());
                self.complaint = text.chars().filter(|c| !c.is_control()).collect();
                return;
            };
            if record.at > now.saturating_add(AHEAD) {
                return;
            }
            self.newest = self.newest.max(Some(record.at));
            self.covered = self.covered.min(record.at);
            let tallies = self.seconds.entry(record.at.div_euclid(1000));
            let tallies = tallies.or_insert_with(|| vec![Tally::default(); self.asked.len()]);
            for (query, tally) in self.asked.iter().zip(tallies).filter(|(query, _)| field(query) == wanted) {
                tally.add(query, &record);
            }
        }
        while self.seconds.len() > KEPT
            && let Some((oldest, _)) = self.seconds.pop_first()
        {
            self.covered = self.covered.max((oldest + 1) * 1000);
        }
    }
}

fn reader(state: &Arc<Mutex<State>>, mut output: impl Read + Send + 'static) -> JoinHandle<()> {
    let state = Arc::clone(state);
    std::thread::spawn(move || read(&state, &mut output))
}

/// Count all lines to the end.
fn read(state: &Mutex<State>, input: &mut dyn Read) {
    let (mut line, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    let mut skipping = false;
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut rest = chunk.get(..read).unwrap_or_default();
        let mut state = lock(state);
        let now = Timestamp::now().as_millisecond();
        while let Some(end) = memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            if skipping {
                skipping = false;
            } else if line.is_empty() {
                state.line(head, now);
            } else {
                line.extend_from_slice(head);
                state.line(&line, now);
            }
            line.clear();
            rest = tail.get(1..).unwrap_or_default();
        }
        if line.len() + rest.len() > LONGEST_LINE {
            skipping = true;
            line = Vec::new();
        } else if !skipping {
            line.extend_from_slice(rest);
        }
    }
    if !line.is_empty() {
        lock(state).line(&line, Timestamp::now().as_millisecond());
    }
}

/// Wait until the program has ended and all that it printed was read.
fn wait(state: &Mutex<State>, mut child: Child, readers: impl Iterator<Item = JoinHandle<()>>) {
    for reader in readers {
        // A reader that failed has read what it could.
        let _ = reader.join();
    }
    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let mut state = lock(state);
    let complaint = if state.complaint.is_empty() { String::new() } else { format!(": {}", state.complaint) };
    state.ended = Some(format!("it ended with {how}{complaint}"));
}
