//! Rows and messages as each release writes them, one JSON object a line.
//!
//! The lines of a release are in `contracts/released/<version>/<service>.jsonl`, those of this code in
//! `functions/<service>/tests/golden/written.jsonl`. A row has beside it the values that its own release
//! read from it, so a later reader that loses or changes one is found.

use crate::template::{services, workspace_root};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

struct Line {
    /// The file and the line's number.
    place: String,
    is_of_a_release: bool,
    value: Value,
}

/// A row, with the values that the service reads from it.
pub fn row(row: &Value, read: &Value) -> Value {
    json!({"row": row, "read": read})
}

/// A message, and the service that reads it.
pub fn message(to: &str, body: &str) -> Value {
    let body: Value = serde_json::from_str(body).expect("a message is JSON");
    json!({"to": to, "message": body})
}

/// Compares the lines of the present code with the recorded ones; `UPDATE_EXPECT=1` records them.
pub fn assert_recorded(service: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    expect_test::expect_file![written(service)].assert_eq(&text);
}

/// Panics with the place of every row that `read` refuses or reads otherwise than its own release.
pub async fn assert_rows_are_read(
    service: &str,
    read: impl AsyncFn(&Value) -> Result<Value, String>,
) {
    let mut wrong = Vec::new();
    let lines = lines(service);
    let rows = || lines.iter().filter(|line| !line.value["row"].is_null());
    assert!(rows().count() > 0, "{service} has no recorded rows");
    for line in rows() {
        match read(&line.value["row"]).await {
            Ok(now) => differences(
                &line.value["read"],
                &now,
                line.is_of_a_release,
                "",
                &mut |difference| wrong.push(format!("{}: {difference}", line.place)),
            ),
            Err(cause) => wrong.push(format!("{}: not read: {cause}", line.place)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Panics with the place of every message to `receiver` that `read` refuses.
pub async fn assert_messages_are_read(
    receiver: &str,
    read: impl AsyncFn(&str) -> Result<(), String>,
) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for sender in services() {
        for line in lines(&sender) {
            if line.value["to"] == receiver {
                count += 1;
                if let Err(cause) = read(&line.value["message"].to_string()).await {
                    wrong.push(format!("{}: {cause}", line.place));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 0, "{receiver} has no recorded messages");
}

/// Every recorded row of a service with its place, oldest release first.
pub fn rows(service: &str) -> Vec<(String, Value)> {
    let row = |line: Line| Some((line.place, line.value.get("row")?.clone()));
    lines(service).into_iter().filter_map(row).collect()
}

fn lines(service: &str) -> Vec<Line> {
    let mut files: Vec<PathBuf> = fs::read_dir(workspace_root().join("contracts/released"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a folder that opened can be listed").path())
        .map(|release| release.join(format!("{service}.jsonl")))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    let present = written(service);
    files.extend(present.is_file().then(|| present.clone()));
    let of_file = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a file that exists can be read");
        let name = file
            .strip_prefix(workspace_root())
            .unwrap_or(file)
            .display();
        let line = |(number, line): (usize, &str)| {
            let place = format!("{name}:{}", number + 1);
            Line {
                is_of_a_release: *file != present,
                value: serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{place} is not JSON: {error}")),
                place,
            }
        };
        text.lines().enumerate().map(line).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

fn written(service: &str) -> PathBuf {
    let folder = Path::new("functions").join(service);
    workspace_root().join(folder.join("tests/golden/written.jsonl"))
}

/// Reports each value that was read otherwise. Members may be added. They may be missing only if a newer
/// release recorded them.
fn differences(
    then: &Value,
    now: &Value,
    needs_all: bool,
    path: &str,
    report: &mut impl FnMut(String),
) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (name, then) in then {
                let path = format!("{path}/{name}");
                match now.get(name) {
                    Some(now) => differences(then, now, needs_all, &path, report),
                    None if needs_all => report(format!("{path} was {then} and is no longer read")),
                    None => {}
                }
            }
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            for (index, (then, now)) in then.iter().zip(now).enumerate() {
                differences(then, now, needs_all, &format!("{path}/{index}"), report);
            }
        }
        (then, now) if then == now => {}
        (then, now) => report(format!("{path} was {then} and is read as {now}")),
    }
}
