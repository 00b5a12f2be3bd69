//! `POST /api/v1/orders`: accepts an order and answers before the saga carries it out.
//!
//! Outside production the header `Waybill-Fault` injects faults.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join;
use serde::{Deserialize, Serialize};
use shared_auth::Caller;
use shared_lambda::http::{IdempotencyKey, Object, Request, Response};
use shared_lambda::problem::{FieldError, Fields, Problem};
use shared_lambda::problems::IDEMPOTENCY_KEY_REUSED;
use shared_lambda::table::TableError;
use shared_lambda::{Context, Error, Setup, Stage, rest, telemetry};
use tokio::time::timeout;
use uuid::Uuid;

use super::view::{MAX_WAIT, MoneyBody, answered};
use crate::advance::Saga;
use crate::domain::{
    Command, Currency, Draft, InjectedFaults, Line, MAX_LINES, Money, Order, OrderId, Participant,
    PaymentMethod, Quantity, RECENT_ORDERS, RECENT_WINDOW, Sku, UserId, Wait, may_place, owed,
    place,
};
use crate::messages::Routes;
use crate::problems::{FAULT_SWITCHES_REFUSED, TOO_MANY_UNPAID_ORDERS, USER_NOT_ALLOWED};
use crate::store::Inserted;
use crate::users_client::{Permission, Users, policy};

/// The namespace of request fingerprints. A fingerprint is the body's UUIDv5; it distinguishes one
/// user's requests under one key.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x0d4e_91a7_52c8_4f36_a0b9_6f1d_8e24_7c53);

const FAULT_HEADER: &str = "waybill-fault";

/// How long to wait for the customer's other orders: as long as for one call to users, which runs at
/// the same time.
const RECENT_TIMEOUT: Duration = Duration::from_millis(1500);

/// The dependencies of this endpoint.
pub struct PlaceOrder {
    pub saga: Saga,
    pub users: Users,
    pub stage: Stage,
}

/// This function may not charge, so there is no route to payments.
pub fn wire(setup: &Setup) -> Result<PlaceOrder, Error> {
    let routes = Routes::default()
        .users(setup.env("USERS_COMMANDS_QUEUE_URL")?)
        .inventory(setup.env("INVENTORY_COMMANDS_QUEUE_URL")?);
    let users = rest::Client::new(&setup.env("USERS_URL")?, setup.connector(), policy());
    Ok(PlaceOrder {
        saga: Saga::wire(setup, routes)?,
        users: Users::new(users),
        stage: Stage::parse(&setup.env("STAGE")?)?,
    })
}

/// The body as the client wrote it. Serialised again it is the canonical form for the fingerprint.
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

/// Reads `/expected_total`, and adds its errors.
fn expected_total(body: &MoneyBody, errors: &mut Fields) -> Option<Money> {
    let amount = Money::minor_units(body.amount);
    let amount = errors.take_number("/expected_total/amount", body.amount, amount);
    let currency = Currency::parse(&body.currency);
    let currency = errors.take("/expected_total/currency", currency);
    Some(Money {
        amount: amount?,
        currency: currency?,
    })
}

pub async fn handle(
    service: &PlaceOrder,
    caller: Caller,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let wait = request.wait(MAX_WAIT);
    let (order, is_repeat) = placed(service, caller, context, &request).await?;
    let location = format!("/api/v1/orders/{}", order.id.0);
    let response = answered(&service.saga.orders, order, wait, 202).await;
    let response = response.with_header("location", location);
    Ok(response.replayed(is_repeat && has_key(&request)))
}

fn has_key(request: &Request) -> bool {
    request.header("idempotency-key").is_some()
}

/// The order that the request places, and whether it was there before.
async fn placed(
    service: &PlaceOrder,
    caller: Caller,
    context: Context,
    request: &Request,
) -> Result<(Order, bool), Problem> {
    may_inject_faults(service.stage, request)?;
    let mut fields = request.fields();
    let key = fields.take_header("Idempotency-Key", request.idempotency_key());
    let faults = request.header(FAULT_HEADER).map(InjectedFaults::parse);
    let faults = fields.take_header("Waybill-Fault", faults.transpose());
    let (draft, legacy_id) = request.parse(fields, |body, fields| {
        draft(&caller, &context, key.flatten(), faults, &body, fields)
    })?;
    if let Some(id) = legacy_id
        && let Some(existing) = service.saga.orders.get(id).await?
        && existing.user_id == draft.user_id
    {
        return repeated(service, &draft.fingerprint, existing, &context).await;
    }
    let (permission, limits) = join(
        permission(service, &draft, &caller, &context),
        check_limits(service, &draft, &context),
    )
    .await;
    let verified = match permission {
        Permission::Allowed => true,
        Permission::Unknown => false,
        Permission::Refused => return refused(service, &draft).await,
    };
    let has_key = has_key(request);
    if let Err(wait) = limits {
        return too_many(service, &draft, has_key, &wait, &context).await;
    }
    let order = place(draft, verified, service.saga.timeout, context.now);
    let inserted = service.saga.orders.insert(&order).await;
    match inserted.map_err(|error| not_inserted(error, order.id, has_key))? {
        Inserted::New => {
            service.saga.send_owed(&order, &context).await;
            Ok((order, false))
        }
        Inserted::Existing(existing) => {
            repeated(service, &order.fingerprint, *existing, &context).await
        }
    }
}

/// The existing order of a repeated request.
async fn repeated(
    service: &PlaceOrder,
    fingerprint: &Uuid,
    existing: Order,
    context: &Context,
) -> Result<(Order, bool), Problem> {
    same_request(fingerprint, &existing)?;
    // The first request may have crashed before the send, and receivers are idempotent. Only other
    // functions send commands to payments.
    match owed(&existing).map(|command| command.step().participant) {
        Some(Participant::Payments) | None => {}
        Some(Participant::Users | Participant::Inventory) => {
            service.saga.send_owed(&existing, context).await;
        }
    }
    Ok((existing, true))
}

/// A write without an answer may have succeeded. With a key a repeated request is the same order;
/// without one it could be a second order, so the answer must not suggest a plain retry.
fn not_inserted(error: TableError, id: OrderId, has_key: bool) -> Problem {
    if has_key || !error.is_unknown_outcome() {
        return error.into();
    }
    Problem::outcome_unknown(
        format!(
            "the order may have been accepted; GET /api/v1/orders/{} in a minute, and send the order \
             again only after a 404; with an Idempotency-Key a repeat is always safe",
            id.0
        ),
        error,
    )
}

/// Checked before the rest of the request, so that production never places such an order.
fn may_inject_faults(stage: Stage, request: &Request) -> Result<(), Problem> {
    if request.header(FAULT_HEADER).is_some() && !stage.allows_faults() {
        return Err(Problem::new(
            &FAULT_SWITCHES_REFUSED,
            "production does not inject faults; leave Waybill-Fault out, or use another stage",
        ));
    }
    Ok(())
}

/// With a fault in `verify_user` users is asked by queue only: an answer over REST would skip that step.
async fn permission(
    service: &PlaceOrder,
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

/// The user may not order, but a repeat of an earlier request still gets its order.
async fn refused(service: &PlaceOrder, draft: &Draft) -> Result<(Order, bool), Problem> {
    match service.saga.orders.get(draft.id).await? {
        Some(existing) if existing.user_id == draft.user_id => {
            same_request(&draft.fingerprint, &existing)?;
            Ok((existing, true))
        }
        Some(_) | None => Err(Problem::new(
            &USER_NOT_ALLOWED,
            "this account may not place orders; ask the operator why",
        )),
    }
}

/// Checks the limits against the customer's newest orders. The index lags behind and requests run in
/// parallel, so a burst may exceed the limits once; its orders count from then on. If the index does
/// not answer, the order is accepted.
async fn check_limits(service: &PlaceOrder, draft: &Draft, context: &Context) -> Result<(), Wait> {
    let since = context.now - RECENT_WINDOW;
    let recent = service
        .saga
        .orders
        .recent(draft.user_id, since, RECENT_ORDERS);
    let cause = match timeout(RECENT_TIMEOUT, recent).await {
        Ok(Ok(recent)) => return may_place(&draft.lines, &recent, context.now),
        Ok(Err(error)) => telemetry::chain(&error),
        Err(elapsed) => telemetry::chain(&elapsed),
    };
    tracing::warn!(
        trace = context.trace_id(),
        cause,
        "the customer's other orders cannot be read; the order is accepted without limits"
    );
    Ok(())
}

/// A limit refuses a new order, but a repeated request still gets its order.
async fn too_many(
    service: &PlaceOrder,
    draft: &Draft,
    has_key: bool,
    wait: &Wait,
    context: &Context,
) -> Result<(Order, bool), Problem> {
    if has_key
        && let Some(existing) = service.saga.orders.get(draft.id).await?
        && existing.user_id == draft.user_id
    {
        return repeated(service, &draft.fingerprint, existing, context).await;
    }
    tracing::info!(
        event = "order_delayed",
        user_id = %draft.user_id.0,
        seconds = wait.seconds,
        trace = context.trace_id(),
        "{}",
        wait.limit
    );
    Err(Problem::new(&TOO_MANY_UNPAID_ORDERS, wait.to_string()).with_retry_after(wait.seconds))
}

fn same_request(fingerprint: &Uuid, existing: &Order) -> Result<(), Problem> {
    if existing.fingerprint == *fingerprint {
        Ok(())
    } else {
        Err(Problem::new(
            &IDEMPOTENCY_KEY_REUSED,
            format!(
                "this Idempotency-Key was used for another request, which became order {}; use a new key for a new order",
                existing.id.0
            ),
        ))
    }
}

/// The requested order, and its id under the rule by which earlier versions read the key.
fn draft(
    caller: &Caller,
    context: &Context,
    key: Option<IdempotencyKey>,
    faults: Option<Option<InjectedFaults>>,
    body: &Body,
    errors: &mut Fields,
) -> Option<(Draft, Option<OrderId>)> {
    let user_id = UserId(caller.user_id);
    let lines = lines(&body.lines, errors);
    let payment_method = PaymentMethod::parse(&body.payment_method);
    let payment_method = errors.take("/payment_method", payment_method);
    let expected = match &body.expected_total {
        Some(money) => expected_total(money, errors).map(Some),
        None => Some(None),
    };
    let (payment_method, expected_total, faults) = (payment_method?, expected?, faults?);
    let mut canonical = serde_json::to_vec(body).expect("a body that was read is plain JSON");
    if let Some(faults) = &faults {
        canonical.extend_from_slice(faults.to_string().as_bytes());
    }
    let legacy_key = key.as_ref().and_then(|key| key.formerly.as_deref());
    let legacy_id = legacy_key.map(|key| OrderId::of_key(user_id, key));
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
    Some((draft, legacy_id))
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
