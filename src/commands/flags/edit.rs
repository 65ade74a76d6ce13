//! The one operation behind every `flags` write: read all sources, decide for all, ask once, write in order, show once.
//!
//! Nothing is written before every source was read and every guard has passed. A lost race is decided again where the edit
//! does not depend on what was seen (set operations), and is a conflict where it does. Partial is said, with its own status.

use std::sync::Arc;
use std::time::Duration;

use super::intent::{Asking, Intent, Rivals, Verb};
use super::plan::{Plan, plan, say};
use super::view::{FlagView, WriteView};
use super::words::describe;
use super::write::write_all;
use crate::app::{Answer, App, FlagStore, StoreError};
use crate::commands::Globals;
use crate::error::Error;

/// How long a set operation waits for another llmhub on this machine; with `--timeout` it is half of that.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let patience = match verb.rivals {
            Rivals::Await => globals.timeout.map_or(PATIENCE, |limit| limit / 2),
            _ => Duration::ZERO,
        };
        for store in &stores {
            locks.push(store.lock(patience).await?);
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
