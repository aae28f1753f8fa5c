//! `kith mcp`: the same tools over standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::{Agent, Child, agent};

/// A running `kith mcp`.
struct Bridge {
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Bridge {
    fn start(base: &str, key: &str, more: &[&str]) -> Bridge {
        let mut line = Child::bare(Path::new(env!("CARGO_BIN_EXE_kith")), "mcp");
        line.args(["--url", base]).args(more).env("KITH_KEY", key);
        let mut process = line.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let (input, output) = (process.stdin.take(), process.stdout.take().expect("its output"));
        Bridge { process, input, output: BufReader::new(output) }
    }

    fn of(agent: &Agent) -> Bridge {
        Bridge::start(&agent.base, &agent.key, &[])
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n")).expect("a write");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.say(&json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params}).to_string());
        let answer = self.hear();
        assert_eq!(answer["id"], method, "{answer}");
        answer
    }

    /// Ends the input. The program then ends by itself.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().expect("an end").success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_speaks_over_standard_input_and_output() {
    let agent = agent().await;
    let mut bridge = Bridge::of(&agent);
    let client = json!({"name": "a-client", "version": "3"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    assert_eq!(bridge.request("initialize", params)["result"]["protocolVersion"], "2025-06-18");
    // A notification has no answer, so the next line is that of the next request.
    bridge.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
    bridge.say("");
    let tools = bridge.request("tools/list", json!({}));
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 30), "{tools}");
    let made = json!({"name": "create_contact", "arguments": {"email": "a@b.example", "first_name": "Zoë\nA"}});
    let made = bridge.request("tools/call", made);
    assert_eq!(made["result"]["structuredContent"]["first_name"], "Zoë\nA", "{made}");
    let feed = agent.get("/v1/activity").await.status(200);
    assert_eq!(feed.at("/data/0/custom/agent"), "a-client/3");
    bridge.say("{no json");
    assert_eq!(bridge.hear()["error"]["code"], -32700);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let modern = bridge.request("tools/call", json!({"name": "list_contacts", "arguments": {}, "_meta": meta}));
    assert_eq!(modern["result"]["resultType"], "complete", "{modern}");
    bridge.end();
    let mut core = Bridge::start(&agent.base, &agent.key, &["--tools", "core"]);
    let tools = core.request("tools/list", json!({}));
    assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(16), "{tools}");
    core.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_before_the_answer() {
    let agent = agent().await;
    let mut bridge = Bridge::of(&agent);
    let operations = json!([{"method": "GET", "path": "/v1/deals"}, {"method": "GET", "path": "/v1/deals"}]);
    let call = json!({"name": "batch", "arguments": {"operations": operations}, "_meta": {"progressToken": 4}});
    bridge.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).to_string());
    let told = bridge.hear();
    assert_eq!((&told["method"], &told["params"]["progressToken"]), (&json!("notifications/progress"), &json!(4)));
    let answer = std::iter::repeat_with(|| bridge.hear()).find(|message| message["id"] == 1).expect("an answer");
    assert_eq!(answer["result"]["structuredContent"]["data"].as_array().map(Vec::len), Some(2), "{answer}");
    bridge.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_has_no_answer() {
    let agent = agent().await;
    let mut bridge = Bridge::of(&agent);
    let call = json!({"name": "query_sql", "arguments": {"sql": "select pg_sleep(25)"}});
    bridge.say(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).to_string());
    bridge.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).to_string());
    assert_eq!(bridge.request("ping", json!({}))["result"], json!({}));
    // The program ends at once, because nothing is left to be answered.
    let start = std::time::Instant::now();
    bridge.end();
    assert!(start.elapsed().as_secs() < 20, "it waited for the statement");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_the_answer_to_the_request() {
    let agent = agent().await;
    let mut unknown = Bridge::start(&agent.base, "sk_live_unknown", &[]);
    let refused = unknown.request("tools/list", json!({}));
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with("401") && message.contains("key"), "{message}");
    assert!(!message.contains("sk_live_unknown"), "the key is not repeated: {message}");
    unknown.end();
    let mut nowhere = Bridge::start("http://127.0.0.1:9", &agent.key, &[]);
    let refused = nowhere.request("tools/list", json!({}));
    assert!(refused["error"]["message"].as_str().is_some_and(|it| it.contains("127.0.0.1:9")), "{refused}");
    nowhere.end();
    for (base, key, says) in [("http://crm.example", "k", "https://"), ("http://127.0.0.1:9", "", "KITH_KEY")] {
        let mut line = Child::bare(Path::new(env!("CARGO_BIN_EXE_kith")), "mcp");
        let ended = line.args(["--url", base]).env("KITH_KEY", key).output().expect("an end");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && said.contains(says), "{said}");
    }
}
