//! Payments' records against the provider's own ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::money::{Net, shown};
use super::{Audit, Kind, Subject, add, sum};
use crate::audit::rows::{Charge, Money, Payment, PaymentStatus, Rows, SIMULATED, charged_for};
use crate::ui::money;

/// The provider's entries for one charge.
#[derive(Default)]
pub(super) struct LedgerEntry<'b> {
    charge: Option<&'b Charge>,
    refunds: Vec<&'b Money>,
}

impl<'b> LedgerEntry<'b> {
    fn taken(&self) -> Option<&'b Money> {
        self.charge.and_then(Charge::taken)
    }

    fn given_back(&self) -> i128 {
        sum(self.refunds.iter().map(|money| i128::from(money.amount)))
    }

    fn shown(&self) -> String {
        let mut given: BTreeMap<&str, i128> = BTreeMap::new();
        for back in &self.refunds {
            let sum = given.entry(&back.currency).or_default();
            *sum = add(*sum, back.amount.into());
        }
        let given: Vec<String> = given.iter().map(|(code, sum)| money(*sum, code)).collect();
        let given = match given.is_empty() {
            true => "nothing".to_owned(),
            false => given.join(" and "),
        };
        let taken = self.taken().map_or("nothing".to_owned(), shown);
        format!("the provider charged {taken} and refunded {given}")
    }
}

pub(super) fn ledger(rows: &Rows) -> BTreeMap<&str, LedgerEntry<'_>> {
    let mut ledger: BTreeMap<&str, LedgerEntry<'_>> = BTreeMap::new();
    for charge in &rows.charges {
        ledger.entry(&charge.key).or_default().charge = Some(charge);
    }
    for refund in &rows.refunds {
        if let Some(key) = refund.charge_key() {
            let entry = ledger.entry(key).or_default();
            entry.refunds.push(&refund.given_back);
        }
    }
    ledger
}

impl Audit<'_> {
    /// The net amount by the provider's ledger or, if that is not in our tables, by payments'
    /// record.
    pub(super) fn net(&self, payment: &Payment) -> Option<Net> {
        let charge = payment.charge.as_ref()?;
        if let Some(entry) = self.ledger.get(charge.key.as_str()) {
            let taken = entry.taken()?;
            return Some(Net {
                currency: taken.currency.clone(),
                charged: taken.amount.into(),
                refunded: entry.given_back(),
            });
        }
        let amount = i128::from(charge.money.amount);
        let (charged, refunded) = match payment.status {
            PaymentStatus::Charged | PaymentStatus::Refunding => (amount, 0),
            PaymentStatus::Refunded => (amount, amount),
            PaymentStatus::Charging | PaymentStatus::Declined | PaymentStatus::Voided => (0, 0),
        };
        Some(Net {
            currency: charge.money.currency.clone(),
            charged,
            refunded,
        })
    }

    /// Describes how a payment's record differs from the ledger, if it does.
    pub(super) fn against_ledger(&self, payment: &Payment) -> Option<String> {
        let charge = payment.charge.as_ref()?;
        let simulated = payment
            .payment_id
            .as_ref()
            .is_some_and(|id| id.starts_with(SIMULATED));
        let entry = self.ledger.get(charge.key.as_str());
        if entry.is_none() && !simulated {
            return None;
        }
        let taken = entry.and_then(LedgerEntry::taken);
        let given_back = entry.map_or(0, LedgerEntry::given_back);
        let all = i128::from(charge.money.amount);
        let is_whole = taken == Some(&charge.money);
        let agrees = match payment.status {
            // Payments writes this before it asks the provider, whose answer may be lost.
            PaymentStatus::Charging => given_back == 0,
            PaymentStatus::Charged => is_whole && given_back == 0,
            PaymentStatus::Refunding => is_whole,
            PaymentStatus::Refunded => is_whole && given_back == all,
            PaymentStatus::Declined | PaymentStatus::Voided => taken.is_none(),
        };
        (!agrees).then(|| {
            let nothing = LedgerEntry::default();
            format!(
                "its payment is {} for {}, and {}",
                payment.status,
                shown(&charge.money),
                entry.unwrap_or(&nothing).shown()
            )
        })
    }

    pub(super) fn ledger_entries(&mut self) {
        let known: BTreeSet<&str> = self
            .rows
            .payments
            .iter()
            .filter_map(|payment| Some(payment.charge.as_ref()?.key.as_str()))
            .collect();
        let entries = std::mem::take(&mut self.ledger);
        for (key, entry) in &entries {
            let order = charged_for(key);
            let subject = order.map_or_else(|| Subject::Row((*key).to_owned()), Subject::Order);
            let came_meanwhile = order.is_some_and(|id| self.rows.meanwhile.contains(&id));
            let is_unreadable = order.is_some_and(|id| self.unreadable.contains(&id));
            let is_judged = !came_meanwhile && !is_unreadable;
            let taken = entry.taken().map_or(0, |money| i128::from(money.amount));
            let given_back = entry.given_back();
            let foreign = |money: &&Money| {
                entry
                    .taken()
                    .is_none_or(|taken| taken.currency != money.currency)
            };
            let evidence = format!("{taken} {given_back}");
            if is_judged && (given_back > taken || entry.refunds.iter().any(foreign)) {
                let subject = subject.clone();
                let evidence = evidence.clone();
                self.find(subject, Kind::RefundBeyondCharge, entry.shown(), evidence);
            }
            let Some(money) = entry.taken().filter(|_| !known.contains(key)) else {
                continue;
            };
            if is_judged && given_back < taken {
                let what = format!("{}, and payments has no record of it", entry.shown());
                self.find(subject, Kind::LedgerOfNobody, what, evidence);
            }
            let net = Net {
                currency: money.currency.clone(),
                charged: taken,
                refunded: given_back,
            };
            self.book_without_order(&net, came_meanwhile);
        }
        self.ledger = entries;
    }
}
