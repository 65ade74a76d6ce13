//! The text of the manifest: the same proposal gives the same bytes, and the reader of manifests takes them back.
//!
//! Its comments say what is known of each file, for whoever corrects it by hand.

use super::proposal::{Basis, Entry, Proposal};

impl Proposal {
    /// The text of `llmhub.migrations.toml`.
    pub fn text(&self) -> String {
        let mut text = String::from("# The order of the scripts in this folder, written by `llmhub db adopt`.\n");
        text.push_str(match self.basis {
            Basis::Tried => "# Every entry ran in this order on an empty scratch database.\n",
            Basis::Guessed => "# The order comes from names and words alone: nothing was run.\n",
        });
        text.push_str("# The downs were read and not run: `llmhub db verify` proves them.\n");
        for entry in &self.entries {
            text.push_str(&self.entry(entry));
        }
        for ignored in &self.ignored {
            text.push_str("\n[[ignore]]\n");
            line(&mut text, "file", &exact(&ignored.file));
            line(&mut text, "reason", &quoted(&ignored.reason));
        }
        text
    }

    /// The lines in which it differs from the manifest that is there, as `diff -u` prints them.
    pub fn differences(&self, there: &str) -> String {
        let text = self.text();
        similar::TextDiff::from_lines(there, &text)
            .unified_diff()
            .context_radius(1)
            .header("there", "proposed")
            .to_string()
    }

    fn entry(&self, entry: &Entry) -> String {
        let mut text = String::from("\n[[migration]]\n");
        if entry.seeds {
            text.push_str("# it only adds or changes rows: a seed set could hold it\n");
        }
        line(&mut text, "version", &quoted(&entry.version));
        line(&mut text, "up", &exact(&entry.up));
        match &entry.down {
            Some(down) => line(&mut text, "down", &exact(down)),
            None => text.push_str(match self.offers.iter().find(|offer| offer.file == entry.up) {
                Some(_) => "# no down; its comments hold a rollback, which is never run from there\n",
                None => "# no down: it cannot be rolled back\n",
            }),
        }
        if entry.without_transaction {
            text.push_str("transaction = false # its own transaction control decides\n");
        }
        if !entry.needs.is_empty() {
            let needs: Vec<String> = entry.needs.iter().map(|version| quoted(version)).collect();
            text.push_str(&format!("needs = [{}]\n", needs.join(", ")));
        }
        text
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key} = {value}\n"));
}

/// A path, on one line and to the last character: a control character of its name is escaped.
fn exact(path: &str) -> String {
    if !path.contains(char::is_control) {
        return quoted(path);
    }
    let escaped: String = path
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// A text for people.
fn quoted(value: &str) -> String {
    // On one line: TOML has a form of strings that spans several.
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    toml_edit::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::{FileContent, FolderFile, Layout, MANIFEST, Set};
    use super::super::{Legacy, Proposal, Verdict, order, propose};

    fn proposed(files: &[(&str, &str)], verdict: Option<Verdict>) -> (Vec<FolderFile>, Proposal) {
        let files: Vec<FolderFile> = files
            .iter()
            .map(|(path, text)| FolderFile { path: (*path).to_owned(), content: FileContent::Text((*text).to_owned()) })
            .collect();
        let legacy = Legacy::read(files.clone());
        let order = order(&legacy.candidates);
        (files, propose(legacy, &order, verdict))
    }

    #[test]
    fn the_text_is_read_back_as_what_was_proposed() {
        let (mut files, proposal) = proposed(
            &[
                ("c\u{1b}[31m \"\n.sql", "CREATE TABLE c ();"),
                ("b's \"list\".sql", "ALTER TABLE t ADD c int;\n-- rollback:\n-- ALTER TABLE t DROP c;\n"),
                ("a/t.sql", "CREATE TABLE t ();"),
                ("a/rollback_t.sql", "DROP TABLE t;"),
                ("rows.sql", "BEGIN; INSERT INTO t VALUES (1); COMMIT; BEGIN; UPDATE t SET c = 2; COMMIT;"),
                ("report.sql", "SELECT * FROM t;"),
            ],
            None,
        );
        let text = proposal.text();
        files.push(FolderFile { path: MANIFEST.to_owned(), content: FileContent::Text(text.clone()) });
        let set = Set::read(files).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(set.layout(), Layout::Manifest);
        let read: Vec<_> = set.migrations().iter().map(|one| (one.version.to_string(), one.up.file())).collect();
        let expected: Vec<_> = proposal.entries.iter().map(|one| (one.version.clone(), one.up.as_str())).collect();
        assert_eq!(read, expected);
        assert!(text.contains("nothing was run") && text.contains("transaction = false") && text.contains("needs = ["));
        assert!(text.contains("its comments hold a rollback"), "{text}");
        assert_eq!(proposal.offers[0].sql, "ALTER TABLE t DROP c;\n");
        assert!(proposal.problems.is_empty(), "{:?}", proposal.problems);
    }

    #[test]
    fn rising_numbers_stay_and_others_give_way_to_places() {
        #[track_caller]
        fn case(files: &[(&str, &str)], expected: &[&str]) {
            let versions: Vec<String> = proposed(files, None).1.entries.into_iter().map(|one| one.version).collect();
            assert_eq!(versions, expected, "{files:?}");
        }
        let (t, u) = ("CREATE TABLE t ();", "CREATE TABLE u ();");
        case(&[("007_t.sql", t), ("12_u.sql", u)], &["007", "12"]);
        case(&[("1_t.sql", t), ("1_u.sql", u)], &["0001", "0002"]);
        case(&[("1_t.sql", t), ("u.sql", u)], &["0001", "0002"]);
    }
}
