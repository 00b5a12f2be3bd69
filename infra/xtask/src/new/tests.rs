//! Scaffolds keep the rules and answer; bad input is refused with the next step.

use std::fmt::Write;
use std::path::PathBuf;

use expect_test::expect_file;

use super::*;
use crate::process;
use crate::seed_bugs::{copy_files, copy_tree, listed};

fn here() -> Project {
    Project::find().expect("tests run inside the project")
}

/// New files in full, and the added lines of the others.
fn difference(project: &Project, scaffold: &Scaffold) -> String {
    let mut shown = String::new();
    for (path, text) in &scaffold.files {
        writeln!(shown, "== {path}").expect("a string takes all");
        let before = fs::read_to_string(project.root().join(path)).unwrap_or_default();
        let mut kept = before.lines().peekable();
        for line in text.lines() {
            match kept.peek() == Some(&line) {
                true => drop(kept.next()),
                false => writeln!(shown, "{line}").expect("a string takes all"),
            }
        }
        assert_eq!(kept.next(), None, "{path} loses a line");
    }
    shown
}

#[test]
fn an_endpoint_equals_the_golden_file() {
    let project = here();
    let route = "GET /api/v1/payments/{order_id}/receipt";
    let scaffold = endpoint(&project, "payments", "receipt", route).expect("it is new");
    let shown = difference(&project, &scaffold) + &scaffold.report() + "\n";
    expect_file!["golden.txt"].assert_eq(&shown);
}

#[test]
fn a_sixth_endpoint_gets_its_own_alarm() {
    let text = fs::read_to_string(here().root().join("functions/payments/template.yaml"));
    let mut text = text.expect("payments has a template");
    let count = |text: &str, what: &str| text.matches(what).count();
    for nth in 1..=6 {
        let name = format!("new{nth}");
        let words = words_of("payments", &name, "GET /api/v1/payments").expect("they are right");
        text = add_to_template(&text, &words).expect("there is a place");
    }
    assert_eq!(count(&text, "ErrorsAlarm:\n"), 4, "{text}");
    assert_eq!(count(&text, "  PaymentsNew5ErrorsAlarm:\n"), 1, "{text}");
    assert_eq!(count(&text, "{ Id: calls_"), 8, "{text}");
    assert_eq!(count(&text, "IF(FILL(failed_new"), 6, "{text}");
    assert_eq!(count(&text, "Stat: p99"), 7, "{text}");
    assert!(
        text.contains(
            "AlarmsAreSent, [!Ref PaymentsNew6ErrorsAlarm, !Ref PaymentsNew5ErrorsAlarm, "
        )
    );
}

#[test]
fn bad_input_is_refused_with_an_example() {
    let project = here();
    let good = "GET /api/v1/payments/{order_id}/receipt";
    for ((service, name, route), refusal) in [
        (
            ("paymnets", "receipt", good),
            "the services are: inventory, orders, payments, site, users",
        ),
        (
            ("payments", "get", good),
            "`get` is taken: functions/payments/src/handlers/get.rs",
        ),
        (
            ("payments", "Receipt", good),
            "`Receipt` is not an endpoint name",
        ),
        (
            ("payments", "re--ceipt", good),
            "`re--ceipt` is not an endpoint name",
        ),
        (("payments", "move", good), "`move` is reserved in Rust"),
        (
            ("payments", "a-very-long-name-of-a-receipt", good),
            "has 38 letters, but Lambda allows 31",
        ),
        (
            ("payments", "receipt", "/api/v1/x"),
            "`/api/v1/x` is not a route",
        ),
        (
            ("payments", "receipt", "get /api/v1/x"),
            "one of GET, POST, PUT, PATCH, DELETE",
        ),
        (
            ("payments", "receipt", "GET /v1/x"),
            "`/v1/x` is not a path",
        ),
        (
            ("payments", "receipt", "GET /api/v1/x/"),
            "`/api/v1/x/` is not a path",
        ),
        (
            ("payments", "receipt", "GET /api/v1/{a}/{a}"),
            "distinct parameters",
        ),
        (
            ("payments", "receipt", "GET /api/v1/payments/{id}"),
            "payments answers GET",
        ),
        (
            ("payments", "receipt", "POST /api/v1/payments/{id}"),
            "exists as /api/v1/payments/{order_id} in payments",
        ),
    ] {
        let error = endpoint(&project, service, name, route)
            .err()
            .expect(refusal);
        assert!(error.to_string().contains(refusal), "{error}");
        assert_eq!(error.exit_code(), 3, "{error}");
    }
    for (name, refusal) in [
        ("payments", "is a crate of this workspace already"),
        ("serde", "is a crate of this workspace already"),
        ("ship-ments", "give one word of a-z and 0-9"),
        ("2nd", "give one word of a-z and 0-9"),
        ("core", "is reserved in Rust"),
        ("items", "`GET /api/v1/items` is taken: inventory answers"),
    ] {
        let error = service(&project, name).err().expect(refusal);
        assert!(error.to_string().contains(refusal), "{error}");
    }
}

#[test]
fn a_failed_write_restores_all_files() {
    let folder = std::env::temp_dir().join(format!("waybill-new-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for this test");
    fs::write(folder.join("a"), "before").expect("a file");
    let files = [("a", "after"), ("a/below-a-file", "")];
    let files = files
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into();
    let todo = Vec::new();
    let project = Project::at(folder.clone());
    let failed = Scaffold { files, todo }.write(&project);
    let error = failed.expect_err("a file is no folder").to_string();
    assert!(
        error.contains("nothing was changed: a/below-a-file"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("a")).expect("a file"),
        "before"
    );
    fs::remove_dir_all(folder).expect("it is there");
}

/// The copy reuses this workspace's built dependencies: `--workspace` gives them the same features. Its
/// own crates get another version, because cargo takes crates of one version for the same.
#[test]
fn a_copy_with_scaffolds_keeps_the_rules() {
    let project = here();
    let target = project.root().join("target");
    let fresh = Project::at(target.join("scaffolded-fresh"));
    let _ = fs::remove_dir_all(fresh.root());
    fs::create_dir_all(fresh.root()).expect("below target");
    copy_tree(&project, fresh.root()).expect("copied");
    let manifest = fresh.root().join("Cargo.toml");
    let own = fs::read_to_string(&manifest).expect("copied");
    let other = own.replacen("\nversion = \"0.1.0\"", "\nversion = \"0.1.0-copy\"", 1);
    assert_ne!(own, other, "the workspace has another version");
    fs::write(&manifest, other).expect("written");
    let route = "GET /api/v1/payments/{order_id}/receipt";
    let mut files = listed(&project).expect("listed");
    let added = service(&fresh, "shipments").expect("it is new");
    added.write(&fresh).expect("written");
    files.extend(added.files.keys().map(PathBuf::from));
    let added = endpoint(&fresh, "payments", "receipt", route).expect("it is new");
    added.write(&fresh).expect("written");
    files.extend(added.files.keys().map(PathBuf::from));
    // Files that are as before keep their times, so cargo compiles only what has changed.
    let copy = Project::at(target.join("scaffolded"));
    fs::create_dir_all(copy.root()).expect("below target");
    copy_files(fresh.root(), copy.root(), &files).expect("copied");
    let scaffolded = ["--test", "shipments", "--test", "payments"];
    let offline = ["--quiet", "--offline"];
    let programs = ["shipments-list", "shipments-migrate", "payments-receipt"];
    let programs = programs.map(|name| ["--bin", name]).concat();
    // The modules of the rules, and the endpoint's tests in payments.
    let wanted = "alarms aws contracts dependencies licences list permissions pipelines \
                  receipt released stages templates";
    for arguments in [
        vec!["fmt", "--all", "--check"],
        [
            &["clippy", "--workspace"],
            &offline[..],
            &scaffolded,
            &programs,
            &["--", "-D", "warnings"],
        ]
        .concat(),
        [
            &["test", "--workspace", "--test", "rules"],
            &offline[..],
            &scaffolded,
            &["--"],
            &wanted.split(' ').collect::<Vec<_>>(),
        ]
        .concat(),
    ] {
        let mut cargo = copy.cargo();
        cargo.args(&arguments).env("CARGO_BUILD_BUILD_DIR", &target);
        cargo.env("CARGO_TARGET_DIR", copy.root().join("target"));
        // The golden files are the copy's.
        cargo.env("CARGO_WORKSPACE_DIR", copy.root());
        cargo.env_remove("UPDATE_EXPECT");
        process::capture(&mut cargo)
            .unwrap_or_else(|error| panic!("cargo {}: {error}", arguments.join(" ")));
    }
}
