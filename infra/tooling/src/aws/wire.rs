//! Encodes requests and decodes answers in each service's protocol.

use serde_json::{Value, json};

use super::AwsError;
use crate::http::Response;

/// A request to be signed and sent.
pub(super) struct Request {
    pub service: &'static str,
    pub operation: String,
    pub method: &'static str,
    /// Percent-encoded.
    pub path: String,
    /// Percent-encoded and sorted.
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    protocol: Protocol,
}

#[derive(Clone, Copy)]
enum Protocol {
    /// JSON in both directions; a header names the operation.
    Json {
        version: &'static str,
        target: &'static str,
    },
    /// A form as request, XML as answer.
    Query { version: &'static str },
    /// REST paths, JSON.
    Lambda,
    /// REST paths, XML.
    S3,
}

impl Request {
    pub fn target(&self) -> String {
        match self.query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, self.query),
        }
    }
}

/// The DNS suffix of a region's partition.
pub(super) fn domain(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "amazonaws.com.cn",
        Some(("eusc", _)) => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// The parameter that requests the next page, and the field that holds its token.
pub(super) fn page_tokens(service: &str) -> (&'static str, &'static str) {
    match service {
        "lambda" => ("Marker", "NextMarker"),
        "logs" => ("nextToken", "nextToken"),
        "s3" => ("ContinuationToken", "NextContinuationToken"),
        _ => ("NextToken", "NextToken"),
    }
}

fn service_named(name: &str) -> Option<(&'static str, Protocol)> {
    let json = |version, target| Protocol::Json { version, target };
    Some(match name {
        "dynamodb" => ("dynamodb", json("1.0", "DynamoDB_20120810")),
        "sqs" => ("sqs", json("1.0", "AmazonSQS")),
        "ssm" => ("ssm", json("1.1", "AmazonSSM")),
        "kms" => ("kms", json("1.1", "TrentService")),
        "logs" => ("logs", json("1.1", "Logs_20140328")),
        "sts" => (
            "sts",
            Protocol::Query {
                version: "2011-06-15",
            },
        ),
        "cloudformation" => (
            "cloudformation",
            Protocol::Query {
                version: "2010-05-15",
            },
        ),
        "lambda" => ("lambda", Protocol::Lambda),
        "s3" => ("s3", Protocol::S3),
        _ => return None,
    })
}

pub(super) fn request(service: &str, operation: &str, params: &Value) -> Result<Request, AwsError> {
    let unknown = || AwsError::new("UnknownOperation", format!("{service} {operation}"));
    let (service, protocol) = service_named(service).ok_or_else(unknown)?;
    let mut request = Request {
        service,
        operation: operation.to_owned(),
        method: "POST",
        path: "/".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: String::new(),
        protocol,
    };
    let mut header = |name: &str, value: String| request.headers.push((name.to_owned(), value));
    match protocol {
        Protocol::Json { version, target } => {
            header("content-type", format!("application/x-amz-json-{version}"));
            header("x-amz-target", format!("{target}.{operation}"));
            request.body = params.to_string();
        }
        Protocol::Query { version } => {
            header(
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            );
            let mut fields = vec![
                ("Action".to_owned(), operation.to_owned()),
                ("Version".to_owned(), version.to_owned()),
            ];
            flatten("", params, &mut fields);
            request.body = form(fields);
        }
        Protocol::Lambda => {
            header("content-type", "application/json".to_owned());
            let (method, path) = lambda(operation).ok_or_else(unknown)?;
            rest(&mut request, method, path, params);
        }
        Protocol::S3 => {
            let (method, path) = match operation {
                "ListBuckets" => ("GET", "/"),
                "CreateBucket" => ("PUT", "/{Bucket}"),
                "PutObject" => ("PUT", "/{Bucket}/{Key}"),
                "DeleteObject" => ("DELETE", "/{Bucket}/{Key}"),
                "ListObjectsV2" => ("GET", "/{Bucket}?list-type=2"),
                _ => return Err(unknown()),
            };
            rest(&mut request, method, path, params);
        }
    }
    Ok(request)
}

fn lambda(operation: &str) -> Option<(&'static str, &'static str)> {
    Some(match operation {
        "ListFunctions" => ("GET", "/2015-03-31/functions"),
        "Invoke" => ("POST", "/2015-03-31/functions/{FunctionName}/invocations"),
        "GetFunctionConfiguration" => ("GET", "/2015-03-31/functions/{FunctionName}/configuration"),
        "UpdateFunctionConfiguration" => {
            ("PUT", "/2015-03-31/functions/{FunctionName}/configuration")
        }
        "UpdateFunctionCode" => ("PUT", "/2015-03-31/functions/{FunctionName}/code"),
        "PublishVersion" => ("POST", "/2015-03-31/functions/{FunctionName}/versions"),
        "GetAlias" => ("GET", "/2015-03-31/functions/{FunctionName}/aliases/{Name}"),
        "UpdateAlias" => ("PUT", "/2015-03-31/functions/{FunctionName}/aliases/{Name}"),
        "GetFunctionConcurrency" => ("GET", "/2019-09-30/functions/{FunctionName}/concurrency"),
        "PutFunctionConcurrency" => ("PUT", "/2017-10-31/functions/{FunctionName}/concurrency"),
        "DeleteFunctionConcurrency" => {
            ("DELETE", "/2017-10-31/functions/{FunctionName}/concurrency")
        }
        "ListEventSourceMappings" => ("GET", "/2015-03-31/event-source-mappings"),
        "GetEventSourceMapping" => ("GET", "/2015-03-31/event-source-mappings/{UUID}"),
        "UpdateEventSourceMapping" => ("PUT", "/2015-03-31/event-source-mappings/{UUID}"),
        "GetAccountSettings" => ("GET", "/2016-08-19/account-settings"),
        _ => return None,
    })
}

/// Fills the path's placeholders. The other parameters go into the query of a GET or into the body;
/// `Payload` and `Body` are the body.
fn rest(request: &mut Request, method: &'static str, path: &str, params: &Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut fields: Vec<(String, String)> = query
        .split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    let mut path = path.to_owned();
    let mut body = json!({});
    for (name, value) in params.as_object().into_iter().flatten() {
        let slot = format!("{{{name}}}");
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        if path.contains(&slot) {
            path = path.replace(&slot, &encoded(&text, if name == "Key" { "/" } else { "" }));
        } else if ["Payload", "Body"].contains(&name.as_str()) {
            request.body = text;
        } else if method == "GET" {
            // S3's query parameters are in lower case with dashes.
            let name = match (request.service, name.as_str()) {
                ("s3", "MaxKeys") => "max-keys".to_owned(),
                ("s3", "Prefix") => "prefix".to_owned(),
                ("s3", "ContinuationToken") => "continuation-token".to_owned(),
                _ => name.clone(),
            };
            fields.push((name, text));
        } else {
            body[name] = value.clone();
        }
    }
    if body != json!({}) {
        request.body = body.to_string();
    }
    (request.method, request.path, request.query) = (method, path, form(fields));
}

/// Encodes `{"Tags": [{"Key": "a"}]}` as `Tags.member.1.Key=a`.
fn flatten(name: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let below = |part: &str| match name {
        "" => part.to_owned(),
        _ => format!("{name}.{part}"),
    };
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                flatten(&below(key), value, fields);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&below(&format!("member.{}", at + 1)), item, fields);
            }
        }
        Value::String(text) => fields.push((name.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            fields.push((name.to_owned(), value.to_string()));
        }
    }
}

/// Encodes a form, sorted as signatures need it.
fn form(fields: Vec<(String, String)>) -> String {
    let mut fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name, ""), encoded(value, "")))
        .collect();
    fields.sort();
    fields.join("&")
}

/// Percent-encodes a text as signatures need it (RFC 3986), except the characters of `kept`.
pub(super) fn encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric()
            || "-._~".contains(character)
            || kept.contains(character)
        {
            encoded.push(character);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(super) fn answer(request: &Request, answer: &Response) -> Result<Value, AwsError> {
    let is_xml = matches!(request.protocol, Protocol::Query { .. } | Protocol::S3);
    if answer.status >= 300 {
        // A proxy may answer in another format.
        let body = match is_xml {
            true => xml(&answer.body).unwrap_or_default(),
            false => answer.value(),
        };
        return Err(refusal(answer, &body));
    }
    if request.operation == "Invoke" {
        return Ok(match answer.header("x-amz-function-error") {
            None => json!({"Payload": answer.body}),
            Some(kind) => json!({"Payload": answer.body, "FunctionError": kind}),
        });
    }
    let body = match is_xml {
        true => xml(&answer.body),
        false => json(&answer.body),
    };
    // An invalid answer must not look like an empty one.
    let invalid = |why| AwsError::new("InvalidAnswer", format!("{} with {why}", answer.status));
    Ok(match body.map_err(invalid)? {
        Value::Null => json!({}),
        mut body => match body.get_mut(format!("{}Result", request.operation)) {
            Some(result) => result.take(),
            None => body,
        },
    })
}

/// Services name their errors in four different ways.
fn refusal(answer: &Response, body: &Value) -> AwsError {
    let error = match body.get("Error") {
        Some(error) => error,
        None => body,
    };
    let code = answer
        .header("x-amzn-query-error")
        .or(answer.header("x-amzn-errortype"))
        .or(error["Code"].as_str())
        .or(error["__type"].as_str())
        .or(error["code"].as_str());
    let code = match code {
        Some(code) => code.to_owned(),
        None if answer.status >= 500 => format!("Internal{}", answer.status),
        None => answer.status.to_string(),
    };
    let code = code.split([':', ';']).next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let message = ["message", "Message"]
        .iter()
        .find_map(|name| error[name].as_str())
        .unwrap_or(&answer.body);
    AwsError::new(code, message)
}

fn json(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| format!("a body that is not JSON: {error}"))
}

/// Converts XML to JSON. Elements named `member` or `Bucket` form a list.
fn xml(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let document = roxmltree::Document::parse(text)
        .map_err(|error| format!("a body that is not XML: {error}"))?;
    Ok(element(document.root_element()))
}

fn element(node: roxmltree::Node<'_, '_>) -> Value {
    let mut children = node
        .children()
        .filter(roxmltree::Node::is_element)
        .peekable();
    if children.peek().is_none() {
        return Value::String(node.text().unwrap_or_default().to_owned());
    }
    let mut members = json!({});
    let mut list = Vec::new();
    for child in children {
        let name = child.tag_name().name();
        let value = element(child);
        if ["member", "Bucket"].contains(&name) {
            list.push(value);
            continue;
        }
        match members.get_mut(name) {
            None => members[name] = value,
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    if list.is_empty() {
        members
    } else {
        Value::Array(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_becomes_json() {
        let text = "<R><Op><Stacks><member><StackName>a&amp;b</StackName><Outputs/></member></Stacks>\
                    </Op></R>";
        let output = xml(text).expect("it is XML");
        assert_eq!(
            output,
            json!({"Op": {"Stacks": [{"StackName": "a&b", "Outputs": ""}]}})
        );
    }

    fn answered(
        service: &str,
        operation: &str,
        status: u16,
        body: &str,
    ) -> Result<Value, AwsError> {
        let request = request(service, operation, &json!({})).expect("a request");
        let response = Response {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        answer(&request, &response)
    }

    #[test]
    fn an_invalid_answer_is_an_error() {
        const PAGE: &str = "<html><p>Sign in to this network";
        for (service, operation) in [
            ("dynamodb", "Scan"),
            ("lambda", "ListFunctions"),
            ("sts", "GetCallerIdentity"),
            ("s3", "ListBuckets"),
        ] {
            let error = answered(service, operation, 200, PAGE).expect_err("it is no answer");
            assert_eq!(error.code, "InvalidAnswer");
            assert!(error.message.starts_with("200 with a body"), "{error}");
            let empty = answered(service, operation, 200, "").expect("an empty answer");
            assert_eq!(empty, json!({}), "{service}");
        }
        let payload = answered("lambda", "Invoke", 200, "not JSON").expect("a payload");
        assert_eq!(payload, json!({"Payload": "not JSON"}));
    }

    #[test]
    fn a_foreign_error_page_is_named_by_its_status() {
        for body in [
            "<html><p>Bad Gateway",
            "<html><p>Bad Gateway</p></html>",
            "Bad Gateway",
            "",
        ] {
            for (service, operation) in [("dynamodb", "Scan"), ("s3", "ListBuckets")] {
                let error = answered(service, operation, 502, body).expect_err("a refusal");
                assert_eq!(error.code, "Internal502", "{service}: {body}");
                assert!(error.is_transient());
            }
            let error = answered("sts", "GetCallerIdentity", 403, body).expect_err("a refusal");
            assert_eq!(error.code, "403", "{body}");
        }
    }

    #[test]
    fn a_form_encodes_lists() {
        let params = json!({"StackName": "s", "Parameters": [{"ParameterKey": "K", "ParameterValue": "a b"}]});
        let request = request("cloudformation", "UpdateStack", &params).expect("a request");
        assert_eq!(
            request.body,
            "Action=UpdateStack&Parameters.member.1.ParameterKey=K&\
             Parameters.member.1.ParameterValue=a%20b&StackName=s&Version=2010-05-15"
        );
    }

    #[test]
    fn error_codes_are_those_of_aws() {
        let output = |headers: &[(&str, &str)], body: &str| {
            let headers = headers
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            let answer = Response {
                status: 400,
                headers: headers.collect(),
                body: body.to_owned(),
            };
            let body = answer.value();
            refusal(&answer, &body).to_string()
        };
        let json =
            r#"{"__type": "com.amazonaws.dynamodb#ResourceNotFoundException", "message": "no"}"#;
        assert_eq!(output(&[], json), "ResourceNotFoundException: no");
        let lambda = [("x-amzn-errortype", "ResourceNotFoundException:http://x/")];
        assert_eq!(
            output(&lambda, r#"{"Message": "no"}"#),
            "ResourceNotFoundException: no"
        );
        let sqs = [(
            "x-amzn-query-error",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        )];
        let code = "AWS.SimpleQueueService.NonExistentQueue: no";
        assert_eq!(output(&sqs, r#"{"message": "no"}"#), code);
    }
}
