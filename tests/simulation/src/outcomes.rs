//! Checks that each order's outcome had a valid reason.
//!
//! Money and stock can balance although an order was refused or confirmed wrongly. So each outcome
//! has a condition that must have held. Without faults and user actions, the outcome is fully
//! determined.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::invariants::{ATTEMPTS, Ledger, Order, Violation, ensure};
use crate::template_config;

/// A customer's order.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    pub lines: Vec<(String, i64)>,
    pub method: &'static str,
    /// The expected total, if the customer sent one.
    pub expected: Option<(i64, &'static str)>,
}

impl OrderRequest {
    /// The request body.
    pub fn body(&self) -> Value {
        let lines = self.lines.iter();
        let lines: Vec<Value> = lines
            .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
            .collect();
        let mut body = json!({"lines": lines, "payment_method": self.method});
        if let Some((amount, currency)) = self.expected {
            body["expected_total"] = json!({"amount": amount, "currency": currency});
        }
        body
    }

    /// Whether the payment method makes the provider fail. The outcome then depends on timing.
    pub fn fails_on_purpose(&self) -> bool {
        self.method.starts_with("pm_sim_")
    }

    fn is_declined(&self) -> bool {
        self.method.starts_with("pm_card_chargeDeclined")
    }

    fn is_never_answered(&self) -> bool {
        self.method == "pm_sim_unavailable"
    }
}

/// The disturbances of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// No fault, and no action but placing orders.
    Quiet,
    /// User actions, but no fault.
    Busy,
    Faulty,
}

/// The violations of an order's outcome. Open and unknown orders have none.
pub fn check(
    ledger: &Ledger,
    id: &str,
    request: &OrderRequest,
    conditions: Conditions,
) -> Vec<Violation> {
    let Some(order) = ledger.get(id).filter(|order| order.is_terminal()) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    let wrong = &mut violations;
    let lines: Vec<(String, i64)> = order.lines.clone().into_iter().collect();
    let mut wanted = request.lines.clone();
    wanted.sort();
    ensure(wrong, lines == wanted, || {
        format!("{wanted:?} was requested, but {lines:?} was ordered")
    });
    for (sku, price) in &order.prices {
        let offers = ledger.offers(id, sku);
        ensure(
            wrong,
            offers.iter().any(|offer| offer.price == *price),
            || format!("{sku} never cost {price:?} before it was reserved"),
        );
    }
    wrong.extend(may_end(ledger, id, order, request, conditions).err());
    // Without faults, no step needs a second attempt.
    let is_retry = |entry: &&Value| entry["attempt"].as_i64().is_some_and(|attempt| attempt > 1);
    if let Some(retry) = order.timeline.iter().find(is_retry) {
        let may_fail = conditions == Conditions::Faulty || request.fails_on_purpose();
        ensure(wrong, may_fail, || {
            format!("no fault occurred, but it needed {retry}")
        });
    }
    if conditions == Conditions::Quiet {
        let (end, expected) = (end(order), expected_end(ledger, id, order, request));
        ensure(wrong, end == expected, || {
            format!("it is {end:?}, but without disturbances it must be {expected:?}")
        });
    }
    let shown = |why: String| format!("order {id} for {request:?}: {why}");
    violations.into_iter().map(shown).collect()
}

type End<'o> = (&'o str, Option<&'o str>);

fn end(order: &Order) -> End<'_> {
    (order.state.as_str(), order.failure.as_deref())
}

fn may_end(
    ledger: &Ledger,
    id: &str,
    order: &Order,
    request: &OrderRequest,
    conditions: Conditions,
) -> Result<(), String> {
    let unless = |held: bool, why: &str| match held {
        true => Ok(()),
        false => Err(format!("it is {:?}, but {why}", end(order))),
    };
    match end(order) {
        ("cancelled", None) => Ok(()),
        ("confirmed", None) => {
            unless(!request.is_declined(), "its method is declined")?;
            unless(!request.is_never_answered(), "its method is never answered")?;
            unless(is_known(ledger, request), "there is no such item")?;
            unless(
                !differs(order, request),
                "the customer expected another total",
            )
        }
        ("rejected", Some("out_of_stock")) => unless(
            request.lines.iter().any(|(sku, quantity)| {
                let offers = ledger.offers(id, sku);
                offers.iter().any(|offer| offer.available < *quantity)
            }),
            "every item was available",
        ),
        ("rejected", Some("unknown_item")) => {
            unless(!is_known(ledger, request), "every item exists")
        }
        ("rejected", Some("mixed_currency")) => unless(
            currencies(ledger, id, request).len() > 1,
            "its items never had several currencies",
        ),
        ("rejected", Some("payment_declined")) => {
            unless(request.is_declined(), "its method is not declined")
        }
        ("rejected", Some("price_changed")) => {
            unless(differs(order, request), "the total is as expected")
        }
        ("rejected", Some("user_not_allowed")) => unless(
            ledger.was_deactivated_before_end(id),
            "its user was always active",
        ),
        ("rejected", Some("timed_out")) => {
            let (step, had_full_time) = timed_out(order).ok_or("no step timed out")?;
            unless(had_full_time, "the last attempt did not have its full time")?;
            let unanswered = step == "charge_payment_requested" && request.is_never_answered();
            unless(
                unanswered || conditions == Conditions::Faulty,
                "no fault delayed the answer",
            )
        }
        (state, failure) => Err(format!("{state} with {failure:?} is not a valid outcome")),
    }
}

/// The outcome of an order without faults and user actions.
fn expected_end<'o>(ledger: &Ledger, id: &str, order: &Order, request: &OrderRequest) -> End<'o> {
    if !is_known(ledger, request) {
        return ("rejected", Some("unknown_item"));
    }
    if currencies(ledger, id, request).len() > 1 {
        return ("rejected", Some("mixed_currency"));
    }
    if order.total.is_none() {
        return ("rejected", Some("out_of_stock"));
    }
    if differs(order, request) {
        return ("rejected", Some("price_changed"));
    }
    if request.is_declined() {
        return ("rejected", Some("payment_declined"));
    }
    if request.is_never_answered() {
        return ("rejected", Some("timed_out"));
    }
    ("confirmed", None)
}

fn is_known(ledger: &Ledger, request: &OrderRequest) -> bool {
    request.lines.iter().all(|(sku, _)| ledger.has_item(sku))
}

fn currencies<'b>(ledger: &'b Ledger, id: &str, request: &OrderRequest) -> BTreeSet<&'b str> {
    let skus = request.lines.iter().map(|(sku, _)| sku);
    skus.flat_map(|sku| ledger.offers(id, sku))
        .map(|offer| offer.price.1.as_str())
        .collect()
}

fn differs(order: &Order, request: &OrderRequest) -> bool {
    request.expected.is_some_and(|(amount, currency)| {
        (order.total, order.currency.as_str()) != (Some(amount), currency)
    })
}

/// The step that timed out, and whether its last attempt had its full time.
fn timed_out(order: &Order) -> Option<(&str, bool)> {
    let what = |entry: &Value| entry["what"].as_str().map(str::to_owned);
    let position = order
        .timeline
        .iter()
        .position(|entry| entry["what"] == "step_timed_out")?;
    let asked = order.timeline[..position]
        .iter()
        .rfind(|entry| what(entry).is_some_and(|what| what.ends_with("_requested")))?;
    let at = |entry: &Value| entry["at"].as_str()?.parse::<Timestamp>().ok();
    let waited = at(&order.timeline[position])?.duration_since(at(asked)?);
    let last = asked["attempt"] == ATTEMPTS;
    let longest = template_config::step_timeout() << (ATTEMPTS - 1);
    let had_full_time = last && waited.as_millis() >= i128::from(longest);
    Some((asked["what"].as_str()?, had_full_time))
}
