//! One file with `-- +goose Up` and, if there is a way back, `-- +goose Down`; versions are integers.
//!
//! Markers start at column 0 and their case does not matter. `StatementBegin` and `StatementEnd` are not needed here.

use super::super::{Migration, Numbering, Script, Wrapping};
use super::names::{number, stem, versioned};
use super::sections::{Line, Section, Way, behind, cut, lines};
use super::{FolderFile, Layout, LayoutError, MarkerError, Reading, stray};

/// Whether a text looks as if it were cut by goose's markers.
pub(super) fn has_marker(text: &str) -> bool {
    lines(text).any(|line| behind(line, "+goose").is_some_and(|rest| rest.starts_with(char::is_whitespace)))
}

fn line(line: &str) -> Result<Line, MarkerError> {
    let Some(rest) = behind(line, "+goose") else { return Ok(Line::Other) };
    if !line.starts_with("--") {
        return Err(MarkerError::Unseen);
    }
    let words: Vec<String> = rest.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => Ok(Line::Start(Way::Up, Wrapping::Transaction)),
        ["down"] => Ok(Line::Start(Way::Down, Wrapping::Transaction)),
        ["no", "transaction"] => Ok(Line::NoTransaction),
        ["statementbegin" | "statementend"] | ["envsub", "off"] => Ok(Line::Other),
        ["envsub", "on"] => Err(MarkerError::EnvSub),
        _ => Err(MarkerError::Unknown),
    }
}

pub(super) fn read(files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let mut reading = Reading::new(Layout::Goose, Numbering::Integer);
    for file in files {
        if is_program(file) {
            return Err(LayoutError::GoProgram { file: file.path.clone() });
        }
        let stem = if file.is_at_top() { stem(&file.path).ok() } else { None };
        let Some(parsed) = stem.and_then(|stem| versioned(&file.path, stem)) else {
            reading.ignore(file, stray(file));
            continue;
        };
        let (version, name) = parsed?;
        let cut = cut(file, Layout::Goose, line)?;
        let (mut up, mut down) = (None, None);
        for section in &cut.sections {
            let place = if section.way == Way::Up { &mut up } else { &mut down };
            if place.is_some() {
                let (line, wrong) = (section.lines_before, MarkerError::Second);
                return Err(LayoutError::Marker { file: file.path.clone(), line, wrong });
            }
            *place = Some(script(file, section, cut.wrapping));
        }
        let no_up = || LayoutError::NoUpSection { file: file.path.clone(), marker: "-- +goose Up" };
        reading.migrations.push(Migration { version, name, up: up.ok_or_else(no_up)?, down });
    }
    Ok(reading)
}

fn script(file: &FolderFile, section: &Section, wrapping: Wrapping) -> Script {
    Script::section(&section.text, section.lines_before).named(&file.path).wrapped(wrapping)
}

/// Goose runs numbered Go files too; passing one over would leave a hole in the history.
fn is_program(file: &FolderFile) -> bool {
    let stem = file.path.strip_suffix(".go").filter(|stem| !stem.ends_with("_test"));
    file.is_at_top() && stem.map(number).is_some_and(|(digits, rest)| !digits.is_empty() && rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{files, reads, refused};
    use super::super::{FileContent, FolderFile};
    use crate::domain::migrations::Set;

    #[test]
    fn markers_cut_a_file_whatever_their_case() {
        let body = "-- +goose StatementBegin\nDO $$ a; b $$;\n-- +goose StatementEnd\n";
        reads(
            &[
                ("00001_a.sql", &format!("-- why\n-- +goose UP\n{body}-- +goose down\nSELECT -1;\n")),
                ("2_b.sql", "-- +goose no transaction\n-- +goose Up\n-- +goose ENVSUB OFF\nSELECT 2;\n"),
                ("query.sql", ""),
                ("3_c_test.go", ""),
            ],
            &[
                "00001 a up 00001_a.sql[4:1 DO $$ a; b $$] down 00001_a.sql[7:1 SELECT -1]",
                "2 b up !2_b.sql[4:1 SELECT 2] down none",
            ],
        );
    }

    #[test]
    fn what_goose_would_read_in_another_way_is_refused() {
        #[track_caller]
        fn case(text: &str, words: &str) {
            refused(&[("1_a.sql", text)], words);
        }
        case(
            "SELECT 1;\n-- +goose Up\n",
            "1_a.sql:1: there is text before the first goose marker; move it below the marker",
        );
        case(
            "-- +goose Up\n-- +goose ENVSUB ON\n",
            "1_a.sql:2: ENVSUB ON would put environment variables into the SQL; write the values out",
        );
        case(
            "-- +goose Up\n  -- +goose Down\n",
            "1_a.sql:2: a marker must stand at the start of its line, in lower case",
        );
        case("-- +goose Up\n-- +goose Dwon\n", "1_a.sql:2: this marker is not known; check its spelling");
        case("-- +goose Up\n-- +goose Up\n", "1_a.sql:2: this section is here a second time; keep one");
        case("-- +goose Down\n", "1_a.sql:1: the down section stands before the up section; turn them around");
        case(
            "-- +goose NO TRANSACTION\n",
            "1_a.sql has no -- +goose Up section; put its marker above the SQL that makes the change",
        );
        refused(
            &[("01_a.sql", "-- +goose Up\n"), ("1_b.sql", "-- +goose Up\n")],
            "01_a.sql and 1_b.sql have the same version 01; give one of them a new version",
        );
    }

    #[test]
    fn a_migration_in_go_is_not_passed_over() {
        let mut files = files(&[("1_a.sql", "-- +goose Up\n")]);
        files.push(FolderFile { path: "2_b.go".to_owned(), content: FileContent::Unread });
        let error = Set::read(files).unwrap_err();
        assert_eq!(error.to_string(), "2_b.go is a migration written in Go, which llmhub cannot run; write it as SQL");
    }
}
