//! A page for people: lines, facts and tables, drawn for a terminal or as Markdown.
//!
//! Tones carry no meaning of their own: with colour stripped, every word still says what is the matter. Every cell is
//! cleaned on its way in, so no text from a hub, a database or a file can drive the terminal.

use comfy_table::{ContentArrangement, Table};

use super::text::clean;

/// What a piece of text is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// As wanted.
    Good,
    /// To look at.
    Warn,
    /// Not as wanted.
    Bad,
    /// To find quickly.
    Strong,
    /// To skip.
    Dim,
}

impl Tone {
    /// The text in this tone, if colour is on.
    pub(super) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Dim => "2",
        };
        if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How to draw for a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether to use colour.
    pub color: bool,
    /// Columns, if it is a terminal.
    pub width: Option<u16>,
}

enum Block {
    Line(Vec<(Tone, String)>),
    Facts(Vec<(String, Tone, String)>),
    Table { head: Vec<String>, rows: Vec<Vec<(Tone, String)>> },
}

/// What is shown, top to bottom.
#[derive(Default)]
pub struct Page {
    blocks: Vec<Block>,
}

impl Page {
    /// A line of plain text.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.toned(Tone::Plain, text);
    }

    /// A line in one tone.
    pub fn toned(&mut self, tone: Tone, text: impl AsRef<str>) {
        self.spans(&[(tone, text.as_ref())]);
    }

    /// A line of several tones.
    pub fn spans(&mut self, spans: &[(Tone, &str)]) {
        self.blocks.push(Block::Line(spans.iter().map(|(tone, text)| (*tone, clean(text))).collect()));
    }

    /// A named value; names of neighbouring facts are aligned.
    pub fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        self.toned_fact(name, Tone::Plain, value);
    }

    /// A named value in a tone.
    pub fn toned_fact(&mut self, name: &str, tone: Tone, value: impl AsRef<str>) {
        let fact = (clean(name), tone, clean(value.as_ref()));
        match self.blocks.last_mut() {
            Some(Block::Facts(facts)) => facts.push(fact),
            _ => self.blocks.push(Block::Facts(vec![fact])),
        }
    }

    /// A table; a row has as many cells as the head.
    pub fn table<R: IntoIterator<Item = (Tone, String)>>(&mut self, head: &[&str], rows: impl IntoIterator<Item = R>) {
        let rows =
            rows.into_iter().map(|row| row.into_iter().map(|(tone, text)| (tone, clean(&text))).collect()).collect();
        self.blocks.push(Block::Table { head: head.iter().map(|&name| name.to_owned()).collect(), rows });
    }

    /// For a terminal or a pipe.
    pub(super) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for block in &self.blocks {
            match block {
                Block::Line(spans) => {
                    for (tone, span) in spans {
                        text.push_str(&tone.paint(span, style.color));
                    }
                    text.push('\n');
                }
                Block::Facts(facts) => {
                    let widest = facts.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
                    for (name, tone, value) in facts {
                        let pad = " ".repeat(widest - name.chars().count());
                        let name = Tone::Dim.paint(name, style.color);
                        text.push_str(&format!("{name}{pad}  {}\n", tone.paint(value, style.color)));
                    }
                }
                Block::Table { head, rows } => text.push_str(&draw(head, rows, style)),
            }
        }
        text
    }

    /// For a pull request or a report.
    pub(super) fn markdown(&self) -> String {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('\n', " ");
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = String::new();
        for block in &self.blocks {
            match block {
                Block::Line(spans) => {
                    for (tone, span) in spans {
                        match tone {
                            Tone::Strong | Tone::Bad if !span.trim().is_empty() => {
                                // Blanks inside the asterisks would keep them from being read as bold.
                                let word = span.trim();
                                text.push_str(&span.replacen(word, &format!("**{word}**"), 1));
                            }
                            _ => text.push_str(span),
                        }
                    }
                    text.push_str("\n\n");
                }
                Block::Facts(facts) => {
                    text.push_str("| | |\n| --- | --- |\n");
                    for (name, _, value) in facts {
                        text.push_str(&row(vec![escape(name), escape(value)]));
                    }
                    text.push('\n');
                }
                Block::Table { head, rows } => {
                    text.push_str(&row(head.iter().map(|name| escape(name)).collect()));
                    text.push_str(&row(head.iter().map(|_| "---".to_owned()).collect()));
                    for cells in rows {
                        text.push_str(&row(cells.iter().map(|(_, cell)| escape(cell)).collect()));
                    }
                    text.push('\n');
                }
            }
        }
        text.trim_end().to_owned() + "\n"
    }
}

fn draw(head: &[String], rows: &[Vec<(Tone, String)>], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        // A cell of a table is one line: a newline from outside must not look like another row.
        table.add_row(row.iter().map(|(_, text)| text.replace('\n', " ")));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut page = Page::default();
        page.spans(&[(Tone::Strong, "flag "), (Tone::Plain, "on")]);
        page.fact("a", "1");
        page.toned_fact("long", Tone::Bad, "2|\x1b[2J");
        page.table(&["name", "x"], [[(Tone::Good, "r1".to_owned()), (Tone::Plain, "two\nlines".to_owned())]]);
        page
    }

    #[test]
    fn a_page_without_colour_has_no_escapes() {
        let text = page().render(Style { color: false, width: None });
        assert_eq!(text, "flag on\na     1\nlong  2|[2J\nNAME  X\nr1    two lines\n");
    }

    #[test]
    fn markdown_escapes_what_would_break_a_table() {
        assert_eq!(
            page().markdown(),
            "**flag** on\n\n| | |\n| --- | --- |\n| a | 1 |\n| long | 2\\|[2J |\n\n| name | x |\n| --- | --- |\n| r1 | two lines |\n"
        );
    }
}
