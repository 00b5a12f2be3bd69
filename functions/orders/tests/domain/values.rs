//! The values an order is made of: what is taken as one, and that it is kept as it came.

use orders::domain::{Currency, Money, OrderId, PaymentMethod, Quantity, Sku, UserId};
use uuid::Uuid;

#[test]
fn a_sku_begins_with_a_letter_or_digit_and_has_at_most_64_plain_characters() {
    let longest = "x".repeat(64);
    for good in ["A", "7", "mug-01", "a.b_c-D", longest.as_str()] {
        let sku = Sku::parse(good).unwrap();
        assert_eq!((sku.as_str(), sku.to_string().as_str()), (good, good));
    }
    let too_long = "x".repeat(65);
    for bad in [
        "", "-a", ".a", "_a", "a b", "a#b", "a/b", "Ä", "aé", "a\n", &too_long,
    ] {
        assert!(Sku::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_quantity_is_a_whole_number_from_1_to_10000() {
    for units in [1, 2, 10_000] {
        assert_eq!(Quantity::new(units.into()).unwrap().units(), units);
    }
    for units in [i64::MIN, -1, 0, 10_001, 1 << 32 | 1, i64::MAX] {
        assert!(Quantity::new(units).is_err(), "{units}");
    }
}

#[test]
fn money_is_not_below_zero_and_has_a_currency() {
    for amount in [0, 1, i64::MAX] {
        let money = Money::new(amount, "EUR").unwrap();
        assert_eq!(money.amount, amount);
        assert_eq!(money.currency.as_str(), "EUR");
        assert_eq!(money.to_string(), format!("{amount} EUR"));
    }
    for amount in [-1, i64::MIN] {
        assert!(Money::new(amount, "EUR").is_err(), "{amount}");
    }
    for currency in ["", "US", "usd", "USDT", "U$D", "ÄB"] {
        assert!(Money::new(1, currency).is_err(), "{currency}");
        assert!(Currency::parse(currency).is_err(), "{currency}");
    }
}

#[test]
fn a_currency_shows_its_code() {
    assert_eq!(format!("{:?}", Currency::parse("CHF").unwrap()), "CHF");
}

#[test]
fn a_payment_method_is_a_token_and_never_a_card_number() {
    let longest = "x".repeat(128);
    for token in [
        "pm_card_visa",
        "pm-1",
        // Digits, but too few or too many for a card; and as many as a card's, but not all digits.
        "12345678901",
        "12345678901234567890",
        "424242424242424x",
        &longest,
    ] {
        assert_eq!(PaymentMethod::parse(token).unwrap().as_str(), token);
    }
    let too_long = "x".repeat(129);
    for text in [
        "",
        "pm card",
        "pm/1",
        "pm\n",
        "123456789012",
        "4242424242424242",
        "1234567890123456789",
        &too_long,
    ] {
        assert!(PaymentMethod::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_key_is_the_same_order_for_the_same_user_alone() {
    let (ann, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
    let order = OrderId::of_key(ann, "a-key");
    assert_eq!(order, OrderId::of_key(ann, "a-key"));
    for other in [
        OrderId::of_key(bob, "a-key"),
        OrderId::of_key(ann, "b-key"),
        OrderId::of_key(ann, ""),
    ] {
        assert_ne!(order, other);
    }
    // It stays what it was when orders were placed by it, or a repeated request would be another.
    assert_eq!(order.0.to_string(), "bf13efa6-56a3-5835-abe8-08283af7a8fe");
}
