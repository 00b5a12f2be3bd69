//! The public half of a problem, and the half for the log.

use serde_json::{Value, json};
use shared_lambda::http::{Request, Response, respond};
use shared_lambda::problem::{FieldError, Fields, Problem};
use shared_lambda::problems::ProblemType;

use crate::logs::Logs;
use crate::{TRACE_ID, origin};

#[derive(Debug, thiserror::Error)]
#[error("the table refused the write")]
struct Refused(#[source] std::io::Error);

fn refused() -> Refused {
    Refused(std::io::Error::other("row of a@example.com"))
}

async fn response(problem: Problem) -> Response {
    let problem = std::sync::Mutex::new(Some(problem));
    respond(&origin(), Request::new(), async |_, _| {
        Err(problem.lock().unwrap().take().unwrap())
    })
    .await
}

async fn body(problem: Problem) -> Value {
    serde_json::from_str(&response(problem).await.body.unwrap()).unwrap()
}

#[tokio::test]
async fn an_invalid_request_lists_every_wrong_field() {
    let problem = Problem::invalid(vec![
        FieldError::new("/lines/0/quantity", "is not from 1 to 10000"),
        FieldError::new("/lines/1/sku", "is the same as in another line"),
    ]);
    let expected = json!({
        "type": "/problems/invalid-request",
        "urn": "urn:waybill:problem:invalid-request",
        "title": "The request is not valid",
        "status": 400,
        "detail": "2 things are wrong; see errors",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
        "errors": [
            {"pointer": "/lines/0/quantity", "detail": "is not from 1 to 10000"},
            {"pointer": "/lines/1/sku", "detail": "is the same as in another line"},
        ],
    });
    assert_eq!(body(problem).await, expected);
}

#[tokio::test]
async fn a_mistake_says_which_part_of_the_request_is_wrong() {
    let problem = Problem::invalid(vec![
        FieldError::new("/name", "is missing"),
        FieldError::parameter("limit", "is 0"),
        FieldError::header("Idempotency-Key", "is empty"),
    ]);
    let expected = json!([
        {"pointer": "/name", "detail": "is missing"},
        {"parameter": "limit", "detail": "is 0"},
        {"header": "Idempotency-Key", "detail": "is empty"},
    ]);
    assert_eq!(body(problem).await["errors"], expected);
}

#[tokio::test]
async fn mistakes_of_several_parameters_are_one_problem() {
    let mut fields = Fields::default();
    let limit = Request::new().with_query("limit", "0");
    let page = fields.add(limit.page::<String>());
    let id = fields.add(Request::new().uuid("id"));
    let problem = body(fields.finish(page.zip(id)).unwrap_err()).await;
    let names: Vec<&Value> = problem["errors"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&names[0]["parameter"], &names[1]["parameter"]),
        (&json!("limit"), &json!("id"))
    );
}

#[tokio::test]
async fn a_single_mistake_is_the_detail_itself() {
    let one = body(Problem::invalid_field("/name", "is missing")).await;
    assert_eq!(one["detail"], "/name is missing");
    let whole = body(Problem::invalid_field("", "the body is empty")).await;
    assert_eq!(whole["detail"], "the body is empty");
    assert_eq!(
        whole["errors"],
        json!([{"pointer": "", "detail": "the body is empty"}])
    );
}

#[tokio::test]
async fn a_problem_has_the_name_status_and_title_of_its_type() {
    const TOO_LATE: ProblemType = ProblemType {
        slug: "too-late",
        status: 409,
        title: "It is too late",
        when: "",
        remedy: "",
    };
    let problem = Problem::new(&TOO_LATE, "d");
    assert_eq!((problem.status(), problem.slug()), (409, "too-late"));
    let response = response(problem).await;
    assert_eq!(response.status, 409);
    let expected = json!({
        "type": "/problems/too-late",
        "urn": "urn:waybill:problem:too-late",
        "title": "It is too late",
        "status": 409,
        "detail": "d",
        "instance": format!("urn:waybill:trace:{TRACE_ID}"),
    });
    let body: Value = serde_json::from_str(&response.body.unwrap()).unwrap();
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_retryable_problem_has_retry_after() {
    let busy = response(Problem::too_many_requests(30)).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("30")));
    let down = response(Problem::unavailable("x")).await;
    assert_eq!((down.status, down.header("retry-after")), (503, Some("1")));
    let bug = response(Problem::internal("x")).await;
    assert_eq!((bug.status, bug.header("retry-after")), (500, None));
}

#[tokio::test]
async fn a_cause_is_logged_once_with_its_chain_and_never_sent() {
    for problem in [
        Problem::unavailable(refused()),
        Problem::internal(refused()),
    ] {
        let logs = Logs::start();
        let (status, slug) = (problem.status(), problem.slug());
        let response = response(problem).await;
        let body = response.body.unwrap();
        let public: Value = serde_json::from_str(&body).unwrap();
        assert!(
            !body.contains("refused") && !body.contains("example.com"),
            "{body}"
        );
        let expected = json!({
            "level": "ERROR",
            "message": "request failed",
            "route": "",
            "status": status,
            "problem": slug,
            "trace": TRACE_ID,
            // Only the detail may name the order.
            "detail": public["detail"],
            "cause": "the table refused the write: row of a@example.com",
        });
        assert_eq!(logs.lines(), [expected]);
    }
}

#[tokio::test]
async fn the_cause_of_a_refusal_is_not_logged() {
    let logs = Logs::start();
    let response = response(Problem::not_found("no such order").with_cause(refused())).await;
    assert_eq!(response.status, 404);
    assert!(!response.body.unwrap().contains("refused"));
    let line = json!({
        "route": "", "status": 404, "problem": "not-found", "trace": TRACE_ID,
    });
    assert_eq!(logs.lines(), [line]);
}

#[tokio::test]
async fn a_problem_is_never_cached() {
    let response = response(Problem::not_found("no such order")).await;
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
}
