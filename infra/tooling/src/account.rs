//! What is deployed in an account and region: its stacks, functions and queues, all of them.

use serde_json::{Value, json};

use crate::aws::Aws;
use crate::error::{Context, Error, Result};

/// Every stack, as CloudFormation describes it.
pub fn stacks(aws: &Aws) -> Result<Vec<Value>> {
    aws.list("cloudformation", "DescribeStacks", "Stacks", json!({}))
        .context("listing the stacks")
}

/// What a stack was given for a parameter of its template.
pub fn stack_parameter<'a>(stack: &'a Value, key: &str) -> Option<&'a str> {
    stack["Parameters"]
        .as_array()?
        .iter()
        .find(|parameter| parameter["ParameterKey"] == key)?["ParameterValue"]
        .as_str()
}

/// Every function's configuration.
pub fn functions(aws: &Aws) -> Result<Vec<Value>> {
    aws.list("lambda", "ListFunctions", "Functions", json!({}))
        .context("listing the functions")
}

/// The URLs of the queues whose names begin with `prefix`, in order.
pub fn queues(aws: &Aws, prefix: &str) -> Result<Vec<String>> {
    // Without a size SQS answers with one page, and does not say that there is more.
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

/// Calls a function and waits. Its answer, or its error as an error.
pub fn invoke(aws: &Aws, function: &str, event: &Value) -> Result<Value> {
    let answer = aws
        .call(
            "lambda",
            "Invoke",
            json!({"FunctionName": function, "Payload": event.to_string()}),
        )
        .context(format!("calling {function}"))?;
    let payload = answer["Payload"].as_str().unwrap_or("null");
    match answer["FunctionError"].as_str() {
        None => serde_json::from_str(payload).context(format!("what {function} answered")),
        Some(kind) => Err(Error::new(format!("{function} failed ({kind}): {payload}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stack_was_given_is_found_by_its_key() {
        let stack = json!({"Parameters": [
            {"ParameterKey": "Prefix", "ParameterValue": "shop"},
            {"ParameterKey": "AuthJwks", "ParameterValue": "/shop/auth/jwks"},
        ]});
        assert_eq!(stack_parameter(&stack, "AuthJwks"), Some("/shop/auth/jwks"));
        assert_eq!(stack_parameter(&stack, "ApiId"), None);
        assert_eq!(stack_parameter(&json!({}), "ApiId"), None);
    }
}
