//! The time, ids and trace of a call.

use shared_lambda::Origin;
use uuid::Uuid;

use crate::{FIRST_ID, now, origin};

const BROUGHT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn a_call_gets_the_time_a_fresh_id_and_a_new_trace() {
    let context = origin().context(None);
    assert_eq!(context.now, now());
    assert_eq!(context.fresh_id, Uuid::from_u128(FIRST_ID));
    assert_eq!(
        context.traceparent,
        "00-01900000000070008000000000000002-8000000000000001-01"
    );
    assert_eq!(context.trace_id(), "01900000000070008000000000000002");
}

#[test]
fn time_has_milliseconds() {
    let origin = Origin::new(
        || "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
        Uuid::nil,
    );
    let expected = "2026-03-01T12:00:00.123Z".parse().unwrap();
    assert_eq!(origin.context(None).now, expected);
}

#[test]
fn a_callers_trace_continues_in_a_new_span() {
    let context = origin().context(Some(BROUGHT));
    assert_eq!(
        context.traceparent,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-8000000000000001-00"
    );
    assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn a_trace_of_a_later_version_is_continued() {
    let later = format!("cc{}-what-the-future-brings", &BROUGHT[2..]);
    let context = origin().context(Some(&later));
    assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn a_malformed_trace_is_replaced_by_a_new_one() {
    let malformed = [
        "",
        "-",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-grüngrüngrüngrüngrüngrüngrün-00f067aa0ba902b7-01",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    for traceparent in malformed {
        assert_eq!(
            origin().context(Some(traceparent)),
            origin().context(None),
            "{traceparent:?}"
        );
    }
}

#[test]
fn the_systems_origin_never_repeats_an_id() {
    let origin = Origin::system();
    let (one, two) = (origin.context(None), origin.context(None));
    assert_ne!(one.fresh_id, two.fresh_id);
    assert_ne!(one.trace_id(), two.trace_id());
    assert_eq!(one.fresh_id.get_version_num(), 7);
}
