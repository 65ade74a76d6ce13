//! What the hub itself says before a rotation is finished: whether every process opens the keys under the new master key.
//!
//! A hub that cannot be asked is told, and then it is the operator's word. One that can be asked and does not show it keeps the
//! rotation, its backup and the way back open (craft.md 2.6).

use super::RotationPlan;
use crate::app::App;
use crate::domain::keys::rotation::Standing;
use crate::error::Error;
use crate::store::hub::keys::{Expected, HubKeys, Processes};
use crate::store::keys::{KeyStore, Material};
use crate::store::postgres::PostgresKeys;
use crate::store::{Source, StoreError, Verdict};

/// Whether the hub can be asked.
pub(super) enum HubAccess {
    /// It can.
    Ask(HubKeys),
    /// It cannot, and why.
    Unasked(String),
}

/// What is known of the hub's processes.
#[derive(Clone, Debug)]
pub enum HubWord {
    /// Nothing but the operator's word, and why.
    Unasked(String),
    /// What they showed.
    Asked(Processes),
}

impl HubWord {
    /// Whether nothing that was seen speaks against finishing.
    pub fn allows_finish(&self) -> bool {
        match self {
            Self::Unasked(_) => true,
            Self::Asked(processes) => processes.live.verdict != Verdict::Partial,
        }
    }
}

impl App {
    /// Whether the hub can be asked; nothing is contacted.
    pub(super) fn hub_access(&self, via: &[Source]) -> HubAccess {
        let unasked = |why: &str| HubAccess::Unasked(why.to_owned());
        if !via.is_empty() {
            return unasked("--via db leaves the hub out");
        }
        match (&self.config().hubs, &self.config().session) {
            (None, _) => unasked("no hub is configured"),
            (Some(_), None) => unasked(
                "no admin's session is configured (LLMHUB_SESSION_TOKEN, or `session_token_env` of the profile)",
            ),
            (Some(_), Some(_)) => {
                self.hub_keys().map_or_else(|error| HubAccess::Unasked(error.to_string()), HubAccess::Ask)
            }
        }
    }

    /// Compare the database's rows with what each process shows of them.
    pub(super) async fn ask_processes(&self, plan: &RotationPlan) -> Result<HubWord, Error> {
        let hub = match &plan.hub {
            HubAccess::Ask(hub) => hub,
            HubAccess::Unasked(why) => return Ok(HubWord::Unasked(why.clone())),
        };
        let database = PostgresKeys::new(self.target().await?, self.key_ring().reading(), Self::now);
        let rows = match database.list().await {
            Ok(rows) => rows,
            Err(StoreError::NoSchema(why)) => {
                return Ok(HubWord::Unasked(format!("there is nothing to compare: {why}")));
            }
            Err(error) => return Err(error.into()),
        };
        let (mut expected, mut late) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.fault.is_none()) {
            let Material::Stored(token) = &row.material else { continue };
            match plan.rotor.standing(token) {
                Standing::New => {
                    let plain = plan.rotor.new_key().open(token);
                    // A hub cannot show what is no text.
                    let text = plain.as_ref().and_then(|plain| plain.as_str());
                    expected.extend(text.map(|text| Expected::new(&row.id, &row.name, text)));
                }
                Standing::Ring(_) => late.push(format!(
                    "`{}` was saved under the old master key just now: a process still has that",
                    row.name
                )),
                // Nobody could open it before either.
                Standing::None => {}
            }
        }
        if late.is_empty() && !expected.iter().any(Expected::is_telling) {
            return Ok(HubWord::Unasked(
                "no stored key is longer than 20 characters, and of shorter ones the hub shows nothing".to_owned(),
            ));
        }
        self.ui.progress("reading the provider keys of every process of the hub");
        let workers = self.config().workers.as_ref().map(|workers| workers.value.count());
        let mut processes = hub.processes(workers, &expected).await;
        self.ui.progress_end();
        if !late.is_empty() {
            processes.live.verdict = Verdict::Partial;
            processes.failures.extend(late);
        }
        Ok(HubWord::Asked(processes))
    }
}
