//! The sources of one run, looked at together and written in the order of the direction (rollout.md 2).
//!
//! Up: live, verify, then persist. Down: persist within two seconds, whatever comes of it, then live, verify. So a crash in
//! between always leaves the smaller exposure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::snapshot::{STEPPED, Snapshot, on_rung};
use crate::app::App;
use crate::domain::flags::change::changed_members;
use crate::domain::flags::{Flag, FlagKey, Member, Percent};
use crate::domain::rollout::decide::Agreement;
use crate::domain::rollout::plan::RollbackTo;
use crate::error::Error;
use crate::store::{Depth, Edit, FlagStore, Live, Note, Saved, Source, Stance, StoreError, Verdict, pick};

/// What a persistent source may take on the way down before the processes are switched off.
const PERSIST_BUDGET: Duration = Duration::from_secs(2);

/// What is known of the processes, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Processes known to agree.
    pub agree: u32,
    /// How many there are, where that was declared.
    pub of: Option<u32>,
    /// `proved`, `sampled` or `partial`.
    pub verdict: String,
    /// Addresses, reads, chance, who differs.
    pub evidence: String,
}

impl Known {
    /// Of a write or a look.
    pub fn of(live: &Live) -> Self {
        let verdict = match live.verdict {
            Verdict::Proved => "proved",
            Verdict::Sampled => "sampled",
            Verdict::Partial => "partial",
        };
        Self { agree: live.agree, of: live.of, verdict: verdict.to_owned(), evidence: live.evidence.clone() }
    }

    /// The same, for the decision.
    pub fn agreement(&self) -> Agreement {
        match self.verdict.as_str() {
            "proved" => Agreement::Proved,
            "sampled" => Agreement::Sampled,
            _ => Agreement::Partial,
        }
    }

    /// `live 12/12 PROVED (…)`.
    pub fn words(&self) -> String {
        let of = self.of.map_or_else(|| "?".to_owned(), |of| of.to_string());
        format!("live {}/{of} {}", self.agree, self.verdict.to_uppercase())
    }
}

/// One state of the flag, and where it was seen.
#[derive(Clone, Debug)]
pub struct SeenState {
    /// In which source.
    pub source: Source,
    /// The flag.
    pub flag: Flag,
    /// Its addresses.
    pub addresses: Vec<String>,
}

/// A look at all sources of a run.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Every distinct state, by source.
    pub states: Vec<SeenState>,
    /// What did not answer, with the reason.
    pub silent: Vec<String>,
}

impl Look {
    /// The states of one source.
    pub fn of(&self, source: Source) -> Vec<Flag> {
        self.states.iter().filter(|state| state.source == source).map(|state| state.flag.clone()).collect()
    }
}

/// The sources of one run.
pub struct Targets {
    key: FlagKey,
    /// The running hub, if it is one of them.
    live: Option<Box<dyn FlagStore>>,
    /// What keeps values over a restart, in the order in which to write.
    kept: Vec<Box<dyn FlagStore>>,
    note: Note,
}

impl Targets {
    /// The sources that a write of this profile means. Nothing is contacted.
    ///
    /// # Errors
    /// As [`App::writers`].
    pub async fn open(app: &App, via: &[Source], key: &FlagKey, note: Note) -> Result<Self, Error> {
        let (live, kept): (Vec<_>, Vec<_>) =
            app.writers(via).await?.into_iter().partition(|store| store.source() == Source::Hub);
        Ok(Self { key: key.clone(), live: live.into_iter().next(), kept, note })
    }

    /// Whether some of them keep values over a restart.
    pub fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Every source.
    pub fn all(&self) -> impl Iterator<Item = &dyn FlagStore> {
        self.live.iter().chain(&self.kept).map(AsRef::as_ref)
    }

    /// Whether another look at the hub is within its request limit now.
    pub async fn may_look(&self) -> bool {
        match &self.live {
            Some(hub) => timeout(Duration::from_millis(1), hub.pace()).await.is_ok(),
            None => true,
        }
    }

    /// Look at every source; one that fails is named, and the others are seen.
    pub async fn look(&self) -> Look {
        let mut look = Look::default();
        for store in self.all() {
            match self.states(store).await {
                Ok((states, silent)) => {
                    look.states.extend(states);
                    look.silent.extend(silent);
                }
                Err(error) => look.silent.push(format!("{}: {error}", store.source())),
            }
        }
        look
    }

    /// The states of one source, most frequent first, and its addresses that did not answer.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such flag; what else keeps it from being read.
    pub async fn states(&self, store: &dyn FlagStore) -> Result<(Vec<SeenState>, Vec<String>), StoreError> {
        let source = store.source();
        let survey = store.survey(Depth::Glance).await?;
        let mut states: Vec<SeenState> = Vec::new();
        for variant in survey.variants {
            let flag = pick(source, variant.flags, &self.key)?;
            let same = |seen: &&mut SeenState| Member::DECIDING.iter().all(|member| member.same(&seen.flag, &flag));
            match states.iter_mut().find(same) {
                Some(seen) => seen.addresses.extend(variant.addresses),
                None => states.push(SeenState { source, flag, addresses: variant.addresses }),
            }
        }
        Ok((states, survey.unreachable))
    }

    /// What a rung wants of a source.
    pub fn wanted(&self, snapshots: &[Snapshot], source: Source, rung: Percent) -> Option<Flag> {
        let snapshot = snapshots.iter().find(|snapshot| snapshot.is_of(source))?;
        Some(on_rung(&snapshot.flag(&self.key), rung))
    }

    /// Bring every process to a rung and prove it. `None` where no hub is among the sources: there is nothing to fan out.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a process holds what nobody of this run has written.
    pub async fn raise_live(&self, snapshots: &[Snapshot], rung: Percent) -> Result<Option<Saved>, StoreError> {
        let Some(hub) = &self.live else { return Ok(None) };
        let Some(wanted) = self.wanted(snapshots, Source::Hub, rung) else { return Ok(None) };
        match self.write(hub.as_ref(), &wanted, &STEPPED, Stance::Careful, snapshots).await {
            Err(StoreError::Moved { seen }) => Err(StoreError::Conflict(format!(
                "a process holds what this run did not write ({})",
                differing(&seen, &wanted).join(", ")
            ))),
            saved => saved.map(Some),
        }
    }

    /// Have the persistent sources keep a rung, each read back.
    ///
    /// # Errors
    /// The first that fails; those before it stand.
    pub async fn raise_kept(&self, snapshots: &[Snapshot], rung: Percent) -> Result<(), StoreError> {
        for store in &self.kept {
            if let Some(wanted) = self.wanted(snapshots, store.source(), rung) {
                self.write(store.as_ref(), &wanted, &STEPPED, Stance::Careful, snapshots).await?;
            }
        }
        Ok(())
    }

    /// The way back: the persistent sources first, each within its budget and whatever comes of it, then the processes.
    pub async fn lower(&self, snapshots: &[Snapshot], to: RollbackTo) -> Lowered {
        let mut lowered = Lowered::default();
        for store in &self.kept {
            match timeout(PERSIST_BUDGET, self.lower_one(store.as_ref(), snapshots, to)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => lowered.take(store.source(), error),
                Err(_) => {
                    let slow = format!("not done within {} s", PERSIST_BUDGET.as_secs());
                    lowered.take(store.source(), StoreError::OutcomeUnknown(slow));
                }
            }
        }
        if let Some(hub) = &self.live {
            match self.lower_one(hub.as_ref(), snapshots, to).await {
                Ok(saved) => {
                    lowered.notes.extend(saved.notes);
                    lowered.live = saved.live.as_ref().map(Known::of);
                }
                Err(error) => lowered.take(Source::Hub, error),
            }
        }
        lowered
    }

    async fn lower_one(
        &self,
        store: &dyn FlagStore,
        snapshots: &[Snapshot],
        to: RollbackTo,
    ) -> Result<Saved, StoreError> {
        let source = store.source();
        let snapshot = snapshots.iter().find(|snapshot| snapshot.is_of(source));
        let snapshot =
            snapshot.ok_or_else(|| StoreError::Invalid(format!("the run's record has no snapshot of {source}")))?;
        let before = snapshot.flag(&self.key);
        match to {
            RollbackTo::Off => {
                let off = Flag { enabled: Some(false), ..before };
                self.write(store, &off, &[Member::Enabled], Stance::Determined, snapshots).await
            }
            RollbackTo::Snapshot => {
                let members: &[Member] = if source == Source::Hub { &Member::LIVE } else { &Member::DECIDING };
                self.write(store, &before, members, Stance::Determined, snapshots).await
            }
        }
    }

    /// One source, from the states that it holds now.
    async fn write(
        &self,
        store: &dyn FlagStore,
        wanted: &Flag,
        members: &[Member],
        stance: Stance,
        snapshots: &[Snapshot],
    ) -> Result<Saved, StoreError> {
        let (states, _) = self.states(store).await?;
        let mut states = states.into_iter().map(|state| state.flag);
        let Some(seen) = states.next() else {
            return Err(StoreError::Unreachable(format!("{} showed no state of the flag", store.source())));
        };
        let mut after = seen.clone();
        members.iter().for_each(|member| member.copy(wanted, &mut after));
        // A process that restarts in the middle of it comes back with what was there before: that is no stranger's edit.
        let before = snapshots.iter().find(|snapshot| snapshot.is_of(store.source()));
        let also_seen = states.chain(before.map(|snapshot| snapshot.flag(&self.key))).collect();
        let edit = Edit { seen, also_seen, wanted: after, members: members.to_vec(), stance };
        store.save(&edit, &self.note).await
    }
}

/// What came of the way back.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// The processes.
    pub live: Option<Known>,
    /// What is not proven, one sentence each.
    pub unproven: Vec<String>,
    /// Whether the outcome of a write is unknown.
    pub unknown: bool,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Lowered {
    fn take(&mut self, source: Source, error: StoreError) {
        self.unknown |= matches!(error, StoreError::OutcomeUnknown(_));
        self.unproven.push(format!("{source}: {error}"));
    }

    /// Whether everything is back and proven.
    pub fn is_proven(&self) -> bool {
        self.unproven.is_empty() && self.live.as_ref().is_none_or(|live| live.agreement() != Agreement::Partial)
    }

    /// What is not proven, processes included.
    pub fn gaps(&self) -> Vec<String> {
        let partial = self.live.iter().filter(|live| live.agreement() == Agreement::Partial);
        self.unproven
            .iter()
            .cloned()
            .chain(partial.map(|live| format!("{} ({})", live.words(), live.evidence)))
            .collect()
    }
}

/// The members by which a state differs from what is wanted, by what decides who is on.
pub fn differing(state: &Flag, wanted: &Flag) -> Vec<String> {
    let decides = |member: &Member| Member::DECIDING.contains(member);
    changed_members(wanted, state).into_iter().filter(decides).map(|member| member.name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_proven_only_when_every_source_and_every_process_is() {
        #[track_caller]
        fn case(verdict: Option<&str>, unproven: &[&str], proven: bool, gaps: usize) {
            let live = verdict.map(|verdict| Known {
                agree: 3,
                of: Some(4),
                verdict: verdict.to_owned(),
                evidence: "one is silent".to_owned(),
            });
            let unproven = unproven.iter().map(|gap| (*gap).to_owned()).collect();
            let lowered = Lowered { live, unproven, ..Lowered::default() };
            assert_eq!((lowered.is_proven(), lowered.gaps().len()), (proven, gaps), "{lowered:?}");
        }
        case(None, &[], true, 0);
        case(Some("proved"), &[], true, 0);
        case(Some("sampled"), &[], true, 0);
        case(Some("partial"), &[], false, 1);
        case(Some("a word of a newer llmhub"), &[], false, 1);
        case(Some("proved"), &["db: gone"], false, 1);
        case(Some("partial"), &["db: gone"], false, 2);
    }
}
