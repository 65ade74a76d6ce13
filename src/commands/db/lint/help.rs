//! The rules as help: a list of them, and one with its reason and its examples.

use serde::Serialize;

use crate::app::{Answer, App};
use crate::domain::lint::{Rule, find, rules};
use crate::error::{Error, nearest};
use crate::ui::{Page, Tone, View};

/// A rule.
#[derive(Debug, Serialize)]
struct RuleView {
    rule: &'static str,
    severity: &'static str,
    summary: &'static str,
    why: &'static str,
    fix: &'static str,
    bad: &'static str,
    good: &'static str,
}

impl From<&Rule> for RuleView {
    fn from(rule: &Rule) -> Self {
        Self {
            rule: rule.id,
            severity: rule.severity.word(),
            summary: rule.summary,
            why: rule.why,
            fix: rule.fix,
            bad: rule.bad,
            good: rule.good,
        }
    }
}

impl View for RuleView {
    fn page(&self, page: &mut Page) {
        page.spans(&[(Tone::Strong, self.rule), (Tone::Plain, &format!(" ({}): {}", self.severity, self.summary))]);
        page.line(self.why);
        page.line(format!("fix: {}", self.fix));
        for (name, text) in [("bad", self.bad), ("good", self.good)] {
            page.toned(Tone::Strong, name);
            text.lines().for_each(|line| page.line(format!("    {line}")));
        }
    }
}

/// All rules.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RulesView(Vec<RuleView>);

impl View for RulesView {
    fn page(&self, page: &mut Page) {
        let row = |rule: &RuleView| {
            [
                (Tone::Strong, rule.rule.to_owned()),
                (Tone::Plain, rule.severity.to_owned()),
                (Tone::Plain, rule.summary.to_owned()),
            ]
        };
        page.table(&["rule", "severity", "finds"], self.0.iter().map(row));
    }
}

/// `--rules`
pub fn list(app: &App) -> Result<Answer, Error> {
    app.show(&RulesView(rules().into_iter().map(RuleView::from).collect()))?;
    Ok(Answer::Yes)
}

/// `--explain RULE`
pub fn explain(app: &App, id: &str) -> Result<Answer, Error> {
    let Some(rule) = find(id) else {
        let known: Vec<String> = rules().iter().map(|rule| rule.id.to_owned()).collect();
        let near = nearest(id, &known).first().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let message = format!("there is no rule `{id}`{near}");
        return Err(Error::NotFound { message, hint: "llmhub db lint --rules".to_owned() });
    };
    app.show(&RuleView::from(rule))?;
    Ok(Answer::Yes)
}
