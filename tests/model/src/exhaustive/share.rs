//! One order's share of a state, and everything that can happen to it.
//!
//! Orders meet in nothing but an item's levels: their rows, their messages and their charges are
//! their own. So what can happen to one order is worked out once for each of its shares and each
//! level of stock, by the production code, and looked up from then on; a state of the whole is the
//! levels and one share for each order.

use inventory::domain::{
    Currency, Item, ItemName, Levels, OnRelease, OnReserve, Outcome, Price, PriceAmount,
    RefusalCode, Reservation, Sku,
};
use jiff::Timestamp;
use orders::domain::{
    CancelledBy, Decision, Draft, Event, Failure, Ignored, Line, MAX_ATTEMPTS, Money, Order,
    OrderId, PaymentMethod, Quantity, Refusal, State, UserId,
};
use payments::domain::{Payment, PaymentState};
use users::domain::{Email, Status, User, UserName};
use uuid::Uuid;

use super::Config;
use crate::messages::{self, Body, Facts};
use crate::participants::{self, Ledger, Paid, PayStep, Paying};
use crate::services::Services;
use crate::situation::{Seen, Situation};

/// What the customer expects to pay for one unit, and what it may cost instead.
const PRICES: [i64; 2] = [100, 150];

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// When whatever is in flight is due.
const DUE: Timestamp = Timestamp::constant(3600, 0);

/// How many handlers of payments may be at one order at once.
pub(super) const MAX_TASKS: usize = 2;

/// One order's rows, messages and running payment handlers, each as its number in [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    order: u8,
    reservation: u8,
    payment: u8,
    ledger: u8,
    tasks: [u8; MAX_TASKS],
    /// Every message that was ever sent and not lost: a bit for each. Any of them may arrive at
    /// any time, again and again, or never.
    sent: u32,
}

/// What orders share: the levels of the one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stock {
    pub available: i8,
    pub held: i8,
}

/// One thing that can happen.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub label: Label,
    pub share: Share,
    pub stock: Stock,
    pub seen: Seen,
    pub broken: Option<String>,
}

/// What it was, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Placed { verified: bool, sent: bool },
    PlacedAgain,
    CancelRequested { sent: bool },
    Due { sent: bool },
    RetryRequested { sent: bool },
    Arrives { body: u8, sent: bool },
    HandlerBegins { body: u8 },
    HandlerGoesOn { declines: bool, sent: bool },
    HandlerDies,
    Lost { body: u8 },
}

/// Each distinct value once. There are few, so a list will do.
struct Values<T>(Vec<T>);

impl<T: PartialEq> Values<T> {
    fn number(&mut self, value: T) -> u8 {
        let known = self.0.iter().position(|known| *known == value);
        let number = known.unwrap_or_else(|| {
            self.0.push(value);
            self.0.len() - 1
        });
        u8::try_from(number)
            .expect("the model has few values of a kind; this one grows without end")
    }

    fn get(&self, number: u8) -> &T {
        &self.0[usize::from(number)]
    }
}

/// One order and those around it.
pub(super) struct Orders<'a, S> {
    services: &'a S,
    config: Config,
    facts: Facts,
    item: Item,
    user: User,
    orders: Values<Option<Order>>,
    reservations: Values<Option<Reservation>>,
    payments: Values<Option<Payment>>,
    ledgers: Values<Ledger>,
    tasks: Values<Option<Paying>>,
    bodies: Values<Body>,
}

/// What a handler sends, or does not because it died before or the message was lost.
struct Sends {
    body: Option<Body>,
}

impl<'a, S: Services> Orders<'a, S> {
    pub fn new(services: &'a S, config: Config) -> Self {
        Self {
            services,
            config,
            facts: Facts::new(draft()),
            item: item(),
            user: user(),
            orders: Values(vec![None]),
            reservations: Values(vec![None]),
            payments: Values(vec![None]),
            ledgers: Values(vec![Ledger::default()]),
            tasks: Values(vec![None]),
            bodies: Values(Vec::new()),
        }
    }

    /// Nothing has happened yet.
    pub fn nothing() -> Share {
        Share {
            order: 0,
            reservation: 0,
            payment: 0,
            ledger: 0,
            tasks: [0; MAX_TASKS],
            sent: 0,
        }
    }

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
        for body in 0..self.bodies.0.len() as u8 {
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
            OnRelease::Forestall => (
                participants::forestall(self.services, &mut record),
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
            body: self.services.owed(order).map(messages::command),
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

    // What is asked of a share.

    /// Where an order has ended: how.
    pub fn ended(&self, share: Share) -> Option<State> {
        let state = self.orders.get(share.order).as_ref()?.state;
        match state {
            State::Confirmed | State::Rejected | State::Cancelled => Some(state),
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_) => None,
        }
    }

    pub fn is_under_way(&self, share: Share) -> bool {
        share.order != 0 && self.ended(share).is_none()
    }

    pub fn was_refused_units(&self, share: Share) -> bool {
        matches!(
            self.reservations.get(share.reservation),
            Some(Reservation::Refused(refusal)) if refusal.code == RefusalCode::OutOfStock
        )
    }

    /// Whether units were held for the order once and no longer are.
    pub fn gave_units_back(&self, share: Share) -> bool {
        let order = self.orders.get(share.order).as_ref();
        let released = matches!(
            self.reservations.get(share.reservation),
            Some(Reservation::Released)
        );
        released && order.is_some_and(|order| order.total.is_some())
    }

    /// How many units the order's reservation holds.
    pub fn holds(&self, share: Share) -> i8 {
        match self.reservations.get(share.reservation) {
            Some(Reservation::Reserved(lines)) => lines
                .iter()
                .map(|line| i8::try_from(line.quantity.get()).expect("it wants one unit"))
                .sum(),
            Some(Reservation::Refused(_) | Reservation::Released) | None => 0,
        }
    }

    /// What is wrong with a share whose order has ended: it must be right with everybody from that
    /// moment on, whatever is still on its way.
    pub fn broken(&self, share: Share) -> Option<String> {
        let state = self.ended(share)?;
        let order = self.orders.get(share.order).as_ref()?;
        let (due, held) = match state {
            State::Confirmed => (order.total.map_or(0, |total| total.amount), 1),
            State::Rejected | State::Cancelled => (0, 0),
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Refunding(_)
            | State::Releasing(_) => return None,
        };
        let balance = self.ledgers.get(share.ledger).balance();
        if balance.charged - balance.refunded != due {
            return Some(format!(
                "{state:?}, {due} is due and the provider says {balance:?}"
            ));
        }
        if self.holds(share) != held {
            let record = self.reservations.get(share.reservation);
            return Some(format!("{state:?} and its reservation is {record:?}"));
        }
        (state == State::Confirmed && order.total != order.expected_total)
            .then(|| format!("confirmed for {:?}, not as expected", order.total))
    }

    pub fn describe(&self, label: Label, share: Share) -> String {
        let order = self.orders.get(share.order).as_ref();
        let state = order.map_or("nothing".to_owned(), |order| format!("{:?}", order.state));
        let reply = |sent: bool| {
            if sent {
                ""
            } else {
                ", and what follows is not sent"
            }
        };
        let what = match label {
            Label::Placed { verified, sent } => {
                format!("placed (users asked: {verified}){}", reply(sent))
            }
            Label::PlacedAgain => "placed again".to_owned(),
            Label::CancelRequested { sent } => format!("cancelled{}", reply(sent)),
            Label::Due { sent } => format!("swept{}", reply(sent)),
            Label::RetryRequested { sent } => format!("retried by hand{}", reply(sent)),
            Label::Arrives { body, sent } => {
                format!("{:?} arrives{}", self.bodies.get(body), reply(sent))
            }
            Label::HandlerBegins { body } => {
                format!("{:?} reaches a handler", self.bodies.get(body))
            }
            Label::HandlerGoesOn { declines, sent } => {
                let how = if declines {
                    " (the provider declines)"
                } else {
                    ""
                };
                format!("a payment handler goes on{how}{}", reply(sent))
            }
            Label::HandlerDies => "a payment handler dies".to_owned(),
            Label::Lost { body } => format!("{:?} is lost", self.bodies.get(body)),
        };
        let payment = self.payments.get(share.payment).as_ref();
        let payment = payment.map(|payment| payment_name(&payment.state));
        let record = self.reservations.get(share.reservation).as_ref();
        let record = record.map(|record| match record {
            Reservation::Reserved(_) => "Reserved",
            Reservation::Refused(_) => "Refused",
            Reservation::Released => "Released",
        });
        let handlers = match share.tasks.iter().filter(|task| **task != 0).count() {
            0 => String::new(),
            running => format!(", {running} payment handlers"),
        };
        format!(
            "{what} -> {state}, {}, {}{handlers}",
            record.unwrap_or("no reservation"),
            payment.unwrap_or("no payment"),
        )
    }
}

impl Sends {
    fn one(body: Body) -> Self {
        Self { body: Some(body) }
    }
}

impl Share {
    /// The same with another task in a slot. Handlers have no names, so they are kept in order.
    fn with_task(self, slot: usize, task: u8) -> Self {
        let mut tasks = self.tasks;
        tasks[slot] = task;
        // The empty ones last, so that a free slot is found within the configured ones.
        tasks.sort_by_key(|task| std::cmp::Reverse(*task));
        Self { tasks, ..self }
    }
}

impl Stock {
    fn of(item: &Item) -> Self {
        let small = |units| i8::try_from(units).expect("the model has few units");
        Self {
            available: small(item.levels.available),
            held: small(item.levels.held),
        }
    }
}

impl Step {
    fn new(label: Label, share: Share, stock: Stock) -> Self {
        Self {
            label,
            share,
            stock,
            seen: Seen::NOTHING,
            broken: None,
        }
    }

    fn changes_rows(&self, share: Share, stock: Stock) -> bool {
        let rows = |share: Share| (share.order, share.reservation, share.payment, share.ledger);
        rows(self.share) != rows(share) || self.stock != stock
    }
}

impl Label {
    fn is_of_a_message(self) -> bool {
        match self {
            Label::Arrives { .. }
            | Label::HandlerBegins { .. }
            | Label::HandlerGoesOn { .. }
            | Label::HandlerDies
            | Label::Lost { .. } => true,
            Label::Placed { .. }
            | Label::PlacedAgain
            | Label::CancelRequested { .. }
            | Label::Due { .. }
            | Label::RetryRequested { .. } => false,
        }
    }
}

/// An order as far as its behaviour depends on it: without its diary and its clock.
///
/// Nothing depends on which attempt it is but on whether it is the last, so the first stands for
/// all before the last. Every field is named: a new one has to be thought about.
fn normal(order: Order) -> Order {
    let Order {
        id,
        user_id,
        lines,
        payment_method,
        expected_total,
        fingerprint,
        rehearsal,
        total,
        state,
        failure,
        attempt,
        due_at,
        parked,
        timeline: _,
        created_at: _,
        updated_at: _,
        version: _,
    } = order;
    Order {
        id,
        user_id,
        lines,
        payment_method,
        expected_total,
        fingerprint,
        rehearsal,
        total,
        state,
        failure: failure.map(|failure| Failure {
            detail: String::new(),
            ..failure
        }),
        attempt: match attempt {
            0 => 0,
            attempt if attempt < MAX_ATTEMPTS => 1,
            _ => MAX_ATTEMPTS,
        },
        due_at: due_at.map(|_| DUE),
        parked,
        timeline: Vec::new(),
        created_at: NOW,
        updated_at: NOW,
        version: 1,
    }
}

fn payment_name(state: &PaymentState) -> &'static str {
    match state {
        PaymentState::Charging(_) => "Charging",
        PaymentState::Charged(..) => "Charged",
        PaymentState::Declined(..) => "Declined",
        PaymentState::Refunding(..) => "Refunding",
        PaymentState::Refunded(..) => "Refunded",
        PaymentState::Voided(_) => "Voided",
    }
}

/// All orders are alike, down to their ids: each has its own rows, and which of two equal orders
/// stands first makes no difference.
fn draft() -> Draft {
    Draft {
        id: OrderId(Uuid::from_u128(1)),
        user_id: UserId(Uuid::from_u128(2)),
        lines: vec![Line {
            sku: orders::domain::Sku::parse("tea").expect("it is a sku"),
            quantity: Quantity::new(1).expect("it is a quantity"),
            name: None,
            unit_price: None,
        }],
        payment_method: PaymentMethod::parse("pm_card_visa").expect("it is a token"),
        expected_total: Some(Money::new(PRICES[0], "USD").expect("it is an amount")),
        fingerprint: Uuid::nil(),
        rehearsal: None,
    }
}

fn item() -> Item {
    Item {
        sku: Sku::parse("tea").expect("it is a sku"),
        name: ItemName::parse("Tea").expect("it is a name"),
        price: Price {
            amount: PriceAmount::parse(PRICES[0]).expect("it is a price"),
            currency: Currency::parse("USD").expect("it is a currency"),
        },
        levels: Levels {
            stocked: 0,
            available: 0,
            held: 0,
        },
        created_at: NOW,
        updated_at: NOW,
    }
}

fn user() -> User {
    let email = Email::parse("somebody@example.com").expect("it is an address");
    let name = UserName::parse("Somebody").expect("it is a name");
    User::register(Uuid::from_u128(2), email, name, NOW)
}
