//! `-- llmhub:allow RULE reason`: a finding that its author has looked at.
//!
//! The comment covers the statement that it stands in, behind on the same line, or before; `-- llmhub:allow-file RULE reason`
//! covers its whole file. Without a reason, with an unknown rule, or with nothing to silence it is a finding itself. What
//! is no comment to the lexer (strings, COPY data) is none here.

use super::rules::{find, rules};
use super::unit::{Hit, Unit};
use super::{Context, Finding};
use crate::domain::migrations::line_comments;

const MARK: &str = "llmhub:allow";

/// Rules about allows themselves.
pub(super) const WITHOUT_REASON: &str = "allow-without-reason";
pub(super) const UNKNOWN: &str = "allow-unknown-rule";
pub(super) const UNUSED: &str = "allow-unused";

/// One comment.
pub(super) struct Allow {
    hit: Hit,
    rule: String,
    has_reason: bool,
    covers: Covers,
    used: bool,
}

#[derive(Clone, Copy)]
enum Covers {
    File,
    /// From this line to that.
    Lines(usize, usize),
}

/// All of a folder.
pub(super) fn collect(context: &Context<'_>) -> Vec<Allow> {
    let mut allows = Vec::new();
    for unit in context.units.iter().filter(|unit| unit.script.text().contains(MARK)) {
        for (offset, comment) in comments(unit) {
            let hit = unit.hit(offset, String::new());
            allows.extend(read(unit, hit, comment));
        }
    }
    for (file, text) in context.folder.preambles.iter().filter(|(_, text)| text.contains(MARK)) {
        let Some(unit) = context.units.iter().find(|unit| unit.file() == file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let Some((offset, comment)) = line_comments(line).next() else { continue };
            let column = line.get(..offset).unwrap_or_default().chars().count() + 1;
            let source = Some(line.to_owned());
            let hit = Hit { column, source, ..Hit::of_file(file, number + 1, "") };
            allows.extend(read(unit, hit, comment));
        }
    }
    allows
}

/// The comments between and in the statements, and none of what looks like one in the data of COPY.
fn comments<'a>(unit: &Unit<'a>) -> Vec<(usize, &'a str)> {
    let text = unit.script.text();
    let (mut regions, mut from) = (Vec::new(), 0);
    for line in &unit.lines {
        regions.push((from, line.start + line.text().len()));
        from = line.statement.span().1;
    }
    regions.push((from, text.len()));
    let within = |(start, end): (usize, usize)| {
        let region = text.get(start..end).unwrap_or_default();
        line_comments(region).map(move |(offset, comment)| (start + offset, comment))
    };
    regions.into_iter().flat_map(within).collect()
}

fn read(unit: &Unit<'_>, hit: Hit, comment: &str) -> Option<Allow> {
    let rest = comment.trim_start_matches('-').trim().strip_prefix(MARK)?;
    let (whole, rest) = match rest.strip_prefix("-file") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let mut words = rest.split_whitespace();
    let rule = words.next().unwrap_or_default().to_owned();
    let covers = if whole { Covers::File } else { covered(unit, hit.line) };
    Some(Allow { hit, rule, has_reason: words.next().is_some(), covers, used: false })
}

fn covered(unit: &Unit<'_>, line: usize) -> Covers {
    let lines = |one: &super::unit::Line<'_>| (unit.place(one.start).0, unit.place(one.start + one.text().len()).0);
    // Statements are in the order of their lines within a section, and a script has few sections.
    let mut touching = unit.lines.iter().map(lines).filter(|(start, end)| *start <= line && line <= *end);
    if let Some((start, end)) = touching.next() {
        return Covers::Lines(start, touching.last().map_or(end, |(_, last)| last));
    }
    let next = unit.lines.iter().map(lines).filter(|(start, _)| *start > line).min();
    next.map_or(Covers::Lines(0, 0), |(start, end)| Covers::Lines(start, end))
}

/// Whether a comment allows it; that comment is used then.
pub(super) fn silences(allows: &mut [Allow], rule: &str, hit: &Hit) -> bool {
    let mut silent = false;
    for allow in allows.iter_mut().filter(|allow| allow.rule == rule && allow.hit.file == hit.file) {
        let covers = match allow.covers {
            Covers::File => true,
            Covers::Lines(start, end) => hit.of_file || (start..=end).contains(&hit.line),
        };
        // Without a reason it silences as well: one finding is to be corrected, not two.
        allow.used |= covers;
        silent |= covers;
    }
    silent
}

/// What is wrong with the comments themselves.
pub(super) fn complaints(allows: &[Allow]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for allow in allows {
        let (rule, message) = if find(&allow.rule).is_none() {
            let nearest = nearest(&allow.rule).map(|id| format!("; did you mean `{id}`?")).unwrap_or_default();
            (UNKNOWN, format!("there is no rule `{}`{nearest}", allow.rule))
        } else if !allow.has_reason {
            (WITHOUT_REASON, format!("`{}` is allowed without a reason", allow.rule))
        } else if !allow.used {
            (UNUSED, format!("`{}` finds nothing here, so there is nothing to allow", allow.rule))
        } else {
            continue;
        };
        let hit = Hit {
            file: allow.hit.file.clone(),
            message,
            fix: None,
            source: allow.hit.source.clone(),
            also: Vec::new(),
            ..allow.hit
        };
        findings.extend(find(rule).map(|rule| rule.finding(hit)));
    }
    findings
}

/// The rule whose name comes closest.
fn nearest(wanted: &str) -> Option<&'static str> {
    let score = |id: &str| strsim::jaro_winkler(&wanted.to_lowercase(), id);
    let best = rules().iter().map(|rule| (score(rule.id), rule.id)).max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(score, _)| *score > 0.75).map(|(_, id)| id)
}
