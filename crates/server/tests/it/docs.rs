//! The documentation against the product: everything that it describes exists, and its examples have the results that it
//! shows.

use std::collections::{BTreeMap, BTreeSet};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::openapi::{example_of, in_words_of, schema_of};
use crm::dialect::relm::RELM;
use crm::model::codes::CODES;
use crm::model::entity::{ENTITIES, Need, by_table};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both, stranger};

const DOCUMENTS: &[(&str, &str)] = &[
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/reference", "text/html; charset=utf-8"),
    ("/docs/errors", "text/html; charset=utf-8"),
    ("/changelog", "text/html; charset=utf-8"),
    ("/changelog.rss", "application/rss+xml; charset=utf-8"),
    ("/openapi.json", "application/json"),
    ("/openapi.json?dialect=relm", "application/json"),
    ("/openapi.yaml", "application/yaml"),
    ("/openapi.yaml?dialect=agentcrm", "application/yaml"),
    ("/llms.txt", "text/plain; charset=utf-8"),
    ("/llms-full.txt", "text/plain; charset=utf-8"),
];

async fn openapi() -> Value {
    stranger().get("/openapi.json").await.status(200).json()
}

async fn openapi_of_relm() -> Value {
    stranger().get("/openapi.json?dialect=relm").await.status(200).json()
}

#[tokio::test]
async fn documents_are_served_to_everybody_and_only_read() {
    let stranger = stranger();
    for (path, content_type) in DOCUMENTS {
        let reply = stranger.get(path).await.status(200);
        assert_eq!(reply.header("content-type"), *content_type, "{path}");
        let text = String::from_utf8(reply.body.clone()).unwrap();
        assert!(text.contains(&stranger.base), "{path} names no address");
        let head = stranger.send(Method::HEAD, path, &[], "").await.status(200);
        assert_eq!(head.header("content-length"), reply.body.len().to_string(), "{path}");
        assert!(head.body.is_empty());
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let refused = stranger.send(method, path, &[], "").await.status(405);
            assert_eq!(refused.header("allow"), "GET,HEAD", "{path}");
        }
    }
}

#[tokio::test]
async fn a_document_that_is_known_is_not_sent_again() {
    let stranger = stranger();
    for (path, _) in DOCUMENTS {
        let etag = stranger.get(path).await.status(200).header("etag");
        let again = stranger.send(Method::GET, path, &[("if-none-match", &etag)], "").await.status(304);
        assert!(again.body.is_empty());
        assert_eq!(again.header("etag"), etag);
        stranger.send(Method::GET, path, &[("if-none-match", "\"other\"")], "").await.status(200);
    }
}

#[tokio::test]
async fn pages_load_and_run_only_what_this_kith_serves() {
    for path in ["/", "/docs", "/docs/reference", "/docs/errors", "/changelog"] {
        let reply = stranger().get(path).await.status(200);
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let text = String::from_utf8(reply.body).unwrap();
        for never in ["<style", "@import", "url(", " style=", " onclick=", "<script>"] {
            assert!(!text.contains(never), "{path} has {never}");
        }
        for source in text.split(" src=\"").skip(1) {
            assert!(source.starts_with("/assets/"), "{path} loads {}", &source[..40]);
        }
    }
}

#[tokio::test]
async fn every_docs_url_leads_to_its_error() {
    let page = String::from_utf8(stranger().get("/docs/errors").await.status(200).body).unwrap();
    for code in CODES {
        assert!(page.contains(&format!("id=\"{}\"", code.code)), "{}", code.code);
    }
    let docs_url = stranger().get("/v1/contacts").await.fault(401, "unauthorized").text("/docs_url");
    assert_eq!(docs_url, format!("{}/docs/errors#unauthorized", stranger().base));
}

#[tokio::test]
async fn links_on_the_pages_lead_somewhere() {
    let stranger = stranger();
    let mut pages = BTreeMap::new();
    for path in ["/", "/docs", "/docs/reference", "/docs/api", "/docs/errors", "/changelog"] {
        pages.insert(path, String::from_utf8(stranger.get(path).await.status(200).body).unwrap());
    }
    for (path, text) in &pages {
        for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
            if link.starts_with("data:") || link.starts_with("https://") || link == stranger.base {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { path } else { target };
            let found = stranger.get(target).await.status(200);
            let has = String::from_utf8_lossy(&found.body).contains(&format!("id=\"{anchor}\""));
            assert!(anchor.is_empty() || has, "{path} links to {link}");
        }
    }
}

/// The tables are the only place where columns are described. The database must match them.
#[tokio::test]
async fn built_in_tables_are_as_they_are_described() {
    let schema = agent().await.get("/v1/schema").await.status(200).data();
    let builtin: Vec<&Value> =
        schema["tables"].as_array().unwrap().iter().filter(|table| table["kind"] == "builtin").collect();
    assert_eq!(builtin.len(), ENTITIES.len());
    for table in builtin {
        let name = table["name"].as_str().unwrap();
        let described = by_table(name).unwrap_or_else(|| panic!("{name} is not described")).columns();
        let described: BTreeSet<_> = described.map(|it| (it.name.to_owned(), it.need == Need::Optional)).collect();
        let there = table["columns"].as_array().unwrap().iter();
        let there: BTreeSet<_> = there
            .map(|column| (column["name"].as_str().unwrap().to_owned(), column["nullable"].as_bool().unwrap()))
            .collect();
        assert_eq!(there, described, "{name}");
    }
}

#[tokio::test]
async fn example_bodies_make_records_that_have_what_the_schema_requires() {
    let (relm, agentcrm) = both().await;
    for (agent, dialect, openapi) in [(agentcrm, &AGENTCRM, openapi().await), (relm, &RELM, openapi_of_relm().await)] {
        let list = agent
            .post("/v1/lists", json!({"name": "S", "target_table": "contacts", "kind": "static"}))
            .await
            .status(201);
        let ends = [agent.post("/v1/contacts", json!({})).await, agent.post("/v1/deals", json!({})).await].map(record);
        for entity in ENTITIES.iter().filter(|entity| entity.writable) {
            let mut body = example_of(&dialect.reference.wire, entity);
            if entity.table == "list_members" {
                body["list_id"] = record(agent.get(&format!("/v1/lists/{}", record_id(&list))).await)["id"].clone();
                body["member_id"] = ends[0]["id"].clone();
            }
            if entity.table == "associations" {
                (body["from_id"], body["to_id"]) = (ends[0]["id"].clone(), ends[1]["id"].clone());
            }
            let path = format!("/v1/{}", entity.table);
            // One workspace serves both, and some values are unique in it.
            for field in ["email", "domain", "key", "provider_msg_id"] {
                if let Some(Value::String(text)) = body.get_mut(field) {
                    *text = format!("{}{text}", if dialect.name == "relm" { "r" } else { "a" });
                }
            }
            let made = record(agent.post(&path, Value::Object(body.clone())).await);
            for (name, value) in &body {
                assert_eq!(&made[name], value, "{}.{name}", entity.table);
            }
            let schema = &openapi["components"]["schemas"][schema_of(entity.name)];
            let about = in_words_of(&dialect.reference.wire, entity.about);
            assert!(schema["description"].as_str().is_some_and(|text| text.starts_with(&about)), "{schema}");
            // A column that a later migration adds is the last one in the table, wherever it is described.
            let required: BTreeSet<&str> =
                schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let shown: BTreeSet<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(shown, required, "{}", entity.table);
        }
    }
}

/// The record in an answer of either dialect.
fn record(reply: Reply) -> Value {
    assert!(matches!(reply.code, 200 | 201), "{}", reply.story());
    let json = reply.json();
    json.get("data").filter(|_| json.get("object").is_none()).unwrap_or(&json).clone()
}

fn record_id(reply: &Reply) -> String {
    let json = reply.json();
    let id = json.get("id").or_else(|| json.pointer("/data/id")).and_then(Value::as_str);
    id.unwrap_or_else(|| panic!("no id\n{}", reply.story())).to_owned()
}

#[tokio::test]
async fn the_example_sql_runs() {
    let example = openapi().await["components"]["schemas"]["SqlRequest"]["examples"][0].clone();
    agent().await.post("/v1/sql", example).await.status(200);
}

/// A value that a parameter's schema accepts.
fn sample(schema: &Value) -> String {
    match (schema["type"].as_str(), schema["format"].as_str(), &schema["enum"]) {
        (_, _, Value::Array(values)) => values[0].as_str().unwrap_or_default().to_owned(),
        (Some("array"), ..) => {
            let one = sample(&schema["items"]);
            format!("{one},{one}")
        }
        (Some("boolean"), ..) => "true".into(),
        (Some("integer"), ..) => "7".into(),
        (_, Some("date"), _) => "2026-11-22".into(),
        (_, Some("date-time"), _) => "2026-11-22T12:00:00Z".into(),
        _ => schema["examples"][0].as_str().unwrap_or("some words").into(),
    }
}

async fn accepts(agent: &Agent, path: &str, query: &[(String, String)]) {
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
    agent.get(&format!("{path}?{}", query.join("&"))).await.status(200);
}

#[tokio::test]
async fn every_documented_parameter_of_a_list_is_taken() {
    let (relm, agentcrm) = both().await;
    // Without it there are no sending domains to list.
    let provider = json!({"api_key": "re_docs", "from_email": "shop@shop.example"}).to_string();
    agentcrm.send_json(Method::PUT, "/v1/integrations/email", provider).await.status(200);
    for (agent, openapi) in [(agentcrm, openapi().await), (relm, openapi_of_relm().await)] {
        let mut parameters_tried = 0;
        for (path, item) in openapi["paths"].as_object().unwrap() {
            let get = &item["get"];
            let is_for_people = get["tags"][0] == "people";
            if path.contains('{') || path.ends_with("/search") || get["parameters"].is_null() || is_for_people {
                continue;
            }
            let mut query = Vec::new();
            for parameter in get["parameters"].as_array().unwrap() {
                let parameter = match parameter["$ref"].as_str() {
                    Some(pointer) => openapi.pointer(pointer.trim_start_matches('#')).unwrap(),
                    None => parameter,
                };
                match parameter["name"].as_str().unwrap() {
                    _ if parameter["in"] != "query" => {}
                    "cursor" | "after" => {}
                    "type" if path == "/v1/events" => query.push(("type".to_owned(), "deal.*".to_owned())),
                    "custom" => query.push(("custom.plan".to_owned(), "pro".to_owned())),
                    "metadata" => query.push(("filter[metadata->>plan]".to_owned(), "pro".to_owned())),
                    name => query.push((name.to_owned(), sample(&parameter["schema"]))),
                }
            }
            parameters_tried += query.len();
            accepts(&agent, path, &query).await;
        }
        assert!(parameters_tried > 300, "{parameters_tried}");
    }
}

#[tokio::test]
async fn the_document_of_either_dialect_is_at_both_addresses() {
    let stranger = stranger();
    for (path, title) in [
        ("/openapi.json", "Kith"),
        ("/openapi.json?dialect=agentcrm", "Kith"),
        ("/openapi.json?dialect=relm", "Kith (Relm)"),
    ] {
        assert_eq!(stranger.get(path).await.status(200).at("/info/title"), title, "{path}");
    }
    for (path, title) in [
        ("/openapi.yaml", "Kith (Relm)"),
        ("/openapi.yaml?dialect=relm", "Kith (Relm)"),
        ("/openapi.yaml?dialect=agentcrm", "Kith"),
    ] {
        let text = String::from_utf8(stranger.get(path).await.status(200).body).unwrap();
        assert!(text.starts_with("openapi: \"3.1.0\"\n"), "{path}");
        assert!(text.contains(&format!("\n  title: {title}\n")), "{path}");
    }
    for path in ["/openapi.json?dialect=esperanto", "/openapi.yaml?dialect="] {
        let refused = stranger.get(path).await.status(400);
        assert_eq!(refused.at("/hint"), "The dialects are agentcrm and relm.");
    }
}
