//! Numbered, repeatable migrations of this service's table.
//!
//! Each row names the `schema` of its writer, so a migration finds the rows it must change.
//! Schema 1 is the first; there is no migration yet.

/// The schema of new rows.
pub const CURRENT_SCHEMA: u32 = 1;
