//! `POST /api/v1/orders`: takes an order and answers before it is carried out.
//!
//! Outside production the header `Waybill-Fault` makes it a rehearsal.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join;
use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{Object, Request, Response};
use shared_lambda::problem::{FieldError, Fields, Problem};
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, Stage, rest, telemetry};
use tokio::time::timeout;
use uuid::Uuid;

use super::view::{OrderBody, polled};
use crate::advance::Saga;
use crate::domain::{
    Command, Currency, Draft, InjectedFaults, Line, MAX_LINES, Money, Order, OrderId, Participant,
    PaymentMethod, Quantity, RECENT_ORDERS, RECENT_WINDOW, Sku, UserId, Wait, may_place, owed,
    place,
};
use crate::messages::Routes;
use crate::store::Inserted;
use crate::users_client::{Permission, Users, patience};

/// The namespace of request fingerprints: the body's UUIDv5, which only has to tell one user's
/// requests under one key apart.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x0d4e_91a7_52c8_4f36_a0b9_6f1d_8e24_7c53);

const FAULT_HEADER: &str = "waybill-fault";

/// How long the customer's other orders are waited for. It is as long as one try at users, which is
/// asked at the same time.
const RECENT_PATIENCE: Duration = Duration::from_millis(1500);

/// What placing needs besides the request.
pub struct Place {
    pub saga: Saga,
    pub users: Users,
    pub stage: Stage,
}

/// Placing may not charge, so there is no route to payments.
pub fn wire(setup: &Setup) -> Result<Place, Error> {
    let routes = Routes::default()
        .users(setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?);
    let users = rest::Client::new(&setup.env("USERS_URL")?, setup.connector(), patience());
    Ok(Place {
        saga: Saga::wire(setup, routes)?,
        users: Users::new(users),
        stage: Stage::parse(&setup.env("STAGE")?)?,
    })
}

/// The body, as the client wrote it. Serialised again it is the canonical form that is compared
/// when a key comes back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    lines: Vec<Object<LineBody>>,
    payment_method: String,
    expected_total: Option<Object<MoneyBody>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    sku: String,
    quantity: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyBody {
    amount: i64,
    currency: String,
}

impl MoneyBody {
    /// The total it says, with what is wrong about it under `/expected_total`.
    fn parse(&self, errors: &mut Fields) -> Option<Money> {
        let amount = Money::minor_units(self.amount);
        let amount = errors.take_number("/expected_total/amount", self.amount, amount);
        let currency = Currency::parse(&self.currency);
        let currency = errors.take("/expected_total/currency", currency);
        Some(Money {
            amount: amount?,
            currency: currency?,
        })
    }
}

pub async fn handle(
    service: &Place,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    may_inject_faults(service.stage, &request)?;
    let (draft, formerly) =
        request.parse(|body, fields| draft(&caller, &context, &request, &body, fields))?;
    if let Some(id) = formerly
        && let Some(existing) = service.saga.orders.get(id).await?
        && existing.user_id == draft.user_id
    {
        return again(service, &draft.fingerprint, &existing, &context).await;
    }
    let (permission, standing) = join(
        permission(service, &draft, &caller, &context),
        standing(service, &draft, &context),
    )
    .await;
    let verified = match permission {
        Permission::Allowed => true,
        Permission::Unknown => false,
        Permission::Refused => return refused(service, &draft).await,
    };
    let has_key = request.header("idempotency-key").is_some();
    if let Err(wait) = standing {
        return too_many(service, &draft, has_key, &wait, &context).await;
    }
    let order = place(draft, verified, service.saga.timeout, context.now);
    let inserted = service.saga.orders.insert(&order).await;
    match inserted.map_err(|error| not_inserted(error, order.id, has_key))? {
        Inserted::New => {
            service.saga.send_owed(&order, &context).await;
            Ok(accepted(&order))
        }
        Inserted::Existing(existing) => {
            again(service, &order.fingerprint, &existing, &context).await
        }
    }
}

/// The order is there already: this request came before.
async fn again(
    service: &Place,
    fingerprint: &Uuid,
    existing: &Order,
    context: &Context,
) -> Result<Response, Problem> {
    same_request(fingerprint, existing)?;
    // The first try may have died before it sent this; every receiver knows a repeat. An order that has
    // come to payments was sent for by others, and this function may not.
    match owed(existing).map(|command| command.step().participant) {
        Some(Participant::Payments) | None => {}
        Some(Participant::Users | Participant::Inventory) => {
            service.saga.send_owed(existing, context).await;
        }
    }
    Ok(accepted(existing))
}

/// A write without an answer may have been made. With a key the same request again is the same order;
/// without one it would be a second order, so nobody is told to just try again.
fn not_inserted(error: TableError, id: OrderId, has_key: bool) -> Problem {
    if has_key || !error.is_unknown_outcome() {
        return error.into();
    }
    Problem::outcome_unknown(
        format!(
            "the order may have been taken; GET /api/v1/orders/{} in a minute says so, and only a 404 \
             makes it safe to send it again; with an Idempotency-Key it is safe at any time",
            id.0
        ),
        error,
    )
}

/// Refused before anything else of the request is looked at: whatever it asks for, production does
/// not do half of it.
fn may_inject_faults(stage: Stage, request: &Request) -> Result<(), Problem> {
    if request.header(FAULT_HEADER).is_some() && !stage.allows_faults() {
        return Err(Problem::forbidden(
            "fault-switches-refused",
            "nothing goes wrong on purpose in production; leave Waybill-Fault out, or rehearse in another stage",
        ));
    }
    Ok(())
}

/// A rehearsal of the question by queue leaves out the one over REST, which would answer it.
async fn permission(
    service: &Place,
    draft: &Draft,
    caller: &Caller,
    context: &Context,
) -> Permission {
    let fault = draft
        .faults
        .as_ref()
        .and_then(|faults| faults.fault_of(Command::VerifyUser));
    match fault {
        Some(_) => Permission::Unknown,
        None => service.users.may_order(caller, context).await,
    }
}

/// The user may not order. An order acknowledged before that is still answered with itself.
async fn refused(service: &Place, draft: &Draft) -> Result<Response, Problem> {
    match service.saga.orders.get(draft.id).await? {
        Some(existing) if existing.user_id == draft.user_id => {
            same_request(&draft.fingerprint, &existing)?;
            Ok(accepted(&existing))
        }
        Some(_) | None => Err(Problem::forbidden(
            "user-not-allowed",
            "this account may not place orders; ask the operator why",
        )),
    }
}

/// Whether the customer may have one more order, by their newest ones. The index runs behind and
/// requests run at once, so the limit is on what could be seen: a burst of requests may pass it once,
/// and the orders of that burst count from then on. Orders do not stop because the index does not answer.
async fn standing(service: &Place, draft: &Draft, context: &Context) -> Result<(), Wait> {
    let since = context.now - RECENT_WINDOW;
    let recent = service
        .saga
        .orders
        .recent(draft.user_id, since, RECENT_ORDERS);
    let cause = match timeout(RECENT_PATIENCE, recent).await {
        Ok(Ok(recent)) => return may_place(&draft.lines, &recent, context.now),
        Ok(Err(error)) => telemetry::chain(&error),
        Err(elapsed) => telemetry::chain(&elapsed),
    };
    tracing::warn!(
        trace_id = context.trace_id(),
        cause,
        "the customer's other orders cannot be read; the order is taken without a limit"
    );
    Ok(())
}

/// The customer is to wait. A repeat of an order that is there is still answered with it.
async fn too_many(
    service: &Place,
    draft: &Draft,
    has_key: bool,
    wait: &Wait,
    context: &Context,
) -> Result<Response, Problem> {
    if has_key
        && let Some(existing) = service.saga.orders.get(draft.id).await?
        && existing.user_id == draft.user_id
    {
        return again(service, &draft.fingerprint, &existing, context).await;
    }
    tracing::info!(
        event = "order_delayed",
        user_id = %draft.user_id.0,
        seconds = wait.seconds,
        trace_id = context.trace_id(),
        "{}",
        wait.limit
    );
    Err(Problem::too_many(
        "too-many-unpaid-orders",
        wait.to_string(),
        wait.seconds,
    ))
}

fn accepted(order: &Order) -> Response {
    let response = Response::json(202, &OrderBody::from(order))
        .with_header("location", format!("/api/v1/orders/{}", order.id.0));
    polled(response, order)
}

fn same_request(fingerprint: &Uuid, existing: &Order) -> Result<(), Problem> {
    if existing.fingerprint == *fingerprint {
        Ok(())
    } else {
        Err(Problem::unprocessable(
            "idempotency-key-reused",
            format!(
                "this Idempotency-Key was used for another request, which became order {}; use a new key for a new order",
                existing.id.0
            ),
        ))
    }
}

/// The order that is asked for, and the id it had where its key was read otherwise.
fn draft(
    caller: &Caller,
    context: &Context,
    request: &Request,
    body: &Body,
    errors: &mut Fields,
) -> Option<(Draft, Option<OrderId>)> {
    let user_id = UserId(caller.user_id);
    let key = errors
        .take("Idempotency-Key", request.idempotency_key())
        .flatten();
    let faults = request.header(FAULT_HEADER).map(InjectedFaults::parse);
    let faults = errors.take("Waybill-Fault", faults.transpose());
    let lines = lines(&body.lines, errors);
    let payment_method = PaymentMethod::parse(&body.payment_method);
    let payment_method = errors.take("/payment_method", payment_method);
    let expected_total = match &body.expected_total {
        Some(money) => money.parse(errors).map(Some),
        None => Some(None),
    };
    let (payment_method, expected_total, faults) = (payment_method?, expected_total?, faults?);
    let mut canonical = serde_json::to_vec(body).expect("a body that was read is plain JSON");
    if let Some(faults) = &faults {
        canonical.extend_from_slice(faults.to_string().as_bytes());
    }
    let formerly = key.as_ref().and_then(|key| key.formerly.as_deref());
    let formerly = formerly.map(|key| OrderId::of_key(user_id, key));
    let draft = Draft {
        id: key.map_or(OrderId(context.fresh_id), |key| {
            OrderId::of_key(user_id, &key.value)
        }),
        user_id,
        lines,
        payment_method,
        expected_total,
        fingerprint: Uuid::new_v5(&FINGERPRINTS, &canonical),
        faults,
    };
    Some((draft, formerly))
}

fn lines(bodies: &[Object<LineBody>], errors: &mut Fields) -> Vec<Line> {
    if bodies.is_empty() || bodies.len() > MAX_LINES {
        errors.push(FieldError::new(
            "/lines",
            format!(
                "has {} entries; an order has 1 to {MAX_LINES}",
                bodies.len()
            ),
        ));
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut lines = Vec::with_capacity(bodies.len());
    for (index, body) in bodies.iter().enumerate() {
        let sku = errors.take(&format!("/lines/{index}/sku"), Sku::parse(&body.sku));
        let pointer = format!("/lines/{index}/quantity");
        let quantity = Quantity::new(body.quantity);
        let quantity = errors.take_number(&pointer, body.quantity, quantity);
        if !seen.insert(&body.sku) {
            errors.push(FieldError::new(
                format!("/lines/{index}/sku"),
                "is in the order already; add the quantities up in one line",
            ));
        }
        if let (Some(sku), Some(quantity)) = (sku, quantity) {
            lines.push(Line {
                sku,
                name: None,
                quantity,
                unit_price: None,
            });
        }
    }
    lines
}
