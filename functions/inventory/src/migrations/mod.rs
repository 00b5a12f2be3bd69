//! Numbered migrations of this service's table, each safe to run again.
//!
//! Rows carry the `schema` they were written with, so a migration finds what it has left to do.
//! Schema 1 is the first; nothing has had to be migrated yet.

/// The schema that rows are written with today.
pub const CURRENT_SCHEMA: u32 = 1;
