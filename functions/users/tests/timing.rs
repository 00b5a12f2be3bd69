//! Whether the time of a login shows that an account exists.
//!
//! Wrong passwords for a known and an unknown address take turns, and each login's CPU time is
//! measured: once from a network where neither account is known, and once from one where the first
//! is. CPU time excludes the network and other processes. The Mann-Whitney U test compares the two
//! samples by ranks, so that outliers do not distort it. The Hodges-Lehmann estimator says how far they
//! are apart: a busy machine has fast and slow phases, and medians can then differ by chance.
//! `WAYBILL_TIMING_TRIES=1000` runs as many logins of each kind as the proof needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use shared_lambda::Origin;
use users::store::{Account, Source};

use crate::world::{NOW, World, id, with_body};

const LOGINS: usize = 150;

/// The largest shift between the samples, as a share of a login's time.
const MOST_APART: f64 = 0.05;

/// The largest deviation of the rank sum, in standard deviations. Chance exceeds it about once in
/// 1.7 million runs.
const Z_LIMIT: f64 = 5.0;

const KNOWN: &str = "known@customers.example";
/// As long as [`KNOWN`].
const UNKNOWN: &str = "ghost@customers.example";

#[test]
fn a_logins_time_does_not_show_whether_the_account_exists() {
    no_difference(None);
}

#[test]
fn a_logins_time_shows_nothing_in_the_owners_network() {
    no_difference(Some("192.0.2.1"));
}

fn no_difference(home: Option<&str>) {
    let logins = std::env::var("WAYBILL_TIMING_TRIES")
        .map_or(LOGINS, |text| text.parse().expect("a number of logins"));
    // One thread runs the handler, the clients and the table.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (mut known, mut unknown) = runtime.block_on(sample(logins, home));

    let z = mann_whitney_z(&known, &unknown);
    let pairs = known
        .iter()
        .flat_map(|a| unknown.iter().map(move |b| a - b));
    let shift = median(&mut pairs.collect::<Vec<_>>()).abs();
    let (a, b) = (median(&mut known), median(&mut unknown));
    let apart = shift / a.min(b);
    println!(
        "{logins} logins each: known {:.3} ms, unknown {:.3} ms (medians; shifted by {:.3} %); \
         Mann-Whitney z = {z:.2}, limit {Z_LIMIT}",
        a * 1e3,
        b * 1e3,
        apart * 100.0
    );
    assert!(apart <= MOST_APART, "{apart}");
    assert!(z.abs() <= Z_LIMIT, "{z}");
}

/// Seconds of CPU time of the logins with the known address, and of those with the unknown one.
async fn sample(logins: usize, home: Option<&str>) -> (Vec<f64>, Vec<f64>) {
    let mut world = World::new().await;
    let hours = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&hours);
    let begin: Timestamp = NOW.parse().unwrap();
    world.origin = Origin::new(
        move || begin + SignedDuration::from_hours(clock.load(Ordering::Relaxed)),
        move || id(1),
    );
    world.registered(KNOWN).await;

    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    // The first logins have cold caches and do not count.
    const COLD: usize = 5;
    for turn in 0..logins + COLD {
        // After two days all counts of failures have restarted (see `domain::throttle`).
        hours.fetch_add(48, Ordering::Relaxed);
        if home.is_some() {
            let now = begin + SignedDuration::from_hours(hours.load(Ordering::Relaxed));
            let remembered = (Account::of(KNOWN), Source::of(home));
            let remember = world
                .store
                .remember_owner(&remembered.0, &remembered.1, now);
            remember.await.unwrap();
        }
        let mut order = [(KNOWN, &mut known), (UNKNOWN, &mut unknown)];
        if turn % 2 == 1 {
            order.reverse();
        }
        for (email, times) in order {
            let mut request =
                with_body(&json!({"email": email, "password": "not the pass phrase"}));
            if let Some(home) = home {
                request = request.with_source_address(home);
            }
            let begun = cpu_time();
            let response = world.log_in(request).await;
            let taken = cpu_time() - begun;
            assert_eq!(response.status, 401, "{response:?}");
            if turn >= COLD {
                times.push(taken.as_secs_f64());
            }
        }
    }
    (known, unknown)
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// U of the first sample against the second, in standard deviations from its mean: 0 where neither is
/// larger (normal approximation; ties get their mean rank).
fn mann_whitney_z(first: &[f64], second: &[f64]) -> f64 {
    let (m, n) = (first.len() as f64, second.len() as f64);
    let mut all: Vec<(f64, bool)> = first
        .iter()
        .map(|&time| (time, true))
        .chain(second.iter().map(|&time| (time, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rank_sum = 0.0;
    let mut from = 0;
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let mean_rank = from as f64 + (tied.len() as f64 + 1.0) / 2.0;
        let of_first = tied.iter().filter(|(_, of_first)| *of_first).count();
        rank_sum += mean_rank * of_first as f64;
        from += tied.len();
    }
    let u = rank_sum - m * (m + 1.0) / 2.0;
    (u - m * n / 2.0) / (m * n * (m + n + 1.0) / 12.0).sqrt()
}

#[test]
fn the_u_test_detects_a_difference_and_only_then() {
    let even: Vec<f64> = (0..200).map(|i| f64::from(i % 50)).collect();
    assert!(mann_whitney_z(&even, &even).abs() < 1e-9);
    // A known result: 3 and 4 observations without ties, U = 2.
    let z = mann_whitney_z(&[1.0, 2.0, 5.0], &[3.0, 4.0, 6.0, 7.0]);
    assert!((z - (2.0 - 6.0) / 8.0_f64.sqrt()).abs() < 1e-9, "{z}");
    let slower: Vec<f64> = even.iter().map(|time| time + 20.0).collect();
    assert!(mann_whitney_z(&slower, &even) > Z_LIMIT);
}
