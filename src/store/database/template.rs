//! The cached template: a database that is migrated, seeded, verified, closed to everybody and then given its name.
//!
//! A run that is killed half way leaves an unfinished name, never a template. Only the holder of the templates' lock builds,
//! and only it drops those of other migrations and seeds: nobody is cloning them then.

use crate::domain::test_database::{TemplateKey, UNFINISHED};
use crate::store::StoreError;
use crate::store::postgres::Target;

use super::apply::{Wanted, apply};
use super::literal::{literal, quote};
use super::maintenance::{Grip, unfinished};
use super::seed::{Effect, seed};
use super::test_database::{Recipe, TestServer, verify};

/// Build the template, in place of what stands under its name, and drop the others of this role.
pub(super) async fn build(server: &mut TestServer, key: &TemplateKey, recipe: &Recipe<'_>) -> Result<(), StoreError> {
    let name = unfinished()?;
    server.lock(&name, Grip::Exclusive, recipe).await?;
    // From template0: what a site keeps in template1 belongs to no migration.
    server
        .maintenance
        .run(format!("CREATE DATABASE {} TEMPLATE template0{}", quote(&name), server.maintenance.strategy()))
        .await?;
    if let Err(error) = fill(server, &name, recipe).await {
        // What failed is what the operator must hear of; a database that stays is dropped by the next run.
        let _ = server.maintenance.run(drop_statement(&name)).await;
        return Err(error);
    }
    server.maintenance.run(format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quote(&name))).await?;
    server.maintenance.run(format!("COMMENT ON DATABASE {} IS {}", quote(&name), literal(&key.mark()))).await?;
    for old in server.maintenance.list_own().await? {
        let template = old.comment.as_deref().is_some_and(TemplateKey::is_mark);
        if !old.name.starts_with(UNFINISHED) && (template || old.name == key.database()) {
            server.maintenance.run(drop_statement(&old.name)).await?;
        }
    }
    server.maintenance.run(format!("ALTER DATABASE {} RENAME TO {}", quote(&name), quote(&key.database()))).await?;
    (recipe.on_step)("kept it as a template for the next run");
    Ok(())
}

async fn fill(server: &TestServer, name: &str, recipe: &Recipe<'_>) -> Result<(), StoreError> {
    let url = server.url.with_database(name);
    let target = Target::Url(url.clone());
    let applied = apply(&target, recipe.set, &Wanted::default(), &recipe.run).await?;
    if let Some(failed) = applied.failed {
        return Err(failed.error);
    }
    (recipe.on_step)(&format!("applied {} migrations", applied.applied.len()));
    let seeded = seed(&target, recipe.seeds, &recipe.run, Effect::Keep).await?;
    let rows: u64 = seeded.iter().map(|set| set.inserted).sum();
    (recipe.on_step)(&format!("seeded {rows} rows of {} sets", seeded.len()));
    verify(&url, recipe).await.map(drop)
}

fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name))
}
