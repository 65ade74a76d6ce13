//! The audit of the stored keys: every row opened in memory, judged, and searched for where no key belongs. Nothing is written.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::known::{Effective, Known};
use super::ring::KeyRing;
use crate::app::App;
use crate::domain::keys::audit::{Fallback, Finding, Owner, Seen, judge, leak, sort};
use crate::domain::keys::leak::{SHORTEST, Searcher, What};
use crate::domain::keys::provider::env_variable;
use crate::domain::keys::ring::OpenedBy;
use crate::domain::keys::secret::fingerprint;
use crate::error::Error;
use crate::store::keys::{KeyStore, Material};
use crate::store::leaks::{Leak, sweep};
use crate::store::{Source, StoreError};

/// What an audit came to.
pub struct Audited {
    /// The rows.
    pub keys: Vec<Known>,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// How many files, versions of files and commits were searched.
    pub scanned: u64,
    /// What could not be searched although it may hold keys, and why, one sentence each.
    pub unread: Vec<String>,
    /// Archives, which cannot be looked into, one sentence each.
    pub packed: Vec<String>,
    /// What else the operator should know, one sentence each.
    pub notes: Vec<String>,
}

/// A secret that is searched for.
struct Secret {
    text: Zeroizing<String>,
    owner: Owner,
    fingerprint: String,
}

impl App {
    /// Judge every row, with `max_age` in days, and search `paths` for the keys.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a database; [`Error::Store`] for a master key that cannot be used, and for a path that
    /// is not there: a search of nothing would find nothing.
    pub async fn audit_keys(&self, via: &[Source], max_age: u32, paths: &[PathBuf]) -> Result<Audited, Error> {
        let here = self.environment().directory().to_owned();
        let paths: Vec<PathBuf> = paths.iter().map(|path| here.join(path)).collect();
        self.only_database(via, "keys audit")?;
        for path in &paths {
            path.metadata()
                .map_err(|error| StoreError::Local(format!("{} cannot be searched: {error}", path.display())))?;
        }
        let ring = self.key_ring();
        // Without the current key every row would look lost.
        ring.sealing()?;
        let rows = self.key_database(via, "keys audit", &ring).await?.list().await?;
        let (keys, mut notes) = self.know(rows, &ring);
        notes.splice(0..0, ring.notes().map(str::to_owned));
        let (seen, secrets) = self.open_rows(&keys, &ring);
        let unused = ring.unused(keys.iter().filter_map(|known| known.opened.as_ref()));
        let mut findings = judge(&seen, &unused, max_age);
        let (mut scanned, mut unread, mut packed) = (0, Vec::new(), Vec::new());
        if !paths.is_empty() {
            let short = secrets.iter().filter(|secret| secret.text.len() < SHORTEST);
            notes.extend(short.map(|secret| {
                format!("fp:{} is too short to be searched for: it would be found everywhere", secret.fingerprint)
            }));
            let search = move || {
                let texts: Vec<&str> = secrets.iter().map(|secret| secret.text.as_str()).collect();
                let swept = sweep(&paths, &here, &Searcher::new(&texts));
                let owners: Vec<(Owner, String)> =
                    secrets.iter().map(|secret| (secret.owner.clone(), secret.fingerprint.clone())).collect();
                (swept, owners)
            };
            // Minutes on a large tree: signals must be heard meanwhile.
            let searched = tokio::task::spawn_blocking(search).await;
            let (swept, owners) = searched.map_err(|_| Error::Bug("the search died".to_owned()))?;
            (scanned, unread, packed) = (swept.scanned, swept.unread, swept.packed);
            notes.extend(swept.notes);
            for found in swept.leaks {
                if self.is_at_home(&found, &owners) {
                    let note = format!("{} is the hub's own env file, where the master key belongs", found.file);
                    notes.extend((!notes.contains(&note)).then_some(note));
                } else {
                    findings.extend(leak(&found.what, &owners, found.file, found.line));
                }
            }
        }
        sort(&mut findings);
        Ok(Audited { keys, findings, scanned, unread, packed, notes })
    }

    /// Whether it is the master key in the file from which the hub takes it.
    fn is_at_home(&self, found: &Leak, owners: &[(Owner, String)]) -> bool {
        let What::Secret { index, .. } = &found.what else { return false };
        let is_master = matches!(owners.get(*index), Some((Owner::MasterKey(_), _)));
        let here = self.environment().directory();
        let real = |path: &Path| here.join(path).canonicalize().ok();
        let env_file = self.config().env_file.as_ref().filter(|_| is_master).and_then(|file| real(&file.value));
        env_file.is_some() && env_file == real(Path::new(&found.file))
    }

    /// What the audit sees of each row, and all secrets, each once. They are blotted out of everything that is said.
    fn open_rows(&self, keys: &[Known], ring: &KeyRing) -> (Vec<Seen>, Vec<Secret>) {
        let mut secrets: Vec<Secret> = Vec::new();
        for (name, key) in ring.reading().keys() {
            // The last digit of the 43 has bits to spare, and the `=` is often left out: neither is searched for.
            let whole = key.expose();
            let text = Zeroizing::new(whole.get(..42).unwrap_or(&whole).to_owned());
            let other = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
            let alphabets = if *other == *text { vec![text] } else { vec![text, other] };
            secrets.extend(alphabets.into_iter().map(|text| Secret {
                text,
                owner: Owner::MasterKey(name.to_owned()),
                fingerprint: key.fingerprint(),
            }));
        }
        let seen = keys.iter().map(|known| {
            let stored = match &known.row.material {
                Material::Stored(text) => Some(text.as_str()),
                Material::Hidden { .. } | Material::Empty => None,
            };
            let text = plain(ring, stored);
            let print = text.as_ref().map(|text| fingerprint(text));
            for text in text.into_iter().chain(plain(ring, known.row.second.as_deref())) {
                self.remember(&mut secrets, text, &known.row.name);
            }
            Seen {
                name: known.row.name.clone(),
                enabled: known.row.enabled,
                opened: known.opened.clone().unwrap_or(OpenedBy::Empty),
                fallback: match known.effective {
                    Some(Effective::Environment) => Fallback::Variable(env_variable(&known.row.name)),
                    Some(Effective::Database | Effective::None) => Fallback::Nothing,
                    None => Fallback::Unknown,
                },
                age_days: known.age_days,
                fingerprint: print,
                failed: known.row.test_status.as_deref() == Some("failed"),
                second: known.row.second.as_deref().map(|text| ring.judge(Some(text)).0),
            }
        });
        let seen = seen.collect();
        (seen, secrets)
    }

    fn remember(&self, secrets: &mut Vec<Secret>, text: Zeroizing<String>, name: &str) {
        if text.len() >= SHORTEST {
            self.ui.redact([text.as_str()]);
        }
        let print = fingerprint(&text);
        match secrets.iter_mut().find(|secret| *secret.text == *text) {
            Some(Secret { owner: Owner::Rows(names), .. }) if !names.iter().any(|known| known == name) => {
                names.push(name.to_owned());
            }
            Some(_) => {}
            None => secrets.push(Secret { text, owner: Owner::Rows(vec![name.to_owned()]), fingerprint: print }),
        }
    }
}

/// The key behind a stored text: opened, or the text itself where somebody stored it as it is.
fn plain(ring: &KeyRing, stored: Option<&str>) -> Option<Zeroizing<String>> {
    let (opened, plain) = ring.reading().open(stored);
    match opened {
        OpenedBy::NotFernet => stored.map(|text| Zeroizing::new(text.trim().to_owned())),
        _ => Some(Zeroizing::new(plain?.as_str()?.to_owned())),
    }
}
