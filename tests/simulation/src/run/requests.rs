//! The requests of customers, administrators and operators, and checks on the answers.

use std::rc::Rc;

use futures_util::FutureExt;
use serde_json::{Value, json};
use shared_lambda::http::Response;

use super::actors::AdminAction;
use super::world::{Finished, Job, World};
use crate::clock::Millis;
use crate::fault_profile::{FaultKind, lock_profile};
use crate::invariants::{Order, Step};

impl World {
    pub(super) fn place(&mut self, number: usize) {
        let client = &mut self.actors.clients[number];
        client.next_place = None;
        let (user, key, body) = (client.user, client.key.clone(), client.body.clone());
        if self.rng.chance(100) {
            self.system.restart_place();
        }
        let system = Rc::clone(&self.system);
        self.start("orders-place", Job::Place { client: number }, async move {
            Finished::Answered(system.place(user, &key, &body).await)
        });
    }

    pub(super) fn cancel(&mut self, number: usize) {
        let client = &mut self.actors.clients[number];
        client.next_cancel = None;
        if client.refused {
            return;
        }
        let (user, order) = (client.user, client.order);
        let is_open = |order: &Order| order.state == "confirmed" || !order.is_terminal();
        if self.ledger.get(&order.to_string()).is_some_and(is_open) {
            lock_profile(&self.profile).count(FaultKind::Cancel);
        }
        let system = Rc::clone(&self.system);
        self.start(
            "orders-cancel",
            Job::Cancel { client: number },
            async move { Finished::Answered(system.cancel(user, order).await) },
        );
    }

    pub(super) fn retry(&mut self, number: usize) {
        let client = &mut self.actors.clients[number];
        client.next_retry = None;
        let order = client.order;
        let at_work = self.ledger.get(&order.to_string());
        if at_work.is_some_and(|order| !order.is_terminal()) {
            lock_profile(&self.profile).count(FaultKind::Operator);
        }
        let system = Rc::clone(&self.system);
        self.start("orders-admin", Job::Operate, async move {
            Finished::Done(system.retry(order).await)
        });
    }

    pub(super) fn do_admin_task(&mut self, number: usize) {
        let task = &mut self.actors.tasks[number];
        task.at = None;
        let action = task.action.clone();
        let system = Rc::clone(&self.system);
        let (function, answer) = match action {
            AdminAction::Price { sku, amount } => {
                let (name, currency) = (self.actors.skus[sku].clone(), self.actors.currencies[sku]);
                let answer = async move { system.reprice(&name, amount, currency).await };
                ("inventory-update", answer.boxed_local())
            }
            AdminAction::Adjust { sku, delta, key } => {
                let name = self.actors.skus[sku].clone();
                let answer = async move { system.adjust(&name, delta, &key).await };
                ("inventory-adjust", answer.boxed_local())
            }
            AdminAction::Status { user, status } => {
                let id = self.actors.users[user];
                let answer = async move { system.set_status(id, status).await };
                ("users-update", answer.boxed_local())
            }
        };
        self.start(function, Job::Admin(number), answer.map(Finished::Answered));
    }

    /// The operator abandons the step they saw. The order may have moved on.
    pub(super) fn abandon(&mut self, number: usize) {
        let now = self.now();
        let client = &mut self.actors.clients[number];
        client.next_abandon = None;
        let order = client.order;
        let seen = self.ledger.get(&order.to_string());
        let step = match seen.map(|order| order.state.as_str()) {
            Some(state) if state.starts_with("refunding") => Step::Refund,
            Some(state) if state.starts_with("releasing") => Step::Release,
            _ => return,
        };
        client.abandoned.push(step);
        let mut profile = lock_profile(&self.profile);
        profile.count(FaultKind::Abandon);
        // Some operators also abandon the next step, parked or not.
        let rng = profile.rng(FaultKind::Abandon);
        if step == Step::Refund && rng.chance(500) {
            client.next_abandon = Some(now + rng.between(1, 1_000));
        }
        drop(profile);
        let system = Rc::clone(&self.system);
        self.start("orders-admin", Job::Operate, async move {
            Finished::Done(system.abandon(order, step.name()).await)
        });
    }

    pub(super) fn placed(&mut self, number: usize, response: &Response) {
        self.check_no_internal_error(response);
        match response.status {
            200 | 202 => {
                let body: Value = response
                    .body
                    .as_deref()
                    .and_then(|body| serde_json::from_str(body).ok())
                    .unwrap_or_default();
                let client = &mut self.actors.clients[number];
                client.acknowledged = true;
                let order = client.order.to_string();
                if body["id"] != json!(order) {
                    self.report(format!(
                        "the answer for order {order} has the id {}",
                        body["id"]
                    ));
                }
                if self.ledger.get(&order).is_none() {
                    self.report(format!(
                        "order {order} was acknowledged, but does not exist"
                    ));
                }
                if lock_profile(&self.profile).occurs(FaultKind::Again) {
                    self.again_later(|world, at| {
                        world.actors.clients[number].next_place = Some(at)
                    });
                }
            }
            403 => {
                let client = &mut self.actors.clients[number];
                let (user, order) = (client.user, client.order);
                if client.acknowledged {
                    self.report(format!("order {order} was acknowledged and then refused"));
                } else {
                    client.refused = true;
                }
                if !self
                    .ledger
                    .ever_had_status(&user.to_string(), "deactivated")
                {
                    self.report(format!("user {user} was refused, but never deactivated"));
                }
            }
            429 => self.asked_to_wait(number, response),
            503 => self.again_later(|world, at| world.actors.clients[number].next_place = Some(at)),
            status => self.report(format!("placing an order was answered with {status}")),
        }
    }

    /// Answer 429: the customer has unpaid orders, and the order is refused only for a while.
    fn asked_to_wait(&mut self, number: usize, response: &Response) {
        let client = &self.actors.clients[number];
        let (user, order) = (client.user.to_string(), client.order);
        if client.acknowledged {
            self.report(format!(
                "order {order} was acknowledged and then answered with 429"
            ));
        }
        let is_unpaid = |of: &Order| of.user() == user && of.state != "confirmed";
        if !self.ledger.orders().any(|(_, of)| is_unpaid(of)) {
            self.report(format!(
                "user {user} was answered with 429, but has no unpaid order"
            ));
        }
        let seconds = response.header("retry-after").map(str::parse::<Millis>);
        let Some(Ok(seconds @ 1..=3600)) = seconds else {
            self.report(format!("order {order}: retry-after is {seconds:?}"));
            return;
        };
        self.actors.clients[number].next_place = Some(self.now() + seconds * 1000);
    }

    pub(super) fn cancelled(&mut self, number: usize, response: &Response) {
        self.check_no_internal_error(response);
        let client = &mut self.actors.clients[number];
        match response.status {
            // An order that has ended is answered with 200.
            200 | 202 => client.cancelled = Some(202),
            409 => client.cancelled = Some(409),
            // The order is not placed yet, or never.
            404 if !client.acknowledged => {
                if client.next_place.is_some() || !lock_profile(&self.profile).is_over() {
                    self.again_later(|world, at| {
                        world.actors.clients[number].next_cancel = Some(at)
                    });
                }
            }
            404 => {
                let order = client.order;
                self.report(format!(
                    "order {order} was acknowledged, but its cancellation was answered with 404"
                ));
            }
            503 => {
                self.again_later(|world, at| world.actors.clients[number].next_cancel = Some(at))
            }
            status => self.report(format!("a cancellation was answered with {status}")),
        }
    }

    /// A change that was answered as done must be in the rows.
    pub(super) fn administered(&mut self, number: usize, response: &Response) {
        self.check_no_internal_error(response);
        let action = self.actors.tasks[number].action.clone();
        let done = match (&action, response.status) {
            (_, 503) => {
                self.again_later(|world, at| world.actors.tasks[number].at = Some(at));
                return;
            }
            // Stock cannot fall below zero.
            (AdminAction::Adjust { delta, .. }, 409) => *delta < 0,
            (AdminAction::Adjust { sku, delta, .. }, 201) => {
                self.actors.tasks[number].is_done = true;
                let applied = self.ledger.adjustments_of(&self.actors.skus[*sku], *delta);
                applied > 0
            }
            (AdminAction::Price { sku, amount }, 200) => {
                let (name, currency) = (&self.actors.skus[*sku], self.actors.currencies[*sku]);
                self.ledger.ever_had_price(name, *amount, currency)
            }
            (AdminAction::Status { user, status }, 200) => {
                let id = self.actors.users[*user].to_string();
                self.ledger.ever_had_status(&id, status)
            }
            (
                AdminAction::Price { .. } | AdminAction::Adjust { .. } | AdminAction::Status { .. },
                _,
            ) => false,
        };
        if !done {
            let status = response.status;
            self.report(format!(
                "{action:?} was answered with {status}, but is not done"
            ));
        }
    }

    /// An answer 503 needs a fault.
    pub(super) fn check_unavailable(&mut self, response: &Response, undisturbed: bool) {
        if response.status == 503 && undisturbed {
            self.report("an answer was 503 without a fault".to_owned());
        }
    }

    /// An answer 500 is a bug.
    fn check_no_internal_error(&mut self, response: &Response) {
        if response.status == 500 {
            let body = response.body.clone().unwrap_or_default();
            self.report(format!("an answer was 500: {body}"));
        }
    }
}
