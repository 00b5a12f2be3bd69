//! Reads JSON and says what is wrong with it without repeating what it holds.
//!
//! serde's own messages quote the value (`invalid type: string "hunter2", expected …`), and a value
//! may be a password. What is said here comes from our types alone: where, and what belongs there.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use crate::problem::FieldError;

/// Reads one document. The pointer of a mistake is empty where it is about the document as a
/// whole; the detail has the field as its subject ("is not a string").
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, FieldError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| mistake(text, &pointer(error.path()), error.inner()))?;
    deserializer
        .end()
        .map_err(|error| mistake(text, "", &error))?;
    Ok(value)
}

fn mistake(text: &str, pointer: &str, error: &serde_json::Error) -> FieldError {
    if error.is_data() {
        let message = error.to_string();
        // "… at line 1 column 17": the pointer says it better.
        let message = message
            .rsplit_once(" at line ")
            .map_or(&*message, |(m, _)| m);
        return wrong_data(pointer, message);
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        // JSON all right, but a number here is out of range, or an object where a name belongs.
        Ok(_) => FieldError::new(pointer, "is not valid here"),
        // A syntax error names what the grammar wants and a position, never what is there.
        Err(error) => FieldError::new("", format!("is not JSON: {error}")),
    }
}

/// Says what serde's message says (the wording of `serde::de::Error`), less the value in it.
fn wrong_data(pointer: &str, message: &str) -> FieldError {
    let member = |quoted: &str| format!("{pointer}/{}", escaped(quoted.trim_end_matches('`')));
    if let Some(name) = message.strip_prefix("missing field `") {
        return FieldError::new(member(name), "is missing");
    }
    if let Some(name) = message.strip_prefix("duplicate field `") {
        return FieldError::new(member(name), "is there more than once");
    }
    // From the right: the value may itself contain these words, the expectation does not.
    let expectation = message.rsplit_once(", expected ").map(|(_, text)| text);
    let detail = match expectation {
        _ if message.starts_with("unknown field ") => match expectation {
            Some(known) => format!("is not a known field; known here: {}", listed(known)),
            None => "is not a known field; none is known here".to_owned(),
        },
        Some(known) if message.starts_with("unknown variant ") => {
            format!("is not one of {}", listed(known))
        }
        Some(wanted) if message.starts_with("invalid ") => {
            format!("is not {}", in_json_terms(wanted))
        }
        // A message of somebody's `Deserialize`: what it quotes is not known.
        _ => "is not valid here".to_owned(),
    };
    FieldError::new(pointer, detail)
}

/// "one of `a`, `b`" and "`a` or `b`" as "a, b".
fn listed(names: &str) -> String {
    names
        .trim_start_matches("one of ")
        .replace("` or `", "`, `")
        .replace('`', "")
}

/// What a Rust type expects, for a reader who sees only JSON.
fn in_json_terms(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number within range",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        "unit" => "null",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

/// A JSON Pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escaped(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// RFC 6901 §3: `~` and `/` are escaped within a token.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
