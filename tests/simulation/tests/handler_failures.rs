//! The simulation sees failures inside a function, although the queue runner hides them.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::json;
use simulation::handled::{Handled, HandlerResult};
use simulation::participants::Queue;
use simulation::run::{fatal, on_a_clock_of_its_own};
use simulation::script::Script;
use uuid::Uuid;

#[test]
fn a_panic_is_recorded_and_still_reaches_the_runner() {
    on_a_clock_of_its_own(async {
        let script = Script::new().await;
        let about = Handled {
            queue: Queue::of("inventory-commands"),
            id: Uuid::nil(),
            order: Uuid::nil(),
            kind: "ReserveStock".to_owned(),
            result: HandlerResult::Done(Vec::new()),
        };
        let no_answer = |(): &()| HandlerResult::Done(Vec::new());
        let record = &script.system.record;
        let handled = record.keep(about, async { panic!("on purpose") }, no_answer);
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        assert!(handled.is_err(), "the runner sees the panic");
        let violation = format!(
            "ReserveStock of order {} made its function panic: on purpose",
            Uuid::nil()
        );
        assert_eq!(script.system.violations(), [violation]);
        assert_eq!(script.system.violations(), Vec::<String>::new());
    });
}

#[test]
fn an_unreadable_row_is_a_violation() {
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
        let [violation] = &script.violations[..] else {
            panic!("{:?}", script.violations);
        };
        assert!(
            violation.contains("can never be carried out"),
            "{violation}"
        );
    });
}

#[test]
fn an_unanswered_command_is_a_violation() {
    let mut handled = Handled {
        queue: Queue::of("payments-commands"),
        id: Uuid::nil(),
        order: Uuid::nil(),
        kind: "ChargePayment".to_owned(),
        result: HandlerResult::Done(vec!["an answer".to_owned()]),
    };
    assert_eq!(handled.violation(), None);
    handled.result = HandlerResult::Done(Vec::new());
    assert!(handled.violation().is_some());
    handled.queue = Queue::of("orders-replies");
    assert_eq!(handled.violation(), None);
}

#[test]
fn a_panic_of_a_world_is_a_violation() {
    on_a_clock_of_its_own(async {
        assert_eq!(fatal(async {}).await, None);
        let panicked = fatal(async { panic!("on purpose") }).await;
        assert_eq!(panicked.as_deref(), Some("a panic: on purpose"));
    });
}
