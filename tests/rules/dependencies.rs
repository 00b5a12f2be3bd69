//! Dependencies between crates and modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
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

/// The module of a source file, as the path from its crate's root.
fn module_of(sources: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(sources).unwrap().with_extension("");
    let parts = path.iter().map(|part| part.to_str().unwrap().to_owned());
    parts
        .filter(|part| part != "mod" && part != "lib")
        .collect()
}

/// The paths that a `use` names, without braces and new names.
fn spread(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inside.trim_end().trim_end_matches('}').chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(letter),
        }
    }
    let full = parts.iter().map(|part| format!("{before}{}", part.trim()));
    full.flat_map(|path| spread(&path)).collect()
}

/// The modules of the same crate that a file imports from, except those around it.
fn imports(source: &str, module: &[String], known: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join(" ");
    let uses = code.split("use ").skip(1);
    let paths = uses.flat_map(|after| spread(after.split(';').next().unwrap()));
    let target = |path: String| {
        let mut parts = path.split("::").map(str::to_owned).peekable();
        let mut at = match parts.next()?.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            child => [module, &[child.to_owned()]].concat(),
        };
        for part in parts {
            let next = [&at[..], &[part]].concat();
            if !known.contains(&next) {
                break;
            }
            at = next;
        }
        (known.contains(&at) && !module.starts_with(&at)).then_some(at)
    };
    paths.filter_map(target).collect()
}

#[test]
fn modules_import_each_other_in_no_circle() {
    let root = test_support::template::workspace_root();
    let crates = [
        "shared-auth",
        "shared-lambda",
        "infra/ops",
        "infra/tooling",
        "infra/xtask",
    ];
    let crates = crates.map(|folder| root.join(folder)).into_iter();
    let crates = crates.chain(services().into_iter().map(|service| service.folder));
    for sources in crates.map(|folder| folder.join("src")) {
        let programs = sources.join("bin");
        let sources_of = files(&sources).into_iter();
        let is_module = |path: &PathBuf| {
            path.extension().is_some_and(|ending| ending == "rs")
                && !path.starts_with(&programs)
                && !path.ends_with("tests.rs")
        };
        let modules: BTreeMap<Vec<String>, String> = sources_of
            .filter(is_module)
            .map(|path| (module_of(&sources, &path), read(&path)))
            .collect();
        let known: BTreeSet<Vec<String>> = modules.keys().cloned().collect();
        let edges: BTreeMap<&Vec<String>, Vec<Vec<String>>> = modules
            .iter()
            .map(|(module, source)| (module, imports(source, module, &known)))
            .collect();
        for module in &known {
            let (mut reached, mut waiting) = (BTreeSet::new(), edges[module].clone());
            while let Some(next) = waiting.pop() {
                let name = module.join("::");
                assert_ne!(
                    &next,
                    module,
                    "{name} is in a circle of imports: {}",
                    sources.display()
                );
                if reached.insert(next.clone()) {
                    waiting.extend(edges[&next].clone());
                }
            }
        }
    }
}
