//! `flags watch`: the ladder, the percentage, and who is behind, until it is stopped.
//!
//! On a terminal one page is redrawn; elsewhere each change is one line of JSON. A look at a hub is one batch of reads a
//! minute for each address, and waits for the request budget (rollout.md 3).

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::app::{Answer, App, Depth, FlagStore, Source, Standing, StoreError, Survey, pick};
use crate::commands::rollout::view;
use crate::commands::{Globals, complete, duration};
use crate::domain::flags::ladder::Ladder;
use crate::domain::flags::{Flag, FlagKey, StoredPercent};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone};

/// Watch a flag: ladder, percentage and the processes that differ; one JSON line per change when not on a terminal
///
/// Example: llmhub flags watch unified_llm_hub --for 10m
#[derive(Debug, Args)]
pub struct Watch {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// Time between two looks; default 60s for a hub, 5s elsewhere
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
    /// Stop after this time; default: never
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    stop_after: Option<Duration>,
}

/// One state that was seen, and by how many reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct SeenView {
    enabled: Option<bool>,
    rollout_percentage: StoredPercent,
    whitelist_users: Option<usize>,
    blacklist_users: Option<usize>,
    addresses: Vec<String>,
}

impl SeenView {
    fn new(flag: &Flag, addresses: Vec<String>) -> Self {
        Self {
            enabled: flag.enabled,
            rollout_percentage: flag.percentage.clone(),
            whitelist_users: flag.whitelist.as_ref().map(Vec::len),
            blacklist_users: flag.blacklist.as_ref().map(Vec::len),
            addresses,
        }
    }
}

/// One line of the stream.
#[derive(Clone, Debug, Serialize)]
struct LookView {
    at: String,
    flag: String,
    source: Source,
    agree: bool,
    states: Vec<SeenView>,
    unreachable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl LookView {
    fn new(key: &FlagKey, source: Source, at: String) -> Self {
        Self {
            at,
            flag: key.to_string(),
            source,
            agree: false,
            states: Vec::new(),
            unreachable: Vec::new(),
            error: None,
        }
    }

    fn fill(&mut self, survey: Survey, key: &FlagKey) -> Result<(), StoreError> {
        let mut states: BTreeMap<String, SeenView> = BTreeMap::new();
        for variant in survey.variants {
            let seen = SeenView::new(&pick(self.source, variant.flags, key)?, variant.addresses);
            let identity = format!(
                "{:?} {:?} {:?} {:?}",
                seen.enabled, seen.rollout_percentage, seen.whitelist_users, seen.blacklist_users
            );
            states.entry(identity).or_insert(seen);
        }
        self.states = states.into_values().collect();
        self.unreachable = survey.unreachable;
        self.agree = self.states.len() == 1 && self.unreachable.is_empty();
        Ok(())
    }

    /// Whether this look says something that the one before it did not.
    fn news(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| {
            self.states != before.states || self.unreachable != before.unreachable || self.error != before.error
        })
    }

    fn page(&self, ladder: &Ladder, next: Duration, standing: Option<&Standing>) -> Page {
        let mut page = Page::default();
        match standing {
            // A rollout that is under way is the whole picture; what was seen just now stands below it.
            Some(standing) => view::draw(standing, &mut page),
            None => view::head(&mut page, &self.flag, &format!("{}   {}", self.source, self.at)),
        }
        let rungs: Vec<u8> = ladder.rungs().iter().map(|rung| rung.get()).collect();
        for state in &self.states {
            let percent = state.rollout_percentage.to_string();
            let (tone, word) = match state.enabled {
                Some(true) => (Tone::Good, "on"),
                Some(false) => (Tone::Dim, "off"),
                None => (Tone::Bad, "null"),
            };
            let at = state.rollout_percentage.effective().map(|at| at.get());
            page.spans(&[
                (tone, word),
                (Tone::Plain, &format!("  {percent}   ladder {}   ", view::ladder(&rungs, at))),
                (Tone::Dim, &state.addresses.join(", ")),
            ]);
        }
        match (&self.error, self.agree) {
            (Some(error), _) => page.toned(Tone::Bad, format!("no answer: {error}")),
            (None, true) => page.toned(Tone::Good, "all that answered agree"),
            (None, false) => page.toned(Tone::Bad, "processes differ or do not answer"),
        }
        for address in &self.unreachable {
            page.toned(Tone::Bad, address);
        }
        view::watched(&mut page, next);
        page
    }
}

impl Watch {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let steady = if store.source() == Source::Hub { Duration::from_secs(60) } else { Duration::from_secs(5) };
        let interval = self.interval.unwrap_or(steady);
        let end = self.stop_after.map(|time| Instant::now() + time);
        let ladder = app.ladder();
        let mut last: Option<LookView> = None;
        let mut drawn = 0;
        loop {
            let look = self.look(app, store.as_ref(), last.is_none()).await?;
            let written = if app.ui.is_live() && app.ui.may_redraw() {
                let standing = self.rollout(app).await;
                let page = look.page(&ladder, interval, standing.as_ref());
                app.ui.redraw(&page, drawn).map(|lines| drawn = lines)
            } else if look.news(last.as_ref()) {
                app.ui.stream(&look)
            } else {
                Ok(())
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Answer::Yes),
                Err(error) => return Err(Error::Output(error.to_string(), Stage::NothingWritten)),
            }
            last = Some(look);
            let pause = end.map_or(interval, |end| interval.min(end.saturating_duration_since(Instant::now())));
            sleep(pause).await;
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(Answer::Yes);
            }
            store.pace().await;
        }
    }

    /// The rollout that is under way, if there is one and its state can be read: the watch is about the flag, and goes on without.
    async fn rollout(&self, app: &App) -> Option<Standing> {
        let steered = app.rollout_standing(&self.name).await.ok()??;
        Some(steered.standing).filter(|standing| !standing.stored_state.is_terminal())
    }

    /// The first look must succeed: a mistyped name or address should not be watched for an hour.
    async fn look(&self, app: &App, store: &dyn FlagStore, first: bool) -> Result<LookView, Error> {
        let mut look = LookView::new(&self.name, store.source(), app.timestamp());
        let filled = match store.survey(Depth::Glance).await {
            Ok(survey) => look.fill(survey, &self.name),
            Err(error) => Err(error),
        };
        match filled {
            Ok(()) => Ok(look),
            Err(error) if first => Err(error.into()),
            Err(error) => {
                look.error = Some(error.to_string());
                Ok(look)
            }
        }
    }
}
