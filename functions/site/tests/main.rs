//! Every test of this service.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod default;
mod pages;

use serde_json::{Value, json};
use shared_lambda::http::{Query, Request, Response};
use shared_lambda::{Origin, Setup};
use site::handlers::default as handler;
use test_support::Aws;

/// The answer to a request, as the function gives it.
async fn answer(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let headers: serde_json::Map<String, Value> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let event = json!({"rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {"http": {"method": method}}});
    let request = Request::of_event(event).unwrap();
    let setup = Setup::for_tests(Aws::new(), &[("STAGE", "staging")]);
    let site = handler::wire(&setup).unwrap();
    let handle = |context, request| handler::handle(&site, context, request);
    let mut response = Query::ANY.respond(&Origin::system(), request, handle).await;
    // It differs in each answer, so that equal answers would not be equal.
    response.headers.retain(|(name, _)| *name != "traceparent");
    response
}

fn body(response: &Response) -> Value {
    serde_json::from_str(response.body.as_deref().unwrap()).unwrap()
}
