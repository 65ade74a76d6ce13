//! A comparison of a measured number with a bound, as a plan or a criterion writes it: `< 0.02`.
//!
//! Comparisons are strict as written, and a number that is none satisfies nothing.

use std::fmt;
use std::str::FromStr;

/// A comparison with a finite number; NaN satisfies none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// How.
    pub operator: Operator,
    /// With what.
    pub bound: f64,
}

/// A comparison, strict as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// Why a text is no condition.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a condition is a comparison with a number, such as \"< 0.02\" or \">= 1.5\"")]
pub struct ConditionError;

impl Condition {
    /// Whether the value satisfies it.
    pub fn holds(&self, value: f64) -> bool {
        match self.operator {
            Operator::Less => value < self.bound,
            Operator::AtMost => value <= self.bound,
            Operator::Greater => value > self.bound,
            Operator::AtLeast => value >= self.bound,
        }
    }

    /// Whether some number satisfies both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.is_upper(), other.is_upper()) {
            (true, false) => other.reaches_down_to(self),
            (false, true) => self.reaches_down_to(other),
            // Both reach to the same infinity.
            _ => true,
        }
    }

    /// Whether it sets an upper limit.
    fn is_upper(&self) -> bool {
        matches!(self.operator, Operator::Less | Operator::AtMost)
    }

    /// Whether this lower limit leaves something below that upper limit.
    fn reaches_down_to(&self, upper: &Self) -> bool {
        self.bound < upper.bound
            || (self.bound == upper.bound && self.operator == Operator::AtLeast && upper.operator == Operator::AtMost)
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        // The longer words first: `<=` begins with `<`.
        let words =
            [("<=", Operator::AtMost), (">=", Operator::AtLeast), ("<", Operator::Less), (">", Operator::Greater)];
        let found = words.iter().find_map(|(word, operator)| Some((*operator, text.strip_prefix(word)?)));
        let (operator, number) = found.ok_or(ConditionError)?;
        match number.trim().parse::<f64>() {
            Ok(bound) if bound.is_finite() => Ok(Self { operator, bound }),
            _ => Err(ConditionError),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.operator {
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
        };
        write!(f, "{word} {}", self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_comparison_with_a_finite_number() {
        for (text, shown) in [("< 0.02", "< 0.02"), ("<=1.20", "<= 1.2"), (" > 5 ", "> 5"), (">=-1e-3", ">= -0.001")] {
            assert_eq!(text.parse::<Condition>().map(|condition| condition.to_string()), Ok(shown.to_owned()));
        }
        for text in ["", "0.02", "< ", "<", "= 1", "< 2 %", "< NaN", "> inf", "<< 1", "< 0,02", "!= 1"] {
            assert_eq!(text.parse::<Condition>(), Err(ConditionError), "{text}");
        }
    }

    #[test]
    fn comparisons_are_strict_as_written_and_nan_satisfies_none() {
        for (text, below, at, above) in [
            ("< 1", true, false, false),
            ("<= 1", true, true, false),
            ("> 1", false, false, true),
            (">= 1", false, true, true),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(
                (condition.holds(0.9), condition.holds(1.0), condition.holds(1.1)),
                (below, at, above),
                "{text}"
            );
            assert!(!condition.holds(f64::NAN), "{text}");
        }
    }

    #[test]
    fn two_conditions_overlap_when_one_number_satisfies_both() {
        #[track_caller]
        fn case(one: &str, other: &str, overlap: bool) {
            let (one, other): (Condition, Condition) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (overlap, overlap));
        }
        case("< 0.02", "> 0.05", false);
        case("< 0.05", "> 0.05", false);
        case("<= 0.05", "> 0.05", false);
        case("<= 0.05", ">= 0.05", true);
        case("< 0.06", "> 0.05", true);
        case("< 1", "< 2", true);
        case("> 1", ">= 2", true);
    }
}
