//! A real Prometheus for the tests, started once per test binary and gone when the binary is gone, and the exporter it scrapes.
//!
//! The exporter's numbers follow from the time alone, so that every test may rely on them: 200 requests a second under `hub`, of
//! which 3 % fail, 95 % within half a second.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::postgres::free_port;

const INSTALL: &str = "the tests need `prometheus`: `apt-get install prometheus`";

/// The server's address, once it has scraped for a few seconds.
pub fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> String {
    let target = exporter();
    let folder = tempfile::Builder::new().prefix("llmhub-prom-").tempdir().expect("a folder").keep();
    let config = format!(
        "global:\n  scrape_interval: 250ms\nscrape_configs:\n- job_name: hub\n  static_configs:\n  - targets: ['{target}']\n"
    );
    std::fs::write(folder.join("prometheus.yml"), config).expect("its configuration");
    let port = free_port();
    // It runs until our end closes its standard input.
    const SCRIPT: &str = r#"
        prometheus --config.file="$1/prometheus.yml" --storage.tsdb.path="$1/data" \
            --web.listen-address="127.0.0.1:$2" >"$1/log" 2>&1 &
        server=$!
        read -r _
        kill -TERM "$server"
        wait "$server"
        rm -rf "$1"
    "#;
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(&folder)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the watchdog starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !asked(port, "/-/ready").contains(" 200 ") {
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let ended = watchdog.try_wait().expect("its state").is_some() || log.contains("not found");
        assert!(!ended && Instant::now() < deadline, "{INSTALL}\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::mem::forget(watchdog);
    // Its first scrape comes some five seconds after its start, and rates over three seconds need four of them.
    while !asked(port, "/api/v1/query?query=count_over_time(hub_http_requests_total[4s])%3E13").contains("\"value\"") {
        assert!(Instant::now() < deadline, "Prometheus scrapes nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    format!("http://127.0.0.1:{port}/")
}

/// The whole answer to a GET; nothing where there is none.
fn asked(port: u16, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
        // A server that is just starting may cut an answer: it is asked again.
        let sent = stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        drop(sent.and_then(|()| stream.read_to_string(&mut answer)));
    }
    answer
}

/// Serve `/metrics` until the binary ends.
fn exporter() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let started = SystemTime::now();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            if stream.read(&mut request).is_err() {
                continue;
            }
            let body = exposition(started);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            drop(stream.write_all((head + &body).as_bytes()));
        }
    });
    address
}

fn exposition(started: SystemTime) -> String {
    let seconds = started.elapsed().unwrap_or_default().as_secs_f64();
    let requests = (seconds * 200.0).floor();
    let mut text = String::new();
    let mut line = |name: &str, value: f64| writeln!(text, "{name} {value}").expect("a line");
    line("hub_http_requests_total{endpoint=\"/chat\",status=\"200\"}", (requests * 0.97).floor());
    line("hub_http_requests_total{endpoint=\"/chat\",status=\"503\"}", (requests * 0.03).floor());
    // Our own probes: had they counted, the share would be far from 3 %.
    line("hub_http_requests_total{endpoint=\"/api/v1/features/\",status=\"500\"}", requests * 50.0);
    for (prefix, fast) in [("hub", 0.96), ("slow", 0.10)] {
        let name = format!("{prefix}_http_request_duration_seconds");
        for (le, share) in [("0.1", fast / 2.0), ("0.5", fast), ("1", fast), ("+Inf", 1.0)] {
            line(&format!("{name}_bucket{{endpoint=\"/chat\",le=\"{le}\"}}"), (requests * share).floor());
        }
        line(&format!("{name}_count{{endpoint=\"/chat\"}}"), requests);
        line(&format!("{name}_sum{{endpoint=\"/chat\"}}"), requests * 0.2);
    }
    // Two registries behind one address: the counter jumps back and forth.
    let jump = if ((seconds * 4.0) as u64).is_multiple_of(2) { 0.0 } else { 5000.0 };
    line("torn_http_requests_total{endpoint=\"/chat\",status=\"200\"}", requests + jump);
    line("arm_errors{arm=\"cohort\"}", 0.25);
    line("arm_errors{arm=\"control\"}", 0.01);
    // A sample of a minute ago.
    let then = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() - 60_000;
    line(&format!("old_http_requests_total{{endpoint=\"/chat\",status=\"200\"}} 7 {then}\n#"), 0.0);
    text
}
