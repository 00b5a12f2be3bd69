//! Signature Version 4 of a request (IAM User Guide, "Create a signed AWS API request").

use jiff::Timestamp;
use ring::{digest, hmac};

use super::wire::{Request, encoded};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[derive(Clone)]
pub struct Credentials {
    id: String,
    secret: String,
    token: Option<String>,
}

impl Credentials {
    pub fn new(id: &str, secret: &str, token: Option<&str>) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: token.map(str::to_owned),
        }
    }
}

/// All headers of the signed request.
pub(super) fn headers(
    request: &Request,
    endpoint: &str,
    region: &str,
    credentials: &Credentials,
) -> Vec<(String, String)> {
    signed(request, endpoint, region, credentials, Timestamp::now())
}

fn signed(
    request: &Request,
    endpoint: &str,
    region: &str,
    credentials: &Credentials,
    now: Timestamp,
) -> Vec<(String, String)> {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let body = hex(digest::digest(&digest::SHA256, request.body.as_bytes()).as_ref());
    let mut headers = request.headers.clone();
    headers.extend([
        ("host".to_owned(), host.to_owned()),
        ("x-amz-content-sha256".to_owned(), body.clone()),
        ("x-amz-date".to_owned(), time.clone()),
    ]);
    if let Some(token) = &credentials.token {
        headers.push(("x-amz-security-token".to_owned(), token.clone()));
    }
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    // Every service but S3 encodes the path twice.
    let path = match request.service {
        "s3" => request.path.clone(),
        _ => encoded(&request.path, "/"),
    };
    let Request { method, query, .. } = request;
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    let scope = format!("{}/{region}/{}/aws4_request", &time[..8], request.service);
    let to_sign = format!(
        "{ALGORITHM}\n{time}\n{scope}\n{}",
        hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    );
    let mut key = format!("AWS4{}", credentials.secret).into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &to_sign));
    let id = &credentials.id;
    headers.push((
        "authorization".to_owned(),
        format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    ));
    // The client sets this header itself.
    headers.retain(|(name, _)| name != "host");
    headers
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::aws::wire;

    /// The expected signature is botocore's.
    #[test]
    fn a_signature_equals_botocores() {
        let request = wire::request(
            "lambda",
            "Invoke",
            &json!({"FunctionName": "arn:aws:lambda:x", "Payload": "{}"}),
        )
        .expect("a request");
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", Some("session"));
        let headers = signed(
            &request,
            "https://lambda.eu-west-1.amazonaws.com",
            "eu-west-1",
            &credentials,
            Timestamp::from_second(1_440_938_160).expect("a time"),
        );
        let (_, authorization) = headers.last().expect("headers");
        let scope = "AKIDEXAMPLE/20150830/eu-west-1/lambda/aws4_request";
        let names = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        let signature = "d4850c8d5b658bfd64b5ede9fab65453e89d512af7f2f0e3e9c3aa8c7bb2c2c0";
        assert_eq!(
            *authorization,
            format!("{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}")
        );
    }
}
