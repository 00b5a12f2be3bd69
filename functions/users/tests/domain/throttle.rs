//! The delays of the login limits.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use users::domain::throttle::{
    ACCOUNT, FailureCount, KNOWN_FOR, Policy, SOURCE, TooEarly, UNKNOWN_SOURCES, registrations,
};

use crate::world::now;

#[test]
fn delays_double_from_a_second_up_to_the_maximum() {
    let waits: Vec<i64> = (0..34).map(|n| ACCOUNT.delay(n).as_secs()).collect();
    let mut expected = vec![0; 20];
    expected.extend([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
    assert_eq!(waits, expected);
    assert_eq!(ACCOUNT.delay(u32::MAX), SignedDuration::from_mins(15));
    assert_eq!(SOURCE.delay(99), SignedDuration::ZERO);
    assert_eq!(SOURCE.delay(100), SignedDuration::from_secs(1));
    assert_eq!(SOURCE.delay(u32::MAX), SignedDuration::from_mins(15));
}

fn counted(failures: u32, since: Timestamp, last: Timestamp) -> FailureCount {
    FailureCount {
        failures,
        since,
        last,
    }
}

#[test]
fn an_early_attempt_gets_the_wait_in_whole_seconds() {
    let before = counted(22, now(), now());
    let at = |millis| now() + SignedDuration::from_millis(millis);
    let early = |wait_seconds| Err(TooEarly { wait_seconds });
    assert_eq!(ACCOUNT.admit(Some(&before), at(0)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(1)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3000)), early(1));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3999)), early(1));
    let after = counted(23, now(), at(4000));
    assert_eq!(ACCOUNT.admit(Some(&before), at(4000)), Ok(after));
}

#[test]
fn the_count_restarts_after_its_window() {
    let since = now();
    let end = since + SOURCE.window;
    let moment = SignedDuration::from_millis(1);
    let before = counted(50, since, since);
    let within = SOURCE.admit(Some(&before), end - moment).unwrap();
    assert_eq!((within.failures, within.since), (51, since));
    let anew = SOURCE.admit(Some(&before), end).unwrap();
    assert_eq!((anew.failures, anew.since), (1, end));
    assert_eq!(SOURCE.admit(None, end), Ok(anew));
}

proptest! {
    #[test]
    fn free_attempts_never_wait_and_no_wait_exceeds_the_maximum(
        failures in any::<u32>(),
        since in 0..100_000_i64,
        ago in 0..100_000_i64,
    ) {
        for policy in [ACCOUNT, SOURCE] {
            let last = now() - SignedDuration::from_secs(ago);
            let before = counted(failures, last - SignedDuration::from_secs(since), last);
            match policy.admit(Some(&before), now()) {
                Ok(after) => {
                    prop_assert!(after.failures == 1 || after.failures == failures.saturating_add(1));
                    prop_assert_eq!(after.last, now());
                }
                Err(TooEarly { wait_seconds }) => {
                    prop_assert!(failures >= policy.free);
                    prop_assert!(1 <= wait_seconds);
                    prop_assert!(i64::from(wait_seconds) <= policy.max_delay.as_secs());
                }
            }
        }
    }
}

#[test]
fn a_rate_admits_twenty_at_once_and_then_one_a_minute() {
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    let mut used = None;
    for n in 1..=20 {
        used = Some(UNKNOWN_SOURCES.admit(used, now()).unwrap());
        assert_eq!(used, Some(at(60 * n)));
    }
    let early = |wait_seconds| Err(TooEarly { wait_seconds });
    assert_eq!(UNKNOWN_SOURCES.admit(used, now()), early(60));
    assert_eq!(UNKNOWN_SOURCES.admit(used, at(59)), early(1));
    used = Some(UNKNOWN_SOURCES.admit(used, at(60)).unwrap());
    assert_eq!(UNKNOWN_SOURCES.admit(used, at(60)), early(60));
    // An idle rate recovers completely.
    assert_eq!(UNKNOWN_SOURCES.admit(used, at(100_000)), Ok(at(100_060)));
}

/// All sources retry as early as possible. The rate holds, and its bound is reached.
#[test]
fn no_number_of_sources_exceeds_the_rate() {
    for sources in [1, 10, 1000] {
        let (mut used, mut at, mut count) = (None, now(), 0);
        let day = SignedDuration::from_hours(24);
        while at < now() + day {
            let waits: Vec<u32> = (0..sources)
                .filter_map(|_| match UNKNOWN_SOURCES.admit(used, at) {
                    Ok(after) => {
                        (used, count) = (Some(after), count + 1);
                        None
                    }
                    Err(TooEarly { wait_seconds }) => Some(wait_seconds),
                })
                .collect();
            let wait = waits.into_iter().min().unwrap_or(0);
            at += SignedDuration::from_secs(wait.into());
        }
        let max = UNKNOWN_SOURCES.max_attempts(day);
        assert!(
            (max - 1..=max).contains(&count),
            "{sources}: {count} of {max}"
        );
    }
}

/// The number of attempts a policy admits in a time, each as early as possible.
fn max_attempts(policy: Policy, time: SignedDuration) -> u32 {
    let (mut counted, mut at, mut count) = (None, now(), 0);
    while at < now() + time {
        match policy.admit(counted.as_ref(), at) {
            Ok(after) => {
                counted = Some(after);
                count += 1;
                assert!(count < 100_000, "no attempt is delayed");
            }
            Err(TooEarly { wait_seconds }) => at += SignedDuration::from_secs(wait_seconds.into()),
        }
    }
    count
}

/// The documents' numbers of guesses follow from the constants.
#[test]
fn the_documents_state_how_many_guesses_the_limits_allow() {
    let (hour, day) = (
        SignedDuration::from_hours(1),
        SignedDuration::from_hours(24),
    );
    let thousands = |n: i64| format!("{},{:03}", n / 1000, n % 1000);
    let document = include_str!("../../../../docs/security.md");
    let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        format!("{} guesses a day", max_attempts(ACCOUNT, day)),
        format!(
            "{} guesses in the first hour",
            UNKNOWN_SOURCES.max_attempts(hour)
        ),
        format!("{} in a day", thousands(UNKNOWN_SOURCES.max_attempts(day))),
        format!(
            "{} registrations an hour",
            max_attempts(registrations(60), hour)
        ),
        format!("{} days", KNOWN_FOR.as_hours() / 24),
    ] {
        let stated = document.contains(&format!(" {sentence}"));
        assert!(stated, "docs/security.md does not state: {sentence}");
    }
}
