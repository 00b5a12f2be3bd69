//! The declaration of the steps is complete and in a saga's sequence.

use std::collections::BTreeSet;

use orders::domain::{Command, Compensation, Kind, STEPS};

use crate::samples::STATES;

#[test]
fn every_command_and_compensation_is_declared_once() {
    for state in STATES {
        if let Some(command) = state.command() {
            assert_eq!(command.action().command, command);
            assert_eq!(Command::parse(command.action().name), Some(command));
        }
    }
    for compensation in [Compensation::Refund, Compensation::Release] {
        let (_, undo) = compensation.declared();
        assert_eq!(Compensation::parse(undo.name), Some(compensation));
    }
    let commands: BTreeSet<Command> = Command::all().collect();
    assert_eq!(commands.len(), Command::all().count());
}

#[test]
fn the_only_pivot_is_the_last_step() {
    let pivot = STEPS.iter().position(|step| step.kind == Kind::Pivot);
    assert_eq!(pivot, Some(STEPS.len() - 1));
}
