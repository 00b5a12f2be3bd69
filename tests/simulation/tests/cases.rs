//! Tests by cases: every path of an order, with every message delivered twice, a fault at each
//! write and send, and a fault during compensation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use orders::domain::{Kind, Participant, STEPS};
use serde_json::{Value, json};
use simulation::clock::Millis;
use simulation::invariants::Step;
use simulation::run::on_a_clock_of_its_own;
use simulation::script::{CUSTOMER, PRICE, PlannedFault, STOCK, Script};
use simulation::template_config;
use test_support::Fault;

/// The first run of the sweeper. An order placed now is due after 30 s: the run comes just before,
/// just then, or half a minute later.
const FIRST_SWEEPS: [Millis; 3] = [29_999, 30_000, 60_000];

/// The time until a client without an answer retries.
const PATIENCE: Millis = 1_000;

/// One path of an order.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    body: Value,
    /// Users is down over REST, so orders asks by queue.
    by_queue: bool,
    /// The customer is deactivated before users answers by queue.
    deactivated: bool,
    /// The command at which its function crashes, until an operator retries it.
    broken: Option<&'static str>,
    cancelled: Option<Cancelled>,
    operator: Option<Operator>,
    ending: (&'static str, Option<&'static str>),
    /// The units it holds and the money it takes at the end.
    keeps: (i64, i64),
}

#[derive(Clone, Copy, Debug)]
enum Cancelled {
    /// After this many deliveries.
    After(usize),
    AfterEnd {
        answer: u16,
    },
}

/// The operator's action on a parked order.
#[derive(Clone, Copy, Debug)]
enum Operator {
    RepairsAndRetries,
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

    /// Whether a fault can change the state in which the order is cancelled.
    fn is_a_race(&self) -> bool {
        matches!(self.cancelled, Some(Cancelled::After(_)))
    }
}

fn order(quantity: i64, method: &str) -> Value {
    json!({"lines": [{"sku": "SKU-0", "quantity": quantity}], "payment_method": method})
}

/// All cases.
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
        Case::new(
            "the provider's answer is lost",
            "pm_sim_lostReply",
            confirmed,
        ),
        out_of_stock.clone(),
        Case::new("declined", "pm_card_chargeDeclined", declined),
        Case::new("the provider is down", "pm_sim_unavailable", timed_out),
        price_changed,
        unknown,
        Case {
            by_queue: true,
            ..Case::new("users answers by queue", "pm_card_visa", confirmed)
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
    ];
    // A broken pivot ends like the provider that is down.
    for step in STEPS.iter().filter(|step| step.kind != Kind::Pivot) {
        let participant = step.participant;
        cases.push(Case {
            by_queue: participant == Participant::Users,
            broken: Some(step.action.message),
            ..Case::new(
                &format!("{} never answers", participant.as_str()),
                "pm_card_visa",
                timed_out,
            )
        });
    }
    // Each command and its reply: then the order is confirmed. Users answered over REST.
    let all = 2 * (STEPS.len() - 1);
    for deliveries in 0..=all + 1 {
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
    // The cancellation races with the decline.
    for (deliveries, ending) in [(all - 2, cancelled), (all - 1, cancelled), (all, declined)] {
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
        cancelled: Some(Cancelled::AfterEnd { answer: 409 }),
        ..out_of_stock
    });
    cases.extend(parked());
    cases
}

/// Each compensation stays unanswered until it is parked. Then an operator retries or abandons it.
fn parked() -> [Case; 4] {
    let refund = Case {
        broken: Some("RefundPayment"),
        cancelled: Some(Cancelled::AfterEnd { answer: 202 }),
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
            name: "a parked refund is retried".to_owned(),
            operator: Some(Operator::RepairsAndRetries),
            ..refund.clone()
        },
        Case {
            name: "a parked refund is abandoned".to_owned(),
            operator: Some(Operator::Abandons(Step::Refund)),
            keeps: (0, 2 * PRICE),
            ..refund
        },
        Case {
            name: "a parked release is retried".to_owned(),
            operator: Some(Operator::RepairsAndRetries),
            ..release.clone()
        },
        Case {
            name: "a parked release is abandoned".to_owned(),
            operator: Some(Operator::Abandons(Step::Release)),
            keeps: (2, 0),
            ..release
        },
    ]
}

#[derive(Clone, Debug)]
struct Setup {
    deliveries: usize,
    first_sweep: Millis,
    /// Whether a client without an answer repeats its request even if the order exists.
    repeats_request: bool,
    fault: Option<PlannedFault>,
}

impl Setup {
    fn plain(deliveries: usize) -> Self {
        Self {
            deliveries,
            first_sweep: template_config::sweep_every(),
            repeats_request: true,
            fault: None,
        }
    }
}

/// The final state, to compare runs.
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
    /// The time at which a client without an answer retried.
    asked_again_at: Option<Millis>,
    /// The status of the answer to a cancellation.
    answer: Option<u16>,
    writes: usize,
    /// The writes that are equal attempts of the sweeper.
    repeats: Range<usize>,
    /// As [`Script::last_writes`].
    last_writes: BTreeMap<usize, bool>,
}

/// A fault, and whether it lasts.
type Tried = (Fault, bool);

impl Run {
    /// The faults to try at the nth write: all, or one of them in turn where the writes repeat. A crash
    /// after a write is tried only where an answer is lost. Elsewhere it equals a crash before the next
    /// write, or no crash.
    fn faults_at(&self, nth: usize, faults: &[Tried]) -> Vec<Tried> {
        let loses_an_answer = self.last_writes.get(&nth) == Some(&true);
        let is_needed = |(fault, _): &&Tried| *fault != Fault::KillAfter || loses_an_answer;
        let mut needed: Vec<Tried> = faults.iter().filter(is_needed).cloned().collect();
        if self.repeats.contains(&nth) {
            let which = (nth + nth / needed.len()) % needed.len();
            needed = vec![needed.swap_remove(which)];
        }
        needed
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
    if let Some(fault) = &setup.fault {
        script.plan_fault(fault);
    }
    let mut asked_again_at = None;
    // A client that cancels knows its order.
    let repeats_request = setup.repeats_request || case.cancelled.is_some();
    loop {
        let placed = script.place(&case.body).await.map(|placed| placed.status);
        if matches!(placed, Some(200 | 202)) || (script.is_placed() && !repeats_request) {
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
            Cancelled::AfterEnd { .. } => script.settle().await,
        }
        while answer.is_none() {
            let given = script
                .cancel()
                .await
                .map(|cancelled| match cancelled.status {
                    // The order has ended already.
                    200 => 202,
                    status => status,
                });
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
        if let Operator::RepairsAndRetries = operator {
            script.broken = None;
        }
        loop {
            let done = match operator {
                Operator::RepairsAndRetries => script.retry().await,
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
        last_writes: script
            .last_writes
            .iter()
            .filter_map(|(nth, answers)| Some((nth.checked_sub(before)?, *answers)))
            .collect(),
        ended_at: script.now(),
        script,
        end,
        asked_again_at,
        answer,
    }
}

/// One fault leaves at most one request without an answer.
async fn again(script: &mut Script, asked_again_at: &mut Option<Millis>, name: &str) {
    assert_eq!(
        *asked_again_at, None,
        "{name}: two requests without an answer"
    );
    script.wait(PATIENCE).await;
    *asked_again_at = Some(script.now());
}

/// Compares a run with a fault to the same run without.
fn assert_same_end(case: &Case, clean: &Run, run: &Run, what: &str) {
    let net = |run: &Run| run.end.money.0 - run.end.money.1;
    if case.is_a_race() {
        // A crash may move the cancellation, but never lose it.
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

/// Checks the end time after one fault. A run of the sweeper, or a client's retry, resumes the
/// order at the latest when it is due. From there it needs no longer than without a fault.
fn assert_in_time(clean: &Run, run: &Run, what: &str) {
    let first_fault = run.script.first_fault.unwrap();
    let needed = clean.ended_at - first_fault.at;
    assert!(needed >= 0, "{what}: the fault came after the end");
    let resumed_by = match run.asked_again_at {
        Some(asked_again_at) if needed == 0 => asked_again_at,
        // A wait that starts later may just miss a run.
        Some(asked_again_at) => asked_again_at + template_config::sweep_every(),
        None => {
            first_fault
                .due_at
                .unwrap_or(first_fault.at)
                .max(first_fault.at)
                + template_config::sweep_every()
        }
    };
    assert!(
        run.ended_at <= resumed_by + needed,
        "{what}: ended at {}, resumed by {resumed_by} with {needed} ms needed",
        run.ended_at,
    );
}

/// Runs the test on all cases, two at a time.
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
fn every_case_ends_as_expected() {
    for_each_case(async |case| {
        for first_sweep in FIRST_SWEEPS {
            let plain = Setup {
                first_sweep,
                ..Setup::plain(1)
            };
            let run = run(case, &plain).await;
            let (state, failure) = case.ending;
            let expected = (state.to_owned(), failure.map(str::to_owned));
            assert_eq!(run.end.ending, Some(expected), "{}", case.name);
            let (units, money) = case.keeps;
            let stock = (STOCK, STOCK - units, units);
            assert_eq!(run.end.stock, stock, "{}", case.name);
            assert_eq!(run.end.money.0 - run.end.money.1, money, "{}", case.name);
            let answer = case.cancelled.map(|cancelled| match cancelled {
                Cancelled::AfterEnd { answer } => answer,
                Cancelled::After(_) if state == "cancelled" => 202,
                Cancelled::After(_) => 409,
            });
            assert_eq!(run.answer, answer, "{}", case.name);
        }
    });
}

#[test]
fn double_delivery_changes_nothing() {
    for_each_case(async |case| {
        let once = run(case, &Setup::plain(1)).await;
        let twice = run(case, &Setup::plain(2)).await;
        assert_same_end(case, &once, &twice, &case.name);
        // With other deliveries, the cancellation comes at another moment.
        if !case.is_a_race() {
            assert_eq!(twice.script.tables(), once.script.tables(), "{}", case.name);
        }
    });
}

#[test]
fn a_replay_of_every_message_leaves_the_tables_unchanged() {
    for_each_case(async |case| {
        let mut run = run(case, &Setup::plain(1)).await;
        if let Some(Operator::Abandons(_)) = case.operator {
            // The abandoned command is carried out after all.
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
fn a_crash_after_a_write_equals_one_before_the_next() {
    for_each_case(async |case| {
        for deliveries in [1, 2] {
            let clean = run(case, &Setup::plain(deliveries)).await;
            let seen = |run: &Run| (run.script.tables(), run.ended_at, run.answer);
            let crash_at = async |nth, fault| {
                let setup = Setup {
                    fault: Some(PlannedFault {
                        nth,
                        fault,
                        lasts: false,
                    }),
                    ..Setup::plain(deliveries)
                };
                seen(&run(case, &setup).await)
            };
            // Two deliveries take long: an eighth of their writes.
            let writes = (0..clean.writes).step_by(if deliveries == 1 { 1 } else { 8 });
            for nth in writes {
                let expected = match clean.last_writes.get(&nth) {
                    Some(true) => continue,
                    Some(false) => seen(&clean),
                    None => crash_at(nth + 1, Fault::KillBefore).await,
                };
                let after = crash_at(nth, Fault::KillAfter).await;
                assert_eq!(after, expected, "{}: write {nth}", case.name);
            }
        }
    });
}

#[test]
fn an_order_recovers_in_time_from_a_fault_at_any_write_or_send() {
    let tried = AtomicUsize::new(0);
    for_each_case(async |case| {
        // A crash; a call that fails at every retry, so that its caller sees it; and a lost answer
        // that the SDK retries.
        let faults = [
            (Fault::KillBefore, false),
            (Fault::KillAfter, false),
            (Fault::BeforeEffect, true),
            (Fault::AfterEffect, true),
            (Fault::AfterEffect, false),
        ];
        let mut clean = Vec::new();
        for first_sweep in FIRST_SWEEPS {
            let plain = Setup {
                first_sweep,
                ..Setup::plain(1)
            };
            clean.push(run(case, &plain).await);
        }
        let mut number = 0;
        for nth in 0..clean[0].writes {
            for (fault, lasts) in clean[0].faults_at(nth, &faults) {
                number += 1;
                let which = number % FIRST_SWEEPS.len();
                let setup = Setup {
                    first_sweep: FIRST_SWEEPS[which],
                    repeats_request: number % 2 == 0,
                    fault: Some(PlannedFault { nth, fault, lasts }),
                    ..Setup::plain(1)
                };
                let run = run(case, &setup).await;
                let what = format!("{}: {setup:?}", case.name);
                // A lasting fault hits the client's retries too.
                assert_eq!(run.script.faults() > 1, lasts, "{what}");
                assert_same_end(case, &clean[which], &run, &what);
                assert_in_time(&clean[which], &run, &what);
            }
        }
        tried.fetch_add(number, Ordering::Relaxed);
    });
    let tried = tried.into_inner();
    println!("{tried} faults");
    assert!(tried > 1_000, "{tried}");
}

#[test]
fn compensation_survives_double_delivery_and_crashes() {
    let crashes = [(Fault::KillBefore, false), (Fault::KillAfter, false)];
    for_each_case(async |case| {
        if case.ending.0 == "confirmed" {
            return;
        }
        let clean = run(case, &Setup::plain(2)).await;
        for nth in 0..clean.writes {
            for (fault, lasts) in clean.faults_at(nth, &crashes) {
                let setup = Setup {
                    fault: Some(PlannedFault { nth, fault, lasts }),
                    ..Setup::plain(2)
                };
                let run = run(case, &setup).await;
                let what = format!("{}: {setup:?}", case.name);
                assert_eq!(run.script.faults(), 1, "{what}");
                assert_same_end(case, &clean, &run, &what);
                assert_in_time(&clean, &run, &what);
            }
        }
    });
}
