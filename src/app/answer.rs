//! How a command ends when it is not an error, and the table of all exit statuses.

/// How a command ended that showed its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, or yes.
    Yes,
    /// It worked, and the answer is no.
    No,
    /// Some of it is done or proven, some is not; the result says which.
    Partial,
    /// Some write was sent whose outcome is unknown; the result says which.
    Unknown,
    /// Somebody else's edit is in the way; the result says which.
    Conflict,
    /// A gate failed; everything was rolled back and verified.
    RolledBack,
}

impl Answer {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Conflict => 5,
            Self::RolledBack => 8,
            Self::Partial => 10,
            Self::Unknown => 11,
        }
    }

    /// Of two parts of one command: 11 beats 10, 10 beats the rest.
    pub fn worse(self, other: Self) -> Self {
        if other.status() > self.status() { other } else { self }
    }
}

/// The exit table, as `llmhub help exit-codes` and the manual print it.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done, or yes; also \"already so\""),
    (1, "it worked, and the answer is no"),
    (2, "usage"),
    (3, "configuration or credentials"),
    (4, "not found"),
    (5, "conflict: somebody else changed it, or holds the lock"),
    (6, "unreachable or timed out; nothing was written, safe to run again"),
    (7, "refused, or input that cannot be applied; nothing was written"),
    (8, "a gate failed; rolled back and verified"),
    (9, "not confirmed"),
    (10, "partial: some is done or proven, some is not"),
    (11, "outcome unknown: look before you run it again"),
    (70, "a defect of llmhub"),
    (130, "SIGINT"),
    (143, "SIGTERM or SIGHUP"),
];
