//! Charges and refunds: repeated, out of order, concurrent, and with crashes at every write.

use std::time::Duration;

use futures_util::future::join_all;
use payments::domain::{PaymentId, RefundKey, Settlement};
use payments::provider::ProviderError;
use proptest::prelude::*;
use test_support::{Fault, crashable};
use tokio::time::Instant;

use super::*;

const FAULTS: [Fault; 5] = [
    Fault::BeforeEffect,
    Fault::AfterEffect,
    Fault::Throttle,
    Fault::KillBefore,
    Fault::KillAfter,
];

/// Sequences of messages, each with the last one's answer and the simulator's ledger after it.
fn scenarios() -> Vec<(Vec<Value>, Answer, Ledger)> {
    let card_declined = || declined("card_declined", "the card was declined");
    let visa = || charge("pm_card_visa");
    let refused = || charge("pm_card_chargeDeclined");
    let lost = || charge("pm_sim_unavailable");
    vec![
        (vec![visa()], charged(), Ledger::CHARGED),
        (vec![refused()], card_declined(), Ledger::NOTHING),
        (vec![charge("pm_sim_lostReply")], charged(), Ledger::CHARGED),
        (vec![charge("pm_sim_slow")], charged(), Ledger::CHARGED),
        (vec![refund()], nothing_refunded(), Ledger::NOTHING),
        (vec![refund(), visa()], voided(), Ledger::NOTHING),
        (vec![visa(), refund()], refunded(), Ledger::GIVEN_BACK),
        (
            vec![visa(), refund(), visa()],
            charged(),
            Ledger::GIVEN_BACK,
        ),
        (
            vec![refused(), refund()],
            nothing_refunded(),
            Ledger::NOTHING,
        ),
        (
            vec![refused(), refund(), refused()],
            card_declined(),
            Ledger::NOTHING,
        ),
        (vec![lost(), refund()], nothing_refunded(), Ledger::NOTHING),
        (vec![lost(), refund(), lost()], voided(), Ledger::NOTHING),
    ]
}

/// A world in which every message but the last has been delivered.
async fn before_the_last(messages: &[Value]) -> (World, &Value) {
    let world = World::new().await;
    let (last, earlier) = messages.split_last().unwrap();
    for message in earlier {
        let _ = world.deliver(message).await;
    }
    (world, last)
}

fn kinds(messages: &[Value]) -> String {
    let kind = |message: &Value| {
        let method = message["data"]["payment_method"]
            .as_str()
            .unwrap_or_default();
        format!("{} {method}", message["type"].as_str().unwrap())
    };
    messages.iter().map(kind).collect::<Vec<_>>().join(", ")
}

#[tokio::test(start_paused = true)]
async fn a_repeated_message_has_one_effect_and_one_answer() {
    for (messages, answer, ledger) in scenarios() {
        let (world, last) = before_the_last(&messages).await;
        let case = kinds(&messages);
        assert_eq!(world.deliver(last).await.unwrap(), answer, "{case}");
        let once = world.aws.dump(&world.table);
        world.pass(1_000);
        for _ in 0..2 {
            assert_eq!(world.deliver(last).await.unwrap(), answer, "{case}");
        }
        assert_eq!(world.aws.dump(&world.table), once, "{case}");
        assert_eq!(world.ledger(), ledger, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_repairs_a_fault_at_any_write() {
    for (messages, answer, ledger) in scenarios() {
        let (clean, last) = before_the_last(&messages).await;
        let before = clean.aws.writes();
        clean.deliver(last).await.unwrap();
        let writes = clean.aws.writes() - before;
        let expected = clean.aws.dump(&clean.table);
        for nth in 0..writes {
            for fault in FAULTS {
                let case = format!("{}: {fault:?} at write {nth}", kinds(&messages));
                let (world, last) = before_the_last(&messages).await;
                world.aws.fault_at(nth, fault);
                if let Some(Ok(early)) = crashable(world.deliver(last)).await {
                    assert_eq!(early, answer, "{case}");
                }
                assert_eq!(world.aws.fired(), 1, "{case}");
                assert_eq!(world.deliver(last).await.unwrap(), answer, "{case}");
                assert_eq!(world.ledger(), ledger, "{case}");
                assert_eq!(world.aws.dump(&world.table), expected, "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refund_after_a_crashed_charge_leaves_nothing_charged() {
    for method in [
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_sim_lostReply",
        "pm_sim_slow",
    ] {
        for nth in 0..3 {
            for fault in FAULTS {
                let case = format!("{method}: {fault:?} at write {nth}");
                let world = World::new().await;
                world.aws.fault_at(nth, fault);
                let _ = crashable(world.deliver(&charge(method))).await;
                assert_eq!(world.aws.fired(), 1, "{case}");
                let answer = world.deliver(&refund()).await.unwrap();
                let ledger = world.ledger();
                assert_eq!(ledger.refunded, ledger.charged, "{case}");
                let expected = match ledger.charges {
                    0 => nothing_refunded(),
                    _ => refunded(),
                };
                assert_eq!(answer, expected, "{case}");
                world.deliver(&charge(method)).await.unwrap();
                assert_eq!(world.ledger(), ledger, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_refund_before_its_charge_makes_no_provider_call() {
    let world = World::new().await;
    world.deliver(&refund()).await.unwrap();
    let answer = world.deliver(&charge("pm_card_visa")).await;
    assert_eq!(answer.unwrap(), voided());
    assert_eq!(world.aws.dump(&world.table).len(), 1);
    assert_eq!(world.status().as_deref(), Some("VOIDED"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_retried_within_the_functions_time() {
    let world = World::new().await;
    let begun = Instant::now();
    let message = charge("pm_sim_unavailable");
    let failure = world.deliver(&message).await.unwrap_err();
    assert!(failure.is_retried());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(world.status().as_deref(), Some("CHARGING"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_leaves_time_in_the_invocation() {
    let world = World::new().await;
    world.deliver(&charge("pm_card_visa")).await.unwrap();
    for message in [charge("pm_card_visa"), refund()] {
        let silent = World::new().await;
        let _ = silent.deliver_with(Silent, &charge("pm_card_visa")).await;
        let begun = Instant::now();
        let failure = silent.deliver_with(Silent, &message).await.unwrap_err();
        assert!(failure.is_retried());
        assert!(begun.elapsed() < Duration::from_secs(5), "{message}");
    }
    let begun = Instant::now();
    world.deliver_with(Silent, &refund()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_retried_within_the_invocation() {
    let world = World::new().await;
    let begun = Instant::now();
    let answer = world.deliver(&charge("pm_sim_slow")).await;
    assert_eq!(answer.unwrap(), charged());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_contradicting_command_is_refused_for_good() {
    let with = |mut message: Value, pointer: &str, value: Value| {
        *message.pointer_mut(pointer).unwrap() = value;
        message
    };
    let visa = || charge("pm_card_visa");
    let contradictions = [
        with(visa(), "/data/amount/amount", json!(AMOUNT + 1)),
        with(visa(), "/data/amount/currency", json!("EUR")),
        with(visa(), "/data/user_id", json!(STRANGER.0)),
        charge("pm_card_chargeDeclined"),
        with(refund(), "/data/user_id", json!(STRANGER.0)),
    ];
    for first in [visa(), charge("pm_card_mastercard")] {
        for contradiction in &contradictions {
            let world = World::new().await;
            world.deliver(&first).await.unwrap();
            let before = world.aws.dump(&world.table);
            let failure = world.deliver(contradiction).await.unwrap_err();
            assert!(!failure.is_retried(), "{contradiction}");
            assert_eq!(world.aws.dump(&world.table), before);
        }
    }
    let world = World::new().await;
    world.deliver(&refund()).await.unwrap();
    let strangers = with(visa(), "/data/user_id", json!(STRANGER.0));
    assert!(!world.deliver(&strangers).await.unwrap_err().is_retried());
}

#[tokio::test]
async fn an_invalid_command_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let mut no_order = refund();
    no_order["order_id"] = json!("ORDER#1");
    let broken = [
        no_order,
        message("ChargePayment", json!({ "user_id": "not-an-id" })),
        message("RefundPayment", json!({})),
        message("ChargeEverybody", json!({})),
        json!("not an envelope"),
    ];
    for message in broken {
        let failure = world.deliver(&message).await.unwrap_err();
        assert!(!failure.is_retried(), "{message}");
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_charges_are_one_charge_with_one_answer() {
    for seed in 0..100 {
        let world = World::new().await;
        world.aws.interleave(seed);
        let message = charge("pm_card_visa");
        let answers = join_all((0..4).map(|_| world.deliver(&message))).await;
        for answer in answers {
            assert_eq!(answer.unwrap(), charged(), "seed {seed}");
        }
        assert_eq!(world.ledger(), Ledger::CHARGED, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_charge_and_refund_leave_nothing_charged() {
    let mut endings = Vec::new();
    for seed in 0..300 {
        let world = World::new().await;
        world.aws.interleave(seed);
        let visa = || charge("pm_card_visa");
        let messages = [visa(), refund(), refund(), visa()];
        let answers = join_all(messages.iter().map(|message| world.deliver(message))).await;
        for answer in answers {
            answer.unwrap();
        }
        let ledger = world.ledger();
        assert!(
            [Ledger::NOTHING, Ledger::GIVEN_BACK].contains(&ledger),
            "seed {seed}"
        );
        let status = world.status().unwrap();
        let expected = match ledger.charges {
            0 => "VOIDED",
            _ => "REFUNDED",
        };
        assert_eq!(status, expected, "seed {seed}");
        endings.push(status);
    }
    endings.sort();
    endings.dedup();
    assert_eq!(endings, ["REFUNDED", "VOIDED"], "the seeds reach both ends");
}

#[tokio::test]
async fn a_refund_between_charge_and_record_is_detected() {
    let world = World::new().await;
    let meanwhile = Interrupted {
        world: &world,
        before: None,
        after: Some(refund()),
        keeps_cancellations: true,
    };
    let answer = world.deliver_with(meanwhile, &charge("pm_card_visa")).await;
    assert_eq!(answer.unwrap(), charged());
    assert_eq!(world.ledger(), Ledger::GIVEN_BACK);
    assert_eq!(world.status().as_deref(), Some("REFUNDED"));
    assert_eq!(world.deliver(&refund()).await.unwrap(), refunded());
}

#[tokio::test]
async fn a_refund_before_the_provider_call_voids_the_charge() {
    let world = World::new().await;
    let meanwhile = Interrupted {
        world: &world,
        before: Some(refund()),
        after: None,
        keeps_cancellations: true,
    };
    let answer = world.deliver_with(meanwhile, &charge("pm_card_visa")).await;
    assert_eq!(answer.unwrap(), voided());
    assert_eq!(world.ledger(), Ledger::NOTHING);
    assert_eq!(world.status().as_deref(), Some("VOIDED"));
}

#[tokio::test]
async fn a_charge_in_spite_of_a_cancellation_is_refunded() {
    // Five writes come before these: our first record, the void, the simulator's charge, our stale
    // record of it, and the record that demands a refund.
    let dying = FAULTS
        .into_iter()
        .flat_map(|fault| [5, 6].map(|nth| Some((nth, fault.clone()))));
    for fault in dying.chain([None]) {
        let world = World::new().await;
        let forgetful = Interrupted {
            world: &world,
            before: Some(refund()),
            after: None,
            keeps_cancellations: false,
        };
        if let Some((nth, fault)) = fault.clone() {
            world.aws.fault_at(nth, fault);
        }
        let _ = crashable(world.deliver_with(forgetful, &charge("pm_card_visa"))).await;
        assert_eq!(world.aws.fired(), usize::from(fault.is_some()), "{fault:?}");
        if fault.is_some() {
            world.deliver(&charge("pm_card_visa")).await.unwrap();
        }
        assert_eq!(world.ledger(), Ledger::GIVEN_BACK, "{fault:?}");
        assert_eq!(world.status().as_deref(), Some("REFUNDED"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_contradicting_provider_is_left_to_an_operator() {
    let world = World::new().await;
    let denying = Denying { world: &world };
    let message = charge("pm_card_visa");
    let failure = world.deliver_with(denying, &message).await.unwrap_err();
    assert!(!failure.is_retried());
    assert_eq!(world.status().as_deref(), Some("CHARGED"));
}

/// The simulator, with a message delivered in the middle of each charge.
struct Interrupted<'a> {
    world: &'a World,
    /// Delivered before the simulator is asked.
    before: Option<Value>,
    /// Delivered after the simulator's charge and before its answer.
    after: Option<Value>,
    /// Whether the simulator keeps the cancellation, as a provider promises.
    keeps_cancellations: bool,
}

impl Interrupted<'_> {
    async fn interrupt(&self, message: Option<&Value>) {
        let world = self.world;
        let Some(message) = message else { return };
        let delivered = if self.keeps_cancellations {
            world.deliver(message).await
        } else {
            world.deliver_with(Forgetful, message).await
        };
        let _ = delivered;
    }
}

impl Provider for Interrupted<'_> {
    async fn charge(&self, charge: &Charge) -> Result<Settlement, ProviderError> {
        self.interrupt(self.before.as_ref()).await;
        let settlement = self.world.simulator.charge(charge).await;
        self.interrupt(self.after.as_ref()).await;
        settlement
    }

    async fn cancel(&self, key: &ChargeKey) -> Result<Settlement, ProviderError> {
        self.world.simulator.cancel(key).await
    }

    async fn refund(
        &self,
        key: &RefundKey,
        payment_id: &PaymentId,
        amount: Money,
    ) -> Result<(), ProviderError> {
        self.world.simulator.refund(key, payment_id, amount).await
    }
}

/// A provider that confirms a cancellation without making it.
struct Forgetful;

impl Provider for Forgetful {
    async fn charge(&self, _: &Charge) -> Result<Settlement, ProviderError> {
        unreachable!("only a refund is delivered to it")
    }

    async fn cancel(&self, _: &ChargeKey) -> Result<Settlement, ProviderError> {
        Ok(Settlement::Cancelled)
    }

    async fn refund(&self, _: &RefundKey, _: &PaymentId, _: Money) -> Result<(), ProviderError> {
        unreachable!("nothing was charged")
    }
}

/// A provider that charges for another delivery and denies it to this one.
struct Denying<'a> {
    world: &'a World,
}

impl Provider for Denying<'_> {
    async fn charge(&self, _: &Charge) -> Result<Settlement, ProviderError> {
        self.world.deliver(&charge("pm_card_visa")).await.unwrap();
        Ok(Settlement::Cancelled)
    }

    async fn cancel(&self, _: &ChargeKey) -> Result<Settlement, ProviderError> {
        unreachable!("only a charge is delivered to it")
    }

    async fn refund(&self, _: &RefundKey, _: &PaymentId, _: Money) -> Result<(), ProviderError> {
        unreachable!("only a charge is delivered to it")
    }
}

/// A provider that never answers.
struct Silent;

impl Provider for Silent {
    async fn charge(&self, _: &Charge) -> Result<Settlement, ProviderError> {
        std::future::pending().await
    }

    async fn cancel(&self, _: &ChargeKey) -> Result<Settlement, ProviderError> {
        std::future::pending().await
    }

    async fn refund(&self, _: &RefundKey, _: &PaymentId, _: Money) -> Result<(), ProviderError> {
        std::future::pending().await
    }
}

/// Concurrent messages, with faults at some of their writes.
#[derive(Clone, Debug)]
struct Round {
    is_refund: Vec<bool>,
    seed: u64,
    faults: Vec<(usize, Fault)>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let fault = (0_usize..12, prop::sample::select(FAULTS.to_vec()));
    // Most cases need charges before the first refund.
    let is_refund = prop::bool::weighted(0.3);
    let round = (
        prop::collection::vec(is_refund, 1..4),
        any::<u64>(),
        prop::collection::vec(fault, 0..3),
    );
    let round = round.prop_map(|(is_refund, seed, faults)| Round {
        is_refund,
        seed,
        faults,
    });
    prop::collection::vec(round, 1..5)
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_sim_lostReply",
        "pm_sim_slow",
        "pm_sim_unavailable",
    ])
}

/// Plays the rounds, then delivers each message until it is acknowledged. Checks the money after
/// each step.
async fn play(method: &str, rounds: &[Round]) {
    let world = World::new().await;
    let message = |is_refund| if is_refund { refund() } else { charge(method) };
    let mut answers: [Vec<Answer>; 2] = Default::default();
    for round in rounds {
        world.aws.clear_faults();
        world.aws.interleave(round.seed);
        for (nth, fault) in &round.faults {
            world.aws.fault_at(*nth, fault.clone());
        }
        let deliveries = round.is_refund.iter().map(|&is_refund| {
            let world = &world;
            async move { crashable(world.deliver(&message(is_refund))).await }
        });
        for (is_refund, outcome) in round.is_refund.iter().zip(join_all(deliveries).await) {
            match outcome {
                Some(Ok(answer)) => answers[usize::from(*is_refund)].push(answer),
                Some(Err(failure)) => assert!(failure.is_retried(), "{}", failure.detail()),
                None => {}
            }
        }
        check(&world, &answers);
    }

    world.aws.clear_faults();
    let sent = |wanted: bool| {
        let all = rounds.iter().flat_map(|round| &round.is_refund);
        all.copied().any(|is_refund| is_refund == wanted)
    };
    for is_refund in [false, true, false] {
        if !sent(is_refund) {
            continue;
        }
        match world.deliver(&message(is_refund)).await {
            Ok(answer) => answers[usize::from(is_refund)].push(answer),
            Err(failure) => {
                assert_eq!(method, "pm_sim_unavailable", "{}", failure.detail());
                assert!(failure.is_retried());
            }
        }
        check(&world, &answers);
    }
    let expected = match (sent(true), method) {
        (false, "pm_card_visa" | "pm_sim_lostReply" | "pm_sim_slow") => AMOUNT,
        _ => 0,
    };
    let ledger = world.ledger();
    assert_eq!(ledger.charged - ledger.refunded, expected);
}

/// The invariants of every moment.
fn check(world: &World, answers: &[Vec<Answer>; 2]) {
    let ledger = world.ledger();
    assert!(ledger.charges <= 1, "{ledger:?}");
    assert!(ledger.refunded <= ledger.charged, "{ledger:?}");
    for of_one_kind in answers {
        let same = of_one_kind.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(same, "{of_one_kind:?}");
    }
    let [to_charges, to_refunds] = answers;
    if !to_refunds.is_empty() {
        assert_eq!(ledger.charged, ledger.refunded, "after a refund");
    } else if to_charges.first() == Some(&charged()) {
        assert_eq!(ledger.charges, 1, "after a charge");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_money_adds_up_under_interleaved_faults(
        method in methods(),
        rounds in rounds(),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(method, &rounds));
    }
}
