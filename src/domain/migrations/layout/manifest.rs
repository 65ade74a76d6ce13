//! `llmhub.migrations.toml`: the order of files whose names tell none.
//!
//! Every `.sql` file is listed or ignored with a reason, every listed file exists, no file is listed twice, and no down is its
//! own up. Anything else is an error before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::super::{Ignored, Migration, Numbering, Version, Wrapping};
use super::names::{direction, stem};
use super::{FileContent, FolderFile, Layout, LayoutError, MANIFEST, ManifestError, Reading, whole};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default)]
    migration: Vec<Entry>,
    #[serde(default)]
    ignore: Vec<Passed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: Spanned<String>,
    up: Spanned<String>,
    down: Option<Spanned<String>>,
    transaction: Option<bool>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
}

/// A file, or with a final `/` all of a folder, that is no migration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    file: Spanned<String>,
    reason: String,
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// A manifest's text, which knows its lines.
struct Source<'a>(&'a str);

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    fn wrong(&self, span: Range<usize>, wrong: ManifestError) -> LayoutError {
        LayoutError::Manifest { line: line_of(self.0, span.start), wrong }
    }

    fn parse(&self) -> Result<Manifest, LayoutError> {
        let manifest: Manifest = toml::from_str(self.0).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            self.wrong(span, ManifestError::Form(error.message().to_owned()))
        })?;
        for path in manifest.paths() {
            if !is_inside(path.get_ref()) {
                return Err(self.wrong(path.span(), ManifestError::Path(path.get_ref().clone())));
            }
        }
        Ok(manifest)
    }
}

impl Manifest {
    fn paths(&self) -> impl Iterator<Item = &Spanned<String>> {
        let entries = self.migration.iter().flat_map(|entry| std::iter::once(&entry.up).chain(&entry.down));
        entries.chain(self.ignore.iter().map(|passed| &passed.file))
    }
}

/// Whether a path stays in its folder and is written in the one way in which files are compared.
fn is_inside(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    !path.contains(['\\', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The files that a manifest names: they may lie deeper than a folder is read by itself.
///
/// # Errors
/// [`LayoutError::Manifest`] for a text that is no manifest, or a path that leaves the folder.
pub fn named(text: &str) -> Result<Vec<String>, LayoutError> {
    let manifest = Source::new(text).parse()?;
    Ok(manifest.paths().map(|path| path.get_ref().clone()).filter(|path| !path.ends_with('/')).collect())
}

pub(super) fn read(text: &str, files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let source = Source::new(text);
    let manifest = source.parse()?;
    let mut present: BTreeMap<&str, &FolderFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut taken = BTreeSet::new();
    let mut take = |path: &Spanned<String>| {
        let name = path.get_ref();
        let wrong = |wrong| source.wrong(path.span(), wrong);
        if !taken.insert(name.clone()) {
            return Err(wrong(ManifestError::Twice(name.clone())));
        }
        match present.remove(name.as_str()) {
            Some(file) if file.content != FileContent::Folder => Ok(file),
            _ => Err(wrong(ManifestError::Missing(name.clone()))),
        }
    };
    let mut reading = Reading::new(Layout::Manifest, Numbering::Integer);
    for entry in &manifest.migration {
        let version = version(&source, entry, &reading.migrations)?;
        let (up, down) = (take(&entry.up)?, entry.down.as_ref().map(&mut take).transpose()?);
        let mut script = |file: &FolderFile| {
            let script = whole(file, &mut reading.notes)?;
            if entry.transaction == Some(true) && script.wrapping() == Wrapping::None {
                reading.notes.push(format!(
                    "{}: its first line asks for no transaction, but the manifest says transaction = true, and counts",
                    file.path
                ));
            }
            Ok::<_, LayoutError>(match entry.transaction {
                Some(true) => script.wrapped(Wrapping::Transaction),
                Some(false) => script.wrapped(Wrapping::None),
                None => script,
            })
        };
        let up = script(up)?;
        let down = down.map(script).transpose()?;
        if let (Some(script), Some(path)) = (&down, &entry.down)
            && script.text() == up.text()
        {
            return Err(source.wrong(path.span(), ManifestError::DownIsUp(path.get_ref().clone())));
        }
        reading.migrations.push(Migration { name: name(&version, entry.up.get_ref()), version, up, down });
    }
    let mut folders = Vec::new();
    for Passed { file, reason } in &manifest.ignore {
        if reason.trim().is_empty() {
            return Err(source.wrong(file.span(), ManifestError::NoReason(file.get_ref().clone())));
        }
        match file.get_ref().strip_suffix('/') {
            Some(folder) => folders.push((file.get_ref().as_str(), folder, reason, file.span())),
            None => reading.ignored.push(Ignored { file: take(file)?.path.clone(), reason: reason.clone() }),
        }
    }
    for (_, folder, _, span) in &folders {
        if !files.iter().any(|file| file.path == *folder && file.content == FileContent::Folder) {
            return Err(source.wrong(span.clone(), ManifestError::Missing((*folder).to_owned())));
        }
    }
    for (path, file) in present {
        let covered = folders.iter().find(|(prefix, folder, ..)| path.starts_with(prefix) || path == *folder);
        let reason = match covered {
            Some((_, _, reason, _)) => (*reason).clone(),
            None => unlisted(file)?,
        };
        reading.ignore(file, reason);
    }
    reading.sorted()
}

fn version(source: &Source<'_>, entry: &Entry, earlier: &[Migration]) -> Result<Version, LayoutError> {
    let wrong = |path: &Spanned<String>, wrong| Err(source.wrong(path.span(), wrong));
    let Ok(version) = entry.version.get_ref().parse::<Version>() else {
        return wrong(&entry.version, ManifestError::Version);
    };
    // With rising versions the order of the list and the order of the versions are one, here and in every ledger.
    if let Some(last) = earlier.last()
        && Numbering::Integer.compare(&last.version, &version).is_ge()
    {
        return wrong(&entry.version, ManifestError::Order { version, before: last.version.clone() });
    }
    for needed in &entry.needs {
        let is_it = |other: &Version| earlier.iter().any(|one| Numbering::Integer.compare(&one.version, other).is_eq());
        if !needed.get_ref().parse().is_ok_and(|needed| is_it(&needed)) {
            return wrong(needed, ManifestError::Needs(needed.get_ref().clone()));
        }
    }
    Ok(version)
}

/// The file's own name, without the version and the direction that may stand in it.
fn name(version: &Version, path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let (_, bare) = direction(stem(file).unwrap_or(file));
    let unnumbered = bare.strip_prefix(version.as_str()).and_then(|rest| rest.strip_prefix('_'));
    unnumbered.filter(|name| !name.is_empty()).unwrap_or(bare).to_owned()
}

fn unlisted(file: &FolderFile) -> Result<String, LayoutError> {
    if file.path == MANIFEST {
        return Ok("it is the manifest".to_owned());
    }
    if file.content == FileContent::Folder {
        return Ok("the manifest names what is read of it".to_owned());
    }
    match stem(file.split().1) {
        Ok(_) => Err(LayoutError::Unlisted { file: file.path.clone() }),
        Err(reason) => Ok(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ignored, reads, refused, set};
    use super::*;

    const A: &str = "[[migration]]\nversion = '1'\nup = 'a.sql'\n";
    const B: &str = "[[migration]]\nversion = '2'\nup = 'b.sql'\n";

    #[test]
    fn the_list_says_what_runs_and_in_which_order() {
        let manifest = "\u{feff}[[migration]]\nversion = '0001'\nup = 'z.sql'\ndown = 'legacy/z_undo.sql'\ntransaction = \
                        false\n[[migration]]\nversion = '2'\nup = '2_a.up.sql'\nneeds = ['1']\n[[ignore]]\nfile = \
                        'b.sql'\nreason = 'a copy'\n[[ignore]]\nfile = 'old/'\nreason = 'long ago'\n";
        let given = [
            (MANIFEST, manifest),
            ("z.sql", "SELECT 1"),
            ("legacy/z_undo.sql", "SELECT -1"),
            ("2_a.up.sql", "-- no-transaction\nSELECT 2"),
            ("b.sql", "SELECT 3"),
            ("old/c.sql", "SELECT 4"),
            ("notes.txt", ""),
        ];
        let read = reads(
            &given,
            &[
                "0001 z up !z.sql[1:1 SELECT 1] down !legacy/z_undo.sql[1:1 SELECT -1]",
                "2 a up !2_a.up.sql[2:1 SELECT 2] down none",
            ],
        );
        assert_eq!(
            ignored(&read),
            [
                "b.sql: a copy",
                "legacy: the manifest names what is read of it",
                "llmhub.migrations.toml: it is the manifest",
                "notes.txt: it is no .sql file",
                "old: long ago",
                "old/c.sql: long ago",
            ]
        );
        let names = named(manifest).unwrap();
        assert_eq!(names, ["z.sql", "legacy/z_undo.sql", "2_a.up.sql", "b.sql"]);
        assert!(set(&[(MANIFEST, "")]).unwrap().migrations().is_empty());
    }

    #[test]
    fn whatever_is_not_accounted_for_is_refused_with_its_line() {
        #[track_caller]
        fn case(manifest: &str, words: &str) {
            let files = [(MANIFEST, manifest), ("a.sql", "SELECT 1"), ("b.sql", "SELECT 1")];
            let words = words.strip_prefix('!').map_or(format!("llmhub.migrations.toml:{words}"), str::to_owned);
            refused(&files, &words);
        }
        case(A, "!b.sql is neither a migration nor ignored in llmhub.migrations.toml; list it there");
        case("[[migration]]\nversion = '1'\nup = 'c.sql'\n", "3: `c.sql` does not exist");
        case(&format!("{A}{A}"), "5: versions must rise: 1 stands behind 1");
        case(&format!("{B}{A}"), "5: versions must rise: 1 stands behind 2");
        case(&format!("{A}[[migration]]\nversion = '2'\nup = 'a.sql'\n"), "6: `a.sql` is listed twice");
        case(&format!("{A}down = 'a.sql'\n"), "4: `a.sql` is listed twice");
        case(&format!("{A}down = 'b.sql'\n"), "4: the down file `b.sql` holds the same text as its up file");
        case(&format!("{A}{B}needs = ['3']\n"), "7: it needs 3, which is not listed before it");
        case(&format!("{A}needs = ['1']\n"), "4: it needs 1, which is not listed before it");
        case(&A.replace("'1'", "'one'"), "2: a version is 1 to 32 digits in quotes");
        case(&A.replace("'1'", "1"), "2: invalid type: integer `1`, expected a string");
        case(&format!("{A}[[ignore]]\nfile = 'b.sql'\nreason = ' '\n"), "5: `b.sql` is ignored without a reason");
        case(&format!("{A}{B}[[ignore]]\nfile = 'c.sql'\nreason = 'x'\n"), "8: `c.sql` does not exist");
        case(&format!("{A}{B}[[ignore]]\nfile = 'old/'\nreason = 'x'\n"), "8: `old` does not exist");
        case(&format!("{A}{B}[[ignore]]\nfile = 'a.sql'\nreason = 'x'\n"), "8: `a.sql` is listed twice");
        for path in ["../a.sql", "/a.sql", "./a.sql", "x//a.sql", "x/../a.sql", "", "x\\\\a.sql"] {
            let shown = path.replace("\\\\", "\\");
            let words = format!("3: `{shown}` must be a path inside the folder, with / and without . or ..");
            case(&format!("[[migration]]\nversion = '1'\nup = \"{path}\"\n"), &words);
        }
    }

    #[test]
    fn the_entry_overrules_the_file_and_says_so() {
        let set = reads(
            &[(MANIFEST, &format!("{A}transaction = true\n")), ("a.sql", "-- no-transaction\nSELECT 1")],
            &["1 a up a.sql[2:1 SELECT 1] down none"],
        );
        let note =
            "a.sql: its first line asks for no transaction, but the manifest says transaction = true, and counts";
        assert_eq!(set.notes(), [note]);
    }

    #[test]
    fn a_key_that_is_not_known_is_refused() {
        let error = named("[[migration]]\nversion = '1'\nup = 'a.sql'\ndwon = 'b.sql'\n").unwrap_err().to_string();
        assert!(error.starts_with("llmhub.migrations.toml:4: unknown field `dwon`"), "{error}");
        let error = named("[[migration]\n").unwrap_err().to_string();
        assert!(error.starts_with("llmhub.migrations.toml:1: "), "{error}");
    }
}
