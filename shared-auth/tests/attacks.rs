//! Attacks on JWTs, by name: those that RFC 8725 warns of and those that became known otherwise.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};
use shared_auth::TokenError::{
    Expired, Malformed, NotYetValid, UnknownKey, WrongAlgorithm, WrongAudience, WrongIssuer,
    WrongSignature, WrongType,
};
use shared_auth::{Issuer, Role, SigningKey, TokenError, Verifier, jwks, verify_es256};
use uuid::Uuid;

use crate::world::{
    AUDIENCE, ISSUER, World, decode, encode, forge, good_claims, good_header, now, public_point,
    sign, world,
};

/// Tries each token and says how many there were.
fn refused(world: &World, what: &str, cases: Vec<(&str, String, TokenError)>) {
    let good = forge(
        &world.key,
        &good_header(world).to_string(),
        &good_claims().to_string(),
    );
    assert!(world.verifier.verify(&good, now()).is_ok());
    println!("{} {what} refused", cases.len());
    for (name, token, expected) in cases {
        assert_eq!(
            world.verifier.verify(&token, now()).map(|_| ()),
            Err(expected),
            "{name}: {token}"
        );
    }
}

fn changed(mut object: Value, name: &str, value: Value) -> String {
    object[name] = value;
    object.to_string()
}

fn header_with(world: &World, name: &str, value: Value) -> String {
    changed(good_header(world), name, value)
}

fn hmac(secret: &[u8], message: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    encode(ring::hmac::sign(&key, message.as_bytes()))
}

/// RFC 8725 §2.1 and §3.1: the token says how it is to be checked.
#[test]
fn no_token_chooses_its_own_algorithm() {
    let world = world();
    let claims = encode(good_claims().to_string());
    let headed = |alg: Value| encode(header_with(&world, "alg", alg));
    let mut cases = Vec::new();

    // No signature at all, in every spelling of `none`.
    for spelling in 0..16_u32 {
        let alg: String = "none"
            .char_indices()
            .map(|(at, letter)| match spelling >> at & 1 {
                0 => letter,
                _ => letter.to_ascii_uppercase(),
            })
            .collect();
        let header = headed(json!(alg));
        cases.push(("alg none", format!("{header}.{claims}."), Malformed));
    }
    for (name, alg) in [
        ("alg empty", json!("")),
        ("alg none with a blank", json!("none ")),
        ("alg null", json!(null)),
        ("alg a number", json!(256)),
        ("alg a list", json!(["ES256", "none"])),
        ("alg in lower case", json!("es256")),
        ("alg of another curve, ES256K", json!("ES256K")),
    ] {
        let signed = forge(
            &world.key,
            &header_with(&world, "alg", alg),
            &good_claims().to_string(),
        );
        cases.push((name, signed, Malformed));
    }

    // The public key, in each form somebody might hold it, as an HMAC secret (CVE-2015-9235).
    let jwk = world.key.public_jwk();
    let point = public_point(&world.key);
    // SubjectPublicKeyInfo of a P-256 key (RFC 5480): a fixed prefix, then the point.
    let prefix = decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA");
    let spki = [&prefix[..], &point[..]].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&spki)
    );
    let secrets: [(&str, Vec<u8>); 6] = [
        ("HS256 with the point", point),
        ("HS256 with the DER key", spki),
        ("HS256 with the PEM key", pem.into_bytes()),
        ("HS256 with the JWK", jwk.to_string().into_bytes()),
        (
            "HS256 with the key set",
            jwks(std::slice::from_ref(&jwk)).into_bytes(),
        ),
        ("HS256 with an empty secret", Vec::new()),
    ];
    for (name, secret) in secrets {
        let message = format!("{}.{claims}", headed(json!("HS256")));
        let token = format!("{message}.{}", hmac(&secret, &message));
        cases.push((name, token, WrongAlgorithm));
        // The same with the header left honest.
        let message = format!("{}.{claims}", encode(good_header(&world).to_string()));
        let token = format!("{message}.{}", hmac(&secret, &message));
        cases.push((name, token, WrongSignature));
    }
    for alg in [
        "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "EdDSA",
    ] {
        let header = header_with(&world, "alg", json!(alg));
        let token = forge(&world.key, &header, &good_claims().to_string());
        cases.push(("another alg", token, WrongAlgorithm));
    }
    refused(&world, "algorithm attacks", cases);
}

/// RFC 8725 §3.10, CVE-2018-0114: the token brings the key it is to be checked with, or says where
/// to get it, or what to look for.
#[test]
fn no_token_brings_its_own_key() {
    let world = world();
    let mine = SigningKey::generate();
    let claims = good_claims().to_string();
    let by_me = |name: &str, value: Value| forge(&mine, &header_with(&world, name, value), &claims);
    let kid = |value: Value| by_me("kid", value);
    let hidden = {
        let mut header = good_header(&world);
        header["kid"] = json!(mine.kid());
        header["jwk"] = mine.public_jwk();
        forge(&mine, &header.to_string(), &claims)
    };
    let evil = "https://evil.example/keys";
    let cases = vec![
        (
            "embedded jwk",
            by_me("jwk", mine.public_jwk()),
            WrongSignature,
        ),
        ("embedded jwk under its own kid", hidden, UnknownKey),
        ("jku", by_me("jku", json!(evil)), WrongSignature),
        (
            "jku of a file",
            by_me("jku", json!("file:///dev/null")),
            WrongSignature,
        ),
        (
            "jku into the cloud's metadata",
            by_me("jku", json!("http://169.254.169.254/")),
            WrongSignature,
        ),
        ("x5u", by_me("x5u", json!(evil)), WrongSignature),
        (
            "x5c",
            by_me("x5c", json!(["MIIBszCCAVmgAwIBAgI"])),
            WrongSignature,
        ),
        ("x5t", by_me("x5t", json!("q2tBd3V5")), WrongSignature),
        (
            "x5t#S256",
            by_me("x5t#S256", json!("q2tBd3V5")),
            WrongSignature,
        ),
        (
            "a key of mine under their kid",
            forge(&mine, &good_header(&world).to_string(), &claims),
            WrongSignature,
        ),
        ("kid of mine", kid(json!(mine.kid())), UnknownKey),
        (
            "kid as a path",
            kid(json!("../../../../dev/null")),
            UnknownKey,
        ),
        (
            "kid as an absolute path",
            kid(json!("/proc/sys/kernel/randomize_va_space")),
            UnknownKey,
        ),
        (
            "kid as SQL",
            kid(json!("' UNION SELECT 'secret' -- ")),
            UnknownKey,
        ),
        (
            "kid as a command",
            kid(json!("key; touch /tmp/owned")),
            UnknownKey,
        ),
        ("kid as a URL", kid(json!(evil)), UnknownKey),
        (
            "kid with a null byte",
            kid(json!(format!("{}\0", world.key.kid()))),
            UnknownKey,
        ),
        (
            "kid with a line break",
            kid(json!(format!("{}\n", world.key.kid()))),
            UnknownKey,
        ),
        (
            "kid with a blank before it",
            kid(json!(format!(" {}", world.key.kid()))),
            UnknownKey,
        ),
        (
            "kid in another case",
            kid(json!(world.key.kid().to_uppercase())),
            UnknownKey,
        ),
        ("kid cut off", kid(json!(world.key.kid()[..42])), UnknownKey),
        ("kid empty", kid(json!("")), UnknownKey),
        ("kid null", kid(json!(null)), UnknownKey),
        ("kid a number", kid(json!(0)), Malformed),
        ("kid a list", kid(json!([world.key.kid()])), Malformed),
        ("kid an object", kid(json!({"$ne": ""})), Malformed),
    ];
    refused(&world, "key attacks", cases);
}

/// RFC 8725 §2.8 and §3.11, RFC 7515 §4.1.11, RFC 7797: what the header claims the token is.
#[test]
fn no_other_kind_of_jwt_passes_for_an_access_token() {
    let world = world();
    let claims = good_claims().to_string();
    let signed = |header: &str| forge(&world.key, header, &claims);
    let with = |name: &str, value: Value| signed(&header_with(&world, name, value));
    let kid = world.key.kid();
    let unencoded = {
        let mut header = good_header(&world);
        header["b64"] = json!(false);
        header["crit"] = json!(["b64"]);
        header.to_string()
    };
    // RFC 7797 §3: signed over the payload as it is, which JWTs may not be (§7).
    let detached = {
        let header = encode(&unencoded);
        let message = format!("{header}.{claims}");
        let signature = encode(sign(&world.key, message.as_bytes()));
        format!("{header}.{}.{signature}", encode(&claims))
    };
    let mut without_typ = good_header(&world);
    without_typ.as_object_mut().unwrap().remove("typ");
    let nested = {
        let inner = signed(&good_header(&world).to_string());
        let header = header_with(&world, "cty", json!("JWT"));
        forge(&world.key, &header, &inner)
    };
    let twice = |first: &str, second: &str| {
        signed(&format!(
            r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}",{first},{second}}}"#
        ))
    };
    let cases = vec![
        ("typ missing", signed(&without_typ.to_string()), WrongType),
        ("typ JWT", with("typ", json!("JWT")), WrongType),
        (
            "typ of an ID token",
            with("typ", json!("id_token+jwt")),
            WrongType,
        ),
        (
            "typ of a refresh token",
            with("typ", json!("rt+jwt")),
            WrongType,
        ),
        (
            "typ of a logout token",
            with("typ", json!("logout+jwt")),
            WrongType,
        ),
        (
            "typ of a DPoP proof",
            with("typ", json!("dpop+jwt")),
            WrongType,
        ),
        ("typ with a blank", with("typ", json!("at+jwt ")), WrongType),
        (
            "typ with a parameter",
            with("typ", json!("at+jwt; x=y")),
            WrongType,
        ),
        (
            "typ of another tree",
            with("typ", json!("text/at+jwt")),
            WrongType,
        ),
        ("typ empty", with("typ", json!("")), WrongType),
        ("typ null", with("typ", json!(null)), WrongType),
        ("typ a list", with("typ", json!(["at+jwt"])), Malformed),
        (
            "crit of something unknown",
            with("crit", json!(["waybill"])),
            Malformed,
        ),
        (
            "crit of something known",
            with("crit", json!(["exp"])),
            Malformed,
        ),
        ("crit empty", with("crit", json!([])), Malformed),
        ("crit not a list", with("crit", json!("exp")), Malformed),
        ("b64 false, payload encoded", signed(&unencoded), Malformed),
        ("b64 false, payload signed as it is", detached, Malformed),
        ("nested JWT", nested, Malformed),
        (
            "typ twice",
            twice(r#""x":1"#, r#""typ":"at+jwt""#),
            Malformed,
        ),
        (
            "alg twice",
            twice(r#""x":1"#, r#""alg":"ES256""#),
            Malformed,
        ),
        (
            "kid twice",
            twice(r#""x":1"#, &format!(r#""kid":"{kid}""#)),
            Malformed,
        ),
        (
            "alg twice, the second escaped",
            twice(r#""x":1"#, r#""\u0061lg":"none""#),
            Malformed,
        ),
        ("header a list", signed("[]"), Malformed),
        (
            "header a list of the members' values",
            signed(&format!(r#"["at+jwt","ES256","{kid}"]"#)),
            Malformed,
        ),
        ("header a string", signed(r#""at+jwt""#), Malformed),
        ("header null", signed("null"), Malformed),
        ("header empty", signed(""), Malformed),
        (
            "header with something after it",
            signed(&format!("{}{{}}", good_header(&world))),
            Malformed,
        ),
        (
            "header with a comment",
            signed(&format!("{}/**/", good_header(&world))),
            Malformed,
        ),
        (
            "header after a byte order mark",
            signed(&format!("\u{feff}{}", good_header(&world))),
            Malformed,
        ),
        (
            "header deeply nested",
            signed(&format!(
                r#"{{"x":{}1{}}}"#,
                "[".repeat(500),
                "]".repeat(500)
            )),
            Malformed,
        ),
    ];
    refused(&world, "header attacks", cases);

    // RFC 9068 §2.1 with RFC 7515 §4.1.9: media types have no case, and may have their prefix.
    for typ in ["AT+JWT", "at+JWT", "application/at+jwt"] {
        let token = with("typ", json!(typ));
        assert!(world.verifier.verify(&token, now()).is_ok(), "{typ}");
    }
}

/// RFC 8725 §3.8 to §3.10: claims, all of them well signed.
#[test]
fn no_claim_is_taken_that_is_not_as_it_should_be() {
    let world = world();
    let header = good_header(&world).to_string();
    let t = now().as_second();
    let signed = |claims: &str| forge(&world.key, &header, claims);
    let with = |name: &str, value: Value| signed(&changed(good_claims(), name, value));
    // As text, for numbers that are none in Rust.
    let spelt = |name: &str, number: &str| {
        signed(&changed(good_claims(), name, json!("HERE")).replace(r#""HERE""#, number))
    };
    let without = |name: &str| {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims.to_string())
    };
    let prefixed = |member: &str| {
        signed(
            &good_claims()
                .to_string()
                .replacen('{', &format!("{{{member},"), 1),
        )
    };
    let positional = format!(
        r#"["{ISSUER}","{}",{},{t},{t},"x","{AUDIENCE}","admin"]"#,
        Uuid::from_u128(7),
        t + 60
    );
    let mut cases = vec![
        ("exp now", with("exp", json!(t)), Expired),
        ("exp a second ago", with("exp", json!(t - 1)), Expired),
        ("exp zero", with("exp", json!(0)), Expired),
        ("exp negative", with("exp", json!(-1)), Malformed),
        (
            "exp a fraction",
            with("exp", json!(t as f64 + 60.5)),
            Malformed,
        ),
        (
            "exp a whole number as a fraction",
            spelt("exp", "99999999999.0"),
            Malformed,
        ),
        ("exp with an exponent", spelt("exp", "1e12"), Malformed),
        ("exp beyond every number", spelt("exp", "1e999"), Malformed),
        (
            "exp beyond 64 bits",
            spelt("exp", "18446744073709551616"),
            Malformed,
        ),
        (
            "exp beyond 63 bits",
            spelt("exp", "9223372036854775808"),
            Malformed,
        ),
        ("exp text", with("exp", json!("9999999999")), Malformed),
        (
            "exp a time",
            with("exp", json!("2099-01-01T00:00:00Z")),
            Malformed,
        ),
        ("exp null", with("exp", json!(null)), Malformed),
        ("exp true", with("exp", json!(true)), Malformed),
        ("exp a list", with("exp", json!([t + 60])), Malformed),
        ("exp NaN", spelt("exp", "NaN"), Malformed),
        ("exp in hexadecimal", spelt("exp", "0x7fffffff"), Malformed),
        (
            "nbf beyond the skew",
            with("nbf", json!(t + 31)),
            NotYetValid,
        ),
        ("nbf far ahead", with("nbf", json!(i64::MAX)), NotYetValid),
        ("nbf negative", with("nbf", json!(-1)), Malformed),
        ("nbf text", with("nbf", json!("0")), Malformed),
        ("nbf a fraction", with("nbf", json!(0.5)), Malformed),
        ("nbf null", with("nbf", json!(null)), Malformed),
        ("iat text", with("iat", json!("0")), Malformed),
        ("iat a fraction", with("iat", json!(0.5)), Malformed),
        ("iat null", with("iat", json!(null)), Malformed),
        (
            "iss of somebody else",
            with("iss", json!("https://evil.example")),
            WrongIssuer,
        ),
        (
            "iss with a slash more",
            with("iss", json!(format!("{ISSUER}/"))),
            WrongIssuer,
        ),
        (
            "iss that begins like ours",
            with("iss", json!(format!("{ISSUER}.evil.example"))),
            WrongIssuer,
        ),
        (
            "iss in another case",
            with("iss", json!(ISSUER.to_uppercase())),
            WrongIssuer,
        ),
        ("iss empty", with("iss", json!("")), WrongIssuer),
        (
            "iss a list with ours",
            with("iss", json!([ISSUER])),
            Malformed,
        ),
        (
            "iss a list with ours and another",
            with("iss", json!(["https://evil.example", ISSUER])),
            Malformed,
        ),
        (
            "iss an object",
            with("iss", json!({"a": ISSUER})),
            Malformed,
        ),
        ("iss null", with("iss", json!(null)), Malformed),
        (
            "aud another",
            with("aud", json!("other-api")),
            WrongAudience,
        ),
        ("aud others", with("aud", json!(["a", "b"])), WrongAudience),
        ("aud no one", with("aud", json!([])), WrongAudience),
        ("aud empty", with("aud", json!("")), WrongAudience),
        (
            "aud that begins like ours",
            with("aud", json!(format!("{AUDIENCE}-2"))),
            WrongAudience,
        ),
        ("aud anybody", with("aud", json!("*")), WrongAudience),
        (
            "aud ours within a text",
            with("aud", json!(format!("other {AUDIENCE}"))),
            WrongAudience,
        ),
        (
            "aud a list with a number",
            with("aud", json!([AUDIENCE, 1])),
            Malformed,
        ),
        ("aud null", with("aud", json!(null)), Malformed),
        (
            "aud an object",
            with("aud", json!({"a": AUDIENCE})),
            Malformed,
        ),
        ("sub no UUID", with("sub", json!("admin")), Malformed),
        ("sub a number", with("sub", json!(7)), Malformed),
        (
            "sub a list",
            with("sub", json!([Uuid::from_u128(7)])),
            Malformed,
        ),
        ("sub a query", with("sub", json!({"$gt": ""})), Malformed),
        ("sub empty", with("sub", json!("")), Malformed),
        ("sub null", with("sub", json!(null)), Malformed),
        (
            "sub with a blank",
            with("sub", json!(format!("{} ", Uuid::from_u128(7)))),
            Malformed,
        ),
        ("role unknown", with("role", json!("root")), Malformed),
        (
            "role in another case",
            with("role", json!("Admin")),
            Malformed,
        ),
        (
            "role with a blank",
            with("role", json!("admin ")),
            Malformed,
        ),
        (
            "role with a null byte",
            with("role", json!("admin\0")),
            Malformed,
        ),
        ("role a list", with("role", json!(["admin"])), Malformed),
        (
            "role an object",
            with("role", json!({"Admin": null})),
            Malformed,
        ),
        ("role a number", with("role", json!(1)), Malformed),
        ("role true", with("role", json!(true)), Malformed),
        ("role null", with("role", json!(null)), Malformed),
        ("role empty", with("role", json!("")), Malformed),
        (
            "a claim twice, its name escaped",
            prefixed(r#""r\u006fle":"admin""#),
            Malformed,
        ),
        ("claims a list in our order", signed(&positional), Malformed),
        ("claims a list", signed("[]"), Malformed),
        ("claims a string", signed(r#""admin""#), Malformed),
        ("claims null", signed("null"), Malformed),
        ("claims empty", signed(""), Malformed),
        (
            "claims with something after them",
            signed(&format!("{}{{}}", good_claims())),
            Malformed,
        ),
        (
            "claims cut off",
            signed(good_claims().to_string().trim_end_matches('}')),
            Malformed,
        ),
        (
            "claims with a comma too many",
            signed(&good_claims().to_string().replace('}', ",}")),
            Malformed,
        ),
        (
            "claims after a byte order mark",
            signed(&format!("\u{feff}{}", good_claims())),
            Malformed,
        ),
        (
            "claims that are not UTF-8",
            {
                let mut bytes = good_claims().to_string().into_bytes();
                let at = bytes
                    .windows(8)
                    .position(|window| window == b"customer")
                    .unwrap();
                bytes[at] = 0xff;
                let message = format!("{}.{}", encode(&header), encode(bytes));
                let signature = encode(sign(&world.key, message.as_bytes()));
                format!("{message}.{signature}")
            },
            Malformed,
        ),
    ];
    for name in [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "role",
    ] {
        cases.push(("a claim missing", without(name), Malformed));
        let again = json!({name: good_claims()[name]}).to_string();
        cases.push((
            "a claim twice",
            prefixed(again.trim_matches(['{', '}'])),
            Malformed,
        ));
    }
    refused(&world, "claims attacks", cases);

    // The edges on the good side.
    for (name, value) in [
        ("exp", json!(t + 1)),
        ("exp", json!(i64::MAX)),
        ("nbf", json!(t + 30)),
        ("nbf", json!(0)),
        ("aud", json!(["other-api", AUDIENCE])),
    ] {
        let token = with(name, value.clone());
        assert!(
            world.verifier.verify(&token, now()).is_ok(),
            "{name} {value}"
        );
    }
}

/// RFC 7515 §5.2 and RFC 4648 §3.5: one token has one spelling.
#[test]
fn no_other_spelling_of_a_token_is_taken() {
    let world = world();
    let header = good_header(&world).to_string();
    // Both alphabets' own characters must be in it: `>` and `?` in the right places give them.
    let claims = changed(good_claims(), "x", json!("???>>>~~~"));
    let token = forge(&world.key, &header, &claims);
    assert!(world.verifier.verify(&token, now()).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    let [first, second, third] = parts[..] else {
        panic!("{token}")
    };
    let spelt = |first: &str, second: &str, third: &str| format!("{first}.{second}.{third}");
    // Signed as spelt, so that nothing but the spelling is wrong.
    let signed = |first: &str, second: &str| {
        let message = format!("{first}.{second}");
        let signature = encode(sign(&world.key, message.as_bytes()));
        format!("{message}.{signature}")
    };
    let padded = |bytes: &[u8]| URL_SAFE.encode(bytes);
    // With blanks until its length needs padding.
    let mut ragged = header.clone();
    while ragged.len() % 3 != 1 {
        ragged.push(' ');
    }
    let standard = STANDARD_NO_PAD.encode(&claims);
    assert!(standard.contains(['+', '/']));
    // The last character of 64 bytes carries two bits; the other four must be zero.
    let last = third.chars().last().unwrap();
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = ALPHABET.find(last).unwrap();
    let twin = |bit: usize| {
        let other = &ALPHABET[value + bit..value + bit + 1];
        spelt(first, second, &format!("{}{other}", &third[..85]))
    };
    let message = format!("{first}.{second}");
    let flattened = json!({"payload": second, "protected": first, "signature": third});
    let general = json!({"payload": second,
                         "signatures": [{"protected": first, "signature": third}]});
    let encrypted = format!(
        "{}.{}.{}.{}.{}",
        encode(r#"{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}"#),
        "",
        encode([1; 12]),
        encode(&claims),
        encode([2; 16])
    );
    let cases = vec![
        (
            "signature padded",
            spelt(first, second, &padded(&decode(third))),
            Malformed,
        ),
        ("signature padded once", format!("{token}="), Malformed),
        ("signature's idle bits set", twin(1), Malformed),
        ("signature's idle bits all set", twin(15), Malformed),
        (
            "header padded",
            signed(&padded(ragged.as_bytes()), second),
            Malformed,
        ),
        (
            "claims padded",
            signed(first, &format!("{second}=")),
            Malformed,
        ),
        (
            "claims in the standard alphabet",
            signed(first, &standard),
            Malformed,
        ),
        (
            "claims with a line break",
            signed(first, &format!("{}\n{}", &second[..8], &second[8..])),
            Malformed,
        ),
        (
            "claims with a blank",
            signed(first, &format!("{second} ")),
            Malformed,
        ),
        ("claims not base64", signed(first, "{}"), Malformed),
        ("header not base64", signed(&header, second), Malformed),
        ("a blank before", format!(" {token}"), Malformed),
        ("a line break after", format!("{token}\n"), Malformed),
        ("a null byte after", format!("{token}\0"), Malformed),
        (
            "a letter of another script",
            token.replacen('e', "\u{435}", 1),
            Malformed,
        ),
        ("quoted", format!("\"{token}\""), Malformed),
        ("empty", String::new(), Malformed),
        ("a dot", ".".to_owned(), Malformed),
        ("two dots", "..".to_owned(), Malformed),
        ("one part", first.to_owned(), Malformed),
        ("two parts", message.clone(), Malformed),
        ("four parts", format!("{token}.{third}"), Malformed),
        ("four parts, the last empty", format!("{token}."), Malformed),
        (
            "four parts, the first empty",
            format!(".{token}"),
            Malformed,
        ),
        ("five parts of a JWE", encrypted, Malformed),
        ("five parts", format!("{token}.{third}.{third}"), Malformed),
        ("header gone", format!(".{second}.{third}"), Malformed),
        ("claims gone", format!("{first}..{third}"), WrongSignature),
        ("claims detached, well signed", signed(first, ""), Malformed),
        ("JWS in JSON, flattened", flattened.to_string(), Malformed),
        ("JWS in JSON, general", general.to_string(), Malformed),
        ("two tokens", format!("{token},{token}"), Malformed),
        (
            "huge, nothing but letters",
            "a".repeat(5_000_000),
            Malformed,
        ),
        ("huge, nothing but dots", ".".repeat(5_000_000), Malformed),
        (
            "huge, well signed",
            forge(
                &world.key,
                &header,
                &changed(good_claims(), "x", json!("x".repeat(4096))),
            ),
            Malformed,
        ),
    ];
    refused(&world, "spellings", cases);
}

/// RFC 7518 §3.4, and the ways ECDSA was checked wrongly.
#[test]
fn no_signature_fits_but_the_keys_own() {
    let world = world();
    let header = good_header(&world).to_string();
    let token = forge(&world.key, &header, &good_claims().to_string());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let one = {
        let mut one = zero;
        one[31] = 1;
        one
    };
    let below = minus(&ORDER, &one);
    // A DER SEQUENCE of two INTEGERs, what JWS is not.
    let integer = |bytes: &[u8]| {
        let lead: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        let length = u8::try_from(bytes.len() + lead.len()).unwrap();
        [&[2, length][..], lead, bytes].concat()
    };
    let der = {
        let body = [integer(r), integer(s)].concat();
        [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let other = forge(
        &world.key,
        &header,
        &changed(good_claims(), "role", json!("admin")),
    );
    let with = |bytes: &[u8]| format!("{message}.{}", encode(bytes));
    let pair = |r: &[u8], s: &[u8]| with(&[r, s].concat());
    let cases = vec![
        // CVE-2022-21449, "psychic signatures".
        ("r and s zero", pair(&zero, &zero), WrongSignature),
        ("r zero", pair(&zero, s), WrongSignature),
        ("s zero", pair(r, &zero), WrongSignature),
        ("r and s one", pair(&one, &one), WrongSignature),
        ("r the order", pair(&ORDER, s), WrongSignature),
        ("s the order", pair(r, &ORDER), WrongSignature),
        ("r and s the order", pair(&ORDER, &ORDER), WrongSignature),
        (
            "r and s one below the order",
            pair(&below, &below),
            WrongSignature,
        ),
        ("r and s all ones", with(&[0xff; 64]), WrongSignature),
        ("r and s exchanged", pair(s, r), WrongSignature),
        ("r twice", pair(r, r), WrongSignature),
        ("empty", with(&[]), WrongSignature),
        ("one byte", with(&[0]), WrongSignature),
        ("cut off by a byte", with(&signature[..63]), WrongSignature),
        ("cut off by half", with(r), WrongSignature),
        (
            "a byte longer",
            with(&[&signature[..], &[0]].concat()),
            WrongSignature,
        ),
        (
            "a zero before each half",
            pair(&[&[0], r].concat(), &[&[0], s].concat()),
            WrongSignature,
        ),
        ("DER", with(&der), WrongSignature),
        (
            "another token's",
            format!("{message}.{}", other.rsplit_once('.').unwrap().1),
            WrongSignature,
        ),
        (
            "another key's",
            format!(
                "{message}.{}",
                encode(sign(&SigningKey::generate(), message.as_bytes()))
            ),
            WrongSignature,
        ),
        (
            "of the claims alone",
            with(&sign(
                &world.key,
                message.split_once('.').unwrap().1.as_bytes(),
            )),
            WrongSignature,
        ),
        (
            "of the digest",
            with(&sign(
                &world.key,
                ring::digest::digest(&ring::digest::SHA256, message.as_bytes()).as_ref(),
            )),
            WrongSignature,
        ),
        (
            "another role's claims under it",
            format!(
                "{}.{}",
                other.rsplit_once('.').unwrap().0,
                encode(&signature)
            ),
            WrongSignature,
        ),
    ];
    refused(&world, "signatures", cases);
}

/// ECDSA has two signatures for each one: (r, s) and (r, n - s). FIPS 186-5 takes both, and so does
/// JWS. Nothing here goes by a token's text, so the second one gives nobody anything.
#[test]
fn a_signatures_mirror_image_says_the_same_and_no_more() {
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::from_u128(7), Role::Customer, now(), Uuid::nil())
        .token;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let mirrored = minus(&ORDER, signature[32..].try_into().unwrap());
    let mirrored = [&signature[..32], &mirrored[..]].concat();
    assert!(verify_es256(
        &public_point(&world.key),
        message.as_bytes(),
        &mirrored
    ));
    let twin = format!("{message}.{}", encode(mirrored));
    let caller = world.verifier.verify(&twin, now()).unwrap();
    let original = world.verifier.verify(&token, now()).unwrap();
    assert_eq!(
        (caller.user_id, caller.role),
        (original.user_id, original.role)
    );
}

/// An invalid curve attack: the set's point is on no P-256.
#[test]
fn a_key_that_is_not_on_the_curve_has_no_tokens() {
    let world = world();
    let mut point = public_point(&world.key);
    point[64] ^= 1;
    assert!(!verify_es256(&point, b"m", &sign(&world.key, b"m")));
    for point in [vec![0], vec![], vec![4; 65], vec![2; 33]] {
        assert!(!verify_es256(&point, b"m", &sign(&world.key, b"m")));
    }
}

/// RFC 8725 §3.12: a token of one system is not one of another that has the same keys.
#[test]
fn a_verifier_of_another_issuer_or_audience_takes_none_of_ours() {
    let world = world();
    let set = jwks(&[world.key.public_jwk()]);
    let token = Issuer::new(&world.key, ISSUER, AUDIENCE)
        .issue(Uuid::nil(), Role::Admin, now(), Uuid::nil())
        .token;
    for (issuer, audience, expected) in [
        ("https://other.example", AUDIENCE, WrongIssuer),
        (ISSUER, "other-api", WrongAudience),
    ] {
        let other = Verifier::new(&set, issuer, audience).unwrap();
        assert_eq!(other.verify(&token, now()).map(|_| ()), Err(expected));
    }
}

#[test]
fn the_header_of_a_request_holds_one_bearer_token_and_nothing_else() {
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil())
        .token;
    for (value, expected) in [
        (String::new(), TokenError::NotBearer),
        ("Bearer".to_owned(), TokenError::NotBearer),
        (token.clone(), TokenError::NotBearer),
        (format!("Basic {token}"), TokenError::NotBearer),
        (format!("DPoP {token}"), TokenError::NotBearer),
        (format!("Bearer\t{token}"), TokenError::NotBearer),
        (format!("Bearer={token}"), TokenError::NotBearer),
        (format!(" Bearer {token}"), TokenError::NotBearer),
        ("Bearer ".to_owned(), Malformed),
        (format!("Bearer {token} {token}"), Malformed),
        (format!("Bearer {token}, Bearer {token}"), Malformed),
        (format!("Bearer \"{token}\""), Malformed),
        (format!("Bearer Bearer {token}"), Malformed),
    ] {
        assert_eq!(
            world.verifier.caller(Some(&value), now()).map(|_| ()),
            Err(expected),
            "{value:?}"
        );
    }
}

/// The order of P-256's group (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `a - b`, for `a >= b`, most significant byte first.
fn minus(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = false;
    for at in (0..32).rev() {
        let (once, less) = a[at].overflowing_sub(b[at]);
        let (byte, lesser) = once.overflowing_sub(u8::from(borrow));
        difference[at] = byte;
        borrow = less || lesser;
    }
    difference
}
