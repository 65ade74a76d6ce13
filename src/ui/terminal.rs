//! Questions, and who may answer them.
//!
//! Nobody at the terminal is not consent, and neither is `CI=1`. A question is asked only where both stdin and stderr are
//! terminals; otherwise the refusal names the option to give instead.

use std::io::{self, BufRead, Write};
use std::sync::Mutex;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Tone, Ui, clean};

/// What was agreed to on the command line.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// `-y`: yes to ordinary questions.
    pub yes: bool,
    /// `--confirm=NAME`: the protected profile's name.
    pub confirmed: Option<String>,
    /// `--no-input`: never ask.
    pub no_input: bool,
}

/// Why there is no consent; each ends the command before anything is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The answer was no, or the wrong name.
    #[error("not confirmed: {0}")]
    Declined(String),
    /// There is nobody to ask.
    #[error("this needs a confirmation, and there is nobody to ask: give {0}")]
    NobodyToAsk(String),
    /// A secret must be typed, and there is nobody to type it; the options that bring it.
    #[error("the secret must be typed, and there is nobody to ask: give {0}")]
    NobodyToType(String),
    /// `-y` is not enough on a protected profile.
    #[error("profile `{0}` is protected: -y does not confirm a change there")]
    Protected(String),
}

/// What a person said of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Nobody knows, or nobody was there.
    Unknown,
}

impl Ui {
    /// Ask a yes-or-no question; `-y` answers it. Blocks while somebody thinks.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn confirm(&self, question: &str) -> Result<(), Refusal> {
        if self.consent.yes {
            return Ok(());
        }
        if !self.may_ask() {
            return Err(Refusal::NobodyToAsk("-y".to_owned()));
        }
        let answer = self.ask(&format!("{} [y/N] ", clean(question)));
        match answer.as_deref().map(str::trim) {
            Some("y" | "Y" | "yes" | "Yes" | "YES") => Ok(()),
            _ => Err(Refusal::Declined("the answer was not yes".to_owned())),
        }
    }

    /// Have the name of a protected profile typed; `--confirm=NAME` answers it, `-y` does not.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn confirm_name(&self, name: &str, question: &str) -> Result<(), Refusal> {
        if let Some(given) = &self.consent.confirmed {
            return if given == name {
                Ok(())
            } else {
                Err(Refusal::Declined(format!("--confirm names `{given}`, the profile is `{name}`")))
            };
        }
        if self.consent.yes {
            return Err(Refusal::Protected(name.to_owned()));
        }
        if !self.may_ask() {
            return Err(Refusal::NobodyToAsk(format!("--confirm={name}")));
        }
        let answer = self.ask(&format!("{}\nType the profile's name ({name}) to go on: ", clean(question)));
        if answer.as_deref().map(str::trim) == Some(name) {
            Ok(())
        } else {
            Err(Refusal::Declined("the name that was typed is not the profile's".to_owned()))
        }
    }

    /// Ask what only a person knows. `-y` is no answer, and neither is silence: both are unknown. Blocks while somebody thinks.
    pub fn ask_fact(&self, question: &str) -> Reply {
        if !self.may_ask() {
            return Reply::Unknown;
        }
        let answer = self.ask(&format!("{} [y/n, Enter: unknown] ", clean(question)));
        match answer.as_deref().map(|answer| answer.trim().to_ascii_lowercase()).as_deref() {
            Some("y" | "yes") => Reply::Yes,
            Some("n" | "no") => Reply::No,
            _ => Reply::Unknown,
        }
    }

    /// Ask for a secret; nothing of what is typed is shown. `instead` are the options that bring it another way.
    ///
    /// # Errors
    /// A [`Refusal`], also where the terminal cannot be told to hide it.
    pub fn ask_hidden(&self, question: &str, instead: &str) -> Result<Zeroizing<String>, Refusal> {
        if !self.may_ask() {
            return Err(Refusal::NobodyToType(instead.to_owned()));
        }
        self.echo.hide().map_err(|_| Refusal::NobodyToType(instead.to_owned()))?;
        let answer = self.ask(&format!("{} (not shown): ", clean(question))).map(Zeroizing::new);
        self.show_typing();
        // The line feed that was typed was not shown either.
        self.write_err("\n");
        match answer {
            Some(answer) if !answer.is_empty() => Ok(answer),
            _ => Err(Refusal::Declined("the input ended before anything was typed".to_owned())),
        }
    }

    /// Show again what is typed, if it was hidden. Called at the end of every run: a prompt that a signal cut off cannot.
    pub fn show_typing(&self) {
        self.echo.restore();
    }

    fn may_ask(&self) -> bool {
        self.interactive && !self.consent.no_input
    }

    fn ask(&self, question: &str) -> Option<String> {
        {
            let mut err = self.err.lock().ok()?;
            let question = Tone::Strong.paint(&self.blot(question), self.err_color);
            err.write_all(question.as_bytes()).and_then(|()| err.flush()).ok()?;
        }
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(answer)
    }
}

/// The state of a terminal that hides what is typed, to be given back.
#[derive(Default)]
pub(super) struct Echo(Mutex<Option<Termios>>);

impl Echo {
    fn hide(&self) -> io::Result<()> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // Kept before it is changed: a signal may come in between.
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(before);
        }
        Ok(tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?)
    }

    fn restore(&self) {
        if let Some(before) = self.0.lock().ok().and_then(|mut kept| kept.take()) {
            // A terminal that is gone needs no echo.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

/// The columns of the terminal that results go to.
pub(super) fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.max(20))
}
