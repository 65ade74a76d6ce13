//! What is proposed for a folder: entries in their order, ignored files with reasons, and what somebody must look at.
//!
//! Decided from what a trial found, or from names and words alone where none was made. A file that did not run is never an
//! entry of a tried proposal.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::migrations::{Ignored, Numbering, Position, Version, Wrapping};
use super::comments::Offer;
use super::facts::Object;
use super::folder::{Candidate, Legacy, Role};
use super::order::Order;
use super::problem::{Problem, Trouble};

/// Where the order comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Every entry ran in this order on an empty scratch database.
    Tried,
    /// From names and words alone: nothing was run.
    Guessed,
}

/// Why a script did not run, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stumble {
    /// The server's five characters, if it was the server that refused.
    pub sqlstate: Option<String>,
    /// In words.
    pub message: String,
    /// Where.
    pub at: Position,
    /// The objects that are not there.
    pub missing: Vec<Object>,
    /// The object that is there in another shape.
    pub differs: Option<Object>,
}

impl Stumble {
    /// Whether no other file can help: it is no SQL, or it never ends.
    pub fn is_final(&self) -> bool {
        matches!(self.sqlstate.as_deref(), Some("42601" | "57014"))
    }
}

/// What a trial found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The candidates that ran, in the order in which they did.
    pub ran: Vec<usize>,
    /// Those that were tried and did not.
    pub failed: BTreeMap<usize, Stumble>,
    /// Those that ran, whose way back is not SQL.
    pub bad_downs: BTreeMap<usize, Stumble>,
}

impl Verdict {
    /// Those that ran and made a thing that a failed one wanted to make in another shape: had it come later, others might have
    /// run.
    pub fn contested(&self, candidates: &[Candidate]) -> Vec<usize> {
        let refused = self.failed.iter().filter(|(_, stumble)| stumble.differs.is_some() || is_taken(stumble));
        let wanted: BTreeSet<&Object> =
            refused.filter_map(|(place, _)| candidates.get(*place)).flat_map(objects).collect();
        let makes =
            |place: &usize| candidates.get(*place).is_some_and(|one| objects(one).any(|own| wanted.contains(own)));
        self.ran.iter().copied().filter(makes).collect()
    }
}

fn objects(candidate: &Candidate) -> impl Iterator<Item = &Object> {
    candidate.makes.iter().map(|made| &made.object)
}

/// A migration of the manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its version: the number of its name where all of them rise, else its place.
    pub version: String,
    /// The file that makes the change.
    pub up: String,
    /// The file that undoes it.
    pub down: Option<String>,
    /// Whether it must run without a transaction around it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_transaction: bool,
    /// The versions of those that make what it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Whether it only adds or changes rows.
    pub seeds: bool,
}

/// What is proposed.
#[derive(Debug)]
pub struct Proposal {
    /// Where the order comes from.
    pub basis: Basis,
    /// The migrations, first to last.
    pub entries: Vec<Entry>,
    /// Every other `.sql` file, by path.
    pub ignored: Vec<Ignored>,
    /// What somebody must look at, by file.
    pub problems: Vec<Problem>,
    /// Rollbacks that stand in comments.
    pub offers: Vec<Offer>,
}

/// Propose a manifest; without a `verdict` from the first order alone.
pub fn propose(legacy: Legacy, order: &Order, verdict: Option<Verdict>) -> Proposal {
    let basis = if verdict.is_some() { Basis::Tried } else { Basis::Guessed };
    let verdict = verdict.unwrap_or_else(|| guessed(&legacy, order));
    let Legacy { candidates, ignored, problems, offers } = legacy;
    let mut draft = Draft { candidates: &candidates, order, verdict: &verdict, ignored, problems };
    if basis == Basis::Guessed {
        draft.warn();
    }
    for place in 0..candidates.len() {
        if !verdict.ran.contains(&place) {
            draft.leave_out(place);
        }
    }
    let entries = draft.entries();
    let Draft { mut ignored, mut problems, .. } = draft;
    ignored.sort_by(|one, other| one.file.cmp(&other.file));
    problems.sort_by(|one, other| (&one.file, one.problem).cmp(&(&other.file, other.problem)));
    Proposal { basis, entries, ignored, problems, offers }
}

fn guessed(legacy: &Legacy, order: &Order) -> Verdict {
    let first = |place: &usize| legacy.candidates.get(*place).is_some_and(|one| one.rank == 0);
    Verdict { ran: order.places.iter().copied().filter(first).collect(), ..Verdict::default() }
}

struct Draft<'a> {
    candidates: &'a [Candidate],
    order: &'a Order,
    verdict: &'a Verdict,
    ignored: Vec<Ignored>,
    problems: Vec<Problem>,
}

impl Draft<'_> {
    fn file(&self, place: usize) -> &str {
        self.candidates.get(place).map_or("", Candidate::file)
    }

    fn refuse(&mut self, problem: Problem) {
        self.ignored.push(Ignored { file: problem.file.clone(), reason: problem.message.clone() });
        self.problems.push(problem);
    }

    /// What the words alone tell, where nobody tried.
    fn warn(&mut self) {
        for group in &self.order.cycles {
            let names: Vec<&str> = group.iter().map(|place| self.file(*place)).collect();
            let message = format!("these need each other: {}", names.join(", "));
            if let Some(first) = names.first() {
                self.problems.push(Problem::of(first, Trouble::Cycle, message));
            }
        }
        for (place, object) in &self.order.unmade {
            let message = format!("no file here makes the {object}");
            self.problems.push(Problem::of(self.file(*place), Trouble::MissingObject, message));
        }
    }

    /// A candidate that is no entry, and its rollback with it.
    fn leave_out(&mut self, place: usize) {
        let Some(candidate) = self.candidates.get(place) else { return };
        let file = candidate.file();
        let chosen = candidate.group.and_then(|group| {
            let is_it = |other: &&usize| self.candidates.get(**other).is_some_and(|one| one.group == Some(group));
            self.verdict.ran.iter().find(is_it).copied()
        });
        let stumble = self.verdict.failed.get(&place);
        let problem = match (chosen, stumble) {
            (Some(chosen), None) => {
                let message = format!("a rival copy of {}; keep one of them", self.file(chosen));
                Problem::of(file, Trouble::Rival, message)
            }
            (Some(chosen), Some(stumble)) => {
                let message = format!("a rival copy of {}, and it does not run: {}", self.file(chosen), said(stumble));
                Problem::of(file, Trouble::Rival, message).at(stumble.at)
            }
            (None, Some(stumble)) => self.stumbled(place, stumble),
            (None, None) => Problem::of(file, Trouble::NeverRuns, "it was not tried"),
        };
        self.refuse(problem);
        if let Some(down) = &candidate.down {
            let reason = format!("the rollback of {file}, which is ignored");
            self.ignored.push(Ignored { file: down.file().to_owned(), reason });
        }
    }

    /// Why a file never ran, and which other file has to do with it.
    fn stumbled(&self, place: usize, stumble: &Stumble) -> Problem {
        let file = self.file(place);
        let (trouble, why) = match () {
            () if stumble.differs.is_some() || is_taken(stumble) => {
                let maker = self.rival_of(place, stumble);
                let why = maker.map(|maker| format!("; {maker} makes it")).unwrap_or_default();
                (Trouble::Conflict, why)
            }
            () if stumble.sqlstate.as_deref() == Some("57014") => {
                (Trouble::NeverRuns, "; a longer --statement-timeout may let it run".to_owned())
            }
            () if !stumble.missing.is_empty() => self.lacking(place, &stumble.missing),
            () => (Trouble::NeverRuns, String::new()),
        };
        Problem::of(file, trouble, format!("{}{why}", said(stumble))).at(stumble.at)
    }

    /// The file that ran first of those that make what this one wanted to make.
    fn rival_of(&self, place: usize, stumble: &Stumble) -> Option<&str> {
        let own = self.candidates.get(place)?;
        let wanted = |object: &Object| match &stumble.differs {
            Some(differs) => differs == object,
            None => objects(own).any(|made| made == object),
        };
        let makes = |other: &&usize| self.candidates.get(**other).is_some_and(|one| objects(one).any(wanted));
        self.verdict.ran.iter().find(makes).map(|other| self.file(*other))
    }

    fn lacking(&self, place: usize, missing: &[Object]) -> (Trouble, String) {
        let (mut trouble, mut why) = (Trouble::NeverRuns, String::new());
        for object in missing {
            let makers = self.makers(object);
            if makers.iter().any(|maker| self.leads_back(*maker, place)) {
                trouble = Trouble::Cycle;
                let names: Vec<&str> = makers.iter().map(|maker| self.file(*maker)).collect();
                why.push_str(&format!("; {} would make the {object}, but needs this file itself", names.join(", ")));
            } else if makers.is_empty() {
                trouble = Trouble::MissingObject;
                why.push_str(&format!("; no file here makes the {object}"));
            } else {
                let names: Vec<&str> = makers.iter().map(|maker| self.file(*maker)).collect();
                let ran = makers.iter().any(|maker| self.verdict.ran.contains(maker));
                let end = if ran { "and runs, but it was gone again" } else { "but does not run either" };
                why.push_str(&format!("; {} would make the {object}, {end}", names.join(", ")));
            }
        }
        (trouble, why)
    }

    fn makers(&self, object: &Object) -> Vec<usize> {
        let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        let makes = |candidate: &Candidate| {
            candidate.makes.iter().any(|made| {
                let same_name = made.object.name == object.name
                    || (made.object.kind == super::Kind::Column && bare(&made.object.name) == object.name);
                made.object.kind == object.kind && same_name
            })
        };
        (0..self.candidates.len()).filter(|place| self.candidates.get(*place).is_some_and(makes)).collect()
    }

    /// Whether a failed file waits, over others, for this one.
    fn leads_back(&self, from: usize, to: usize) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(place) = open.pop() {
            if place == to {
                return true;
            }
            if seen.insert(place) {
                let missing = self.verdict.failed.get(&place).map(|stumble| stumble.missing.as_slice());
                open.extend(missing.unwrap_or_default().iter().flat_map(|object| self.makers(object)));
            }
        }
        false
    }

    fn entries(&mut self) -> Vec<Entry> {
        let versions = versions(self.candidates, &self.verdict.ran);
        let mut known: BTreeMap<usize, String> = BTreeMap::new();
        let mut entries = Vec::with_capacity(versions.len());
        for (place, version) in self.verdict.ran.iter().zip(versions) {
            let Some(candidate) = self.candidates.get(*place) else { continue };
            let own = |need: &&Object| !objects(candidate).any(|made| made == *need);
            let makers: BTreeSet<usize> =
                candidate.needs.iter().filter(own).filter_map(|need| self.first_maker(need)).collect();
            let mut needs: Vec<String> = makers.iter().filter_map(|other| known.get(other).cloned()).collect();
            needs.sort_by_key(|version| (version.trim_start_matches('0').len(), version.clone()));
            let mut down = candidate.down.as_ref().map(|down| down.file().to_owned());
            if let Some(problem) = down.as_ref().and_then(|down| self.bad_down(*place, candidate, down)) {
                self.refuse(problem);
                down = None;
            }
            known.insert(*place, version.clone());
            entries.push(Entry {
                version,
                up: candidate.file().to_owned(),
                down,
                without_transaction: candidate.up.wrapping() == Wrapping::None,
                needs,
                seeds: candidate.role == Role::Seeds,
            });
        }
        entries
    }

    /// Which of those that ran made an object: the first, since the others found it there.
    fn first_maker(&self, object: &Object) -> Option<usize> {
        let makes =
            |place: &usize| self.candidates.get(*place).is_some_and(|one| objects(one).any(|made| made == object));
        self.verdict.ran.iter().copied().find(makes)
    }

    fn bad_down(&self, place: usize, candidate: &Candidate, file: &str) -> Option<Problem> {
        if let Some(stumble) = self.verdict.bad_downs.get(&place) {
            let message = format!("it can never undo {}: {}", candidate.file(), said(stumble));
            return Some(Problem::of(file, Trouble::BadRollback, message).at(stumble.at));
        }
        // The manifest declines the transaction for both directions.
        let down = candidate.down.clone()?.wrapped(candidate.up.wrapping());
        let error = down.phases().err()?;
        let message = format!("it can never undo {}: {}", candidate.file(), error.what);
        Some(Problem::of(file, Trouble::BadRollback, message).at(error.at))
    }
}

fn said(stumble: &Stumble) -> String {
    match &stumble.sqlstate {
        Some(sqlstate) => format!("{} ({sqlstate})", stumble.message),
        None => stumble.message.clone(),
    }
}

/// Whether the server says that a name is taken.
fn is_taken(stumble: &Stumble) -> bool {
    matches!(stumble.sqlstate.as_deref(), Some("42P07" | "42710" | "42701" | "42723" | "42P06" | "42P16"))
}

/// The numbers of the names where every file has one and they rise, else 1, 2, 3 …
fn versions(candidates: &[Candidate], ran: &[usize]) -> Vec<String> {
    let numbers: Vec<Option<Version>> =
        ran.iter().map(|place| candidates.get(*place)?.number.as_deref()?.parse().ok()).collect();
    let rising = numbers.iter().zip(numbers.iter().skip(1)).all(|pair| match pair {
        (Some(one), Some(other)) => Numbering::Integer.compare(one, other).is_lt(),
        _ => false,
    });
    let own: Option<Vec<String>> = numbers.iter().map(|number| number.as_ref().map(Version::to_string)).collect();
    let width = ran.len().to_string().len().max(4);
    own.filter(|_| rising).unwrap_or_else(|| (1..=ran.len()).map(|number| format!("{number:0width$}")).collect())
}
