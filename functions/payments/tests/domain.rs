//! Every pair of record and command, every pair of record and settlement, and the values.

use std::fmt::Write;

use expect_test::expect_file;
use payments::domain::{
    Charge, ChargeKey, Command, Currency, Decision, Decline, MAX_AMOUNT, Money, Payment, PaymentId,
    PaymentMethod, PaymentState, Refusal, Reply, Settlement, Settling, decide, settle,
};

use super::*;

/// A payment in every state, and none.
pub fn payments() -> Vec<(&'static str, Option<Payment>)> {
    let charge = || charge_of("pm_card_visa");
    let id = || PaymentId("pay_1".to_owned());
    let decline = Decline {
        code: "card_declined".to_owned(),
        detail: "the card was declined".to_owned(),
    };
    let states = [
        ("Charging", PaymentState::Charging(charge())),
        ("Charged", PaymentState::Charged(charge(), id())),
        ("Declined", PaymentState::Declined(charge(), decline)),
        ("Refunding", PaymentState::Refunding(charge(), id())),
        ("Refunded", PaymentState::Refunded(charge(), id())),
        ("Voided charge", PaymentState::Voided(Some(charge()))),
        ("Voided nothing", PaymentState::Voided(None)),
    ];
    let recorded = states.map(|(name, state)| {
        let payment = Payment::new(ORDER, OWNER, state, noon());
        (name, Some(payment))
    });
    std::iter::once(("none", None)).chain(recorded).collect()
}

fn charge_command(user_id: UserId, amount: i64, method: &str) -> Command {
    Command::Charge {
        user_id,
        amount: usd(amount),
        method: PaymentMethod::stored(method).unwrap(),
    }
}

fn described(decision: &Decision) -> String {
    match decision {
        Decision::Begin(payment) => format!("write the first record, {}", name(payment)),
        Decision::Advance(payment) => format!("write {}", name(payment)),
        Decision::AskToCharge(_) => "ask the provider to charge".to_owned(),
        Decision::AskToCancel(_) => "ask the provider to cancel".to_owned(),
        Decision::AskToRefund { done, .. } => {
            format!("ask the provider to refund, then write {}", name(done))
        }
        Decision::Answer(Reply::Charged { amount, .. }) => format!("answer: charged {amount}"),
        Decision::Answer(Reply::Declined(decline)) => format!("answer: declined, {}", decline.code),
        Decision::Answer(Reply::Refunded(Some(amount))) => format!("answer: refunded {amount}"),
        Decision::Answer(Reply::Refunded(None)) => "answer: nothing to refund".to_owned(),
        Decision::Refuse(refusal) => format!("refuse: {refusal}"),
    }
}

fn name(payment: &Payment) -> &'static str {
    match &payment.state {
        PaymentState::Charging(_) => "Charging",
        PaymentState::Charged(_, _) => "Charged",
        PaymentState::Declined(_, _) => "Declined",
        PaymentState::Refunding(_, _) => "Refunding",
        PaymentState::Refunded(_, _) => "Refunded",
        PaymentState::Voided(_) => "Voided",
    }
}

#[test]
fn every_pair_has_the_answer_in_the_reviewed_table() {
    let mut table = String::new();
    let commands = [
        (
            "ChargePayment",
            charge_command(OWNER, AMOUNT, "pm_card_visa"),
        ),
        ("RefundPayment", Command::Refund { user_id: OWNER }),
    ];
    for (command_name, command) in &commands {
        for (state, payment) in payments() {
            let decision = decide(ORDER, payment.as_ref(), command, noon());
            writeln!(
                table,
                "{command_name:14} {state:15} {}",
                described(&decision)
            )
            .unwrap();
        }
        table.push('\n');
    }
    let settlements = [
        (
            "charged",
            Settlement::Charged(PaymentId("pay_1".to_owned())),
        ),
        (
            "declined",
            Settlement::Declined(Decline {
                code: "card_declined".to_owned(),
                detail: "the card was declined".to_owned(),
            }),
        ),
        ("cancelled", Settlement::Cancelled),
    ];
    for (word, settlement) in &settlements {
        for (state, payment) in payments() {
            let Some(payment) = payment else { continue };
            let asked = charge_of("pm_card_visa");
            let settling = match settle(&payment, &asked, settlement, noon()) {
                Settling::Advance(next) => format!("write {}", name(&next)),
                Settling::Known => "nothing: it is known".to_owned(),
                Settling::GiveBack(next) => format!("write {}: it must go back", name(&next)),
                Settling::Contradiction => "stop: the provider contradicts itself".to_owned(),
            };
            writeln!(table, "{word:14} {state:15} {settling}").unwrap();
        }
        table.push('\n');
    }
    expect_file!["golden/decisions.txt"].assert_eq(table.trim_end());
}

#[test]
fn a_new_state_follows_the_previous_version() {
    let later = noon() + jiff::SignedDuration::from_secs(5);
    let state = PaymentState::Charging(charge_of("pm_card_visa"));
    let charging = Payment::new(ORDER, OWNER, state, noon());
    assert_eq!(charging.version, 1);
    let asked = charge_of("pm_card_visa");
    let settlement = Settlement::Charged(PaymentId("pay_1".to_owned()));
    let Settling::Advance(next) = settle(&charging, &asked, &settlement, later) else {
        panic!("a charge under way is settled");
    };
    let expected = Payment {
        state: PaymentState::Charged(asked, PaymentId("pay_1".to_owned())),
        version: 2,
        updated_at: later,
        ..charging
    };
    assert_eq!(next, expected);
}

#[test]
fn another_amount_or_method_is_refused_in_every_state() {
    let others = [
        charge_command(OWNER, AMOUNT + 1, "pm_card_visa"),
        charge_command(OWNER, AMOUNT, "pm_card_chargeDeclined"),
        Command::Charge {
            user_id: OWNER,
            amount: Money::new(AMOUNT, "EUR").unwrap(),
            method: PaymentMethod::stored("pm_card_visa").unwrap(),
        },
    ];
    for (state, payment) in payments() {
        // There is no charge to differ from.
        if matches!(state, "none" | "Voided nothing") {
            continue;
        }
        assert_eq!(
            payment.as_ref().and_then(Payment::charge),
            Some(&charge_of("pm_card_visa")),
            "{state}"
        );
        for other in &others {
            let decision = decide(ORDER, payment.as_ref(), other, noon());
            let Command::Charge { amount: asked, .. } = other else {
                unreachable!()
            };
            let refused = Decision::Refuse(Refusal::AnotherCharge {
                recorded: usd(AMOUNT),
                asked: *asked,
            });
            assert_eq!(decision, refused, "{state}, {other:?}");
        }
    }
}

#[test]
fn another_user_is_refused_in_every_state() {
    for (state, payment) in payments().into_iter().skip(1) {
        for command in [
            charge_command(STRANGER, AMOUNT, "pm_card_visa"),
            Command::Refund { user_id: STRANGER },
        ] {
            let decision = decide(ORDER, payment.as_ref(), &command, noon());
            let Decision::Refuse(refusal) = decision else {
                panic!("{state}: {decision:?}");
            };
            let both = format!(
                "belongs to user {}, but the command names user {}; nothing was changed; compare both",
                OWNER.0, STRANGER.0
            );
            assert!(refusal.to_string().contains(&both), "{state}: {refusal}");
        }
    }
}

#[test]
fn a_running_charge_keeps_its_stored_key() {
    let stored = Charge {
        key: ChargeKey::from_stored("derived-by-older-code".to_owned()),
        ..charge_of("pm_card_visa")
    };
    let state = PaymentState::Charging(stored.clone());
    let payment = Payment::new(ORDER, OWNER, state, noon());
    let command = charge_command(OWNER, AMOUNT, "pm_card_visa");
    let decision = decide(ORDER, Some(&payment), &command, noon());
    assert_eq!(decision, Decision::AskToCharge(stored));
}

#[test]
fn the_keys_derive_from_the_order_alone() {
    let key = ChargeKey::of(ORDER);
    assert_eq!(key.as_str(), "charge-01890a5d-ac96-774b-bcce-b302099a8057");
    let refund = "charge-01890a5d-ac96-774b-bcce-b302099a8057-refund";
    assert_eq!(key.refund().as_str(), refund);
}

#[test]
fn a_refused_charge_names_both_amounts_and_no_method() {
    let [_, (_, Some(charging)), ..] = &payments()[..] else {
        unreachable!()
    };
    let other = charge_command(OWNER, 1_400, "4242-4242-4242-4242");
    let Decision::Refuse(refusal) = decide(ORDER, Some(charging), &other, noon()) else {
        panic!("the charge differs");
    };
    let text = refusal.to_string();
    assert!(text.contains("49.90 USD then, 14.00 USD now"), "{text}");
    assert!(!format!("{text} {other:?}").contains("4242"), "{other:?}");
}

#[test]
fn an_invalid_currency_is_declined_without_a_call() {
    for currency in ["UDS", "XXX", "XTS", "XAU"] {
        let command = Command::Charge {
            user_id: OWNER,
            amount: Money::new(1_400, currency).unwrap(),
            method: PaymentMethod::stored("pm_card_visa").unwrap(),
        };
        let Decision::Begin(payment) = decide(ORDER, None, &command, noon()) else {
            panic!("{currency} has no record yet");
        };
        let answer = decide(ORDER, Some(&payment), &command, noon());
        let Decision::Answer(Reply::Declined(decline)) = answer else {
            panic!("{currency} is answered {answer:?}");
        };
        assert_eq!(decline.code, "invalid_currency");
        assert_eq!(
            decline.detail,
            format!("{currency} is not a valid currency")
        );
        let refund = Command::Refund { user_id: OWNER };
        let refund = decide(ORDER, Some(&payment), &refund, noon());
        assert_eq!(refund, Decision::Answer(Reply::Refunded(None)));
    }
}

#[test]
fn a_provider_that_confirms_another_charge_contradicts_itself() {
    let asked = charge_of("pm_card_visa");
    let other = Settlement::Charged(PaymentId("pay_2".to_owned()));
    for (state, payment) in payments() {
        if matches!(state, "Charged" | "Refunding" | "Refunded") {
            let settling = settle(&payment.unwrap(), &asked, &other, noon());
            assert_eq!(settling, Settling::Contradiction, "{state}");
        }
    }
}

#[test]
fn a_stored_decline_is_bounded_and_has_no_card_numbers() {
    let kept = |code: &str, detail: &str| {
        let decline = Decline {
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        let state = PaymentState::Charging(charge_of("pm_card_visa"));
        let charging = Payment::new(ORDER, OWNER, state, noon());
        let settlement = Settlement::Declined(decline);
        match settle(&charging, &charge_of("pm_card_visa"), &settlement, noon()) {
            Settling::Advance(Payment {
                state: PaymentState::Declined(_, kept),
                ..
            }) => (kept.code, kept.detail),
            other => panic!("{other:?}"),
        }
    };
    let same = "order 01890a5d-ac96-774b-bcce-b302099a8057 of 2026-11-23: 49.90 USD is too much";
    assert_eq!(kept("card_declined", same).1, same);
    for number in [
        "4242424242424242",
        "4242-4242-4242-4242",
        "4242 4242 4242 4242",
        "42\u{1b}42.4242.4242.4242",
    ] {
        let detail = format!("No such card: '{number}' (try 2)");
        let expected = "No such card: '(number left out)' (try 2)";
        assert_eq!(kept("card_declined", &detail).1, expected, "{number}");
    }
    let (_, long) = kept("x", &"\u{1b}[31m".repeat(43_000));
    assert_eq!(long.chars().count(), 500);
    assert!(!long.contains(char::is_control));
    assert_eq!(kept("x", "\n ").1, "the payment provider gave no reason");
    for odd in ["", "Card Declined", "1st", "x-y", &"x".repeat(65)] {
        assert_eq!(kept(odd, "no").0, "declined", "{odd}");
    }
}

#[test]
fn money_is_printed_in_its_currencys_major_unit() {
    for (amount, currency, printed) in [
        (1_400, "USD", "14.00 USD"),
        (5, "USD", "0.05 USD"),
        (1_400, "JPY", "1400 JPY"),
        (1_400, "KWD", "1.400 KWD"),
        (9_007_199_254_740_991, "CLF", "900719925474.0991 CLF"),
        (1_400, "UDS", "1400 UDS (in minor units)"),
        (1_400, "XAU", "1400 XAU (in minor units)"),
    ] {
        let money = Money::stored(amount, currency).unwrap();
        assert_eq!(money.to_string(), printed);
    }
}

#[test]
fn money_is_bounded_and_has_a_currency() {
    assert_eq!(format!("{:?}", usd(1).currency()), "USD");
    assert_eq!(usd(MAX_AMOUNT).amount(), MAX_AMOUNT);
    for amount in [MAX_AMOUNT + 1, i64::MAX, 0, -1, i64::MIN] {
        Money::new(amount, "USD").unwrap_err();
    }
    for currency in ["", "US", "usd", "USDT", "U$D", "ÄB"] {
        Money::new(1, currency).unwrap_err();
        Currency::stored(currency).unwrap_err();
    }
}

#[test]
fn a_stored_payment_method_follows_the_widest_rule() {
    let longest = "x".repeat(128);
    for token in [
        "pm_card_visa",
        "pm-1",
        // Too few or too many digits for a card number, or not only digits.
        "12345678901",
        "12345678901234567890",
        "424242424242424x",
        // In groups, which orders once accepted.
        "4242-4242-4242-4242",
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
        PaymentMethod::stored(text).unwrap_err();
    }
}
