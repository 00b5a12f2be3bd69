//! The words of sources: who acts is named, and a test's name is short.

use std::path::{Path, PathBuf};

use test_support::template::workspace_root;

use crate::{files, read};

/// Words that hide who does something, or what.
pub const UNCLEAR: [&str; 6] = [
    "whoever",
    "whatever",
    "somebody",
    "nobody",
    "everybody",
    "anybody",
];

const LONGEST_NAME: usize = 60;

/// Sources of the project, without the list above.
fn sources() -> Vec<PathBuf> {
    let root = workspace_root();
    let folders = [
        "functions",
        "infra",
        "shared-auth",
        "shared-lambda",
        "tests",
    ];
    let all = folders.iter().flat_map(|folder| files(&root.join(folder)));
    let is_source = |path: &PathBuf| {
        let end = path.extension().unwrap_or_default();
        ["rs", "yaml", "toml", "py", "json"]
            .iter()
            .any(|known| end == *known)
            && !path.ends_with(file!())
    };
    let top = ["Cargo.toml", "deny.toml", "template.yaml"].map(|name| root.join(name));
    all.chain(top).filter(is_source).collect()
}

fn lines(path: &Path) -> Vec<(String, String)> {
    let shown = path.strip_prefix(workspace_root()).unwrap().display();
    let numbered =
        |(number, line): (usize, &str)| (format!("{shown}:{}", number + 1), line.to_owned());
    read(path).lines().enumerate().map(numbered).collect()
}

#[test]
fn sources_name_who_acts() {
    let mut found = Vec::new();
    for (place, line) in sources().iter().flat_map(|path| lines(path)) {
        let lower = line.to_lowercase().replace("nobody@", "");
        let mut words = lower.split(|letter: char| !letter.is_alphanumeric());
        let begins_with_what = ["/// What ", "//! What ", "// What ", "# What "]
            .iter()
            .any(|start| line.trim_start().starts_with(start));
        if begins_with_what || words.any(|word| UNCLEAR.contains(&word)) {
            found.push(format!("{place}: {}", line.trim()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn names_of_functions_are_short() {
    let mut long = Vec::new();
    for (place, line) in sources().iter().flat_map(|path| lines(path)) {
        let name = line.split_once("fn ").map_or("", |(_, rest)| rest);
        let length = name.find(['(', '<']).unwrap_or(0);
        if length > LONGEST_NAME {
            long.push(format!("{place}: {length} letters"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
