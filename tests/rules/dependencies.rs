//! Dependencies between crates and modules.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{files, read, services};

/// Each package's normal dependencies within the workspace and outside it.
fn dependencies_of(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|p| p["name"] == package).unwrap();
    package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn no_service_depends_on_another() {
    let services = test_support::services();
    for service in &services {
        for dependency in dependencies_of(service) {
            assert!(
                !services.contains(&dependency),
                "{service} depends on {dependency}; services share nothing but contracts"
            );
        }
    }
}

/// Tests may know all services at once; nothing that is deployed may know a test.
#[test]
fn nothing_that_is_deployed_depends_on_a_test_crate() {
    const OF_TESTS: [&str; 3] = ["saga-model", "simulation", "test-support"];
    let shared = ["shared-lambda", "shared-auth"].map(str::to_owned);
    for package in test_support::services().into_iter().chain(shared) {
        for dependency in dependencies_of(&package) {
            assert!(
                !OF_TESTS.contains(&dependency.as_str()),
                "{package} depends on {dependency}"
            );
        }
    }
}

#[test]
fn shared_crates_know_no_service_and_tokens_no_aws() {
    let services = test_support::services();
    for dependency in dependencies_of("shared-lambda") {
        assert!(!services.contains(&dependency), "{dependency}");
    }
    for dependency in dependencies_of("shared-auth") {
        let foreign = services.contains(&dependency)
            || ["aws", "lambda", "tokio", "http", "hyper"]
                .iter()
                .any(|prefix| dependency.starts_with(prefix));
        assert!(
            !foreign,
            "shared-auth depends on {dependency}; it does no I/O"
        );
    }
}

/// It is compiled before `up` on a fresh clone.
#[test]
fn the_developers_tool_is_compiled_without_aws_clients() {
    for package in ["xtask", "tooling"] {
        for dependency in dependencies_of(package) {
            let is_heavy = dependency.starts_with("aws") || dependency == "shared-lambda";
            assert!(!is_heavy && dependency != "ops", "{package}: {dependency}");
        }
    }
}

/// Checking a token needs no network, and nothing that could reach one is linked for it.
#[test]
fn a_token_check_links_no_client() {
    const NETWORKING: [&str; 16] = [
        "async-std",
        "aws-",
        "curl",
        "h2",
        "hickory",
        "http",
        "hyper",
        "lambda",
        "mio",
        "native-tls",
        "openssl",
        "reqwest",
        "rustls",
        "socket2",
        "tokio",
        "ureq",
    ];
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "shared-auth", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let linked: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(linked.contains("ring"), "{linked:?}");
    for package in &linked {
        assert!(
            !NETWORKING.iter().any(|name| package.starts_with(name)),
            "shared-auth links {package}"
        );
    }
}

#[test]
fn the_domain_does_no_io_and_knows_no_wire_format() {
    const FORBIDDEN: [&str; 15] = [
        "aws_",
        "serde",
        "tokio",
        "tracing",
        "lambda_",
        "shared_",
        "std::env",
        "std::fs",
        "std::net",
        "std::time",
        "Timestamp::now",
        "now_v7",
        "new_v4",
        "crate::",
        "async ",
    ];
    for service in services() {
        let domain = service.folder.join("src/domain");
        for path in files(&service.folder.join("src")) {
            if !path.starts_with(&domain) {
                continue;
            }
            for (number, line) in read(&path).lines().enumerate() {
                let code = line.split("//").next().unwrap();
                let within = code.replace("crate::domain", "");
                // Pure: a rule about Unicode.
                let within = within.replace("shared_lambda::invisible", "");
                for word in FORBIDDEN {
                    assert!(
                        !within.contains(word),
                        "{}:{}: the domain may not use `{word}`: {line}",
                        path.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn layers_depend_downwards() {
    for service in services() {
        let sources = service.folder.join("src");
        for path in files(&sources) {
            let layer = path.strip_prefix(&sources).unwrap().to_str().unwrap();
            let above = match layer.split(['/', '.']).next().unwrap() {
                "store" => ["crate::handlers", "crate::messages"],
                "messages" => ["crate::handlers", "crate::store"],
                _ => continue,
            };
            let source = read(&path);
            for module in above {
                assert!(!source.contains(module), "{} uses {module}", path.display());
            }
        }
    }
}

#[test]
fn time_and_ids_come_from_the_context_alone() {
    for service in services() {
        for path in files(&service.folder.join("src")) {
            let source = read(&path);
            for word in [
                "Timestamp::now",
                "now_v7",
                "new_v4()",
                "SystemTime::now",
                "Instant::now",
            ] {
                assert!(
                    !source.contains(word),
                    "{} uses {word}; a handler's time and ids come with its Context",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_source_file_begins_with_its_purpose() {
    let root = test_support::template::workspace_root();
    for folder in [
        "functions",
        "shared-auth",
        "shared-lambda",
        "infra",
        "tests",
    ] {
        for path in files(&root.join(folder)) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                assert!(
                    read(&path).starts_with("//! "),
                    "{} does not open with a `//!` sentence",
                    path.display()
                );
            }
        }
    }
}
