//! Rotating the master key, decided: what becomes of a token, which columns are taken, and which steps come next.
//!
//! Pure. A token keeps its own time, since its age is all that people know of a key's age. A row that no key opens stops the
//! whole rotation; a column of which no row opens belongs to somebody else and is left alone (craft.md 2.5, 2.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::ring::{OpenedBy, Ring};
use crate::domain::fernet::{MasterKey, Plain, sealed_at};

/// The keys of one rotation.
pub struct Rotor {
    ring: Arc<Ring>,
    new: MasterKey,
}

/// Which key opens a token during a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The new key already.
    New,
    /// A key of the ring.
    Ring(OpenedBy),
    /// No key at all.
    None,
}

/// What becomes of a token.
pub enum Renewal {
    /// It is under the wanted key already.
    Keep,
    /// It becomes this one, of the same text and time.
    Replace(String),
    /// No key opens it.
    Unopened,
}

impl Rotor {
    /// The keys that open, and the one that seals from now on.
    pub fn new(ring: Arc<Ring>, new: MasterKey) -> Self {
        Self { ring, new }
    }

    /// The new key.
    pub fn new_key(&self) -> &MasterKey {
        &self.new
    }

    /// The key that the hub used until now, if it is another than the new one.
    pub fn old_key(&self) -> Option<&MasterKey> {
        self.ring.keys().map(|(_, key)| key).find(|key| **key != self.new)
    }

    /// Whether the hub uses the new key already, as far as the ring tells.
    pub fn is_current(&self) -> bool {
        self.ring.current().is_some_and(|(_, key)| *key == self.new)
    }

    /// The key of the ring with this fingerprint.
    pub fn key(&self, fingerprint: &str) -> Option<&MasterKey> {
        self.ring.keys().map(|(_, key)| key).find(|key| key.fingerprint() == fingerprint)
    }

    /// Which key opens the token.
    pub fn standing(&self, token: &str) -> Standing {
        if self.new.open(token).is_some() {
            return Standing::New;
        }
        match self.ring.open(Some(token)).0 {
            opened @ (OpenedBy::Current | OpenedBy::Old(_)) => Standing::Ring(opened),
            OpenedBy::None | OpenedBy::NotFernet | OpenedBy::Empty => Standing::None,
        }
    }

    /// The token under the new key, with its own time. `iv` must be random.
    pub fn renew(&self, token: &str, iv: [u8; 16]) -> Renewal {
        if self.new.open(token).is_some() {
            return Renewal::Keep;
        }
        let Some(plain) = self.ring.open(Some(token)).1 else { return Renewal::Unopened };
        sealed(&self.new, &plain, token, iv)
    }

    /// The token under `old`, if it is under the new key: the way back for what was saved meanwhile.
    pub fn revert(&self, old: &MasterKey, token: &str, iv: [u8; 16]) -> Renewal {
        match self.new.open(token) {
            Some(plain) if *old != self.new => sealed(old, &plain, token, iv),
            _ => Renewal::Keep,
        }
    }
}

/// The text under another key; only what opens again to the same bytes counts.
fn sealed(key: &MasterKey, plain: &Plain, token: &str, iv: [u8; 16]) -> Renewal {
    let Some(at) = sealed_at(token) else { return Renewal::Unopened };
    let sealed = key.seal(plain.as_bytes(), at, iv);
    match key.open(&sealed) {
        Some(again) if again.as_bytes() == plain.as_bytes() && sealed_at(&sealed) == Some(at) => {
            Renewal::Replace(sealed)
        }
        _ => Renewal::Unopened,
    }
}

/// What a rotation does with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Its tokens come under the new key.
    Rotate,
    /// Some of its tokens open and some do not: the rotation refuses.
    Blocked,
    /// None of its tokens opens: another key's, listed and left alone.
    Untouched,
}

/// The tokens of one column, counted by the key that opens them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u64>);

/// The word for rows under the new key.
const NEW: &str = "new";
/// The word for rows that no key opens.
const NONE: &str = "none";

impl Tally {
    /// Count rows that hold a token of this standing.
    pub fn add(&mut self, standing: &Standing, rows: u64) {
        let word = match standing {
            Standing::New => NEW.to_owned(),
            Standing::Ring(opened) => opened.to_string(),
            Standing::None => NONE.to_owned(),
        };
        *self.0.entry(word).or_default() += rows;
    }

    /// The counts, by the words of craft.md 2.4, and `new`.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.0
    }

    /// How many rows have to be rewritten.
    pub fn due(&self) -> u64 {
        self.0.iter().filter(|(word, _)| *word != NEW && *word != NONE).map(|(_, rows)| rows).sum()
    }

    /// How many rows no key opens.
    pub fn unopened(&self) -> u64 {
        self.0.get(NONE).copied().unwrap_or_default()
    }

    /// What the rotation does with the column.
    pub fn treatment(&self) -> Treatment {
        match (self.unopened(), self.0.keys().any(|word| word != NONE)) {
            (_, false) => Treatment::Untouched,
            (0, true) => Treatment::Rotate,
            (_, true) => Treatment::Blocked,
        }
    }
}

/// How far a rotation has come, by its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// None is under way.
    Fresh,
    /// The rows are under the new key; the hub still has the old one.
    Applied,
    /// The hub's environment has the new key; the hub may not have read it yet.
    Swapped,
    /// The rows are as before; the hub's environment may not be.
    Aborting,
}

/// Which way the operator wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To the new key.
    Forward,
    /// Back to the old one.
    Back,
}

/// One step; each may be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All rows come under the new key, in one transaction.
    Apply,
    /// The hub's environment gets the new key.
    Swap,
    /// What the hub wrote with the old key meanwhile comes under the new one.
    Verify,
    /// Every process of the hub shows that it opens the keys, as far as it can be asked.
    Ask,
    /// The old tokens are forgotten.
    Finish,
    /// All rows are as before, in one transaction.
    Restore,
    /// The hub's environment gets the old key back.
    SwapBack,
    /// The rotation is closed without effect.
    Close,
}

/// Whether somebody has to recreate the hub between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The hub has another key until it is recreated.
    Recreate,
    /// It has the new one already.
    None,
}

/// The steps of this run. `None`: an abort is under way, and there is no way forward from there.
pub fn steps(phase: Phase, wish: Wish, window: Window) -> Option<&'static [Step]> {
    Some(match (wish, phase, window) {
        // The hub must be recreated before anything can be verified: the next run goes on.
        (Wish::Forward, Phase::Fresh, Window::Recreate) => &[Step::Apply, Step::Swap],
        (Wish::Forward, Phase::Fresh, Window::None) => {
            &[Step::Apply, Step::Swap, Step::Verify, Step::Ask, Step::Finish]
        }
        (Wish::Forward, Phase::Applied, Window::Recreate) => &[Step::Swap],
        (Wish::Forward, Phase::Applied, Window::None) => &[Step::Swap, Step::Verify, Step::Ask, Step::Finish],
        (Wish::Forward, Phase::Swapped, _) => &[Step::Verify, Step::Ask, Step::Finish],
        (Wish::Forward, Phase::Aborting, _) => return None,
        (Wish::Back, Phase::Fresh, _) => &[],
        (Wish::Back, Phase::Applied | Phase::Swapped, _) => &[Step::Restore, Step::SwapBack, Step::Close],
        (Wish::Back, Phase::Aborting, _) => &[Step::SwapBack, Step::Close],
    })
}

/// How every token begins.
const OPENING: &str = "gAAAA";

/// Where in a JSON document tokens stand, as paths such as `$.keys[0].secret`.
pub fn token_paths(document: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::String(text) if sealed_at(text).is_some() => found.push(path.to_owned()),
            // The hub as it is delivered stores its config as the text of a document (CONTRACT 4.2).
            Value::String(text) if text.contains(OPENING) => {
                if let Ok(inner @ (Value::Array(_) | Value::Object(_))) = serde_json::from_str(text) {
                    walk(&inner, path, found);
                }
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| walk(item, &format!("{path}[{at}]"), found));
            }
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| walk(member, &format!("{path}.{name}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "$", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_KEY: &str = "YTK9q5ncgzsYSAM_BnCGWwSuFWXkoT_aVJHxpbVPNzQ=";
    const OLD_KEY: &str = "0M8PJqEMvG5TEQeomi0hFB0ttNiLWpAcw1joRTJBfvY=";
    const OLDER_KEY: &str = "k4k0ZVSJtbalhf8LzR-S3Szxdagp_mawo4j7mh1evsM=";

    fn key(text: &str) -> MasterKey {
        MasterKey::parse(text).ok().unwrap()
    }

    fn rotor() -> Rotor {
        let ring = Ring::new(vec![("OLD".to_owned(), key(OLD_KEY)), ("OLDER".to_owned(), key(OLDER_KEY))]);
        Rotor::new(Arc::new(ring), key(NEW_KEY))
    }

    #[test]
    fn a_renewed_token_keeps_its_text_and_its_time() {
        for old in [OLD_KEY, OLDER_KEY] {
            let token = key(old).seal(b"sk-1", 1_700_000_000, [1; 16]);
            let Renewal::Replace(renewed) = rotor().renew(&token, [2; 16]) else { panic!("not renewed") };
            assert_eq!(key(NEW_KEY).open(&renewed).unwrap().as_str(), Some("sk-1"));
            assert_eq!(sealed_at(&renewed), Some(1_700_000_000));
            assert!(matches!(rotor().renew(&renewed, [3; 16]), Renewal::Keep));
        }
    }

    #[test]
    fn the_way_back_takes_only_what_is_under_the_new_key() {
        let saved = key(NEW_KEY).seal(b"sk-2", 9, [1; 16]);
        let Renewal::Replace(back) = rotor().revert(&key(OLD_KEY), &saved, [2; 16]) else { panic!("not reverted") };
        assert_eq!(key(OLD_KEY).open(&back).unwrap().as_str(), Some("sk-2"));
        assert!(matches!(rotor().revert(&key(OLD_KEY), &back, [3; 16]), Renewal::Keep));
    }

    #[test]
    fn what_no_key_opens_is_not_renewed() {
        let ring = Ring::new(vec![("OLD".to_owned(), key(OLD_KEY))]);
        let token = key(OLDER_KEY).seal(b"sk-1", 5, [1; 16]);
        assert!(matches!(Rotor::new(Arc::new(ring), key(NEW_KEY)).renew(&token, [2; 16]), Renewal::Unopened));
    }

    #[track_caller]
    fn treated(standings: &[Standing], treatment: Treatment, due: u64) {
        let mut tally = Tally::default();
        standings.iter().for_each(|standing| tally.add(standing, 1));
        assert_eq!((tally.treatment(), tally.due()), (treatment, due));
    }

    #[test]
    fn a_column_is_taken_whole_or_not_at_all() {
        let (current, old) = (Standing::Ring(OpenedBy::Current), Standing::Ring(OpenedBy::Old("B".to_owned())));
        treated(&[current.clone(), old.clone(), Standing::New], Treatment::Rotate, 2);
        treated(&[Standing::New], Treatment::Rotate, 0);
        treated(&[current, Standing::None], Treatment::Blocked, 1);
        treated(&[Standing::None, Standing::None], Treatment::Untouched, 0);
        treated(&[], Treatment::Untouched, 0);
    }

    #[test]
    fn every_phase_has_its_way_forward_and_back() {
        use Step::{Apply, Ask, Close, Finish, Restore, Swap, SwapBack, Verify};
        let (forward, back) = (Wish::Forward, Wish::Back);
        for (phase, wish, window, expected) in [
            (Phase::Fresh, forward, Window::Recreate, Some(&[Apply, Swap][..])),
            (Phase::Fresh, forward, Window::None, Some(&[Apply, Swap, Verify, Ask, Finish])),
            (Phase::Applied, forward, Window::Recreate, Some(&[Swap])),
            (Phase::Applied, forward, Window::None, Some(&[Swap, Verify, Ask, Finish])),
            (Phase::Swapped, forward, Window::Recreate, Some(&[Verify, Ask, Finish])),
            (Phase::Aborting, forward, Window::None, None),
            (Phase::Fresh, back, Window::None, Some(&[])),
            (Phase::Applied, back, Window::Recreate, Some(&[Restore, SwapBack, Close])),
            (Phase::Swapped, back, Window::None, Some(&[Restore, SwapBack, Close])),
            (Phase::Aborting, back, Window::Recreate, Some(&[SwapBack, Close])),
        ] {
            assert_eq!(steps(phase, wish, window), expected, "{phase:?} {wish:?} {window:?}");
        }
    }

    #[test]
    fn tokens_inside_json_are_found_by_their_path() {
        let token = key(OLD_KEY).seal(b"x", 1, [0; 16]);
        let document = serde_json::json!({"a": [1, {"b": token}], "c": "gAAAA", "d": token});
        assert_eq!(token_paths(&document), ["$.a[1].b", "$.d"]);
        assert_eq!(token_paths(&Value::String(document.to_string())), ["$.a[1].b", "$.d"]);
    }
}
