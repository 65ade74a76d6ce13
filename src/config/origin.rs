//! Where a setting came from.
//!
//! Every value of the configuration carries its [`Origin`], so `profile show` and each error can name the line to change.

use std::fmt;

/// A line of a configuration file; prints as `llmhub.toml:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The file, as the operator knows it: `llmhub.toml`, the text of `--config`, or the whole path of the user's file.
    pub file: String,
    /// Counted from 1.
    pub number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// The layer a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line; prints as `--hub`.
    Flag(&'static str),
    /// The environment; prints as `LLMHUB_HUB_URL`.
    Variable(&'static str),
    /// A variable that a file names, such as `database_url_env`; prints as `PROD_URL (llmhub.toml:12)`.
    NamedVariable {
        /// The variable.
        variable: String,
        /// The line that names it.
        line: Line,
    },
    /// A file; prints as `llmhub.toml:12`.
    File(Line),
    /// Nobody said anything; prints as `default`.
    Default,
}

impl Origin {
    /// This origin, for the value of a variable that it names.
    pub(super) fn naming(&self, variable: &str) -> Self {
        match self {
            Self::File(line) => Self::NamedVariable { variable: variable.to_owned(), line: line.clone() },
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::NamedVariable { variable, line } => write!(f, "{variable} ({line})"),
            Self::File(line) => line.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value that counts.
    pub value: T,
    /// The layer that gave it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value with its origin.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// A value that nobody set.
    pub fn fallback(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_prints_as_the_operator_would_write_it() {
        let line = Line { file: "llmhub.toml".into(), number: 12 };
        #[track_caller]
        fn case(origin: Origin, text: &str) {
            assert_eq!(origin.to_string(), text);
        }
        case(Origin::Flag("--hub"), "--hub");
        case(Origin::Variable("LLMHUB_HUB_URL"), "LLMHUB_HUB_URL");
        case(Origin::File(line.clone()), "llmhub.toml:12");
        case(Origin::NamedVariable { variable: "PROD_URL".into(), line }, "PROD_URL (llmhub.toml:12)");
        case(Origin::Default, "default");
    }
}
