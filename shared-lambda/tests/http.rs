//! From a recorded API Gateway event to a request, and from an outcome to what Lambda sends.

use serde::Deserialize;
use serde_json::{Value, json};
use shared_auth::{Issuer, Role, SigningKey, Verifier, jwks};
use shared_lambda::Context;
use shared_lambda::http::{MAX_BODY_BYTES, Page, Request, Response, authenticate, respond};
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

/// What [`Request::json`] finds wrong, as pointer and detail.
fn mistake<T: serde::de::DeserializeOwned>(body: &str) -> (String, String) {
    let request = Request::new().with_body(body.to_owned());
    let Err(problem) = request.json::<T>() else {
        panic!("{body} was accepted");
    };
    let [FieldError { pointer, detail }] = problem.errors() else {
        panic!("{problem:?}");
    };
    (pointer.clone(), detail.clone())
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
fn of_a_repeated_query_parameter_the_last_one_counts() {
    assert_eq!(recorded(GET_ITEM).query("limit"), Some("7"));
}

#[test]
fn a_header_that_is_not_ascii_is_kept() {
    assert_eq!(recorded(GET_ITEM).header("x-name"), Some("grün"));
}

#[test]
fn a_header_that_is_not_even_utf_8_does_not_look_absent() {
    let mut raw = lambda_http::request::from_str(PLACE).unwrap();
    let value = lambda_http::http::HeaderValue::from_bytes(b"key-\xff").unwrap();
    raw.headers_mut().insert("idempotency-key", value);
    assert_eq!(
        Request::from(raw).header("idempotency-key"),
        Some("key-\u{fffd}")
    );
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
fn a_header_with_control_characters_is_kept_without_them_and_one_without_a_name_is_left_out() {
    let request = sent_with(|event| {
        event["headers"]["idempotency-key"] = json!("a\u{1}b\u{7f}c\td\r\n");
        event["headers"]["no name"] = json!("x");
        event["headers"][""] = json!("x");
        event["headers"]["x-list"] = json!(["x"]);
        event["cookies"] = json!(["a=\u{1}"]);
    });
    let key = request.header("idempotency-key");
    assert_eq!(key, Some("a\u{fffd}b\u{fffd}c\td\u{fffd}\u{fffd}"));
    assert_eq!(
        (request.header("no name"), request.header("x-list")),
        (None, None)
    );
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
}

#[test]
fn a_limit_that_is_no_number_from_1_to_100_is_refused() {
    for limit in [
        "0",
        "101",
        "-1",
        "1.5",
        "ten",
        "",
        " 5",
        "99999999999999999999999",
    ] {
        let problem = Request::new()
            .with_query("limit", limit)
            .page()
            .unwrap_err();
        assert_eq!(
            problem.errors(),
            [FieldError::new(
                "limit",
                "is not a whole number from 1 to 100"
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
            r#"{"a/b~c": 1}"#,
            "/a~1b~0c",
            "is not a known field; known here: lines, note, delivery",
        ),
        ("{}", "/lines", "is missing"),
        (r#"{"lines": null}"#, "/lines", "is not an array"),
        (r#"{"lines": {}}"#, "/lines", "is not an array"),
        (r#"{"lines": [7]}"#, "/lines/0", "is not an object"),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1}, {"sku": "b"}]}"#,
            "/lines/1/quantity",
            "is missing",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": "2"}]}"#,
            "/lines/0/quantity",
            "is not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": -1}]}"#,
            "/lines/0/quantity",
            "is not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1.5}]}"#,
            "/lines/0/quantity",
            "is not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 4294967296}]}"#,
            "/lines/0/quantity",
            "is not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 99999999999999999999999}]}"#,
            "/lines/0/quantity",
            "is not a whole number from 0 to 4294967295",
        ),
        (
            r#"{"lines": [{"sku": "a", "quantity": 1e999}]}"#,
            "/lines/0/quantity",
            "is not valid here",
        ),
        (
            r#"{"lines": [{"sku": "a", "sku": "b", "quantity": 1}]}"#,
            "/lines/0/sku",
            "is there more than once",
        ),
        (
            r#"{"lines": [], "lines": []}"#,
            "/lines",
            "is there more than once",
        ),
        (r#"{"lines": [], "note": 5}"#, "/note", "is not a string"),
        (
            r#"{"lines": [], "delivery": "pigeon"}"#,
            "/delivery",
            "is not one of post, courier",
        ),
        (
            r#"{"lines": [], "delivery": 5}"#,
            "/delivery",
            "is not valid here",
        ),
        ("[]", "", "the body is not an object"),
        (r#"[[], null, null]"#, "", "the body is not an object"),
        ("null", "", "the body is not an object"),
        ("\"lines\"", "", "the body is not an object"),
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
    let depth = MAX_BODY_BYTES / 2 - 10;
    let nested = format!("{{\"note\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(mistake::<Order>(&nested), pair("/note", "is not a string"));
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
    for body in bodies {
        let (pointer, detail) = mistake::<Login>(body);
        assert!(!detail.contains("hunter2"), "{detail}");
        assert!(!pointer.contains("hunter2"), "{pointer}");
    }
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
        pair("", "the body is not a whole number from 0 to 255")
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
        "title": "The caller is not known",
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
