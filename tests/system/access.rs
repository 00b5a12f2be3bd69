//! Who may do what.

use serde_json::json;
use uuid::Uuid;

use crate::world::{Customer, login, world};

#[test]
fn nothing_that_needs_a_token_is_done_without_one() {
    let world = world();
    let _shared = world.shared();
    let id = Uuid::new_v4();
    let routes = [
        ("GET", "/api/v1/users/me".to_owned()),
        ("GET", format!("/api/v1/users/{id}")),
        ("POST", "/api/v1/items".to_owned()),
        ("PATCH", "/api/v1/items/tea".to_owned()),
        ("POST", "/api/v1/items/tea/adjustments".to_owned()),
        ("GET", format!("/api/v1/payments/{id}")),
        ("POST", "/api/v1/orders".to_owned()),
        ("GET", "/api/v1/orders".to_owned()),
        ("GET", format!("/api/v1/orders/{id}")),
        ("POST", format!("/api/v1/orders/{id}/cancel")),
        ("GET", format!("/api/v1/orders/{id}/timeline")),
    ];
    for (method, path) in routes {
        for token in [None, Some("not-a-token"), Some("eyJhbGciOiJub25lIn0.e30.")] {
            let body = (method != "GET").then_some(b"{}".as_slice());
            let answer = world.http.send(method, &path, token, &[], body).unwrap();
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
            assert!(
                answer.header("www-authenticate").is_some(),
                "{method} {path}"
            );
            assert_eq!(answer.value()["type"], "urn:waybill:problem:unauthorized");
        }
    }
}

#[test]
fn another_customers_order_is_not_found() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let (owner, stranger) = (Customer::new(), Customer::new());
    let id = owner.place(&sku, 1, "pm_card_visa");
    owner.ends(&id, "CONFIRMED");
    for path in [
        format!("/api/v1/orders/{id}"),
        format!("/api/v1/orders/{id}/timeline"),
        format!("/api/v1/payments/{id}"),
        format!("/api/v1/users/{}", owner.id),
    ] {
        let answer = stranger.get(&path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        let seen = world.http.get(&path, Some(&world.admin())).unwrap();
        assert_eq!(seen.status, 200, "{path}: {}", seen.body);
    }
    assert_eq!(stranger.cancel(&id).status, 404);
    assert_eq!(owner.order(&id)["status"], "CONFIRMED");
}

#[test]
fn the_catalogue_is_changed_by_administrators_alone() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let item = json!({"sku": "mine", "name": "Mine", "stock": 1,
                      "price": {"amount": 1, "currency": "USD"}});
    let tries = [
        ("POST", "/api/v1/items".to_owned(), item),
        (
            "PATCH",
            format!("/api/v1/items/{sku}"),
            json!({"name": "Mine"}),
        ),
        (
            "POST",
            format!("/api/v1/items/{sku}/adjustments"),
            json!({"delta": -5, "reason": "mine"}),
        ),
    ];
    for (method, path, body) in tries {
        let answer = world
            .http
            .json(method, &path, Some(&customer.token), &[], &body)
            .unwrap();
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.body);
    }
    assert_eq!(world.stock(&sku), (5, 5, 0));
}

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
    assert_eq!(wrong, answer("nobody@customers.example"));
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
