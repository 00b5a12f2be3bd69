//! Access tokens: issuing them, and checking them inside each function with keys it already has.
//!
//! A token is a JWT access token (RFC 9068) signed with ES256. Whoever checks one takes nothing
//! from its header but the `kid` that names one of the keys configured at start (RFC 8725 §3.1);
//! no call to another service is made. This crate does no I/O.

#![warn(missing_docs)]

mod crypto;
mod keys;
mod token;

pub use crypto::verify_es256;
pub use keys::{KeyError, KeySet, SigningKey, jwks};
pub use token::{
    ACCESS_TOKEN_LIFETIME_SECONDS, ADMIN_TOKEN_LIFETIME_SECONDS, AccessToken, Caller, ConfigError,
    Issuer, Role, TokenError, UnknownRole, Verifier,
};
