//! Those who use the system: customers with an order in mind, administrators with their chores and
//! operators who look after what is parked; and whether what they are answered is true.

use std::rc::Rc;

use orders::domain::{OrderId, UserId};
use serde_json::{Value, json};
use shared_lambda::http::Response;

use super::actors::{Chore, Client, TimelineEvent};
use super::world::{Finished, Job, World};
use crate::books::{Order, Step};
use crate::chance::{Dice, Trouble, weather};
use crate::clock::Millis;
use crate::endings::Wish;

impl World {
    pub(super) fn client(
        &mut self,
        number: usize,
        items: &[(String, i64, i64)],
        soon: bool,
    ) -> Client {
        // Dice of its own: with fewer orders the others stay what they were.
        let mut dice = Dice::new(self.plan.seed, 100 + number as u64);
        let user = *dice.pick(&self.people.users);
        let mut lines = Vec::new();
        let mut expected = 0;
        let first = if dice.hits(300) {
            dice.below(items.len() as u64) as usize
        } else {
            0
        };
        for (sku, amount, _) in &items[first..] {
            if lines.is_empty() || dice.hits(300) {
                let quantity = dice.between(1, 3);
                expected += quantity * amount;
                lines.push((sku.clone(), quantity));
            }
        }
        if dice.hits(30) {
            lines.push(("NO-SUCH-ITEM".to_owned(), 1));
        }
        let method = *dice.pick(&[
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_card_chargeDeclinedInsufficientFunds",
            "pm_sim_lostReply",
            "pm_sim_slow",
            "pm_sim_unavailable",
        ]);
        let mut wish = Wish {
            lines,
            method,
            expected: None,
        };
        if dice.hits(300) {
            let expected = if dice.hits(200) {
                expected + 1
            } else {
                expected
            };
            wish.expected = Some((expected, self.people.currencies[first]));
        }
        let key = format!("order-{number}");
        let placed_at = dice.between(0, self.troubled_until / 2);
        let mut weather = weather(&self.weather);
        let cancels = weather.plans(Trouble::Cancel);
        let within = if soon { 2_000 } else { self.troubled_until };
        let cancel_at = placed_at + weather.dice(Trouble::Cancel).between(0, within);
        let retries = weather.plans(Trouble::Operator);
        let dice = weather.dice(Trouble::Operator);
        let retry_at = placed_at + dice.between(0, self.troubled_until);
        Client {
            user,
            order: OrderId::of_key(UserId(user), &key).0,
            key,
            body: wish.body().to_string(),
            wish,
            next_place: Some(placed_at),
            next_cancel: cancels.then_some(cancel_at),
            next_retry: retries.then_some(retry_at),
            next_abandon: None,
            gave_up: Vec::new(),
            cancels,
            acknowledged: false,
            refused: false,
            cancelled: None,
        }
    }

    pub(super) fn plan_chores(&mut self) {
        let until = self.troubled_until;
        let mut weather = weather(&self.weather);
        for sku in 0..self.people.skus.len() {
            if weather.brings(Trouble::Price) {
                let dice = weather.dice(Trouble::Price);
                let what = TimelineEvent::Price {
                    sku,
                    amount: dice.between(1, 50) * 100,
                };
                self.people
                    .chores
                    .push(Chore::at(dice.between(0, until), what));
            }
            if weather.brings(Trouble::Adjustment) {
                let dice = weather.dice(Trouble::Adjustment);
                let delta = *dice.pick(&[-3, -1, 1, 5]);
                let what = TimelineEvent::Adjust {
                    sku,
                    delta,
                    key: format!("count-{sku}"),
                };
                self.people
                    .chores
                    .push(Chore::at(dice.between(0, until), what));
            }
        }
        for user in 0..self.people.users.len() {
            if weather.brings(Trouble::Deactivation) {
                let dice = weather.dice(Trouble::Deactivation);
                let at = dice.between(0, until);
                let back = dice.hits(700).then(|| at + dice.between(1_000, 100_000));
                let what = TimelineEvent::Status {
                    user,
                    status: "deactivated",
                };
                self.people.chores.push(Chore::at(at, what));
                let what = TimelineEvent::Status {
                    user,
                    status: "active",
                };
                self.people
                    .chores
                    .extend(back.map(|back| Chore::at(back, what)));
            }
        }
    }

    /// An operator who is told that an order is parked does not always wait for it.
    pub(super) fn look_for_parked(&mut self, pk: &str) {
        let id = pk.strip_prefix("ORDER#").unwrap_or(pk);
        if !self.books.get(id).is_some_and(|order| order.parked) {
            return;
        }
        let now = self.now();
        let client = self
            .people
            .clients
            .iter_mut()
            .find(|client| client.order.to_string() == id);
        let Some(client) = client.filter(|client| client.next_abandon.is_none()) else {
            return;
        };
        let mut weather = weather(&self.weather);
        if weather.plans(Trouble::Abandon) {
            let within = *weather.dice(Trouble::Abandon).pick(&[1_000, 4_000_000]);
            let wait = weather.dice(Trouble::Abandon).between(1, within);
            client.next_abandon = Some(now + wait);
        }
    }

    pub(super) fn place(&mut self, number: usize) {
        let client = &mut self.people.clients[number];
        client.next_place = None;
        let (user, key, body) = (client.user, client.key.clone(), client.body.clone());
        if self.dice.hits(100) {
            self.system.restart_place();
        }
        let system = Rc::clone(&self.system);
        self.start("orders-place", Job::Place { client: number }, async move {
            Finished::Answered(system.place(user, &key, &body).await)
        });
    }

    pub(super) fn cancel(&mut self, number: usize) {
        let client = &mut self.people.clients[number];
        client.next_cancel = None;
        if client.refused {
            return;
        }
        let (user, order) = (client.user, client.order);
        let is_open = |order: &Order| order.state == "confirmed" || !order.is_terminal();
        if self.books.get(&order.to_string()).is_some_and(is_open) {
            weather(&self.weather).came_about(Trouble::Cancel);
        }
        let system = Rc::clone(&self.system);
        self.start(
            "orders-cancel",
            Job::Cancel { client: number },
            async move { Finished::Answered(system.cancel(user, order).await) },
        );
    }

    pub(super) fn retry(&mut self, number: usize) {
        let client = &mut self.people.clients[number];
        client.next_retry = None;
        let order = client.order;
        let at_work = self.books.get(&order.to_string());
        if at_work.is_some_and(|order| !order.is_terminal()) {
            weather(&self.weather).came_about(Trouble::Operator);
        }
        let system = Rc::clone(&self.system);
        self.start("orders-admin", Job::Operate, async move {
            Finished::Done(system.retry(order).await)
        });
    }

    pub(super) fn do_chore(&mut self, number: usize) {
        let chore = &mut self.people.chores[number];
        chore.at = None;
        let what = chore.what.clone();
        let (system, skus, currencies, users) = (
            Rc::clone(&self.system),
            self.people.skus.clone(),
            self.people.currencies.clone(),
            self.people.users.clone(),
        );
        let function = match what {
            TimelineEvent::Price { .. } => "inventory-update",
            TimelineEvent::Adjust { .. } => "inventory-adjust",
            TimelineEvent::Status { .. } => "users-update",
        };
        self.start(function, Job::Admin(number), async move {
            Finished::Answered(match what {
                TimelineEvent::Price { sku, amount } => {
                    system.reprice(&skus[sku], amount, currencies[sku]).await
                }
                TimelineEvent::Adjust { sku, delta, key } => {
                    system.adjust(&skus[sku], delta, &key).await
                }
                TimelineEvent::Status { user, status } => {
                    system.set_status(users[user], status).await
                }
            })
        });
    }

    /// The step that is given up is the one the operator saw; the order may have moved on.
    pub(super) fn abandon(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.people.clients[number];
        client.next_abandon = None;
        let order = client.order;
        let seen = self.books.get(&order.to_string());
        let step = match seen.map(|order| order.state.as_str()) {
            Some(state) if state.starts_with("refunding") => Step::Refund,
            Some(state) if state.starts_with("releasing") => Step::Release,
            _ => return,
        };
        client.gave_up.push(step);
        let mut weather = weather(&self.weather);
        weather.came_about(Trouble::Abandon);
        // Some go on to give up the next step as well, parked or not.
        let dice = weather.dice(Trouble::Abandon);
        if step == Step::Refund && dice.hits(500) {
            client.next_abandon = Some(now + dice.between(1, 1_000));
        }
        drop(weather);
        let system = Rc::clone(&self.system);
        self.start("orders-admin", Job::Operate, async move {
            Finished::Done(system.abandon(order, step.name()).await)
        });
    }

    pub(super) fn placed(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        match response.status {
            202 => {
                let body: Value = response
                    .body
                    .as_deref()
                    .and_then(|body| serde_json::from_str(body).ok())
                    .unwrap_or_default();
                let client = &mut self.people.clients[number];
                client.acknowledged = true;
                let order = client.order.to_string();
                if body["id"] != json!(order) {
                    self.wrong(format!("order {order} was answered as {}", body["id"]));
                }
                if self.books.get(&order).is_none() {
                    self.wrong(format!("order {order} was acknowledged and is not there"));
                }
                if weather(&self.weather).brings(Trouble::Again) {
                    self.again_later(|world, at| {
                        world.people.clients[number].next_place = Some(at)
                    });
                }
            }
            403 => {
                let client = &mut self.people.clients[number];
                let (user, order) = (client.user, client.order);
                if client.acknowledged {
                    self.wrong(format!("order {order} was acknowledged and then refused"));
                } else {
                    client.refused = true;
                }
                if !self.books.has_stood(&user.to_string(), "deactivated") {
                    self.wrong(format!("user {user} was refused and never deactivated"));
                }
            }
            429 => self.told_to_wait(number, response),
            503 => self.again_later(|world, at| world.people.clients[number].next_place = Some(at)),
            status => self.wrong(format!("placing an order was answered {status}")),
        }
    }

    /// Too many of the customer's orders are not paid for: there are such, and none is refused for good.
    fn told_to_wait(&mut self, number: usize, response: &Response) {
        let client = &self.people.clients[number];
        let (user, order) = (client.user.to_string(), client.order);
        if client.acknowledged {
            self.wrong(format!(
                "order {order} was acknowledged and then told to wait"
            ));
        }
        let is_unpaid = |of: &Order| of.user() == user && of.state != "confirmed";
        if !self.books.orders().any(|(_, of)| is_unpaid(of)) {
            self.wrong(format!(
                "user {user} was told to wait and has no unpaid order"
            ));
        }
        let seconds = response.header("retry-after").map(str::parse::<Millis>);
        let Some(Ok(seconds @ 1..=3600)) = seconds else {
            self.wrong(format!("order {order} is to wait for {seconds:?} seconds"));
            return;
        };
        self.people.clients[number].next_place = Some(self.now() + seconds * 1000);
    }

    pub(super) fn cancelled(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        let client = &mut self.people.clients[number];
        match response.status {
            202 | 409 => client.cancelled = Some(response.status),
            // Not placed yet, or never.
            404 if !client.acknowledged => {
                if client.next_place.is_some() || !weather(&self.weather).is_over() {
                    self.again_later(|world, at| {
                        world.people.clients[number].next_cancel = Some(at)
                    });
                }
            }
            404 => {
                let order = client.order;
                self.wrong(format!(
                    "order {order} was acknowledged and cannot be cancelled"
                ));
            }
            503 => {
                self.again_later(|world, at| world.people.clients[number].next_cancel = Some(at))
            }
            status => self.wrong(format!("a cancellation was answered {status}")),
        }
    }

    /// What an administrator was told was done has been done.
    pub(super) fn administered(&mut self, number: usize, response: &Response) {
        self.is_sane(response);
        let what = self.people.chores[number].what.clone();
        let done = match (&what, response.status) {
            (_, 503) => {
                self.again_later(|world, at| world.people.chores[number].at = Some(at));
                return;
            }
            // No more can be taken away than there is.
            (TimelineEvent::Adjust { delta, .. }, 409) => *delta < 0,
            (TimelineEvent::Adjust { sku, delta, .. }, 201) => {
                self.people.chores[number].is_done = true;
                self.books.adjustments_of(&self.people.skus[*sku], *delta) > 0
            }
            (TimelineEvent::Price { sku, amount }, 200) => {
                let currency = self.people.currencies[*sku];
                self.books
                    .has_cost(&self.people.skus[*sku], *amount, currency)
            }
            (TimelineEvent::Status { user, status }, 200) => self
                .books
                .has_stood(&self.people.users[*user].to_string(), status),
            (
                TimelineEvent::Price { .. }
                | TimelineEvent::Adjust { .. }
                | TimelineEvent::Status { .. },
                _,
            ) => false,
        };
        if !done {
            let status = response.status;
            self.wrong(format!("{what:?} was answered {status} and is not done"));
        }
    }

    /// Whoever is asked to try later is so for a reason.
    pub(super) fn is_excused(&mut self, response: &Response, undisturbed: bool) {
        if response.status == 503 && undisturbed {
            self.wrong("an answer was 503, and nothing had befallen the function".to_owned());
        }
    }

    /// 500 is what a bug looks like from outside.
    fn is_sane(&mut self, response: &Response) {
        if response.status == 500 {
            let body = response.body.clone().unwrap_or_default();
            self.wrong(format!("an answer was 500: {body}"));
        }
    }
}
