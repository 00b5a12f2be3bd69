//! One order at a time, from placing to its end and back.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Customer, confirmed_journey, eventually, order_body, world};

#[test]
fn a_confirmed_order_accounts_for_its_money_and_stock() {
    let world = world();
    let _shared = world.shared();
    let (tea, cup) = (world.item(10, 1_250), world.item(4, 900));
    let customer = Customer::new();
    let body = json!({
        "lines": [{"sku": tea, "quantity": 2}, {"sku": cup, "quantity": 1}],
        "payment_method": "pm_card_visa",
        "expected_total": {"amount": 3_400, "currency": "USD"},
    });
    let placed = customer
        .try_place(None, &body)
        .expect(202, "placing")
        .unwrap();
    assert_eq!(placed["status"], "PENDING");
    let id = placed["id"].as_str().unwrap();

    let order = customer.ends(id, "CONFIRMED");
    assert_eq!(
        order,
        json!({
            "id": id,
            "user_id": customer.id,
            "status": "CONFIRMED",
            "lines": [
                {"sku": tea, "name": "Under test", "quantity": 2,
                 "unit_price": {"amount": 1_250, "currency": "USD"}},
                {"sku": cup, "name": "Under test", "quantity": 1,
                 "unit_price": {"amount": 900, "currency": "USD"}},
            ],
            "total": {"amount": 3_400, "currency": "USD"},
            "expected_total": {"amount": 3_400, "currency": "USD"},
            "created_at": order["created_at"],
            "updated_at": order["updated_at"],
        })
    );
    assert_eq!(customer.journey(id), confirmed_journey());
    assert_eq!(world.stock(&tea), (10, 8, 2));
    assert_eq!(world.stock(&cup), (4, 3, 1));
    assert_eq!(world.net_charge(id), 3_400);
    let payment = customer
        .get(&format!("/api/v1/payments/{id}"))
        .expect(200, "reading one's own payment")
        .unwrap();
    assert_eq!(payment["status"], "CHARGED");
    assert_eq!(
        payment["amount"],
        json!({"amount": 3_400, "currency": "USD"})
    );
}

#[test]
fn an_order_for_more_than_there_is_is_rejected_whole() {
    let world = world();
    let _shared = world.shared();
    let (plenty, scarce) = (world.item(10, 500), world.item(1, 500));
    let customer = Customer::new();
    let body = json!({
        "lines": [{"sku": plenty, "quantity": 3}, {"sku": scarce, "quantity": 2}],
        "payment_method": "pm_card_visa",
    });
    let placed = customer
        .try_place(None, &body)
        .expect(202, "placing")
        .unwrap();
    let id = placed["id"].as_str().unwrap();
    let order = customer.ends(id, "REJECTED");
    assert_eq!(order["failure"]["code"], "out_of_stock");
    assert_eq!(world.stock(&plenty), (10, 10, 0));
    assert_eq!(world.stock(&scarce), (1, 1, 0));
    assert_eq!(world.payment(id).status, 404);
}

#[test]
fn an_order_for_an_unknown_item_is_rejected() {
    let world = world();
    let _shared = world.shared();
    let customer = Customer::new();
    let id = customer.place("no-such-sku", 1, "pm_card_visa");
    let order = customer.ends(&id, "REJECTED");
    assert_eq!(order["failure"]["code"], "unknown_item");
    assert_eq!(world.payment(&id).status, 404);
}

#[test]
fn an_unexpected_total_rejects_the_order_and_frees_the_stock() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let raised = world
        .http
        .patch(
            &format!("/api/v1/items/{sku}"),
            Some(&world.admin()),
            &json!({"price": {"amount": 800, "currency": "USD"}}),
        )
        .unwrap();
    assert_eq!(raised.status, 200, "{}", raised.body);
    let customer = Customer::new();
    let mut body = order_body(&sku, 1, "pm_card_visa");
    body["expected_total"] = json!({"amount": 700, "currency": "USD"});
    let placed = customer
        .try_place(None, &body)
        .expect(202, "placing")
        .unwrap();
    let id = placed["id"].as_str().unwrap();
    let order = customer.ends(id, "REJECTED");
    assert_eq!(
        order["failure"],
        json!({"code": "price_changed", "detail": "the total is 8.00 USD, not the expected 7.00 USD"})
    );
    assert_eq!(world.stock(&sku), (5, 5, 0));
    assert_eq!(world.payment(id).status, 404);
}

#[test]
fn a_declined_payment_gives_the_stock_back() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let id = customer.place(&sku, 2, "pm_card_chargeDeclined");
    let order = customer.ends(&id, "REJECTED");
    assert_eq!(order["failure"]["code"], "payment_declined");
    let journey = customer.journey(&id);
    let end = [
        "charge_payment_requested",
        "payment_declined",
        "release_stock_requested",
        "stock_released",
        "order_rejected",
    ];
    assert!(journey.ends_with(&end.map(str::to_owned)), "{journey:?}");
    assert_eq!(world.stock(&sku), (5, 5, 0));
    assert_eq!(world.net_charge(&id), 0);
    let late = customer.cancel(&id);
    assert_eq!(late.status, 409, "{}", late.body);
    assert_eq!(late.value()["type"], "/problems/too-late");
}

#[test]
fn a_lost_answer_and_a_slow_one_still_charge_once() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let lost = customer.place(&sku, 1, "pm_sim_lostReply");
    let slow = customer.place(&sku, 1, "pm_sim_slow");
    for id in [&lost, &slow] {
        customer.ends(id, "CONFIRMED");
        assert_eq!(world.net_charge(id), 700);
    }
    assert_eq!(world.stock(&sku), (5, 3, 2));
}

#[test]
fn a_confirmed_order_can_be_cancelled_and_everything_goes_back() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let id = customer.place(&sku, 2, "pm_card_visa");
    customer.ends(&id, "CONFIRMED");
    assert_eq!(world.stock(&sku), (5, 3, 2));

    let answer = customer.cancel(&id);
    assert_eq!(answer.status, 202, "{}", answer.body);
    let again = customer.cancel(&id);
    assert!(matches!(again.status, 200 | 202), "{}", again.body);
    let order = customer.is_cancelled(&id);
    assert!(order["failure"].is_null(), "{order}");
    let cancelled = [
        "cancel_requested",
        "refund_payment_requested",
        "payment_refunded",
        "release_stock_requested",
        "stock_released",
        "order_cancelled",
    ];
    assert_eq!(
        customer.journey(&id),
        [confirmed_journey(), cancelled.to_vec()].concat()
    );
    assert_eq!(world.stock(&sku), (5, 5, 0));
    assert_eq!(world.net_charge(&id), 0);
    assert_eq!(world.payment(&id).value()["status"], "REFUNDED");
}

#[test]
fn the_same_key_is_the_same_order_and_another_body_is_refused() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(50, 700);
    let customer = Customer::new();
    let key = Uuid::new_v4().to_string();
    let body = order_body(&sku, 1, "pm_card_visa");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| customer.try_place(Some(&key), &body)))
            .collect();
        tries
            .into_iter()
            .map(|attempt| {
                let answer = attempt.join().unwrap();
                assert!(matches!(answer.status, 200 | 202), "{}", answer.body);
                answer.value()["id"].as_str().unwrap().to_owned()
            })
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    customer.ends(&ids[0], "CONFIRMED");

    let again = customer.try_place(Some(&key), &body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = again.expect(200, "placing again").unwrap();
    assert_eq!(again["id"], ids[0].as_str());
    let other = customer.try_place(Some(&key), &order_body(&sku, 2, "pm_card_visa"));
    assert_eq!(other.status, 422, "{}", other.body);
    assert_eq!(other.value()["type"], "/problems/idempotency-key-reused");

    // A key is its user's own.
    let another = Customer::new();
    let theirs = another
        .try_place(Some(&key), &body)
        .expect(202, "placing")
        .unwrap();
    assert_ne!(theirs["id"], ids[0].as_str());
    another.ends(theirs["id"].as_str().unwrap(), "CONFIRMED");
    assert_eq!(world.stock(&sku), (50, 48, 2));
}

#[test]
fn a_customer_lists_their_own_orders_newest_first() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(10, 700);
    let customer = Customer::new();
    let ids: Vec<String> = (0..3)
        .map(|_| customer.place(&sku, 1, "pm_card_visa"))
        .collect();
    let rejected = customer.place("no-such-sku", 1, "pm_card_visa");
    for id in &ids {
        customer.ends(id, "CONFIRMED");
    }
    customer.ends(&rejected, "REJECTED");

    let listed = |query: &str| {
        let page = customer
            .get(&format!("/api/v1/orders?{query}"))
            .expect(200, "listing")
            .unwrap();
        let ids: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|order| order["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = listed("limit=3");
    assert_eq!(first, [rejected.clone(), ids[2].clone(), ids[1].clone()]);
    let (second, end) = listed(&format!("limit=3&cursor={}", cursor.unwrap()));
    assert_eq!(
        (second.as_slice(), end),
        (std::slice::from_ref(&ids[0]), None)
    );
    assert_eq!(listed("status=REJECTED").0, std::slice::from_ref(&rejected));

    let path = format!("/api/v1/orders?user_id={}", customer.id);
    let seen = world.http.get(&path, Some(&world.admin())).unwrap();
    let seen = seen.expect(200, "listing as an administrator").unwrap();
    assert_eq!(seen["items"].as_array().unwrap().len(), 4);
    assert_eq!(Customer::new().get(&path).status, 403);
}

/// A client that waits, asks only for changes, and overwrites no change of another.
#[test]
fn a_client_waits_instead_of_polling() {
    let world = world();
    let _shared = world.shared();
    let sku = world.item(5, 700);
    let customer = Customer::new();
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>| {
        let token = Some(customer.token.as_str());
        let sent = match body {
            Some(body) => world.http.json(method, path, token, headers, body),
            None => world.http.send(method, path, token, headers, None),
        };
        sent.unwrap()
    };
    let wait = ("prefer", "wait=10");
    let order = order_body(&sku, 1, "pm_card_visa");
    let placed = send("POST", "/api/v1/orders", &[wait], Some(&order));
    assert_eq!(placed.header("preference-applied"), Some("wait=10"));
    let path = placed.header("location").unwrap();
    // A slow machine may need more than one wait.
    let ends = |status: &str| {
        eventually(&format!("the order is {status}"), || {
            let read = send("GET", path, &[wait], None);
            let has_ended = read.header("retry-after").is_none();
            (has_ended && read.value()["status"] == status).then_some(read)
        })
    };
    let confirmed = ends("CONFIRMED");
    let tag = confirmed.header("etag").unwrap();
    let again = send("GET", path, &[("if-none-match", tag)], None);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let key = ("idempotency-key", "cancel");
    let cancel = format!("{path}/cancel");
    let cancelled = send("POST", &cancel, &[wait, key], None);
    assert!(matches!(cancelled.status, 200 | 202), "{}", cancelled.body);
    assert_eq!(cancelled.header("idempotent-replayed"), None);
    ends("CANCELLED");
    let repeat = send("POST", &cancel, &[key], None);
    let told = (repeat.status, repeat.header("idempotent-replayed"));
    assert_eq!(told, (200, Some("true")));
    let changed = send("GET", path, &[("if-none-match", tag)], None);
    assert_eq!(changed.status, 200);

    let profile = "/api/v1/users/me";
    let read = send("GET", profile, &[], None);
    let seen = ("if-match", read.header("etag").unwrap());
    for (name, status) in [("Augusta", 200), ("Byron", 412)] {
        let renamed = send("PATCH", profile, &[seen], Some(&json!({"name": name})));
        assert_eq!(renamed.status, status, "{}", renamed.body);
    }
    assert_eq!(customer.get(profile).value()["name"], "Augusta");
}

#[test]
fn registrations_and_new_items_are_repeated_safely() {
    let world = world();
    let _shared = world.shared();
    let key = Uuid::new_v4().to_string();
    let headers = [("idempotency-key", key.as_str())];
    let email = format!("{}@customers.example", Uuid::new_v4().simple());
    let user = json!({"email": email, "password": "plum tractor voyage", "name": "Ada"});
    let item = json!({"sku": format!("ONCE-{key}"), "name": "Made once", "stock": 3,
                      "price": {"amount": 700, "currency": "USD"}});
    let admin = world.admin();
    for (path, token, body, field) in [
        ("/api/v1/users", None, &user, "name"),
        ("/api/v1/items", Some(admin.as_str()), &item, "name"),
    ] {
        let send = |body| {
            world
                .http
                .json("POST", path, token, &headers, body)
                .unwrap()
        };
        let first = send(body);
        assert_eq!(
            (first.status, first.header("idempotent-replayed")),
            (201, None)
        );
        let again = send(body);
        let told = (again.status, again.header("idempotent-replayed"));
        assert_eq!((told, again.value()), ((201, Some("true")), first.value()));
        let mut other = body.clone();
        other[field] = json!("Another");
        assert_eq!(send(&other).status, 422, "{path}");
    }
}
