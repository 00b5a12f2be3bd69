//! Guessing: how soon it is slowed down, that it cannot be raced, and that the owner gets in.

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared_auth::Role;
use shared_lambda::http::{Request, Response};
use test_support::Fault;
use users::domain::Seed;
use users::domain::throttle::{KNOWN_FOR, STRANGERS, registrations};
use users::store::{Account, Counted, Counter, Source};
use users::tokens::RefreshToken;
use uuid::Uuid;

use crate::handlers::{assert_problem, problem};
use crate::world::{PASSWORD, REGISTRATIONS, World, id, invalid, row, with_body};

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
        let known = world.store.standing(&account.at(&from)).await.unwrap();
        let mut counters = vec![account.at(&from)];
        if !known.is_known(now) {
            counters.push(Counter::source(&from));
            let place = world.store.take_place(&account, now, call).await.unwrap();
            assert_eq!(place.at, now, "{n}");
        }
        for counter in counters {
            let counted = world.store.count_try(&counter, now, call).await;
            assert!(matches!(counted, Ok(Counted::Admitted)), "{n}");
        }
    }
    let response = log_in(world, source, email, "not the password").await;
    assert_eq!(response.status, 401, "the last of {times} of {email}");
}

/// As many failures as an account lets strangers have at once, from one source and from others.
async fn crowd(world: &World, email: &str) {
    fail(world, ELSEWHERE, email, 5).await;
    fail(world, "203.0.113.9", email, 5).await;
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
async fn after_ten_failures_a_source_waits_longer_each_time_at_any_address_known_or_not() {
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
            // While its own waits are short, it waits for its turn among the strangers besides.
            if let Some(turn) = wait_of(&log_in(&world, ELSEWHERE, email, "wrong").await) {
                assert!(turn <= 60, "{turn}");
                world.pass(turn);
                fail(&world, ELSEWHERE, email, 1).await;
            }
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
    for _ in 0..10 {
        fail(&world, HOME, EMAIL, 1).await;
    }
    assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, 1);
    assert_eq!(log_in(&world, homes[1], EMAIL, PASSWORD).await.status, 200);
    world.pass(1);
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    fail(&world, HOME, EMAIL, 9).await;
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
    // The login was one of the ten.
    fail(&world, ELSEWHERE, EMAIL, 5).await;
    fail(&world, "203.0.113.9", EMAIL, 4).await;
    assert_waits(&world.log_in(nowhere()).await, 60);
}

#[tokio::test]
async fn a_strangers_place_is_its_own_and_good_for_one_try_within_an_hour() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    crowd(&world, EMAIL).await;
    assert_waits(&log_in(&world, "198.51.100.8", EMAIL, "wrong").await, 60);
    assert_waits(&log_in(&world, "198.51.100.9", EMAIL, "wrong").await, 120);
    world.pass(59);
    // Asking again moves nobody, and neither does somebody else's asking.
    for _ in 0..20 {
        assert_waits(&log_in(&world, "198.51.100.8", EMAIL, "wrong").await, 1);
    }
    assert_waits(&log_in(&world, "198.51.100.10", EMAIL, "wrong").await, 121);
    world.pass(1);
    fail(&world, "198.51.100.8", EMAIL, 1).await;
    // Spent: the next place is behind the others'.
    assert_waits(&log_in(&world, "198.51.100.8", EMAIL, PASSWORD).await, 180);
    world.pass(HOUR + 60);
    // In time, and too late by then.
    assert_eq!(
        log_in(&world, "198.51.100.8", EMAIL, PASSWORD).await.status,
        200
    );
    crowd(&world, EMAIL).await;
    assert_waits(&log_in(&world, "198.51.100.9", EMAIL, PASSWORD).await, 60);
}

/// Guessers who try as early as they may, and the owner at an address of their own among them: the
/// rate is bounded, and the owner is in after a wait that has an end from the first moment.
#[tokio::test]
async fn however_many_guess_without_end_the_owner_gets_in_from_a_new_address() {
    const ARRIVAL: i64 = 607;
    for (guessers, minutes, owners_wait) in [(1, 120, 60), (8, 60, 9 * 60), (90, 75, HOUR)] {
        let world = World::new().await;
        world.registered(EMAIL).await;
        let mut next = vec![0_i64; guessers];
        let (mut guesses, mut clock) = (0_i64, 0_i64);
        let (mut owner_at, mut asked, mut got_in) = (ARRIVAL, None, None);
        loop {
            let at = (*next.iter().min().unwrap()).min(owner_at);
            if at >= minutes * 60 {
                break;
            }
            world.pass(at - clock);
            clock = at;
            for (n, due) in next.iter_mut().enumerate() {
                while *due <= clock {
                    let source = format!("10.0.{}.{}", n / 200, n % 200);
                    let response = log_in(&world, &source, EMAIL, "a guess").await;
                    match wait_of(&response) {
                        Some(wait) => *due = clock + wait,
                        None => guesses += 1,
                    }
                }
            }
            // The owner comes last of all who come at once.
            if owner_at <= clock {
                let response = log_in(&world, HOME, EMAIL, PASSWORD).await;
                match wait_of(&response) {
                    Some(wait) => {
                        assert_eq!(asked, None, "told to wait twice, for {wait} s");
                        asked = Some(clock);
                        owner_at = clock + wait;
                    }
                    None => {
                        assert_eq!(response.status, 200);
                        got_in = Some(clock);
                        owner_at = i64::MAX;
                    }
                }
            }
        }
        let waited = got_in.expect("the owner is in") - asked.unwrap_or(ARRIVAL);
        println!(
            "{guessers} guessers: {guesses} guesses in {minutes} min; the owner waited {waited} s"
        );
        assert!(waited <= owners_wait, "{guessers} guessers: {waited} s");
        let most = STRANGERS.most_tries(guessers as i64, SignedDuration::from_mins(minutes));
        assert!(
            guesses <= most,
            "{guessers} guessers: {guesses}, not {most}"
        );
        // And the bound is not an idle one.
        assert!(guesses * 4 >= most || guessers == 1, "{guesses} of {most}");
    }
}

#[tokio::test]
async fn a_login_that_the_account_makes_wait_does_not_count_for_its_source() {
    let world = World::new().await;
    world.registered(EMAIL).await;
    let from = Counter::source(&Source::of(Some(HOME)));
    for n in 0..12 {
        let email = format!("user{n}@example.com");
        let (account, call) = (Account::of(&email), id(n));
        for _ in 0..10 {
            let place = world.store.take_place(&account, world.now(), call).await;
            assert_eq!(place.unwrap().at, world.now());
        }
        assert_waits(&log_in(&world, HOME, &email, "wrong").await, 60);
    }
    let tally = world.store.standing(&from).await.unwrap().tally.unwrap();
    assert_eq!(tally.failures, 0);
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
            async move { log_in(world, &source, EMAIL, "not the password").await }
        });
        let answers = join_all(guesses).await;
        let waits: Vec<i64> = answers.iter().filter_map(wait_of).collect();
        assert_eq!(waits.len(), 50, "seed {seed}");
        // Seven places at most are taken, whatever was asked for at once: the rest is given back.
        let next = wait_of(&log_in(&world, HOME, EMAIL, "wrong").await);
        assert!(next <= Some(8 * 60), "seed {seed}: {next:?}");
        // When all seven are due they are one guess each, however many come.
        world.pass(7 * 60);
        let again = (0..60).map(|n| {
            let source = format!("198.51.100.{}", n % 7);
            let world = &world;
            async move { log_in(world, &source, EMAIL, "wrong again").await }
        });
        let answers = join_all(again).await;
        let read = answers.iter().filter(|answer| wait_of(answer).is_none());
        let read = read.count();
        assert!((1..=7).contains(&read), "seed {seed}: {read}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_guesses_at_once_where_the_owner_is_known_are_ten_guesses() {
    for seed in 0..4 {
        let world = World::new().await;
        world.registered(EMAIL).await;
        assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
        world.aws.interleave(seed);
        let guesses = (0..40).map(|_| log_in(&world, HOME, EMAIL, "not the password"));
        let answers = join_all(guesses).await;
        let read = answers.iter().filter(|answer| wait_of(answer).is_none());
        assert_eq!(read.count(), 10, "seed {seed}");
    }
}

#[tokio::test]
async fn a_try_whose_answer_was_lost_is_counted_once_and_taken_back_once() {
    let world = World::that_loses_answers().await;
    world.registered(EMAIL).await;
    let from = Counter::source(&Source::of(Some(HOME)));
    let failures = async || {
        let tally = world.store.standing(&from).await.unwrap().tally;
        tally.unwrap().failures
    };
    // Somebody else's failures from there stay when the owner's try is taken back.
    for n in 1..=3 {
        fail(&world, HOME, "nobody@example.com", 1).await;
        assert_eq!(failures().await, n);
    }
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    assert_eq!(failures().await, 3);

    fail(&world, HOME, EMAIL, 9).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    fail(&world, HOME, EMAIL, 10).await;
    for wait in [1, 2, 4, 8] {
        assert_waits(&log_in(&world, HOME, EMAIL, PASSWORD).await, wait);
        world.pass(i64::from(wait));
        fail(&world, HOME, EMAIL, 1).await;
    }
    world.pass(24 * HOUR);
    fail(&world, HOME, EMAIL, 9).await;
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
    assert!(world.aws.fired() > 30);
}

#[tokio::test]
async fn however_many_tries_are_free_a_count_remembers_its_latest_calls() {
    let world = World::that_loses_answers().await;
    let counter = Counter::registrations(&Source::of(Some(HOME)), registrations(1000));
    for n in 1..=250_u32 {
        let call = Uuid::new_v4();
        let counted = world.store.count_try(&counter, world.now(), call).await;
        assert_eq!(counted.unwrap(), Counted::Admitted);
        let tally = world.store.standing(&counter).await.unwrap().tally;
        assert_eq!(tally.unwrap().failures, n);
        let row = row(&world.aws, &world.table, "ATTEMPTS");
        let remembered = row["calls"].as_array().unwrap().len();
        assert_eq!(remembered, (n as usize - 1) % 128 + 1, "after {n}");
    }
}

#[tokio::test]
async fn a_try_is_taken_back_from_the_window_it_was_counted_in_alone() {
    let world = World::new().await;
    let counter = Counter::source(&Source::of(Some(HOME)));
    let early = Uuid::new_v4();
    let count = |call| world.store.count_try(&counter, world.now(), call);
    assert_eq!(count(early).await.unwrap(), Counted::Admitted);
    world.pass(300);
    for _ in 0..3 {
        assert_eq!(count(Uuid::new_v4()).await.unwrap(), Counted::Admitted);
    }
    for _ in 0..2 {
        let taken = world.store.take_back_try(&counter, world.now(), early);
        taken.await.unwrap();
    }
    let tally = world.store.standing(&counter).await.unwrap().tally.unwrap();
    assert_eq!(tally.failures, 3);
    let row = row(&world.aws, &world.table, "ATTEMPTS");
    assert_eq!(row["calls"].as_array().unwrap().len(), 3);
}

/// The turn of an owner at a new address: it is theirs although the answer to using it was lost.
#[tokio::test]
async fn a_turn_is_used_once_however_often_that_is_asked_for() {
    let world = World::that_loses_answers().await;
    world.registered(EMAIL).await;
    let account = Account::of(EMAIL);
    while world
        .store
        .take_place(&account, world.now(), Uuid::new_v4())
        .await
        .unwrap()
        .at
        == world.now()
    {}
    let response = log_in(&world, HOME, EMAIL, PASSWORD).await;
    world.pass(wait_of(&response).expect("others were there first"));
    assert_eq!(log_in(&world, HOME, EMAIL, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_place_is_given_back_once_at_the_most() {
    let world = World::that_loses_answers().await;
    let account = Account::of(EMAIL);
    let take = || {
        world
            .store
            .take_place(&account, world.now(), Uuid::new_v4())
    };
    let mut place = take().await.unwrap();
    while place.at == world.now() {
        place = take().await.unwrap();
    }
    // The answer is lost, and it is not asked again.
    let given = world.store.give_place_back(&account, place, world.now());
    assert!(given.await.is_err());
    // The next takes what was given back, and, as its own answer is lost, one more.
    let next = take().await.unwrap();
    assert_eq!(next.at, place.at + STRANGERS.interval);
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
    // A try that came too early counted nowhere.
    for n in 0..90_u8 {
        let other = RefreshToken::first(Seed([100 + n; 32])).reveal();
        assert_eq!(refresh(other).await.status, 401, "{n}");
    }
    assert_waits(&refresh("nonsense".to_owned()).await, 1);
    // What the source makes wait does not count for the session.
    let another = RefreshToken::first(Seed([8; 32]));
    for _ in 0..20 {
        assert_waits(&refresh(another.reveal()).await, 1);
    }
    let session = Counter::session(another.session());
    let tally = world.store.standing(&session).await.unwrap().tally.unwrap();
    assert_eq!(tally.failures, 0);
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
    assert_problem(&response, &invalid(&[("/name", "is empty or only blanks")]));
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
