//! Settings: what an operator wrote, parsed once into types that cannot be wrong.
//!
//! Nothing here does I/O beyond what it is handed, and no error repeats a value that could be a secret.

pub mod database_url;
