//! What goes wrong inside a function is seen although its runner makes up for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::json;
use simulation::handled::{Handled, How};
use simulation::participants::Queue;
use simulation::run::{fatal, on_a_clock_of_its_own};
use simulation::script::Script;
use uuid::Uuid;

#[test]
fn a_handler_that_panics_is_complained_of_and_still_panics() {
    on_a_clock_of_its_own(async {
        let script = Script::new().await;
        let about = Handled {
            queue: Queue::of("inventory-commands"),
            id: Uuid::nil(),
            order: Uuid::nil(),
            kind: "ReserveStock".to_owned(),
            how: How::Done(Vec::new()),
        };
        let handled = script.system.noting(about, async { panic!("on purpose") });
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        assert!(handled.is_err(), "the runner hears of it");
        let complaint = format!(
            "ReserveStock of order {} made its function panic: on purpose",
            Uuid::nil()
        );
        assert_eq!(script.system.complaints(), [complaint]);
        assert_eq!(script.system.complaints(), Vec::<String>::new());
    });
}

#[test]
fn a_row_that_cannot_be_read_is_complained_of() {
    on_a_clock_of_its_own(async {
        let mut script = Script::new().await;
        let lines = json!([{"sku": "SKU-0", "quantity": 1}]);
        let body = json!({"lines": lines, "payment_method": "pm_card_visa"});
        let placed = script.place(&body).await.unwrap();
        let order: serde_json::Value = serde_json::from_str(&placed.body.unwrap()).unwrap();
        let pk = format!("ORDER#{}", order["id"].as_str().unwrap());
        let table = script.system.tables.inventory.clone();
        let row = json!({"pk": pk, "sk": "RESERVATION", "status": "NEITHER"});
        script.system.aws.put_raw(&table, row);
        assert!(script.deliver().await);
        let [complaint] = &script.violations[..] else {
            panic!("{:?}", script.violations);
        };
        assert!(
            complaint.contains("can never be carried out"),
            "{complaint}"
        );
    });
}

#[test]
fn a_command_that_is_not_answered_is_complained_of() {
    let mut handled = Handled {
        queue: Queue::of("payments-commands"),
        id: Uuid::nil(),
        order: Uuid::nil(),
        kind: "ChargePayment".to_owned(),
        how: How::Done(vec!["an answer".to_owned()]),
    };
    assert_eq!(handled.complaint(), None);
    handled.how = How::Done(Vec::new());
    assert!(handled.complaint().is_some());
    handled.queue = Queue::of("orders-replies");
    assert_eq!(handled.complaint(), None);
}

#[test]
fn a_panic_of_a_world_is_a_violation_like_others() {
    on_a_clock_of_its_own(async {
        assert_eq!(fatal(async {}).await, None);
        let panicked = fatal(async { panic!("on purpose") }).await;
        assert_eq!(panicked.as_deref(), Some("a panic: on purpose"));
    });
}
