//! The schemas of the table's rows, and the migrations to them. Each row has the `schema` of its writer.

use shared_lambda::migrate::{Migration, Schemas};

use crate::store;

/// The schemas of this release.
pub const SCHEMAS: Schemas = Schemas {
    reads: 1..=2,
    writes: 2,
    migrations: &[Migration {
        schema: 2,
        name: "compact timelines",
        change: store::compacted,
    }],
};

// The store cannot import this module, which imports the store.
const _: () = assert!(SCHEMAS.writes == store::SCHEMA);
