//! One line on stderr that is drawn over again while something takes long, and is gone when it is done.
//!
//! Only a terminal sees it: a log that is full of carriage returns helps nobody.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Ui, Volume, clean};

/// Back to the first column, and the rest of the line away.
const WIPE: &str = "\r\x1b[K";

/// Whether such a line may be drawn, and whether one stands there now.
#[derive(Debug)]
pub(super) struct Transient {
    allowed: bool,
    shown: AtomicBool,
}

impl Transient {
    /// For a stderr that is a terminal or is not.
    pub(super) fn on(terminal: bool) -> Self {
        Self { allowed: terminal, shown: AtomicBool::new(false) }
    }

    /// What must be written first, so that other text does not mix with the line.
    pub(super) fn wipe(&self) -> &'static str {
        if self.shown.swap(false, Ordering::AcqRel) { WIPE } else { "" }
    }
}

impl Ui {
    /// Show how far something is, in place of what was shown before. The caller decides how often.
    pub fn progress(&self, text: &str) {
        if !self.transient.allowed || self.volume < Volume::Normal {
            return;
        }
        // Some terminals say 0: they do not know.
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { 80 } else { columns };
        // A line that wraps could not be wiped.
        let text: String = clean(text).replace('\n', " ").chars().take(columns.saturating_sub(1)).collect();
        self.write_err(&text);
        self.transient.shown.store(true, Ordering::Release);
    }

    /// Take the line away.
    pub fn progress_end(&self) {
        if self.transient.shown.load(Ordering::Acquire) {
            self.write_err("");
        }
    }
}
