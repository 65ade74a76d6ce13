//! The wish of the operator that a long work end now, heard where the work can end cleanly.

use tokio::sync::watch;

/// Whoever hears signals keeps this end.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Whoever works keeps this one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stopper {
    /// Ask everybody who listens to end.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Another ear.
    pub fn listen(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// For work that nobody will ask to end.
    pub fn never() -> Self {
        Stopper::default().listen()
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Until it is asked for, or for ever.
    pub async fn asked(&self) {
        let mut ear = self.0.clone();
        if ear.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
