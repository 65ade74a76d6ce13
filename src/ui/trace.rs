//! The trace of `-vv`: what was sent where and how it was answered, never what was in it.
//!
//! Only llmhub's own events are shown. Libraries log headers, statements and certificates, and a trace is pasted into tickets.

use std::io;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use super::Ui;

/// Show the trace on this conversation's stderr, through its redaction.
pub fn install(ui: &Arc<Ui>) {
    let own = filter_fn(|event| event.target().starts_with("llmhub"));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(Writer(Arc::clone(ui))).with_ansi(false).with_target(false);
    let trace = tracing_subscriber::registry().with(lines.with_filter(LevelFilter::TRACE).with_filter(own));
    // A second installation (in a test that runs the library twice) changes nothing.
    let _ = tracing::subscriber::set_global_default(trace);
}

#[derive(Clone)]
struct Writer(Arc<Ui>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.trace(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
