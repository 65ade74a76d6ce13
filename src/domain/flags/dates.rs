//! The two ends of a flag's schedule: what an operator may type, and what the hub really does with what is stored.
//!
//! Every unambiguous time is accepted and one form is written, naive UTC `YYYY-MM-DDTHH:MM:SS`, because that is the only
//! one that every Python reads alike. A stored value in any other form is told apart by its effect (rollout.md 2).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time};
use jiff::fmt::rfc2822;
use jiff::tz::Offset;

use super::flag::Flag;
use super::python::{IsoDate, fromisoformat};

/// One end of a schedule. Both are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The first moment.
    Start,
    /// The last moment.
    End,
}

impl Bound {
    /// Its name in documents.
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start_date",
            Self::End => "end_date",
        }
    }
}

/// What the hub does with a stored date that its author did not mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateProblem {
    /// Python 3.10 cannot read it, so the hub goes on as if there were none.
    #[error("{} is not a date that the hub's Python 3.10 reads: it is ignored, and this end of the schedule is open", .0.name())]
    Ignored(Bound),
    /// An aware time cannot be compared with a naive one.
    #[error("{} carries a UTC offset: the hub fails (500) for every user whose answer depends on it", .0.name())]
    Offset(Bound),
    /// A date alone is its own midnight, so the last day is not part of the schedule.
    #[error("end_date is a day without a time: the flag ends at 00:00:00 UTC of that day, not after it")]
    EndsAtMidnight,
    /// No moment is inside.
    #[error("start_date is after end_date: the flag is never on, except for the white list")]
    NeverOpen,
}

/// What is wrong with one stored date; `None` for no date, an empty text, and what works as written.
pub fn lint(bound: Bound, stored: Option<&str>) -> Option<DateProblem> {
    let stored = stored.filter(|text| !text.is_empty())?;
    match (fromisoformat(stored), bound) {
        (None, _) => Some(DateProblem::Ignored(bound)),
        (Some(IsoDate::Aware), _) => Some(DateProblem::Offset(bound)),
        // Ten bytes are the date alone: every longer text has a time.
        (Some(IsoDate::Naive(_)), Bound::End) if stored.len() == 10 => Some(DateProblem::EndsAtMidnight),
        (Some(IsoDate::Naive(_)), _) => None,
    }
}

/// The stored bound in the one form that every source and every Python reads: no date at all for an empty one, and
/// `YYYY-MM-DDTHH:MM:SS` for what the hub can read. What it cannot read stays as it is.
pub fn canonical(stored: Option<&str>) -> Option<String> {
    let stored = stored.filter(|text| !text.is_empty())?;
    Some(match fromisoformat(stored) {
        Some(IsoDate::Naive(moment)) => moment.to_string(),
        Some(IsoDate::Aware) | None => stored.to_owned(),
    })
}

/// What is wrong with the schedule of `flag`, in words for a person; empty when the hub does what is written there.
pub fn problems(flag: &Flag) -> Vec<String> {
    let ends = [(Bound::Start, flag.start.as_deref()), (Bound::End, flag.end.as_deref())];
    let mut problems: Vec<DateProblem> = ends.into_iter().filter_map(|(bound, stored)| lint(bound, stored)).collect();
    let naive = |stored: Option<&str>| stored.and_then(fromisoformat);
    if let [Some(IsoDate::Naive(start)), Some(IsoDate::Naive(end))] = ends.map(|(_, stored)| naive(stored))
        && start > end
    {
        problems.push(DateProblem::NeverOpen);
    }
    problems.iter().map(ToString::to_string).collect()
}

/// Whether a typed time named a whole day or a moment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Day,
    Second,
}

/// A moment that an operator typed, in UTC and whole seconds, within the years 1 to 9999.
///
/// Its text is the one form that is written: `YYYY-MM-DDTHH:MM:SS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    at: DateTime,
    grain: Grain,
}

impl Moment {
    /// The moment as naive UTC.
    pub fn datetime(&self) -> DateTime {
        self.at
    }

    /// What to tell an operator who sets this as that end: a day alone means its first second.
    pub fn caution(&self, bound: Bound) -> Option<DateProblem> {
        (self.grain == Grain::Day && bound == Bound::End).then_some(DateProblem::EndsAtMidnight)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.at.date(), self.at.time());
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())?;
        write!(f, "T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
    }
}

/// Why a text is not a moment that can be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    /// The written form has no fractions, and cutting one off would move the moment.
    #[error("fractions of a second cannot be kept; give whole seconds")]
    Fraction,
    /// No Python reads second 60.
    #[error("second 60 cannot be written; give the second before or after it")]
    LeapSecond,
    /// The rules of a named zone change, and an hour of it happens twice.
    #[error("a zone's name is ambiguous; give the offset, such as 2026-01-31T18:00:00+01:00")]
    ZoneName,
    /// Python's dates are those of the years 1 to 9999.
    #[error("the year must be from 1 to 9999")]
    Year,
    /// Nothing that can be understood in one way only.
    #[error("not a time; write 2026-01-31T18:00:00Z, 2026-01-31T18:00:00+01:00, or 2026-01-31 18:00 (UTC)")]
    NotATime,
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let text = typed.trim();
        if text.contains('[') {
            return Err(MomentError::ZoneName);
        }
        if names_second_60(text) {
            return Err(MomentError::LeapSecond);
        }
        let (at, grain) = match day(text) {
            Some(at) => (at, Grain::Day),
            None => (second(text).ok_or(MomentError::NotATime)?, Grain::Second),
        };
        if at.subsec_nanosecond() != 0 {
            return Err(MomentError::Fraction);
        }
        if !(1..=9999).contains(&at.year()) {
            return Err(MomentError::Year);
        }
        Ok(Self { at, grain })
    }
}

/// A date alone: `2026-01-31`, `20260131` or `2026-W05-6`. Longer runs of digits could be seconds since 1970.
fn day(text: &str) -> Option<DateTime> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let date = match text.len() {
        8 if is_digits(text) => text.parse::<Date>().ok()?,
        10 if text.get(5..6) == Some("W") => text.parse::<ISOWeekDate>().ok()?.date(),
        10 if text.split('-').map(str::len).eq([4, 2, 2]) => text.parse::<Date>().ok()?,
        _ => return None,
    };
    Some(date.to_datetime(Time::midnight()))
}

/// A date with a time. Without an offset it is UTC.
fn second(text: &str) -> Option<DateTime> {
    let utc = |at: Timestamp| Offset::UTC.to_datetime(at);
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return rfc2822::parse(text).ok().map(|zoned| utc(zoned.timestamp()));
    }
    // Two spellings that people use and RFC 3339 does not: `… UTC` and a blank before the offset.
    let mut text = text.to_owned();
    if let Some((moment, zone)) = text.rsplit_once(' ') {
        match zone {
            "UTC" | "GMT" | "Z" => text = format!("{moment}Z"),
            _ if zone.starts_with(['+', '-']) => text = format!("{moment}{zone}"),
            _ => {}
        }
    }
    let clock = text.split_once(['T', 't', ' '])?.1;
    if clock.contains(['+', '-', 'Z', 'z']) {
        // A civil parser would accept an offset and forget it.
        return text.parse().ok().map(utc);
    }
    text.parse().ok()
}

/// Whether the time names a leap second, which the parser would quietly turn into second 59.
fn names_second_60(text: &str) -> bool {
    let Some((_, clock)) = text.split_once(['T', 't', ' ']) else { return false };
    let clock = clock.split(['+', '-', 'Z', 'z', '.', ',']).next().unwrap_or_default();
    let digits: String = clock.chars().filter(char::is_ascii_digit).collect();
    digits.get(4..6) == Some("60") || clock.split(':').nth(2).is_some_and(|seconds| seconds.starts_with("60"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unambiguous_time_becomes_naive_utc() {
        #[track_caller]
        fn case(typed: &str, written: &str) {
            assert_eq!(typed.parse::<Moment>().map(|moment| moment.to_string()), Ok(written.to_owned()), "{typed}");
        }
        case("2026-01-31", "2026-01-31T00:00:00");
        case("20260131", "2026-01-31T00:00:00");
        case("2026-W05-6", "2026-01-31T00:00:00");
        case("2026-01-31 18:00", "2026-01-31T18:00:00");
        case("2026-01-31 18:00:05", "2026-01-31T18:00:05");
        case("2026-01-31T18:00", "2026-01-31T18:00:00");
        case("2026-01-31T18:00:05", "2026-01-31T18:00:05");
        case("2026-01-31T18:00:05Z", "2026-01-31T18:00:05");
        case("2026-01-31t18:00:05z", "2026-01-31T18:00:05");
        case("2026-01-31T18:00:05+01:00", "2026-01-31T17:00:05");
        case("2026-01-31T18:00:05-0800", "2026-02-01T02:00:05");
        case("2026-01-31 18:00:05 +0530", "2026-01-31T12:30:05");
        case("2026-01-31 18:00 UTC", "2026-01-31T18:00:00");
        case("2026-01-31T18:00:05 UTC", "2026-01-31T18:00:05");
        case("20260131T180005Z", "2026-01-31T18:00:05");
        case("2026-01-31T18:00:05.000Z", "2026-01-31T18:00:05");
        case("Sat, 31 Jan 2026 18:00:05 +0000", "2026-01-31T18:00:05");
        case("  2026-01-31  ", "2026-01-31T00:00:00");
        case("0001-01-01", "0001-01-01T00:00:00");
        case("9999-12-31T23:59:59", "9999-12-31T23:59:59");
    }

    #[test]
    fn what_cannot_be_written_exactly_is_refused_with_the_reason() {
        #[track_caller]
        fn case(typed: &str, error: MomentError) {
            assert_eq!(typed.parse::<Moment>(), Err(error), "{typed}");
        }
        case("2026-01-31T18:00:05.5Z", MomentError::Fraction);
        case("2026-01-31 18:00:05.000001", MomentError::Fraction);
        case("2016-12-31T23:59:60Z", MomentError::LeapSecond);
        case("20161231T235960Z", MomentError::LeapSecond);
        case("2026-01-31T18:00[Europe/Berlin]", MomentError::ZoneName);
        case("2026-01-31T18:00+01:00[Europe/Berlin]", MomentError::ZoneName);
        case("0000-01-01", MomentError::Year);
        for typed in [
            "",
            "tomorrow",
            "31/01/2026",
            "01-31-2026",
            "2026-1-31",
            "2026-01",
            "1769882400",
            "2026-02-30",
            "2026-01-31 25:00",
            "2026-01-31T",
            "18:00",
            "2026-01-31T18:00+02:00 UTC",
            "2026-01-31 6pm",
            "2026-01-31 18:00 CET",
            "2026-031",
        ] {
            case(typed, MomentError::NotATime);
        }
    }

    #[test]
    fn what_is_written_is_what_the_hub_reads() {
        for typed in ["2026-01-31T18:00:05+01:00", "0001-01-01", "9999-12-31 23:59:59"] {
            let moment: Moment = typed.parse().unwrap();
            assert_eq!(fromisoformat(&moment.to_string()), Some(IsoDate::Naive(moment.datetime())));
            assert_eq!(lint(Bound::End, Some(&moment.to_string())), None);
        }
    }

    #[test]
    fn a_day_as_an_end_is_pointed_out() {
        let day: Moment = "2026-01-31".parse().unwrap();
        assert_eq!(day.caution(Bound::End), Some(DateProblem::EndsAtMidnight));
        assert_eq!(day.caution(Bound::Start), None);
        let midnight: Moment = "2026-01-31 00:00".parse().unwrap();
        assert_eq!(midnight.caution(Bound::End), None);
    }

    #[test]
    fn a_stored_date_is_judged_by_what_the_hub_does_with_it() {
        #[track_caller]
        fn case(bound: Bound, stored: &str, problem: Option<DateProblem>) {
            assert_eq!(lint(bound, Some(stored)), problem, "{stored}");
        }
        case(Bound::Start, "", None);
        case(Bound::Start, "2026-01-31", None);
        case(Bound::End, "2026-01-31", Some(DateProblem::EndsAtMidnight));
        case(Bound::End, "2026-01-31T00:00:00", None);
        case(Bound::End, "2026-01-31 18", None);
        case(Bound::End, "2026-01-31T18:00:00Z", Some(DateProblem::Ignored(Bound::End)));
        case(Bound::Start, "20260131", Some(DateProblem::Ignored(Bound::Start)));
        case(Bound::Start, "tomorrow", Some(DateProblem::Ignored(Bound::Start)));
        case(Bound::Start, "2026-01-31T18:00:00+00:00", Some(DateProblem::Offset(Bound::Start)));
        assert_eq!(lint(Bound::End, None), None);
    }

    #[test]
    fn a_schedule_without_any_moment_is_a_problem() {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.start = Some("2026-02-01".into());
        flag.end = Some("2026-01-01T00:00:00".into());
        assert_eq!(problems(&flag), ["start_date is after end_date: the flag is never on, except for the white list"]);
        flag.end = Some("2026-02-01T00:00:00".into());
        assert!(problems(&flag).is_empty());
    }
}
