//! The buckets of many users of one flag, several at a time.
//!
//! The same as [`super::evaluate::bucket`], user by user, at a fraction of the time: a preview hashes millions.

use super::FlagKey;
use super::evaluate::bucket;
use super::md5_lanes::{Fit, LANES, Messages};

/// How many users [`BucketHash::buckets`] takes at a time.
pub const RUN: usize = LANES;

/// The bucket function of one flag.
#[derive(Clone, Debug)]
pub struct BucketHash {
    key: FlagKey,
    /// What follows the user id in the hash input: a colon and the flag's name.
    tail: Box<[u8]>,
}

impl BucketHash {
    /// The bucket function of the flag with this name.
    pub fn of(key: &FlagKey) -> Self {
        Self { key: key.clone(), tail: [b":", key.as_str().as_bytes()].concat().into() }
    }

    /// The buckets of up to [`RUN`] users, in their order; users beyond that are not looked at, and places beyond the users
    /// hold nothing of meaning.
    pub fn buckets(&self, users: &[&str]) -> [u8; RUN] {
        let mut messages = Messages::none();
        let mut long = [None; RUN];
        for (lane, (user, long)) in users.iter().zip(&mut long).enumerate() {
            if messages.set(lane, user.as_bytes(), &self.tail) == Fit::TooLong {
                *long = Some(bucket(user, &self.key));
            }
        }
        let mut buckets = [0; RUN];
        for ((share, digest), long) in buckets.iter_mut().zip(messages.digests()).zip(long) {
            // MD5 writes its words in little-endian order, and the number reads their bytes in big-endian order.
            *share = long.unwrap_or_else(|| remainder_of_words(digest.map(u32::swap_bytes)));
        }
        buckets
    }
}

/// The number that four words make, most significant first, modulo 100: 2^32 leaves 96, so no wide division is needed.
fn remainder_of_words(words: [u32; 4]) -> u8 {
    let remainder = words.into_iter().fold(0, |high, word| (high * 96 + word % 100) % 100);
    // In range: a remainder of 100.
    remainder as u8
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use serde::Deserialize;

    use super::*;

    fn hash(flag: &str) -> BucketHash {
        BucketHash::of(&flag.parse().unwrap())
    }

    #[derive(Deserialize)]
    struct Golden {
        bucket_cases: Vec<BucketCase>,
    }

    #[derive(Deserialize)]
    struct BucketCase {
        flag: String,
        user_id: String,
        bucket: Option<u8>,
        enabled_at: HashMap<String, bool>,
    }

    #[test]
    fn every_golden_vector_falls_into_its_bucket() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/data/evaluation-vectors.json")).unwrap();
        assert_eq!(golden.bucket_cases.len(), 1000);
        for case in golden.bucket_cases {
            let Some(expected) = case.bucket else {
                assert_eq!(case.user_id, "");
                continue;
            };
            let hash = hash(&case.flag);
            assert_eq!(hash.buckets(&[&case.user_id])[0], expected, "{}:{}", case.user_id, case.flag);
            for (percent, on) in case.enabled_at {
                assert_eq!(expected < percent.parse::<u8>().unwrap(), on, "{}:{}", case.user_id, case.flag);
            }
        }
    }

    #[test]
    fn case_makes_another_user() {
        #[track_caller]
        fn case(user: &str, bucket: u8) {
            assert_eq!(hash("unified_llm_hub").buckets(&[user])[0], bucket, "{user}");
        }
        case("user-0001", 14);
        case("bob", 42);
        case("Alice@Example.com", 22);
        case("ALICE@example.com", 13);
    }

    #[test]
    fn the_remainder_is_that_of_the_whole_number() {
        for number in [0, 1, 99, 100, u128::from(u32::MAX), 1 << 32, 1 << 96, u128::MAX, u128::MAX / 7] {
            let words = [96, 64, 32, 0].map(|shift| (number >> shift) as u32);
            assert_eq!(u128::from(remainder_of_words(words)), number % 100, "{number}");
        }
    }

    proptest! {
        #[test]
        fn a_run_agrees_with_one_after_the_other(
            flag in "[a-z:é]{1,60}",
            users in prop::collection::vec(any::<String>(), 0..=RUN),
        ) {
            let hash = hash(&flag);
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            let buckets = hash.buckets(&users);
            for (user, bucket) in users.iter().zip(buckets) {
                prop_assert_eq!(super::super::evaluate::bucket(user, &flag.parse().unwrap()), bucket);
            }
        }
    }
}
