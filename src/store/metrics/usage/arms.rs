//! The users of the window in their arms, and what the arms come to.
//!
//! Cohort and control are told apart by the hub's own bucket, computed by the server (rollout.md 5). White-listed users are
//! an arm of their own and black-listed ones are nobody's control. Users whose identity cannot be found, or shares that the
//! percentage cannot explain, make the measurement unusable: then the hub hashes something else.

use jiff::Timestamp;

use super::schema::{Usage, column};
use crate::domain::flags::Percent;
use crate::domain::rollout::plan::Identity;
use crate::domain::rollout::reading::{Arm, Measured, Reading};

/// Users with usage whose identity may be missing: deleted accounts.
const MISSING: f64 = 0.10;

/// Fewer users say nothing about shares.
const ENOUGH_USERS: u64 = 100;

/// What a bucket is taken from, as SQL: the MD5 of the text in `name` under the flag in `$3`.
const HASH: &str = "('x' || md5(name || ':' || $3))::bit(128)";

/// The arm of the user in `name` whose MD5 is in `hash`: `$4` is the percentage, `$5` the white list, `$6` the black list. The
/// number modulo 100 is taken in pieces that fit a bigint, where 2^60 leaves 76 and 2^8 leaves 56.
const ARM: &str = "CASE WHEN coalesce(name, '') = '' THEN 'unknown' WHEN name = ANY($6) THEN 'black' \
    WHEN name = ANY($5) THEN 'white' WHEN ((substring(hash, 1, 60)::bigint % 100 * 76 + \
    substring(hash, 61, 60)::bigint % 100) * 56 + substring(hash, 121)::int) % 100 < $4 THEN 'cohort' ELSE 'control' END";

/// How many users the flag's lists name, and how many of these the identity and the other columns find.
pub(super) fn listed(identity: Identity) -> String {
    let found = |column: &str| format!("(SELECT count(*) FROM users WHERE {column}::text = ANY($5 || $6))");
    format!("{}, (SELECT max(n) FROM (VALUES ({}), ({})) o(n))", found(column(identity)), found("email"), found("id"))
}

/// The users of the window with their arm, as the relations `seen` and `armed`; `sums` is what else is added up for each user.
/// Each user is hashed once, and the hash is a relation of its own because a nested one would be computed for each of its uses.
pub(super) fn armed(usage: &Usage, identity: Identity, sums: &str) -> String {
    let (join, name) = usage.join(identity);
    let (table, time, counted) = (usage.table(), usage.time(), usage.counted());
    format!(
        "WITH seen AS MATERIALIZED (SELECT l.user_id, count(*) AS n, max({time}) AS newest{sums} FROM {table} l \
         WHERE {time} >= $1 AND {time} < $2 AND {counted} AND l.user_id IS NOT NULL GROUP BY l.user_id), \
         named AS (SELECT seen.*, {name} AS name FROM seen {join}), \
         hashed AS MATERIALIZED (SELECT named.*, {HASH} AS hash FROM named), \
         armed AS MATERIALIZED (SELECT hashed.*, {ARM} AS arm FROM hashed)"
    )
}

/// Users that have the feature, and how many of them are among those of the window.
pub(super) fn adoption(usage: &Usage, identity: Identity) -> String {
    let (armed, column) = (armed(usage, identity, ""), column(identity));
    format!(
        "{armed}, everybody AS MATERIALIZED (SELECT name, {HASH} AS hash FROM (SELECT {column}::text AS name FROM users) n) \
         SELECT (SELECT count(*) FROM everybody WHERE {ARM} IN ('cohort', 'white')), \
         count(*) FILTER (WHERE arm IN ('cohort', 'white')), count(*) FILTER (WHERE arm = 'unknown'), count(*), \
         (extract(epoch FROM max(newest)) * 1000)::bigint FROM armed"
    )
}

/// One arm of a measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    /// Its word.
    pub(super) arm: String,
    /// Distinct users with usage.
    pub(super) users: u64,
    /// Their requests.
    pub(super) requests: u64,
    /// Failures, or the percentile in seconds.
    pub(super) number: Option<f64>,
    /// The newest of them, milliseconds since 1970.
    pub(super) newest: Option<i64>,
}

/// What the flag's lists say about the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// How many users the lists name by the plan's identity.
    pub(super) by_identity: u64,
    /// How many by another column.
    pub(super) by_another: u64,
}

/// What [`Counted::number`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number of failures; the value is their share.
    Failures,
    /// The value itself.
    Value,
}

/// What the arms come to.
pub(super) fn reading(arms: &[Counted], listed: Listed, rung: Percent, identity: Identity, kind: Kind) -> Reading {
    let arm = |word: &str| arms.iter().find(|arm| arm.arm == word).cloned().unwrap_or_default();
    let (cohort, control) = (arm("cohort"), arm("control"));
    let users: u64 = arms.iter().map(|arm| arm.users).sum();
    if users == 0 {
        return Reading::Nothing("no user has requests in the window".to_owned());
    }
    if let Some(reason) = mismatch(arm("unknown").users, users, listed, identity) {
        return Reading::Unusable(reason);
    }
    if let Some(reason) = skew(cohort.users, control.users, rung) {
        return Reading::Unusable(reason);
    }
    let number = |arm: &Counted| match kind {
        // A count of requests is far below 2^53.
        Kind::Failures => arm.number.map(|failed| failed / arm.requests as f64),
        Kind::Value => arm.number,
    };
    let Some(value) = number(&cohort).filter(|_| cohort.requests > 0) else {
        let white = arm("white").users;
        return Reading::Nothing(format!(
            "no user of the cohort at {rung} % has requests in the window ({white} of the white list have)"
        ));
    };
    let errors = match kind {
        Kind::Failures => cohort.number.map(|failed| failed as u64),
        Kind::Value => None,
    };
    let control =
        number(&control).filter(|_| control.requests > 0).map(|value| Arm { value, samples: control.requests });
    let at = cohort.newest.and_then(|newest| Timestamp::from_millisecond(newest).ok());
    Reading::Number(Measured { value, samples: Some(cohort.requests), errors, at, control })
}

/// Whether the hub must be hashing something else than the plan says.
pub(super) fn mismatch(unknown: u64, users: u64, listed: Listed, identity: Identity) -> Option<String> {
    let column = column(identity);
    if unknown as f64 > users as f64 * MISSING {
        return Some(format!(
            "identity mismatch: {unknown} of {users} users with requests have no {column} among the users"
        ));
    }
    (listed.by_identity == 0 && listed.by_another > 0).then(|| {
        format!(
            "identity mismatch: the plan hashes the {column}, but the flag's lists name {} users by another column",
            listed.by_another
        )
    })
}

/// Whether the shares of the arms are far from the percentage: by more than five standard deviations of a fair draw and a
/// quarter of the smaller arm, which a feature may well gain or lose.
fn skew(cohort: u64, control: u64, rung: Percent) -> Option<String> {
    let (on, all) = (cohort as f64, (cohort + control) as f64);
    if cohort + control < ENOUGH_USERS {
        return None;
    }
    let wanted = f64::from(rung.get()) / 100.0;
    let bound = 5.0 * (wanted * (1.0 - wanted) / all).sqrt() + wanted.min(1.0 - wanted) / 4.0;
    let share = on / all;
    ((share - wanted).abs() > bound).then(|| {
        format!(
            "identity mismatch: {:.1} % of the users with requests fall into the cohort, but {rung} % were wanted",
            share * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(value: i64) -> Percent {
        Percent::try_from(value).unwrap()
    }

    fn counted(arm: &str, users: u64, requests: u64, number: f64) -> Counted {
        Counted { arm: arm.to_owned(), users, requests, number: Some(number), newest: Some(1000) }
    }

    fn errors(arms: &[Counted], rung: i64) -> Reading {
        reading(arms, Listed::default(), percent(rung), Identity::Email, Kind::Failures)
    }

    #[test]
    fn the_cohort_is_measured_and_the_control_stands_beside_it() {
        let arms = [
            counted("cohort", 250, 1000, 40.0),
            counted("control", 750, 4000, 40.0),
            counted("white", 3, 90, 90.0),
            counted("black", 3, 90, 90.0),
        ];
        let Reading::Number(measured) = errors(&arms, 25) else { panic!("a number") };
        assert_eq!((measured.value, measured.samples, measured.errors), (0.04, Some(1000), Some(40)));
        assert_eq!(measured.control, Some(Arm { value: 0.01, samples: 4000 }));
        assert_eq!(measured.at, Some(Timestamp::from_second(1).unwrap()));
    }

    #[test]
    fn without_a_cohort_there_is_nothing_and_without_a_control_there_is_a_number() {
        assert!(matches!(errors(&[], 25), Reading::Nothing(_)));
        assert!(
            matches!(errors(&[counted("white", 3, 90, 9.0)], 0), Reading::Nothing(reason) if reason.contains("3 of the"))
        );
        let Reading::Number(measured) = errors(&[counted("cohort", 500, 900, 9.0)], 100) else { panic!("a number") };
        assert_eq!(measured.control, None);
    }

    #[test]
    fn shares_far_from_the_percentage_are_no_measurement() {
        #[track_caller]
        fn case(cohort: u64, control: u64, rung: i64, usable: bool) {
            let arms = [counted("cohort", cohort, cohort, 0.0), counted("control", control, control, 0.0)];
            assert_eq!(matches!(errors(&arms, rung), Reading::Number(_)), usable, "{cohort}:{control} at {rung}");
        }
        case(250, 750, 25, true);
        case(300, 700, 25, true);
        case(900, 100, 25, false);
        case(50, 950, 25, false);
        // Half of a small number is luck.
        case(45, 54, 10, true);
        // A feature that people like or flee is no mismatch.
        case(30_000, 70_000, 25, true);
        case(40_000, 60_000, 25, false);
        case(99, 1, 100, false);
    }

    #[test]
    fn identities_that_are_not_found_are_no_measurement() {
        let arms = |unknown| {
            [counted("cohort", 250, 1000, 9.0), counted("control", 750, 9, 0.0), counted("unknown", unknown, 9, 0.0)]
        };
        assert!(matches!(errors(&arms(100), 25), Reading::Number(_)));
        assert!(matches!(errors(&arms(120), 25), Reading::Unusable(reason) if reason.contains("120 of 1120")));
        let listed = Listed { by_identity: 0, by_another: 2 };
        let reading = reading(&arms(0), listed, percent(25), Identity::Id, Kind::Failures);
        assert!(matches!(reading, Reading::Unusable(reason) if reason.contains("by another column")));
    }
}
