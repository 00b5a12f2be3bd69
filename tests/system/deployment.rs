//! The root template as it is deployed on AWS: every service as a stack nested in one.

use serde_json::{Value, json};
use test_support::template::workspace_root;
use uuid::Uuid;
use xtask::account;
use xtask::deploy::Deployer;
use xtask::http::Client;
use xtask::keys::{self, Names};
use xtask::local;
use xtask::project::Project;
use xtask::stack::{Stack, base_url};

use crate::world::{World, eventually, login, order_body, world};

const PREFIX: &str = "rooted";

#[test]
fn the_root_template_deploys_takes_an_update_and_goes() {
    let world = world();
    let _shared = world.shared();
    let project = Project::at(workspace_root());
    let stack = Stack {
        prefix: PREFIX.to_owned(),
        api_id: PREFIX.to_owned(),
        base_url: base_url(world.stack.port, PREFIX),
        ..world.stack.clone()
    };
    let names = Names::own(PREFIX);
    keys::ensure(&world.aws, &names, None).unwrap();
    let key_set = keys::read(&world.aws, &names.set).unwrap().unwrap().value;

    let plan = local::root(&project, &stack, &key_set).unwrap();
    let deployer = Deployer::new(&project, &world.aws, &stack.endpoint).unwrap();
    deployer.deploy(&plan).unwrap();
    let http = stack.http();
    let payment = format!("/api/v1/payments/{}", Uuid::new_v4());
    for (path, status) in [
        ("/.well-known/jwks.json", 200),
        ("/api/v1/items", 200),
        (payment.as_str(), 401),
    ] {
        let answer = http.get(path, None).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    an_order_passes_its_queues(&http);
    let deployed = functions(world);
    assert_eq!(deployed.len(), plan.functions());

    update(world, "LogLevel", "debug");
    let updated = functions(world);
    assert_eq!(updated.len(), deployed.len());
    for function in &updated {
        let level = &function["Environment"]["Variables"]["LOG_LEVEL"];
        assert_eq!(level, "debug", "{}", function["FunctionName"]);
    }

    deployer.delete(PREFIX).unwrap();
    assert_eq!(stacks(world), Vec::<String>::new());
    assert_eq!(functions(world), Vec::<Value>::new());
}

/// Inventory has no such item, and says so to orders.
fn an_order_passes_its_queues(http: &Client) {
    let email = format!("{}@customers.example", Uuid::new_v4().simple());
    let password = "a long pass phrase";
    let account = json!({"email": email, "password": password, "name": "Some Body"});
    let registered = http.post("/api/v1/users", None, &account).unwrap();
    registered.expect(201, "registering").unwrap();
    let token = login(http, &email, password);
    let order = order_body("no-such-item", 1, "pm_card_visa");
    let placed = http.post("/api/v1/orders", Some(&token), &order).unwrap();
    let order = placed.expect(202, "ordering").unwrap();
    let path = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
    eventually("the order is rejected", || {
        let order = http.get(&path, Some(&token)).unwrap().value();
        (order["status"] == "REJECTED").then_some(())
    });
}

fn begins_with_prefix(name: &Value) -> bool {
    let name = name.as_str().unwrap();
    name == PREFIX || name.starts_with(&format!("{PREFIX}-"))
}

fn functions(world: &World) -> Vec<Value> {
    let mut functions = account::functions(&world.aws).unwrap();
    functions.retain(|function| begins_with_prefix(&function["FunctionName"]));
    functions
}

fn stacks(world: &World) -> Vec<String> {
    let stacks = account::stacks(&world.aws).unwrap();
    let names = stacks.iter().map(|stack| &stack["StackName"]);
    names
        .filter(|name| begins_with_prefix(name))
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Changes one parameter of the root's and keeps its template and the others.
fn update(world: &World, changed: &str, value: &str) {
    let described = || {
        let params = json!({"StackName": PREFIX});
        let answer = world.aws.call("cloudformation", "DescribeStacks", params);
        answer.unwrap()["Stacks"][0].take()
    };
    let parameters: Vec<Value> = described()["Parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|given| match &given["ParameterKey"] {
            key if key == changed => json!({"ParameterKey": key, "ParameterValue": value}),
            key => json!({"ParameterKey": key, "UsePreviousValue": true}),
        })
        .collect();
    let update = json!({
        "StackName": PREFIX, "UsePreviousTemplate": true, "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    });
    let aws = &world.aws;
    aws.call("cloudformation", "UpdateStack", update).unwrap();
    let status = eventually("the update ends", || {
        let status = described()["StackStatus"].as_str().unwrap().to_owned();
        (!status.ends_with("_IN_PROGRESS")).then_some(status)
    });
    assert_eq!(status, "UPDATE_COMPLETE");
}
