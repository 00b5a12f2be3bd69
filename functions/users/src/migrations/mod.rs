//! Migrations of this service's table, each safe to run again. Each row has a `schema`, so a migration
//! finds the rows to change. There is no migration yet.

/// The schema of new rows.
pub const CURRENT_SCHEMA: u32 = 1;
