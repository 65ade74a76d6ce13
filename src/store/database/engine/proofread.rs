//! Every statement read by the server's own grammar before any of them is run, so that a slip in the last file does not leave
//! the first ones applied.
//!
//! Nothing is executed. Only the grammar is judged: what does not exist yet may be made by a statement before.

use super::{Engine, Job};
use crate::domain::migrations::Statement;
use crate::store::StoreError;
use crate::store::database::sql_error::Complaint;
use crate::store::postgres::Failure;

impl Engine<'_> {
    /// Read them all.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the place of the first slip.
    pub(in crate::store::database) async fn proofread(&mut self, jobs: &[Job<'_>]) -> Result<(), StoreError> {
        let statements = || jobs.iter().flat_map(|job| job.phases.statements().map(move |statement| (job, statement)));
        let (many, mut single): (Vec<_>, Vec<_>) =
            statements().partition(|(_, statement)| statement.stands_in_a_block());
        if !self.reads_as_block(&many).await? {
            // Which one it is, and whether it is one at all, the server tells when it is asked for each.
            single = statements().collect();
        }
        for (job, statement) in single {
            let Err(failure) = self.worker.parse(statement.text()).await else { continue };
            if matches!(failure.sqlstate(), Some("42601" | "42602" | "42622")) {
                let state = "nothing was written".to_owned();
                let complaint = Complaint { script: job.script, statement, failure, blocked: None, state };
                return Err(complaint.into_error(self.worker.place()));
            }
            if matches!(failure, Failure::Gone { .. }) {
                return Err(failure.into_store_error(self.worker.place()));
            }
        }
        Ok(())
    }

    /// Whether the server compiles them as one block that returns before the first: hundreds of statements in one message.
    async fn reads_as_block(&mut self, statements: &[(&Job<'_>, &Statement<'_>)]) -> Result<bool, StoreError> {
        if statements.is_empty() {
            return Ok(true);
        }
        let tag = format!("$llmhub{}$", self.id.as_str());
        let mut block = format!("DO {tag} BEGIN RETURN;\n");
        for (_, statement) in statements {
            block.push_str(statement.text());
            block.push_str("\n;\n");
        }
        block.push_str(&format!("END {tag}"));
        match self.worker.foreign(&block, None).await {
            Ok(()) => Ok(true),
            Err(failure @ Failure::Gone { .. }) => Err(failure.into_store_error(self.worker.place())),
            Err(_) => Ok(false),
        }
    }
}
