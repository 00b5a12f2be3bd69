//! Accounts: registration, login and the public keys. Permissions are in the matrix.

use serde_json::json;

use crate::world::{Customer, login, world};

#[test]
fn registration_gives_no_role_and_no_second_account() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let me = customer.get("/api/v1/users/me").expect(200, "me").unwrap();
    assert_eq!(me["role"], "customer");
    assert_eq!(me["email"], customer.email.as_str());
    assert!(
        me.get("password").is_none() && me.get("password_hash").is_none(),
        "{me}"
    );

    let taken = json!({"email": customer.email.to_uppercase(), "password": "another pass phrase",
                       "name": "Some Body Else"});
    let answer = world.http.post("/api/v1/users", None, &taken).unwrap();
    assert_eq!(answer.status, 409, "{}", answer.body);
    // The account still has its own password.
    login(&world.http, &customer.email, &customer.password);

    let mut climbing = json!({"email": "climber@customers.example",
                              "password": "a long enough pass phrase", "name": "Climber"});
    climbing["role"] = json!("admin");
    let answer = world.http.post("/api/v1/users", None, &climbing).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(
        answer.body.contains("/role") || answer.body.contains("`role`"),
        "{}",
        answer.body
    );
}

#[test]
fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let answer = |email: &str| {
        let body = json!({"email": email, "password": "not the pass phrase"});
        let answer = world.http.post("/api/v1/auth/login", None, &body).unwrap();
        let mut problem = answer.value();
        problem["instance"] = json!(null);
        (answer.status, problem)
    };
    let wrong = answer(&customer.email);
    assert_eq!(wrong.0, 401);
    assert_eq!(wrong, answer("unknown@customers.example"));
}

#[test]
fn the_public_keys_are_public() {
    let world = world();
    let _shared = world.shared();
    let answer = world.http.get("/.well-known/jwks.json", None).unwrap();
    let keys = answer.expect(200, "the key set").unwrap();
    let key = &keys["keys"][0];
    assert_eq!(
        (key["kty"].as_str(), key["alg"].as_str()),
        (Some("EC"), Some("ES256"))
    );
    assert!(key.get("d").is_none(), "a private key is public");
}
