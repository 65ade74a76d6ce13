//! The ladder guard: at most one rung up, any way down (rollout.md 4).
//!
//! The guarded value is the *stored* percentage, enabled or not; otherwise disable, 100, enable would walk round it. Where
//! processes of a hub disagree, the lowest value decides what is one rung.

use std::fmt;

use super::flag::{Percent, StoredPercent};

/// The percentages that a rollout steps through: strictly rising from 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<Percent>);

/// Why a list of numbers is not a ladder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ladder rises strictly from 0 to 100, such as [0, 10, 25, 50, 100]")]
pub struct LadderError;

impl Default for Ladder {
    fn default() -> Self {
        Self([0, 10, 25, 50, 100].into_iter().filter_map(|rung| Percent::try_from(rung).ok()).collect())
    }
}

impl TryFrom<&[u8]> for Ladder {
    type Error = LadderError;

    fn try_from(rungs: &[u8]) -> Result<Self, Self::Error> {
        let rungs: Vec<Percent> = rungs
            .iter()
            .map(|rung| Percent::try_from(i64::from(*rung)).map_err(|_| LadderError))
            .collect::<Result<_, _>>()?;
        let rises = rungs.windows(2).all(|pair| pair.first() < pair.last());
        if rises && rungs.first() == Some(&Percent::ZERO) && rungs.last() == Some(&Percent::FULL) {
            Ok(Self(rungs))
        } else {
            Err(LadderError)
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rung) in self.0.iter().enumerate() {
            write!(f, "{}{rung}", if index == 0 { "" } else { " → " })?;
        }
        f.write_str(" %")
    }
}

/// Whether the operator asked to leave the ladder on the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// One rung at a time.
    Kept,
    /// `--skip-steps`, which needs a reason.
    Skipped,
}

/// What an operator asked the percentage to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This percentage.
    Exactly(Percent),
    /// The next rung up.
    Next,
    /// The next rung down.
    Back,
}

/// A step that the guard lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The percentage to store.
    pub to: Percent,
    /// The rung that comes after a target between two rungs, to be mentioned.
    pub off_ladder_next: Option<Percent>,
}

/// A step that the guard refuses; nothing is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than one rung up.
    #[error("{from} → {to} skips steps: the next rung of the ladder is {next} %")]
    Skips {
        /// The guarded value.
        from: StoredPercent,
        /// What was asked for.
        to: Percent,
        /// The rung that would be allowed.
        next: Percent,
    },
    /// Up, but to a value between two rungs.
    #[error("{to} % is not a rung of the ladder: the next rung after {from} is {next} %")]
    OffLadder {
        /// The guarded value.
        from: StoredPercent,
        /// What was asked for.
        to: Percent,
        /// The rung that would be allowed.
        next: Percent,
    },
    /// The stored percentage is null: nobody can say whether this is up or down.
    #[error("the stored percentage is null: only 0 is certainly not a step up")]
    Poisoned,
    /// Processes hold different percentages, and this step would not bring them together safely.
    #[error("the hub's processes disagree ({}): only a step to the lowest, or to the rung after it, brings them together", join(.0))]
    Disagree(Vec<StoredPercent>),
}

fn join(values: &[StoredPercent]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Ladder {
    /// The smallest rung above `value`.
    pub fn next(&self, value: Percent) -> Option<Percent> {
        self.0.iter().copied().find(|rung| *rung > value)
    }

    /// The largest rung below `value`.
    pub fn back(&self, value: Percent) -> Option<Percent> {
        self.0.iter().rev().copied().find(|rung| *rung < value)
    }

    /// The rungs, rising.
    pub fn rungs(&self) -> &[Percent] {
        &self.0
    }

    /// Whether the flag may go from the stored percentages that were seen (at least one) to the target.
    ///
    /// # Errors
    /// A [`Refusal`] that names the allowed rung or the values seen.
    pub fn guard(&self, seen: &[StoredPercent], target: Target, steps: Steps) -> Result<Step, Refusal> {
        let mut distinct: Vec<StoredPercent> = Vec::new();
        for value in seen {
            if !distinct.contains(value) {
                distinct.push(value.clone());
            }
        }
        let known: Option<Vec<Percent>> = distinct.iter().map(StoredPercent::effective).collect();
        let Some(lowest) = known.as_ref().and_then(|known| known.iter().min().copied()) else {
            return match target {
                Target::Exactly(Percent::ZERO) => Ok(self.step(Percent::ZERO)),
                Target::Back if distinct.len() == 1 => Ok(self.step(Percent::ZERO)),
                _ => Err(Refusal::Poisoned),
            };
        };
        let to = match target {
            Target::Exactly(percent) => percent,
            Target::Next => self.next(lowest).unwrap_or(lowest),
            Target::Back => self.back(lowest).unwrap_or(lowest),
        };
        if to <= lowest {
            return Ok(self.step(to));
        }
        let next = self.next(lowest).unwrap_or(Percent::FULL);
        if to == next {
            return Ok(self.step(to));
        }
        let [from] = distinct.as_slice() else {
            return Err(Refusal::Disagree(distinct));
        };
        match steps {
            Steps::Skipped => Ok(self.step(to)),
            Steps::Kept if to > next => Err(Refusal::Skips { from: from.clone(), to, next }),
            Steps::Kept => Err(Refusal::OffLadder { from: from.clone(), to, next }),
        }
    }

    fn step(&self, to: Percent) -> Step {
        let off_ladder_next = if self.0.contains(&to) { None } else { self.next(to) };
        Step { to, off_ladder_next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: i64) -> StoredPercent {
        StoredPercent::Number(value)
    }

    fn exactly(value: i64) -> Target {
        Target::Exactly(Percent::try_from(value).unwrap())
    }

    #[track_caller]
    fn allowed(seen: &[StoredPercent], target: Target, to: u8) -> Step {
        let step = Ladder::default().guard(seen, target, Steps::Kept).unwrap();
        assert_eq!(step.to.get(), to);
        step
    }

    #[track_caller]
    fn refused(seen: &[StoredPercent], target: Target) -> Refusal {
        Ladder::default().guard(seen, target, Steps::Kept).unwrap_err()
    }

    #[test]
    fn one_rung_up_is_allowed() {
        for (from, to) in [(0, 10), (10, 25), (25, 50), (50, 100)] {
            allowed(&[stored(from)], exactly(to), to as u8);
        }
    }

    #[test]
    fn a_jump_up_names_the_next_rung() {
        let refusal = refused(&[stored(10)], exactly(50));
        assert_eq!(refusal.to_string(), "10 % → 50 skips steps: the next rung of the ladder is 25 %");
        let step = Ladder::default().guard(&[stored(10)], exactly(50), Steps::Skipped).unwrap();
        assert_eq!(step.to.get(), 50);
    }

    #[test]
    fn down_is_always_allowed_and_an_off_ladder_target_names_what_comes_next() {
        assert_eq!(allowed(&[stored(100)], exactly(0), 0).off_ladder_next, None);
        assert_eq!(allowed(&[stored(50)], exactly(10), 10).off_ladder_next, None);
        assert_eq!(allowed(&[stored(25)], exactly(7), 7).off_ladder_next, Percent::try_from(10).ok());
    }

    #[test]
    fn an_off_ladder_step_up_is_refused() {
        assert!(matches!(refused(&[stored(25)], exactly(30)), Refusal::OffLadder { .. }));
        assert!(matches!(refused(&[stored(40)], exactly(45)), Refusal::OffLadder { .. }));
        allowed(&[stored(40)], exactly(50), 50);
    }

    #[test]
    fn values_out_of_range_count_as_their_nearest_bound() {
        allowed(&[stored(150)], exactly(100), 100);
        allowed(&[StoredPercent::Huge { negative: false, digits: "9".repeat(30) }], exactly(100), 100);
        allowed(&[stored(-5)], exactly(10), 10);
        assert!(matches!(refused(&[stored(-5)], exactly(25)), Refusal::Skips { .. }));
    }

    #[test]
    fn a_poisoned_percentage_can_only_go_to_zero() {
        allowed(&[StoredPercent::Null], exactly(0), 0);
        allowed(&[StoredPercent::Null], Target::Back, 0);
        assert_eq!(refused(&[StoredPercent::Null], exactly(10)), Refusal::Poisoned);
        assert_eq!(refused(&[StoredPercent::Null, stored(10)], Target::Next), Refusal::Poisoned);
    }

    #[test]
    fn processes_that_disagree_may_only_be_brought_together() {
        let seen = [stored(25), stored(10), stored(25)];
        allowed(&seen, exactly(5), 5);
        allowed(&seen, exactly(10), 10);
        allowed(&seen, exactly(25), 25);
        allowed(&seen, Target::Next, 25);
        assert_eq!(refused(&seen, exactly(50)), Refusal::Disagree(vec![stored(25), stored(10)]));
    }

    #[test]
    fn next_and_back_stop_at_the_ends() {
        allowed(&[stored(100)], Target::Next, 100);
        allowed(&[stored(0)], Target::Back, 0);
        allowed(&[stored(40)], Target::Next, 50);
        allowed(&[stored(40)], Target::Back, 25);
    }

    #[test]
    fn a_ladder_rises_strictly_from_0_to_100() {
        for good in [&[0, 100][..], &[0, 1, 5, 100]] {
            assert!(Ladder::try_from(good).is_ok(), "{good:?}");
        }
        for bad in [&[][..], &[0], &[100], &[0, 50], &[10, 100], &[0, 50, 50, 100], &[0, 60, 50, 100], &[0, 101]] {
            assert_eq!(Ladder::try_from(bad), Err(LadderError), "{bad:?}");
        }
    }
}
