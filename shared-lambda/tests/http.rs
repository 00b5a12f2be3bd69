//! From a recorded API Gateway event to a request, and from an outcome to what Lambda sends.

use serde::Deserialize;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier, jwks};
use shared_lambda::Context;
use shared_lambda::http::{
    MAX_BODY_BYTES, Object, Page, Query, Request, Response, authenticate, respond,
};
use shared_lambda::problem::{FieldError, Problem};
use uuid::Uuid;

use crate::logs::Logs;
use crate::{TRACE_ID, now, origin};

const PLACE: &str = include_str!("fixtures/api_place_order.json");
const PLACE_BASE64: &str = include_str!("fixtures/api_place_order_base64.json");
const GET_ITEM: &str = include_str!("fixtures/api_get_item.json");

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    lines: Vec<Line>,
    note: Option<String>,
    delivery: Option<Delivery>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: String,
    quantity: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Delivery {
    Post,
    Courier,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only ever refused")]
struct Login {
    email: String,
    password: String,
}

fn recorded(event: &str) -> Request {
    Request::of_event(serde_json::from_str(event).unwrap()).unwrap()
}

/// All that [`Request::json`] finds wrong, as pointers and details.
fn mistakes<T: serde::de::DeserializeOwned>(body: &str) -> Vec<(String, String)> {
    let request = Request::new().with_body(body.to_owned());
    let Err(problem) = request.json::<T>() else {
        panic!("{body} was accepted");
    };
    pairs(problem.errors())
}

fn pairs(errors: &[FieldError]) -> Vec<(String, String)> {
    let pair = |error: &FieldError| (error.pointer.clone(), error.detail.clone());
    errors.iter().map(pair).collect()
}

/// The only thing that [`Request::json`] finds wrong.
fn mistake<T: serde::de::DeserializeOwned>(body: &str) -> (String, String) {
    let mut all = mistakes::<T>(body);
    assert_eq!(all.len(), 1, "{body}: {all:?}");
    all.remove(0)
}

fn pair(pointer: &str, detail: &str) -> (String, String) {
    (pointer.to_owned(), detail.to_owned())
}

/// What goes to Lambda: status, headers, body.
async fn sent<F, Fut>(request: Request, handler: F) -> (u16, Vec<(String, String)>, Value)
where
    F: Fn(Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    let response = respond(&origin(), request, handler).await;
    let response = response.into_lambda().unwrap();
    assert!(!response.is_base64_encoded);
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = match response.body {
        Some(lambda_http::Body::Text(text)) => serde_json::from_str(&text).unwrap(),
        None => Value::Null,
        other => panic!("{other:?} is neither text nor nothing"),
    };
    (response.status_code.try_into().unwrap(), headers, body)
}

fn headers(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_recorded_post_becomes_a_request_with_its_headers_and_body() {
    let request = recorded(PLACE);
    assert_eq!(
        request.header("idempotency-key"),
        Some("8e03978e-40d5-43e8-bc93-6894a57f9324")
    );
    assert_eq!(request.header("authorization"), Some("Bearer not-a-token"));
    assert_eq!(request.header("x-absent"), None);
    let line = |sku: &str, quantity| Line {
        sku: sku.to_owned(),
        quantity,
    };
    let expected = Order {
        lines: vec![line("mug-white", 2), line("tea", 1)],
        note: None,
        delivery: None,
    };
    assert_eq!(request.json::<Order>().unwrap(), expected);
}

#[test]
fn a_body_that_the_gateway_encoded_in_base64_is_decoded() {
    let order: Order = recorded(PLACE_BASE64).json().unwrap();
    assert_eq!(order.lines[0].sku, "tee-grün");
}

#[test]
fn a_recorded_get_keeps_its_decoded_path_and_query() {
    let request = recorded(GET_ITEM);
    assert_eq!(request.path_parameter("sku"), "tea grün");
    assert_eq!(request.path_parameter("other"), "");
    assert_eq!(request.query("cursor"), Some("a+b="));
    assert_eq!(request.query("note"), Some("one two"));
    assert_eq!(request.query("empty"), Some(""));
    assert_eq!(request.query("absent"), None);
    assert_eq!(request.body(), b"");
}

#[test]
fn a_header_that_is_not_ascii_is_kept() {
    assert_eq!(recorded(GET_ITEM).header("x-name"), Some("grün"));
}

/// What was sent with the recorded request otherwise.
fn sent_with(change: impl FnOnce(&mut Value)) -> Request {
    let mut event: Value = serde_json::from_str(GET_ITEM).unwrap();
    change(&mut event);
    Request::of_event(event).unwrap()
}

#[test]
fn a_query_that_is_no_part_of_a_uri_is_read_all_the_same() {
    for (raw, note) in [
        ("note=\"", "\""),
        ("note=a<b>c", "a<b>c"),
        ("note=a#b", "a#b"),
        ("note=a b", "a b"),
        ("note=gr\u{fc}n\u{1}", "gr\u{fc}n\u{1}"),
        ("note=%22+%3C", "\" <"),
        ("note=%zz%", "%zz%"),
        ("note={|}^`\\", "{|}^`\\"),
    ] {
        let request = sent_with(|event| event["rawQueryString"] = json!(raw));
        assert_eq!(request.query("note"), Some(note), "{raw}");
    }
    let request = sent_with(|event| {
        event["rawQueryString"] = json!("?&&==&=x&\u{0}");
    });
    assert_eq!(request.query("note"), None);
}

#[test]
fn a_query_longer_than_a_uri_may_be_is_read() {
    let quotes = "\"".repeat(21_841);
    let request = sent_with(|event| event["rawQueryString"] = json!(format!("note={quotes}")));
    assert_eq!(request.query("note"), Some(&*quotes));
}

#[test]
fn headers_that_say_where_a_request_came_to_are_not_believed() {
    for (name, value) in [
        ("host", "a b"),
        ("Host", ""),
        ("x-forwarded-proto", "1http"),
        ("x-forwarded-proto", "^^"),
        ("x-forwarded-port", "none"),
    ] {
        let request = sent_with(|event| {
            event["headers"][name] = json!(value);
            event["requestContext"]["domainName"] = json!(value);
        });
        assert_eq!(
            request.header("x-name"),
            Some("gr\u{fc}n"),
            "{name}: {value}"
        );
    }
}

#[test]
fn any_header_text_is_read_and_other_values_are_left_out() {
    let request = sent_with(|event| {
        event["headers"]["idempotency-key"] = json!("a\u{1}b\u{7f}c\td\r\n");
        event["headers"]["no name"] = json!("x");
        event["headers"]["x-list"] = json!(["x"]);
        event["cookies"] = json!(["a=\u{1}"]);
    });
    assert!(request.idempotency_key().is_err());
    assert_eq!(request.header("no name"), Some("x"));
    assert_eq!(request.header("x-list"), None);
}

#[test]
fn headers_are_found_whatever_the_case_they_were_sent_in() {
    let event = PLACE.replace("\"idempotency-key\"", "\"Idempotency-Key\"");
    assert!(recorded(&event).header("idempotency-key").is_some());
    let built = Request::new().with_header("Idempotency-Key", "k");
    assert_eq!(built.header("idempotency-key"), Some("k"));
}

#[test]
fn a_page_has_twenty_items_unless_the_client_says_otherwise() {
    let page = |limit, cursor: Option<&str>| Page {
        limit,
        cursor: cursor.map(str::to_owned),
    };
    assert_eq!(Request::new().page().unwrap(), page(20, None));
    let request = Request::new()
        .with_query("limit", "100")
        .with_query("cursor", "abc");
    assert_eq!(request.page().unwrap(), page(100, Some("abc")));
    let request = Request::new().with_query("cursor", "");
    assert_eq!(request.page().unwrap(), page(20, None));
}

#[test]
fn a_limit_that_is_no_number_from_1_to_100_is_refused() {
    for (limit, sent) in [
        ("0", "0, "),
        ("101", "101, "),
        ("-1", "-1, "),
        ("9223372036854775807", "9223372036854775807, "),
        // What is no number may be anything, a secret too, and is not repeated.
        ("1.5", ""),
        ("ten", ""),
        ("", ""),
        (" 5", ""),
        ("99999999999999999999999", ""),
    ] {
        let problem = Request::new()
            .with_query("limit", limit)
            .page()
            .unwrap_err();
        assert_eq!(
            problem.errors(),
            [FieldError::new(
                "limit",
                format!("is {sent}not a whole number from 1 to 100")
            )],
            "{limit:?}"
        );
    }
}

#[test]
fn a_path_parameter_is_read_as_a_uuid_or_refused() {
    let id = Uuid::from_u128(7);
    let request = Request::new().with_path_parameter("id", id.to_string());
    assert_eq!(request.uuid("id").unwrap(), id);
    for text in [
        "",
        "7",
        "not-a-uuid",
        "01890a5d-ac96-774b-bcce-b302099a805g",
    ] {
        let problem = Request::new()
            .with_path_parameter("id", text)
            .uuid("id")
            .unwrap_err();
        assert_eq!(problem.status(), 400, "{text:?}");
        assert_eq!(problem.errors()[0].pointer, "id");
    }
}

#[test]
fn a_mistake_in_the_body_is_named_by_its_json_pointer() {
    let cases = [
        (
            r#"{"lines": []  , "colour": 1}"#,
            "/colour",
            "is not a known field; known here: lines, note, delivery",
        ),
        (
            r#"{"a/b~c": 1, "lines": []}"#,
            "/a~1b~0c",
            "is not a known field; known here: lines, note, delivery",
        ),
        ("{}", "/lines", "is missing"),
        (r#"{"lines": null}"#, "/lines", "is null, not an array"),
        (r#"{"lines": {}}"#, "/lines", "is an object, not an array"),
        (
            r#"{"lines": [7]}"#,
            "/lines/0",
            "is a number, not an object",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1}, {"sku": "b"}]}"#,
            "/lines/1/quantity",
            "is missing",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": "2"}]}"#,
            "/lines/0/quantity",
            "is a string, not a whole number",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": -1}]}"#,
            "/lines/0/quantity",
            "is -1, not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1.5}]}"#,
            "/lines/0/quantity",
            "is 1.5, not a whole number",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 4294967296}]}"#,
            "/lines/0/quantity",
            "is 4294967296, not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 99999999999999999999999}]}"#,
            "/lines/0/quantity",
            "is 99999999999999999999999, not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1e999}]}"#,
            "/lines/0/quantity",
            "is 1e999, not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "sku": "b", "quantity": 1}]}"#,
            "/lines/0/sku",
            "occurs more than once",
        ),
        (
            r#"{"lines": [], "lines": []}"#,
            "/lines",
            "occurs more than once",
        ),
        (
            r#"{"lines": [], "note": 5}"#,
            "/note",
            "is a number, not a string",
        ),
        (
            r#"{"lines": [], "delivery": "pigeon"}"#,
            "/delivery",
            "is not one of post, courier",
        ),
        (
            r#"{"lines": [], "delivery": 5}"#,
            "/delivery",
            "is a number, not a string",
        ),
        (
            r#"{"lines": [], "note": "a\ud800b"}"#,
            "/note",
            "has a \\u escape that is half of a surrogate pair; send whole characters",
        ),
        (
            r#"{"lines": [{"sku": "\udc00\ud800"}]}"#,
            "/lines/0/sku",
            "has a \\u escape that is half of a surrogate pair; send whole characters",
        ),
        (
            &format!(r#"{{"lines": [], "{}": 1}}"#, "x".repeat(65)),
            &format!("/{}…", "x".repeat(63)),
            "is not a known field; known here: lines, note, delivery",
        ),
        ("[]", "", "the body is an array, not an object"),
        (
            r#"[[], null, null]"#,
            "",
            "the body is an array, not an object",
        ),
        ("null", "", "the body is null, not an object"),
        ("\"lines\"", "", "the body is a string, not an object"),
    ];
    for (body, pointer, detail) in cases {
        assert_eq!(mistake::<Order>(body), pair(pointer, detail), "{body}");
    }
}

#[test]
fn a_body_that_is_not_json_is_refused_as_a_whole() {
    let cases = [
        ("", "the body is empty; send a JSON object"),
        (
            " ",
            "the body is not JSON: EOF while parsing a value at line 1 column 1",
        ),
        (
            "{",
            "the body is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"lines": [}"#,
            "the body is not JSON: expected value at line 1 column 12",
        ),
        (
            "{'lines': []}",
            "the body is not JSON: key must be a string at line 1 column 2",
        ),
        (
            r#"{"lines": []} {}"#,
            "the body is not JSON: trailing characters at line 1 column 15",
        ),
        (
            "\u{feff}{\"lines\": []}",
            "the body is not JSON: expected value at line 1 column 1",
        ),
        (
            "lines=1&note=2",
            "the body is not JSON: expected value at line 1 column 1",
        ),
    ];
    for (body, detail) in cases {
        assert_eq!(mistake::<Order>(body), pair("", detail), "{body}");
    }
}

#[test]
fn a_number_is_whole_by_its_value() {
    #[derive(Deserialize)]
    struct Counted {
        count: i64,
    }
    let count = |number: &str| {
        let body = format!(r#"{{"text": "1.0 \" 2e0", "count": {number}}}"#);
        let request = Request::new().with_body(body);
        request.json::<Counted>().unwrap().count
    };
    for (number, value) in [
        ("1", 1),
        ("1.0", 1),
        ("1e0", 1),
        ("1E+0", 1),
        ("10e-1", 1),
        ("0.01e2", 1),
        ("1200.00", 1200),
        ("-2.0", -2),
        ("0.0", 0),
        ("-0", 0),
        ("-0.0e5", 0),
        ("0e99999999999999999999", 0),
        ("9007199254740993", 9_007_199_254_740_993),
        ("9007199254740993.0", 9_007_199_254_740_993),
        ("9223372036854775807.0", i64::MAX),
        ("-9.223372036854775808e18", i64::MIN),
    ] {
        assert_eq!(count(number), value, "{number}");
    }
}

#[test]
fn what_is_no_whole_number_is_said_to_be_what_it_is() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Counts {
        #[serde(default)]
        signed: i64,
        #[serde(default)]
        unsigned: u64,
    }
    const SIGNED: &str = "a whole number from -9223372036854775808 to 9223372036854775807";
    const UNSIGNED: &str = "a whole number from 0 to 18446744073709551615";
    for (sent, said, wanted) in [
        ("1.5", "1.5", "a whole number"),
        ("-1e-1", "-1e-1", "a whole number"),
        (
            "1e-99999999999999999999",
            "1e-99999999999999999999",
            "a whole number",
        ),
        ("\"1\"", "a string", "a whole number"),
        ("true", "true", "a whole number"),
        ("null", "null", "a whole number"),
        ("[1]", "an array", "a whole number"),
        ("{}", "an object", "a whole number"),
        ("1e400", "1e400", SIGNED),
        ("-1e400", "-1e400", SIGNED),
        ("9223372036854775808", "9223372036854775808", SIGNED),
        ("9223372036854775808.0", "9223372036854775808.0", SIGNED),
    ] {
        let body = format!(r#"{{"signed": {sent}}}"#);
        let expected = pair("/signed", &format!("is {said}, not {wanted}"));
        assert_eq!(mistake::<Counts>(&body), expected);
    }
    let body = format!(r#"{{"signed": {}.5}}"#, "9".repeat(50_000));
    let expected = pair(
        "/signed",
        &format!("is a number of many digits, not {SIGNED}"),
    );
    assert_eq!(mistake::<Counts>(&body), expected);
    for sent in ["-1", "-1.0", "18446744073709551616", "1e20"] {
        let body = format!(r#"{{"unsigned": {sent}}}"#);
        let expected = pair("/unsigned", &format!("is {sent}, not {UNSIGNED}"));
        assert_eq!(mistake::<Counts>(&body), expected);
    }
}

#[test]
fn a_number_that_json_does_not_know_stays_unknown() {
    for number in [
        "01.0", ".5", "1.", "+1.0", "1e", "0x1", "1.0e+", "-", "1_0.0",
    ] {
        let body = format!(r#"{{"lines": [{{"sku": "a", "quantity": {number}}}]}}"#);
        let (_, detail) = mistake::<Order>(&body);
        assert!(
            detail.starts_with("the body is not JSON"),
            "{number}: {detail}"
        );
    }
}

#[test]
fn everything_that_is_wrong_with_a_body_is_said_at_once() {
    let body = r#"{
        "lines": [{"sku": "a", "quantity": 0.5, "colour": "red"}, ["b", 1], {"quantity": null}],
        "note": 7,
        "colour": 1e999
    }"#;
    let unknown = "is not a known field; known here:";
    let expected = [
        ("/colour", &*format!("{unknown} lines, note, delivery")),
        ("/lines/0/colour", &*format!("{unknown} sku, quantity")),
        ("/lines/0/quantity", "is 0.5, not a whole number"),
        ("/lines/1", "is an array, not an object"),
        ("/lines/2/quantity", "is null, not a whole number"),
        ("/lines/2/sku", "is missing"),
        ("/note", "is a number, not a string"),
    ];
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Strict {
        lines: Vec<Object<Line>>,
        note: Option<String>,
        delivery: Option<Delivery>,
    }
    assert_eq!(
        mistakes::<Strict>(body),
        expected.map(|(at, what)| pair(at, what))
    );
}

#[test]
fn an_unknown_field_does_not_hide_a_wrong_value() {
    let read = |body: &str| {
        let request = Request::new().with_body(body.to_owned());
        let read = request.parse(|line: Line, fields| {
            let sku = if line.sku == "tea" {
                Ok(line.sku)
            } else {
                Err("is not tea")
            };
            let sku = fields.take("/sku", sku);
            let few = if line.quantity > 0 {
                Ok(line.quantity)
            } else {
                Err("is not some")
            };
            Some((
                sku?,
                fields.take_number("/quantity", line.quantity.into(), few)?,
            ))
        });
        read.map_err(|problem| pairs(problem.errors()))
    };
    let colour = || pair("/colour", "is not a known field; known here: sku, quantity");
    let good = read(r#"{"sku": "tea", "quantity": 2}"#);
    assert_eq!(good, Ok(("tea".to_owned(), 2)));
    assert_eq!(
        read(r#"{"sku": "tea", "quantity": 2, "colour": 1}"#),
        Err(vec![colour()])
    );
    assert_eq!(
        read(r#"{"colour": 1, "sku": "mug", "quantity": 2}"#),
        Err(vec![colour(), pair("/sku", "is not tea")])
    );
    assert_eq!(
        read(r#"{"colour": 1, "sku": "tea", "quantity": 0}"#),
        Err(vec![colour(), pair("/quantity", "is 0, not some")])
    );
    // The stand-in for what is not there is not itself found wanting.
    assert_eq!(
        read(r#"{"colour": 1, "sku": "mug"}"#),
        Err(vec![
            colour(),
            pair("/quantity", "is missing"),
            pair("/sku", "is not tea")
        ])
    );
    assert_eq!(
        read(r#"{"sku": "mug", "sku": "mug", "quantity": 1}"#),
        Err(vec![
            pair("/sku", "occurs more than once"),
            pair("/sku", "is not tea")
        ])
    );
}

#[test]
fn a_number_too_large_to_read_is_told_beside_the_fields_range() {
    #[derive(Deserialize)]
    struct Counted {
        count: i64,
    }
    let many = "9".repeat(400);
    for (sent, said) in [
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809.0", "-9223372036854775809.0"),
        ("18446744073709551616", "18446744073709551616"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        (&many, "a number of many digits"),
        (&format!("{many}.0"), "a number of many digits"),
    ] {
        let request = Request::new().with_body(format!(r#"{{"count": {sent}}}"#));
        let read = request.parse(|body: Counted, fields| {
            let few = match body.count {
                1..=9 => Ok(()),
                _ => Err("is not a whole number from 1 to 9"),
            };
            fields.take_number("/count", body.count, few)
        });
        let detail = format!("is {said}, not a whole number from 1 to 9");
        assert_eq!(pairs(read.unwrap_err().errors()), [pair("/count", &detail)]);
    }
}

/// The status of a request for an order, with the headers a client sends along with its body.
async fn status_with(headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::new().with_body(r#"{"lines": []}"#);
    for (name, value) in headers {
        request = request.with_header(name, *value);
    }
    let (status, _, body) = sent(request, async |_, request| {
        request.json::<Order>()?;
        Ok(Response::empty(204))
    })
    .await;
    (status, body["type"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_body_of_json_is_read_however_that_is_spelled() {
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; Charset=\"UTF-8\"; v=1;",
        "application/json,application/json",
    ] {
        let sent = status_with(&[("content-type", kind), ("content-encoding", "Identity")]).await;
        assert_eq!(sent.0, 204, "{kind}");
    }
}

#[tokio::test]
async fn a_body_of_another_type_or_a_compressed_one_is_415() {
    let unsupported = (415, "urn:waybill:problem:unsupported-media-type".to_owned());
    for kind in [
        "",
        "text/plain",
        "text/plain; x=application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/merge-patch+json",
        "application/jsonp",
        "application/json; charset=iso-8859-1",
    ] {
        assert_eq!(
            status_with(&[("content-type", kind)]).await,
            unsupported,
            "{kind}"
        );
    }
    for coding in ["gzip", "br", "identity, gzip", "identity,gzip", ""] {
        let sent = status_with(&[("content-encoding", coding)]).await;
        assert_eq!(sent, unsupported, "{coding}");
    }
    let typeless = sent_with(|event| event["body"] = json!(r#"{"lines": []}"#));
    assert_eq!(typeless.json::<Order>().unwrap_err().status(), 415);
}

#[tokio::test]
async fn the_415_says_what_is_taken() {
    let request = Request::new()
        .with_header("content-type", "text/plain")
        .with_body("{}");
    let response = sent(request, async |_, request| {
        request.json::<Order>()?;
        Ok(Response::empty(204))
    })
    .await;
    let expected = headers(&[
        ("cache-control", "no-store"),
        ("content-type", "application/problem+json"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
    ]);
    let body = json!({
        "type": "urn:waybill:problem:unsupported-media-type",
        "title": "The type of the request body is not supported",
        "status": 415,
        "detail": "the body is not declared as JSON in UTF-8; send Content-Type: application/json",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    assert_eq!(response, (415, expected, body));
}

/// What is wrong with a request before its handler is called.
async fn refused(query: Query, request: Request) -> Vec<(String, String)> {
    let handler = async |_: Context, _: Request| Ok(Response::empty(204));
    let response = query.respond(&origin(), request, handler).await;
    let Some(body) = response.body else {
        return Vec::new();
    };
    assert_eq!(response.status, 400);
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = body["errors"].as_array().unwrap().iter();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["detail"])))
        .collect()
}

fn asking(query: &str) -> Request {
    sent_with(|event| event["rawQueryString"] = json!(query))
}

#[tokio::test]
async fn a_query_parameter_that_is_not_known_or_repeated_is_refused() {
    const LISTED: Query = Query(&["limit", "cursor"]);
    let unknown = "is not a known parameter; known here: limit, cursor";
    let twice = "occurs more than once; send it once";
    for (query, expected) in [
        ("", vec![]),
        ("limit=1&cursor=a%2Cb,c", vec![]),
        ("limt=1", vec![pair("limt", unknown)]),
        ("Limit=1", vec![pair("Limit", unknown)]),
        ("limit=1&limit=1", vec![pair("limit", twice)]),
        (
            "limit=1&limit=2&limit=3&x",
            vec![pair("limit", twice), pair("x", unknown)],
        ),
        ("x=1&x=2", vec![pair("x", unknown)]),
        ("=1", vec![pair("\"\"", unknown)]),
        (
            &"\"".repeat(21_841),
            vec![pair(&format!("{}…", "\"".repeat(63)), unknown)],
        ),
        (&"x".repeat(64), vec![pair(&"x".repeat(64), unknown)]),
    ] {
        assert_eq!(refused(LISTED, asking(query)).await, expected, "{query}");
    }
    let none = "is not a known parameter; none is known here";
    assert_eq!(
        refused(Query::NONE, asking("limit=1")).await,
        [pair("limit", none)]
    );
}

#[tokio::test]
async fn more_mistakes_than_are_named_are_counted_as_at_least() {
    let detail = async |request: Request| {
        let read = async |_: Context, request: Request| {
            request.json::<Order>()?;
            Ok(Response::empty(204))
        };
        let (_, _, body) = sent(request, read).await;
        let named = body["errors"].as_array().unwrap().len();
        (named, body["detail"].as_str().unwrap().to_owned())
    };
    let told = |count, detail: &str| (count, format!("{detail} things are wrong; see errors"));
    let names = |count: usize| (0..count).map(|n| format!("x{n}")).collect::<Vec<_>>();
    let query = |count| asking(&names(count).join("&"));
    assert_eq!(detail(query(20)).await, told(20, "20"));
    assert_eq!(detail(query(3000)).await, told(20, "at least 20"));
    let body = |count| {
        let fields: Vec<String> = names(count).iter().map(|x| format!("\"{x}\":1,")).collect();
        Request::new().with_body(format!("{{{}\"lines\":[]}}", fields.concat()))
    };
    assert_eq!(detail(body(49)).await, told(49, "49"));
    assert_eq!(detail(body(3000)).await, told(50, "at least 50"));
}

#[tokio::test]
async fn a_header_that_may_come_once_is_one_value_or_refused() {
    const TWICE: &str = "occurs more than once, with different values; send it once";
    for name in ["Authorization", "Content-Type", "Idempotency-Key"] {
        for (value, one) in [
            ("k", Some("k")),
            ("k,k", Some("k")),
            ("k, k,\tk", Some("k")),
            ("\"a,b\"", Some("\"a,b\"")),
            ("\"a,b\",\"a,b\"", Some("\"a,b\"")),
            ("k,l", None),
            ("k,", None),
            (",", Some("")),
            ("\"a,b\",\"a\"", None),
            ("\"a,\"b", None),
        ] {
            let request = Request::new().with_header(name, value);
            let expected = match one {
                Some(_) => vec![],
                None if name == "Idempotency-Key" => {
                    let quotes = "in double quotes if the key has a comma";
                    vec![pair(name, &format!("{TWICE}, {quotes}"))]
                }
                None => vec![pair(name, TWICE)],
            };
            let lower = name.to_ascii_lowercase();
            assert_eq!(request.header(&lower), Some(one.unwrap_or(value)));
            assert_eq!(refused(Query::NONE, request).await, expected, "{value}");
        }
    }
    // These are lists.
    let lists = Request::new()
        .with_header("waybill-fault", "a=b,a=b")
        .with_header("x-forwarded-for", "a,b");
    assert_eq!(lists.header("waybill-fault"), Some("a=b,a=b"));
    assert_eq!(refused(Query::NONE, lists).await, []);
}

#[tokio::test]
async fn a_trace_that_comes_twice_alike_is_kept_and_else_begun_anew() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let other = "00-11111111111111111111111111111111-00f067aa0ba902b7-01";
    for (sent, kept) in [
        (
            format!("{trace},{trace}"),
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        (format!("{trace},{other}"), TRACE_ID),
    ] {
        let request = Request::new().with_header("traceparent", sent);
        let response = respond(&origin(), request, async |context, _| {
            Ok(Response::json(200, &context.trace_id()))
        })
        .await;
        assert_eq!(response.body.unwrap(), format!("\"{kept}\""));
    }
}

#[test]
fn an_idempotency_key_is_the_same_in_quotes_and_repeated() {
    let key = |sent: &str| {
        let request = Request::new().with_header("idempotency-key", sent);
        let key = request.idempotency_key().map(Option::unwrap);
        key.map(|key| (key.value, key.formerly))
    };
    let long = "k".repeat(255);
    for (sent, value, formerly) in [
        ("k", "k", None),
        ("k,k", "k", Some("k,k")),
        ("k, k", "k", None),
        ("\"k\"", "k", Some("\"k\"")),
        ("\"k\", \"k\"", "k", None),
        ("\"k\",k", "k", Some("\"k\",k")),
        ("\"a,b\"", "a,b", Some("\"a,b\"")),
        ("a\"b", "a\"b", None),
        ("!~", "!~", None),
        (&long, &long, None),
    ] {
        let expected = (value.to_owned(), formerly.map(str::to_owned));
        assert_eq!(key(sent), Ok(expected), "{sent}");
    }
    for sent in [
        "",
        "\"\"",
        "\"",
        "\"k",
        "a b",
        "\"a b\"",
        "\u{fc}",
        "k,l",
        &format!("{long}k"),
    ] {
        let wrong = key(sent).unwrap_err();
        assert!(wrong.starts_with("is not 1 to 255 visible ASCII"), "{sent}");
    }
    assert_eq!(Request::new().idempotency_key(), Ok(None));
}

#[test]
fn a_body_that_is_not_utf_8_is_refused() {
    let request = Request::new().with_body(&b"{\"lines\": [], \"note\": \"\xff\"}"[..]);
    let problem = request.json::<Order>().unwrap_err();
    assert_eq!(
        problem.errors(),
        [FieldError::new("", "the body is not UTF-8")]
    );
}

#[test]
fn a_body_nested_ever_deeper_is_refused_and_does_not_exhaust_the_stack() {
    let depth = MAX_BODY_BYTES / 2 - 20;
    let nested = format!(
        "{{\"lines\": [], \"note\": {}{}}}",
        "[".repeat(depth),
        "]".repeat(depth)
    );
    assert_eq!(
        mistake::<Order>(&nested),
        pair("/note", "is an array, not a string")
    );
    let request = Request::new().with_body(nested);
    assert_eq!(request.json::<Value>().unwrap_err().status(), 400);
}

#[test]
fn a_body_may_have_64_kib_and_not_a_byte_more() {
    let padded = |length: usize| {
        let body = r#"{"lines": []}"#;
        Request::new().with_body(format!("{body}{}", " ".repeat(length - body.len())))
    };
    assert!(padded(MAX_BODY_BYTES).json::<Order>().is_ok());
    let problem = padded(MAX_BODY_BYTES + 1).json::<Order>().unwrap_err();
    assert_eq!(
        (problem.status(), problem.slug()),
        (413, "payload-too-large")
    );
}

#[test]
fn a_mistake_never_repeats_a_value_that_may_be_a_password() {
    let bodies = [
        r#"{"email": "a@example.com", "password": ["hunter2"]}"#,
        r#"{"email": ["a@example.com", "hunter2"], "password": "hunter2"}"#,
        r#"{"email": "a@example.com", "password": {"hunter2": 1}}"#,
        r#"{"email": "a@example.com", "password": "hunter2""#,
        r#"{"email": "a@example.com", "password": "hunter2", "password": "hunter2"}"#,
        r#"{"email": "a@example.com", "password": "hunter2\ud800"}"#,
        r#"{"email": "a@example.com", "password": hunter2}"#,
        r#"{"email": "a@example.com"} hunter2"#,
        r#""hunter2""#,
        r#""hunter2, expected nothing at line 9""#,
        "hunter2",
    ];
    for (pointer, detail) in bodies.into_iter().flat_map(mistakes::<Login>) {
        assert!(!detail.contains("hunter2"), "{detail}");
        assert!(!pointer.contains("hunter2"), "{pointer}");
    }
    let numbered = r#"{"email": "a@example.com", "password": 12345678}"#;
    assert_eq!(
        mistake::<Login>(numbered),
        pair("/password", "is a number, not a string")
    );
    // Messages of types' own deserializers are not ours to vouch for.
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Dated {
        born: jiff::Timestamp,
    }
    assert_eq!(
        mistake::<Dated>(r#"{"born": "hunter2"}"#),
        pair("/born", "is not valid here")
    );
    assert_eq!(
        mistake::<u8>(r#""hunter2, expected u64 at line 9""#),
        pair("", "the body is a string, not a whole number")
    );
}

#[tokio::test]
async fn a_json_response_is_private_and_says_what_it_is() {
    let response = sent(Request::new(), async |_, _| {
        Ok(Response::json(201, &json!({"id": 1})).with_header("location", "/api/v1/orders/1"))
    })
    .await;
    let expected = headers(&[
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("location", "/api/v1/orders/1"),
    ]);
    assert_eq!(response, (201, expected, json!({"id": 1})));
}

#[tokio::test]
async fn an_empty_response_has_no_body_and_no_content_type() {
    let response = sent(Request::new(), async |_, _| Ok(Response::empty(204))).await;
    let expected = headers(&[("cache-control", "no-store")]);
    assert_eq!(response, (204, expected, Value::Null));
}

#[test]
fn a_header_set_twice_is_sent_once_whatever_its_case() {
    let response = Response::json(200, &json!({}))
        .with_header("Cache-Control", "max-age=60")
        .with_header("cache-control", "max-age=300");
    assert_eq!(response.header("cache-control"), Some("max-age=300"));
    let set = response.headers.iter();
    let named = set.filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    assert_eq!(named.count(), 1);
}

#[tokio::test]
async fn a_request_continues_the_trace_it_brings() {
    let response = sent(recorded(PLACE), async |context, _| {
        Ok(Response::json(200, &json!({"trace": context.traceparent})))
    })
    .await;
    assert_eq!(
        response.2,
        json!({"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-8000000000000001-01"})
    );
}

async fn panics_after_an_await(_: Context, _: Request) -> Result<Response, Problem> {
    tokio::task::yield_now().await;
    panic!("hunter2")
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_the_client_nothing() {
    let logs = Logs::start();
    let expected = json!({
        "type": "urn:waybill:problem:internal",
        "title": "Something went wrong here",
        "status": 500,
        "detail": "the failure has been logged; name the instance when you report it",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    let at_once = |_, _| -> std::future::Ready<Result<Response, Problem>> { panic!("hunter2") };
    let (status, _, body) = sent(Request::new(), at_once).await;
    assert_eq!((status, &body), (500, &expected));
    let (status, _, body) = sent(Request::new(), panics_after_an_await).await;
    assert_eq!((status, &body), (500, &expected));
    assert_eq!(logs.lines().len(), 2);
}

fn verifier_and_issuer() -> (Verifier, Issuer) {
    let key = SigningKey::generate();
    let jwks = jwks(&[key.public_jwk()]);
    let verifier = Verifier::new(&jwks, "https://auth.example", "waybill-api").unwrap();
    (
        verifier,
        Issuer::new(&key, "https://auth.example", "waybill-api"),
    )
}

#[test]
fn a_good_token_says_who_is_calling() {
    let (verifier, issuer) = verifier_and_issuer();
    let user_id = Uuid::from_u128(7);
    let token = issuer.issue(user_id, Role::Admin, now(), Uuid::from_u128(8));
    let request = Request::new().with_header("Authorization", format!("Bearer {}", token.token));
    let caller = authenticate(&verifier, &request, now()).unwrap();
    assert_eq!((caller.user_id, caller.role), (user_id, Role::Admin));
    assert_eq!(caller.token, token.token);
}

#[tokio::test]
async fn without_a_token_the_401_challenges_for_one() {
    let (verifier, _) = verifier_and_issuer();
    let response = sent(Request::new(), async |context, request| {
        authenticate(&verifier, &request, context.now)?;
        Ok(Response::empty(204))
    })
    .await;
    let expected = headers(&[
        ("cache-control", "no-store"),
        ("content-type", "application/problem+json"),
        ("www-authenticate", r#"Bearer realm="waybill""#),
    ]);
    let body = json!({
        "type": "urn:waybill:problem:unauthorized",
        "title": "The caller is not authenticated",
        "status": 401,
        "detail": "the request carries no bearer token in its Authorization header",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    assert_eq!(response, (401, expected, body));
}

#[tokio::test]
async fn with_a_bad_token_the_401_says_that_it_is_the_token() {
    let (verifier, _) = verifier_and_issuer();
    let (status, headers, body) = sent(recorded(PLACE), async |context, request| {
        authenticate(&verifier, &request, context.now)?;
        Ok(Response::empty(204))
    })
    .await;
    let challenge = headers.iter().find(|(name, _)| name == "www-authenticate");
    assert_eq!(
        challenge.unwrap().1,
        r#"Bearer realm="waybill", error="invalid_token""#
    );
    assert_eq!(status, 401);
    assert!(!body.to_string().contains("not-a-token"));
}

#[test]
fn the_source_address_is_the_gateways_word_and_no_header() {
    assert_eq!(recorded(GET_ITEM).source_address(), Some("203.0.113.7"));
    let header = "\"x-forwarded-for\": \"203.0.113.7\"";
    assert!(GET_ITEM.contains(header));
    let forged = GET_ITEM.replace(header, "\"x-forwarded-for\": \"198.51.100.1\"");
    assert_eq!(recorded(&forged).source_address(), Some("203.0.113.7"));
    assert_eq!(Request::new().source_address(), None);
    let set = Request::new().with_source_address("192.0.2.1");
    assert_eq!(set.source_address(), Some("192.0.2.1"));
}
