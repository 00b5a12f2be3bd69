//! Whether an account fits what the templates ask for: its quotas, names that are taken, its keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names};
use crate::project::Project;
use crate::ui::count;

/// What Lambda keeps free of reservations; here also what the requests of customers need.
const FOR_REQUESTS: u64 = 100;

/// Lambda's usual quota of concurrent executions; a new account starts far below it.
const USUAL_QUOTA: u64 = 1000;

/// What the templates ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The sum of the functions' reserved concurrency.
    pub reserved: u64,
    /// What queues may run at once beyond that: of functions that reserve nothing.
    pub queues: u64,
    /// The tables, which have fixed names.
    pub tables: BTreeSet<String>,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Found {
    /// How many functions may run at once in the account and region.
    pub concurrency: u64,
    /// How many of these no other function has reserved.
    pub available: u64,
    /// Every table of a wanted name.
    pub tables: BTreeSet<String>,
    /// The tables of the installation's own stacks.
    pub owned_tables: BTreeSet<String>,
    /// The installation's stacks that cannot be deployed again as they are.
    pub failed_stacks: Vec<String>,
    /// The parameters of the keys that are not there.
    pub missing_parameters: Vec<String>,
    /// What is wrong with the encryption of the signing key.
    pub key_weaknesses: Vec<String>,
    /// What it means that another installation has the same keys.
    pub sharing: Option<String>,
    /// Functions that confirm orders without money, in production.
    pub simulated: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Fits,
    /// It may be meant, and fails nothing.
    Note,
    Stops,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    pub about: &'static str,
    pub said: String,
}

/// Reads the templates and the account, and compares them.
pub fn look(project: &Project, aws: &Aws, prefix: &str) -> Result<Vec<Finding>> {
    let mut asked = Asked::default();
    for service in project.services()? {
        let path = service.template;
        let text = fs::read_to_string(&path).context(path.display())?;
        asked.add(&text, prefix).context(path.display())?;
    }
    let found = find(aws, &asked, prefix)?;
    Ok(compare(&asked, &found))
}

/// The findings as a person reads them.
pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        weight,
        about,
        said,
    } in findings
    {
        let word = match weight {
            Weight::Fits => "fits",
            Weight::Note => "note",
            Weight::Stops => "STOP",
        };
        let _ = writeln!(text, "{word}  {about:<22}{said}");
    }
    text.trim_end().to_owned()
}

/// An error if anything stops a deployment.
pub fn verdict(findings: &[Finding]) -> Result<()> {
    let stops = findings.iter().filter(|one| one.weight == Weight::Stops);
    match stops.count() {
        0 => Ok(()),
        number => Err(Error::new(format!(
            "do not deploy yet: {}, marked STOP above",
            count(number, "problem")
        ))),
    }
}

pub fn compare(asked: &Asked, found: &Found) -> Vec<Finding> {
    let mut findings = vec![concurrency(asked, found)];
    let mut judge = |about, problem: Option<String>, weight, fits: &str| {
        findings.push(Finding {
            weight: problem.as_ref().map_or(Weight::Fits, |_| weight),
            about,
            said: problem.unwrap_or_else(|| fits.to_owned()),
        });
    };
    let in_the_way: BTreeSet<&String> = found.tables.difference(&found.owned_tables).collect();
    judge(
        "tables",
        named(&in_the_way).map(|names| {
            format!(
                "{names} exist and belong to no stack of this installation, so a deployment that \
                 makes them fails. Next: adopt them (README, Deploying to AWS), delete them, or \
                 deploy with another Prefix"
            )
        }),
        Weight::Stops,
        "no table is in the way",
    );
    judge(
        "stacks",
        named(&found.failed_stacks).map(|names| {
            format!("{names} failed when first deployed. Next: sam delete --stack-name NAME")
        }),
        Weight::Stops,
        "no stack is in the way",
    );
    judge(
        "keys",
        named(&found.missing_parameters)
            .map(|names| format!("there is no parameter {names}. Next: cargo xtask keys create")),
        Weight::Stops,
        "the parameters of the keys are there",
    );
    judge(
        "encryption of keys",
        (!found.key_weaknesses.is_empty()).then(|| found.key_weaknesses.join("; ")),
        Weight::Stops,
        "the signing key is encrypted under a customer managed key",
    );
    judge(
        "other installations",
        found.sharing.clone(),
        Weight::Stops,
        "none has the same keys",
    );
    judge(
        "payments",
        named(&found.simulated).map(|names| {
            format!(
                "{names} confirm orders on the payment simulator in production: nobody pays. Next, \
                 unless it is meant: deploy with Stage=staging"
            )
        }),
        Weight::Note,
        "no function in production uses the payment simulator",
    );
    findings
}

fn concurrency(asked: &Asked, found: &Found) -> Finding {
    let Asked {
        reserved, queues, ..
    } = asked;
    let needed = reserved + queues + FOR_REQUESTS;
    let said = format!(
        "the templates need {needed} concurrent executions ({reserved} reserved, {queues} more for \
         queues, {FOR_REQUESTS} for requests); the account allows {}, of which {} are not reserved by \
         other functions",
        found.concurrency, found.available
    );
    if found.available >= needed {
        return Finding {
            weight: Weight::Fits,
            about: "concurrency",
            said,
        };
    }
    let wanted = USUAL_QUOTA.max(found.concurrency + needed - found.available);
    Finding {
        weight: Weight::Stops,
        about: "concurrency",
        said: format!(
            "{said}. A throttled message becomes a dead letter after five tries. Next: ask for \
             {wanted} in Service Quotas (AWS Lambda, Concurrent executions), and deploy when it is \
             granted"
        ),
    }
}

fn named<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Option<String> {
    let names: Vec<S> = names.into_iter().collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

impl Asked {
    /// What one service's template asks for, with its parameters' defaults.
    fn add(&mut self, template: &str, prefix: &str) -> Result<()> {
        let template: Yaml = serde_yaml_ng::from_str(template).context("the template")?;
        let resources = template.get("Resources").and_then(Yaml::as_mapping);
        let resources: Vec<(&str, &str, &Yaml)> = resources
            .into_iter()
            .flatten()
            .filter_map(|(id, resource)| {
                let kind = resource.get("Type")?.as_str()?;
                Some((id.as_str()?, kind, resource.get("Properties")?))
            })
            .collect();
        let reservation = |wanted: &str| {
            let function = resources.iter().find(|(id, _, _)| *id == wanted);
            let properties = function.map(|(_, _, properties)| properties)?;
            number(properties.get("ReservedConcurrentExecutions")?, &template)
        };
        for (id, kind, properties) in &resources {
            match *kind {
                "AWS::Serverless::Function" => self.reserved += reservation(id).unwrap_or(0),
                "AWS::Lambda::EventSourceMapping" => {
                    let function = properties
                        .get("FunctionName")
                        .and_then(Yaml::as_str)
                        .context(format!("{id} has no FunctionName"))?;
                    let function = function.strip_suffix(".Arn").unwrap_or(function);
                    let most = properties
                        .get("ScalingConfig")
                        .and_then(|scaling| scaling.get("MaximumConcurrency"))
                        .and_then(|most| number(most, &template))
                        .context(format!("{id} has no MaximumConcurrency"))?;
                    if reservation(function).is_none() {
                        self.queues += most;
                    }
                }
                "AWS::DynamoDB::Table" => {
                    let name = properties
                        .get("TableName")
                        .and_then(Yaml::as_str)
                        .context(format!("{id} has no TableName"))?;
                    self.tables.insert(name.replace("${Prefix}", prefix));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A number above zero as a template says it: itself, a parameter's default, or the first such
/// number of a condition's branches.
fn number(value: &Yaml, template: &Yaml) -> Option<u64> {
    match value {
        Yaml::Number(number) => number.as_u64(),
        Yaml::String(text) => text.parse().ok(),
        Yaml::Tagged(tagged) if tagged.tag == "Ref" => {
            let parameter = template.get("Parameters")?.get(tagged.value.as_str()?)?;
            number(parameter.get("Default")?, template)
        }
        Yaml::Tagged(tagged) => {
            let branches = tagged.value.as_sequence()?;
            branches.iter().find_map(|branch| number(branch, template))
        }
        Yaml::Null | Yaml::Bool(_) | Yaml::Sequence(_) | Yaml::Mapping(_) => None,
    }
    .filter(|number| *number > 0)
}

fn find(aws: &Aws, asked: &Asked, prefix: &str) -> Result<Found> {
    let stacks = account::stacks(aws)?;
    let own_stacks: Vec<&Value> = stacks
        .iter()
        .filter(|stack| account::stack_parameter(stack, "Prefix") == Some(prefix))
        .collect();
    let functions: Vec<Value> = account::functions(aws)?
        .into_iter()
        .filter(|function| is_of(function, prefix))
        .collect();
    let mut found = Found {
        sharing: keys::sharing(&stacks, prefix),
        simulated: functions.iter().filter_map(simulated).collect(),
        ..Found::default()
    };
    find_concurrency(aws, asked, &functions, &mut found)?;
    for table in &asked.tables {
        let described = aws
            .find(
                "dynamodb",
                "DescribeTable",
                json!({"TableName": table}),
                "ResourceNotFoundException",
            )
            .context(format!("looking for the table {table}"))?;
        if described.is_some() {
            found.tables.insert(table.clone());
        }
    }
    for stack in own_stacks {
        let name = stack["StackName"].as_str().unwrap_or_default();
        let status = stack["StackStatus"].as_str().unwrap_or_default();
        if ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"].contains(&status) {
            found.failed_stacks.push(name.to_owned());
        }
        // By its id, which is also what a nested stack is addressed by.
        let resources = aws
            .call(
                "cloudformation",
                "DescribeStackResources",
                json!({"StackName": stack["StackId"]}),
            )
            .context(format!("looking at the resources of {name}"))?;
        let resources = resources["StackResources"].as_array();
        found.owned_tables.extend(
            resources
                .into_iter()
                .flatten()
                .filter(|one| one["ResourceType"] == "AWS::DynamoDB::Table")
                // What a failed creation left behind is the stack's no longer.
                .filter(|one| {
                    let status = one["ResourceStatus"].as_str().unwrap_or_default();
                    !status.starts_with("DELETE_")
                })
                .filter_map(|one| one["PhysicalResourceId"].as_str().map(str::to_owned)),
        );
    }
    find_keys(aws, &Names::of(&stacks, prefix), &mut found)?;
    Ok(found)
}

fn find_concurrency(
    aws: &Aws,
    asked: &Asked,
    functions: &[Value],
    found: &mut Found,
) -> Result<()> {
    let settings = aws
        .call("lambda", "GetAccountSettings", json!({}))
        .context("reading Lambda's quotas")?;
    let limit = |name: &str| {
        settings["AccountLimit"][name]
            .as_u64()
            .context(format!("Lambda does not say the account's {name}"))
    };
    found.concurrency = limit("ConcurrentExecutions")?;
    found.available = limit("UnreservedConcurrentExecutions")?;
    // What the installation itself has reserved is there for it when it is deployed again.
    let names = functions
        .iter()
        .filter_map(|function| function["FunctionName"].as_str());
    for name in names.filter(|_| asked.reserved > 0) {
        let own = aws
            .call(
                "lambda",
                "GetFunctionConcurrency",
                json!({"FunctionName": name}),
            )
            .context(format!("reading what {name} has reserved"))?;
        found.available += own["ReservedConcurrentExecutions"].as_u64().unwrap_or(0);
    }
    Ok(())
}

fn find_keys(aws: &Aws, names: &Names, found: &mut Found) -> Result<()> {
    for name in [&names.set, &names.signing, &names.kms_key] {
        if !keys::is_there(aws, name)? {
            found.missing_parameters.push(name.clone());
        }
    }
    if !found.missing_parameters.contains(&names.signing) {
        let encryption = keys::encryption(aws, &names.signing)?;
        found.key_weaknesses.extend(keys::weakness(&encryption));
    }
    if let Some(kms_key) = keys::kms_key(aws, names)? {
        found
            .key_weaknesses
            .extend(keys::kms_key_trouble(aws, &kms_key)?);
    }
    Ok(())
}

fn is_of(function: &Value, prefix: &str) -> bool {
    function["FunctionName"]
        .as_str()
        .and_then(|name| name.strip_prefix(prefix))
        .is_some_and(|rest| rest.starts_with('-'))
}

fn simulated(function: &Value) -> Option<String> {
    let variables = &function["Environment"]["Variables"];
    (variables["STAGE"] == "production" && variables["PAYMENT_PROVIDER"] == "simulator").then(
        || {
            function["FunctionName"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            reserved: 30,
            queues: 20,
            tables: ["shop-orders".to_owned()].into(),
        }
    }

    fn good() -> Found {
        Found {
            concurrency: 1000,
            available: 900,
            ..Found::default()
        }
    }

    fn stopped(found: &Found) -> Vec<(&'static str, String)> {
        compare(&asked(), found)
            .into_iter()
            .filter(|finding| finding.weight == Weight::Stops)
            .map(|finding| (finding.about, finding.said))
            .collect()
    }

    /// The one thing that stops a deployment.
    fn stop(found: &Found) -> (&'static str, String) {
        let mut stops = stopped(found);
        assert_eq!(stops.len(), 1, "{stops:?}");
        stops.remove(0)
    }

    #[test]
    fn an_account_that_fits_is_good() {
        let findings = compare(&asked(), &good());
        assert!(verdict(&findings).is_ok(), "{}", report(&findings));
        assert!(findings.iter().all(|one| one.weight == Weight::Fits));
    }

    #[test]
    fn a_new_account_lacks_concurrency_and_is_told_what_to_ask_for() {
        let mut found = good();
        (found.concurrency, found.available) = (10, 10);
        let (about, said) = stop(&found);
        assert_eq!(about, "concurrency");
        assert!(said.contains("need 150"), "{said}");
        assert!(said.contains("the account allows 10"), "{said}");
        assert!(said.contains("ask for 1000"), "{said}");
        let error = verdict(&compare(&asked(), &found)).expect_err("it stops");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn concurrency_that_others_reserved_is_not_available() {
        let mut found = good();
        found.available = 150;
        assert_eq!(stopped(&found), []);
        found.available = 149;
        let (_, said) = stop(&found);
        assert!(said.contains("ask for 1001"), "{said}");
    }

    #[test]
    fn a_table_of_no_stack_is_in_the_way() {
        let mut found = good();
        found.tables = asked().tables;
        let (about, said) = stop(&found);
        assert_eq!(about, "tables");
        assert!(said.starts_with("shop-orders exist"), "{said}");
        found.owned_tables = asked().tables;
        assert_eq!(stopped(&found), []);
    }

    #[test]
    fn a_first_deployment_that_failed_is_deleted_first() {
        let mut found = good();
        found.failed_stacks = vec!["waybill".to_owned()];
        let (about, said) = stop(&found);
        assert_eq!(about, "stacks");
        assert!(said.contains("sam delete"), "{said}");
    }

    #[test]
    fn keys_must_be_there_customer_encrypted_and_unshared() {
        let mut found = good();
        found.missing_parameters = vec!["/shop/auth/jwks".to_owned()];
        let (about, said) = stop(&found);
        assert_eq!(about, "keys");
        assert!(said.contains("cargo xtask keys create"), "{said}");

        let mut found = good();
        found.key_weaknesses = vec!["the default key".to_owned()];
        assert_eq!(stop(&found).0, "encryption of keys");

        let mut found = good();
        found.sharing = Some("shop and waybill share".to_owned());
        assert_eq!(stop(&found).0, "other installations");
    }

    #[test]
    fn the_simulator_in_production_is_noted_and_stops_nothing() {
        let function = |stage: &str, provider: &str| {
            json!({"FunctionName": "shop-payments-commands", "Environment": {"Variables":
                {"STAGE": stage, "PAYMENT_PROVIDER": provider}}})
        };
        assert_eq!(simulated(&function("staging", "simulator")), None);
        let mut found = good();
        found.simulated = simulated(&function("production", "simulator"))
            .into_iter()
            .collect();
        let findings = compare(&asked(), &found);
        assert!(verdict(&findings).is_ok());
        let note = findings.iter().find(|one| one.weight == Weight::Note);
        let said = &note.expect("a note").said;
        assert!(said.starts_with("shop-payments-commands"), "{said}");
    }

    #[test]
    fn a_function_belongs_to_the_whole_prefix() {
        let function = json!({"FunctionName": "shop-two-orders-place"});
        assert!(is_of(&function, "shop-two"));
        assert!(!is_of(&function, "sho"));
    }

    const TEMPLATE: &str = r#"
Parameters:
  Most: { Type: Number, Default: 7 }
  ForReplies: { Type: Number, Default: 20 }
  ForSweep: { Type: Number, Default: 0 }
Resources:
  RepliesFunction:
    Type: AWS::Serverless::Function
    Properties: { ReservedConcurrentExecutions: !If [Some, !Ref ForReplies, !Ref AWS::NoValue] }
  SweepFunction:
    Type: AWS::Serverless::Function
    Properties: { ReservedConcurrentExecutions: !If [Some, !Ref ForSweep, !Ref AWS::NoValue] }
  CommandsFunction:
    Type: AWS::Serverless::Function
    Properties: { FunctionName: !Sub "${Prefix}-commands" }
  RepliesTrigger:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { FunctionName: !GetAtt RepliesFunction.Arn, ScalingConfig: { MaximumConcurrency: 5 } }
  CommandsTrigger:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { FunctionName: !Ref CommandsFunction, ScalingConfig: { MaximumConcurrency: !Ref Most } }
  Table:
    Type: AWS::DynamoDB::Table
    Properties: { TableName: !Sub "${Prefix}-orders" }
"#;

    #[test]
    fn queues_count_where_their_function_reserves_nothing() {
        let mut asked = Asked::default();
        asked.add(TEMPLATE, "shop").expect("a template");
        let expected = Asked {
            reserved: 20,
            queues: 7,
            tables: ["shop-orders".to_owned()].into(),
        };
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_queue_without_a_bound_is_refused() {
        let unbounded = TEMPLATE.replace("MaximumConcurrency: 5", "");
        let error = Asked::default()
            .add(&unbounded, "shop")
            .expect_err("no bound");
        assert!(error.to_string().contains("RepliesTrigger"), "{error}");
    }

    #[test]
    fn every_services_template_is_read() {
        let project = Project::find().expect("the project");
        let mut asked = Asked::default();
        for service in project.services().expect("services") {
            let text = fs::read_to_string(&service.template).expect("a template");
            asked.add(&text, "shop").expect("it is understood");
        }
        let tables: Vec<&String> = asked.tables.iter().collect();
        let expected = [
            "shop-inventory",
            "shop-orders",
            "shop-payments",
            "shop-users",
        ];
        assert_eq!(tables, expected);
        assert!(asked.queues + asked.reserved > 0, "{asked:?}");
    }
}
