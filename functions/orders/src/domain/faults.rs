//! A rehearsal: which steps of one order go wrong on purpose, and how, so that somebody can see
//! what becomes of it.

use std::collections::BTreeMap;
use std::fmt;

use super::step::Command;

macro_rules! named {
    ($(#[$said:meta])* $name:ident { $($(#[$variant_said:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$said])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_said])* $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text)
            }
        }
    };
}

named! {
    /// How a step goes wrong. One with `Once` befalls the first delivery of its first attempt alone.
    Fault {
        /// The participant fails.
        Fail => "fail",
        FailOnce => "fail_once",
        /// The participant takes the command and does nothing.
        Timeout => "timeout",
        TimeoutOnce => "timeout_once",
        /// The participant does it, and its answer is lost.
        LostReply => "lost_reply",
        LostReplyOnce => "lost_reply_once",
    }
}

/// The faults of an order's steps; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFaults(BTreeMap<Command, Fault>);

/// A text that is no rehearsal; says what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFaults(String);

impl InjectedFaults {
    /// Reads `<step>=<fault>`, several with commas between them.
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

    /// As a row has it. One of an earlier release may say `answer_twice`, which is no fault any more.
    pub fn from_record(text: &str) -> Result<Option<Self>, InvalidFaults> {
        let is_kept = |part: &&str| !part.trim().ends_with("=answer_twice");
        let kept: Vec<&str> = text.split(',').filter(is_kept).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        Self::parse(&kept.join(",")).map(Some)
    }

    /// The steps with their faults, in the order the saga takes them.
    pub fn faults(&self) -> impl Iterator<Item = (Command, Fault)> {
        self.0.iter().map(|(step, fault)| (*step, *fault))
    }

    pub fn fault_of(&self, step: Command) -> Option<Fault> {
        self.0.get(&step).copied()
    }
}

/// As [`InjectedFaults::parse`] reads it; two texts that mean the same are displayed the same.
impl fmt::Display for InjectedFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (step, fault)) in self.faults().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
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
            "is not <step>=<fault>, several with commas between them, for example \
             charge_payment=lost_reply_once; the steps are {}; the faults are {}",
            steps.join(", "),
            faults.join(", ")
        ))
    }
}
