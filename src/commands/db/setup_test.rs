//! `db setup-test`: a database to run tests against, the same every time, in the time of a clone.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::super::{Globals, quote};
use super::tuning::Folder;
use crate::app::{Answer, App, Reuse, TestDatabase, TestIntent, TestOrigin, TestRequest};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Make a test database anew: drop, create, apply all, seed, verify
///
/// The first run keeps a template, `llmhub_tpl_…`; later ones clone it until migrations, seeds or the server change. Only a
/// database whose name ends in `_test`, or that llmhub made, is ever dropped, and never one that a protected profile names.
/// The URL is printed without its password: a script has that already, and gives it as PGPASSWORD or in its own URL.
///
/// Example: llmhub db setup-test -y --database-url postgres://unicorn@localhost/unicorn_test
#[derive(Debug, Args)]
pub struct SetupTest {
    /// Its name, instead of the URL's with `_test` at the end
    #[arg(long, value_name = "DB")]
    name: Option<String>,
    /// Build the template again
    #[arg(long)]
    fresh: bool,
    /// Print nothing but the URL, without its password
    #[arg(long)]
    print_url: bool,
    #[command(flatten)]
    folder: Folder,
}

/// `db setup-test`
#[derive(Debug, Serialize)]
struct TestView {
    database: String,
    url: String,
    source: TestOrigin,
    applied: Vec<AppliedRow>,
    seeded: BTreeMap<String, Option<u64>>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct AppliedRow {
    version: String,
    name: String,
}

impl View for TestView {
    fn page(&self, page: &mut Page) {
        let source = match self.source {
            TestOrigin::Built => "built from migrations and seeds",
            TestOrigin::Template => "cloned from a template",
        };
        if self.dry_run {
            page.fact("database", &self.database);
            page.fact("source", source);
            page.line("dry run: nothing was written");
            return;
        }
        let rows: u64 = self.seeded.values().flatten().sum();
        page.toned_fact("database", Tone::Good, &self.database);
        page.fact("url", &self.url);
        page.fact("source", source);
        page.fact("applied", format!("{} migrations", self.applied.len()));
        page.fact("seeded", format!("{rows} rows of {} sets", self.seeded.len()));
        page.fact("took", format!("{} ms", self.duration_ms));
        page.line("");
        page.line(format!("psql {}", quote(&self.url)));
        page.line(format!("export DATABASE_URL={}", quote(&self.url)));
        page.line(format!("llmhub flags list --database-url {}", quote(&self.url)));
        page.toned(Tone::Dim, "the password is left out: give it as PGPASSWORD to psql, or put it into the URL");
    }
}

impl SetupTest {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.print_url && globals.format().is_data() {
            return Err(Error::Usage {
                message: "--print-url prints a bare URL, which is no document".to_owned(),
                hint: "read the member `url` of -o json, or leave -o out".to_owned(),
            });
        }
        let started = Instant::now();
        app.announce();
        let request = TestRequest {
            name: self.name,
            dir: self.folder.dir,
            reuse: if self.fresh { Reuse::Nothing } else { Reuse::Template },
            intent: if globals.dry_run { TestIntent::Plan } else { TestIntent::Make },
            reason: globals.reason.clone(),
        };
        let TestDatabase { url, origin, applied, seeded } = app.setup_test(&request).await?;
        if self.print_url {
            app.document(&format!("{url}\n"))?;
            return Ok(Answer::Yes);
        }
        app.show(&TestView {
            database: url.database().to_owned(),
            url: url.to_string(),
            source: origin,
            applied: applied
                .into_iter()
                .map(|entry| AppliedRow { version: entry.version.to_string(), name: entry.name })
                .collect(),
            seeded: seeded.into_iter().collect(),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            dry_run: globals.dry_run,
        })?;
        Ok(Answer::Yes)
    }
}
