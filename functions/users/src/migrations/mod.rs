//! Migrations of this service's table. Each row has a `schema`, so a migration finds the rows that
//! it has to change and can run again. There is no migration yet.

/// The schema of new rows.
pub const CURRENT_SCHEMA: u32 = 1;
