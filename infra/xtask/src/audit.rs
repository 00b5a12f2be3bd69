//! `cargo xtask audit`: reconciles the books of all four services.
//!
//! It scans the four tables with an operator's own read rights, strongly consistently, and asks no
//! service: a service that answers wrongly, or no longer finds a row, cannot hide that from an
//! audit. (That no service reads another's table is a rule for services. The rows are read here as
//! their stores write them; of the users table it reads keys alone, and no hash.)
//!
//! The system goes on while it is read, and the tables are not read at one moment. Orders are read
//! first: what is wrong with an order, and is found once more after a pause with the order's row and
//! the others unchanged, was so all along. What moved in between is looked at again. An item that
//! sells all the time never stands still: of it, a difference that is the same at every look is so.

pub mod books;
pub mod reconcile;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::ui::count;
use books::Books;
use reconcile::{Finding, Reconciliation, Subject, reconcile};

/// How often the books are read until what is found stands still.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// The last look, and what is certain of it.
#[derive(Debug)]
pub struct Audit {
    pub last: Reconciliation,
    /// Found twice in unchanged rows.
    pub certain: Vec<Finding>,
    /// Found, and changing each time: perhaps the system at work.
    pub moving: Vec<Finding>,
}

/// Reads and compares until what is wrong is certain, or nothing is.
pub fn take(aws: &Aws, prefix: &str) -> Result<Audit> {
    until_certain(|| {
        let books = read(aws, prefix)?;
        Ok(reconcile(&books, Timestamp::now()))
    })
}

fn until_certain(mut look: impl FnMut() -> Result<Reconciliation>) -> Result<Audit> {
    let mut before = look()?;
    let mut certain: Vec<Finding> = Vec::new();
    let mut steady = before.findings.clone();
    for number in 2..=LOOKS {
        if before.findings.is_empty() {
            break;
        }
        thread::sleep(PAUSE);
        let now = look()?;
        // Certain once, it stays so for as long as it is seen at all.
        certain.retain(|known| now.findings.iter().any(|seen| is_same(known, seen)));
        steady.retain(|known| {
            let is_steady =
                |seen: &Finding| is_same(known, seen) && seen.difference == known.difference;
            known.difference.is_some() && now.findings.iter().any(is_steady)
        });
        for seen in &now.findings {
            let is_known = |findings: &[Finding]| findings.iter().any(|known| is_same(known, seen));
            let unmoved = |known: &Finding| is_same(known, seen) && known.evidence == seen.evidence;
            let is_certain =
                before.findings.iter().any(unmoved) || (number == LOOKS && is_known(&steady));
            if is_certain && !is_known(&certain) {
                certain.push(seen.clone());
            }
        }
        before = now;
        if certain.len() == before.findings.len() {
            break;
        }
    }
    let is_certain = |seen: &Finding| certain.iter().any(|known| is_same(known, seen));
    let moving = before.findings.iter().filter(|seen| !is_certain(seen));
    let moving = moving.cloned().collect();
    Ok(Audit {
        last: before,
        certain,
        moving,
    })
}

fn is_same(a: &Finding, b: &Finding) -> bool {
    (&a.subject, a.kind) == (&b.subject, b.kind)
}

/// Orders before their participants, and users last: nobody orders before they are registered.
fn read(aws: &Aws, prefix: &str) -> Result<Books> {
    let scanned = |table: &str| scan(aws, &format!("{prefix}-{table}"), None);
    let orders = scanned("orders")?;
    let inventory = scanned("inventory")?;
    let payments = scanned("payments")?;
    let users = scan(aws, &format!("{prefix}-users"), Some("pk, sk"))?;
    Ok(Books::read(&users, &orders, &inventory, &payments))
}

/// Every row of a table, as plain JSON.
fn scan(aws: &Aws, table: &str, attributes: Option<&str>) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut request = json!({"TableName": table, "ConsistentRead": true});
    if let Some(attributes) = attributes {
        request["ProjectionExpression"] = json!(attributes);
    }
    loop {
        let mut page = aws
            .call("dynamodb", "Scan", request.clone())
            .context(format!("reading {table}"))?;
        for item in page["Items"].as_array().into_iter().flatten() {
            rows.push(plain(&json!({"M": item})));
        }
        match page["LastEvaluatedKey"].take() {
            Value::Object(key) if !key.is_empty() => {
                request["ExclusiveStartKey"] = Value::Object(key);
            }
            _ => return Ok(rows),
        }
    }
}

/// An attribute as DynamoDB spells it (`{"N": "7"}`) as the value it is. What is not needed here
/// (sets, bytes) stays as it is.
fn plain(attribute: &Value) -> Value {
    let Some((kind, value)) = attribute
        .as_object()
        .and_then(|object| object.iter().next())
    else {
        return attribute.clone();
    };
    match (kind.as_str(), value) {
        ("S" | "BOOL", value) => value.clone(),
        ("NULL", _) => Value::Null,
        // A number that is no whole one is left as text, which no field is read from.
        ("N", Value::String(text)) => text
            .parse::<i64>()
            .map_or_else(|_| Value::String(text.clone()), Value::from),
        ("L", Value::Array(values)) => values.iter().map(plain).collect(),
        ("M", Value::Object(members)) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<Map<_, _>>()
            .into(),
        _ => attribute.clone(),
    }
}

impl Audit {
    /// What an operator reads.
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("text can always be added to");
        text
    }

    /// An error where something is certain not to balance, or is not certain to.
    pub fn verdict(&self) -> Result<()> {
        if !self.certain.is_empty() {
            let names = subjects(&self.certain);
            return Err(Error::new(format!("does not balance: {names}")));
        }
        if !self.moving.is_empty() {
            let names = subjects(&self.moving);
            return Err(Error::new(format!("not certain to balance: {names}")));
        }
        Ok(())
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Reconciliation {
            stock,
            money,
            orders,
            written_off,
            ..
        } = &self.last;
        writeln!(
            text,
            "orders      {} confirmed, {} rejected, {} cancelled, {} in flight\n",
            orders.confirmed, orders.rejected, orders.cancelled, orders.in_flight
        )?;
        writeln!(
            text,
            "{:<32}{:>10}{:>11}{:>8} ={:>10}{:>11}{:>12}{:>13}",
            "stock",
            "stocked",
            "available",
            "held",
            "confirmed",
            "in flight",
            "written off",
            "unexplained"
        )?;
        for (sku, stock) in stock {
            writeln!(
                text,
                "{sku:<32}{:>10}{:>11}{:>8} ={:>10}{:>11}{:>12}{:>13}",
                stock.stocked,
                stock.available,
                stock.held,
                stock.confirmed,
                stock.in_flight,
                stock.written_off,
                stock.unexplained
            )?;
        }
        writeln!(
            text,
            "\n{:<10}{:>16}{:>16}{:>16} ={:>16}{:>14}{:>14}{:>13}",
            "money",
            "charged",
            "refunded",
            "net",
            "confirmed",
            "in flight",
            "written off",
            "unexplained"
        )?;
        for (currency, cash) in money {
            writeln!(
                text,
                "{currency:<10}{:>16}{:>16}{:>16} ={:>16}{:>14}{:>14}{:>13}",
                cash.charged,
                cash.refunded,
                cash.charged.saturating_sub(cash.refunded),
                cash.confirmed,
                cash.in_flight,
                cash.written_off,
                cash.unexplained
            )?;
        }
        if !written_off.is_empty() {
            writeln!(text, "\nwritten off by operators")?;
            for entry in written_off {
                writeln!(
                    text,
                    "  order {}: {}, {}",
                    entry.order, entry.what, entry.decision
                )?;
            }
        }
        if !self.moving.is_empty() {
            writeln!(
                text,
                "\nnot certain: it changed each time it was looked at; run this again"
            )?;
            for finding in &self.moving {
                writeln!(text, "  {}: {}", finding.subject, finding.what)?;
            }
        }
        if self.certain.is_empty() {
            return match self.moving.is_empty() {
                true => write!(text, "\neverything balances"),
                false => write!(text, "\neverything else balances"),
            };
        }
        write!(
            text,
            "\n{} {} not balance",
            count(self.certain.len(), "thing"),
            if self.certain.len() == 1 {
                "does"
            } else {
                "do"
            }
        )?;
        for finding in &self.certain {
            write!(
                text,
                "\n  {}: {}\n      next: {}",
                finding.subject, finding.what, finding.next
            )?;
        }
        Ok(())
    }
}

fn subjects(findings: &[Finding]) -> String {
    let subjects: BTreeSet<&Subject> = findings.iter().map(|finding| &finding.subject).collect();
    let names: Vec<String> = subjects.iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::reconcile::Kind;
    use super::*;

    fn found(sku: &str, evidence: &str) -> Finding {
        Finding {
            subject: Subject::Item(sku.to_owned()),
            kind: Kind::HeldDiffers,
            what: format!("seen as {evidence}"),
            next: "mend it".to_owned(),
            evidence: evidence.to_owned(),
            difference: None,
        }
    }

    fn audit(looks: &[&[Finding]]) -> (Audit, usize) {
        let mut looked = 0;
        let audit = until_certain(|| {
            let findings = looks[looked.min(looks.len() - 1)].to_vec();
            looked += 1;
            Ok(Reconciliation {
                findings,
                ..Reconciliation::default()
            })
        });
        (audit.expect("looking does not fail"), looked)
    }

    #[test]
    fn books_that_balance_are_read_once() {
        let (audit, looked) = audit(&[&[]]);
        assert_eq!(looked, 1);
        assert!(audit.verdict().is_ok());
        assert!(audit.report().ends_with("everything balances"));
    }

    #[test]
    fn what_is_gone_at_the_second_look_was_the_system_at_work() {
        let (audit, looked) = audit(&[&[found("cup", "1")], &[]]);
        assert_eq!(looked, 2);
        assert!(audit.verdict().is_ok() && audit.moving.is_empty());
    }

    #[test]
    fn what_is_found_twice_in_unchanged_rows_is_certain_and_named() {
        let (audit, looked) = audit(&[&[found("cup", "1")]]);
        assert_eq!((looked, audit.certain.len()), (2, 1));
        let error = audit.verdict().expect_err("it does not balance");
        assert_eq!(error.to_string(), "does not balance: item cup");
        let report = audit.report();
        assert!(
            report.contains("item cup: seen as 1\n      next: mend it"),
            "{report}"
        );
    }

    #[test]
    fn what_changes_with_every_look_is_said_to_be_uncertain() {
        let looks: Vec<[Finding; 1]> = (0..LOOKS)
            .map(|number| [found("cup", &number.to_string())])
            .collect();
        let looks: Vec<&[Finding]> = looks.iter().map(|look| &look[..]).collect();
        let (audit, looked) = audit(&looks);
        assert_eq!(looked, LOOKS);
        let error = audit.verdict().expect_err("it may not balance");
        assert_eq!(error.to_string(), "not certain to balance: item cup");
        let report = audit.report();
        assert!(report.contains("not certain"), "{report}");
        assert!(!report.contains("everything balances"), "{report}");
    }

    #[test]
    fn a_difference_that_stays_while_its_rows_move_is_certain() {
        let looks = |differences: [i128; LOOKS]| {
            let mut look = 0;
            differences.map(|difference| {
                look += 1;
                [Finding {
                    difference: Some(difference),
                    ..found("cup", &look.to_string())
                }]
            })
        };
        for (differences, certain) in [([3; LOOKS], 1), ([3, 3, 3, 3, 2], 0), ([3, 2, 3, 3, 3], 0)]
        {
            let looks = looks(differences);
            let looks: Vec<&[Finding]> = looks.iter().map(|look| &look[..]).collect();
            let (audit, looked) = audit(&looks);
            assert_eq!((looked, audit.certain.len()), (LOOKS, certain));
            assert_eq!(audit.moving.len(), 1 - certain);
            assert!(audit.verdict().is_err());
        }
    }

    #[test]
    fn what_was_certain_stays_so_while_other_things_move() {
        let (pot, cup) = (found("pot", "same"), |n: &str| found("cup", n));
        let (audit, _) = audit(&[
            &[pot.clone(), cup("1")],
            &[pot.clone(), cup("2")],
            std::slice::from_ref(&pot),
        ]);
        assert_eq!(audit.certain, [pot]);
        assert!(audit.moving.is_empty());
    }

    #[test]
    fn attributes_are_read_as_the_values_they_are() {
        let row = json!({"M": {
            "pk": {"S": "a"}, "n": {"N": "-7"}, "half": {"N": "0.5"}, "no": {"NULL": true},
            "yes": {"BOOL": true}, "list": {"L": [{"N": "1"}, {"M": {"x": {"S": "y"}}}]},
        }});
        assert_eq!(
            plain(&row),
            json!({"pk": "a", "n": -7, "half": "0.5", "no": null, "yes": true,
                   "list": [1, {"x": "y"}]})
        );
    }
}
