//! The table of error codes: the stable word, its exit status, and what it means. `llmhub help CODE` prints from here.

/// A code that scripts may compare, with its exit status and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// `error.code` in JSON.
    pub word: &'static str,
    /// The exit status.
    pub status: u8,
    /// What happened and what to do, for `llmhub help CODE`.
    pub meaning: &'static str,
}

/// All codes, by exit status. `llmhub help CODE` prints from here; a test holds it against the variants.
pub const CODES: &[Code] = &[
    Code { word: "usage", status: 2, meaning: "An argument is malformed. Nothing was contacted." },
    Code { word: "config_no_directory", status: 3, meaning: "The current folder cannot be read." },
    Code {
        word: "config_no_state_folder",
        status: 3,
        meaning: "There is no folder for llmhub's state: neither HOME nor XDG_STATE_HOME is an absolute path.",
    },
    Code { word: "config_not_unicode", status: 3, meaning: "An environment variable is not valid UTF-8." },
    Code { word: "config_not_found", status: 3, meaning: "A configuration file that was named does not exist." },
    Code {
        word: "config_no_file",
        status: 3,
        meaning: "There is no configuration file to edit. `llmhub profile init` writes one.",
    },
    Code { word: "config_exists", status: 3, meaning: "A configuration file is there already, and was left as it is." },
    Code { word: "config_unreadable", status: 3, meaning: "A configuration file cannot be read. It was not replaced." },
    Code { word: "config_unwritable", status: 3, meaning: "A configuration file cannot be written. It is as it was." },
    Code { word: "config_not_a_file", status: 3, meaning: "A configuration path does not name a regular file." },
    Code { word: "config_too_large", status: 3, meaning: "A configuration file is larger than 1 MiB." },
    Code { word: "config_not_utf8", status: 3, meaning: "A configuration file is not valid UTF-8." },
    Code {
        word: "config_syntax",
        status: 3,
        meaning: "A configuration file is not TOML; the message names line and column. It was not changed.",
    },
    Code {
        word: "config_unknown_key",
        status: 3,
        meaning: "A configuration file holds a key that llmhub does not know.",
    },
    Code { word: "config_said_twice", status: 3, meaning: "Two keys of one profile say the same thing in two ways." },
    Code { word: "config_invalid_value", status: 3, meaning: "A setting has a value that it cannot have." },
    Code { word: "profile_unknown", status: 3, meaning: "No configuration file has this profile." },
    Code {
        word: "profile_not_chosen",
        status: 3,
        meaning: "There are several profiles, or only a protected one, and none was chosen: -p NAME, or `llmhub profile use NAME`.",
    },
    Code {
        word: "config_untrusted",
        status: 3,
        meaning: "A ./llmhub.toml asks for something that only a trusted file may do. Read it, then `llmhub profile trust`.",
    },
    Code {
        word: "config_variable_unset",
        status: 3,
        meaning: "A setting names an environment variable that is not set.",
    },
    Code {
        word: "database_url",
        status: 3,
        meaning: "The database URL cannot be used. Only verify-full, verify-ca and disable exist as sslmode; unknown parameters are refused.",
    },
    Code {
        word: "no_source",
        status: 3,
        meaning: "Neither a hub, nor a database, nor an env file is configured. Give --hub, --database-url or --env-file, or write a profile.",
    },
    Code {
        word: "no_migrations_folder",
        status: 3,
        meaning: "No folder of migrations is configured. Give --dir, or set `migrations` in the profile.",
    },
    Code { word: "source_not_configured", status: 3, meaning: "--via names a source that the profile does not have." },
    Code {
        word: "ambiguous_write",
        status: 3,
        meaning: "Several sources are configured, and a write does not guess: name them with --via, in the order in which to write, or set `write` in the profile.",
    },
    Code {
        word: "credentials",
        status: 3,
        meaning: "The login or role is missing, rejected or expired. Nothing was written.",
    },
    Code {
        word: "schema_missing",
        status: 3,
        meaning: "The database has no llmhub tables. `llmhub db apply` creates them.",
    },
    Code {
        word: "local_file",
        status: 3,
        meaning: "A local file or folder cannot be read or written. Nothing was changed.",
    },
    Code {
        word: "output",
        status: 3,
        meaning: "stdout could not take the result, for example because a disk is full. The message says whether a change was made.",
    },
    Code { word: "flag_not_found", status: 4, meaning: "No such flag there. Names are case-sensitive." },
    Code { word: "not_found", status: 4, meaning: "What was named does not exist." },
    Code {
        word: "conflict",
        status: 5,
        meaning: "Somebody else changed it meanwhile, or holds the lock. Look, then decide again.",
    },
    Code {
        word: "fenced",
        status: 5,
        meaning: "Another llmhub has taken over this rollout, or an emergency has stopped it. This one wrote nothing more. `llmhub rollout status NAME` shows who acts.",
    },
    Code {
        word: "processes_disagree",
        status: 5,
        meaning: "The hub's processes hold different values. `llmhub flags diff --between hub` shows them; `llmhub flags sync` brings them together.",
    },
    Code {
        word: "down_differs",
        status: 5,
        meaning: "The down in the folder is not the one that the ledger kept when the migration was applied. Choose with --down.",
    },
    Code {
        word: "unreachable",
        status: 6,
        meaning: "It does not answer, or not in time. Nothing was written: safe to run again.",
    },
    Code {
        word: "rate_limited",
        status: 6,
        meaning: "The hub's request limit is reached for this machine. Nothing was written: wait, then run again.",
    },
    Code {
        word: "invalid_answer",
        status: 6,
        meaning: "It answered something that makes no sense. Nothing was written.",
    },
    Code {
        word: "timed_out",
        status: 6,
        meaning: "--timeout ran out before anything was written (6), or while a write was under way (11).",
    },
    Code {
        word: "ladder",
        status: 7,
        meaning: "One rung of the ladder at a time on the way up. --skip-steps with --reason goes further. Nothing was written.",
    },
    Code {
        word: "refused",
        status: 7,
        meaning: "A guard refused, or the input cannot be applied. Nothing was written.",
    },
    Code {
        word: "unsupported",
        status: 7,
        meaning: "This source cannot do it; the message names one that can. Nothing was written.",
    },
    Code {
        word: "no_down",
        status: 7,
        meaning: "A migration has no down that could be run, so neither it nor anything older is rolled back. Nothing was written.",
    },
    Code {
        word: "unproven",
        status: 7,
        meaning: "It is not proven that the rollback gives the schema back; the message says what is missing. --unproven with a reason goes on. Nothing was written.",
    },
    Code { word: "denied", status: 7, meaning: "The role may not do this. Nothing was written." },
    Code { word: "reason_needed", status: 7, meaning: "Say why with --reason. Nothing was written." },
    Code { word: "input", status: 7, meaning: "A file that was named cannot be used. Nothing was written." },
    Code {
        word: "protected",
        status: 7,
        meaning: "-y does not confirm a change on a protected profile: type its name, or give --confirm=NAME.",
    },
    Code {
        word: "rolled_back",
        status: 8,
        meaning: "What was written did not read back as it should. What was there before was put back, and that was read back.",
    },
    Code {
        word: "not_confirmed",
        status: 9,
        meaning: "The answer was no, or there was nobody to ask. Nothing was written.",
    },
    Code {
        word: "not_attempted",
        status: 10,
        meaning: "Inside a result: this source was left alone, because one before it failed and the edit can switch users on.",
    },
    Code {
        word: "outcome_unknown",
        status: 11,
        meaning: "A write was sent and its answer was lost. Look before you run it again.",
    },
    Code { word: "bug", status: 70, meaning: "A defect of llmhub." },
    Code { word: "interrupted", status: 130, meaning: "SIGINT. The message says what was written." },
    Code { word: "terminated", status: 143, meaning: "SIGTERM or SIGHUP. The message says what was written." },
];
