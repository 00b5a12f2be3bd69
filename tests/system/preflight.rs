//! A preflight reads an account, and tells one that fits from one that does not.

use ops::preflight::{Finding, Weight, check, report, verdict};
use xtask::project::Project;

use crate::world::{World, world};

/// The findings without concurrency: the emulator's quota depends on this machine's memory.
fn problems(world: &World, prefix: &str) -> Vec<Finding> {
    let project = Project::find().unwrap();
    let given = [("Stage".to_owned(), "dev".to_owned())];
    let mut findings = check(&project, &world.aws, prefix, &given).unwrap();
    findings.retain(|one| one.weight != Weight::Fits && one.about != "concurrency");
    findings
}

#[test]
fn a_deployed_installation_fits() {
    let world = world();
    let _shared = world.shared();
    let problems = problems(world, &world.stack.prefix);
    assert!(problems.is_empty(), "{}", report(&problems));
}

#[test]
fn an_installation_without_keys_is_told_to_make_them() {
    let world = world();
    let _shared = world.shared();
    let problems = problems(world, "elsewhere");
    assert_eq!(problems.len(), 1, "{}", report(&problems));
    let missing = "missing parameters: /elsewhere/auth/jwks, /elsewhere/auth/signing-key, \
                   /elsewhere/auth/signing-key-kms-arn";
    assert!(problems[0].said.contains(missing), "{}", problems[0].said);
    assert_eq!(verdict(&problems).unwrap_err().exit_code(), 1);
}
