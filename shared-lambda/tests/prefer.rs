//! Preferences (RFC 7240).

use std::time::Duration;

use shared_lambda::http::{Request, Response};
use tokio::time::{Instant, sleep};

/// The wait that is applied, at most 20 seconds.
fn wait(header: &str) -> Option<String> {
    let request = Request::new().with_header("prefer", header);
    let wait = request.wait(Duration::from_secs(20))?;
    let answer = wait.applied(Response::empty(204));
    answer.header("preference-applied").map(str::to_owned)
}

#[test]
fn the_first_wait_of_the_header_counts() {
    for header in [
        "wait=10",
        "Wait = 10",
        "wait=\"10\"",
        "wait=10; foo=bar",
        "respond-async, wait=10",
        "wait=10, wait=20",
        "handling=lenient; x=\"a, wait=3\", wait=10",
        "foo=\"a\\\", wait=3\", wait=10",
        ", ,wait=10",
    ] {
        assert_eq!(wait(header).as_deref(), Some("wait=10"), "{header}");
    }
    assert_eq!(wait("wait=0").as_deref(), Some("wait=0"));
    for longer in ["wait=21", "wait=99999999999999999999999"] {
        assert_eq!(wait(longer).as_deref(), Some("wait=20"));
    }
}

#[test]
fn other_preferences_are_ignored() {
    for header in [
        "",
        "wait",
        "wait=",
        "wait=soon",
        "wait=-1",
        "wait=1.5",
        "waiting=3",
        "return=minimal",
        "\"wait=3",
    ] {
        assert_eq!(wait(header), None, "{header}");
    }
    assert!(Request::new().wait(Duration::MAX).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wait_begins_with_the_request_and_ends_with_its_time() {
    let began = Instant::now();
    let request = Request::new().with_header("prefer", "wait=3");
    let wait = request.wait(Duration::from_secs(20)).unwrap();
    wait.bound(async {}).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(2)).await;
    wait.bound(std::future::pending()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}
