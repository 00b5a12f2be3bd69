//! `cargo xtask audit`: reconciles the books of all four services.
//!
//! It scans the tables with an operator's own read rights, strongly consistently, and asks no
//! service: a service that answers wrongly, or no longer finds a row, cannot hide that from an
//! audit. (That no service reads another's table is a rule for services. The rows are read here as
//! their stores write them. The users table is not scanned: those who ordered are looked for by their
//! ids, and of them nothing is read but that they are there.)
//!
//! The system goes on while it is read, and the tables are not read at one moment. Orders are read
//! first: what is wrong with an order, and is found once more after a pause with the order's row and
//! the others unchanged, was so all along. What a look finds and the next does not was the system at
//! work; on a busy one there is always something of the kind, and always something else. What has no
//! order yet is looked for by itself, because it may have come after the orders were read. An item
//! that sells all the time never stands still: of it, bounds are told that reading cannot be blamed
//! for (`levels`). One that is off by just as much as was reserved or released while it was read
//! seems to balance, and is not asked for again: only an audit that finds it at rest is sure of it.
//!
//! It ends with 0 where everything balances, with 1 where something certainly does not, and with 2
//! where that cannot be told. With 3 it could not be carried out, and says nothing of the books.

pub mod books;
mod levels;
mod look;
pub mod reconcile;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::aws::Aws;
use crate::error::{Error, Result};
use crate::ui::{count, decimal, foreign, unit};
use levels::Excess;
use look::{Look, differing};
use reconcile::{Finding, Kind, Reconciliation, Subject, WrittenOff};

/// How often the books are read until what is found stands still.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// How many remarks are printed.
const REMARKS: usize = 100;

/// The last look, and what is certain of it.
#[derive(Debug)]
pub struct Audit {
    pub last: Reconciliation,
    /// Found twice in unchanged rows, or by more than reading can be blamed for.
    pub certain: Vec<Finding>,
    /// Found at the last two looks, in rows that changed in between: perhaps the system at work.
    pub moving: Vec<Finding>,
    /// Items that sold at every look, and balance as far as that lets one see.
    pub blurred: BTreeMap<String, Excess>,
    /// How many things only the last look has found: the system at work, or begun since.
    pub fleeting: usize,
}

/// Reads and compares until what is wrong is certain, or nothing is. An error is one of reading, and
/// says nothing of the books.
pub fn take(aws: &Aws, prefix: &str) -> Result<Audit> {
    let call = |operation: &str, params: Value| aws.call("dynamodb", operation, params);
    until_certain(
        |skus| Look::take(&call, prefix, Timestamp::now(), skus),
        || thread::sleep(PAUSE),
    )
}

/// `look` is told which items are in question.
fn until_certain(
    mut look: impl FnMut(&BTreeSet<String>) -> Result<Look>,
    pause: impl Fn(),
) -> Result<Audit> {
    let mut last = look(&BTreeSet::new())?;
    let mut certain: Vec<Finding> = Vec::new();
    // Undecided, and seen at the last two looks; at the last one alone.
    let (mut lasting, mut fleeting): (Vec<Finding>, Vec<Finding>) = (Vec::new(), Vec::new());
    let mut excesses: BTreeMap<String, Excess> = BTreeMap::new();
    for _ in 1..LOOKS {
        if last.found.findings.is_empty() {
            break;
        }
        pause();
        let now = look(&differing(&last.found))?;
        levels::narrow(&mut excesses, &last, &now);
        // Certain once, it stays so for as long as it is seen at all.
        certain.retain(|known| {
            let excess = held_of(known).and_then(|sku| excesses.get(sku));
            has(&now.found.findings, known) || excess.is_some_and(|excess| !excess.can_be_none())
        });
        for seen in &now.found.findings {
            let unmoved = |known: &Finding| is_same(known, seen) && known.evidence == seen.evidence;
            if last.found.findings.iter().any(unmoved) && !has(&certain, seen) {
                certain.push(seen.clone());
            }
        }
        for (sku, excess) in &excesses {
            let mut findings = now.found.findings.iter().chain(&last.found.findings);
            let finding = findings.find(|finding| held_of(finding) == Some(sku));
            if let Some(finding) = finding.filter(|_| !excess.can_be_none())
                && !has(&certain, finding)
            {
                certain.push(Finding {
                    what: format!("it sells while it is read, and holds {excess}"),
                    ..finding.clone()
                });
            }
        }
        let is_undecided = |seen: &&Finding| {
            let excess = held_of(seen).and_then(|sku| excesses.get(sku));
            !has(&certain, seen) && !excess.is_some_and(|excess| excess.is_none())
        };
        let undecided = now.found.findings.iter().filter(is_undecided).cloned();
        (lasting, fleeting) = undecided.partition(|seen| has(&last.found.findings, seen));
        last = now;
        if lasting.is_empty() {
            break;
        }
    }
    let mut blurred = BTreeMap::new();
    let mut moving = Vec::new();
    for finding in lasting {
        match held_of(&finding).and_then(|sku| excesses.remove_entry(sku)) {
            Some((sku, excess)) => {
                blurred.insert(sku, excess);
            }
            None => moving.push(finding),
        }
    }
    Ok(Audit {
        last: last.found,
        certain,
        moving,
        blurred,
        fleeting: fleeting.len(),
    })
}

fn is_same(a: &Finding, b: &Finding) -> bool {
    (&a.subject, a.kind) == (&b.subject, b.kind)
}

fn has(findings: &[Finding], one: &Finding) -> bool {
    findings.iter().any(|finding| is_same(finding, one))
}

/// The item that is said not to hold what is reserved of it.
fn held_of(finding: &Finding) -> Option<&String> {
    match (&finding.subject, finding.kind) {
        (Subject::Item(sku), Kind::HeldDiffers) => Some(sku),
        _ => None,
    }
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
        if !self.moving.is_empty() {
            let names = subjects(&self.moving);
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
            after_all,
            remarks,
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
        self.write_moving(text)?;
        self.write_end(text)?;
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

    /// What could not be seen sharply, because the system was at work.
    fn write_moving(&self, text: &mut String) -> std::fmt::Result {
        if !self.moving.is_empty() {
            writeln!(
                text,
                "\nnot certain: seen at the last two looks, and changed in between; run this again"
            )?;
            for finding in &self.moving {
                let (subject, what) = (finding.subject.to_string(), &finding.what);
                writeln!(text, "  {}: {}", foreign(&subject), foreign(what))?;
            }
        }
        if !self.blurred.is_empty() {
            writeln!(
                text,
                "\nsold at every look, and balance as far as that lets one see; more is seen when \
                 they sell less"
            )?;
            for (sku, excess) in &self.blurred {
                writeln!(text, "  item {}: it holds {excess}", foreign(sku))?;
            }
        }
        if self.fleeting > 0 {
            writeln!(
                text,
                "\n{} found at the last look alone: orders on their way, or begun since; what is \
                 wrong stays, and is named when this is run again",
                count(self.fleeting, "thing")
            )?;
        }
        Ok(())
    }

    fn write_end(&self, text: &mut String) -> std::fmt::Result {
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
