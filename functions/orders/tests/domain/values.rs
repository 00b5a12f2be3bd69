//! The values of an order: the accepted input, and the stored values of older versions.

use orders::domain::{
    Currency, MAX_AMOUNT, Money, OrderId, PaymentMethod, Quantity, Sku, UserId, bounded,
};
use uuid::Uuid;

#[test]
fn a_sku_has_at_most_64_plain_characters() {
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
    for (amount, currency) in [(0, "EUR"), (1, "JPY"), (2, "BHD"), (MAX_AMOUNT, "VND")] {
        let money = Money::new(amount, currency).unwrap();
        assert_eq!((money.amount, money.currency.as_str()), (amount, currency));
    }
    for amount in [-1, i64::MIN] {
        assert!(Money::new(amount, "EUR").is_err(), "{amount}");
        assert!(Money::stored(amount, "EUR").is_err(), "{amount}");
    }
    for currency in ["", "US", "usd", "USDT", "U$D", "ÄB"] {
        assert!(Money::new(1, currency).is_err(), "{currency}");
        assert!(Currency::parse(currency).is_err(), "{currency}");
        assert!(Money::stored(1, currency).is_err(), "{currency}");
    }
}

#[test]
fn money_reads_older_amounts_and_currencies() {
    let none = ["UDS", "XXX", "XTS", "XAU"].map(|currency| (i64::MAX, currency));
    for (amount, currency) in [(MAX_AMOUNT + 1, "USD")].into_iter().chain(none) {
        assert!(Money::new(amount, currency).is_err());
        let money = Money::stored(amount, currency).unwrap();
        assert_eq!((money.amount, money.currency.as_str()), (amount, currency));
    }
}

#[test]
fn money_is_shown_in_the_currencys_main_unit() {
    for (amount, currency, shown) in [
        (1400, "USD", "14.00 USD"),
        (5, "USD", "0.05 USD"),
        (0, "EUR", "0.00 EUR"),
        (1400, "JPY", "1400 JPY"),
        (1400, "BHD", "1.400 BHD"),
        (1, "KWD", "0.001 KWD"),
        (14_000, "CLF", "1.4000 CLF"),
        (MAX_AMOUNT, "USD", "90071992547409.91 USD"),
        // Older orders may have unknown currencies, whose minor unit is unknown too.
        (1400, "UDS", "1400 UDS (in minor units)"),
    ] {
        let money = Money::stored(amount, currency).unwrap();
        assert_eq!(money.to_string(), shown);
    }
}

#[test]
fn a_text_is_shortened_and_has_no_control_characters() {
    for (text, kept) in [
        ("", ""),
        ("abcde", "abcde"),
        ("abcdef", "abcd…"),
        ("äöüßé", "äöüßé"),
        ("äöüßéñ", "äöüß…"),
        ("a\u{1b}[m", "a [m"),
        ("a\r\nb\u{9b}", "a  b "),
    ] {
        assert_eq!(bounded(text, 5), kept, "{text:?}");
    }
}

#[test]
fn a_currency_shows_its_code() {
    assert_eq!(format!("{:?}", Currency::parse("CHF").unwrap()), "CHF");
}

#[test]
fn a_payment_method_reads_older_tokens() {
    let longest = "x".repeat(128);
    for token in [
        "pm_card_visa",
        "pm-1",
        "4242-4242-4242-4242",
        // Too few or too many digits for a card number, and a letter in it.
        "12345678901",
        "12345678901234567890",
        "424242424242424x",
        &longest,
    ] {
        assert_eq!(PaymentMethod::stored(token).unwrap().as_str(), token);
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
        assert!(PaymentMethod::stored(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_key_derives_one_order_per_user() {
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
    // A different id would make a repeated request a second order.
    assert_eq!(order.0.to_string(), "bf13efa6-56a3-5835-abe8-08283af7a8fe");
}
