//! Attacks on JWTs: those in RFC 8725 and others that became known.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
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

fn refused(world: &World, name: &str, token: &str, expected: TokenError) {
    let outcome = world.verifier.verify(token, now()).map(|_| ());
    assert_eq!(outcome, Err(expected), "{name}: {token:.2000}");
}

fn accepted(world: &World, name: &str, token: &str) {
    let outcome = world.verifier.verify(token, now());
    assert!(outcome.is_ok(), "{name}: {outcome:?}");
}

fn changed(mut object: Value, name: &str, value: Value) -> String {
    object[name] = value;
    object.to_string()
}

fn without(mut object: Value, name: &str) -> String {
    object.as_object_mut().unwrap().remove(name);
    object.to_string()
}

fn header_with(world: &World, name: &str, value: Value) -> String {
    changed(good_header(world), name, value)
}

fn hmac(secret: &[u8], message: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    encode(ring::hmac::sign(&key, message.as_bytes()))
}

/// RFC 8725 §2.1 and §3.1: the token chooses the algorithm of its check.
#[test]
fn a_token_cannot_choose_its_algorithm() {
    let world = world();
    let claims = encode(good_claims().to_string());
    let headed = |alg: &str| encode(header_with(&world, "alg", json!(alg)));

    // No signature at all, in every spelling of `none`.
    for spelling in 0..16_u32 {
        let letters = "none"
            .char_indices()
            .map(|(at, c)| match spelling >> at & 1 {
                0 => c,
                _ => c.to_ascii_uppercase(),
            });
        let header = headed(&letters.collect::<String>());
        refused(
            &world,
            "alg none",
            &format!("{header}.{claims}."),
            Malformed,
        );
    }
    let signed = |alg: Value| {
        let header = header_with(&world, "alg", alg);
        forge(&world.key, &header, &good_claims().to_string())
    };
    for alg in [
        json!(""),
        json!("none "),
        json!(null),
        json!(256),
        json!(["ES256", "none"]),
        json!("es256"),
        json!("ES256K"),
    ] {
        refused(&world, "alg", &signed(alg), Malformed);
    }

    // The public key, in each of its forms, as an HMAC secret (CVE-2015-9235).
    let jwk = world.key.public_jwk();
    let point = public_point(&world.key);
    // SubjectPublicKeyInfo of a P-256 key (RFC 5480): a fixed prefix, then the point.
    let prefix = decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA");
    let spki = [&prefix[..], &point[..]].concat();
    let pem = STANDARD.encode(&spki);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    for secret in [
        point,
        spki,
        pem.into_bytes(),
        jwk.to_string().into_bytes(),
        jwks(std::slice::from_ref(&jwk)).into_bytes(),
        Vec::new(),
    ] {
        // The second header still claims ES256.
        for (alg, expected) in [("HS256", WrongAlgorithm), ("ES256", WrongSignature)] {
            let message = format!("{}.{claims}", headed(alg));
            let token = format!("{message}.{}", hmac(&secret, &message));
            refused(&world, alg, &token, expected);
        }
    }
    for alg in [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384",
        "EdDSA",
    ] {
        refused(&world, alg, &signed(json!(alg)), WrongAlgorithm);
    }
}

/// RFC 8725 §3.10, CVE-2018-0114: the token brings its own key, or says where to get or find it.
#[test]
fn a_token_cannot_bring_its_own_key() {
    let world = world();
    let mine = SigningKey::generate();
    let claims = good_claims().to_string();
    let by_me = |name: &str, value: Value| forge(&mine, &header_with(&world, name, value), &claims);
    let evil = "https://evil.example/keys";
    for (name, value) in [
        ("kid", json!(world.key.kid())),
        ("jwk", mine.public_jwk()),
        ("jku", json!(evil)),
        ("jku", json!("file:///dev/null")),
        ("jku", json!("http://169.254.169.254/")),
        ("x5u", json!(evil)),
        ("x5c", json!(["MIIBszCCAVmgAwIBAgI"])),
        ("x5t", json!("q2tBd3V5")),
        ("x5t#S256", json!("q2tBd3V5")),
    ] {
        refused(&world, name, &by_me(name, value), WrongSignature);
    }
    let mut header = good_header(&world);
    header["kid"] = json!(mine.kid());
    header["jwk"] = mine.public_jwk();
    let hidden = forge(&mine, &header.to_string(), &claims);
    refused(&world, "jwk under its own kid", &hidden, UnknownKey);

    let kid = world.key.kid();
    for (value, expected) in [
        (json!(mine.kid()), UnknownKey),
        (json!("../../../../dev/null"), UnknownKey),
        (json!("/proc/sys/kernel/randomize_va_space"), UnknownKey),
        (json!("' UNION SELECT 'secret' -- "), UnknownKey),
        (json!("key; touch /tmp/owned"), UnknownKey),
        (json!(evil), UnknownKey),
        (json!(format!("{kid}\0")), UnknownKey),
        (json!(format!("{kid}\n")), UnknownKey),
        (json!(format!(" {kid}")), UnknownKey),
        (json!(kid.to_uppercase()), UnknownKey),
        (json!(kid[..42]), UnknownKey),
        (json!(""), UnknownKey),
        (json!(null), UnknownKey),
        (json!(0), Malformed),
        (json!([kid]), Malformed),
        (json!({"$ne": ""}), Malformed),
    ] {
        refused(&world, "kid", &by_me("kid", value), expected);
    }
    let nameless = forge(&world.key, &without(good_header(&world), "kid"), &claims);
    refused(&world, "no kid", &nameless, UnknownKey);
}

/// RFC 8725 §2.8 and §3.11, RFC 7515 §4.1.11, RFC 7797: the header's claims about the token.
#[test]
fn no_other_kind_of_jwt_passes_for_an_access_token() {
    let world = world();
    let claims = good_claims().to_string();
    let signed = |header: &str| forge(&world.key, header, &claims);
    let with = |name: &str, value: Value| signed(&header_with(&world, name, value));
    for (name, value, expected) in [
        ("typ", json!("JWT"), WrongType),
        ("typ", json!("id_token+jwt"), WrongType),
        ("typ", json!("rt+jwt"), WrongType),
        ("typ", json!("logout+jwt"), WrongType),
        ("typ", json!("dpop+jwt"), WrongType),
        ("typ", json!("at+jwt "), WrongType),
        ("typ", json!("at+jwt; x=y"), WrongType),
        ("typ", json!("text/at+jwt"), WrongType),
        ("typ", json!(""), WrongType),
        ("typ", json!(null), WrongType),
        ("typ", json!(["at+jwt"]), Malformed),
        ("crit", json!(["waybill"]), Malformed),
        ("crit", json!(["exp"]), Malformed),
        ("crit", json!([]), Malformed),
        ("crit", json!("exp"), Malformed),
    ] {
        refused(&world, name, &with(name, value), expected);
    }
    let typeless = signed(&without(good_header(&world), "typ"));
    refused(&world, "no typ", &typeless, WrongType);

    // RFC 7797 §3: signed over the raw payload, which JWTs may not be (§7).
    let mut unencoded = good_header(&world);
    unencoded["b64"] = json!(false);
    let unencoded = changed(unencoded, "crit", json!(["b64"]));
    let header = encode(&unencoded);
    let signature = encode(sign(&world.key, format!("{header}.{claims}").as_bytes()));
    let detached = format!("{header}.{}.{signature}", encode(&claims));
    refused(&world, "b64 false", &detached, Malformed);
    let inner = signed(&good_header(&world).to_string());
    let nested = forge(
        &world.key,
        &header_with(&world, "cty", json!("JWT")),
        &inner,
    );
    refused(&world, "nested JWT", &nested, Malformed);

    let (header, kid) = (good_header(&world).to_string(), world.key.kid());
    let and = |member: &str| format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}",{member}}}"#);
    for text in [
        unencoded,
        and(r#""typ":"at+jwt""#),
        and(r#""alg":"ES256""#),
        and(&format!(r#""kid":"{kid}""#)),
        and(r#""\u0061lg":"none""#),
        "[]".to_owned(),
        format!(r#"["at+jwt","ES256","{kid}"]"#),
        r#""at+jwt""#.to_owned(),
        "null".to_owned(),
        String::new(),
        format!("{header}{{}}"),
        format!("{header}/**/"),
        format!("\u{feff}{header}"),
        and(&format!(r#""x":{}1{}"#, "[".repeat(500), "]".repeat(500))),
    ] {
        refused(&world, &text, &signed(&text), Malformed);
    }

    // RFC 9068 §2.1 with RFC 7515 §4.1.9: media types have no case, and may have their prefix.
    for typ in ["AT+JWT", "at+JWT", "application/at+jwt"] {
        accepted(&world, typ, &with("typ", json!(typ)));
    }
}

/// RFC 8725 §3.8 to §3.10: wrong claims, well signed.
#[test]
fn every_wrong_claim_is_refused() {
    let world = world();
    let header = good_header(&world).to_string();
    let t = now().as_second();
    let user = Uuid::from_u128(7);
    let signed = |claims: &str| forge(&world.key, &header, claims);
    let with = |name: &str, value: Value| signed(&changed(good_claims(), name, value));
    for (name, value, expected) in [
        ("exp", json!(t), Expired),
        ("exp", json!(t - 1), Expired),
        ("exp", json!(0), Expired),
        ("exp", json!(-1), Malformed),
        ("exp", json!(t as f64 + 60.5), Malformed),
        ("exp", json!("9999999999"), Malformed),
        ("exp", json!("2099-01-01T00:00:00Z"), Malformed),
        ("exp", json!(null), Malformed),
        ("exp", json!(true), Malformed),
        ("exp", json!([t + 60]), Malformed),
        ("nbf", json!(t + 31), NotYetValid),
        ("nbf", json!(i64::MAX), NotYetValid),
        ("nbf", json!(-1), Malformed),
        ("nbf", json!("0"), Malformed),
        ("nbf", json!(0.5), Malformed),
        ("nbf", json!(null), Malformed),
        ("iat", json!("0"), Malformed),
        ("iat", json!(0.5), Malformed),
        ("iat", json!(null), Malformed),
        ("iss", json!("https://evil.example"), WrongIssuer),
        ("iss", json!(format!("{ISSUER}/")), WrongIssuer),
        ("iss", json!(format!("{ISSUER}.evil.example")), WrongIssuer),
        ("iss", json!(ISSUER.to_uppercase()), WrongIssuer),
        ("iss", json!(""), WrongIssuer),
        ("iss", json!([ISSUER]), Malformed),
        ("iss", json!(["https://evil.example", ISSUER]), Malformed),
        ("iss", json!({"a": ISSUER}), Malformed),
        ("iss", json!(null), Malformed),
        ("aud", json!("other-api"), WrongAudience),
        ("aud", json!(["a", "b"]), WrongAudience),
        ("aud", json!([]), WrongAudience),
        ("aud", json!(""), WrongAudience),
        ("aud", json!(format!("{AUDIENCE}-2")), WrongAudience),
        ("aud", json!("*"), WrongAudience),
        ("aud", json!(format!("other {AUDIENCE}")), WrongAudience),
        ("aud", json!([AUDIENCE, 1]), Malformed),
        ("aud", json!(null), Malformed),
        ("aud", json!({"a": AUDIENCE}), Malformed),
        ("sub", json!("admin"), Malformed),
        ("sub", json!(7), Malformed),
        ("sub", json!([user]), Malformed),
        ("sub", json!({"$gt": ""}), Malformed),
        ("sub", json!(""), Malformed),
        ("sub", json!(null), Malformed),
        ("sub", json!(format!("{user} ")), Malformed),
        ("role", json!("root"), Malformed),
        ("role", json!("Admin"), Malformed),
        ("role", json!("admin "), Malformed),
        ("role", json!("admin\0"), Malformed),
        ("role", json!(["admin"]), Malformed),
        ("role", json!({"Admin": null}), Malformed),
        ("role", json!(1), Malformed),
        ("role", json!(true), Malformed),
        ("role", json!(null), Malformed),
        ("role", json!(""), Malformed),
    ] {
        refused(&world, name, &with(name, value), expected);
    }
    // As text, because Rust has no such numbers.
    for number in [
        "99999999999.0",
        "1e12",
        "1e999",
        "18446744073709551616",
        "9223372036854775808",
        "NaN",
        "0x7fffffff",
    ] {
        let claims = changed(good_claims(), "exp", json!("HERE")).replace(r#""HERE""#, number);
        refused(&world, number, &signed(&claims), Malformed);
    }
    let good = good_claims().to_string();
    let prefixed = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
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
        let missing = signed(&without(good_claims(), name));
        refused(&world, name, &missing, Malformed);
        let again = json!({name: good_claims()[name]}).to_string();
        let twice = signed(&prefixed(again.trim_matches(['{', '}'])));
        refused(&world, name, &twice, Malformed);
    }
    for claims in [
        prefixed(r#""r\u006fle":"admin""#),
        format!(
            r#"["{ISSUER}","{user}",{},{t},{t},"x","{AUDIENCE}","admin"]"#,
            t + 60
        ),
        "[]".to_owned(),
        r#""admin""#.to_owned(),
        "null".to_owned(),
        String::new(),
        format!("{good}{{}}"),
        good.trim_end_matches('}').to_owned(),
        good.replace('}', ",}"),
        format!("\u{feff}{good}"),
    ] {
        refused(&world, &claims, &signed(&claims), Malformed);
    }
    let mut not_utf_8 = good.into_bytes();
    let at = not_utf_8
        .windows(8)
        .position(|window| window == b"customer");
    not_utf_8[at.unwrap()] = 0xff;
    let message = format!("{}.{}", encode(&header), encode(not_utf_8));
    let signature = encode(sign(&world.key, message.as_bytes()));
    refused(
        &world,
        "not UTF-8",
        &format!("{message}.{signature}"),
        Malformed,
    );

    // Valid edges.
    for (name, value) in [
        ("exp", json!(t + 1)),
        ("exp", json!(i64::MAX)),
        ("nbf", json!(t + 30)),
        ("nbf", json!(0)),
        ("aud", json!(["other-api", AUDIENCE])),
    ] {
        accepted(&world, name, &with(name, value));
    }
}

/// RFC 7515 §5.2 and RFC 4648 §3.5: one token has one spelling.
#[test]
fn every_other_spelling_of_a_token_is_refused() {
    let world = world();
    let header = good_header(&world).to_string();
    // Contains the characters that differ between the alphabets, from `>` and `?`.
    let claims = changed(good_claims(), "x", json!("???>>>~~~"));
    let token = forge(&world.key, &header, &claims);
    accepted(&world, "the token itself", &token);
    let parts: Vec<&str> = token.split('.').collect();
    let [first, second, third] = parts[..] else {
        panic!("{token}")
    };
    let spelt = |signature: &str| format!("{first}.{second}.{signature}");
    // Signed in this spelling, so that nothing else is wrong.
    let signed = |first: &str, second: &str| {
        let message = format!("{first}.{second}");
        let signature = encode(sign(&world.key, message.as_bytes()));
        format!("{message}.{signature}")
    };
    // With blanks until its length needs padding.
    let mut ragged = header.clone();
    while ragged.len() % 3 != 1 {
        ragged.push(' ');
    }
    let standard = STANDARD_NO_PAD.encode(&claims);
    assert!(standard.contains(['+', '/']));
    // The last character of 64 bytes carries two bits; the other four must be zero.
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = ALPHABET.find(third.chars().last().unwrap()).unwrap();
    let idle_bits = |bits: usize| {
        let other = &ALPHABET[value + bits..value + bits + 1];
        spelt(&format!("{}{other}", &third[..85]))
    };
    let flattened = json!({"payload": second, "protected": first, "signature": third});
    let general = json!({"payload": second,
                         "signatures": [{"protected": first, "signature": third}]});
    let jwe = [
        encode(r#"{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}"#),
        String::new(),
        encode([1; 12]),
        encode(&claims),
        encode([2; 16]),
    ];
    let long = changed(good_claims(), "x", json!("x".repeat(4096)));
    for (index, token) in [
        spelt(&URL_SAFE.encode(decode(third))),
        format!("{token}="),
        idle_bits(1),
        idle_bits(15),
        signed(&URL_SAFE.encode(&ragged), second),
        signed(first, &format!("{second}=")),
        signed(first, &standard),
        signed(first, &format!("{}\n{}", &second[..8], &second[8..])),
        signed(first, &format!("{second} ")),
        signed(first, "{}"),
        signed(&header, second),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}\0"),
        token.replacen('e', "\u{435}", 1),
        format!("\"{token}\""),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        first.to_owned(),
        format!("{first}.{second}"),
        format!("{token}.{third}"),
        format!("{token}."),
        format!(".{token}"),
        jwe.join("."),
        format!("{token}.{third}.{third}"),
        format!(".{second}.{third}"),
        signed(first, ""),
        flattened.to_string(),
        general.to_string(),
        format!("{token},{token}"),
        "a".repeat(5_000_000),
        ".".repeat(5_000_000),
        forge(&world.key, &header, &long),
    ]
    .iter()
    .enumerate()
    {
        refused(&world, &format!("spelling {index}"), token, Malformed);
    }
    let empty = format!("{first}..{third}");
    refused(&world, "no claims", &empty, WrongSignature);
}

/// RFC 7518 §3.4, and known mistakes in checks of ECDSA.
#[test]
fn every_signature_but_the_keys_own_is_refused() {
    let world = world();
    let header = good_header(&world).to_string();
    let token = forge(&world.key, &header, &good_claims().to_string());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let mut one = zero;
    one[31] = 1;
    let below = minus(&ORDER, &one);
    // A DER SEQUENCE of two INTEGERs, which JWS does not allow.
    let integer = |bytes: &[u8]| {
        let lead: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        let length = u8::try_from(bytes.len() + lead.len()).unwrap();
        [&[2, length][..], lead, bytes].concat()
    };
    let der = [integer(r), integer(s)].concat();
    let der = [&[0x30, u8::try_from(der.len()).unwrap()][..], &der].concat();
    let other = changed(good_claims(), "role", json!("admin"));
    let other = forge(&world.key, &header, &other);
    let (other_message, other_signature) = other.rsplit_once('.').unwrap();
    let claims = message.split_once('.').unwrap().1;
    let digest = ring::digest::digest(&ring::digest::SHA256, message.as_bytes());
    for (index, bytes) in [
        // CVE-2022-21449, "psychic signatures".
        [zero, zero].concat(),
        [&zero, s].concat(),
        [r, &zero].concat(),
        [one, one].concat(),
        [&ORDER, s].concat(),
        [r, &ORDER].concat(),
        [ORDER, ORDER].concat(),
        [below, below].concat(),
        vec![0xff; 64],
        [s, r].concat(),
        [r, r].concat(),
        vec![],
        vec![0],
        signature[..63].to_vec(),
        r.to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0], r, &[0], s].concat(),
        der,
        decode(other_signature),
        sign(&SigningKey::generate(), message.as_bytes()),
        sign(&world.key, claims.as_bytes()),
        sign(&world.key, digest.as_ref()),
    ]
    .iter()
    .enumerate()
    {
        let token = format!("{message}.{}", encode(bytes));
        refused(
            &world,
            &format!("signature {index}"),
            &token,
            WrongSignature,
        );
    }
    let moved = format!("{other_message}.{}", encode(&signature));
    refused(&world, "another token's signature", &moved, WrongSignature);
}

/// ECDSA has two signatures for each one: (r, s) and (r, n - s). FIPS 186-5 and JWS accept both. No
/// code uses a token's text as an identity, so the second one is harmless.
#[test]
fn a_mirrored_signature_proves_the_same_caller() {
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

/// Invalid curve attacks: the key's point is not on P-256.
#[test]
fn a_key_off_the_curve_verifies_no_signature() {
    let world = world();
    let mut point = public_point(&world.key);
    point[64] ^= 1;
    assert!(!verify_es256(&point, b"m", &sign(&world.key, b"m")));
    for point in [vec![0], vec![], vec![4; 65], vec![2; 33]] {
        assert!(!verify_es256(&point, b"m", &sign(&world.key, b"m")));
    }
}

/// RFC 8725 §3.12: systems with the same keys do not accept each other's tokens.
#[test]
fn a_verifier_of_another_issuer_or_audience_refuses_our_tokens() {
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
fn the_authorization_header_holds_exactly_one_bearer_token() {
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil())
        .token;
    let check = |value: Option<&str>| world.verifier.caller(value, now()).map(|c| c.user_id);
    assert_eq!(check(Some(&format!("Bearer {token}"))), Ok(Uuid::nil()));
    assert_eq!(check(Some(&format!("bearer {token}"))), Ok(Uuid::nil()));
    assert_eq!(check(None), Err(TokenError::Missing));
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
        assert_eq!(check(Some(&value)), Err(expected), "{value:?}");
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
