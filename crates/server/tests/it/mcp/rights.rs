//! What a key may use.

use serde_json::{Value, json};

use super::{call, code, fail, request};
use crate::belongings::owned;
use crate::support::{Agent, stranger};

async fn names(agent: &Agent) -> Vec<String> {
    let listed = request(agent, "tools/list", json!({})).await;
    let tools = listed["tools"].as_array().expect("tools").clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// A key of this role to the workspace of an owner.
async fn key_of(owner: &Agent, role: &str) -> Agent {
    let wanted = json!({"role": role, "dialect": "relm"});
    let made = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), wanted).await.status(201);
    stranger().with_key(made.text("/data/api_key"), owner.workspace_id.clone())
}

#[tokio::test]
async fn a_viewer_is_offered_reads_and_can_do_no_more() {
    let (owner, _) = owned().await;
    let (viewer, member) = (key_of(&owner, "viewer").await, key_of(&owner, "member").await);
    let made = call(&member, "create_contact", json!({"email": "a@b.example"})).await;
    let offered = names(&viewer).await;
    assert!(offered.iter().any(|name| name == "get_contact") && offered.iter().any(|name| name == "query_sql"));
    let hidden: Vec<String> = names(&member).await.into_iter().filter(|name| !offered.contains(name)).collect();
    assert!(hidden.iter().any(|name| name == "execute_sql"), "{hidden:?}");
    for name in &hidden {
        let arguments = json!({"id": made["id"], "table": "contacts", "sql": "delete from contacts", "email": "x"});
        let refused = fail(&viewer, name, arguments).await;
        assert_eq!(code(&refused), "forbidden", "{name}");
    }
    assert_eq!(call(&viewer, "get_contact", json!({"id": made["id"]})).await["email"], "a@b.example");
    let read = call(&viewer, "query_sql", json!({"sql": "select count(*)::int as n from contacts"})).await;
    assert_eq!(read["rows"][0]["n"], 1);
    fail(&viewer, "query_sql", json!({"sql": "delete from contacts"})).await;
}

#[tokio::test]
async fn a_viewer_batches_reads() {
    let (owner, _) = owned().await;
    let (viewer, member) = (key_of(&owner, "viewer").await, key_of(&owner, "member").await);
    let made = call(&member, "create_contact", json!({"email": "a@b.example"})).await;
    assert!(names(&viewer).await.contains(&"batch".to_owned()));
    let get = json!({"method": "GET", "path": format!("/v1/contacts/{}", made["id"].as_str().expect("an id"))});
    let select = json!({"method": "POST", "path": "/v1/sql", "body": {"sql": "select 7 as n"}});
    let read = call(&viewer, "batch", json!({"operations": [get.clone(), select]})).await;
    assert_eq!(read["data"][0]["body"]["email"], "a@b.example", "{read}");
    assert_eq!(read["data"][1]["body"]["rows"][0]["n"], 7, "{read}");
    for write in [
        json!({"method": "POST", "path": "/v1/contacts", "body": {"email": "b@b.example"}}),
        json!({"method": "DELETE", "path": get["path"]}),
        json!({"method": "POST", "path": "/v1/sql", "body": {"sql": "delete from contacts"}}),
    ] {
        let refused = fail(&viewer, "batch", json!({"operations": [get, write]})).await;
        assert_eq!(refused["operation"], 1, "{refused:?}");
    }
    assert_eq!(call(&viewer, "list_contacts", json!({})).await["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_workspace_sees_only_its_own() {
    let (first, second) = (crate::support::relm().await, crate::support::relm().await);
    let made = call(&first, "create_contact", json!({"email": "a@b.example"})).await;
    let id = made["id"].as_str().expect("an id");
    for (tool, arguments) in [
        ("get_contact", json!({"id": id})),
        ("fetch", json!({"id": id})),
        ("update_contact", json!({"id": id, "first_name": "X"})),
        ("delete_record", json!({"table": "contacts", "id": id})),
    ] {
        assert_eq!(code(&fail(&second, tool, arguments).await), "not_found", "{tool}");
    }
    assert_eq!(call(&second, "list_contacts", json!({})).await["data"], json!([]));
    assert_eq!(call(&second, "search", json!({"query": "a@b.example"})).await["data"], json!([]));
    let feed: Vec<Value> = first.get("/v1/activity").await.status(200).column("actor");
    assert_eq!(feed.len(), 1, "the actor is the key: {feed:?}");
}
