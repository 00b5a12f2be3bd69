//! Payments from earlier rules: each stays readable, can be refunded, and keeps its unchanged values.

use payments::provider::ProviderError;
use proptest::prelude::*;

use super::*;

/// A payment's row and its ledger's, as the first release wrote them.
fn rows(amount: i64, currency: &str, method: &str) -> [Value; 2] {
    let key = format!("charge-{}", ORDER.0);
    let payment_id = format!("sim_{key}");
    [
        json!({
            "pk": format!("ORDER#{}", ORDER.0), "sk": "PAYMENT", "schema": 1, "version": 2,
            "user_id": OWNER.0, "status": "CHARGED", "payment_id": payment_id,
            "charge": {"key": key, "amount": amount, "currency": currency, "method": method},
            "created_at": "2026-11-23T11:00:00.000Z", "updated_at": "2026-11-23T11:00:00.000Z",
        }),
        json!({
            "pk": format!("SIMULATOR#{key}"), "sk": "CHARGE", "outcome": "CHARGED",
            "payment_id": payment_id,
            "asked": {"amount": amount, "currency": currency, "method": method},
        }),
    ]
}

#[tokio::test]
async fn unused_attributes_may_be_missing() {
    for odd in [None, Some(json!("one"))] {
        let world = World::new().await;
        let [mut payment, charge] = rows(AMOUNT, "USD", "pm_card_visa");
        match odd {
            None => drop(payment.as_object_mut().unwrap().remove("schema")),
            Some(odd) => payment["schema"] = odd,
        }
        for row in [payment, charge] {
            world.aws.put_raw(&world.table, row);
        }
        assert_eq!(world.deliver(&refund()).await.unwrap(), refunded());
    }
}

#[tokio::test]
async fn a_long_decline_of_an_earlier_release_is_answered_bounded() {
    let world = World::new().await;
    let [mut row, _] = rows(AMOUNT, "USD", "pm_card_visa");
    row["status"] = json!("DECLINED");
    row["decline"] = json!({"code": "card_declined", "detail": "x".repeat(215_000)});
    world.aws.put_raw(&world.table, row);
    let expected = declined("card_declined", &"x".repeat(500));
    let answer = world.deliver(&charge("pm_card_visa")).await.unwrap();
    assert_eq!(answer, expected);
}

/// A provider that quotes its input.
struct Quoting;

impl Provider for Quoting {
    async fn charge(&self, charge: &Charge) -> Result<payments::domain::Settlement, ProviderError> {
        let method = charge.method.as_str();
        Err(ProviderError::Refused(format!("no such method: {method}")))
    }

    async fn cancel(&self, _: &ChargeKey) -> Result<payments::domain::Settlement, ProviderError> {
        unreachable!()
    }

    async fn refund(
        &self,
        _: &payments::domain::RefundKey,
        _: &payments::domain::PaymentId,
        _: Money,
    ) -> Result<(), ProviderError> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_card_number_that_the_provider_quotes_is_not_logged() {
    let world = World::new().await;
    let command = charge("4242-4242-4242-4242");
    let failure = world.deliver_with(Quoting, &command).await.unwrap_err();
    let text = format!("{failure:?}");
    assert!(text.contains("no such method: (number left out)"), "{text}");
    assert!(!text.contains("4242"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_old_payment_is_refunded_as_charged(
        amount in prop_oneof![1..=i64::MAX, Just(i64::MAX), 1i64..100],
        currency in "[A-Z]{3}",
        method in prop_oneof![
            "[A-Za-z0-9_-]{1,128}",
            "[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{4}",
            Just("pm_card_visa".to_owned()),
        ].prop_filter("was never taken", |method| {
            !((12..=19).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_digit()))
        }),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let [payment, charge] = rows(amount, &currency, &method);
            for row in [&payment, &charge] {
                world.aws.put_raw(&world.table, row.clone());
            }
            let found = world.store.find(ORDER).await.unwrap().unwrap();
            assert_eq!(found.charge().unwrap().method.as_str(), method);

            let envelope = Envelope::parse(&refund().to_string()).unwrap();
            let commands = queue::wire(&world.setup).unwrap();
            let answer = queue::handle(&commands, world.context(), envelope);
            let reply: Value = serde_json::from_str(answer.await.unwrap()[0].body()).unwrap();
            assert_eq!(reply["data"]["refunded"], json!({"amount": amount, "currency": currency}));

            let mut expected = payment;
            expected["status"] = json!("REFUNDED");
            expected["version"] = json!(4);
            expected["updated_at"] = json!("2026-11-23T12:00:00.000Z");
            let pk = format!("ORDER#{}", ORDER.0);
            assert_eq!(world.aws.item(&world.table, &pk, "PAYMENT"), Some(expected));
        });
    }
}
