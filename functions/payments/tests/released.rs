//! Rows and messages of every release are read; those of this code are recorded.

use payments::domain::{PaymentId, Settlement};
use payments::messages;
use test_support::released::{
    self, assert_messages_are_read, assert_recorded, assert_rows_are_read,
};
use test_support::{Fault, crashable};

use super::*;

/// More than any of the ways below writes.
const WRITES: usize = 8;

/// Crashes each way at each write, so that rows of unfinished steps are recorded too.
async fn written() -> Vec<Value> {
    let mut lines: Vec<Value> = Vec::new();
    for way in [
        vec![charge("pm_card_visa"), refund()],
        vec![charge("pm_card_chargeDeclined"), refund()],
        vec![charge("pm_sim_unavailable"), refund()],
        vec![refund(), charge("pm_card_visa")],
    ] {
        for nth in 0..WRITES {
            let world = World::new().await;
            world.aws.fault_at(nth, Fault::KillAfter);
            for message in &way {
                let envelope = Envelope::parse(&message.to_string()).unwrap();
                let commands = world.commands(world.simulator.clone());
                let handled = crashable(queue::handle(&commands, world.context(), envelope)).await;
                let is_crashed = handled.is_none();
                let mut found: Vec<Value> = Vec::new();
                for row in world.aws.dump(&world.table) {
                    found.push(released::row(&row, &read(&row).await.unwrap()));
                }
                for reply in handled.into_iter().flatten().flatten() {
                    found.push(released::message("orders", reply.body()));
                }
                found.retain(|line| !lines.contains(line));
                lines.extend(found);
                if is_crashed {
                    break;
                }
            }
        }
    }
    for status in [
        "CHARGING",
        "CHARGED",
        "DECLINED",
        "REFUNDING",
        "REFUNDED",
        "VOIDED",
    ] {
        assert!(
            lines.iter().any(|line| line["row"]["status"] == status),
            "{status}"
        );
    }
    lines
}

/// The values of a payment, or the answer of the simulator from a row of its ledger.
async fn read(row: &Value) -> Result<Value, String> {
    let world = World::new().await;
    world.aws.put_raw(&world.table, row.clone());
    let pk = row["pk"].as_str().unwrap_or_default();
    let failed = |error: &dyn std::error::Error| error.to_string();
    if let Some(order) = pk.strip_prefix("ORDER#") {
        let order = OrderId(order.parse().map_err(|_| "its key has no order id")?);
        let found = world
            .store
            .find(order)
            .await
            .map_err(|error| failed(&error))?;
        let found = found.ok_or("it is not found")?;
        let charge = found
            .charge()
            .map(|charge| json!({"key": charge.key.as_str(), "method": charge.method.as_str()}));
        let body = payments::handlers::PaymentBody::from(&found);
        return Ok(json!({"payment": body, "charge": charge, "version": found.version}));
    }
    let answer = match row["sk"].as_str() {
        Some("CHARGE") => world.simulator.charge(&charge_of(method_of(row))).await,
        Some("REFUND") => {
            let made = world.simulator.charge(&charge_of("pm_card_visa")).await;
            let key = ChargeKey::of(ORDER).refund();
            let id = PaymentId(row["payment_id"].as_str().unwrap_or_default().to_owned());
            let again = world.simulator.refund(&key, &id, usd(AMOUNT)).await;
            again.and(made)
        }
        _ => return Err("its key is of no kind".to_owned()),
    };
    let answer = match answer.map_err(|error| failed(&error))? {
        Settlement::Charged(id) => json!({"charged": id.0}),
        Settlement::Declined(decline) => json!({"declined": decline.code}),
        Settlement::Cancelled => json!("cancelled"),
    };
    // Otherwise the ledger did not find its row.
    let is_alone = world.aws.dump(&world.table).len() == 1 || row["sk"] == "REFUND";
    is_alone
        .then_some(answer)
        .ok_or("it is not found".to_owned())
}

fn method_of(row: &Value) -> &str {
    row["asked"]["method"].as_str().unwrap_or("pm_card_visa")
}

#[tokio::test(start_paused = true)]
async fn what_payments_writes_is_recorded() {
    assert_recorded("payments", &written().await);
}

#[tokio::test(start_paused = true)]
async fn rows_of_each_release_are_read() {
    assert_rows_are_read("payments", read).await;
}

#[tokio::test]
async fn commands_of_each_release_are_read() {
    assert_messages_are_read("payments", async |body| {
        let envelope = Envelope::parse(body).map_err(|failure| failure.detail().to_owned())?;
        let read = messages::command(&envelope).map_err(|failure| failure.detail().to_owned());
        read.map(|_| ())
    })
    .await;
}
