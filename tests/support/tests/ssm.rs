//! Reads parameters as the functions do: with signed requests, without an SDK client.

use super::*;
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

async fn get_parameter(aws: &Aws, name: &str) -> (u16, Value) {
    let body = json!({ "Name": name, "WithDecryption": true });
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request
        .headers_mut()
        .insert("x-amz-target", "AmazonSSM.GetParameter");
    let response = aws.call(request).await.unwrap();
    let body = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
    (response.status().as_u16(), body)
}

#[tokio::test]
async fn only_a_set_parameter_is_found() {
    let aws = Aws::new();
    aws.set_parameter("/waybill/auth/signing-key", "secret");
    let (status, found) = get_parameter(&aws, "/waybill/auth/signing-key").await;
    assert_eq!(
        (status, &found["Parameter"]["Value"]),
        (200, &json!("secret"))
    );
    let (status, missing) = get_parameter(&aws, "/waybill/auth/other").await;
    assert_eq!(
        (status, &missing["__type"]),
        (400, &json!("ParameterNotFound"))
    );
    assert_eq!(aws.calls()[0].targets, ["/waybill/auth/signing-key"]);
}
