//! The hub double for hand tests and benchmarks: prints its URL as one line and serves until it is killed.
//!
//! `cargo run --example hub-double -- --port 0 --workers 4 FEATURE_UNIFIED_LLM_HUB=true FEATURE_LLM_HUB_ROLLOUT=10`

#[path = "mod.rs"]
mod hub;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// A double of the hub.
#[derive(Parser)]
#[command(name = "hub-double")]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Processes behind the port, each with its own flags
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Requests an hour for each path; benchmarks want more than the hub's 1000
    #[arg(long, default_value_t = 1000)]
    rate_limit: u32,
    /// Where the randomness starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Variables of the hub's environment
    #[arg(value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let builder = hub::Hub::builder()
        .port(options.port)
        .workers(options.workers)
        .rate_limit(options.rate_limit)
        .seed(options.seed)
        .env(options.env);
    match builder.try_start() {
        Ok(hub) => {
            // Flushed, since whoever started this waits for the line through a pipe.
            let mut out = std::io::stdout();
            if writeln!(out, "{}", hub.url()).and_then(|()| out.flush()).is_err() {
                return ExitCode::FAILURE;
            }
            loop {
                std::thread::park();
            }
        }
        Err(hub::ImportError(words)) => {
            // As the real one: the import fails and nothing listens.
            let _ = writeln!(std::io::stderr(), "{words}");
            ExitCode::FAILURE
        }
    }
}
