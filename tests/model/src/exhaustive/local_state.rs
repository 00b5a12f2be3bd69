//! The local state of one order.
//!
//! Orders share only an item's levels. So the production code computes the steps of each local
//! state at each level of stock once. A global state is the levels and one local state per order.

use inventory::domain::{Item, RefusalCode, Reservation};
use orders::domain::{Order, State};
use payments::domain::{Payment, PaymentState};

use super::config::Config;
use super::fixture::{draft, item, user};
use crate::coverage::Covered;
use crate::messages::{Body, Facts};
use crate::participants::{Ledger, PaymentTask};
use crate::services::Services;

pub(super) const MAX_TASKS: usize = 2;

/// One order's rows, messages and payment handlers, as numbers in an [`Interner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalState {
    pub order: u8,
    pub reservation: u8,
    pub payment: u8,
    pub ledger: u8,
    pub tasks: [u8; MAX_TASKS],
    /// A bit for each message sent and not lost. Each can arrive at any time, repeatedly or never.
    pub sent: u32,
}

/// The shared state: the levels of the one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stock {
    pub available: i8,
    pub held: i8,
}

/// One order's local state and the shared stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub local: LocalState,
    pub stock: Stock,
}

/// One transition.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub label: Label,
    /// Whether its message, if any, is sent.
    pub sent: bool,
    pub at: At,
    pub covered: Covered,
    pub violation: Option<String>,
}

/// The event of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Placed { verified: bool },
    PlacedAgain,
    CancelRequested,
    Due,
    RetryRequested,
    Arrives { body: u8 },
    HandlerBegins { body: u8 },
    HandlerContinues { accepts: bool },
    HandlerCrashes,
    Lost { body: u8 },
}

/// Numbers distinct values. There are few, so a list is enough.
pub(super) struct Interner<T>(Vec<T>);

impl<T: PartialEq> Interner<T> {
    pub fn intern(&mut self, value: T) -> u8 {
        let known = self.0.iter().position(|known| *known == value);
        let number = known.unwrap_or_else(|| {
            self.0.push(value);
            self.0.len() - 1
        });
        u8::try_from(number).expect("the set of values grows without end")
    }

    pub fn count(&self) -> u8 {
        self.0.len() as u8
    }

    pub fn get(&self, number: u8) -> &T {
        &self.0[usize::from(number)]
    }
}

/// The model of one order.
pub(super) struct Orders<'a, S> {
    pub services: &'a S,
    pub config: Config,
    pub facts: Facts,
    pub item: Item,
    pub orders: Interner<Option<Order>>,
    pub reservations: Interner<Option<Reservation>>,
    pub payments: Interner<Option<Payment>>,
    pub ledgers: Interner<Ledger>,
    pub tasks: Interner<Option<PaymentTask>>,
    pub bodies: Interner<Body>,
    /// The transitions found so far.
    pub found: Vec<Step>,
}

impl<'a, S: Services> Orders<'a, S> {
    pub fn new(services: &'a S, config: Config) -> Self {
        Self {
            services,
            config,
            facts: Facts::new(draft(), user()),
            item: item(),
            orders: Interner(vec![None]),
            reservations: Interner(vec![None]),
            payments: Interner(vec![None]),
            ledgers: Interner(vec![Ledger::default()]),
            tasks: Interner(vec![None]),
            bodies: Interner(Vec::new()),
            found: Vec::new(),
        }
    }

    pub fn nothing() -> LocalState {
        LocalState {
            order: 0,
            reservation: 0,
            payment: 0,
            ledger: 0,
            tasks: [0; MAX_TASKS],
            sent: 0,
        }
    }

    /// The final state of an order that has ended.
    pub fn ended(&self, local: LocalState) -> Option<State> {
        let state = self.orders.get(local.order).as_ref()?.state;
        state.has_ended().then_some(state)
    }

    pub fn is_in_flight(&self, local: LocalState) -> bool {
        local.order != 0 && self.ended(local).is_none()
    }

    pub fn was_refused_units(&self, local: LocalState) -> bool {
        matches!(
            self.reservations.get(local.reservation),
            Some(Reservation::Refused(refusal)) if refusal.code == RefusalCode::OutOfStock
        )
    }

    /// Whether the order's units were held and then released.
    pub fn gave_units_back(&self, local: LocalState) -> bool {
        let order = self.orders.get(local.order).as_ref();
        let released = matches!(
            self.reservations.get(local.reservation),
            Some(Reservation::Released)
        );
        released && order.is_some_and(|order| order.total.is_some())
    }

    pub fn holds(&self, local: LocalState) -> i8 {
        match self.reservations.get(local.reservation) {
            Some(Reservation::Reserved(lines)) => lines
                .iter()
                .map(|line| i8::try_from(line.quantity.get()).expect("each order wants one unit"))
                .sum(),
            Some(Reservation::Refused(_) | Reservation::Released) | None => 0,
        }
    }

    /// The violation of an ended order. The rows of inventory and payments must match from then on.
    pub fn violation(&self, local: LocalState) -> Option<String> {
        let state = self.ended(local)?;
        let order = self.orders.get(local.order).as_ref()?;
        let (due, held) = match state {
            State::Confirmed => (order.total.map_or(0, |total| total.amount), 1),
            _ => (0, 0),
        };
        let balance = self.ledgers.get(local.ledger).balance();
        if balance.charged - balance.refunded != due {
            return Some(format!(
                "{state:?}: {due} is due, but the provider has {balance:?}"
            ));
        }
        if self.holds(local) != held {
            let record = self.reservations.get(local.reservation);
            return Some(format!("{state:?}, but its reservation is {record:?}"));
        }
        (state == State::Confirmed && order.total != order.expected_total)
            .then(|| format!("confirmed for {:?}, not the expected total", order.total))
    }

    pub fn describe(&self, step: &Step) -> String {
        let At { local, stock } = step.at;
        let order = self.orders.get(local.order).as_ref();
        let state = order.map_or("nothing".to_owned(), |order| format!("{:?}", order.state));
        let event = match step.label {
            Label::Placed { verified } => format!("placed (user verified: {verified})"),
            Label::PlacedAgain => "placed again".to_owned(),
            Label::CancelRequested => "cancelled".to_owned(),
            Label::Due => "swept".to_owned(),
            Label::RetryRequested => "retried by an operator".to_owned(),
            Label::Arrives { body } => format!("{:?} arrives", self.bodies.get(body)),
            Label::HandlerBegins { body } => {
                format!("{:?} reaches a handler", self.bodies.get(body))
            }
            Label::HandlerContinues { accepts: true } => "a payment handler continues".to_owned(),
            Label::HandlerContinues { accepts: false } => "the provider declines".to_owned(),
            Label::HandlerCrashes => "a payment handler crashes".to_owned(),
            Label::Lost { body } => format!("{:?} is lost", self.bodies.get(body)),
        };
        let unsent = match step.sent {
            true => "",
            false => ", without its message",
        };
        let payment = self.payments.get(local.payment).as_ref();
        let payment = payment.map(|payment| match payment.state {
            PaymentState::Charging(_) => "Charging",
            PaymentState::Charged(..) => "Charged",
            PaymentState::Declined(..) => "Declined",
            PaymentState::Refunding(..) => "Refunding",
            PaymentState::Refunded(..) => "Refunded",
            PaymentState::Voided(_) => "Voided",
        });
        let record = self.reservations.get(local.reservation).as_ref();
        let record = record.map(|record| match record {
            Reservation::Reserved(_) => "Reserved",
            Reservation::Refused(_) => "Refused",
            Reservation::Released => "Released",
        });
        let handlers = match local.tasks.iter().filter(|task| **task != 0).count() {
            0 => String::new(),
            running => format!(", {running} payment handlers"),
        };
        format!(
            "{event}{unsent} -> {state}, {}, {}{handlers}; {} available, {} held",
            record.unwrap_or("no reservation"),
            payment.unwrap_or("no payment"),
            stock.available,
            stock.held,
        )
    }
}

impl LocalState {
    /// Replaces the task in a slot. Tasks are sorted, because handlers have no identity.
    pub fn with_task(self, slot: usize, task: u8) -> Self {
        let mut tasks = self.tasks;
        tasks[slot] = task;
        // Empty slots come last, so that a free one is within the configured number.
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

impl At {
    /// The same stock with another local state.
    pub fn with(self, local: LocalState) -> Self {
        Self { local, ..self }
    }
}

impl Step {
    pub fn new(label: Label, at: At) -> Self {
        Self {
            label,
            sent: true,
            at,
            covered: Covered::NOTHING,
            violation: None,
        }
    }

    pub fn changes_rows(&self, from: At) -> bool {
        let rows = |At { local, stock }: At| {
            let LocalState {
                order,
                reservation,
                payment,
                ledger,
                ..
            } = local;
            (order, reservation, payment, ledger, stock)
        };
        rows(self.at) != rows(from)
    }
}

impl Label {
    pub fn is_of_a_message(self) -> bool {
        match self {
            Label::Arrives { .. }
            | Label::HandlerBegins { .. }
            | Label::HandlerContinues { .. }
            | Label::HandlerCrashes
            | Label::Lost { .. } => true,
            Label::Placed { .. }
            | Label::PlacedAgain
            | Label::CancelRequested
            | Label::Due
            | Label::RetryRequested => false,
        }
    }
}
