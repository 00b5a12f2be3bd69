//! The timeline events whose details customers may not read.

use orders::domain::TimelineEvent;

#[test]
fn operators_events_are_known() {
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
