//! One file with `-- migrate:up` and `-- migrate:down`; the name starts with digits, and they are compared as text.
//!
//! Several sections are one unit: the ups in their order, the downs from the last to the first.

use super::super::{Migration, Numbering, Script, Wrapping};
use super::names::{number, stem};
use super::sections::{Line, Section, Way, behind, cut, lines};
use super::{FolderFile, Layout, LayoutError, MarkerError, Reading, stray};

/// Whether a text looks as if it were cut by dbmate's markers.
pub(super) fn has_marker(text: &str) -> bool {
    let is_marker = |rest: &str| matches!(split(rest).0.to_ascii_lowercase().as_str(), "up" | "down");
    lines(text).any(|line| behind(line, "migrate:").is_some_and(is_marker))
}

fn split(rest: &str) -> (&str, &str) {
    rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
}

fn line(line: &str) -> Result<Line, MarkerError> {
    let Some(rest) = behind(line, "migrate:") else { return Ok(Line::Other) };
    let (word, options) = split(rest);
    let way = match word {
        "up" => Way::Up,
        "down" => Way::Down,
        other if other.eq_ignore_ascii_case("up") || other.eq_ignore_ascii_case("down") => {
            return Err(MarkerError::Unseen);
        }
        _ => return Err(MarkerError::Unknown),
    };
    if !line.starts_with("--") || !line.contains("migrate:") {
        return Err(MarkerError::Unseen);
    }
    let mut wrapping = Wrapping::Transaction;
    for option in options.split_whitespace() {
        wrapping = match option {
            "transaction:false" => Wrapping::None,
            "transaction:true" => Wrapping::Transaction,
            _ => return Err(MarkerError::BadOption),
        };
    }
    Ok(Line::Start(way, wrapping))
}

pub(super) fn read(files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let mut reading = Reading::new(Layout::Dbmate, Numbering::Text);
    for file in files {
        let stem = if file.is_at_top() { stem(&file.path).ok() } else { None };
        let Some((digits, rest)) = stem.map(number).filter(|(digits, _)| !digits.is_empty()) else {
            reading.ignore(file, stray(file));
            continue;
        };
        let version = digits.parse().map_err(|_| LayoutError::BadVersion { file: file.path.clone() })?;
        let name = rest.strip_prefix('_').unwrap_or(rest).to_owned();
        let sections = cut(file, Layout::Dbmate, line)?.sections;
        let (ups, mut downs): (Vec<Section>, Vec<Section>) =
            sections.into_iter().partition(|section| section.way == Way::Up);
        downs.reverse();
        let no_up = || LayoutError::NoUpSection { file: file.path.clone(), marker: "-- migrate:up" };
        let up = script(file, &ups)?.ok_or_else(no_up)?;
        let down = script(file, &downs)?;
        reading.migrations.push(Migration { version, name, up, down });
    }
    Ok(reading)
}

/// The sections of one way as one script.
fn script(file: &FolderFile, sections: &[Section]) -> Result<Option<Script>, LayoutError> {
    let Some(first) = sections.first() else { return Ok(None) };
    if let Some(other) = sections.iter().find(|section| section.wrapping != first.wrapping) {
        let line = first.lines_before.max(other.lines_before);
        return Err(LayoutError::SectionsDiffer { file: file.path.clone(), line });
    }
    if sections.len() > 1 {
        // A quote left open in one section must not be closed by the next.
        for section in sections {
            let alone = Script::section(&section.text, section.lines_before);
            alone.statements().map_err(|error| LayoutError::Section { file: file.path.clone(), error })?;
        }
    }
    let parts: Vec<(&str, usize)> =
        sections.iter().map(|section| (section.text.as_str(), section.lines_before)).collect();
    Ok(Some(Script::joined(&parts).named(&file.path).wrapped(first.wrapping)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reads, refused};

    #[test]
    fn markers_cut_a_file_and_lines_stay_those_of_the_file() {
        reads(
            &[
                (
                    "20240101_a.sql",
                    "\u{feff}-- why\r\n\r\n-- migrate:up transaction:false\r\nSELECT 1;\r\n\r\n--migrate:down\r\nSELECT -1;\r\n",
                ),
                ("9-b.sql", "--  migrate:up\n-- migrate:down transaction:false\n"),
                ("9", ""),
            ],
            &[
                "20240101 a up !20240101_a.sql[4:1 SELECT 1] down 20240101_a.sql[7:1 SELECT -1]",
                "9 -b up 9-b.sql[] down !9-b.sql[]",
            ],
        );
        reads(&[("1.sql", "-- migrate:up\nSELECT 1")], &["1  up 1.sql[2:1 SELECT 1] down none"]);
        let texts = [("01_a.sql", "-- migrate:up\n"), ("1_a.sql", "-- migrate:up\n")];
        reads(&texts, &["01 a up 01_a.sql[] down none", "1 a up 1_a.sql[] down none"]);
    }

    #[test]
    fn several_sections_are_one_migration_and_go_back_from_the_last() {
        let text = "-- migrate:up\nSELECT 1\n-- migrate:down\nSELECT -1\n-- migrate:up\nSELECT 2;\n-- migrate:down\nSELECT -2;\n";
        reads(
            &[("1_a.sql", text)],
            &["1 a up 1_a.sql[2:1 SELECT 1; 6:1 SELECT 2] down 1_a.sql[8:1 SELECT -2; 4:1 SELECT -1]"],
        );
        refused(
            &[("1_a.sql", "-- migrate:up\n-- migrate:up transaction:false\n")],
            "1_a.sql:2: this section and the one before it differ in transaction:false; they are one unit",
        );
        refused(
            &[("1_a.sql", "-- migrate:up\nSELECT 'a;\n-- migrate:up\nSELECT 'b;\n")],
            "1_a.sql:2:8: the string that starts here never ends",
        );
    }

    #[test]
    fn a_marker_that_dbmate_would_not_see_is_refused() {
        let up = "-- migrate:up\nSELECT 1;\n";
        let down = |marker: &str| format!("{up}{marker}\nSELECT -1;\n");
        let unseen = "1_a.sql:3: a marker must stand at the start of its line, in lower case";
        let unknown = "1_a.sql:3: this marker is not known; check its spelling";
        let option = "1_a.sql:3: the only option of a marker is transaction:true or transaction:false";
        for (marker, words) in [
            (" -- migrate:down", unseen),
            ("-- migrate:DOWN", unseen),
            ("-- Migrate:down", unseen),
            ("-- migrate:dwn", unknown),
            ("-- migrate:", unknown),
            ("-- migrate:down transaction:no", option),
            ("-- migrate:down later", option),
        ] {
            refused(&[("1_a.sql", &down(marker))], words);
        }
        refused(
            &[("1_a.sql", "SELECT 0;\n-- migrate:up\n")],
            "1_a.sql:1: there is text before the first dbmate marker; move it below the marker",
        );
        let first = "1_a.sql:1: the down section stands before the up section; turn them around";
        refused(&[("1_a.sql", "-- migrate:down\n")], first);
    }
}
