//! The two tables inside a profile: `hooks` and `env_flags.NAME`.
//!
//! Both merge key by key, like the profile around them.

use super::section::{Section, command_or_none, text};
use super::value::variable_name;
use super::{ConfigError, Setting};

/// Commands that are run when asked for, never by themselves. An empty list takes back a hook of a file of lower rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Makes the hub's processes anew, so that they read their environment.
    pub recreate: Option<Setting<Vec<String>>>,
    /// Keeps others from writing while a restore runs.
    pub stop_writes: Option<Setting<Vec<String>>>,
    /// Undoes `stop_writes`.
    pub allow_writes: Option<Setting<Vec<String>>>,
}

impl Hooks {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            recreate: section.take("recreate", command_or_none)?,
            stop_writes: section.take("stop_writes", command_or_none)?,
            allow_writes: section.take("allow_writes", command_or_none)?,
        })
    }

    /// The hooks by name.
    pub fn by_name(&self) -> [(&'static str, Option<&Setting<Vec<String>>>); 3] {
        [
            ("recreate", self.recreate.as_ref()),
            ("stop_writes", self.stop_writes.as_ref()),
            ("allow_writes", self.allow_writes.as_ref()),
        ]
    }

    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            recreate: self.recreate.or(lower.recreate),
            stop_writes: self.stop_writes.or(lower.stop_writes),
            allow_writes: self.allow_writes.or(lower.allow_writes),
        }
    }

    /// Without the hooks that are empty lists.
    pub(super) fn filled(self) -> Self {
        let filled = |hook: Option<Setting<Vec<String>>>| hook.filter(|command| !command.value.is_empty());
        Self {
            recreate: filled(self.recreate),
            stop_writes: filled(self.stop_writes),
            allow_writes: filled(self.allow_writes),
        }
    }
}

/// The variables that hold one flag in the hub's `.env`; the hub's own names follow no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFlag {
    /// Holds the main switch.
    pub enabled: Option<Setting<String>>,
    /// Holds the percentage.
    pub rollout: Option<Setting<String>>,
    /// Holds the white list.
    pub whitelist: Option<Setting<String>>,
    /// Holds the black list.
    pub blacklist: Option<Setting<String>>,
    /// Holds the first moment.
    pub start_date: Option<Setting<String>>,
    /// Holds the last moment.
    pub end_date: Option<Setting<String>>,
}

impl EnvFlag {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let variable = |key| section.take(key, |value| variable_name(&text(value)?));
        Ok(Self {
            enabled: variable("enabled")?,
            rollout: variable("rollout")?,
            whitelist: variable("whitelist")?,
            blacklist: variable("blacklist")?,
            start_date: variable("start_date")?,
            end_date: variable("end_date")?,
        })
    }

    /// The variables by key.
    pub fn by_name(&self) -> [(&'static str, Option<&Setting<String>>); 6] {
        [
            ("enabled", self.enabled.as_ref()),
            ("rollout", self.rollout.as_ref()),
            ("whitelist", self.whitelist.as_ref()),
            ("blacklist", self.blacklist.as_ref()),
            ("start_date", self.start_date.as_ref()),
            ("end_date", self.end_date.as_ref()),
        ]
    }

    pub(super) fn over(self, lower: Self) -> Self {
        Self {
            enabled: self.enabled.or(lower.enabled),
            rollout: self.rollout.or(lower.rollout),
            whitelist: self.whitelist.or(lower.whitelist),
            blacklist: self.blacklist.or(lower.blacklist),
            start_date: self.start_date.or(lower.start_date),
            end_date: self.end_date.or(lower.end_date),
        }
    }
}
