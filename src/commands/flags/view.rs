//! What the `flags` commands show: one struct per document of DESIGN 2.

use serde::Serialize;

use crate::app::{Live, Source, Verdict};
use crate::domain::flags::{Flag, StoredPercent};
use crate::ui::{Page, Tone, View};

/// `flags show`, and the element of `flags list`.
#[derive(Clone, Debug, Serialize)]
pub struct FlagView {
    flag: String,
    enabled: Option<bool>,
    rollout_percentage: StoredPercent,
    whitelist_users: Option<Vec<String>>,
    blacklist_users: Option<Vec<String>>,
    start_date: Option<String>,
    end_date: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    owner: Option<String>,
    revision: Option<i64>,
    source: Source,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl FlagView {
    /// The document of `flag` as `source` holds it; `problems` beyond the flag's own come from the date linter.
    pub fn new(flag: &Flag, source: Source) -> Self {
        let mut problems = flag.problems();
        problems.extend(crate::domain::flags::dates::problems(flag));
        Self {
            flag: flag.key.to_string(),
            enabled: flag.enabled,
            rollout_percentage: flag.percentage.clone(),
            whitelist_users: flag.whitelist.clone(),
            blacklist_users: flag.blacklist.clone(),
            start_date: flag.start.clone(),
            end_date: flag.end.clone(),
            description: flag.description.clone(),
            tags: flag.tags.clone(),
            owner: flag.owner.clone(),
            revision: flag.revision,
            source,
            problems,
        }
    }

    fn state(&self) -> (Tone, String) {
        match self.enabled {
            Some(true) => (Tone::Good, "on".to_owned()),
            Some(false) => (Tone::Dim, "off".to_owned()),
            None => (Tone::Bad, "null".to_owned()),
        }
    }
}

impl View for FlagView {
    fn page(&self, page: &mut Page) {
        let (tone, state) = self.state();
        page.fact("flag", &self.flag);
        page.toned_fact("enabled", tone, state);
        page.fact("percentage", self.rollout_percentage.to_string());
        for (name, list) in [("white list", &self.whitelist_users), ("black list", &self.blacklist_users)] {
            match list {
                Some(users) => page.fact(name, people(users)),
                None => page.toned_fact(name, Tone::Bad, "null"),
            }
        }
        page.fact("start", self.start_date.as_deref().unwrap_or("–"));
        page.fact("end", self.end_date.as_deref().unwrap_or("–"));
        page.fact("description", self.description.as_deref().unwrap_or("–"));
        page.fact("tags", if self.tags.is_empty() { "–".to_owned() } else { self.tags.join(", ") });
        page.fact("owner", self.owner.as_deref().unwrap_or("–"));
        if let Some(revision) = self.revision {
            page.fact("revision", revision.to_string());
        }
        page.fact("source", self.source.word());
        for problem in &self.problems {
            page.toned_fact("problem", Tone::Bad, problem);
        }
    }
}

/// `flags list`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct FlagListView(pub Vec<FlagView>);

impl View for FlagListView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no flags");
            return;
        }
        let rows = self.0.iter().map(|flag| {
            let count =
                |list: &Option<Vec<String>>| list.as_ref().map_or("null".to_owned(), |list| list.len().to_string());
            [
                (Tone::Strong, flag.flag.clone()),
                flag.state(),
                (Tone::Plain, flag.rollout_percentage.to_string()),
                (Tone::Plain, count(&flag.whitelist_users)),
                (Tone::Plain, count(&flag.blacklist_users)),
                (Tone::Plain, flag.start_date.clone().unwrap_or_else(|| "–".to_owned())),
                (Tone::Plain, flag.end_date.clone().unwrap_or_else(|| "–".to_owned())),
                (Tone::Plain, flag.tags.join(", ")),
            ]
        });
        page.table(&["flag", "enabled", "percent", "white", "black", "start", "end", "tags"], rows);
        for flag in &self.0 {
            for problem in &flag.problems {
                page.spans(&[(Tone::Bad, "problem "), (Tone::Plain, &format!("{}: {problem}", flag.flag))]);
            }
        }
    }
}

/// Users for a person: the first few, and how many more.
pub fn people(users: &[String]) -> String {
    const SHOWN: usize = 10;
    match users.len() {
        0 => "–".to_owned(),
        count if count <= SHOWN => format!("{} ({count})", users.join(", ")),
        count => format!("{}, … ({count})", users.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// One source's part of a write.
#[derive(Clone, Debug, Serialize)]
pub struct ResultView {
    /// The source.
    pub source: Source,
    /// Whether anything had to be written.
    pub changed: bool,
    /// The processes, for a hub.
    pub live: Option<Live>,
    /// Whether a persistent source was read back equal.
    pub persisted: bool,
    /// Whether a restart of the hub keeps it; one verdict for the whole write. `None` is unknown.
    pub survives_restart: Option<bool>,
    /// Why this source was not written, where others were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureView>,
}

/// A failure inside a result.
#[derive(Clone, Debug, Serialize)]
pub struct FailureView {
    /// The stable word.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Every `flags` write.
#[derive(Debug, Serialize)]
pub struct WriteView {
    /// The flag's name.
    pub flag: String,
    /// Whether any source changed.
    pub changed: bool,
    /// As the first source held it.
    pub before: FlagView,
    /// As the first source was read back, or as it would be.
    pub after: FlagView,
    /// One entry per source, in the order written.
    pub results: Vec<ResultView>,
    /// Present and true when nothing was written on purpose.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What changed, for people.
    #[serde(skip)]
    pub summary: Vec<String>,
    /// What a restart would load, for people, when it is not what was written.
    #[serde(skip)]
    pub returns_to: Option<String>,
}

impl View for WriteView {
    fn page(&self, page: &mut Page) {
        let verb = match (self.changed, self.dry_run) {
            (true, true) => "would change",
            (true, false) => "changed",
            (false, _) => "already so",
        };
        page.spans(&[(Tone::Strong, &self.flag), (Tone::Plain, "  "), (Tone::Plain, verb)]);
        for line in &self.summary {
            page.line(format!("  {line}"));
        }
        if self.dry_run {
            page.line("dry run: nothing was written");
            return;
        }
        self.proof(page);
        for result in &self.results {
            if let Some(error) = &result.error {
                page.spans(&[
                    (Tone::Bad, "not written "),
                    (Tone::Plain, &format!("{}: {}", result.source, error.message)),
                ]);
            }
        }
    }
}

impl WriteView {
    /// The line of rollout.md 3: `live … · persisted … · survives restart …`.
    fn proof(&self, page: &mut Page) {
        let mut spans: Vec<(Tone, String)> = Vec::new();
        for live in self.results.iter().filter_map(|result| result.live.as_ref()) {
            let (tone, word) = match live.verdict {
                Verdict::Proved => (Tone::Good, "PROVED"),
                Verdict::Sampled => (Tone::Warn, "SAMPLED"),
                Verdict::Partial => (Tone::Bad, "PARTIAL"),
            };
            let of = live.of.map_or("?".to_owned(), |of| of.to_string());
            spans.push((Tone::Plain, format!("live {}/{of} ", live.agree)));
            spans.push((tone, word.to_owned()));
            spans.push((Tone::Plain, format!(" ({}) · ", live.evidence)));
        }
        let persisted: Vec<&str> =
            self.results.iter().filter(|result| result.persisted).map(|result| result.source.word()).collect();
        spans.push((
            Tone::Plain,
            if persisted.is_empty() {
                "persisted no".to_owned()
            } else {
                format!("persisted yes ({})", persisted.join(", "))
            },
        ));
        let restart = match (self.results.first().and_then(|result| result.survives_restart), &self.returns_to) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), Some(state)) => format!("no: {state}"),
            (Some(false), None) => "no".to_owned(),
            (None, Some(doubt)) => format!("unknown: {doubt}"),
            (None, None) => "unknown (no env file is configured)".to_owned(),
        };
        spans.push((Tone::Plain, format!(" · survives restart {restart}")));
        let spans: Vec<(Tone, &str)> = spans.iter().map(|(tone, text)| (*tone, text.as_str())).collect();
        page.spans(&spans);
    }
}
