//! Making a registered user an administrator: the operator's path, for which the API has none.

use serde_json::json;

use crate::aws::Aws;
use crate::error::{Context, Error, Result};

/// Gives the role and returns the user's id. Doing it again changes nothing.
pub fn grant(aws: &Aws, prefix: &str, email: &str) -> Result<String> {
    let table = format!("{prefix}-users");
    let address = email.trim().to_ascii_lowercase();
    let entry = aws
        .call(
            "dynamodb",
            "GetItem",
            json!({
                "TableName": table,
                "Key": {"pk": {"S": format!("EMAIL#{address}")}, "sk": {"S": "EMAIL"}},
                "ConsistentRead": true,
            }),
        )
        .context(format!("looking up {address}"))?;
    let id = entry["Item"]["user_id"]["S"].as_str().context(format!(
        "nobody is registered as {address}; register first, then grant"
    ))?;
    let update = aws.call(
        "dynamodb",
        "UpdateItem",
        json!({
            "TableName": table,
            "Key": {"pk": {"S": format!("USER#{id}")}, "sk": {"S": "USER"}},
            "UpdateExpression": "SET #role = :admin",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#role": "role"},
            "ExpressionAttributeValues": {":admin": {"S": "admin"}},
        }),
    );
    match update {
        Ok(_) => Ok(id.to_owned()),
        Err(error) if error.code == "ConditionalCheckFailedException" => Err(Error::new(format!(
            "{address} leads to user {id}, who does not exist"
        ))),
        Err(error) => Err(error).context(format!("granting {address}")),
    }
}
