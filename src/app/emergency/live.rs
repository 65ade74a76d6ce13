//! Steps 2 to 5 and 8: off in every process, looked at again, the old pages, and whether the hub answers.

use std::time::Duration;

use tokio::time::sleep;

use super::log::Changed;
use super::look::held;
use super::run::{Rival, Run, snapshot};
use crate::app::Source;
use crate::domain::incident::document::{Ending, PageState};
use crate::domain::incident::journal::Record;
use crate::domain::incident::{Page, Processes, Running, StepId, Word};
use crate::store::hub::{Answered, OffLook, SwitchedOff};
use crate::store::{Live, Verdict};

/// The budgets of steps 2, 3 and 5 (rollout.md 7).
const DISABLE: Duration = Duration::from_secs(10);
const VERIFY: Duration = Duration::from_secs(10);
const PAGES: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Step 2.
    pub(super) async fn disable(&mut self) {
        self.log.begin(self.app.moment(), StepId::Disable);
        let Some(hub) = &self.sources.hub else {
            return self.no_hub(StepId::Disable);
        };
        let off = hub.switch_off(&self.wish.flag, DISABLE).await;
        let at = self.app.moment();
        off.notes.iter().for_each(|note| self.app.ui.note(note));
        let seen = processes(&off.live);
        let result = match (off.answered, seen.verdict) {
            (Answered::None, _) if off.lost > 0 => Ending::Unknown,
            (Answered::None, _) | (_, Word::Partial) => Ending::NotDone,
            _ if off.writes == 0 => Ending::AlreadySo,
            _ => Ending::Done,
        };
        let words = format!("{} ({}; {} writes, {} reads)", seen.words(), seen.evidence, off.writes, off.reads);
        if seen.verdict != Word::Partial {
            self.saw_all_off();
        }
        self.running = running(&off, None);
        self.log.end(at, StepId::Disable, result, words, Changed::of(off.writes));
        self.off = Some(off);
    }

    fn no_hub(&mut self, id: StepId) {
        self.log.end(self.app.moment(), id, Ending::LeftOut, "no hub is configured".to_owned(), Changed::No);
    }

    fn saw_all_off(&mut self) {
        if self.all_off.is_none() {
            let at = self.app.moment();
            self.all_off = Some(at);
            self.log.write(&Record::AllOff { at });
        }
    }

    /// Step 3, and its repetitions.
    pub(super) async fn verify(&mut self, id: StepId) {
        self.log.begin(self.app.moment(), id);
        if self.sources.hub.is_none() {
            return self.no_hub(id);
        }
        let (words, result, changed) = self.look_again().await;
        self.log.end(self.app.moment(), id, result, words, changed);
    }

    /// Look at every process; what is on again is switched off again.
    pub(super) async fn look_again(&mut self) -> (String, Ending, Changed) {
        let Some(hub) = &self.sources.hub else {
            return ("no hub is configured".to_owned(), Ending::LeftOut, Changed::No);
        };
        let key = &self.wish.flag;
        let mut look = hub.look_off(key, self.off.as_ref(), VERIFY).await;
        let mut again = String::new();
        let mut writes = 0;
        if !look.on_at.is_empty() {
            let places = look.on_at.join(", ");
            let off = hub.switch_off(key, DISABLE).await;
            writes = off.writes;
            again = format!("; it was on again at {places}: a late write was taken back with {writes} writes");
            look = hub.look_off(key, Some(&off), VERIFY).await;
            self.off = Some(off);
        }
        let mut seen = processes(&look.live);
        let user = match self.found.listed_user(key) {
            None => "no listed user to ask for".to_owned(),
            Some(user) => {
                let asked = hub.ask_user(key, &user).await;
                let on: Vec<String> =
                    asked.iter().filter(|(_, on)| *on == Ok(true)).map(|(place, _)| place.clone()).collect();
                let unable = asked.iter().find_map(|(place, on)| Some(format!("{place}: {}", on.as_ref().err()?)));
                match (on.is_empty(), unable) {
                    (false, _) => {
                        seen.verdict = Word::Partial;
                        seen.evidence = format!("a listed user is still on at {}; {}", on.join(", "), seen.evidence);
                        "a listed user is still ON".to_owned()
                    }
                    (true, Some(why)) => format!("a listed user could not be asked for everywhere ({why})"),
                    (true, None) => "a listed user is off".to_owned(),
                }
            }
        };
        let states = snapshot(&look.states, key.as_str());
        self.after = held(Source::Hub, &look.states, key, self.wish.names);
        self.running = match &self.off {
            Some(off) => running(off, Some((&look, seen.clone()))),
            None => Running::Seen(seen.clone()),
        };
        let at = self.app.moment();
        self.log.keep(at, "after-hub.json", &states, "the flag in every process as the last look saw it");
        let words = format!("{} ({}; {} reads; {user}){again}", seen.words(), seen.evidence, look.reads);
        let result = match seen.verdict {
            Word::Partial => {
                // What was verified before is not what is there now.
                self.verified = None;
                Ending::NotDone
            }
            _ => {
                self.verified = Some(at);
                self.saw_all_off();
                Ending::Done
            }
        };
        (words, result, Changed::of(writes))
    }

    /// Step 4.
    pub(super) async fn verify_again(&mut self) {
        let id = StepId::VerifyAgain;
        let (time, since) = match self.rival {
            Rival::For(time, since) if !time.is_zero() && matches!(self.running, Running::Seen(_)) => (time, since),
            Rival::For(time, _) if !time.is_zero() => {
                let why = "no process was seen that a rollout could still write to".to_owned();
                return self.log.end(self.app.moment(), id, Ending::LeftOut, why, Changed::No);
            }
            _ => {
                let why = "no rollout held the flag".to_owned();
                return self.log.end(self.app.moment(), id, Ending::LeftOut, why, Changed::No);
            }
        };
        self.log.begin(self.app.moment(), id);
        while since.elapsed() < time && !self.stop.is_asked() {
            let left = time.saturating_sub(since.elapsed());
            self.app.ui.progress(&format!("4 verify again: a rollout may still write for {} s", left.as_secs() + 1));
            tokio::select! {
                () = sleep(left.min(Duration::from_secs(1))) => {}
                () = self.stop.asked() => {}
            }
        }
        let (words, result, changed) = self.look_again().await;
        let words = if changed == Changed::No { format!("no late write; {words}") } else { words };
        self.log.end(self.app.moment(), id, result, words, changed);
    }

    /// Step 5.
    pub(super) async fn old_pages(&mut self) {
        let id = StepId::Pages;
        self.log.begin(self.app.moment(), id);
        let Some(hub) = &self.sources.hub else {
            return self.no_hub(id);
        };
        self.pages = hub.old_pages(PAGES).await;
        let at = self.app.moment();
        let text = serde_json::to_string_pretty(&self.pages).unwrap_or_default() + "\n";
        self.log.keep(at, "pages.json", &text, "what the old pages answer");
        let answered = |page: &Page| !matches!(page.state, PageState::OtherStatus | PageState::Silent);
        let result = if self.pages.iter().all(answered) { Ending::Done } else { Ending::NotDone };
        let mut states: Vec<PageState> = Vec::new();
        for page in &self.pages {
            if !states.contains(&page.state) {
                states.push(page.state);
            }
        }
        let words: Vec<String> = states.iter().map(|state| told(&self.pages, *state)).collect();
        let missing = states.iter().filter(|state| !state.is_there());
        self.remarks.extend(missing.map(|state| format!("old pages: {}", told(&self.pages, *state))));
        self.log.end(at, id, result, words.join("; "), Changed::No);
    }

    /// Step 8.
    pub(super) async fn health(&mut self) {
        let id = StepId::Health;
        self.log.begin(self.app.moment(), id);
        let Some(hub) = &self.sources.hub else {
            return self.no_hub(id);
        };
        let (mut words, mut result) = (Vec::new(), Ending::Done);
        for (address, answered) in hub.answers().await {
            match answered {
                Ok(time) => words.push(format!("{address} answers in {} ms", time.as_millis())),
                Err(why) => {
                    result = Ending::NotDone;
                    words.push(why);
                }
            }
        }
        self.remarks.push("health: the hub's share of errors was not measured, only whether it answers".to_owned());
        let words = format!("{}; the share of 5xx answers was not measured", words.join("; "));
        self.log.end(self.app.moment(), id, result, words, Changed::No);
    }
}

/// Which pages are in a state, and where.
fn told(pages: &[Page], state: PageState) -> String {
    let (mut paths, mut places, mut details) = (Vec::new(), Vec::new(), Vec::new());
    for page in pages.iter().filter(|page| page.state == state) {
        for (list, text) in [(&mut paths, &page.path), (&mut places, &page.address), (&mut details, &page.detail)] {
            if !list.contains(text) && !text.is_empty() {
                list.push(text.clone());
            }
        }
    }
    let status = pages.iter().find(|page| page.state == state).and_then(|page| page.status);
    let status = status.map_or(String::new(), |status| format!("{status}, "));
    let details = if details.is_empty() { String::new() } else { format!(" {}", details.join(" ")) };
    let places = match places.as_slice() {
        [only] => only.clone(),
        several => format!("{} addresses", several.len()),
    };
    format!("{} at {places}: {status}{}{details}", paths.join(", "), state.words())
}

fn processes(live: &Live) -> Processes {
    let verdict = match live.verdict {
        Verdict::Proved => Word::Proved,
        Verdict::Sampled => Word::Sampled,
        Verdict::Partial => Word::Partial,
    };
    Processes { agree: live.agree, of: live.of, verdict, evidence: live.evidence.clone() }
}

/// What is known of the hub: of the last look, if there was one.
fn running(off: &SwitchedOff, look: Option<(&OffLook, Processes)>) -> Running {
    let unseen = look.as_ref().is_none_or(|(look, _)| look.states.is_empty());
    match look {
        _ if unseen && off.answered == Answered::None && off.lost > 0 => {
            Running::Unknown { why: off.live.evidence.clone() }
        }
        _ if unseen && off.answered == Answered::None => Running::Silent { why: off.live.evidence.clone() },
        Some((_, seen)) => Running::Seen(seen),
        None => Running::Seen(processes(&off.live)),
    }
}
