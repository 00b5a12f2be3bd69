//! Numbered migrations of this service's table, each safe to run again.
//!
//! Every row has the `schema` it was written with, so a migration finds the rows left to change.
//! Schema 1 is the first, so there is no migration yet.

/// The schema of new rows.
pub const CURRENT_SCHEMA: u32 = 1;
