//! The steps of a service's pipeline: its stage of a pull request is deployed, tested and removed.

use std::process::Command;

use test_support::template::workspace_root;
use xtask::account;
use xtask::ci::stage::Installation;
use xtask::ci::{pack, service, unpacked};
use xtask::project::Project;
use xtask::state::Home;

use crate::world::{World, world};

const PREFIX: &str = "waybill-pr-payments-7";

#[test]
fn a_pull_requests_stage_is_deployed_tested_and_removed() {
    let world = world();
    let _alone = world.alone();
    let project = Project::at(workspace_root());
    let home = Home::current(&project);
    let stage = "pr-7".parse().unwrap();
    let find = || Installation::find(&project, &home, "payments", &stage, false).unwrap();
    let before = names(world);

    let payments = service(&project, "payments").unwrap();
    pack(&project, &payments).unwrap();
    find()
        .deploy(&unpacked(&project, &payments).unwrap())
        .unwrap();
    let (of_the_stage, others): (Vec<_>, Vec<_>) = names(world)
        .into_iter()
        .partition(|name| name.starts_with(PREFIX));
    assert_eq!(others, before);
    for name in &before {
        let own = name.replacen(&world.stack.prefix, PREFIX, 1);
        assert!(of_the_stage.contains(&own), "there is no {own}");
    }

    let journey = "journeys::a_confirmed_order_accounts_for_its_money_and_stock";
    let mut program = Command::new(std::env::current_exe().unwrap());
    find()
        .system_test(program.args(["--exact", journey]))
        .unwrap();

    find().remove().unwrap();
    assert_eq!(names(world), before);
}

/// Stacks, functions, tables and queues.
fn names(world: &World) -> Vec<String> {
    let aws = &world.aws;
    let named = |name: &serde_json::Value| name.as_str().unwrap().to_owned();
    let stacks = account::stacks(aws).unwrap();
    let functions = account::functions(aws).unwrap();
    let tables = aws.list(
        "dynamodb",
        "ListTables",
        "TableNames",
        serde_json::json!({}),
    );
    let mut names: Vec<String> = stacks
        .iter()
        .map(|stack| named(&stack["StackName"]))
        .collect();
    names.extend(
        functions
            .iter()
            .map(|function| named(&function["FunctionName"])),
    );
    names.extend(tables.unwrap().iter().map(named));
    let queues = account::queues(aws, "").unwrap();
    names.extend(
        queues
            .iter()
            .filter_map(|url| url.rsplit('/').next())
            .map(str::to_owned),
    );
    names.sort();
    names
}
