//! Compares the charges of each order with its total.

use super::next::REFUNDED_TWICE;
use super::{Audit, Kind, Subject, WrittenOff, add};
use crate::audit::rows::{Entry, Held, Money, Order, Payment, PaymentStatus, State};
use crate::ui::money;

/// The charges and refunds of an order.
pub(super) struct Net {
    pub currency: String,
    pub charged: i128,
    pub refunded: i128,
}

impl Net {
    fn amount(&self) -> i128 {
        add(self.charged, -self.refunded)
    }

    fn shown(&self) -> String {
        money(self.amount(), &self.currency)
    }
}

impl<'b> Audit<'b> {
    /// Checks that the lines add up to the total.
    pub(super) fn total(&mut self, order: &Order) {
        let must_have = matches!(order.state, State::Charging | State::Confirmed);
        let Some(total) = &order.total else {
            if must_have {
                let what = format!("it is {} without a total", order.state);
                self.find_in(order, Kind::TotalDiffers, what);
            }
            return;
        };
        let sum = order.lines.iter().try_fold(0_i128, |sum, line| {
            let price = line.unit_price.as_ref()?;
            (price.currency == total.currency).then_some(())?;
            let cost = i128::from(price.amount).checked_mul(i128::from(line.quantity))?;
            sum.checked_add(cost)
        });
        if sum != Some(i128::from(total.amount)) {
            let what = format!("its lines do not add up to its total of {}", shown(total));
            self.find_in(order, Kind::TotalDiffers, what);
        }
    }

    pub(super) fn payment(&mut self, order: &'b Order) {
        let payment = self.payments.get(&order.id).copied();
        let net = payment.and_then(|payment| self.net(payment));
        let outstanding = net.as_ref().map_or(0, Net::amount);
        if let Some(payment) = payment {
            if payment.user_id != order.user_id {
                let what = format!("its payment belongs to user {}", payment.user_id);
                self.find_in(order, Kind::AnotherUser, what);
            }
            if let Some(what) = self.against_ledger(payment) {
                self.find_in(order, Kind::LedgerDiffers, what);
            }
            self.asked_of_provider(order, payment, outstanding);
        }
        match order.state.held().1 {
            Held::All => self.owes_total(order, payment, net.as_ref()),
            Held::Unknown => {}
            Held::Nothing => self.owes_nothing(order, payment, net.as_ref()),
        }
        let is_abandoned = payment.and_then(|payment| refund_abandoned(order, payment));
        if let Some(net) = net {
            self.book(order, &net, is_abandoned.is_some());
        }
        let refunded = payment.filter(|payment| payment.status == PaymentStatus::Refunded);
        if let (Some(entry), Some(payment)) = (order.has("refund_abandoned"), refunded)
            && payment.updated_at > entry.at
        {
            self.after_all(order, entry, "refunded", REFUNDED_TWICE);
        }
    }

    fn owes_total(&mut self, order: &Order, payment: Option<&Payment>, net: Option<&Net>) {
        let total = order.total.as_ref().map_or(0, |total| total.amount.into());
        let is_charged = payment.is_some_and(|p| p.status == PaymentStatus::Charged);
        if is_charged && net.map_or(0, Net::amount) == total {
            return;
        }
        let total = order.total.as_ref().map_or("nothing".to_owned(), shown);
        let (net, status) = (shown_net(net), shown_status(payment));
        let what =
            format!("it is confirmed for {total} but {net} is charged (its payment is {status})");
        self.find_in(order, Kind::NotCharged, what);
    }

    fn owes_nothing(&mut self, order: &Order, payment: Option<&Payment>, net: Option<&Net>) {
        let (outstanding, net) = (net.map_or(0, Net::amount), shown_net(net));
        let is_open = payment.is_some_and(is_open);
        if outstanding == 0 && !is_open {
            return;
        }
        let state = order.state;
        if let Some(entry) = payment.and_then(|payment| refund_abandoned(order, payment)) {
            self.done.written_off.push(WrittenOff {
                order: order.id,
                what: net,
                decision: entry.detail.clone().unwrap_or_default(),
                next: None,
            });
        } else if outstanding < 0 {
            let what = format!("it is {state} and {net} is charged");
            self.find_in(order, Kind::OverRefunded, what);
        } else if order.has("refund_abandoned").is_some() {
            // A redrive skips a command whose step was abandoned.
            let what = format!(
                "its payment is {} and {net} is charged, after its refund was abandoned",
                shown_status(payment)
            );
            self.find_in(order, Kind::ChargedAfterAll, what);
        } else if outstanding > 0 {
            let what = format!("it is {state} and {net} is charged");
            self.find_in(order, Kind::StillCharged, what);
        } else {
            let what = format!("it is {state} and its payment is not settled");
            self.find_in(order, Kind::Unsettled, what);
        }
    }

    /// These books balance, but the operator may have paid or restocked by hand as well.
    pub(super) fn after_all(
        &mut self,
        order: &Order,
        entry: &Entry,
        done: &str,
        next: &'static str,
    ) {
        self.done.after_all.push(WrittenOff {
            order: order.id,
            what: format!("{done} in spite of that, so twice if it was also settled by hand"),
            decision: entry.detail.clone().unwrap_or_default(),
            next: Some(next),
        });
    }

    /// Checks the amount that the provider was asked for. A wrong amount that was refunded is
    /// settled and only a remark.
    fn asked_of_provider(&mut self, order: &Order, payment: &Payment, outstanding: i128) {
        let (Some(charge), Some(total)) = (&payment.charge, &order.total) else {
            return;
        };
        if charge.money == *total {
            return;
        }
        let (asked, total) = (shown(&charge.money), shown(total));
        let what = format!("the provider was asked for {asked}, but its total is {total}");
        let is_undone = order.state.held().1 == Held::Nothing;
        if is_undone && payment.status == PaymentStatus::Refunded && outstanding == 0 {
            let remark = format!("order {}: {what}; it was refunded", order.id);
            self.done.remarks.push(remark);
        } else {
            self.find_in(order, Kind::ChargedOtherwise, what);
        }
    }

    /// Books an order's money.
    pub(super) fn book(&mut self, order: &Order, net: &Net, is_abandoned: bool) {
        let cash = self.done.money.entry(net.currency.clone()).or_default();
        cash.charged = add(cash.charged, net.charged);
        cash.refunded = add(cash.refunded, net.refunded);
        let amount = net.amount();
        if is_abandoned {
            cash.written_off = add(cash.written_off, amount);
        } else if order.state == State::Confirmed {
            let total = order.total.as_ref();
            let total = total.filter(|total| total.currency == net.currency);
            let owed = total.map_or(0, |total| i128::from(total.amount));
            cash.confirmed = add(cash.confirmed, owed);
            cash.unexplained = add(cash.unexplained, add(amount, -owed));
        } else if order.state.is_in_flight() {
            cash.in_flight = add(cash.in_flight, amount);
        } else {
            cash.unexplained = add(cash.unexplained, amount);
        }
    }

    /// A settled payment without an order is no finding: nothing is charged any more.
    pub(super) fn payments_without_order(&mut self) {
        for payment in &self.rows.payments {
            let id = payment.order_id;
            if self.orders.contains_key(&id) {
                continue;
            }
            let net = self.net(payment);
            let outstanding = net.as_ref().map_or(0, Net::amount);
            let came_meanwhile = self.rows.meanwhile.contains(&id);
            let is_judged = !came_meanwhile && !self.unreadable.contains(&id);
            let evidence = format!("{} {outstanding}", payment.version);
            let subject = Subject::Order(id);
            if is_judged && (outstanding != 0 || is_open(payment)) {
                let kind = match outstanding < 0 {
                    true => Kind::OverRefunded,
                    false => Kind::PaymentOfNobody,
                };
                let (status, net) = (payment.status, shown_net(net.as_ref()));
                let what = format!(
                    "its payment is {status} and {net} is charged, but there is no such order"
                );
                self.find(subject, kind, what, evidence);
            } else if is_judged && let Some(what) = self.against_ledger(payment) {
                self.find(subject, Kind::LedgerDiffers, what, evidence);
            }
            if let Some(net) = net {
                self.book_without_order(&net, came_meanwhile);
            }
        }
    }

    pub(super) fn book_without_order(&mut self, net: &Net, came_meanwhile: bool) {
        let cash = self.done.money.entry(net.currency.clone()).or_default();
        cash.charged = add(cash.charged, net.charged);
        cash.refunded = add(cash.refunded, net.refunded);
        let account = match came_meanwhile {
            true => &mut cash.in_flight,
            false => &mut cash.unexplained,
        };
        *account = add(*account, net.amount());
    }
}

fn is_open(payment: &Payment) -> bool {
    match payment.status {
        PaymentStatus::Charging | PaymentStatus::Refunding => true,
        PaymentStatus::Charged
        | PaymentStatus::Declined
        | PaymentStatus::Refunded
        | PaymentStatus::Voided => false,
    }
}

/// The decision to leave a payment as it is. A refund that has begun is the one the decision was
/// about.
pub(super) fn refund_abandoned<'o>(order: &'o Order, payment: &Payment) -> Option<&'o Entry> {
    order.has("refund_abandoned").filter(|entry| {
        payment.status == PaymentStatus::Refunding || payment.updated_at <= entry.at
    })
}

pub(super) fn shown(amount: &Money) -> String {
    money(amount.amount, &amount.currency)
}

fn shown_net(net: Option<&Net>) -> String {
    net.map_or("nothing".to_owned(), Net::shown)
}

fn shown_status(payment: Option<&Payment>) -> String {
    payment.map_or("missing".to_owned(), |payment| payment.status.to_string())
}
