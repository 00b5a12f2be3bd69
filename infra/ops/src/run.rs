//! Runs a parsed command.

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
    AdminAction, BackupAction, Cli, Command, DEFAULT_PREFIX, KeysAction, OrderAction, Target,
};
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names, Pair};
use crate::migrate::Migrate;
use crate::project::Project;
use crate::restore::{self, Installation, Pace};
use crate::rotate::{self, Extent};
use crate::rotation::Waits;
use crate::state::Home;
use crate::ui::{self, print_stderr, say};
use crate::{account, dlq, emulator, logs, migrate, preflight, saga};

pub fn run(Cli { target, command }: Cli) -> Result<()> {
    if !target.aws && (target.profile.is_some() || target.prefix != DEFAULT_PREFIX) {
        let error = Error::new("`--profile` and `--prefix` need `--aws`");
        return Err(error.not_run());
    }
    let connect = || connect(&target).map_err(Error::not_run);
    match command {
        Command::Status { json } => {
            let status = status::read(&connect()?, &target.prefix)?;
            print(json, &status, Status::report);
            status.verdict()
        }
        Command::Logs { mut filter, json } => {
            let aws = connect()?;
            let emulator_log = match target.aws {
                true => {
                    let hour_ago = || Timestamp::now() - SignedDuration::from_hours(1);
                    filter.since.get_or_insert_with(hour_ago);
                    None
                }
                false => Some(Home::current(&Project::find()?).emulator_log()),
            };
            logs::print(&aws, &target.prefix, emulator_log, &filter, json)
        }
        Command::Order {
            action: OrderAction::Show { order, json },
        } => {
            let answer = saga::show(&connect()?, &target.prefix, order)?;
            print(json, &answer, saga::shown);
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
        Command::Admin { action } => administer(&connect()?, &target.prefix, &action),
        Command::Keys { action } => keys(&connect()?, &target.prefix, action),
        Command::Saga {
            action: saga::Action::List(list @ saga::List { json: true, .. }),
        } => {
            ui::say_json(&saga::list(&connect()?, &target.prefix, &list)?);
            Ok(())
        }
        Command::Saga { action } => {
            let text = saga::run(&connect()?, &target.prefix, &action);
            say(with_options(&target, text)?);
            Ok(())
        }
        Command::Dlq {
            action:
                dlq::Action::List(dlq::List {
                    order, json: true, ..
                }),
        } => {
            let records = dlq::records(&connect()?, &target.prefix, order);
            ui::say_json(&records);
            records.verdict()
        }
        Command::Dlq { action } => {
            let is_raw = matches!(action, dlq::Action::Show { raw: true, .. });
            if is_raw {
                ui::not_a_terminal("waybill dlq show --raw")?;
            }
            let aws = connect()?;
            let text = dlq::run_with(&aws, &target.prefix, &action, &mut |part| {
                say(part);
            });
            if is_raw {
                ui::put(text?);
            } else {
                say(with_options(&target, text)?);
            }
            Ok(())
        }
        Command::Audit { json } => {
            let audit = audited(connect(), &target.prefix)?;
            match json {
                true => ui::say_json(&audit),
                // The report names commands; the verdict after it names none.
                false => say(with_options(&target, Ok(audit.report()))?),
            };
            audit.verdict()
        }
        Command::Preflight { given, json } => {
            let mut names = BTreeSet::new();
            if let Some((name, _)) = given.iter().find(|(name, _)| !names.insert(name)) {
                let twice = format!("`{name}` is given twice; give one value");
                return Err(Error::new(twice).not_run());
            }
            let project = Project::find().map_err(Error::not_run)?;
            preflight::judge(&project, &given).map_err(Error::not_run)?;
            let findings = preflight::check(&project, &connect()?, &target.prefix, &given)?;
            match json {
                true => ui::say_json(&findings),
                false => say(with_options(&target, Ok(preflight::report(&findings)))?),
            };
            preflight::verdict(&findings)
        }
        Command::Migrate(asked) => migrate(&connect()?, &target, &asked),
        Command::Backup { action } => {
            let aws = connect()?;
            let installation = installation(&aws, &target)?;
            match action {
                BackupAction::List { json } => {
                    print(json, &installation.backups()?, |all| restore::listed(all));
                }
                BackupAction::Create { yes } => {
                    if !yes {
                        let warning = "Requests fail while the functions are stopped.";
                        confirm(warning, &target.prefix)?;
                    }
                    let name = installation.back_up(Timestamp::now())?;
                    let next = format!("backup {name}; next: waybill restore --from {name}");
                    say(with_options(&target, Ok(next))?);
                }
            }
            Ok(())
        }
        Command::Restore(options) => {
            let aws = connect()?;
            let installation = installation(&aws, &target)?;
            let plan =
                with_options(&target, installation.plan(&options)).map_err(Error::not_run)?;
            if options.dry_run {
                say(plan);
                return Ok(());
            }
            match options.yes {
                true => print_stderr(plan),
                false => confirm(&plan, &target.prefix)?,
            }
            let restored = installation.restore(&options, Timestamp::now())?;
            print(options.json, &restored, restore::Restored::report);
            Ok(())
        }
        Command::Sweep => {
            let sweeper = format!("{}-orders-sweep", target.prefix);
            say(account::invoke(&connect()?, &sweeper, &json!({}))?);
            Ok(())
        }
    }
}

fn migrate(aws: &Aws, target: &Target, asked: &Migrate) -> Result<()> {
    let prefix = &target.prefix;
    let Some(service) = &asked.service else {
        print(asked.json, &migrate::list(aws, prefix)?, migrate::listed);
        return Ok(());
    };
    if asked.check {
        let project = Project::find().map_err(Error::not_run)?;
        let answer = migrate::check(aws, prefix, &project, service);
        say(with_options(target, answer)?);
        return Ok(());
    }
    let report = migrate::migrate(aws, prefix, service, asked, &mut |line| print_stderr(line))?;
    print(asked.json, &report, migrate::migrated);
    Ok(())
}

/// Prints JSON or text.
fn print<T: Serialize>(as_json: bool, value: &T, shown: impl FnOnce(&T) -> String) {
    match as_json {
        true => ui::say_json(value),
        false => say(shown(value)),
    };
}

fn installation<'a>(aws: &'a Aws, target: &'a Target) -> Result<Installation<'a>> {
    let pace = if target.aws { Pace::AWS } else { Pace::LOCAL };
    Installation::of(aws, &target.prefix, pace).map_err(Error::not_run)
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
            print(*json, &admins, |admins| {
                let line = |one: &Admin| format!("{}  {:<12}{}", one.id, one.status, one.email);
                admins.iter().map(line).collect::<Vec<_>>().join("\n")
            });
        }
    }
    Ok(())
}

/// An error while connecting or reading says nothing about the books, so its exit code is not 1.
fn audited(aws: Result<Aws>, prefix: &str) -> Result<Audit> {
    aws.and_then(|aws| audit::take(&aws, prefix))
        .context("the audit did not run")
        .map_err(Error::not_run)
}

/// Adds this call's options to a text that names commands, so that they reach the same account.
fn with_options(target: &Target, text: Result<String>) -> Result<String> {
    let with_options = |text: String| {
        if !target.aws || !text.contains("waybill ") {
            return text;
        }
        let profile = target.profile.as_ref();
        let profile = profile.map_or(String::new(), |name| format!(" --profile {name}"));
        format!(
            "{text}\n(add --aws{profile} --prefix {} to each command named here)",
            target.prefix
        )
    };
    match text {
        Ok(text) => Ok(with_options(text)),
        Err(error) => Err(Error::new(with_options(error.to_string()))),
    }
}

fn keys(aws: &Aws, prefix: &str, action: KeysAction) -> Result<()> {
    let stacks = account::stacks(aws)?;
    let names = match action {
        KeysAction::Create { .. } => Names::to_create(&stacks, prefix),
        KeysAction::List { .. } | KeysAction::Rotate { .. } => Names::of(&stacks, prefix),
    };
    if let Some(sharing) = keys::sharing(&stacks, prefix) {
        say(format_args!("warning: {sharing}"));
    }
    match action {
        KeysAction::List { json } => {
            print(json, &rotate::list(aws, &names)?, |list| list.to_string());
            Ok(())
        }
        KeysAction::Create { kms_key } => {
            let pair = keys::ensure(aws, &names, kms_key.as_deref())?;
            say(match pair {
                Pair::Made => format!("created a signing key in {}", names.signing),
                Pair::Kept => format!(
                    "{} has a signing key already; it was not changed",
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

/// Asks the operator to type `words`.
fn confirm(warning: &str, words: &str) -> Result<()> {
    print_stderr(format_args!("{warning}\nType `{words}` to continue:"));
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

/// Connects, and prints the account first, because a shell may still have another one's credentials.
fn connect(target: &Target) -> Result<Aws> {
    if !target.aws {
        let project = Project::find().map_err(|_| {
            Error::new("no checkout here, so no local stack; use --aws for an AWS account")
        })?;
        return Ok(emulator::stack(&Home::current(&project))?.aws());
    }
    let aws = account_of(target.profile.as_deref())?;
    print_stderr(aws.place()?.described(&target.prefix));
    Ok(aws)
}

#[cfg(feature = "aws")]
use crate::credentials::account as account_of;

#[cfg(not(feature = "aws"))]
fn account_of(_profile: Option<&str>) -> Result<Aws> {
    Err(Error::new(
        "this program was built without the feature `aws`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assert_contains;

    #[test]
    fn named_commands_get_the_options_of_this_call() {
        let target = |aws| Target {
            aws,
            profile: None,
            prefix: "shop".to_owned(),
        };
        let output = |aws, text: &str| with_options(&target(aws), Ok(text.to_owned()));
        let named = output(true, "next: waybill dlq ls").expect("a text");
        assert_contains(&named, &["(add --aws --prefix shop to each"]);
        for (target, text) in [
            (false, "next: waybill dlq ls"),
            (true, "nothing has failed for good"),
        ] {
            assert_eq!(output(target, text).expect("a text"), text);
        }
        let error = || Err(Error::new("see waybill dlq ls"));
        let output = with_options(&target(true), error()).expect_err("an error");
        assert!(output.to_string().contains("--prefix shop"), "{output}");
        let profile = Some("admin".to_owned());
        let target = Target {
            profile,
            ..target(true)
        };
        let output = with_options(&target, error()).expect_err("an error");
        let hint = "(add --aws --profile admin --prefix shop to each command named here)";
        assert!(output.to_string().contains(hint), "{output}");
    }

    #[test]
    fn an_audit_that_did_not_run_exits_with_3() {
        let nowhere = Err(Error::new("asking AWS which account this is: ExpiredToken"));
        let error = audited(nowhere, "shop").expect_err("nothing is reached");
        let output = "the audit did not run: asking AWS which account this is: ExpiredToken";
        assert_eq!(
            (error.exit_code(), error.to_string()),
            (3, output.to_owned())
        );
    }
}
