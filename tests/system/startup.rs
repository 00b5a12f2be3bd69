//! A function that lacks a variable refuses to start and names it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use shared_auth::{SigningKey, jwks};
use test_support::template::{Template, workspace_root};

/// Variables that have a default, or that no function reads.
const OPTIONAL: [&str; 3] = [
    "AUTH_SIGNING_KEY_VERSION",
    "LOG_LEVEL",
    "TRUSTED_FRONT_SHA256",
];

/// Each function's binary with the variables its template gives it, all of them usable.
fn functions() -> Vec<(String, BTreeMap<String, String>)> {
    let mut functions = Vec::new();
    for service in test_support::services() {
        let template = Template::of_service(&service);
        let document = template.document();
        let globals = &document["Globals"]["Function"]["Environment"]["Variables"];
        for (id, resource) in document["Resources"].as_object().unwrap() {
            if resource["Type"] != "AWS::Serverless::Function" {
                continue;
            }
            let properties = template.properties(id, "AWS::Serverless::Function");
            let binary = properties["FunctionName"].as_str().unwrap();
            let binary = binary.strip_prefix("waybill-").unwrap().to_owned();
            let mut variables: BTreeMap<String, String> =
                ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
                    .map(|name| (name.to_owned(), "given-by-lambda".to_owned()))
                    .into();
            for given in [globals, &properties["Environment"]["Variables"]] {
                for name in given.as_object().into_iter().flat_map(|given| given.keys()) {
                    variables.insert(name.clone(), usable(name));
                }
            }
            functions.push((binary, variables));
        }
    }
    functions
}

fn usable(name: &str) -> String {
    match name {
        "AUTH_JWKS" => jwks(&[SigningKey::generate().public_jwk()]),
        "ORDERS_STEP_TIMEOUT_SECONDS" => "30".to_owned(),
        "PAYMENT_PROVIDER" => "simulator".to_owned(),
        "SIMULATOR_IN_PRODUCTION" => "true".to_owned(),
        "STAGE" => "production".to_owned(),
        "TRUSTED_FRONT_SHA256" => String::new(),
        // A closed port, for a function that reads its secret.
        _ => "http://127.0.0.1:9/".to_owned(),
    }
}

/// Starts a function's program with these variables, and gives what it says when it ends in error.
fn refusal<'a>(
    binary: &str,
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> String {
    let program = workspace_root().join(format!("target/lambda/{binary}/bootstrap"));
    let output = Command::new(&program)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(!output.status.success(), "{binary} starts");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Guessing could only ever guess wrong about production.
#[test]
fn a_function_in_an_unknown_stage_refuses_to_start() {
    let mut tried = Vec::new();
    for (binary, mut variables) in functions() {
        let Some(stage) = variables.get_mut("STAGE") else {
            continue;
        };
        *stage = "prod".to_owned();
        let said = refusal(&binary, &variables);
        let expected = "STAGE is \"prod\"; it is one of dev, staging and production";
        assert!(said.contains(expected), "{binary} says: {said}");
        tried.push(binary);
    }
    tried.sort();
    assert_eq!(
        tried,
        [
            "inventory-commands",
            "orders-place",
            "payments-commands",
            "site-default",
            "users-verify"
        ]
    );
}

#[test]
fn production_does_not_start_on_the_payment_simulator_unasked() {
    let (binary, mut variables) = functions()
        .into_iter()
        .find(|(binary, _)| binary == "payments-commands")
        .expect("payments has a queue function");
    variables.insert("SIMULATOR_IN_PRODUCTION".to_owned(), "false".to_owned());
    let said = refusal(&binary, &variables);
    assert!(
        said.contains("SimulatorInProduction"),
        "{binary} says: {said}"
    );
}

#[test]
fn a_function_without_a_variable_refuses_to_start_by_name() {
    let mut tried = 0;
    for (binary, variables) in functions() {
        for missing in variables.keys() {
            // jwks needs no AWS; lambda gives these to every function all the same.
            let unused = binary == "users-jwks" && missing.starts_with("AWS_");
            if unused || OPTIONAL.contains(&missing.as_str()) {
                continue;
            }
            let given = variables.iter().filter(|(name, _)| *name != missing);
            let said = refusal(&binary, given);
            assert!(
                said.contains(&format!("the environment variable {missing} is missing")),
                "{binary} without {missing} says: {said}"
            );
            tried += 1;
        }
    }
    println!("{tried} functions and variables tried");
}
