//! The documents' commands, run as a reader runs them: each document in one shell, on the stack.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use test_support::template::workspace_root;

use crate::world::world;

/// The tools of this build stand for `cargo xtask` and `cargo waybill`. A claim (`#> text`) is about
/// the output of the commands above it, up to an empty line or another claim.
const PRELUDE: &str = r#"set -euo pipefail
cargo() {
    case "$1" in
        xtask | waybill) "$TOOLS/$@" ;;
        *) command cargo "$@" ;;
    esac
}
waybill() { "$TOOLS/waybill" "$@"; }
output=$(mktemp)
exec 3>&1
trap 'status=$?; [ $status = 0 ] || { echo "$document:$line:"; cat "$output"; } >&3; rm "$output"' EXIT
claim() { grep -qF -- "$1" "$output" || { echo "the output lacks: $1"; exit 1; }; }
"#;

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
    found
}

/// The blocks of commands with this word after the fence as one script, or nothing where there is none.
pub fn script(text: &str, kind: &str) -> Option<String> {
    let fence = format!("```{kind}");
    let mut script = String::new();
    let mut is_inside = false;
    let mut step = String::new();
    let run = |script: &mut String, step: &mut String| {
        if !step.trim().is_empty() {
            let _ = write!(script, "{{\n{step}}} >\"$output\" 2>&1\n");
        }
        step.clear();
    };
    for (number, line) in text.lines().enumerate() {
        match (is_inside, line) {
            (false, line) if line == fence => is_inside = true,
            (false, _) => {}
            (true, "```") => {
                run(&mut script, &mut step);
                is_inside = false;
            }
            (true, line) => match line.strip_prefix("#> ") {
                Some(claim) => {
                    run(&mut script, &mut step);
                    let claim = claim.replace('\'', r"'\''");
                    let _ = writeln!(script, "line={}; claim '{claim}'", number + 1);
                }
                None if line.is_empty() => run(&mut script, &mut step),
                None => {
                    if step.is_empty() {
                        let _ = writeln!(script, "line={}", number + 1);
                    }
                    let _ = writeln!(step, "{line}");
                }
            },
        }
    }
    (!script.is_empty()).then_some(script)
}

/// The output of a document whose commands failed.
fn failure(path: &Path) -> Option<String> {
    let script = script(&std::fs::read_to_string(path).unwrap(), "sh")?;
    let name = path.strip_prefix(workspace_root()).unwrap();
    run(
        Command::new("bash").current_dir(workspace_root()),
        name,
        &script,
    )
}

/// The output of a script that failed.
pub fn run(bash: &mut Command, document: &Path, script: &str) -> Option<String> {
    let tools = std::env::current_exe().unwrap();
    let output = bash
        .args(["-c", &format!("{PRELUDE}{script}")])
        .env("document", document)
        .env("TOOLS", tools.ancestors().nth(2).unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    (!output.status.success()).then(|| said.concat())
}

#[test]
fn commands_succeed_and_print_the_answers_shown() {
    let _shared = world().shared();
    let mut paths = documents(&workspace_root().join("docs"));
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| workspace_root().join(name)));
    let failures: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(|| failure(path)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap());
        ended.flatten().collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_wrong_claim_fails() {
    assert_eq!(script("text\n```sh slow\nexit 1\n```\n", "sh"), None);
    let run = |text: &str| {
        let script = format!("{PRELUDE}document=x; {}", script(text, "sh").unwrap());
        Command::new("bash").args(["-c", &script]).output().unwrap()
    };
    assert!(
        run("```sh\necho a; echo b\n#> a\n#> b\n```\n")
            .status
            .success()
    );
    let wrong = run("```sh\necho a\n\necho b\n#> a\n```\n");
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(
        said.contains("the output lacks: a") && said.contains("x:5"),
        "{said}"
    );
    assert!(!run("```sh\nfalse\necho a\n```\n").status.success());
}
