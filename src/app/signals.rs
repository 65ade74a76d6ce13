//! Work that can end cleanly is asked to, instead of being dropped.

use std::sync::Arc;

use super::App;
use crate::store::Stopper;

/// Whether somebody hears the wish to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The work will end by itself.
    Yes,
    /// It has to be dropped.
    No,
}

impl App {
    /// From now on a signal asks the work to end where it can end cleanly, instead of dropping it.
    pub(super) fn listen(&self) -> Arc<Stopper> {
        let stopper = Arc::new(Stopper::default());
        if let Ok(mut current) = self.stopper.lock() {
            *current = Some(Arc::clone(&stopper));
        }
        stopper
    }

    /// Ask the work to end; whether there is anybody to hear it.
    pub fn ask_to_stop(&self) -> Heard {
        match self.stopper.lock().map(|mut stopper| stopper.take()) {
            Ok(Some(stopper)) if Arc::strong_count(&stopper) > 1 => {
                stopper.ask();
                Heard::Yes
            }
            _ => Heard::No,
        }
    }
}
