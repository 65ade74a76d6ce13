//! A flag as a source holds it, and the two values an operator types: its name and a percentage.
//!
//! What an operator types is checked once, here. What a source holds is *data*: a hub stores null lists and percentages
//! beyond 64 bits (CONTRACT 3.4), so [`Flag`] can carry them, names them in [`Flag::problems`] and never panics.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A flag's name, byte for byte: the hub neither trims nor folds case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FlagKey(String);

impl FlagKey {
    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot be a flag's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagKeyError {
    /// No characters at all.
    #[error("a flag name cannot be empty")]
    Empty,
    /// Longer than the 200 bytes that every source can hold.
    #[error("a flag name has at most 200 bytes")]
    TooLong,
    /// A slash, a dot segment or a control character cannot be part of the hub's URL.
    #[error("a flag name cannot hold `/`, control characters, or be `.` or `..`")]
    NotAddressable,
}

impl FromStr for FlagKey {
    type Err = FlagKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(FlagKeyError::Empty);
        }
        if text.len() > 200 {
            return Err(FlagKeyError::TooLong);
        }
        if text == "." || text == ".." || text.chars().any(|c| c == '/' || c.is_control()) {
            return Err(FlagKeyError::NotAddressable);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A percentage that may be written: a whole number from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Percent(u8);

impl Percent {
    /// Nobody but the white list.
    pub const ZERO: Self = Self(0);
    /// Everybody.
    pub const FULL: Self = Self(100);

    /// The whole number, 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a text or number cannot be a percentage.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// A fraction such as `0.25`, which somebody means as 25 %.
    #[error("a percentage is a whole number from 0 to 100; did you mean {0}?")]
    Fraction(u8),
    /// Anything else.
    #[error("a percentage is a whole number from 0 to 100")]
    NotAPercentage,
}

impl TryFrom<i64> for Percent {
    type Error = PercentError;

    fn try_from(value: i64) -> Result<Self, Self::Error> {
        match u8::try_from(value) {
            Ok(value) if value <= 100 => Ok(Self(value)),
            _ => Err(PercentError::NotAPercentage),
        }
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text);
        if !number.is_empty() && number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit()) {
            let value: i64 = number.parse().map_err(|_| PercentError::NotAPercentage)?;
            return Self::try_from(value);
        }
        match number.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 && !text.ends_with('%') => {
                // In range by the guard: 0 < share < 1, so the product rounds to 0..=100.
                Err(PercentError::Fraction((share * 100.0).round() as u8))
            }
            _ => Err(PercentError::NotAPercentage),
        }
    }
}

/// A percentage as a source holds it, which may be nonsense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPercent {
    /// A number that fits 64 bits; anything outside 0 to 100 is a problem.
    Number(i64),
    /// A whole number beyond 64 bits, in its decimal digits.
    Huge {
        /// Below zero.
        negative: bool,
        /// As the source wrote it.
        digits: String,
    },
    /// Null, or not a whole number: the hub fails every read that reaches it.
    Null,
}

impl StoredPercent {
    /// The share of users this amounts to, as the hub evaluates it: below 0 is 0, above 100 is 100, null is nothing known.
    pub fn effective(&self) -> Option<Percent> {
        match self {
            Self::Number(value) => Some(Percent(u8::try_from((*value).clamp(0, 100)).unwrap_or(0))),
            Self::Huge { negative: true, .. } => Some(Percent::ZERO),
            Self::Huge { negative: false, .. } => Some(Percent::FULL),
            Self::Null => None,
        }
    }

    /// The number if it fits 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Huge { .. } | Self::Null => None,
        }
    }

    /// What is wrong with it, in words for a person; `None` for 0 to 100.
    fn problem(&self) -> Option<String> {
        match self {
            Self::Number(0..=100) => None,
            Self::Number(value) => {
                let acts = if *value < 0 { 0 } else { 100 };
                Some(format!("rollout_percentage is {value}, outside 0 to 100: the hub acts as if it were {acts}"))
            }
            Self::Huge { negative, .. } => {
                let acts = if *negative { 0 } else { 100 };
                Some(format!("rollout_percentage is beyond 64 bits: the hub acts as if it were {acts}"))
            }
            Self::Null => {
                Some("rollout_percentage is null: the hub fails (500) for every user who is on neither list".to_owned())
            }
        }
    }
}

impl From<Percent> for StoredPercent {
    fn from(value: Percent) -> Self {
        Self::Number(i64::from(value.get()))
    }
}

impl Serialize for StoredPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_i64().serialize(serializer)
    }
}

impl fmt::Display for StoredPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value} %"),
            Self::Huge { negative, digits } => write!(f, "{}{digits} %", if *negative { "-" } else { "" }),
            Self::Null => f.write_str("null"),
        }
    }
}

/// A whole flag as one source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name.
    pub key: FlagKey,
    /// The main switch; `None` is a stored null, which acts as off.
    pub enabled: Option<bool>,
    /// The share of users, as stored.
    pub percentage: StoredPercent,
    /// Users who are always on, in stored order; `None` is a stored null.
    pub whitelist: Option<Vec<String>>,
    /// Users who are always off; wins over the white list. `None` is a stored null.
    pub blacklist: Option<Vec<String>>,
    /// First moment at which the flag may be on, verbatim (the hub reads it as naive UTC).
    pub start: Option<String>,
    /// Last moment at which the flag may be on, verbatim.
    pub end: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// The team that answers for it.
    pub owner: Option<String>,
    /// Grows by one with each edit; only the database has one.
    pub revision: Option<i64>,
}

impl Flag {
    /// A flag that is off for everybody, as a hub starts one whose variables are unset.
    pub fn off(key: FlagKey) -> Self {
        Self {
            key,
            enabled: Some(false),
            percentage: StoredPercent::Number(0),
            whitelist: Some(Vec::new()),
            blacklist: Some(Vec::new()),
            start: None,
            end: None,
            description: None,
            tags: Vec::new(),
            owner: None,
            revision: None,
        }
    }

    /// Whether the main switch is on; a stored null is off, as in the hub.
    pub fn is_enabled(&self) -> bool {
        self.enabled == Some(true)
    }

    /// The white list; a stored null reads as empty.
    pub fn white(&self) -> &[String] {
        self.whitelist.as_deref().unwrap_or_default()
    }

    /// The black list; a stored null reads as empty.
    pub fn black(&self) -> &[String] {
        self.blacklist.as_deref().unwrap_or_default()
    }

    /// The share of users that can be on: 0 when disabled, else the effective percentage; a null percentage counts as 0,
    /// since the hub answers with an error instead of "on" (rollout.md, "exposure").
    pub fn exposure(&self) -> Percent {
        if self.is_enabled() { self.percentage.effective().unwrap_or(Percent::ZERO) } else { Percent::ZERO }
    }

    /// Stored values that no operator would have meant, in words; empty for a healthy flag.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.enabled.is_none() {
            problems.push("enabled is null: the hub treats it as off".to_owned());
        }
        problems.extend(self.percentage.problem());
        for (name, list) in [("whitelist_users", &self.whitelist), ("blacklist_users", &self.blacklist)] {
            if list.is_none() {
                problems.push(format!("{name} is null: the hub fails (500) for every identified user"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_whole_numbers_from_0_to_100() {
        for (text, value) in [("0", 0), ("25", 25), ("25%", 25), ("100", 100), ("007", 7)] {
            assert_eq!(text.parse::<Percent>().map(Percent::get), Ok(value), "{text}");
        }
        for text in [
            "", "%", "-1", "101", "abc", "25.5", "1e1", "+25", " 25", "25 ", "٢٥", "1_0", "0.25%", "1000", "NaN", "inf",
        ] {
            assert_eq!(text.parse::<Percent>(), Err(PercentError::NotAPercentage), "{text}");
        }
    }

    #[test]
    fn a_fraction_is_refused_with_the_number_that_was_meant() {
        assert_eq!("0.25".parse::<Percent>(), Err(PercentError::Fraction(25)));
        assert_eq!("0.999".parse::<Percent>(), Err(PercentError::Fraction(100)));
    }

    #[test]
    fn flag_names_must_be_addressable() {
        for good in ["unified_llm_hub", "флаг", "a b", "flag:with:colon", "..."] {
            assert!(good.parse::<FlagKey>().is_ok(), "{good}");
        }
        for bad in ["a/b", ".", "..", "a\nb", "a\u{9b}b"] {
            assert_eq!(bad.parse::<FlagKey>(), Err(FlagKeyError::NotAddressable), "{bad:?}");
        }
        assert_eq!("".parse::<FlagKey>(), Err(FlagKeyError::Empty));
        assert_eq!("x".repeat(201).parse::<FlagKey>(), Err(FlagKeyError::TooLong));
    }

    #[test]
    fn stored_nonsense_counts_as_the_hub_counts_it() {
        #[track_caller]
        fn case(stored: StoredPercent, effective: Option<u8>, problems: usize) {
            assert_eq!(stored.effective().map(Percent::get), effective);
            assert_eq!(stored.problem().into_iter().count(), problems);
        }
        case(StoredPercent::Number(25), Some(25), 0);
        case(StoredPercent::Number(-5), Some(0), 1);
        case(StoredPercent::Number(150), Some(100), 1);
        case(StoredPercent::Number(i64::MIN), Some(0), 1);
        case(StoredPercent::Huge { negative: false, digits: "9".repeat(30) }, Some(100), 1);
        case(StoredPercent::Huge { negative: true, digits: "9".repeat(30) }, Some(0), 1);
        case(StoredPercent::Null, None, 1);
    }
}
