//! The real binary, run with a home of its own and nothing of this machine's environment.
//!
//! Every run asserts what must hold for all: stdout is one document or empty, a failure in the form for people leaves stdout
//! empty, the pipe carries no escapes, and no canary appears anywhere.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Secrets of the tests: searched for in everything that a run leaves behind.
pub const CANARIES: [&str; 7] = [
    "canary-session-5e55",
    "canary-password-9a55",
    super::postgres::CANARY_PASSWORD,
    // Both halves of the two below: half a key is half a secret.
    "CANARY-7c1e5a90b3d2",
    "4f68aa03917be6d5c",
    "CANARYmasterKeyOfAllTe",
    "stsNeverShownAnywher",
];

/// The provider's key of all tests. Its last four characters may be shown.
pub const PROVIDER_KEY: &str = "sk-CANARY-7c1e5a90b3d24f68aa03917be6d5c9QAA";

/// The master key of all tests.
pub const MASTER_KEY: &str = "CANARYmasterKeyOfAllTestsNeverShownAnywherc=";

/// How many rounds a campaign runs: the usual number, or the long one behind `scripts/test --all`.
pub fn rounds(usual: u64, long: u64) -> u64 {
    if std::env::var_os("LLMHUB_LONG_TESTS").is_some() { long } else { usual }
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A home with its own configuration, state and cache; removed when dropped.
///
/// What the runs have left in it is searched for keys then; what a test has written itself may hold one.
pub struct Home {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    written: Mutex<Vec<PathBuf>>,
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        for file in files_below(self.path()).into_iter().filter(|file| !written.contains(file)) {
            // A run that was killed may have left what cannot be opened.
            let content = std::fs::read(&file).unwrap_or_default();
            for key in [PROVIDER_KEY, MASTER_KEY] {
                for half in [&key[..key.len() / 2], &key[key.len() / 2..]] {
                    let found = memchr::memmem::find(&content, half.as_bytes());
                    assert_eq!(found, None, "a run has left a key in {}", file.display());
                }
            }
        }
    }
}

/// Every ordinary file below a folder, but for what git keeps of a test's own commits; links are not followed.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold(Vec::new(), |mut files, entry| {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != ".git" => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
        files
    })
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new(), written: Mutex::default() }
    }

    /// Set a variable for every run.
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Write a file into the current directory of the runs.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        self.written.lock().unwrap().push(path.clone());
        path
    }

    /// Prepare a run of `llmhub` with these arguments.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        Run { command: self.command(env!("CARGO_BIN_EXE_llmhub"), arguments), input: None }
    }

    /// The same as a shell would split it.
    pub fn line(&self, line: &str) -> Run {
        self.run(words(line))
    }

    /// Any program in the same surroundings, with llmhub on its PATH.
    pub fn command<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        let binary = Path::new(env!("CARGO_BIN_EXE_llmhub")).parent().unwrap();
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binary.display()))
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .envs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .stdin(Stdio::null());
        command
    }
}

/// Split a line into words, with single and double quotes, as the tests write them.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut open) = (None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, open) = (Some(c), true),
            (None, ' ') => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (None, c) => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// A run that has not started yet.
#[must_use]
pub struct Run {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Run {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Start it and come back at once.
    pub fn spawn(mut self) -> Started {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let shown = format!("{:?}", self.command);
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let writer = self.input.take().map(|input| {
            let mut stdin = child.stdin.take().unwrap();
            // The other side may stop reading early; that is its business.
            std::thread::spawn(move || drop(stdin.write_all(&input)))
        });
        Started { child, writer, shown, started: Instant::now() }
    }

    /// Run it to its end.
    pub fn done(self) -> Done {
        self.spawn().wait()
    }

    /// Run it without what holds for JSON and for people: for the forms that this harness cannot read.
    pub fn done_unchecked(mut self) -> std::process::Output {
        self.command.output().unwrap()
    }

    /// Run it and expect this exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Done {
        let done = self.done();
        assert_eq!(done.status, status, "{}", done.all());
        done
    }
}

/// A run that is under way.
pub struct Started {
    child: std::process::Child,
    writer: Option<std::thread::JoinHandle<()>>,
    shown: String,
    started: Instant,
}

impl Started {
    #[allow(dead_code, reason = "for tests that stop and continue a run")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Send a signal by number.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    pub fn wait(self) -> Done {
        let output = self.child.wait_with_output().unwrap();
        if let Some(writer) = self.writer {
            writer.join().unwrap();
        }
        let status = output.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt;
            -output.status.signal().unwrap()
        });
        let done = Done {
            status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took: self.started.elapsed(),
            shown: self.shown,
        };
        done.holds();
        done
    }
}

/// A run that has ended.
pub struct Done {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    shown: String,
}

impl Done {
    fn all(&self) -> String {
        format!("{}\nexit {}\n--- stdout\n{}--- stderr\n{}", self.shown, self.status, self.stdout, self.stderr)
    }

    /// What holds for every run.
    #[track_caller]
    fn holds(&self) {
        COUNTER.fetch_add(1, Ordering::Relaxed);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for canary in CANARIES {
                assert!(!text.contains(canary), "a secret leaked to {name}: {}", self.all());
            }
            assert!(!text.contains('\x1b') && !text.contains('\r'), "{name} drives the terminal: {}", self.all());
        }
        assert_ne!(self.status, 101, "a panic escaped: {}", self.all());
        let data = self.shown.contains("\"-o\" \"json\"") || self.shown.contains("\"--json\"");
        let stream = self.shown.contains("\"watch\"") || self.shown.contains("\"--events\"");
        // How a rollout stands is an answer, a conflict and a way back included.
        let rollout = self.shown.contains("\"rollout\"") && matches!(self.status, 5 | 8);
        let failed = !rollout && !matches!(self.status, 0 | 1 | 10 | 11);
        if data && !stream {
            let mut documents = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
            let first = documents.next().unwrap_or_else(|| panic!("no document: {}", self.all()));
            let first = first.unwrap_or_else(|error| panic!("{error}: {}", self.all()));
            assert!(documents.next().is_none(), "more than one document: {}", self.all());
            if failed {
                let error = first.get("error").unwrap_or_else(|| panic!("no error object: {}", self.all()));
                for member in ["code", "message", "hint"] {
                    assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {}", self.all());
                }
            }
        } else if failed && !stream {
            assert_eq!(self.stdout, "", "a failure leaves stdout empty: {}", self.all());
        }
    }

    /// The document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }

    /// `error.code` of the document.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {}", self.all())).to_owned()
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}: {}", self.all());
        self
    }

    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}: {}", self.all());
        self
    }

    #[track_caller]
    pub fn within(self, time: Duration) -> Self {
        assert!(self.took <= time, "took {:?}: {}", self.took, self.all());
        self
    }
}
