//! The values, the decision, and the reservation's whole transition table.

use expect_test::expect;
use inventory::domain::*;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn item(text: &str, amount: i64, currency: &str, available: i64) -> Item {
    Item {
        sku: sku(text),
        name: ItemName::parse("An item").unwrap(),
        price: Price {
            amount: PriceAmount::parse(amount).unwrap(),
            currency: Currency::parse(currency).unwrap(),
        },
        levels: Levels::initial(InitialStock::parse(available).unwrap()),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

fn wanted(lines: &[(&str, i64)]) -> WantedLines {
    WantedLines::new(
        lines
            .iter()
            .map(|(sku, quantity)| line(sku, *quantity))
            .collect(),
    )
    .unwrap()
}

fn line(text: &str, quantity: i64) -> WantedLine {
    WantedLine {
        sku: sku(text),
        quantity: Quantity::parse(quantity).unwrap(),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        Outcome::Reserved(lines) => panic!("reserved {lines:?}"),
    }
}

#[test]
fn every_state_has_a_deliberate_answer_to_every_command() {
    let held = vec![ReservedLine {
        sku: sku("A"),
        name: None,
        quantity: Quantity::parse(2).unwrap(),
        unit_price: item("A", 100, "USD", 9).price,
    }];
    let refusal = refused(decide(&wanted(&[("A", 1)]), &[]));
    let states = [
        ("(none)", None),
        ("RESERVED", Some(Reservation::Reserved(held))),
        ("REFUSED", Some(Reservation::Refused(refusal))),
        ("RELEASED", Some(Reservation::Released)),
    ];
    let mut table = String::new();
    for (name, state) in states {
        let on_reserve = match on_reserve(state.clone()) {
            OnReserve::Decide => "decide and record".to_owned(),
            OnReserve::Replay(Outcome::Reserved(lines)) => {
                format!("reply StockReserved with the {} line recorded", lines.len())
            }
            OnReserve::Replay(Outcome::Refused(refusal)) => {
                format!("reply StockRefused {}", refusal.code.as_str())
            }
        };
        let on_release = match on_release(state) {
            OnRelease::GiveBack(lines) => {
                format!("give back the {} line, RELEASED", lines.len())
            }
            OnRelease::Tombstone => "record RELEASED".to_owned(),
            OnRelease::Nothing => "nothing".to_owned(),
        };
        table.push_str(&format!("{name:8} ReserveStock  {on_reserve}\n"));
        table.push_str(&format!(
            "{name:8} ReleaseStock  {on_release}, reply StockReleased\n"
        ));
    }
    expect![[r#"
        (none)   ReserveStock  decide and record
        (none)   ReleaseStock  record RELEASED, reply StockReleased
        RESERVED ReserveStock  reply StockReserved with the 1 line recorded
        RESERVED ReleaseStock  give back the 1 line, RELEASED, reply StockReleased
        REFUSED  ReserveStock  reply StockRefused unknown_item
        REFUSED  ReleaseStock  nothing, reply StockReleased
        RELEASED ReserveStock  reply StockRefused released
        RELEASED ReleaseStock  nothing, reply StockReleased
    "#]]
    .assert_eq(&table);
}

#[test]
fn lines_are_reserved_in_sequence_at_the_items_prices() {
    let items = [item("A", 100, "USD", 5), item("B", 250, "USD", 1)];
    let Outcome::Reserved(lines) = decide(&wanted(&[("B", 1), ("A", 5)]), &items) else {
        panic!("both items have enough stock");
    };
    let line = |line: &ReservedLine| {
        (
            line.sku.clone(),
            line.quantity.get(),
            line.unit_price.amount.get(),
        )
    };
    let lines: Vec<_> = lines.iter().map(line).collect();
    assert_eq!(lines, [(sku("B"), 1, 250), (sku("A"), 5, 100)]);
}

#[test]
fn lines_are_one_to_fifty_and_no_sku_twice() {
    assert_eq!(WantedLines::new(vec![]), Err(InvalidLines::Empty));
    let many = |count: usize| (0..count).map(|n| line(&format!("S{n}"), 1)).collect();
    assert!(WantedLines::new(many(50)).is_ok());
    assert_eq!(WantedLines::new(many(51)), Err(InvalidLines::TooMany(51)));
    assert_eq!(
        WantedLines::new(vec![line("A", 1), line("B", 1), line("A", 2)]),
        Err(InvalidLines::Duplicate(sku("A")))
    );
}

#[test]
fn a_sku_has_at_most_64_plain_characters() {
    let longest = "x".repeat(64);
    for good in ["A", "7", "mug-01", "a.b_c-D", longest.as_str()] {
        assert_eq!(Sku::parse(good).unwrap().as_str(), good);
    }
    let too_long = "x".repeat(65);
    for bad in [
        "",
        "-a",
        ".a",
        "_a",
        "a b",
        "a#b",
        "a/b",
        "Ä",
        "aé",
        "a\n",
        too_long.as_str(),
    ] {
        assert_eq!(Sku::parse(bad), Err(InvalidSku), "{bad:?}");
    }
}

#[test]
fn numbers_have_limits() {
    assert!(PriceAmount::parse(1).is_ok() && PriceAmount::parse(MAX_AMOUNT).is_ok());
    assert!(Quantity::parse(1).is_ok() && Quantity::parse(MAX_QUANTITY).is_ok());
    assert!(InitialStock::parse(0).is_ok() && InitialStock::parse(MAX_INITIAL_STOCK).is_ok());
    assert!(Delta::parse(-MAX_DELTA).is_ok() && Delta::parse(MAX_DELTA).is_ok());
    for bad in [i64::MIN, -1, 0, MAX_AMOUNT + 1, i64::MAX] {
        assert!(PriceAmount::parse(bad).is_err(), "{bad}");
    }
    for bad in [i64::MIN, -1, 0, MAX_QUANTITY + 1, i64::MAX] {
        assert!(Quantity::parse(bad).is_err(), "{bad}");
    }
    for bad in [i64::MIN, -1, MAX_INITIAL_STOCK + 1, i64::MAX] {
        assert!(InitialStock::parse(bad).is_err(), "{bad}");
    }
    for bad in [i64::MIN, -MAX_DELTA - 1, 0, MAX_DELTA + 1, i64::MAX] {
        assert!(Delta::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_adjustment_that_adds_takes_nothing() {
    assert_eq!(Delta::parse(5).unwrap().takes(), 0);
    assert_eq!(Delta::parse(-5).unwrap().takes(), 5);
}

#[test]
fn a_repeat_has_the_same_item_delta_and_reason() {
    let lost = Adjustment {
        id: Uuid::from_u128(1),
        sku: sku("A"),
        delta: Delta::parse(-3).unwrap(),
        reason: Reason::parse("broken").unwrap(),
        made_by: Uuid::from_u128(2),
        created_at: Timestamp::UNIX_EPOCH,
    };
    let later = Adjustment {
        made_by: Uuid::from_u128(3),
        created_at: Timestamp::MAX,
        ..lost.clone()
    };
    assert!(later.is_repeat_of(&lost));
    for other in [
        Adjustment {
            sku: sku("B"),
            ..lost.clone()
        },
        Adjustment {
            delta: Delta::parse(3).unwrap(),
            ..lost.clone()
        },
        Adjustment {
            reason: Reason::parse("stolen").unwrap(),
            ..lost.clone()
        },
    ] {
        assert!(!other.is_repeat_of(&lost), "{other:?}");
    }
}

#[test]
fn an_item_change_needs_a_name_or_a_price() {
    let name = ItemName::parse("Cup").unwrap();
    let price = item("A", 250, "EUR", 0).price;
    for (name, price) in [
        (Some(name.clone()), None),
        (None, Some(price.clone())),
        (Some(name), Some(price)),
    ] {
        let change = ItemChange::new(name.clone(), price.clone()).unwrap();
        assert_eq!(
            (change.name(), change.price()),
            (name.as_ref(), price.as_ref())
        );
    }
    assert_eq!(ItemChange::new(None, None), None);
}

#[test]
fn skus_are_read_in_the_sequence_of_the_lines() {
    let wanted = wanted(&[("B", 1), ("A", 5)]);
    assert_eq!(wanted.skus(), [sku("B"), sku("A")]);
}

#[test]
fn a_new_price_has_a_currency_of_iso_4217_with_a_minor_unit() {
    for good in ["USD", "JPY", "KWD", "VND", "IDR", "CLF", "VES", "VED"] {
        assert_eq!(Currency::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "", "usd", "US", "USDX", "U$D", "ÜSD", "UDS", "AAA", "XXX", "XTS", "XAU", "XDR", "XSU",
        "HRK", "BGN", "ZWL", "XAD",
    ] {
        assert!(Currency::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_stored_price_may_have_a_withdrawn_currency() {
    for code in ["USD", "UDS", "XXX", "DEM"] {
        assert_eq!(Currency::stored(code).unwrap().as_str(), code);
    }
    for bad in ["", "usd", "US", "USDX"] {
        assert!(Currency::stored(bad).is_err(), "{bad}");
    }
}

#[test]
fn stored_values_are_read_by_the_widest_rule() {
    for amount in [1, 100_000_000, MAX_AMOUNT, (1 << 53) - 1] {
        assert_eq!(PriceAmount::stored(amount).unwrap().get(), amount);
    }
    assert!(PriceAmount::stored(0).is_err() && PriceAmount::stored(1 << 53).is_err());
    for units in [1, MAX_QUANTITY, i64::MAX] {
        assert_eq!(Quantity::stored(units).unwrap().get(), units);
    }
    assert!(Quantity::stored(0).is_err());
    for units in [i64::MIN, -1, 0, i64::MAX] {
        assert_eq!(Delta::stored(units).get(), units);
    }
    assert_eq!(Delta::stored(i64::MIN).takes(), i64::MAX);
    for text in ["", "Tea\u{200D}pot", "two\nlines", &"x".repeat(300)] {
        assert_eq!(ItemName::stored(text.to_owned()).as_str(), text);
        assert_eq!(Reason::stored(text.to_owned()).as_str(), text);
    }
}

#[test]
fn a_reservation_answers_only_for_its_own_lines() {
    let held = |lines: &[(&str, i64)]| -> Vec<ReservedLine> {
        let held = |(text, units): &(&str, i64)| ReservedLine {
            sku: sku(text),
            name: None,
            quantity: Quantity::parse(*units).unwrap(),
            unit_price: item("A", 100, "USD", 9).price,
        };
        lines.iter().map(held).collect()
    };
    let asked = wanted(&[("A", 2), ("B", 1)]);
    assert_eq!(asked.check_held(&held(&[("A", 2), ("B", 1)])), Ok(()));
    assert_eq!(asked.check_held(&held(&[("B", 1), ("A", 2)])), Ok(()));
    for other in [
        held(&[("A", 2)]),
        held(&[("A", 1), ("B", 1)]),
        held(&[("A", 2), ("C", 1)]),
        held(&[("A", 2), ("B", 1), ("C", 1)]),
    ] {
        assert!(asked.check_held(&other).is_err(), "{other:?}");
    }
    let error = asked.check_held(&held(&[("C", 7)])).unwrap_err();
    let expected = "asks for 2 A, 1 B, but the order's reservation holds 7 C";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn names_and_reasons_are_bounded_by_characters() {
    assert!(ItemName::parse(&"ü".repeat(200)).is_ok());
    assert!(Reason::parse(&"ü".repeat(200)).is_ok());
    assert!(ItemName::parse("چای می\u{200C}خک ☕\u{FE0F}").is_ok());
    let long = "ü".repeat(201);
    for bad in [
        "",
        "   ",
        "a\u{7}b",
        "two\nlines",
        "Tea\u{200B}pot",
        "Tea\u{200D}pot",
        "gpj.\u{202E}exe",
        "Mug\u{2066}",
        "\u{FEFF}Mug",
        "Mug\u{E0041}",
        "\u{3164}",
        &long,
    ] {
        assert!(ItemName::parse(bad).is_err(), "{bad:?}");
        assert!(Reason::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_may_have_joiners_of_their_script_or_emoji() {
    for good in [
        "\u{0D30}\u{0D3E}\u{0D1C}\u{0D28}\u{0D4D}\u{200D}", // Malayalam, ends in a joiner
        "\u{0D30}\u{0D3E}\u{0D1C}\u{0D28}\u{0D4D}\u{200D} Tea",
        "\u{09A4}\u{09CD}\u{200D}",                 // Bengali khanda ta
        "\u{0DC1}\u{0DCA}\u{200D}\u{0DBB}\u{0DD3}", // Sinhala sri
        "\u{0915}\u{094D}\u{200C}",                 // Devanagari, ends in a non-joiner
        "\u{0686}\u{0627}\u{06CC} \u{0645}\u{06CC}\u{200C}\u{062E}\u{06A9}", // Persian
        "\u{845B}\u{E0100}",                        // a variant of a character in a Japanese name
        "\u{1F469}\u{200D}\u{1F469}\u{200D}\u{1F467}", // a family
        "\u{1F3C3}\u{1F3FD}\u{200D}\u{2640}\u{FE0F}", // a woman running
        "\u{2764}\u{FE0F}\u{200D}\u{1F525} Mug",    // a heart on fire
        "Set of 3\u{FE0F}\u{20E3}",                 // a keycap
        "#\u{FE0F}\u{20E3}",
        "\u{1F1EF}\u{1F1F5}", // the flag of Japan
        "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}", // of England
    ] {
        assert!(ItemName::parse(good).is_ok(), "{good:?}");
        assert!(Reason::parse(good).is_ok(), "{good:?}");
    }
    for bad in [
        "\u{200D}a",
        "Tea\u{200D}",
        "\u{0D28}\u{0D4D}\u{200D}\u{200D}",
        "\u{1F469}\u{200D}",
        "\u{1F469}\u{200D}x",
        "3\u{FE0F}",
        "3\u{FE0E}\u{20E3}",
        "a\u{FE0F}\u{20E3}",
        "\u{1F3F4}\u{E0067}\u{E0062}",
        "\u{1F3F4}\u{E007F}",
        "\u{1F469}\u{E0067}\u{E007F}",
        "\u{1F3F4}\u{E0041}\u{E007F}",
        // Tags without a flag could hide a text.
        "\u{1F3F4}\u{E0068}\u{E0069}\u{E007F}",
    ] {
        assert!(ItemName::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_and_reasons_are_stored_unchanged() {
    let text = " Becher,  blau (\u{fc}ber 0,3 l) ";
    assert_eq!(ItemName::parse(text).unwrap().as_str(), text);
    assert_eq!(Reason::parse(text).unwrap().as_str(), text);
}

#[test]
fn a_refusals_code_can_be_read_back() {
    for code in RefusalCode::ALL {
        assert_eq!(RefusalCode::parse(code.as_str()), Some(code));
    }
    assert_eq!(RefusalCode::parse("because"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// All or nothing, never more than available.
    #[test]
    fn a_decision_reserves_all_lines_or_none(
        available in prop::collection::vec(0i64..6, 4),
        quantities in prop::collection::vec(1i64..6, 1..6),
    ) {
        let name = |n: usize| format!("S{n}");
        let items: Vec<Item> = available
            .iter()
            .enumerate()
            .map(|(n, units)| item(&name(n), 10, "USD", *units))
            .collect();
        let lines: Vec<WantedLine> =
            quantities.iter().enumerate().map(|(n, q)| line(&name(n), *q)).collect();
        let possible = lines.len() <= items.len()
            && quantities.iter().zip(&available).all(|(wanted, there)| wanted <= there);
        match decide(&WantedLines::new(lines.clone()).unwrap(), &items) {
            Outcome::Refused(_) => prop_assert!(!possible),
            Outcome::Reserved(held) => {
                prop_assert!(possible);
                prop_assert_eq!(held.len(), lines.len());
                for (held, line) in held.iter().zip(&lines) {
                    prop_assert_eq!((&held.sku, held.quantity), (&line.sku, line.quantity));
                }
            }
        }
    }
}
