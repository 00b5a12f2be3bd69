//! Why an order ended: whether its end can have been the right one.
//!
//! Money and stock may add up and an order be refused all the same for no reason, or be let through
//! against one. So each code of a refusal has a condition that must have held, and so has being
//! confirmed. On a quiet day the end is foretold outright.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::books::{ATTEMPTS, Books, Order, Violation};
use crate::template_config;

/// What a customer wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Skus and quantities.
    pub lines: Vec<(String, i64)>,
    pub method: &'static str,
    /// What it is to cost, where they said so.
    pub expected: Option<(i64, &'static str)>,
}

impl Wish {
    /// The request, as a client writes it.
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

    /// Whether the provider fails on purpose. What it then comes to depends on when it is asked.
    pub fn provokes(&self) -> bool {
        self.method.starts_with("pm_sim_")
    }

    fn is_declined(&self) -> bool {
        self.method.starts_with("pm_card_chargeDeclined")
    }

    fn is_never_answered(&self) -> bool {
        self.method == "pm_sim_unavailable"
    }
}

/// What an order's time was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// Nothing went wrong, and nobody changed their mind, a price, the stock or an account.
    Quiet,
    /// People did something, but nothing went wrong.
    Busy,
    Troubled,
}

/// Says what is wrong with the end of an order, if it is known and has ended.
pub fn check(books: &Books, id: &str, wish: &Wish, day: Day) -> Vec<Violation> {
    let Some(order) = books.get(id).filter(|order| order.is_terminal()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    let lines: Vec<(String, i64)> = order.lines.clone().into_iter().collect();
    let mut wanted = wish.lines.clone();
    wanted.sort();
    if lines != wanted {
        wrong.push(format!("{wanted:?} were wanted and {lines:?} ordered"));
    }
    for (sku, price) in &order.prices {
        if !books
            .offers(id, sku)
            .iter()
            .any(|offer| offer.price == *price)
        {
            wrong.push(format!("{sku} never cost {price:?} while it was reserved"));
        }
    }
    if let Err(why) = may_end(books, id, order, wish, day) {
        wrong.push(why);
    }
    // Nothing was lost and nobody was away: whoever had to ask twice had not asked, or was not answered.
    let asked_again = |entry: &&Value| entry["attempt"].as_i64().is_some_and(|attempt| attempt > 1);
    if let Some(entry) = order.timeline.iter().find(asked_again)
        && day != Day::Troubled
        && !wish.provokes()
    {
        wrong.push(format!("nothing went wrong, and it took {entry}"));
    }
    if day == Day::Quiet {
        let (end, foretold) = (end(order), foretold(books, id, order, wish));
        if end != foretold {
            wrong.push(format!(
                "it is {end:?} where nothing went wrong, not {foretold:?}"
            ));
        }
    }
    let shown = |why: String| format!("order {id} of {wish:?}: {why}");
    wrong.into_iter().map(shown).collect()
}

type End<'o> = (&'o str, Option<&'o str>);

fn end(order: &Order) -> End<'_> {
    (order.state.as_str(), order.failure.as_deref())
}

fn may_end(books: &Books, id: &str, order: &Order, wish: &Wish, day: Day) -> Result<(), String> {
    let unless = |held: bool, why: &str| match held {
        true => Ok(()),
        false => Err(format!("it is {:?}, but {why}", end(order))),
    };
    match end(order) {
        ("cancelled", None) => Ok(()),
        ("confirmed", None) => {
            unless(!wish.is_declined(), "its method is declined")?;
            unless(!wish.is_never_answered(), "its method is never answered")?;
            unless(is_known(books, wish), "there is no such item")?;
            unless(
                !differs(order, wish),
                "it was expected to cost something else",
            )
        }
        ("rejected", Some("out_of_stock")) => unless(
            wish.lines.iter().any(|(sku, quantity)| {
                let offers = books.offers(id, sku);
                offers.iter().any(|offer| offer.available < *quantity)
            }),
            "there was enough of everything all along",
        ),
        ("rejected", Some("unknown_item")) => unless(!is_known(books, wish), "every item is known"),
        ("rejected", Some("mixed_currency")) => unless(
            currencies(books, id, wish).len() > 1,
            "its items were never priced in several",
        ),
        ("rejected", Some("payment_declined")) => {
            unless(wish.is_declined(), "its method is not declined")
        }
        ("rejected", Some("price_changed")) => {
            unless(differs(order, wish), "that is what it was expected to cost")
        }
        ("rejected", Some("user_not_allowed")) => unless(
            books.was_deactivated_before_the_end_of(id),
            "its user was active all along",
        ),
        ("rejected", Some("timed_out")) => {
            let (step, patient) = given_up(order).ok_or("it timed out at no step")?;
            unless(patient, "it was given up before its time")?;
            let unanswered = step == "charge_payment_requested" && wish.is_never_answered();
            unless(
                unanswered || day == Day::Troubled,
                "there was nothing to keep an answer from it",
            )
        }
        (state, failure) => Err(format!("it is {state} for {failure:?}")),
    }
}

/// What must become of an order when nothing goes wrong.
fn foretold<'o>(books: &Books, id: &str, order: &Order, wish: &Wish) -> End<'o> {
    if !is_known(books, wish) {
        return ("rejected", Some("unknown_item"));
    }
    if currencies(books, id, wish).len() > 1 {
        return ("rejected", Some("mixed_currency"));
    }
    if order.total.is_none() {
        return ("rejected", Some("out_of_stock"));
    }
    if differs(order, wish) {
        return ("rejected", Some("price_changed"));
    }
    if wish.is_declined() {
        return ("rejected", Some("payment_declined"));
    }
    if wish.is_never_answered() {
        return ("rejected", Some("timed_out"));
    }
    ("confirmed", None)
}

fn is_known(books: &Books, wish: &Wish) -> bool {
    wish.lines.iter().all(|(sku, _)| books.has_item(sku))
}

fn currencies<'b>(books: &'b Books, id: &str, wish: &Wish) -> BTreeSet<&'b str> {
    let skus = wish.lines.iter().map(|(sku, _)| sku);
    skus.flat_map(|sku| books.offers(id, sku))
        .map(|offer| offer.price.1.as_str())
        .collect()
}

fn differs(order: &Order, wish: &Wish) -> bool {
    wish.expected.is_some_and(|(amount, currency)| {
        (order.total, order.currency.as_str()) != (Some(amount), currency)
    })
}

/// The step that was given up, and whether that was after its last attempt had its time.
fn given_up(order: &Order) -> Option<(&str, bool)> {
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
    let patient = last && waited.as_millis() >= i128::from(longest);
    Some((asked["what"].as_str()?, patient))
}
