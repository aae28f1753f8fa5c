//! The methods of MCP.

use serde_json::{Map, Value, json};

use crm::dialect::tools;
use crm::dialect::tools::prompts::{self, PROMPTS, Prompt};

use crate::door::mcp::resources;
use crate::door::mcp::rpc::{METHOD_NOT_FOUND, RpcError};
use crate::door::mcp::session::Session;
use crate::door::mcp::version::{self, Era};

/// How long a client may keep a list, in milliseconds. The lists change with the key's rights and with new versions.
const KEPT_MS: u64 = 300_000;

impl Session<'_, '_> {
    /// Answers a request with a result, as JSON.
    pub async fn answer(mut self, method: &str, params: Map<String, Value>) -> Result<Vec<u8>, RpcError> {
        let result = match (self.era, method) {
            (Era::Legacy, "initialize") => {
                if let Some(name) = version::initialized(&params) {
                    self.app.clients.keep(self.program(), &name, self.app.clock.unix_ms());
                }
                initialize(&params)
            }
            (Era::Legacy, "ping") => json!({}),
            (Era::Modern, "server/discover") => kept(discover()),
            (era, "tools/list") => self.page(era, &params, "tools", self.offer.definitions(self.envelope.dialect))?,
            (_, "tools/call") => return self.call(params).await,
            (era, "resources/list") => self.page(era, &params, "resources", resources::list())?,
            (era, "resources/templates/list") => {
                self.page(era, &params, "resourceTemplates", resources::templates())?
            }
            (era, "resources/read") => {
                let read = self.read(&params).await?;
                if era == Era::Modern { fresh(read) } else { read }
            }
            (era, "prompts/list") => {
                let prompts = PROMPTS.iter().map(Prompt::definition).collect();
                self.page(era, &params, "prompts", prompts)?
            }
            (_, "prompts/get") => prompt(&params)?,
            (_, "completion/complete") => self.completion(&params).await?,
            (era, method) => return Err(unknown(era, method)),
        };
        Ok(complete(self.era, result).to_string().into_bytes())
    }

    /// A list on one page.
    fn page(&self, era: Era, params: &Map<String, Value>, key: &str, items: Vec<Value>) -> Result<Value, RpcError> {
        if params.get("cursor").is_some_and(|cursor| !cursor.is_null()) {
            return Err(RpcError::invalid_params("There is no such cursor; the list has one page."));
        }
        let list = json!({ key: items });
        Ok(if era == Era::Modern { kept(list) } else { list })
    }
}

/// Adds what each result of a version must have.
pub fn complete(era: Era, mut result: Value) -> Value {
    if era == Era::Modern {
        result["resultType"] = "complete".into();
    }
    result
}

/// Adds how long a result may be kept, and that it is the caller's own.
fn kept(mut result: Value) -> Value {
    result["ttlMs"] = KEPT_MS.into();
    result["cacheScope"] = "private".into();
    result
}

/// Adds that a result is the caller's own and may change at any time.
fn fresh(mut result: Value) -> Value {
    result["ttlMs"] = 0.into();
    result["cacheScope"] = "private".into();
    result
}

fn prompt(params: &Map<String, Value>) -> Result<Value, RpcError> {
    let named = params.get("name").and_then(Value::as_str);
    let Some(prompt) = named.and_then(prompts::by_name) else {
        let names: Vec<&str> = PROMPTS.iter().map(|prompt| prompt.name).collect();
        return Err(RpcError::invalid_params(format!("The prompts are {}.", names.join(", "))));
    };
    let arguments = params.get("arguments").and_then(Value::as_object);
    prompt.message(arguments.unwrap_or(&Map::new())).map_err(RpcError::invalid_params)
}

fn unknown(era: Era, method: &str) -> RpcError {
    let status = if era == Era::Modern { 404 } else { 200 };
    RpcError { status, code: METHOD_NOT_FOUND, message: format!("There is no method \"{method}\"."), data: None }
}

fn server() -> Value {
    json!({"name": "kith", "title": "Kith CRM", "version": env!("CARGO_PKG_VERSION")})
}

fn capabilities() -> Value {
    json!({"tools": {}, "resources": {}, "prompts": {}, "completions": {}})
}

fn initialize(params: &Map<String, Value>) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    json!({
        "protocolVersion": version::negotiated(asked),
        "capabilities": capabilities(),
        "serverInfo": server(),
        "instructions": tools::INSTRUCTIONS,
    })
}

fn discover() -> Value {
    json!({
        "supportedVersions": version::supported(),
        "capabilities": capabilities(),
        "instructions": tools::INSTRUCTIONS,
        "_meta": {"io.modelcontextprotocol/serverInfo": server()},
    })
}
