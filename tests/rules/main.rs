//! The architecture held by tests.
