//! A result, and the four forms in which it can be had.
//!
//! JSON and YAML are the value itself; the table and Markdown are two projections of one [`Page`]. No command knows which
//! of them was asked for.

use std::io;

use serde::Serialize;

use super::page::{Page, Style};
use super::text::{escape_json, is_wild};

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For scripts; field names are stable.
    Json,
    /// The same value as JSON, for other tools.
    Yaml,
    /// For pull requests, CI summaries and incident reports.
    Markdown,
}

impl Format {
    /// Whether a program reads it: then a failure is a document too.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// What a command shows: a value for programs, and a page for people.
pub trait View: Serialize {
    /// Put it on the page.
    fn page(&self, page: &mut Page);

    /// The page for a pull request, where the one for a terminal would not read well as Markdown.
    fn summary(&self, page: &mut Page) {
        self.page(page);
    }

    /// The whole document for people, where it is not a page: an export, say.
    fn text(&self) -> Option<String> {
        None
    }
}

/// The document in the given form, with its final newline.
pub(super) fn render<V: View>(view: &V, format: Format, style: Style) -> io::Result<String> {
    if format.is_data() {
        return data(view, format);
    }
    if let Some(text) = view.text() {
        return Ok(text);
    }
    let mut page = Page::default();
    if format == Format::Markdown {
        view.summary(&mut page);
        return Ok(page.markdown());
    }
    view.page(&mut page);
    Ok(page.render(style))
}

/// A value as JSON or YAML. JSON is pretty: it is read by people in CI logs as often as by programs.
pub(super) fn data<T: Serialize>(value: &T, format: Format) -> io::Result<String> {
    match format {
        Format::Yaml => {
            // Through JSON: numbers beyond 64 bits keep their digits, and both forms hold the same value by construction.
            let value = serde_json::to_value(value).map_err(io::Error::other)?;
            let mut text = serde_saphyr::to_string(&value).map_err(io::Error::other)?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            // YAML lets some of them stand as they are. A JSON text is a YAML text too, and can escape them all.
            if is_wild(&text) { data(&value, Format::Json) } else { Ok(text) }
        }
        _ => serde_json::to_string_pretty(value).map(|text| escape_json(&text) + "\n").map_err(io::Error::other),
    }
}
