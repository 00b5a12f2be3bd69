//! Guessing: how soon it is slowed down, that it cannot be raced, and that the owner gets in.

use futures_util::future::join_all;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::{Request, Response};
use test_support::Fault;
use users::domain::Seed;
use users::domain::throttle::KNOWN_FOR;
use users::store::{Account, Counter, Source};
use users::tokens::RefreshToken;
use uuid::Uuid;

use crate::handlers::{assert_problem, problem, unavailable};
use crate::world::{PASSWORD, REGISTRATIONS, World, invalid, with_body};

const EMAIL: &str = "ada@example.com";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";
const HOUR: i64 = 60 * 60;

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
    let (account, from) = (Account::of(email), Source::of(Some(source)));
    for n in 1..times {
        let (now, call) = (world.now(), Uuid::new_v4());
        for counter in [account.at(&from), Counter::source(&from)] {
            let counted = world.store.count_attempt(&counter, now, call).await;
            assert!(matches!(counted, Ok(Ok(_))), "{n}");
        }
        let counted = world.store.use_rate(&account, now, call).await;
        assert!(matches!(counted, Ok(Ok(_))), "{n}");
    }
    let response = log_in(world, source, email, "not the password").await;
    assert_eq!(response.status, 401, "the last of {times} of {email}");
}

/// As many failures as an account lets strangers have at once, from one source and from others.
async fn crowd(world: &World, email: &str) {
    fail(world, ELSEWHERE, email, 10).await;
    fail(world, "203.0.113.9", email, 10).await;
}

/// What is counted in the rows whose keys begin so.
fn failures(world: &World, of: &str) -> Vec<u64> {
    let rows = world.aws.dump(&world.table);
    let counted = rows.iter().filter(|row| {
        let pk = row["pk"].as_str().unwrap();
        pk.strip_prefix("ATTEMPTS#")
            .is_some_and(|pk| pk.starts_with(of))
    });
    counted.filter_map(|row| row["failures"].as_u64()).collect()
}

/// How long a login has to wait, if it has to.
fn wait_of(response: &Response) -> Option<i64> {
    match response.status {
        200 | 401 => None,
        429 => Some(response.header("retry-after").unwrap().parse().unwrap()),
        _ => panic!("{response:?}"),
    }
}

fn assert_waits(response: &Response, seconds: u32) {
    assert_problem(response, &try_later(seconds));
    assert_eq!(
        response.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
}

// ---- What is counted together

#[test]
fn an_account_is_counted_however_its_address_is_written_and_a_source_by_its_network() {
    assert_eq!(Account::of(EMAIL), Account::of(" ADA@Example.COM\n"));
    assert_ne!(Account::of(EMAIL), Account::of("bob@example.com"));
    let same = |a, b| Source::of(Some(a)) == Source::of(Some(b));
    assert!(same("2001:db8:1:2::1", "2001:0db8:0001:ffff:ffff::9"));
    assert!(!same("2001:db8:1:2::1", "2001:db8:2:2::1"));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2"));
    assert_eq!(Source::of(None), Source::of(Some("nonsense")));
}

// ---- users-login

#[tokio::test]
async fn after_twenty_failures_a_source_waits_longer_each_time() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for email in [EMAIL, "nobody@example.com", "not an address"] {
        fail(&world, ELSEWHERE, email, 20).await;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            // The right password does not help before its time, nor does asking make it longer.
            for password in [PASSWORD, "not the password"] {
                let response = log_in(&world, ELSEWHERE, email, password).await;
                assert_waits(&response, wait);
            }
            world.pass(i64::from(wait));
            // The account's rate may refuse it besides.
            let response = log_in(&world, ELSEWHERE, email, "wrong").await;
            assert!(wait_of(&response).is_none_or(|wait| wait <= 60));
        }
    }
}

#[tokio::test]
async fn where_the_owner_has_been_others_failures_keep_nobody_waiting() {
    let world = World::new().await;
    let body = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    let registration = with_body(&body).with_source_address("192.0.2.100");
    assert_eq!(world.register(registration).await.status, 201);
    let homes = ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1"];
    for home in homes {
        assert_eq!(log_in(&world, home, EMAIL, PASSWORD).await.status, 200);
    }
    world.pass(HOUR);
    for _ in 0..3 {
        crowd(&world, EMAIL).await;
        assert_waits(&log_in(&world, "198.51.100.8", EMAIL, PASSWORD).await, 60);
        for home in homes.into_iter().chain(["192.0.2.100", "2001:db8:1:3::1"]) {
            assert_eq!(log_in(&world, home, EMAIL, PASSWORD).await.status, 200);
        }
        // That forgives nobody else.
        assert_waits(&log_in(&world, "198.51.100.8", EMAIL, PASSWORD).await, 60);
        world.pass(24 * HOUR);
    }
    // Whoever guesses from the owner's own place waits as well, and longer each time; the owner
    // goes on from any other.
    for _ in 0..20 {
        fail(&world, HOME, EMAIL, 1).await;
    }
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
    assert_eq!(log_in(&world, homes[1], EMAIL, PASSWORD).await.status, 200);
    world.pass(1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    world.pass(HOUR);
    fail(&world, HOME, EMAIL, 19).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn the_guesses_of_a_neighbour_do_not_keep_the_owner_out_either() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    for n in 0..10 {
        fail(&world, HOME, &format!("user{n}@example.com"), 10).await;
    }
    assert_waits(&log_in(&world, HOME, "bob@example.com", "wrong").await, 1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_place_is_forgotten_after_ninety_days_and_one_that_is_not_said_is_never_known() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    world.pass(KNOWN_FOR.as_secs() - 1);
    crowd(&world, EMAIL).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    world.pass(KNOWN_FOR.as_secs());
    crowd(&world, EMAIL).await;
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 60);
    world.pass(KNOWN_FOR.as_secs());

    let nowhere = || with_body(&json!({"email": EMAIL, "password": PASSWORD}));
    assert_eq!(world.log_in(nowhere()).await.status, 200);
    crowd(&world, EMAIL).await;
    assert_waits(&world.log_in(nowhere()).await, 60);
}

#[tokio::test]
async fn strangers_share_a_rate_of_one_try_a_minute() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    crowd(&world, EMAIL).await;
    for source in ["198.51.100.8", "198.51.100.9"] {
        assert_waits(&log_in(&world, source, EMAIL, PASSWORD).await, 60);
    }
    world.pass(59);
    assert_waits(&log_in(&world, "198.51.100.8", EMAIL, PASSWORD).await, 1);
    world.pass(1);
    // Whoever comes first gets it, and one that succeeds uses up nothing.
    for source in ["198.51.100.9", "198.51.100.8"] {
        let response = log_in(&world, source, EMAIL, PASSWORD).await;
        assert_eq!(response.status, 200, "{source}");
    }
    fail(&world, "198.51.100.10", EMAIL, 1).await;
    assert_waits(&log_in(&world, "198.51.100.11", EMAIL, PASSWORD).await, 60);
    world.pass(20 * 60);
    crowd(&world, EMAIL).await;
}

/// Tries that are under way count until it is known that they succeed.
#[tokio::test(start_paused = true)]
async fn eight_right_logins_at_once_succeed_after_four_wrong_ones() {
    for seed in 0..4 {
        for known in [false, true] {
            let world = World::new().await;
            world.registered(EMAIL).await;
            if known {
                assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
            }
            fail(&world, HOME, EMAIL, 4).await;
            world.aws.interleave(seed);
            let logins = (0..8).map(|_| log_in(&world, HOME, EMAIL, PASSWORD));
            let statuses: Vec<u16> = join_all(logins).await.iter().map(|r| r.status).collect();
            assert_eq!(statuses, [200; 8], "seed {seed}, known {known}");
        }
    }
}

/// Whoever shares a network with an owner must not learn who is known there.
#[tokio::test]
async fn known_and_unknown_addresses_are_alike_at_every_limit() {
    for source_is_spent in [false, true] {
        let world = World::new().await;
        world.registered(EMAIL).await;
        assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
        if source_is_spent {
            for n in 0..10 {
                fail(&world, HOME, &format!("user{n}@example.com"), 10).await;
            }
        }
        let ask = async |email: &str| {
            let before = world.aws.calls().len();
            let response = log_in(&world, HOME, email, "not the password").await;
            let calls = world.aws.calls().split_off(before);
            let mut names: Vec<_> = calls.iter().map(|call| call.name().to_owned()).collect();
            names.sort();
            (response, names)
        };
        for n in 1..=24 {
            let known = ask(EMAIL).await;
            let unknown = ask("nobody@example.com").await;
            assert_eq!(known, unknown, "try {n}");
            let refused = source_is_spent || n > 20;
            assert_eq!(wait_of(&known.0).is_some(), refused, "try {n}");
        }
    }
}

#[tokio::test]
async fn past_a_limit_the_right_password_helps_no_stranger() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    for n in 0..10 {
        fail(&world, HOME, &format!("user{n}@example.com"), 10).await;
    }
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
    let rows = world.aws.dump(&world.table);
    assert!(rows.iter().all(|row| row["sk"] != "SESSION"));
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
    world.pass(HOUR);
    fail(&world, HOME, EMAIL, 20).await;
}

#[tokio::test(start_paused = true)]
async fn any_number_of_guesses_at_once_are_twenty_guesses() {
    for seed in 0..3 {
        for known in [false, true] {
            let world = World::new().await;
            world.registered(EMAIL).await;
            if known {
                assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
            }
            world.aws.interleave(seed);
            let guesses = (0..42).map(|n| {
                let strangers = format!("198.51.100.{}", n % 7);
                let (world, source) = (&world, if known { HOME.to_owned() } else { strangers });
                async move { log_in(world, &source, EMAIL, "not the password").await }
            });
            let answers = join_all(guesses).await;
            let read = answers.iter().filter(|answer| wait_of(answer).is_none());
            assert_eq!(read.count(), 20, "seed {seed}, known {known}");
        }
    }
}

/// The SDK repeats an update whose answer is late, though the first may have been made.
#[tokio::test]
async fn a_try_whose_answer_is_lost_is_counted_once() {
    let world = World::that_loses_answers().await;
    for n in 1..=12 {
        fail(&world, HOME, "nobody@example.com", 1).await;
        assert_eq!(failures(&world, "SOURCE"), [n]);
        assert_eq!(failures(&world, "ACCOUNT"), [n]);
    }
    assert!(world.aws.fired() > 12);
}

/// The answers of counts come too late, as while the table stands still for some seconds.
#[tokio::test(start_paused = true)]
async fn logins_in_a_slow_moment_are_not_made_to_wait() {
    for seed in 0..4 {
        let world = World::asking(2).await;
        world.registered(EMAIL).await;
        world.aws.interleave(seed);
        world.aws.on_call(|call| {
            let expression = call.request["UpdateExpression"]
                .as_str()
                .unwrap_or_default();
            let counts = [":one", ":spent", "+ :interval"];
            let counts = counts.iter().any(|count| expression.contains(count));
            std::future::ready(counts.then_some(Fault::AfterEffect))
        });
        for round in 1..=2 {
            let logins = (0..7).map(|_| log_in(&world, HOME, EMAIL, PASSWORD));
            let statuses: Vec<u16> = join_all(logins).await.iter().map(|r| r.status).collect();
            assert_eq!(statuses, [200; 7], "seed {seed}");
            // Whether they were counted was not known, so they are not taken back.
            assert_eq!(failures(&world, "SOURCE"), [7 * round]);
        }
    }
}

#[tokio::test]
async fn a_try_is_taken_back_from_its_own_window_alone() {
    let world = World::new().await;
    let counter = Counter::source(&Source::of(Some(HOME)));
    let count = async || {
        let counted = world
            .store
            .count_attempt(&counter, world.now(), Uuid::new_v4());
        counted.await.unwrap().unwrap()
    };
    let early = count().await;
    world.pass(300);
    let mut late = count().await;
    for _ in 0..2 {
        late = count().await;
    }
    let take_back = |receipt| world.store.undo_attempt(&counter, receipt, world.now());
    take_back(early).await.unwrap();
    assert_eq!(failures(&world, "SOURCE"), [3]);
    take_back(late).await.unwrap();
    assert_eq!(failures(&world, "SOURCE"), [2]);
}

#[tokio::test]
async fn a_flood_of_strangers_does_not_hold_a_known_owner_up() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    // The rows that all share are asked for so often that the table throttles them.
    world.aws.on_call(|call| {
        let pk = call.request["Key"]["pk"]["S"].as_str().unwrap_or_default();
        let shared = pk.starts_with("ATTEMPTS#SOURCE") || pk.matches('#').count() == 2;
        let throttled = pk.starts_with("ATTEMPTS") && shared;
        std::future::ready(throttled.then_some(Fault::Throttle))
    });
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    assert_waits(&log_in(&world, ELSEWHERE, EMAIL, PASSWORD).await, 1);
}

#[tokio::test]
async fn a_table_that_refuses_a_count_is_unavailable() {
    let world = World::new().await;
    world.aws.fault_on("dynamodb:UpdateItem", Fault::Throttle);
    let response = log_in(&world, HOME, EMAIL, PASSWORD).await;
    assert_problem(&response, &unavailable());
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
    // The account's, the source's, and the account's at the source.
    assert_eq!(rows.len(), 3);
    for row in rows {
        let text = row.to_string();
        assert!(!text.contains("ada") && !text.contains(HOME), "{text}");
        assert!(row["expires_at"].as_i64().unwrap() > world.now().as_second());
    }
}

// ---- users-refresh

#[tokio::test]
async fn refused_tokens_wait_by_source_and_good_ones_never() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    let mut good = world.session(EMAIL).await;
    let refresh = |token: String| {
        world.refresh(with_body(&json!({"refresh_token": token})).with_source_address(ELSEWHERE))
    };
    for n in 0..100_u8 {
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
    fail(&world, ELSEWHERE, EMAIL, 15).await;
    for _ in 0..5 {
        assert_eq!(change().await.status, 400);
    }
    assert_waits(&change().await, 1);
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 60);
}

// ---- users-register

#[tokio::test]
async fn registrations_of_a_source_are_slowed_down_whatever_becomes_of_them() {
    let world = World::new().await;
    let register = |source: &str, email: &str| {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ada"});
        world.register(with_body(&body).with_source_address(source))
    };
    assert_eq!(register(HOME, EMAIL).await.status, 201);
    for _ in 1..REGISTRATIONS {
        // Whether somebody has an address is asked as dearly.
        assert_eq!(register(HOME, EMAIL).await.status, 409);
    }
    for wait in [1, 2, 4, 8] {
        for email in [EMAIL, "bob@example.com"] {
            let calls = world.aws.calls().len();
            assert_waits(&register(HOME, email).await, wait);
            assert_eq!(world.aws.calls().len(), calls + 1, "nothing but the count");
        }
        world.pass(i64::from(wait));
        assert_eq!(register(HOME, EMAIL).await.status, 409);
    }
    assert_waits(&register(HOME, "bob@example.com").await, 16);
    assert_eq!(register(ELSEWHERE, "bob@example.com").await.status, 201);
    // What is wrong in form costs nothing and tells nothing.
    let wrong = with_body(&json!({"email": EMAIL, "password": PASSWORD, "name": " "}));
    let response = world.register(wrong.with_source_address(HOME)).await;
    assert_problem(
        &response,
        &invalid(&[("/name", "is empty or has only spaces; send a name")]),
    );
    // Nor does it keep anybody there from logging in.
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    world.pass(HOUR);
    assert_eq!(register(HOME, "eve@example.com").await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn registrations_at_once_are_no_more_than_are_free() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    world.aws.interleave(1);
    let body = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    let requests = (0..40).map(|_| world.register(with_body(&body)));
    let statuses: Vec<u16> = join_all(requests).await.iter().map(|r| r.status).collect();
    let done = statuses.iter().filter(|status| **status == 409).count();
    assert_eq!(done, REGISTRATIONS as usize - 1, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [409, 429].contains(status)),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_registration_stands_although_its_source_could_not_be_written_down() {
    let world = World::new().await;
    let body = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    let request = || with_body(&body).with_source_address(HOME);
    // The count, the registration, and then this.
    world.aws.fault_at(2, Fault::Throttle);
    assert_eq!(world.register(request()).await.status, 201);
    assert_eq!(world.aws.fired(), 1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
}
