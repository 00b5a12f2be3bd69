//! The client's address, which only a trusted front may set.

use ring::digest::{SHA256, digest};
use shared_lambda::front::TrustedFront;
use shared_lambda::http::Request;

fn hash(secret: &str) -> String {
    let hash = digest(&SHA256, secret.as_bytes());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The source address of a request that reaches the gateway from an edge.
fn seen(front: &TrustedFront, secret: Option<&str>, viewer: Option<&str>) -> String {
    let mut request = Request::new().with_source_address("192.0.2.1");
    if let Some(secret) = secret {
        request = request.with_header("x-origin-verify", secret);
    }
    if let Some(viewer) = viewer {
        request = request.with_header("cloudfront-viewer-address", viewer);
    }
    let located = front.locate(request);
    located.source_address().unwrap().to_owned()
}

#[test]
fn a_front_with_the_secret_names_the_clients_address() {
    let front = TrustedFront::parse(&hash("s3cret")).unwrap();
    for (viewer, address) in [
        ("198.51.100.10:46532", "198.51.100.10"),
        (
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334:46532",
            "2001:db8:85a3::8a2e:370:7334",
        ),
        ("[2001:db8::1]:443", "2001:db8::1"),
    ] {
        assert_eq!(seen(&front, Some("s3cret"), Some(viewer)), address);
    }
}

#[test]
fn other_senders_cannot_set_the_address() {
    let front = TrustedFront::parse(&hash("s3cret")).unwrap();
    let viewer = Some("198.51.100.10:46532");
    let of_nothing = TrustedFront::parse(&hash("")).unwrap();
    for (front, secret) in [
        (&front, None),
        (&front, Some("")),
        (&front, Some("S3cret")),
        (&front, Some(&*hash("s3cret"))),
        (&front, Some("s3cret,s3cret")),
        (&TrustedFront::default(), None),
        (&TrustedFront::parse("").unwrap(), Some("")),
        (&of_nothing, None),
        (&of_nothing, Some("")),
    ] {
        assert_eq!(seen(front, secret, viewer), "192.0.2.1", "{secret:?}");
    }
}

#[test]
fn an_invalid_address_keeps_the_gateways() {
    let front = TrustedFront::parse(&hash("s3cret")).unwrap();
    for viewer in [
        None,
        Some(""),
        Some("198.51.100.10"),
        Some("198.51.100.10:"),
        Some("198.51.100.10:99999"),
        Some("2001:db8::1:x"),
        Some("example.com:80"),
        Some("198.51.100.10:1,203.0.113.9:2"),
    ] {
        assert_eq!(
            seen(&front, Some("s3cret"), viewer),
            "192.0.2.1",
            "{viewer:?}"
        );
    }
}

#[test]
fn both_secrets_are_trusted_during_a_rotation() {
    let hashes = format!("{},{}", hash("old"), hash("new").to_uppercase());
    let front = TrustedFront::parse(&hashes).unwrap();
    for secret in ["old", "new"] {
        let address = seen(&front, Some(secret), Some("198.51.100.10:1"));
        assert_eq!(address, "198.51.100.10");
    }
}

#[test]
fn an_invalid_hash_is_an_error_without_its_text() {
    for hashes in ["s3cret", &hash("a")[1..], &format!("{},x", hash("a")), "é"] {
        let error = TrustedFront::parse(hashes).unwrap_err().to_string();
        assert!(error.starts_with("TRUSTED_FRONT_SHA256 is not"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
