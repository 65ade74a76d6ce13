//! Findings as SARIF 2.1.0, the form that code scanning reads.
//!
//! Columns count characters, as everywhere here. Paths are relative where they were given so, and percent-encoded.

use serde_json::{Value, json};

use crate::domain::lint::{Finding, Rule, rules};
use crate::ui::{clean, escape_json};

/// The document.
pub fn document(findings: &[Finding]) -> String {
    let rules = rules();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules)).collect();
    let driver = json!({
        "name": "llmhub",
        "version": env!("CARGO_PKG_VERSION"),
        "informationUri": env!("CARGO_PKG_REPOSITORY"),
        "rules": rules.iter().map(|rule| described(rule)).collect::<Vec<_>>(),
    });
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    });
    format!("{}\n", escape_json(&format!("{document:#}")))
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.severity.word()},
    })
}

fn result(finding: &Finding, rules: &[&Rule]) -> Value {
    let index = rules.iter().position(|rule| rule.id == finding.rule);
    let region = json!({"startLine": finding.line, "startColumn": finding.column});
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity.word(),
        "message": {"text": clean(&format!("{}; {}", finding.message, finding.fix))},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(&finding.file)}, "region": region}}],
    })
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let encoded: String = path
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    if path.starts_with('/') { format!("file://{encoded}") } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_percent_encoded() {
        assert_eq!(uri("a b/ü.sql"), "a%20b/%C3%BC.sql");
        assert_eq!(uri("/srv/1.sql"), "file:///srv/1.sql");
    }
}
