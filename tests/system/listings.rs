//! Listings of an account are read to their last page.

use serde_json::{Value, json};

use crate::world::world;

#[test]
fn a_listing_that_comes_in_pages_is_read_to_its_end() {
    let world = world();
    let _shared = world.shared();
    let buckets = world.aws.call("s3", "ListBuckets", json!({})).unwrap();
    let bucket = &buckets["Buckets"][0]["Name"];
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
