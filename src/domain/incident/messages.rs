//! What can be copied to a status page and a chat: begun, mitigated, resolved.
//!
//! They say no more than is proven, and name no address, user or cause.

use serde::Serialize;

/// The texts, ready to be copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// For users, when it begins.
    pub status_page_begun: String,
    /// For users, when it is off.
    pub status_page_mitigated: String,
    /// For users, when it is over.
    pub status_page_resolved: String,
    /// For colleagues, when it begins.
    pub chat_begun: String,
    /// For colleagues, when it is off.
    pub chat_mitigated: String,
    /// For colleagues, when it is over.
    pub chat_resolved: String,
}

/// What the texts speak of.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The flag.
    pub flag: &'a str,
    /// The incident's id.
    pub incident: &'a str,
    /// Who acts.
    pub actor: &'a str,
    /// When it began, for people.
    pub begun: &'a str,
    /// When it was verified, for people; `None` where it was not.
    pub verified: Option<&'a str>,
    /// What is proven, in words.
    pub proven: &'a str,
}

impl Messages {
    /// The texts for this incident.
    pub fn new(about: &About<'_>) -> Self {
        let About { flag, incident, actor, begun, verified, proven } = about;
        let mitigated = match verified {
            Some(at) => {
                format!("The feature has been off for everybody since {at} UTC. We go on looking for the cause.")
            }
            None => "The feature is being switched off. Some users may still see it. We go on.".to_owned(),
        };
        Self {
            status_page_begun: format!(
                "Investigating: since {begun} UTC we have been looking into problems with a new feature. We are switching it off."
            ),
            status_page_mitigated: format!("Update: {mitigated}"),
            status_page_resolved: "Resolved: the problem is over. [time, what users should know]".to_owned(),
            chat_begun: format!("{incident}: {actor} is rolling back `{flag}` since {begun} UTC."),
            chat_mitigated: format!("{incident}: `{flag}`: {proven}."),
            chat_resolved: format!("{incident}: `{flag}` is closed. [cause, time, link to the report]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(verified: Option<&'static str>) -> Messages {
        Messages::new(&About {
            flag: "f",
            incident: "i-1",
            actor: "ana@ops",
            begun: "10:00:00",
            verified,
            proven: "verified off 12/12 PROVED",
        })
    }

    #[test]
    fn users_are_told_that_it_is_off_only_when_it_is_verified() {
        assert!(about(Some("10:00:06")).status_page_mitigated.contains("off for everybody since 10:00:06 UTC"));
        let unsure = about(None);
        assert!(unsure.status_page_mitigated.contains("may still see it"), "{unsure:?}");
    }

    #[test]
    fn users_are_told_neither_who_nor_which_flag() {
        let messages = about(Some("10:00:06"));
        for text in [messages.status_page_begun, messages.status_page_mitigated, messages.status_page_resolved] {
            assert!(!text.contains("ana") && !text.contains("`f`"), "{text}");
        }
    }
}
