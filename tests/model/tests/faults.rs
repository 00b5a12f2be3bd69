//! SeededBug faults are found: a proof that cannot fail proves nothing.

use saga_model::exhaustive::{self, Config};
use saga_model::services::Services;

use crate::faulty_services::*;

/// What the first counterexample says.
fn found(services: &impl Services) -> String {
    let outcomes = Config::IN_TESTS.map(|config| exhaustive::try_services(services, config));
    let found = outcomes.into_iter().find_map(|it| it.counterexample);
    let found = found.expect("no state of the small configurations shows anything");
    println!("{}: {:?}", found.why, found.trace);
    found.why
}

#[test]
fn a_release_that_leaves_no_tombstone_is_found() {
    let why = found(&NoTombstone);
    assert!(why.contains("its reservation is"), "{why}");
}

#[test]
fn an_order_confirmed_unpaid_is_found() {
    let why = found(&ConfirmsUnpaid);
    assert!(why.contains("is due"), "{why}");
}

#[test]
fn a_cancel_that_forgets_the_units_is_found() {
    let why = found(&CancelForgetsUnits);
    assert_eq!(why, "a message changed rows of an order that had ended");
}

#[test]
fn a_timeout_that_leaks_a_late_reservation_is_found() {
    found(&TimeoutLeaks);
}

#[test]
fn a_late_event_that_overwrites_the_status_is_found() {
    found(&LateChargeConfirms);
}

#[test]
fn a_sweeper_that_sends_nothing_is_found() {
    let why = found(&SweeperIsSilent);
    assert_eq!(why, "from here not every order can end");
}

#[test]
fn a_total_that_was_not_expected_is_found() {
    found(&AnyTotalWillDo);
}

/// The search ends at the first step that is wrong: there payments itself notices.
#[test]
fn a_charge_made_again_is_found() {
    let why = found(&ChargesAgain);
    assert!(why.contains("confirms another"), "{why}");
}

#[test]
fn a_refund_that_guesses_is_found() {
    found(&RefundGuesses);
}

#[test]
fn one_unit_too_many_is_found() {
    let why = found(&OffByOne);
    assert!(why.contains("oversold"), "{why}");
}

#[test]
fn a_reserve_answered_otherwise_the_second_time_is_found() {
    found(&AnswersAnew);
}

#[test]
fn a_reply_that_contradicts_the_order_is_found() {
    let why = found(&ReportsAnotherAmount);
    assert!(why.contains("another amount was charged"), "{why}");
}
