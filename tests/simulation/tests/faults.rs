//! Drawn faults take effect, the faults of calls are recorded, and limits come from the templates.

use simulation::fault_profile::{FaultKind, FaultProfile};
use simulation::participants::Queue;
use simulation::pending_calls::PendingCalls;
use simulation::run::{Outcome, Plan, run};
use simulation::template_config;
use test_support::{Aws, Fault, template::Template};

/// The seeds whose worlds have this fault.
fn seeds_with(fault: FaultKind) -> impl Iterator<Item = u64> {
    (0..).filter(move |seed| FaultProfile::new(*seed, &[]).will_occur(fault))
}

/// Small worlds with only these faults.
fn worlds_with_only(faults: &[FaultKind], seeds: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let others = FaultKind::ALL.iter().filter(|kind| !faults.contains(kind));
    let without: Vec<FaultKind> = others.copied().collect();
    let world = |seed| {
        let outcome = run(&Plan {
            orders: 3,
            without: without.clone(),
            traced: true,
            ..Plan::new(seed)
        });
        assert_eq!(outcome.violations, Vec::<String>::new(), "seed {seed}");
        outcome
    };
    seeds.map(world).collect()
}

fn occurred(outcome: &Outcome, fault: FaultKind) -> bool {
    outcome.faults[fault.name()] > 0
}

/// The lines of a trace that contain all words.
fn lines<'a>(outcome: &'a Outcome, words: &[&str]) -> Vec<&'a str> {
    let lines = outcome.trace.lines();
    lines
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .collect()
}

#[test]
fn a_function_outage_crashes_or_fails_its_messages() {
    let seeds = seeds_with(FaultKind::Outage).take(8);
    let worlds = worlds_with_only(&[FaultKind::Outage], seeds);
    let (mut died, mut gave_back) = (0, 0);
    for outcome in &worlds {
        let dies = !lines(outcome, &[" broken "]).is_empty();
        let failures = lines(outcome, &["dynamodb:", "BeforeEffect"]);
        let fails = !failures.is_empty();
        assert_eq!(occurred(outcome, FaultKind::Outage), dies || fails);
        died += usize::from(dies);
        // Payments retries its messages in any case if its provider fails.
        let others = failures
            .iter()
            .filter(|line| !line.contains("payments-commands"));
        if others.count() > 0 {
            let given_back = lines(outcome, &["ChangeMessageVisibilityBatch None"]);
            gave_back += usize::from(!given_back.is_empty());
        }
    }
    assert!(
        died > 0 && gave_back > 0,
        "{died} crashed, {gave_back} failed"
    );
}

#[test]
fn a_long_provider_outage_times_out_or_parks_orders() {
    let harmed = |faults: &[FaultKind]| -> usize {
        let worlds = worlds_with_only(faults, seeds_with(FaultKind::ProviderGone).take(6));
        let given_up = |world: &Outcome| world.endings.get("rejected timed_out").copied();
        worlds
            .iter()
            .map(|world| world.parked + given_up(world).unwrap_or(0))
            .sum()
    };
    let gone = harmed(&[FaultKind::ProviderGone, FaultKind::Cancel]);
    let there = harmed(&[FaultKind::Cancel]);
    assert!(gone > there, "{gone} with the outage, {there} without");
}

#[test]
fn a_hanging_process_does_nothing_until_its_timeout() {
    let worlds = worlds_with_only(&[FaultKind::Stall], 0..30);
    let (mut hung, mut unanswered) = (0, 0);
    for world in &worlds {
        unanswered += lines(world, &["Some(Stall)"]).len();
        for hangs in lines(world, &["Some(Hang)"]) {
            let (_, call) = hangs.split_once(" call ").unwrap();
            let id = call.split_whitespace().next().unwrap();
            let later = world.trace.split_once(hangs).unwrap().1.lines();
            let mut of_process = later.filter(|line| {
                let mut words = line.split_whitespace().skip(1);
                let what = words.next();
                matches!(what, Some("call" | "timeout" | "dies")) && words.next() == Some(id)
            });
            let next = of_process.next().unwrap_or("nothing");
            assert!(next.contains(" timeout "), "{hangs}, then: {next}");
            hung += 1;
        }
    }
    assert!(hung > 0 && unanswered > 0, "{hung} {unanswered}");
}

#[test]
fn only_index_reads_are_stale() {
    // A function outage leaves due orders for the sweeper.
    let faults = [
        FaultKind::StaleRead,
        FaultKind::SweeperTwice,
        FaultKind::Outage,
    ];
    let worlds = worlds_with_only(&faults, 25..65);
    let reads = worlds.iter().flat_map(|world| lines(world, &["Stale("]));
    let reads: Vec<&str> = reads.collect();
    let by = |function: &str| {
        let query = format!("{function} dynamodb:Query");
        reads.iter().filter(|read| read.contains(&query)).count()
    };
    // Two functions read an index: the sweeper for due orders, and placing for a customer's open
    // orders.
    let (sweeps, placings) = (by("orders-sweep"), by("orders-place"));
    assert!(sweeps > 2 && placings > 2, "{reads:?}");
    assert_eq!(sweeps + placings, reads.len(), "{reads:?}");
}

#[tokio::test]
async fn a_released_call_is_recorded_with_its_fault() {
    let (aws, pending) = (Aws::new(), PendingCalls::default());
    let calls = pending.clone();
    aws.on_call(move |call| calls.wait(call));
    let client = aws.sqs();
    for fault in [Some(Fault::Throttle), None, Some(Fault::AfterEffect)] {
        let call = client.send_message().queue_url("queue").message_body("1");
        let sent = tokio::spawn(call.send());
        while pending.waiting().is_empty() {
            tokio::task::yield_now().await;
        }
        pending.release(pending.waiting()[0].0, fault.clone());
        let _ = sent.await.unwrap();
        let passed = pending.take_released();
        assert_eq!(passed.len(), 1);
        assert_eq!(passed[0].1, fault);
    }
    // A throttled call has no effect.
    assert_eq!(aws.sent("queue").len(), 2);
    assert!(!Fault::Throttle.takes_effect() && Fault::AfterEffect.takes_effect());
}

#[test]
fn a_planned_outage_counts_at_its_first_hit() {
    let mut profile = FaultProfile::new(3, &[]);
    let gone = |profile: &FaultProfile| {
        profile
            .counts()
            .find(|(kind, _)| *kind == FaultKind::ProviderGone)
    };
    profile.plan_provider_outage(100..200);
    assert!(!profile.is_provider_out(99) && !profile.is_provider_out(200));
    assert_eq!(gone(&profile).unwrap().1, 0);
    assert!(profile.is_provider_out(100) && profile.is_provider_out(199));
    assert_eq!(gone(&profile).unwrap().1, 1);
}

#[test]
fn limits_come_from_the_templates() {
    // The values of today's templates.
    assert_eq!(template_config::step_timeout(), 30_000);
    assert_eq!(template_config::sweep_every(), 60_000);
    for (function, seconds) in [
        ("orders-place", 25),
        ("orders-sweep", 60),
        ("orders-admin", 30),
        ("payments-commands", 15),
        ("users-update", 10),
    ] {
        assert_eq!(
            template_config::timeout(function),
            seconds * 1000,
            "{function}"
        );
    }
    for queue in Queue::ALL {
        let limits = queue.deployed();
        assert_eq!(limits.max_receives, shared_lambda::sqs::MAX_RECEIVES);
        assert_eq!(limits.visibility_seconds, 90, "{queue:?}");
        assert!(template_config::timeout(queue.function()) <= 90_000 / 6);
    }
    let orders = Template::of_service("orders");
    let text = orders.document().to_string();
    assert!(
        text.contains("rate(1 minute)"),
        "the sweeper has another schedule"
    );
}
