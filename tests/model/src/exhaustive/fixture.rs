//! The order, item and user of every search.

use inventory::domain::{Currency, Item, ItemName, Levels, Price, PriceAmount, Sku};
use jiff::Timestamp;
use orders::domain::{
    Draft, Failure, Line, MAX_ATTEMPTS, Money, Order, OrderId, PaymentMethod, Quantity, UserId,
};
use users::domain::{Email, User, UserName};
use uuid::Uuid;

/// The price that the customer expects, and the one it may change to.
pub(super) const PRICES: [i64; 2] = [100, 150];

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// The due time of every order in flight.
pub(super) const DUE: Timestamp = Timestamp::constant(3600, 0);

/// Normalizes an order: drops its timeline and times.
///
/// Behaviour depends only on whether an attempt is the last, so the first stands for all earlier
/// ones. The pattern names every field, so that a new one does not compile unseen.
pub(super) fn normalize(order: Order) -> Order {
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

/// All orders are equal, even in their ids, because they share no rows. So their order in a state
/// does not matter.
pub(super) fn draft() -> Draft {
    Draft {
        id: OrderId(Uuid::from_u128(1)),
        user_id: UserId(Uuid::from_u128(2)),
        lines: vec![Line {
            sku: orders::domain::Sku::parse("tea").expect("a valid sku"),
            quantity: Quantity::new(1).expect("a valid quantity"),
            name: None,
            unit_price: None,
        }],
        payment_method: PaymentMethod::parse("pm_card_visa").expect("a valid token"),
        expected_total: Some(Money::new(PRICES[0], "USD").expect("a valid amount")),
        fingerprint: Uuid::nil(),
        faults: None,
    }
}

pub(super) fn item() -> Item {
    Item {
        sku: Sku::parse("tea").expect("a valid sku"),
        name: ItemName::parse("Tea").expect("a valid name"),
        price: Price {
            amount: PriceAmount::parse(PRICES[0]).expect("a valid price"),
            currency: Currency::parse("USD").expect("a valid currency"),
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
    let email = Email::parse("ann@example.com").expect("a valid address");
    let name = UserName::parse("Ann").expect("a valid name");
    User::register(Uuid::from_u128(2), email, name, NOW)
}
