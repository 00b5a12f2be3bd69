//! Recorded API Gateway events become requests, and outcomes become Lambda's responses.

use serde::Deserialize;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier, jwks};
use shared_lambda::http::{
    MAX_BODY_BYTES, Object, Page, Query, Request, Response, authenticate, respond,
};
use shared_lambda::problem::{FieldError, Problem};
use shared_lambda::{Context, cursor};
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

/// The mistakes that [`Request::json`] reports, each as its pointer and detail.
fn mistakes<T: serde::de::DeserializeOwned>(body: &str) -> Vec<String> {
    let request = Request::new().with_body(body.to_owned());
    let Err(problem) = request.json::<T>() else {
        panic!("{body} was accepted");
    };
    texts(problem.errors())
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    let text = |FieldError { name, detail, .. }: &FieldError| format!("{name} {detail}");
    errors.iter().map(text).collect()
}

/// The only mistake that [`Request::json`] reports.
fn mistake<T: serde::de::DeserializeOwned>(body: &str) -> String {
    let mut all = mistakes::<T>(body);
    assert_eq!(all.len(), 1, "{body}: {all:?}");
    all.remove(0)
}

/// The response that Lambda gets: status, headers and body.
async fn sent<F, Fut>(request: Request, handler: F) -> (u16, Vec<(String, String)>, Value)
where
    F: Fn(Context, Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
    let response = respond(&origin(), request, handler).await;
    let response = response.into_lambda().unwrap();
    assert!(!response.is_base64_encoded);
    let owned = response.headers.iter();
    let owned = owned.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let owned = owned.filter(|(name, _)| !["traceparent", "x-request-id"].contains(&name.as_str()));
    let (always, headers): (Vec<_>, Vec<_>) = owned.partition(|(name, _)| {
        ["x-content-type-options", "strict-transport-security"].contains(&name.as_str())
    });
    let expected = [
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=31536000"),
    ];
    assert_eq!(always, crate::http::headers(&expected));
    let body = match response.body {
        Some(lambda_http::Body::Text(text)) => serde_json::from_str(&text).unwrap(),
        None => Value::Null,
        other => panic!("{other:?} is neither text nor nothing"),
    };
    (response.status_code.try_into().unwrap(), headers, body)
}

fn headers(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn head_is_answered_like_get_without_content() {
    let event = |method: &str| {
        let mut event: Value = serde_json::from_str(GET_ITEM).unwrap();
        event["rawQueryString"] = json!("");
        event["requestContext"]["http"]["method"] = json!(method);
        Request::of_event(event).unwrap()
    };
    let text = Response::json(200, &json!({"sku": "caf\u{e9}"}));
    let bytes = |body: &str| Response {
        body: Some(body.to_owned()),
        is_base64: true,
        ..text.clone()
    };
    for (answered, expected) in [
        (text.clone(), Some(15)),
        (bytes("AAAA"), Some(3)),
        (bytes("AAA="), Some(2)),
        (bytes("AA=="), Some(1)),
        (bytes(""), Some(0)),
        (Response::empty(204), None),
    ] {
        let handler = async |_, _| Ok(answered.clone());
        let get = respond(&origin(), event("GET"), handler).await;
        assert_eq!((get.status, &get.body), (answered.status, &answered.body));
        let head = respond(&origin(), event("HEAD"), handler).await;
        let length = expected.map(|length: usize| ("content-length", length.to_string()));
        let headers = get.headers.into_iter().chain(length).collect();
        assert_eq!((head.headers, head.body), (headers, None));
    }
    let refused = async |_, _| Err(Problem::not_found("there is no such item"));
    let head = respond(&origin(), event("HEAD"), refused).await;
    assert_eq!((head.status, head.body.as_ref()), (404, None));
    assert!(head.header("content-length").is_some());
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
    assert_eq!(
        (request.method(), request.path()),
        ("POST", "/api/v1/orders")
    );
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
fn a_base64_body_is_decoded() {
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
    assert_eq!(request.header("x-name"), Some("grün"));
}

/// The recorded request with a change.
fn sent_with(change: impl FnOnce(&mut Value)) -> Request {
    let mut event: Value = serde_json::from_str(GET_ITEM).unwrap();
    change(&mut event);
    Request::of_event(event).unwrap()
}

#[test]
fn a_query_that_is_not_valid_in_a_uri_is_read() {
    let quotes = "\"".repeat(21_841);
    for (raw, note) in [
        ("note=\"", "\""),
        ("note=a<b>c", "a<b>c"),
        ("note=a#b", "a#b"),
        ("note=a b", "a b"),
        ("note=gr\u{fc}n\u{1}", "gr\u{fc}n\u{1}"),
        ("note=%22+%3C", "\" <"),
        ("note=%zz%", "%zz%"),
        ("note={|}^`\\", "{|}^`\\"),
        // Longer than a URI may be.
        (&format!("note={quotes}"), &quotes),
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
fn forged_headers_about_the_host_are_ignored() {
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
fn header_values_that_are_not_text_are_left_out() {
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
fn header_names_are_case_insensitive() {
    let event = PLACE.replace("\"idempotency-key\"", "\"Idempotency-Key\"");
    assert!(recorded(&event).header("idempotency-key").is_some());
    let built = Request::new().with_header("Idempotency-Key", "k");
    assert_eq!(built.header("idempotency-key"), Some("k"));
}

#[test]
fn a_page_has_20_items_by_default() {
    let page = |limit, after: Option<&str>| Page {
        limit,
        after: after.map(str::to_owned),
    };
    assert_eq!(Request::new().page().unwrap(), page(20, None));
    let request = Request::new()
        .with_query("limit", "100")
        .with_query("cursor", cursor::encode(&"abc"));
    assert_eq!(request.page().unwrap(), page(100, Some("abc")));
    let request = Request::new().with_query("cursor", "");
    assert_eq!(request.page().unwrap(), page(20, None));
}

#[test]
fn a_limit_must_be_a_whole_number_from_1_to_100() {
    for (limit, sent) in [
        ("0", "0, "),
        ("101", "101, "),
        ("-1", "-1, "),
        ("9223372036854775807", "9223372036854775807, "),
        // Other text may be a secret and is not repeated.
        ("1.5", ""),
        ("ten", ""),
        ("", ""),
        (" 5", ""),
        ("99999999999999999999999", ""),
    ] {
        let problem = Request::new()
            .with_query("limit", limit)
            .page::<String>()
            .unwrap_err();
        assert_eq!(
            problem.errors(),
            [FieldError::parameter(
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
    let capitals = Uuid::from_u128(0xabc);
    let request =
        Request::new().with_path_parameter("id", capitals.to_string().to_ascii_uppercase());
    assert_eq!(request.uuid("id").unwrap(), capitals);
    for text in [
        "",
        "7",
        "not-a-uuid",
        "01890a5d-ac96-774b-bcce-b302099a805g",
        // Other spellings of ids.
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        let problem = Request::new()
            .with_path_parameter("id", text)
            .uuid("id")
            .unwrap_err();
        assert_eq!(problem.status(), 400, "{text:?}");
        assert_eq!(problem.errors()[0].name, "id");
    }
}

#[test]
fn a_mistake_in_the_body_is_named_by_its_json_pointer() {
    // A body on one line, its mistake on the next.
    const CASES: &str = r#"
{"lines": []  , "colour": 1}
/colour is not a known field; known here: lines, note, delivery
{"a/b~c": 1, "lines": []}
/a~1b~0c is not a known field; known here: lines, note, delivery
{}
/lines is missing
{"lines": null}
/lines is null, not an array
{"lines": {}}
/lines is an object, not an array
{"lines": [7]}
/lines/0 is a number, not an object
{"lines": [{"sku": "a", "quantity": 1}, {"sku": "b"}]}
/lines/1/quantity is missing
{"lines": [{"sku": "a", "quantity": "2"}]}
/lines/0/quantity is a string, not a whole number
{"lines": [{"sku": "a", "quantity": -1}]}
/lines/0/quantity is -1, not a whole number from 0 to 4294967295
{"lines": [{"sku": "a", "quantity": 1.5}]}
/lines/0/quantity is 1.5, not a whole number
{"lines": [{"sku": "a", "quantity": 4294967296}]}
/lines/0/quantity is 4294967296, not a whole number from 0 to 4294967295
{"lines": [{"sku": "a", "quantity": 99999999999999999999999}]}
/lines/0/quantity is 99999999999999999999999, not a whole number from 0 to 4294967295
{"lines": [{"sku": "a", "quantity": 1e999}]}
/lines/0/quantity is 1e999, not a whole number from 0 to 4294967295
{"lines": [{"sku": "a", "sku": "b", "quantity": 1}]}
/lines/0/sku occurs more than once
{"lines": [], "lines": []}
/lines occurs more than once
{"lines": [], "note": 5}
/note is a number, not a string
{"lines": [], "delivery": "pigeon"}
/delivery is not one of post, courier
{"lines": [], "delivery": 5}
/delivery is a number, not a string
{"lines": [], "note": "a\ud800b"}
/note has a \u escape that is half of a surrogate pair; send whole characters
{"lines": [{"sku": "\udc00\ud800"}]}
/lines/0/sku has a \u escape that is half of a surrogate pair; send whole characters
[]
 the body is an array, not an object
[[], null, null]
 the body is an array, not an object
[7, {"lines": 7}]
 the body is an array, not an object
[7
 the body is not JSON: EOF while parsing a list at line 1 column 2
7
 the body is a number, not an object
null
 the body is null, not an object
"lines"
 the body is a string, not an object
{
 the body is not JSON: EOF while parsing an object at line 1 column 1
{"lines": [}
 the body is not JSON: expected value at line 1 column 12
{'lines': []}
 the body is not JSON: key must be a string at line 1 column 2
{"lines": []} {}
 the body is not JSON: trailing characters at line 1 column 15
lines=1&note=2
 the body is not JSON: expected value at line 1 column 1"#;
    let lines: Vec<&str> = CASES.lines().skip(1).collect();
    for case in lines.chunks(2) {
        assert_eq!(mistake::<Order>(case[0]), case[1], "{}", case[0]);
    }
    let eof = "the body is not JSON: EOF while parsing a value at line 1 column 1";
    let bom = "the body is not JSON: expected value at line 1 column 1";
    for (body, detail) in [
        ("", "the body is empty; send a JSON object"),
        (" ", eof),
        ("\u{feff}{\"lines\": []}", bom),
    ] {
        assert_eq!(mistake::<Order>(body), format!(" {detail}"), "{body:?}");
    }
    let long = format!(r#"{{"lines": [], "{}": 1}}"#, "x".repeat(65));
    let shortened = format!("/{}… is not a known field", "x".repeat(63));
    assert!(mistake::<Order>(&long).starts_with(&shortened));
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
fn a_value_that_is_not_a_whole_number_is_described() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Counts {
        #[serde(default)]
        signed: i64,
        #[serde(default)]
        unsigned: u64,
    }
    const WHOLE: &str = "a whole number";
    const SIGNED: &str = "a whole number from -9223372036854775808 to 9223372036854775807";
    const UNSIGNED: &str = "a whole number from 0 to 18446744073709551615";
    const TINY: &str = "1e-99999999999999999999";
    let digits = format!("{}.5", "9".repeat(50_000));
    for (name, sent, described, wanted) in [
        ("signed", "1.5", "1.5", WHOLE),
        ("signed", "-1e-1", "-1e-1", WHOLE),
        ("signed", TINY, TINY, WHOLE),
        ("signed", "\"1\"", "a string", WHOLE),
        ("signed", "true", "true", WHOLE),
        ("signed", "null", "null", WHOLE),
        ("signed", "[1]", "an array", WHOLE),
        ("signed", "{}", "an object", WHOLE),
        ("signed", "1e400", "1e400", SIGNED),
        ("signed", "-1e400", "-1e400", SIGNED),
        (
            "signed",
            "9223372036854775808",
            "9223372036854775808",
            SIGNED,
        ),
        (
            "signed",
            "9223372036854775808.0",
            "9223372036854775808.0",
            SIGNED,
        ),
        ("signed", &digits, "a number of many digits", SIGNED),
        ("unsigned", "-1", "-1", UNSIGNED),
        ("unsigned", "-1.0", "-1.0", UNSIGNED),
        (
            "unsigned",
            "18446744073709551616",
            "18446744073709551616",
            UNSIGNED,
        ),
        ("unsigned", "1e20", "1e20", UNSIGNED),
    ] {
        let body = format!(r#"{{"{name}": {sent}}}"#);
        let expected = format!("/{name} is {described}, not {wanted}");
        assert_eq!(mistake::<Counts>(&body), expected);
    }
}

#[test]
fn a_number_that_json_does_not_allow_is_refused() {
    for number in [
        "01.0", ".5", "1.", "+1.0", "1e", "0x1", "1.0e+", "-", "1_0.0",
    ] {
        let body = format!(r#"{{"lines": [{{"sku": "a", "quantity": {number}}}]}}"#);
        let mistake = mistake::<Order>(&body);
        assert!(mistake.starts_with(" the body is not JSON"), "{mistake}");
    }
}

#[test]
fn all_mistakes_of_a_body_are_reported_together() {
    let body = r#"{
        "lines": [{"sku": "a", "quantity": 0.5, "colour": "red"}, ["b", 1], {"quantity": null}],
        "note": 7,
        "colour": 1e999
    }"#;
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Strict {
        lines: Vec<Object<Line>>,
        note: Option<String>,
        delivery: Option<Delivery>,
    }
    let expected = [
        "/colour is not a known field; known here: lines, note, delivery",
        "/lines/0/colour is not a known field; known here: sku, quantity",
        "/lines/0/quantity is 0.5, not a whole number",
        "/lines/1 is an array, not an object",
        "/lines/2/quantity is null, not a whole number",
        "/lines/2/sku is missing",
        "/note is a number, not a string",
    ];
    assert_eq!(mistakes::<Strict>(body), expected);
}

#[test]
fn an_unknown_field_does_not_hide_a_wrong_value() {
    let read = |body: &str| {
        let request = Request::new().with_body(body.to_owned());
        let read = request.parse(request.fields(), |line: Line, fields| {
            let sku = (line.sku == "tea").then_some(()).ok_or("is not tea");
            let few = (line.quantity > 0).then_some(()).ok_or("is not some");
            let sku = fields.take("/sku", sku);
            let few = fields.take_number("/quantity", line.quantity.into(), few);
            sku.and(few)
        });
        let problem = read.err();
        problem.map_or(vec![], |problem| texts(problem.errors()))
    };
    const COLOUR: &str = "/colour is not a known field; known here: sku, quantity";
    let none: [&str; 0] = [];
    assert_eq!(read(r#"{"sku": "tea", "quantity": 2}"#), none);
    let body = r#"{"sku": "tea", "quantity": 2, "colour": 1}"#;
    assert_eq!(read(body), [COLOUR]);
    let body = r#"{"colour": 1, "sku": "mug", "quantity": 2}"#;
    assert_eq!(read(body), [COLOUR, "/sku is not tea"]);
    let body = r#"{"colour": 1, "sku": "tea", "quantity": 0}"#;
    assert_eq!(read(body), [COLOUR, "/quantity is 0, not some"]);
    // The stand-in for the missing quantity is not reported as wrong.
    let body = r#"{"colour": 1, "sku": "mug"}"#;
    let missing = "/quantity is missing";
    assert_eq!(read(body), [COLOUR, missing, "/sku is not tea"]);
    let body = r#"{"sku": "mug", "sku": "mug", "quantity": 1}"#;
    let twice = "/sku occurs more than once";
    assert_eq!(read(body), [twice, "/sku is not tea"]);
}

#[test]
fn a_number_beyond_64_bits_is_reported_with_the_fields_range() {
    #[derive(Deserialize)]
    struct Counted {
        count: i64,
    }
    let many = "9".repeat(400);
    for (sent, described) in [
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
        let read = request.parse(request.fields(), |body: Counted, fields| {
            let few = match body.count {
                1..=9 => Ok(()),
                _ => Err("is not a whole number from 1 to 9"),
            };
            fields.take_number("/count", body.count, few)
        });
        let expected = format!("/count is {described}, not a whole number from 1 to 9");
        assert_eq!(texts(read.unwrap_err().errors()), [expected]);
    }
}

/// The status and type of the answer to a body with these headers.
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
async fn every_spelling_of_the_json_content_type_is_accepted() {
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
async fn another_content_type_or_encoding_is_415() {
    let unsupported = (415, "/problems/unsupported-media-type".to_owned());
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
async fn a_415_names_the_accepted_type() {
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
        "type": "/problems/unsupported-media-type",
        "urn": "urn:waybill:problem:unsupported-media-type",
        "title": "The type of the request body is not supported",
        "status": 415,
        "detail": "the body is not declared as JSON in UTF-8; send Content-Type: application/json",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    assert_eq!(response, (415, expected, body));
}

/// The mistakes that the runner reports before it calls the handler.
async fn refused(query: Query, request: Request) -> Vec<String> {
    let handler = async |_: Context, _: Request| Ok(Response::empty(204));
    let response = query.respond(&origin(), request, handler).await;
    let Some(body) = response.body else {
        return Vec::new();
    };
    assert_eq!(response.status, 400);
    let body: Value = serde_json::from_str(&body).unwrap();
    let errors = body["errors"].as_array().unwrap().iter();
    errors
        .map(|error| {
            let [name, detail] = [name(error), &error["detail"]].map(|text| text.as_str().unwrap());
            format!("{name} {detail}")
        })
        .collect()
}

/// The pointer or the name of a parameter or header; an error has exactly one.
pub fn name(error: &Value) -> &Value {
    assert_eq!(error.as_object().unwrap().len(), 2, "{error}");
    let parts = ["pointer", "parameter", "header"].into_iter();
    parts.filter_map(|part| error.get(part)).next().unwrap()
}

fn asking(query: &str) -> Request {
    sent_with(|event| event["rawQueryString"] = json!(query))
}

#[tokio::test]
async fn an_unknown_or_repeated_query_parameter_is_refused() {
    const LISTED: Query = Query(&["limit", "cursor"]);
    let quotes = "\"".repeat(21_841);
    let shortened = format!("{}…", "\"".repeat(63));
    let long = "x".repeat(64);
    for (query, unknown, repeated) in [
        ("", vec![], None),
        ("limit=1&cursor=a%2Cb,c", vec![], None),
        ("limt=1", vec!["limt"], None),
        ("Limit=1", vec!["Limit"], None),
        ("limit=1&limit=1", vec![], Some("limit")),
        ("limit=1&limit=2&limit=3&x", vec!["x"], Some("limit")),
        ("x=1&x=2", vec!["x"], None),
        ("=1", vec!["\"\""], None),
        (&quotes, vec![&*shortened], None),
        (&long, vec![&*long], None),
    ] {
        let repeated = repeated.map(|name| format!("{name} occurs more than once; send it once"));
        let unknown = unknown
            .iter()
            .map(|name| format!("{name} is not a known parameter; known here: limit, cursor"));
        let expected: Vec<String> = repeated.into_iter().chain(unknown).collect();
        assert_eq!(refused(LISTED, asking(query)).await, expected, "{query}");
    }
    let none = "limit is not a known parameter; none is known here";
    assert_eq!(refused(Query::NONE, asking("limit=1")).await, [none]);
}

#[tokio::test]
async fn a_bounded_list_of_mistakes_says_at_least() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Placed {
        lines: Vec<Object<Line>>,
    }
    let detail = async |request: Request| {
        let read = async |_: Context, request: Request| {
            if !request.body().is_empty() {
                request.json::<Placed>()?;
            }
            Ok(Response::empty(204))
        };
        let (_, _, body) = sent(request, read).await;
        let named = body["errors"].as_array().unwrap().len();
        (named, body["detail"].as_str().unwrap().to_owned())
    };
    let expected = |count, detail: &str| (count, format!("{detail} things are wrong; see errors"));
    let names = |count: usize| (0..count).map(|n| format!("x{n}")).collect::<Vec<_>>();
    let query = |count| asking(&names(count).join("&"));
    assert_eq!(detail(query(20)).await, expected(20, "20"));
    assert_eq!(detail(query(3000)).await, expected(20, "at least 20"));
    let body = |count| {
        let fields: Vec<String> = names(count).iter().map(|x| format!("\"{x}\":1,")).collect();
        Request::new().with_body(format!("{{{}\"lines\":[]}}", fields.concat()))
    };
    assert_eq!(detail(body(49)).await, expected(49, "49"));
    assert_eq!(detail(body(3000)).await, expected(50, "at least 50"));
    // A missing field is repaired in two steps, and a line that is no object in five.
    let lines = |line: &str| {
        let lines = vec![line; 50].join(",");
        Request::new().with_body(format!("{{\"lines\": [{lines}]}}"))
    };
    let missing = lines(r#"{"sku": "a"}"#);
    assert_eq!(detail(missing).await, expected(25, "at least 25"));
    assert_eq!(detail(lines("7")).await, expected(10, "at least 10"));
}

/// A `POST` with a mistake in each part.
fn wrong_everywhere(body: &str) -> Request {
    sent_with(|event| {
        event["requestContext"]["http"]["method"] = json!("POST");
        event["rawQueryString"] = json!("colour=red");
        event["pathParameters"] = json!({"id": "seven"});
        event["headers"] = json!({
            "content-type": "application/json",
            "idempotency-key": "k,l",
            "if-match": "\"tag\"",
        });
        event["body"] = json!(body);
    })
}

#[tokio::test]
async fn one_answer_lists_the_mistakes_of_all_parts() {
    let read = async |_: Context, request: Request| {
        let mut fields = request.fields();
        let id = fields.add(request.uuid("id"));
        let key = fields.take_header("Idempotency-Key", request.idempotency_key());
        request.parse(fields, |_: Order, _| id.zip(key))?;
        Ok(Response::empty(204))
    };
    let mut known = vec!["Idempotency-Key", "If-Match", "colour", "id"];
    for (body, of_body) in [
        (r#"{"lines": [], "colour": 1}"#, "/colour"),
        (r#"{"lines": 7}"#, "/lines"),
        ("[]", ""),
        ("{", ""),
        ("", ""),
    ] {
        known.push(of_body);
        let (status, _, answer) = sent(wrong_everywhere(body), read).await;
        let errors = answer["errors"].as_array().unwrap();
        let names: Vec<&str> = errors.iter().map(|e| name(e).as_str().unwrap()).collect();
        assert_eq!((status, &names), (400, &known), "{body}");
        known.pop();
    }
    let right = Request::new().with_path_parameter("id", Uuid::nil().to_string());
    let right = right.with_body(r#"{"lines": []}"#);
    assert_eq!(respond(&origin(), right, read).await.status, 204);
}

#[tokio::test]
async fn every_reader_refuses_a_request_with_mistakes() {
    type Reader = fn(&Request) -> Result<(), Problem>;
    let readers: [Reader; 5] = [
        |request| request.uuid("id").map(drop),
        |request| request.page::<String>().map(drop),
        |request| request.json::<Order>().map(drop),
        |request| request.parse(request.fields(), |_: Order, _| Some(())),
        |request| request.fields().finish(Some(())),
    ];
    let request = |query: &str| {
        let request = asking(query).with_body(r#"{"lines": []}"#);
        request.with_path_parameter("id", Uuid::nil().to_string())
    };
    for read in readers {
        for (query, status) in [("", 204), ("colour=red", 400)] {
            let reached = std::cell::Cell::new(false);
            let handler = async |_: Context, request: Request| {
                read(&request)?;
                reached.set(true);
                Ok(Response::empty(204))
            };
            let response = respond(&origin(), request(query), handler).await;
            assert_eq!((response.status, reached.get()), (status, status == 204));
        }
    }
}

#[tokio::test]
async fn the_token_is_checked_before_other_mistakes() {
    let (verifier, _) = verifier_and_issuer();
    let read = async |context: Context, request: Request| {
        authenticate(&verifier, &request, context.now)?;
        Ok(Response::empty(204))
    };
    let (status, ..) = sent(wrong_everywhere("{}"), read).await;
    assert_eq!(status, 401);
    let twice = wrong_everywhere("{}").with_header("authorization", "Bearer a,Bearer b");
    let (status, _, body) = sent(twice, read).await;
    assert_eq!(
        (status, &body["errors"][0]["header"]),
        (400, &json!("Authorization"))
    );
}

#[tokio::test]
async fn a_repeated_single_header_has_equal_values_or_is_refused() {
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
                    vec![format!("{name} {TWICE}, {quotes}")]
                }
                None => vec![format!("{name} {TWICE}")],
            };
            let lower = name.to_ascii_lowercase();
            assert_eq!(request.header(&lower), Some(one.unwrap_or(value)));
            assert_eq!(refused(Query::NONE, request).await, expected, "{value}");
        }
    }
    // Other headers are lists and may be repeated.
    let lists = Request::new()
        .with_header("waybill-fault", "a=b,a=b")
        .with_header("x-forwarded-for", "a,b");
    assert_eq!(lists.header("waybill-fault"), Some("a=b,a=b"));
    assert!(refused(Query::NONE, lists).await.is_empty());
}

#[tokio::test]
async fn equal_repeats_of_a_trace_continue_it_and_others_do_not() {
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
fn quotes_and_repeats_do_not_change_an_idempotency_key() {
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
fn a_deeply_nested_body_is_refused_and_spares_the_stack() {
    let depth = MAX_BODY_BYTES / 2 - 20;
    let nested = format!(
        "{{\"lines\": [], \"note\": {}{}}}",
        "[".repeat(depth),
        "]".repeat(depth)
    );
    assert_eq!(mistake::<Order>(&nested), "/note is an array, not a string");
    let request = Request::new().with_body(nested);
    assert_eq!(request.json::<Value>().unwrap_err().status(), 400);
}

#[test]
fn a_body_may_have_64_kib() {
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
fn a_reported_mistake_never_repeats_a_password() {
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
    for mistake in bodies.into_iter().flat_map(mistakes::<Login>) {
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    let numbered = r#"{"email": "a@example.com", "password": 12345678}"#;
    let expected = "/password is a number, not a string";
    assert_eq!(mistake::<Login>(numbered), expected);
    // A custom deserializer may quote the value.
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only ever refused")]
    struct Dated {
        born: jiff::Timestamp,
    }
    let born = mistake::<Dated>(r#"{"born": "hunter2"}"#);
    assert_eq!(born, "/born is not valid here");
    let number = mistake::<u8>(r#""hunter2, expected u64 at line 9""#);
    assert_eq!(number, " the body is a string, not a whole number");
}

#[tokio::test]
async fn a_json_response_has_its_type_and_is_not_cached() {
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
fn a_header_set_again_replaces_the_first_in_any_case() {
    let response = Response::json(200, &json!({}))
        .with_header("Cache-Control", "max-age=60")
        .with_header("cache-control", "max-age=300");
    assert_eq!(response.header("cache-control"), Some("max-age=300"));
    let set = response.headers.iter();
    let named = set.filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    assert_eq!(named.count(), 1);
}

#[tokio::test]
async fn a_request_continues_the_callers_trace() {
    let response = sent(recorded(PLACE), async |context, _| {
        Ok(Response::json(200, &json!({"trace": context.traceparent})))
    })
    .await;
    assert_eq!(
        response.2,
        json!({"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-8000000000000001-01"})
    );
}

#[tokio::test]
async fn every_answer_names_its_request_and_its_trace() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-8000000000000001-01";
    let outcomes: [fn() -> Result<Response, Problem>; 4] = [
        || Ok(Response::json(200, &json!({}))),
        || Ok(Response::empty(204)),
        || Err(Problem::not_found("there is no such order")),
        || Err(Problem::internal("a bug")),
    ];
    for outcome in outcomes {
        let response = respond(&origin(), recorded(PLACE), async |_, _| outcome()).await;
        assert_eq!(response.header("x-request-id"), Some("Zf3kQj0IIAMEJ5w="));
        assert_eq!(response.header("traceparent"), Some(trace));
    }
    let unknown = sent_with(|event| event["rawQueryString"] = json!("colour=red"));
    let response = respond(&origin(), unknown, async |_, _| Ok(Response::empty(204))).await;
    assert_eq!(response.status, 400);
    assert!(response.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_request_is_one_log_line_without_its_content() {
    let order = Uuid::from_u128(9);
    let (verifier, issuer) = verifier_and_issuer();
    let user = Uuid::from_u128(7);
    let token = issuer
        .issue(user, Role::Customer, now(), Uuid::from_u128(8))
        .token;
    let logs = Logs::start();
    let place = recorded(PLACE).with_header("authorization", format!("Bearer {token}"));
    respond(&origin(), place, async |context, request| {
        authenticate(&verifier, &request, context.now)?;
        let location = format!("/api/v1/orders/{order}");
        Ok(Response::json(202, &json!({})).with_header("location", location))
    })
    .await;
    let read = Request::new()
        .with_route("GET /api/v1/orders/{id}", "b")
        .with_path_parameter("id", order.to_string())
        .with_query("hunter2", "hunter2")
        .with_source_address("203.0.113.7");
    respond(&origin(), read, async |_, _| Ok(Response::empty(204))).await;
    let users = Request::new()
        .with_route("GET /api/v1/users/{id}", "c")
        .with_path_parameter("id", user.to_string());
    respond(&origin(), users, async |_, _| {
        Err(Problem::not_found("hunter2"))
    })
    .await;
    let placed = json!({
        "route": "POST /api/v1/orders",
        "status": 202,
        "caller": user,
        "order": order,
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "request": "Zf3kQj0IIAMEJ5w=",
    });
    let refused = json!({
        "route": "GET /api/v1/orders/{id}",
        "status": 400,
        "problem": "invalid-request",
        "order": order,
        "trace": TRACE_ID,
        "request": "b",
    });
    let unknown = json!({
        "route": "GET /api/v1/users/{id}",
        "status": 404,
        "problem": "not-found",
        "trace": TRACE_ID,
        "request": "c",
    });
    assert_eq!(logs.lines(), [placed, refused, unknown]);
}

async fn panics_after_an_await(_: Context, _: Request) -> Result<Response, Problem> {
    tokio::task::yield_now().await;
    panic!("hunter2")
}

#[tokio::test]
async fn a_panic_is_a_500_without_its_message() {
    let logs = Logs::start();
    let expected = json!({
        "type": "/problems/internal",
        "urn": "urn:waybill:problem:internal",
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
fn a_valid_token_names_the_caller() {
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
        "type": "/problems/unauthorized",
        "urn": "urn:waybill:problem:unauthorized",
        "title": "The caller is not authenticated",
        "status": 401,
        "detail": "the request carries no bearer token in its Authorization header",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    assert_eq!(response, (401, expected, body));
}

#[tokio::test]
async fn an_invalid_token_gets_a_401_that_names_the_error() {
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
fn the_source_address_comes_from_the_gateway_not_a_header() {
    assert_eq!(recorded(GET_ITEM).source_address(), Some("203.0.113.7"));
    let header = "\"x-forwarded-for\": \"203.0.113.7\"";
    assert!(GET_ITEM.contains(header));
    let forged = GET_ITEM.replace(header, "\"x-forwarded-for\": \"198.51.100.1\"");
    assert_eq!(recorded(&forged).source_address(), Some("203.0.113.7"));
    assert_eq!(Request::new().source_address(), None);
    let set = Request::new().with_source_address("192.0.2.1");
    assert_eq!(set.source_address(), Some("192.0.2.1"));
}
