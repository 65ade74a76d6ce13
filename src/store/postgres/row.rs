//! A flag as a row, as an event's JSON, and back.
//!
//! Dates leave and enter as naive UTC, `YYYY-MM-DDTHH:MM:SS` with a six-digit fraction if there is one: the forms that the hub
//! reads on every Python (CONTRACT 3.6). What Postgres cannot store is refused before anything is sent.

use jiff::civil::DateTime;
use serde_json::{Map, Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::flags::{Flag, FlagKey, Member, Percent, StoredPercent};
use crate::store::StoreError;

/// The columns of a flag, in the form [`read`] expects.
macro_rules! columns {
    () => {
        "name, enabled, rollout_percentage, whitelist_users, blacklist_users, \
         to_char(start_date AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS start_date, \
         to_char(end_date AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS end_date, \
         description, tags, owner, revision"
    };
}
pub(super) use columns;

/// The flag in a row of [`columns`].
pub(super) fn read(row: &PgRow) -> Result<Flag, StoreError> {
    let wrong = |error: sqlx::Error| match error {
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Invalid(format!(
            "the column {index} of feature_flags has another type than llmhub's schema gives it"
        )),
        _ => StoreError::Invalid("feature_flags has other columns than llmhub's schema gives it".to_owned()),
    };
    let name: String = row.try_get("name").map_err(wrong)?;
    Ok(Flag {
        key: stored_key(&name)?,
        enabled: row.try_get("enabled").map_err(wrong)?,
        percentage: row
            .try_get::<Option<i32>, _>("rollout_percentage")
            .map_err(wrong)?
            .map_or(StoredPercent::Null, |value| StoredPercent::Number(value.into())),
        whitelist: row.try_get("whitelist_users").map_err(wrong)?,
        blacklist: row.try_get("blacklist_users").map_err(wrong)?,
        start: row.try_get::<Option<String>, _>("start_date").map_err(wrong)?.map(short),
        end: row.try_get::<Option<String>, _>("end_date").map_err(wrong)?.map(short),
        description: row.try_get("description").map_err(wrong)?,
        tags: row.try_get("tags").map_err(wrong)?,
        owner: row.try_get("owner").map_err(wrong)?,
        revision: Some(row.try_get("revision").map_err(wrong)?),
    })
}

fn stored_key(name: &str) -> Result<FlagKey, StoreError> {
    name.parse()
        .map_err(|error| StoreError::Invalid(format!("feature_flags holds a name that no flag can have: {error}")))
}

/// Without an empty fraction.
fn short(moment: String) -> String {
    moment.strip_suffix(".000000").map(str::to_owned).unwrap_or(moment)
}

/// `wanted` as this store will give it back, if it can hold `members` of it.
///
/// # Errors
/// [`StoreError::Refused`] naming the member.
pub(super) fn storable(wanted: &Flag, members: &[Member]) -> Result<Flag, StoreError> {
    let mut stored = wanted.clone();
    for member in members {
        match member {
            Member::Enabled if wanted.enabled.is_none() => return Err(refused(*member, "a null switch")),
            Member::Percentage => {
                let percent = wanted.percentage.as_i64().map(Percent::try_from);
                if !matches!(percent, Some(Ok(_))) {
                    return Err(refused(*member, "anything but a whole number from 0 to 100"));
                }
            }
            Member::Whitelist if wanted.whitelist.is_none() => return Err(refused(*member, "a null list")),
            Member::Blacklist if wanted.blacklist.is_none() => return Err(refused(*member, "a null list")),
            Member::Start => stored.start = moment(&wanted.start, *member)?,
            Member::End => stored.end = moment(&wanted.end, *member)?,
            _ => {}
        }
        if holds_nul(&member.value(wanted)) {
            return Err(refused(*member, "a NUL character"));
        }
    }
    Ok(stored)
}

fn refused(member: Member, what: &str) -> StoreError {
    StoreError::Refused(format!("the database cannot hold {what} as {}; nothing was written", member.name()))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        _ => false,
    }
}

fn moment(text: &Option<String>, member: Member) -> Result<Option<String>, StoreError> {
    text.as_deref()
        .map(|text| {
            canonical(text)
                .ok_or_else(|| refused(member, "a date that is not naive UTC in the form YYYY-MM-DDTHH:MM:SS"))
        })
        .transpose()
}

/// The one text of a moment: 19 characters, or 26 with a fraction.
fn canonical(text: &str) -> Option<String> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let in_form = whole.len() == FORM.len()
        && whole
            .bytes()
            .zip(FORM)
            .all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form });
    let fraction_in_form =
        fraction.is_none_or(|digits| (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
    if !in_form || !fraction_in_form || whole.starts_with("0000") || whole.ends_with("60") {
        return None;
    }
    whole.parse::<DateTime>().ok()?;
    match fraction.map(|digits| digits.trim_end_matches('0')) {
        None | Some("") => Some(whole.to_owned()),
        Some(digits) => Some(format!("{whole}.{digits:0<6}")),
    }
}

/// A flag as an event keeps it: the members under their names, and the revision.
pub(super) fn to_event(flag: &Flag, revision: i64) -> Value {
    let mut object = Map::new();
    object.insert("flag".to_owned(), json!(flag.key));
    for member in Member::ALL {
        object.insert(member.name().to_owned(), member.value(flag));
    }
    object.insert("revision".to_owned(), json!(revision));
    Value::Object(object)
}

/// The flag that an event kept; a member that is not there, or of another type, reads as unset.
pub(super) fn from_event(key: &FlagKey, object: &Value) -> Flag {
    let text = |member: Member| object.get(member.name()).and_then(Value::as_str).map(str::to_owned);
    let list = |member: Member| {
        let items = object.get(member.name())?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    Flag {
        key: key.clone(),
        enabled: object.get(Member::Enabled.name()).and_then(Value::as_bool),
        percentage: object
            .get(Member::Percentage.name())
            .and_then(Value::as_i64)
            .map_or(StoredPercent::Null, StoredPercent::Number),
        whitelist: list(Member::Whitelist),
        blacklist: list(Member::Blacklist),
        start: text(Member::Start),
        end: text(Member::End),
        description: text(Member::Description),
        tags: list(Member::Tags).unwrap_or_default(),
        owner: text(Member::Owner),
        revision: object.get("revision").and_then(Value::as_i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_one_form() {
        #[track_caller]
        fn case(text: &str, expected: Option<&str>) {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
        case("2026-01-31T23:59:59", Some("2026-01-31T23:59:59"));
        case("2026-01-31T00:00:00.5", Some("2026-01-31T00:00:00.500000"));
        case("2026-01-31T00:00:00.120000", Some("2026-01-31T00:00:00.120000"));
        case("2026-01-31T00:00:00.000", Some("2026-01-31T00:00:00"));
        case("2026-01-31T00:00:00.", None);
        case("2026-01-31T00:00:00.1234567", None);
        case("2026-01-31T00:00:00Z", None);
        case("2026-01-31T00:00:00+00:00", None);
        case("2026-01-31 00:00:00", None);
        case("2026-01-31", None);
        case("2026-02-30T00:00:00", None);
        case("2026-01-31T24:00:00", None);
        case("2026-01-31T23:59:60", None);
        case("0000-01-01T00:00:00", None);
        case("", None);
    }

    #[test]
    fn what_no_column_can_hold_is_refused_by_name() {
        let sound = Flag::off("f".parse().unwrap());
        assert_eq!(storable(&sound, &Member::ALL).unwrap(), sound);
        #[track_caller]
        fn case(edit: impl Fn(&mut Flag), member: Member) {
            let mut flag = Flag::off("f".parse().unwrap());
            edit(&mut flag);
            let error = storable(&flag, &Member::ALL).expect_err(member.name()).to_string();
            assert!(error.ends_with(&format!("as {}; nothing was written", member.name())), "{error}");
            let others: Vec<Member> = Member::ALL.into_iter().filter(|other| *other != member).collect();
            assert!(storable(&flag, &others).is_ok(), "{}", member.name());
        }
        case(|flag| flag.enabled = None, Member::Enabled);
        case(|flag| flag.percentage = StoredPercent::Null, Member::Percentage);
        case(|flag| flag.percentage = StoredPercent::Number(101), Member::Percentage);
        case(|flag| flag.percentage = StoredPercent::Number(-1), Member::Percentage);
        case(|flag| flag.whitelist = None, Member::Whitelist);
        case(|flag| flag.blacklist = None, Member::Blacklist);
        case(|flag| flag.whitelist = Some(vec!["a\0".to_owned()]), Member::Whitelist);
        case(|flag| flag.start = Some("tomorrow".to_owned()), Member::Start);
        case(|flag| flag.end = Some("2026-01-01T00:00:00Z".to_owned()), Member::End);
        case(|flag| flag.description = Some("\0".to_owned()), Member::Description);
        case(|flag| flag.tags = vec!["\0".to_owned()], Member::Tags);
        case(|flag| flag.owner = Some("\0".to_owned()), Member::Owner);
    }

    #[test]
    fn an_event_gives_back_the_flag_it_kept() {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.whitelist = Some(vec!["b".to_owned(), "a\u{1f600}".to_owned()]);
        flag.start = Some("2026-01-01T00:00:00.500000".to_owned());
        flag.tags = vec!["t".to_owned()];
        flag.revision = Some(7);
        assert_eq!(from_event(&flag.key, &to_event(&flag, 7)), flag);
    }
}
