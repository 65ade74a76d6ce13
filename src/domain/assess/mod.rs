//! Whether a feature has to go back, how soon, and why: the decision tree of rollout.md 6 over what is measured and known.
//!
//! Facts have three values. Unknown is never taken for no: it is listed, and the answer says what it does not know.

mod criteria;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::criteria::{BUILT_IN, Class, Criteria, Rule, Rules, parse};

/// The question that decides within `consider`: whether the fault can be repaired without going back.
pub const CAN_FIX_FORWARD: &str = "can_fix_forward";

/// What is known of a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Nobody said.
    #[default]
    Unknown,
}

/// One measurement of a number that the criteria ask about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// The number's name in the criteria, such as `error_rate`; for a fact, its name.
    pub name: String,
    /// The number; `None` when it is not known.
    pub value: Option<f64>,
    /// For a fact: what a person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Known>,
    /// The events it rests on.
    pub samples: Option<u64>,
    /// Where it comes from: the metric of the plan with its source and query, or the operator.
    pub source: String,
    /// Why this number, or why there is none.
    pub reason: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// How bad it is.
    pub class: Class,
    /// How soon it has to be acted on.
    pub within: Option<(String, std::time::Duration)>,
    /// Every rule that is true, the worst first.
    pub fired: Vec<String>,
    /// Every fact and number that nobody knows and that a rule asks about, the worst first.
    pub unanswered: Vec<String>,
    /// The unanswered ones of the worst class: while they are open, a mild answer is not the last word.
    pub open_immediate: Vec<String>,
    /// What to do.
    pub advice: Advice,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Roll back.
    RollBack,
    /// A person has to say first whether it can be repaired without going back.
    Decide,
    /// Repair it; the rung is held meanwhile.
    FixForwardAndHold,
    /// Repair it.
    FixForward,
}

/// Weigh what is known.
pub fn assess(criteria: &Criteria, facts: &BTreeMap<String, Known>, evidence: &[Evidence]) -> Assessment {
    let (mut fired, mut unanswered, mut open_immediate) = (Vec::new(), Vec::new(), Vec::new());
    let mut found: Option<&Rules> = None;
    for rules in &criteria.classes {
        for rule in &rules.any {
            match known(rule, facts, evidence) {
                Known::Yes => {
                    fired.push(rule.to_string());
                    found.get_or_insert(rules);
                }
                Known::No => {}
                Known::Unknown => {
                    let name = rule.name().to_owned();
                    if rules.class == Class::Immediate {
                        open_immediate.push(name.clone());
                    }
                    if !unanswered.contains(&name) {
                        unanswered.push(name);
                    }
                }
            }
        }
    }
    let holds = criteria.holds.iter().any(|rule| known(rule, facts, evidence) == Known::Yes);
    let class = found.map_or(Class::FixForward, |rules| rules.class);
    let fixable = facts.get(CAN_FIX_FORWARD).copied().unwrap_or_default();
    let advice = match (class, fixable) {
        (Class::Immediate | Class::Urgent, _) | (Class::Consider, Known::No) => Advice::RollBack,
        (Class::Consider, Known::Yes) => Advice::FixForwardAndHold,
        (Class::Consider, Known::Unknown) => {
            unanswered.push(CAN_FIX_FORWARD.to_owned());
            Advice::Decide
        }
        (Class::FixForward, _) if holds => Advice::FixForwardAndHold,
        (Class::FixForward, _) => Advice::FixForward,
    };
    let within = found.and_then(|rules| rules.within.clone());
    Assessment { class, within, fired, unanswered, open_immediate, advice }
}

/// Whether a rule is true. A number that is measured in several places makes it true in any of them.
fn known(rule: &Rule, facts: &BTreeMap<String, Known>, evidence: &[Evidence]) -> Known {
    let Rule::Number { name, condition } = rule else {
        return facts.get(rule.name()).copied().unwrap_or_default();
    };
    let mut answer = Known::Unknown;
    for measured in evidence.iter().filter(|measured| measured.name == *name) {
        match measured.value {
            Some(value) if condition.holds(value) => return Known::Yes,
            Some(value) if value.is_finite() && answer == Known::Unknown => answer = Known::No,
            _ => {}
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[(&str, f64)]) -> Vec<Evidence> {
        let evidence = |(name, value): &(&str, f64)| Evidence {
            name: (*name).to_owned(),
            value: Some(*value),
            answer: None,
            samples: None,
            source: String::new(),
            reason: String::new(),
        };
        values.iter().map(evidence).collect()
    }

    fn facts(said: &[(&str, Known)]) -> BTreeMap<String, Known> {
        said.iter().map(|(name, known)| ((*name).to_owned(), *known)).collect()
    }

    fn all_no() -> BTreeMap<String, Known> {
        let criteria = parse(BUILT_IN).unwrap();
        criteria.facts().into_iter().map(|name| (name.to_owned(), Known::No)).collect()
    }

    #[track_caller]
    fn case(values: &[(&str, f64)], said: &[(&str, Known)], class: Class, fired: &[&str]) {
        let mut known = all_no();
        known.extend(facts(said));
        let found = assess(&parse(BUILT_IN).unwrap(), &known, &numbers(values));
        assert_eq!((found.class, found.fired), (class, fired.iter().map(|rule| (*rule).to_owned()).collect()));
    }

    #[test]
    fn every_rule_decides_just_above_its_bound_and_not_at_it() {
        use Class::{Consider, FixForward, Immediate, Urgent};
        case(&[("error_rate", 0.02)], &[], FixForward, &[]);
        case(&[("error_rate", 0.0201)], &[], Consider, &["error_rate > 0.02"]);
        case(&[("error_rate", 0.05)], &[], Consider, &["error_rate > 0.02"]);
        case(&[("error_rate", 0.0501)], &[], Urgent, &["error_rate > 0.05", "error_rate > 0.02"]);
        case(&[("latency_ratio", 1.2)], &[], FixForward, &[]);
        case(&[("latency_ratio", 1.2001)], &[], Consider, &["latency_ratio > 1.2"]);
        case(&[("latency_ratio", 1.5)], &[], Consider, &["latency_ratio > 1.2"]);
        case(&[("latency_ratio", 1.5001)], &[], Urgent, &["latency_ratio > 1.5", "latency_ratio > 1.2"]);
        case(&[("adoption", 0.1)], &[], FixForward, &[]);
        case(&[("adoption", 0.0999)], &[], Consider, &["adoption < 0.1"]);
        for fact in ["data_loss", "security_breach", "complete_outage", "data_corruption"] {
            case(&[("error_rate", 0.0)], &[(fact, Known::Yes)], Immediate, &[fact]);
        }
        case(&[], &[("critical_bug", Known::Yes)], Urgent, &["critical_bug"]);
        case(&[], &[("regulatory_violation", Known::Yes)], Urgent, &["regulatory_violation"]);
        case(&[], &[("user_complaints", Known::Yes)], Consider, &["user_complaints"]);
        case(
            &[("error_rate", 0.5)],
            &[("data_loss", Known::Yes)],
            Immediate,
            &["data_loss", "error_rate > 0.05", "error_rate > 0.02"],
        );
        case(&[("error_rate", f64::NAN)], &[], FixForward, &[]);
    }

    #[test]
    fn unknown_is_never_no() {
        let criteria = parse(BUILT_IN).unwrap();
        let nothing = assess(&criteria, &BTreeMap::new(), &[]);
        assert_eq!(nothing.class, Class::FixForward);
        assert_eq!(nothing.open_immediate, ["data_loss", "security_breach", "complete_outage", "data_corruption"]);
        let names =
            ["error_rate", "latency_ratio", "critical_bug", "regulatory_violation", "adoption", "user_complaints"];
        assert_eq!(nothing.unanswered[4..], names);
        let nan = assess(&criteria, &all_no(), &numbers(&[("error_rate", f64::NAN)]));
        assert_eq!(nan.unanswered, ["error_rate", "latency_ratio", "adoption"]);
        let healthy = numbers(&[("error_rate", 0.0), ("latency_ratio", 1.0), ("adoption", 0.5)]);
        assert!(assess(&criteria, &all_no(), &healthy).unanswered.is_empty());
    }

    #[test]
    fn a_number_that_is_measured_twice_counts_where_it_is_worse() {
        case(
            &[("error_rate", 0.001), ("error_rate", 0.06)],
            &[],
            Class::Urgent,
            &["error_rate > 0.05", "error_rate > 0.02"],
        );
    }

    #[test]
    fn what_to_do_follows_the_tree() {
        let advice = |values: &[(&str, f64)], said: &[(&str, Known)]| {
            assess(&parse(BUILT_IN).unwrap(), &facts(said), &numbers(values)).advice
        };
        assert_eq!(advice(&[("error_rate", 0.06)], &[(CAN_FIX_FORWARD, Known::Yes)]), Advice::RollBack);
        assert_eq!(advice(&[("error_rate", 0.03)], &[]), Advice::Decide);
        assert_eq!(advice(&[("error_rate", 0.03)], &[(CAN_FIX_FORWARD, Known::No)]), Advice::RollBack);
        assert_eq!(advice(&[("error_rate", 0.03)], &[(CAN_FIX_FORWARD, Known::Yes)]), Advice::FixForwardAndHold);
        assert_eq!(advice(&[("error_rate", 0.015)], &[]), Advice::FixForwardAndHold);
        assert_eq!(advice(&[("latency_ratio", 1.1)], &[]), Advice::FixForwardAndHold);
        assert_eq!(advice(&[("error_rate", 0.0099)], &[]), Advice::FixForward);
    }

    #[test]
    fn a_number_changed_in_the_document_changes_the_answer() {
        let milder = parse(&BUILT_IN.replace("error_rate > 0.05", "error_rate > 0.10")).unwrap();
        let known = all_no();
        assert_eq!(assess(&milder, &known, &numbers(&[("error_rate", 0.06)])).class, Class::Consider);
        let sooner = parse(&BUILT_IN.replace("\"1h\"", "\"20m\"")).unwrap();
        let found = assess(&sooner, &known, &numbers(&[("error_rate", 0.06)]));
        assert_eq!(found.within, Some(("20m".to_owned(), std::time::Duration::from_secs(1200))));
    }

    #[test]
    fn a_document_that_is_wrong_is_refused_by_line() {
        #[track_caller]
        fn case(text: &str, with: &str, line: usize) {
            let error = parse(&BUILT_IN.replace(text, with)).unwrap_err();
            assert_eq!(error.line, line, "{}", error.message);
        }
        case("error_rate > 0.05", "error_rate >> 0.05", 12);
        case("error_rate > 0.05", "Error Rate", 12);
        case("\"5m\"", "\"soon\"", 6);
        case("within = \"5m\"", "wihtin = \"5m\"", 6);
        case("name = \"urgent\"", "name = \"immediate\"", 10);
        case("otherwise = true", "otherwise = false", 19);
    }
}
