//! What of an order's timeline is everybody's to read.

use orders::domain::TimelineEvent;

#[test]
fn what_an_operator_did_is_told_apart_from_what_the_saga_did() {
    let by_operators: Vec<&str> = TimelineEvent::ALL
        .iter()
        .filter(|what| what.is_by_operator())
        .map(|what| what.as_str())
        .collect();
    assert_eq!(
        by_operators,
        ["retry_requested", "refund_abandoned", "release_abandoned"]
    );
}
