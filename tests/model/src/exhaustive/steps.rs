//! Every transition of one order, computed by the production code.

use inventory::domain::{
    Item, Levels, OnRelease, OnReserve, Outcome, PriceAmount, RefusalCode, Reservation,
};
use jiff::Timestamp;
use orders::domain::{CancelledBy, Decision, Event, Ignored, MAX_ATTEMPTS, Order, Refusal};

use super::fixture::{DUE, NOW, PRICES, normalize};
use super::local_state::{At, Label, LocalState, MAX_TASKS, Orders, Step, Stock};
use crate::coverage::{CoverageGoal, Covered};
use crate::messages::{self, Body};
use crate::participants::{self, PaymentTask, TaskResult, TaskStep};
use crate::services::Services;

impl<S: Services> Orders<'_, S> {
    /// Every transition of an order from here.
    pub fn steps(&mut self, at: At) -> Vec<Step> {
        match self.orders.get(at.local.order).clone() {
            None => self.place(at),
            Some(order) => {
                self.place_again(&order, at);
                self.cancel(&order, at);
                self.due(&order, at);
                if self.config.operators_retry {
                    self.retry(&order, at);
                }
            }
        }
        for body in 0..self.bodies.count() {
            if at.local.sent >> body & 1 == 1 {
                self.deliver(body, at);
                if self.config.lossy {
                    let sent = at.local.sent & !(1 << body);
                    let lost = at.with(LocalState { sent, ..at.local });
                    self.found.push(Step::new(Label::Lost { body }, lost));
                }
            }
        }
        for slot in 0..MAX_TASKS {
            if at.local.tasks[slot] != 0 {
                self.step_task(slot, at);
                if self.config.crashes {
                    let crashed = at.with(at.local.with_task(slot, 0));
                    self.found.push(Step::new(Label::HandlerCrashes, crashed));
                }
            }
        }
        let mut steps = std::mem::take(&mut self.found);
        let has_ended = self.ended(at.local).is_some();
        for step in &mut steps {
            if has_ended && step.label.is_of_a_message() && step.changes_rows(at) {
                let why = "a message changed rows of an order that had ended";
                step.violation = Some(why.to_owned());
            }
        }
        steps
    }

    // Customers, operators and the sweeper.

    fn place(&mut self, at: At) {
        for verified in [true, false] {
            if verified || self.config.users_may_be_down {
                let placed = self.services.place(self.facts.draft.clone(), verified, NOW);
                let sends = self.owed(&placed);
                let covered = Covered::of_order(None, &placed);
                let at = self.written(at, placed);
                self.push(Label::Placed { verified }, at, sends, covered);
            }
        }
    }

    /// A repeated request: the answer is the existing order, and its owed command is sent.
    fn place_again(&mut self, order: &Order, at: At) {
        let sends = self.owed(order);
        let at = self.with_sent(at, sends);
        self.found.push(Step::new(Label::PlacedAgain, at));
    }

    fn cancel(&mut self, order: &Order, at: At) {
        if self.config.customers_may_cancel {
            let by = CancelledBy::Customer;
            let event = Event::CancelRequested { by };
            self.apply(Label::CancelRequested, order, &event, NOW, at);
        }
    }

    /// An order in flight can be due at any moment.
    fn due(&mut self, order: &Order, at: At) {
        if order.due_at.is_none() {
            return;
        }
        self.apply(Label::Due, order, &Event::Due, DUE, at);
        // The first attempt stands for all before the last (see `normalize`).
        if order.attempt + 1 < MAX_ATTEMPTS {
            let late = Order {
                attempt: MAX_ATTEMPTS - 1,
                ..order.clone()
            };
            self.apply(Label::Due, &late, &Event::Due, DUE, at);
        }
    }

    /// An operator may retry any step at any moment.
    fn retry(&mut self, order: &Order, at: At) {
        let by = "an operator".to_owned();
        let event = Event::RetryRequested { by };
        self.apply(Label::RetryRequested, order, &event, NOW, at);
    }

    // Messages.

    fn deliver(&mut self, body: u8, at: At) {
        let label = Label::Arrives { body };
        let message = self.bodies.get(body).clone();
        match &message {
            Body::Reply(event) => match self.orders.get(at.local.order).clone() {
                Some(order) => self.apply(label, &order, event, NOW, at),
                None => self.violated(label, at, "a reply arrived for no order".to_owned()),
            },
            Body::Check(_, answers) => {
                for answer in answers {
                    let reply = Body::Reply(answer.clone());
                    self.push(label, at, Some(reply), Covered::NOTHING);
                }
            }
            Body::ReserveStock => self.reserve(label, at),
            Body::ReleaseStock => self.release(label, at),
            Body::Payment(command) => {
                let tasks = &at.local.tasks[..self.config.handlers_at_once];
                let Some(slot) = tasks.iter().position(|task| *task == 0) else {
                    return;
                };
                let id = payments::domain::OrderId(self.facts.id());
                let task = PaymentTask::begin(self.services, id, command.clone(), NOW);
                let local = at.local.with_task(slot, self.tasks.intern(Some(task)));
                let label = Label::HandlerBegins { body };
                self.found.push(Step::new(label, at.with(local)));
            }
        }
    }

    /// Reads, decides and writes in one step. That loses nothing: the write's conditions check a
    /// reservation again, and a refusal only needs the record to be absent.
    fn reserve(&mut self, label: Label, at: At) {
        let record = self.reservations.get(at.local.reservation).clone();
        match self.services.on_reserve(record.clone()) {
            OnReserve::Replay(outcome) => {
                let is_late = matches!(
                    &outcome,
                    Outcome::Refused(refusal) if refusal.code == RefusalCode::Released
                );
                let covered = Covered::when(is_late, CoverageGoal::ReserveMetTombstone);
                self.push(label, at, Some(messages::stock_reply(&outcome)), covered);
            }
            // The price may have changed since the order.
            OnReserve::Decide => {
                let prices = &PRICES[..if self.config.prices_may_change { 2 } else { 1 }];
                for price in prices {
                    let mut items = self.items(at.stock);
                    items[0].price.amount = PriceAmount::parse(*price).expect("a valid price");
                    let outcome = self.services.decide_stock(&self.facts.wanted, &items);
                    let mut record = record.clone();
                    if participants::reserve(self.services, &mut record, &mut items, &outcome) {
                        let reply = messages::stock_reply(&outcome);
                        let at = self.reserved(at, record, &items);
                        self.push(label, at, Some(reply), Covered::NOTHING);
                    }
                }
            }
        }
    }

    fn release(&mut self, label: Label, at: At) {
        let mut record = self.reservations.get(at.local.reservation).clone();
        let mut items = self.items(at.stock);
        let (written, covered) = match self.services.on_release(record.clone()) {
            OnRelease::GiveBack(lines) => (
                participants::release(self.services, &mut record, &mut items, &lines),
                Covered::of(CoverageGoal::UnitsReleased),
            ),
            OnRelease::Tombstone => (
                participants::put_tombstone(self.services, &mut record),
                Covered::of(CoverageGoal::ReleaseLeftTombstone),
            ),
            OnRelease::Nothing => (true, Covered::NOTHING),
        };
        if written {
            let at = self.reserved(at, record, &items);
            self.push(label, at, Some(Body::Reply(Event::StockReleased)), covered);
        }
    }

    /// One operation of a payment handler. A crash before it stands for a provider that is down, a
    /// crash after it for a lost answer.
    fn step_task(&mut self, slot: usize, at: At) {
        let task = self.tasks.get(at.local.tasks[slot]).clone();
        let task = task.expect("the slot is taken");
        let answers: &[bool] = match task.step {
            TaskStep::AskToCharge(_) => &[true, false],
            TaskStep::Find
            | TaskStep::Insert(_)
            | TaskStep::Replace(_)
            | TaskStep::AskToCancel(_)
            | TaskStep::AskToRefund(..)
            | TaskStep::Record(..)
            | TaskStep::FindToRecord(..) => &[true],
        };
        for accepts in answers {
            let mut task = task.clone();
            let mut row = self.payments.get(at.local.payment).clone();
            let mut ledger = self.ledgers.get(at.local.ledger).clone();
            let cancels = matches!(task.step, TaskStep::AskToCancel(_));
            let follows = matches!(task.step, TaskStep::Replace(_) | TaskStep::Record(..));
            let result = task.step(self.services, &mut row, &mut ledger, *accepts, NOW);
            let overtaken = follows && result == TaskResult::Overtaken;
            let mut covered = Covered::when(overtaken, CoverageGoal::PaymentWriteOvertaken);
            let balance = ledger.balance();
            let mut violation = None;
            if balance.charges > 1 {
                violation = Some("the order was charged twice".to_owned());
            } else if balance.refunded > balance.charged {
                violation = Some("more was refunded than was charged".to_owned());
            }
            if cancels && balance.charged > balance.refunded {
                covered = covered.and(CoverageGoal::ChargeFoundLate);
            }
            covered = covered.and_all(Covered::of_payment(row.as_ref()));
            let local = LocalState {
                payment: self.payments.intern(row),
                ledger: self.ledgers.intern(ledger),
                ..at.local
            };
            let label = Label::HandlerContinues { accepts: *accepts };
            let first = self.found.len();
            let done = at.with(local.with_task(slot, 0));
            match result {
                TaskResult::Continues | TaskResult::Overtaken => {
                    let local = local.with_task(slot, self.tasks.intern(Some(task)));
                    self.found.push(Step::new(label, at.with(local)));
                }
                TaskResult::Answer(reply) => {
                    self.push(
                        label,
                        done,
                        Some(Body::Reply(messages::payment_reply(reply))),
                        covered,
                    );
                }
                TaskResult::Unprocessable(why) => {
                    violation = Some(why);
                    self.found.push(Step::new(label, done));
                }
            }
            for step in &mut self.found[first..] {
                step.covered = step.covered.and_all(covered);
                step.violation.clone_from(&violation);
            }
        }
    }

    // Writes.

    /// `Saga::advance` in one step: the condition on the version makes it atomic.
    fn apply(&mut self, label: Label, order: &Order, event: &Event, now: Timestamp, at: At) {
        match self.services.decide(order, event, now) {
            Decision::Advance(next) => {
                let sends = self.owed(&next);
                let covered = Covered::of_order(Some(order), &next);
                let at = self.written(at, *next);
                self.push(label, at, sends, covered);
            }
            Decision::Ignore(Ignored::Repeat) => {
                let sends = self.owed(order);
                self.push(label, at, sends, Covered::NOTHING);
            }
            Decision::Ignore(Ignored::Overtaken) => {}
            Decision::Refuse(Refusal::TooLate) => {
                let mut step = Step::new(label, at);
                step.covered = Covered::of(CoverageGoal::CancelledTooLate);
                self.found.push(step);
            }
            // No operator abandons a step here: a model cannot judge a settlement by hand.
            Decision::Refuse(Refusal::NotParked(_)) => {}
            Decision::Refuse(Refusal::Contradiction(why)) => self.violated(label, at, why),
        }
    }

    fn owed(&self, order: &Order) -> Option<Body> {
        let owed = self.services.owed(order)?;
        Some(self.facts.command(self.services, order, owed))
    }

    fn written(&mut self, at: At, order: Order) -> At {
        at.with(LocalState {
            order: self.orders.intern(Some(normalize(order))),
            ..at.local
        })
    }

    fn reserved(&mut self, at: At, record: Option<Reservation>, items: &[Item; 1]) -> At {
        let local = LocalState {
            reservation: self.reservations.intern(record),
            ..at.local
        };
        let stock = Stock::of(&items[0]);
        At { local, stock }
    }

    fn with_sent(&mut self, at: At, sends: Option<Body>) -> At {
        let Some(body) = sends else { return at };
        let body = self.bodies.intern(body);
        assert!(body < 32, "the set of messages grows without end");
        at.with(LocalState {
            sent: at.local.sent | 1 << body,
            ..at.local
        })
    }

    /// Adds the transition with its message, and without: a crash or a loss.
    fn push(&mut self, label: Label, at: At, sends: Option<Body>, covered: Covered) {
        let mut step = Step::new(label, self.with_sent(at, sends));
        step.covered = covered;
        let is_sent = step.at != at;
        self.found.push(step.clone());
        if is_sent && self.config.crashes {
            self.found.push(Step {
                at,
                sent: false,
                ..step
            });
        }
    }

    fn violated(&mut self, label: Label, at: At, why: String) {
        let mut step = Step::new(label, at);
        step.violation = Some(why);
        self.found.push(step);
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
