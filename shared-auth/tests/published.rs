//! The RFCs' examples of ES256 and its keys.

use serde_json::{Value, json};
use shared_auth::{KeyError, KeySet, TokenError, Verifier, verify_es256};

use crate::world::{AUDIENCE, ISSUER, decode, encode, now, world};

/// RFC 7515 appendix A.3.
const A3_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const A3_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const A3_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 7515 appendix A.1: signed with HS256.
const A1_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7519 §6.1: not signed.
const UNSECURED_TOKEN: &str = "eyJhbGciOiJub25lIn0\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

/// RFC 9449 (DPoP) figures 2, 9 and 13: one P-256 key, its thumbprint, and two JWTs it signed.
const DPOP_X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const DPOP_Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
const DPOP_THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const DPOP_HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
const DPOP_PROOFS: [&str; 2] = [
    "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ\
    .2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
    "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9\
    .2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
];

/// RFC 7517 appendices A.1 and A.2: the EC key of the examples, public and private.
const A1_X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
const A1_Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
const A2_D: &str = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";

/// RFC 7638 §3.2, implemented again so that the crate does not check itself.
pub fn thumbprint(x: &str, y: &str) -> String {
    let members = [r#""crv":"P-256""#, r#""kty":"EC""#];
    let input = format!(r#"{{{},"x":"{x}","y":"{y}"}}"#, members.join(","));
    encode(ring::digest::digest(
        &ring::digest::SHA256,
        input.as_bytes(),
    ))
}

fn point(x: &str, y: &str) -> Vec<u8> {
    [vec![4], decode(x), decode(y)].concat()
}

fn is_signed_by(token: &str, x: &str, y: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    verify_es256(&point(x, y), message.as_bytes(), &decode(signature))
}

fn key_set(kid: &str, x: &str, y: &str) -> String {
    json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y}]}).to_string()
}

fn ours(token: &str) -> Result<(), TokenError> {
    world().verifier.verify(token, now()).map(|_| ())
}

#[test]
fn rfc_7515s_example_verifies_only_with_its_key() {
    assert!(is_signed_by(A3_TOKEN, A3_X, A3_Y));
    assert!(!is_signed_by(A3_TOKEN, DPOP_X, DPOP_Y));
    let claims: Value =
        serde_json::from_slice(&decode(A3_TOKEN.split('.').nth(1).unwrap())).unwrap();
    assert_eq!(claims["iss"], "joe");
    // Validly signed, but not an access token: it has no typ.
    assert_eq!(ours(A3_TOKEN), Err(TokenError::WrongType));
}

#[test]
fn the_dpop_proofs_of_rfc_9449_are_not_access_tokens() {
    let set = key_set(DPOP_THUMBPRINT, DPOP_X, DPOP_Y);
    let verifier = Verifier::new(&set, ISSUER, AUDIENCE).unwrap();
    for proof in DPOP_PROOFS {
        let token = format!("{DPOP_HEADER}.{proof}");
        assert!(is_signed_by(&token, DPOP_X, DPOP_Y));
        // RFC 8725 §3.11: one kind of JWT must not pass for another.
        assert_eq!(verifier.verify(&token, now()), Err(TokenError::WrongType));
    }
}

/// RFC 7638's own example is an RSA key; RFC 9449 prints the thumbprint of an EC one.
#[test]
fn a_thumbprint_equals_the_one_in_rfc_9449() {
    assert_eq!(thumbprint(DPOP_X, DPOP_Y), DPOP_THUMBPRINT);
    assert!(KeySet::parse(&key_set(DPOP_THUMBPRINT, DPOP_X, DPOP_Y)).is_ok());
    // Swapped coordinates give another thumbprint.
    assert!(matches!(
        KeySet::parse(&key_set(DPOP_THUMBPRINT, DPOP_Y, DPOP_X)),
        Err(KeyError::WrongThumbprint(0))
    ));
}

#[test]
fn the_key_sets_of_rfc_7517_are_refused() {
    let key = |more: &[(&str, &str)]| {
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": A1_X, "y": A1_Y, "kid": "1"});
        for (name, value) in more {
            key[*name] = json!(value);
        }
        json!({"keys": [key]}).to_string()
    };
    // The key of A.1 is for encryption, like that of A.2, which is also private.
    assert!(matches!(
        KeySet::parse(&key(&[("use", "enc")])),
        Err(KeyError::Unsuitable(0))
    ));
    assert!(matches!(
        KeySet::parse(&key(&[("use", "enc"), ("d", A2_D)])),
        Err(KeyError::Private(0))
    ));
    // For signing and named by its thumbprint, the same key is accepted.
    assert!(matches!(
        KeySet::parse(&key(&[("use", "sig")])),
        Err(KeyError::WrongThumbprint(0))
    ));
    let named = thumbprint(A1_X, A1_Y);
    assert!(KeySet::parse(&key(&[("use", "sig"), ("kid", &named)])).is_ok());
    // The keys of A.3 are symmetric.
    let symmetric =
        json!({"keys": [{"kty": "oct", "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg"}]});
    assert!(matches!(
        KeySet::parse(&symmetric.to_string()),
        Err(KeyError::Private(0))
    ));
}

#[test]
fn the_unsecured_and_the_hmac_examples_are_refused() {
    assert_eq!(ours(UNSECURED_TOKEN), Err(TokenError::Malformed));
    assert_eq!(ours(A1_TOKEN), Err(TokenError::WrongAlgorithm));
}
