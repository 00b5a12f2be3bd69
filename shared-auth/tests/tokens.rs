//! Tokens and key sets that a verifier accepts or refuses.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use shared_auth::{
    ConfigError, Issuer, KeyError, KeySet, Role, SigningKey, TokenError, Verifier, jwks,
};
use uuid::Uuid;

use crate::world::{AUDIENCE, ISSUER, encode, forge, good_claims, good_header, now, part, world};

#[test]
fn an_issued_token_names_its_user_and_role_until_it_expires() {
    let world = world();
    let user = Uuid::from_u128(42);
    for (role, lifetime) in [(Role::Customer, 900), (Role::Admin, 120)] {
        let token = world.issuer.issue(user, role, now(), Uuid::from_u128(1));
        assert_eq!(token.expires_in, lifetime, "{role:?}");

        let caller = world.verifier.verify(&token.token, now()).unwrap();
        assert_eq!((caller.user_id, caller.role), (user, role));

        let last = now() + SignedDuration::from_secs(lifetime - 1);
        assert!(world.verifier.verify(&token.token, last).is_ok());
        let end = now() + SignedDuration::from_secs(lifetime);
        let late = world.verifier.verify(&token.token, end);
        assert_eq!(late, Err(TokenError::Expired), "{role:?}");
    }
}

#[test]
fn an_issued_token_has_the_form_of_rfc_9068() {
    let world = world();
    let token = world.issuer.issue(
        Uuid::from_u128(42),
        Role::Customer,
        now(),
        Uuid::from_u128(1),
    );
    assert_eq!(part(&token.token, 0), good_header(&world));
    let t = now().as_second();
    assert_eq!(
        part(&token.token, 1),
        json!({"iss": ISSUER, "sub": Uuid::from_u128(42), "aud": AUDIENCE, "exp": t + 900,
               "nbf": t, "iat": t, "jti": Uuid::from_u128(1), "client_id": AUDIENCE,
               "role": "customer"})
    );
}

#[test]
fn a_token_with_any_changed_byte_is_refused() {
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil())
        .token;
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(
            world.verifier.verify(&changed, now()).is_err(),
            "byte {index}"
        );
    }
}

#[test]
fn a_valid_token_may_have_4096_bytes() {
    let world = world();
    let header = good_header(&world).to_string();
    let of_length = |length: usize| {
        let claims = |filling: usize| {
            let mut claims = good_claims();
            claims["filling"] = json!("x".repeat(filling));
            claims.to_string()
        };
        let fits = |filling: &usize| {
            let parts = [encode(&header), encode(claims(*filling)), encode([0; 64])];
            parts.join(".").len() == length
        };
        let filling = (0..length).find(fits).unwrap();
        forge(&world.key, &header, &claims(filling))
    };
    assert!(world.verifier.verify(&of_length(4096), now()).is_ok());
    assert_eq!(
        world.verifier.verify(&of_length(4098), now()),
        Err(TokenError::Malformed)
    );
}

#[test]
fn es256_refuses_another_algorithms_name() {
    let world = world();
    let kind = |error: jsonwebtoken::errors::Error| error.into_kind();
    let key = EncodingKey::from_ec_der(&STANDARD.decode(world.key.to_pkcs8_base64()).unwrap());
    let signed = jsonwebtoken::encode(&Header::new(Algorithm::ES384), &good_claims(), &key);
    assert_eq!(signed.map_err(kind), Err(ErrorKind::UnsupportedAlgorithm));

    // The right key, with the wrong name in the header and in the verification.
    let token = forge(&world.key, r#"{"alg":"ES384"}"#, &good_claims().to_string());
    let jwk = world.key.public_jwk();
    let coordinate = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let key = DecodingKey::from_ec_components(&coordinate("x"), &coordinate("y")).unwrap();
    let mut validation = Validation::new(Algorithm::ES384);
    validation.validate_exp = false;
    validation.validate_aud = false;
    let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).map(|_| ());
    assert_eq!(read.map_err(kind), Err(ErrorKind::UnsupportedAlgorithm));
}

#[test]
fn a_verifier_names_the_missing_one_of_its_three_variables() {
    // Setting variables is unsafe with threads, so a second process runs this same test with them.
    const INSIDE: &str = "SHARED_AUTH_TESTS_INSIDE";
    const NAME: &str = "tokens::a_verifier_names_the_missing_one_of_its_three_variables";
    if std::env::var_os(INSIDE).is_some() {
        let token = std::env::var("TOKEN").unwrap();
        match Verifier::from_env() {
            Ok(verifier) => println!("<{:?}>", verifier.verify(&token, now()).map(|_| ())),
            Err(error) => println!("<{error:?}>"),
        }
        return;
    }
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil())
        .token;
    let keys = jwks(&[world.key.public_jwk()]);
    let given = [
        ("AUTH_JWKS", keys.as_str()),
        ("AUTH_ISSUER", ISSUER),
        ("AUTH_AUDIENCE", AUDIENCE),
    ];
    let with = |name: &str, value: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .envs(given)
            .env(name, value)
            .env(INSIDE, "yes")
            .env("TOKEN", &token)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, rest) = text.split_once('<').unwrap();
        rest.rsplit_once('>').unwrap().0.to_owned()
    };
    assert_eq!(with("AUTH_ISSUER", ISSUER), "Ok(())");
    assert_eq!(with("AUTH_ISSUER", "https://x"), "Err(WrongIssuer)");
    assert_eq!(with("AUTH_AUDIENCE", "x"), "Err(WrongAudience)");
    let other = jwks(&[SigningKey::generate().public_jwk()]);
    assert_eq!(with("AUTH_JWKS", &other), "Err(UnknownKey)");
    for (name, _) in given {
        assert_eq!(
            with(name, ""),
            format!("the environment variable {name} is missing or empty; set it and start again")
        );
    }
}

#[test]
fn a_verifier_explains_what_is_wrong_with_its_keys() {
    let printed = |keys: &str| match Verifier::new(keys, ISSUER, AUDIENCE) {
        Ok(_) => panic!("{keys} is a key set"),
        Err(error @ ConfigError::Keys(_)) => format!("{error:?}"),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(
        printed(r#"{"keys":[]}"#),
        "AUTH_JWKS cannot be used: the key set is empty"
    );
    assert!(printed("").starts_with("AUTH_JWKS cannot be used: the key set is not a JSON Web"));
}

#[test]
fn the_role_admin_makes_an_administrator() {
    let world = world();
    for (role, expected) in [(Role::Customer, false), (Role::Admin, true)] {
        let token = world
            .issuer
            .issue(Uuid::nil(), role, now(), Uuid::nil())
            .token;
        let caller = world.verifier.verify(&token, now()).unwrap();
        assert_eq!(caller.is_admin(), expected);
    }
}

#[test]
fn both_keys_are_trusted_during_a_rotation() {
    let (old, new) = (SigningKey::generate(), SigningKey::generate());
    let set = jwks(&[old.public_jwk(), new.public_jwk()]);
    let verifier = Verifier::new(&set, ISSUER, AUDIENCE).unwrap();
    for key in [&old, &new] {
        let token = Issuer::new(key, ISSUER, AUDIENCE)
            .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil())
            .token;
        assert!(verifier.verify(&token, now()).is_ok());
    }
}

#[test]
fn a_key_set_with_one_unsuitable_key_is_refused() {
    let good = SigningKey::generate().public_jwk();
    let with = |name: &str, value: &str| {
        let mut key = good.clone();
        key[name] = json!(value);
        jwks(&[good.clone(), key])
    };
    assert!(KeySet::parse(&jwks(std::slice::from_ref(&good))).is_ok());
    assert!(matches!(KeySet::parse("{}"), Err(KeyError::NotAKeySet(_))));
    assert!(matches!(
        KeySet::parse(r#"{"keys":[]}"#),
        Err(KeyError::Empty)
    ));
    for (name, value) in [
        ("kty", "RSA"),
        ("crv", "P-384"),
        ("alg", "HS256"),
        ("use", "enc"),
        ("x", "AA"),
    ] {
        assert!(
            matches!(
                KeySet::parse(&with(name, value)),
                Err(KeyError::Unsuitable(1))
            ),
            "{name}"
        );
    }
    assert!(matches!(
        KeySet::parse(&with("kid", "my-key")),
        Err(KeyError::WrongThumbprint(1))
    ));
}

#[test]
fn a_stored_signing_key_is_read_back() {
    let key = SigningKey::generate();
    let kept = SigningKey::from_pkcs8_base64(&key.to_pkcs8_base64()).unwrap();
    assert_eq!(kept.kid(), key.kid());
    assert!(SigningKey::from_pkcs8_base64("bm90IGEga2V5").is_err());
}

#[test]
fn debug_output_hides_secrets() {
    let world = world();
    let token = world
        .issuer
        .issue(Uuid::nil(), Role::Customer, now(), Uuid::nil());
    let caller = world.verifier.verify(&token.token, now()).unwrap();
    let nil = Uuid::nil();
    assert_eq!(
        format!("{caller:?}"),
        format!("Caller {{ user_id: {nil}, role: Customer, .. }}")
    );
    assert_eq!(format!("{token:?}"), "AccessToken { expires_in: 900, .. }");
    assert_eq!(
        format!("{:?}", world.key),
        format!("SigningKey {{ kid: {:?}, .. }}", world.key.kid())
    );
}
