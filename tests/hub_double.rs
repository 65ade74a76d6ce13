//! The double of the hub is itself under test: against the recordings of the real one, and for the controls that other tests
//! rely on.

mod controls;
mod failing;
mod recording;
mod replay;
mod steering;

use recording::Recording;
use replay::{Exception, Follow, Report, replay};

/// Recordings that were made on the same hub one after another, and so must be replayed.
const CHAINS: [&[&str]; 22] = [
    &["01a-flags-list-default-env"],
    &[
        "01b-flags-list-tags",
        "02-flag-get-identity",
        "03-flag-lists",
        "04-flag-unknown-names",
        "05-trailing-slash-methods",
        "06-user-endpoints",
        "07-rollouts",
        "08-enable-disable",
        "09-rollout-values",
        "10-put-partial-updates",
        "11-put-nulls-poison",
    ],
    &["12-restart-loses-changes"],
    &["13-date-gates"],
    &["14-unicode-identity", "15-size-limits"],
    &[
        "20-csrf-writes",
        "21-csrf-roles",
        "22-csrf-token-endpoint",
        "23-csrf-expired-session",
        "24-keepalive-after-csrf-500",
        "25-keepalive-idle",
    ],
    &["26-csrf-disabled"],
    &["30-provider-auth"],
    &["31-provider-save"],
    &["31-provider-save-pydantic1"],
    &["32-provider-test", "33-provider-rate-limit"],
    &["32-provider-test-pydantic1"],
    &["34-provider-delete-and-env"],
    &["35-provider-encryption-key"],
    &["36-provider-no-database"],
    &["37-provider-as-is-seeded"],
    &["38-provider-minimal-repairs"],
    &["41-bad-rollout-env-at-start"],
    &["50-full-middleware-stack"],
    &["51-full-stack-1000-per-hour"],
    &["53-features-router-not-mounted"],
    &["54-features-mounted-with-catch-all"],
];

/// Every step that is not compared in full. No wording differs: what is compared is equal to the byte.
const EXCEPTIONS: [Exception; 10] = [
    Exception { file: "12", steps: &[4], follow: Follow::Steer, reason: "the hub was restarted" },
    Exception {
        file: "13",
        steps: &[
            1, 7, 13, 19, 25, 31, 37, 43, 49, 55, 61, 67, 73, 79, 85, 96, 107, 118, 129, 140, 151, 157, 163, 169, 175,
        ],
        follow: Follow::Steer,
        reason: "a hub was started with other dates",
    },
    Exception { file: "32", steps: &[13, 14, 16, 20], follow: Follow::Steer, reason: IN_SQL },
    Exception { file: "32-provider-test-pydantic1", steps: &[13, 14, 16, 20], follow: Follow::Steer, reason: IN_SQL },
    Exception { file: "35", steps: &[1, 8, 15, 22], follow: Follow::Steer, reason: "a hub with another master key" },
    Exception { file: "36", steps: &[7], follow: Follow::Steer, reason: IN_SQL },
    Exception { file: "37", steps: &[12], follow: Follow::Steer, reason: IN_SQL },
    Exception { file: "38", steps: &[1, 6, 11, 16], follow: Follow::Steer, reason: "a hub repaired further" },
    Exception {
        file: "41",
        steps: &[1, 2, 3, 4],
        follow: Follow::Steer,
        reason: "a hub that cannot import its flags never opens its port: only its last words can be compared",
    },
    Exception { file: "51", steps: &[1], follow: Follow::Steer, reason: "1005 equal requests, recorded as counts" },
];
const IN_SQL: &str = "the recorder looked into the database, or changed it";

/// Steps in all recordings: 986 are compared in full, 49 are exceptions.
const STEPS: usize = 1035;

#[test]
fn the_double_answers_every_recorded_step_as_the_hub_did() {
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let chains: Vec<_> = CHAINS.iter().map(|chain| scope.spawn(|| replay(chain, &EXCEPTIONS))).collect();
        chains.into_iter().map(|chain| chain.join().expect("a replay")).collect()
    });
    let differences: Vec<String> = reports.iter().flat_map(|report| report.differences.clone()).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));

    let excepted: usize = reports.iter().map(|report| report.excepted).sum();
    let listed: usize = EXCEPTIONS.iter().map(|exception| exception.steps.len()).sum();
    let compared: usize = reports.iter().map(|report| report.compared).sum();
    assert_eq!(excepted, listed, "every exception is met once; unused ones are taken off the list");
    assert_eq!(compared + excepted, STEPS, "no step is dropped");
    assert!(EXCEPTIONS.iter().all(|exception| !exception.reason.is_empty()));
}

#[test]
fn every_recording_is_replayed() {
    let mut replayed: Vec<&str> = CHAINS.iter().flat_map(|chain| chain.iter().copied()).collect();
    replayed.sort_unstable();
    assert_eq!(Recording::names(), replayed);
}
