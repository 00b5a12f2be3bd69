//! `waybill audit`: reconciles the books of all four services.
//!
//! It scans the tables with an operator's own read rights, strongly consistently, and asks no
//! service: a service that answers wrongly, or no longer finds a row, cannot hide that from an
//! audit. (That no service reads another's table is a rule for services. The rows are read here as
//! their stores write them. The users table is not scanned: those who ordered are looked for by their
//! ids, and of them nothing is read but that they are there.)
//!
//! The system goes on while it is read, and the tables are not read at one moment. Orders are read
//! first. A second look is taken after a pause if the first finds anything. What both find in unchanged
//! rows was so all along; what only one of them finds was the system at work. What both find in rows that
//! changed in between cannot be decided: an item that sells all the time is certain only once it rests.
//! What has no order yet is looked for by itself, because it may have come after the orders were read.
//!
//! It ends with 0 where everything balances, with 1 where something certainly does not, and with 2
//! where that cannot be told. With 3 it could not be carried out, and says nothing of the books.

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

/// Between the two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// How many remarks are printed.
const REMARKS: usize = 100;

/// The last look, and what both looks found.
#[derive(Debug, serde::Serialize)]
pub struct Audit {
    pub last: Reconciliation,
    /// Found twice in unchanged rows.
    pub certain: Vec<Finding>,
    /// Found twice, in rows that changed in between: perhaps the system at work.
    pub undecided: Vec<Finding>,
}

/// Reads and compares, twice where anything is found. An error is one of reading, and says nothing of the
/// books.
pub fn take(aws: &Aws, prefix: &str) -> Result<Audit> {
    let call = |operation: &str, params: Value| aws.call("dynamodb", operation, params);
    // Rows that come during a look are not judged, so it is judged as of when it began.
    let look = || {
        let now = Timestamp::now();
        Ok(reconcile(&snapshot(&call, prefix)?, now))
    };
    both(look, || thread::sleep(PAUSE))
}

fn both(mut look: impl FnMut() -> Result<Reconciliation>, pause: impl FnOnce()) -> Result<Audit> {
    let first = look()?;
    if first.findings.is_empty() {
        return Ok(Audit {
            last: first,
            certain: Vec::new(),
            undecided: Vec::new(),
        });
    }
    pause();
    let last = look()?;
    let seen = last.findings.iter().filter_map(|finding| {
        let is_same =
            |known: &&Finding| (&known.subject, known.kind) == (&finding.subject, finding.kind);
        let mut known = first.findings.iter().filter(is_same).peekable();
        known.peek()?;
        let is_certain = known.any(|known| known.evidence == finding.evidence);
        Some((finding.clone(), is_certain))
    });
    let (certain, undecided): (Vec<_>, Vec<_>) = seen.partition(|(_, is_certain)| *is_certain);
    let findings =
        |seen: Vec<(Finding, bool)>| seen.into_iter().map(|(finding, _)| finding).collect();
    Ok(Audit {
        certain: findings(certain),
        undecided: findings(undecided),
        last,
    })
}

impl Audit {
    /// What an operator reads.
    pub fn report(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("text can always be added to");
        text
    }

    /// An error where something is certain not to balance, and an undecided one where it cannot be
    /// told whether everything does.
    pub fn verdict(&self) -> Result<()> {
        if !self.certain.is_empty() {
            let names = subjects(&self.certain);
            return Err(Error::new(format!("does not balance: {names}")));
        }
        if !self.undecided.is_empty() {
            let names = subjects(&self.undecided);
            return Err(Error::undecided(format!(
                "cannot tell whether these balance: {names}"
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
        // Last, because nothing else makes anybody look at it: the books balance, and the exit is 0.
        if !after_all.is_empty() {
            write!(
                text,
                "\n\nattention: carried out after an operator had abandoned it"
            )?;
            write_decided(text, after_all)?;
        }
        if !remarks.is_empty() {
            write!(
                text,
                "\n\nattention: out of the ordinary, and no fault of the books"
            )?;
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
                "\nnot certain: both looks found this, and its rows changed in between; run this again"
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

/// A table of what there is and, behind the `=`, what explains it.
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
        // No SKU is longer; a key that is none must not stretch every line.
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
