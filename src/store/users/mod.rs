//! Lists of users: one id per line, UTF-8. A byte order mark and CRLF are accepted, empty lines skipped, outer blanks kept.
//!
//! A small list is read whole ([`read_ids`]); a preview walks millions of ids in constant memory ([`tally`]).

mod chunks;
mod slots;
mod source;
mod tally;

use std::collections::HashSet;
use std::path::Path;

pub use self::source::{Spool, UserFile};
pub use self::tally::{Tally, gained, tally};
use super::StoreError;
use super::files::read_text;

/// More ids than this do not belong on a flag: each read of the hub returns them all.
const LIST_LIMIT: usize = 1_000_000;

/// A list that fits on a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserList {
    /// The ids in the order of the file, each once.
    pub ids: Vec<String>,
    /// Lines that repeat an id.
    pub duplicates: usize,
    /// Ids with blanks around them, which make them other users.
    pub padded: usize,
}

/// Read a list of ids from a file, or from stdin for `-`.
///
/// # Errors
/// [`StoreError::Refused`] with the line of what cannot be an id.
pub fn read_ids(path: &Path) -> Result<UserList, StoreError> {
    parse(&path.display().to_string(), &read_text(path)?)
}

fn parse(name: &str, text: &str) -> Result<UserList, StoreError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut list = UserList { ids: Vec::new(), duplicates: 0, padded: 0 };
    let mut seen = HashSet::new();
    for (index, line) in text.split('\n').enumerate() {
        let id = line.strip_suffix('\r').unwrap_or(line);
        if id.is_empty() {
            continue;
        }
        if id.chars().any(char::is_control) {
            return Err(StoreError::Refused(format!("{name}:{}: the id holds control characters", index + 1)));
        }
        if !seen.insert(id) {
            list.duplicates += 1;
            continue;
        }
        list.padded += usize::from(id.trim() != id);
        list.ids.push(id.to_owned());
        if list.ids.len() > LIST_LIMIT {
            return Err(StoreError::Refused(format!(
                "{name} has more than {LIST_LIMIT} ids, too many for a flag's list"
            )));
        }
    }
    if list.ids.is_empty() {
        return Err(StoreError::Refused(format!("{name} holds no user id")));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_id_per_line() {
        let list = parse("f", "\u{feff}ana\r\n\n ben \nana\nünï\n").unwrap();
        assert_eq!(list.ids, ["ana", " ben ", "ünï"]);
        assert_eq!((list.duplicates, list.padded), (1, 1));
    }

    #[test]
    fn what_cannot_be_an_id_is_named_by_its_line() {
        for (text, message) in [
            ("a\nb\tc\n", "f:2: the id holds control characters"),
            ("a\n\0\n", "f:2: the id holds control characters"),
            ("", "f holds no user id"),
            ("\n\r\n", "f holds no user id"),
        ] {
            assert_eq!(parse("f", text).unwrap_err().to_string(), message, "{text:?}");
        }
    }
}
