//! Everything that can happen to one order, by the production code.

use inventory::domain::{Item, Levels, OnRelease, OnReserve, Outcome, PriceAmount, RefusalCode};
use jiff::Timestamp;
use orders::domain::{CancelledBy, Decision, Event, Ignored, MAX_ATTEMPTS, Order, Refusal};
use users::domain::Status;

use super::scene::{DUE, NOW, PRICES, normal};
use super::share::{Label, MAX_TASKS, Orders, Share, Step, Stock};
use crate::messages::{self, Body};
use crate::participants::{self, Paid, PayStep, Paying};
use crate::services::Services;
use crate::situation::{Seen, Situation};

/// What a handler sends, or does not because it died before or the message was lost.
struct Sends {
    body: Option<Body>,
}

impl<S: Services> Orders<'_, S> {
    /// Everything that can happen to an order of this share.
    pub fn steps(&mut self, share: Share, stock: Stock) -> Vec<Step> {
        let mut steps = Vec::new();
        match self.orders.get(share.order).clone() {
            None => self.place(share, stock, &mut steps),
            Some(order) => {
                self.place_again(&order, share, stock, &mut steps);
                self.cancel(&order, share, stock, &mut steps);
                self.due(&order, share, stock, &mut steps);
                if self.config.operators_retry {
                    self.retry(&order, share, stock, &mut steps);
                }
            }
        }
        for body in 0..self.bodies.count() {
            if share.sent >> body & 1 == 1 {
                self.arrives(body, share, stock, &mut steps);
                if self.config.lossy {
                    let label = Label::Lost { body };
                    let share = Share {
                        sent: share.sent & !(1 << body),
                        ..share
                    };
                    steps.push(Step::new(label, share, stock));
                }
            }
        }
        for slot in 0..MAX_TASKS {
            if share.tasks[slot] != 0 {
                self.goes_on(slot, share, stock, &mut steps);
                if self.config.crashes {
                    let dies = share.with_task(slot, 0);
                    steps.push(Step::new(Label::HandlerDies, dies, stock));
                }
            }
        }
        for step in &mut steps {
            let ended = self.ended(share).is_some();
            if ended && step.label.is_of_a_message() && step.changes_rows(share, stock) {
                step.broken = Some("a message changed rows of an order that had ended".to_owned());
            }
        }
        steps
    }

    // What customers, the sweeper and time do.

    fn place(&mut self, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        for verified in [true, false] {
            if verified || self.config.users_may_be_down {
                let placed = self.services.place(self.facts.draft.clone(), verified, NOW);
                let sends = self.owed(&placed);
                let seen = Seen::of_order(None, &placed);
                let share = self.written(share, placed);
                let label = |sent| Label::Placed { verified, sent };
                self.both(label, share, stock, sends, seen, steps);
            }
        }
    }

    /// The same request again: it is answered with the order there is, and what that owes is sent.
    fn place_again(&mut self, order: &Order, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        let sends = self.owed(order);
        let share = self.with_sent(share, sends);
        steps.push(Step::new(Label::PlacedAgain, share, stock));
    }

    fn cancel(&mut self, order: &Order, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        if !self.config.customers_may_cancel {
            return;
        }
        let label = |sent| Label::CancelRequested { sent };
        self.happens(
            order,
            &Event::CancelRequested {
                by: CancelledBy::Customer,
            },
            NOW,
            label,
            share,
            stock,
            steps,
        );
    }

    /// The sweeper may find an order due whenever it is in flight.
    fn due(&mut self, order: &Order, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        if order.due_at.is_none() {
            return;
        }
        let label = |sent| Label::Due { sent };
        self.happens(order, &Event::Due, DUE, label, share, stock, steps);
        // One attempt stands for all but the last (see `normal`), so the last but one is tried too.
        if order.attempt + 1 < MAX_ATTEMPTS {
            let late = Order {
                attempt: MAX_ATTEMPTS - 1,
                ..order.clone()
            };
            self.happens(&late, &Event::Due, DUE, label, share, stock, steps);
        }
    }

    /// An operator may want any step asked for again at any moment.
    fn retry(&mut self, order: &Order, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        let event = Event::RetryRequested {
            by: "an operator".to_owned(),
        };
        let label = |sent| Label::RetryRequested { sent };
        self.happens(order, &event, NOW, label, share, stock, steps);
    }

    // What messages do.

    fn arrives(&mut self, number: u8, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        let body = self.bodies.get(number).clone();
        let label = move |sent| Label::Arrives { body: number, sent };
        match &body {
            Body::Reply(event) => match self.orders.get(share.order).clone() {
                Some(order) => {
                    self.happens(&order, event, NOW, label, share, stock, steps);
                }
                None => {
                    let mut step = Step::new(label(false), share, stock);
                    step.broken = Some("a reply came to no order".to_owned());
                    steps.push(step);
                }
            },
            // Users answers as things are: whoever was active may not be by now, and back again.
            Body::VerifyUser => {
                for status in [Status::Active, Status::Deactivated] {
                    self.user.status = status;
                    let answer = self.services.may_order(Some(&self.user));
                    let sends = Sends::one(messages::user_reply(self.facts.draft.user_id, answer));
                    self.both(label, share, stock, sends, Seen::NOTHING, steps);
                }
            }
            Body::ReserveStock => self.reserve(label, share, stock, steps),
            Body::ReleaseStock => self.release(label, share, stock, steps),
            Body::ChargePayment { .. } | Body::RefundPayment => {
                let tasks = &share.tasks[..self.config.handlers_at_once];
                let Some(slot) = tasks.iter().position(|task| *task == 0) else {
                    return;
                };
                let command = self
                    .facts
                    .payment_command(&body)
                    .expect("it is for payments");
                let id = payments::domain::OrderId(self.facts.id());
                let paying = Paying::begin(self.services, id, command, NOW);
                let share = share.with_task(slot, self.tasks.number(Some(paying)));
                steps.push(Step::new(
                    Label::HandlerBegins { body: number },
                    share,
                    stock,
                ));
            }
        }
    }

    /// The reading, the deciding and the writing are one step here. That loses nothing: what a
    /// reservation was decided on is checked again by the write's own conditions, and a refusal
    /// depends on nothing that is written later but on there being no record yet.
    fn reserve(
        &mut self,
        label: impl Fn(bool) -> Label + Copy,
        share: Share,
        stock: Stock,
        steps: &mut Vec<Step>,
    ) {
        let record = self.reservations.get(share.reservation).clone();
        match self.services.on_reserve(record.clone()) {
            OnReserve::Replay(outcome) => {
                let late = matches!(
                    &outcome,
                    Outcome::Refused(refusal) if refusal.code == RefusalCode::Released
                );
                let seen = Seen::when(late, Situation::ReserveMetTombstone);
                let sends = Sends::one(messages::stock_reply(&outcome));
                self.both(label, share, stock, sends, seen, steps);
            }
            // Administrators change prices whenever they like.
            OnReserve::Decide => {
                let prices = &PRICES[..if self.config.prices_may_change { 2 } else { 1 }];
                for price in prices {
                    let mut items = self.items(stock);
                    items[0].price.amount = PriceAmount::parse(*price).expect("it is a price");
                    let outcome = self.services.decide_stock(&self.facts.wanted, &items);
                    let mut record = record.clone();
                    let written =
                        participants::reserve(self.services, &mut record, &mut items, &outcome);
                    if written {
                        let share = Share {
                            reservation: self.reservations.number(record),
                            ..share
                        };
                        let sends = Sends::one(messages::stock_reply(&outcome));
                        let stock = Stock::of(&items[0]);
                        self.both(label, share, stock, sends, Seen::NOTHING, steps);
                    }
                }
            }
        }
    }

    fn release(
        &mut self,
        label: impl Fn(bool) -> Label + Copy,
        share: Share,
        stock: Stock,
        steps: &mut Vec<Step>,
    ) {
        let mut record = self.reservations.get(share.reservation).clone();
        let mut items = self.items(stock);
        let (written, seen) = match self.services.on_release(record.clone()) {
            OnRelease::GiveBack(lines) => {
                let written =
                    participants::give_back(self.services, &mut record, &mut items, &lines);
                (written, Seen::of(Situation::UnitsGivenBack))
            }
            OnRelease::Tombstone => (
                participants::put_tombstone(self.services, &mut record),
                Seen::of(Situation::ReleaseLeftTombstone),
            ),
            OnRelease::Nothing => (true, Seen::NOTHING),
        };
        if written {
            let share = Share {
                reservation: self.reservations.number(record),
                ..share
            };
            let sends = Sends::one(Body::Reply(Event::StockReleased));
            self.both(label, share, Stock::of(&items[0]), sends, seen, steps);
        }
    }

    /// One operation of a running payment handler. A provider that is down is a handler that dies
    /// here; one whose answer is lost, a handler that dies right after.
    fn goes_on(&mut self, slot: usize, share: Share, stock: Stock, steps: &mut Vec<Step>) {
        let task = self
            .tasks
            .get(share.tasks[slot])
            .clone()
            .expect("the slot is taken");
        let answers: &[bool] = match task.step {
            PayStep::AskToCharge(_) => &[true, false],
            PayStep::Find
            | PayStep::Insert(_)
            | PayStep::Replace(_)
            | PayStep::AskToCancel(_)
            | PayStep::AskToRefund(..)
            | PayStep::Record(..)
            | PayStep::FindToRecord(..) => &[true],
        };
        for pays in answers {
            let mut task = task.clone();
            let mut row = self.payments.get(share.payment).clone();
            let mut ledger = self.ledgers.get(share.ledger).clone();
            let cancels = matches!(task.step, PayStep::AskToCancel(_));
            let follows = matches!(task.step, PayStep::Replace(_) | PayStep::Record(..));
            let paid = task.go(self.services, &mut row, &mut ledger, *pays, NOW);
            let met = follows && paid == Paid::Overtaken;
            let mut seen = Seen::when(met, Situation::PaymentWriteOvertaken);
            let mut broken = None;
            let balance = ledger.balance();
            if balance.charges > 1 {
                broken = Some("the order was charged twice".to_owned());
            } else if balance.refunded > balance.charged {
                broken = Some("more was refunded than was charged".to_owned());
            }
            if cancels && balance.charged > balance.refunded {
                seen = seen.and(Situation::ChargeFoundLate);
            }
            seen = seen.and_all(Seen::of_payment(row.as_ref()));
            let share = Share {
                payment: self.payments.number(row),
                ledger: self.ledgers.number(ledger),
                ..share
            };
            let label = |sent| Label::HandlerGoesOn {
                declines: !pays,
                sent,
            };
            let at = steps.len();
            match paid {
                Paid::GoesOn | Paid::Overtaken => {
                    let share = share.with_task(slot, self.tasks.number(Some(task)));
                    steps.push(Step::new(label(true), share, stock));
                }
                Paid::Answer(reply) => {
                    let share = share.with_task(slot, 0);
                    let sends = Sends::one(messages::payment_reply(reply));
                    self.both(label, share, stock, sends, seen, steps);
                }
                Paid::Unprocessable(why) => {
                    broken = Some(why);
                    steps.push(Step::new(label(false), share.with_task(slot, 0), stock));
                }
            }
            for step in &mut steps[at..] {
                step.seen = step.seen.and_all(seen);
                step.broken.clone_from(&broken);
            }
        }
    }

    // How an order changes.

    /// `Saga::advance` in one step: the condition on the version makes it one.
    #[expect(
        clippy::too_many_arguments,
        reason = "what happens, to what, and what comes of it"
    )]
    fn happens(
        &mut self,
        order: &Order,
        event: &Event,
        now: Timestamp,
        label: impl Fn(bool) -> Label + Copy,
        share: Share,
        stock: Stock,
        steps: &mut Vec<Step>,
    ) {
        match self.services.decide(order, event, now) {
            Decision::Advance(next) => {
                let sends = self.owed(&next);
                let seen = Seen::of_order(Some(order), &next);
                let share = self.written(share, *next);
                self.both(label, share, stock, sends, seen, steps);
            }
            Decision::Ignore(Ignored::Repeat) => {
                let sends = self.owed(order);
                self.both(label, share, stock, sends, Seen::NOTHING, steps);
            }
            Decision::Ignore(Ignored::Overtaken) => {}
            Decision::Refuse(Refusal::TooLate) => {
                let mut step = Step::new(label(false), share, stock);
                step.seen = Seen::of(Situation::CancelledTooLate);
                steps.push(step);
            }
            // Nobody abandons anything here: what an operator settles by hand, no model can judge.
            Decision::Refuse(Refusal::NotParked(_)) => {}
            Decision::Refuse(Refusal::Contradiction(why)) => {
                let mut step = Step::new(label(false), share, stock);
                step.broken = Some(why);
                steps.push(step);
            }
        }
    }

    fn owed(&self, order: &Order) -> Sends {
        Sends {
            body: self
                .services
                .owed(order)
                .map(|owed| messages::command(order, owed)),
        }
    }

    fn written(&mut self, share: Share, order: Order) -> Share {
        Share {
            order: self.orders.number(Some(normal(order))),
            ..share
        }
    }

    fn with_sent(&mut self, share: Share, sends: Sends) -> Share {
        let Some(body) = sends.body else { return share };
        let body = self.bodies.number(body);
        assert!(
            body < 32,
            "the model has few messages; these grow without end"
        );
        Share {
            sent: share.sent | 1 << body,
            ..share
        }
    }

    /// With what it sends, and without: the handler died in between, or the message was lost.
    fn both(
        &mut self,
        label: impl Fn(bool) -> Label,
        share: Share,
        stock: Stock,
        sends: Sends,
        seen: Seen,
        steps: &mut Vec<Step>,
    ) {
        let sent = self.with_sent(share, sends);
        let mut step = Step::new(label(true), sent, stock);
        step.seen = seen;
        steps.push(step.clone());
        if sent != share && self.config.crashes {
            step.label = label(false);
            step.share = share;
            steps.push(step);
        }
    }

    fn items(&self, stock: Stock) -> [Item; 1] {
        let mut item = self.item.clone();
        item.levels = Levels {
            stocked: i64::from(stock.available) + i64::from(stock.held),
            available: stock.available.into(),
            held: stock.held.into(),
        };
        [item]
    }
}

impl Sends {
    fn one(body: Body) -> Self {
        Self { body: Some(body) }
    }
}
