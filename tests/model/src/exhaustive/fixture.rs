//! The one order that all are like, and those around it.

use inventory::domain::{Currency, Item, ItemName, Levels, Price, PriceAmount, Sku};
use jiff::Timestamp;
use orders::domain::{
    Draft, Failure, Line, MAX_ATTEMPTS, Money, Order, OrderId, PaymentMethod, Quantity, UserId,
};
use users::domain::{Email, User, UserName};
use uuid::Uuid;

/// What the customer expects to pay for one unit, and what it may cost instead.
pub(super) const PRICES: [i64; 2] = [100, 150];

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// When whatever is in flight is due.
pub(super) const DUE: Timestamp = Timestamp::constant(3600, 0);

/// An order as far as its behaviour depends on it: without its timeline and its clock.
///
/// Nothing depends on which attempt it is but on whether it is the last, so the first stands for
/// all before the last. Every field is named: a new one has to be thought about.
pub(super) fn normal(order: Order) -> Order {
    let Order {
        id,
        user_id,
        lines,
        payment_method,
        expected_total,
        fingerprint,
        faults,
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
        faults,
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

/// All orders are alike, down to their ids: each has its own rows, and which of two equal orders
/// stands first makes no difference.
pub(super) fn draft() -> Draft {
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
        faults: None,
    }
}

pub(super) fn item() -> Item {
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

pub(super) fn user() -> User {
    let email = Email::parse("somebody@example.com").expect("it is an address");
    let name = UserName::parse("Somebody").expect("it is a name");
    User::register(Uuid::from_u128(2), email, name, NOW)
}
