//! Runs a parsed command.

use tooling::status;

use crate::cli::Command;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::stack::Stack;
use crate::state::Home;
use crate::ui::{self, say};
use crate::{
    api, check, ci, compat, demo, emulator, functions, local, measure, mutants, new, seed_bugs,
    sim, test,
};

pub fn run(command: Command) -> Result<()> {
    let project = Project::find().map_err(Error::not_run)?;
    let home = Home::current(&project);
    match command {
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
        Command::Status => {
            let stack = emulator::stack(&home)?;
            let status = status::read(&stack.aws(), &stack.prefix)?;
            say(status.report());
            status.verdict()
        }
        Command::Url => {
            ui::put(emulator::stack(&home)?.base_url);
            Ok(())
        }
        Command::Env => {
            let variables = functions::environment(&emulator::stack(&home)?)?;
            ui::put(functions::exports(&variables).trim_end());
            Ok(())
        }
        Command::Watch { arguments } => {
            functions::watch(&project, &emulator::stack(&home)?, &arguments)
        }
        Command::Bundle { x86_64 } => functions::bundle(&project, &project.services()?, x86_64),
        Command::Ci(ci) => ci::run(&project, &home, &ci),
        Command::Demo => demo::run(&emulator::stack(&home)?),
        Command::Check { service } => check::run(&project, service.as_deref()),
        Command::Test { fast } => test::run(&project, fast),
        Command::Api => api::run(&project),
        Command::New { what } => new::run(&project, &what),
        Command::Sim(simulation) => sim::run(&project, &simulation),
        Command::Compat => compat::run(&project, crate::process::run),
        Command::SeedBugs(asked) => seed_bugs::run(&project, &asked),
        Command::Measure { names } => measure::run(&project, &names),
        Command::Mutants { arguments } => mutants::run(&project, &arguments),
    }
}

fn invitation(stack: &Stack) -> String {
    let port = stack.port;
    let url = &stack.base_url;
    format!(
        r#"
Waybill is up on port {port}:  {url}

Three things to try:

  1. List the items
     curl -s {url}/api/v1/items

  2. Register and log in
     curl -s {url}/api/v1/users -H 'content-type: application/json' \
       -d '{{"email":"ada@example.com","password":"a long pass phrase","name":"Ada"}}'
     TOKEN=$(curl -s {url}/api/v1/auth/login -H 'content-type: application/json' \
       -d '{{"email":"ada@example.com","password":"a long pass phrase"}}' |
       sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  3. Place an order and read its status
     curl -s {url}/api/v1/orders -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
       -d '{{"lines":[{{"sku":"stoneware-cup","quantity":2}}],"payment_method":"pm_card_visa"}}'
     curl -s {url}/api/v1/orders -H "authorization: Bearer $TOKEN"

Or try every operation on a page: {url}/docs
Or watch a tour of all outcomes: cargo xtask demo
"#
    )
}
