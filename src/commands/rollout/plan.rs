//! `rollout plan`: a commented plan for a flag, or a look at one that is there. Writes nothing but its result.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use crate::app::{Answer, App, Source};
use crate::commands::{Globals, complete};
use crate::domain::flags::FlagKey;
use crate::domain::flags::digest::{Digest, digest, digest_of_users};
use crate::domain::rollout::plan::{
    LogsFrom, Metric, Plan as Rules, Role, Seen, Starter, Usage, prometheus_address, starter,
};
use crate::domain::rollout::reach::{Reach, reach};
use crate::error::Error;
use crate::ui::{Format, Page, Tone, View};

/// Write a commented plan for a flag, or check one that is there (--plan)
///
/// The plan measures what is configured: a database gives the errors and the latency of the users who have the feature; add
/// --prometheus and --logs for the hub as a whole. What is not there stands in the plan as a comment.
///
/// Example: llmhub rollout plan unified_llm_hub > plan.toml
#[derive(Debug, Args)]
pub struct Plan {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// Check this plan instead of writing one; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prometheus", "logs", "users"])]
    plan: Option<PathBuf>,
    /// A Prometheus server that scrapes the hub
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// The hub's log file; - is stdin
    #[arg(long, value_name = "FILE")]
    logs: Option<PathBuf>,
    /// The users, one id a line: says whom each step reaches, and binds the plan to them
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
}

/// One step.
#[derive(Debug, Serialize)]
struct StepView {
    to: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    gained: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<u64>,
}

/// One metric.
#[derive(Debug, Serialize)]
struct MetricView {
    name: String,
    source: String,
    query: String,
    role: &'static str,
    conditions: Vec<ConditionView>,
}

/// What holds from one rung on.
#[derive(Debug, Serialize)]
struct ConditionView {
    from: u8,
    pass_if: String,
    fail_if: String,
    min_samples: u64,
}

/// `rollout plan`
#[derive(Debug, Serialize)]
struct PlanView {
    flag: String,
    steps: Vec<StepView>,
    metrics: Vec<MetricView>,
    flag_digest: Option<Digest>,
    cohort_digest: Option<Digest>,
    plan_digest: Digest,
    plan: String,
}

impl View for PlanView {
    fn page(&self, page: &mut Page) {
        let steps: Vec<String> = self.steps.iter().map(|step| step.to.to_string()).collect();
        page.spans(&[(Tone::Strong, &self.flag), (Tone::Plain, &format!("  {} %", steps.join(" → ")))]);
        if self.metrics.is_empty() {
            page.toned(Tone::Warn, "nothing is measured: a person leaves every rung");
            return;
        }
        let rows = self.metrics.iter().flat_map(|metric| {
            metric.conditions.iter().map(|condition| {
                [
                    metric.name.clone(),
                    format!("{} {}", metric.source, metric.query),
                    metric.role.to_owned(),
                    format!("{} %", condition.from),
                    condition.pass_if.clone(),
                    condition.fail_if.clone(),
                    condition.min_samples.to_string(),
                ]
                .map(|text| (Tone::Plain, text))
            })
        });
        page.table(&["metric", "asked", "role", "from", "pass", "fail", "samples"], rows);
    }
}

impl Plan {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if let Some(path) = &self.plan {
            let file = app.read_plan(path, &self.name)?;
            app.show(&view(&file.plan, file.text, &[]))?;
            return Ok(Answer::Yes);
        }
        // Checked here and not by the parser of the arguments, which repeats what it refuses: it may hold a password.
        let prometheus = self.prometheus.as_deref().map(prometheus_address).transpose();
        let prometheus = prometheus.map_err(|why| Error::Usage {
            message: format!("the address of --prometheus {why}"),
            hint: "such as --prometheus http://localhost:9090".to_owned(),
        })?;
        let store = app.reader(&globals.via).await?;
        let flag = store.get(&self.name).await?;
        app.say_scope(store.as_ref());
        for problem in flag.problems() {
            app.ui.warn(&problem);
        }
        let users = self.users.as_deref().map(|path| app.user_list(path)).transpose()?;
        let seen = Seen {
            flag: Some(digest(&flag)),
            cohort: users.as_ref().map(|users| digest_of_users(users.iter().map(String::as_str))),
        };
        let usage = if app.configured().contains(&Source::Db) { Usage::Tables } else { Usage::None };
        let logs = self.logs.as_ref().map(|path| match path.to_str() {
            Some("-") => LogsFrom::Stdin,
            _ => LogsFrom::File(path.clone()),
        });
        let ladder = app.ladder();
        let text = starter(&Starter {
            flag: &self.name,
            ladder: &ladder,
            seen: &seen,
            usage,
            prometheus: prometheus.as_ref(),
            logs: logs.as_ref(),
        });
        // What was written must be what a run will read.
        let parsed = crate::domain::rollout::plan::parse(&text, &ladder).map_err(|faults| {
            Error::Bug(format!(
                "the plan that was written cannot be read: {}",
                faults.first().map_or_else(String::new, |fault| fault.at("plan"))
            ))
        })?;
        let reached = users.map(|users| reach(&flag, &parsed.plan.steps, &users, app.utc_now())).unwrap_or_default();
        let view = view(&parsed.plan, text, &reached);
        self.tell(app, &view);
        match globals.format() {
            // The plan itself is the result: it goes into a file.
            Format::Table => app.document(&view.plan)?,
            _ => app.show(&view)?,
        }
        Ok(Answer::Yes)
    }

    fn tell(&self, app: &App, view: &PlanView) {
        if view.metrics.is_empty() {
            app.ui.warn("nothing is measured: no database is configured, and neither --prometheus nor --logs is given");
        }
        for step in &view.steps {
            if let (Some(gained), Some(on)) = (step.gained, step.on) {
                app.ui.note(&format!("{} %: +{gained}, then {on} on", step.to));
            }
        }
        app.ui.note(&format!(
            "check it after every edit: llmhub rollout plan {} --plan plan.toml",
            crate::commands::quote(self.name.as_str())
        ));
    }
}

fn view(plan: &Rules, text: String, reached: &[Reach]) -> PlanView {
    let steps = plan.steps.rungs().iter().map(|rung| {
        let reach = reached.iter().find(|reach| reach.to == rung.get());
        StepView { to: rung.get(), gained: reach.map(|reach| reach.gained), on: reach.map(|reach| reach.on) }
    });
    PlanView {
        flag: plan.flag.to_string(),
        steps: steps.collect(),
        metrics: plan.metrics.iter().map(metric).collect(),
        flag_digest: plan.seen.flag.clone(),
        cohort_digest: plan.seen.cohort.clone(),
        plan_digest: Digest::of(text.as_bytes()),
        plan: text,
    }
}

fn metric(metric: &Metric) -> MetricView {
    let conditions = metric.thresholds.iter().map(|(rung, threshold)| ConditionView {
        from: rung.get(),
        pass_if: threshold.pass_if.to_string(),
        fail_if: threshold.fail_if.to_string(),
        min_samples: threshold.min_samples,
    });
    MetricView {
        name: metric.name.clone(),
        source: metric.query.source().word().to_owned(),
        query: metric.query.to_string(),
        role: match metric.role {
            Role::Guardrail => "guardrail",
            Role::Signal => "signal",
            Role::Shadow => "shadow",
        },
        conditions: conditions.collect(),
    }
}
