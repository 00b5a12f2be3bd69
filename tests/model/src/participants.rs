//! The participants around their decisions: what a write does to a row, and a payment command step
//! by step. Each function is one atomic operation of a store or of the provider.

use inventory::domain::{Item, Outcome, Reservation, ReservedLine};
use jiff::Timestamp;
use payments::domain::{
    Charge, ChargeKey, Command, Decision, Decline, Money, OrderId, Payment, PaymentId, RefundKey,
    Reply, Settlement, Settling,
};

use crate::services::Services;

/// `InventoryStore::reserve`: one transaction. False where a condition does not hold.
pub fn reserve<S: Services>(
    services: &S,
    record: &mut Option<Reservation>,
    items: &mut [Item],
    outcome: &Outcome,
) -> bool {
    if !services.nothing_is_there(record.is_some()) {
        return false;
    }
    match outcome {
        Outcome::Reserved(lines) => {
            let can_be_held = |line: &ReservedLine| {
                find(items, line).is_some_and(|at| services.item_can_be_held(&items[at], line))
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
pub fn give_back<S: Services>(
    services: &S,
    record: &mut Option<Reservation>,
    items: &mut [Item],
    lines: &[ReservedLine],
) -> bool {
    let can_be_given_back = |line: &ReservedLine| {
        find(items, line).is_some_and(|at| services.item_can_be_given_back(&items[at], line))
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
    let writes = services.nothing_is_there(record.is_some());
    if writes {
        *record = Some(Reservation::Released);
    }
    writes
}

fn find(items: &[Item], line: &ReservedLine) -> Option<usize> {
    items.iter().position(|item| item.sku == line.sku)
}

/// From what is available to what is held.
fn move_units(items: &mut [Item], lines: &[ReservedLine], direction: i64) {
    for line in lines {
        let at = find(items, line).expect("the condition has found it");
        items[at].levels.available -= direction * line.quantity.get();
        items[at].levels.held += direction * line.quantity.get();
    }
}

/// What the payment provider has on its own books, by which money is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub charges: Vec<ChargeRow>,
    pub refunds: Vec<RefundRow>,
}

/// One key's charge, settled for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeRow {
    pub key: ChargeKey,
    /// Nothing where it was cancelled before anybody asked for it.
    pub amount: Option<Money>,
    pub settlement: Settlement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRow {
    pub key: RefundKey,
    pub amount: Money,
}

impl Ledger {
    fn charge(&mut self, charge: &Charge, pays: bool) -> Result<Settlement, String> {
        if let Some(row) = self.charges.iter().find(|row| row.key == charge.key) {
            return match row.amount {
                Some(amount) if amount != charge.amount => {
                    Err("the key was used for another charge".to_owned())
                }
                Some(_) | None => Ok(row.settlement.clone()),
            };
        }
        let settlement = if pays {
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

    /// How often the order was charged, and what it was charged and given back in all.
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

/// A payment command on its way through `carry_out` of payments' `handlers/commands.rs`, cut where
/// the handler awaits something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paying {
    order_id: OrderId,
    command: Command,
    known: Option<Payment>,
    pub step: PayStep,
}

/// What it does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayStep {
    Find,
    Insert(Payment),
    Replace(Payment),
    AskToCharge(Charge),
    AskToCancel(Charge),
    AskToRefund(Charge, PaymentId, Payment),
    Record(Payment, Charge, Settlement),
    FindToRecord(Charge, Settlement),
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paid {
    GoesOn,
    /// A write met another's.
    Overtaken,
    Answer(Reply),
    /// No correct system gets here.
    Unprocessable(String),
}

impl Paying {
    pub fn begin<S: Services>(
        services: &S,
        order_id: OrderId,
        command: Command,
        now: Timestamp,
    ) -> Self {
        let is_charge = match command {
            Command::Charge { .. } => true,
            Command::Refund { .. } => false,
        };
        let mut paying = Self {
            order_id,
            command,
            known: None,
            step: PayStep::Find,
        };
        // A charge saves itself the read: its own conditional write finds out.
        if is_charge {
            let first = paying.think(services, now);
            debug_assert_eq!(first, Paid::GoesOn, "a first charge is written down");
        }
        paying
    }

    /// Does the next thing. `pays`: what the provider answers to a charge it has not seen.
    pub fn go<S: Services>(
        &mut self,
        services: &S,
        row: &mut Option<Payment>,
        ledger: &mut Ledger,
        pays: bool,
        now: Timestamp,
    ) -> Paid {
        match std::mem::replace(&mut self.step, PayStep::Find) {
            PayStep::Find => {
                self.known = row.clone();
                self.think(services, now)
            }
            PayStep::Insert(first) => {
                if services.nothing_is_there(row.is_some()) {
                    *row = Some(first.clone());
                    self.known = Some(first);
                    self.think(services, now)
                } else {
                    Paid::Overtaken
                }
            }
            PayStep::Replace(next) => {
                if replace(services, row, &next) {
                    self.known = Some(next);
                    self.think(services, now)
                } else {
                    Paid::Overtaken
                }
            }
            PayStep::AskToCharge(charge) => match ledger.charge(&charge, pays) {
                Ok(settlement) => self.record(services, charge, settlement, now),
                Err(refused) => Paid::Unprocessable(refused),
            },
            PayStep::AskToCancel(charge) => {
                let settlement = ledger.cancel(&charge.key);
                self.record(services, charge, settlement, now)
            }
            PayStep::AskToRefund(charge, id, done) => {
                if let Err(refused) = ledger.refund(charge.key.refund(), &id, charge.amount) {
                    return Paid::Unprocessable(refused);
                }
                self.step = PayStep::Replace(done);
                Paid::GoesOn
            }
            PayStep::Record(next, charge, settlement) => {
                if replace(services, row, &next) {
                    self.known = Some(next);
                    self.think(services, now)
                } else {
                    self.step = PayStep::FindToRecord(charge, settlement);
                    Paid::Overtaken
                }
            }
            PayStep::FindToRecord(charge, settlement) => {
                self.known = row.clone();
                self.record(services, charge, settlement, now)
            }
        }
    }

    fn think<S: Services>(&mut self, services: &S, now: Timestamp) -> Paid {
        let decision =
            services.decide_payment(self.order_id, self.known.as_ref(), &self.command, now);
        self.step = match decision {
            Decision::Begin(first) => PayStep::Insert(first),
            Decision::Advance(next) => PayStep::Replace(next),
            Decision::AskToCharge(charge) => PayStep::AskToCharge(charge),
            Decision::AskToCancel(charge) => PayStep::AskToCancel(charge),
            Decision::AskToRefund {
                charge,
                payment_id,
                done,
            } => PayStep::AskToRefund(charge, payment_id, done),
            Decision::Answer(reply) => return Paid::Answer(reply),
            Decision::Refuse(refusal) => return Paid::Unprocessable(refusal.to_string()),
        };
        Paid::GoesOn
    }

    fn record<S: Services>(
        &mut self,
        services: &S,
        charge: Charge,
        settlement: Settlement,
        now: Timestamp,
    ) -> Paid {
        let Some(known) = &self.known else {
            return Paid::Unprocessable("a payment has vanished".to_owned());
        };
        match services.settle(known, &charge, &settlement, now) {
            Settling::Known => self.think(services, now),
            Settling::Advance(next) => {
                self.step = PayStep::Record(next, charge, settlement);
                Paid::GoesOn
            }
            // Both break the promise a key makes, which this provider keeps.
            Settling::GiveBack(_) => {
                Paid::Unprocessable("a charge was made that had been written off".to_owned())
            }
            Settling::Contradiction => {
                let why = "the provider denies a charge it had confirmed, or confirms another";
                Paid::Unprocessable(why.to_owned())
            }
        }
    }
}

fn replace<S: Services>(services: &S, row: &mut Option<Payment>, next: &Payment) -> bool {
    let writes = row
        .as_ref()
        .is_some_and(|stored| services.payment_is_the_one_read(stored, next));
    if writes {
        *row = Some(next.clone());
    }
    writes
}
