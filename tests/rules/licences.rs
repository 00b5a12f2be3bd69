//! Dependencies: every package of Cargo.lock keeps the rules of deny.toml.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use test_support::template::workspace_root;

use crate::read;

/// Every package of the lock file, those for other platforms and for tests included.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Value::Array(packages) = metadata["packages"].take() else {
        panic!("cargo metadata names no packages");
    };
    assert!(packages.len() > 100, "only {}", packages.len());
    packages
}

/// The strings of one list in deny.toml.
fn listed(section: &str, name: &str) -> BTreeSet<String> {
    let text = read(&workspace_root().join("deny.toml"));
    let section = text.split(&format!("\n[{section}]\n")).nth(1).unwrap();
    let list = section
        .split(&format!("\n{name} = [\n"))
        .nth(1)
        .unwrap_or_else(|| {
            let head = format!("{name} = [\n");
            section.strip_prefix(&head).unwrap()
        });
    let list = list.split("\n]").next().unwrap();
    let entries = list.lines().map(str::trim);
    let entries: BTreeSet<String> = entries
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim_matches(['"', ',']).to_owned())
        .collect();
    assert!(!entries.is_empty());
    entries
}

/// Whether an SPDX expression can be met with allowed licences alone. `AND` binds more tightly than
/// `OR`; a slash is how `OR` used to be written.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = alternatives(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression} is no SPDX expression");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = licence(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= licence(words, allowed);
    }
    met
}

fn licence(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let first = words.next().expect("a licence");
    if first == "(" {
        let met = alternatives(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return met;
    }
    match words.next_if_eq(&"WITH") {
        None => allowed.contains(first),
        Some(_) => allowed.contains(&format!("{first} WITH {}", words.next().unwrap())),
    }
}

#[test]
fn every_package_may_be_used_under_a_licence_that_is_allowed() {
    let allowed = listed("licenses", "allow");
    for package in packages() {
        let name = &package["name"];
        let licence = package["license"].as_str();
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_met(licence, &allowed), "{name} is under {licence}");
    }
}

#[test]
fn no_package_is_banned_or_from_another_registry() {
    let banned = listed("bans", "deny");
    let packages = packages();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        assert!(!banned.contains(name), "{name} is banned; see deny.toml");
        let mut wanted = package["dependencies"].as_array().into_iter().flatten();
        let chains_credentials =
            wanted.any(|one| one["name"] == "aws-config" && one["kind"].is_null());
        assert!(
            !chains_credentials || name == "ops",
            "{name}; see deny.toml"
        );
    }
    // A package of this workspace has no source.
    let sources = packages.iter().filter_map(|one| one["source"].as_str());
    let sources: BTreeSet<&str> = sources.collect();
    let [registry] = sources.iter().collect::<Vec<_>>()[..] else {
        panic!("packages come from {sources:?}");
    };
    assert!(registry.starts_with("registry+"), "{registry}");
}

#[test]
fn licences_are_read_as_spdx_has_them() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    let allowed = allowed.map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("GPL-3.0-only/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("MIT AND ISC", true),
        // AND before OR.
        ("ISC OR MIT AND GPL-3.0-only", true),
        ("(ISC OR MIT) AND GPL-3.0-only", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
