//! A stage of the installation: deployed service by service, each as a stack of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::aws::Aws;
use crate::changed::Workspace;
use crate::deploy::{Deployer, Plan, Template};
use crate::error::{Context, Error, Result};
use crate::keys::{self, Names};
use crate::lanes::in_parallel;
use crate::project::{GATEWAY, Project};
use crate::samconfig::parameters;
use crate::stack::{Account, Stack, base_url};
use crate::state::Home;
use crate::ui::{Step, say};
use crate::{emulator, local, process, seed};

/// The services of a pull request's stage that it does not change are copied from this stage.
const COPIED: &str = "staging";

/// A table of samconfig.toml, or the number of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Lasting(&'static str),
    Pull(u32),
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let number = name
            .strip_prefix("pr-")
            .and_then(|number| number.parse().ok());
        let lasting = ["dev", "staging", "production"]
            .into_iter()
            .find(|known| *known == name);
        match (lasting, number) {
            (Some(name), _) => Ok(Self::Lasting(name)),
            (None, Some(number)) => Ok(Self::Pull(number)),
            (None, None) => Err("give dev, staging, production or pr-NUMBER".to_owned()),
        }
    }
}

impl Stage {
    /// The table of samconfig.toml.
    fn table(&self) -> &'static str {
        match self {
            Self::Lasting(name) => name,
            Self::Pull(_) => "dev",
        }
    }

    /// The start of the names after `waybill-`, to which the deploy roles are limited.
    fn kind(&self) -> &'static str {
        match self {
            Self::Lasting(name) => name,
            Self::Pull(_) => "pr",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lasting(name) => f.write_str(name),
            Self::Pull(number) => write!(f, "pr-{number}"),
        }
    }
}

/// One service of one stage, on the local emulator or in an account.
pub struct Installation<'a> {
    project: &'a Project,
    service: &'a str,
    stage: &'a Stage,
    aws: Aws,
    region: String,
    /// The local stack whose emulator is used.
    local: Option<Stack>,
    prefix: String,
    values: BTreeMap<String, String>,
}

impl<'a> Installation<'a> {
    pub fn find(
        project: &'a Project,
        home: &Home,
        service: &'a str,
        stage: &'a Stage,
        in_account: bool,
    ) -> Result<Self> {
        let mut values = parameters(project, stage.table())?;
        let prefix = match stage {
            Stage::Lasting(_) => values
                .get("Prefix")
                .context("samconfig.toml: Prefix")?
                .clone(),
            Stage::Pull(number) => format!("waybill-pr-{service}-{number}"),
        };
        let (local, region, aws) = if in_account {
            let region = ["AWS_REGION", "AWS_DEFAULT_REGION"];
            let region = region.into_iter().find_map(|name| std::env::var(name).ok());
            let region = region.context("no region is set; export AWS_REGION")?;
            let aws = Aws::environment(&region);
            say(aws.place()?.described(&prefix));
            (None, region, aws)
        } else {
            let stack = emulator::stack(home)?;
            (Some(stack.clone()), stack.region.clone(), stack.aws())
        };
        // All stages of pull requests share a key set. On the emulator all stages have the stack's.
        let keys = format!("waybill-{}", stage.kind());
        let names = Names::own(local.as_ref().map_or(&keys, |stack| &stack.prefix));
        values.extend([
            ("AuthJwks".to_owned(), names.set),
            ("AuthSigningKeyParameter".to_owned(), names.signing),
            ("AuthKmsKeyArn".to_owned(), names.kms_key),
            ("AuthIssuer".to_owned(), keys::issuer(&prefix)),
            ("Prefix".to_owned(), prefix.clone()),
        ]);
        Ok(Self {
            project,
            service,
            stage,
            aws,
            region,
            local,
            prefix,
            values,
        })
    }

    /// Deploys the service from its template. A pull request's stage gets copies of the other services.
    pub fn deploy(mut self, template: &Path) -> Result<()> {
        let bucket = self.surroundings()?;
        let endpoint = self.local.as_ref().map(|stack| stack.endpoint.clone());
        let deployer = match &endpoint {
            Some(endpoint) => Deployer::new(self.project, &self.aws, endpoint)?,
            None => Deployer::account(self.project, &self.aws, bucket),
        };
        let Stage::Pull(_) = self.stage else {
            self.wait_for_the_others()?;
            let gateway = self.outputs(&self.stack(GATEWAY))?.unwrap_or_default();
            return self.deploy_one(&deployer, self.service, template, &gateway);
        };
        let mut templates = BTreeMap::new();
        for other in self.all()? {
            let path = match other == self.service {
                true => template.to_owned(),
                false => self.copied(&other)?,
            };
            templates.insert(other, path);
        }
        let gateway = templates
            .remove(GATEWAY)
            .context("the gateway has a template")?;
        self.deploy_one(&deployer, GATEWAY, &gateway, &BTreeMap::new())?;
        let outputs = self
            .outputs(&self.stack(GATEWAY))?
            .context("the gateway is deployed")?;
        let one =
            &|(name, path): (&String, &PathBuf)| self.deploy_one(&deployer, name, path, &outputs);
        match self.local {
            Some(_) => in_parallel(templates.iter().map(|part| move || one(part)))?,
            // API Gateway refuses changes of one API that arrive at the same moment.
            None => templates.iter().try_for_each(one)?,
        }
        let stack = self.described(&outputs)?;
        answers(&stack)?;
        seed::administrator(&self.aws, &stack)?;
        fs::create_dir_all(self.folder()).context(self.folder().display())?;
        stack.write(&self.description())?;
        say(format_args!(
            "deployed {} at {}",
            self.stage, stack.base_url
        ));
        Ok(())
    }

    /// Runs the system tests of `command` on the stage.
    pub fn system_test(&self, command: &mut Command) -> Result<()> {
        self.is_thrown_away()?;
        let description = self.description();
        if !description.is_file() {
            let (service, stage) = (self.service, self.stage);
            return Err(Error::new(format!(
                "{} is missing; run cargo xtask ci {service} deploy {stage} first",
                description.display()
            )));
        }
        process::run(command.env("WAYBILL_STACK", description))
    }

    /// Deletes the stage. Its tables outlive their stacks, so they are deleted afterwards.
    pub fn remove(&self) -> Result<()> {
        self.is_thrown_away()?;
        let endpoint = self.local.as_ref().map(|stack| stack.endpoint.as_str());
        let deployer = match endpoint {
            Some(endpoint) => Deployer::new(self.project, &self.aws, endpoint)?,
            None => Deployer::account(self.project, &self.aws, String::new()),
        };
        let (gateway, services): (Vec<_>, Vec<_>) =
            self.all()?.into_iter().partition(|name| name == GATEWAY);
        for name in services.iter().chain(&gateway) {
            deployer.delete(&self.stack(name))?;
        }
        for name in &services {
            let request = json!({"TableName": self.stack(name)});
            self.aws
                .find(
                    "dynamodb",
                    "DeleteTable",
                    request,
                    "ResourceNotFoundException",
                )
                .context(format!("deleting the table {}", self.stack(name)))?;
        }
        let folder = self.folder();
        if folder.exists() {
            fs::remove_dir_all(&folder).context(folder.display())?;
        }
        say(format_args!("removed {}", self.stage));
        Ok(())
    }

    /// System tests fill a stage with orders, and a removal deletes its tables.
    fn is_thrown_away(&self) -> Result<()> {
        match self.stage {
            Stage::Pull(_) => Ok(()),
            Stage::Lasting(name) => Err(Error::new(format!(
                "{name} keeps its data; this step needs a stage that is thrown away, such as pr-7"
            ))
            .not_run()),
        }
    }

    fn all(&self) -> Result<BTreeSet<String>> {
        Ok(Workspace::read(self.project)?.all())
    }

    fn stack(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn folder(&self) -> PathBuf {
        super::folder(self.project).join(format!("{}-{}", self.service, self.stage))
    }

    /// The description of a pull request's stage, for the system tests.
    fn description(&self) -> PathBuf {
        self.folder().join("stack.json")
    }

    /// Adds the values that are given outside samconfig.toml. Answers the bucket for code.
    fn surroundings(&mut self) -> Result<String> {
        if let Some(stack) = &self.local {
            let given = local::values(stack)?;
            let kept = ["Architecture", "RegistrationsPerSource"];
            let kept = given.into_iter().filter(|(name, _)| kept.contains(name));
            self.values
                .extend(kept.map(|(name, value)| (name.to_owned(), value)));
            return Ok(String::new());
        }
        // The stack of infra/pipeline/template.yaml for this service and stage.
        let pipeline = format!("waybill-pipeline-{}-{}", self.stage.kind(), self.service);
        let given = self.outputs(&pipeline)?.context(format!(
            "there is no stack {pipeline}; deploy infra/pipeline/template.yaml first, as in \
             docs/operate/pipelines.md"
        ))?;
        let bucket = given.get("CodeBucket").context("CodeBucket")?.clone();
        self.values.extend(given);
        Ok(bucket)
    }

    /// The outputs of a stack, or nothing where it does not exist.
    fn outputs(&self, stack: &str) -> Result<Option<BTreeMap<String, String>>> {
        let Some(described) = self.described_stack(stack)? else {
            return Ok(None);
        };
        let outputs = described["Outputs"].as_array().into_iter().flatten();
        let pair = |output: &Value| {
            let (name, value) = (&output["OutputKey"], &output["OutputValue"]);
            Some((name.as_str()?.to_owned(), value.as_str()?.to_owned()))
        };
        Ok(Some(outputs.filter_map(pair).collect()))
    }

    fn described_stack(&self, stack: &str) -> Result<Option<Value>> {
        let request = json!({"StackName": stack});
        let answer = self
            .aws
            .find(
                "cloudformation",
                "DescribeStacks",
                request,
                "does not exist",
            )
            .context(format!("reading {stack}"))?;
        let described = answer.map(|mut answer| answer["Stacks"][0].take());
        Ok(described.filter(|stack| stack["StackStatus"] != "DELETE_COMPLETE"))
    }

    /// API Gateway refuses changes of one API that arrive at the same moment.
    fn wait_for_the_others(&self) -> Result<()> {
        for other in self.all()? {
            let is_busy = || -> Result<bool> {
                let stack = self
                    .described_stack(&self.stack(&other))?
                    .unwrap_or_default();
                let status = stack["StackStatus"].as_str().unwrap_or_default();
                Ok(status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS")
            };
            while is_busy()? {
                say(format_args!("waiting for the deployment of {other}"));
                thread::sleep(Duration::from_secs(10));
            }
        }
        Ok(())
    }

    /// The template that another service is deployed with, whose code is in a bucket already.
    fn copied(&self, name: &str) -> Result<PathBuf> {
        let prefix = match &self.local {
            Some(stack) => stack.prefix.clone(),
            None => parameters(self.project, COPIED)?
                .remove("Prefix")
                .context("Prefix")?,
        };
        let stack = format!("{prefix}-{name}");
        let request = json!({"StackName": stack, "TemplateStage": "Original"});
        let answer = self
            .aws
            .find("cloudformation", "GetTemplate", request, "does not exist")
            .context(format!("reading the template of {stack}"))?
            .context(format!(
                "there is no stack {stack} to copy; deploy it first"
            ))?;
        let text = match &answer["TemplateBody"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let path = self.folder().join(format!("{name}.yaml"));
        fs::create_dir_all(self.folder()).context(self.folder().display())?;
        fs::write(&path, text).context(path.display())?;
        Ok(path)
    }

    fn deploy_one(
        &self,
        deployer: &Deployer<'_>,
        name: &str,
        template: &Path,
        gateway: &BTreeMap<String, String>,
    ) -> Result<()> {
        let template = Template::read(template)?;
        let stack = self.stack(name);
        let mut values = self.values.clone();
        for (name, value) in gateway {
            values.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if let (Some(stack), true) = (&self.local, values.contains_key("ApiUrl")) {
            values.insert("ApiUrl".to_owned(), base_url(stack.port, &self.prefix));
        }
        if template.has_parameter("ApiId") && !values.contains_key("ApiId") {
            return Err(Error::new(format!(
                "there is no stack {}; run cargo xtask ci {GATEWAY} deploy {} first",
                self.stack(GATEWAY),
                self.stage
            )));
        }
        // A creation that fails deletes its table, unless the table is protected.
        if self.described_stack(&stack)?.is_none() {
            values.insert("DeletionProtection".to_owned(), "false".to_owned());
        }
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let step = Step::begin("deploy");
        step.note(&stack);
        deployer.deploy(&Plan::new(&stack, template, &values, "")?)?;
        step.end(&stack);
        Ok(())
    }

    fn described(&self, gateway: &BTreeMap<String, String>) -> Result<Stack> {
        let api_id = gateway
            .get("ApiId")
            .context("the gateway has no ApiId")?
            .clone();
        let (port, endpoint, base_url) = match &self.local {
            Some(stack) => {
                let url = base_url(stack.port, &self.prefix);
                (stack.port, stack.endpoint.clone(), url)
            }
            None => {
                let url = gateway.get("ApiUrl").context("the gateway has no ApiUrl")?;
                (0, String::new(), url.clone())
            }
        };
        Ok(Stack {
            prefix: self.prefix.clone(),
            region: self.region.clone(),
            port,
            endpoint,
            api_id,
            base_url,
            admin: Account {
                // A stage that a cancelled run left has other administrators.
                email: format!("{}@admins.example", Uuid::new_v4().simple()),
                ..seed::new_account()
            },
            deployed: true,
        })
    }
}

/// Waits until the stage answers. On AWS a new route may need some seconds.
fn answers(stack: &Stack) -> Result<()> {
    let path = "/.well-known/jwks.json";
    let begun = Instant::now();
    loop {
        let answer = stack.http().get(path, None)?;
        if answer.status == 200 {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return answer
                .expect(200, &format!("reading {}{path}", stack.base_url))
                .map(drop);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_lasting_or_a_pull_request() {
        let parse = |name: &str| name.parse::<Stage>();
        assert_eq!(parse("staging"), Ok(Stage::Lasting("staging")));
        assert_eq!(parse("pr-7"), Ok(Stage::Pull(7)));
        for wrong in ["prod", "pr-", "pr-x", "pr--1", "7", ""] {
            parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_table_without_parameters_is_named() {
        let project = Project::find().expect("tests run inside the project");
        let error = parameters(&project, "moon").expect_err("there is no such stage");
        let expected = "samconfig.toml has no parameter_overrides for moon";
        assert_eq!(error.to_string(), expected);
    }
}
