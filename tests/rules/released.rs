//! The recorded rows and messages of a release stay as they are, and the audit reads the rows.

use std::path::Path;

use ops::audit::rows::Rows;
use sha2::{Digest, Sha256};
use test_support::released;
use test_support::template::workspace_root;

use crate::{files, read, services};

#[test]
fn the_recorded_lines_of_a_release_do_not_change() {
    let folder = workspace_root().join("contracts/released");
    let list = read(&folder.join("RELEASES"));
    let mut listed = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [version, commit, digest] = words[..] else {
            panic!("RELEASES: {line:?} is not a version, a commit and a digest");
        };
        assert_eq!(
            commit.len(),
            40,
            "RELEASES: {commit} is not the full id of a commit"
        );
        let now = digest_of(&folder.join(version));
        assert_eq!(
            digest, now,
            "contracts/released/{version} has changed since its release; restore it with git"
        );
        listed.push(version.to_owned());
    }
    for file in files(&folder)
        .iter()
        .filter(|file| !file.ends_with("RELEASES"))
    {
        let version = file
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let digest = digest_of(&folder.join(version));
        assert!(
            listed.iter().any(|known| known == version),
            "add a line to contracts/released/RELEASES: {version} COMMIT {digest}"
        );
    }
    let number = |version: &String| {
        let parts = version.split('.').map(|part| part.parse::<u64>().unwrap());
        parts.collect::<Vec<_>>()
    };
    assert!(
        listed.is_sorted_by_key(number),
        "RELEASES is not in the order of the versions"
    );
}

fn digest_of(release: &Path) -> String {
    let mut hasher = Sha256::new();
    for file in files(release) {
        hasher.update(file.file_name().unwrap().as_encoded_bytes());
        hasher.update(read(&file));
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_audit_reads_the_rows_of_each_release() {
    for (number, service) in ["users", "orders", "inventory", "payments"]
        .iter()
        .enumerate()
    {
        assert!(services().iter().any(|known| known.name == *service));
        for (place, row) in released::rows(service) {
            let mut tables: [&[_]; 4] = [&[]; 4];
            let row = [row];
            tables[number] = &row;
            let [users, orders, inventory, payments] = tables;
            let rows = Rows::read(users, orders, inventory, payments);
            let wrong = [&rows.unreadable[..], &rows.misshapen[..]].concat();
            assert!(wrong.is_empty(), "{place}: {wrong:?}");
            assert!(
                rows.misfiled.is_empty() && rows.unknown.is_empty(),
                "{place}"
            );
        }
    }
}
