//! Is a flag on for a user? As the hub decides it, exceptions included (CONTRACT 3.6).
//!
//! Written apart from llmhub's own evaluation on purpose: two independent readings of the contract check each other.

use jiff::civil::DateTime;
use md5::{Digest, Md5};

use super::config::Config;

/// Python would have raised; the hub answers 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised;

/// Whether `flag` is on for `user` at `now` (naive UTC).
pub fn is_enabled(flag: &str, config: &Config, user: Option<&str>, now: DateTime) -> Result<bool, Raised> {
    let user = user.filter(|user| !user.is_empty());
    if config.enabled != Some(true) {
        return Ok(false);
    }
    if let Some(user) = user {
        if listed(config.blacklist_users.as_ref(), user)? {
            return Ok(false);
        }
        if listed(config.whitelist_users.as_ref(), user)? {
            return Ok(true);
        }
    }
    if let Some(start) = moment(config.start_date.as_deref())
        && now < start?
    {
        return Ok(false);
    }
    if let Some(end) = moment(config.end_date.as_deref())
        && now > end?
    {
        return Ok(false);
    }
    let percentage = config.percentage().ok_or(Raised)?;
    if percentage >= 100 {
        return Ok(true);
    }
    if percentage <= 0 {
        return Ok(false);
    }
    Ok(user.is_some_and(|user| bucket(flag, user) < percentage))
}

/// The word that a single read gives, which is less honest than the decision: dates and anonymous callers are all
/// `rollout_not_reached`.
pub fn reason(config: &Config, user: Option<&str>, enabled: bool) -> Result<String, Raised> {
    if config.enabled != Some(true) {
        return Ok("globally_disabled".to_owned());
    }
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        if listed(config.blacklist_users.as_ref(), user)? {
            return Ok("blacklisted".to_owned());
        }
        if listed(config.whitelist_users.as_ref(), user)? {
            return Ok("whitelisted".to_owned());
        }
    }
    if !enabled {
        return Ok("rollout_not_reached".to_owned());
    }
    let percentage = config.percentage().ok_or(Raised)?;
    Ok(if percentage >= 100 { "full_rollout".to_owned() } else { format!("rollout_{percentage}%") })
}

fn listed(list: Option<&Vec<String>>, user: &str) -> Result<bool, Raised> {
    list.map(|list| list.iter().any(|entry| entry == user)).ok_or(Raised)
}

/// The bucket, 0 to 99: the MD5 digest as one big-endian number, modulo 100.
fn bucket(flag: &str, user: &str) -> i128 {
    let digest = Md5::digest(format!("{user}:{flag}").as_bytes());
    i128::from(digest.iter().fold(0u32, |rest, byte| (rest * 256 + u32::from(*byte)) % 100))
}

/// A gate's moment: none for null, empty or unreadable text; raised for one with an offset, which Python refuses to compare
/// with a naive clock.
fn moment(text: Option<&str>) -> Option<Result<DateTime, Raised>> {
    match from_iso_format(text?)? {
        IsoMoment::Naive(moment) => Some(Ok(moment)),
        IsoMoment::Aware => Some(Err(Raised)),
    }
}

enum IsoMoment {
    Naive(DateTime),
    Aware,
}

/// `datetime.fromisoformat` of Python 3.10, which reads little more than what `isoformat` writes: `YYYY-MM-DD`, any one
/// character, `HH[:MM[:SS[.fff[fff]]]]`, and an offset `±HH:MM[:SS[.ffffff]]`.
fn from_iso_format(text: &str) -> Option<IsoMoment> {
    let date_part = text.get(..10)?;
    let (year, rest) = date_part.split_at(4);
    let (month, day) = rest.strip_prefix('-')?.split_once('-')?;
    let year = i16::try_from(digits(year, 4)?).ok().filter(|year| *year > 0)?;
    let (month, day) = (digits(month, 2)? as i8, digits(day, 2)? as i8);
    let date = jiff::civil::Date::new(year, month, day).ok()?;

    let mut after_date = text.get(10..)?.chars();
    if after_date.next().is_none() {
        return Some(IsoMoment::Naive(date.to_datetime(jiff::civil::Time::midnight())));
    }
    let clock = after_date.as_str();
    let Some(sign) = clock.find(['+', '-']) else {
        let read = read_clock(clock.as_bytes())?;
        return (read.rest == Rest::Nothing).then_some(IsoMoment::Naive(date.to_datetime(read.time()?)));
    };
    let offset = clock.as_bytes().get(sign + 1..)?;
    // Python does not look at what is left before the sign.
    read_clock(clock.as_bytes().get(..sign)?)?.time()?;
    let offset = matches!(offset.len(), 5 | 8 | 15).then(|| read_clock(offset))??;
    (offset.rest == Rest::Nothing && offset.parts[0] < 24).then_some(IsoMoment::Aware)
}

#[derive(PartialEq)]
enum Rest {
    Nothing,
    OneCharacter,
}

struct Clock {
    parts: [i32; 3],
    nanosecond: i32,
    rest: Rest,
}

impl Clock {
    fn time(&self) -> Option<jiff::civil::Time> {
        let [hour, minute, second] = self.parts;
        jiff::civil::Time::new(hour as i8, minute as i8, second as i8, self.nanosecond).ok()
    }
}

/// The C code of CPython 3.10 step by step, since it takes odd forms such as `12.500` and `12:30:45:123` too.
fn read_clock(text: &[u8]) -> Option<Clock> {
    let mut clock = Clock { parts: [0; 3], nanosecond: 0, rest: Rest::Nothing };
    let mut at = 0;
    for part in &mut clock.parts {
        *part = digits(std::str::from_utf8(text.get(at..at + 2)?).ok()?, 2)?;
        at += 2;
        match text.get(at) {
            None => return Some(clock),
            Some(_) if at + 1 == text.len() => {
                clock.rest = Rest::OneCharacter;
                return Some(clock);
            }
            Some(b':') => at += 1,
            Some(b'.') => {
                at += 1;
                break;
            }
            Some(_) => return None,
        }
    }
    let fraction = std::str::from_utf8(text.get(at..)?).ok()?;
    clock.nanosecond = match fraction.len() {
        3 => digits(fraction, 3)? * 1_000_000,
        _ => digits(fraction, 6)? * 1_000,
    };
    Some(clock)
}

fn digits(text: &str, count: usize) -> Option<i32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}
