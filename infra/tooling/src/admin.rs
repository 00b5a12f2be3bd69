//! Makes registered users administrators. Only operators can do this; the API cannot.

use serde::Serialize;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::error::{Context, Error, Result};

/// Makes a user an administrator and returns the user's id. A repeat changes nothing.
pub fn grant(aws: &Aws, prefix: &str, email: &str) -> Result<String> {
    give(aws, prefix, email, "admin")
}

/// Makes a user a customer and returns the user's id.
pub fn revoke(aws: &Aws, prefix: &str, email: &str) -> Result<String> {
    give(aws, prefix, email, "customer")
}

fn give(aws: &Aws, prefix: &str, email: &str, role: &str) -> Result<String> {
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
    let id = entry["Item"]["user_id"]["S"]
        .as_str()
        .context(format!("no user is registered as {address}"))?;
    let update = aws.call(
        "dynamodb",
        "UpdateItem",
        json!({
            "TableName": table,
            "Key": {"pk": {"S": format!("USER#{id}")}, "sk": {"S": "USER"}},
            "UpdateExpression": "SET #role = :role",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#role": "role"},
            "ExpressionAttributeValues": {":role": {"S": role}},
        }),
    );
    match update {
        Ok(_) => Ok(id.to_owned()),
        Err(error) if error.code == "ConditionalCheckFailedException" => Err(Error::new(format!(
            "{address} belongs to user {id}, who does not exist"
        ))),
        Err(error) => Err(error).context(format!("giving {address} the role {role}")),
    }
}

#[derive(Debug, Serialize)]
pub struct Admin {
    pub id: String,
    pub email: String,
    pub status: String,
}

/// Every administrator, by a scan of the table.
pub fn list(aws: &Aws, prefix: &str) -> Result<Vec<Admin>> {
    let mut request = json!({
        "TableName": format!("{prefix}-users"),
        "FilterExpression": "sk = :user AND #role = :admin",
        "ExpressionAttributeNames": {"#role": "role"},
        "ExpressionAttributeValues": {":user": {"S": "USER"}, ":admin": {"S": "admin"}},
    });
    let mut admins = Vec::new();
    loop {
        let mut page = aws
            .call("dynamodb", "Scan", request.clone())
            .context("reading the table of users")?;
        for row in page["Items"].as_array().into_iter().flatten() {
            let text = |value: &Value| value["S"].as_str().unwrap_or_default().to_owned();
            admins.push(Admin {
                id: text(&row["pk"]).replacen("USER#", "", 1),
                email: text(&row["email"]),
                status: text(&row["status"]),
            });
        }
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"].take();
        if request["ExclusiveStartKey"].is_null() {
            return Ok(admins);
        }
    }
}
