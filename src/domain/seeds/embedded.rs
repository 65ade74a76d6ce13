//! The seed sets that travel inside the binary: the folder `seeds/`, file for file.
//!
//! A profile's own folders add to them.

use super::{SeedError, SeedSet};

const SHIPPED: [(&str, &str); 4] = [
    ("seeds/tiers.toml", include_str!("../../../seeds/tiers.toml")),
    ("seeds/users.toml", include_str!("../../../seeds/users.toml")),
    ("seeds/models.toml", include_str!("../../../seeds/models.toml")),
    ("seeds/providers.toml", include_str!("../../../seeds/providers.toml")),
];

/// The shipped sets, in the order in which they are run.
///
/// # Errors
/// None that a tested build can have.
pub fn embedded() -> Result<Vec<SeedSet>, SeedError> {
    SHIPPED.iter().map(|(file, text)| SeedSet::parse(file, text)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::Body;
    use super::*;

    fn rows(name: &str) -> Vec<Value> {
        let sets = embedded().unwrap();
        let set = sets.iter().find(|set| set.name() == name).unwrap();
        match set.body() {
            Body::Rows(rows) => rows.groups().iter().flat_map(|group| group.rows.clone()).collect(),
            Body::Sql(_) => panic!("{name} is SQL"),
        }
    }

    #[test]
    fn every_file_of_the_folder_is_shipped_and_nothing_else() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("seeds/{}", entry.unwrap().file_name().into_string().unwrap()))
            .filter(|name| !name.ends_with(".md"))
            .collect();
        let shipped: BTreeSet<String> = embedded().unwrap().iter().map(|set| set.file().to_owned()).collect();
        assert_eq!(files, shipped);
    }

    #[test]
    fn what_no_rule_names_is_denied_below_professional_and_allowed_from_there() {
        let rules = rows("tiers");
        assert_eq!(rules.len(), 50);
        for (tier, allowed, a_day) in [
            ("free", false, Value::Null),
            ("trial", false, Value::Null),
            ("starter", false, Value::Null),
            ("professional", true, json!(100)),
            ("enterprise", true, Value::Null),
        ] {
            let last: Vec<&Value> =
                rules.iter().filter(|rule| rule["tier_code"] == tier && rule["priority"] == 0).collect();
            assert_eq!(last.len(), 1, "{tier}");
            assert_eq!((&last[0]["model_pattern"], &last[0]["allowed"]), (&json!("*"), &json!(allowed)), "{tier}");
            assert_eq!(last[0].get("max_requests_per_day").cloned().unwrap_or_default(), a_day, "{tier}");
        }
    }

    #[test]
    fn users_models_and_providers_are_those_that_were_promised() {
        let pairs = |set: &str, one: &str, other: &str| {
            rows(set).iter().map(|row| format!("{} {}", row[one], row[other]).replace('"', "")).collect::<Vec<_>>()
        };
        assert_eq!(
            pairs("users", "email", "tier"),
            ["admin@your-domain.com enterprise", "test@example.com professional", "admin@example.com enterprise"]
        );
        assert_eq!(
            pairs("models", "model_id", "context_window"),
            ["gpt-4 8192", "gpt-3.5-turbo 16384", "claude-3-opus 200000"]
        );
        for provider in rows("providers") {
            let columns: BTreeSet<&str> = provider.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(columns, BTreeSet::from(["enabled", "name", "type"]));
            assert_eq!(provider["enabled"], false);
        }
    }
}
