//! Which row a word means: a name as the hub compares names, or a type that only one row has.
//!
//! A word that looks like a key is refused before anything repeats it.

use crate::app::{App, StoredKey};
use crate::domain::keys::provider::ProviderType;
use crate::domain::keys::words::looks_like_key;
use crate::error::{Error, nearest};

/// Refuse words that may be keys, without repeating them.
pub fn refuse_keys<'a>(app: &App, words: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let found: Vec<&str> = words.into_iter().filter(|word| looks_like_key(word)).collect();
    if found.is_empty() {
        return Ok(());
    }
    app.ui.redact(found.iter().copied());
    Err(Error::Usage {
        message: "an argument looks like an API key: arguments can be read by every user of this machine, and the shell \
                  keeps them in its history"
            .to_owned(),
        hint: "take the line out of the history (`history -d NUMBER`, then `history -w`), replace the key at the provider, \
               and run it without the key: llmhub keys set asks for it"
            .to_owned(),
    })
}

/// What is wrong with a row that can only be shown, as the beginning of a sentence.
pub fn fault(row: &StoredKey) -> Option<String> {
    let fault = row.fault?;
    Some(format!("a row of the type `{}` (name {}, id {}) {}", row.provider, row.name, row.id, fault.words()))
}

/// The row that a word means, if there is one.
///
/// # Errors
/// [`Error::Usage`] where several rows are meant; [`Error::Store`] for a row that can only be shown.
pub fn find<'a>(rows: &'a [StoredKey], word: &str) -> Result<Option<&'a StoredKey>, Error> {
    let lower = word.to_lowercase();
    let named: Vec<&StoredKey> = rows.iter().filter(|row| row.name.to_lowercase() == lower).collect();
    let typed: Vec<&StoredKey> = rows.iter().filter(|row| row.provider.to_lowercase() == lower).collect();
    match (named.as_slice(), typed.as_slice()) {
        ([one], _) | ([], [one]) => {
            one.require_sound()?;
            Ok(Some(one))
        }
        ([], []) => Ok(None),
        ([], several) | (several, _) => {
            let names: Vec<String> = several.iter().map(|row| format!("`{}` ({})", row.name, row.id)).collect();
            Err(Error::Usage {
                message: format!("`{word}` means {} providers: {}", several.len(), names.join(", ")),
                hint: "give the name, as `llmhub keys list` shows it; two rows of one name must be cleared up first"
                    .to_owned(),
            })
        }
    }
}

/// The row that a word means.
///
/// # Errors
/// [`Error::NotFound`] with the nearest names; as [`find`].
pub fn one<'a>(rows: &'a [StoredKey], word: &str) -> Result<&'a StoredKey, Error> {
    find(rows, word)?.ok_or_else(|| unknown(word, rows.iter().map(|row| row.name.clone()).collect()))
}

/// There is no such provider; `known` are the names that exist.
pub fn unknown(word: &str, known: Vec<String>) -> Error {
    let close: Vec<String> = nearest(word, &known).into_iter().map(|name| format!("`{name}`")).collect();
    let tip = if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(" or ")) };
    Error::NotFound {
        message: format!("there is no provider `{word}`{tip}"),
        hint: "llmhub keys list shows the rows, llmhub keys providers the types".to_owned(),
    }
}

/// Every word that `set` takes for a provider.
pub fn settable(rows: &[StoredKey]) -> Vec<String> {
    let types = ProviderType::ALL.into_iter().map(|kind| kind.word().to_owned());
    types.chain(rows.iter().map(|row| row.name.clone())).collect()
}
