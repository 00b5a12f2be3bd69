//! Each command, as the calls it consists of.

use serde_json::json;

use crate::audit::{self, Audit};
use crate::aws::Aws;
use crate::cli::{Command, HELP, KeysAction, Target};
use crate::emulator::{self, Condition};
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names, Pair};
use crate::project::Project;
use crate::rotate::{self, Extent};
use crate::rotation::Waits;
use crate::stack::Stack;
use crate::state::Home;
use crate::ui::{self, complain, say};
use crate::{
    account, admin, demo, dlq, functions, local, logs, mutants, plant, preflight, saga, sim,
    status, test, tools,
};

/// Does what was asked.
pub fn run(command: Command) -> Result<()> {
    if command == Command::Help {
        say(HELP.trim_end());
        return Ok(());
    }
    let project = Project::find().map_err(Error::not_carried_out)?;
    let home = Home::developer(&project);
    match command {
        Command::Help => Ok(()),
        Command::Up { port } => {
            let _lock = home.lock()?;
            let stack = local::up(&project, &home, port)?;
            say(invitation(&stack).trim_end());
            Ok(())
        }
        Command::Down { wipe } => {
            let _lock = home.lock()?;
            local::down(&home, wipe)
        }
        Command::Status => status::print(&project, &home),
        Command::Logs { service, follow } => logs::print(
            &project,
            &home,
            &running(&home)?,
            service.as_deref(),
            follow,
        ),
        Command::Url => {
            ui::put(running(&home)?.base_url);
            Ok(())
        }
        Command::Env => {
            let variables = functions::environment(&project, &running(&home)?)?;
            ui::put(functions::exports(&variables).trim_end());
            Ok(())
        }
        Command::Watch { arguments } => functions::watch(&project, &running(&home)?, &arguments),
        Command::Bundle { x86_64 } => functions::bundle(&project, x86_64),
        Command::Demo => demo::run(&running(&home)?),
        Command::Test { fast } => test::run(&project, fast),
        Command::Sim(simulation) => sim::run(&project, &simulation),
        Command::Plant(planting) => plant::run(&project, &planting),
        Command::Mutants { arguments } => mutants::run(&project, &arguments),
        Command::AdminGrant {
            email,
            target,
            prefix,
        } => {
            let id = admin::grant(&reach(&project, &home, target, &prefix)?, &prefix, &email)?;
            say(format_args!(
                "{} (user {id}) is an administrator from the next login or refresh on",
                email.trim()
            ));
            Ok(())
        }
        Command::Keys {
            action,
            target,
            prefix,
        } => keys(&reach(&project, &home, target, &prefix)?, &prefix, action),
        Command::Saga {
            action,
            target,
            prefix,
        } => {
            let aws = reach(&project, &home, target, &prefix)?;
            let told = saga::run(&aws, &prefix, &action);
            say(named_as_here(target, &prefix, told)?);
            Ok(())
        }
        Command::Dlq {
            action,
            target,
            prefix,
        } => {
            let is_raw = matches!(action, dlq::Action::Show { raw: true, .. });
            if is_raw {
                ui::not_a_terminal("cargo xtask dlq show --raw")?;
            }
            let aws = reach(&project, &home, target, &prefix)?;
            let told = dlq::tell(&aws, &prefix, &action, &mut |part| {
                say(part);
            });
            if is_raw {
                ui::put(told?);
            } else {
                say(named_as_here(target, &prefix, told)?);
            }
            Ok(())
        }
        Command::Audit { target, prefix } => {
            let audit = audited(reach(&project, &home, target, &prefix), &prefix)?;
            // The report names commands, and where they reach; the verdict after it names none.
            say(named_as_here(target, &prefix, Ok(audit.report()))?);
            audit.verdict()
        }
        Command::Preflight {
            given,
            target,
            prefix,
        } => {
            preflight::judge(&project, &given).map_err(Error::not_carried_out)?;
            let aws = reach(&project, &home, target, &prefix)?;
            let findings = preflight::look(&project, &aws, &prefix, &given)?;
            say(named_as_here(
                target,
                &prefix,
                Ok(preflight::report(&findings)),
            )?);
            preflight::verdict(&findings)
        }
        Command::Sweep { target, prefix } => {
            let aws = reach(&project, &home, target, &prefix)?;
            let answer = functions::invoke(&aws, &format!("{prefix}-orders-sweep"), &json!({}))?;
            say(answer);
            Ok(())
        }
    }
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
fn named_as_here(target: Target, prefix: &str, told: Result<String>) -> Result<String> {
    let reaching = |text: String| {
        if target == Target::Local || !text.contains("cargo xtask ") {
            return text;
        }
        format!("{text}\n(each command named here: with --aws --prefix {prefix}, as this one)")
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
        KeysAction::List | KeysAction::Rotate { .. } => Names::of(&stacks, prefix),
    };
    if let Some(told) = keys::sharing(&stacks, prefix) {
        say(format_args!("warning: {told}"));
    }
    match action {
        KeysAction::List => {
            say(rotate::list(aws, &names)?);
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

/// The developer's stack, if it is up.
fn running(home: &Home) -> Result<Stack> {
    match emulator::condition(home) {
        Condition::Running(_) => Stack::read(&home.stack()),
        Condition::Lost(_) => Err(Error::new(
            "the emulator has ended; cargo xtask up starts it again",
        )),
        Condition::Stopped => Err(Error::new(
            "the stack is not up; start it with cargo xtask up",
        )),
    }
}

/// Says first which account it is: a shell can stand in the wrong one for days.
fn reach(project: &Project, home: &Home, target: Target, prefix: &str) -> Result<Aws> {
    match target {
        Target::Local => running(home)?.aws(project),
        Target::Account => {
            tools::SAM.install(project)?;
            let aws = Aws::account(project)?;
            complain(aws.place()?.described(prefix));
            Ok(aws)
        }
    }
}

fn invitation(stack: &Stack) -> String {
    let port = stack.port;
    let url = &stack.base_url;
    format!(
        r#"
Waybill is up on port {port}:  {url}

Three things to try:

  1. What there is to order
     curl -s {url}/api/v1/items

  2. Become a customer
     curl -s {url}/api/v1/users -H 'content-type: application/json' \
       -d '{{"email":"ada@example.com","password":"a long pass phrase","name":"Ada"}}'
     TOKEN=$(curl -s {url}/api/v1/auth/login -H 'content-type: application/json' \
       -d '{{"email":"ada@example.com","password":"a long pass phrase"}}' |
       sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  3. Place an order, and see what became of it
     curl -s {url}/api/v1/orders -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
       -d '{{"lines":[{{"sku":"stoneware-cup","quantity":2}}],"payment_method":"pm_card_visa"}}'
     curl -s {url}/api/v1/orders -H "authorization: Bearer $TOKEN"

Or watch it all at once: cargo xtask demo
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_are_named_reach_the_same_account() {
        let told = |target, text: &str| named_as_here(target, "shop", Ok(text.to_owned()));
        let named = told(Target::Account, "next: cargo xtask dlq ls").expect("a text");
        assert!(named.contains("with --aws --prefix shop"), "{named}");
        for (target, text) in [
            (Target::Local, "next: cargo xtask dlq ls"),
            (Target::Account, "nothing has failed for good"),
        ] {
            assert_eq!(told(target, text).expect("a text"), text);
        }
        let error = Err(Error::new("see cargo xtask dlq ls"));
        let error = named_as_here(Target::Account, "shop", error).expect_err("an error");
        assert!(error.to_string().contains("--prefix shop"), "{error}");
    }

    #[test]
    fn an_audit_that_cannot_be_carried_out_says_nothing_of_the_books() {
        let nowhere = Err(Error::new("asking AWS which account this is: ExpiredToken"));
        let error = audited(nowhere, "shop").expect_err("nothing is reached");
        let told = "the audit could not be carried out: asking AWS which account this is: \
                    ExpiredToken";
        assert_eq!((error.exit_code(), error.to_string()), (3, told.to_owned()));
    }
}
