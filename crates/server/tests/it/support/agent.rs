//! A client of Kith, with an API key or without one.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::Reply;

/// How many bytes of a request's body are kept for failure messages.
const SHOWN: usize = 2_000;

/// A client.
#[derive(Clone)]
pub struct Agent {
    http: reqwest::Client,
    /// `http://127.0.0.1:…`
    pub base: String,
    /// The API key. Empty for a client without one.
    pub key: String,
    /// `ws_…`. Empty for a client without a workspace.
    pub workspace_id: String,
}

/// A client without a key, for this address.
pub fn stranger_at(base: &str) -> Agent {
    let http = client().build().expect("an HTTP client");
    Agent { http, base: base.to_owned(), key: String::new(), workspace_id: String::new() }
}

/// A client that trusts no certificate: these requests do not use TLS, and reading the system's certificates is slow. It
/// keeps no connection that the server may be about to close.
fn client() -> reqwest::ClientBuilder {
    kith::http_client::use_ring();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_idle_timeout(Duration::from_secs(10))
}

impl Agent {
    /// The same client in a new workspace of its own.
    pub async fn with_workspace(mut self) -> Agent {
        let reply = self.post("/v1/workspaces", json!({})).await.status(201);
        self.key = reply.text("/data/api_key");
        self.workspace_id = reply.text("/data/workspace_id");
        self
    }

    /// The same client with this key for this workspace.
    pub fn with_key(self, key: String, workspace_id: String) -> Agent {
        Agent { key, workspace_id, ..self }
    }

    /// The same client for another server address.
    pub fn at(&self, base: &str) -> Agent {
        Agent { base: base.to_owned(), ..self.clone() }
    }

    /// The same client from another source address. On Linux, all of 127.0.0.0/8 is this machine.
    pub fn from(self, address: std::net::IpAddr) -> Agent {
        let http = client().local_address(address).build().expect("an HTTP client");
        Agent { http, ..self }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send_json(Method::POST, path, body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send_json(Method::PATCH, path, body.to_string()).await
    }

    /// Runs SQL.
    pub async fn sql(&self, sql: &str) -> Reply {
        self.post("/v1/sql", json!({"sql": sql})).await
    }

    /// Runs SQL with values for `$1`, `$2` and so on.
    pub async fn sql_with(&self, sql: &str, params: Value) -> Reply {
        self.post("/v1/sql", json!({"sql": sql, "params": params})).await
    }

    /// Sends this text as a JSON body, even if it is not valid JSON.
    pub async fn send_json(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], body).await
    }

    /// Sends a request with these headers. The key is included unless there is an Authorization header.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        self.try_send(method, path, headers, body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for a request that may get no answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Reply, String> {
        let body = body.into();
        let asked = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(SHOWN)]));
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        if !self.key.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.map_err(|error| format!("{asked}\n{error:?}"))?;
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| format!("{asked}\n→ {code}, then {error:?}"))?.to_vec();
        Ok(Reply { asked, code, headers, body })
    }
}
