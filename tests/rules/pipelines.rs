//! The workflows run commands of this project, and the roles of pipelines are limited.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::template::workspace_root;

use crate::documents::refused;
use crate::permissions::statements;
use crate::{files, read, services, template, yaml};

/// The workflows by their file names.
fn workflows() -> BTreeMap<String, Value> {
    let folder = files(&workspace_root().join(".github/workflows"));
    let named = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, yaml(path))
    };
    folder.iter().map(named).collect()
}

#[test]
fn each_service_and_the_gateway_have_the_same_thin_workflow() {
    let root = workspace_root();
    let scaffold = read(&root.join("infra/xtask/src/new/workflow.yaml"));
    let names = services().into_iter().map(|service| service.name);
    let mut expected: BTreeSet<String> = names.chain(["gateway".to_owned()]).collect();
    for name in &expected {
        let workflow = read(&root.join(format!(".github/workflows/{name}.yaml")));
        assert_eq!(workflow, scaffold.replace("{{service}}", name), "{name}");
    }
    expected.extend(["check", "deploy", "service"].map(str::to_owned));
    assert_eq!(workflows().into_keys().collect::<BTreeSet<_>>(), expected);
}

/// A filter by paths would be a second copy of the rule of `cargo xtask ci changed`.
#[test]
fn no_workflow_filters_by_paths() {
    for path in files(&workspace_root().join(".github/workflows")) {
        for filter in ["paths:", "paths-ignore:", "hashFiles("] {
            assert!(
                !read(&path).contains(filter),
                "{}: {filter}",
                path.display()
            );
        }
    }
}

#[test]
fn workflows_run_the_commands_of_this_project() {
    let mut seen = BTreeSet::new();
    for (name, workflow) in workflows() {
        for (id, job) in workflow["jobs"].as_object().unwrap() {
            for step in job["steps"].as_array().into_iter().flatten() {
                for line in step["run"].as_str().unwrap_or_default().lines() {
                    let place = format!("{name}: {id}: {line}");
                    // Inputs reach a shell as variables alone.
                    assert!(!line.contains("${{"), "{place}");
                    let command = line.replace("$SERVICE", "orders").replace("$STAGE", "pr-7");
                    if let Some((_, words)) = command.replace('"', "").split_once("cargo xtask ") {
                        let words = words.split_whitespace().take(3);
                        seen.insert(words.collect::<Vec<_>>().join(" "));
                    } else if !command.starts_with("cargo waybill ") {
                        let known = ["rustup target add ", "if grep -qx "];
                        assert!(known.iter().any(|known| line.starts_with(known)), "{place}");
                    }
                    assert_eq!(refused(&command), None, "{place}");
                }
            }
        }
    }
    let steps = ["check", "test", "build", "deploy", "system-test", "remove"];
    for step in steps.map(|step| format!("ci orders {step}")) {
        assert!(seen.contains(&step), "no workflow runs {step}");
    }
    assert!(seen.contains("test"), "no workflow runs every check");
}

#[test]
fn no_two_deployments_of_a_service_to_a_stage_overlap() {
    let mut deploying = 0;
    for (name, workflow) in workflows() {
        assert_eq!(workflow["permissions"], json!({}), "{name}");
        for (id, job) in workflow["jobs"].as_object().unwrap() {
            let place = format!("{name}: {id}");
            assert!(job["permissions"].is_object(), "{place}");
            if job["steps"].is_null() {
                continue;
            }
            assert!(job["timeout-minutes"].is_number(), "{place}");
            // Only a job with an environment gets a token for AWS, and the role demands that environment.
            let gets_token = job["permissions"]["id-token"] == "write";
            assert_eq!(gets_token, job["environment"].is_string(), "{place}");
            if gets_token {
                let group = job["concurrency"]["group"].as_str().expect(&place);
                assert!(group.contains("inputs.service"), "{place}: {group}");
                let of_a_stage = ["inputs.stage", "github.event.number"];
                assert!(
                    of_a_stage.iter().any(|part| group.contains(part)),
                    "{place}: {group}"
                );
                assert!(
                    job["concurrency"]["cancel-in-progress"].is_null(),
                    "{place}"
                );
                deploying += 1;
            }
        }
    }
    assert_eq!(deploying, 2, "a pull request's stage, and the lasting ones");
}

/// The policies of infra/pipeline, with conditions on parts of them taken as true.
fn pipeline_policies() -> Vec<(String, Value)> {
    let template = template("infra/pipeline/template.yaml");
    let resources = template.document()["Resources"]
        .as_object()
        .unwrap()
        .clone();
    let mut policies = Vec::new();
    for (id, resource) in &resources {
        let properties = &resource["Properties"];
        if properties["PolicyDocument"].is_object() {
            policies.push((id.clone(), properties["PolicyDocument"].clone()));
        }
        for policy in properties["Policies"].as_array().into_iter().flatten() {
            policies.push((id.clone(), policy["PolicyDocument"].clone()));
        }
    }
    for (_, document) in &mut policies {
        for statement in document["Statement"].as_array_mut().unwrap() {
            if let Some(choice) = statement["Fn::If"].as_array() {
                *statement = choice
                    .iter()
                    .find(|part| part["Effect"].is_string())
                    .unwrap()
                    .clone();
            }
        }
    }
    policies
        .into_iter()
        .map(|(id, document)| (id, template.resolve(&document)))
        .collect()
}

#[test]
fn a_pipelines_role_stays_below_its_names() {
    // These actions list names, or are about deliveries that have none.
    const EVERYWHERE: [&str; 9] = [
        "lambda:ListFunctions",
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    ];
    let policies = pipeline_policies();
    assert_eq!(
        policies.len(),
        7,
        "the boundary, the role's four, and two for some stages"
    );
    for (id, document) in policies {
        for (action, resource, _) in statements(&document) {
            let place = format!("{id}: {action} on {resource}");
            assert!(!action.contains('*'), "{place}");
            if resource == "*" {
                assert!(EVERYWHERE.contains(&action.as_str()), "{place}");
                continue;
            }
            let is_named = [
                "waybill-Stage-",
                "waybill-Stage/",
                "waybill-pipeline-",
                "waybill-staging-",
                "CodeBucket",
            ]
            .iter()
            .any(|name| resource.contains(name));
            // API ids, triggers and keys have names that AWS chooses.
            let is_numbered = [
                "::/apis",
                "::/tags",
                ":event-source-mapping:*",
                ":key/*",
                ":deploymentconfig:",
                ":transform/",
            ]
            .iter()
            .any(|kind| resource.contains(kind));
            let is_log = resource.ends_with("/aws/apigateway/waybill-Stage*");
            assert!(is_named || is_numbered || is_log, "{place}");
        }
    }
}

/// Without it, a pipeline could create a role with more rights than its own.
#[test]
fn a_pipeline_changes_only_roles_with_its_boundary() {
    let mut changes = BTreeSet::new();
    for (_, document) in pipeline_policies() {
        for (action, resource, condition) in statements(&document) {
            // The pipeline's own role and boundary begin with waybill-pipeline.
            let named =
                |kind: &str| format!("arn:aws:iam::123456789012:{kind}/waybill-Stage-Service-*");
            let is_of_the_service = resource == named("role") || resource == named("policy");
            assert!(
                is_of_the_service || !action.starts_with("iam:"),
                "{action} on {resource}"
            );
            let changes_rights = [
                "iam:CreateRole",
                "iam:PutRolePolicy",
                "iam:PutRolePermissionsBoundary",
                "iam:DeleteRolePolicy",
            ];
            if changes_rights.contains(&action.as_str()) {
                let boundary =
                    json!({"StringEquals": {"iam:PermissionsBoundary": "PermissionsBoundary"}});
                assert_eq!(condition, boundary, "{action} on {resource}");
                changes.insert(action);
            } else if action == "iam:PassRole" {
                assert!(condition["StringEquals"]["iam:PassedToService"].is_array());
            } else {
                let gives_away = [
                    "iam:Attach",
                    "iam:DeleteRolePermissionsBoundary",
                    "iam:CreateUser",
                    "iam:AddUser",
                ];
                assert!(
                    !gives_away.iter().any(|start| action.starts_with(start)),
                    "{action}"
                );
            }
        }
    }
    assert_eq!(changes.len(), 4, "{changes:?}");
}

#[test]
fn a_token_is_taken_from_one_environment_of_one_repository() {
    let template = template("infra/pipeline/template.yaml");
    let role = template.properties("DeployRole", "AWS::IAM::Role");
    let statement = &role["AssumeRolePolicyDocument"]["Statement"];
    assert_eq!(statement.as_array().unwrap().len(), 1);
    let condition = json!({"StringEquals": {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:Repository:environment:Stage-Service",
    }});
    assert_eq!(statement[0]["Condition"], condition);
    let environments = [
        &workflows()["deploy"]["jobs"]["deploy"],
        &workflows()["service"]["jobs"]["pull-request"],
    ]
    .map(|job| job["environment"].as_str().unwrap().to_owned());
    assert_eq!(
        environments,
        [
            "${{ inputs.stage }}-${{ inputs.service }}",
            "pr-${{ inputs.service }}"
        ]
    );
}

/// AWS allows a role no more than its boundary, so a new action of a role must be added there.
#[test]
fn the_boundary_allows_every_action_of_the_functions() {
    let policies = pipeline_policies();
    let (_, boundary) = policies
        .iter()
        .find(|(id, _)| id == "PermissionsBoundary")
        .unwrap();
    let allowed: BTreeSet<String> = statements(boundary).into_iter().map(|one| one.0).collect();
    let mut used = BTreeSet::new();
    for service in services() {
        for (id, role) in service.resources("AWS::IAM::Role") {
            for policy in role["Policies"].as_array().unwrap() {
                for (action, _, _) in statements(&policy["PolicyDocument"]) {
                    assert!(
                        allowed.contains(&action),
                        "{id}: the boundary lacks {action}"
                    );
                    used.insert(action);
                }
            }
        }
    }
    assert!(used.len() > 10, "{used:?}");
}
