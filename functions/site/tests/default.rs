//! Mistakes in methods and paths, and the health of the API.

use shared_lambda::Setup;
use site::handlers::default::wire;
use test_support::Aws;
use test_support::template::workspace_root;

use super::*;

const PAYMENT: &str = "/api/v1/payments/01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    for path in [
        "/",
        "//",
        "/api/v1/item",
        "/api/v1//items",
        "/api/v1/items/a/b",
        "/api/v1/payments/",
        "/api/v1/items//adjustments",
        "/api/v1/items//",
        "/no-such-path?cursor=a&cursor=b",
        "/no\u{7f}such\r\npath/",
        // Known paths with a slash, whose location would be unsure or another path.
        "/api/v1/items/a%25b/",
        "/api/v1/items/a%b/",
        "/api/v1/items/%2e%2e/",
        "/api/v1/items/../",
        "/api/v1/items/./",
        "/api/v1/items/../adjustments/",
        "/api/v1/items/\\example.com/",
        "/api/v1/items/tea grün/",
    ] {
        for method in ["GET", "POST", "OPTIONS", "BREW"] {
            let response = answer(method, path, &[]).await;
            assert_eq!(response.status, 404, "{method} {path}");
            assert_eq!(
                response.header("content-type"),
                Some("application/problem+json")
            );
            assert_eq!(body(&response)["status"], 404, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for (path, allow) in [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/api/v1/items", "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/orders", "GET, HEAD, OPTIONS, POST"),
        // The paths of a user and of the caller both fit.
        ("/api/v1/users/me", "GET, HEAD, OPTIONS, PATCH"),
        ("/api/v1/users/me/password", "OPTIONS, POST"),
        (PAYMENT, "GET, HEAD, OPTIONS"),
    ] {
        for method in ["DELETE", "TRACE", "get"] {
            let response = answer(method, path, &[]).await;
            assert_eq!(response.status, 405, "{method} {path}");
            assert_eq!(response.header("allow"), Some(allow), "{path}");
            let problem = body(&response);
            assert!(
                problem["type"]
                    .as_str()
                    .unwrap()
                    .ends_with("method-not-allowed")
            );
            assert_eq!(problem["detail"], format!("this path takes {allow}"));
        }
        let options = answer("OPTIONS", path, &[]).await;
        assert_eq!(
            (options.status, options.body.as_ref()),
            (204, None),
            "{path}"
        );
        assert_eq!(options.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_slash_behind_a_known_path_leads_to_the_path() {
    for (sent, location) in [
        ("/health/", "../health"),
        ("/api/v1/items/", "../items"),
        (
            "/api/v1/items/?limit=2&cursor=%20a",
            "../items?limit=2&cursor=%20a",
        ),
        ("/api/v1/items/MUG-01.a_b/", "../MUG-01.a_b"),
        ("/api/v1/items/.../", "../..."),
        ("/api/v1/items/cup/adjustments/", "../adjustments"),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let response = answer(method, sent, &[]).await;
            assert_eq!(response.status, 308, "{method} {sent}");
            assert_eq!(response.header("location"), Some(location), "{sent}");
        }
    }
}

#[tokio::test]
async fn the_health_names_version_and_stage() {
    for path in ["/health", "/health?probe=1&probe=2"] {
        let response = answer("GET", path, &[]).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let version = env!("CARGO_PKG_VERSION");
        let expected = json!({"status": "ok", "version": version, "stage": "staging"});
        assert_eq!(body(&response), expected);
    }
    let head = answer("HEAD", "/health", &[]).await;
    assert_eq!((head.status, head.body.as_ref()), (200, None));
    let length = answer("GET", "/health", &[]).await.body.unwrap().len();
    assert_eq!(
        head.header("content-length"),
        Some(length.to_string().as_str())
    );
}

#[test]
fn an_unknown_stage_is_refused() {
    let setup = Setup::for_tests(Aws::new(), &[("STAGE", "prod")]);
    let error = wire(&setup).err().unwrap().to_string();
    assert!(error.contains("\"prod\""), "{error}");
}

#[tokio::test]
async fn every_described_path_answers() {
    let text = std::fs::read_to_string(workspace_root().join("functions/site/openapi.yaml"));
    let document: Value = serde_yaml_ng::from_str(&text.unwrap()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(item.as_object().unwrap().keys().eq(["get"]), "{path}");
        let response = answer("GET", path, &[]).await;
        assert_eq!(response.status, 200, "{path}");
        let described = item["get"]["responses"]["200"]["content"]
            .as_object()
            .unwrap();
        let sent = response.header("content-type").unwrap();
        let sent = sent.split(';').next().unwrap();
        assert!(described.keys().eq([sent]), "{path}: {sent}");
    }
}
