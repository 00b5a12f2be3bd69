//! Pages: encodings, tags and caches.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use site::pages::PAGES;

use super::*;

fn plain(response: &Response) -> String {
    let body = response.body.clone().unwrap();
    if !response.is_base64 {
        return body;
    }
    let mut text = String::new();
    let bytes = STANDARD.decode(body).unwrap();
    GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[tokio::test]
async fn every_page_has_two_encodings_of_one_text() {
    assert!(!PAGES.is_empty());
    for page in PAGES {
        let whole = answer("GET", page.path, &[]).await;
        assert_eq!(
            (whole.status, whole.is_base64),
            (200, false),
            "{}",
            page.path
        );
        assert_eq!(whole.header("content-encoding"), None);
        let small = answer("GET", page.path, &[("accept-encoding", "br, gzip;q=0.5")]).await;
        assert_eq!(
            (small.status, small.is_base64),
            (200, true),
            "{}",
            page.path
        );
        assert_eq!(small.header("content-encoding"), Some("gzip"));
        assert_eq!(plain(&small), plain(&whole), "{}", page.path);
        assert_ne!(small.header("etag"), whole.header("etag"));
        for response in [&whole, &small] {
            assert_eq!(response.header("vary"), Some("accept-encoding"));
            // Browsers ask for each page again, and get 304.
            assert_eq!(response.header("cache-control"), Some("no-cache"));
            let is_html = response
                .header("content-type")
                .unwrap()
                .starts_with("text/html");
            let policy = response.header("content-security-policy");
            assert_eq!(
                policy.is_some_and(|policy| policy.starts_with("default-src 'none'")),
                is_html
            );
        }
        // The gateway puts an end to answers of more than 6 MB (Lambda quotas).
        assert!(whole.body.unwrap().len() < 6_000_000, "{}", page.path);
    }
}

#[tokio::test]
async fn gzip_is_sent_only_where_it_is_accepted() {
    for (accepted, expected) in [
        ("gzip", true),
        ("GZIP", true),
        ("deflate, gzip;q=1.0, *;q=0.5", true),
        ("gzip; q=0.001", true),
        ("gzip;q=0", false),
        ("gzip; q=0.0", false),
        ("gzip;q=x", false),
        ("br", false),
        ("*", false),
        ("", false),
    ] {
        let response = answer("GET", "/openapi.json", &[("accept-encoding", accepted)]).await;
        assert_eq!(response.is_base64, expected, "{accepted}");
    }
}

#[tokio::test]
async fn a_page_that_the_client_has_is_not_sent_again() {
    let path = "/openapi.json";
    let whole = answer("GET", path, &[]).await;
    let tag = whole.header("etag").unwrap();
    for sent in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        for method in ["GET", "HEAD"] {
            let response = answer(method, path, &[("if-none-match", sent)]).await;
            assert_eq!(
                (response.status, response.body.as_ref()),
                (304, None),
                "{sent}"
            );
            // RFC 9110 §15.4.5.
            for name in ["etag", "vary", "cache-control"] {
                assert_eq!(response.header(name), whole.header(name), "{name}");
            }
            assert_eq!(response.header("content-length"), None);
        }
    }
    for sent in ["\"other\"", &tag.to_uppercase()] {
        let response = answer("GET", path, &[("if-none-match", sent)]).await;
        assert_eq!(response.status, 200, "{sent}");
    }
    let gzip = [("accept-encoding", "gzip"), ("if-none-match", tag)];
    assert_eq!(answer("GET", path, &gzip).await.status, 200);
}

#[tokio::test]
async fn the_head_of_a_page_has_the_length_of_its_bytes() {
    for headers in [&[][..], &[("accept-encoding", "gzip")]] {
        let get = answer("GET", "/openapi.json", headers).await;
        let head = answer("HEAD", "/openapi.json", headers).await;
        let body = get.body.clone().unwrap();
        let length = match get.is_base64 {
            true => STANDARD.decode(body).unwrap().len(),
            false => body.len(),
        };
        let mut expected = get.headers.clone();
        expected.push(("content-length", length.to_string()));
        assert_eq!((head.headers, head.body), (expected, None));
    }
}
