//! The tests of this service, each with its own world.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod commands;
mod contracts;
mod domain;
mod handlers;
mod released;
mod simulator;
mod store;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use payments::domain::{Charge, ChargeKey, Money, OrderId, PaymentMethod, UserId};
use payments::handlers::commands::{self as queue, Commands};
use payments::provider::{Provider, Simulator};
use payments::store::PaymentStore;
use serde_json::{Value, json};
use shared_lambda::envelope::Envelope;
use shared_lambda::sqs::Failure;
use shared_lambda::{Context, Origin, Setup, Stage};
use test_support::Aws;
use uuid::Uuid;

const REPLIES: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-orders-replies";
const NOON: &str = "2026-11-23T12:00:00Z";

const ORDER: OrderId = OrderId(Uuid::from_u128(0x01890a5d_ac96_774b_bcce_b302099a8057));
const OWNER: UserId = UserId(Uuid::from_u128(0x018f4e5a_7c3b_7d2e_9f10_3a5b6c7d8e9f));
const STRANGER: UserId = UserId(Uuid::from_u128(0x018f4e5a_7c3b_7d2e_9f10_000000000000));
const AMOUNT: i64 = 4990;

/// The service with its own stand-in for AWS.
struct World {
    aws: Aws,
    table: String,
    setup: Setup,
    store: PaymentStore,
    simulator: Simulator,
    milliseconds: Arc<AtomicI64>,
    origin: Origin,
}

impl World {
    async fn new() -> Self {
        let aws = Aws::new();
        let table = aws.create_table("payments", "PaymentsTable").await;
        let milliseconds = Arc::new(AtomicI64::new(noon().as_millisecond()));
        let clock = Arc::clone(&milliseconds);
        let origin = Origin::new(
            move || Timestamp::from_millisecond(clock.load(Ordering::Relaxed)).unwrap(),
            || Uuid::from_u128(7),
        );
        let variables = [
            ("PAYMENTS_TABLE", table.as_str()),
            ("ORDERS_REPLIES_QUEUE_URL", REPLIES),
            ("PAYMENT_PROVIDER", "simulator"),
            ("SIMULATOR_IN_PRODUCTION", "false"),
            ("STAGE", "dev"),
        ];
        let setup =
            Setup::for_tests(aws.clone(), &variables).with_clients(aws.dynamodb(), aws.sqs());
        let wired = queue::wire(&setup).unwrap();
        Self {
            store: wired.store,
            simulator: wired.provider,
            setup,
            aws,
            table,
            milliseconds,
            origin,
        }
    }

    fn context(&self) -> Context {
        self.origin.context(None)
    }

    fn pass(&self, milliseconds: i64) {
        self.milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn commands<P>(&self, provider: P) -> Commands<P> {
        let wired = queue::wire(&self.setup).unwrap();
        Commands {
            store: wired.store,
            provider,
            replies_queue_url: wired.replies_queue_url,
        }
    }

    /// Delivers a message. Returns the reply's type and data.
    async fn deliver(&self, message: &Value) -> Result<Answer, Failure> {
        self.deliver_with(self.simulator.clone(), message).await
    }

    async fn deliver_with(
        &self,
        provider: impl Provider,
        message: &Value,
    ) -> Result<Answer, Failure> {
        let envelope = Envelope::parse(&message.to_string())?;
        let commands = self.commands(provider);
        let outgoing = queue::handle(&commands, self.context(), envelope).await?;
        let [reply] = outgoing.as_slice() else {
            panic!("a command has one reply, not {outgoing:?}");
        };
        assert_eq!(reply.queue_url(), REPLIES);
        let body: Value = serde_json::from_str(reply.body()).unwrap();
        assert_eq!(body["order_id"], message["order_id"]);
        let kind = body["type"].as_str().unwrap().to_owned();
        test_support::contracts::assert_valid("payments", &kind, &body["data"]);
        Ok((kind, body["data"].clone()))
    }

    /// The simulator's ledger, independent of our records.
    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for row in self.aws.dump(&self.table) {
            if !row["pk"].as_str().unwrap().starts_with("SIMULATOR#") {
                continue;
            }
            match (row["sk"].as_str().unwrap(), row["outcome"].as_str()) {
                ("CHARGE", Some("CHARGED")) => {
                    ledger.charges += 1;
                    ledger.charged += row["asked"]["amount"].as_i64().unwrap();
                }
                ("CHARGE", Some("DECLINED" | "CANCELLED")) => {}
                ("REFUND", None) => ledger.refunded += row["amount"].as_i64().unwrap(),
                other => panic!("the ledger holds {other:?}"),
            }
        }
        ledger
    }

    /// Our record's status.
    fn status(&self) -> Option<String> {
        let rows = self.aws.dump(&self.table);
        let row = rows.iter().find(|row| row["sk"] == "PAYMENT")?;
        Some(row["status"].as_str().unwrap().to_owned())
    }
}

type Answer = (String, Value);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ledger {
    charges: usize,
    charged: i64,
    refunded: i64,
}

impl Ledger {
    const NOTHING: Ledger = Ledger {
        charges: 0,
        charged: 0,
        refunded: 0,
    };
    const CHARGED: Ledger = Ledger {
        charges: 1,
        charged: AMOUNT,
        refunded: 0,
    };
    const GIVEN_BACK: Ledger = Ledger {
        charges: 1,
        charged: AMOUNT,
        refunded: AMOUNT,
    };
}

fn noon() -> Timestamp {
    NOON.parse().unwrap()
}

fn usd(amount: i64) -> Money {
    Money::new(amount, "USD").unwrap()
}

fn charge_of(method: &str) -> Charge {
    Charge {
        key: ChargeKey::of(ORDER),
        amount: usd(AMOUNT),
        method: PaymentMethod::stored(method).unwrap(),
    }
}

fn message(kind: &str, data: Value) -> Value {
    json!({
        "id": Uuid::new_v5(&ORDER.0, kind.as_bytes()),
        "type": kind,
        "version": 1,
        "order_id": ORDER.0,
        "time": NOON,
        "data": data,
    })
}

fn charge(method: &str) -> Value {
    message(
        "ChargePayment",
        json!({
            "user_id": OWNER.0,
            "amount": { "amount": AMOUNT, "currency": "USD" },
            "payment_method": method,
        }),
    )
}

fn refund() -> Value {
    message("RefundPayment", json!({ "user_id": OWNER.0 }))
}

fn charged() -> Answer {
    let data = json!({
        "payment_id": format!("sim_charge-{}", ORDER.0),
        "amount": { "amount": AMOUNT, "currency": "USD" },
    });
    ("PaymentCharged".to_owned(), data)
}

fn declined(code: &str, detail: &str) -> Answer {
    let data = json!({ "code": code, "detail": detail });
    ("PaymentDeclined".to_owned(), data)
}

fn voided() -> Answer {
    declined("voided", "the charge was cancelled before it was made")
}

fn refunded() -> Answer {
    let data = json!({ "refunded": { "amount": AMOUNT, "currency": "USD" } });
    ("PaymentRefunded".to_owned(), data)
}

fn nothing_refunded() -> Answer {
    ("PaymentRefunded".to_owned(), json!({ "refunded": null }))
}
