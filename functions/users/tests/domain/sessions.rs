//! The decisions about presented refresh tokens.

use jiff::{SignedDuration, Timestamp};
use users::domain::{
    ABSOLUTE_LIFETIME, GRACE, IDLE_LIFETIME, Role, Seed, Session, Status, User, Verdict,
};
use users::tokens::RefreshToken;

use crate::world::{id, now, user};

#[test]
fn a_session_lasts_7_idle_days_30_days_and_a_grace_of_30_s() {
    assert_eq!(IDLE_LIFETIME, SignedDuration::from_hours(168));
    assert_eq!(ABSOLUTE_LIFETIME, SignedDuration::from_hours(720));
    assert_eq!(GRACE, SignedDuration::from_secs(30));
}

/// A session that was rotated once, 100 seconds after its login, and its two tokens.
fn rotated() -> (Session, RefreshToken, RefreshToken, Timestamp) {
    let (first, seed) = (RefreshToken::first(Seed([1; 32])), Seed([2; 32]));
    let second = first.successor(seed);
    let session = Session::start(first.session(), id(1), 0, first.hash(), now());
    let at = now() + SignedDuration::from_secs(100);
    (session.rotate(second.hash(), seed, at), first, second, at)
}

#[test]
fn the_current_token_is_exchanged_until_the_session_expires() {
    let (session, _, current, at) = rotated();
    let moment = SignedDuration::from_millis(1);
    for time in [at, at + GRACE, at + IDLE_LIFETIME - moment] {
        assert_eq!(session.judge(&current.hash(), time), Verdict::Rotate);
    }
    assert_eq!(session.expires_at(), at + IDLE_LIFETIME);
    for time in [at + IDLE_LIFETIME, at + IDLE_LIFETIME * 10] {
        assert_eq!(session.judge(&current.hash(), time), Verdict::Expired);
    }
}

#[test]
fn a_session_in_daily_use_expires_after_30_days() {
    let (mut session, _, mut current, _) = rotated();
    let mut time = now();
    while time < now() + ABSOLUTE_LIFETIME - SignedDuration::from_hours(24) {
        time += SignedDuration::from_hours(24);
        assert_eq!(session.judge(&current.hash(), time), Verdict::Rotate);
        let successor = current.successor(Seed([5; 32]));
        session = session.rotate(successor.hash(), Seed([5; 32]), time);
        current = successor;
    }
    let end = now() + ABSOLUTE_LIFETIME;
    assert_eq!(session.expires_at(), end);
    assert_eq!(session.judge(&current.hash(), end), Verdict::Expired);
    assert_eq!(
        session.judge(&current.hash(), end - SignedDuration::from_millis(1)),
        Verdict::Rotate
    );
}

#[test]
fn the_token_before_is_repeated_within_the_grace_only() {
    let (session, before, _, at) = rotated();
    let last = at + GRACE - SignedDuration::from_millis(1);
    // A clock that is slightly behind must not end the session.
    for time in [at - SignedDuration::from_secs(1), at, last] {
        let verdict = session.judge(&before.hash(), time);
        assert_eq!(verdict, Verdict::Repeat(Seed([2; 32])));
    }
    for time in [at + GRACE, at + GRACE * 100] {
        assert_eq!(session.judge(&before.hash(), time), Verdict::Reused);
    }
}

#[test]
fn using_the_successor_ends_the_grace() {
    let (session, before, current, at) = rotated();
    let third = current.successor(Seed([3; 32]));
    let session = session.rotate(third.hash(), Seed([3; 32]), at);
    assert_eq!(session.judge(&before.hash(), at), Verdict::Reused);
    assert_eq!(
        session.judge(&current.hash(), at),
        Verdict::Repeat(Seed([3; 32]))
    );
    assert_eq!(session.judge(&third.hash(), at), Verdict::Rotate);
}

#[test]
fn a_forged_token_revokes_the_session_it_names() {
    let (session, _, current, at) = rotated();
    let forged = current.successor(Seed([9; 32]));
    assert_eq!(session.judge(&forged.hash(), at), Verdict::Reused);
    let fresh = Session::start(current.session(), id(1), 0, current.hash(), at);
    assert_eq!(fresh.judge(&forged.hash(), at), Verdict::Reused);
}

#[test]
fn a_session_needs_an_active_user_of_its_generation() {
    let (session, ..) = rotated();
    let ada = user(id(1), "ada@example.com");
    let with = |role, status, generation| User {
        role,
        status,
        generation,
        ..ada.clone()
    };
    assert!(!session.is_valid_for(None));
    for (role, status, generation, valid) in [
        (Role::Customer, Status::Active, 0, true),
        (Role::Admin, Status::Active, 0, true),
        (Role::Customer, Status::Deactivated, 0, false),
        (Role::Customer, Status::Active, 1, false),
    ] {
        let user = with(role, status, generation);
        assert_eq!(session.is_valid_for(Some(&user)), valid, "{user:?}");
    }
}
