//! Who gains and who loses a flag when its percentage changes: the hub's rules, prepared once and asked for millions.
//!
//! Agrees with [`super::evaluate`] on every user. Whatever does not depend on the user (switch, dates, percentages) is decided
//! once; a flag on which the hub would fail cannot be previewed.

use std::collections::HashSet;

use jiff::civil::DateTime;

use super::bucket::{BucketHash, RUN};
use super::evaluate::{Reason, gate};
use super::{Flag, Percent};

/// What a change of the percentage means for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Effect {
    /// Off before, on after.
    Gained = 0,
    /// On before, off after.
    Lost = 1,
    /// On before and after.
    StaysOn = 2,
    /// Off before and after.
    StaysOff = 3,
}

impl Effect {
    /// Every effect, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Gained, Self::Lost, Self::StaysOn, Self::StaysOff];

    fn of(before: Status, after: Status) -> Self {
        match (before, after) {
            (Status::Off, Status::On) => Self::Gained,
            (Status::On, Status::Off) => Self::Lost,
            (Status::On, Status::On) => Self::StaysOn,
            (Status::Off, Status::Off) => Self::StaysOff,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    On,
    Off,
}

/// Why a flag cannot be previewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{flag}` cannot be previewed: {problem}")]
pub struct Unpreviewable {
    flag: String,
    problem: String,
}

/// A change of one flag's percentage, ready to be asked about users.
#[derive(Clone, Debug)]
pub struct Cohort {
    from: u8,
    to: u8,
    white: HashSet<String>,
    black: HashSet<String>,
    rule: Rule,
    hash: BucketHash,
}

/// What decides about a user who is on neither list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The switch is off: nobody is on, whatever the lists say.
    Disabled,
    /// The dates keep everybody out who is not white-listed.
    Closed,
    /// The percentage.
    Open,
}

impl Cohort {
    /// `flag` as it is, against the same flag at `to`, both at `now` (naive UTC).
    ///
    /// # Errors
    /// [`Unpreviewable`] where the hub itself would fail.
    pub fn new(flag: &Flag, to: Percent, now: DateTime) -> Result<Self, Unpreviewable> {
        let refuse = |problem: &str| Unpreviewable { flag: flag.key.to_string(), problem: problem.to_owned() };
        let from = flag.percentage.effective().ok_or_else(|| refuse("its stored percentage is null"))?;
        let lists = flag.whitelist.as_ref().zip(flag.blacklist.as_ref());
        let (white, black) = lists.ok_or_else(|| refuse("one of its user lists is null"))?;
        let rule = match (flag.is_enabled(), gate(flag, now)) {
            (false, _) => Rule::Disabled,
            (true, Ok(())) => Rule::Open,
            (true, Err(Reason::HubError)) => return Err(refuse("a date has a UTC offset, on which the hub fails")),
            (true, Err(_)) => Rule::Closed,
        };
        Ok(Self {
            from: from.get(),
            to: to.get(),
            white: white.iter().cloned().collect(),
            black: black.iter().cloned().collect(),
            rule,
            hash: BucketHash::of(&flag.key),
        })
    }

    /// The effect on up to [`RUN`] users (not empty ids), in their order; places beyond the users hold nothing of meaning.
    pub fn effects(&self, users: &[&str]) -> [Effect; RUN] {
        let mut effects = [Effect::StaysOff; RUN];
        if self.rule == Rule::Disabled {
            return effects;
        }
        let buckets = match self.rule {
            Rule::Open if self.needs_buckets() => self.hash.buckets(users),
            _ => [0; RUN],
        };
        for ((user, bucket), effect) in users.iter().zip(buckets).zip(&mut effects) {
            *effect = if !self.black.is_empty() && self.black.contains(*user) {
                Effect::StaysOff
            } else if !self.white.is_empty() && self.white.contains(*user) {
                Effect::StaysOn
            } else if self.rule == Rule::Closed {
                Effect::StaysOff
            } else {
                Effect::of(status(bucket, self.from), status(bucket, self.to))
            };
        }
        effects
    }

    /// 0 and 100 decide without a hash.
    fn needs_buckets(&self) -> bool {
        [self.from, self.to].iter().any(|share| (1..100).contains(share))
    }
}

fn status(bucket: u8, share: u8) -> Status {
    if bucket < share { Status::On } else { Status::Off }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::flags::StoredPercent;
    use crate::domain::flags::evaluate::evaluate;

    const NOON: DateTime = date(2026, 1, 15).at(12, 0, 0, 0);

    fn flag(percent: i64) -> Flag {
        let mut flag = Flag::off("unified_llm_hub".parse().unwrap());
        flag.enabled = Some(true);
        flag.percentage = StoredPercent::Number(percent);
        flag
    }

    #[test]
    fn ten_thousand_users_split_as_the_runbook_says() {
        for (percent, on) in [(10, 967), (25, 2_473), (50, 4_966)] {
            let cohort = Cohort::new(&flag(0), percent.try_into().unwrap(), NOON).unwrap();
            let users: Vec<String> = (1..=10_000).map(|number| format!("user-{number:04}")).collect();
            let gained = users.chunks(RUN).flat_map(|run| {
                let run: Vec<&str> = run.iter().map(String::as_str).collect();
                cohort.effects(&run).into_iter().take(run.len()).collect::<Vec<_>>()
            });
            assert_eq!(gained.filter(|effect| *effect == Effect::Gained).count(), on, "{percent}");
        }
    }

    #[test]
    fn a_flag_on_which_the_hub_fails_cannot_be_previewed() {
        let full = Percent::FULL;
        let mut poisoned = flag(10);
        poisoned.percentage = StoredPercent::Null;
        assert!(Cohort::new(&poisoned, full, NOON).is_err());
        poisoned = flag(10);
        poisoned.whitelist = None;
        assert!(Cohort::new(&poisoned, full, NOON).is_err());
        poisoned = flag(10);
        poisoned.start = Some("2026-01-01T00:00:00+00:00".into());
        let message = Cohort::new(&poisoned, full, NOON).unwrap_err().to_string();
        assert_eq!(message, "`unified_llm_hub` cannot be previewed: a date has a UTC offset, on which the hub fails");
    }

    proptest! {
        #[test]
        fn a_cohort_agrees_with_the_evaluation_of_each_user(
            users in prop::collection::vec("[a-c]{1,3}|.{1,80}", 1..=RUN),
            from in -5i64..=120,
            to in 0i64..=100,
            enabled in any::<bool>(),
            start in prop::option::of(prop::sample::select(vec!["2026-01-01", "2027-01-01", "bogus"])),
            white in prop::collection::vec("[a-c]{1,2}", 0..3),
            black in prop::collection::vec("[a-c]{1,2}", 0..3),
        ) {
            let mut before = flag(from);
            before.enabled = Some(enabled);
            before.start = start.map(str::to_owned);
            before.whitelist = Some(white);
            before.blacklist = Some(black);
            let to = Percent::try_from(to).unwrap();
            let after = Flag { percentage: to.into(), ..before.clone() };
            let cohort = Cohort::new(&before, to, NOON).unwrap();
            let run: Vec<&str> = users.iter().map(String::as_str).collect();
            for (user, effect) in run.iter().zip(cohort.effects(&run)) {
                let on = |flag: &Flag| evaluate(flag, Some(user), NOON).enabled == Some(true);
                let expected = match (on(&before), on(&after)) {
                    (false, true) => Effect::Gained,
                    (true, false) => Effect::Lost,
                    (true, true) => Effect::StaysOn,
                    (false, false) => Effect::StaysOff,
                };
                prop_assert_eq!(effect, expected, "{}", user);
                prop_assert!(before.percentage.effective() > Some(to) || effect != Effect::Lost);
            }
        }
    }
}
