//! One order's share of a state, and what there is to say of it.
//!
//! Orders meet in nothing but an item's levels: their rows, their messages and their charges are
//! their own. So what can happen to one order is worked out once for each of its shares and each
//! level of stock, by the production code, and looked up from then on; a state of the whole is the
//! levels and one share for each order.

use inventory::domain::{Item, RefusalCode, Reservation};
use orders::domain::{Order, State};
use payments::domain::{Payment, PaymentState};
use users::domain::User;

use super::config::Config;
use super::scene::{draft, item, user};
use crate::messages::{Body, Facts};
use crate::participants::{Ledger, Paying};
use crate::services::Services;
use crate::situation::Seen;

/// How many handlers of payments may be at one order at once.
pub(super) const MAX_TASKS: usize = 2;

/// One order's rows, messages and running payment handlers, each as its number in [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub order: u8,
    pub reservation: u8,
    pub payment: u8,
    pub ledger: u8,
    pub tasks: [u8; MAX_TASKS],
    /// Every message that was ever sent and not lost: a bit for each. Any of them may arrive at
    /// any time, again and again, or never.
    pub sent: u32,
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
pub(super) struct Values<T>(Vec<T>);

impl<T: PartialEq> Values<T> {
    pub fn number(&mut self, value: T) -> u8 {
        let known = self.0.iter().position(|known| *known == value);
        let number = known.unwrap_or_else(|| {
            self.0.push(value);
            self.0.len() - 1
        });
        u8::try_from(number)
            .expect("the model has few values of a kind; this one grows without end")
    }

    pub fn count(&self) -> u8 {
        self.0.len() as u8
    }

    pub fn get(&self, number: u8) -> &T {
        &self.0[usize::from(number)]
    }
}

/// One order and those around it.
pub(super) struct Orders<'a, S> {
    pub services: &'a S,
    pub config: Config,
    pub facts: Facts,
    pub item: Item,
    pub user: User,
    pub orders: Values<Option<Order>>,
    pub reservations: Values<Option<Reservation>>,
    pub payments: Values<Option<Payment>>,
    pub ledgers: Values<Ledger>,
    pub tasks: Values<Option<Paying>>,
    pub bodies: Values<Body>,
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

impl Share {
    /// The same with another task in a slot. Handlers have no names, so they are kept in order.
    pub fn with_task(self, slot: usize, task: u8) -> Self {
        let mut tasks = self.tasks;
        tasks[slot] = task;
        // The empty ones last, so that a free slot is found within the configured ones.
        tasks.sort_by_key(|task| std::cmp::Reverse(*task));
        Self { tasks, ..self }
    }
}

impl Stock {
    pub fn of(item: &Item) -> Self {
        let small = |units| i8::try_from(units).expect("the model has few units");
        Self {
            available: small(item.levels.available),
            held: small(item.levels.held),
        }
    }
}

impl Step {
    pub fn new(label: Label, share: Share, stock: Stock) -> Self {
        Self {
            label,
            share,
            stock,
            seen: Seen::NOTHING,
            broken: None,
        }
    }

    pub fn changes_rows(&self, share: Share, stock: Stock) -> bool {
        let rows = |share: Share| (share.order, share.reservation, share.payment, share.ledger);
        rows(self.share) != rows(share) || self.stock != stock
    }
}

impl Label {
    pub fn is_of_a_message(self) -> bool {
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
