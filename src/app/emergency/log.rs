//! What an emergency tells while it runs: a line for the operator, a line in the journal, an entry of the timeline.
//!
//! A journal that cannot be written (a full disk, no folder) is said once, and the emergency goes on.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::app::App;
use crate::domain::incident::document::Ending;
use crate::domain::incident::journal::Record;
use crate::domain::incident::runbook::step;
use crate::domain::incident::{Entry, Evidence, StepId};
use crate::store::incident::Folder;
use crate::ui::{Ui, clean};

/// The record of a run.
pub(super) struct Log {
    ui: Arc<Ui>,
    started: Instant,
    folder: Option<Folder>,
    /// Why there is no folder any more.
    pub(super) lost: Option<String>,
    pub(super) timeline: Vec<Entry>,
    pub(super) evidence: Vec<Evidence>,
    /// Whether anything was written to a source.
    pub(super) changed: Changed,
    /// Whether there is a journal to go on with.
    pub(super) begun: Begun,
}

/// Whether a journal has its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    No,
    Yes,
}

/// Whether a step wrote to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    No,
    Yes,
}

impl Changed {
    pub(super) fn of(count: u32) -> Self {
        if count > 0 { Self::Yes } else { Self::No }
    }
}

impl Log {
    pub(super) fn new(app: &App, started: Instant, folder: Result<Folder, String>) -> Self {
        let mut log = Self {
            ui: Arc::clone(&app.ui),
            started,
            folder: None,
            lost: None,
            timeline: Vec::new(),
            evidence: Vec::new(),
            changed: Changed::No,
            begun: Begun::No,
        };
        match folder {
            Ok(folder) => log.folder = Some(folder),
            Err(why) => log.lose(why),
        }
        log
    }

    /// Where the evidence is.
    pub(super) fn folder(&self) -> Option<String> {
        self.folder.as_ref().map(|folder| folder.path().display().to_string())
    }

    fn lose(&mut self, why: String) {
        self.ui.warn(&format!("no evidence is kept, the emergency goes on: {why}"));
        self.folder = None;
        self.lost.get_or_insert(why);
    }

    /// A line of the journal.
    pub(super) fn write(&mut self, record: &Record) {
        match self.folder.as_mut().map(|folder| folder.append(record)) {
            None => {}
            Some(Ok(())) => self.begun = Begun::Yes,
            Some(Err(error)) => self.lose(error.to_string()),
        }
    }

    /// A file of evidence.
    pub(super) fn keep(&mut self, at: Timestamp, name: &str, text: &str, shows: &str) {
        let Some(folder) = &self.folder else { return };
        match folder.keep(name, text, shows) {
            Ok(evidence) => {
                self.evidence.retain(|kept| kept.file != evidence.file);
                self.evidence.push(evidence.clone());
                self.write(&Record::Kept { at, evidence });
            }
            Err(error) => self.lose(error.to_string()),
        }
    }

    /// A step is about to be taken.
    pub(super) fn begin(&mut self, at: Timestamp, id: StepId) {
        self.write(&Record::Begun { at, step: id });
        self.ui.progress(&format!("{} {} …", id.number(), id.name()));
    }

    /// It has ended.
    pub(super) fn end(&mut self, at: Timestamp, id: StepId, result: Ending, evidence: String, changed: Changed) {
        let evidence = clean(&evidence).replace('\n', " ");
        let after = self.started.elapsed().as_secs_f64();
        let line = format!("+{after:.2} s  {} {}: {}: {evidence}", id.number(), id.name(), result.words());
        match result {
            Ending::Done | Ending::AlreadySo | Ending::LeftOut => self.ui.note(&line),
            Ending::NotDone | Ending::Unknown | Ending::Interrupted => self.ui.warn(&line),
        }
        if changed == Changed::Yes {
            self.changed = Changed::Yes;
        }
        let entry = Entry { at, step: id, action: step(id).action.to_owned(), result, evidence };
        self.timeline.push(entry.clone());
        self.write(&Record::Ended { entry, changed: changed == Changed::Yes });
    }
}
