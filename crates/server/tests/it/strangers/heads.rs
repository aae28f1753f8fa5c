//! Invalid request heads are refused in the usual shape, whichever layer detects them.

use serde_json::Value;

use crate::support::{Answer, Raw, Streams, home};

async fn answer_to(said: &str) -> Answer {
    Raw::saying(&home().base, said).await.answer().await
}

#[tokio::test]
async fn a_request_of_http_1_1_names_one_host() {
    for path in ["/healthz", "/v1/contacts", "/login", "/nowhere"] {
        answer_to(&format!("GET {path} HTTP/1.1\r\n\r\n")).await.fault(400, "invalid_request");
        answer_to(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")).await.fault(400, "invalid_request");
    }
    assert_eq!(answer_to("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.code, 200);
    assert_eq!(answer_to("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n").await.code, 200);
    assert_eq!(answer_to("GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.code, 200);
    assert_eq!(answer_to("GET /healthz HTTP/1.0\r\n\r\n").await.code, 200);
}

#[tokio::test]
async fn a_query_or_header_too_large_is_said_in_the_usual_shape() {
    let large = "x".repeat(70_000);
    answer_to(&format!("GET /v1/contacts?email={large} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await
        .fault(414, "head_too_large");
    answer_to(&format!("GET /v1/contacts HTTP/1.1\r\nHost: a\r\nX-Long: {large}\r\n\r\n"))
        .await
        .fault(431, "head_too_large");
    for size in [140_000, 2_000_000] {
        let large = "x".repeat(size);
        let answer = answer_to(&format!("GET /v1/contacts HTTP/1.1\r\nHost: a\r\nX-Long: {large}\r\n\r\n")).await;
        answer.fault(431, "head_too_large");
        let answer = answer_to(&format!("GET /v1/contacts?email={large} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(matches!(answer.code, 414 | 431), "{answer:?}");
        answer.fault(answer.code, "head_too_large");
    }
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    answer_to(&format!("GET /v1/contacts HTTP/1.1\r\nHost: a\r\n{many}\r\n")).await.fault(431, "head_too_large");
    let fitting = "x".repeat(30_000);
    let answer = answer_to(&format!("GET /healthz?x={fitting} HTTP/1.1\r\nHost: a\r\nX-Long: {fitting}\r\n\r\n")).await;
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn headers_too_large_are_refused_in_the_dialect_of_the_key() {
    let large = "x".repeat(70_000);
    for (path, key, is_relm) in [
        ("/v1/contacts", "sk_live_x", true),
        ("/v1/contacts", "acrm_live_x", false),
        ("/v1/contacts", "x", false),
        ("/v1/keys", "sk_live_x", false),
        ("/healthz", "sk_live_x", false),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nX-Long: {large}\r\n\r\n");
        let answer = answer_to(&head).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((answer.code, body["error"].is_object()), (431, is_relm), "{path} {key} {body}");
        assert_eq!(answer.head.to_lowercase().contains("relm-version:"), is_relm, "{path} {key}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_said_in_the_usual_shape() {
    for said in
        ["nonsense\r\n\r\n", "GET /healthz\r\n\r\n", "GET /healthz HTTP/1.1\r\nno header\r\n\r\n", "\0\0\0\r\n\r\n"]
    {
        answer_to(said).await.fault(400, "invalid_request");
    }
    // After a valid request.
    let mut raw = Raw::saying(&home().base, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(raw.answer().await.code, 200);
    raw.answer().await.fault(400, "invalid_request");
    raw.end().await;
}

#[tokio::test]
async fn large_heads_over_http_2_are_said_in_the_usual_shape() {
    let streams = Streams::connect(&home().base, 65_535).await;
    let long = "x".repeat(14_000);
    let names: Vec<String> = (0..6).map(|number| format!("x-long-{number}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    let (code, headers, body) =
        streams.ask(Streams::request("GET", "/v1/contacts", &headers)).await.expect("an answer");
    let error: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((code, &error["error"]), (431, &Value::from("head_too_large")));
    assert_eq!(headers["x-request-id"].to_str().ok(), error["request_id"].as_str());
    let (code, _, _) = streams.ask(Streams::request("GET", "/healthz", &[])).await.expect("an answer");
    assert_eq!(code, 200);
}
