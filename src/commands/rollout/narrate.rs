//! What a run tells while it works: a picture on a terminal, else a line for each event; with `--events` one JSON document a line.

use std::io;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::view::draw;
use crate::app::{Happening, Spectator, Standing};
use crate::ui::{Page, Ui};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A picture that is drawn again.
    Picture,
    /// A line on stderr for each event.
    Lines,
    /// A JSON document on stdout for each event.
    Events,
}

/// One line of `--events`.
#[derive(Debug, Serialize)]
struct EventView<'a> {
    at: String,
    event: &'static str,
    flag: &'a str,
    run: &'a str,
    state: &'static str,
    rung: Option<u8>,
    text: &'a str,
}

/// A spectator that speaks through the [`Ui`].
pub struct Narrator {
    ui: Arc<Ui>,
    manner: Manner,
    /// Lines drawn so far, and what was told last.
    told: Mutex<(usize, String)>,
}

impl Narrator {
    /// In the manner that the streams allow.
    pub fn new(ui: &Arc<Ui>, manner: Manner) -> Self {
        Self { ui: Arc::clone(ui), manner, told: Mutex::new((0, String::new())) }
    }

    /// Show a picture, or a line where it says something new. Returns what stdout said.
    pub fn tell(&self, standing: &Standing, happening: Option<&Happening>) -> io::Result<()> {
        let Ok(mut told) = self.told.lock() else { return Ok(()) };
        match self.manner {
            Manner::Picture => {
                let mut page = Page::default();
                draw(standing, &mut page);
                told.0 = self.ui.redraw(&page, told.0)?;
            }
            Manner::Lines => {
                if let Some(happening) = happening {
                    let rung = standing.wanted.map(|rung| format!(" {rung} %")).unwrap_or_default();
                    let line = format!("{}{rung}: {}", happening.kind, happening.text);
                    if line != told.1 {
                        let at = standing.at.strftime("%H:%M:%S");
                        self.ui.note(&format!("{at}Z {}", line.trim_end_matches(": ")));
                        told.1 = line;
                    }
                }
            }
            Manner::Events => {
                if let Some(happening) = happening {
                    self.ui.stream(&EventView {
                        at: standing.at.to_string(),
                        event: happening.kind,
                        flag: &standing.flag,
                        run: &standing.run,
                        state: standing.state.word(),
                        rung: standing.wanted,
                        text: &happening.text,
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl Spectator for Narrator {
    fn see(&self, standing: &Standing, happening: Option<&Happening>) {
        // A run that goes back must not stop because nobody reads what it says.
        let _ = self.tell(standing, happening);
    }
}
