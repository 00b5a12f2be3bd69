//! Listings of an account are read to their last page.

use serde_json::{Value, json};

use crate::world::world;

#[test]
fn a_listing_that_comes_in_pages_is_read_to_its_end() {
    let world = world();
    // Other tests make and delete functions.
    let _alone = world.alone();
    let buckets = world.aws.call("s3", "ListBuckets", json!({})).unwrap();
    let bucket = &buckets["Buckets"][0]["Name"];
    // Objects of its own: the emulator forgets what a bucket held when it is restarted.
    for number in 0..5 {
        let key = format!("listings/{number}");
        let object = json!({"Bucket": bucket, "Key": key, "Body": "listed"});
        world.aws.call("s3", "PutObject", object).unwrap();
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
            json!({"Bucket": bucket, "Prefix": "listings/"}),
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
        // By name: what else is said of a thing changes while it is in use.
        let names = |things: &[Value]| things.iter().map(name).collect::<Vec<_>>();
        assert_eq!(names(&all), names(whole), "{operation}");
    }
}

fn name(thing: &Value) -> Value {
    ["FunctionName", "logGroupName", "Key"]
        .iter()
        .find_map(|field| thing.get(field))
        .unwrap_or(thing)
        .clone()
}
