//! The site: the answers to requests that reach no endpoint of a service, the health of the API, and its
//! pages and documents.
//!
//! It has no table and asks no other service.

pub mod handlers;
pub mod pages;
pub mod routes;
