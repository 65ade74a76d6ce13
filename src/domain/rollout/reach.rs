//! Whom each step of a plan reaches, counted over a list of users by the hub's own rules (rollout.md 8, COHORT).

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::domain::flags::cohort::{Cohort, Effect};
use crate::domain::flags::ladder::Ladder;
use crate::domain::flags::{Flag, Percent, StoredPercent};

/// What one step does to the users of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The percentage it goes to.
    pub to: u8,
    /// Users who gain the feature by it. Going up, nobody loses it.
    pub gained: u64,
    /// Users who have it then.
    pub on: u64,
    /// Users in the list.
    pub of: u64,
}

/// Every step of a flag that is enabled and keeps its lists and dates. A step that the dates of the flag make unanswerable is
/// left out.
pub fn reach(flag: &Flag, steps: &Ladder, users: &[String], now: DateTime) -> Vec<Reach> {
    let rungs = steps.rungs();
    let befores = rungs.iter().take(1).chain(rungs);
    let step = |(from, to): (&Percent, &Percent)| {
        let flag = Flag { enabled: Some(true), percentage: StoredPercent::from(*from), ..flag.clone() };
        let cohort = Cohort::new(&flag, *to, now).ok()?;
        let mut reach = Reach { to: to.get(), gained: 0, on: 0, of: users.len() as u64 };
        for user in users {
            let [effect, ..] = cohort.effects(&[user.as_str()]);
            reach.gained += u64::from(effect == Effect::Gained);
            reach.on += u64::from(matches!(effect, Effect::Gained | Effect::StaysOn));
        }
        Some(reach)
    };
    befores.zip(rungs).filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_counted_from_the_one_before_and_lists_count_as_the_hub_counts_them() {
        let users: Vec<String> = (1..=10_000).map(|n| format!("user-{n:04}")).collect();
        let flag = Flag::off("unified_llm_hub".parse().unwrap());
        let ladder = Ladder::try_from([0, 10, 25, 50, 100].as_slice()).unwrap();
        let counted = |flag: &Flag| -> Vec<(u8, u64, u64)> {
            let now = jiff::civil::date(2026, 3, 1).at(12, 0, 0, 0);
            reach(flag, &ladder, &users, now).iter().map(|step| (step.to, step.gained, step.on)).collect()
        };
        // The hub's own counts (rollout.md 2).
        let steps = [(0, 0, 0), (10, 967, 967), (25, 1_506, 2_473), (50, 2_493, 4_966), (100, 5_034, 10_000)];
        assert_eq!(counted(&flag), steps);
        // user-0001 has bucket 14.
        let white = Flag { whitelist: Some(vec!["user-0001".to_owned()]), ..flag.clone() };
        assert_eq!(counted(&white)[..3], [(0, 0, 1), (10, 967, 968), (25, 1_505, 2_473)]);
        assert_eq!(counted(&Flag { whitelist: None, ..flag }), []);
    }
}
