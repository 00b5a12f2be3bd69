//! Checks an account before a deployment: its quotas, taken names and keys.

use std::collections::{BTreeMap, BTreeSet};
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

/// Lambda keeps this many executions free of reservations. Customers' requests should have as many.
const FOR_REQUESTS: u64 = 100;

/// Lambda's usual quota of concurrent executions. A new account starts far below it.
const USUAL_QUOTA: u64 = 1000;

/// The needs of the templates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The sum of reserved concurrency.
    pub reserved: u64,
    /// The maximum concurrency of queue consumers without a reservation.
    pub queues: u64,
    /// The tables, whose names are fixed.
    pub tables: BTreeSet<String>,
    /// Functions that do not start with these parameters.
    pub refusing: Vec<String>,
}

/// The state of the account.
#[derive(Debug, Default)]
pub struct Found {
    /// The quota of concurrent executions in the account and region.
    pub concurrency: u64,
    /// The part of it that other functions have not reserved.
    pub available: u64,
    /// The existing tables with a needed name.
    pub tables: BTreeSet<String>,
    /// The tables of the installation's own stacks.
    pub owned_tables: BTreeSet<String>,
    /// The installation's stacks that must be deleted before a deployment.
    pub failed_stacks: Vec<String>,
    /// The missing parameters of the keys.
    pub missing_parameters: Vec<String>,
    /// Problems with the encryption of the signing key.
    pub key_weaknesses: Vec<String>,
    /// A warning if another installation uses the same keys.
    pub sharing: Option<String>,
    /// Functions that use the payment simulator in production.
    pub simulated: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    Fits,
    /// May be intended; does not stop a deployment.
    Note,
    Stops,
}

#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub weight: Weight,
    pub about: &'static str,
    pub said: String,
}

/// Compares the templates with the account. A parameter's value is the `given` one, or the deployed
/// one (`sam deploy` keeps it), or its default.
pub fn check(
    project: &Project,
    aws: &Aws,
    prefix: &str,
    given: &[(String, String)],
) -> Result<Vec<Finding>> {
    let stacks = account::stacks(aws)?;
    let own_stacks: Vec<&Value> = stacks
        .iter()
        .filter(|stack| account::stack_parameter(stack, "Prefix") == Some(prefix))
        .collect();
    let mut parameters: Parameters = own_stacks
        .iter()
        .flat_map(|stack| stack["Parameters"].as_array().into_iter().flatten())
        .filter_map(|one| {
            let text = |name: &str| one[name].as_str().map(str::to_owned);
            Some((text("ParameterKey")?, text("ParameterValue")?))
        })
        .collect();
    parameters.extend(given.iter().cloned());
    let mut needs = Needs::default();
    for service in project.services()? {
        let path = service.template;
        let text = fs::read_to_string(&path).context(path.display())?;
        needs
            .add(&text, prefix, &parameters)
            .context(path.display())?;
    }
    let mut found = find(aws, &needs, prefix, &own_stacks)?;
    found.sharing = keys::sharing(&stacks, prefix);
    let deployed = Names::of(&stacks, prefix);
    let named = |name: &str| {
        let found = given.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let names = Names::new(
        named("AuthJwksParameter").unwrap_or(&deployed.set),
        named("AuthSigningKeyParameter").unwrap_or(&deployed.signing),
    );
    find_keys(aws, &names, &mut found)?;
    Ok(compare(&needs, &found))
}

/// Refuses values outside the lists and ranges of the templates, before any call to AWS. It does not know
/// their patterns.
pub fn judge(project: &Project, given: &[(String, String)]) -> Result<()> {
    let mut known = BTreeSet::new();
    let services = project.services()?.into_iter();
    let templates = services.map(|service| service.template).chain([
        project.gateway_template(),
        project.root().join("template.yaml"),
    ]);
    for path in templates {
        let text = fs::read_to_string(&path).context(path.display())?;
        let document: Yaml = serde_yaml_ng::from_str(&text).context(path.display())?;
        for (name, value) in given {
            let Some(parameter) = document.get("Parameters").and_then(|all| all.get(name)) else {
                continue;
            };
            known.insert(name);
            if let Some(allowed) = misfit(parameter, value) {
                let path = path.strip_prefix(project.root()).unwrap_or(&path);
                return Err(Error::new(format!(
                    "{name} is `{value}`, and {} allows {allowed}",
                    path.display()
                )));
            }
        }
    }
    match given.iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::new(format!("no template has a parameter {name}"))),
    }
}

/// The allowed values of a parameter, if `value` is not one of them.
fn misfit(parameter: &Yaml, value: &str) -> Option<String> {
    let scalar = |value: &Yaml| match value {
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::String(text) => Some(text.clone()),
        Yaml::Bool(truth) => Some(truth.to_string()),
        Yaml::Null | Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => None,
    };
    if let Some(allowed) = parameter.get("AllowedValues").and_then(Yaml::as_sequence) {
        let allowed: Vec<String> = allowed.iter().filter_map(scalar).collect();
        return (!allowed.iter().any(|one| one == value)).then(|| allowed.join(", "));
    }
    if parameter.get("Type").and_then(Yaml::as_str) != Some("Number") {
        return None;
    }
    let bound = |name: &str| parameter.get(name).and_then(Yaml::as_i64);
    let (least, most) = (bound("MinValue"), bound("MaxValue"));
    let fits = value.parse::<i64>().is_ok_and(|number| {
        least.is_none_or(|least| least <= number) && most.is_none_or(|most| number <= most)
    });
    let from = least.map_or(String::new(), |least| format!(" from {least}"));
    let to = most.map_or(String::new(), |most| format!(" to {most}"));
    (!fits).then(|| format!("a whole number{from}{to}"))
}

pub fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.weight {
            Weight::Fits => "fits",
            Weight::Note => "note",
            Weight::Stops => "STOP",
        };
        let _ = writeln!(text, "{word}  {:<22}{}", finding.about, finding.said);
    }
    text.trim_end().to_owned()
}

/// Fails if a finding stops a deployment.
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

pub fn compare(needs: &Needs, found: &Found) -> Vec<Finding> {
    let mut findings = vec![concurrency(needs, found)];
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
                "{names} exist but belong to no stack of this installation, so a deployment fails. \
                 Next: adopt or delete them (docs/operate/update-and-remove.md, Tables that stayed), \
                 or deploy with another Prefix"
            )
        }),
        Weight::Stops,
        "no existing table conflicts",
    );
    judge(
        "stacks",
        named(&found.failed_stacks).map(|names| {
            format!("{names} failed at the first deployment. Next: sam delete --stack-name NAME")
        }),
        Weight::Stops,
        "no failed stack blocks a deployment",
    );
    judge(
        "keys",
        named(&found.missing_parameters)
            .map(|names| format!("missing parameters: {names}. Next: waybill keys create --aws")),
        Weight::Stops,
        "the parameters of the keys exist",
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
        "no other installation has the same keys",
    );
    let simulated = named(&found.simulated).map(|names| {
        let said = format!(
            "{names} confirm orders on the payment simulator in production, without money. Next, \
             unless that is intended: deploy with Stage=staging"
        );
        (said, Weight::Note)
    });
    let refusing = named(&needs.refusing).map(|names| {
        let said = format!(
            "{names} does not start, because it refuses the payment simulator in Stage=production. \
             Next: deploy with Stage=staging or, to run without money, SimulatorInProduction=true; \
             pass the same to this command"
        );
        (said, Weight::Stops)
    });
    let (problem, weight) = refusing.or(simulated).unzip();
    judge(
        "payments",
        problem,
        weight.unwrap_or(Weight::Fits),
        "no function in production uses the payment simulator",
    );
    findings
}

fn concurrency(needs: &Needs, found: &Found) -> Finding {
    let Needs {
        reserved, queues, ..
    } = needs;
    let functions = reserved + queues;
    let wanted = functions + FOR_REQUESTS;
    // Lambda refuses a reservation that leaves fewer unreserved executions.
    let needed = if *reserved > 0 { wanted } else { functions + 1 };
    let said = format!(
        "queue consumers may use {queues} concurrent executions and {reserved} are reserved; the \
         account allows {}, of which other functions reserve {}",
        found.concurrency,
        found.concurrency.saturating_sub(found.available)
    );
    let weight = match found.available {
        enough if enough >= wanted => Weight::Fits,
        few if few >= needed => Weight::Note,
        _ => Weight::Stops,
    };
    let consequence = match weight {
        Weight::Fits => {
            return Finding {
                weight,
                about: "concurrency",
                said,
            };
        }
        Weight::Note => format!(
            "That leaves {} for requests; {FOR_REQUESTS} are recommended",
            found.available - functions
        ),
        Weight::Stops => "Throttled requests fail, and throttled messages become dead letters \
                          after five attempts"
            .to_owned(),
    };
    let quota = USUAL_QUOTA.max(found.concurrency + wanted - found.available);
    Finding {
        weight,
        about: "concurrency",
        said: format!(
            "{said}. {consequence}. Next: request {quota} in Service Quotas (AWS Lambda, \
             Concurrent executions), or lower the templates' concurrency parameters"
        ),
    }
}

fn named<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Option<String> {
    let names: Vec<S> = names.into_iter().collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Values of the templates' parameters.
type Parameters = BTreeMap<String, String>;

impl Needs {
    /// Adds the needs of one service's template.
    fn add(&mut self, template: &str, prefix: &str, given: &Parameters) -> Result<()> {
        let document: Yaml = serde_yaml_ng::from_str(template).context("the template")?;
        let resources = document.get("Resources").and_then(Yaml::as_mapping);
        let resources: Vec<(&str, &str, &Yaml)> = resources
            .into_iter()
            .flatten()
            .filter_map(|(id, resource)| {
                let kind = resource.get("Type")?.as_str()?;
                Some((id.as_str()?, kind, resource.get("Properties")?))
            })
            .collect();
        let template = Template {
            document: &document,
            given,
        };
        let reservation = |wanted: &str| {
            let function = resources.iter().find(|(id, _, _)| *id == wanted);
            let properties = function.map(|(_, _, properties)| properties)?;
            template.number(properties.get("ReservedConcurrentExecutions")?)
        };
        for (id, kind, properties) in &resources {
            match *kind {
                "AWS::Serverless::Function" => {
                    self.reserved += reservation(id).unwrap_or(0);
                    let variables = properties.get("Environment");
                    let variables = variables.and_then(|all| all.get("Variables"));
                    let is = |name: &str, value: &str| {
                        let variable = variables.and_then(|all| all.get(name));
                        variable
                            .and_then(|variable| template.text(variable))
                            .as_deref()
                            == Some(value)
                    };
                    if is("PAYMENT_PROVIDER", "simulator")
                        && is("STAGE", "production")
                        && !is("SIMULATOR_IN_PRODUCTION", "true")
                    {
                        let name = properties.get("FunctionName").and_then(Yaml::as_str);
                        self.refusing
                            .push(name.unwrap_or(id).replace("${Prefix}", prefix));
                    }
                }
                "AWS::Lambda::EventSourceMapping" => {
                    let function = properties
                        .get("FunctionName")
                        .and_then(Yaml::as_str)
                        .context(format!("{id} has no FunctionName"))?;
                    let function = function.split('.').next().unwrap_or(function);
                    let most = properties
                        .get("ScalingConfig")
                        .and_then(|scaling| scaling.get("MaximumConcurrency"))
                        .and_then(|most| template.number(most))
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

/// A template with the values of its parameters.
struct Template<'a> {
    document: &'a Yaml,
    given: &'a Parameters,
}

impl Template<'_> {
    /// A number above zero.
    fn number(&self, value: &Yaml) -> Option<u64> {
        let text = self.text(value)?;
        text.parse().ok().filter(|number| *number > 0)
    }

    /// The value of a scalar, a parameter or a condition.
    fn text(&self, value: &Yaml) -> Option<String> {
        match value {
            Yaml::Number(number) => Some(number.to_string()),
            Yaml::String(text) => Some(text.clone()),
            Yaml::Bool(truth) => Some(truth.to_string()),
            Yaml::Tagged(tagged) if tagged.tag == "Ref" => {
                let name = tagged.value.as_str()?;
                let given = self.given.get(name).cloned();
                given.or_else(|| {
                    let parameter = self.document.get("Parameters")?.get(name)?;
                    self.text(parameter.get("Default")?)
                })
            }
            Yaml::Tagged(tagged) if tagged.tag == "If" => {
                let condition = tagged.value.get(0)?.as_str()?;
                let condition = self.document.get("Conditions")?.get(condition)?;
                let chosen = if self.holds(condition)? { 1 } else { 2 };
                self.text(tagged.value.get(chosen)?)
            }
            Yaml::Null | Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => None,
        }
    }

    /// Evaluates a condition; `None` for an unknown kind.
    fn holds(&self, condition: &Yaml) -> Option<bool> {
        let Yaml::Tagged(tagged) = condition else {
            return None;
        };
        let first = tagged.value.get(0)?;
        if tagged.tag == "Not" {
            Some(!self.holds(first)?)
        } else if tagged.tag == "Equals" {
            Some(self.text(first)? == self.text(tagged.value.get(1)?)?)
        } else {
            None
        }
    }
}

fn find(aws: &Aws, needs: &Needs, prefix: &str, own_stacks: &[&Value]) -> Result<Found> {
    let functions: Vec<Value> = account::functions(aws)?
        .into_iter()
        .filter(|function| is_of(function, prefix))
        .collect();
    let mut found = Found {
        simulated: functions.iter().filter_map(simulated).collect(),
        ..Found::default()
    };
    find_concurrency(aws, needs, &functions, &mut found)?;
    for table in &needs.tables {
        let described = aws
            .find(
                "dynamodb",
                "DescribeTable",
                json!({"TableName": table}),
                "ResourceNotFoundException",
            )
            .context(format!("checking the table {table}"))?;
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
        // By id, which also works for nested stacks.
        let request = json!({"StackName": stack["StackId"]});
        let resources = aws
            .call("cloudformation", "DescribeStackResources", request)
            .context(format!("reading the resources of {name}"))?;
        found.owned_tables.extend(
            resources["StackResources"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|one| one["ResourceType"] == "AWS::DynamoDB::Table")
                // A failed creation leaves tables that the stack no longer owns.
                .filter(|one| {
                    let status = one["ResourceStatus"].as_str().unwrap_or_default();
                    !status.starts_with("DELETE_")
                })
                .filter_map(|one| one["PhysicalResourceId"].as_str().map(str::to_owned)),
        );
    }
    Ok(found)
}

fn find_concurrency(
    aws: &Aws,
    needs: &Needs,
    functions: &[Value],
    found: &mut Found,
) -> Result<()> {
    let settings = aws
        .call("lambda", "GetAccountSettings", json!({}))
        .context("reading Lambda's quotas")?;
    let limit = |name: &str| {
        settings["AccountLimit"][name]
            .as_u64()
            .context(format!("Lambda returned no {name}"))
    };
    found.concurrency = limit("ConcurrentExecutions")?;
    found.available = limit("UnreservedConcurrentExecutions")?;
    // A new deployment can use what the installation itself has reserved.
    let names = functions
        .iter()
        .filter_map(|function| function["FunctionName"].as_str());
    for name in names.filter(|_| needs.reserved > 0) {
        let request = json!({"FunctionName": name});
        let own = aws
            .call("lambda", "GetFunctionConcurrency", request)
            .context(format!("reading the reservation of {name}"))?;
        found.available += own["ReservedConcurrentExecutions"].as_u64().unwrap_or(0);
    }
    Ok(())
}

fn find_keys(aws: &Aws, names: &Names, found: &mut Found) -> Result<()> {
    for name in [&names.set, &names.signing, &names.kms_key] {
        if !keys::exists(aws, name)? {
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
            .extend(keys::kms_key_problem(aws, &kms_key)?);
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
    use crate::assert_contains;

    fn needs() -> Needs {
        Needs {
            reserved: 30,
            queues: 20,
            tables: ["shop-orders".to_owned()].into(),
            ..Needs::default()
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
        compare(&needs(), found)
            .into_iter()
            .filter(|finding| finding.weight == Weight::Stops)
            .map(|finding| (finding.about, finding.said))
            .collect()
    }

    #[test]
    fn a_fitting_account_has_no_problems() {
        let findings = compare(&needs(), &good());
        assert!(verdict(&findings).is_ok(), "{}", report(&findings));
        assert!(findings.iter().all(|one| one.weight == Weight::Fits));
    }

    /// The finding for this quota with this many unreserved executions.
    fn about_concurrency(needs: &Needs, concurrency: u64, available: u64) -> (Weight, String) {
        let found = Found {
            concurrency,
            available,
            ..Found::default()
        };
        let finding = super::concurrency(needs, &found);
        (finding.weight, finding.said)
    }

    #[test]
    fn a_small_quota_stops_and_names_the_needed_one() {
        let unreserved = Needs {
            queues: 50,
            ..Needs::default()
        };
        let (weight, said) = about_concurrency(&unreserved, 10, 10);
        assert_eq!(weight, Weight::Stops);
        assert_contains(&said, &["the account allows 10", "request 1000"]);
    }

    #[test]
    fn a_tight_quota_is_a_note() {
        let needs = Needs {
            queues: 8,
            ..Needs::default()
        };
        let (weight, said) = about_concurrency(&needs, 10, 10);
        assert_eq!(weight, Weight::Note);
        assert_contains(&said, &["That leaves 2 for requests"]);
        assert_eq!(about_concurrency(&needs, 10, 8).0, Weight::Stops);
        assert_eq!(about_concurrency(&needs, 108, 108).0, Weight::Fits);
    }

    #[test]
    fn reservations_leave_the_unreserved_minimum() {
        assert_eq!(about_concurrency(&needs(), 1000, 150).0, Weight::Fits);
        let (weight, said) = about_concurrency(&needs(), 1000, 149);
        assert_eq!(weight, Weight::Stops);
        assert_contains(&said, &["other functions reserve 851", "request 1001"]);
    }

    #[test]
    fn each_problem_stops_with_its_next_step() {
        type Change = fn(&mut Found, &str);
        let cases: [(&str, &str, Change); 5] = [
            ("tables", "shop-orders", |found, name| {
                found.tables.insert(name.to_owned());
            }),
            ("stacks", "shop-users", |found, name| {
                found.failed_stacks.push(name.to_owned());
            }),
            ("keys", "/shop/auth/jwks", |found, name| {
                found.missing_parameters.push(name.to_owned());
            }),
            ("encryption of keys", "the default key", |found, text| {
                found.key_weaknesses.push(text.to_owned());
            }),
            ("other installations", "share", |found, text| {
                found.sharing = Some(text.to_owned());
            }),
        ];
        for (about, text, change) in cases {
            let mut found = good();
            change(&mut found, text);
            let stops = stopped(&found);
            assert_eq!(stops.len(), 1, "{stops:?}");
            assert_eq!(stops[0].0, about);
            assert_contains(&stops[0].1, &[text]);
        }
        let tables = needs().tables;
        let own = Found {
            owned_tables: tables.clone(),
            tables,
            ..good()
        };
        assert_eq!(stopped(&own), []);
    }

    #[test]
    fn the_simulator_in_production_is_a_note() {
        let function = |stage: &str, provider: &str| {
            json!({"FunctionName": "shop-payments-commands", "Environment": {"Variables":
                {"STAGE": stage, "PAYMENT_PROVIDER": provider}}})
        };
        assert_eq!(simulated(&function("staging", "simulator")), None);
        let mut found = good();
        found.simulated = simulated(&function("production", "simulator"))
            .into_iter()
            .collect();
        let findings = compare(&needs(), &found);
        assert!(verdict(&findings).is_ok());
        let note = findings.iter().find(|one| one.weight == Weight::Note);
        let said = &note.expect("a note").said;
        assert!(said.starts_with("shop-payments-commands"), "{said}");
    }

    #[test]
    fn a_prefix_matches_whole_words() {
        let function = json!({"FunctionName": "shop-two-orders-place"});
        assert!(is_of(&function, "shop-two"));
        assert!(!is_of(&function, "sho"));
    }

    const TEMPLATE: &str = r#"
Parameters:
  Most: { Type: Number, Default: 7 }
  ForReplies: { Type: Number, Default: 20 }
  Reserve: { Type: String, Default: "false" }
  ForPasswords: { Type: Number, Default: 0 }
Conditions:
  IsReserved: !Equals [!Ref Reserve, "true"]
  PasswordsAreLimited: !Not [!Equals [!Ref ForPasswords, 0]]
Resources:
  RepliesFunction:
    Type: AWS::Serverless::Function
    Properties: { ReservedConcurrentExecutions: !If [IsReserved, !Ref ForReplies, !Ref AWS::NoValue] }
  LoginFunction:
    Type: AWS::Serverless::Function
    Properties:
      ReservedConcurrentExecutions: !If [PasswordsAreLimited, !Ref ForPasswords, !Ref AWS::NoValue]
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

    fn read(template: &str, given: &[(&str, &str)]) -> Result<Needs> {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut needs = Needs::default();
        needs.add(template, "shop", &given).map(|()| needs)
    }

    #[test]
    fn queues_of_unreserved_functions_count() {
        let needs = read(TEMPLATE, &[]).expect("a template");
        assert_eq!((needs.reserved, needs.queues), (0, 12));
        assert_eq!(needs.tables, ["shop-orders".to_owned()].into());
        let needs = read(TEMPLATE, &[("Reserve", "true")]).expect("a template");
        assert_eq!((needs.reserved, needs.queues), (20, 7));
        let given = [("ForPasswords", "3"), ("Most", "2")];
        let needs = read(TEMPLATE, &given).expect("a template");
        assert_eq!((needs.reserved, needs.queues), (3, 7));
    }

    /// The needs of the services' templates with these values.
    fn needs_with(given: &[(&str, &str)]) -> Needs {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given: Parameters = given.collect();
        let project = Project::find().expect("the project");
        let mut needs = Needs::default();
        for service in project.services().expect("services") {
            let text = fs::read_to_string(&service.template).expect("a template");
            needs.add(&text, "shop", &given).expect("it is understood");
        }
        needs
    }

    #[test]
    fn payments_that_do_not_start_stop_a_deployment() {
        for given in [&[][..], &[("Stage", "production")]] {
            let needs = needs_with(given);
            let findings = compare(&needs, &good());
            let payments = findings.iter().find(|one| one.about == "payments");
            let payments = payments.expect("it is judged");
            assert_eq!(payments.weight, Weight::Stops, "{given:?}");
            let said = &payments.said;
            assert!(
                said.starts_with("shop-payments-commands does not start"),
                "{said}"
            );
            assert_contains(said, &["SimulatorInProduction=true"]);
        }
        let meant = [("Stage", "production"), ("SimulatorInProduction", "true")];
        for given in [&[("Stage", "staging")][..], &meant] {
            assert_eq!(needs_with(given).refusing, [""; 0], "{given:?}");
        }
    }

    #[test]
    fn values_outside_the_templates_are_refused() {
        let project = Project::find().expect("the project");
        let judged = |name: &str, value: &str| {
            judge(&project, &[(name.to_owned(), value.to_owned())])
                .map_err(|error| error.to_string())
        };
        for (name, value, says) in [
            ("Stage", "nonsense", "allows dev, staging, production"),
            ("ReserveConcurrency", "yes", "allows true, false"),
            (
                "DetailedRouteMetrics",
                "yes",
                "infra/gateway/template.yaml allows true, false",
            ),
            (
                "CommandsConcurrency",
                "1",
                "allows a whole number from 2 to 1000",
            ),
            (
                "CommandsConcurrency",
                "abc",
                "allows a whole number from 2 to 1000",
            ),
            (
                "CommandsConcurrency",
                "",
                "allows a whole number from 2 to 1000",
            ),
            (
                "StepTimeoutSeconds",
                "3601",
                "allows a whole number from 1 to 3600",
            ),
        ] {
            let error = judged(name, value).expect_err(value);
            assert!(
                error.starts_with(&format!("{name} is `{value}`, ")),
                "{error}"
            );
            assert!(error.ends_with(says), "{error}");
        }
        let unknown = judged("CommandsConcurrencies", "2").expect_err("it is in no template");
        assert_contains(&unknown, &["CommandsConcurrencies"]);
        for (name, value) in [
            ("Stage", "dev"),
            ("CommandsConcurrency", "2"),
            ("ApiUrl", ""),
            ("AllowedOrigins", "https://shop.example"),
            ("AuthJwksParameter", "/shared/jwks"),
        ] {
            assert_eq!(judged(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_queue_without_maximum_concurrency_is_refused() {
        let unbounded = TEMPLATE.replace("MaximumConcurrency: 5", "");
        let error = read(&unbounded, &[]).expect_err("no bound");
        assert!(error.to_string().contains("RepliesTrigger"), "{error}");
    }

    #[test]
    fn every_services_template_is_read() {
        let needs = needs_with(&[]);
        let tables: Vec<&String> = needs.tables.iter().collect();
        let expected = [
            "shop-inventory",
            "shop-orders",
            "shop-payments",
            "shop-users",
        ];
        assert_eq!(tables, expected);
        assert!(needs.queues + needs.reserved > 0, "{needs:?}");
    }
}
