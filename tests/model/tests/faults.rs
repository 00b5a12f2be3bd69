//! Planted faults are found, each by the tiers that can see it: a proof that cannot fail proves
//! nothing.

use std::collections::BTreeSet;

use saga_model::exhaustive::{self, Config, Outcome};
use saga_model::services::Services;
use saga_model::soup::{self, Scenario};

use crate::saboteurs::*;

/// Far more than any of them takes.
const SEEDS: u64 = 3_000;

/// The invariant that broke first.
fn in_the_soup(services: &impl Services) -> &'static str {
    let found = soup::first_violation(services, 0..SEEDS, Scenario::default());
    let (sagas, found) = found.expect("3000 seeds from 0 show nothing");
    println!(
        "after {sagas} sagas, seed {}: {}: {}",
        found.seed, found.violation.invariant, found.violation.detail
    );
    found.violation.invariant
}

fn exhaustively(services: &impl Services) -> Outcome {
    let outcomes = Config::IN_TESTS.map(|config| exhaustive::try_services(services, config));
    let found = outcomes
        .into_iter()
        .find(|outcome| outcome.counterexample.is_some());
    let found = found.expect("no state of the small configurations shows anything");
    println!("{found}");
    found
}

fn why(outcome: &Outcome) -> &str {
    outcome
        .counterexample
        .as_ref()
        .map_or("", |found| found.why.as_str())
}

#[test]
fn a_release_that_leaves_no_tombstone_is_found() {
    in_the_soup(&NoTombstone);
    let found = exhaustively(&NoTombstone);
    assert!(why(&found).contains("its reservation is"), "{found}");
}

#[test]
fn an_order_confirmed_unpaid_is_found() {
    assert_eq!(
        in_the_soup(&ConfirmsUnpaid),
        "an ended order's money is right"
    );
    assert!(why(&exhaustively(&ConfirmsUnpaid)).contains("is due"));
}

#[test]
fn a_cancel_that_forgets_the_units_is_found() {
    in_the_soup(&CancelForgetsUnits);
    let found = exhaustively(&CancelForgetsUnits);
    assert_eq!(
        why(&found),
        "a message changed rows of an order that had ended"
    );
}

#[test]
fn a_timeout_that_leaks_a_late_reservation_is_found() {
    in_the_soup(&TimeoutLeaks);
    exhaustively(&TimeoutLeaks);
}

#[test]
fn a_late_event_that_overwrites_the_status_is_found() {
    in_the_soup(&LateChargeConfirms);
    exhaustively(&LateChargeConfirms);
}

#[test]
fn a_sweeper_that_sends_nothing_is_found() {
    assert_eq!(in_the_soup(&SweeperIsSilent), "every order ends");
    let found = exhaustively(&SweeperIsSilent);
    assert_eq!(why(&found), "from here not every order can end");
}

#[test]
fn a_total_that_was_not_expected_is_found() {
    assert_eq!(
        in_the_soup(&AnyTotalWillDo),
        "nobody pays an unexpected total"
    );
    exhaustively(&AnyTotalWillDo);
}

/// Deliveries have no numbers in the exhaustive tier, where a message is a value.
#[test]
fn a_charge_keyed_by_its_delivery_is_found() {
    assert_eq!(in_the_soup(&ChargesPerDelivery), "nothing is charged twice");
}

/// The exhaustive tier ends at the first step that is wrong: there payments itself notices.
#[test]
fn a_charge_made_again_is_found() {
    assert_eq!(in_the_soup(&ChargesAgain), "nothing is charged twice");
    assert!(why(&exhaustively(&ChargesAgain)).contains("confirms another"));
}

#[test]
fn a_refund_that_guesses_is_found() {
    in_the_soup(&RefundGuesses);
    exhaustively(&RefundGuesses);
}

#[test]
fn one_unit_too_many_is_found() {
    assert_eq!(in_the_soup(&OffByOne), "nothing is oversold");
    assert!(why(&exhaustively(&OffByOne)).contains("oversold"));
}

/// Conditions matter where handlers run side by side, which in the exhaustive tier those of orders
/// and inventory do not: there a handler's read and write are one step.
#[test]
fn writes_without_their_conditions_are_found() {
    assert_eq!(in_the_soup(&ChecksThenActs), "nothing is oversold");
    assert_eq!(in_the_soup(&LastWriterWins), "versions grow one by one");
    in_the_soup(&DeduplicatesOutside);
    assert_eq!(in_the_soup(&ReleasesTwice), "stocked = available + held");
}

#[test]
fn a_reserve_answered_otherwise_the_second_time_is_found() {
    in_the_soup(&AnswersAnew);
    exhaustively(&AnswersAnew);
}

#[test]
fn a_message_that_fails_for_ever_is_found() {
    let poison = "every message is handled at last";
    assert_eq!(in_the_soup(&DecidesAgain), poison);
}

#[test]
fn a_reply_that_contradicts_the_order_is_found() {
    let contradiction = "participants never contradict each other";
    assert_eq!(in_the_soup(&ReportsAnotherAmount), contradiction);
    let found = exhaustively(&ReportsAnotherAmount);
    assert!(
        why(&found).contains("another amount was charged"),
        "{found}"
    );
}

/// In the exhaustive tier each order's charge is its own by construction.
#[test]
fn one_provider_key_for_all_orders_is_found() {
    in_the_soup(&OneKeyForAll);
}

#[test]
fn a_rejected_order_that_is_cancelled_is_found() {
    assert_eq!(in_the_soup(&RejectedIsCancelled), "an end is an end");
}

/// An invariant that nothing breaks may be one that cannot break.
#[test]
fn every_invariant_of_the_soup_has_been_seen_to_break() {
    let broken = BTreeSet::from([
        in_the_soup(&NoTombstone),
        in_the_soup(&ConfirmsUnpaid),
        in_the_soup(&CancelForgetsUnits),
        in_the_soup(&TimeoutLeaks),
        in_the_soup(&SweeperIsSilent),
        in_the_soup(&DecidesAgain),
        in_the_soup(&AnyTotalWillDo),
        in_the_soup(&ChargesPerDelivery),
        in_the_soup(&RefundsPerDelivery),
        in_the_soup(&OffByOne),
        in_the_soup(&ReleasesTwice),
        in_the_soup(&LastWriterWins),
        in_the_soup(&ForgetsHistory),
        in_the_soup(&ReportsAnotherAmount),
        in_the_soup(&AcknowledgesFirst),
        in_the_soup(&RejectedIsCancelled),
    ]);
    assert_eq!(broken, BTreeSet::from(soup::INVARIANTS));
}

#[test]
fn a_violation_is_shrunk_to_a_world_that_can_be_read_and_run_again() {
    let found = soup::first_violation(&NoTombstone, 0..SEEDS, Scenario::default());
    let (_, found) = found.expect("the tombstone is missed within 3000 seeds from 0");
    let shrunk = soup::shrink(&NoTombstone, &found);
    assert!(shrunk.scenario.orders <= 2, "{shrunk}");
    assert!(shrunk.trace.len() < 60, "{shrunk}");
    assert!(shrunk.to_string().contains("VIOLATION"), "{shrunk}");
    assert!(
        shrunk
            .to_string()
            .contains(&format!("--from {}", shrunk.seed)),
        "{shrunk}"
    );
    let (_, again) = soup::replay(&NoTombstone, shrunk.seed, shrunk.scenario);
    assert_eq!(again.found[0].violation, shrunk.violation);
}
