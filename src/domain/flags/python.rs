//! How the hub's Python 3.10 reads text: `datetime.fromisoformat`, `int()` and `str.strip()`.
//!
//! What parses here parses in the hub and with the same value; what is refused here is refused there (CONTRACT 3.6, 3.7).
//! CPython's oddities are rules too: what they accept decides whether a gate is open.

use jiff::civil::DateTime;

/// What `datetime.fromisoformat` makes of a text that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsoDate {
    /// Without an offset: the hub compares it with its naive UTC clock.
    Naive(DateTime),
    /// With a UTC offset: the comparison with a naive clock raises.
    Aware,
}

/// `datetime.fromisoformat` of CPython 3.10; `None` is a `ValueError`.
pub fn fromisoformat(text: &str) -> Option<IsoDate> {
    let bytes = text.as_bytes();
    let year = digits(bytes, 0, 4)?;
    let month = digits(bytes, 5, 2)?;
    let day = digits(bytes, 8, 2)?;
    if byte(bytes, 4) != b'-' || byte(bytes, 7) != b'-' {
        return None;
    }
    let (clock, zone) = match text.get(10..).and_then(|rest| rest.chars().next()) {
        None => (Clock::default(), Zone::None),
        // Any one character separates date and time.
        Some(separator) => time(bytes, 10 + separator.len_utf8())?,
    };
    let whole = |number: i32| i8::try_from(number).ok();
    let naive = DateTime::new(
        i16::try_from(year).ok().filter(|year| *year >= 1)?,
        whole(month)?,
        whole(day)?,
        whole(clock.hour)?,
        whole(clock.minute)?,
        whole(clock.second)?,
        clock.microsecond * 1000,
    )
    .ok()?;
    match zone {
        Zone::None => Some(IsoDate::Naive(naive)),
        Zone::Offset => Some(IsoDate::Aware),
    }
}

#[derive(Clone, Copy, Default)]
struct Clock {
    hour: i32,
    minute: i32,
    second: i32,
    microsecond: i32,
}

enum Zone {
    None,
    Offset,
}

/// Whether a clock text used all of its bytes. CPython looks at the byte *behind* its window, which for a time with an
/// offset is the sign, so it forgives one stray character there: `12:00x+00:00` parses.
#[derive(PartialEq)]
enum Rest {
    Nothing,
    Something,
}

fn time(bytes: &[u8], start: usize) -> Option<(Clock, Zone)> {
    let sign = (start..bytes.len()).find(|at| matches!(byte(bytes, *at), b'+' | b'-'));
    let (clock, rest) = clock(bytes, start, sign.unwrap_or(bytes.len()))?;
    let Some(sign) = sign else {
        return (rest == Rest::Nothing).then_some((clock, Zone::None));
    };
    // `+HH:MM`, `+HH:MM:SS` or `+HH:MM:SS.ffffff`, told apart by length alone.
    if !matches!(bytes.len() - sign, 6 | 9 | 16) {
        return None;
    }
    let (offset, rest) = self::clock(bytes, sign + 1, bytes.len())?;
    let seconds = offset.hour * 3600 + offset.minute * 60 + offset.second;
    (rest == Rest::Nothing && seconds < 24 * 3600).then_some((clock, Zone::Offset))
}

/// `HH[:MM[:SS[.fff[fff]]]]` between `start` and `end`; the fraction may follow any field, and a colon may stand for its dot.
fn clock(bytes: &[u8], start: usize, end: usize) -> Option<(Clock, Rest)> {
    let mut fields = [0; 3];
    let mut at = start;
    let mut ended = None;
    for field in &mut fields {
        *field = digits(bytes, at, 2)?;
        let separator = byte(bytes, at + 2);
        at += 3;
        if at >= end {
            ended = Some(if separator == 0 { Rest::Nothing } else { Rest::Something });
            break;
        }
        match separator {
            b':' => {}
            b'.' => break,
            _ => return None,
        }
    }
    if let Some(rest) = ended {
        return Some((with(fields, 0), rest));
    }
    let microsecond = match end - at {
        3 => digits(bytes, at, 3)? * 1000,
        6 => digits(bytes, at, 6)?,
        _ => return None,
    };
    let rest = if byte(bytes, end) == 0 { Rest::Nothing } else { Rest::Something };
    Some((with(fields, microsecond), rest))
}

fn with([hour, minute, second]: [i32; 3], microsecond: i32) -> Clock {
    Clock { hour, minute, second, microsecond }
}

/// The byte at `at`, or the NUL that ends every C string.
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Exactly `count` ASCII digits, at most six.
fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i32> {
    let mut value = 0;
    for offset in 0..count {
        let digit = byte(bytes, at + offset);
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i32::from(digit - b'0');
    }
    Some(value)
}

/// A whole number of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Below zero.
    pub negative: bool,
    /// ASCII digits without leading zeros; zero is `0`.
    pub digits: String,
}

/// `int(text)`; `None` is a `ValueError`. Blanks around it, one sign, single underscores between digits and every Unicode
/// decimal digit are fine; more than 4,300 digits are not (CPython 3.10.7 and later).
pub fn int(text: &str) -> Option<Integer> {
    const MOST_DIGITS: usize = 4300;
    let text = text.trim_matches(is_int_blank);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut digits = String::with_capacity(text.len());
    for group in text.split('_') {
        if group.is_empty() {
            return None;
        }
        for character in group.chars() {
            digits.push(decimal(character)?);
        }
    }
    if digits.len() > MOST_DIGITS {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Integer { negative: false, digits: "0".to_owned() });
    }
    Some(Integer { negative, digits: significant.to_owned() })
}

/// `int()` takes C's blanks and Python's beyond ASCII, but not U+001C to U+001F, which `strip()` does take.
fn is_int_blank(character: char) -> bool {
    matches!(character, '\t'..='\r' | ' ') || (!character.is_ascii() && character.is_whitespace())
}

/// `text.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// `character.isspace()`.
pub fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// The ASCII digit of a decimal digit of any script.
fn decimal(character: char) -> Option<char> {
    let code = u32::from(character);
    let run = ZEROS.partition_point(|zero| *zero <= code).checked_sub(1)?;
    char::from_digit(code - ZEROS.get(run)?, 10)
}

/// The zeros of Unicode 13, the version of Python 3.10; the nine digits follow each.
const ZEROS: [u32; 65] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0,
    0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60,
    0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What CPython 3.10.13 itself answered.
    fn recorded() -> Value {
        serde_json::from_str(include_str!("../../../tests/data/python310.json")).unwrap()
    }

    fn pairs(name: &str) -> Vec<(String, Option<String>)> {
        serde_json::from_value(recorded()[name].clone()).unwrap()
    }

    #[test]
    fn dates_parse_as_cpython_parses_them() {
        let pairs = pairs("fromisoformat");
        assert_eq!(pairs.len(), 2600);
        for (text, expected) in pairs {
            let ours = fromisoformat(&text).map(|date| match date {
                IsoDate::Aware => "aware".to_owned(),
                IsoDate::Naive(naive) => naive.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string(),
            });
            assert_eq!(ours, expected, "{text:?}");
        }
    }

    #[test]
    fn whole_numbers_parse_as_cpython_parses_them() {
        for (text, expected) in pairs("int") {
            let ours = int(&text).map(|int| format!("{}{}", if int.negative { "-" } else { "" }, int.digits));
            assert_eq!(ours, expected, "{text:?}");
        }
    }

    #[test]
    fn more_than_4300_digits_are_refused() {
        assert!(int(&"1".repeat(4300)).is_some());
        assert!(int(&"1".repeat(4301)).is_none());
        assert!(int(&"0".repeat(4301)).is_none());
    }

    #[test]
    fn every_decimal_digit_of_unicode_13_counts_and_no_other() {
        let digits: Vec<u32> = serde_json::from_value(recorded()["decimal_digits"].clone()).unwrap();
        let ours: Vec<u32> =
            (0..=0x10ffff).filter(|code| char::from_u32(*code).is_some_and(|c| decimal(c).is_some())).collect();
        assert_eq!(ours, digits);
    }

    #[test]
    fn blanks_are_pythons_blanks() {
        for (name, expected) in [("isspace", true), ("not_isspace", false)] {
            let characters: Vec<char> = serde_json::from_value(recorded()[name].clone()).unwrap();
            for character in characters {
                assert_eq!(is_blank(character), expected, "{character:?}");
            }
        }
        assert_eq!(strip("\u{1f} a b\u{a0}\n"), "a b");
    }
}
