//! Valid messages, and the reports about invalid ones.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_lambda::Origin;
use shared_lambda::envelope::{Envelope, Payload};
use shared_lambda::sqs::{Failure, Outgoing};
use uuid::Uuid;

use crate::{context, now, origin};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ReserveStock {
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

impl Payload for ReserveStock {
    const TYPE: &'static str = "ReserveStock";
}

#[derive(Debug, Serialize, Deserialize)]
struct ReleaseStock {}

impl Payload for ReleaseStock {
    const TYPE: &'static str = "ReleaseStock";
    const VERSION: u32 = 2;
}

const ORDER: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

fn command() -> ReserveStock {
    let line = Line {
        sku: "tea".to_owned(),
        quantity: 2,
    };
    ReserveStock { lines: vec![line] }
}

fn arriving() -> Value {
    json!({
        "id": "5b7a6c0e-2f0f-5d0a-9b53-0c6c4d0a7a11",
        "type": "ReserveStock",
        "version": 1,
        "order_id": ORDER,
        "time": "2026-03-01T12:00:00.000Z",
        "data": {"lines": [{"sku": "tea", "quantity": 2}]},
    })
}

fn parse(message: &Value) -> Result<Envelope, Failure> {
    Envelope::parse(&message.to_string())
}

/// The reason of a refused message, which is never retried.
fn reason<T>(outcome: Result<T, Failure>) -> String {
    let Err(failure) = outcome else {
        panic!("it was accepted");
    };
    assert!(!failure.is_retried());
    failure.detail().to_owned()
}

#[test]
fn a_message_has_order_contract_time_and_trace() {
    let sent = Outgoing::new("https://queue", ORDER, &command(), &context());
    let body: Value = serde_json::from_str(sent.body()).unwrap();
    let expected = json!({
        "id": Uuid::new_v5(&ORDER, b"ReserveStock"),
        "type": "ReserveStock",
        "version": 1,
        "order_id": ORDER,
        "time": "2026-03-01T12:00:00.000Z",
        "traceparent": "00-01900000000070008000000000000002-8000000000000001-01",
        "data": {"lines": [{"sku": "tea", "quantity": 2}]},
    });
    assert_eq!(body, expected);
    assert_eq!(sent.queue_url(), "https://queue");
}

#[test]
fn the_same_message_sent_again_has_the_same_id() {
    let later = Origin::system().context(None);
    let id = |context| {
        let sent = Outgoing::new("https://queue", ORDER, &command(), context);
        Envelope::parse(sent.body()).unwrap().id
    };
    assert_eq!(id(&context()), id(&later));
}

#[test]
fn a_message_is_read_as_sent() {
    let sent = Outgoing::new("https://queue", ORDER, &command(), &context());
    let envelope = Envelope::parse(sent.body()).unwrap();
    assert_eq!(envelope.subject, ORDER);
    assert_eq!(envelope.time, now());
    assert_eq!(envelope.open::<ReserveStock>().unwrap(), command());
}

#[test]
fn unknown_fields_of_a_newer_sender_are_ignored() {
    let mut message = arriving();
    message["priority"] = json!("high");
    message["data"]["warehouse"] = json!(7);
    message["data"]["lines"][0]["gift"] = json!(true);
    let envelope = parse(&message).unwrap();
    assert_eq!(envelope.open::<ReserveStock>().unwrap(), command());
}

#[test]
fn a_message_without_a_trace_starts_one() {
    let envelope = parse(&arriving()).unwrap();
    assert_eq!(envelope.traceparent, None);
    let context = origin().context(envelope.traceparent.as_deref());
    assert_eq!(context.trace_id(), crate::TRACE_ID);
}

#[test]
fn an_invalid_envelope_is_reported_without_its_content() {
    let with = |name: &str, value: Value| {
        let mut message = arriving();
        message[name] = value;
        message.to_string()
    };
    let without = |name: &str| {
        let mut message = arriving();
        message.as_object_mut().unwrap().remove(name);
        message.to_string()
    };
    let cases = [
        (
            String::new(),
            "it is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            "hunter2".to_owned(),
            "it is not JSON: expected value at line 1 column 1",
        ),
        ("[]".to_owned(), "it is an array, not an object"),
        ("\"hunter2\"".to_owned(), "it is a string, not an object"),
        (without("data"), "/data is missing"),
        (without("order_id"), "/order_id is missing"),
        (
            with("version", json!("hunter2")),
            "/version is a string, not a whole number",
        ),
        (
            with("order_id", json!("hunter2")),
            "/order_id is not valid here",
        ),
        (with("time", json!("hunter2")), "/time is not valid here"),
        (
            with("type", json!(["hunter2"])),
            "/type is an array, not a string",
        ),
    ];
    for (message, detail) in cases {
        assert_eq!(
            reason(Envelope::parse(&message)),
            format!("the message is not an envelope: {detail}"),
            "{message}"
        );
    }
}

#[test]
fn a_number_in_a_message_is_whole_by_its_value() {
    let mut message = arriving();
    message["version"] = json!(1.0);
    message["data"] = json!({"lines": [{"sku": "tea", "quantity": 2.0}]});
    let command: ReserveStock = parse(&message).unwrap().open().unwrap();
    assert_eq!(command.lines[0].quantity, 2);
}

#[test]
fn invalid_data_is_named_by_its_place_and_not_quoted() {
    let cases = [
        (json!(null), "/data is null, not an object"),
        (json!({}), "/data/lines is missing"),
        (
            json!({"lines": [{"sku": "tea"}]}),
            "/data/lines/0/quantity is missing",
        ),
        (
            json!({"lines": [{"sku": "tea", "quantity": "hunter2"}]}),
            "/data/lines/0/quantity is a string, not a whole number",
        ),
    ];
    for (data, detail) in cases {
        let mut message = arriving();
        message["data"] = data;
        assert_eq!(
            reason(parse(&message).unwrap().open::<ReserveStock>()),
            format!("in ReserveStock, {detail}")
        );
    }
}

#[test]
fn another_type_or_version_is_not_opened() {
    let envelope = parse(&arriving()).unwrap();
    assert_eq!(
        reason(envelope.open::<ReleaseStock>()),
        "expected ReleaseStock version 2, got ReserveStock version 1"
    );
    let mut message = arriving();
    message["version"] = json!(2);
    assert_eq!(
        reason(parse(&message).unwrap().open::<ReserveStock>()),
        "expected ReserveStock version 1, got ReserveStock version 2"
    );
    assert_eq!(
        reason::<()>(Err(envelope.unknown())),
        "this queue does not handle ReserveStock"
    );
}

#[test]
fn an_array_of_field_values_is_not_a_message() {
    let values = json!([
        ORDER,
        "ReserveStock",
        1,
        ORDER,
        "2026-03-01T12:00:00.000Z",
        null,
        {}
    ]);
    assert!(parse(&values).is_err());
    let mut message = arriving();
    message["data"] = json!([[{"sku": "tea", "quantity": 2}]]);
    let envelope = parse(&message).unwrap();
    assert!(!envelope.open::<ReserveStock>().unwrap_err().is_retried());
}
