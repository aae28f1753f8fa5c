//! The quickstart of agentCRM's own documentation, unchanged except for the address.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{TempDir, home};

const QUICKSTART: &str = include_str!("data/quickstart.sh");

#[test]
fn the_quickstart_runs_verbatim() {
    let dir = TempDir::new();
    let sql = "select c.email, c.first_name, count(a.id) as changes
               from contacts c join activity a on a.subject_id = c.id where c.email = $1 group by c.id";
    std::fs::write(dir.path.join("body.json"), json!({"sql": sql, "params": ["SARAH@acme.com"]}).to_string()).unwrap();
    let script = QUICKSTART.replace("https://www.tryagentcrm.com", &home().base);
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(&dir.path).output();
    let output = output.expect("bash, with curl and jq");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");

    let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let [contact, result] = answers.as_slice() else { panic!("two answers: {text}") };
    assert_eq!(contact["data"]["email"], "sarah@acme.com");
    assert!(contact["data"]["id"].as_str().unwrap().starts_with("c_"));
    assert_eq!(contact["data"]["custom"], json!({}));
    for answer in [contact, result] {
        let meta = &answer["_meta"];
        assert!(meta["workspace_id"].as_str().unwrap().starts_with("ws_"), "{text}");
        assert!(meta["claim_url"].as_str().unwrap().contains("/claim/ws_"), "{text}");
        assert!(meta["ttl_expires_at"].as_str().unwrap().ends_with('Z'), "{text}");
        assert!(meta["request_id"].as_str().unwrap().starts_with("req_"), "{text}");
    }
    assert_eq!(result["data"]["rows"], json!([{"email": "sarah@acme.com", "first_name": "Sarah", "changes": 1}]));
    assert_eq!(result["data"]["rowCount"], 1);
    assert_eq!(result["data"]["command"], "SELECT");
    assert_eq!(result["data"]["columns"][0], json!({"name": "email", "type": "citext"}));
    assert_eq!(result["data"]["columns"][2], json!({"name": "changes", "type": "bigint"}));
}
