//! The steps of the saga, declared once. All names of steps, commands and compensations come from here.
//!
//! An order takes the steps from top to bottom. Compensations run back up from the current step.

use super::timeline::TimelineEvent;

pub const STEPS: [Step; 3] = [
    Step {
        kind: Kind::Check,
        participant: Participant::Users,
        action: Action {
            command: Command::VerifyUser,
            message: "VerifyUser",
            name: "verify_user",
            requested: TimelineEvent::VerifyUserRequested,
            done: TimelineEvent::UserVerified,
            refused: Some(TimelineEvent::UserRefused),
        },
        awaits: "whether the user may order",
        undo: None,
    },
    Step {
        kind: Kind::Compensatable,
        participant: Participant::Inventory,
        action: Action {
            command: Command::ReserveStock,
            message: "ReserveStock",
            name: "reserve_stock",
            requested: TimelineEvent::ReserveStockRequested,
            done: TimelineEvent::StockReserved,
            refused: Some(TimelineEvent::StockRefused),
        },
        awaits: "the stock reservation",
        undo: Some(Undo {
            compensation: Compensation::Release,
            name: "release",
            action: Action {
                command: Command::ReleaseStock,
                message: "ReleaseStock",
                name: "release_stock",
                requested: TimelineEvent::ReleaseStockRequested,
                done: TimelineEvent::StockReleased,
                refused: None,
            },
            abandoned: TimelineEvent::ReleaseAbandoned,
        }),
    },
    Step {
        kind: Kind::Pivot,
        participant: Participant::Payments,
        action: Action {
            command: Command::ChargePayment,
            message: "ChargePayment",
            name: "charge_payment",
            requested: TimelineEvent::ChargePaymentRequested,
            done: TimelineEvent::PaymentCharged,
            refused: Some(TimelineEvent::PaymentDeclined),
        },
        awaits: "the payment",
        // A charge without an answer may have been made.
        undo: Some(Undo {
            compensation: Compensation::Refund,
            name: "refund",
            action: Action {
                command: Command::RefundPayment,
                message: "RefundPayment",
                name: "refund_payment",
                requested: TimelineEvent::RefundPaymentRequested,
                done: TimelineEvent::PaymentRefunded,
                refused: None,
            },
            abandoned: TimelineEvent::RefundAbandoned,
        }),
    },
];

pub struct Step {
    pub kind: Kind,
    pub participant: Participant,
    pub action: Action,
    /// The missing answer, in the message of a step that is given up.
    pub awaits: &'static str,
    pub undo: Option<Undo>,
}

/// The kinds of steps. The pivot comes last, because after it nothing may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Changes nothing, so there is nothing to undo.
    Check,
    Compensatable,
    /// Its success confirms the order.
    Pivot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Participant {
    Users,
    Inventory,
    Payments,
}

/// The command of a step or of its compensation, with its names.
pub struct Action {
    pub command: Command,
    /// The message type.
    pub message: &'static str,
    /// The name in `Waybill-Fault`.
    pub name: &'static str,
    pub requested: TimelineEvent,
    pub done: TimelineEvent,
    /// The other answer. A compensation has none.
    pub refused: Option<TimelineEvent>,
}

pub struct Undo {
    pub compensation: Compensation,
    /// The name for operators.
    pub name: &'static str,
    pub action: Action,
    pub abandoned: TimelineEvent,
}

/// A command to a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    VerifyUser,
    ReserveStock,
    ChargePayment,
    RefundPayment,
    ReleaseStock,
}

/// A command that undoes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compensation {
    Refund,
    Release,
}

impl Participant {
    pub fn as_str(self) -> &'static str {
        match self {
            Participant::Users => "users",
            Participant::Inventory => "inventory",
            Participant::Payments => "payments",
        }
    }
}

impl Command {
    /// All commands, in the sequence that a charged and refunded order sends them.
    pub fn all() -> impl Iterator<Item = Self> {
        let forward = STEPS.iter().map(|step| step.action.command);
        let undoing = STEPS.iter().rev().filter_map(|step| step.undo.as_ref());
        forward.chain(undoing.map(|undo| undo.action.command))
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|command| command.action().name == name)
    }

    /// Whether the command carries the order's total, which is known once the stock is reserved.
    pub fn needs_total(self) -> bool {
        match self {
            Command::ChargePayment => true,
            Command::VerifyUser
            | Command::ReserveStock
            | Command::RefundPayment
            | Command::ReleaseStock => false,
        }
    }

    /// The step that the command does or undoes.
    pub fn step(self) -> &'static Step {
        let mut steps = STEPS.iter();
        steps
            .find(|step| step.actions().any(|action| action.command == self))
            .expect("a test checks that every command is declared")
    }

    pub fn action(self) -> &'static Action {
        let mut actions = self.step().actions();
        actions
            .find(|action| action.command == self)
            .expect("the step has the action of its command")
    }

    /// The compensation, if the command is one.
    pub fn undo(self) -> Option<&'static Undo> {
        let undo = self.step().undo.as_ref();
        undo.filter(|undo| undo.action.command == self)
    }
}

impl Action {
    /// The events of the replies. A reply's message type is its event's `Debug` form.
    pub fn answers(&self) -> impl Iterator<Item = TimelineEvent> {
        [self.done].into_iter().chain(self.refused)
    }
}

impl Step {
    fn actions(&self) -> impl Iterator<Item = &Action> {
        [&self.action]
            .into_iter()
            .chain(self.undo.as_ref().map(|undo| &undo.action))
    }
}

impl Compensation {
    pub fn parse(name: &str) -> Option<Self> {
        let mut undoing = STEPS.iter().filter_map(|step| step.undo.as_ref());
        let undo = undoing.find(|undo| undo.name == name)?;
        Some(undo.compensation)
    }

    /// The step that the compensation undoes, and its declaration.
    pub fn declared(self) -> (&'static Step, &'static Undo) {
        let mut undoing = STEPS
            .iter()
            .filter_map(|step| Some((step, step.undo.as_ref()?)));
        undoing
            .find(|(_, undo)| undo.compensation == self)
            .expect("a test checks that every compensation is declared")
    }
}
