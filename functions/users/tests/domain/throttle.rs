//! How long whoever guesses has to wait.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use users::domain::throttle::{
    ACCOUNT, KNOWN_FOR, Policy, SOURCE, STRANGERS, Standing, Tally, TooEarly, registrations,
};

use crate::world::now;

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

#[test]
fn strangers_get_a_place_each_one_a_minute_after_the_first_ten_and_none_beyond_an_hour() {
    let minutes = SignedDuration::from_mins;
    let mut spent = now();
    let places: Vec<i64> = (0..80)
        .map(|_| {
            if spent < STRANGERS.full(now()) {
                spent += STRANGERS.interval;
            }
            let place = STRANGERS.place(spent, now());
            place.duration_since(now()).as_mins()
        })
        .collect();
    let expected = [[0; 10].to_vec(), (1..=60).collect(), [60; 10].to_vec()].concat();
    assert_eq!(places, expected);
    // A line that stood idle is as if it had never been.
    assert_eq!(STRANGERS.place(now() - minutes(500), now()), now());
    let place = now() + minutes(7);
    let good = |after| STRANGERS.is_good(place, now() + minutes(after));
    assert_eq!([6, 7, 66, 67].map(good), [false, true, true, false]);
}

#[test]
fn a_place_binds_strangers_alone() {
    let place = now() + SignedDuration::from_secs(90);
    let standing = |known_until| Standing {
        tally: None,
        known_until,
        place: Some(place),
    };
    let early = Err(TooEarly { wait_seconds: 90 });
    assert_eq!(standing(None).admit(now()), early);
    assert_eq!(standing(Some(now())).admit(now()), early);
    let moment = SignedDuration::from_millis(1);
    assert_eq!(standing(Some(now() + moment)).admit(now()), Ok(()));
    assert_eq!(standing(None).admit(place), Ok(()));
}

#[test]
fn a_place_that_was_kept_is_used_while_it_is_good() {
    let place = now() - SignedDuration::from_mins(30);
    let standing = |place| Standing {
        tally: None,
        known_until: None,
        place,
    };
    assert_eq!(standing(Some(place)).good_place(now()), Some(place));
    let lapsed = now() - STRANGERS.longest;
    assert_eq!(standing(Some(lapsed)).good_place(now()), None);
    let to_come = now() + SignedDuration::from_secs(1);
    assert_eq!(standing(Some(to_come)).good_place(now()), None);
    assert_eq!(standing(None).good_place(now()), None);
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
        format!(
            "{} in the first hour from ten",
            STRANGERS.most_tries(10, hour)
        ),
        format!(
            "{} a day from ten",
            thousands(STRANGERS.most_tries(10, day))
        ),
        format!(
            "{} a day from a thousand",
            thousands(STRANGERS.most_tries(1000, day))
        ),
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
