//! The limits on failed logins and registrations: delays, parallel guesses, and the owner's access.

use futures_util::future::join_all;
use serde_json::json;
use shared_auth::Role;
use shared_lambda::http::{Request, Response};
use test_support::Fault;
use users::domain::Seed;
use users::domain::throttle::KNOWN_FOR;
use users::store::{Account, Counter, Source};
use users::tokens::RefreshToken;
use uuid::Uuid;

use crate::problems::{assert_problem, too_many_requests, unavailable};
use crate::world::{PASSWORD, REGISTRATIONS, World, with_body};

const EMAIL: &str = "ada@example.com";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";
const UNKNOWN: &str = "198.51.100.8";
const HOUR: i64 = 60 * 60;

fn registration(email: &str) -> Request {
    with_body(&json!({"email": email, "password": PASSWORD, "name": "Ada"}))
}

async fn log_in(world: &World, source: &str, email: &str, password: &str) -> Response {
    let body = json!({"email": email, "password": password});
    let request = with_body(&body).with_source_address(source);
    world.log_in(request).await
}

/// A login of [`EMAIL`] with the right password.
async fn own_login(world: &World, source: &str) -> Response {
    log_in(world, source, EMAIL, PASSWORD).await
}

async fn assert_logs_in(world: &World, source: &str) {
    assert_eq!(own_login(world, source).await.status, 200, "{source}");
}

fn assert_waits(response: &Response, seconds: u32) {
    assert_problem(response, &too_many_requests(seconds));
    let wait = seconds.to_string();
    assert_eq!(response.header("retry-after"), Some(wait.as_str()));
}

/// The seconds a login has to wait, if any.
fn wait_of(response: &Response) -> Option<i64> {
    match response.status {
        200 | 401 => None,
        429 => Some(response.header("retry-after").unwrap().parse().unwrap()),
        _ => panic!("{response:?}"),
    }
}

/// A world in which [`EMAIL`] is registered, and not known at any source with an address.
async fn registered() -> World {
    let world = World::new().await;
    world.registered(EMAIL).await;
    world
}

/// As [`registered`], and the account is known at [`HOME`].
async fn known_at_home() -> World {
    let world = registered().await;
    assert_logs_in(&world, HOME).await;
    world
}

/// Failed logins. All except the last are counted without the slow hashing.
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

/// Uses up the rate of [`EMAIL`] for unknown sources.
async fn use_up_rate(world: &World) {
    fail(world, ELSEWHERE, EMAIL, 10).await;
    fail(world, "203.0.113.9", EMAIL, 10).await;
}

/// Uses up the free attempts of a source on other accounts.
async fn use_up_source(world: &World, source: &str) {
    for n in 0..10 {
        fail(world, source, &format!("user{n}@example.com"), 10).await;
    }
}

/// The counts in the rows whose keys begin with `of`.
fn failures(world: &World, of: &str) -> Vec<u64> {
    let rows = world.aws.dump(&world.table);
    let prefix = format!("ATTEMPTS#{of}");
    let counted = rows
        .iter()
        .filter(|row| row["pk"].as_str().unwrap().starts_with(&prefix));
    counted.filter_map(|row| row["failures"].as_u64()).collect()
}

// ---- Accounts and sources

#[test]
fn an_account_ignores_spelling_and_a_source_is_a_network() {
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
async fn delays_grow_after_twenty_failures_on_an_account() {
    let world = registered().await;
    for email in [EMAIL, "nobody@example.com", "not an address"] {
        fail(&world, ELSEWHERE, email, 20).await;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            // The right password is refused too, and an early attempt adds no delay.
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
async fn failures_elsewhere_do_not_delay_a_known_owner() {
    let world = World::new().await;
    let request = registration(EMAIL).with_source_address("192.0.2.100");
    assert_eq!(world.register(request).await.status, 201);
    let homes = ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1"];
    for home in homes {
        assert_logs_in(&world, home).await;
    }
    world.pass(HOUR);
    for _ in 0..3 {
        use_up_rate(&world).await;
        assert_waits(&own_login(&world, UNKNOWN).await, 60);
        for home in homes.into_iter().chain(["192.0.2.100", "2001:db8:1:3::1"]) {
            assert_logs_in(&world, home).await;
        }
        // The owner's logins do not restore the rate for unknown sources.
        assert_waits(&own_login(&world, UNKNOWN).await, 60);
        world.pass(24 * HOUR);
    }
    // Failures at a known source delay that source alone.
    for _ in 0..20 {
        fail(&world, HOME, EMAIL, 1).await;
    }
    assert_waits(&own_login(&world, HOME).await, 1);
    assert_logs_in(&world, homes[1]).await;
    world.pass(1);
    assert_logs_in(&world, HOME).await;
    world.pass(HOUR);
    fail(&world, HOME, EMAIL, 19).await;
    assert_logs_in(&world, HOME).await;
}

#[tokio::test]
async fn a_source_waits_after_a_hundred_failures_on_all_accounts() {
    let world = known_at_home().await;
    for source in [HOME, ELSEWHERE] {
        use_up_source(&world, source).await;
        assert_waits(&log_in(&world, source, "bob@example.com", "wrong").await, 1);
    }
    // A neighbour's guesses do not delay a known owner, and the right password passes nowhere else.
    assert_logs_in(&world, HOME).await;
    let sessions = || {
        let mut rows = world.aws.dump(&world.table);
        rows.retain(|row| row["sk"] == "SESSION");
        rows.len()
    };
    let before = sessions();
    assert_waits(&own_login(&world, ELSEWHERE).await, 1);
    assert_eq!(sessions(), before);
    for wait in [1, 2, 4, 8, 16] {
        world.pass(wait);
        fail(&world, ELSEWHERE, "nobody@example.com", 1).await;
    }
    assert_waits(&own_login(&world, ELSEWHERE).await, 32);
    world.pass(300);
    assert_logs_in(&world, ELSEWHERE).await;
}

#[tokio::test]
async fn a_source_is_known_for_ninety_days_and_needs_an_address() {
    let world = known_at_home().await;
    world.pass(KNOWN_FOR.as_secs() - 1);
    use_up_rate(&world).await;
    assert_logs_in(&world, HOME).await;
    world.pass(KNOWN_FOR.as_secs());
    use_up_rate(&world).await;
    assert_waits(&own_login(&world, HOME).await, 60);
    world.pass(KNOWN_FOR.as_secs());

    let without_address = || with_body(&json!({"email": EMAIL, "password": PASSWORD}));
    assert_eq!(world.log_in(without_address()).await.status, 200);
    use_up_rate(&world).await;
    assert_waits(&world.log_in(without_address()).await, 60);
}

#[tokio::test]
async fn unknown_sources_share_a_rate_of_one_attempt_a_minute() {
    let world = registered().await;
    use_up_rate(&world).await;
    for source in [UNKNOWN, "198.51.100.9"] {
        assert_waits(&own_login(&world, source).await, 60);
    }
    world.pass(59);
    assert_waits(&own_login(&world, UNKNOWN).await, 1);
    world.pass(1);
    // A successful login uses up nothing.
    for source in ["198.51.100.9", UNKNOWN] {
        assert_logs_in(&world, source).await;
    }
    fail(&world, "198.51.100.10", EMAIL, 1).await;
    assert_waits(&own_login(&world, "198.51.100.11").await, 60);
    world.pass(20 * 60);
    use_up_rate(&world).await;
}

/// A login under way counts as failed until it succeeds.
#[tokio::test(start_paused = true)]
async fn eight_parallel_logins_succeed_after_four_failures() {
    for seed in 0..4 {
        for known in [false, true] {
            let world = match known {
                true => known_at_home().await,
                false => registered().await,
            };
            fail(&world, HOME, EMAIL, 4).await;
            world.aws.interleave(seed);
            let logins = (0..8).map(|_| own_login(&world, HOME));
            let statuses: Vec<u16> = join_all(logins).await.iter().map(|r| r.status).collect();
            assert_eq!(statuses, [200; 8], "seed {seed}, known {known}");
        }
    }
}

/// A neighbour in the owner's network must not learn which accounts are known there.
#[tokio::test]
async fn known_and_unknown_accounts_behave_alike_at_every_limit() {
    for source_is_used_up in [false, true] {
        let world = known_at_home().await;
        if source_is_used_up {
            use_up_source(&world, HOME).await;
        }
        let guess = async |email: &str| {
            let before = world.aws.calls().len();
            let response = log_in(&world, HOME, email, "not the password").await;
            let calls = world.aws.calls().split_off(before);
            let mut names: Vec<_> = calls.iter().map(|call| call.name().to_owned()).collect();
            names.sort();
            (response, names)
        };
        for n in 1..=24 {
            let known = guess(EMAIL).await;
            let unknown = guess("nobody@example.com").await;
            assert_eq!(known, unknown, "attempt {n}");
            let refused = source_is_used_up || n > 20;
            assert_eq!(wait_of(&known.0).is_some(), refused, "attempt {n}");
        }
    }
}

#[tokio::test]
async fn successful_logins_do_not_count() {
    let world = registered().await;
    for _ in 0..150 {
        assert_logs_in(&world, HOME).await;
    }
    fail(&world, HOME, EMAIL, 9).await;
    assert_logs_in(&world, HOME).await;
    world.pass(HOUR);
    fail(&world, HOME, EMAIL, 20).await;
}

#[tokio::test(start_paused = true)]
async fn of_42_parallel_guesses_20_are_checked() {
    for seed in 0..3 {
        for known in [false, true] {
            let world = match known {
                true => known_at_home().await,
                false => registered().await,
            };
            world.aws.interleave(seed);
            let guesses = (0..42).map(|n| {
                let unknown = format!("198.51.100.{}", n % 7);
                let (world, source) = (&world, if known { HOME.to_owned() } else { unknown });
                async move { log_in(world, &source, EMAIL, "not the password").await }
            });
            let answers = join_all(guesses).await;
            let checked = answers.iter().filter(|answer| wait_of(answer).is_none());
            assert_eq!(checked.count(), 20, "seed {seed}, known {known}");
        }
    }
}

/// The SDK would repeat an update whose answer is late, although the first may have taken effect.
#[tokio::test]
async fn an_attempt_whose_answer_is_lost_counts_once() {
    let world = World::that_loses_answers().await;
    for n in 1..=12 {
        fail(&world, HOME, "nobody@example.com", 1).await;
        assert_eq!(failures(&world, "SOURCE"), [n]);
        assert_eq!(failures(&world, "ACCOUNT"), [n]);
    }
    assert!(world.aws.fired() > 12);
}

/// All answers to counts are late, as while the table stands still for some seconds.
#[tokio::test(start_paused = true)]
async fn a_slow_table_does_not_delay_logins() {
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
            let logins = (0..7).map(|_| own_login(&world, HOME));
            let statuses: Vec<u16> = join_all(logins).await.iter().map(|r| r.status).collect();
            assert_eq!(statuses, [200; 7], "seed {seed}");
            // An attempt with an unknown outcome is not taken back.
            assert_eq!(failures(&world, "SOURCE"), [7 * round]);
        }
    }
}

#[tokio::test]
async fn an_attempt_is_undone_only_in_its_own_window() {
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
    let undo = |receipt| world.store.undo_attempt(&counter, receipt, world.now());
    undo(early).await.unwrap();
    assert_eq!(failures(&world, "SOURCE"), [3]);
    undo(late).await.unwrap();
    assert_eq!(failures(&world, "SOURCE"), [2]);
}

#[tokio::test]
async fn a_flood_from_unknown_sources_does_not_delay_a_known_one() {
    let world = known_at_home().await;
    // The flood makes DynamoDB throttle the shared rows.
    world.aws.on_call(|call| {
        let pk = call.request["Key"]["pk"]["S"].as_str().unwrap_or_default();
        let shared = pk.starts_with("ATTEMPTS#SOURCE") || pk.matches('#').count() == 2;
        let throttled = pk.starts_with("ATTEMPTS") && shared;
        std::future::ready(throttled.then_some(Fault::Throttle))
    });
    assert_logs_in(&world, HOME).await;
    assert_waits(&own_login(&world, ELSEWHERE).await, 1);
}

#[tokio::test]
async fn a_count_that_the_table_throttles_is_a_503() {
    let world = World::new().await;
    world.fault("UpdateItem", Fault::Throttle);
    assert_problem(&own_login(&world, HOME).await, &unavailable());
}

#[tokio::test]
async fn the_rows_of_counts_have_no_address_and_expire() {
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
async fn refused_refresh_tokens_wait_and_valid_ones_do_not() {
    let world = registered().await;
    let mut valid = world.session(EMAIL).await;
    let refresh = |token: String| {
        let request = with_body(&json!({"refresh_token": token}));
        let request = request.with_source_address(ELSEWHERE);
        world.call("POST /api/v1/auth/refresh", request)
    };
    for n in 0..100_u8 {
        let other = RefreshToken::first(Seed([100 + n; 32])).reveal();
        assert_eq!(refresh(other).await.status, 401, "{n}");
    }
    assert_waits(&refresh("nonsense".to_owned()).await, 1);
    for _ in 0..3 {
        let response = refresh(valid).await;
        assert_eq!(response.status, 200);
        valid = crate::world::refresh_token(&response);
    }
}

// ---- users-password

#[tokio::test]
async fn wrong_current_passwords_count_as_failed_logins() {
    let world = World::new().await;
    let user_id = world.registered(EMAIL).await;
    let change = || {
        let body = json!({"current_password": "a guess", "new_password": "another long password"});
        let request = world.request_of(user_id, Role::Customer);
        let request = request.with_source_address(ELSEWHERE);
        world.change_password(request.with_body(body.to_string()))
    };
    fail(&world, ELSEWHERE, EMAIL, 15).await;
    for _ in 0..5 {
        assert_eq!(change().await.status, 400);
    }
    assert_waits(&change().await, 1);
    assert_waits(&own_login(&world, HOME).await, 60);
}

// ---- users-register

#[tokio::test]
async fn all_valid_registrations_of_a_source_count() {
    let world = World::new().await;
    let register =
        |source: &str, email: &str| world.register(registration(email).with_source_address(source));
    assert_eq!(register(HOME, EMAIL).await.status, 201);
    for _ in 1..REGISTRATIONS {
        assert_eq!(register(HOME, EMAIL).await.status, 409);
    }
    for wait in [1, 2, 4, 8] {
        for email in [EMAIL, "bob@example.com"] {
            let calls = world.aws.calls().len();
            assert_waits(&register(HOME, email).await, wait);
            assert_eq!(world.aws.calls().len(), calls + 1, "only the count");
        }
        world.pass(i64::from(wait));
        assert_eq!(register(HOME, EMAIL).await.status, 409);
    }
    assert_waits(&register(HOME, "bob@example.com").await, 16);
    assert_eq!(register(ELSEWHERE, "bob@example.com").await.status, 201);
    // An invalid registration is not delayed, and neither are logins.
    let invalid = with_body(&json!({"email": EMAIL, "password": PASSWORD, "name": " "}));
    let invalid = invalid.with_source_address(HOME);
    assert_eq!(world.register(invalid).await.status, 400);
    assert_logs_in(&world, HOME).await;
    world.pass(HOUR);
    assert_eq!(register(HOME, "eve@example.com").await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn parallel_registrations_do_not_exceed_the_free_ones() {
    let world = registered().await;
    world.aws.interleave(1);
    let requests = (0..40).map(|_| world.register(registration(EMAIL)));
    let statuses: Vec<u16> = join_all(requests).await.iter().map(|r| r.status).collect();
    let of = |status: u16| statuses.iter().filter(|other| **other == status).count();
    let free = REGISTRATIONS as usize - 1;
    assert_eq!((of(409), of(429)), (free, 40 - free), "{statuses:?}");
}

#[tokio::test]
async fn a_registration_stands_if_its_source_is_not_stored() {
    let world = World::new().await;
    let request = registration(EMAIL).with_source_address(HOME);
    // The count, the registration, and then the source.
    world.aws.fault_at(2, Fault::Throttle);
    assert_eq!(world.register(request).await.status, 201);
    assert_eq!(world.aws.fired(), 1);
    assert_logs_in(&world, HOME).await;
}
