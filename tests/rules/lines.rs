//! How long a line of Rust is.

use test_support::template::workspace_root;

use crate::{files, read};

/// The limit in .editorconfig is held here: rustfmt leaves comments alone. A string is not broken,
/// nor is a row of a table or a drawing.
#[test]
fn no_line_is_longer_than_the_limit() {
    let root = workspace_root();
    let settings = read(&root.join(".editorconfig"));
    let limit = settings.split("max_line_length = ").nth(1).unwrap();
    let limit: usize = limit.lines().next().unwrap().parse().unwrap();
    let mut long = Vec::new();
    for folder in [
        "functions",
        "infra",
        "shared-auth",
        "shared-lambda",
        "tests",
    ] {
        for path in files(&root.join(folder)) {
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            for (at, line) in read(&path).lines().enumerate() {
                let comment = line.trim_start().starts_with("//");
                let string = !comment && (line.contains('"') || line.ends_with('\\'));
                let exempt = string || line.contains(" | ") || line.contains('─');
                if line.chars().count() > limit && !exempt {
                    long.push(format!("{}:{}", path.display(), at + 1));
                }
            }
        }
    }
    assert!(long.is_empty(), "longer than {limit}: {long:#?}");
}
