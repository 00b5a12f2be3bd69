//! Deployments as on AWS: one service alone, and the root template with every service in a stack of
//! its own. First deployments fail and are repeated, and tables stay.

use serde_json::{Value, json};
use test_support::template::workspace_root;
use uuid::Uuid;
use xtask::account;
use xtask::deploy::{Deployer, Plan};
use xtask::http::Client;
use xtask::keys::{self, Names};
use xtask::local;
use xtask::project::Project;
use xtask::stack::{Stack, base_url};

use crate::world::{World, eventually, login, order_body, world};

/// An installation beside that of the other tests.
struct Installation {
    world: &'static World,
    stack: Stack,
    project: Project,
    key_set: String,
}

impl Installation {
    fn new(world: &'static World, prefix: &str) -> Self {
        let names = Names::own(prefix);
        keys::ensure(&world.aws, &names, None).unwrap();
        Self {
            world,
            stack: Stack {
                prefix: prefix.to_owned(),
                api_id: prefix.to_owned(),
                base_url: base_url(world.stack.port, prefix),
                ..world.stack.clone()
            },
            project: Project::at(workspace_root()),
            key_set: keys::read(&world.aws, &names.set).unwrap().unwrap().value,
        }
    }

    /// Deploys with the SAM CLI, and gives the reasons for a failure.
    fn deploy(&self, plan: &Plan) -> Result<(), String> {
        let aws = &self.world.aws;
        let deployer = Deployer::new(&self.project, aws, &self.stack.endpoint).unwrap();
        deployer.prepare().unwrap();
        deployer.deploy(plan).map_err(|error| error.to_string())
    }

    fn answers(&self, path: &str, status: u16) {
        let answer = self.stack.http().get(path, None).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }

    fn call(&self, operation: &str, params: Value) -> Value {
        self.world
            .aws
            .call("cloudformation", operation, params)
            .unwrap()
    }

    fn described(&self, name: &str) -> Value {
        self.call("DescribeStacks", json!({"StackName": name}))["Stacks"][0].take()
    }

    /// The stack that the SAM CLI deployed. A repeat needs no second upload.
    fn deployed(&self, plan: &Plan) -> Value {
        let mut template = self.call("GetTemplate", json!({"StackName": plan.stack}));
        let parameter = |(key, value)| json!({"ParameterKey": key, "ParameterValue": value});
        let parameters: Vec<Value> = plan.parameters.iter().map(parameter).collect();
        json!({
            "StackName": plan.stack, "TemplateBody": template["TemplateBody"].take(),
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        })
    }

    /// Changes a stack, and gives its status at the end.
    fn change(&self, operation: &str, params: &Value) -> String {
        self.call(operation, params.clone());
        self.status(params["StackName"].as_str().unwrap())
    }

    fn status(&self, name: &str) -> String {
        eventually(&format!("{name} settles"), || {
            let status = self.described(name)["StackStatus"].as_str()?.to_owned();
            (!status.ends_with("_IN_PROGRESS")).then_some(status)
        })
    }

    fn delete(&self, name: &str) {
        self.call("DeleteStack", json!({"StackName": name}));
        eventually(&format!("{name} is deleted"), || {
            let stacks = account::stacks(&self.world.aws).unwrap();
            stacks
                .iter()
                .all(|stack| stack["StackName"] != name)
                .then_some(())
        });
    }

    fn functions(&self) -> Vec<Value> {
        let mut functions = account::functions(&self.world.aws).unwrap();
        functions.retain(|function| self.is_own(&function["FunctionName"]));
        functions
    }

    fn stacks(&self) -> Vec<Value> {
        let mut stacks = account::stacks(&self.world.aws).unwrap();
        stacks.retain(|stack| self.is_own(&stack["StackName"]));
        stacks
    }

    fn is_own(&self, name: &Value) -> bool {
        let name = name.as_str().unwrap();
        name == self.stack.prefix || name.starts_with(&format!("{}-", self.stack.prefix))
    }

    fn table(&self, service: &str) -> Table<'_> {
        Table {
            installation: self,
            name: self.stack.name(service),
        }
    }
}

/// A table, with one row to look for.
struct Table<'a> {
    installation: &'a Installation,
    name: String,
}

impl Table<'_> {
    fn call(&self, operation: &str, mut params: Value) -> Option<Value> {
        params["TableName"] = json!(self.name);
        let aws = &self.installation.world.aws;
        let missing = "ResourceNotFoundException";
        aws.find("dynamodb", operation, params, missing).unwrap()
    }

    fn create(&self) {
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let params = json!({
            "AttributeDefinitions": [attribute("pk"), attribute("sk")], "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        });
        self.call("CreateTable", params).unwrap();
        self.put();
    }

    fn put(&self) {
        let item = json!({"pk": {"S": "kept"}, "sk": {"S": "kept"}});
        self.call("PutItem", json!({"Item": item})).unwrap();
    }

    fn exists(&self) -> bool {
        self.call("DescribeTable", json!({})).is_some()
    }

    fn has_row(&self) -> bool {
        let key = json!({"pk": {"S": "kept"}, "sk": {"S": "kept"}});
        let found = self.call("GetItem", json!({"Key": key}));
        found.is_some_and(|found| found["Item"].is_object())
    }

    fn delete(&self) {
        self.call("DeleteTable", json!({})).unwrap();
    }
}

#[test]
fn a_service_alone_deploys_fails_and_adopts_its_table() {
    let world = world();
    let _shared = world.shared();
    let alone = Installation::new(world, "alone");
    let plan = |name: &str, template: &str| {
        let template = alone.project.root().join(template);
        local::part(&alone.stack, name, &template, &alone.key_set).unwrap()
    };
    let gateway = plan("gateway", "infra/gateway/template.yaml");
    let plan = plan("payments", "functions/payments/template.yaml");
    let (payments, table) = (plan.stack.clone(), alone.table("payments"));
    alone.deploy(&gateway).unwrap();

    // The first deployment fails after it made the table, which goes with it.
    let log = format!("/aws/lambda/{}", alone.stack.name("payments-commands"));
    let log = json!({"logGroupName": log});
    world
        .aws
        .call("logs", "CreateLogGroup", log.clone())
        .unwrap();
    let failure = alone.deploy(&plan).unwrap_err();
    assert!(failure.contains("PaymentsCommandsLogGroup: "), "{failure}");
    assert_eq!(alone.status(&payments), "ROLLBACK_COMPLETE");
    assert!(!table.exists());
    let stack = alone.deployed(&plan);
    alone.delete(&payments);
    world.aws.call("logs", "DeleteLogGroup", log).unwrap();

    // No other service exists.
    assert_eq!(alone.change("CreateStack", &stack), "CREATE_COMPLETE");
    let payment = format!("/api/v1/payments/{}", Uuid::new_v4());
    alone.answers(&payment, 401);
    table.put();

    // The table stays, and stops the next deployment without a loss.
    alone.delete(&payments);
    assert!(table.has_row());
    assert_eq!(alone.change("CreateStack", &stack), "ROLLBACK_COMPLETE");
    assert!(table.has_row());
    alone.delete(&payments);

    // As docs/operate/update-and-remove.md adopts it.
    let source = std::fs::read_to_string(workspace_root().join("functions/payments/template.yaml"));
    let source = source.unwrap();
    let start = source.find("\n  PaymentsTable:\n").unwrap();
    let resource = source[start..].split("\n\n").next().unwrap();
    let conditions =
        "Conditions: { TableIsRecoverable: !Equals [1, 1], TableIsProtected: !Equals [1, 2] }";
    // AWS refuses a condition that the template does not define; the emulator accepts it.
    for named in resource.split("!If [").skip(1) {
        let name = named.split(',').next().unwrap();
        assert!(conditions.contains(name), "{name} is not defined");
    }
    let page = workspace_root().join("docs/operate/update-and-remove.md");
    assert!(std::fs::read_to_string(page).unwrap().contains(conditions));
    let template = format!(
        "Parameters: {{ Prefix: {{ Type: String }} }}\n{conditions}\nResources:{resource}\n"
    );
    let import = json!({
        "StackName": payments, "ChangeSetName": "adopt", "ChangeSetType": "IMPORT",
        "TemplateBody": template,
        "Parameters": [{"ParameterKey": "Prefix", "ParameterValue": alone.stack.prefix}],
        "ResourcesToImport": [{
            "ResourceType": "AWS::DynamoDB::Table", "LogicalResourceId": "PaymentsTable",
            "ResourceIdentifier": {"entry.1.key": "TableName", "entry.1.value": table.name},
        }],
    });
    alone.call("CreateChangeSet", import);
    let change = json!({"StackName": payments, "ChangeSetName": "adopt"});
    eventually("the change set is made", || {
        let status = alone.call("DescribeChangeSet", change.clone())["Status"].take();
        (status == "CREATE_COMPLETE").then_some(())
    });
    assert_eq!(alone.change("ExecuteChangeSet", &change), "IMPORT_COMPLETE");
    assert_eq!(alone.change("UpdateStack", &stack), "UPDATE_COMPLETE");
    assert!(table.has_row());
    alone.answers(&payment, 401);

    alone.delete(&payments);
    alone.delete(&gateway.stack);
    table.delete();
}

#[test]
fn the_root_template_fails_deploys_takes_an_update_and_goes() {
    let world = world();
    let _shared = world.shared();
    let rooted = Installation::new(world, "rooted");
    let prefix = rooted.stack.prefix.as_str();
    let plan = local::root(&rooted.project, &rooted.stack, &rooted.key_set).unwrap();

    // A table that stayed stops the second of four services.
    let stayed = rooted.table("inventory");
    stayed.create();
    rooted.deploy(&plan).unwrap_err();
    assert_eq!(rooted.status(prefix), "ROLLBACK_COMPLETE");
    assert!(stayed.has_row());
    assert!(!rooted.table("users").exists());
    assert_eq!(rooted.functions(), Vec::<Value>::new());
    let stack = rooted.deployed(&plan);
    rooted.delete(prefix);
    // The emulator keeps the nested stack that failed, with its logs. AWS rolls it back.
    for stack in rooted.stacks() {
        rooted.delete(stack["StackName"].as_str().unwrap());
    }
    assert!(stayed.has_row());
    stayed.delete();

    assert_eq!(rooted.change("CreateStack", &stack), "CREATE_COMPLETE");
    rooted.answers("/.well-known/jwks.json", 200);
    rooted.answers("/api/v1/items", 200);
    rooted.answers("/health", 200);
    rooted.answers(&format!("/api/v1/payments/{}", Uuid::new_v4()), 401);
    an_order_passes_its_queues(&rooted.stack.http());
    assert_eq!(rooted.functions().len(), plan.functions());

    let kept = |name: &String| json!({"ParameterKey": name, "UsePreviousValue": true});
    let mut parameters: Vec<Value> = plan.parameters.keys().map(kept).collect();
    parameters.push(json!({"ParameterKey": "LogLevel", "ParameterValue": "debug"}));
    let update = json!({
        "StackName": prefix, "UsePreviousTemplate": true, "Parameters": parameters,
        "Capabilities": stack["Capabilities"],
    });
    assert_eq!(rooted.change("UpdateStack", &update), "UPDATE_COMPLETE");
    let updated = rooted.functions();
    assert_eq!(updated.len(), plan.functions());
    for function in &updated {
        let level = &function["Environment"]["Variables"]["LOG_LEVEL"];
        assert_eq!(level, "debug", "{}", function["FunctionName"]);
    }

    let deployer = Deployer::new(&rooted.project, &world.aws, &rooted.stack.endpoint).unwrap();
    deployer.delete(prefix).unwrap();
    assert_eq!(rooted.stacks(), Vec::<Value>::new());
    assert_eq!(rooted.functions(), Vec::<Value>::new());
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
