//! Parameter Store: `GetParameter` only.

use crate::wire::{Answer, Call};
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) fn answer(parameters: &BTreeMap<String, String>, call: &Call) -> Answer {
    if call.action != "GetParameter" {
        return Answer::unknown_operation(call);
    }
    let name = call.request["Name"].as_str().unwrap_or_default();
    match parameters.get(name) {
        Some(value) => Answer::ok(&json!({
            "Parameter": { "Name": name, "Type": "SecureString", "Value": value, "Version": 1 }
        })),
        None => Answer::error("ParameterNotFound", &format!("no parameter {name}")),
    }
}
