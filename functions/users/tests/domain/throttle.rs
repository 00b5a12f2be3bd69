//! How long whoever guesses has to wait.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use users::domain::throttle::{
    ACCOUNT, KNOWN_FOR, Policy, SOURCE, STRANGERS, Tally, TooEarly, registrations,
};

use crate::world::now;

#[test]
fn delays_double_from_a_second_and_end_at_the_longest() {
    let waits: Vec<i64> = (0..34).map(|n| ACCOUNT.delay(n).as_secs()).collect();
    let mut expected = vec![0; 20];
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
    let before = tally(22, now(), now());
    let at = |millis| now() + SignedDuration::from_millis(millis);
    let early = |wait_seconds| Err(TooEarly { wait_seconds });
    assert_eq!(ACCOUNT.admit(Some(&before), at(0)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(1)), early(4));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3000)), early(1));
    assert_eq!(ACCOUNT.admit(Some(&before), at(3999)), early(1));
    let after = tally(23, now(), at(4000));
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

#[test]
fn a_rate_lets_twenty_through_at_once_and_then_one_a_minute() {
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    let mut used = None;
    for n in 1..=20 {
        used = Some(STRANGERS.admit(used, now()).unwrap());
        assert_eq!(used, Some(at(60 * n)));
    }
    let early = |wait_seconds| Err(TooEarly { wait_seconds });
    assert_eq!(STRANGERS.admit(used, now()), early(60));
    assert_eq!(STRANGERS.admit(used, at(59)), early(1));
    used = Some(STRANGERS.admit(used, at(60)).unwrap());
    assert_eq!(STRANGERS.admit(used, at(60)), early(60));
    // A rate that was idle is as if it had never been used.
    assert_eq!(STRANGERS.admit(used, at(100_000)), Ok(at(100_060)));
}

/// However many sources ask as early as they may, the rate holds, and its bound is reached.
#[test]
fn no_number_of_sources_exceeds_the_rate() {
    for sources in [1, 10, 1000] {
        let (mut used, mut at, mut count) = (None, now(), 0);
        let day = SignedDuration::from_hours(24);
        while at < now() + day {
            let waits: Vec<u32> = (0..sources)
                .filter_map(|_| match STRANGERS.admit(used, at) {
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
        let most = STRANGERS.most_tries(day);
        assert!(
            (most - 1..=most).contains(&count),
            "{sources}: {count} of {most}"
        );
    }
}

/// How many tries a policy admits in a time, each made as early as it may be.
fn most_tries(policy: Policy, time: SignedDuration) -> u32 {
    let (mut tally, mut at, mut count) = (None, now(), 0);
    while at < now() + time {
        match policy.admit(tally.as_ref(), at) {
            Ok(after) => {
                tally = Some(after);
                count += 1;
                assert!(count < 100_000, "nobody ever waits");
            }
            Err(TooEarly { wait_seconds }) => at += SignedDuration::from_secs(wait_seconds.into()),
        }
    }
    count
}

/// What the documents say about guesses follows from the constants.
#[test]
fn the_documents_say_how_many_guesses_the_limits_allow() {
    let (hour, day) = (
        SignedDuration::from_hours(1),
        SignedDuration::from_hours(24),
    );
    let thousands = |n: i64| format!("{},{:03}", n / 1000, n % 1000);
    let sentences = [
        format!(
            "{} guesses a day from one network",
            most_tries(ACCOUNT, day)
        ),
        format!("{} guesses in the first hour", STRANGERS.most_tries(hour)),
        format!("{} in a day", thousands(STRANGERS.most_tries(day))),
        format!(
            "{} registrations an hour",
            most_tries(registrations(60), hour)
        ),
        format!("{} days", KNOWN_FOR.as_hours() / 24),
    ];
    let readme = include_str!("../../../../README.md");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in &sentences {
        // From a number's first digit on.
        assert!(
            readme.contains(&format!(" {sentence}")),
            "README.md lacks: {sentence}"
        );
    }
}
