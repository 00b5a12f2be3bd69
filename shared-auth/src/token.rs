//! The access token: what it says, who may issue it, and every check it must pass.

use std::fmt;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto;
use crate::keys::{KeyError, KeySet, SigningKey};

/// How long an access token is good for, at most: a customer's.
pub const ACCESS_TOKEN_LIFETIME_SECONDS: i64 = 15 * 60;

/// How long an administrator's access token is good for. Stock, prices and money move by the role in
/// the token, so a demotion or deactivation holds everywhere after this time.
pub const ADMIN_TOKEN_LIFETIME_SECONDS: i64 = 2 * 60;

/// The media type an access token carries (RFC 9068 §2.1), so that no other kind of JWT passes.
const TOKEN_TYPE: &str = "at+jwt";

/// How far an issuer's clock may be ahead of ours. It applies to `nbf` alone: a token is never
/// honoured after its `exp`.
const CLOCK_SKEW_SECONDS: i64 = 30;

/// Longer tokens are not looked at; ours are about 500 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Places and reads their own orders.
    Customer,
    /// Also manages the catalogue and reads every order.
    Admin,
}

/// A role's name that is not one of ours.
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

    /// Reads a name back.
    ///
    /// # Errors
    ///
    /// When it is neither role's.
    pub fn parse(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "customer" => Ok(Role::Customer),
            "admin" => Ok(Role::Admin),
            _ => Err(UnknownRole),
        }
    }

    /// How long an access token in this role is good for, in seconds.
    pub fn token_lifetime(self) -> i64 {
        match self {
            Role::Customer => ACCESS_TOKEN_LIFETIME_SECONDS,
            Role::Admin => ADMIN_TOKEN_LIFETIME_SECONDS,
        }
    }
}

/// Who is calling, as their token proves.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`.
    pub user_id: Uuid,
    /// The role when the token was issued.
    pub role: Role,
    /// The token itself, for relaying to another service in the caller's name.
    pub token: String,
}

impl Caller {
    /// Whether the token says so.
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

/// Why a token was refused. The text may be shown to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TokenError {
    #[error("the request carries no bearer token in its Authorization header")]
    Missing,
    #[error("the Authorization header is not of the form: Bearer <token>")]
    NotBearer,
    #[error("the token is not a well-formed JWT access token")]
    Malformed,
    #[error("the token is not an access token: its typ is not at+jwt")]
    WrongType,
    #[error("the token is not signed with ES256")]
    WrongAlgorithm,
    #[error("the token is signed with a key that is not, or no longer, trusted here")]
    UnknownKey,
    #[error("the token's signature does not fit")]
    WrongSignature,
    #[error("the token was issued by somebody else")]
    WrongIssuer,
    #[error("the token is meant for another audience")]
    WrongAudience,
    #[error("the token has expired; log in again or refresh it")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// Why a function cannot check or issue tokens with the configuration it was given.
#[derive(thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("the environment variable {0} is missing or empty; set it and start again")]
    MissingVariable(&'static str),
    #[error("AUTH_JWKS cannot be used")]
    Keys(#[from] KeyError),
}

/// What a function that cannot start prints: `main` shows an error by its `Debug`.
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

/// Every claim that RFC 9068 §2.2 requires is named here, whether we go by it or not: a token that
/// lacks one, has one twice or has one of another type is not ours.
#[derive(Deserialize)]
struct Claims {
    /// A single one. The library would also take a list that has ours in it.
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

/// Checks access tokens. Build it once per process; checking takes well under a millisecond.
pub struct Verifier {
    keys: KeySet,
    validation: Validation,
}

impl Verifier {
    /// From `AUTH_JWKS` (a JWK Set), `AUTH_ISSUER` and `AUTH_AUDIENCE`.
    pub fn from_env() -> Result<Self, ConfigError> {
        let (issuer, audience) = (variable("AUTH_ISSUER")?, variable("AUTH_AUDIENCE")?);
        Self::new(&variable("AUTH_JWKS")?, &issuer, &audience)
    }

    /// With the public keys of a JWK Set.
    ///
    /// # Errors
    ///
    /// When the set holds anything but ES256 public keys under their thumbprints.
    pub fn new(jwks: &str, issuer: &str, audience: &str) -> Result<Self, ConfigError> {
        crypto::install();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        // Times are checked below, against the time of the request instead of the process's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            keys: KeySet::parse(jwks)?,
            validation,
        })
    }

    /// Who is calling, from the value of the `Authorization` header (RFC 6750 §2.1).
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

    /// Every check of RFC 8725 and RFC 9068 §4 that applies to one issuer and one algorithm.
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
        // RFC 7515 §4.1.11: an extension that is not understood makes the token invalid.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let key = self.keys.find(kid).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| refusal(&error))?
            .claims;
        let now = now.as_second();
        // RFC 7519 §4.1.4: not accepted on or after `exp`.
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
        // Not the algorithm, which was looked at before the signature.
        _ => TokenError::Malformed,
    }
}

/// A token as the client receives it.
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

/// Issues access tokens. Only the functions that log users in hold one.
pub struct Issuer {
    key: EncodingKey,
    kid: String,
    issuer: String,
    audience: String,
}

impl Issuer {
    /// `issuer` and `audience` as every [`Verifier`] of this installation is configured.
    pub fn new(key: &SigningKey, issuer: &str, audience: &str) -> Self {
        crypto::install();
        Self {
            key: EncodingKey::from_ec_der(key.pkcs8()),
            kid: key.kid(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        }
    }

    /// A token for a user, good from `now` for the role's [`Role::token_lifetime`].
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
