//! The one operation behind every `flags` write: read all sources, decide for all, ask once, write in order, show once.
//!
//! Nothing is written before every source was read and every guard has passed. A lost race is decided again where the edit
//! does not depend on what was seen (set operations), and is a conflict where it does. Partial is said, with its own status.

use std::sync::Arc;
use std::time::Duration;

use super::view::{FailureView, FlagView, ResultView, WriteView};
use super::words::describe;
use crate::app::{Answer, App, Depth, Edit, FlagStore, Live, Note, Saved, Source, Stance, StoreError, Verdict, pick};
use crate::commands::Globals;
use crate::domain::flags::merge::{Merged, merge};
use crate::domain::flags::{Change, Flag, FlagKey, Member, differences};
use crate::error::{Error, Stage};

/// How often a lost race is decided again before it is reported.
const ATTEMPTS: u32 = 5;

/// How long an edit that commutes waits for another llmhub on this machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a verb asks before it acts on an unprotected profile (DESIGN 2 lists which).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Only on a protected profile.
    Protected,
    /// Always.
    Always,
}

/// The edit for a source, given the states seen there (most frequent first, at least one).
pub type Decide<'a> = Box<dyn Fn(Source, &[Flag]) -> Result<Decision, Error> + Send + Sync + 'a>;

/// What a verb wants done to one flag.
pub struct Intent<'a> {
    /// The flag.
    pub key: FlagKey,
    /// How to do it on each source.
    pub decide: Decide<'a>,
}

/// What a verb is, for the history and for the question.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its name.
    pub operation: &'static str,
    /// Whether it asks.
    pub asking: Asking,
}

/// The edit, and what the operator should know about it.
pub struct Decision {
    /// What to do.
    pub change: Change,
    /// Whether a state that nobody saw before may be overwritten even where somebody may be switched on.
    pub stance: Stance,
    /// Said on stderr before the write.
    pub notes: Vec<String>,
    /// The same, but to be looked at.
    pub warnings: Vec<String>,
}

impl Decision {
    /// An edit that needs no comment.
    pub fn new(change: Change) -> Self {
        Self { change, stance: Stance::Careful, notes: Vec::new(), warnings: Vec::new() }
    }

    /// A confirmed whole state, to be put over whatever is there.
    pub fn restoring(change: Change) -> Self {
        Self { stance: Stance::Determined, ..Self::new(change) }
    }
}

/// One source, read and decided.
struct Plan {
    store: Arc<dyn FlagStore>,
    states: Vec<Flag>,
    unreachable: Vec<String>,
    decision: Decision,
    merged: Merged,
}

impl Plan {
    fn before(&self) -> &Flag {
        // `decide` keeps at least one state.
        self.states.first().unwrap_or(&self.merged.wanted)
    }

    fn widens(&self) -> bool {
        !self.merged.narrows && !self.merged.already
    }

    fn after(&self) -> Flag {
        let mut after = self.before().clone();
        for member in self.decision.change.members() {
            member.copy(&self.merged.wanted, &mut after);
        }
        after
    }

    fn edit(&self) -> Edit {
        let seen = self.before().clone();
        let narrows = self.merged.narrows && !self.merged.already;
        Edit {
            also_seen: self.states.iter().skip(1).cloned().collect(),
            wanted: self.after(),
            members: self.decision.change.members(),
            stance: if narrows { Stance::Determined } else { self.decision.stance },
            seen,
        }
    }
}

/// Change one flag on the sources chosen for writing, and show it.
pub async fn execute(app: &App, globals: &Globals, verb: Verb, intent: Intent<'_>) -> Result<Answer, Error> {
    let stores = app.writers(&globals.via).await?;
    let (mut views, answer) = carry_out(app, globals, verb, &[intent], stores).await?;
    match views.pop() {
        Some(view) => app.show(&view)?,
        None => return Err(Error::Bug("a change without a result".to_owned())),
    }
    Ok(answer)
}

/// Change several flags; the caller shows the results.
pub async fn carry_out(
    app: &App,
    globals: &Globals,
    verb: Verb,
    intents: &[Intent<'_>],
    stores: Vec<Box<dyn FlagStore>>,
) -> Result<(Vec<WriteView>, Answer), Error> {
    let note = app.note(verb.operation, globals.reason.as_deref());
    app.announce();
    let stores: Vec<Arc<dyn FlagStore>> = stores.into_iter().map(Arc::from).collect();
    let mut locks = Vec::new();
    if !globals.dry_run {
        for store in &stores {
            locks.push(store.lock(patience(verb)).await?);
        }
    }
    let mut planned = Vec::new();
    for intent in intents {
        let mut plans = Vec::new();
        for store in &stores {
            plans.push(plan(store, intent, Vec::new()).await?);
        }
        plans.iter().for_each(|plan| say(app, plan));
        planned.push((intent, plans));
    }
    let all = || planned.iter().flat_map(|(_, plans)| plans);
    // What an unreachable process holds is unknown: nobody may be switched on before it is known.
    if let Some(reason) = all().filter(|plan| plan.widens()).find_map(|plan| plan.unreachable.first()) {
        return Err(StoreError::Unreachable(format!("{reason}; nothing was written: not every address answers")).into());
    }
    if all().any(|plan| !plan.merged.already) && !globals.dry_run {
        let question = question(verb, &planned);
        app.authorise(question, verb.asking == Asking::Always, globals.reason.as_deref()).await?;
    }
    let mut views = Vec::new();
    let mut answer = Answer::Yes;
    for (intent, plans) in planned {
        let mut view = preview(intent, &plans, globals.dry_run)?;
        if !globals.dry_run {
            match write_all(app, globals, intent, plans, &note, &mut view).await {
                Ok(each) => answer = answer.worse(each),
                // What stands already must be shown; what failed is in the view.
                Err(error) if !views.is_empty() => {
                    app.ui.warn(&format!("{}: {error}", intent.key));
                    answer = answer.worse(if error.status() == 11 { Answer::Unknown } else { Answer::Partial });
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        views.push(view);
    }
    Ok((views, answer))
}

/// Two operators who step at once must not take two rungs: the second one does not wait, it is told. Set operations may
/// wait, because they are decided again on what is there then.
fn patience(verb: Verb) -> Duration {
    if matches!(verb.operation, "whitelist" | "blacklist") { PATIENCE } else { Duration::ZERO }
}

fn preview(intent: &Intent<'_>, plans: &[Plan], dry_run: bool) -> Result<WriteView, Error> {
    let first = plans.first().ok_or(Error::NoSource)?;
    let source = first.store.source();
    Ok(WriteView {
        flag: intent.key.to_string(),
        changed: plans.iter().any(|plan| !plan.merged.already),
        before: FlagView::new(first.before(), source),
        after: FlagView::new(&first.after(), source),
        results: Vec::new(),
        dry_run,
        summary: describe(first.before(), &first.after()),
        returns_to: None,
    })
}

/// Read a source and decide. `known` are states seen by an attempt before this one.
async fn plan(store: &Arc<dyn FlagStore>, intent: &Intent<'_>, known: Vec<Flag>) -> Result<Plan, Error> {
    let survey = store.survey(Depth::Glance).await?;
    let mut states: Vec<Flag> = Vec::new();
    for variant in survey.variants {
        let flag = pick(store.source(), variant.flags, &intent.key)?;
        if !states.iter().any(|state| differences(state, &flag).is_empty()) {
            states.push(flag);
        }
    }
    for flag in known {
        if !states.iter().any(|state| differences(state, &flag).is_empty()) {
            states.push(flag);
        }
    }
    let decision = (intent.decide)(store.source(), &states)?;
    let (first, others) = states.split_first().ok_or_else(|| Error::Bug("a survey without a state".to_owned()))?;
    let merged = merge(first, others, &decision.change).map_err(|apart| {
        let members: Vec<&str> = apart.members.iter().map(|member| member.name()).collect();
        Error::Disagree {
            message: format!(
                "the hub's processes disagree in {} of `{}`; nothing was written",
                members.join(", "),
                intent.key
            ),
            hint: "bring them together first: llmhub flags sync --from db --to hub".to_owned(),
        }
    })?;
    Ok(Plan { store: Arc::clone(store), states, unreachable: survey.unreachable, decision, merged })
}

fn say(app: &App, plan: &Plan) {
    for note in &plan.decision.notes {
        app.ui.note(note);
    }
    for warning in &plan.decision.warnings {
        app.ui.warn(warning);
    }
    say_apart(app, plan);
}

fn say_apart(app: &App, plan: &Plan) {
    if !plan.merged.left_apart.is_empty() {
        let members: Vec<&str> = plan.merged.left_apart.iter().map(|member| member.name()).collect();
        app.ui.warn(&format!("the hub's processes disagree in {}; that is left as it is", members.join(", ")));
    }
}

fn question(verb: Verb, planned: &[(&Intent<'_>, Vec<Plan>)]) -> String {
    let mut lines = vec![format!("{}:", verb.operation)];
    for (intent, plans) in planned {
        for plan in plans.iter().filter(|plan| !plan.merged.already) {
            let change = describe(plan.before(), &plan.after()).join("; ");
            lines.push(format!("  {} in {}: {change}", intent.key, plan.store.source()));
        }
    }
    lines.push("Go on?".to_owned());
    lines.join("\n")
}

/// Write every source of one flag, in order.
async fn write_all(
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
        && let Some(command) = super::undo::command(&before, &after, source)
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
        plan = self::plan(&plan.store, intent, known.clone()).await?;
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
