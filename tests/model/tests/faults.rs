//! The search finds each seeded bug. A proof that cannot fail proves nothing.

use saga_model::exhaustive::{self, Config};
use saga_model::services::Services;

use crate::faulty_services::*;

/// Checks the first counterexample.
fn assert_found(services: &impl Services, expected: &str) {
    let outcomes = Config::IN_TESTS.map(|config| exhaustive::try_services(services, config));
    let found = outcomes.into_iter().find_map(|it| it.counterexample);
    let found = found.unwrap_or_else(|| panic!("no counterexample, but expected: {expected}"));
    println!("{}: {:?}", found.why, found.trace);
    assert!(found.why.contains(expected), "{}", found.why);
}

#[test]
fn every_bug_of_orders_is_found() {
    assert_found(&Decides(confirms_unpaid), "is due");
    let late_message = "a message changed rows of an order that had ended";
    assert_found(&Decides(cancel_forgets_units), late_message);
    assert_found(&Decides(timeout_leaks), "");
    assert_found(&Decides(late_charge_confirms), "");
    assert_found(&Decides(ignores_expected_total), "");
    assert_found(&SweeperIsSilent, "from this state not every order can end");
}

#[test]
fn every_bug_of_inventory_is_found() {
    assert_found(&NoTombstone, "its reservation is");
    assert_found(&OversellsByOne, "oversold");
    assert_found(&ChangesReserveAnswer, "");
}

#[test]
fn every_bug_of_payments_is_found() {
    // The search ends at the first violation: payments notices this bug itself.
    assert_found(&DecidesPayment(charges_again), "confirms another");
    assert_found(&DecidesPayment(refund_guesses), "");
    let contradiction = "another amount was charged";
    assert_found(&DecidesPayment(reports_another_amount), contradiction);
}
