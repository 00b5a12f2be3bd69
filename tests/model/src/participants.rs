//! The participants' writes, and payment commands step by step. Each function is one atomic
//! operation of a store or of the provider.

use inventory::domain::{Item, Outcome, Reservation, ReservedLine};
use jiff::Timestamp;
use payments::domain::{
    Charge, ChargeKey, Command, Decision, Decline, Money, OrderId, Payment, PaymentId, RefundKey,
    Reply, Settlement, Settling,
};

use crate::services::Services;

/// `InventoryStore::reserve`: one transaction. False if a condition fails.
pub fn reserve<S: Services>(
    services: &S,
    record: &mut Option<Reservation>,
    items: &mut [Item],
    outcome: &Outcome,
) -> bool {
    if !services.row_is_absent(record.is_some()) {
        return false;
    }
    match outcome {
        Outcome::Reserved(lines) => {
            let can_be_held = |line: &ReservedLine| {
                find(items, line).is_some_and(|at| services.can_hold(&items[at], line))
            };
            if !lines.iter().all(can_be_held) {
                return false;
            }
            move_units(items, lines, 1);
            *record = Some(Reservation::Reserved(lines.clone()));
        }
        Outcome::Refused(refusal) => *record = Some(Reservation::Refused(refusal.clone())),
    }
    true
}

/// `InventoryStore::release`: one transaction.
pub fn release<S: Services>(
    services: &S,
    record: &mut Option<Reservation>,
    items: &mut [Item],
    lines: &[ReservedLine],
) -> bool {
    let can_be_given_back = |line: &ReservedLine| {
        find(items, line).is_some_and(|at| services.can_release(&items[at], line))
    };
    if !services.is_reserved(record.as_ref()) || !lines.iter().all(can_be_given_back) {
        return false;
    }
    move_units(items, lines, -1);
    *record = Some(Reservation::Released);
    true
}

/// `InventoryStore::put_tombstone`.
pub fn put_tombstone<S: Services>(services: &S, record: &mut Option<Reservation>) -> bool {
    let writes = services.row_is_absent(record.is_some());
    if writes {
        *record = Some(Reservation::Released);
    }
    writes
}

fn find(items: &[Item], line: &ReservedLine) -> Option<usize> {
    items.iter().position(|item| item.sku == line.sku)
}

/// Moves units from available to held, or back.
fn move_units(items: &mut [Item], lines: &[ReservedLine], direction: i64) {
    for line in lines {
        let at = find(items, line).expect("the condition found the item");
        items[at].levels.available -= direction * line.quantity.get();
        items[at].levels.held += direction * line.quantity.get();
    }
}

/// The payment provider's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub charges: Vec<ChargeRow>,
    pub refunds: Vec<RefundRow>,
}

/// The final settlement of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    pub key: ChargeKey,
    /// `None` if it was cancelled before the charge.
    pub amount: Option<Money>,
    pub settlement: Settlement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRow {
    pub key: RefundKey,
    pub amount: Money,
}

impl Ledger {
    fn charge(&mut self, charge: &Charge, accepts: bool) -> Result<Settlement, String> {
        if let Some(row) = self.charges.iter().find(|row| row.key == charge.key) {
            return match row.amount {
                Some(amount) if amount != charge.amount => {
                    Err("the key belongs to another charge".to_owned())
                }
                Some(_) | None => Ok(row.settlement.clone()),
            };
        }
        let settlement = if accepts {
            Settlement::Charged(PaymentId(charge.key.as_str().to_owned()))
        } else {
            Settlement::Declined(Decline {
                code: "card_declined".to_owned(),
                detail: "the card was declined".to_owned(),
            })
        };
        self.charges.push(ChargeRow {
            key: charge.key.clone(),
            amount: Some(charge.amount),
            settlement: settlement.clone(),
        });
        Ok(settlement)
    }

    fn cancel(&mut self, key: &ChargeKey) -> Settlement {
        if let Some(row) = self.charges.iter().find(|row| row.key == *key) {
            return row.settlement.clone();
        }
        self.charges.push(ChargeRow {
            key: key.clone(),
            amount: None,
            settlement: Settlement::Cancelled,
        });
        Settlement::Cancelled
    }

    fn refund(&mut self, key: RefundKey, id: &PaymentId, amount: Money) -> Result<(), String> {
        let charged = |row: &ChargeRow| {
            matches!(&row.settlement, Settlement::Charged(made) if made == id)
                && row.amount == Some(amount)
        };
        if !self.charges.iter().any(charged) {
            return Err("no charge of this amount has this payment id".to_owned());
        }
        if !self.refunds.iter().any(|refund| refund.key == key) {
            self.refunds.push(RefundRow { key, amount });
        }
        Ok(())
    }

    pub fn balance(&self) -> Balance {
        let mut balance = Balance::default();
        for row in &self.charges {
            if let (Settlement::Charged(_), Some(amount)) = (&row.settlement, row.amount) {
                balance.charges += 1;
                balance.charged += amount.amount();
            }
        }
        for row in &self.refunds {
            balance.refunded += row.amount.amount();
        }
        balance
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub charges: usize,
    pub charged: i64,
    pub refunded: i64,
}

/// A payment command in `carry_out` of payments' `handlers/commands.rs`, split at each await.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentTask {
    order_id: OrderId,
    command: Command,
    known: Option<Payment>,
    pub step: TaskStep,
}

/// The next operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStep {
    Find,
    Insert(Payment),
    Replace(Payment),
    AskToCharge(Charge),
    AskToCancel(Charge),
    AskToRefund(Charge, PaymentId, Payment),
    Record(Payment, Charge, Settlement),
    FindToRecord(Charge, Settlement),
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskResult {
    Continues,
    /// Another handler wrote first.
    Overtaken,
    Answer(Reply),
    /// A bug.
    Unprocessable(String),
}

impl PaymentTask {
    pub fn begin<S: Services>(
        services: &S,
        order_id: OrderId,
        command: Command,
        now: Timestamp,
    ) -> Self {
        let mut paying = Self {
            order_id,
            command,
            known: None,
            step: TaskStep::Find,
        };
        // A charge skips the read: its conditional insert detects an existing row.
        if paying.command.skips_read() {
            paying.decide(services, now);
        }
        paying
    }

    /// Runs the next operation. `accepts`: the provider's answer to a new charge.
    pub fn step<S: Services>(
        &mut self,
        services: &S,
        row: &mut Option<Payment>,
        ledger: &mut Ledger,
        accepts: bool,
        now: Timestamp,
    ) -> TaskResult {
        match std::mem::replace(&mut self.step, TaskStep::Find) {
            TaskStep::Find => {
                self.known = row.clone();
                self.decide(services, now)
            }
            TaskStep::Insert(first) => {
                if services.row_is_absent(row.is_some()) {
                    *row = Some(first.clone());
                    self.known = Some(first);
                    self.decide(services, now)
                } else {
                    TaskResult::Overtaken
                }
            }
            TaskStep::Replace(next) => {
                if replace(services, row, &next) {
                    self.known = Some(next);
                    self.decide(services, now)
                } else {
                    TaskResult::Overtaken
                }
            }
            TaskStep::AskToCharge(charge) => match ledger.charge(&charge, accepts) {
                Ok(settlement) => self.record(services, charge, settlement, now),
                Err(refused) => TaskResult::Unprocessable(refused),
            },
            TaskStep::AskToCancel(charge) => {
                let settlement = ledger.cancel(&charge.key);
                self.record(services, charge, settlement, now)
            }
            TaskStep::AskToRefund(charge, id, done) => {
                if let Err(refused) = ledger.refund(charge.key.refund(), &id, charge.amount) {
                    return TaskResult::Unprocessable(refused);
                }
                self.step = TaskStep::Replace(done);
                TaskResult::Continues
            }
            TaskStep::Record(next, charge, settlement) => {
                if replace(services, row, &next) {
                    self.known = Some(next);
                    self.decide(services, now)
                } else {
                    self.step = TaskStep::FindToRecord(charge, settlement);
                    TaskResult::Overtaken
                }
            }
            TaskStep::FindToRecord(charge, settlement) => {
                self.known = row.clone();
                self.record(services, charge, settlement, now)
            }
        }
    }

    fn decide<S: Services>(&mut self, services: &S, now: Timestamp) -> TaskResult {
        let decision =
            services.decide_payment(self.order_id, self.known.as_ref(), &self.command, now);
        self.step = match decision {
            Decision::Begin(first) => TaskStep::Insert(first),
            Decision::Advance(next) => TaskStep::Replace(next),
            Decision::AskToCharge(charge) => TaskStep::AskToCharge(charge),
            Decision::AskToCancel(charge) => TaskStep::AskToCancel(charge),
            Decision::AskToRefund {
                charge,
                payment_id,
                done,
            } => TaskStep::AskToRefund(charge, payment_id, done),
            Decision::Answer(reply) => return TaskResult::Answer(reply),
            Decision::Refuse(refusal) => return TaskResult::Unprocessable(refusal.to_string()),
        };
        TaskResult::Continues
    }

    fn record<S: Services>(
        &mut self,
        services: &S,
        charge: Charge,
        settlement: Settlement,
        now: Timestamp,
    ) -> TaskResult {
        let Some(known) = &self.known else {
            return TaskResult::Unprocessable("a payment row was deleted".to_owned());
        };
        match services.settle(known, &charge, &settlement, now) {
            Settling::Known => self.decide(services, now),
            Settling::Advance(next) => {
                self.step = TaskStep::Record(next, charge, settlement);
                TaskResult::Continues
            }
            // Both break the provider's promise about keys, which this provider keeps.
            Settling::GiveBack(_) => {
                TaskResult::Unprocessable("a charge was made after it was abandoned".to_owned())
            }
            Settling::Contradiction => {
                let why = "the provider denies a confirmed charge, or confirms another";
                TaskResult::Unprocessable(why.to_owned())
            }
        }
    }
}

fn replace<S: Services>(services: &S, row: &mut Option<Payment>, next: &Payment) -> bool {
    let writes = row
        .as_ref()
        .is_some_and(|stored| services.version_is_unchanged(stored, next));
    if writes {
        *row = Some(next.clone());
    }
    writes
}
