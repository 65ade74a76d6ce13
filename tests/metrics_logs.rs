//! The hub's logs as a source: files that grow, rotate and lie, and programs that print.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use llmhub::domain::flags::{Flag, Percent};
use llmhub::domain::rollout::plan::{Logs, LogsFrom, Sources};
use llmhub::domain::rollout::query::{Query, SourceKind};
use llmhub::domain::rollout::reading::{Reading, Window};
use llmhub::store::StoreError;
use llmhub::store::metrics::{Access, MetricSource, Metrics, Question};

const START: i64 = 1_795_269_600;

fn query(text: &str) -> Query {
    Query::parse(SourceKind::Logs, text, None, None).unwrap()
}

fn open(from: LogsFrom, queries: &[&Query]) -> Result<Metrics, StoreError> {
    let sources = Sources { logs: Some(Logs { from }), ..Sources::default() };
    let access = Access { database: None, bearer: None, ca_file: None, limit: Duration::from_secs(5) };
    Metrics::open(&sources, queries, access)
}

fn window(from: i64, to: i64) -> Window {
    let at = |seconds| Timestamp::from_second(START + seconds).unwrap();
    Window { from: at(from), to: at(to) }
}

async fn ask(metrics: &Metrics, query: &Query, window: Window) -> Reading {
    let flag = Flag::off("a".parse().unwrap());
    metrics.measure(&Question { flag: &flag, rung: Percent::FULL, query, window }).await
}

async fn in_file(path: &Path, text: &str, window: Window) -> Reading {
    let query = query(text);
    let metrics = open(LogsFrom::File(path.to_owned()), &[&query]).unwrap();
    ask(&metrics, &query, window).await
}

#[track_caller]
fn number(reading: Reading) -> (f64, u64) {
    match reading {
        Reading::Number(measured) => (measured.value, measured.samples.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// A record a second, in both formats by turns; every tenth is an error.
fn records(from: i64, to: i64) -> String {
    let mut text = String::new();
    for second in from..to {
        let at = Timestamp::from_second(START + second).unwrap();
        let bare = at.strftime("%Y-%m-%dT%H:%M:%S");
        let failed = second % 10 == 0;
        let written = match (second % 2 == 0, failed) {
            (true, true) => {
                writeln!(text, "{{\"timestamp\": \"{bare}.000001\", \"level\": \"ERROR\", \"event_type\": \"error\"}}")
            }
            (true, false) => writeln!(
                text,
                "{{\"timestamp\": \"{bare}\", \"level\": \"INFO\", \"event_type\": \"api_call\", \"duration_ms\": {second}}}"
            ),
            (false, _) => writeln!(
                text,
                "{},500 - llm_hub - INFO - [API_CALL] GET /x - 200 duration_ms={second}",
                at.strftime("%Y-%m-%d %H:%M:%S")
            ),
        };
        written.unwrap();
    }
    text
}

#[tokio::test]
async fn a_window_of_a_file_is_found_wherever_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.log");
    // Large enough for bisection and for several threads.
    std::fs::write(&path, records(0, 120_000)).unwrap();
    for (from, to) in [(0, 120_000), (0, 10), (60_000, 60_300), (119_000, 119_999), (7, 8), (50_000, 90_000)] {
        let (share, samples) = number(in_file(&path, "@errors", window(from, to)).await);
        assert_eq!(samples, (to - from) as u64, "{from}..{to}");
        let errors = (from..to).filter(|second| second % 10 == 0).count();
        assert!((share - errors as f64 / samples as f64).abs() < 1e-12, "{from}..{to}: {share}");
    }
    assert_eq!(number(in_file(&path, "share error of api_call", window(100, 200)).await), (0.1, 100));
    assert_eq!(number(in_file(&path, "count error", window(100, 200)).await), (10.0, 100));
    let (p95, samples) = number(in_file(&path, "p95 api_call duration_ms", window(0, 1000)).await);
    assert_eq!(samples, 900);
    assert!((p95 / 0.949 - 1.0).abs() < 0.01, "{p95}");
    assert!(
        matches!(in_file(&path, "@errors", window(-50, 10)).await, Reading::Nothing(reason) if reason.contains("begins at"))
    );
    assert!(matches!(in_file(&path, "@errors", window(200_000, 200_010)).await, Reading::Nothing(_)));
    assert!(
        matches!(in_file(&path, "count security", window(0, 10)).await, Reading::Number(measured) if measured.value == 0.0)
    );
    assert!(
        matches!(in_file(&path, "p95 performance value", window(0, 10)).await, Reading::Nothing(reason) if reason.contains("as published"))
    );
}

#[tokio::test]
async fn disorder_and_garbage_cost_nothing_but_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.log");
    let mut bytes = records(5_000, 6_000).into_bytes();
    bytes.extend(b"\xff\xfe\0\0\0garbage\n\n\r\n{\"timestamp\":\nTraceback (most recent call last):\n");
    bytes.extend(vec![b'x'; 11_000_000]);
    bytes.push(b'\n');
    let long = format!(
        "{{\"timestamp\": \"2026-11-21T14:00:01\", \"message\": \"{}\", \"level\": \"ERROR\"}}\r\n",
        "y".repeat(9_000_000)
    );
    bytes.extend(long.as_bytes());
    // Back in time: no bisection can help here.
    bytes.extend(records(0, 5_000).into_bytes());
    std::fs::write(&path, &bytes).unwrap();
    // What the first record does not cover is nothing; the rest is counted wherever it stands.
    assert_eq!(number(in_file(&path, "@errors", window(5_000, 6_000)).await), (0.1, 1_000));
    let zoned = folder.path().join("zoned.log");
    std::fs::write(
        &zoned,
        "2026-11-21T15:00:00+01:00 ERROR a\n2026-11-21T09:00:01-0500 INFO b\n2026-11-21 14:00:02,1 INFO last, unended",
    )
    .unwrap();
    assert_eq!(number(in_file(&zoned, "@errors", window(0, 3)).await), (1.0 / 3.0, 3));
    let empty = folder.path().join("empty.log");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(in_file(&empty, "@errors", window(0, 1)).await, Reading::Nothing(_)));
    assert!(matches!(in_file(&folder.path().join("none"), "@errors", window(0, 1)).await, Reading::Failed(_)));
}

#[tokio::test]
async fn a_rotated_file_is_read_with_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.log");
    std::fs::write(&path, records(0, 100)).unwrap();
    std::fs::rename(&path, folder.path().join("hub.log.1")).unwrap();
    std::fs::write(&path, records(100, 200)).unwrap();
    assert_eq!(number(in_file(&path, "@errors", window(50, 150)).await), (0.1, 100));
    assert!(matches!(in_file(&path, "@errors", window(-10, 150)).await, Reading::Nothing(_)));
    // Truncated, as copytruncate does: what was there is gone, and that is said.
    std::fs::remove_file(folder.path().join("hub.log.1")).unwrap();
    std::fs::write(&path, records(150, 200)).unwrap();
    assert!(matches!(in_file(&path, "@errors", window(100, 200)).await, Reading::Nothing(_)));
    assert_eq!(number(in_file(&path, "@errors", window(150, 200)).await), (0.1, 50));
}

#[tokio::test]
async fn only_a_regular_file_can_be_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let errors = query("@errors");
    for path in [folder.path().to_owned(), folder.path().join("none"), "/dev/zero".into()] {
        let metrics = open(LogsFrom::File(path.clone()), &[&errors]).unwrap();
        assert!(matches!(metrics.check(&errors).await, Err(StoreError::Local(_))), "{}", path.display());
    }
}

fn command(script: &str) -> LogsFrom {
    LogsFrom::Command(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()])
}

#[tokio::test]
async fn what_a_program_prints_is_counted_on_both_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, records(0, 100)).unwrap();
    let (errors, p50) = (query("@errors"), query("p50 api_call duration_ms"));
    let script = format!("cat {0}; cat {0} >&2; exec sleep 60", path.display());
    let metrics = open(command(&script), &[&errors, &p50]).unwrap();
    metrics.check(&errors).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while number(ask(&metrics, &errors, window(0, 100)).await).1 < 200 {
        assert!(Instant::now() < deadline, "both outputs are read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(number(ask(&metrics, &errors, window(0, 100)).await), (0.1, 200));
    assert_eq!(number(ask(&metrics, &errors, window(20, 30)).await), (0.1, 20));
    assert_eq!(number(ask(&metrics, &p50, window(0, 100)).await).1, 180);
    assert!(matches!(ask(&metrics, &errors, window(-10, 100)).await, Reading::Nothing(_)));
    let other = query("count error");
    assert!(
        matches!(ask(&metrics, &other, window(0, 100)).await, Reading::Failed(_)),
        "it was not asked for at the start"
    );
}

#[tokio::test]
async fn a_program_that_ends_is_a_failure_with_its_last_words() {
    let errors = query("@errors");
    let metrics = open(command("echo 'no such container: hub' >&2; exit 1"), &[&errors]).unwrap();
    let Err(StoreError::Unreachable(words)) = metrics.check(&errors).await else { panic!("unreachable") };
    assert!(words.contains("exit status: 1: no such container: hub"), "{words}");
    let Reading::Failed(words) = ask(&metrics, &errors, window(0, 1)).await else { panic!("a failure") };
    assert!(words.contains("no such container"), "{words}");
    let words = vec!["no-such-program-llmhub".to_owned()];
    assert!(matches!(open(LogsFrom::Command(words), &[&errors]), Err(StoreError::Local(_))));
}

#[tokio::test]
async fn the_program_ends_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let errors = query("@errors");
    let metrics = open(command(&format!("echo $$ > {}; sleep 300 & wait", path.display())), &[&errors]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        match std::fs::read_to_string(&path) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "the program starts"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    drop(metrics);
    while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{pid} has ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
