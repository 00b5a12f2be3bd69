//! Guessing: how soon it is slowed down, that it cannot be raced, and that the owner gets in.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::{Request, Response};
use users::domain::Seed;
use users::domain::throttle::{ACCOUNT, SOURCE, Tally, TooEarly};
use users::store::{Counted, Counter, Source};
use users::tokens::RefreshToken;

use crate::handlers::{assert_problem, problem};
use crate::world::{PASSWORD, World, id, now, with_body};

const EMAIL: &str = "ada@example.com";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";

fn try_later(seconds: u32) -> Value {
    problem(
        429,
        "too-many-requests",
        "Too many requests",
        &format!("try again in {seconds} seconds"),
    )
}

fn login_from(source: &str, email: &str, password: &str) -> Request {
    with_body(&json!({"email": email, "password": password})).with_source_address(source)
}

async fn log_in(world: &World, source: &str, email: &str, password: &str) -> Response {
    world.log_in(login_from(source, email, password)).await
}

/// Failed logins. All but the last are counted without hashing anything, which takes long.
async fn fail(world: &World, source: &str, email: &str, times: usize) {
    for n in 1..times {
        let from = Source::of(Some(source));
        for counter in [Counter::source(&from), Counter::account(email)] {
            let counted = world
                .store
                .count_try(&counter, &from, world.now(), id(n as u64));
            assert!(matches!(counted.await, Ok(Counted::Admitted(_))), "{n}");
        }
    }
    let response = log_in(world, source, email, "not the password").await;
    assert_eq!(response.status, 401, "the last of {times} of {email}");
}

fn assert_waits(response: &Response, seconds: u32) {
    assert_problem(response, &try_later(seconds));
    assert_eq!(
        response.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
}

// ---- The policy

#[test]
fn delays_double_from_a_second_and_end_at_the_longest() {
    let waits: Vec<i64> = (0..24).map(|n| ACCOUNT.delay(n).as_secs()).collect();
    let mut expected = vec![0; 10];
    expected.extend([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
    assert_eq!(waits, expected);
    assert_eq!(ACCOUNT.delay(u32::MAX), SignedDuration::from_mins(15));
    assert_eq!(SOURCE.delay(99), SignedDuration::ZERO);
    assert_eq!(SOURCE.delay(100), SignedDuration::from_secs(1));
    assert_eq!(SOURCE.delay(u32::MAX), SignedDuration::from_mins(15));
}

fn tally(failures: u32, since: Timestamp, last: Timestamp) -> Tally {
    Tally {
        failures,
        since,
        last,
    }
}

#[test]
fn a_try_too_early_is_told_how_long_to_wait_in_whole_seconds() {
    let before = tally(12, now(), now());
    let at = |millis| now() + SignedDuration::from_millis(millis);
    let early = |wait_seconds| Err(TooEarly { wait_seconds });
    assert_eq!(ACCOUNT.admit(Some(&before), at(0)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(1)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3000)), early(1));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3999)), early(1));
    let after = tally(13, now(), at(4000));
    assert_eq!(ACCOUNT.admit(Some(&before), at(4000)), Ok(after));
}

#[test]
fn the_count_begins_anew_when_its_window_is_over() {
    let since = now();
    let end = since + SOURCE.window;
    let moment = SignedDuration::from_millis(1);
    let before = tally(50, since, since);
    let within = SOURCE.admit(Some(&before), end - moment).unwrap();
    assert_eq!((within.failures, within.since), (51, since));
    let anew = SOURCE.admit(Some(&before), end).unwrap();
    assert_eq!((anew.failures, anew.since), (1, end));
    assert_eq!(SOURCE.admit(None, end), Ok(anew));
}

proptest! {
    #[test]
    fn nobody_waits_longer_than_the_longest_delay_and_the_free_tries_wait_never(
        failures in any::<u32>(),
        since in 0..100_000_i64,
        ago in 0..100_000_i64,
    ) {
        for policy in [ACCOUNT, SOURCE] {
            let last = now() - SignedDuration::from_secs(ago);
            let before = tally(failures, last - SignedDuration::from_secs(since), last);
            match policy.admit(Some(&before), now()) {
                Ok(after) => {
                    prop_assert!(after.failures == 1 || after.failures == failures.saturating_add(1));
                    prop_assert_eq!(after.last, now());
                }
                Err(TooEarly { wait_seconds }) => {
                    prop_assert!(failures >= policy.free);
                    prop_assert!(1 <= wait_seconds);
                    prop_assert!(i64::from(wait_seconds) <= policy.longest.as_secs());
                }
            }
        }
    }
}

// ---- What is counted together

#[test]
fn an_account_is_counted_however_its_address_is_written_and_a_source_by_its_network() {
    assert_eq!(
        Counter::account(EMAIL),
        Counter::account(" ADA@Example.COM\n")
    );
    assert_ne!(Counter::account(EMAIL), Counter::account("bob@example.com"));
    let same = |a, b| Source::of(Some(a)) == Source::of(Some(b));
    assert!(same("2001:db8:1:2::1", "2001:0db8:0001:0002:ffff::9"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
    assert_eq!(Source::of(None), Source::of(Some("nonsense")));
}

// ---- users-login

#[tokio::test]
async fn after_ten_failures_an_account_waits_longer_each_time_whether_or_not_it_exists() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for email in [EMAIL, "nobody@example.com", "not an address"] {
        fail(&world, ELSEWHERE, email, 10).await;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            // The right password does not help before its time, nor does asking make it longer.
            for password in [PASSWORD, "not the password"] {
                let response = log_in(&world, ELSEWHERE, email, password).await;
                assert_waits(&response, wait);
            }
            world.pass(i64::from(wait));
            fail(&world, ELSEWHERE, email, 1).await;
        }
    }
}

#[tokio::test]
async fn the_owner_gets_in_after_the_wait_and_is_forgiven() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for _ in 0..3 {
        fail(&world, ELSEWHERE, EMAIL, 10).await;
        assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
        world.pass(1);
        // From another place each time, so that none is known from before.
        assert_eq!(log_in(&world, ELSEWHERE, EMAIL, PASSWORD).await.status, 200);
        world.pass(400);
    }
}

#[tokio::test]
async fn others_failures_do_not_keep_the_owner_out_where_they_have_been_before() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    for _ in 0..3 {
        fail(&world, ELSEWHERE, EMAIL, 10).await;
        assert_waits(&log_in(&world, ELSEWHERE, EMAIL, PASSWORD).await, 1);
        for _ in 0..3 {
            assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
        }
        // That forgives nobody else.
        assert_waits(&log_in(&world, ELSEWHERE, EMAIL, PASSWORD).await, 1);
        world.pass(24 * 60 * 60);
    }
    // Whoever guesses from the owner's own place waits as well.
    fail(&world, ELSEWHERE, EMAIL, 10).await;
    for _ in 0..10 {
        fail(&world, HOME, EMAIL, 1).await;
    }
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
    world.pass(1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_source_waits_after_a_hundred_failures_whatever_it_tries() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for n in 0..10 {
        fail(&world, ELSEWHERE, &format!("user{n}@example.com"), 10).await;
    }
    let first = || login_from(ELSEWHERE, EMAIL, PASSWORD);
    assert_waits(&world.log_in(first()).await, 1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    for wait in [1, 2, 4, 8, 16] {
        world.pass(wait);
        fail(&world, ELSEWHERE, "nobody@example.com", 1).await;
    }
    assert_waits(&world.log_in(first()).await, 32);
    world.pass(300);
    assert_eq!(world.log_in(first()).await.status, 200);
}

#[tokio::test]
async fn those_who_log_in_are_not_counted_however_many_share_a_source() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for n in 0..150 {
        let status = log_in(&world, HOME, EMAIL, PASSWORD).await.status;
        assert_eq!(status, 200, "login {n}");
    }
    fail(&world, HOME, EMAIL, 9).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    fail(&world, HOME, EMAIL, 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_guesses_at_once_are_ten_guesses() {
    for seed in 0..4 {
        let world = World::new().await;
        world.registered(EMAIL).await;
        world.aws.interleave(seed);
        let guesses = (0..60).map(|n| {
            let source = format!("198.51.100.{}", n % 7);
            let world = &world;
            async move {
                log_in(world, &source, EMAIL, "not the password")
                    .await
                    .status
            }
        });
        let statuses = join_all(guesses).await;
        let read = statuses.iter().filter(|status| **status == 401).count();
        let early = statuses.iter().filter(|status| **status == 429).count();
        assert_eq!((read, early), (10, 50), "seed {seed}");
        // At the end of the wait it is one, however many come.
        world.pass(1);
        let again = (0..20).map(|_| log_in(&world, ELSEWHERE, EMAIL, "wrong again"));
        let statuses: Vec<u16> = join_all(again).await.iter().map(|r| r.status).collect();
        let read = statuses.iter().filter(|status| **status == 401).count();
        assert_eq!(read, 1, "seed {seed}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_shape_is_no_try() {
    let world = World::new().await;
    for _ in 0..20 {
        let body = json!({"email": EMAIL, "password": 7});
        assert_eq!(world.log_in(with_body(&body)).await.status, 400);
    }
    assert!(world.aws.calls().is_empty());
}

#[tokio::test]
async fn the_rows_of_the_counts_name_nobody_and_run_out() {
    let world = World::new().await;
    fail(&world, HOME, EMAIL, 1).await;
    let rows = world.aws.dump(&world.table);
    assert_eq!(rows.len(), 2);
    for row in rows {
        let text = row.to_string();
        assert!(!text.contains("ada") && !text.contains(HOME), "{text}");
        assert!(row["expires_at"].as_i64().unwrap() > world.now().as_second());
    }
}

// ---- users-refresh

#[tokio::test]
async fn refusals_of_a_session_and_of_a_source_are_slowed_down_and_good_tokens_never() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    let mut good = world.session(EMAIL).await;
    let refresh = |token: String| {
        world.refresh(with_body(&json!({"refresh_token": token})).with_source_address(ELSEWHERE))
    };
    let dead = RefreshToken::first(Seed([9; 32])).reveal();
    for _ in 0..10 {
        assert_eq!(refresh(dead.clone()).await.status, 401);
    }
    assert_waits(&refresh(dead.clone()).await, 1);
    for n in 0..89_u8 {
        let other = RefreshToken::first(Seed([100 + n; 32])).reveal();
        assert_eq!(refresh(other).await.status, 401, "{n}");
    }
    assert_waits(&refresh("nonsense".to_owned()).await, 1);
    for _ in 0..3 {
        let response = refresh(good).await;
        assert_eq!(response.status, 200);
        good = crate::world::refresh_token(&response);
    }
}

// ---- users-password

#[tokio::test]
async fn guesses_at_the_current_password_are_counted_with_those_at_the_login() {
    let world = World::new().await;
    let user_id = world.registered(EMAIL).await;
    let change = || {
        let body = json!({"current_password": "a guess", "new_password": "another long password"});
        world.change_password(
            world
                .request_of(user_id, Role::Customer)
                .with_source_address(ELSEWHERE)
                .with_body(body.to_string()),
        )
    };
    fail(&world, ELSEWHERE, EMAIL, 5).await;
    for _ in 0..5 {
        assert_eq!(change().await.status, 400);
    }
    assert_waits(&change().await, 1);
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
}
