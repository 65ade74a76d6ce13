//! `db verify`: whether every migration can be taken back, seen on a scratch database.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use serde::Serialize;

use super::super::{Globals, duration, secret};
use crate::app::{Answer, App, Examined, Rights, Seen, VerifyWish};
use crate::domain::proof::Proof;
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Prove that every migration can be taken back
///
/// Each migration is applied, undone and applied again on a scratch database, with the schema and the rows compared at every
/// stop. The scripts run as a role that owns the scratch database and may do nothing else, where the server allows that; what
/// would act on roles, other databases or the server's machine is refused. Exit 1 when one is not proven.
///
/// Example: llmhub db verify migrations
#[derive(Debug, Args)]
pub struct Verify {
    /// The folder of migrations instead of the profile's, or of those that are built in
    dir: Option<PathBuf>,
    /// A server for the scratch databases, instead of the profile's; env:NAME reads it from a variable, password and all
    #[arg(long, value_name = "URL", value_parser = secret)]
    url: Option<SecretString>,
    /// Keep the proofs in the profile's database, where a rollback looks for them
    #[arg(long)]
    record: bool,
    /// How many scratch databases to use at once
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How long one statement may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    statement_timeout: Duration,
    /// Run the scripts with your own rights: for such as need a superuser
    #[arg(long)]
    own_rights: bool,
}

/// `db verify`
#[derive(Debug, Serialize)]
struct VerifyView {
    migrations: Vec<Examined>,
    proven: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<usize>,
    #[serde(skip)]
    place: String,
}

impl View for VerifyView {
    fn page(&self, page: &mut Page) {
        let rows = self.migrations.iter().map(|one| {
            let tone = if one.verdict.is_proven() { Tone::Good } else { Tone::Bad };
            let word = one.verdict.word().replace('_', " ");
            [(Tone::Strong, one.version.clone()), (Tone::Plain, one.name.clone()), (tone, word)]
        });
        page.table(&["version", "name", "verdict"], rows);
        for one in &self.migrations {
            let label = format!("{}_{}", one.version, one.name);
            let mut say = |tone: Tone, word: &str, text: &str| {
                page.spans(&[
                    (tone, word),
                    (Tone::Plain, "  "),
                    (Tone::Strong, &label),
                    (Tone::Plain, ": "),
                    (Tone::Plain, text),
                ]);
            };
            if let Some(failure) = &one.failure {
                say(Tone::Bad, "FAILED", failure);
            }
            for deviation in &one.differences {
                say(Tone::Bad, moment(deviation.at), &deviation.text);
            }
            for note in &one.notes {
                say(Tone::Dim, "note", note);
            }
            for unchecked in &one.unchecked {
                say(Tone::Warn, "not checked", unchecked);
            }
        }
        page.fact("scratch databases at", &self.place);
        page.fact("proven", self.proven.to_string());
        page.toned_fact("not proven", if self.failed == 0 { Tone::Plain } else { Tone::Bad }, self.failed.to_string());
        if let Some(recorded) = self.recorded {
            page.fact("kept", format!("{recorded} proofs"));
        }
    }
}

/// When a deviation was seen, in the operator's words.
fn moment(moment: Seen) -> &'static str {
    match moment {
        Seen::NeverApplied => "DOWN ON A SCHEMA WITHOUT IT",
        Seen::AfterDown => "AFTER THE DOWN",
        Seen::Again => "APPLIED AGAIN",
    }
}

impl Verify {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let rights = if self.own_rights { Rights::Own } else { Rights::Contained };
        let wish =
            VerifyWish { dir: self.dir, url: self.url, rights, limit: self.statement_timeout, workers: self.jobs };
        let set = app.migrations(wish.dir.as_deref())?;
        if set.migrations().is_empty() {
            // A gate that has looked at nothing must not open.
            return Err(Error::Refused {
                message: "there is no migration to verify".to_owned(),
                hint: "llmhub db verify DIR".to_owned(),
            });
        }
        let reason = globals.reason.as_deref();
        if self.record && !globals.dry_run {
            app.announce();
            app.authorise("keep proofs in the ledger?".to_owned(), false, reason).await?;
        }
        let (migrations, place) = app.verify(&set, &wish).await?;
        let proofs: Vec<Proof> = migrations.iter().filter_map(|one| one.proof.clone()).collect();
        let recorded = match (self.record, globals.dry_run) {
            (true, false) => {
                app.stage(Stage::Writing("db".to_owned()));
                app.keep_proofs(&proofs, reason).await?;
                app.stage(Stage::Written);
                Some(proofs.len())
            }
            (true, true) => {
                app.ui.note("dry run: no proof was kept");
                None
            }
            (false, _) => None,
        };
        let proven = migrations.iter().filter(|one| one.verdict.is_proven()).count();
        let failed = migrations.len() - proven;
        app.show(&VerifyView { migrations, proven, failed, recorded, place })?;
        Ok(if failed == 0 { Answer::Yes } else { Answer::No })
    }
}
