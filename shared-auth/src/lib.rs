//! Access tokens: issuing and verifying them.
//!
//! A token is a JWT access token (RFC 9068) signed with ES256. Each function verifies tokens with the
//! keys from its configuration, without a call to another service. A token's header only chooses
//! among those keys, by its `kid` (RFC 8725 §3.1). This crate does no I/O.

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
