//! The developer and operator command, as a library that the system tests use too.
