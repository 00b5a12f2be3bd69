//! Calls the functions of a release as Lambda does. The release's own `shared-lambda` reads the events and
//! writes the answers, so none of its types leaves these modules.

use std::iter;
use std::rc::Rc;

use aws_smithy_runtime_api::client::http::HttpConnector;
use futures_util::FutureExt;
use uuid::Uuid;

use super::CALLED_BY;
use super::crates::shared_auth::{Caller, Role};
use super::crates::shared_lambda::envelope::Envelope;
use super::crates::shared_lambda::http::{self, Request};
use super::crates::shared_lambda::problem::Problem;
use super::crates::shared_lambda::sqs::{self, Failure, Outgoing};
use super::crates::shared_lambda::table::TableError;
use super::crates::shared_lambda::{Context, Error, Origin, Setup, telemetry};
use crate::handled::{Handled, HandlerResult};
use crate::participants::Queue;
use crate::system::ADMIN;
use crate::wiring::{Endpoint, Handler, WIRED, Wiring, variables};

pub fn setup(wiring: &Wiring, function: &str) -> Setup {
    setup_over(wiring, function, wiring.aws.clone())
}

/// With another connector for the function's own HTTP requests.
pub fn setup_over(
    wiring: &Wiring,
    function: &str,
    connector: impl HttpConnector + 'static,
) -> Setup {
    Setup::for_tests(connector, &variables(function))
        .with_clients(wiring.dynamodb.clone(), wiring.sqs.clone())
}

/// Times and ids that are equal in every run of a seed.
pub fn origin(wiring: &Wiring) -> Origin {
    let (clock, ids) = (wiring.clock.clone(), wiring.ids.clone());
    Origin::new(move || clock.timestamp(), move || ids.next())
}

pub fn caller(user_id: Uuid) -> Caller {
    Caller {
        user_id,
        role: match user_id {
            ADMIN => Role::Admin,
            _ => Role::Customer,
        },
        token: user_id.to_string(),
    }
}

/// The function of a route.
pub fn endpoint<W: 'static>(
    wiring: &Wiring,
    function: &str,
    wire: impl FnOnce(&Setup) -> Result<W, Error>,
    handle: impl AsyncFn(&W, Caller, Context, Request) -> Result<http::Response, Problem> + 'static,
) -> Endpoint {
    let wired = wire(&setup(wiring, function)).expect(WIRED);
    let function = Rc::new((origin(wiring), wired, handle));
    Box::new(move |user, event| {
        let function = Rc::clone(&function);
        async move {
            let (origin, wired, handle) = &*function;
            let request = Request::of_event(event).expect("the event has the form of 2.0");
            let handled = http::respond(origin, request, |context, request| {
                CALLED_BY(&request, user);
                handle(wired, caller(user), context, request)
            });
            present(handled.await)
        }
        .boxed_local()
    })
}

/// The answer in a type that both releases share.
fn present(response: http::Response) -> ::shared_lambda::http::Response {
    let answer = ::shared_lambda::http::Response {
        body: response.body,
        ..::shared_lambda::http::Response::empty(response.status)
    };
    let headers = response.headers.into_iter();
    headers.fold(answer, |answer, (name, value)| {
        answer.with_header(name, value)
    })
}

/// The function of a queue.
pub fn handler<W: 'static>(
    wiring: &Wiring,
    function: &str,
    wire: impl FnOnce(&Setup) -> Result<W, Error>,
    handle: impl AsyncFn(&W, Context, Envelope) -> Result<Vec<Outgoing>, Failure> + 'static,
) -> Handler {
    let queue = Queue::of(function);
    let trigger = sqs::Queue::new(wiring.sqs.clone(), queue.url().to_owned());
    let trigger = match queue.is_one_at_a_time() {
        true => trigger.one_at_a_time(),
        false => trigger,
    };
    let wired = wire(&setup(wiring, function)).expect(WIRED);
    let record = wiring.record.clone();
    let function = Rc::new((origin(wiring), trigger, wired, handle, record));
    Box::new(move |event, ends_at| {
        let function = Rc::clone(&function);
        async move {
            let (origin, trigger, wired, handle, record) = &*function;
            let handler = |context, envelope: Envelope| {
                let about = Handled {
                    queue,
                    id: envelope.id,
                    order: envelope.subject,
                    kind: envelope.kind.clone(),
                    result: HandlerResult::Done(Vec::new()),
                };
                record.keep(about, handle(wired, context, envelope), result)
            };
            sqs::process(origin, trigger, event, ends_at, handler).await
        }
        .boxed_local()
    })
}

/// Correct services can carry out every message, now or after a retry. A refusal and a lasting table error
/// are bugs.
fn result(handled: &Result<Vec<Outgoing>, Failure>) -> HandlerResult {
    match handled {
        Ok(messages) => HandlerResult::Done(messages.iter().map(|m| m.body().to_owned()).collect()),
        Err(failure) if !failure.is_retried() => {
            HandlerResult::Wrong(format!("can never be carried out: {}", failure.detail()))
        }
        Err(failure) => {
            let cause = failure.cause().map(telemetry::chain).unwrap_or_default();
            let why = format!("{}: {cause}", failure.detail());
            match failure.cause().is_some_and(is_lasting) {
                true => HandlerResult::Wrong(format!("fails at every retry: {why}")),
                false => HandlerResult::Retried(why),
            }
        }
    }
}

/// Whether the root cause is a table error that no retry mends.
fn is_lasting(error: &(dyn std::error::Error + 'static)) -> bool {
    iter::successors(Some(error), |error| error.source()).any(|error| {
        let of_table = error.downcast_ref::<TableError>();
        of_table.is_some_and(|error| !error.is_transient())
    })
}
