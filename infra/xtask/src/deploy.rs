//! Deploys each stack from its own template with `sam deploy`, unless it is deployed already.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;
use sha2::{Digest, Sha256};

use crate::account;
use crate::aws::{Aws, LOCAL_REGION, REDIRECTING_VARIABLES, local_environment};
use crate::error::{Context, Error, Result};
use crate::keys::{self as parameters, Content};
use crate::process;
use crate::project::Project;
use crate::tools;

const LAUNCHER: &str = include_str!("sam.py");
const BUCKET: &str = "waybill-local-artifacts";
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);
/// CloudFormation waits for a canary, and deletes a stack with functions slowly.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(2400);

/// The parts of a template that a deployment needs.
#[derive(Debug)]
pub struct Template {
    path: PathBuf,
    /// The text, followed by the texts of nested templates.
    text: String,
    parameters: BTreeSet<String>,
    code: BTreeSet<PathBuf>,
}

/// One stack to deploy.
#[derive(Debug)]
pub struct Plan {
    pub stack: String,
    template: Template,
    pub parameters: BTreeMap<String, String>,
    fingerprint: String,
}

impl Template {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context(path.display())?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, mut text: String) -> Result<Self> {
        let yaml: Yaml = serde_yaml_ng::from_str(&text).context(path.display())?;
        let parameters = keys(yaml.get("Parameters"));
        let folder = path.parent().unwrap_or(Path::new("."));
        let resources = yaml.get("Resources").and_then(Yaml::as_mapping);
        let paths = |property: &str| -> Vec<PathBuf> {
            resources
                .into_iter()
                .flat_map(|resources| resources.values())
                .filter_map(|resource| resource.get("Properties")?.get(property)?.as_str())
                // The code of a copied stack is in a bucket.
                .filter(|path| !path.contains("://"))
                .map(|path| folder.join(path))
                .collect()
        };
        let mut code: BTreeSet<PathBuf> = paths("CodeUri")
            .iter()
            .map(|code| code.join("bootstrap"))
            .collect();
        for nested in paths("Location") {
            let nested = Self::read(&nested)?;
            text.push_str(&nested.text);
            code.extend(nested.code);
        }
        Ok(Self {
            path: path.to_owned(),
            text,
            parameters,
            code,
        })
    }
}

impl Template {
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.contains(name)
    }

    /// The files of the functions.
    pub fn code(&self) -> &BTreeSet<PathBuf> {
        &self.code
    }
}

fn keys(mapping: Option<&Yaml>) -> BTreeSet<String> {
    mapping
        .and_then(Yaml::as_mapping)
        .into_iter()
        .flat_map(|mapping| mapping.keys())
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

impl Plan {
    /// Each template takes those `values` that it declares. `resolved` stands for values that the
    /// deployment reads elsewhere, such as the key set: the stack changes with them.
    pub fn new(
        stack: &str,
        template: Template,
        values: &[(&str, String)],
        resolved: &str,
    ) -> Result<Self> {
        let parameters: BTreeMap<_, _> = values
            .iter()
            .filter(|(name, _)| template.parameters.contains(*name))
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let mut code = BTreeMap::new();
        for bootstrap in &template.code {
            let bytes = fs::read(bootstrap).context(format!(
                "{} is not built, but {} names it",
                bootstrap.display(),
                template.path.display()
            ))?;
            code.insert(bootstrap.clone(), bytes);
        }
        let fingerprint = fingerprint(&template.text, &parameters, resolved, &code);
        Ok(Self {
            stack: stack.to_owned(),
            template,
            parameters,
            fingerprint,
        })
    }

    pub fn functions(&self) -> usize {
        self.template.code.len()
    }
}

fn fingerprint(
    template: &str,
    parameters: &BTreeMap<String, String>,
    resolved: &str,
    code: &BTreeMap<PathBuf, Vec<u8>>,
) -> String {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        // The length comes first, so that different lists of parts never read the same.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    add(template.as_bytes());
    for (name, value) in parameters {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    add(resolved.as_bytes());
    for (path, bytes) in code {
        add(path.as_os_str().as_encoded_bytes());
        add(bytes);
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Deploys to a local emulator, or to the account of the environment.
pub struct Deployer<'a> {
    project: &'a Project,
    aws: &'a Aws,
    /// The emulator.
    endpoint: Option<&'a str>,
    /// Takes the code.
    bucket: String,
    /// The status of stacks, by name.
    present: BTreeMap<String, String>,
}

impl<'a> Deployer<'a> {
    pub fn new(project: &'a Project, aws: &'a Aws, endpoint: &'a str) -> Result<Self> {
        let present = account::stacks(aws)?
            .iter()
            .map(|stack| (text(&stack["StackName"]), text(&stack["StackStatus"])))
            .collect();
        Ok(Self {
            project,
            aws,
            endpoint: Some(endpoint),
            bucket: BUCKET.to_owned(),
            present,
        })
    }

    /// Deploys to the account of the environment, with its credentials.
    pub fn account(project: &'a Project, aws: &'a Aws, bucket: String) -> Self {
        Self {
            project,
            aws,
            endpoint: None,
            bucket,
            present: BTreeMap::new(),
        }
    }

    /// Whether the stack was deployed from exactly this plan.
    pub fn is_current(&self, plan: &Plan) -> Result<bool> {
        let whole = self.present.get(&plan.stack).is_some_and(|status| {
            matches!(
                status.as_str(),
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE"
            )
        });
        if !whole {
            return Ok(false);
        }
        let recorded = parameters::read(self.aws, &record(&plan.stack))?;
        Ok(recorded.is_some_and(|recorded| recorded.value == plan.fingerprint))
    }

    /// Creates the bucket that `sam deploy` uploads code to.
    pub fn prepare(&self) -> Result<()> {
        let request = json!({"Bucket": self.bucket});
        self.aws
            .find("s3", "CreateBucket", request, "BucketAlreadyOwnedByYou")
            .context("creating the bucket for code")?;
        Ok(())
    }

    /// Deploys, then records the plan. A deployment that fails or is killed records nothing, so the
    /// next one is not skipped.
    pub fn deploy(&self, plan: &Plan) -> Result<()> {
        self.settle(&plan.stack, false)?;
        if self.endpoint.is_some() {
            let request = json!({"Name": record(&plan.stack)});
            self.aws
                .find("ssm", "DeleteParameter", request, "ParameterNotFound")
                .context("deleting the record of the stack")?;
        }
        let mut command = Command::new(tools::SAM.program(self.project, "python"));
        command
            .current_dir(self.project.root())
            .args(["-c", LAUNCHER, "deploy", "--template-file"])
            .arg(&plan.template.path)
            .args(["--stack-name", &plan.stack])
            .args(["--s3-bucket", &self.bucket, "--s3-prefix", &plan.stack])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
            .args([
                "--no-confirm-changeset",
                "--no-progressbar",
                "--no-fail-on-empty-changeset",
            ])
            .env("SAM_CLI_TELEMETRY", "0");
        if let Some(endpoint) = self.endpoint {
            command
                .args(["--region", LOCAL_REGION])
                .envs(local_environment(endpoint))
                .env("SAM_CLI_POLL_DELAY", "0.2");
            for name in REDIRECTING_VARIABLES {
                command.env_remove(name);
            }
        }
        if !plan.parameters.is_empty() {
            command.arg("--parameter-overrides");
            command.args(
                plan.parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            );
        }
        process::capture(&mut command).map_err(|error| self.explain(&plan.stack, error))?;
        if self.endpoint.is_none() {
            return Ok(());
        }
        self.discard_old_code(&plan.stack)?;
        let fingerprint = Content::open(plan.fingerprint.clone());
        parameters::overwrite(self.aws, &record(&plan.stack), &fingerprint)?;
        Ok(())
    }

    /// Adds the reasons in the stack's events to a failed deployment.
    fn explain(&self, stack: &str, error: Error) -> Error {
        let request = json!({"StackName": stack});
        let events = self
            .aws
            .call("cloudformation", "DescribeStackEvents", request);
        let reasons: Vec<String> = events
            .ok()
            .iter()
            .flat_map(|events| events["StackEvents"].as_array().into_iter().flatten())
            .filter(|event| text(&event["ResourceStatus"]).ends_with("_FAILED"))
            .filter_map(|event| {
                let reason = event["ResourceStatusReason"].as_str()?;
                Some(format!("  {}: {reason}", text(&event["LogicalResourceId"])))
            })
            .collect();
        let reasons = match reasons.as_slice() {
            [] => error.to_string(),
            reasons => reasons.join("\n"),
        };
        Error::new(format!("deploying {stack} failed:\n{reasons}"))
    }

    /// Deletes a stack with its nested stacks and its code.
    pub fn delete(&self, stack: &str) -> Result<()> {
        self.begin_deletion(stack)?;
        self.settle(stack, true)?;
        match self.endpoint {
            Some(_) => self.discard_old_code(stack),
            None => Ok(()),
        }
    }

    /// Deletes old code, because the emulator keeps the bucket in memory.
    fn discard_old_code(&self, stack: &str) -> Result<()> {
        let nested = format!("{stack}-");
        let mut current = String::new();
        for found in account::stacks(self.aws)? {
            let name = text(&found["StackName"]);
            if name != stack && !name.starts_with(&nested) {
                continue;
            }
            let template = self
                .aws
                .call("cloudformation", "GetTemplate", json!({"StackName": name}))
                .context(format!("reading {name} back"))?;
            current.push_str(&template.to_string());
        }
        let listing = json!({"Bucket": self.bucket, "Prefix": format!("{stack}/")});
        let objects = self
            .aws
            .list("s3", "ListObjectsV2", "Contents", listing)
            .context("listing deployed code")?;
        for object in &objects {
            let Some(key) = object["Key"].as_str().filter(|key| !current.contains(*key)) else {
                continue;
            };
            self.aws
                .call(
                    "s3",
                    "DeleteObject",
                    json!({"Bucket": self.bucket, "Key": key}),
                )
                .context("removing old code")?;
        }
        Ok(())
    }

    /// Waits for an earlier deployment, or deletes a stack that it left unusable.
    pub fn settle(&self, stack: &str, mut deleting: bool) -> Result<()> {
        let (patience, pause) = match self.endpoint {
            Some(_) => (SETTLE_PATIENCE, Duration::from_millis(500)),
            None => (ACCOUNT_PATIENCE, Duration::from_secs(10)),
        };
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let Some(answer) = self
                .aws
                .find(
                    "cloudformation",
                    "DescribeStacks",
                    json!({"StackName": stack}),
                    "does not exist",
                )
                .context(format!("reading {stack}"))?
            else {
                return Ok(());
            };
            let status = text(&answer["Stacks"][0]["StackStatus"]);
            match status.as_str() {
                "DELETE_COMPLETE" | "REVIEW_IN_PROGRESS" => return Ok(()),
                "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED"
                    if !deleting =>
                {
                    deleting = true;
                    self.begin_deletion(stack)?;
                }
                _ if status.ends_with("_IN_PROGRESS") || deleting => {
                    std::thread::sleep(pause);
                }
                _ => return Ok(()),
            }
        }
        Err(Error::new(format!(
            "{stack} does not settle; to start over, run cargo xtask down --wipe"
        )))
    }

    fn begin_deletion(&self, stack: &str) -> Result<()> {
        self.aws
            .call("cloudformation", "DeleteStack", json!({"StackName": stack}))
            .context(format!("deleting {stack}"))?;
        Ok(())
    }
}

/// The name of a stack's record. It is in the emulator, so that it is lost with the stack.
fn record(stack: &str) -> String {
    format!("/waybill/local/deployed/{stack}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
Parameters:
  Prefix: {Type: String}
  ApiId: {Type: String}
Resources:
  PlaceFunction:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub ${Prefix}-orders-place
      CodeUri: ../../target/lambda/orders-place/
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {TableName: !Ref Prefix}
";

    fn parse() -> Template {
        Template::parse(
            Path::new("functions/orders/template.yaml"),
            TEMPLATE.to_owned(),
        )
        .expect("a template")
    }

    #[test]
    fn a_template_names_its_parameters_and_code() {
        let template = parse();
        assert_eq!(
            template.parameters,
            ["ApiId", "Prefix"].map(str::to_owned).into()
        );
        assert_eq!(
            template.code,
            [PathBuf::from(
                "functions/orders/../../target/lambda/orders-place/bootstrap"
            )]
            .into()
        );
    }

    #[test]
    fn the_root_contains_its_nested_templates() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"));
        let template = Template::read(root).expect("the root");
        for service in ["users", "orders", "inventory", "payments", "site"] {
            let path = root.with_file_name(format!("functions/{service}/template.yaml"));
            let nested = Template::read(&path).expect("a service");
            assert!(template.text.contains(&nested.text), "{service}");
            assert!(template.code.is_superset(&nested.code), "{service}");
        }
    }

    #[test]
    fn a_plan_has_only_declared_parameters() {
        let mut template = parse();
        template.code.clear();
        let values = [
            ("ApiId", "waybill".to_owned()),
            ("ApiUrl", "http://x".to_owned()),
        ];
        let plan = Plan::new("waybill-orders", template, &values, "").expect("a plan");
        assert_eq!(
            plan.parameters,
            [("ApiId".to_owned(), "waybill".to_owned())].into()
        );
    }

    #[test]
    fn missing_code_is_named() {
        let refusal = Plan::new("waybill-orders", parse(), &[], "")
            .expect_err("nothing is built")
            .to_string();
        assert!(refusal.contains("orders-place"), "{refusal}");
    }

    #[test]
    fn a_fingerprint_covers_everything_deployed() {
        let parameters: BTreeMap<_, _> = [("A".to_owned(), "1".to_owned())].into();
        let code: BTreeMap<_, _> = [(PathBuf::from("f"), b"elf".to_vec())].into();
        let original = fingerprint("t", &parameters, "k", &code);
        assert_eq!(original, fingerprint("t", &parameters, "k", &code));
        assert_eq!(original.len(), 64);
        let others = [
            fingerprint("u", &parameters, "k", &code),
            fingerprint("t", &[("A".to_owned(), "2".to_owned())].into(), "k", &code),
            fingerprint("t", &parameters, "l", &code),
            fingerprint(
                "t",
                &parameters,
                "k",
                &[(PathBuf::from("f"), b"elg".to_vec())].into(),
            ),
            fingerprint("t", &parameters, "k", &BTreeMap::new()),
        ];
        assert!(!others.contains(&original));
    }
}
