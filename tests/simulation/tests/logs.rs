//! The log of one confirmed order.

use serde_json::{Value, json};
use simulation::run::on_a_clock_of_its_own;
use simulation::script::{CUSTOMER, Script};

use crate::recorded::Logs;

/// CloudWatch bills by the byte. See `shared_lambda::telemetry::CALLS`.
const MOST_BYTES: usize = 1024;

#[test]
fn a_confirmed_order_leaves_at_most_1_kb_of_log() {
    let (ending, logs) = on_a_clock_of_its_own(async {
        let mut script = Script::new().await;
        // The item and the customer are there before.
        let logs = Logs::start();
        let lines = json!([{"sku": "SKU-0", "quantity": 1}]);
        let body = json!({"lines": lines, "payment_method": "pm_card_visa"});
        script.place(&body).await.unwrap();
        script.settle().await;
        (script.ending().unwrap(), logs)
    });
    assert_eq!(ending, ("confirmed".to_owned(), None));

    let lines = logs.lines();
    let facts = lines.iter().map(|line| match line["route"].as_str() {
        Some(route) => (route, &line["status"], &line["caller"]),
        None => (
            line["type"].as_str().unwrap(),
            &line["outcome"],
            &Value::Null,
        ),
    });
    let (ok, no, caller) = (json!("ok"), Value::Null, json!(CUSTOMER));
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            ("GET /api/v1/users/{id}", &json!(200), &caller),
            ("POST /api/v1/orders", &json!(202), &caller),
            ("ReserveStock", &ok, &no),
            ("StockReserved", &ok, &no),
            ("ChargePayment", &ok, &no),
            ("PaymentCharged", &ok, &no),
        ]
    );
    // The simulated call to users does not carry the trace.
    for line in &lines[1..] {
        assert_eq!(line["trace"], lines[1]["trace"], "{line}");
        assert_eq!(line["order"], lines[1]["order"], "{line}");
    }
    let text = logs.text();
    assert!(text.len() <= MOST_BYTES, "{} bytes:\n{text}", text.len());
}
