//! Rows of every schema that is read, and their migrations under traffic.

use orders::domain::Order;
use serde_json::{Value, json};

use crate::samples::{STATES, order_in};
use crate::world::World;

/// A row as a release of schema 1 wrote it: its timeline has maps.
fn in_schema_1(mut row: Value, order: &Order) -> Value {
    let entries = order.timeline.iter().map(|entry| {
        let mut map = json!({"at": entry.at, "what": entry.event.as_str()});
        if let Some(attempt) = entry.attempt {
            map["attempt"] = json!(attempt);
        }
        if let Some(detail) = &entry.detail {
            map["detail"] = json!(detail);
        }
        map
    });
    row["timeline"] = entries.collect();
    row["schema"] = json!(1);
    row
}

/// A row as a release of schema 2 writes it: its timeline has texts.
fn in_schema_2(mut row: Value, order: &Order) -> Value {
    let entries = order.timeline.iter().map(|entry| {
        let millis = entry.at.duration_since(order.created_at).as_millis();
        let attempt = entry.attempt.map(|attempt| format!("#{attempt}"));
        let detail = entry.detail.as_ref().map(|detail| format!(": {detail}"));
        let [attempt, detail] = [attempt, detail].map(Option::unwrap_or_default);
        json!(format!(
            "{millis} {}{attempt}{detail}",
            entry.event.as_str()
        ))
    });
    row["timeline"] = entries.collect();
    row["schema"] = json!(2);
    row
}

#[tokio::test]
async fn rows_of_both_schemas_are_read() {
    for state in STATES {
        let mut order = order_in(state);
        // Another computer's clock may be behind, and a detail may look like the end of an entry.
        order.timeline[1].at = order.created_at - jiff::SignedDuration::from_millis(3);
        order.timeline[0].detail = Some("#7: a detail".to_owned());
        order.timeline[2].detail = Some(String::new());
        let world = World::with(&order).await;
        let row = world.aws.dump(&world.table).remove(0);
        for row in [in_schema_1(row.clone(), &order), in_schema_2(row, &order)] {
            world.aws.put_raw(&world.table, row);
            assert_eq!(world.order(order.id).await, order);
        }
    }
}
