//! The terminal: the only code that prints. Knows no domain type and no error type.
//!
//! stdout carries exactly one document: a result, or with `-o json` one error object. Everything else is conversation on
//! stderr. Text from outside loses its control characters here, and known secrets are blotted out, whoever forgot to.
//! A closed pipe is quiet.

mod page;
mod progress;
mod terminal;
mod text;
pub mod trace;
mod view;

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use serde::Serialize;

pub use self::page::{Page, Tone};
pub use self::terminal::{Consent, Refusal, Reply};
pub use self::text::{Redactor, clean, escape_json, is_wild};
pub use self::view::{Format, View};

/// When colour is used (craft.md 1.4, point 15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Errors only.
    Quiet,
    /// Notes and warnings.
    Normal,
    /// Also what happens on the way.
    Verbose,
}

/// What decides colour, apart from the terminal: the values of these variables, empty ones left out.
#[derive(Clone, Debug, Default)]
pub struct ColorEnv {
    /// `NO_COLOR`.
    pub no_color: Option<String>,
    /// `CLICOLOR_FORCE`.
    pub force: Option<String>,
    /// `CLICOLOR`.
    pub clicolor: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
}

impl ColorChoice {
    /// `--color` > NO_COLOR (non-empty) > CLICOLOR_FORCE > CLICOLOR=0 > TERM=dumb > terminal.
    fn resolve(self, env: &ColorEnv, terminal: bool) -> bool {
        let set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set(&env.no_color) => false,
            Self::Auto if set(&env.force) && env.force.as_deref() != Some("0") => true,
            Self::Auto if env.clicolor.as_deref() == Some("0") || env.term.as_deref() == Some("dumb") => false,
            Self::Auto => terminal,
        }
    }
}

/// Settings of the conversation, all from the command line and the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `-o`.
    pub format: Format,
    /// `--color`.
    pub color: ColorChoice,
    /// `-q`, `-v`.
    pub volume: Option<Volume>,
    /// The variables that decide colour.
    pub color_env: ColorEnv,
    /// `--no-input`, `-y`, `--confirm`.
    pub consent: Consent,
}

/// The conversation with whoever started the command.
pub struct Ui {
    format: Format,
    volume: Volume,
    out_color: bool,
    err_color: bool,
    interactive: bool,
    redraws: bool,
    consent: Consent,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    redactor: Mutex<Redactor>,
    transient: progress::Transient,
    echo: terminal::Echo,
}

impl Ui {
    /// A conversation over the process's own streams.
    pub fn new(settings: Settings) -> Self {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        Self {
            format: settings.format,
            volume: settings.volume.unwrap_or(Volume::Normal),
            out_color: settings.color.resolve(&settings.color_env, stdout.is_terminal()),
            err_color: settings.color.resolve(&settings.color_env, stderr.is_terminal()),
            // Prompts need both: somebody who types, and somebody who sees the question.
            interactive: stdin.is_terminal() && stderr.is_terminal(),
            redraws: settings.color_env.term.as_deref() != Some("dumb"),
            consent: settings.consent,
            transient: progress::Transient::on(stderr.is_terminal()),
            out: Mutex::new(Box::new(stdout)),
            err: Mutex::new(Box::new(stderr)),
            redactor: Mutex::new(Redactor::default()),
            echo: terminal::Echo::default(),
        }
    }

    /// Blot out these texts in everything said from here on.
    pub fn redact<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        if let Ok(mut redactor) = self.redactor.lock() {
            redactor.add(secrets);
        }
    }

    /// The one document of this command. Called once, last.
    ///
    /// # Errors
    /// When stdout cannot take it (a full disk); a closed pipe is not an error.
    pub fn show<V: View>(&self, view: &V) -> io::Result<()> {
        let text = view::render(view, self.format, self.page_style())?;
        self.document(&text)
    }

    /// One line of a stream of JSON documents.
    ///
    /// # Errors
    /// As [`Ui::show`]; a closed pipe is `BrokenPipe` here, so that an endless stream ends.
    pub fn stream<V: Serialize>(&self, value: &V) -> io::Result<()> {
        let line = serde_json::to_string(value).map_err(io::Error::other)?;
        self.write_out(&format!("{}\n", self.blot(&escape_json(&line))))
    }

    /// A document that is text already, such as a completion script.
    ///
    /// # Errors
    /// As [`Ui::show`].
    pub fn document(&self, text: &str) -> io::Result<()> {
        match self.write_out(&self.blot(text)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    fn write_out(&self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock().map_err(|_| io::Error::other("stdout is in use by a task that died"))?;
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// What the operator should know, but did not ask for.
    pub fn note(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.say("note", Tone::Dim, text);
        }
    }

    /// What the operator should look at.
    pub fn warn(&self, text: &str) {
        if self.volume >= Volume::Normal {
            self.say("warning", Tone::Warn, text);
        }
    }

    /// What happens on the way, with `-v`.
    pub fn detail(&self, text: &str) {
        if self.volume >= Volume::Verbose {
            self.say("detail", Tone::Dim, text);
        }
    }

    /// A line of the trace that `-vv` asks for.
    pub fn trace(&self, line: &str) {
        self.write_err(&format!("{}\n", clean(line).trim_end()));
    }

    /// Why the command failed. With `-o json` and friends the same goes to stdout as the one document.
    pub fn error(&self, code: &str, message: &str, hint: &str) {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: String,
            hint: String,
        }
        #[derive(Serialize)]
        struct Document<'a> {
            error: Body<'a>,
        }
        let (message, hint) = (clean(message), clean(hint));
        if self.format.is_data() {
            let document = Document { error: Body { code, message: message.clone(), hint: hint.clone() } };
            // If stdout is gone, stderr below still tells.
            let _ = view::data(&document, self.format).and_then(|text| self.document(&text));
        }
        let label = Tone::Bad.paint(&format!("error[{code}]"), self.err_color);
        let hint_label = Tone::Strong.paint("hint", self.err_color);
        let mut text = format!("{label}: {message}\n");
        if !hint.is_empty() {
            text.push_str(&format!("  {hint_label}: {hint}\n"));
        }
        self.write_err(&text);
    }

    fn say(&self, label: &str, tone: Tone, text: &str) {
        let label = tone.paint(label, self.err_color);
        self.write_err(&format!("{label}: {}\n", clean(text)));
    }

    fn write_err(&self, text: &str) {
        let text = self.blot(text);
        if let Ok(mut err) = self.err.lock() {
            // Nobody is left to be told that stderr is gone.
            let text = format!("{}{text}", self.transient.wipe());
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        }
    }

    fn blot(&self, text: &str) -> String {
        match self.redactor.lock() {
            Ok(redactor) => redactor.apply(text),
            // Without the list of secrets, nothing may be said at all.
            Err(_) => String::new(),
        }
    }

    fn page_style(&self) -> page::Style {
        page::Style { color: self.out_color, width: terminal::width() }
    }

    /// Whether a live display can be drawn: results go to a terminal, in the form for people.
    pub fn is_live(&self) -> bool {
        !self.format.is_data() && io::stdout().is_terminal()
    }

    /// Whether the terminal can go back to a line that stands: `TERM=dumb` cannot.
    pub fn may_redraw(&self) -> bool {
        self.redraws
    }

    /// Draw a page in place of the previous one of `lines` lines; returns the number of lines drawn.
    ///
    /// # Errors
    /// As [`Ui::stream`].
    pub fn redraw(&self, page: &Page, lines: usize) -> io::Result<usize> {
        let text = page.render(self.page_style());
        let up = if lines > 0 { format!("\x1b[{lines}A\x1b[J") } else { String::new() };
        self.write_out(&format!("{up}{}", self.blot(&text)))?;
        Ok(text.lines().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_stated_order() {
        let env = |no_color: Option<&str>, force: Option<&str>, clicolor: Option<&str>, term: Option<&str>| ColorEnv {
            no_color: no_color.map(str::to_owned),
            force: force.map(str::to_owned),
            clicolor: clicolor.map(str::to_owned),
            term: term.map(str::to_owned),
        };
        let none = env(None, None, None, None);
        for (choice, env, terminal, expected) in [
            (ColorChoice::Auto, none.clone(), true, true),
            (ColorChoice::Auto, none.clone(), false, false),
            (ColorChoice::Always, env(Some("1"), None, None, None), false, true),
            (ColorChoice::Never, env(None, Some("1"), None, None), true, false),
            (ColorChoice::Auto, env(Some("0"), Some("1"), None, None), true, false),
            (ColorChoice::Auto, env(Some(""), None, None, None), true, true),
            (ColorChoice::Auto, env(None, Some("1"), Some("0"), Some("dumb")), false, true),
            (ColorChoice::Auto, env(None, Some("0"), None, None), false, false),
            (ColorChoice::Auto, env(None, None, Some("0"), None), true, false),
            (ColorChoice::Auto, env(None, None, None, Some("dumb")), true, false),
        ] {
            assert_eq!(choice.resolve(&env, terminal), expected, "{choice:?} {env:?} {terminal}");
        }
    }
}
