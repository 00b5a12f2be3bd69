//! The functions of this service, one module each.

pub mod admin;
pub mod backlog;
pub mod cancel;
pub mod get;
pub mod list;
pub mod migrate;
pub mod place;
pub mod replies;
pub mod sweep;
pub mod timeline;
pub mod view;
