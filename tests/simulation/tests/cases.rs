//! Every step, refusal, cancellation and giving up: delivered twice, failed at each write and each
//! send, and unwound, by cases instead of by chance.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use simulation::books::Step;
use simulation::clock::Millis;
use simulation::run::on_a_clock_of_its_own;
use simulation::script::{CUSTOMER, PRICE, STOCK, Script, Strike};
use simulation::template_config;
use test_support::Fault;

/// When the sweeper runs first. An order that is placed now is due after 30 s: just missed, just
/// met, or half a minute too late.
const FIRST_SWEEPS: [Millis; 3] = [29_999, 30_000, 60_000];

/// How long whoever gets no answer waits before they ask again.
const PATIENCE: Millis = 1_000;

/// One order from its placing to its end.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    body: Value,
    /// Users cannot be asked over REST, so its queue is.
    by_queue: bool,
    /// The customer is deactivated before users is asked through its queue.
    deactivated: bool,
    /// The command at which its function dies, until an operator asks for it again.
    broken: Option<&'static str>,
    cancelled: Option<Cancelled>,
    operator: Option<Operator>,
    ending: (&'static str, Option<&'static str>),
    /// The units it keeps for good, and the money.
    keeps: (i64, i64),
}

#[derive(Clone, Copy, Debug)]
enum Cancelled {
    /// After so many deliveries.
    After(usize),
    /// After it has ended.
    AtRest { answer: u16 },
}

/// What is done about an order once it is parked.
#[derive(Clone, Copy, Debug)]
enum Operator {
    MendsAndRetries,
    Abandons(Step),
}

impl Case {
    fn new(name: &str, method: &str, ending: (&'static str, Option<&'static str>)) -> Self {
        Self {
            name: name.to_owned(),
            body: order(2, method),
            by_queue: false,
            deactivated: false,
            broken: None,
            cancelled: None,
            operator: None,
            ending,
            keeps: match ending.0 {
                "confirmed" => (2, 2 * PRICE),
                _ => (0, 0),
            },
        }
    }

    /// Whether what is done to the order, and in which state, depends on what went wrong before.
    fn is_a_race(&self) -> bool {
        matches!(self.cancelled, Some(Cancelled::After(_)))
    }
}

fn order(quantity: i64, method: &str) -> Value {
    json!({"lines": [{"sku": "SKU-0", "quantity": quantity}], "payment_method": method})
}

/// Every way an order can go.
fn cases() -> Vec<Case> {
    let confirmed = ("confirmed", None);
    let cancelled = ("cancelled", None);
    let declined = ("rejected", Some("payment_declined"));
    let timed_out = ("rejected", Some("timed_out"));
    let mut price_changed = Case::new(
        "price changed",
        "pm_card_visa",
        ("rejected", Some("price_changed")),
    );
    price_changed.body["expected_total"] = json!({"amount": PRICE, "currency": "USD"});
    let mut unknown = Case::new(
        "unknown item",
        "pm_card_visa",
        ("rejected", Some("unknown_item")),
    );
    unknown.body["lines"][0]["sku"] = json!("NO-SUCH");
    let out_of_stock = Case {
        body: order(STOCK + 1, "pm_card_visa"),
        ..Case::new("out of stock", "", ("rejected", Some("out_of_stock")))
    };
    let mut cases = vec![
        Case::new("confirmed", "pm_card_visa", confirmed),
        Case::new("the provider's answer lost", "pm_sim_lostReply", confirmed),
        out_of_stock.clone(),
        Case::new("declined", "pm_card_chargeDeclined", declined),
        Case::new("the provider down", "pm_sim_unavailable", timed_out),
        price_changed,
        unknown,
        Case {
            by_queue: true,
            ..Case::new("users asked by queue", "pm_card_visa", confirmed)
        },
        Case {
            by_queue: true,
            deactivated: true,
            ..Case::new(
                "users refuses",
                "pm_card_visa",
                ("rejected", Some("user_not_allowed")),
            )
        },
        Case {
            by_queue: true,
            broken: Some("VerifyUser"),
            ..Case::new("users never answers", "pm_card_visa", timed_out)
        },
        Case {
            broken: Some("ReserveStock"),
            ..Case::new("nothing is ever reserved", "pm_card_visa", timed_out)
        },
    ];
    // Reserve, its reply, charge, its reply: then it is confirmed.
    for deliveries in 0..=5 {
        cases.push(Case {
            cancelled: Some(Cancelled::After(deliveries)),
            ..Case::new(
                &format!("cancelled after {deliveries} deliveries"),
                "pm_card_visa",
                cancelled,
            )
        });
    }
    cases.push(Case {
        by_queue: true,
        cancelled: Some(Cancelled::After(0)),
        ..Case::new("cancelled unverified", "pm_card_visa", cancelled)
    });
    // Cancelled while the charge is declined: the cancellation was first, or the decline was.
    for (deliveries, ending) in [(2, cancelled), (3, cancelled), (4, declined)] {
        cases.push(Case {
            cancelled: Some(Cancelled::After(deliveries)),
            ..Case::new(
                &format!("declined, cancelled after {deliveries} deliveries"),
                "pm_card_chargeDeclined",
                ending,
            )
        });
    }
    cases.push(Case {
        name: "cancelled once rejected".to_owned(),
        cancelled: Some(Cancelled::AtRest { answer: 409 }),
        ..out_of_stock
    });
    cases.extend(parked());
    cases
}

/// Each compensation without an answer until it is parked; then an operator has it answered, or
/// gives it up.
fn parked() -> [Case; 4] {
    let refund = Case {
        broken: Some("RefundPayment"),
        cancelled: Some(Cancelled::AtRest { answer: 202 }),
        ..Case::new("", "pm_card_visa", ("cancelled", None))
    };
    let release = Case {
        broken: Some("ReleaseStock"),
        ..Case::new(
            "",
            "pm_card_chargeDeclined",
            ("rejected", Some("payment_declined")),
        )
    };
    [
        Case {
            name: "the refund parked and asked for again".to_owned(),
            operator: Some(Operator::MendsAndRetries),
            ..refund.clone()
        },
        Case {
            name: "the refund parked and abandoned".to_owned(),
            operator: Some(Operator::Abandons(Step::Refund)),
            keeps: (0, 2 * PRICE),
            ..refund
        },
        Case {
            name: "the release parked and asked for again".to_owned(),
            operator: Some(Operator::MendsAndRetries),
            ..release.clone()
        },
        Case {
            name: "the release parked and abandoned".to_owned(),
            operator: Some(Operator::Abandons(Step::Release)),
            keeps: (2, 0),
            ..release
        },
    ]
}

/// How a case is run.
#[derive(Clone, Debug)]
struct Setup {
    deliveries: usize,
    first_sweep: Millis,
    /// Whether a client without an answer comes again even if the order is written.
    insists: bool,
    strike: Option<Strike>,
}

impl Setup {
    fn calm(deliveries: usize) -> Self {
        Self {
            deliveries,
            first_sweep: template_config::sweep_every(),
            insists: true,
            strike: None,
        }
    }
}

/// What there is to compare of a run.
#[derive(Debug, PartialEq)]
struct End {
    ending: Option<(String, Option<String>)>,
    stock: (i64, i64, i64),
    money: (i64, i64),
}

struct Run {
    script: Script,
    end: End,
    ended_at: Millis,
    /// When somebody who got no answer asked again.
    asked_again_at: Option<Millis>,
    /// What a cancellation was answered.
    answer: Option<u16>,
    writes: usize,
    /// Those of them that are attempts like those before.
    repeats: Range<usize>,
}

impl Run {
    /// Which of the faults befall the nth write: all of them, or one after the other where the
    /// writes repeat themselves.
    fn befall<'a, T>(&self, nth: usize, faults: &'a [T]) -> &'a [T] {
        if self.repeats.contains(&nth) {
            let which = (nth + nth / faults.len()) % faults.len();
            &faults[which..=which]
        } else {
            faults
        }
    }
}

async fn run(case: &Case, setup: &Setup) -> Run {
    let mut script = Script::new().await;
    let aws = script.system.aws.clone();
    if case.deactivated {
        let status = script
            .system
            .set_status(CUSTOMER, "deactivated")
            .await
            .status;
        assert_eq!(status, 200);
    }
    script.deliveries = setup.deliveries;
    script.first_sweep = setup.first_sweep;
    script.by_queue = case.by_queue;
    script.broken = case.broken;
    let before = aws.writes();
    if let Some(strike) = &setup.strike {
        script.strike(strike);
    }
    let mut asked_again_at = None;
    // Whoever cancels knows of an order.
    let insists = setup.insists || case.cancelled.is_some();
    loop {
        let placed = script.place(&case.body).await.map(|placed| placed.status);
        if placed == Some(202) || (script.is_placed() && !insists) {
            break;
        }
        assert!(matches!(placed, None | Some(503)), "{}", case.name);
        again(&mut script, &mut asked_again_at, &case.name).await;
    }
    let mut answer = None;
    if let Some(cancelled) = case.cancelled {
        match cancelled {
            Cancelled::After(deliveries) => {
                for _ in 0..deliveries {
                    script.deliver().await;
                }
            }
            Cancelled::AtRest { .. } => script.settle().await,
        }
        while answer.is_none() {
            let given = script.cancel().await.map(|cancelled| cancelled.status);
            answer = given.filter(|status| *status != 503);
            if answer.is_none() {
                again(&mut script, &mut asked_again_at, &case.name).await;
            }
        }
        assert!(
            matches!(answer, Some(202 | 409)),
            "{}: {answer:?}",
            case.name
        );
    }
    if let Some(operator) = case.operator {
        script.settle_until_parked().await;
        if let Operator::MendsAndRetries = operator {
            script.broken = None;
        }
        loop {
            let done = match operator {
                Operator::MendsAndRetries => script.retry().await,
                Operator::Abandons(step) => script.abandon(step).await,
            };
            if done {
                break;
            }
            again(&mut script, &mut asked_again_at, &case.name).await;
        }
    }
    script.settle().await;
    let end = End {
        ending: script.ending(),
        stock: script.stock(),
        money: script.money(),
    };
    assert_eq!(script.violations, Vec::<String>::new(), "{}", case.name);
    Run {
        writes: aws.writes() - before,
        repeats: script.repeats.start.saturating_sub(before)
            ..script.repeats.end.saturating_sub(before),
        ended_at: script.now(),
        script,
        end,
        asked_again_at,
        answer,
    }
}

/// One fault leaves one question without an answer.
async fn again(script: &mut Script, asked_again_at: &mut Option<Millis>, name: &str) {
    assert_eq!(*asked_again_at, None, "{name}: asked in vain twice");
    script.wait(PATIENCE).await;
    *asked_again_at = Some(script.now());
}

/// A run with a fault against the same run without.
fn ends_as_if_nothing_had_happened(case: &Case, clean: &Run, run: &Run, what: &str) {
    let net = |run: &Run| run.end.money.0 - run.end.money.1;
    if case.is_a_race() {
        // Dying may put the cancellation at another moment, never aside.
        let (state, failure) = run.end.ending.clone().unwrap();
        match run.answer {
            Some(202) => assert_eq!((state.as_str(), failure), ("cancelled", None), "{what}"),
            _ => assert_eq!(
                (state.as_str(), failure.is_some()),
                ("rejected", true),
                "{what}"
            ),
        }
        assert_eq!(run.end.stock, clean.end.stock, "{what}");
        assert_eq!(net(run), net(clean), "{what}");
    } else {
        assert_eq!(run.end, clean.end, "{what}");
        assert_eq!(run.answer, clean.answer, "{what}");
    }
}

/// Whatever befalls one call: from when the order is due then, or somebody asks again who had no
/// answer, one run of the sweeper does what was not done. From there the order has ended within the
/// time that it needs without any fault, which is none but where it waits for what never comes.
fn ends_in_time(clean: &Run, run: &Run, what: &str) {
    let struck = run.script.struck.unwrap();
    let needed = clean.ended_at - struck.at;
    assert!(needed >= 0, "{what}: struck after the end");
    let taken_up_by = match run.asked_again_at {
        Some(asked_again_at) if needed == 0 => asked_again_at,
        // A wait that begins so much later may just miss a run.
        Some(asked_again_at) => asked_again_at + template_config::sweep_every(),
        None => struck.due_at.unwrap_or(struck.at).max(struck.at) + template_config::sweep_every(),
    };
    assert!(
        run.ended_at <= taken_up_by + needed,
        "{what}: ended at {}, taken up by {taken_up_by} and {needed} ms left",
        run.ended_at,
    );
}

/// Two cases at a time.
fn for_each_case(test: impl AsyncFn(&Case) + Sync) {
    let (cases, next) = (cases(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    on_a_clock_of_its_own(test(case));
                }
            });
        }
    });
}

#[test]
fn every_case_ends_as_it_should_with_the_books_in_order() {
    for_each_case(async |case| {
        for first_sweep in FIRST_SWEEPS {
            let calm = Setup {
                first_sweep,
                ..Setup::calm(1)
            };
            let run = run(case, &calm).await;
            let (state, failure) = case.ending;
            let expected = (state.to_owned(), failure.map(str::to_owned));
            assert_eq!(run.end.ending, Some(expected), "{}", case.name);
            let (units, money) = case.keeps;
            let stock = (STOCK, STOCK - units, units);
            assert_eq!(run.end.stock, stock, "{}", case.name);
            assert_eq!(run.end.money.0 - run.end.money.1, money, "{}", case.name);
            let answer = case.cancelled.map(|cancelled| match cancelled {
                Cancelled::AtRest { answer } => answer,
                Cancelled::After(_) if state == "cancelled" => 202,
                Cancelled::After(_) => 409,
            });
            assert_eq!(run.answer, answer, "{}", case.name);
        }
    });
}

#[test]
fn everything_delivered_twice_ends_as_once() {
    for_each_case(async |case| {
        let once = run(case, &Setup::calm(1)).await;
        let twice = run(case, &Setup::calm(2)).await;
        ends_as_if_nothing_had_happened(case, &once, &twice, &case.name);
        // Another number of deliveries is another moment of cancelling.
        if !case.is_a_race() {
            assert_eq!(twice.script.tables(), once.script.tables(), "{}", case.name);
        }
    });
}

#[test]
fn every_message_of_a_run_replayed_twice_leaves_the_tables_identical() {
    for_each_case(async |case| {
        let mut run = run(case, &Setup::calm(1)).await;
        if let Some(Operator::Abandons(_)) = case.operator {
            // What was given up is carried out after all.
            run.script.replay().await;
        }
        let before = run.script.tables();
        run.script.replay().await;
        run.script.replay().await;
        assert_eq!(run.script.tables(), before, "{}", case.name);
        assert_eq!(run.script.violations, Vec::<String>::new(), "{}", case.name);
    });
}

#[test]
fn a_death_or_failure_at_any_write_or_send_is_made_up_for_within_the_deadline() {
    let tried = AtomicUsize::new(0);
    for_each_case(async |case| {
        // A process that dies; a call that fails however often it is tried, so that its caller
        // hears of it; and an answer lost once, which the client makes up for by itself.
        let faults = [
            (Fault::KillBefore, false),
            (Fault::KillAfter, false),
            (Fault::BeforeEffect, true),
            (Fault::AfterEffect, true),
            (Fault::AfterEffect, false),
        ];
        let mut clean = Vec::new();
        for first_sweep in FIRST_SWEEPS {
            let calm = Setup {
                first_sweep,
                ..Setup::calm(1)
            };
            clean.push(run(case, &calm).await);
        }
        let mut number = 0;
        for nth in 0..clean[0].writes {
            for (fault, lasts) in clean[0].befall(nth, &faults) {
                number += 1;
                let which = number % FIRST_SWEEPS.len();
                let setup = Setup {
                    first_sweep: FIRST_SWEEPS[which],
                    insists: number % 2 == 0,
                    strike: Some(Strike {
                        nth,
                        fault: fault.clone(),
                        lasts: *lasts,
                    }),
                    ..Setup::calm(1)
                };
                let run = run(case, &setup).await;
                let what = format!("{}: {setup:?}", case.name);
                // The client tried again, or was not to.
                assert_eq!(run.script.faults() > 1, *lasts, "{what}");
                ends_as_if_nothing_had_happened(case, &clean[which], &run, &what);
                ends_in_time(&clean[which], &run, &what);
            }
        }
        tried.fetch_add(number, Ordering::Relaxed);
    });
    // Nearly every fault at each write of each case.
    let tried = tried.into_inner();
    println!("{tried} faults");
    assert!(tried > 1_000, "{tried}");
}

#[test]
fn unwinding_is_itself_unwound_twice_and_dies_anywhere() {
    for_each_case(async |case| {
        if case.ending.0 == "confirmed" {
            return;
        }
        let clean = run(case, &Setup::calm(2)).await;
        for nth in 0..clean.writes {
            for fault in clean.befall(nth, &[Fault::KillBefore, Fault::KillAfter]) {
                let setup = Setup {
                    strike: Some(Strike {
                        nth,
                        fault: fault.clone(),
                        lasts: false,
                    }),
                    ..Setup::calm(2)
                };
                let run = run(case, &setup).await;
                let what = format!("{}: {setup:?}", case.name);
                assert_eq!(run.script.faults(), 1, "{what}");
                ends_as_if_nothing_had_happened(case, &clean, &run, &what);
                ends_in_time(&clean, &run, &what);
            }
        }
    });
}
