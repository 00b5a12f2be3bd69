//! A key, an issuer and a verifier that trusts it, and functions to sign any token.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use shared_auth::{Issuer, SigningKey, Verifier, jwks};
use uuid::Uuid;

pub const ISSUER: &str = "https://auth.example";
pub const AUDIENCE: &str = "waybill-api";

pub fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub struct World {
    pub key: SigningKey,
    pub issuer: Issuer,
    pub verifier: Verifier,
}

pub fn world() -> World {
    let key = SigningKey::generate();
    World {
        issuer: Issuer::new(&key, ISSUER, AUDIENCE),
        verifier: Verifier::new(&jwks(&[key.public_jwk()]), ISSUER, AUDIENCE).unwrap(),
        key,
    }
}

pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&decode(part)).unwrap()
}

/// A token with any header and claims, signed by this key.
pub fn forge(key: &SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(key, message.as_bytes());
    format!("{message}.{}", encode(signature))
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// An ES256 signature, `r || s`.
pub fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let pkcs8 = STANDARD.decode(key.to_pkcs8_base64()).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
        .unwrap()
        .sign(&random, message)
        .unwrap()
        .as_ref()
        .to_vec()
}

/// The public point, `0x04 || x || y`.
pub fn public_point(key: &SigningKey) -> Vec<u8> {
    let jwk = key.public_jwk();
    let coordinate = |name: &str| decode(jwk[name].as_str().unwrap());
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

pub fn good_header(world: &World) -> Value {
    json!({"typ": "at+jwt", "alg": "ES256", "kid": world.key.kid()})
}

pub fn good_claims() -> Value {
    let t = now().as_second();
    json!({"iss": ISSUER, "sub": Uuid::from_u128(7), "aud": AUDIENCE, "exp": t + 60, "nbf": t,
           "iat": t, "jti": Uuid::from_u128(8), "client_id": AUDIENCE, "role": "customer"})
}
