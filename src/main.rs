//! The process: hand the arguments over, and exit with the status that comes back.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(llmhub::run(std::env::args_os()))
}
