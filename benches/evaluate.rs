//! How many decisions one core makes in a second, for `scripts/bench`: prints the number and nothing else.
//!
//! An example rather than a harness benchmark, because only the ratio to another program of the same run means anything.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::civil::date;
use llmhub::domain::flags::evaluate::evaluate;
use llmhub::domain::flags::{Flag, FlagKey, StoredPercent};

/// Long enough for the clock of a laptop to settle, short enough to be repeated.
const LENGTH: Duration = Duration::from_secs(1);

/// The clock is read once for so many decisions, so that reading it is not what is measured.
const ROUND: usize = 4096;

fn main() -> ExitCode {
    let Ok(key) = "unified_llm_hub".parse::<FlagKey>() else {
        return ExitCode::FAILURE;
    };
    // Half-way up and with no lists: the path that every user of a rollout takes, through the hash.
    let flag = Flag { enabled: Some(true), percentage: StoredPercent::Number(50), ..Flag::off(key) };
    let users: Vec<String> = (0..ROUND).map(|number| format!("user-{number:07}@example.com")).collect();
    let now = date(2026, 1, 1).at(12, 0, 0, 0);
    let (start, mut decisions, mut on) = (Instant::now(), 0usize, 0usize);
    while start.elapsed() < LENGTH {
        for user in &users {
            let decision = evaluate(black_box(&flag), Some(black_box(user)), now);
            on += usize::from(decision.enabled == Some(true));
        }
        decisions += ROUND;
    }
    // A share far from the percentage means that it was not the evaluation that ran.
    if on * 100 < decisions * 45 || on * 100 > decisions * 55 {
        return ExitCode::FAILURE;
    }
    let rate = decisions as f64 / start.elapsed().as_secs_f64();
    match writeln!(std::io::stdout(), "{rate:.0}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
