//! Process tags: state is per process, so an identity can be planted (rollout.md 3, "Tags").
//!
//! A flag that is disabled and unused carries `llmhub-process-<random>` on its black list. The list answer then names its
//! process. Tags are taken out of every listing, so that no other code sees them.

use crate::domain::flags::{Flag, FlagKey};

const PREFIX: &str = "llmhub-process-";

/// Take the tag out of the listing, if the process carries one.
pub fn take(flags: &mut [Flag], identity: &FlagKey) -> Option<String> {
    let flag = flags.iter_mut().find(|flag| flag.key == *identity)?;
    let list = flag.blacklist.as_mut()?;
    let tag = list.iter().find(|user| user.starts_with(PREFIX)).cloned();
    list.retain(|user| !user.starts_with(PREFIX));
    tag
}

/// Why a tag cannot be planted: the flag must exist, be disabled and have no listed users.
pub fn obstacle(flags: &[Flag], identity: &FlagKey) -> Option<String> {
    let refuse = |why: &str| Some(format!("processes are not tagged: the identity flag `{identity}` {why}"));
    match flags.iter().find(|flag| flag.key == *identity) {
        None => refuse("does not exist on this hub"),
        Some(flag) if flag.enabled != Some(false) => refuse("is not disabled"),
        Some(flag) if !flag.white().is_empty() || !flag.black().is_empty() => refuse("has listed users"),
        Some(_) => None,
    }
}

/// A new tag.
pub fn fresh() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{PREFIX}{:016x}", RandomState::new().hash_one(()))
}

/// The body of the PUT that plants it.
pub fn plant(tag: &str) -> String {
    serde_json::json!({ "blacklist_users": [tag] }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_taken_out_of_the_listing() {
        let key: FlagKey = "scratch".parse().unwrap();
        let mut flag = Flag::off(key.clone());
        flag.blacklist = Some(vec!["llmhub-process-1".into()]);
        let mut flags = [flag];
        assert_eq!(take(&mut flags, &key).as_deref(), Some("llmhub-process-1"));
        assert_eq!((take(&mut flags, &key), obstacle(&flags, &key)), (None, None));
    }

    #[test]
    fn only_a_disabled_flag_without_users_carries_tags() {
        let key: FlagKey = "scratch".parse().unwrap();
        let mut flag = Flag::off(key.clone());
        flag.blacklist = Some(vec!["eve".into()]);
        assert!(obstacle(&[flag.clone()], &key).is_some_and(|why| why.ends_with("has listed users")));
        flag.enabled = Some(true);
        assert!(obstacle(&[flag], &key).is_some_and(|why| why.ends_with("is not disabled")));
        assert!(obstacle(&[], &key).is_some());
    }
}
