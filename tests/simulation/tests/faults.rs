//! What is drawn is met: trouble that begins elsewhere than in a call has its effect, what befell a
//! call is known, and the limits are those of the templates.

use simulation::chance::{Trouble, Weather};
use simulation::gate::Gate;
use simulation::participants::Queue;
use simulation::run::{Outcome, Plan, run};
use simulation::template_config;
use test_support::{Aws, Fault, template::Template};

/// The first seeds whose worlds have this in store from their beginning.
fn seeds_with(trouble: Trouble) -> impl Iterator<Item = u64> {
    (0..).filter(move |seed| Weather::new(*seed, &[]).plans(trouble))
}

/// Small worlds in which nothing but these goes wrong.
fn worlds_with_only(troubles: &[Trouble], seeds: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let others = Trouble::ALL.iter().filter(|kind| !troubles.contains(kind));
    let without: Vec<Trouble> = others.copied().collect();
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

fn came(outcome: &Outcome, trouble: Trouble) -> bool {
    outcome.troubles[trouble.name()] > 0
}

/// The lines of a trace that say all of this.
fn lines<'a>(outcome: &'a Outcome, words: &[&str]) -> Vec<&'a str> {
    let lines = outcome.trace.lines();
    lines
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .collect()
}

#[test]
fn a_broken_function_dies_or_gives_its_messages_back() {
    let seeds = seeds_with(Trouble::Outage).take(8);
    let worlds = worlds_with_only(&[Trouble::Outage], seeds);
    let (mut died, mut gave_back) = (0, 0);
    for outcome in &worlds {
        let dies = !lines(outcome, &[" broken "]).is_empty();
        let failures = lines(outcome, &["dynamodb:", "BeforeEffect"]);
        let fails = !failures.is_empty();
        assert_eq!(came(outcome, Trouble::Outage), dies || fails);
        died += usize::from(dies);
        // What the provider is told to fail at payments gives back in any case.
        let others = failures
            .iter()
            .filter(|line| !line.contains("payments-commands"));
        if others.count() > 0 {
            let given_back = lines(outcome, &["ChangeMessageVisibilityBatch None"]);
            gave_back += usize::from(!given_back.is_empty());
        }
    }
    assert!(died > 0 && gave_back > 0, "{died} died, {gave_back} did");
}

#[test]
fn a_provider_that_is_gone_for_long_leaves_orders_given_up_or_parked() {
    let harmed = |troubles: &[Trouble]| -> usize {
        let worlds = worlds_with_only(troubles, seeds_with(Trouble::ProviderGone).take(6));
        let given_up = |world: &Outcome| world.endings.get("rejected timed_out").copied();
        worlds
            .iter()
            .map(|world| world.parked + given_up(world).unwrap_or(0))
            .sum()
    };
    let gone = harmed(&[Trouble::ProviderGone, Trouble::Cancel]);
    let there = harmed(&[Trouble::Cancel]);
    assert!(gone > there, "{gone}, and {there} where it is there");
}

#[test]
fn a_process_that_hangs_does_nothing_until_its_timeout_ends_it() {
    let worlds = worlds_with_only(&[Trouble::Stall], 0..30);
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
            assert!(next.contains(" timeout "), "{hangs}, and then: {next}");
            hung += 1;
        }
    }
    assert!(hung > 0 && unanswered > 0, "{hung} {unanswered}");
}

#[test]
fn only_readers_of_an_index_read_from_the_past() {
    // A broken function gives the sweeper something to find, again and again.
    let troubles = [Trouble::StaleRead, Trouble::SweeperTwice, Trouble::Outage];
    let worlds = worlds_with_only(&troubles, 25..65);
    let reads = worlds.iter().flat_map(|world| lines(world, &["Stale("]));
    let reads: Vec<&str> = reads.collect();
    let by = |function: &str| {
        let query = format!("{function} dynamodb:Query");
        reads.iter().filter(|read| read.contains(&query)).count()
    };
    // The sweeper finds who is due there, and placing what its customer has open.
    let (sweeps, placings) = (by("orders-sweep"), by("orders-place"));
    assert!(sweeps > 5 && placings > 5, "{reads:?}");
    assert_eq!(sweeps + placings, reads.len(), "{reads:?}");
}

#[tokio::test]
async fn what_befell_a_call_is_told_with_it() {
    let (aws, gate) = (Aws::new(), Gate::default());
    let turn = gate.clone();
    aws.on_call(move |call| turn.turn(call));
    let client = aws.sqs();
    for fault in [Some(Fault::Throttle), None, Some(Fault::AfterEffect)] {
        let call = client.send_message().queue_url("queue").message_body("1");
        let sent = tokio::spawn(call.send());
        while gate.waiting().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.pass(gate.waiting()[0].0, fault.clone());
        let _ = sent.await.unwrap();
        let passed = gate.passed();
        assert_eq!(passed.len(), 1);
        assert_eq!(passed[0].1, fault);
    }
    // Only what takes effect is looked at.
    assert_eq!(aws.sent("queue").len(), 2);
    assert!(!Fault::Throttle.takes_effect() && Fault::AfterEffect.takes_effect());
}

#[test]
fn what_is_planned_counts_when_it_is_met() {
    let mut weather = Weather::new(3, &[]);
    let gone = |weather: &Weather| {
        weather
            .counts()
            .find(|(kind, _)| *kind == Trouble::ProviderGone)
    };
    weather.provider_will_be_gone(100..200);
    assert!(!weather.provider_is_gone(99) && !weather.provider_is_gone(200));
    assert_eq!(gone(&weather).unwrap().1, 0);
    assert!(weather.provider_is_gone(100) && weather.provider_is_gone(199));
    assert_eq!(gone(&weather).unwrap().1, 1);
}

#[test]
fn limits_are_those_of_the_templates() {
    // As the templates say today: what is read must have been found.
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
        "the sweeper runs otherwise"
    );
}
