//! Worlds by chance: a fixed share of them in every test run.

use std::collections::BTreeMap;

use simulation::chance::Trouble;
use simulation::report::{replay_command, run_all, shrink};
use simulation::run::{Plan, run};

/// The same in every run; `cargo xtask sim` goes on from other seeds.
const SEEDS: std::ops::Range<u64> = 0..30;

/// Every way an order can end where nobody changes their mind and nothing goes wrong.
const QUIET_ENDINGS: [&str; 7] = [
    "confirmed",
    "rejected mixed_currency",
    "rejected out_of_stock",
    "rejected payment_declined",
    "rejected price_changed",
    "rejected timed_out",
    "rejected unknown_item",
];

#[test]
fn no_world_of_the_fixed_share_loses_anything_or_does_it_twice() {
    let report = run_all(SEEDS, &Plan::new(0), 2);
    println!("{report}");
    if let Some((seed, violations)) = report.failures.first_key_value() {
        let smallest = shrink(&Plan::new(*seed));
        panic!("{violations:#?}\nreplay: {}", replay_command(&smallest));
    }
    assert_eq!(report.worlds, SEEDS.end);
    assert_eq!(report.replayed_worlds, SEEDS.end / 3);
    assert!(report.sagas > 250, "{report}");
    assert_eq!(report.abandoned.len(), 2, "{report}");
    // A share in which hardly anything went wrong would prove nothing.
    for trouble in Trouble::ALL {
        assert!(
            report.troubles[trouble.name()] > 0,
            "no {trouble}: {report}"
        );
    }
    for (step, count) in &report.abandoned {
        assert!(*count > 0, "nobody had to abandon a {step}: {report}");
    }
    for state in ["confirmed", "rejected", "cancelled"] {
        let ended = |(ending, count): (&String, &usize)| ending.starts_with(state) && *count > 10;
        assert!(report.endings.iter().any(ended), "{report}");
    }
}

#[test]
fn a_seed_is_the_same_run_to_the_last_step() {
    for seed in [3, 17] {
        let plan = Plan {
            traced: true,
            ..Plan::new(seed)
        };
        let (once, again) = (run(&plan), run(&plan));
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.hash, again.hash, "seed {seed}");
        assert!(!once.trace.is_empty());
        assert_ne!(once.hash, run(&Plan::new(seed + 1)).hash);
    }
}

#[test]
fn what_is_left_out_does_not_come() {
    let calm = Plan {
        without: Trouble::ALL.to_vec(),
        ..Plan::new(5)
    };
    let outcome = run(&calm);
    assert_eq!(outcome.troubles.values().sum::<u64>(), 0, "{outcome:?}");
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert_eq!(outcome.sagas, calm.orders);
}

/// Each world foretells its orders' ends; that they come in all sorts is for here.
#[test]
fn on_a_quiet_day_every_order_ends_as_foretold() {
    let quiet = Plan {
        without: Trouble::ALL.to_vec(),
        ..Plan::new(0)
    };
    let report = run_all(0..30, &quiet, 2);
    assert_eq!(report.failures, BTreeMap::new(), "{report}");
    let endings: Vec<&str> = report.endings.keys().map(String::as_str).collect();
    assert_eq!(endings, QUIET_ENDINGS, "{report}");
    assert_eq!(report.sagas, 300);
}
