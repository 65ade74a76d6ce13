//! What can be wrong with the configuration: one variant for each thing an operator can fix.
//!
//! Each has a stable word ([`ConfigError::code`]) and a command or line that mends it ([`ConfigError::hint`]). No message
//! repeats a value that was refused, since it may be a secret; names of keys, profiles, variables and files are shown.

use super::keys;
use super::{Line, Origin, Refused};

/// Why there is no configuration to work with. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The current folder is gone or closed to us.
    #[error("the current folder cannot be read: {0}")]
    NoDirectory(String),
    /// Neither `HOME` nor the XDG variable gives an absolute path to keep state in.
    #[error("there is no folder for llmhub's state: neither HOME nor XDG_STATE_HOME is an absolute path")]
    NoStateFolder,
    /// A variable holds bytes that are no text.
    #[error("the variable `{0}` is not valid UTF-8")]
    NotUnicode(String),
    /// A file that was named does not exist.
    #[error("there is no file `{path}`{}", named_by(origin))]
    NotFound {
        /// Who named it; the default is `./llmhub.toml`.
        origin: Origin,
        /// The file.
        path: String,
    },
    /// There is no configuration file at all, and the command works on one.
    #[error("there is no llmhub.toml here and no user configuration")]
    NoFile,
    /// A new configuration file would replace one.
    #[error("`{0}` exists already; it was left as it is")]
    Exists(String),
    /// The system does not let us read it.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's word for it.
        reason: String,
    },
    /// The system does not let us write it; what was there is still there.
    #[error("`{path}` cannot be written: {reason}")]
    Unwritable {
        /// The file.
        path: String,
        /// The system's word for it.
        reason: String,
    },
    /// A folder, a pipe or a device.
    #[error("`{0}` is not a regular file")]
    NotAFile(String),
    /// More than 1 MiB.
    #[error("`{0}` is larger than 1 MiB, which no configuration is")]
    TooLarge(String),
    /// Bytes that are no text.
    #[error("{0}: the file is not valid UTF-8")]
    NotUtf8(Line),
    /// Not TOML. The file is never half-read.
    #[error("{line}:{column}: {message}")]
    Syntax {
        /// Where parsing stopped.
        line: Line,
        /// In characters, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// A key nobody reads.
    #[error("{line}: unknown key `{key}`{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        line: Line,
        /// With the tables around it: `profiles.dev.wrokers`.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// Two keys of one table that say the same thing.
    #[error("{line}: `{second}` says again what `{first}` says")]
    SaidTwice {
        /// Where the second stands.
        line: Line,
        /// The one that stands first.
        first: String,
        /// The other.
        second: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("{} {refused}", subject(origin, key))]
    InvalidValue {
        /// The layer it came from.
        origin: Origin,
        /// The key, with the tables around it; for a flag or variable the bare key it sets.
        key: String,
        /// What it must be.
        refused: Refused,
    },
    /// The chosen profile is in no file.
    #[error("{origin}: there is no profile `{name}`{}", did_you_mean(nearest_of(name, known).as_deref()))]
    UnknownProfile {
        /// Who chose it.
        origin: Origin,
        /// The name.
        name: String,
        /// The profiles that exist.
        known: Vec<String>,
    },
    /// Several profiles, or only protected ones, and nobody chose.
    #[error("no profile was chosen; there {}: {}", if known.len() == 1 { "is only a protected one" } else { "are several" }, known.join(", "))]
    NoProfileChosen {
        /// The profiles that exist.
        known: Vec<String>,
    },
    /// A `./llmhub.toml` that nobody vouched for asks for more than such a file may.
    #[error("{line}: this file is not trusted, so it may not {power}")]
    Untrusted {
        /// Where it asks.
        line: Line,
        /// What it asks for: "run the commands of `hooks`".
        power: String,
    },
    /// A variable that a profile names for a secret is not set.
    #[error("{origin}: the variable `{variable}` is not set")]
    VariableUnset {
        /// The variable.
        variable: String,
        /// The line that names it.
        origin: Origin,
    },
}

impl ConfigError {
    /// The stable word for scripts and `llmhub help`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDirectory(_) => "config_no_directory",
            Self::NoStateFolder => "config_no_state_folder",
            Self::NotUnicode(_) => "config_not_unicode",
            Self::NotFound { .. } => "config_not_found",
            Self::NoFile => "config_no_file",
            Self::Exists(_) => "config_exists",
            Self::Unreadable { .. } => "config_unreadable",
            Self::Unwritable { .. } => "config_unwritable",
            Self::NotAFile(_) => "config_not_a_file",
            Self::TooLarge(_) => "config_too_large",
            Self::NotUtf8(_) => "config_not_utf8",
            Self::Syntax { .. } => "config_syntax",
            Self::UnknownKey { .. } => "config_unknown_key",
            Self::SaidTwice { .. } => "config_said_twice",
            Self::InvalidValue { .. } => "config_invalid_value",
            Self::UnknownProfile { .. } => "profile_unknown",
            Self::NoProfileChosen { .. } => "profile_not_chosen",
            Self::Untrusted { .. } => "config_untrusted",
            Self::VariableUnset { .. } => "config_variable_unset",
        }
    }

    /// A command to run or a line to write.
    pub fn hint(&self) -> String {
        match self {
            Self::NoDirectory(_) => "cd to a folder that exists".into(),
            Self::NoStateFolder => "export HOME=/home/you".into(),
            Self::NotUnicode(name) => format!("unset {name}"),
            Self::NotFound { .. } => "name a file that exists; `llmhub profile init` writes a new llmhub.toml".into(),
            Self::NoFile => "llmhub profile init".into(),
            Self::Exists(path) => format!("edit `{path}`, or move it away and run `llmhub profile init` again"),
            Self::Unreadable { path, .. } => format!("ls -l '{path}'"),
            Self::Unwritable { path, .. } => format!("ls -ld '{path}'; df '{path}'"),
            Self::NotAFile(path) | Self::TooLarge(path) => format!("ls -l '{path}'"),
            Self::NotUtf8(line) => format!("iconv -f UTF-8 -t UTF-8 '{}' shows the first bad byte", line.file),
            Self::Syntax { line, .. } => {
                format!("edit line {} of `{}`; the file was not changed", line.number, line.file)
            }
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("write `{nearest}`, or delete the line"),
            Self::UnknownKey { nearest: None, .. } => {
                "delete the line; `llmhub profile init` writes a file with every key".into()
            }
            Self::SaidTwice { first, second, .. } => format!("keep `{first}` or `{second}`, and delete the other"),
            Self::InvalidValue { origin, key, .. } => keys::example(origin, key),
            Self::UnknownProfile { name, known, .. } => match nearest_of(name, known) {
                Some(nearest) => format!("-p {nearest}"),
                None if known.is_empty() => "llmhub profile init".into(),
                None => format!("the profiles are: {}", known.join(", ")),
            },
            Self::NoProfileChosen { known } => {
                format!(
                    "add `-p {}`, or choose once: llmhub profile use NAME",
                    known.first().map_or("NAME", String::as_str)
                )
            }
            Self::Untrusted { line, .. } => {
                format!("read `{}`, then: llmhub profile trust (or name it: --config {})", line.file, line.file)
            }
            Self::VariableUnset { variable, .. } => format!("export {variable}=…"),
        }
    }

    /// Whether the command line itself is at fault (exit 2), rather than a file or the environment (exit 3).
    pub fn fault(&self) -> Fault {
        match self {
            Self::InvalidValue { origin: Origin::Flag(_), .. } => Fault::Usage,
            _ => Fault::Configuration,
        }
    }
}

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The command line as it was typed.
    Usage,
    /// A file, the environment, or what was chosen from them.
    Configuration,
}

/// The name of a value, as its layer calls it.
fn subject(origin: &Origin, key: &str) -> String {
    match origin {
        Origin::Flag(name) | Origin::Variable(name) => format!("`{name}`"),
        Origin::NamedVariable { .. } | Origin::File(_) | Origin::Default => format!("{origin}: `{key}`"),
    }
}

fn named_by(origin: &Origin) -> String {
    match origin {
        Origin::Default => String::new(),
        named => format!(" (named by {named})"),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn nearest_of(word: &str, known: &[String]) -> Option<String> {
    nearest(word, known.iter().map(String::as_str))
}

/// The name among `known` that somebody who wrote `word` most likely meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // No name is that long, and the distance takes time and memory by the product of both lengths.
    if word.len() > 200 {
        return None;
    }
    let reach = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line { file: "llmhub.toml".into(), number: 3 }
    }

    #[test]
    fn every_error_says_exactly_what_happened_and_what_to_do() {
        #[track_caller]
        fn case(error: ConfigError, code: &str, message: &str, hint: &str) {
            assert_eq!((error.code(), error.to_string().as_str(), error.hint().as_str()), (code, message, hint));
        }
        let path = || "/etc/llmhub.toml".to_owned();
        case(
            ConfigError::NoDirectory("entity not found".into()),
            "config_no_directory",
            "the current folder cannot be read: entity not found",
            "cd to a folder that exists",
        );
        case(
            ConfigError::NoStateFolder,
            "config_no_state_folder",
            "there is no folder for llmhub's state: neither HOME nor XDG_STATE_HOME is an absolute path",
            "export HOME=/home/you",
        );
        case(
            ConfigError::NotUnicode("LLMHUB_PROFILE".into()),
            "config_not_unicode",
            "the variable `LLMHUB_PROFILE` is not valid UTF-8",
            "unset LLMHUB_PROFILE",
        );
        case(
            ConfigError::NotFound { origin: Origin::Flag("--config"), path: path() },
            "config_not_found",
            "there is no file `/etc/llmhub.toml` (named by --config)",
            "name a file that exists; `llmhub profile init` writes a new llmhub.toml",
        );
        case(
            ConfigError::NoFile,
            "config_no_file",
            "there is no llmhub.toml here and no user configuration",
            "llmhub profile init",
        );
        case(
            ConfigError::Exists(path()),
            "config_exists",
            "`/etc/llmhub.toml` exists already; it was left as it is",
            "edit `/etc/llmhub.toml`, or move it away and run `llmhub profile init` again",
        );
        case(
            ConfigError::Unreadable { path: path(), reason: "permission denied".into() },
            "config_unreadable",
            "`/etc/llmhub.toml` cannot be read: permission denied",
            "ls -l '/etc/llmhub.toml'",
        );
        case(
            ConfigError::Unwritable { path: path(), reason: "no storage space".into() },
            "config_unwritable",
            "`/etc/llmhub.toml` cannot be written: no storage space",
            "ls -ld '/etc/llmhub.toml'; df '/etc/llmhub.toml'",
        );
        case(
            ConfigError::NotAFile(path()),
            "config_not_a_file",
            "`/etc/llmhub.toml` is not a regular file",
            "ls -l '/etc/llmhub.toml'",
        );
        case(
            ConfigError::TooLarge(path()),
            "config_too_large",
            "`/etc/llmhub.toml` is larger than 1 MiB, which no configuration is",
            "ls -l '/etc/llmhub.toml'",
        );
        case(
            ConfigError::NotUtf8(line()),
            "config_not_utf8",
            "llmhub.toml:3: the file is not valid UTF-8",
            "iconv -f UTF-8 -t UTF-8 'llmhub.toml' shows the first bad byte",
        );
        case(
            ConfigError::Syntax { line: line(), column: 7, message: "missing value".into() },
            "config_syntax",
            "llmhub.toml:3:7: missing value",
            "edit line 3 of `llmhub.toml`; the file was not changed",
        );
        case(
            ConfigError::UnknownKey {
                line: line(),
                key: "profiles.dev.wrokers".into(),
                nearest: Some("workers".into()),
            },
            "config_unknown_key",
            "llmhub.toml:3: unknown key `profiles.dev.wrokers`; did you mean `workers`?",
            "write `workers`, or delete the line",
        );
        case(
            ConfigError::UnknownKey { line: line(), key: "colour".into(), nearest: None },
            "config_unknown_key",
            "llmhub.toml:3: unknown key `colour`",
            "delete the line; `llmhub profile init` writes a file with every key",
        );
        case(
            ConfigError::SaidTwice { line: line(), first: "hub".into(), second: "replicas".into() },
            "config_said_twice",
            "llmhub.toml:3: `replicas` says again what `hub` says",
            "keep `hub` or `replicas`, and delete the other",
        );
        case(
            ConfigError::InvalidValue {
                origin: Origin::File(line()),
                key: "profiles.dev.workers".into(),
                refused: Refused::new("must be a whole number from 1 to 64"),
            },
            "config_invalid_value",
            "llmhub.toml:3: `profiles.dev.workers` must be a whole number from 1 to 64",
            "write for example: workers = 4",
        );
        case(
            ConfigError::InvalidValue {
                origin: Origin::Flag("--hub"),
                key: "hub".into(),
                refused: Refused::new("must start with `http://` or `https://`"),
            },
            "config_invalid_value",
            "`--hub` must start with `http://` or `https://`",
            "write for example: --hub \"http://localhost:8084\"",
        );
        let known = || vec!["dev".to_owned(), "prod".to_owned()];
        case(
            ConfigError::UnknownProfile { origin: Origin::Flag("--profile"), name: "prdo".into(), known: known() },
            "profile_unknown",
            "--profile: there is no profile `prdo`; did you mean `prod`?",
            "-p prod",
        );
        case(
            ConfigError::UnknownProfile { origin: Origin::File(line()), name: "x".into(), known: known() },
            "profile_unknown",
            "llmhub.toml:3: there is no profile `x`",
            "the profiles are: dev, prod",
        );
        case(
            ConfigError::NoProfileChosen { known: known() },
            "profile_not_chosen",
            "no profile was chosen; there are several: dev, prod",
            "add `-p dev`, or choose once: llmhub profile use NAME",
        );
        case(
            ConfigError::NoProfileChosen { known: vec!["prod".into()] },
            "profile_not_chosen",
            "no profile was chosen; there is only a protected one: prod",
            "add `-p prod`, or choose once: llmhub profile use NAME",
        );
        case(
            ConfigError::Untrusted { line: line(), power: "run the commands of `hooks`".into() },
            "config_untrusted",
            "llmhub.toml:3: this file is not trusted, so it may not run the commands of `hooks`",
            "read `llmhub.toml`, then: llmhub profile trust (or name it: --config llmhub.toml)",
        );
        case(
            ConfigError::VariableUnset { variable: "PROD_URL".into(), origin: Origin::File(line()) },
            "config_variable_unset",
            "llmhub.toml:3: the variable `PROD_URL` is not set",
            "export PROD_URL=…",
        );
    }

    #[test]
    fn only_a_bad_value_on_the_command_line_is_a_usage_error() {
        let invalid = |origin| ConfigError::InvalidValue { origin, key: "hub".into(), refused: Refused::new("must") };
        assert_eq!(invalid(Origin::Flag("--hub")).fault(), Fault::Usage);
        assert_eq!(invalid(Origin::Variable("LLMHUB_HUB_URL")).fault(), Fault::Configuration);
        assert_eq!(ConfigError::NoFile.fault(), Fault::Configuration);
    }

    #[test]
    fn the_nearest_name_is_near() {
        #[track_caller]
        fn case(word: &str, expected: Option<&str>) {
            assert_eq!(nearest(word, ["hub", "workers", "database_url", "replicas"]).as_deref(), expected, "{word}");
        }
        case("wrokers", Some("workers"));
        case("databse_url", Some("database_url"));
        case("hubs", Some("hub"));
        case("replica", Some("replicas"));
        case("colour", None);
        case("", None);
        case(&"hub".repeat(300_000), None);
    }
}
