//! `waybill audit`: reconciles stock and money across the four services.
//!
//! The audit scans the tables with strongly consistent reads and the operator's own rights. It
//! calls no service, so a service that answers wrongly or no longer finds a row cannot hide that.
//! The users table is not scanned: only the users of known orders are looked up, and only that they
//! exist.
//!
//! The tables change while the audit reads them. Orders are read first. If the first snapshot has
//! findings, a second follows after a pause. A finding that both snapshots report in unchanged rows
//! is certain. A finding of one snapshot alone was work in progress. A finding in rows that changed
//! in between is undecided. A reservation or payment without an order is looked up again, because
//! the order may be newer than the scan.
//!
//! Exit codes: 0 if everything balances, 1 if something does not, 2 if that is undecided, 3 if the
//! audit did not run.

pub mod reconcile;
pub mod rows;
mod snapshot;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::aws::Aws;
use crate::error::{Error, Result};
use crate::ui::{count, decimal, foreign, unit};
use reconcile::{Finding, Reconciliation, Subject, WrittenOff, reconcile};
use snapshot::snapshot;

/// The pause between the two snapshots.
const PAUSE: Duration = Duration::from_secs(2);

/// At most this many remarks are printed.
const REMARKS: usize = 100;

/// The last snapshot, and the findings of both.
#[derive(Debug, Default, serde::Serialize)]
pub struct Audit {
    pub last: Reconciliation,
    /// Found in both snapshots, in unchanged rows.
    pub certain: Vec<Finding>,
    /// Found in both snapshots, in rows that changed in between.
    pub undecided: Vec<Finding>,
}

/// Takes one snapshot, or two if the first has findings. An error means that reading failed; it
/// says nothing about the books.
pub fn take(aws: &Aws, prefix: &str) -> Result<Audit> {
    let call = |operation: &str, params: Value| aws.call("dynamodb", operation, params);
    // Rows that are written during a snapshot are not judged, so the time is taken before it.
    let judged = || {
        let now = Timestamp::now();
        Ok(reconcile(&snapshot(&call, prefix)?, now))
    };
    compare_snapshots(judged, || thread::sleep(PAUSE))
}

fn compare_snapshots(
    mut snapshot: impl FnMut() -> Result<Reconciliation>,
    pause: impl FnOnce(),
) -> Result<Audit> {
    let mut audit = Audit {
        last: snapshot()?,
        ..Audit::default()
    };
    if audit.last.findings.is_empty() {
        return Ok(audit);
    }
    pause();
    let first = std::mem::replace(&mut audit.last, snapshot()?);
    for finding in &audit.last.findings {
        let is_same =
            |known: &&Finding| (&known.subject, known.kind) == (&finding.subject, finding.kind);
        let known: Vec<&Finding> = first.findings.iter().filter(is_same).collect();
        match known.iter().any(|known| known.evidence == finding.evidence) {
            true => audit.certain.push(finding.clone()),
            false if known.is_empty() => {}
            false => audit.undecided.push(finding.clone()),
        }
    }
    Ok(audit)
}

impl Audit {
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("text can always be added to");
        text
    }

    /// Fails for certain findings; an undecided error for undecided ones.
    pub fn verdict(&self) -> Result<()> {
        if !self.certain.is_empty() {
            let names = subjects(&self.certain);
            return Err(Error::new(format!("does not balance: {names}")));
        }
        if !self.undecided.is_empty() {
            let names = subjects(&self.undecided);
            return Err(Error::undecided(format!(
                "undecided, run this again: {names}"
            )));
        }
        Ok(())
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Reconciliation {
            stock,
            money,
            orders,
            written_off,
            rows,
            ..
        } = &self.last;
        let rows: Vec<String> = rows
            .iter()
            .map(|(table, rows)| format!("{rows} of {table}"))
            .collect();
        writeln!(text, "rows        {}", rows.join(", "))?;
        writeln!(
            text,
            "orders      {} confirmed, {} rejected, {} cancelled, {} in flight\n",
            orders.confirmed, orders.rejected, orders.cancelled, orders.in_flight
        )?;
        let stock = stock.iter().map(|(sku, stock)| {
            let levels = [stock.stocked, stock.available, stock.held];
            let explained = [stock.confirmed, stock.in_flight, stock.written_off];
            let numbers = levels.into_iter().chain(explained);
            let numbers = numbers.chain([stock.unexplained]);
            let numbers = numbers.map(|number| number.to_string());
            [foreign(sku)].into_iter().chain(numbers).collect()
        });
        write_table(text, ["stock", "stocked", "available", "held"], stock)?;
        writeln!(text)?;
        let money = money.iter().map(|(currency, cash)| {
            let net = cash.charged.saturating_sub(cash.refunded);
            let taken = [cash.charged, cash.refunded, net];
            let explained = [cash.confirmed, cash.in_flight, cash.written_off];
            let amounts = taken.into_iter().chain(explained);
            let amounts = amounts.chain([cash.unexplained]);
            let amounts = amounts.map(|amount| decimal(amount, currency));
            [unit(currency)].into_iter().chain(amounts).collect()
        });
        write_table(text, ["money", "charged", "refunded", "net"], money)?;
        if !written_off.is_empty() {
            write!(text, "\nwritten off by operators")?;
            write_decided(text, written_off)?;
            writeln!(text)?;
        }
        self.write_end(text)?;
        self.write_attention(text)
    }

    fn write_attention(&self, text: &mut String) -> std::fmt::Result {
        let Reconciliation {
            after_all, remarks, ..
        } = &self.last;
        // Printed last: the exit code is 0, so nothing else draws attention to these.
        if !after_all.is_empty() {
            write!(
                text,
                "\n\nattention: carried out after an operator abandoned it"
            )?;
            write_decided(text, after_all)?;
        }
        if !remarks.is_empty() {
            write!(text, "\n\nattention: unusual, but balanced")?;
            for remark in remarks.iter().take(REMARKS) {
                write!(text, "\n  {}", foreign(remark))?;
            }
            if let more @ 1.. = remarks.len().saturating_sub(REMARKS) {
                write!(text, "\n  and {more} more")?;
            }
        }
        Ok(())
    }

    fn write_end(&self, text: &mut String) -> std::fmt::Result {
        if !self.undecided.is_empty() {
            writeln!(
                text,
                "\nundecided: both snapshots have this, but its rows changed in between; run this \
                 again"
            )?;
        }
        for finding in &self.undecided {
            let (subject, what) = (finding.subject.to_string(), &finding.what);
            writeln!(text, "  {}: {}", foreign(&subject), foreign(what))?;
        }
        match (self.certain.len(), self.undecided.is_empty()) {
            (0, true) => write!(text, "\neverything balances")?,
            (0, false) => write!(text, "\neverything else balances")?,
            (1, _) => write!(text, "\n1 thing does not balance")?,
            (more, _) => write!(text, "\n{} do not balance", count(more, "thing"))?,
        }
        for finding in &self.certain {
            write!(
                text,
                "\n  {}: {}\n      next: {}",
                foreign(&finding.subject.to_string()),
                foreign(&finding.what),
                foreign(&finding.next)
            )?;
        }
        Ok(())
    }
}

/// A table: the levels and, after the `=`, the accounts that explain them.
fn write_table(
    text: &mut String,
    heads: [&str; 4],
    rows: impl Iterator<Item = Vec<String>>,
) -> std::fmt::Result {
    let explained = ["confirmed", "in flight", "written off", "unexplained"];
    let header = heads
        .iter()
        .chain(&explained)
        .map(|head| (*head).to_owned());
    let mut lines = vec![header.collect::<Vec<String>>()];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max();
        // A SKU is at most this long; a malformed key must not widen every line.
        longest.unwrap_or(0).min(64)
    };
    let widths: Vec<usize> = (0..heads.len() + explained.len()).map(width).collect();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(text, "{cell:<width$}")?,
                4 => write!(text, " =  {cell:>width$}")?,
                _ => write!(text, "  {cell:>width$}")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn write_decided(text: &mut String, entries: &[WrittenOff]) -> std::fmt::Result {
    for entry in entries {
        write!(
            text,
            "\n  order {}: {}, {}",
            entry.order,
            foreign(&entry.what),
            foreign(&entry.decision)
        )?;
        if let Some(next) = entry.next {
            write!(text, "\n      next: {next}")?;
        }
    }
    Ok(())
}

fn subjects(findings: &[Finding]) -> String {
    let subjects: BTreeSet<&Subject> = findings.iter().map(|finding| &finding.subject).collect();
    let names = subjects.iter().map(|subject| foreign(&subject.to_string()));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
