//! `flags diff` and `flags export`: what differs between sources, between the processes of a hub, and from a file.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::state_file::{self, StateView};
use crate::app::{Answer, App, Depth, Live, Source, Verdict};
use crate::commands::Globals;
use crate::domain::flags::{Flag, Member};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Compare the sources with each other, a hub's processes among themselves, or a source with a file; exit 1 when they differ
///
/// Example: llmhub flags diff --between hub,db,env
#[derive(Debug, Args)]
pub struct Diff {
    /// A state file to compare with (see `flags export`)
    #[arg(conflicts_with = "between")]
    file: Option<PathBuf>,
    /// The sources to compare; default: all that are configured
    #[arg(long, value_delimiter = ',', value_enum)]
    between: Vec<Source>,
}

/// One member of one flag that is not the same everywhere.
#[derive(Debug, Serialize)]
struct Difference {
    flag: String,
    member: &'static str,
    values: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct DiffView {
    between: Vec<String>,
    equal: bool,
    differences: Vec<Difference>,
    /// How far the look at the hub's processes reaches; null when no hub was compared.
    live: Option<Live>,
}

impl View for DiffView {
    fn page(&self, page: &mut Page) {
        if self.equal {
            page.spans(&[(Tone::Good, "equal"), (Tone::Plain, &format!(": {}", self.between.join(", ")))]);
        } else {
            let head: Vec<&str> =
                ["flag", "member"].into_iter().chain(self.between.iter().map(String::as_str)).collect();
            let rows = self.differences.iter().map(|difference| {
                let cells = self
                    .between
                    .iter()
                    .map(|place| (Tone::Plain, difference.values.get(place).map_or_else(|| "–".to_owned(), short)));
                [(Tone::Strong, difference.flag.clone()), (Tone::Plain, difference.member.to_owned())]
                    .into_iter()
                    .chain(cells)
                    .collect::<Vec<_>>()
            });
            page.table(&head, rows);
        }
        if let Some(live) = &self.live {
            let verdict = match live.verdict {
                Verdict::Proved => "PROVED",
                Verdict::Sampled => "SAMPLED",
                Verdict::Partial => "PARTIAL",
            };
            page.line(format!("hub {verdict} ({})", live.evidence));
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.len() > 5 => format!("{} entries", items.len()),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// One state that takes part in a comparison.
struct Side {
    place: String,
    flags: Vec<Flag>,
}

impl Diff {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let chosen = if !self.between.is_empty() { self.between.clone() } else { globals.via.clone() };
        if let Some(path) = &self.file {
            return self.with_file(app, globals, path).await;
        }
        let stores = app.readers(&chosen).await?;
        let mut sides = Vec::new();
        let mut live = None;
        for store in &stores {
            let survey = store.survey(Depth::Sample).await?;
            survey.notes.iter().for_each(|note| app.ui.note(note));
            survey.unreachable.iter().for_each(|reason| app.ui.warn(reason));
            live = live.or(survey.live);
            let several = survey.variants.len() > 1;
            for (index, variant) in survey.variants.into_iter().enumerate() {
                let word = store.source().word();
                let place = if several { format!("{word}#{}", index + 1) } else { word.to_owned() };
                if several {
                    app.ui.note(&format!("{place}: {} reads at {}", variant.reads, variant.addresses.join(", ")));
                }
                sides.push(Side { place, flags: variant.flags });
            }
        }
        if sides.len() < 2 && live.is_none() {
            return Err(Error::Usage {
                message: "there is only one source to compare".to_owned(),
                hint: "llmhub flags diff FILE, or configure a second source".to_owned(),
            });
        }
        let differences = compare(&sides);
        let partial = live.as_ref().is_some_and(|live| live.verdict == Verdict::Partial);
        let view = DiffView {
            between: sides.into_iter().map(|side| side.place).collect(),
            equal: differences.is_empty(),
            differences,
            live,
        };
        app.show(&view)?;
        Ok(match (view.equal, partial) {
            (false, _) => Answer::No,
            (true, true) => Answer::Partial,
            (true, false) => Answer::Yes,
        })
    }

    async fn with_file(&self, app: &App, globals: &Globals, path: &std::path::Path) -> Result<Answer, Error> {
        let wanted = state_file::parse(path, &app.read_text(path)?)?;
        let store = app.reader(&globals.via).await?;
        let flags = store.list().await?;
        app.say_scope(store.as_ref());
        let word = store.source().word();
        let mut differences = Vec::new();
        for wanted in wanted {
            let found = flags.iter().find(|flag| flag.key == wanted.flag.key);
            let members: Vec<Member> = match found {
                Some(found) => wanted.members.into_iter().filter(|member| !member.same(found, &wanted.flag)).collect(),
                None => {
                    let values = [("file".to_owned(), json!("wanted")), (word.to_owned(), json!("no such flag"))];
                    let values = values.into_iter().collect();
                    differences.push(Difference { flag: wanted.flag.key.to_string(), member: "flag", values });
                    continue;
                }
            };
            for member in members {
                let mut values = Map::new();
                values.insert("file".to_owned(), member.value(&wanted.flag));
                if let Some(found) = found {
                    values.insert(word.to_owned(), member.value(found));
                }
                differences.push(Difference { flag: wanted.flag.key.to_string(), member: member.name(), values });
            }
        }
        let view = DiffView {
            between: vec!["file".to_owned(), word.to_owned()],
            equal: differences.is_empty(),
            differences,
            live: None,
        };
        app.show(&view)?;
        Ok(if view.equal { Answer::Yes } else { Answer::No })
    }
}

/// Every member that decides who is on, in every flag that any side knows. Texts and tags do not switch anybody on.
fn compare(sides: &[Side]) -> Vec<Difference> {
    let mut keys = Vec::new();
    for flag in sides.iter().flat_map(|side| &side.flags) {
        if !keys.contains(&&flag.key) {
            keys.push(&flag.key);
        }
    }
    let mut differences = Vec::new();
    for key in keys {
        let found: Vec<Option<&Flag>> =
            sides.iter().map(|side| side.flags.iter().find(|flag| flag.key == *key)).collect();
        let places = || sides.iter().map(|side| side.place.clone());
        if found.iter().any(Option::is_none) {
            let word = |flag: &Option<&Flag>| json!(if flag.is_some() { "exists" } else { "no such flag" });
            let values = places().zip(found.iter().map(word)).collect();
            differences.push(Difference { flag: key.to_string(), member: "flag", values });
        }
        let known: Vec<&Flag> = found.iter().flatten().copied().collect();
        let Some((first, others)) = known.split_first() else { continue };
        for member in Member::DECIDING {
            if others.iter().all(|other| member.same(first, other)) {
                continue;
            }
            let values =
                places().zip(&found).filter_map(|(place, flag)| flag.map(|flag| (place, member.value(flag)))).collect();
            differences.push(Difference { flag: key.to_string(), member: member.name(), values });
        }
    }
    differences
}

/// Print all flags as a state file: TOML, or JSON with `-o json`
///
/// Example: llmhub flags export --via db > flags.toml
#[derive(Debug, Args)]
pub struct Export {}

impl Export {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flags = store.list().await?;
        app.say_scope(store.as_ref());
        for flag in &flags {
            for problem in flag.problems() {
                app.ui.warn(&format!("{}: {problem}", flag.key));
            }
        }
        app.show(&StateView::new(&flags))?;
        Ok(Answer::Yes)
    }
}
