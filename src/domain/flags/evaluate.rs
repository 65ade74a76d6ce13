//! Whether a flag is on for a user, and why: the hub's own answer, computed here.
//!
//! Same order of checks, same hash, same failures (CONTRACT 3.6); held to the hub by its golden vectors. The reasons are
//! more honest than the hub's, which says `rollout_not_reached` for a closed gate and for an anonymous user too.

use jiff::civil::DateTime;
use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

use super::flag::{Flag, FlagKey, StoredPercent};
use super::python::{IsoDate, fromisoformat};

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The main switch is off, or a stored null.
    GloballyDisabled,
    /// On the black list.
    Blacklisted,
    /// On the white list, which beats dates and percentage.
    Whitelisted,
    /// Before the first moment.
    NotStarted,
    /// After the last moment.
    Ended,
    /// The percentage is 100 or more.
    FullRollout,
    /// The user's bucket is below the percentage.
    InRollout,
    /// The user's bucket is not below the percentage, or the percentage is 0 or less.
    RolloutNotReached,
    /// No id, and the percentage is between 0 and 100.
    Anonymous,
    /// The hub itself fails (500): a stored null or a date with an offset.
    HubError,
}

impl Reason {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::GloballyDisabled => "globally_disabled",
            Self::Blacklisted => "blacklisted",
            Self::Whitelisted => "whitelisted",
            Self::NotStarted => "not_started",
            Self::Ended => "ended",
            Self::FullRollout => "full_rollout",
            Self::InRollout => "in_rollout",
            Self::RolloutNotReached => "rollout_not_reached",
            Self::Anonymous => "anonymous",
            Self::HubError => "hub_error",
        }
    }

    /// The word in the hub's answer for `flag` (CONTRACT 3.2); `None` where it answers with an error.
    pub fn hub_word(self, flag: &Flag) -> Option<String> {
        match self {
            Self::GloballyDisabled | Self::Blacklisted | Self::Whitelisted | Self::FullRollout => {
                Some(self.word().to_owned())
            }
            Self::NotStarted | Self::Ended | Self::RolloutNotReached | Self::Anonymous => {
                Some(Self::RolloutNotReached.word().to_owned())
            }
            Self::InRollout => flag.percentage.as_i64().map(|share| format!("rollout_{share}%")),
            Self::HubError => None,
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The answer for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether the flag is on; `None` where the hub fails.
    pub enabled: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// The user's bucket, 0 to 99, also where another rule decided; `None` for an anonymous user.
    pub bucket: Option<u8>,
}

/// Whether `flag` is on for `user` at `now`, which is naive UTC. An empty id is the anonymous user.
pub fn evaluate(flag: &Flag, user: Option<&str>, now: DateTime) -> Decision {
    let user = user.filter(|user| !user.is_empty());
    let bucket = user.map(|user| bucket(user, &flag.key));
    let reason = reason(flag, user, bucket, now);
    let enabled = match reason {
        Reason::Whitelisted | Reason::FullRollout | Reason::InRollout => Some(true),
        Reason::GloballyDisabled
        | Reason::Blacklisted
        | Reason::NotStarted
        | Reason::Ended
        | Reason::RolloutNotReached
        | Reason::Anonymous => Some(false),
        Reason::HubError => None,
    };
    Decision { enabled, reason, bucket }
}

/// The first rule that decides, in the hub's order.
fn reason(flag: &Flag, user: Option<&str>, bucket: Option<u8>, now: DateTime) -> Reason {
    if !flag.is_enabled() {
        return Reason::GloballyDisabled;
    }
    if let Some(user) = user {
        let holds = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.iter().any(|listed| listed == user));
        match holds(&flag.blacklist) {
            None => return Reason::HubError,
            Some(true) => return Reason::Blacklisted,
            Some(false) => {}
        }
        match holds(&flag.whitelist) {
            None => return Reason::HubError,
            Some(true) => return Reason::Whitelisted,
            Some(false) => {}
        }
    }
    match gate(flag, now) {
        Ok(()) => by_percentage(&flag.percentage, bucket),
        Err(closed) => closed,
    }
}

/// Whether the dates let anybody through, else why not. The start is looked at first, so that a start in the future shields
/// an end that the hub cannot compare.
pub(super) fn gate(flag: &Flag, now: DateTime) -> Result<(), Reason> {
    // The hub's clock counts microseconds.
    let now = now.with().nanosecond(0).build().unwrap_or(now);
    let bound = |stored: &Option<String>| match stored.as_deref().and_then(fromisoformat) {
        // No date, an empty one, or one that Python cannot read.
        None => Ok(None),
        Some(IsoDate::Naive(bound)) => Ok(Some(bound)),
        Some(IsoDate::Aware) => Err(Reason::HubError),
    };
    if bound(&flag.start)?.is_some_and(|start| now < start) {
        return Err(Reason::NotStarted);
    }
    if bound(&flag.end)?.is_some_and(|end| now > end) {
        return Err(Reason::Ended);
    }
    Ok(())
}

fn by_percentage(stored: &StoredPercent, bucket: Option<u8>) -> Reason {
    match (stored.effective().map(|share| share.get()), bucket) {
        (None, _) => Reason::HubError,
        (Some(100..), _) => Reason::FullRollout,
        (Some(0), _) => Reason::RolloutNotReached,
        (Some(_), None) => Reason::Anonymous,
        (Some(share), Some(bucket)) if bucket < share => Reason::InRollout,
        (Some(_), Some(_)) => Reason::RolloutNotReached,
    }
}

/// The bucket of `user` for the flag `key`, 0 to 99: MD5 of the UTF-8 bytes `user:key`, read as one big-endian number, modulo
/// 100. Nothing is normalised, and nothing is allocated.
pub fn bucket(user: &str, key: &FlagKey) -> u8 {
    let digest = Md5::new().chain_update(user).chain_update(":").chain_update(key.as_str()).finalize();
    let remainder = u128::from_be_bytes(digest.into()) % 100;
    // Below 100, so it always fits.
    u8::try_from(remainder).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::domain::flags::Percent;

    /// What the hub's own evaluator answered.
    fn recorded() -> Value {
        serde_json::from_str(include_str!("../../../tests/data/evaluation-vectors.json")).unwrap()
    }

    fn flag(name: &Value, config: &Value) -> Flag {
        let mut flag = Flag::off(name.as_str().unwrap().parse().unwrap());
        flag.enabled = config["enabled"].as_bool();
        flag.percentage = match &config["rollout_percentage"] {
            Value::Null => StoredPercent::Null,
            number => StoredPercent::Number(number.as_i64().unwrap()),
        };
        let list = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        flag.whitelist = list(&config["whitelist_users"]);
        flag.blacklist = list(&config["blacklist_users"]);
        flag.start = config["start_date"].as_str().map(str::to_owned);
        flag.end = config["end_date"].as_str().map(str::to_owned);
        flag
    }

    #[test]
    fn every_recorded_configuration_gets_the_hubs_answer() {
        let recorded = recorded();
        let now: DateTime = recorded["now"].as_str().unwrap().parse().unwrap();
        let cases = recorded["config_cases"].as_array().unwrap();
        assert_eq!(cases.len(), 80);
        for case in cases {
            let flag = flag(&case["flag"], &case["config"]);
            let decision = evaluate(&flag, case["user_id"].as_str(), now);
            let expected = &case["expected_py310"];
            let name = &case["name"];
            assert_eq!(decision.enabled, expected["is_enabled"]["enabled"].as_bool(), "{name}");
            let hub_fails = expected["http"]["status"] == 500;
            assert_eq!(decision.reason == Reason::HubError, hub_fails, "{name}");
            assert_eq!(decision.reason.hub_word(&flag).as_deref(), expected["http"]["reason"].as_str(), "{name}");
        }
    }

    #[test]
    fn every_recorded_bucket_and_percentage_gets_the_hubs_answer() {
        let recorded = recorded();
        let cases = recorded["bucket_cases"].as_array().unwrap();
        assert_eq!(cases.len(), 1000);
        let now = date(2026, 1, 15).at(12, 0, 0, 0);
        for case in cases {
            let mut config = recorded["bucket_cases_config"].clone();
            for (percentage, enabled) in case["enabled_at"].as_object().unwrap() {
                config["rollout_percentage"] = percentage.parse::<i64>().unwrap().into();
                let decision = evaluate(&flag(&case["flag"], &config), case["user_id"].as_str(), now);
                assert_eq!(decision.enabled, enabled.as_bool(), "{case}");
                assert_eq!(decision.bucket.map(u64::from), case["bucket"].as_u64(), "{case}");
            }
        }
    }

    #[test]
    fn buckets_of_the_runbook() {
        let key: FlagKey = "unified_llm_hub".parse().unwrap();
        #[track_caller]
        fn case(user: &str, key: &FlagKey, expected: u8) {
            assert_eq!(bucket(user, key), expected, "{user}");
        }
        case("user-0001", &key, 14);
        case("bob", &key, 42);
        case("Alice@Example.com", &key, 22);
        case("ALICE@example.com", &key, 13);
        let on = |share: u8| (1..=10_000).filter(|n| bucket(&format!("user-{n:04}"), &key) < share).count();
        assert_eq!([on(10), on(25), on(50)], [967, 2473, 4966]);
    }

    #[test]
    fn each_rule_says_its_own_reason_and_the_hubs() {
        let mut healthy = Flag::off("f".parse().unwrap());
        healthy.enabled = Some(true);
        healthy.percentage = StoredPercent::Number(50);
        healthy.whitelist = Some(vec!["white".into(), "both".into()]);
        healthy.blacklist = Some(vec!["black".into(), "both".into()]);
        #[track_caller]
        fn case(flag: &Flag, edit: impl Fn(&mut Flag), user: Option<&str>, word: &str, hub: Option<&str>) {
            let mut flag = flag.clone();
            edit(&mut flag);
            let decision = evaluate(&flag, user, date(2026, 1, 15).at(12, 0, 0, 0));
            assert_eq!(decision.reason.word(), word);
            assert_eq!(decision.reason.hub_word(&flag).as_deref(), hub);
            assert_eq!(decision.bucket.is_none(), user.is_none_or(str::is_empty), "{word}");
        }
        let same = |_: &mut Flag| {};
        let missed = Some("rollout_not_reached");
        case(&healthy, |flag| flag.enabled = None, Some("white"), "globally_disabled", Some("globally_disabled"));
        case(&healthy, same, Some("both"), "blacklisted", Some("blacklisted"));
        case(&healthy, |flag| flag.whitelist = None, Some("black"), "blacklisted", Some("blacklisted"));
        case(&healthy, |flag| flag.end = Some("2000-01-01".into()), Some("white"), "whitelisted", Some("whitelisted"));
        case(&healthy, |flag| flag.start = Some("2027-01-01".into()), Some("u"), "not_started", missed);
        case(&healthy, |flag| flag.end = Some("2026-01-15".into()), Some("u"), "ended", missed);
        case(&healthy, |flag| flag.percentage = StoredPercent::Number(150), None, "full_rollout", Some("full_rollout"));
        case(&healthy, same, None, "anonymous", missed);
        case(&healthy, same, Some(""), "anonymous", missed);
        case(&healthy, |flag| flag.percentage = StoredPercent::Number(0), None, "rollout_not_reached", missed);
        case(&healthy, |flag| flag.percentage = StoredPercent::Number(-5), Some("u"), "rollout_not_reached", missed);
        case(
            &healthy,
            |flag| flag.percentage = StoredPercent::Number(99),
            Some("u"),
            "in_rollout",
            Some("rollout_99%"),
        );
        case(&healthy, |flag| flag.percentage = StoredPercent::Null, None, "hub_error", None);
        case(&healthy, |flag| flag.blacklist = None, Some("white"), "hub_error", None);
        case(&healthy, |flag| flag.start = Some("2026-01-01T00:00:00+00:00".into()), None, "hub_error", None);
    }

    #[test]
    fn both_bounds_are_inside_to_the_microsecond() {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.enabled = Some(true);
        flag.percentage = StoredPercent::Number(100);
        flag.start = Some("2026-01-15T12:00:00".into());
        flag.end = Some("2026-01-15T12:00:00".into());
        let at = |nanosecond| evaluate(&flag, None, date(2026, 1, 15).at(12, 0, 0, nanosecond)).reason;
        assert_eq!([at(0), at(999), at(1000)], [Reason::FullRollout, Reason::FullRollout, Reason::Ended]);
    }

    #[test]
    fn a_decision_is_written_with_the_words_of_the_contract() {
        let decision = Decision { enabled: None, reason: Reason::HubError, bucket: Some(7) };
        assert_eq!(serde_json::to_string(&decision).unwrap(), r#"{"enabled":null,"reason":"hub_error","bucket":7}"#);
    }

    proptest! {
        #[test]
        fn raising_the_percentage_never_takes_anybody_off(user in ".{0,40}", name in "[a-z_]{1,20}", low in 0_i64..=100, high in 0_i64..=100) {
            let (low, high) = (low.min(high), low.max(high));
            let mut flag = Flag::off(name.parse().unwrap());
            flag.enabled = Some(true);
            let now = date(2026, 1, 15).at(12, 0, 0, 0);
            let mut on = |share: i64| {
                flag.percentage = Percent::try_from(share).unwrap().into();
                evaluate(&flag, Some(&user), now).enabled
            };
            prop_assert!(on(low) == Some(false) || on(high) == Some(true));
        }

        #[test]
        fn a_bucket_is_the_digest_modulo_100(user in "\\PC{0,300}") {
            let digest = Md5::digest(format!("{user}:f"));
            let by_bytes = digest.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 100);
            prop_assert_eq!(u32::from(bucket(&user, &"f".parse().unwrap())), by_bytes);
        }
    }
}
