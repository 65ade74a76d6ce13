//! The migrations that travel inside the binary: the folder `migrations/`, file for file.
//!
//! A profile's own folder replaces them.

use super::{Migration, Script, Version};

const SHIPPED: [(&str, &str, &str, &str); 3] = [
    (
        "0001",
        "baseline",
        include_str!("../../../migrations/0001_baseline.up.sql"),
        include_str!("../../../migrations/0001_baseline.down.sql"),
    ),
    (
        "0002",
        "llm_management",
        include_str!("../../../migrations/0002_llm_management.up.sql"),
        include_str!("../../../migrations/0002_llm_management.down.sql"),
    ),
    (
        "0003",
        "feature_flags",
        include_str!("../../../migrations/0003_feature_flags.up.sql"),
        include_str!("../../../migrations/0003_feature_flags.down.sql"),
    ),
];

/// The shipped migrations, oldest first.
pub fn embedded() -> Vec<Migration> {
    SHIPPED
        .iter()
        .map(|(version, name, up, down)| Migration {
            version: Version((*version).to_owned()),
            name: (*name).to_owned(),
            up: Script::new(up).named(format!("{version}_{name}.up.sql")),
            down: Some(Script::new(down).named(format!("{version}_{name}.down.sql"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Wrapping;
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_shipped_and_nothing_else() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        let shipped: BTreeSet<String> = embedded()
            .iter()
            .flat_map(|migration| {
                ["up", "down"].map(|way| format!("{}_{}.{way}.sql", migration.version, migration.name))
            })
            .collect();
        assert_eq!(files, shipped);
    }

    #[test]
    fn the_shipped_order_is_the_order_of_their_versions() {
        let versions: Vec<Version> = embedded().into_iter().map(|migration| migration.version).collect();
        assert!(versions.is_sorted_by(|one, other| one.as_str() < other.as_str()));
        for version in versions {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
    }

    #[test]
    fn every_shipped_script_runs_in_one_transaction_and_each_down_does_something() {
        for migration in embedded() {
            for script in [Some(&migration.up), migration.down.as_ref()].into_iter().flatten() {
                let statements = script.statements().unwrap();
                assert!(!statements.is_empty() && script.wrapping() == Wrapping::Transaction, "{}", migration.name);
                assert!(!statements.iter().any(|statement| statement.controls_transaction()), "{}", migration.name);
                assert!(statements.iter().all(|statement| statement.copy_data().is_none()), "{}", migration.name);
            }
        }
    }
}
