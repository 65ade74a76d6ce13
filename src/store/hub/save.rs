//! A write to every address of a hub, and what is known of it afterwards.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::connection::address;
use super::converge::{Address, Report, Way};
use super::survey::live;
use super::{HubFlags, wire};
use crate::domain::flags::convergence::Outcome;
use crate::store::{Edit, Saved, StoreError};

/// See [`crate::store::FlagStore::save`].
pub async fn save(hub: &HubFlags, edit: &Edit) -> Result<Saved, StoreError> {
    let body = wire::update(&edit.wanted, &edit.members).map_err(|member| StoreError::Unsupported {
        message: format!("the hub cannot set `{}` over HTTP: it would drop it without a word", member.name()),
        hint: "use `--via db` or `--via env`; a hub takes dates and texts from its environment, at its next start"
            .to_owned(),
    })?;
    let deadline = Instant::now() + hub.options.write_timeout;
    let jobs = hub.options.addresses.iter().map(|base| Address::new(hub, edit, base, Way::Put(&body), deadline).run());
    let reports = join_all(jobs).await;
    summary(hub, edit, reports)
}

fn summary(hub: &HubFlags, edit: &Edit, reports: Vec<Report>) -> Result<Saved, StoreError> {
    let writes: u32 = reports.iter().map(|report| report.tally.writes()).sum();
    let known: u32 = reports.iter().map(|report| report.tally.known()).sum();
    let lost: u32 = reports.iter().map(|report| report.lost).sum();
    let anonymous = writes > 0 && reports.iter().any(|report| report.anonymous);
    let mut parts = Vec::new();
    let mut differing = Vec::new();
    let mut after = None;
    let mut failure = None;
    for (base, report) in hub.options.addresses.iter().zip(reports) {
        match report.error {
            Some(error @ StoreError::Moved { .. }) if writes == 0 => return Err(error),
            Some(StoreError::Conflict(_) | StoreError::Moved { .. }) => {
                return Err(StoreError::Conflict(format!(
                    "somebody else edited `{}` on {} meanwhile; at least {known} of the hub's processes hold this edit",
                    edit.wanted.key,
                    address(base)
                )));
            }
            Some(error) => {
                differing.push(error.to_string());
                failure.get_or_insert(error);
            }
            None => {}
        }
        differing.extend(report.differs.map(|what| format!("{}: {what}", address(base))));
        after = after.or(report.after);
        parts.push((address(base).to_owned(), report.tally, report.outcome));
    }
    let Some(after) = after else {
        return Err(match failure {
            _ if lost > 0 => StoreError::OutcomeUnknown(format!(
                "the write was sent {lost} times without an answer, and no process could be read back that holds it"
            )),
            Some(failure) => failure,
            None => {
                let causes: Vec<String> = parts
                    .iter()
                    .filter_map(|(place, _, outcome)| match outcome {
                        Outcome::Partial(cause) => Some(format!("{place}: {}", cause.words())),
                        _ => None,
                    })
                    .collect();
                StoreError::Unreachable(format!("nothing was written: {}", causes.join("; ")))
            }
        });
    };
    let mut notes = hub.take_notes();
    if anonymous {
        notes.push("wrote through an anonymous session: this hub takes flag writes from anybody".to_owned());
    }
    if parts.iter().any(|(_, tally, _)| !tally.is_pinned()) {
        notes.push(
            "a proxy spreads the requests of one connection over several processes (not pinned): repeated until all reads \
             agreed; list the processes' own addresses in `replicas` to have it proved"
                .to_owned(),
        );
    }
    let live = live(hub.options.workers, &parts, &differing);
    Ok(Saved { after, changed: writes > 0, live: Some(live), persisted: false, notes })
}
