//! A tour of the running system: orders with every outcome, their timelines, and the balance.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::seed::LoggedIn;
use crate::stack::{Account, Stack};
use crate::ui::{money, sanitize, say};

const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(150);

const CUP: &str = "stoneware-cup";
const GRINDER: &str = "hand-grinder";
const SCALE: &str = "brass-scale";
const BEANS: &str = "espresso-beans-1kg";
const PRINT: &str = "signed-print";
const SKUS: [&str; 5] = [CUP, GRINDER, SCALE, BEANS, PRINT];

/// Items below this level are restocked, so that the demo can be repeated.
const RESTOCK_BELOW: i64 = 20;
const RESTOCK_BY: i64 = 100;

/// One order of the tour, with its expected outcome.
struct Scene {
    title: &'static str,
    lines: Vec<(&'static str, i64)>,
    payment_method: &'static str,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Confirmed,
    Rejected(&'static str),
    /// Confirmed first, then cancelled by the customer.
    Cancelled,
}

/// An item as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stock {
    sku: &'static str,
    stocked: i64,
    available: i64,
    held: i64,
}

/// The money of one scene, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Money {
    owed: i64,
    charged: i64,
    refunded: i64,
    /// `None` for an order without a price.
    currency: Option<String>,
}

impl Money {
    fn shown(&self, amount: i64) -> String {
        match &self.currency {
            Some(currency) => money(amount, currency),
            None => amount.to_string(),
        }
    }
}

struct Tour {
    http: Client,
    admin: LoggedIn,
    customer: LoggedIn,
}

pub fn run(stack: &Stack) -> Result<()> {
    let tour = Tour::begin(stack)?;
    tour.restock()?;
    let before = tour.stock()?;
    let scenes = scenes(&before);
    let mut money = Vec::new();
    for (number, scene) in scenes.iter().enumerate() {
        say(format_args!("\n{}. {}", number + 1, scene.title));
        money.push(tour.play(scene)?);
    }
    let after = tour.stock()?;
    let mut faults = Vec::new();
    print_stock(&after);
    faults.extend(stock_faults(&before, &after, &scenes));
    print_money(&scenes, &money);
    faults.extend(money_faults(&scenes, &money));
    if faults.is_empty() {
        say("\nStock and money balance.");
        Ok(())
    } else {
        Err(Error::new(format!(
            "stock or money does not balance:\n  {}",
            faults.join("\n  ")
        )))
    }
}

fn scenes(stock: &[Stock]) -> Vec<Scene> {
    let more_than_there_is = stock
        .iter()
        .find(|item| item.sku == PRINT)
        .map_or(1, |item| item.available + 1);
    vec![
        Scene {
            title: "An order that is paid and confirmed",
            lines: vec![(CUP, 2), (GRINDER, 1)],
            payment_method: "pm_card_visa",
            ending: Ending::Confirmed,
        },
        Scene {
            title: "More signed prints than there are",
            lines: vec![(PRINT, more_than_there_is)],
            payment_method: "pm_card_visa",
            ending: Ending::Rejected("out_of_stock"),
        },
        Scene {
            title: "A card that is declined, after the stock was reserved",
            lines: vec![(BEANS, 1)],
            payment_method: "pm_card_chargeDeclined",
            ending: Ending::Rejected("payment_declined"),
        },
        Scene {
            title: "A confirmed order that the customer cancels",
            lines: vec![(SCALE, 1)],
            payment_method: "pm_card_visa",
            ending: Ending::Cancelled,
        },
    ]
}

impl Tour {
    fn begin(stack: &Stack) -> Result<Self> {
        let http = stack.http();
        let admin = LoggedIn::new(http.clone(), stack.admin.clone());
        let email = format!("demo-{}@waybill.example", Uuid::new_v4().simple());
        let password = Uuid::new_v4().to_string();
        http.post(
            "/api/v1/users",
            None,
            &json!({"email": email, "password": password, "name": "Demo customer"}),
        )?
        .expect(201, "registering a customer")?;
        say(format_args!("Registered {email}."));
        let customer = LoggedIn::new(http.clone(), Account { email, password });
        Ok(Self {
            http,
            admin,
            customer,
        })
    }

    fn restock(&self) -> Result<()> {
        for item in self.stock()? {
            if item.sku != PRINT && item.available < RESTOCK_BELOW {
                let body = json!({"delta": RESTOCK_BY, "reason": "restocked for the demo"});
                let path = format!("/api/v1/items/{}/adjustments", item.sku);
                let answer = self.http.post(&path, Some(&self.admin.token()?), &body)?;
                if !(200..300).contains(&answer.status) {
                    return Err(Error::new(format!(
                        "restocking {}: {} {}",
                        item.sku, answer.status, answer.body
                    )));
                }
            }
        }
        Ok(())
    }

    fn stock(&self) -> Result<Vec<Stock>> {
        let mut stock = Vec::new();
        for sku in SKUS {
            let doing = format!("reading {sku}");
            let item = self.get(&format!("/api/v1/items/{sku}"), &self.admin, &doing)?;
            let number = |name: &str| {
                item[name]
                    .as_i64()
                    .context(format!("{doing}: no `{name}` in {item}"))
            };
            stock.push(Stock {
                sku,
                stocked: number("stocked")?,
                available: number("available")?,
                held: number("held")?,
            });
        }
        Ok(stock)
    }

    fn get(&self, path: &str, reader: &LoggedIn, doing: &str) -> Result<Value> {
        let answer = self.http.get(path, Some(&reader.token()?))?;
        answer.expect(200, doing)
    }

    /// Places the order, waits for its outcome and prints its timeline.
    fn play(&self, scene: &Scene) -> Result<Money> {
        let lines: Vec<Value> = scene
            .lines
            .iter()
            .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
            .collect();
        let key = Uuid::new_v4().to_string();
        let body = json!({"lines": lines, "payment_method": scene.payment_method});
        let (token, headers) = (self.customer.token()?, [("idempotency-key", &*key)]);
        let placed = self
            .http
            .json("POST", "/api/v1/orders", Some(&token), &headers, &body)?;
        let placed = placed.expect(202, "placing the order")?;
        let id = placed["id"].as_str().context("an order without an id")?;
        let order = match scene.ending {
            Ending::Confirmed => self.wait(id, "CONFIRMED")?,
            Ending::Rejected(_) => self.wait(id, "REJECTED")?,
            Ending::Cancelled => {
                self.wait(id, "CONFIRMED")?;
                let path = format!("/api/v1/orders/{id}/cancel");
                let token = self.customer.token()?;
                let answer = self.http.send("POST", &path, Some(&token), &[], None)?;
                answer.expect(202, "cancelling the order")?;
                self.wait(id, "CANCELLED")?
            }
        };
        let status = order["status"].as_str().unwrap_or_default();
        let code = order["failure"]["code"].as_str().unwrap_or_default();
        say(format_args!("   order {id}: {status} {code}"));
        if let Ending::Rejected(expected) = scene.ending
            && code != expected
        {
            return Err(Error::new(format!(
                "order {id} should be rejected as {expected}, but is {order}"
            )));
        }
        self.print_timeline(id)?;
        self.money(id, &order)
    }

    fn wait(&self, id: &str, status: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/api/v1/orders/{id}");
            let order = self.get(&path, &self.customer, "reading the order")?;
            if order["status"] == status {
                return Ok(order);
            }
            let ended = ["CONFIRMED", "REJECTED", "CANCELLED"]
                .iter()
                .any(|ended| order["status"] == *ended);
            // An order is confirmed until its cancellation is complete.
            if (ended && !(status == "CANCELLED" && order["status"] == "CONFIRMED"))
                || Instant::now() >= deadline
            {
                return Err(Error::new(format!(
                    "order {id} should become {status}, but is {order}"
                )));
            }
            thread::sleep(PAUSE);
        }
    }

    fn print_timeline(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/orders/{id}/timeline");
        let timeline = self.get(&path, &self.customer, "reading the timeline")?;
        for entry in timeline["items"].as_array().into_iter().flatten() {
            say(timeline_line(&sanitize(entry)));
        }
        Ok(())
    }

    fn money(&self, id: &str, order: &Value) -> Result<Money> {
        let total = order["total"]["amount"].as_i64().unwrap_or(0);
        let owed = match order["status"] == "CONFIRMED" {
            true => total,
            false => 0,
        };
        let currency = order["total"]["currency"].as_str().map(str::to_owned);
        let answer = self.http.get(
            &format!("/api/v1/payments/{id}"),
            Some(&self.customer.token()?),
        )?;
        if answer.status == 404 {
            return Ok(Money {
                owed,
                charged: 0,
                refunded: 0,
                currency,
            });
        }
        let payment = answer.expect(200, "reading the payment")?;
        let amount = |name: &str| payment[name]["amount"].as_i64().unwrap_or(0);
        // A declined payment has an amount, but no payment id.
        let taken = payment["payment_id"].is_string();
        Ok(Money {
            owed,
            charged: if taken { amount("amount") } else { 0 },
            refunded: amount("refunded"),
            currency,
        })
    }
}

/// `   20:21:31.512  stock_reserved  (attempt 1)`
fn timeline_line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let time = text("at")
        .split_once('T')
        .map_or(text("at"), |(_, time)| time)
        .trim_end_matches('Z');
    let attempt = match entry["attempt"].as_u64() {
        Some(again) if again > 1 => format!("  (attempt {again})"),
        _ => String::new(),
    };
    let detail = match text("detail") {
        "" => String::new(),
        detail => format!("  {detail}"),
    };
    format!(
        "     {time}  {}{attempt}{detail}",
        text("event").replace('_', " ")
    )
}

fn print_stock(stock: &[Stock]) {
    say(format_args!(
        "\n{:<20}{:>8} = {:>9} + {:>5}",
        "Stock", "stocked", "available", "held"
    ));
    for item in stock {
        let (stocked, available, held) = (item.stocked, item.available, item.held);
        say(format_args!(
            "{:<20}{stocked:>8} = {available:>9} + {held:>5}",
            item.sku
        ));
    }
}

/// Each unit is available or held, and only confirmed orders hold more than before.
fn stock_faults(before: &[Stock], after: &[Stock], scenes: &[Scene]) -> Vec<String> {
    let mut faults = Vec::new();
    for (before, after) in before.iter().zip(after) {
        let sku = after.sku;
        if after.stocked != after.available + after.held {
            faults.push(format!(
                "{sku}: {} are not {} + {}",
                after.stocked, after.available, after.held
            ));
        }
        let confirmed: i64 = scenes
            .iter()
            .filter(|scene| scene.ending == Ending::Confirmed)
            .flat_map(|scene| &scene.lines)
            .filter(|(ordered, _)| *ordered == sku)
            .map(|(_, quantity)| quantity)
            .sum();
        if after.held - before.held != confirmed {
            faults.push(format!(
                "{sku}: {confirmed} were confirmed, but {} more are held (another customer may \
                 have ordered meanwhile)",
                after.held - before.held
            ));
        }
    }
    faults
}

fn print_money(scenes: &[Scene], money: &[Money]) {
    say(format_args!(
        "\n{:<56}{:>13} - {:>13} = {:>13}",
        "Money", "charged", "refunded", "owed"
    ));
    for (scene, money) in scenes.iter().zip(money) {
        say(format_args!(
            "{:<56}{:>13} - {:>13} = {:>13}",
            scene.title,
            money.shown(money.charged),
            money.shown(money.refunded),
            money.shown(money.owed)
        ));
    }
}

/// The net charge is the total of a confirmed order, and zero for any other.
fn money_faults(scenes: &[Scene], money: &[Money]) -> Vec<String> {
    let mut faults = Vec::new();
    for (scene, money) in scenes.iter().zip(money) {
        if money.charged - money.refunded != money.owed {
            faults.push(format!(
                "{}: {} charged, {} refunded, {} owed",
                scene.title,
                money.shown(money.charged),
                money.shown(money.refunded),
                money.shown(money.owed)
            ));
        }
        if scene.ending == Ending::Confirmed && money.owed == 0 {
            faults.push(format!("{}: it cost nothing", scene.title));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(available: i64, held: i64) -> Vec<Stock> {
        vec![Stock {
            sku: CUP,
            stocked: 10,
            available,
            held,
        }]
    }

    fn confirmed(quantity: i64) -> Vec<Scene> {
        vec![Scene {
            title: "x",
            lines: vec![(CUP, quantity)],
            payment_method: "",
            ending: Ending::Confirmed,
        }]
    }

    #[test]
    fn balanced_stock_has_no_differences() {
        assert_eq!(
            stock_faults(&stock(10, 0), &stock(8, 2), &confirmed(2)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_missing_unit_is_a_difference() {
        assert_eq!(
            stock_faults(&stock(10, 0), &stock(7, 2), &confirmed(2)),
            ["stoneware-cup: 10 are not 7 + 2"]
        );
    }

    #[test]
    fn a_unit_kept_by_a_failed_order_is_a_difference() {
        assert_eq!(
            stock_faults(&stock(10, 0), &stock(7, 3), &confirmed(2)).len(),
            1
        );
    }

    #[test]
    fn money_of_an_unconfirmed_order_is_a_difference() {
        let scenes = confirmed(1);
        let kept = Money {
            owed: 0,
            charged: 500,
            refunded: 0,
            currency: Some("USD".to_owned()),
        };
        let fair = Money {
            owed: 500,
            ..kept.clone()
        };
        assert_eq!(money_faults(&scenes, &[fair]), Vec::<String>::new());
        assert_eq!(
            money_faults(&scenes, &[kept]),
            [
                "x: 5.00 USD charged, 0.00 USD refunded, 0.00 USD owed",
                "x: it cost nothing"
            ]
        );
    }

    #[test]
    fn a_timeline_line_has_time_event_attempt_and_detail() {
        let entry = json!({"at": "2026-11-23T20:21:31.512Z", "event": "stock_refused", "detail": "only 3 left"});
        assert_eq!(
            timeline_line(&entry),
            "     20:21:31.512  stock refused  only 3 left"
        );
        let again = json!({"at": "2026-11-23T20:21:31.512Z", "event": "reserve_stock_requested", "attempt": 2});
        assert_eq!(
            timeline_line(&again),
            "     20:21:31.512  reserve stock requested  (attempt 2)"
        );
    }
}
