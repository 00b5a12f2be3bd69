//! Lists the stacks, functions and queues of an account and region.

use serde_json::{Value, json};

use crate::aws::Aws;
use crate::error::{Context, Error, Result};

pub fn stacks(aws: &Aws) -> Result<Vec<Value>> {
    aws.list("cloudformation", "DescribeStacks", "Stacks", json!({}))
        .context("listing the stacks")
}

/// The value of a stack's parameter.
pub fn stack_parameter<'a>(stack: &'a Value, key: &str) -> Option<&'a str> {
    stack["Parameters"]
        .as_array()?
        .iter()
        .find(|parameter| parameter["ParameterKey"] == key)?["ParameterValue"]
        .as_str()
}

pub fn functions(aws: &Aws) -> Result<Vec<Value>> {
    aws.list("lambda", "ListFunctions", "Functions", json!({}))
        .context("listing the functions")
}

/// The sorted URLs of the queues whose names begin with `prefix`.
pub fn queues(aws: &Aws, prefix: &str) -> Result<Vec<String>> {
    // Without a page size SQS returns one page and no token for the next.
    let params = json!({"QueueNamePrefix": prefix, "MaxResults": 1000});
    let listed = aws
        .list("sqs", "ListQueues", "QueueUrls", params)
        .context("listing the queues")?;
    let mut urls: Vec<String> = listed
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    urls.sort();
    Ok(urls)
}

/// The alias that every caller of a function uses.
pub const LIVE: &str = "live";

/// Calls what a function's alias serves, and waits for the answer.
pub fn invoke(aws: &Aws, function: &str, event: &Value) -> Result<Value> {
    let request =
        json!({"FunctionName": format!("{function}:{LIVE}"), "Payload": event.to_string()});
    let answer = aws
        .call("lambda", "Invoke", request)
        .context(format!("calling {function}"))?;
    let payload = answer["Payload"].as_str().unwrap_or("null");
    match answer["FunctionError"].as_str() {
        None => serde_json::from_str(payload).context(format!("the answer of {function}")),
        Some(kind) => Err(Error::new(format!("{function} failed ({kind}): {payload}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_parameter_is_found_by_its_key() {
        let stack = json!({"Parameters": [
            {"ParameterKey": "Prefix", "ParameterValue": "shop"},
            {"ParameterKey": "AuthJwks", "ParameterValue": "/shop/auth/jwks"},
        ]});
        assert_eq!(stack_parameter(&stack, "AuthJwks"), Some("/shop/auth/jwks"));
        assert_eq!(stack_parameter(&stack, "ApiId"), None);
        assert_eq!(stack_parameter(&json!({}), "ApiId"), None);
    }
}
