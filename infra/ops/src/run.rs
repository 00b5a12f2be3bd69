//! Each command, as the calls it consists of.

use std::collections::BTreeSet;

use clap::CommandFactory;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use tooling::status::{self, Status};

use crate::admin::{self, Admin};
use crate::audit::{self, Audit};
use crate::aws::Aws;
use crate::cli::{
    AdminAction, Cli, Command, DEFAULT_PREFIX, DlqAction, KeysAction, OrderAction, Place,
    SagaAction,
};
use crate::dlq::{self, List, Redrive};
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names, Pair};
use crate::project::Project;
use crate::rotate::{self, Extent};
use crate::rotation::Waits;
use crate::state::Home;
use crate::ui::{self, complain, say};
use crate::{account, emulator, logs, preflight, saga};

/// Does what was asked.
pub fn run(Cli { place, command }: Cli) -> Result<()> {
    if !place.aws && (place.profile.is_some() || place.prefix != DEFAULT_PREFIX) {
        let error = Error::new("`--profile` and `--prefix` go with `--aws`");
        return Err(error.not_carried_out());
    }
    let reach = || reach(&place).map_err(Error::not_carried_out);
    match command {
        Command::Status { json } => {
            let status = status::look(&reach()?, &place.prefix)?;
            tell(json, &status, Status::report);
            status.verdict()
        }
        Command::Logs { mut wanted, json } => {
            let aws = reach()?;
            let emulator_log = match place.aws {
                true => {
                    let hour_ago = || Timestamp::now() - SignedDuration::from_hours(1);
                    wanted.since.get_or_insert_with(hour_ago);
                    None
                }
                false => Some(Home::developer(&Project::find()?).emulator_log()),
            };
            logs::print(&aws, &place.prefix, emulator_log, &wanted, json)
        }
        Command::Order {
            action: OrderAction::Show { order, json },
        } => {
            let answer = saga::show(&reach()?, &place.prefix, order)?;
            tell(json, &answer, saga::shown);
            match answer["outcome"] == "found" {
                true => Ok(()),
                false => Err(Error::new(format!("order {order} cannot be shown"))),
            }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut script);
            ui::put(String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Admin { action } => administer(&reach()?, &place.prefix, &action),
        Command::Keys { action } => keys(&reach()?, &place.prefix, action),
        Command::Saga { action } => {
            if let SagaAction::Ls {
                stuck,
                never_due,
                json: true,
            } = action
            {
                ui::say_json(&saga::list(&reach()?, &place.prefix, stuck, never_due)?);
                return Ok(());
            }
            let action = match action {
                SagaAction::Ls {
                    never_due: true, ..
                } => saga::Action::NeverDue,
                SagaAction::Ls { stuck, .. } => saga::Action::List { stuck },
                SagaAction::Retry { order } => saga::Action::Retry { order },
                SagaAction::Abandon {
                    order,
                    step,
                    reason,
                } => saga::Action::Abandon {
                    order,
                    step,
                    reason,
                },
            };
            let told = saga::run(&reach()?, &place.prefix, &action);
            say(named_as_here(&place, told)?);
            Ok(())
        }
        Command::Dlq { action } => {
            if let DlqAction::Ls {
                order, json: true, ..
            } = action
            {
                let records = dlq::records(&reach()?, &place.prefix, order);
                ui::say_json(&records);
                return records.verdict();
            }
            let is_raw = matches!(action, DlqAction::Show { raw: true, .. });
            if is_raw {
                ui::not_a_terminal("waybill dlq show --raw")?;
            }
            let aws = reach()?;
            let told = dlq::tell(&aws, &place.prefix, &action.into(), &mut |part| {
                say(part);
            });
            if is_raw {
                ui::put(told?);
            } else {
                say(named_as_here(&place, told)?);
            }
            Ok(())
        }
        Command::Audit { json } => {
            let audit = audited(reach(), &place.prefix)?;
            match json {
                true => ui::say_json(&audit),
                // It names commands, and where they reach; the verdict after it names none.
                false => say(named_as_here(&place, Ok(audit.report()))?),
            };
            audit.verdict()
        }
        Command::Preflight { given, json } => {
            let mut names = BTreeSet::new();
            if let Some((name, _)) = given.iter().find(|(name, _)| !names.insert(name)) {
                let twice = format!("`{name}` is given twice; give it one value");
                return Err(Error::new(twice).not_carried_out());
            }
            let project = Project::find().map_err(Error::not_carried_out)?;
            preflight::judge(&project, &given).map_err(Error::not_carried_out)?;
            let findings = preflight::look(&project, &reach()?, &place.prefix, &given)?;
            match json {
                true => ui::say_json(&findings),
                false => say(named_as_here(&place, Ok(preflight::report(&findings)))?),
            };
            preflight::verdict(&findings)
        }
        Command::Sweep => {
            let sweeper = format!("{}-orders-sweep", place.prefix);
            say(account::invoke(&reach()?, &sweeper, &json!({}))?);
            Ok(())
        }
    }
}

impl From<DlqAction> for dlq::Action {
    fn from(action: DlqAction) -> Self {
        match action {
            DlqAction::Ls { all, order, .. } => Self::List(List { all, order }),
            DlqAction::Show { id, raw } => Self::Show { id, raw },
            DlqAction::Redrive {
                queue,
                order,
                id,
                unparseable,
                dry_run,
            } => Self::Redrive(Redrive {
                queue,
                dry_run,
                id,
                order,
                unparseable,
            }),
            DlqAction::Drop {
                order: Some(order), ..
            } => Self::DropOrder { order },
            DlqAction::Drop { id, .. } => Self::Drop {
                id: id.expect("clap requires one of the two"),
            },
        }
    }
}

/// For a program or for people.
fn tell<T: Serialize>(as_json: bool, value: &T, shown: impl FnOnce(&T) -> String) {
    match as_json {
        true => ui::say_json(value),
        false => say(shown(value)),
    };
}

fn administer(aws: &Aws, prefix: &str, action: &AdminAction) -> Result<()> {
    match action {
        AdminAction::Grant { email } => {
            let id = admin::grant(aws, prefix, email)?;
            say(format_args!(
                "{} (user {id}) is an administrator from the next login or refresh on",
                email.trim()
            ));
        }
        AdminAction::Revoke { email } => {
            let id = admin::revoke(aws, prefix, email)?;
            say(format_args!(
                "{} (user {id}) is a customer from the next login or refresh on",
                email.trim()
            ));
        }
        AdminAction::List { json } => {
            let admins = admin::list(aws, prefix)?;
            tell(*json, &admins, |admins| {
                let line = |one: &Admin| format!("{}  {:<12}{}", one.id, one.status, one.email);
                admins.iter().map(line).collect::<Vec<_>>().join("\n")
            });
        }
    }
    Ok(())
}

/// The books as they were found. Where nothing was reached or not everything was read, nothing is
/// known of them, and the exit code is not that of books that do not balance.
fn audited(reached: Result<Aws>, prefix: &str) -> Result<Audit> {
    reached
        .and_then(|aws| audit::take(&aws, prefix))
        .context("the audit could not be carried out")
        .map_err(Error::not_carried_out)
}

/// What is told of an account names commands; they are to reach the same account.
fn named_as_here(place: &Place, told: Result<String>) -> Result<String> {
    let reaching = |text: String| {
        if !place.aws || !text.contains("waybill ") {
            return text;
        }
        let profile = place.profile.as_ref();
        let profile = profile.map_or(String::new(), |name| format!(" --profile {name}"));
        format!(
            "{text}\n(each command named here: with --aws{profile} --prefix {}, as this one)",
            place.prefix
        )
    };
    match told {
        Ok(text) => Ok(reaching(text)),
        Err(error) => Err(Error::new(reaching(error.to_string()))),
    }
}

fn keys(aws: &Aws, prefix: &str, action: KeysAction) -> Result<()> {
    let stacks = account::stacks(aws)?;
    let names = match action {
        KeysAction::Create { .. } => Names::to_create(&stacks, prefix),
        KeysAction::List { .. } | KeysAction::Rotate { .. } => Names::of(&stacks, prefix),
    };
    if let Some(told) = keys::sharing(&stacks, prefix) {
        say(format_args!("warning: {told}"));
    }
    match action {
        KeysAction::List { json } => {
            tell(json, &rotate::list(aws, &names)?, |list| list.to_string());
            Ok(())
        }
        KeysAction::Create { kms_key } => {
            let pair = keys::ensure(aws, &names, kms_key.as_deref())?;
            say(match pair {
                Pair::Made => format!("a new signing key is in {}", names.signing),
                Pair::Kept => format!(
                    "there is a signing key in {} already; it stays",
                    names.signing
                ),
            });
            if let Some(weakness) = keys::weakness(&keys::encryption(aws, &names.signing)?) {
                say(format_args!("warning: {weakness}"));
            }
            Ok(())
        }
        KeysAction::Rotate { wait, retire_now } => {
            let extent = if wait { Extent::Whole } else { Extent::OnePart };
            let waits = if retire_now {
                confirm(rotate::WARNING, "retire now")?;
                Waits::Skipped
            } else {
                Waits::Kept
            };
            rotate::rotate(aws, &names, extent, waits)
        }
    }
}

/// Has a person say in so many words that they want it.
fn confirm(warning: &str, words: &str) -> Result<()> {
    say(format_args!("{warning}\nType `{words}` to go on:"));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("reading the answer")?;
    if answer.trim() == words {
        Ok(())
    } else {
        Err(Error::new("nothing was changed"))
    }
}

/// Says first which account it is: a shell can stand in the wrong one for days.
fn reach(place: &Place) -> Result<Aws> {
    if !place.aws {
        let project = Project::find().map_err(|_| {
            Error::new("there is no local stack outside its checkout; `--aws` reaches an account")
        })?;
        return Ok(emulator::stack(&Home::developer(&project))?.aws());
    }
    let aws = account_of(place.profile.as_deref())?;
    complain(aws.place()?.described(&place.prefix));
    Ok(aws)
}

#[cfg(feature = "aws")]
use crate::credentials::account as account_of;

#[cfg(not(feature = "aws"))]
fn account_of(_profile: Option<&str>) -> Result<Aws> {
    Err(Error::new("this was built without the feature `aws`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_are_named_reach_the_same_account() {
        let place = |aws| Place {
            aws,
            profile: None,
            prefix: "shop".to_owned(),
        };
        let told = |aws, text: &str| named_as_here(&place(aws), Ok(text.to_owned()));
        let named = told(true, "next: waybill dlq ls").expect("a text");
        assert!(named.contains("with --aws --prefix shop"), "{named}");
        for (target, text) in [
            (false, "next: waybill dlq ls"),
            (true, "nothing has failed for good"),
        ] {
            assert_eq!(told(target, text).expect("a text"), text);
        }
        let error = || Err(Error::new("see waybill dlq ls"));
        let told = named_as_here(&place(true), error()).expect_err("an error");
        assert!(told.to_string().contains("--prefix shop"), "{told}");
        let profile = Some("admin".to_owned());
        let place = Place {
            profile,
            ..place(true)
        };
        let told = named_as_here(&place, error()).expect_err("an error");
        let hint = "with --aws --profile admin --prefix shop, as this one";
        assert!(told.to_string().contains(hint), "{told}");
    }

    #[test]
    fn an_audit_not_carried_out_says_nothing_of_the_books() {
        let nowhere = Err(Error::new("asking AWS which account this is: ExpiredToken"));
        let error = audited(nowhere, "shop").expect_err("nothing is reached");
        let told = "the audit could not be carried out: asking AWS which account this is: \
                    ExpiredToken";
        assert_eq!((error.exit_code(), error.to_string()), (3, told.to_owned()));
    }
}
