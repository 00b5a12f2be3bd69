//! Every step, refusal and cancellation: delivered twice, failed at each write and each send, and
//! unwound, by cases instead of by chance.

use serde_json::{Value, json};
use simulation::network::Millis;
use simulation::script::{CUSTOMER, PRICE, STOCK, Script};
use simulation::system::STEP_TIMEOUT;
use test_support::Fault;
use uuid::Uuid;

/// Whatever befalls one call, an order has ended this long after its step's deadline.
const GRACE: Millis = 60_000;

/// One order from its placing to its end.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    body: Value,
    /// Users cannot be asked over REST, so its queue is.
    by_queue: bool,
    /// The customer is deactivated before users is asked through its queue.
    deactivated: bool,
    /// After so many deliveries the customer cancels.
    cancelled_after: Option<usize>,
    ending: (&'static str, Option<&'static str>),
}

impl Case {
    fn new(name: &str, method: &str, ending: (&'static str, Option<&'static str>)) -> Self {
        Self {
            name: name.to_owned(),
            body: order(2, method),
            by_queue: false,
            deactivated: false,
            cancelled_after: None,
            ending,
        }
    }
}

fn order(quantity: i64, method: &str) -> Value {
    json!({"lines": [{"sku": "SKU-0", "quantity": quantity}], "payment_method": method})
}

/// Every way an order can go.
fn cases() -> Vec<Case> {
    let confirmed = ("confirmed", None);
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
    let mut cases = vec![
        Case::new("confirmed", "pm_card_visa", confirmed),
        Case::new("the provider's answer lost", "pm_sim_lostReply", confirmed),
        Case {
            body: order(STOCK + 1, "pm_card_visa"),
            ..Case::new("out of stock", "", ("rejected", Some("out_of_stock")))
        },
        Case::new(
            "declined",
            "pm_card_chargeDeclined",
            ("rejected", Some("payment_declined")),
        ),
        Case::new(
            "the provider down",
            "pm_sim_unavailable",
            ("rejected", Some("timed_out")),
        ),
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
    ];
    // Reserve, its reply, charge, its reply: then it is confirmed.
    for deliveries in 0..=5 {
        cases.push(Case {
            cancelled_after: Some(deliveries),
            ..Case::new(
                &format!("cancelled after {deliveries} deliveries"),
                "pm_card_visa",
                ("cancelled", None),
            )
        });
    }
    cases.push(Case {
        by_queue: true,
        cancelled_after: Some(0),
        ..Case::new("cancelled unverified", "pm_card_visa", ("cancelled", None))
    });
    // Cancelled while the charge is declined: the decline was first, or the cancellation was.
    for deliveries in 2..=3 {
        cases.push(Case {
            cancelled_after: Some(deliveries),
            ..Case::new(
                &format!("declined, cancelled after {deliveries} deliveries"),
                "pm_card_chargeDeclined",
                ("cancelled", None),
            )
        });
    }
    cases
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
    writes: usize,
}

/// Runs a case as a patient client does, with a fault at the nth write.
async fn run(case: &Case, deliveries: usize, fault: Option<(usize, Fault)>) -> Run {
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
    script.deliveries = deliveries;
    let before = aws.writes();
    if let Some((nth, fault)) = fault {
        aws.fault_at(nth, fault);
    }
    let mut order = Uuid::nil();
    for _ in 0..2 {
        if case.by_queue {
            // Whatever users is asked over REST, it dies.
            for _ in 0..2 {
                aws.fault_on("dynamodb:GetItem", Fault::KillBefore);
            }
        }
        let Some(response) = script.place("key", &case.body).await else {
            continue;
        };
        assert_eq!(response.status, 202, "{}: {:?}", case.name, response.body);
        let body: Value = serde_json::from_str(response.body.as_deref().unwrap()).unwrap();
        order = Uuid::try_parse(body["id"].as_str().unwrap()).unwrap();
        break;
    }
    if let Some(first) = case.cancelled_after {
        for _ in 0..first {
            script.deliver().await;
        }
        for _ in 0..2 {
            if let Some(response) = script.cancel(order).await {
                assert_eq!(response.status, 202, "{}: {:?}", case.name, response.body);
                break;
            }
        }
    }
    let ended_at = script.settle().await;
    let end = End {
        ending: script.ending(order),
        stock: script.stock(),
        money: script.money(order),
    };
    assert_eq!(script.violations, Vec::<String>::new(), "{}", case.name);
    Run {
        writes: aws.writes() - before,
        script,
        end,
        ended_at,
    }
}

fn on_its_own_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

#[test]
fn every_case_ends_as_it_should_with_the_books_in_order() {
    on_its_own_time(async {
        for case in cases() {
            let run = run(&case, 1, None).await;
            let (state, failure) = case.ending;
            let expected = (state.to_owned(), failure.map(str::to_owned));
            assert_eq!(run.end.ending, Some(expected), "{}", case.name);
            let (stock, money) = match state {
                "confirmed" => ((STOCK, STOCK - 2, 2), 2 * PRICE),
                _ => ((STOCK, STOCK, 0), 0),
            };
            assert_eq!(run.end.stock, stock, "{}", case.name);
            assert_eq!(run.end.money.0 - run.end.money.1, money, "{}", case.name);
        }
    });
}

#[test]
fn everything_delivered_twice_ends_as_once() {
    on_its_own_time(async {
        for case in cases() {
            let once = run(&case, 1, None).await;
            let twice = run(&case, 2, None).await;
            assert_eq!(twice.end, once.end, "{}", case.name);
            // Another number of deliveries is another moment of cancelling.
            if case.cancelled_after.is_none() {
                assert_eq!(twice.script.tables(), once.script.tables(), "{}", case.name);
            }
        }
    });
}

#[test]
fn every_message_of_a_run_replayed_twice_leaves_the_tables_identical() {
    on_its_own_time(async {
        for case in cases() {
            let mut run = run(&case, 1, None).await;
            let before = run.script.tables();
            run.script.replay().await;
            run.script.replay().await;
            assert_eq!(run.script.tables(), before, "{}", case.name);
            assert_eq!(run.script.violations, Vec::<String>::new(), "{}", case.name);
        }
    });
}

#[test]
fn a_death_or_failure_at_any_write_or_send_is_made_up_for_within_the_deadline() {
    const FAULTS: [Fault; 4] = [
        Fault::KillBefore,
        Fault::KillAfter,
        Fault::BeforeEffect,
        Fault::AfterEffect,
    ];
    // A request or an answer that is lost is the clients' own to repeat; dying is not.
    const DEATHS: usize = 2;
    let step = STEP_TIMEOUT.as_millis() as Millis;
    on_its_own_time(async {
        let mut tried = 0;
        for case in cases() {
            let clean = run(&case, 1, None).await;
            let faults = match case.cancelled_after {
                None => &FAULTS[..],
                Some(_) => &FAULTS[..DEATHS],
            };
            for nth in 0..clean.writes {
                for fault in faults {
                    let run = run(&case, 1, Some((nth, fault.clone()))).await;
                    let what = format!("{fault:?} at write {nth} of {}", case.name);
                    assert!(run.script.system.aws.fired() > 0, "{what}");
                    if case.cancelled_after.is_none() {
                        assert_eq!(run.end, clean.end, "{what}");
                    } else {
                        // Dying may put the cancellation at another moment, never aside.
                        assert_eq!(run.end.ending, clean.end.ending, "{what}");
                        assert_eq!(run.end.stock, clean.end.stock, "{what}");
                    }
                    let late = run.ended_at - clean.ended_at;
                    assert!(late <= step + GRACE, "{what}: {late} ms late");
                    tried += 1;
                }
            }
        }
        // One for each fault at each write of each case.
        assert!(tried > 400, "{tried}");
    });
}

#[test]
fn unwinding_is_itself_unwound_twice_and_dies_anywhere() {
    on_its_own_time(async {
        for case in cases() {
            if case.ending.0 == "confirmed" {
                continue;
            }
            let clean = run(&case, 2, None).await;
            for nth in 0..clean.writes {
                for fault in [Fault::KillBefore, Fault::KillAfter] {
                    let run = run(&case, 2, Some((nth, fault.clone()))).await;
                    let what = format!("{fault:?} at write {nth} of {}", case.name);
                    assert_eq!(run.end.ending, clean.end.ending, "{what}");
                    assert_eq!(run.end.stock, clean.end.stock, "{what}");
                    let (charged, refunded) = run.end.money;
                    assert_eq!(charged, refunded, "{what}");
                }
            }
        }
    });
}
