//! The access token: its claims, its issuer, and its verification.

use std::fmt;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto;
use crate::keys::{KeyError, KeySet, SigningKey};

/// The lifetime of a customer's access token, which is the longest.
pub const ACCESS_TOKEN_LIFETIME_SECONDS: i64 = 15 * 60;

/// The lifetime of an administrator's access token. The role in the token permits changes of stock,
/// prices and money. A demotion or deactivation takes full effect after this time.
pub const ADMIN_TOKEN_LIFETIME_SECONDS: i64 = 2 * 60;

/// The media type of access tokens (RFC 9068 §2.1). No other kind of JWT passes.
const TOKEN_TYPE: &str = "at+jwt";

/// How far an issuer's clock may be ahead of ours. It applies only to `nbf`, never to `exp`.
const CLOCK_SKEW_SECONDS: i64 = 30;

/// Longer tokens are refused; ours have about 500 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// A user's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Places and reads their own orders.
    Customer,
    /// Also manages the catalogue and reads all orders.
    Admin,
}

/// The name of an unknown role.
#[derive(Debug, thiserror::Error)]
#[error("the role is neither customer nor admin")]
pub struct UnknownRole;

impl Role {
    /// The name in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Customer => "customer",
            Role::Admin => "admin",
        }
    }

    /// Reads a role's name.
    ///
    /// # Errors
    ///
    /// When the role is unknown.
    pub fn parse(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "customer" => Ok(Role::Customer),
            "admin" => Ok(Role::Admin),
            _ => Err(UnknownRole),
        }
    }

    /// The lifetime of this role's access tokens, in seconds.
    pub fn token_lifetime(self) -> i64 {
        match self {
            Role::Customer => ACCESS_TOKEN_LIFETIME_SECONDS,
            Role::Admin => ADMIN_TOKEN_LIFETIME_SECONDS,
        }
    }
}

/// The caller that a token proves.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`.
    pub user_id: Uuid,
    /// The role when the token was issued.
    pub role: Role,
    /// The token itself, to call another service for the caller.
    pub token: String,
}

impl Caller {
    /// Whether the token's role is administrator.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}

/// Never shows the token.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("user_id", &self.user_id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// The reason why a token is refused. The caller may read the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TokenError {
    #[error("the request carries no bearer token in its Authorization header")]
    Missing,
    #[error("the Authorization header does not have the form: Bearer <token>")]
    NotBearer,
    #[error("the token is not a well-formed JWT access token")]
    Malformed,
    #[error("the token is not an access token: its typ is not at+jwt")]
    WrongType,
    #[error("the token is not signed with ES256")]
    WrongAlgorithm,
    #[error("the key that signed the token is not trusted, or no longer")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    WrongSignature,
    #[error("the token is from another issuer")]
    WrongIssuer,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token has expired; log in again or refresh it")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// A configuration that does not allow verifying tokens.
#[derive(thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("the environment variable {0} is missing or empty; set it and start again")]
    MissingVariable(&'static str),
    #[error("AUTH_JWKS cannot be used")]
    Keys(#[from] KeyError),
}

/// Operators read this form: a failing `main` prints its error's `Debug`.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match std::error::Error::source(self) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    sub: Uuid,
    aud: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: Uuid,
    /// RFC 9068 §2.2 requires it. Waybill has one client: its own API's users.
    client_id: &'a str,
    role: &'a str,
}

/// All claims that RFC 9068 §2.2 requires, used or not. A token is refused if it lacks one, repeats
/// one or has one of another type.
#[derive(Deserialize)]
struct Claims {
    /// One text. The library would also accept a list that contains our issuer.
    #[serde(rename = "iss")]
    _iss: String,
    sub: Uuid,
    exp: i64,
    nbf: i64,
    #[serde(rename = "iat")]
    _iat: i64,
    #[serde(rename = "jti")]
    _jti: String,
    #[serde(rename = "client_id")]
    _client_id: String,
    role: String,
}

/// Verifies access tokens. Build it once per process; a verification takes well under a millisecond.
pub struct Verifier {
    keys: KeySet,
    validation: Validation,
}

impl Verifier {
    /// Reads `AUTH_JWKS` (a JWK Set), `AUTH_ISSUER` and `AUTH_AUDIENCE`.
    pub fn from_env() -> Result<Self, ConfigError> {
        let (issuer, audience) = (variable("AUTH_ISSUER")?, variable("AUTH_AUDIENCE")?);
        Self::new(&variable("AUTH_JWKS")?, &issuer, &audience)
    }

    /// A verifier with the public keys of a JWK Set.
    ///
    /// # Errors
    ///
    /// When an entry of the set is not an ES256 public key named by its thumbprint.
    pub fn new(jwks: &str, issuer: &str, audience: &str) -> Result<Self, ConfigError> {
        crypto::install();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // `verify` checks times against the time of the request, not the process's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            keys: KeySet::parse(jwks)?,
            validation,
        })
    }

    /// The caller, by the value of the `Authorization` header (RFC 6750 §2.1).
    pub fn caller(
        &self,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, TokenError> {
        let value = authorization.ok_or(TokenError::Missing)?;
        let (scheme, token) = value.split_once(' ').ok_or(TokenError::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::NotBearer);
        }
        self.verify(token.trim(), now)
    }

    /// Makes all checks of RFC 8725 and RFC 9068 §4 for one issuer and one algorithm.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, TokenError> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::WrongAlgorithm);
        }
        let typ = header.typ.as_deref().ok_or(TokenError::WrongType)?;
        let is_access_token =
            typ.eq_ignore_ascii_case(TOKEN_TYPE) || typ.eq_ignore_ascii_case("application/at+jwt");
        if !is_access_token {
            return Err(TokenError::WrongType);
        }
        // RFC 7515 §4.1.11: an unknown extension makes the token invalid.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let key = self.keys.find(kid).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| refusal(&error))?
            .claims;
        let now = now.as_second();
        // RFC 7519 §4.1.4: refused on and after `exp`.
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now.saturating_add(CLOCK_SKEW_SECONDS) < claims.nbf {
            return Err(TokenError::NotYetValid);
        }
        let role = Role::parse(&claims.role).map_err(|_| TokenError::Malformed)?;
        Ok(Caller {
            user_id: claims.sub,
            role,
            token: token.to_owned(),
        })
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::WrongSignature,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        // The algorithm was checked earlier.
        _ => TokenError::Malformed,
    }
}

/// An issued token.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The JWT.
    pub token: String,
    /// Seconds until it expires.
    pub expires_in: i64,
}

/// Never shows the token.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// Issues access tokens. Only the functions that log users in have one.
pub struct Issuer {
    key: EncodingKey,
    kid: String,
    issuer: String,
    audience: String,
}

impl Issuer {
    /// `issuer` and `audience` must equal the [`Verifier`]s' configuration.
    pub fn new(key: &SigningKey, issuer: &str, audience: &str) -> Self {
        crypto::install();
        Self {
            key: EncodingKey::from_ec_der(key.pkcs8()),
            kid: key.kid(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        }
    }

    /// Issues a token for a user, valid from `now` for the role's [`Role::token_lifetime`].
    pub fn issue(&self, user_id: Uuid, role: Role, now: Timestamp, jti: Uuid) -> AccessToken {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        let issued_at = now.as_second();
        let claims = IssuedClaims {
            iss: &self.issuer,
            sub: user_id,
            aud: &self.audience,
            exp: issued_at + role.token_lifetime(),
            nbf: issued_at,
            iat: issued_at,
            jti,
            client_id: &self.audience,
            role: role.as_str(),
        };
        let token = jsonwebtoken::encode(&header, &claims, &self.key)
            .expect("a key parsed at start signs, and these claims are plain JSON");
        AccessToken {
            token,
            expires_in: role.token_lifetime(),
        }
    }
}

fn variable(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or(ConfigError::MissingVariable(name))
}
