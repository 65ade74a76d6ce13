//! Which scripts run on an empty database, and in which order: tried on a scratch database beside the live one.
//!
//! Each script runs in a transaction of its own, in rounds: what fails is tried again after others have run, until a round
//! brings nothing new. The live database is only asked for its encoding. What acts beyond its database must not be given.

mod attempt;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::adopt::{Candidate, Stumble, Verdict};
use crate::domain::migrations::Script;
use crate::store::StoreError;
use crate::store::postgres::{Failure, Session, Target};

use self::attempt::{Attempt, Ended, Known};
use super::scratch::Scratch;

/// How many times the order is turned around for two files that want to make one thing.
const ALTERNATIVES: usize = 5;

/// Try the candidates in `places`' order, first choices before their rivals; one statement may take `limit`. `tell` hears the
/// file that is tried. Where two files want to make one thing, the other one gets its chance too, and the order in which more
/// files run is kept.
///
/// # Errors
/// Those of [`Scratch::create`] and of connecting. A script's own error is part of the verdict.
pub async fn try_out(
    live: &Target,
    candidates: &[Candidate],
    places: &[usize],
    limit: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Verdict, StoreError> {
    let mut places = places.to_vec();
    let mut trial = Trial { live, candidates, limit, tell, hopeless: BTreeMap::new() };
    let mut best = trial.once(&places).await?;
    let mut turned: BTreeSet<usize> = BTreeSet::new();
    while turned.len() < ALTERNATIVES {
        let Some(winner) = best.contested(candidates).into_iter().find(|place| !turned.contains(place)) else { break };
        turned.insert(winner);
        let mut other = places.clone();
        other.retain(|place| *place != winner);
        other.push(winner);
        let verdict = trial.once(&other).await?;
        if verdict.ran.len() > best.ran.len() {
            (best, places) = (verdict, other);
        }
    }
    Ok(best)
}

/// A scratch database and the one session on it.
struct Room {
    scratch: Scratch,
    session: Session,
}

impl Room {
    async fn open(live: &Target) -> Result<Self, StoreError> {
        let scratch = Scratch::create(live).await?;
        let session = Session::open(scratch.target()).await?;
        Ok(Self { scratch, session })
    }

    async fn close(self) -> Result<(), StoreError> {
        self.session.close().await;
        self.scratch.close().await
    }
}

struct Trial<'a> {
    live: &'a Target,
    candidates: &'a [Candidate],
    limit: Duration,
    tell: &'a (dyn Fn(&str) + Send + Sync),
    /// Those that no other file can help.
    hopeless: BTreeMap<usize, Stumble>,
}

/// What one order has brought so far.
#[derive(Default)]
struct Progress {
    verdict: Verdict,
    known: Known,
}

impl<'a> Trial<'a> {
    /// Try one order on a database of its own.
    async fn once(&mut self, places: &[usize]) -> Result<Verdict, StoreError> {
        let mut progress = Progress::default();
        progress.verdict.failed.clone_from(&self.hopeless);
        let mut room = Room::open(self.live).await?;
        let last = self.candidates.iter().map(|one| one.rank).max().unwrap_or_default();
        let mut waiting: Vec<usize> = Vec::new();
        for rank in 0..=last {
            // A rival has its turn when the likelier copies of it can never run.
            waiting.extend(places.iter().copied().filter(|place| self.is_due(&progress.verdict, *place, rank)));
            (room, waiting) = self.rounds(&mut progress, room, waiting).await?;
        }
        self.read_downs(&mut progress.verdict, &mut room).await?;
        room.close().await?;
        Ok(progress.verdict)
    }

    fn candidate(&self, place: usize) -> Option<&'a Candidate> {
        self.candidates.get(place)
    }

    fn is_due(&self, verdict: &Verdict, place: usize, rank: usize) -> bool {
        let ran = |group: usize| {
            let is_it = |other: &usize| self.candidate(*other).is_some_and(|one| one.group == Some(group));
            verdict.ran.iter().any(is_it)
        };
        let due = |one: &Candidate| one.rank == rank && !one.group.is_some_and(ran);
        self.candidate(place).is_some_and(due) && !self.hopeless.contains_key(&place)
    }

    /// Rounds until one brings nothing new; what is left has failed for good, as far as these scripts go.
    async fn rounds(
        &mut self,
        progress: &mut Progress,
        mut room: Room,
        mut waiting: Vec<usize>,
    ) -> Result<(Room, Vec<usize>), StoreError> {
        loop {
            let (mut left, mut news) = (Vec::with_capacity(waiting.len()), News::None);
            for place in waiting {
                let Some(candidate) = self.candidate(place) else { continue };
                (self.tell)(candidate.file());
                let ended = self.attempt(&mut room.session, &candidate.up, &mut progress.known).await?;
                let Ended::Badly { stumble, traces } = ended else {
                    progress.verdict.failed.remove(&place);
                    progress.verdict.ran.push(place);
                    news = News::Some;
                    continue;
                };
                let stumble = without_name(stumble, room.scratch.name());
                if stumble.is_final() {
                    self.hopeless.insert(place, stumble.clone());
                } else {
                    left.push(place);
                }
                progress.verdict.failed.insert(place, stumble);
                if traces == Traces::Some {
                    room = self.afresh(progress, room).await?;
                }
            }
            if left.is_empty() || news == News::None {
                return Ok((room, left));
            }
            waiting = left;
        }
    }

    async fn attempt(&self, session: &mut Session, script: &Script, known: &mut Known) -> Result<Ended, StoreError> {
        Attempt { session, script, limit: self.limit, known }.run().await
    }

    /// A new scratch database with what ran so far: a script that failed half-way has left something in the old one.
    async fn afresh(&self, progress: &mut Progress, room: Room) -> Result<Room, StoreError> {
        room.close().await?;
        let mut room = Room::open(self.live).await?;
        progress.known = Known::default();
        for place in progress.verdict.ran.clone() {
            let Some(candidate) = self.candidate(place) else { continue };
            if let Ended::Badly { stumble, .. } =
                self.attempt(&mut room.session, &candidate.up, &mut progress.known).await?
            {
                return Err(StoreError::Refused(format!(
                    "{} ran once and then not again ({}): what it does depends on more than the files",
                    candidate.file(),
                    stumble.message
                )));
            }
        }
        Ok(room)
    }

    /// Have the server read the ways back of what ran. Nothing of them is run, and only their grammar is judged.
    async fn read_downs(&self, verdict: &mut Verdict, room: &mut Room) -> Result<(), StoreError> {
        let ran: BTreeSet<usize> = verdict.ran.iter().copied().collect();
        for place in ran {
            let Some(down) = self.candidate(place).and_then(|one| one.down.as_ref()) else { continue };
            for statement in down.statements().unwrap_or_default() {
                match room.session.parse(statement.text()).await {
                    Err(Failure::Server { sqlstate, message, position, .. })
                        if matches!(sqlstate.as_str(), "42601" | "42602" | "42622") =>
                    {
                        let at = position.map_or_else(|| statement.position(), |place| statement.locate(place));
                        let stumble =
                            Stumble { sqlstate: Some(sqlstate), message, at, missing: Vec::new(), differs: None };
                        verdict.bad_downs.insert(place, stumble);
                        break;
                    }
                    Err(failure @ Failure::Gone { .. }) => {
                        return Err(failure.into_store_error(room.session.place()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a round brought something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    Some,
}

/// Whether a script that failed has left something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traces {
    /// It was rolled back as a whole.
    None,
    /// A part of it stands.
    Some,
}

/// The scratch database has another name each time, which must not get into a manifest.
fn without_name(stumble: Stumble, name: &str) -> Stumble {
    Stumble { message: stumble.message.replace(name, "DATABASE"), ..stumble }
}
