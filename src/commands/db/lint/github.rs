//! Findings as workflow commands of GitHub Actions: one line each, which becomes an annotation of the file.
//!
//! The runner reads `%`, line ends, and in properties `:` and `,`; all of them are escaped, so no text can be a command.

use crate::domain::lint::{Finding, Severity};
use crate::ui::clean;

/// The lines; nothing where nothing was found.
pub fn annotations(findings: &[Finding]) -> String {
    findings.iter().map(annotation).collect()
}

fn annotation(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    format!(
        "::{level} file={},line={},col={},title={}::{}\n",
        property(&finding.file),
        finding.line,
        finding.column,
        property(finding.rule),
        data(&format!("{}; {}", finding.message, finding.fix))
    )
}

fn data(text: &str) -> String {
    clean(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_be_a_command_of_its_own() {
        let finding = Finding {
            file: "a,b:c\n::error::x.sql".to_owned(),
            line: 3,
            column: 7,
            rule: "syntax",
            severity: Severity::Note,
            message: "100%\n::set-env::\u{1b}[2J".to_owned(),
            fix: "b".to_owned(),
            source: None,
            also: Vec::new(),
        };
        assert_eq!(
            annotations(&[finding]),
            "::notice file=a%2Cb%3Ac%0A%3A%3Aerror%3A%3Ax.sql,line=3,col=7,title=syntax::100%25%0A::set-env::[2J; b\n"
        );
    }
}
