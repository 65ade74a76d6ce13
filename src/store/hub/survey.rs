//! A look at all processes that changes nothing: what states are there, and how often was each seen.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use url::Url;

use super::connection::{Connection, address};
use super::{HubFlags, Listing};
use crate::domain::flags::convergence::{
    ASSUMED_WORKERS, BATCH, Cause, Outcome, Reading, SAMPLE_LIMIT, Tally, sample_size,
};
use crate::domain::flags::{Flag, Member};
use crate::store::{Depth, Live, StoreError, Survey, Variant, Verdict};

/// How long a probe may take before its process counts as silent. Shorter than a request's bound: a probe asks for what
/// every healthy process answers at once, and a hung one must not eat the time budget of the others. Shorter also than the
/// 5 s after which a hub closes an idle connection: the others of the batch wait for the slowest, and a repair is only
/// counted on the connection that was read.
pub const PROBE: Duration = Duration::from_secs(3);

/// One address as the look found it.
struct Look {
    tally: Tally,
    /// Each distinct state once, first seen first: lists may be long, and a sample reads them some sixty times.
    states: Vec<Variant>,
    failure: Option<StoreError>,
}

/// Open eight connections, then read each.
pub async fn batch(
    hub: &HubFlags,
    base: &Url,
    patience: Duration,
) -> Result<Vec<(Connection, Result<Listing, StoreError>)>, StoreError> {
    let connections: Vec<Connection> =
        (0..BATCH).map(|_| hub.transport.connect(base)).collect::<Result<_, StoreError>>()?;
    Ok(join_all(connections.into_iter().map(|mut connection| async move {
        let listing = read(hub, &mut connection, patience).await;
        (connection, listing)
    }))
    .await)
}

/// One list read within `patience`.
pub async fn read(hub: &HubFlags, connection: &mut Connection, patience: Duration) -> Result<Listing, StoreError> {
    match timeout(patience, hub.read_list(connection)).await {
        Ok(listing) => listing,
        Err(_) => Err(StoreError::Unreachable(format!("{} does not answer: timed out", connection.address()))),
    }
}

/// Whether two listings mean the same, flag by flag.
fn same(one: &[Flag], other: &[Flag]) -> bool {
    one.len() == other.len()
        && one.iter().all(|flag| {
            other
                .iter()
                .find(|candidate| candidate.key == flag.key)
                .is_some_and(|candidate| Member::ALL.into_iter().all(|member| member.same(flag, candidate)))
        })
}

/// Add what was seen to the states known so far.
fn count(variants: &mut Vec<Variant>, seen: Variant) {
    match variants.iter_mut().find(|variant| same(&variant.flags, &seen.flags)) {
        Some(variant) => {
            variant.reads += seen.reads;
            for place in seen.addresses {
                if !variant.addresses.contains(&place) {
                    variant.addresses.push(place);
                }
            }
        }
        None => variants.push(seen),
    }
}

/// See [`crate::store::FlagStore::survey`].
pub async fn survey(hub: &HubFlags, depth: Depth) -> Result<Survey, StoreError> {
    let looks = join_all(hub.options.addresses.iter().map(|base| look(hub, base, depth))).await;
    let mut variants: Vec<Variant> = Vec::new();
    let mut unreachable = Vec::new();
    let mut first_failure = None;
    let mut parts = Vec::new();
    for (base, look) in hub.options.addresses.iter().zip(looks) {
        let place = address(base).to_owned();
        if look.states.is_empty() {
            let failure = look.failure.unwrap_or_else(|| StoreError::Unreachable(format!("{place} does not answer")));
            unreachable.push(failure.to_string());
            first_failure.get_or_insert(failure);
            parts.push((place, look.tally, Outcome::Partial(Cause::Silent)));
            continue;
        }
        look.states.into_iter().for_each(|state| count(&mut variants, state));
        // Too few clean reads for a sample: some were not answered.
        let outcome = look.tally.outcome().unwrap_or(Outcome::Partial(Cause::Silent));
        parts.push((place, look.tally, outcome));
    }
    if variants.is_empty() {
        return Err(first_failure.unwrap_or_else(|| StoreError::Unreachable("no hub address answers".to_owned())));
    }
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.reads));
    let live = match (depth, variants.len()) {
        (Depth::Glance, _) => None,
        (Depth::Sample, 1) => Some(live(hub.options.workers, &parts, &[])),
        (Depth::Sample, _) => {
            let differs: Vec<_> =
                parts.into_iter().map(|(place, tally, _)| (place, tally, Outcome::Partial(Cause::Differs))).collect();
            Some(live(hub.options.workers, &differs, &[]))
        }
    };
    Ok(Survey { variants, unreachable, live, notes: hub.take_notes() })
}

async fn look(hub: &HubFlags, base: &Url, depth: Depth) -> Look {
    let mut look = Look { tally: Tally::new(hub.options.workers), states: Vec::new(), failure: None };
    let wanted = match depth {
        Depth::Glance => BATCH,
        Depth::Sample => sample_size(look.tally.workers()),
    };
    let mut asked = 0;
    while asked < wanted && !look.tally.must_stop() {
        asked += BATCH;
        let batch = match batch(hub, base, PROBE.min(hub.options.request_timeout)).await {
            Ok(batch) => batch,
            Err(error) => {
                look.failure = Some(error);
                return look;
            }
        };
        for (_, listing) in batch {
            match listing {
                Ok(listing) => {
                    let first = look.states.first().is_none_or(|first| same(&first.flags, &listing.flags));
                    look.tally.read(if first { Reading::Clean(listing.tag) } else { Reading::Stale(listing.tag) });
                    let addresses = vec![address(base).to_owned()];
                    count(&mut look.states, Variant { flags: listing.flags, reads: 1, addresses });
                }
                Err(error) => {
                    look.tally.read(reading_of(&error));
                    look.failure = Some(error);
                }
            }
        }
        if look.states.is_empty() {
            return look;
        }
    }
    look
}

/// The summary of all addresses: the worst outcome wins, and the evidence says how it is known.
pub fn live(workers: Option<u32>, parts: &[(String, Tally, Outcome)], differing: &[String]) -> Live {
    let addresses = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let of = workers.map(|workers| workers.saturating_mul(addresses));
    let agree = parts
        .iter()
        .map(|(_, tally, outcome)| match (outcome, workers) {
            (Outcome::Proved | Outcome::Sampled, Some(workers)) => workers,
            (Outcome::Partial(_), Some(workers)) => tally.known().min(workers),
            (_, None) => tally.known(),
        })
        .fold(0, u32::saturating_add);
    let partial: Vec<String> = parts
        .iter()
        .filter_map(|(place, _, outcome)| match outcome {
            Outcome::Partial(cause) => Some(format!("{place}: {}", cause.words())),
            _ => None,
        })
        .chain(differing.iter().cloned())
        .collect();
    if !partial.is_empty() {
        // At least one process is not known to agree, whatever the lower bounds add up to.
        let agree = of.map_or(agree, |of| agree.min(of.saturating_sub(1)));
        return Live { agree, of, verdict: Verdict::Partial, evidence: partial.join("; ") };
    }
    if parts.iter().all(|(_, _, outcome)| *outcome == Outcome::Proved) {
        let mut methods: Vec<&str> = parts.iter().map(|(_, tally, _)| tally.method()).collect();
        methods.dedup();
        let workers = workers.unwrap_or(ASSUMED_WORKERS);
        let evidence = format!(
            "{} × {}, {}",
            plural(addresses, "address", "addresses"),
            plural(workers, "worker", "workers"),
            methods.join(" and ")
        );
        return Live { agree, of, verdict: Verdict::Proved, evidence };
    }
    let reads: u32 = parts.iter().map(|(_, tally, _)| tally.reads()).sum();
    let k = workers
        .map_or_else(|| "k not declared, sampled as for 4".to_owned(), |workers| format!("k={workers} declared"));
    let chance = if workers.unwrap_or(ASSUMED_WORKERS) > SAMPLE_LIMIT {
        "p unknown: more than 4 workers behind one address; list their own addresses in `replicas`, or set `identity_flag`"
    } else {
        "p ≤ 0.001 nominal"
    };
    Live {
        agree,
        of,
        verdict: Verdict::Sampled,
        evidence: format!("{k}, {}, {chance}", plural(reads, "read", "reads")),
    }
}

fn plural(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What a failed read counts as.
pub fn reading_of(error: &StoreError) -> Reading {
    match error {
        StoreError::RateLimited(_) => Reading::RateLimited,
        _ => Reading::Silent,
    }
}
