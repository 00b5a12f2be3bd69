//! Refresh tokens that are lost, repeated, raced or stolen.

use futures_util::future::join_all;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared_auth::Role as TokenRole;
use shared_lambda::http::Response;
use test_support::Fault;
use users::domain::{GRACE, IDLE_LIFETIME, Seed, Session, Verdict};
use users::store::Changed;
use users::tokens::RefreshToken;

use crate::problems::{assert_problem, invalid_refresh_token, unavailable};
use crate::world::{PASSWORD, World, body_of, id, refresh_token, row, with_body};

const EMAIL: &str = "ada@example.com";

fn sessions(world: &World) -> Vec<Value> {
    let mut rows = world.aws.dump(&world.table);
    rows.retain(|row| row["sk"] == "SESSION");
    rows
}

// ---- The token

#[test]
fn a_token_has_64_characters_and_one_spelling() {
    let token = RefreshToken::first(Seed([1; 32]));
    let text = token.reveal();
    assert_eq!(text.len(), 64);
    assert_eq!(RefreshToken::parse(&text), Some(token.clone()));
    assert_eq!(format!("{token:?}"), "RefreshToken");
    assert_eq!(format!("{:?}", Seed([1; 32])), "Seed");
    for wrong in [
        String::new(),
        text[..63].to_owned(),
        format!("{text}="),
        format!("{text}A"),
        format!("{text}AAAA"),
        format!(" {text}"),
        format!("{text}\n"),
        text.replace(&text[10..11], "+"),
        text.replace(&text[10..11], "é"),
        "eyJhbGciOiJFUzI1NiJ9.e30.c2ln".to_owned(),
        "A".repeat(100_000),
    ] {
        assert_eq!(RefreshToken::parse(&wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_successor_depends_on_the_token_and_the_seed() {
    let first = RefreshToken::first(Seed([1; 32]));
    let other = RefreshToken::first(Seed([2; 32]));
    assert_ne!(first.session(), other.session());
    let successor = first.successor(Seed([3; 32]));
    assert_eq!(successor, first.successor(Seed([3; 32])));
    assert_eq!(successor.session(), first.session());
    for another in [
        first.successor(Seed([4; 32])),
        other.successor(Seed([3; 32])),
        first.clone(),
        RefreshToken::first(Seed([3; 32])),
    ] {
        assert_ne!(successor.hash(), another.hash());
    }
    let random = || RefreshToken::first(Seed::random());
    assert_ne!(random(), random());
}

// ---- users-refresh

#[tokio::test]
async fn a_refresh_returns_a_new_valid_pair() {
    let (world, first) = World::logged_in().await;
    world.pass(600);
    let response = world.refreshed(&first).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let tokens = body_of(&response);
    let second = refresh_token(&response);
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        tokens,
        json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 900,
            "refresh_token": second,
        })
    );
    assert_ne!(first, second);
    let caller = world.verifier.verify(access, world.now()).unwrap();
    assert_eq!((caller.user_id, caller.role), (id(1), TokenRole::Customer));
    assert_eq!(world.refreshed(&second).await.status, 200);
    assert_eq!(sessions(&world).len(), 1);
}

#[tokio::test]
async fn a_sessions_row_has_no_token_and_expires() {
    let (world, first) = World::logged_in().await;
    world.pass(600);
    let second = refresh_token(&world.refreshed(&first).await);
    let row = row(&world.aws, &world.table, "SESSION");
    for token in [&first, &second] {
        // Neither the whole token nor the secret at its end.
        assert!(!row.to_string().contains(&token[22..60]), "{row}");
    }
    let expected = (world.now() + IDLE_LIFETIME).as_second();
    assert_eq!(row["expires_at"], expected);
    assert_eq!(row["refreshed_at"], format!("{:.3}", world.now()));
    assert_eq!(row["user_id"], json!(id(1)));
    assert!(row.get("status").is_none() && row.get("id").is_none());
}

#[tokio::test]
async fn a_new_role_appears_at_the_next_refresh() {
    let (world, mut token) = World::logged_in().await;
    for (role, lifetime) in [(TokenRole::Admin, 120), (TokenRole::Customer, 900)] {
        world.set(id(1), "role", role.as_str()).await;
        let response = world.refreshed(&token).await;
        let tokens = body_of(&response);
        let access = tokens["access_token"].as_str().unwrap();
        let caller = world.verifier.verify(access, world.now()).unwrap();
        assert_eq!(caller.role, role);
        assert_eq!(tokens["expires_in"], lifetime);
        token = refresh_token(&response);
    }
}

#[tokio::test]
async fn every_refused_token_gets_the_same_answer() {
    let (world, token) = World::logged_in().await;
    let other = RefreshToken::first(Seed([77; 32])).reveal();
    for token in ["", "nonsense", &other, &token[..60], &format!("{token}=")] {
        assert_problem(&world.refreshed(token).await, &invalid_refresh_token());
    }
    let access = body_of(&world.refreshed(&token).await)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_problem(&world.refreshed(&access).await, &invalid_refresh_token());
    assert_eq!(sessions(&world).len(), 1, "none of these ends a session");
}

#[tokio::test]
async fn a_reused_token_ends_the_session_for_thief_and_owner() {
    let (world, stolen) = World::logged_in().await;
    let other = world.session(EMAIL).await;
    world.pass(60);
    let thiefs = refresh_token(&world.refreshed(&stolen).await);
    world.pass(60);
    assert_problem(&world.refreshed(&stolen).await, &invalid_refresh_token());
    assert_problem(&world.refreshed(&thiefs).await, &invalid_refresh_token());
    // The user's other sessions go on.
    assert_eq!(world.refreshed(&other).await.status, 200);
}

#[tokio::test]
async fn a_lost_refresh_can_be_repeated() {
    for fault in [Fault::BeforeEffect, Fault::AfterEffect, Fault::Throttle] {
        let (world, first) = World::logged_in().await;
        world.fault("PutItem", fault.clone());
        assert_problem(&world.refreshed(&first).await, &unavailable());
        world.pass(20);
        let again = world.refreshed(&first).await;
        assert_eq!(again.status, 200, "{fault:?}");
        world.pass(20);
        assert_eq!(world.refreshed(&refresh_token(&again)).await.status, 200);
    }
}

#[tokio::test]
async fn parallel_refreshes_get_the_same_token() {
    for seed in 0..20 {
        let (world, token) = World::logged_in().await;
        world.aws.interleave(seed);
        let answers = join_all((0..4).map(|_| world.refreshed(&token))).await;
        let tokens: Vec<String> = answers
            .iter()
            .map(|answer| {
                assert_eq!(answer.status, 200, "seed {seed}");
                refresh_token(answer)
            })
            .collect();
        assert!(
            tokens.iter().all(|token| *token == tokens[0]),
            "seed {seed}"
        );
        world.pass(600);
        assert_eq!(world.refreshed(&tokens[0]).await.status, 200);
    }
}

#[tokio::test]
async fn a_session_ends_after_7_idle_days_and_after_30_days() {
    const DAY: i64 = 24 * 60 * 60;
    let (world, mut token) = World::logged_in().await;
    for _ in 0..7 {
        world.pass(4 * DAY);
        let answer = world.refreshed(&token).await;
        assert_eq!(answer.status, 200);
        token = refresh_token(&answer);
    }
    world.pass(2 * DAY);
    assert_problem(&world.refreshed(&token).await, &invalid_refresh_token());

    let idle = world.session(EMAIL).await;
    world.pass(7 * DAY);
    assert_problem(&world.refreshed(&idle).await, &invalid_refresh_token());
}

#[tokio::test]
async fn deactivation_ends_a_session_even_within_the_grace() {
    let (world, first) = World::logged_in().await;
    let second = refresh_token(&world.refreshed(&first).await);
    world.set(id(1), "status", "deactivated").await;
    assert_problem(&world.refreshed(&first).await, &invalid_refresh_token());
    assert_problem(&world.refreshed(&second).await, &invalid_refresh_token());
    assert!(sessions(&world).is_empty());
}

#[tokio::test]
async fn a_refresh_does_not_revive_a_session_that_ends() {
    for seed in 0..50 {
        let (world, token) = World::logged_in().await;
        world.aws.interleave(seed);
        let (_, out) = tokio::join!(world.refreshed(&token), world.log_out(&token));
        assert_eq!(out.status, 204);
        assert!(sessions(&world).is_empty(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_during_a_password_change_keeps_the_session() {
    for seed in 0..80 {
        let (world, token) = World::logged_in().await;
        world.aws.interleave(seed);
        let change = || {
            let body = json!({
                "current_password": PASSWORD,
                "new_password": "walnut ferry lantern",
                "refresh_token": token,
            });
            let request = world.request_of(id(1), TokenRole::Customer);
            world.change_password(request.with_body(body.to_string()))
        };
        // The change hashes first, so the refresh starts later to meet its write.
        let refresh = async {
            for _ in 0..seed {
                tokio::task::yield_now().await;
            }
            world.refreshed(&token).await
        };
        let (refreshed, changed) = tokio::join!(refresh, change());
        // A change that the refresh overtook is refused and ends no session.
        assert!([204, 400, 409].contains(&changed.status), "{changed:?}");
        assert_eq!(refreshed.status, 200, "seed {seed}: {changed:?}");
        let next = world.refreshed(&refresh_token(&refreshed)).await;
        assert_eq!(next.status, 200, "seed {seed}: {changed:?}");
    }
}

#[tokio::test]
async fn a_session_that_changed_since_it_was_read_stays() {
    let (world, first) = World::logged_in().await;
    let token = RefreshToken::parse(&first).unwrap();
    let read = world.store.session(token.session()).await.unwrap().unwrap();
    let second = refresh_token(&world.refreshed(&first).await);
    let ended = world.store.end_session(&read).await.unwrap();
    assert_eq!(ended, Changed::Overtaken);
    let read = world.store.session(token.session()).await.unwrap().unwrap();
    assert_eq!(world.refreshed(&second).await.status, 200);
    let read = Session {
        generation: 7,
        ..read
    };
    assert_eq!(
        world.store.end_session(&read).await.unwrap(),
        Changed::Overtaken
    );
    let read = world.store.session(token.session()).await.unwrap().unwrap();
    // Ending it twice succeeds, because an answer may have been lost.
    for _ in 0..2 {
        assert_eq!(world.store.end_session(&read).await.unwrap(), Changed::Done);
    }
    assert!(sessions(&world).is_empty());
}

// ---- users-logout

#[tokio::test]
async fn a_logout_with_a_wrong_secret_ends_nothing() {
    let (world, first) = World::logged_in().await;
    let token = RefreshToken::parse(&first).unwrap();
    // The session's id is the first third of a token; the secret is the rest.
    let forged = token.successor(Seed([9; 32])).reveal();
    assert_eq!(forged[..21], first[..21]);
    let logout = async |token: &str| {
        let response = world.log_out(token).await;
        assert_eq!(response, Response::empty(204));
    };
    logout(&forged).await;
    assert_eq!(sessions(&world).len(), 1);
    let second = refresh_token(&world.refreshed(&first).await);
    logout(&forged).await;
    assert_eq!(sessions(&world).len(), 1);
    // A client whose last answer was lost has only the token before.
    logout(&first).await;
    assert!(sessions(&world).is_empty());
    assert_problem(&world.refreshed(&second).await, &invalid_refresh_token());
}

#[tokio::test]
async fn a_logout_ends_only_the_session_of_its_token() {
    let (world, first) = World::logged_in().await;
    let kept = world.session(EMAIL).await;
    let second = refresh_token(&world.refreshed(&first).await);
    let unknown = RefreshToken::first(Seed([77; 32])).reveal();
    for token in [first.as_str(), &second, &unknown, "nonsense", ""] {
        assert_eq!(world.log_out(token).await, Response::empty(204));
    }
    assert_problem(&world.refreshed(&second).await, &invalid_refresh_token());
    assert_eq!(world.refreshed(&kept).await.status, 200);
    world.fault("DeleteItem", Fault::BeforeEffect);
    assert_problem(&world.log_out(&kept).await, &unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_logout_retries_after_a_transaction_conflict() {
    let (world, token) = World::logged_in().await;
    for _ in 0..3 {
        world.fault("DeleteItem", Fault::TransactionConflict);
    }
    assert_eq!(world.log_out(&token).await, Response::empty(204));
    assert_eq!(world.aws.fired(), 3);
    assert_problem(&world.refreshed(&token).await, &invalid_refresh_token());
}

// ---- users-login

#[tokio::test]
async fn a_login_rehashes_an_old_hash_and_ends_no_session() {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    let (world, session) = World::logged_in().await;
    let params = Params::new(8192, 1, 1, None).unwrap();
    let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(PASSWORD.as_bytes(), &[3; 16])
        .unwrap()
        .to_string();
    let mut row = world.email_row();
    row["password_hash"] = json!(old);
    world.aws.put_raw(&world.table, row.clone());
    let wrong = json!({"email": EMAIL, "password": "not the password"});
    assert_eq!(world.log_in(with_body(&wrong)).await.status, 401);
    assert_eq!(world.email_row()["password_hash"], json!(old));
    world.session(EMAIL).await;
    let renewed = world.email_row()["password_hash"].clone();
    assert!(
        renewed
            .as_str()
            .unwrap()
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
    );
    world.session(EMAIL).await;
    assert_eq!(world.email_row()["password_hash"], renewed);
    assert_eq!(world.refreshed(&session).await.status, 200);
}

// ---- Random histories

#[derive(Clone, Copy, Debug)]
enum Which {
    Current,
    /// The token before the current one.
    Previous,
    /// Counted back from the previous one.
    Older(usize),
}

/// One token in parallel requests, some time after the step before.
#[derive(Clone, Debug)]
struct Step {
    seconds: i64,
    which: Which,
    copies: usize,
    /// The first write fails before it takes effect, or after where this is true.
    lost: Option<bool>,
    seed: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let which = prop_oneof![
        6 => Just(Which::Current),
        3 => Just(Which::Previous),
        1 => (0..3_usize).prop_map(Which::Older),
    ];
    let seconds = prop_oneof![3 => 0..15_i64, 1 => 25..40_i64, 1 => 900..5000_i64];
    let lost = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (seconds, which, 1..5_usize, lost, any::<u64>()).prop_map(
        |(seconds, which, copies, lost, seed)| Step {
            seconds,
            which,
            copies,
            lost,
            seed,
        },
    )
}

/// At most one token is current, and a token in its grace gets just that one.
fn assert_one_live(session: Option<&Session>, chain: &[RefreshToken], now: Timestamp) {
    let Some(session) = session else { return };
    let mut live = Vec::new();
    for token in chain {
        match session.judge(&token.hash(), now) {
            Verdict::Rotate => live.push(token.clone()),
            Verdict::Repeat(seed) => live.push(token.successor(seed)),
            Verdict::Reused | Verdict::Expired => {}
        }
    }
    live.dedup();
    assert!(live.len() <= 1, "{} tokens are live", live.len());
}

async fn play(steps: &[Step]) {
    let (world, first) = World::logged_in().await;
    // The tokens in the order in which they became current, and the time of the last.
    let mut chain = vec![RefreshToken::parse(&first).unwrap()];
    let mut rotated_at = world.now();
    let id = chain[0].session();
    for step in steps {
        world.pass(step.seconds);
        let last = chain.len() - 1;
        let back = match step.which {
            Which::Current => 0,
            Which::Previous => 1,
            Which::Older(n) => 2 + n,
        };
        let Some(index) = last.checked_sub(back) else {
            continue;
        };
        let presented = chain[index].reveal();
        let in_grace = back == 1 && world.now() < rotated_at + GRACE;
        let alive = back == 0 || in_grace;
        world.aws.interleave(step.seed);
        if let Some(took_effect) = step.lost {
            let fault = match took_effect {
                true => Fault::AfterEffect,
                false => Fault::BeforeEffect,
            };
            world.fault("PutItem", fault);
        }
        let answers = join_all((0..step.copies).map(|_| world.refreshed(&presented))).await;
        world.aws.clear_faults();
        if !alive {
            // Reuse outside the grace ends the session and returns no token.
            for answer in &answers {
                assert_problem(answer, &invalid_refresh_token());
            }
            assert_eq!(world.store.session(id).await.unwrap(), None);
            let current = chain[last].reveal();
            assert_problem(&world.refreshed(&current).await, &invalid_refresh_token());
            return;
        }
        // The client repeats requests whose answers were lost.
        let mut given: Vec<String> = Vec::new();
        for answer in answers {
            let answer = match answer.status {
                503 => world.refreshed(&presented).await,
                _ => answer,
            };
            assert_eq!(answer.status, 200, "{step:?}");
            given.push(refresh_token(&answer));
        }
        given.dedup();
        assert_eq!(
            given.len(),
            1,
            "all requests with one token get one successor"
        );
        let successor = RefreshToken::parse(&given[0]).unwrap();
        if back == 0 {
            chain.push(successor);
            rotated_at = world.now();
        } else {
            assert_eq!(successor, chain[last], "the grace creates no second token");
        }
        let session = world.store.session(id).await.unwrap();
        assert!(session.is_some(), "the owner's session goes on: {step:?}");
        assert_one_live(session.as_ref(), &chain, world.now());
    }
}

/// Tokens of several ages in parallel: in any order no two are live, and an old one ends the session.
async fn mix(rotations: usize, wait: i64, presented: &[usize], seed: u64) {
    let (world, first) = World::logged_in().await;
    let mut chain = vec![RefreshToken::parse(&first).unwrap()];
    for _ in 0..rotations {
        world.pass(40);
        let answer = world.refreshed(&chain[chain.len() - 1].reveal()).await;
        chain.push(RefreshToken::parse(&refresh_token(&answer)).unwrap());
    }
    world.pass(wait);
    world.aws.interleave(seed);
    let backs: Vec<usize> = presented
        .iter()
        .map(|back| (*back).min(chain.len() - 1))
        .collect();
    let tokens: Vec<String> = backs
        .iter()
        .map(|back| chain[chain.len() - 1 - back].reveal())
        .collect();
    let answers = join_all(tokens.iter().map(|token| world.refreshed(token))).await;
    for answer in &answers {
        if answer.status == 200 {
            chain.push(RefreshToken::parse(&refresh_token(answer)).unwrap());
        } else {
            assert_problem(answer, &invalid_refresh_token());
        }
    }
    chain.sort_by_key(|token| token.hash().0);
    chain.dedup();
    let session = world.store.session(chain[0].session()).await.unwrap();
    assert_one_live(session.as_ref(), &chain, world.now());
    if backs
        .iter()
        .any(|back| *back > 1 || (*back == 1 && wait >= 30))
    {
        assert_eq!(session, None, "reuse ends the session");
    }
    if backs.iter().all(|back| *back == 0) {
        assert!(session.is_some(), "the owner's session goes on");
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_token_is_live_and_reuse_ends_the_session(
        steps in prop::collection::vec(step(), 1..12)
    ) {
        block_on(play(&steps));
    }

    #[test]
    fn parallel_tokens_of_any_age_leave_at_most_one_live(
        rotations in 0..4_usize,
        wait in prop_oneof![0..29_i64, 30..90_i64],
        presented in prop::collection::vec(0..4_usize, 1..6),
        seed in any::<u64>(),
    ) {
        block_on(mix(rotations, wait, &presented, seed));
    }
}
