//! The injected fault of a step, and its duration.

use orders::domain::{
    Command, Ending, Event, Fault, InjectedFaults, MAX_ATTEMPTS, Order, State, TimelineEvent, owed,
    owed_fault, place,
};

use super::advanced;
use crate::samples::{STATES, TIMEOUT, after, draft, order_in, start};

pub fn order_with_faults(state: State, faults: &str) -> Order {
    let mut order = order_in(state);
    order.faults = Some(InjectedFaults::parse(faults).unwrap());
    order
}

#[test]
fn faults_have_one_canonical_form() {
    for text in [
        "reserve_stock=fail, charge_payment=lost_reply_once",
        "charge_payment=lost_reply_once,reserve_stock=fail",
        "  charge_payment=lost_reply_once ,\treserve_stock=fail ",
    ] {
        let read = InjectedFaults::parse(text).unwrap();
        assert_eq!(
            read.to_string(),
            "reserve_stock=fail, charge_payment=lost_reply_once"
        );
        assert_eq!(InjectedFaults::parse(&read.to_string()), Ok(read));
    }
    for step in Command::all() {
        for fault in Fault::ALL {
            let text = format!("{}={}", step.action().name, fault.as_str());
            let read = InjectedFaults::parse(&text).unwrap();
            assert_eq!(read.faults().collect::<Vec<_>>(), [(step, *fault)]);
            for other in Command::all() {
                let expected = (other == step).then_some(*fault);
                assert_eq!(read.fault_of(other), expected);
            }
        }
    }
}

#[test]
fn an_older_row_is_read_without_its_retired_fault() {
    let read =
        |text| InjectedFaults::from_record(text).map(|read| read.map(|read| read.to_string()));
    let kept = "reserve_stock=fail, release_stock=timeout".to_owned();
    let row = "reserve_stock=fail, charge_payment=answer_twice, release_stock=timeout";
    assert_eq!(read(row), Ok(Some(kept)));
    assert_eq!(read("charge_payment=answer_twice"), Ok(None));
    assert!(read("charge_payment=explode").is_err());
    assert!(InjectedFaults::parse("charge_payment=answer_twice").is_err());
}

#[test]
fn an_invalid_text_gets_the_grammar() {
    for text in [
        "",
        " ",
        ",",
        "fail",
        "charge_payment",
        "charge_payment=",
        "=fail",
        "charge_payment=explode",
        "charge_card=fail",
        "charge_payment=fail,",
        "charge_payment = fail",
        "Charge_Payment=fail",
        "charge_payment=fail;reserve_stock=fail",
        "charge_payment=fail=fail",
    ] {
        let error = InjectedFaults::parse(text).unwrap_err().to_string();
        for known in [
            "charge_payment=lost_reply_once",
            "release_stock",
            "timeout_once",
        ] {
            assert!(error.contains(known), "{text:?}: {error}");
        }
    }
    let twice = InjectedFaults::parse("charge_payment=fail, charge_payment=fail").unwrap_err();
    assert_eq!(
        twice.to_string(),
        "names charge_payment twice; a step has one fault"
    );
}

#[test]
fn a_fault_affects_its_step_and_attempts_only() {
    for state in STATES {
        for step in Command::all() {
            for fault in Fault::ALL {
                let faults = format!("{}={}", step.action().name, fault.as_str());
                let mut order = order_with_faults(state, &faults);
                for attempt in 1..=MAX_ATTEMPTS + 2 {
                    order.attempt = attempt;
                    order.parked = attempt > MAX_ATTEMPTS;
                    let always = !fault.as_str().ends_with("_once");
                    let here = state.command() == Some(step);
                    let expected = (here && (always || attempt == 1)).then_some(*fault);
                    assert_eq!(owed_fault(&order), expected, "{state:?} {faults} {attempt}");
                }
            }
        }
        assert_eq!(owed_fault(&order_in(state)), None);
    }
}

#[test]
fn an_operators_retry_ends_the_faults() {
    for state in [
        State::Refunding(Ending::Cancelled),
        State::Releasing(Ending::Rejected),
    ] {
        let mut order = order_with_faults(state, "refund_payment=fail, release_stock=timeout");
        (order.attempt, order.parked) = (MAX_ATTEMPTS + 1, true);
        assert!(owed_fault(&order).is_some());
        let by = "olga".to_owned();
        let retried = advanced(&order, &Event::RetryRequested { by }, after(9)).unwrap();
        assert_eq!(owed(&retried), owed(&order));
        assert_eq!(owed_fault(&retried), None);
        assert_eq!(retried.faults, order.faults);
    }
}

#[test]
fn the_timeline_begins_with_the_faults() {
    let mut draft = draft(1);
    draft.faults = Some(InjectedFaults::parse("release_stock=fail,charge_payment=fail").unwrap());
    let order = place(draft, true, TIMEOUT, start());
    let entries: Vec<_> = order
        .timeline
        .iter()
        .map(|entry| (entry.event, entry.detail.as_deref()))
        .collect();
    assert_eq!(
        entries[..3],
        [
            (TimelineEvent::OrderPlaced, None),
            (
                TimelineEvent::FaultsInjected,
                Some("charge_payment=fail, release_stock=fail")
            ),
            (TimelineEvent::UserVerified, None),
        ]
    );
}
