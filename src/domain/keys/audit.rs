//! What is wrong with stored keys, and how bad it is: a pure judgement of what is known of each row and of each find.
//!
//! No finding holds a key: a row is named, and a key is its fingerprint.

use serde::Serialize;

use super::leak::{Form, What};
use super::ring::OpenedBy;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// To be cleared up; the audit's answer is no.
    Warning,
    /// A key that is lost, or not a secret any more.
    Error,
}

impl Severity {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What kind of finding it is; the words stand in documents and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A key of the database or the ring stands in plain text.
    Leak,
    /// No master key opens the row.
    None,
    /// The row holds no Fernet token.
    NotFernet,
    /// Only an old master key opens the row.
    OldKey,
    /// The hub's variable stands in for a stored key that the hub cannot open.
    Masked,
    /// A text that looks like a key stands somewhere.
    KeyShape,
    /// One key under several names.
    Duplicate,
    /// A key that is older than allowed.
    Aged,
    /// A provider that is off and still has a key that works, as far as is known.
    DisabledLive,
    /// Text in the second column, which the hub's router never reads.
    SecondColumn,
    /// A master key that opens nothing.
    UnusedMasterKey,
}

impl Kind {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::None => "none",
            Self::NotFernet => "not_fernet",
            Self::OldKey => "old_key",
            Self::Masked => "masked",
            Self::KeyShape => "key_shape",
            Self::Duplicate => "duplicate",
            Self::Aged => "aged",
            Self::DisabledLive => "disabled_live",
            Self::SecondColumn => "second_column",
            Self::UnusedMasterKey => "unused_master_key",
        }
    }
}

/// One finding; the members are pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The row or the master key; the provider of a shape. Several rows are joined by commas.
    pub name: Option<String>,
    /// What is the matter, and what to do.
    pub message: String,
    /// Where a leak stands: a path, or `commit:path`.
    pub file: Option<String>,
    /// Its line, from 1; null in what has no lines.
    pub line: Option<u64>,
    /// `fp:` and eight hex digits, of the key that it is about.
    pub fingerprint: Option<String>,
}

/// What stands in for a stored key that the hub cannot open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This variable of the hub, which is set.
    Variable(String),
    /// Nothing.
    Nothing,
    /// The hub's environment is not known.
    Unknown,
}

/// What is known of a row.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Whether the hub may use it.
    pub enabled: bool,
    /// Which master key opens it.
    pub opened: OpenedBy,
    /// What the hub uses where it cannot open it.
    pub fallback: Fallback,
    /// Whole days since it was sealed.
    pub age_days: Option<i64>,
    /// The fingerprint of the key, if it could be read.
    pub fingerprint: Option<String>,
    /// Whether the last test that is recorded said no.
    pub failed: bool,
    /// Which master key opens the second column, if that holds anything.
    pub second: Option<OpenedBy>,
}

/// Whose secret a leak is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The rows that hold it.
    Rows(Vec<String>),
    /// A master key, by its name.
    MasterKey(String),
}

impl Finding {
    fn new(severity: Severity, kind: Kind, name: impl Into<String>, message: String) -> Self {
        Self { severity, kind, name: Some(name.into()), message, file: None, line: None, fingerprint: None }
    }

    fn of_key(self, fingerprint: Option<&str>) -> Self {
        Self { fingerprint: fingerprint.map(|digits| format!("fp:{digits}")), ..self }
    }

    fn at(self, file: String, line: Option<u64>) -> Self {
        Self { file: Some(file), line, ..self }
    }
}

/// What is wrong with the rows; `max_age` in days, `unused` the master keys that open nothing.
pub fn judge(rows: &[Seen], unused: &[String], max_age: u32) -> Vec<Finding> {
    let mut findings: Vec<Finding> = rows.iter().flat_map(|row| row_findings(row, max_age)).collect();
    findings.extend(duplicates(rows));
    findings.extend(unused.iter().map(|name| {
        let message = "this master key opens none of the rows: take it out of the ring once nothing else needs it";
        Finding::new(Severity::Note, Kind::UnusedMasterKey, name, message.to_owned())
    }));
    findings
}

fn row_findings(row: &Seen, max_age: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, kind, message: String| {
        findings.push(Finding::new(severity, kind, &row.name, message).of_key(row.fingerprint.as_deref()));
    };
    match &row.opened {
        OpenedBy::Current | OpenedBy::Empty => {}
        OpenedBy::Old(key) => add(
            Severity::Warning,
            Kind::OldKey,
            format!("only the old master key {key} opens it, so the hub cannot: rotate, or set the key again"),
        ),
        OpenedBy::None => add(
            Severity::Error,
            Kind::None,
            "no master key that is known opens it: set the key again, or find the master key it was sealed with"
                .to_owned(),
        ),
        OpenedBy::NotFernet => add(
            Severity::Error,
            Kind::NotFernet,
            "what is stored is not encrypted, and the hub cannot use it: replace the key at the provider, then set it"
                .to_owned(),
        ),
    }
    let dead = matches!(row.opened, OpenedBy::Old(_) | OpenedBy::None | OpenedBy::NotFernet);
    if let (true, Fallback::Variable(variable)) = (dead, &row.fallback) {
        let message = format!(
            "the hub cannot open the stored key and silently uses its variable {variable}: it works, and hides that the \
             stored key does not"
        );
        add(Severity::Warning, Kind::Masked, message);
    }
    if let Some(age) = row.age_days.filter(|age| *age > i64::from(max_age)) {
        let message = format!("it was sealed {age} days ago, over the limit of {max_age}: replace it at the provider");
        add(Severity::Warning, Kind::Aged, message);
    }
    let opens = matches!(row.opened, OpenedBy::Current | OpenedBy::Old(_));
    if !row.enabled && opens && !row.failed {
        let message = "the provider is off and its key may still work: revoke it at the provider, then remove it here";
        add(Severity::Warning, Kind::DisabledLive, message.to_owned());
    }
    if let Some(second) = row.second.as_ref().filter(|second| **second != OpenedBy::Empty) {
        let message = format!(
            "the second column encrypted_api_key, which the hub's router never reads, holds text too (opened by: {second})"
        );
        add(Severity::Warning, Kind::SecondColumn, message);
    }
    findings
}

/// One finding for each key that several rows hold.
fn duplicates(rows: &[Seen]) -> Vec<Finding> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let Some(fingerprint) = row.fingerprint.as_deref() else { continue };
        match groups.iter_mut().find(|(known, _)| *known == fingerprint) {
            Some((_, names)) => names.push(&row.name),
            None => groups.push((fingerprint, vec![&row.name])),
        }
    }
    let several = groups.into_iter().filter(|(_, names)| names.len() > 1);
    let finding = |(fingerprint, names): (&str, Vec<&str>)| {
        let message = format!("{} rows hold one key: who revokes it for one of them stops them all", names.len());
        Finding::new(Severity::Warning, Kind::Duplicate, names.join(", "), message).of_key(Some(fingerprint))
    };
    several.map(finding).collect()
}

/// The finding for something that was found in a file; `owners` are those of the secrets, with their fingerprints, by index.
/// `None` for an index that is none of them.
pub fn leak(what: &What, owners: &[(Owner, String)], file: String, line: Option<u64>) -> Option<Finding> {
    let finding = match what {
        What::Secret { index, form } => {
            let (owner, fingerprint) = owners.get(*index)?;
            let (name, whose, cure) = match owner {
                Owner::Rows(names) => (names.join(", "), "the stored key", "replace it at the provider, then set it"),
                Owner::MasterKey(name) => (name.clone(), "the master key", "rotate (llmhub keys rotate)"),
            };
            let form = match form {
                Form::Plain => "in plain text",
                Form::Base64 => "as base64",
                Form::Url => "URL-encoded",
                Form::Json => "JSON-escaped",
            };
            let message = format!("{whose} stands here {form}: {cure}, and take it out of here");
            Finding::new(Severity::Error, Kind::Leak, name, message).of_key(Some(fingerprint))
        }
        What::Shape { provider, fingerprint } => {
            let message =
                format!("a text with the shape of a key of {provider}, which no row holds: revoke it if it is one");
            Finding::new(Severity::Warning, Kind::KeyShape, *provider, message).of_key(Some(fingerprint))
        }
    };
    Some(finding.at(file, line))
}

/// The worst first; then by kind, place and name.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|one, two| {
        let place = |finding: &Finding| (finding.kind, finding.file.clone(), finding.line, finding.name.clone());
        two.severity.cmp(&one.severity).then_with(|| place(one).cmp(&place(two)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Seen {
        Seen {
            name: "openai".to_owned(),
            enabled: true,
            opened: OpenedBy::Current,
            fallback: Fallback::Nothing,
            age_days: Some(90),
            fingerprint: Some("01234567".to_owned()),
            failed: false,
            second: None,
        }
    }

    #[track_caller]
    fn case(row: Seen, expected: &[(Severity, Kind)]) {
        let found: Vec<(Severity, Kind)> =
            judge(&[row], &[], 90).into_iter().map(|finding| (finding.severity, finding.kind)).collect();
        assert_eq!(found, expected);
    }

    const ERROR: Severity = Severity::Error;
    const WARNING: Severity = Severity::Warning;

    #[test]
    fn a_row_is_judged_by_what_opens_it_its_age_and_its_switch() {
        let old = || OpenedBy::Old("OLD".to_owned());
        case(row(), &[]);
        case(Seen { opened: OpenedBy::Empty, age_days: None, fingerprint: None, enabled: false, ..row() }, &[]);
        case(Seen { opened: old(), ..row() }, &[(WARNING, Kind::OldKey)]);
        case(Seen { opened: OpenedBy::None, ..row() }, &[(ERROR, Kind::None)]);
        case(Seen { opened: OpenedBy::NotFernet, age_days: None, ..row() }, &[(ERROR, Kind::NotFernet)]);
        case(Seen { age_days: Some(91), ..row() }, &[(WARNING, Kind::Aged)]);
        case(Seen { age_days: Some(-1), ..row() }, &[]);
        case(Seen { enabled: false, ..row() }, &[(WARNING, Kind::DisabledLive)]);
        case(Seen { enabled: false, failed: true, ..row() }, &[]);
        case(Seen { second: Some(OpenedBy::Empty), ..row() }, &[]);
        case(Seen { second: Some(OpenedBy::None), ..row() }, &[(WARNING, Kind::SecondColumn)]);
    }

    #[test]
    fn a_variable_masks_only_a_key_that_the_hub_cannot_open() {
        let variable = || Fallback::Variable("OPENAI_API_KEY".to_owned());
        case(Seen { fallback: variable(), ..row() }, &[]);
        case(Seen { fallback: variable(), opened: OpenedBy::Empty, age_days: None, ..row() }, &[]);
        case(
            Seen { fallback: variable(), opened: OpenedBy::None, ..row() },
            &[(ERROR, Kind::None), (WARNING, Kind::Masked)],
        );
        case(Seen { fallback: Fallback::Unknown, opened: OpenedBy::None, ..row() }, &[(ERROR, Kind::None)]);
    }

    #[test]
    fn rows_with_one_key_are_one_finding_and_an_unused_master_key_is_a_note() {
        let rows = ["a", "b", "c"].map(|name| Seen { name: name.to_owned(), ..row() });
        let mut rows = rows.to_vec();
        rows[1].fingerprint = Some("89abcdef".to_owned());
        let found = judge(&rows, &["OLD".to_owned()], 90);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].name.as_deref()), (Kind::Duplicate, Some("a, c")));
        assert_eq!(found[0].fingerprint.as_deref(), Some("fp:01234567"));
        assert_eq!((found[1].kind, found[1].severity), (Kind::UnusedMasterKey, Severity::Note));
    }

    #[test]
    fn a_leak_names_whose_key_it_is_where_and_in_which_form() {
        let owners = [
            (Owner::Rows(vec!["a".to_owned(), "b".to_owned()]), "01234567".to_owned()),
            (Owner::MasterKey("BYOK_ENCRYPTION_KEY".to_owned()), "89abcdef".to_owned()),
        ];
        let find = |index| What::Secret { index, form: Form::Base64 };
        let found = leak(&find(0), &owners, "x.env".to_owned(), Some(3)).unwrap();
        assert_eq!((found.severity, found.name.as_deref(), found.line), (Severity::Error, Some("a, b"), Some(3)));
        assert!(found.message.contains("as base64"), "{}", found.message);
        assert_eq!(leak(&find(1), &owners, "x".to_owned(), None).unwrap().fingerprint.as_deref(), Some("fp:89abcdef"));
        assert_eq!(leak(&find(2), &owners, "x".to_owned(), None), None);
        let shape = What::Shape { provider: "groq", fingerprint: "00000000".to_owned() };
        assert_eq!(leak(&shape, &owners, "x".to_owned(), None).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn the_worst_comes_first_and_every_word_is_the_documents() {
        let finding = |severity, kind| Finding::new(severity, kind, "x", String::new());
        let mut findings = vec![
            finding(Severity::Note, Kind::UnusedMasterKey),
            finding(Severity::Warning, Kind::Aged),
            finding(Severity::Error, Kind::NotFernet),
            finding(Severity::Error, Kind::Leak),
        ];
        sort(&mut findings);
        let words: Vec<&str> = findings.iter().map(|finding| finding.kind.word()).collect();
        assert_eq!(words, ["leak", "not_fernet", "aged", "unused_master_key"]);
        for finding in findings {
            let value = serde_json::to_value(&finding).unwrap();
            assert_eq!(
                (&value["kind"], &value["severity"]),
                (&finding.kind.word().into(), &finding.severity.word().into())
            );
        }
    }
}
