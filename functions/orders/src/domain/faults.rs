//! Fault injection: the steps of one order that fail on purpose, to show how the saga recovers.

use std::collections::BTreeMap;
use std::fmt;

use super::step::Command;

/// How a step fails. A variant with `Once` affects only the first delivery of the first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The participant fails.
    Fail,
    FailOnce,
    /// The participant takes the command and does nothing.
    Timeout,
    TimeoutOnce,
    /// The participant carries the command out, and its reply is lost.
    LostReply,
    LostReplyOnce,
}

impl Fault {
    pub const ALL: &[Fault] = &[
        Fault::Fail,
        Fault::FailOnce,
        Fault::Timeout,
        Fault::TimeoutOnce,
        Fault::LostReply,
        Fault::LostReplyOnce,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Fail => "fail",
            Fault::FailOnce => "fail_once",
            Fault::Timeout => "timeout",
            Fault::TimeoutOnce => "timeout_once",
            Fault::LostReply => "lost_reply",
            Fault::LostReplyOnce => "lost_reply_once",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == text)
    }
}

/// The faults of an order's steps; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFaults(BTreeMap<Command, Fault>);

/// The text is not a list of faults; the message states the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFaults(String);

impl InjectedFaults {
    /// Reads `<step>=<fault>`, or several separated by commas.
    pub fn parse(text: &str) -> Result<Self, InvalidFaults> {
        let mut faults = BTreeMap::new();
        for part in text.split(',') {
            let (step, fault) = part
                .trim()
                .split_once('=')
                .and_then(|(step, fault)| Some((Command::parse(step)?, Fault::parse(fault)?)))
                .ok_or_else(InvalidFaults::grammar)?;
            if faults.insert(step, fault).is_some() {
                let detail = format!("names {} twice; a step has one fault", step.action().name);
                return Err(InvalidFaults(detail));
            }
        }
        Ok(Self(faults))
    }

    /// Reads a row's text. Rows of earlier releases may have `answer_twice`, a retired fault.
    pub fn from_record(text: &str) -> Result<Option<Self>, InvalidFaults> {
        let is_kept = |part: &&str| !part.trim().ends_with("=answer_twice");
        let kept: Vec<&str> = text.split(',').filter(is_kept).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        Self::parse(&kept.join(",")).map(Some)
    }

    /// The steps with their faults, in the saga's order.
    pub fn faults(&self) -> impl Iterator<Item = (Command, Fault)> {
        self.0.iter().map(|(step, fault)| (*step, *fault))
    }

    pub fn fault_of(&self, step: Command) -> Option<Fault> {
        self.0.get(&step).copied()
    }
}

/// The canonical form that [`InjectedFaults::parse`] reads.
impl fmt::Display for InjectedFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (step, fault)) in self.faults().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}={}", step.action().name, fault.as_str())?;
        }
        Ok(())
    }
}

impl InvalidFaults {
    fn grammar() -> Self {
        let steps: Vec<&str> = Command::all().map(|step| step.action().name).collect();
        let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
        Self(format!(
            "is not a list of <step>=<fault>, separated by commas, for example \
             charge_payment=lost_reply_once; the steps are {}; the faults are {}",
            steps.join(", "),
            faults.join(", ")
        ))
    }
}
