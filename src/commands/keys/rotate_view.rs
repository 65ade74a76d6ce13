//! What `keys rotate` shows: the columns, the keys by fingerprint, how far it is, what the hub's processes showed, and what to
//! do next. No preview and no key is in it.

use serde::Serialize;

use crate::app::{HubProcesses, HubWord, PlannedColumn, Rotated, RotationPlan, RotationState, Unproven, Verdict};
use crate::domain::keys::rotation::Treatment;
use crate::ui::{Page, Tone, View};

/// `keys rotate`
#[derive(Debug, Serialize)]
pub(super) struct RotateView {
    state: RotationState,
    rotation: Option<i64>,
    old_key: Option<String>,
    new_key: String,
    rows: u64,
    columns: Vec<PlannedColumn>,
    json: Vec<Hit>,
    env_file: Option<String>,
    /// What the hub's processes showed; null where it was not asked.
    hub: Option<HubView>,
    next: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
}

/// What the hub's processes showed of the stored keys.
#[derive(Debug, Serialize)]
struct HubView {
    agree: u32,
    of: Option<u32>,
    verdict: Verdict,
    unproven: Vec<Unproven>,
    problems: Vec<String>,
    #[serde(skip)]
    evidence: String,
}

impl From<HubProcesses> for HubView {
    fn from(HubProcesses { live, unproven, failures }: HubProcesses) -> Self {
        let (agree, of, verdict, evidence) = (live.agree, live.of, live.verdict, live.evidence);
        Self { agree, of, verdict, unproven, problems: failures, evidence }
    }
}

impl HubView {
    fn page(&self, page: &mut Page) {
        let of = self.of.map_or_else(|| "an unknown number of".to_owned(), |of| of.to_string());
        let (tone, proof) = match self.verdict {
            Verdict::Proved => (Tone::Good, "proved"),
            Verdict::Sampled => (Tone::Good, "sampled"),
            Verdict::Partial => (Tone::Bad, "NOT PROVEN"),
        };
        let said = format!("{} of {of} processes open the keys, {proof} ({})", self.agree, self.evidence);
        page.toned_fact("hub", tone, said);
        for Unproven { address, id, name, seen, reads } in &self.unproven {
            let times = if *reads == 1 { "read" } else { "reads" };
            page.toned_fact(
                "not shown",
                Tone::Bad,
                format!("{address}: `{name}` ({id}) {} ({reads} {times})", seen.words()),
            );
        }
        self.problems.iter().for_each(|problem| page.toned_fact("not known", Tone::Bad, problem));
    }
}

/// A place in JSON where tokens stand.
#[derive(Debug, Serialize)]
struct Hit {
    column: String,
    path: String,
    rows: u64,
}

impl View for RotateView {
    fn page(&self, page: &mut Page) {
        let rows = self.columns.iter().map(|column| {
            let (tone, word) = match column.treatment {
                Treatment::Rotate => (Tone::Good, "rotate"),
                Treatment::Blocked => (Tone::Bad, "no key opens some"),
                Treatment::Untouched => (Tone::Warn, "left alone: no key opens it"),
            };
            let opened: Vec<String> = column.opened_by.iter().map(|(word, rows)| format!("{word} {rows}")).collect();
            [
                (Tone::Strong, column.column.clone()),
                (Tone::Plain, column.rows.to_string()),
                (Tone::Plain, opened.join(", ")),
                (tone, word.to_owned()),
            ]
        });
        page.table(&["column", "rows", "opened by", ""], rows);
        for hit in &self.json {
            page.toned_fact(
                "inside JSON",
                Tone::Warn,
                format!("{} {}: {} rows, never touched", hit.column, hit.path, hit.rows),
            );
        }
        let key = |key: &Option<String>| key.as_ref().map_or("the same".to_owned(), |key| format!("fp:{key}"));
        page.fact("key", format!("{} → fp:{}", key(&self.old_key), self.new_key));
        let (tone, state) = match self.state {
            RotationState::Unchanged => (Tone::Good, "nothing to do".to_owned()),
            RotationState::Planned => {
                (Tone::Warn, format!("dry run: {} rows would change, nothing was written", self.rows))
            }
            RotationState::Swapped if self.hub.is_some() => {
                let said = "still open, with its backup: not every process has shown that it opens the keys";
                (Tone::Warn, format!("{} rows changed; {said}", self.rows))
            }
            RotationState::Swapped => (Tone::Warn, format!("{} rows changed; the hub has to be recreated", self.rows)),
            RotationState::Finished => (Tone::Good, format!("finished; {} rows changed in this run", self.rows)),
            RotationState::Aborted => (Tone::Good, format!("aborted; {} rows are as before", self.rows)),
        };
        page.toned_fact("state", tone, state);
        if let Some(hub) = &self.hub {
            hub.page(page);
        }
        if let Some(obstacle) = &self.obstacle {
            page.toned_fact("in the way", Tone::Bad, obstacle);
        }
        for (at, next) in self.next.iter().enumerate() {
            page.fact(if at == 0 { "next" } else { "then" }, next);
        }
    }
}

/// The document of a run, or of a plan.
pub(super) fn view(plan: &RotationPlan, done: Rotated, next: Vec<String>, obstacle: Option<String>) -> RotateView {
    let json = plan.json.iter();
    RotateView {
        state: done.state,
        rotation: done.rotation,
        old_key: plan.old_key.clone(),
        new_key: plan.new_key.clone(),
        rows: done.rows,
        columns: plan.columns.clone(),
        json: json.map(|hit| Hit { column: hit.column.clone(), path: hit.path.clone(), rows: hit.rows }).collect(),
        env_file: plan.env_file(),
        hub: match done.hub {
            Some(HubWord::Asked(processes)) => Some(processes.into()),
            Some(HubWord::Unasked(_)) | None => None,
        },
        next,
        obstacle,
    }
}
