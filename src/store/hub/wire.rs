//! The hub's JSON: what it says of flags, and what is sent to change one (CONTRACT 3).
//!
//! A list survives poisoned flags: null or oversized values become data with a problem. What is not a list of flags at all
//! is one sentence, and the body is never quoted.

use serde_json::{Map, Value, json};

use crate::domain::flags::{Flag, FlagKey, Member, StoredPercent};

/// The flags of one process, in the hub's order.
///
/// # Errors
/// A sentence that says what was expected.
pub fn flags(body: &[u8]) -> Result<Vec<Flag>, String> {
    let unexpected = |what: &str| format!("it answered something unexpected: {what}");
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| unexpected("the list of flags is not a JSON object"))?;
    body.into_iter()
        .map(|(name, config)| {
            let key: FlagKey = name.parse().map_err(|_| unexpected("a flag has a name that no URL can carry"))?;
            let Value::Object(config) = config else {
                return Err(unexpected("a flag is not a JSON object"));
            };
            Ok(flag(key, config))
        })
        .collect()
}

/// One flag from its nine members; whatever is missing or of the wrong type reads as null.
pub fn flag(key: FlagKey, mut config: Map<String, Value>) -> Flag {
    let mut take = |member: Member| config.remove(member.name()).unwrap_or(Value::Null);
    Flag {
        key,
        enabled: take(Member::Enabled).as_bool(),
        percentage: percentage(&take(Member::Percentage)),
        whitelist: users(take(Member::Whitelist)),
        blacklist: users(take(Member::Blacklist)),
        start: text(take(Member::Start)),
        end: text(take(Member::End)),
        description: text(take(Member::Description)),
        tags: users(take(Member::Tags)).unwrap_or_default(),
        owner: text(take(Member::Owner)),
        revision: None,
    }
}

fn percentage(value: &Value) -> StoredPercent {
    let Value::Number(number) = value else {
        return StoredPercent::Null;
    };
    if let Some(value) = number.as_i64() {
        return StoredPercent::Number(value);
    }
    let text = number.to_string();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        StoredPercent::Huge { negative, digits: digits.to_owned() }
    } else {
        StoredPercent::Null
    }
}

fn users(value: Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        return None;
    };
    items.into_iter().map(text).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The body of a PUT that makes `members` equal to those of `wanted`: only what changes, and never a null (CONTRACT 3.4:
/// a null is stored and poisons the flag).
///
/// # Errors
/// The first member that the hub cannot take over HTTP.
pub fn update(wanted: &Flag, members: &[Member]) -> Result<String, Member> {
    let mut body = Map::new();
    for member in members {
        let value = match member {
            Member::Percentage => wanted.percentage.effective().map(|percent| json!(percent)),
            member if Member::LIVE.contains(member) => Some(member.value(wanted)),
            _ => None,
        };
        match value {
            Some(value) if !value.is_null() => body.insert(member.name().to_owned(), value),
            _ => return Err(*member),
        };
    }
    Ok(Value::Object(body).to_string())
}

/// The flag that a PUT says it stored (`new_config`).
pub fn stored(key: &FlagKey, body: &[u8]) -> Option<Flag> {
    config(key, body, "new_config")
}

/// The flag that a POST to `disable` says it stored.
pub fn switched(key: &FlagKey, body: &[u8]) -> Option<Flag> {
    config(key, body, "config")
}

fn config(key: &FlagKey, body: &[u8], member: &str) -> Option<Flag> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    match body.remove(member)? {
        Value::Object(config) => Some(flag(key.clone(), config)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisoned_values_are_data() {
        let body =
            br#"{"f":{"enabled":null,"rollout_percentage":1000000000000000000000000000000,"whitelist_users":null,
            "blacklist_users":["a",1],"start_date":7}}"#;
        let flag = flags(body).unwrap().remove(0);
        assert_eq!(flag.percentage, StoredPercent::Huge { negative: false, digits: format!("1{}", "0".repeat(30)) });
        assert_eq!((flag.enabled, &flag.whitelist, &flag.blacklist, &flag.start), (None, &None, &None, &None));
        assert_eq!(flag.problems().len(), 4);
    }

    #[test]
    fn numbers_the_hub_can_hold_are_read_as_it_wrote_them() {
        #[track_caller]
        fn case(json: &str, expected: StoredPercent) {
            assert_eq!(percentage(&serde_json::from_str(json).unwrap()), expected);
        }
        case("25", StoredPercent::Number(25));
        case("-5", StoredPercent::Number(-5));
        case("9223372036854775807", StoredPercent::Number(i64::MAX));
        case("9223372036854775808", StoredPercent::Huge { negative: false, digits: "9223372036854775808".into() });
        case("-1e30", StoredPercent::Null);
        case("25.5", StoredPercent::Null);
        case("null", StoredPercent::Null);
        case("\"25\"", StoredPercent::Null);
    }

    #[test]
    fn what_is_not_a_list_of_flags_is_one_sentence() {
        for body in [&b"[]"[..], b"", b"{", b"<html>", b"{\"f\":1}", b"{\"a/b\":{}}", b"\xff"] {
            assert!(flags(body).unwrap_err().starts_with("it answered something unexpected"), "{body:?}");
        }
    }

    #[test]
    fn an_update_holds_only_what_changes_and_never_a_null() {
        let mut wanted = Flag::off("f".parse().unwrap());
        assert_eq!(update(&wanted, &[Member::Enabled]), Ok(r#"{"enabled":false}"#.to_owned()));
        wanted.percentage = StoredPercent::Number(25);
        assert_eq!(update(&wanted, &[Member::Percentage]), Ok(r#"{"rollout_percentage":25}"#.to_owned()));
        assert_eq!(update(&wanted, &[Member::Start]), Err(Member::Start));
        wanted.whitelist = None;
        assert_eq!(update(&wanted, &[Member::Whitelist]), Err(Member::Whitelist));
        wanted.percentage = StoredPercent::Null;
        assert_eq!(update(&wanted, &[Member::Percentage]), Err(Member::Percentage));
    }
}
