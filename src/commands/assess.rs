//! `llmhub assess`: whether a feature has to go back, how soon and why. Measures and asks; writes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Globals, complete, duration, quote};
use crate::app::{Answer, App, AssessWish, Source};
use crate::domain::assess::{
    Advice, Assessment, BUILT_IN, CAN_FIX_FORWARD, Class, Criteria, Evidence, Known, assess, parse,
};
use crate::domain::flags::FlagKey;
use crate::domain::rollout::plan::{Plan, Seen, Starter, Usage, starter};
use crate::domain::rollout::verdict::shown;
use crate::error::Error;
use crate::ui::{Page, Reply, Tone, View};

/// Say whether a feature has to go back, how soon, and why
///
/// Numbers come from the metrics of a plan, or from the usage tables of a configured database; what a machine cannot know comes
/// from --fact, or is asked on a terminal. Nothing is written. Exit 0: repair it with a new release; 1: anything else.
///
/// Example: llmhub assess unified_llm_hub --plan plan.toml --fact data_loss=no
#[derive(Debug, Args)]
pub struct Assess {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// The plan whose metrics are measured
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// What is known, such as data_loss=no; repeat
    #[arg(long, value_name = "NAME=yes|no", value_parser = fact)]
    fact: Vec<(String, Known)>,
    /// The span that the numbers are about
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    window: Duration,
    /// When the rollout began, such as 2026-03-01T12:00:00Z: the hour before it is what latency is compared with. A run that is
    /// under way knows it
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Criteria instead of those that are built in
    #[arg(long, value_name = "FILE")]
    criteria: Option<PathBuf>,
}

fn fact(text: &str) -> Result<(String, Known), String> {
    match text.split_once('=') {
        Some((name, "yes")) if !name.is_empty() => Ok((name.to_owned(), Known::Yes)),
        Some((name, "no")) if !name.is_empty() => Ok((name.to_owned(), Known::No)),
        _ => Err("give NAME=yes or NAME=no; what nobody knows is left out".to_owned()),
    }
}

/// `assess`
#[derive(Debug, Serialize)]
struct AssessView {
    flag: String,
    class: Class,
    within: Option<String>,
    fired: Vec<String>,
    unanswered: Vec<String>,
    evidence: Vec<Evidence>,
    next: String,
    #[serde(skip)]
    headline: (Tone, String),
    #[serde(skip)]
    deadline: Option<String>,
}

impl View for AssessView {
    fn page(&self, page: &mut Page) {
        page.toned(self.headline.0, &self.headline.1);
        page.fact("flag", &self.flag);
        if let Some(deadline) = &self.deadline {
            page.toned_fact("until", Tone::Strong, deadline);
        }
        for rule in &self.fired {
            page.toned_fact("fired", Tone::Bad, rule);
        }
        if !self.unanswered.is_empty() {
            page.toned_fact("unknown", Tone::Warn, self.unanswered.join(", "));
        }
        page.fact("next", &self.next);
        if self.evidence.is_empty() {
            return;
        }
        let rows = self.evidence.iter().map(|evidence| {
            let said = match evidence.answer {
                Some(Known::Yes) => "yes".to_owned(),
                Some(Known::No) => "no".to_owned(),
                Some(Known::Unknown) | None => evidence.value.map_or("unknown".to_owned(), shown),
            };
            let samples = evidence.samples.map_or(String::new(), |samples| samples.to_string());
            [evidence.name.clone(), said, samples, evidence.source.clone(), evidence.reason.clone()]
                .map(|text| (Tone::Plain, text))
        });
        page.table(&["evidence", "value", "samples", "from", "why"], rows);
    }
}

impl Assess {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let criteria = self.read_criteria(app)?;
        let known: Vec<&str> = criteria.facts().into_iter().chain([CAN_FIX_FORWARD]).collect();
        if let Some((name, _)) = self.fact.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(Error::Usage {
                message: format!("`{name}` is no fact of the criteria"),
                hint: format!("the facts are {}", known.join(", ")),
            });
        }
        let plan = match &self.plan {
            Some(path) => Some(app.read_plan(path, &self.name)?.plan),
            None => self.usual_plan(app),
        };
        let mut evidence = self.measure(app, globals, plan.as_ref()).await?;
        let facts = self.facts(app, &criteria, &evidence).await?;
        for (name, answer) in facts.iter().filter(|(_, answer)| **answer != Known::Unknown) {
            evidence.push(Evidence {
                name: name.clone(),
                value: None,
                answer: Some(*answer),
                samples: None,
                source: "operator".to_owned(),
                reason: "told by the operator".to_owned(),
            });
        }
        let found = assess(&criteria, &facts, &evidence);
        app.show(&self.view(app, globals, &found, evidence))?;
        Ok(if found.class == Class::FixForward { Answer::Yes } else { Answer::No })
    }

    fn read_criteria(&self, app: &App) -> Result<Criteria, Error> {
        let (name, text) = match &self.criteria {
            Some(path) => (path.display().to_string(), app.read_text(path)?),
            None => ("criteria".to_owned(), BUILT_IN.to_owned()),
        };
        parse(&text).map_err(|fault| Error::Input {
            message: fault.at(&name),
            hint: "correct this line; nothing was written".to_owned(),
        })
    }

    /// What is measured without a plan: the usage tables, where a database is configured.
    fn usual_plan(&self, app: &App) -> Option<Plan> {
        if !app.configured().contains(&Source::Db) {
            return None;
        }
        let (ladder, seen) = (app.ladder(), Seen::default());
        let usage = Usage::Tables;
        let text =
            starter(&Starter { flag: &self.name, ladder: &ladder, seen: &seen, usage, prometheus: None, logs: None });
        crate::domain::rollout::plan::parse(&text, &ladder).ok().map(|parsed| parsed.plan)
    }

    /// An emergency is assessed although the hub is down: then its numbers are unknown.
    async fn measure(&self, app: &App, globals: &Globals, plan: Option<&Plan>) -> Result<Vec<Evidence>, Error> {
        let store = app.reader(&globals.via).await?;
        let flag = match store.get(&self.name).await {
            Ok(flag) => flag,
            Err(error) => {
                let error = Error::from(error);
                if error.status() != 6 {
                    return Err(error);
                }
                app.ui.warn(&format!("nothing can be measured: {error}"));
                return Ok(Vec::new());
            }
        };
        app.say_scope(store.as_ref());
        let Some(plan) = plan else {
            app.ui.warn("nothing is measured: give --plan FILE (llmhub rollout plan writes one), or a database");
            return Ok(Vec::new());
        };
        let (since, taken) = self.before(app, plan).await;
        app.measure_criteria(&AssessWish { plan, flag: &flag, window: self.window, since, taken: &taken }).await
    }

    /// What the numbers are compared with: what the operator names, or else the run that is under way. A state that cannot be
    /// read keeps nobody from an answer.
    async fn before(&self, app: &App, plan: &Plan) -> (Option<Timestamp>, BTreeMap<String, f64>) {
        if self.since.is_some() {
            return (self.since, BTreeMap::new());
        }
        match app.rollout_baseline(&self.name, plan).await {
            Ok(Some((since, taken))) => (Some(since), taken),
            Ok(None) => (None, BTreeMap::new()),
            Err(error) => {
                app.ui.warn(&format!("whether a rollout is under way is not known: {error}"));
                (None, BTreeMap::new())
            }
        }
    }

    /// What the operator says, on the command line or at the terminal. Only what can still change the answer is asked.
    async fn facts(
        &self,
        app: &App,
        criteria: &Criteria,
        evidence: &[Evidence],
    ) -> Result<BTreeMap<String, Known>, Error> {
        let mut facts: BTreeMap<String, Known> = self.fact.iter().cloned().collect();
        let mut asked: Vec<String> = Vec::new();
        loop {
            let found = assess(criteria, &facts, evidence);
            let open = criteria.facts().into_iter().chain([CAN_FIX_FORWARD]).map(str::to_owned).find(|name| {
                found.class != Class::Immediate && found.unanswered.contains(name) && !asked.contains(name)
            });
            let Some(name) = open else { return Ok(facts) };
            let question = format!("{}?", name.replace('_', " "));
            let ui = Arc::clone(&app.ui);
            let reply = tokio::task::spawn_blocking(move || ui.ask_fact(&question)).await;
            let reply = reply.map_err(|_| Error::Bug("the prompt died".to_owned()))?;
            match reply {
                Reply::Yes => facts.insert(name.clone(), Known::Yes),
                Reply::No => facts.insert(name.clone(), Known::No),
                Reply::Unknown => None,
            };
            asked.push(name);
        }
    }

    fn view(&self, app: &App, globals: &Globals, found: &Assessment, evidence: Vec<Evidence>) -> AssessView {
        let place = globals.where_words();
        let flag = quote(self.name.as_str());
        let because = if found.fired.is_empty() { "as assessed".to_owned() } else { found.fired.join(", ") };
        let next = match found.advice {
            Advice::RollBack => format!("llmhub rollback {flag}{place} --reason {}", quote(&because)),
            Advice::Decide => format!("llmhub assess {flag}{place} --fact {CAN_FIX_FORWARD}=yes"),
            Advice::FixForwardAndHold | Advice::FixForward => format!("llmhub rollout status {flag}{place}"),
        };
        AssessView {
            flag: self.name.to_string(),
            class: found.class,
            within: found.within.as_ref().map(|(text, _)| text.clone()),
            fired: found.fired.clone(),
            unanswered: found.unanswered.clone(),
            evidence,
            next,
            headline: headline(found),
            deadline: found.within.as_ref().and_then(|(_, span)| deadline(app, *span)),
        }
    }
}

fn headline(found: &Assessment) -> (Tone, String) {
    let within = found.within.as_ref().map(|(text, _)| format!(" within {text}")).unwrap_or_default();
    let words = match found.advice {
        Advice::RollBack => format!("{}: roll back{within}", found.class),
        Advice::Decide => {
            format!("{}: a person decides whether it can be repaired without going back; hold", found.class)
        }
        Advice::FixForwardAndHold => format!("{}: repair it; the rung is held meanwhile", found.class),
        Advice::FixForward => format!("{}: nothing has to go back", found.class),
    };
    match found.class {
        Class::Immediate | Class::Urgent => (Tone::Bad, words),
        // A mild answer must not hide what nobody has looked at.
        Class::Consider | Class::FixForward if !found.open_immediate.is_empty() => {
            (Tone::Warn, format!("{words}, as far as is known: nobody answered {}", found.open_immediate.join(", ")))
        }
        Class::Consider => (Tone::Warn, words),
        Class::FixForward => (Tone::Good, words),
    }
}

fn deadline(app: &App, span: Duration) -> Option<String> {
    let now: Timestamp = app.timestamp().parse().ok()?;
    let until = now.checked_add(SignedDuration::try_from(span).ok()?).ok()?;
    Some(until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
