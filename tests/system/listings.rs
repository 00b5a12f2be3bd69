//! Listings of an account are read to their last page.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::world;

#[test]
fn a_listing_that_comes_in_pages_is_read_to_its_end() {
    let world = world();
    let _shared = world.shared();
    // Of its own: what was deployed from is not in the emulator any more once it was restarted.
    let bucket = format!("test-{}", Uuid::new_v4().simple());
    let request = json!({"Bucket": bucket});
    world.aws.call("s3", "CreateBucket", request).unwrap();
    for key in ["a", "b", "c"] {
        let request = json!({"Bucket": bucket, "Key": key, "Body": key});
        world.aws.call("s3", "PutObject", request).unwrap();
    }
    let functions = world.stack.name("");
    let logs = format!("/aws/lambda/{functions}");
    let listings = [
        (
            "lambda",
            "ListFunctions",
            "Functions",
            json!({}),
            "MaxItems",
        ),
        (
            "sqs",
            "ListQueues",
            "QueueUrls",
            json!({"QueueNamePrefix": functions}),
            "MaxResults",
        ),
        (
            "logs",
            "DescribeLogGroups",
            "logGroups",
            json!({"logGroupNamePrefix": logs}),
            "limit",
        ),
        (
            "s3",
            "ListObjectsV2",
            "Contents",
            json!({"Bucket": bucket}),
            "MaxKeys",
        ),
    ];
    for (service, operation, items, params, size) in listings {
        let whole = world.aws.call(service, operation, params.clone()).unwrap();
        let whole = whole[items].as_array().unwrap();
        assert!(whole.len() > 2, "{operation}: {whole:?}");
        let mut paged = params;
        paged[size] = json!(2);
        let page = world.aws.call(service, operation, paged.clone()).unwrap();
        assert_eq!(page[items].as_array().unwrap().len(), 2, "{operation}");
        let all: Vec<Value> = world.aws.list(service, operation, items, paged).unwrap();
        assert_eq!(all, *whole, "{operation}");
    }
}
