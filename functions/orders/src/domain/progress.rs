//! The progress of an order: the command it owes, its attempts, due time and timeline.
//!
//! The command follows from the order alone ([`owed`]). So there is no outbox: any function that
//! reads an order can send its command again.

use jiff::{SignedDuration, Timestamp};

use super::faults::Fault;
use super::order::{Draft, Failure, Order};
use super::state::{Ending, State};
use super::step::Command;
use super::timeline::{Entry, TimelineEvent};
use super::values::{MAX_CODE, MAX_DETAIL, bounded};

/// After this many attempts a forward step is given up and a compensation is parked.
pub const MAX_ATTEMPTS: u32 = 5;

/// The interval between attempts of a parked compensation.
pub const PARKED_RETRY: SignedDuration = SignedDuration::from_hours(1);

/// The timeline omits a step's later attempts, so that a parked order does not grow without bound.
const MAX_LISTED_ATTEMPTS: u32 = 20;

/// From this length on the timeline omits repeatable entries: attempts, further retries by operators,
/// further parking. Without a bound the item could reach DynamoDB's 400 KB, and then no write succeeds.
pub const MAX_TIMELINE: usize = 200;

/// How long a step may take before its command is sent again; each further wait is twice as long.
#[derive(Clone, Copy, Debug)]
pub struct StepTimeout(pub SignedDuration);

impl StepTimeout {
    pub(super) fn after(self, attempt: u32) -> SignedDuration {
        self.0
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
    }
}

/// Creates an order. `verified` is true if the users service has already agreed.
pub fn place(draft: Draft, verified: bool, timeout: StepTimeout, now: Timestamp) -> Order {
    let mut order = Order {
        id: draft.id,
        user_id: draft.user_id,
        lines: draft.lines,
        payment_method: draft.payment_method,
        expected_total: draft.expected_total,
        fingerprint: draft.fingerprint,
        faults: draft.faults,
        total: None,
        state: State::Verifying,
        failure: None,
        attempt: 0,
        due_at: None,
        parked: false,
        timeline: Vec::new(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    order.note(now, TimelineEvent::OrderPlaced, None);
    if let Some(faults) = &order.faults {
        let faults = faults.to_string();
        order.note(now, TimelineEvent::FaultsInjected, Some(&faults));
    }
    if verified {
        order.note(now, TimelineEvent::UserVerified, None);
        order.forward(State::Reserving, timeout, now);
    } else {
        order.forward(State::Verifying, timeout, now);
    }
    order
}

/// The command that the order's state requires, again and again until the answer comes.
pub fn owed(order: &Order) -> Option<Command> {
    let command = order.state.command()?;
    // An order reaches such a command only with a total.
    let is_known = !command.needs_total() || order.total.is_some();
    is_known.then_some(command)
}

/// The fault of the command that the order owes. Like the command, it follows from the order alone. So
/// every function sends the command with the same fault.
pub fn owed_fault(order: &Order) -> Option<Fault> {
    let faults = order.faults.as_ref()?;
    let fault = faults.fault_of(owed(order)?)?;
    let lasts = match fault {
        Fault::Fail | Fault::Timeout | Fault::LostReply => true,
        Fault::FailOnce | Fault::TimeoutOnce | Fault::LostReplyOnce => order.attempt == 1,
    };
    (lasts && !is_retried_by_operator(order)).then_some(fault)
}

/// An operator's retry ends all injected faults. Otherwise no order could get past a lasting one.
fn is_retried_by_operator(order: &Order) -> bool {
    let mut entries = order.timeline.iter();
    entries.any(|entry| entry.event == TimelineEvent::RetryRequested)
}

impl Order {
    pub(super) fn note(&mut self, at: Timestamp, event: TimelineEvent, detail: Option<&str>) {
        self.timeline.push(Entry {
            at,
            event,
            attempt: None,
            detail: detail.map(|detail| bounded(detail, MAX_DETAIL)),
        });
    }

    /// Notes a repeatable event. The first one is always noted.
    pub(super) fn note_if_room(&mut self, at: Timestamp, event: TimelineEvent, detail: &str) {
        let is_first = self.timeline.iter().all(|entry| entry.event != event);
        if is_first || self.timeline.len() < MAX_TIMELINE {
            self.note(at, event, Some(detail));
        }
    }

    fn note_attempt(&mut self, at: Timestamp) {
        let Some(command) = self.state.command() else {
            return;
        };
        if self.attempt <= MAX_LISTED_ATTEMPTS && self.timeline.len() < MAX_TIMELINE {
            self.timeline.push(Entry {
                at,
                event: command.action().requested,
                attempt: Some(self.attempt),
                detail: None,
            });
        }
    }

    pub(super) fn fail(&mut self, code: &str, detail: &str) {
        self.failure = Some(Failure {
            code: bounded(code, MAX_CODE),
            detail: bounded(detail, MAX_DETAIL),
        });
    }

    pub(super) fn give_up(&mut self, command: Command, now: Timestamp) {
        let detail = format!(
            "no answer about {} after {} attempts",
            command.step().awaits,
            self.attempt
        );
        self.note(now, TimelineEvent::StepTimedOut, Some(&detail));
        self.fail("timed_out", &detail);
    }

    /// Goes to the next step towards Confirmed. `due_at` stays unless it is too late for this step. A
    /// normal order thus writes its index entry once and removes it once.
    pub(super) fn forward(&mut self, state: State, timeout: StepTimeout, now: Timestamp) {
        let latest = now + timeout.after(1);
        self.state = state;
        self.attempt = 1;
        self.due_at = Some(self.due_at.map_or(latest, |due_at| due_at.min(latest)));
        self.note_attempt(now);
    }

    /// Goes to a compensation, with its full time.
    pub(super) fn compensate(&mut self, state: State, timeout: StepTimeout, now: Timestamp) {
        self.state = state;
        self.start_over(timeout, now);
    }

    /// Starts the current step's first attempt.
    pub(super) fn start_over(&mut self, timeout: StepTimeout, now: Timestamp) {
        self.attempt = 1;
        self.parked = false;
        self.due_at = Some(now + timeout.after(1));
        self.note_attempt(now);
    }

    pub(super) fn ask_again(&mut self, timeout: StepTimeout, now: Timestamp) {
        self.attempt = self.attempt.saturating_add(1);
        let pause = if self.parked {
            PARKED_RETRY
        } else {
            timeout.after(self.attempt)
        };
        self.due_at = Some(now + pause);
        self.note_attempt(now);
    }

    pub(super) fn end(&mut self, ending: Ending, now: Timestamp) {
        let (state, event) = match ending {
            Ending::Rejected => (State::Rejected, TimelineEvent::OrderRejected),
            Ending::Cancelled => (State::Cancelled, TimelineEvent::OrderCancelled),
        };
        self.state = state;
        self.note(now, event, None);
        self.clear_due();
    }

    pub(super) fn clear_due(&mut self) {
        self.attempt = 0;
        self.parked = false;
        self.due_at = None;
    }
}
