//! The time of a log record, read byte by byte: a log has millions of them.
//!
//! ISO 8601 with a blank or a `T`, a comma or a dot before the fraction, and any offset; without one it is UTC, as the hub's
//! formatter writes it. A bare number counts seconds or milliseconds since 1970.

/// A time of day at the start of a text: milliseconds since 1970, and how many bytes it takes.
pub(super) fn leading(text: &[u8]) -> Option<(i64, usize)> {
    let head: &[u8; 19] = text.first_chunk()?;
    if head[4] != b'-' || head[7] != b'-' || !matches!(head[10], b'T' | b' ') || head[13] != b':' || head[16] != b':' {
        return None;
    }
    let two = |at: usize| Some(i64::from(digit(*head.get(at)?)?) * 10 + i64::from(digit(*head.get(at + 1)?)?));
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    // A leap second is written as :60.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = head.len();
    let mut millis = 0;
    if matches!(text.get(at), Some(b'.' | b',')) && text.get(at + 1).copied().and_then(digit).is_some() {
        at += 1;
        let mut weight = 100;
        while let Some(digit) = text.get(at).copied().and_then(digit) {
            millis += i64::from(digit) * weight;
            weight /= 10;
            at += 1;
        }
    }
    let (offset, length) = offset(text.get(at..).unwrap_or_default());
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some((seconds * 1000 + millis, at + length))
}

/// A number of seconds or milliseconds since 1970.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // 1e11 seconds lie beyond the year 5000, 1e11 milliseconds in 1973.
    let millis = if value.abs() < 1e11 { value * 1e3 } else { value };
    // In range: a cast saturates, and what is out of range lies in no window.
    millis.is_finite().then_some(millis as i64)
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

/// Seconds east of UTC, and the bytes of the offset.
fn offset(text: &[u8]) -> (i64, usize) {
    let sign = match text {
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        [b'Z' | b'z', ..] => return (0, 1),
        _ => return (0, 0),
    };
    let pair = |high: &u8, low: &u8| Some(i64::from(digit(*high)?) * 10 + i64::from(digit(*low)?));
    let read = match text {
        [_, a, b, b':', c, d, ..] => pair(a, b).zip(pair(c, d)).map(|both| (both, 6)),
        [_, a, b, c, d, ..] => pair(a, b).zip(pair(c, d)).map(|both| (both, 5)),
        _ => None,
    };
    match read {
        Some(((hours, minutes), length)) => (sign * (hours * 3600 + minutes * 60), length),
        None => (0, 0),
    }
}

/// Days since 1970 in the Gregorian calendar, from years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        #[track_caller]
        fn case(text: &str, expected: &str, length: usize) {
            let expected: jiff::Timestamp = expected.parse().unwrap();
            assert_eq!(leading(text.as_bytes()), Some((expected.as_millisecond(), length)), "{text}");
        }
        case("2026-11-21 14:00:01,123 - llm_hub", "2026-11-21T14:00:01.123Z", 23);
        case("2026-11-21T14:00:01.123456", "2026-11-21T14:00:01.123Z", 26);
        case("2026-11-21T14:00:01Z x", "2026-11-21T14:00:01Z", 20);
        case("2026-11-21T14:00:01.5+02:00", "2026-11-21T12:00:01.5Z", 27);
        case("2026-11-21T14:00:01-0330", "2026-11-21T17:30:01Z", 24);
        case("2026-11-21T14:00:01 - x", "2026-11-21T14:00:01Z", 19);
        case("2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z", 20);
        case("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999Z", 30);
        case("2000-03-01T00:00:00", "2000-03-01T00:00:00Z", 19);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-11-21",
            "2026-13-01T00:00:00",
            "2026-00-01T00:00:00",
            "2026-01-01T24:00:00",
            "2026-01-01x00:00:00",
        ] {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        assert_eq!(number(b"1700000000.25"), Some(1_700_000_000_250));
        assert_eq!(number(b"1700000000250"), Some(1_700_000_000_250));
        assert_eq!(number(b"now"), None);
        assert_eq!(number(b"NaN"), None);
    }
}
