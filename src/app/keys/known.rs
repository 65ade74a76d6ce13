//! What is known of a row: which master key opens it, how old its key is, and where the hub really takes the key from.

use serde::{Serialize, Serializer};

use super::ring::KeyRing;
use crate::app::App;
use crate::domain::dotenv::Document;
use crate::domain::fernet::sealed_at;
use crate::domain::keys::provider::env_variable;
use crate::domain::keys::ring::OpenedBy;
use crate::store::keys::{KeySource, Material, StoredKey};

/// Where the hub takes a provider's key from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effective {
    /// The row.
    Database,
    /// The hub's variable `<NAME>_API_KEY`.
    Environment,
    /// Nowhere: the hub has no key.
    None,
}

impl Effective {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Environment => "environment",
            Self::None => "none",
        }
    }
}

impl Serialize for Effective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What is known of a row.
#[derive(Clone, Debug)]
pub struct Known {
    /// The row.
    pub row: StoredKey,
    /// Where the hub takes the key from; `None` where its environment is not known.
    pub effective: Option<Effective>,
    /// Which master key opens the row; `None` where only the hub could say.
    pub opened: Option<OpenedBy>,
    /// How the key is shown, if it could be read.
    pub shown: Option<String>,
    /// Whole days since it was sealed: the token tells without a key (craft.md 2.10). Negative for a token from the future.
    pub age_days: Option<i64>,
}

impl App {
    /// What is known of rows, and what keeps the rest from being known, one sentence each.
    pub fn know(&self, rows: Vec<StoredKey>, ring: &KeyRing) -> (Vec<Known>, Vec<String>) {
        let mut notes: Vec<String> = Vec::new();
        let env_file = self.config().env_file.as_ref().and_then(|path| {
            let text = self.read_text(&path.value).map_err(|error| error.to_string());
            let file = text.and_then(|text| {
                Document::parse(text).map_err(|error| format!("{} cannot be read: {error}", path.value.display()))
            });
            file.map_err(|why| notes.push(format!("{why}; which keys the hub takes from its environment is not known")))
                .ok()
        });
        let now = self.instant().as_second();
        let known: Vec<Known> = rows.into_iter().map(|row| know(row, ring, env_file.as_ref(), now)).collect();
        if self.config().env_file.is_none() && known.iter().any(|known| known.effective.is_none()) {
            notes.push(
                "without the hub's env file (--env-file) it is not known whether the hub takes a key from its environment"
                    .to_owned(),
            );
        }
        (known, notes)
    }
}

fn know(row: StoredKey, ring: &KeyRing, env_file: Option<&Document>, now: i64) -> Known {
    let (opened, shown, age_days) = match &row.material {
        Material::Stored(token) => {
            let (opened, shown) = ring.judge(Some(token));
            let age = sealed_at(token).and_then(|at| i64::try_from(at).ok()).map(|at| (now - at).div_euclid(86_400));
            (Some(opened), shown, age)
        }
        Material::Empty => (Some(OpenedBy::Empty), None, None),
        // A preview of three stars is a key that the hub cannot open, or one of at most 20 characters.
        Material::Hidden { preview } if preview == "***" => (None, None, None),
        Material::Hidden { .. } => (Some(OpenedBy::Current), None, None),
    };
    let variable = env_file.map(|file| {
        let set =
            file.get(&env_variable(&row.name)).and_then(|entry| entry.text()).is_some_and(|text| !text.is_empty());
        if set { Effective::Environment } else { Effective::None }
    });
    let effective = match (&opened, row.source, &row.material) {
        (_, Some(KeySource::Environment), _) => Some(Effective::Environment),
        (_, Some(KeySource::NotSet), _) => Some(Effective::None),
        (Some(OpenedBy::Current), ..) => Some(Effective::Database),
        // Whatever the hub says: what it cannot open, it silently replaces by its variable.
        _ => variable,
    };
    Known { row, effective, opened, shown, age_days }
}
