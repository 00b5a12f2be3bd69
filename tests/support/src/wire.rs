//! AWS's JSON protocols: reads requests into calls and writes answers.

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use std::sync::Arc;

const WRITES: [&str; 7] = [
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:TransactWriteItems",
    "dynamodb:BatchWriteItem",
    "sqs:SendMessage",
    "sqs:SendMessageBatch",
];

/// One HTTP request. A retried operation is several calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The IAM prefix of the service: `dynamodb`, `sqs` or `ssm`.
    pub service: &'static str,
    /// The action as IAM and the API name it: `PutItem`, `SendMessageBatch`, ...
    pub action: String,
    /// The distinct tables, queue URL or parameter.
    pub targets: Vec<String>,
    /// The request's whole JSON body.
    pub request: Arc<Value>,
    /// The body as text.
    pub(crate) text: Arc<str>,
}

impl Call {
    /// `service:action`, e.g. `dynamodb:TransactWriteItems`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.action)
    }

    /// Whether the call writes to a table or sends a message. Receiving and deleting messages do
    /// not count: the effect of their loss is a redelivery.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.name().as_str())
    }

    /// Table, `pk` and `sk` of every item that a DynamoDB write names.
    pub fn written_keys(&self) -> Vec<(String, String, String)> {
        let request = &self.request;
        let key = |write: &Value, member: &str| {
            let text = |name: &str| write[member][name]["S"].as_str().map(str::to_owned);
            let table = write["TableName"].as_str()?.to_owned();
            Some((table, text("pk")?, text("sk")?))
        };
        match self.action.as_str() {
            "PutItem" => key(request, "Item").into_iter().collect(),
            "UpdateItem" | "DeleteItem" => key(request, "Key").into_iter().collect(),
            "TransactWriteItems" => request["TransactItems"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|item| {
                    let (kind, write) = item.as_object()?.iter().next()?;
                    match kind.as_str() {
                        "Put" => key(write, "Item"),
                        "Update" | "Delete" => key(write, "Key"),
                        _ => None,
                    }
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The same request without its token, which DynamoDB forgets after ten minutes.
    #[must_use]
    pub fn without_token(&self) -> Call {
        let mut request = Value::clone(&self.request);
        if let Some(members) = request.as_object_mut() {
            members.remove("ClientRequestToken");
        }
        Call {
            text: request.to_string().into(),
            request: Arc::new(request),
            ..self.clone()
        }
    }

    /// Whether DynamoDB may answer this read from the past: eventually consistent reads, and every
    /// read of a global index.
    pub fn may_be_stale(&self) -> bool {
        if self.service != "dynamodb" {
            return false;
        }
        let is_current = |read: &Value| read["ConsistentRead"] == true;
        match self.action.as_str() {
            "GetItem" => !is_current(&self.request),
            "Query" | "Scan" => !is_current(&self.request) || self.request["IndexName"].is_string(),
            "BatchGetItem" => {
                let tables = self.request["RequestItems"].as_object();
                tables.is_some_and(|tables| !tables.values().any(is_current))
            }
            _ => false,
        }
    }

    pub(crate) fn read(request: &HttpRequest) -> Call {
        let target = request
            .headers()
            .get("x-amz-target")
            .unwrap_or_else(|| panic!("a request without x-amz-target: {}", request.uri()));
        let (service, action) = match target.split_once('.') {
            Some(("DynamoDB_20120810", action)) => ("dynamodb", action),
            Some(("AmazonSQS", action)) => ("sqs", action),
            Some(("AmazonSSM", action)) => ("ssm", action),
            _ => panic!("there is no stand-in for {target}"),
        };
        let body = request
            .body()
            .bytes()
            .expect("these protocols send the whole body at once");
        let text = std::str::from_utf8(body).expect("JSON is UTF-8");
        let request: Value =
            serde_json::from_str(text).expect("the SDK sends JSON to these services");
        Call {
            service,
            action: action.to_owned(),
            targets: targets(&request),
            request: Arc::new(request),
            text: text.into(),
        }
    }
}

/// All tables, queues and parameters that a request names.
fn targets(request: &Value) -> Vec<String> {
    let named = ["TableName", "QueueUrl", "Name"]
        .iter()
        .filter_map(|member| request[*member].as_str());
    let in_transaction = request["TransactItems"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_object()?.values().next()?["TableName"].as_str());
    let in_batch = request["RequestItems"]
        .as_object()
        .into_iter()
        .flat_map(|tables| tables.keys().map(String::as_str));

    let mut targets: Vec<String> = Vec::new();
    for name in named.chain(in_transaction).chain(in_batch) {
        if !targets.iter().any(|known| known == name) {
            targets.push(name.to_owned());
        }
    }
    targets
}

/// An answer: a status and a JSON body.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: String,
    query_error: Option<String>,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Answer {
        Answer::json(200, body.to_string())
    }

    pub(crate) fn json(status: u16, body: String) -> Answer {
        Answer {
            status,
            body,
            query_error: None,
        }
    }

    /// A 400 with the service's error shape, e.g. `com.amazonaws.sqs#RequestThrottled`.
    pub(crate) fn error(shape: &str, message: &str) -> Answer {
        Answer::json(
            400,
            json!({ "__type": shape, "message": message }).to_string(),
        )
    }

    /// Adds the header with the query protocol's error name, from which the SDK takes the error's
    /// code.
    pub(crate) fn with_query_error(self, code: &str) -> Answer {
        Answer {
            query_error: Some(format!("{code};Sender")),
            ..self
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// The body as a value.
    pub(crate) fn says(&self) -> Value {
        serde_json::from_str(&self.body).expect("these services answer in JSON")
    }

    pub(crate) fn unknown_operation(call: &Call) -> Answer {
        Answer::error(
            "com.amazon.coral.service#UnknownOperationException",
            &format!("the stand-in does not know {}", call.name()),
        )
    }

    pub(crate) fn into_response(self) -> HttpResponse {
        let status = self
            .status
            .try_into()
            .expect("the stand-ins answer with real statuses");
        let mut response = HttpResponse::new(status, SdkBody::from(self.body));
        response
            .headers_mut()
            .insert("content-type", "application/x-amz-json-1.0");
        if let Some(query_error) = self.query_error {
            response
                .headers_mut()
                .insert("x-amzn-query-error", query_error);
        }
        response
    }
}
