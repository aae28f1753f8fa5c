//! The recipes of Relm's documentation, run with the real curl and unchanged except for the address and the key.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Agent, relm, stranger};

/// Runs a shell line like a user who follows the documentation.
async fn shell(relm: &Agent, script: &str) -> Value {
    let (base, key, script) = (relm.base.clone(), relm.key.clone(), script.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        let line = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("BASE", base)
            .env("RELM_KEY", key)
            .output();
        line.expect("bash")
    });
    let output = output.await.expect("an end");
    let (text, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complaints}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const CREATE: &str = r#"curl -X POST $BASE/v1/contacts \
  -A "relm-client" \
  -H "Authorization: Bearer $RELM_KEY" \
  -H "Idempotency-Key: create-ada-1" \
  -H "Content-Type: application/json" \
  -d '{"email":"ada@example.com","first_name":"Ada"}'"#;

const IMPORT: &str = r#"curl -X POST $BASE/v1/contacts/batch \
  -A "relm-client" \
  -H "Authorization: Bearer $RELM_KEY" \
  -H "Content-Type: application/json" \
  -d '{"contacts":[{"email":"a@x.com"},{"email":"b@x.com"}],"dedup_on":["email"]}'"#;

#[tokio::test]
async fn create_a_contact() {
    let relm = relm().await;
    let made = shell(&relm, CREATE).await;
    assert!(made["id"].as_str().unwrap().starts_with("con_"), "{made}");
    assert_eq!(
        (&made["object"], &made["email"], &made["first_name"]),
        (&json!("contact"), &json!("ada@example.com"), &json!("Ada"))
    );
    assert_eq!(shell(&relm, CREATE).await, made, "the same key gives the same answer");
    assert_eq!(relm.get("/v1/contacts").await.status(200).data(), json!([made]));
}

#[tokio::test]
async fn bulk_import_with_dedup() {
    let relm = relm().await;
    let first = shell(&relm, IMPORT).await;
    assert_eq!(first["object"], "batch");
    assert_eq!((&first["created"], &first["updated"], &first["failed"]), (&json!(2), &json!(0), &json!(0)));
    let again = shell(&relm, IMPORT).await;
    assert_eq!((&again["created"], &again["updated"], &again["failed"]), (&json!(0), &json!(2), &json!(0)));
    for (at, email) in ["a@x.com", "b@x.com"].into_iter().enumerate() {
        let (one, two) = (&first["data"][at], &again["data"][at]);
        assert_eq!((&one["index"], &one["status"]), (&json!(at), &json!("created")));
        assert_eq!((&two["index"], &two["status"]), (&json!(at), &json!("updated")));
        assert_eq!((&one["contact"]["email"], &one["contact"]["object"]), (&json!(email), &json!("contact")));
        assert_eq!(one["contact"]["id"], two["contact"]["id"]);
    }
}

#[tokio::test]
async fn filter_deals() {
    let relm = relm().await;
    for (title, stage, value_cents) in
        [("Big", "won", 1_000_000), ("Small", "won", 999_999), ("Open", "lead", 2_000_000)]
    {
        let body = json!({"title": title, "stage": stage, "value_cents": value_cents});
        relm.post("/v1/deals", body).await.status(201);
    }
    for line in [
        r#"curl -sg "$BASE/v1/deals?filter[stage]=won&filter[value_cents][gte]=1000000" -H "Authorization: Bearer $RELM_KEY""#,
        r#"curl -s "$BASE/v1/deals?filter%5Bstage%5D=won&filter%5Bvalue_cents%5D%5Bgte%5D=1000000" -H "Authorization: Bearer $RELM_KEY""#,
        r#"curl -sG "$BASE/v1/deals" --data-urlencode "filter[stage]=won" --data-urlencode "filter[value_cents][gte]=1000000" -H "Authorization: Bearer $RELM_KEY""#,
    ] {
        let found = shell(&relm, line).await;
        assert_eq!((&found["object"], found["data"].as_array().unwrap().len()), (&json!("list"), 1), "{line}");
        assert_eq!(found["data"][0]["title"], "Big");
    }
}

/// The tests run exactly what the documentation shows.
#[tokio::test]
async fn the_recipes_stand_in_llms_txt() {
    let stranger = stranger();
    for path in ["/llms.txt", "/llms-full.txt"] {
        let text = String::from_utf8(stranger.get(path).await.status(200).body).unwrap();
        for recipe in [CREATE, IMPORT, "GET /v1/deals?filter[stage]=won&filter[value_cents][gte]=1000000"] {
            assert!(text.contains(&recipe.replace("$BASE", &stranger.base)), "{path} lacks {recipe}");
        }
    }
}

/// The README's own quickstart for Relm's clients, beginning with the sign-up.
#[tokio::test]
async fn the_readme_leads_from_nothing_to_deals_that_were_won() {
    let readme = include_str!("../../../../README.md");
    let section = readme.split("## With a Relm client").nth(1).expect("the section");
    let script = section.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its commands");
    let stranger = stranger();
    let email = format!("{}@example.com", std::process::id());
    let script = script.replace("http://127.0.0.1:8484", &stranger.base).replace("you@example.com", &email);
    let script = script.replace("curl -sg", "echo; curl -sg");
    let (deal, page) = {
        let output = tokio::task::spawn_blocking(move || {
            Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output()
        });
        let output = output.await.expect("an end").expect("bash");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        let (deal, page) = text.trim().split_once('\n').unwrap_or_else(|| panic!("two answers: {text}"));
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (read(deal), read(page))
    };
    assert_eq!(
        (&deal["object"], &deal["title"], &deal["metadata"]),
        (&json!("deal"), &json!("Rollout"), &json!({"plan": "pro"}))
    );
    assert_eq!(page, json!({"object": "list", "data": [deal], "has_more": false, "next_cursor": null}));
}

#[tokio::test]
async fn filter_by_a_custom_field_as_it_is_typed() {
    let relm = relm().await;
    for (email, plan) in [("a@x.com", "pro"), ("b@x.com", "free")] {
        relm.post("/v1/contacts", json!({"email": email, "metadata": {"plan": plan}})).await.status(201);
    }
    // curl sends the > unchanged, which makes the address invalid.
    let filter = r#"curl -g "$BASE/v1/contacts?filter[metadata->>plan]=pro" -H "Authorization: Bearer $RELM_KEY""#;
    let found = shell(&relm, filter).await;
    assert_eq!((&found["data"][0]["email"], found["data"].as_array().map(Vec::len)), (&json!("a@x.com"), Some(1)));
}
