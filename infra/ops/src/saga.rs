//! `waybill saga`: lists orders in flight, retries and abandons their steps.
//!
//! This tool writes nothing: it calls the function `orders-admin`, so the state machine stays the
//! only writer of orders.

use std::fmt::Write;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::invoke;
use crate::audit::rows::{MIGRATIONS, swept_shards};
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::ui::{age, money, sanitize};

/// The commands of `waybill saga`. The comments here are their `--help`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// List the orders in flight, each with its next step for the operator
    #[command(name = "ls")]
    List(List),
    /// Send an order's current command again and give it all its attempts back
    Retry { order: Uuid },
    /// Continue without a parked refund or release that was settled by hand
    Abandon {
        order: Uuid,
        /// The step as `saga ls` prints it
        // Required, so that a repeated decision about the refund cannot abandon the release.
        step: String,
        /// The reason, which the order's timeline keeps
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct List {
    /// List only parked and overdue orders
    #[arg(long)]
    pub stuck: bool,
    /// List orders that the sweeper cannot find, by a scan of the whole table
    #[arg(long, conflicts_with = "stuck")]
    pub never_due: bool,
    /// Print JSON: {orders: [{order_id, status, state, waits_for, parked, due_at, ...}], unreadable}
    #[arg(long)]
    pub json: bool,
}

pub fn run(aws: &Aws, prefix: &str, action: &Action) -> Result<String> {
    carry_out(
        &|request| ask(aws, prefix, request),
        &|request| scan(aws, prefix, request),
        &|| operator(aws),
        action,
        Timestamp::now(),
    )
}

/// The list as `orders-admin` returns it.
pub fn list(aws: &Aws, prefix: &str, list: &List) -> Result<Value> {
    let ask = |request| ask(aws, prefix, request);
    match list.never_due {
        true => self::never_due(&ask, &|request| scan(aws, prefix, request)),
        false => pages(&ask, list.stuck),
    }
}

fn scan(aws: &Aws, prefix: &str, mut request: Value) -> Result<Value> {
    request["TableName"] = json!(format!("{prefix}-orders"));
    aws.call("dynamodb", "Scan", request)
        .context("reading the table of orders")
}

/// The orders in flight that are missing from the sweeper's index: they have no `due_at` or no
/// swept `due_shard`. Reads the whole table with the operator's rights.
fn never_due(ask: Ask<'_>, scan: Ask<'_>) -> Result<Value> {
    let mut values = json!({
        ":confirmed": {"S": "confirmed"},
        ":rejected": {"S": "rejected"},
        ":cancelled": {"S": "cancelled"},
    });
    let mut names = Vec::new();
    for (number, shard) in swept_shards().enumerate() {
        names.push(format!(":shard{number}"));
        values[&names[number]] = json!({"S": shard});
    }
    let mut request = json!({
        "ProjectionExpression": "pk, due_at",
        "FilterExpression": format!(
            "(attribute_not_exists(due_at) OR attribute_not_exists(due_shard) \
              OR NOT due_shard IN ({})) AND NOT #state IN (:confirmed, :rejected, :cancelled)",
            names.join(", ")
        ),
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": values,
    });
    let (mut orders, mut unreadable) = (Vec::new(), Vec::new());
    loop {
        let page = scan(request.clone())?;
        for row in array(&page["Items"]) {
            let pk = text(&row["pk"]["S"]);
            if pk == MIGRATIONS {
                continue;
            }
            let id = pk
                .strip_prefix("ORDER#")
                .filter(|id| Uuid::try_parse(id).is_ok());
            let Some(id) = id else {
                unreadable.push(json!({"order_id": pk, "cause": "its key has no order id"}));
                continue;
            };
            let mut answer = ask(json!({"action": "show", "order_id": id}))?;
            if answer["outcome"] == "unreadable" {
                unreadable.push(json!({"order_id": id, "cause": answer["detail"]}));
                continue;
            }
            let mut order = answer["order"].take();
            // An order that has advanced since the scan has another deadline.
            let due = |at: &Value| at.as_str().and_then(|at| at.parse::<Timestamp>().ok());
            if order["waits_for"].is_string() && due(&order["due_at"]) == due(&row["due_at"]["S"]) {
                order["due_at"] = Value::Null;
                orders.push(order);
            }
        }
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
        if request["ExclusiveStartKey"].is_null() {
            return Ok(json!({"orders": orders, "unreadable": unreadable}));
        }
    }
}

/// Calls `orders-admin`, or scans the orders table.
type Ask<'a> = &'a dyn Fn(Value) -> Result<Value>;

fn carry_out(
    ask: Ask<'_>,
    scan: Ask<'_>,
    operator: &dyn Fn() -> Result<String>,
    action: &Action,
    now: Timestamp,
) -> Result<String> {
    match action {
        Action::List(list) => {
            let (found, what) = match (list.never_due, list.stuck) {
                (true, _) => (never_due(ask, scan), NEVER_DUE),
                (false, true) => (pages(ask, true), STUCK),
                (false, false) => (pages(ask, false), IN_FLIGHT),
            };
            let found = found.map_err(|error| {
                Error::new(format!(
                    "listing the {}: {error}; run this again, it only reads",
                    what[1]
                ))
            })?;
            Ok(format_list(&sanitize(&found), what, now))
        }
        Action::Retry { order } => {
            let request = |by: &str| json!({"action": "retry", "order_id": order, "by": by});
            let answer = send_as_operator(ask, operator, *order, "retry", &request)?;
            outcome_text(*order, "retry", &answer)
        }
        Action::Abandon {
            order,
            step,
            reason,
        } => {
            let request = |by: &str| {
                json!({"action": "abandon", "order_id": order, "step": step,
                       "reason": reason, "by": by})
            };
            let doing = format!("abandon {step}");
            let answer = send_as_operator(ask, operator, *order, &doing, &request)?;
            let mut output = outcome_text(*order, &doing, &answer)?;
            if ["abandoned", "recorded_not_sent"].contains(&text(&answer["outcome"])) {
                output.push_str(&warning(*order, &abandoned(&answer["order"], step)));
            }
            Ok(output)
        }
    }
}

/// Sends a retry or abandon request. Without an answer, the request may or may not have been done.
fn send_as_operator(
    ask: Ask<'_>,
    operator: &dyn Fn() -> Result<String>,
    order: Uuid,
    doing: &str,
    request: &dyn Fn(&str) -> Value,
) -> Result<Value> {
    operator()
        .and_then(|by| ask(request(&by)))
        .map_err(|error| {
            Error::new(format!(
                "order {order}: {doing}: {error}; run this again, a repeat is safe (waybill saga \
                 ls shows whether it was done)"
            ))
        })
}

/// Reads all pages of the list.
fn pages(ask: Ask<'_>, stuck: bool) -> Result<Value> {
    let mut whole: Option<Value> = None;
    let mut request = json!({"action": "list", "stuck": stuck});
    loop {
        let mut page = ask(request.clone())?;
        if !page["orders"].is_array() {
            return Err(Error::new(format!(
                "orders-admin answered {page} instead of a list"
            )));
        }
        let cursor = page["next_cursor"].take();
        if cursor == request["cursor"] && !cursor.is_null() {
            return Err(Error::new("orders-admin returned the same page twice"));
        }
        request["cursor"] = cursor;
        whole = Some(match whole {
            None => page,
            Some(before) => merge_pages(before, &page),
        });
        if request["cursor"].is_null() {
            return Ok(whole.unwrap_or_default());
        }
    }
}

/// An order that advanced meanwhile is on two pages; the later one is newer.
fn merge_pages(mut before: Value, page: &Value) -> Value {
    for kind in ["orders", "unreadable"] {
        let mut rows = array(&before[kind]).to_vec();
        for row in array(&page[kind]) {
            rows.retain(|known| known["order_id"] != row["order_id"]);
            rows.push(row.clone());
        }
        before[kind] = Value::Array(rows);
    }
    let nameless = |list: &Value| list["nameless"].as_u64().unwrap_or(0);
    before["nameless"] = json!(nameless(&before) + nameless(page));
    before
}

/// Abandoning changes nothing at the participant, which still carries out a command that arrives.
fn warning(order: Uuid, abandoned: &Value) -> String {
    let commands = array(&abandoned["commands"]).iter().map(text);
    format!(
        "\na dead letter {} of this order must not be sent back: waybill dlq ls finds it and \
         waybill dlq drop ID drops it; waybill audit reports order {order} if one still runs",
        commands.collect::<Vec<_>>().join(" or ")
    )
}

fn abandoned(order: &Value, step: &str) -> Value {
    let mut steps = array(&order["abandoned"]).iter();
    steps
        .find(|entry| entry["step"] == step)
        .map_or(Value::Null, sanitize)
}

/// An order with its timeline, as `orders-admin` returns it.
pub fn show(aws: &Aws, prefix: &str, order: Uuid) -> Result<Value> {
    ask(aws, prefix, json!({"action": "show", "order_id": order}))
}

/// Formats an order and its timeline.
pub fn shown(answer: &Value) -> String {
    let answer = sanitize(answer);
    let order = &answer["order"];
    let Some(id) = order["order_id"].as_str() else {
        return format!("order       {}", answer["outcome"].as_str().unwrap_or("?"));
    };
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut output = format!(
        "order       {id}: {} ({}), waits for {}{} (as orders-admin shows it)",
        word(&order["status"]),
        word(&order["state"]),
        word(&order["waits_for"]),
        total(order)
    );
    // Always with milliseconds, so that the events stand below each other.
    let time = |at: &Value| match word(at).parse::<Timestamp>() {
        Ok(at) => format!("{at:.3}"),
        Err(_) => word(at),
    };
    for entry in array(&order["timeline"]) {
        output.push_str(&format!(
            "\n  {}  {}",
            time(&entry["at"]),
            word(&entry["event"])
        ));
        if let Some(attempt) = entry["attempt"].as_u64() {
            output.push_str(&format!(" ({attempt})"));
        }
        if let Some(detail) = entry["detail"].as_str() {
            output.push_str(&format!(": {detail}"));
        }
    }
    output
}

fn ask(aws: &Aws, prefix: &str, request: Value) -> Result<Value> {
    invoke(aws, &format!("{prefix}-orders-admin"), &request)
}

/// The caller's user or role session name, without the account.
pub(crate) fn operator(aws: &Aws) -> Result<String> {
    let identity = aws
        .call("sts", "GetCallerIdentity", json!({}))
        .context("asking AWS for the caller's identity")?;
    let arn = identity["Arn"]
        .as_str()
        .context("AWS returned no identity")?;
    Ok(name_in(arn))
}

fn name_in(arn: &str) -> String {
    arn.rsplit(['/', ':']).next().unwrap_or(arn).to_owned()
}

fn outcome_text(order: Uuid, doing: &str, answer: &Value) -> Result<String> {
    let answer = &sanitize(answer);
    let now = &answer["order"];
    let [state, status, waits_for] = ["state", "status", "waits_for"].map(|name| text(&now[name]));
    let (detail, due_at) = (text(&answer["detail"]), text(&now["due_at"]));
    let next = || format!("\nnext: {}", next_step(now));
    let later = format!(
        "{waits_for} was not sent: {detail}; run this again, or leave it to the sweeper, which sends \
         it after {due_at}"
    );
    let failed = |what: String| Err(Error::new(format!("order {order}: {doing}: {what}")));
    match text(&answer["outcome"]) {
        "sent" => Ok(format!(
            "order {order}: {waits_for} is sent; all {} attempts are available again",
            now["max_attempts"]
        )),
        "nothing_owed" => Ok(format!(
            "order {order} is {status}: it has ended and owes nothing"
        )),
        "abandoned" if now["waits_for"].is_string() => Ok(format!(
            "order {order}: abandoned, and the order continues: {state}, waits for {waits_for}"
        )),
        "abandoned" => Ok(format!(
            "order {order}: abandoned, and the order has ended: {status}"
        )),
        "answered" => Ok(format!(
            "order {order}: the reply had already arrived, so nothing was abandoned; the order is {state}"
        )),
        "recorded_not_sent" => Ok(format!("order {order}: {doing}: recorded, but {later}")),
        "not_sent" => failed(later),
        "abandoned_before" => failed(format!(
            "it was already abandoned {}; this decision was not recorded; if another operator made \
             the first, agree with them on what to do{}",
            abandoned_before(now, doing),
            next()
        )),
        "never_asked" => failed(format!(
            "this command was never sent, so there is nothing to abandon; the order is {state}{}",
            next()
        )),
        "refused" => failed(format!("the order is {state}: {detail}{}", next())),
        "unreadable" => failed(format!(
            "its row cannot be read, so the order stands still: {detail}; repair the row (point-in-time \
             recovery has an earlier version), then run this again"
        )),
        "invalid" => failed(format!("{detail}; correct that and run this again")),
        "no_such_order" => failed(
            "there is no such order; waybill saga ls lists the ids of orders in flight".to_owned(),
        ),
        _ => failed(format!(
            "this version does not know the answer {answer} of orders-admin; waybill saga ls shows \
             whether it was done"
        )),
    }
}

/// Singular and plural of the listed orders.
type Listed = [&'static str; 2];
const IN_FLIGHT: Listed = ["order in flight", "orders in flight"];
const STUCK: Listed = ["stuck order", "stuck orders"];
const NEVER_DUE: Listed = [
    "order in flight that the sweeper cannot find",
    "orders in flight that the sweeper cannot find",
];

fn format_list(list: &Value, what: Listed, now: Timestamp) -> String {
    let mut shown = String::new();
    write(&mut shown, list, what, now).expect("text can always be added to");
    shown
}

fn write(shown: &mut String, list: &Value, what: Listed, now: Timestamp) -> std::fmt::Result {
    let (orders, unreadable) = (array(&list["orders"]), array(&list["unreadable"]));
    let number = orders.len();
    write!(shown, "{number} {}", what[usize::from(number != 1)])?;
    for order in orders {
        let since = order["created_at"].as_str().and_then(|at| at.parse().ok());
        let old = since.map_or("?".to_owned(), |since| age(since, now));
        let remark = match (order["parked"] == true, order["overdue"] == true) {
            (true, _) => ", parked",
            (false, true) => ", overdue",
            (false, false) => "",
        };
        write!(
            shown,
            "\n\n{}  {old} old{}\n  {}, attempt {} of {}{remark}, waits for {}, due {}",
            text(&order["order_id"]),
            total(order),
            text(&order["state"]),
            // The attempt of a parked order is the next one, which an operator has to allow.
            order["attempt"]
                .as_u64()
                .min(order["max_attempts"].as_u64())
                .unwrap_or(0),
            order["max_attempts"],
            text(&order["waits_for"]),
            order["due_at"].as_str().unwrap_or("never"),
        )?;
        if let Some(code) = order["failure"]["code"].as_str() {
            write!(
                shown,
                "\n  failed: {code}: {}",
                text(&order["failure"]["detail"])
            )?;
        }
        if let Some(faults) = order["rehearsal"].as_str() {
            write!(shown, "\n  injected faults: {faults}")?;
        }
        write!(shown, "\n  next: {}", next_step(order))?;
    }
    for row in unreadable {
        write!(
            shown,
            "\n\n{}  cannot be read: {}\n  next: repair its row; the order stands still until then",
            text(&row["order_id"]),
            text(&row["cause"])
        )?;
    }
    if let Some(nameless @ 1..) = list["nameless"].as_u64() {
        write!(
            shown,
            "\n\n{nameless} in the index of due orders without a readable id or time\n  next: \
             waybill audit names the unreadable rows; repair them"
        )?;
    }
    Ok(())
}

pub fn total(order: &Value) -> String {
    let total = &order["total"];
    match (total["amount"].as_i64(), total["currency"].as_str()) {
        (Some(amount), Some(currency)) => format!(", {}", money(amount, currency)),
        _ => String::new(),
    }
}

/// The operator, time and reason from the timeline.
fn abandoned_before(order: &Value, doing: &str) -> String {
    let step = doing.strip_prefix("abandon ").unwrap_or(doing);
    let entry = abandoned(order, step);
    format!("{} at {}", text(&entry["detail"]), text(&entry["at"]))
}

/// The operator's next step for an order.
fn next_step(order: &Value) -> String {
    let (id, service) = (text(&order["order_id"]), text(&order["participant"]));
    let see = format!(
        "find out why {service} does not answer (waybill dlq ls, waybill logs \
                       {service})"
    );
    let compensation = order["compensation"].as_str();
    match (text(&order["next"]), compensation) {
        ("nothing", _) => "nothing: it has ended".to_owned(),
        ("retry_or_abandon", Some(step)) => format!(
            "{see}; then waybill saga retry {id}, or settle it by hand and waybill saga abandon {id} \
             {step} --reason TEXT"
        ),
        _ if order["due_at"].is_null() => {
            format!("waybill saga retry {id}: the sweeper cannot find it")
        }
        ("retry", _) => {
            format!("waybill saga retry {id}; the sweeper should have done it: waybill logs orders")
        }
        (_, undoing) => {
            let due_at = order["due_at"].as_str().unwrap_or("no time");
            let is_last = order["attempt"].as_u64() >= order["max_attempts"].as_u64();
            match (is_last, undoing) {
                (true, Some(_)) => {
                    format!("{see}: at {due_at} the order is parked, and then retried every hour")
                }
                (true, None) => format!(
                    "{see}: at {due_at} the order is rejected and undone, unless waybill saga retry {id} \
                     restores its attempts before then"
                ),
                (false, _) => format!(
                    "nothing: {} is sent again at {due_at}",
                    text(&order["waits_for"])
                ),
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert_contains;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn order(parked: bool, overdue: bool) -> Value {
        let next = match (parked, overdue) {
            (true, _) => "retry_or_abandon",
            (false, true) => "retry",
            (false, false) => "wait",
        };
        json!({
            "participant": "payments", "compensation": "refund", "next": next,
            "order_id": ID, "status": "CANCELLING", "state": "refunding_to_cancel",
            "waits_for": "RefundPayment", "attempt": 3, "max_attempts": 5, "parked": parked,
            "overdue": overdue, "due_at": "2026-01-02T04:00:00Z", "failure": null,
            "created_at": "2026-01-02T00:30:00Z",
        })
    }

    fn listing(stuck: bool, never_due: bool) -> Action {
        Action::List(List {
            stuck,
            never_due,
            json: false,
        })
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().expect("a time")
    }

    #[test]
    fn each_order_is_listed_with_its_next_step() {
        let list = json!({
            "orders": [order(true, false), order(false, true), order(false, false)],
            "unreadable": [{"order_id": ID, "cause": "an unknown state"}],
            "nameless": 2,
        });
        let shown = format_list(&list, STUCK, now());
        assert!(shown.starts_with("3 stuck orders\n"), "{shown}");
        assert_contains(
            &shown,
            &[
                "2 h old",
                "refunding_to_cancel, attempt 3 of 5, parked, waits for RefundPayment",
                "find out why payments does not answer",
                &format!("waybill saga abandon {ID} refund --reason TEXT"),
                "2 in the index of due orders without a readable id",
                "attempt 3 of 5, overdue,",
                "nothing: RefundPayment is sent again at 2026-01-02T04:00:00Z",
                "cannot be read: an unknown state",
            ],
        );
    }

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        let hostile = format!("\u{1b}[2J\u{202e}\n  next: forged{}", "x".repeat(200_000));
        let mut order = order(true, true);
        order["total"] = json!({"amount": 1400, "currency": "USD"});
        order["failure"] = json!({"code": hostile, "detail": hostile});
        for name in ["rehearsal", "state", "due_at"] {
            order[name] = json!(hostile);
        }
        order["abandoned"] =
            json!([{"step": "refund", "at": hostile, "detail": hostile, "commands": [hostile]}]);
        let list = json!({"orders": [order], "nameless": 0,
                          "unreadable": [{"order_id": ID, "cause": hostile}]});
        let list = done(&listing(true, false), |_| Ok(list.clone())).expect("a list");
        assert_contains(&list, &["2 h old, 14.00 USD\n"]);
        let mut output = vec![list];
        for outcome in [
            "sent",
            "nothing_owed",
            "abandoned",
            "answered",
            "abandoned_before",
            "never_asked",
            "recorded_not_sent",
            "not_sent",
            "refused",
            "unreadable",
            "invalid",
            &hostile,
        ] {
            let answer = json!({"outcome": outcome, "order": order, "detail": hostile});
            let answer = outcome_text(Uuid::nil(), "abandon refund", &answer);
            output.push(answer.unwrap_or_else(|error| error.to_string()));
        }
        for text in output {
            let is_hidden = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(is_hidden), "{text:.500}");
            assert!(
                !text.lines().any(|line| line.starts_with("  next: forged")),
                "{text:.500}"
            );
            assert!(text.len() < 12 * crate::ui::LINE, "{}", text.len());
        }
    }

    #[test]
    fn the_last_attempt_promises_no_further_one() {
        let last = |compensation: Option<&str>| {
            let mut order = order(false, false);
            order["attempt"] = json!(5);
            order["compensation"] = json!(compensation);
            next_step(&order)
        };
        let next = last(Some("release"));
        assert_contains(&next, &["at 2026-01-02T04:00:00Z the order is parked"]);
        let next = last(None);
        let expected = format!("unless waybill saga retry {ID}");
        assert_contains(&next, &["is rejected and undone", &expected]);
    }

    #[test]
    fn a_decision_without_effect_is_an_error() {
        let mut now = order(true, false);
        now["abandoned"] = json!([{"at": "2026-01-02T03:00:00Z", "step": "refund",
                                   "detail": "by olga: paid by bank"}]);
        let output = |outcome: &str| {
            let answer = json!({"outcome": outcome, "order": now});
            let output = outcome_text(Uuid::nil(), "abandon refund", &answer);
            output.expect_err("nothing was recorded").to_string()
        };
        let before = output("abandoned_before");
        assert_contains(&before, &["by olga: paid by bank at 2026-01-02T03:00:00Z"]);
        assert_contains(&before, &["not recorded", "next: "]);
        let never = output("never_asked");
        assert_contains(&never, &["never sent", "next: "]);
    }

    #[test]
    fn injected_faults_are_listed() {
        let mut rehearsed = order(true, false);
        rehearsed["rehearsal"] = json!("refund_payment=fail");
        let list = json!({"orders": [rehearsed, order(true, false)], "unreadable": []});
        let shown = format_list(&list, STUCK, now());
        let output = "injected faults: refund_payment=fail";
        assert_eq!(shown.matches(output).count(), 1, "{shown}");
    }

    #[test]
    fn an_empty_list_says_so() {
        let list = json!({"orders": [], "unreadable": []});
        assert_eq!(format_list(&list, STUCK, now()), "0 stuck orders");
        assert_eq!(format_list(&list, IN_FLIGHT, now()), "0 orders in flight");
    }

    #[test]
    fn every_outcome_has_a_sentence() {
        let id = Uuid::from_u128(7);
        let output = |outcome: &str, order: Value| {
            outcome_text(
                id,
                "retry",
                &json!({"outcome": outcome, "order": order, "detail": "not parked"}),
            )
        };
        let sent = output("sent", order(false, false)).expect("it is sent");
        assert_contains(&sent, &["RefundPayment is sent"]);
        let ended = json!({"status": "CANCELLED", "state": "cancelled", "waits_for": null,
                           "next": "nothing"});
        assert!(output("nothing_owed", ended.clone()).is_ok());
        let abandoned = output("abandoned", ended).expect("it is abandoned");
        assert_contains(&abandoned, &["has ended: CANCELLED"]);
        let goes_on = output("abandoned", order(false, false)).expect("it is abandoned");
        assert_contains(&goes_on, &["the order continues"]);
        let warned = warning(id, &json!({"commands": ["ReserveStock", "ReleaseStock"]}));
        assert_contains(
            &warned,
            &["a dead letter ReserveStock or ReleaseStock of this"],
        );
        assert!(output("answered", order(false, false)).is_ok());
        let refused = output("refused", order(false, false)).expect_err("it is refused");
        assert!(refused.to_string().contains("not parked"), "{refused}");
        let unsent = output("not_sent", order(false, false)).expect_err("it is not sent");
        let unsent = unsent.to_string();
        assert_contains(
            &unsent,
            &["RefundPayment was not sent: not parked; run this again"],
        );
        let kept = output("recorded_not_sent", order(false, false)).expect("it is recorded");
        assert_contains(
            &kept,
            &[
                "RefundPayment was not sent",
                "run this again",
                "2026-01-02T04:00:00Z",
            ],
        );
        for (outcome, next) in [
            ("no_such_order", "waybill saga ls"),
            ("unreadable", "repair the row"),
            ("eaten", "waybill saga ls"),
        ] {
            let error = output(outcome, Value::Null).expect_err(outcome).to_string();
            assert!(
                error.starts_with(&format!("order {ID}: retry: ")),
                "{error}"
            );
            assert!(error.contains(next), "{error}");
        }
    }

    fn done(action: &Action, answer: impl Fn(Value) -> Result<Value>) -> Result<String> {
        let scan = |_| Err(Error::new("this needs no scan"));
        carry_out(&answer, &scan, &|| Ok("olga".to_owned()), action, now())
    }

    #[test]
    fn a_failure_names_order_action_and_next_step() {
        let order = Uuid::from_u128(7);
        let retry = Action::Retry { order };
        let abandon = Action::Abandon {
            order,
            step: "refund".to_owned(),
            reason: "paid back by hand".to_owned(),
        };
        for (action, doing) in [(retry, "retry"), (abandon, "abandon refund")] {
            let broken = |_| Err(Error::new("the connection broke"));
            let operator = || Err(Error::new("the credentials have expired"));
            for error in [
                done(&action, broken),
                carry_out(
                    &|_| Ok(Value::Null),
                    &|_| Ok(Value::Null),
                    &operator,
                    &action,
                    now(),
                ),
            ] {
                let error = error.expect_err("it fails").to_string();
                let begins = format!("order {ID}: {doing}: the c");
                assert!(error.starts_with(&begins), "{error}");
                assert_contains(&error, &["run this again"]);
            }
            let invalid = |_| Ok(json!({"outcome": "invalid", "detail": "the request: no"}));
            let error = done(&action, invalid)
                .expect_err("it is no answer")
                .to_string();
            let begins = format!("order {ID}: {doing}: the request: no");
            assert!(error.starts_with(&begins), "{error}");
        }
    }

    #[test]
    fn all_pages_are_read_and_an_order_is_listed_once() {
        let list = listing(true, false);
        let mut moved = order(false, true);
        let output = done(&list, |request| {
            assert_eq!(request["stuck"], true);
            Ok(match request["cursor"]["partition"].as_u64() {
                None => json!({"orders": [order(true, false)], "unreadable": [], "nameless": 1,
                               "next_cursor": {"partition": 1}}),
                Some(1) => json!({"orders": [moved.clone()], "unreadable": [], "nameless": 1,
                                  "next_cursor": null}),
                Some(other) => panic!("there is no page {other}"),
            })
        });
        let output = output.expect("a list");
        assert!(output.starts_with("1 stuck order\n"), "{output}");
        assert_contains(
            &output,
            &[", overdue, waits for", "2 in the index of due orders"],
        );

        moved["order_id"] = json!("another");
        let output = done(&list, |_| {
            Ok(json!({"orders": [moved.clone()], "next_cursor": {"partition": 1}}))
        });
        let error = output.expect_err("it never ends").to_string();
        assert_contains(&error, &["the same page twice"]);
    }

    const LATER: &str = "2026-01-02T04:00:00.000Z";

    /// The output of `saga ls --never-due` for these rows, one a page.
    fn never_due_of(rows: &[Value], ask: impl Fn(Value) -> Result<Value>) -> String {
        let scan = |request: Value| {
            let page = request["ExclusiveStartKey"]["pk"]["N"].as_str();
            let page: usize = page.map_or(0, |page| page.parse().expect("a page"));
            let mut answer = json!({"Items": [rows.get(page)]});
            if page + 1 < rows.len() {
                answer["LastEvaluatedKey"] = json!({"pk": {"N": (page + 1).to_string()}});
            }
            Ok(answer)
        };
        let operator = || Ok("olga".to_owned());
        carry_out(&ask, &scan, &operator, &listing(false, true), now()).expect("a list")
    }

    #[test]
    fn a_scan_finds_orders_that_the_sweeper_misses() {
        let row = |number: u128, due_at: Option<&str>| {
            let mut row = json!({"pk": {"S": format!("ORDER#{}", Uuid::from_u128(number))}});
            if let Some(due_at) = due_at {
                row["due_at"] = json!({"S": due_at});
            }
            row
        };
        // Without due_at; without a known due_shard; advanced since; not an order; unreadable.
        let mut rows = vec![row(7, None), row(8, Some(LATER)), row(9, None)];
        rows.push(json!({"pk": {"S": "order#\u{1b}7"}}));
        rows.push(row(10, Some("soon")));
        let ask = |request: Value| {
            let mut shown = order(false, true);
            shown["order_id"] = request["order_id"].clone();
            match request["order_id"].as_str().expect("an id").as_bytes()[35] {
                b'7' => shown["due_at"] = Value::Null,
                b'a' => return Ok(json!({"outcome": "unreadable", "detail": "an odd due_at"})),
                _ => {}
            }
            Ok(json!({"outcome": "found", "order": shown}))
        };
        let output = never_due_of(&rows, ask);
        let heading = "2 orders in flight that the sweeper cannot find\n";
        assert!(output.starts_with(heading), "{output}");
        assert_eq!(output.matches("due never").count(), 2, "{output}");
        for number in [7, 8] {
            let next = format!("next: waybill saga retry {}", Uuid::from_u128(number));
            assert!(output.contains(&next), "{output}");
        }
        assert_contains(
            &output,
            &[
                "order#\\u001b7  cannot be read: its key has no order id",
                &format!("{}  cannot be read: an odd due_at", Uuid::from_u128(10)),
            ],
        );

        let error = done(&listing(false, true), |_| Ok(Value::Null)).expect_err("it needs a scan");
        assert!(error.to_string().contains("run this again"), "{error}");
    }

    #[test]
    fn the_scan_filters_by_every_swept_shard() {
        let asked = std::cell::RefCell::new(Value::Null);
        let scan = |request: Value| {
            *asked.borrow_mut() = request;
            Ok(json!({"Items": []}))
        };
        let operator = || Ok("olga".to_owned());
        let none = carry_out(
            &|_| Ok(Value::Null),
            &scan,
            &operator,
            &listing(false, true),
            now(),
        );
        let none = none.expect("a list");
        assert_eq!(none, "0 orders in flight that the sweeper cannot find");
        let asked = asked.into_inner();
        let filter = asked["FilterExpression"].as_str().expect("a filter");
        for shard in ["DUE#0", "DUE#7", "PARKED"] {
            let values = asked["ExpressionAttributeValues"].as_object();
            let mut values = values.expect("values").iter();
            let name = values.find(|(_, value)| value["S"] == shard);
            let (name, _) = name.unwrap_or_else(|| panic!("{shard}: {asked}"));
            assert!(filter.contains(name.as_str()), "{asked}");
        }
    }

    #[test]
    fn an_invalid_list_is_an_error() {
        let list = listing(true, false);
        for answer in [
            Value::Null,
            json!({}),
            json!({"outcome": "found"}),
            json!({"orders": null}),
        ] {
            let error = done(&list, |_| Ok(answer.clone())).expect_err("it is no list");
            assert!(
                error.to_string().contains("listing the stuck orders"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_operators_name_omits_the_account() {
        for (arn, name) in [
            ("arn:aws:iam::123456789012:user/ops/olga", "olga"),
            (
                "arn:aws:sts::123456789012:assumed-role/Ops/olga@example.com",
                "olga@example.com",
            ),
            ("arn:aws:iam::123456789012:root", "root"),
        ] {
            assert_eq!(name_in(arn), name);
        }
    }
}
