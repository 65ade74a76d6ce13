//! The schema of a real server: its fingerprint, scratch databases beside it, rehearsals on them, and the counts of what a
//! rollback would destroy.

mod fingerprint;
mod loss;
mod mutations;
mod rehearsal;
mod repair;
mod scratch;
