//! Every pair of record and command, every pair of record and provider's word, and the values.

use std::fmt::Write;

use expect_test::expect_file;
use payments::domain::{
    Charge, ChargeKey, Command, Currency, Decision, Decline, Money, Payment, PaymentId,
    PaymentMethod, PaymentState, Refusal, Reply, Settlement, Settling, decide, settle,
};

use super::*;

/// One payment for every state, and the absence of one.
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
        method: PaymentMethod::parse(method).unwrap(),
    }
}

fn told(decision: &Decision) -> String {
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
            writeln!(table, "{command_name:14} {state:15} {}", told(&decision)).unwrap();
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
fn a_next_state_follows_the_version_before_and_keeps_what_does_not_change() {
    let later = noon() + jiff::SignedDuration::from_secs(5);
    let charging = Payment::new(
        ORDER,
        OWNER,
        PaymentState::Charging(charge_of("pm_card_visa")),
        noon(),
    );
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
fn a_charge_for_another_amount_or_method_is_refused_whatever_became_of_the_first() {
    let others = [
        charge_command(OWNER, AMOUNT + 1, "pm_card_visa"),
        charge_command(OWNER, AMOUNT, "pm_card_chargeDeclined"),
        Command::Charge {
            user_id: OWNER,
            amount: Money::new(AMOUNT, "EUR").unwrap(),
            method: PaymentMethod::parse("pm_card_visa").unwrap(),
        },
    ];
    for (state, payment) in payments() {
        // Nothing was asked for there that another charge could differ from.
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
            let refused = Decision::Refuse(Refusal::AnotherCharge);
            assert_eq!(decision, refused, "{state}, {other:?}");
        }
    }
}

#[test]
fn another_user_is_refused_whatever_the_state() {
    for (state, payment) in payments().into_iter().skip(1) {
        for command in [
            charge_command(STRANGER, AMOUNT, "pm_card_visa"),
            Command::Refund { user_id: STRANGER },
        ] {
            let decision = decide(ORDER, payment.as_ref(), &command, noon());
            assert_eq!(decision, Decision::Refuse(Refusal::AnotherUser), "{state}");
        }
    }
}

#[test]
fn a_charge_under_way_keeps_the_key_it_was_stored_with() {
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
fn the_keys_are_derived_from_the_order_and_from_nothing_else() {
    let key = ChargeKey::of(ORDER);
    assert_eq!(key.as_str(), "charge-01890a5d-ac96-774b-bcce-b302099a8057");
    let refund = "charge-01890a5d-ac96-774b-bcce-b302099a8057-refund";
    assert_eq!(key.refund().as_str(), refund);
}

#[test]
fn money_is_above_zero_and_has_a_currency() {
    assert_eq!(usd(1).to_string(), "1 USD");
    assert_eq!(format!("{:?}", usd(1).currency()), "USD");
    assert_eq!(usd(i64::MAX).amount(), i64::MAX);
    for amount in [0, -1, i64::MIN] {
        Money::new(amount, "USD").unwrap_err();
    }
    for currency in ["", "US", "usd", "USDT", "U$D", "ÄB"] {
        Money::new(1, currency).unwrap_err();
        Currency::parse(currency).unwrap_err();
    }
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
        PaymentMethod::parse(text).unwrap_err();
    }
}
