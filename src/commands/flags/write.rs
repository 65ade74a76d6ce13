//! Writing what was planned: each source in order, decided again where a race was lost, and what came of it.

use super::intent::Intent;
use super::plan::{self, Plan, say_apart};
use super::view::{FailureView, FlagView, ResultView, WriteView};
use super::words::describe;
use crate::app::{Answer, App, Live, Note, Saved, Source, StoreError, Verdict};
use crate::commands::Globals;
use crate::domain::flags::{Flag, Member};
use crate::error::{Error, Stage};

/// How often a lost race is decided again before it is reported. Each lost race is somebody else's edit that stands, so a
/// dozen operators at once need a dozen tries at most.
const ATTEMPTS: u32 = 50;

/// Write every source of one flag, in order.
pub async fn write_all(
    app: &App,
    globals: &Globals,
    intent: &Intent<'_>,
    plans: Vec<Plan>,
    note: &Note,
    view: &mut WriteView,
) -> Result<Answer, Error> {
    let mut failure: Option<Error> = None;
    let mut wanted = None;
    // Taking users off goes on past a source that fails; putting users on does not.
    let careful = plans.iter().any(Plan::widens);
    for plan in plans {
        let source = plan.store.source();
        if failure.is_some() && careful {
            view.results.push(skipped(source));
            continue;
        }
        app.stage(Stage::Writing(source.word().to_owned()));
        let before = plan.before().clone();
        let members = plan.decision.change.members();
        match attempt(app, intent, plan, note).await {
            Ok(saved) => {
                saved.notes.iter().for_each(|note| app.ui.note(note));
                view.results.push(result(source, &saved));
                if wanted.is_none() {
                    // A hub is read back at another process: what differs there and was not edited is no part of this change.
                    let after =
                        if source == Source::Hub { edited(&before, &saved.after, &members) } else { saved.after };
                    view.before = FlagView::new(&before, source);
                    view.after = FlagView::new(&after, source);
                    view.summary = describe(&before, &after);
                    wanted = Some((before, after, source));
                }
            }
            Err(error) => {
                view.results.push(ResultView { error: Some(failed(&error)), ..skipped(source) });
                failure = worst(failure, error);
            }
        }
    }
    let Some((before, after, source)) = wanted else {
        app.stage(Stage::NothingWritten);
        return Err(failure.unwrap_or(Error::NoSource));
    };
    app.stage(Stage::Written);
    view.changed = view.results.iter().any(|result| result.changed);
    let restart = app.after_restart(&after);
    for result in &mut view.results {
        result.survives_restart = restart.as_ref().and_then(|restart| restart.keeps);
    }
    view.returns_to = restart.map(|restart| restart.words);
    if view.changed
        && let Some(command) = super::reverse::command(&before, &after, source)
    {
        app.ui.note(&format!("undo: {command}{}", globals.where_words()));
    }
    Ok(match failure {
        Some(error) if error.status() == 11 => Answer::Unknown,
        Some(_) => Answer::Partial,
        None if view.results.iter().any(is_partial) => Answer::Partial,
        None => Answer::Yes,
    })
}

fn edited(before: &Flag, read_back: &Flag, members: &[Member]) -> Flag {
    let mut after = before.clone();
    members.iter().for_each(|member| member.copy(read_back, &mut after));
    after
}

fn is_partial(result: &ResultView) -> bool {
    result.live.as_ref().is_some_and(|live: &Live| live.verdict == Verdict::Partial)
}

/// Write one source; decide again when a race was lost and the edit allows it.
async fn attempt(app: &App, intent: &Intent<'_>, mut plan: Plan, note: &Note) -> Result<Saved, Error> {
    let mut known: Vec<Flag> = Vec::new();
    for _ in 1..ATTEMPTS {
        let source = plan.store.source();
        match plan.store.save(&plan.edit(), note).await {
            Err(StoreError::Moved { seen }) => known.push(*seen),
            // A hub has no compare-and-set: there, somebody else's edit is always reported.
            Err(StoreError::Conflict(reason)) if plan.decision.change.commutes() && source != Source::Hub => {
                app.ui.detail(&format!("{source}: {reason}; deciding again on the newer version"));
            }
            result => return result.map_err(Error::from),
        }
        plan = plan::plan(&plan.store, intent, known.clone()).await?;
        say_apart(app, &plan);
    }
    Ok(plan.store.save(&plan.edit(), note).await?)
}

fn result(source: Source, saved: &Saved) -> ResultView {
    ResultView {
        source,
        changed: saved.changed,
        live: saved.live.clone(),
        persisted: saved.persisted,
        survives_restart: None,
        error: None,
    }
}

fn skipped(source: Source) -> ResultView {
    let error = FailureView {
        code: "not_attempted",
        message: "not attempted, because a source before it failed".to_owned(),
        hint: "run the command again once that is repaired".to_owned(),
    };
    ResultView { source, changed: false, live: None, persisted: false, survives_restart: None, error: Some(error) }
}

fn failed(error: &Error) -> FailureView {
    FailureView { code: error.code(), message: error.to_string(), hint: error.hint() }
}

/// 11 beats everything else; otherwise the first failure is kept.
fn worst(first: Option<Error>, second: Error) -> Option<Error> {
    match first {
        Some(first) if second.status() != 11 => Some(first),
        _ => Some(second),
    }
}
