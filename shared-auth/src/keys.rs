//! Keys: the private key that signs, and the public set in every function's configuration.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

/// The reason why a key or key set is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum KeyError {
    #[error("the signing key is not base64 of a PKCS #8 P-256 key")]
    NotASigningKey,
    #[error("the key set is not a JSON Web Key Set (RFC 7517)")]
    NotAKeySet(#[source] serde_json::Error),
    #[error("the key set is empty")]
    Empty,
    #[error("key {0} of the set is not an ES256 signature key with kid, x and y")]
    Unsuitable(usize),
    #[error("key {0} of the set has a kid that is not its RFC 7638 thumbprint")]
    WrongThumbprint(usize),
    #[error("key {0} of the set is a private key, but the set is public; replace that key")]
    Private(usize),
}

/// The private key that signs access tokens (P-256).
pub struct SigningKey {
    pkcs8: Vec<u8>,
    public_point: Vec<u8>,
}

impl SigningKey {
    /// Generates a key from the operating system's randomness.
    pub fn generate() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .expect("the operating system gives randomness");
        Self::from_pkcs8(pkcs8.as_ref().to_vec()).expect("a key just generated is well formed")
    }

    /// The key in the parameter store's form.
    pub fn to_pkcs8_base64(&self) -> String {
        STANDARD.encode(&self.pkcs8)
    }

    /// Reads a key from the parameter store's form.
    pub fn from_pkcs8_base64(text: &str) -> Result<Self, KeyError> {
        let pkcs8 = STANDARD
            .decode(text.trim())
            .map_err(|_| KeyError::NotASigningKey)?;
        Self::from_pkcs8(pkcs8)
    }

    /// The key's id: its thumbprint (RFC 7638).
    pub fn kid(&self) -> String {
        let (x, y) = self.coordinates();
        thumbprint(&x, &y)
    }

    /// The public half, as an entry of a key set (RFC 7517).
    pub fn public_jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": x,
            "y": y,
            "use": "sig",
            "alg": "ES256",
            "kid": thumbprint(&x, &y),
        })
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pkcs8,
            &SystemRandom::new(),
        )
        .map_err(|_| KeyError::NotASigningKey)?;
        let public_point = pair.public_key().as_ref().to_vec();
        Ok(Self {
            pkcs8,
            public_point,
        })
    }

    /// The point is `0x04 || x || y` (SEC 1 §2.3.3).
    fn coordinates(&self) -> (String, String) {
        let (x, y) = self.public_point[1..].split_at(32);
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }
}

/// Never shows the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

/// The document served at `/.well-known/jwks.json` and given to functions as `AUTH_JWKS`.
pub fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The public keys that a verifier accepts.
pub struct KeySet {
    keys: Vec<(String, DecodingKey)>,
}

impl KeySet {
    /// Reads a key set. It refuses the whole set if an entry is not an ES256 key named by its
    /// thumbprint: an incomplete set would reject valid tokens later.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let document: Document = serde_json::from_str(text).map_err(KeyError::NotAKeySet)?;
        if document.keys.is_empty() {
            return Err(KeyError::Empty);
        }
        let mut keys = Vec::with_capacity(document.keys.len());
        for (index, value) in document.keys.into_iter().enumerate() {
            let unsuitable = || KeyError::Unsuitable(index);
            // RFC 7518 §6.2.2 and §6.4: private parts of a key.
            if value.get("d").is_some() || value.get("k").is_some() {
                return Err(KeyError::Private(index));
            }
            let jwk: Jwk = serde_json::from_value(value).map_err(|_| unsuitable())?;
            let is_ec = jwk.kty == "EC" && jwk.crv == "P-256";
            let is_es256 = jwk.alg.as_deref().is_none_or(|alg| alg == "ES256");
            let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
            let lengths_fit = [&jwk.x, &jwk.y].iter().all(|coordinate| {
                URL_SAFE_NO_PAD
                    .decode(coordinate)
                    .is_ok_and(|bytes| bytes.len() == 32)
            });
            if !(is_ec && is_es256 && signs && lengths_fit) {
                return Err(unsuitable());
            }
            if jwk.kid != thumbprint(&jwk.x, &jwk.y) {
                return Err(KeyError::WrongThumbprint(index));
            }
            let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).map_err(|_| unsuitable())?;
            keys.push((jwk.kid, key));
        }
        Ok(Self { keys })
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&DecodingKey> {
        self.keys
            .iter()
            .find(|(known, _)| known == kid)
            .map(|(_, key)| key)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
}

/// RFC 7638 §3.2: the required members of an EC key in lexicographic order, without white space.
fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let digest = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}
