//! What a run tells, as the operator sees it: one line that changes on a terminal, and notes where something is in the way.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::domain::migrations::Direction;
use crate::store::database::{Event, Watch};
use crate::ui::Ui;

/// When a statement that waits is worth a line in a log.
const LONG: Duration = Duration::from_millis(700);
/// How often the line is drawn for statements that are over at once.
const REDRAW: Duration = Duration::from_millis(50);

/// A listener that speaks through the [`Ui`].
pub(super) struct Progress {
    ui: Arc<Ui>,
    line: Mutex<Line>,
}

/// What the line says now.
#[derive(Default)]
struct Line {
    migration: String,
    statement: String,
    /// When it was last drawn for a statement.
    drawn: Option<Instant>,
    /// Whether it was said already that this migration waits: a log needs it once.
    told: bool,
}

impl Progress {
    pub(super) fn new(ui: &Arc<Ui>) -> Self {
        Self { ui: Arc::clone(ui), line: Mutex::new(Line::default()) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ui.progress_end();
    }
}

impl Watch for Progress {
    fn see(&self, event: Event<'_>) {
        // A listener that died leaves nothing to say.
        let Ok(mut line) = self.line.lock() else { return };
        match event {
            Event::WaitsForRun(holder) => self.ui.note(&format!("waiting for another run: {holder}")),
            Event::Note(text) => self.ui.note(text),
            Event::Migration { version, name, number, of, direction } => {
                let way = match direction {
                    Direction::Up => "",
                    Direction::Down => "back from ",
                };
                let migration = format!("[{number}/{of}] {way}{version}_{name}");
                *line = Line { migration, drawn: line.drawn, ..Line::default() };
            }
            Event::Statement { script, statement } => {
                let text: String = statement.text().split_whitespace().take(40).collect::<Vec<_>>().join(" ");
                // Most statements are over before anybody could read them, and finding their line takes time.
                if line.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
                    line.statement = format!("  {text}");
                    return;
                }
                line.statement = format!("  {text}  ({}:{})", script.file(), statement.position());
                line.drawn = Some(Instant::now());
                self.ui.progress(&format!("{}{}", line.migration, line.statement));
            }
            Event::Still { elapsed, blocked } => {
                // A statement that stands in the queue for as long as it takes: a log must show why nothing moves.
                if let (false, Some(blocked)) = (line.told || elapsed < LONG, blocked) {
                    line.told = true;
                    self.ui.note(&format!("{} waits for a lock: {blocked}", line.migration));
                }
                let waits = blocked.map(|blocked| format!(", waits for {blocked}")).unwrap_or_default();
                let seconds = elapsed.as_secs_f64();
                self.ui.progress(&format!("{} {seconds:.1} s{waits}{}", line.migration, line.statement));
            }
            Event::Again { blocked, pause } => {
                // Whoever was too quick to be seen is told of at the next try.
                if let (false, Some(blocked)) = (line.told, blocked) {
                    line.told = true;
                    self.ui.note(&format!("{} waits for a lock: {blocked}", line.migration));
                }
                self.ui.progress(&format!("{} tries again in {:.1} s", line.migration, pause.as_secs_f64()));
            }
        }
    }
}
