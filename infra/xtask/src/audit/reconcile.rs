//! Whether the four services' books agree: a pure function of their rows and the time.
//!
//! At rest, and so of every order that has ended:
//! - stock: of each sku, `stocked = available + held`, none negative, and `held` is what the
//!   reservations of confirmed orders and of those in flight hold;
//! - money: the net charge is the total where the order is confirmed and nothing otherwise, by
//!   payments' records and by the provider's own ledger; nothing is refunded beyond its charge.
//!
//! Each finding has a next move, and ends once that move was made.
//!
//! An order in flight owes a step: it is named only when it is stuck, or in a state that its saga
//! cannot have reached. What an operator abandoned is not a discrepancy but written off, unless
//! it was charged or reserved only afterwards, when nobody could have decided about it.
//!
//! Of an order with a row that cannot be read nothing is said but this: what the other rows seem to
//! lack may be in that one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::books::{
    Books, Charge, Entry, Misfiled, Money, Order, Payment, PaymentStatus, Reservation,
    ReservationStatus, RowKey, SIMULATED, State, charged_for,
};
use crate::ui::money;

/// The sweeper comes every minute: an order it has passed over twice is stuck.
const OVERDUE: SignedDuration = SignedDuration::from_secs(120);

/// No step's time is as long: an hour, the longest that can be configured, 16 times at the last try.
const NEVER: SignedDuration = SignedDuration::from_hours(24);

/// What the books say altogether, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Reconciliation {
    pub stock: BTreeMap<String, Stock>,
    pub money: BTreeMap<String, Cash>,
    pub orders: Counts,
    pub written_off: Vec<WrittenOff>,
    /// Carried out although it had been abandoned. The books balance.
    pub after_all: Vec<WrittenOff>,
    /// What is out of the ordinary, and balances.
    pub remarks: Vec<String>,
    /// How many rows were read, by table.
    pub rows: BTreeMap<&'static str, usize>,
    pub findings: Vec<Finding>,
}

/// A sku's units. `held` is the sum of the four after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    pub stocked: i128,
    pub available: i128,
    pub held: i128,
    pub confirmed: i128,
    pub in_flight: i128,
    pub written_off: i128,
    pub unexplained: i128,
}

/// A currency's money, in minor units. `charged - refunded` is the sum of the four after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cash {
    pub charged: i128,
    pub refunded: i128,
    pub confirmed: i128,
    pub in_flight: i128,
    pub written_off: i128,
    pub unexplained: i128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub confirmed: usize,
    pub rejected: usize,
    pub cancelled: usize,
    pub in_flight: usize,
}

/// What an operator declared settled by hand, and the books therefore still show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenOff {
    pub order: Uuid,
    pub what: String,
    /// Who, and why.
    pub decision: String,
    /// What to do where it may have been done twice.
    pub next: Option<&'static str>,
}

/// Something that does not balance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub subject: Subject,
    pub kind: Kind,
    pub what: String,
    pub next: String,
    /// The rows it was concluded from, in their versions. Two looks that find the same in the same
    /// rows have seen it, and not the system moving.
    pub evidence: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Order(Uuid),
    Item(String),
    Row(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Order(id) => write!(f, "order {id}"),
            Subject::Item(sku) => write!(f, "item {sku}"),
            Subject::Row(key) => write!(f, "row {key}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Unreadable,
    Misshapen,
    Misfiled,
    Overdue,
    Parked,
    NeverDue,
    NoSuchUser,
    TotalDiffers,
    NotReserved,
    ReservedOtherwise,
    StillReserved,
    ReservationOfNobody,
    NoSuchItem,
    LevelsDiffer,
    BelowZero,
    HeldDiffers,
    AdjustmentsDiffer,
    NotCharged,
    ChargedOtherwise,
    StillCharged,
    Unsettled,
    AnotherUser,
    PaymentOfNobody,
    LedgerDiffers,
    LedgerOfNobody,
    RefundBeyondCharge,
}

/// Compares the books with one another.
pub fn reconcile(books: &Books, now: Timestamp) -> Reconciliation {
    let mut audit = Audit {
        reservations: books.reservations.iter().map(|r| (r.order_id, r)).collect(),
        payments: books.payments.iter().map(|p| (p.order_id, p)).collect(),
        ledger: ledger(books),
        orders: books.orders.iter().map(|order| (order.id, order)).collect(),
        unreadable: books
            .unreadable
            .iter()
            .filter_map(|unreadable| unreadable.row.order())
            .collect(),
        books,
        now,
        done: Reconciliation {
            rows: books.rows.clone(),
            ..Reconciliation::default()
        },
    };
    audit.rows();
    for order in &books.orders {
        audit.order(order);
    }
    audit.reservations_of_nobody();
    audit.payments_of_nobody();
    audit.ledger_entries();
    audit.stock();
    audit.done.findings.sort();
    audit.done
}

struct Audit<'b> {
    books: &'b Books,
    now: Timestamp,
    orders: BTreeMap<Uuid, &'b Order>,
    reservations: BTreeMap<Uuid, &'b Reservation>,
    payments: BTreeMap<Uuid, &'b Payment>,
    /// By the charge's key.
    ledger: BTreeMap<&'b str, LedgerEntry<'b>>,
    /// Orders of which some row cannot be read, in whichever table.
    unreadable: BTreeSet<Uuid>,
    done: Reconciliation,
}

/// What the provider has about one charge.
#[derive(Default)]
struct LedgerEntry<'b> {
    charge: Option<&'b Charge>,
    refunds: Vec<&'b Money>,
}

impl<'b> LedgerEntry<'b> {
    fn taken(&self) -> Option<&'b Money> {
        self.charge.and_then(|charge| charge.taken.as_ref())
    }

    fn given_back(&self) -> i128 {
        sum(self.refunds.iter().map(|money| i128::from(money.amount)))
    }

    /// What it took and gave back, for a person.
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
        format!("the provider took {taken} and gave {given} back")
    }
}

fn ledger(books: &Books) -> BTreeMap<&str, LedgerEntry<'_>> {
    let mut ledger: BTreeMap<&str, LedgerEntry<'_>> = BTreeMap::new();
    for charge in &books.charges {
        ledger.entry(&charge.key).or_default().charge = Some(charge);
    }
    for refund in &books.refunds {
        let entry = ledger.entry(&refund.charge_key).or_default();
        entry.refunds.push(&refund.given_back);
    }
    ledger
}

fn sum(amounts: impl Iterator<Item = i128>) -> i128 {
    amounts.fold(0, add)
}

fn add(a: i128, b: i128) -> i128 {
    a.checked_add(b)
        .expect("fewer than 2^63 rows of 64-bit amounts add up to less than 2^127")
}

/// What is charged for an order and not given back.
struct Net {
    currency: String,
    charged: i128,
    refunded: i128,
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
    fn find(&mut self, subject: Subject, kind: Kind, what: String, next: &str, evidence: String) {
        self.done.findings.push(Finding {
            subject,
            kind,
            what,
            next: next.to_owned(),
            evidence,
        });
    }

    fn find_in(&mut self, order: &Order, kind: Kind, what: impl Into<String>, next: &str) {
        let next = next.replace("{id}", &order.id.to_string());
        let evidence = self.evidence(order);
        self.find(Subject::Order(order.id), kind, what.into(), &next, evidence);
    }

    /// The versions of an order's rows.
    fn evidence(&self, order: &Order) -> String {
        let payment = self.payments.get(&order.id);
        let reservation = self.reservations.get(&order.id);
        format!(
            "{} {:?} {:?}",
            order.version,
            payment.map(|payment| payment.version),
            reservation.map(|reservation| &reservation.updated_at)
        )
    }

    fn rows(&mut self) {
        for unreadable in &self.books.unreadable {
            let (row, cause) = (&unreadable.row, &unreadable.cause);
            let subject = match subject_of(row) {
                // Its stock is not judged by what cannot be read.
                Subject::Item(_) => Subject::Row(row.to_string()),
                subject => subject,
            };
            let its_row = its_row(&subject, row);
            self.find(
                subject,
                Kind::Unreadable,
                format!("{its_row} cannot be read: {cause}"),
                "mend the row, and nothing else before (point-in-time recovery has it as it was); \
                 then audit again",
                cause.clone(),
            );
        }
        for misshapen in &self.books.misshapen {
            let (row, cause) = (&misshapen.row, &misshapen.cause);
            let subject = subject_of(row);
            let its_row = its_row(&subject, row);
            self.find(
                subject,
                Kind::Misshapen,
                format!("its service may not read {its_row}: {cause}"),
                "mend the row (point-in-time recovery has it as it was)",
                cause.clone(),
            );
        }
        for misfiled in &self.books.misfiled {
            self.misfiled(misfiled);
        }
        for row in &self.books.unknown {
            let remark = format!("row {row}: of no kind that this version knows");
            self.done.remarks.push(remark);
        }
    }

    fn misfiled(&mut self, misfiled: &Misfiled) {
        let Misfiled {
            row,
            attribute,
            is,
            must_be,
            effect,
        } = misfiled;
        let next = match must_be {
            Some(text) => format!("set its {attribute} to {text} in its row {row}"),
            None => format!("remove its {attribute} from its row {row}"),
        };
        self.find(
            subject_of(row),
            Kind::Misfiled,
            format!("its {attribute} is {is}: {effect}"),
            &next,
            format!("{attribute} {is}"),
        );
    }

    fn order(&mut self, order: &'b Order) {
        let counts = &mut self.done.orders;
        match order.state {
            State::Confirmed => counts.confirmed += 1,
            State::Rejected => counts.rejected += 1,
            State::Cancelled => counts.cancelled += 1,
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::RefundingToReject
            | State::RefundingToCancel
            | State::ReleasingToReject
            | State::ReleasingToCancel => counts.in_flight += 1,
        }
        if self.unreadable.contains(&order.id) {
            self.book_unjudged(order);
            return;
        }
        if !self.books.users.contains(&order.user_id) {
            let what = format!("its user {} does not exist", order.user_id);
            self.find_in(
                order,
                Kind::NoSuchUser,
                what,
                "restore the users table's row",
            );
        }
        self.progress(order);
        self.total(order);
        self.reservation(order);
        self.payment(order);
    }

    /// What can be read of an order that cannot be judged goes to its account all the same.
    fn book_unjudged(&mut self, order: &Order) {
        let reservation = self.reservations.get(&order.id).copied();
        if let Some(reservation) = reservation.filter(|r| r.status == ReservationStatus::Reserved) {
            self.hold(order, reservation);
        }
        let payment = self.payments.get(&order.id).copied();
        if let Some(payment) = payment
            && let Some(net) = self.net(payment)
        {
            let given_up = refund_given_up(order, payment).is_some();
            self.book(order, &net, given_up);
        }
    }

    /// Whether the saga goes on by itself.
    fn progress(&mut self, order: &Order) {
        if !order.state.is_in_flight() {
            return;
        }
        let Some(due_at) = order.due() else {
            self.find_in(
                order,
                Kind::NeverDue,
                format!("it is {} without due_at: no sweeper finds it", order.state),
                RETRY,
            );
            return;
        };
        if let Some((what, attribute, must_be)) = self.missed_by_sweeper(order, due_at) {
            // Before its time a first attempt is only asked for again, and its row stays.
            let retry_writes = due_at <= self.now || order.parked || order.attempt != 1;
            let next = match retry_writes {
                true => RETRY.to_owned(),
                false => format!(
                    "set its {attribute} to {must_be} in its row ORDER#{{id}} ORDER of the orders table"
                ),
            };
            let what = format!("it is {} and {what}", order.state);
            self.find_in(order, Kind::NeverDue, what, &next);
            return;
        }
        if order.parked {
            self.find_in(
                order,
                Kind::Parked,
                format!("it is parked in {}", order.state),
                "cargo xtask dlq ls, then cargo xtask saga retry {id}, or what saga ls names",
            );
        } else if self.now.duration_since(due_at) > OVERDUE {
            self.find_in(
                order,
                Kind::Overdue,
                format!("it is {} and was due at {due_at}", order.state),
                "cargo xtask saga retry {id}; see cargo xtask logs orders if the sweeper fails",
            );
        }
    }

    /// Why the sweeper does not find an order that is due some time: what is wrong, the attribute, and
    /// what it must be.
    fn missed_by_sweeper(
        &self,
        order: &Order,
        due_at: Timestamp,
    ) -> Option<(String, &'static str, String)> {
        if !order.is_swept() {
            let shard = order.due_shard.as_deref().unwrap_or("missing");
            let what = format!("its due_shard is {shard}: the sweeper does not look there");
            return Some((what, "due_shard", order.shard()));
        }
        let spelled = order.due_at.as_deref().unwrap_or_default();
        let must_be = format!("{due_at:.3}");
        if spelled != must_be {
            let what = format!("its due_at is spelled {spelled}: the sweeper compares texts");
            return Some((what, "due_at", must_be));
        }
        (due_at.duration_since(self.now) > NEVER).then(|| {
            let what = format!("is due at {due_at} only: the sweeper passes it over until then");
            (what, "due_at", format!("{:.3}", self.now))
        })
    }

    /// Whether the total is the sum of the lines.
    fn total(&mut self, order: &Order) {
        let must_have = matches!(order.state, State::Charging | State::Confirmed);
        let Some(total) = &order.total else {
            if must_have {
                let what = format!("it is {} without a total", order.state);
                self.find_in(order, Kind::TotalDiffers, what, BY_HAND);
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
            self.find_in(order, Kind::TotalDiffers, what, BY_HAND);
        }
    }

    fn reservation(&mut self, order: &'b Order) {
        let reservation = self.reservations.get(&order.id).copied();
        let reserved =
            reservation.filter(|reservation| reservation.status == ReservationStatus::Reserved);
        match order.state {
            State::Charging
            | State::Confirmed
            | State::RefundingToReject
            | State::RefundingToCancel => match reserved {
                None => {
                    let what = format!("it is {} and holds no stock", order.state);
                    self.find_in(order, Kind::NotReserved, what, BY_HAND);
                }
                Some(reservation) if !same_lines(order, reservation) => self.find_in(
                    order,
                    Kind::ReservedOtherwise,
                    "inventory holds other lines for it than it has",
                    BY_HAND,
                ),
                Some(_) => {}
            },
            // It is not known whether the command, or its undoing, has been carried out.
            State::Reserving | State::ReleasingToReject | State::ReleasingToCancel => {}
            State::Verifying | State::Rejected | State::Cancelled => {
                if let Some(reservation) = reserved {
                    self.still_reserved(order, reservation);
                }
            }
        }
        if let Some(reservation) = reserved {
            self.hold(order, reservation);
        }
        let released =
            reservation.filter(|reservation| reservation.status == ReservationStatus::Released);
        if let (Some(entry), Some(reservation)) = (order.has("release_abandoned"), released)
            && reservation.updated_at > entry.at
        {
            self.after_all(order, entry, "released", RELEASED_TWICE);
        }
    }

    fn still_reserved(&mut self, order: &Order, reservation: &Reservation) {
        let lines: Vec<String> = reservation
            .lines
            .iter()
            .map(|line| format!("{} of {}", line.quantity, line.sku))
            .collect();
        let lines = lines.join(", ");
        match release_given_up(order, reservation) {
            Some(entry) => self.done.written_off.push(WrittenOff {
                order: order.id,
                what: lines,
                decision: entry.detail.clone().unwrap_or_default(),
                next: None,
            }),
            None if order.has("release_abandoned").is_some() => self.find_in(
                order,
                Kind::StillReserved,
                format!("{lines} were reserved for it after its release was abandoned"),
                RELEASE_BY_HAND,
            ),
            None => self.find_in(
                order,
                Kind::StillReserved,
                format!("it is {} and still holds {lines}", order.state),
                &format!(
                    "cargo xtask dlq ls shows whether its ReleaseStock was lost, and dlq redrive \
                     sends it back; else {RELEASE_BY_HAND}"
                ),
            ),
        }
    }

    /// Books what a reservation holds to the order's account.
    fn hold(&mut self, order: &Order, reservation: &Reservation) {
        for line in &reservation.lines {
            let stock = self.done.stock.entry(line.sku.clone()).or_default();
            let account = match order.state {
                State::Confirmed => &mut stock.confirmed,
                State::Rejected | State::Cancelled => {
                    if release_given_up(order, reservation).is_none() {
                        continue;
                    }
                    &mut stock.written_off
                }
                State::Verifying
                | State::Reserving
                | State::Charging
                | State::RefundingToReject
                | State::RefundingToCancel
                | State::ReleasingToReject
                | State::ReleasingToCancel => &mut stock.in_flight,
            };
            *account = add(*account, i128::from(line.quantity));
        }
    }

    fn payment(&mut self, order: &'b Order) {
        let payment = self.payments.get(&order.id).copied();
        if let Some(payment) = payment {
            if payment.user_id != order.user_id {
                let what = format!("its payment is user {}'s", payment.user_id);
                self.find_in(order, Kind::AnotherUser, what, BY_HAND);
            }
            if let Some(what) = self.against_ledger(payment) {
                self.find_in(order, Kind::LedgerDiffers, what, LEDGER);
            }
        }
        let net = payment.and_then(|payment| self.net(payment));
        let outstanding = net.as_ref().map_or(0, Net::amount);
        let shown_net = net.as_ref().map_or("nothing".to_owned(), Net::shown);
        let is_open = payment.is_some_and(is_open);
        if let Some(payment) = payment {
            self.asked_of_provider(order, payment, outstanding);
        }
        let abandoned = order.has("refund_abandoned");
        let given_up = payment.and_then(|payment| refund_given_up(order, payment));
        match order.state {
            State::Confirmed => {
                let total = order.total.as_ref().map_or(0, |total| total.amount.into());
                let charged = payment.is_some_and(|p| p.status == PaymentStatus::Charged);
                if !charged || outstanding != total {
                    let total = order.total.as_ref().map_or("nothing".to_owned(), shown);
                    let status = payment.map_or("missing".to_owned(), |p| p.status.to_string());
                    let what = format!(
                        "it is confirmed for {total} and {shown_net} is charged (its payment is \
                         {status})"
                    );
                    self.find_in(order, Kind::NotCharged, what, UNDO_OR_BY_HAND);
                }
            }
            // The provider may or may not have done what it was asked.
            State::Charging | State::RefundingToReject | State::RefundingToCancel => {}
            State::Verifying
            | State::Reserving
            | State::ReleasingToReject
            | State::ReleasingToCancel
            | State::Rejected
            | State::Cancelled => match given_up {
                Some(entry) if outstanding != 0 || is_open => {
                    self.done.written_off.push(WrittenOff {
                        order: order.id,
                        what: shown_net,
                        decision: entry.detail.clone().unwrap_or_default(),
                        next: None,
                    });
                }
                Some(_) => {}
                None if outstanding < 0 => {
                    let what = format!("it is {} and {shown_net} is charged", order.state);
                    self.find_in(order, Kind::StillCharged, what, GAVE_TOO_MUCH);
                }
                // A command whose step was abandoned is not sent back.
                None if abandoned.is_some() && (outstanding != 0 || is_open) => {
                    let what = format!(
                        "its payment is {}, {shown_net} is charged, and that came after its refund \
                         was abandoned",
                        payment.map_or("missing".to_owned(), |p| p.status.to_string())
                    );
                    self.find_in(order, Kind::StillCharged, what, SETTLE_BY_HAND);
                }
                None if outstanding != 0 => {
                    let what = format!("it is {} and {shown_net} is charged", order.state);
                    self.find_in(order, Kind::StillCharged, what, &refund_or_by_hand());
                }
                None if is_open => {
                    let what = format!("it is {} and its payment is not settled", order.state);
                    self.find_in(order, Kind::Unsettled, what, &refund_or_by_hand());
                }
                None => {}
            },
        }
        if let Some(net) = net {
            self.book(order, &net, given_up.is_some());
        }
        let refunded = payment.filter(|payment| payment.status == PaymentStatus::Refunded);
        if let (Some(entry), Some(payment)) = (abandoned, refunded)
            && payment.updated_at > entry.at
        {
            self.after_all(order, entry, "refunded", REFUNDED_TWICE);
        }
    }

    /// Nothing is wrong with these books, and perhaps with somebody's own.
    fn after_all(&mut self, order: &Order, entry: &Entry, done: &str, next: &'static str) {
        self.done.after_all.push(WrittenOff {
            order: order.id,
            what: format!("{done} after all, so twice if it was also settled by hand"),
            decision: entry.detail.clone().unwrap_or_default(),
            next: Some(next),
        });
    }

    /// What the provider says is charged for a payment; its record, where the provider's books are
    /// not ours to read.
    fn net(&self, payment: &Payment) -> Option<Net> {
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

    /// Whether the provider was asked for the order's total. Another amount that was charged and given
    /// back is settled; no row is wrong then.
    fn asked_of_provider(&mut self, order: &Order, payment: &Payment, outstanding: i128) {
        let (Some(charge), Some(total)) = (&payment.charge, &order.total) else {
            return;
        };
        if charge.money == *total {
            return;
        }
        let (asked, total) = (shown(&charge.money), shown(total));
        let what = format!("{asked} was asked of the provider and its total is {total}");
        let is_undone = match order.state {
            State::ReleasingToReject
            | State::ReleasingToCancel
            | State::Rejected
            | State::Cancelled => true,
            State::Verifying
            | State::Reserving
            | State::Charging
            | State::Confirmed
            | State::RefundingToReject
            | State::RefundingToCancel => false,
        };
        if is_undone && payment.status == PaymentStatus::Refunded && outstanding == 0 {
            let remark = format!("order {}: {what}; it was given back", order.id);
            self.done.remarks.push(remark);
        } else {
            self.find_in(order, Kind::ChargedOtherwise, what, CHARGED_OTHERWISE);
        }
    }

    /// What a payment's record and the provider say differently of it.
    fn against_ledger(&self, payment: &Payment) -> Option<String> {
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
            // Written before the provider is asked: it may have answered, to nobody.
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

    /// Books an order's money to its account.
    fn book(&mut self, order: &Order, net: &Net, given_up: bool) {
        let cash = self.done.money.entry(net.currency.clone()).or_default();
        cash.charged = add(cash.charged, net.charged);
        cash.refunded = add(cash.refunded, net.refunded);
        let amount = net.amount();
        if given_up {
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

    fn reservations_of_nobody(&mut self) {
        for reservation in &self.books.reservations {
            let id = reservation.order_id;
            let is_held = reservation.status == ReservationStatus::Reserved;
            if !is_held || self.orders.contains_key(&id) || self.unreadable.contains(&id) {
                continue;
            }
            if self.books.meanwhile.contains(&id) {
                for line in &reservation.lines {
                    let stock = self.done.stock.entry(line.sku.clone()).or_default();
                    stock.in_flight = add(stock.in_flight, i128::from(line.quantity));
                }
                continue;
            }
            self.find(
                Subject::Order(id),
                Kind::ReservationOfNobody,
                "inventory holds stock for it and there is no such order".to_owned(),
                &format!("restore the order's row; or {RELEASE_BY_HAND}"),
                reservation.updated_at.to_string(),
            );
        }
    }

    /// A settled payment without an order is no fault: nothing is charged any more.
    fn payments_of_nobody(&mut self) {
        for payment in &self.books.payments {
            let id = payment.order_id;
            if self.orders.contains_key(&id) {
                continue;
            }
            let net = self.net(payment);
            let outstanding = net.as_ref().map_or(0, Net::amount);
            let came_meanwhile = self.books.meanwhile.contains(&id);
            let is_judged = !came_meanwhile && !self.unreadable.contains(&id);
            let evidence = format!("{} {outstanding}", payment.version);
            if is_judged && (outstanding != 0 || is_open(payment)) {
                self.find(
                    Subject::Order(id),
                    Kind::PaymentOfNobody,
                    format!(
                        "its payment is {}, {} is charged, and there is no such order",
                        payment.status,
                        net.as_ref().map_or("nothing".to_owned(), Net::shown)
                    ),
                    &match outstanding < 0 {
                        true => GAVE_TOO_MUCH.to_owned(),
                        false => format!("restore the order's row; or {SETTLE_BY_HAND}"),
                    },
                    evidence,
                );
            } else if is_judged && let Some(what) = self.against_ledger(payment) {
                self.find(
                    Subject::Order(id),
                    Kind::LedgerDiffers,
                    what,
                    LEDGER,
                    evidence,
                );
            }
            if let Some(net) = net {
                self.book_of_nobody(&net, came_meanwhile);
            }
        }
    }

    fn book_of_nobody(&mut self, net: &Net, came_meanwhile: bool) {
        let cash = self.done.money.entry(net.currency.clone()).or_default();
        cash.charged = add(cash.charged, net.charged);
        cash.refunded = add(cash.refunded, net.refunded);
        let account = match came_meanwhile {
            true => &mut cash.in_flight,
            false => &mut cash.unexplained,
        };
        *account = add(*account, net.amount());
    }

    fn ledger_entries(&mut self) {
        let known: BTreeSet<&str> = self
            .books
            .payments
            .iter()
            .filter_map(|payment| Some(payment.charge.as_ref()?.key.as_str()))
            .collect();
        let entries = std::mem::take(&mut self.ledger);
        for (key, entry) in &entries {
            let order = charged_for(key);
            let subject = order.map_or_else(|| Subject::Row((*key).to_owned()), Subject::Order);
            let came_meanwhile = order.is_some_and(|id| self.books.meanwhile.contains(&id));
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
                self.find(
                    subject.clone(),
                    Kind::RefundBeyondCharge,
                    entry.shown(),
                    GAVE_TOO_MUCH,
                    evidence.clone(),
                );
            }
            let Some(money) = entry.taken().filter(|_| !known.contains(key)) else {
                continue;
            };
            if is_judged && given_back < taken {
                self.find(
                    subject,
                    Kind::LedgerOfNobody,
                    format!("{}, and payments knows nothing of it", entry.shown()),
                    "restore the payment's row, or refund it at the provider",
                    evidence,
                );
            }
            let net = Net {
                currency: money.currency.clone(),
                charged: taken,
                refunded: given_back,
            };
            self.book_of_nobody(&net, came_meanwhile);
        }
        self.ledger = entries;
    }

    /// Each item against what is held of it.
    fn stock(&mut self) {
        let books = self.books;
        let mut held: BTreeMap<&str, (i128, BTreeSet<Uuid>)> = BTreeMap::new();
        for reservation in &books.reservations {
            if reservation.status != ReservationStatus::Reserved {
                continue;
            }
            for line in &reservation.lines {
                let (units, orders) = held.entry(&line.sku).or_default();
                *units = add(*units, i128::from(line.quantity));
                orders.insert(reservation.order_id);
            }
        }
        let mut adjusted: BTreeMap<&str, i128> = BTreeMap::new();
        for adjustment in &books.adjustments {
            let sum = adjusted.entry(&adjustment.sku).or_default();
            *sum = add(*sum, i128::from(adjustment.delta));
        }
        // What is missing may be in the rows that cannot be read.
        let unreadable = books.unreadable.iter();
        let unreadable = unreadable.map(|unreadable| &unreadable.row);
        let unreadable = unreadable.filter(|row| row.table == "inventory");
        let unknown: BTreeSet<Uuid> = unreadable.clone().filter_map(|r| r.order()).collect();
        let unknown_items: BTreeSet<&str> = unreadable.filter_map(|row| row.sku()).collect();
        for item in &books.items {
            let (reserved, orders) = held.remove(item.sku.as_str()).unwrap_or_default();
            let (stocked, available, units) = (
                i128::from(item.stocked),
                i128::from(item.available),
                i128::from(item.held),
            );
            let stock = self.done.stock.entry(item.sku.clone()).or_default();
            (stock.stocked, stock.available, stock.held) = (stocked, available, units);
            let explained = sum([stock.confirmed, stock.in_flight, stock.written_off].into_iter());
            stock.unexplained = add(units, -explained);
            let mut find = |kind, what: String, next: String, evidence: String| {
                let subject = Subject::Item(item.sku.clone());
                self.find(subject, kind, what, &next, evidence);
            };
            // These are one row's, which is never read half written: once seen, it is so.
            const ONE_ROW: &str = "its row";
            if stocked != add(available, units) {
                find(
                    Kind::LevelsDiffer,
                    format!("{stocked} stocked, {available} available and {units} held"),
                    mend_item(&orders),
                    ONE_ROW.to_owned(),
                );
            }
            if available < 0 || units < 0 || stocked < 0 {
                find(
                    Kind::BelowZero,
                    format!("{stocked} stocked, {available} available and {units} held"),
                    mend_item(&orders),
                    ONE_ROW.to_owned(),
                );
            }
            if units != reserved {
                find(
                    Kind::HeldDiffers,
                    format!("{units} held, and its reservations hold {reserved}"),
                    if units > reserved && !unknown.is_empty() {
                        format!(
                            "the reservations of {} cannot be read and are not counted: mend \
                             those rows, then audit again",
                            named(&unknown)
                        )
                    } else {
                        mend_item(&orders)
                    },
                    format!("{stocked} {available} {units} {orders:?}"),
                );
            }
            let adjustments = adjusted.get(item.sku.as_str()).copied().unwrap_or(0);
            let is_whole = !unknown_items.contains(item.sku.as_str());
            if is_whole && add(stocked, -adjustments) < 0 {
                find(
                    Kind::AdjustmentsDiffer,
                    format!("{stocked} stocked, and its adjustments alone are {adjustments}"),
                    mend_item(&orders),
                    format!("{stocked} {adjustments}"),
                );
            }
        }
        for (sku, (units, orders)) in held {
            if unknown_items.contains(sku) {
                continue;
            }
            self.find(
                Subject::Item(sku.to_owned()),
                Kind::NoSuchItem,
                format!("{units} are reserved of it and there is no such item"),
                &format!("restore its row; {}", holders(&orders)),
                format!("{orders:?}"),
            );
        }
    }
}

/// Whose row it is.
fn subject_of(row: &RowKey) -> Subject {
    match (row.order(), row.sku()) {
        (Some(id), _) => Subject::Order(id),
        (None, Some(sku)) => Subject::Item(sku.to_owned()),
        (None, None) => Subject::Row(row.to_string()),
    }
}

/// A row that is itself the subject is not named again.
fn its_row(subject: &Subject, row: &RowKey) -> String {
    match subject {
        Subject::Row(_) => "it".to_owned(),
        Subject::Order(_) | Subject::Item(_) => format!("its row {row}"),
    }
}

/// How many orders of an item are named.
const NAMED: usize = 20;

/// So that they can be compared: an item's orders may be thousands.
fn named(orders: &BTreeSet<Uuid>) -> String {
    let first: Vec<String> = orders.iter().take(NAMED).map(Uuid::to_string).collect();
    let mut names = first.join(", ");
    match orders.len().saturating_sub(NAMED) {
        0 => {}
        more => names.push_str(&format!(" and {more} more")),
    }
    names
}

fn mend_item(orders: &BTreeSet<Uuid>) -> String {
    format!(
        "compare its orders and its adjustments, and mend its row by hand; {}",
        holders(orders)
    )
}

fn holders(orders: &BTreeSet<Uuid>) -> String {
    match orders.is_empty() {
        true => "no order holds any of it".to_owned(),
        false => format!("the orders that hold it are {}", named(orders)),
    }
}

const RETRY: &str = "cargo xtask saga retry {id}";

const REFUNDED_TWICE: &str = "if it was paid back by hand, get that back from the customer or \
                              reverse it; else nothing";
const RELEASED_TWICE: &str = "if its units were put back by hand, or shipped, adjust the item by \
                              as many; else nothing";
const BY_HAND: &str =
    "compare cargo xtask logs with the order's timeline; mend the row that is wrong by hand";
const UNDO_OR_BY_HAND: &str = "cargo xtask logs payments, with the order's timeline; then cancel the order (POST \
     /api/v1/orders/{id}/cancel), which gives back what is charged and releases its stock, or mend the \
     row that is wrong by hand";
const RELEASE_BY_HAND: &str = "set the status of its reservation's row to RELEASED and move its \
                               units from held to available in each item's row, in one \
                               transaction; if they were shipped, then adjust each item by as many \
                               less";
const SETTLE_BY_HAND: &str = "refund at the provider what it took, then set the status of its \
                              payment's row to REFUNDED (with the provider's payment_id), or to \
                              VOIDED if it took nothing";
const CHARGED_OTHERWISE: &str = "cargo xtask logs payments, with the order's timeline; if the order \
                                 is confirmed, cancel the order (POST /api/v1/orders/{id}/cancel), \
                                 and abandon its refund if that is parked; else mend the row that \
                                 is wrong by hand";
const LEDGER: &str = "cargo xtask logs payments; mend what is wrong by hand: the payment's row, or \
                      what the provider took or gave back";
const GAVE_TOO_MUCH: &str = "claim back at the provider what it gave too much, then delete the \
                             refund that is wrong from its ledger (a SIMULATOR row of the payments \
                             table)";

fn refund_or_by_hand() -> String {
    format!(
        "cargo xtask dlq ls shows whether its RefundPayment was lost, and dlq redrive sends it back; \
         else {SETTLE_BY_HAND}"
    )
}

/// Asked of the provider, and not settled.
fn is_open(payment: &Payment) -> bool {
    match payment.status {
        PaymentStatus::Charging | PaymentStatus::Refunding => true,
        PaymentStatus::Charged
        | PaymentStatus::Declined
        | PaymentStatus::Refunded
        | PaymentStatus::Voided => false,
    }
}

/// The decision to leave a reservation as it is. What was reserved later, nobody decided about.
fn release_given_up<'o>(order: &'o Order, reservation: &Reservation) -> Option<&'o Entry> {
    order
        .has("release_abandoned")
        .filter(|entry| reservation.updated_at <= entry.at)
}

/// The same of a payment. A refund that has begun was what the decision was about.
fn refund_given_up<'o>(order: &'o Order, payment: &Payment) -> Option<&'o Entry> {
    order.has("refund_abandoned").filter(|entry| {
        payment.status == PaymentStatus::Refunding || payment.updated_at <= entry.at
    })
}

fn shown(amount: &Money) -> String {
    money(amount.amount, &amount.currency)
}

/// Whether a reservation holds exactly an order's lines, at its prices.
fn same_lines(order: &Order, reservation: &Reservation) -> bool {
    order.lines.len() == reservation.lines.len()
        && order.lines.iter().all(|line| {
            let held = reservation.lines.iter().find(|held| held.sku == line.sku);
            held.is_some_and(|held| {
                let price = line.unit_price.as_ref();
                held.quantity == line.quantity && price.is_some_and(|price| *price == held.price)
            })
        })
}

#[cfg(test)]
pub(super) mod tests;
