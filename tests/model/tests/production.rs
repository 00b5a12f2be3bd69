//! Production under both tiers: a fixed share of what a proof runs.

use saga_model::exhaustive::{self, Config};
use saga_model::services::{Production, STEP_TIMEOUT};
use saga_model::situation::Situation;
use saga_model::soup::{self, Fault, Faults, Scenario};
use test_support::template::Template;

const SEEDS: u64 = 300;

#[test]
fn a_few_thousand_sagas_survive_every_kind_of_fault() {
    let report = soup::run(0..SEEDS);
    assert!(report.found.is_empty(), "seeds 0 to {SEEDS}: {report}");
    assert!(report.sagas > SEEDS * 8, "{report}");
    for fault in Fault::ALL {
        assert!(
            report.faults.of(*fault) > 0,
            "no {}: {report}",
            fault.as_str()
        );
    }
    for ending in [
        "cancelled",
        "confirmed",
        "rejected: out_of_stock",
        "rejected: payment_declined",
        "rejected: price_changed",
        "rejected: timed_out",
        "rejected: user_not_allowed",
    ] {
        assert!(
            report.endings.contains_key(ending),
            "none is {ending}: {report}"
        );
    }
    for situation in [
        Situation::GaveUpCharging,
        Situation::ParkedReleasing,
        Situation::CancelledAfterConfirmation,
        Situation::ReserveMetTombstone,
        Situation::ChargeFoundLate,
        Situation::PaymentWriteOvertaken,
    ] {
        let count = report.situations.of(situation);
        assert!(count > 0, "never: {}: {report}", situation.as_str());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let hash = |seeds| soup::run(seeds).hash;
    assert_eq!(hash(40..44), hash(40..44));
    assert_ne!(hash(40..44), hash(41..45));
    let told = |seed| soup::replay(&Production, seed, Scenario::default());
    let ((first, report), (second, _)) = (told(7), told(7));
    assert!(first.len() > 100, "{first:?}");
    assert_eq!(first, second);
    assert_eq!(
        report.hash,
        soup::run(7..8).hash,
        "telling it changes nothing"
    );
}

#[test]
fn without_faults_none_is_counted_and_no_order_times_out() {
    let calm = Scenario {
        faults: Faults::NONE,
        ..Scenario::default()
    };
    let report = soup::try_services(&Production, 0..20, calm);
    assert!(report.found.is_empty(), "seeds 0 to 20: {report}");
    assert_eq!(report.faults.total(), 0, "seeds 0 to 20: {report}");
    assert!(report.endings["confirmed"] > 50, "seeds 0 to 20: {report}");
    assert!(
        !report.endings.contains_key("cancelled"),
        "seeds 0 to 20: {report}"
    );
}

#[test]
fn a_step_may_take_as_long_as_where_it_is_deployed() {
    let template = Template::of_service("orders");
    let parameter = &template.document()["Parameters"]["StepTimeoutSeconds"];
    assert_eq!(parameter["Default"], STEP_TIMEOUT.0.as_secs());
}

#[test]
fn every_interleaving_of_a_few_orders_is_right() {
    for config in Config::IN_TESTS {
        let outcome = exhaustive::run(config);
        assert!(outcome.holds(), "{outcome}");
        assert!(outcome.states > 5_000, "{outcome}");
    }
}
