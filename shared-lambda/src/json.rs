//! Reads JSON and explains its mistakes without quoting secrets.
//!
//! serde's messages quote the value (`invalid type: string "hunter2", expected …`), which may be a
//! password. The messages here name the value's type. They repeat a number only where one belongs.
//!
//! Numbers are read by value, as in JSON Schema: `1.0` and `1e0` are the whole number 1.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

use crate::problem::{FieldError, is_within, shortened};

/// The most faults reported for one document.
const MAX_FAULTS: usize = 50;
/// The longest number that a message repeats, in characters.
const MAX_SHOWN: usize = 40;

/// A document with its faults.
pub(crate) struct Document<T> {
    /// None if a missing value has no stand-in.
    pub value: Option<T>,
    pub faults: Vec<FieldError>,
    /// The places in `value` that hold a stand-in.
    pub stand_ins: Vec<String>,
}

/// Reads one document. An empty pointer means the whole document. The detail continues the field's
/// name ("is null, not a string").
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, FieldError> {
    let by_value = with_numbers(text, whole);
    let mut deserializer = serde_json::Deserializer::from_str(&by_value);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| mistake(text, &pointer(error.path()), error.inner()).error)?;
    deserializer
        .end()
        .map_err(|error| mistake(text, "", &error).error)?;
    Ok(value)
}

/// Reads a request's document, which is an object, and finds all its mistakes.
pub(crate) fn read_all<T: DeserializeOwned>(text: &str) -> Document<T> {
    // serde accepts an array of the fields' values for an object.
    let is_array = text.trim_start().starts_with('[');
    let first = match is_array {
        false => match read(text) {
            Ok(value) => return Document::new(Some(value)),
            Err(error) => error,
        },
        true => match read::<IgnoredAny>(text) {
            Ok(_) => FieldError::new("", "is an array, not an object"),
            Err(error) => error,
        },
    };
    let mut document = Document::new(None);
    let in_range = |number: &str| whole(number).or_else(|| nearest(number));
    if let Ok(mut value) = serde_json::from_str(&with_numbers(text, in_range))
        && !is_array
    {
        document.repair(text, &mut value);
    }
    // Mistakes that `value` does not show: a repeated field, or text that is not JSON.
    if !document.faults.iter().any(|known| known.name == first.name) {
        document.faults.insert(0, first);
    }
    for fault in &mut document.faults {
        match fault.name.rsplit_once('/') {
            None => fault.detail.insert_str(0, "the body "),
            Some((parent, name)) => fault.name = format!("{parent}/{}", shortened(name)),
        }
    }
    document
}

impl<T: DeserializeOwned> Document<T> {
    fn new(value: Option<T>) -> Self {
        Self {
            value,
            faults: Vec::new(),
            stand_ins: Vec::new(),
        }
    }

    /// Text that cannot be read as JSON.
    pub(crate) fn of_fault(fault: FieldError) -> Self {
        Self {
            faults: vec![fault],
            ..Self::new(None)
        }
    }

    /// Records one mistake after the other and repairs each in `value` to find the next.
    fn repair(&mut self, text: &str, value: &mut Value) {
        for _ in 0..MAX_FAULTS {
            let error = match serde_path_to_error::deserialize(&*value) {
                Ok(read) => {
                    self.value = Some(read);
                    return;
                }
                Err(error) => error,
            };
            let Mistake { error, remedy } = mistake(text, &pointer(error.path()), error.inner());
            let place = error.name.clone();
            let follows = self.stand_ins.iter().any(|known| is_within(&place, known));
            if !follows {
                self.faults.push(error);
            }
            let Some(remedy) = remedy else { return };
            if !matches!(remedy, Remedy::LeaveOut) && !follows {
                self.stand_ins.push(place.clone());
            }
            if !remedy.apply(value, &place) {
                return;
            }
        }
    }
}

struct Mistake {
    error: FieldError,
    /// The repair of the value that lets the next mistake show.
    remedy: Option<Remedy>,
}

enum Remedy {
    LeaveOut,
    PutNull,
    Replace(Value),
}

impl Remedy {
    fn apply(self, value: &mut Value, pointer: &str) -> bool {
        if let Self::Replace(stand_in) = self {
            return value.pointer_mut(pointer).is_some_and(|place| {
                *place = stand_in;
                true
            });
        }
        let Some((parent, name)) = pointer.rsplit_once('/') else {
            return false;
        };
        let Some(Value::Object(members)) = value.pointer_mut(parent) else {
            return false;
        };
        let name = unescaped(name);
        match self {
            Self::LeaveOut => members.remove(&name).is_some(),
            Self::PutNull | Self::Replace(_) => members.insert(name, Value::Null).is_none(),
        }
    }
}

fn mistake(text: &str, pointer: &str, error: &serde_json::Error) -> Mistake {
    let message = error.to_string();
    let (error, remedy) = if error.is_data() {
        // Drops "… at line 1 column 17": the pointer is more precise.
        let message = message
            .rsplit_once(" at line ")
            .map_or(&*message, |(m, _)| m);
        wrong_data(text, pointer, message)
    } else {
        let error = match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if message.contains("hex escape") => {
                let detail =
                    r"has a \u escape that is half of a surrogate pair; send whole characters";
                FieldError::new(pointer, detail)
            }
            // Valid JSON, but a number is out of range, or an object stands for a name.
            Ok(_) => FieldError::new(pointer, "is not valid here"),
            // A syntax error names the grammar and a position, never the value.
            Err(error) => FieldError::new("", format!("is not JSON: {error}")),
        };
        (error, None)
    };
    Mistake { error, remedy }
}

/// Translates serde's message (the wording of `serde::de::Error`) and drops the value.
fn wrong_data(text: &str, pointer: &str, message: &str) -> (FieldError, Option<Remedy>) {
    let member = |quoted: &str| format!("{pointer}/{}", escaped(quoted.trim_end_matches('`')));
    if let Some(name) = message.strip_prefix("missing field `") {
        let error = FieldError::new(member(name), "is missing");
        return (error, Some(Remedy::PutNull));
    }
    if let Some(name) = message.strip_prefix("duplicate field `") {
        return (FieldError::new(member(name), "occurs more than once"), None);
    }
    // From the right, because only the value may contain these words too.
    let expectation = message.rsplit_once(", expected ").map(|(_, text)| text);
    let (detail, remedy) = match expectation {
        _ if message.starts_with("unknown field ") => {
            let detail = match expectation {
                Some(known) => format!("is not a known field; known here: {}", listed(known)),
                None => "is not a known field; none is known here".to_owned(),
            };
            (detail, Some(Remedy::LeaveOut))
        }
        Some(known) if message.starts_with("unknown variant ") => {
            (format!("is not one of {}", listed(known)), None)
        }
        Some(wanted) if message.starts_with("invalid ") => {
            let raw = raw_at(text, pointer);
            let (wanted, stand_in) = in_json_terms(wanted, raw);
            let detail = match raw {
                Some(raw) => format!("is {}, not {wanted}", sent(raw, &stand_in)),
                None => format!("is not {wanted}"),
            };
            (detail, stand_in.map(Remedy::Replace))
        }
        // A custom `Deserialize` may quote the value.
        _ => ("is not valid here".to_owned(), None),
    };
    (FieldError::new(pointer, detail), remedy)
}

/// Describes the sent value without revealing a secret.
fn sent<'a>(raw: &'a str, wanted: &Option<Value>) -> &'a str {
    match raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        // May be a card number.
        Some(b'-' | b'0'..=b'9') if !matches!(wanted, Some(Value::Number(_))) => "a number",
        _ if raw.len() > MAX_SHOWN => "a number of many digits",
        _ => raw,
    }
}

/// The raw text at a place in a document.
fn raw_at<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
    let mut raw: &RawValue = serde_json::from_str(text).ok()?;
    for name in pointer.split('/').skip(1) {
        raw = if raw.get().starts_with('[') {
            let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            elements.get(name.parse::<usize>().ok()?).copied()?
        } else {
            let members: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
            members.get(&unescaped(name)).copied()?
        };
    }
    Some(raw.get())
}

/// The value of a JSON number (RFC 8259 §6), as the nearest `f64`.
fn value_of(number: &str) -> Option<f64> {
    serde_json::from_str::<IgnoredAny>(number).ok()?;
    number.parse().ok()
}

fn is_whole(number: &str, value: f64) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    // A tiny number rounds to zero but is not whole.
    let is_tiny = value == 0.0 && mantissa.contains(|c| matches!(c, '1'..='9'));
    value.is_infinite() || value.fract() == 0.0 && !is_tiny
}

/// Rewrites a whole number without fraction and exponent. None if it is not whole, too large, or in
/// that form already.
fn whole(number: &str) -> Option<String> {
    /// Up to here, an `f64` holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number != "-0" && !number.contains(['.', 'e', 'E']) {
        return None;
    }
    let value = value_of(number).filter(|value| value.is_finite() && is_whole(number, *value))?;
    match number.split_once('.') {
        Some((digits, zeros)) if value.abs() >= EXACT && zeros.bytes().all(|b| b == b'0') => {
            Some(digits.to_owned())
        }
        Some(_) | None => (value.abs() <= i64::MAX as f64).then(|| (value as i64).to_string()),
    }
}

/// Replaces a number beyond an `f64` by a large one, which the expected type refuses with a message.
/// It is well below `f64::MAX`, which serde_json reads only with `float_roundtrip`; deployed builds
/// lack that feature.
fn nearest(number: &str) -> Option<String> {
    const LARGE: f64 = 1e300;
    let read: f64 = number.parse().ok()?;
    (read.abs() > LARGE).then(|| LARGE.copysign(read).to_string())
}

/// The document with its numbers rewritten.
fn with_numbers(text: &str, rewritten: impl Fn(&str) -> Option<String>) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(byte) = bytes.get(at) {
        let length = match byte {
            b'"' => string_length(&bytes[at..]),
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|b| is_part(b)).count();
                if let Some(number) = rewritten(&text[at..at + length]) {
                    out.push_str(&text[copied..at]);
                    out.push_str(&number);
                    copied = at + length;
                }
                length
            }
            _ => 1,
        };
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Counts both quotes. A string without an end counts whole.
fn string_length(from_quote: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = from_quote.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    from_quote.len()
}

/// "one of `a`, `b`" and "`a` or `b`" as "a, b".
fn listed(names: &str) -> String {
    names
        .trim_start_matches("one of ")
        .replace("` or `", "`, `")
        .replace('`', "")
}

/// Describes a Rust type in JSON's terms, with a stand-in of that type. The range of a whole number
/// is named only if the sent number is whole. A number beyond an `i64` gets the nearest `i64`, so
/// that [`Fields::take_number`](crate::problem::Fields::take_number) can name the field's range.
fn in_json_terms(expected: &str, sent: Option<&str>) -> (String, Option<Value>) {
    let range: Option<(i128, i128)> = match expected {
        "u8" => Some((0, u8::MAX.into())),
        "u16" => Some((0, u16::MAX.into())),
        "u32" => Some((0, u32::MAX.into())),
        "u64" | "usize" => Some((0, u64::MAX.into())),
        "i8" => Some((i8::MIN.into(), i8::MAX.into())),
        "i16" => Some((i16::MIN.into(), i16::MAX.into())),
        "i32" => Some((i32::MIN.into(), i32::MAX.into())),
        "i64" | "isize" => Some((i64::MIN.into(), i64::MAX.into())),
        _ => None,
    };
    if let Some((min, max)) = range {
        let is_whole = |raw: &&str| value_of(raw).is_some_and(|value| is_whole(raw, value));
        return match sent.filter(is_whole) {
            Some(sent) => {
                let nearest = match expected {
                    "i64" if sent.starts_with('-') => i64::MIN,
                    "i64" => i64::MAX,
                    _ => 0,
                };
                let wanted = format!("a whole number from {min} to {max}");
                (wanted, Some(Value::from(nearest)))
            }
            None => ("a whole number".to_owned(), Some(Value::from(0))),
        };
    }
    let (wanted, stand_in) = match expected {
        "f32" | "f64" => ("a number", Value::from(0)),
        "a boolean" => ("true or false", Value::Bool(false)),
        "a string" | "string or map" => ("a string", Value::String(String::new())),
        "a sequence" => ("an array", Value::Array(Vec::new())),
        "a map" | "an object" => ("an object", Value::Object(serde_json::Map::new())),
        _ if expected.starts_with("struct ") => {
            ("an object", Value::Object(serde_json::Map::new()))
        }
        "unit" => return ("null".to_owned(), Some(Value::Null)),
        _ => return (expected.to_owned(), None),
    };
    (wanted.to_owned(), Some(stand_in))
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

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
