//! A flag as a run keeps it: in its record before the first write, and as the values that a rung wants.

use serde::{Deserialize, Serialize};

use crate::domain::flags::{Flag, FlagKey, Member, Percent, StoredPercent};
use crate::store::Source;

/// The flag of one source before the first write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    source: String,
    enabled: Option<bool>,
    /// Decimal digits, since a hub stores numbers beyond 64 bits.
    rollout_percentage: Option<String>,
    whitelist_users: Option<Vec<String>>,
    blacklist_users: Option<Vec<String>>,
    start_date: Option<String>,
    end_date: Option<String>,
}

impl Snapshot {
    /// Of a flag that was read.
    pub fn of(source: Source, flag: &Flag) -> Self {
        let percentage = match &flag.percentage {
            StoredPercent::Number(value) => Some(value.to_string()),
            StoredPercent::Huge { negative, digits } => Some(format!("{}{digits}", if *negative { "-" } else { "" })),
            StoredPercent::Null => None,
        };
        Self {
            source: source.word().to_owned(),
            enabled: flag.enabled,
            rollout_percentage: percentage,
            whitelist_users: flag.whitelist.clone(),
            blacklist_users: flag.blacklist.clone(),
            start_date: flag.start.clone(),
            end_date: flag.end.clone(),
        }
    }

    /// Whether it is of this source.
    pub fn is_of(&self, source: Source) -> bool {
        self.source == source.word()
    }

    /// The flag again, by what decides who is on.
    pub fn flag(&self, key: &FlagKey) -> Flag {
        let percentage = match &self.rollout_percentage {
            None => StoredPercent::Null,
            Some(digits) => digits.parse().map_or_else(
                |_| StoredPercent::Huge {
                    negative: digits.starts_with('-'),
                    digits: digits.trim_start_matches('-').to_owned(),
                },
                StoredPercent::Number,
            ),
        };
        Flag {
            enabled: self.enabled,
            percentage,
            whitelist: self.whitelist_users.clone(),
            blacklist: self.blacklist_users.clone(),
            start: self.start_date.clone(),
            end: self.end_date.clone(),
            ..Flag::off(key.clone())
        }
    }
}

/// The members that a step up writes.
pub const STEPPED: [Member; 2] = [Member::Enabled, Member::Percentage];

/// The flag on a rung: switched on, at this percentage, everything else as before.
pub fn on_rung(before: &Flag, rung: Percent) -> Flag {
    Flag { enabled: Some(true), percentage: rung.into(), ..before.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::change::changed_members;

    #[test]
    fn a_flag_comes_back_from_its_snapshot_as_it_was() {
        #[track_caller]
        fn case(flag: Flag) {
            let text = serde_json::to_string(&Snapshot::of(Source::Hub, &flag)).unwrap();
            let back: Snapshot = serde_json::from_str(&text).unwrap();
            assert_eq!(changed_members(&back.flag(&flag.key), &flag), []);
            assert!(back.is_of(Source::Hub) && !back.is_of(Source::Db));
        }
        let key: FlagKey = "unified_llm_hub".parse().unwrap();
        case(Flag::off(key.clone()));
        case(Flag { percentage: StoredPercent::Null, whitelist: None, enabled: None, ..Flag::off(key.clone()) });
        case(Flag {
            percentage: StoredPercent::Huge { negative: true, digits: "9".repeat(30) },
            blacklist: Some(vec!["ünï".to_owned()]),
            start: Some("2026-01-01T00:00:00".to_owned()),
            ..Flag::off(key)
        });
    }
}
