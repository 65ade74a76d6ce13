//! The ring of master keys: which are known, in which order, and from where.
//!
//! The first is current and seals; the others only open old rows (craft.md 2.4). No key is used or judged here.

use super::file::RawKey;
use super::{ConfigError, Environment, KeyMaterial, MasterKey, Origin, Setting};

/// The hub's own variable for the current key.
const CURRENT: &str = "BYOK_ENCRYPTION_KEY";
/// The keys before it, separated by commas.
const OLD: &str = "BYOK_ENCRYPTION_KEYS_OLD";

/// The ring: `BYOK_ENCRYPTION_KEY`, the profile's `master_keys`, then `BYOK_ENCRYPTION_KEYS_OLD`. A profile that names
/// `env:BYOK_ENCRYPTION_KEY` itself decides its place.
///
/// # Errors
/// [`ConfigError::NotUnicode`] for a variable that is no text.
pub(super) fn ring(
    environment: &Environment,
    profile: Option<Setting<Vec<RawKey>>>,
) -> Result<Vec<MasterKey>, ConfigError> {
    let mut ring = Vec::new();
    let (named, origin) = profile.map_or((Vec::new(), Origin::Default), |keys| (keys.value, keys.origin));
    let placed = named.iter().any(|key| *key == RawKey::Variable(CURRENT.to_owned()));
    if let Some(text) = environment.variable(CURRENT)?.filter(|_| !placed) {
        ring.push(key(CURRENT, text, Origin::Variable(CURRENT)));
    }
    for named in named {
        ring.push(match named {
            RawKey::File(path) => MasterKey {
                name: path.display().to_string(),
                material: KeyMaterial::File(path),
                origin: origin.clone(),
            },
            RawKey::Variable(name) => match environment.variable(&name)? {
                Some(text) => key(&name, text, origin.naming(&name)),
                None => MasterKey { name, material: KeyMaterial::Unset, origin: origin.clone() },
            },
        });
    }
    let old = environment.variable(OLD)?.unwrap_or_default();
    let old: Vec<&str> = old.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
    for (at, text) in old.iter().enumerate() {
        let name = if old.len() == 1 { OLD.to_owned() } else { format!("{OLD}[{}]", at + 1) };
        ring.push(key(&name, text, Origin::Variable(OLD)));
    }
    Ok(ring)
}

fn key(name: &str, text: &str, origin: Origin) -> MasterKey {
    MasterKey { name: name.to_owned(), material: KeyMaterial::Text(text.into()), origin }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Line;

    #[track_caller]
    fn case(variables: &[(&str, &str)], named: Option<&[&str]>, expected: &[&str]) {
        let environment = Environment::new("/", variables.iter().copied());
        let named = named.map(|names| {
            let keys = names.iter().map(|name| match name.strip_prefix('/') {
                Some(_) => RawKey::File((*name).into()),
                None => RawKey::Variable((*name).to_owned()),
            });
            Setting::new(keys.collect(), Origin::File(Line { file: "f".into(), number: 1 }))
        });
        let shown = ring(&environment, named).unwrap().into_iter().map(|key| {
            let state = match key.material {
                KeyMaterial::Text(_) => "text",
                KeyMaterial::File(_) => "file",
                KeyMaterial::Unset => "unset",
            };
            format!("{} {state} {}", key.name, key.origin)
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_first_key_is_the_variable_unless_the_profile_places_it() {
        let both = [("BYOK_ENCRYPTION_KEY", "k"), ("OTHER", "o")];
        case(&[], None, &[]);
        case(&both, None, &["BYOK_ENCRYPTION_KEY text BYOK_ENCRYPTION_KEY"]);
        case(
            &both,
            Some(&["OTHER", "/run/key"]),
            &["BYOK_ENCRYPTION_KEY text BYOK_ENCRYPTION_KEY", "OTHER text OTHER (f:1)", "/run/key file f:1"],
        );
        case(
            &both,
            Some(&["OTHER", "BYOK_ENCRYPTION_KEY"]),
            &["OTHER text OTHER (f:1)", "BYOK_ENCRYPTION_KEY text BYOK_ENCRYPTION_KEY (f:1)"],
        );
        case(&[], Some(&["OTHER"]), &["OTHER unset f:1"]);
    }

    #[test]
    fn old_keys_come_last_and_are_counted() {
        let old = "BYOK_ENCRYPTION_KEYS_OLD";
        case(&[(old, "a")], None, &["BYOK_ENCRYPTION_KEYS_OLD text BYOK_ENCRYPTION_KEYS_OLD"]);
        case(
            &[(old, "a, b,")],
            Some(&["OTHER"]),
            &[
                "OTHER unset f:1",
                "BYOK_ENCRYPTION_KEYS_OLD[1] text BYOK_ENCRYPTION_KEYS_OLD",
                "BYOK_ENCRYPTION_KEYS_OLD[2] text BYOK_ENCRYPTION_KEYS_OLD",
            ],
        );
    }
}
