//! What a metric source measured, before it is judged.
//!
//! A source says what it found and never what it means: whether a number passes is decided by the plan's conditions alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A span of time that a measurement is about; `from` lies before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// The moment after its last.
    pub to: Timestamp,
}

/// What came of one measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A number, which may be no finite one.
    Number(Measured),
    /// No series, no rows, no records, or a sample that is too old; with the reason in words.
    Nothing(String),
    /// Something that is no measurement: several series, no number, a counter that was reset in the window, a quantile in the
    /// last bucket, identities that do not match; with the reason in words.
    Unusable(String),
    /// The source did not answer, or refused; with the reason in words.
    Failed(String),
}

/// A number and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The number, in the metric's own unit: a share is 0 to 1, a duration in seconds.
    pub value: f64,
    /// How many events of the exposed cohort it rests on; `None` where the source cannot tell.
    pub samples: Option<u64>,
    /// How many of them are errors, for a share of errors.
    pub errors: Option<u64>,
    /// When the newest sample was taken; `None` where the source cannot tell.
    pub at: Option<Timestamp>,
    /// The same number for the users who do not have the feature, where the source can tell them apart.
    pub control: Option<Arm>,
}

/// The same metric for another group of users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// The number, in the same unit.
    pub value: f64,
    /// How many events it rests on.
    pub samples: u64,
}
