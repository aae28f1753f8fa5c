//! Resources: the schema and single records under `crm://` addresses, for clients that attach them to a conversation. They are
//! read by the tools `describe_schema` and `fetch`.

use serde_json::{Map, Value, json};

use crm::dialect::tools::{self, table_of_id};
use crm::model::fault::Fault;

use crate::door::mcp::call::guarded;
use crate::door::mcp::rpc::{INVALID_PARAMS, RpcError};
use crate::door::mcp::session::Session;
use crate::door::mcp::version::Era;

const SCHEMA: &str = "crm://schema";
/// The kinds of records that have an address of their own.
const KINDS: &[&str] = &["contact", "company", "deal", "activity", "email"];

/// The code of a resource that does not exist, up to 2025-11-25.
const NOT_FOUND: i64 = -32002;

/// The resources that can be listed.
pub fn list() -> Vec<Value> {
    vec![json!({
        "uri": SCHEMA,
        "name": "schema",
        "title": "Tables and columns",
        "description": "The tables of the workspace and their columns.",
        "mimeType": "application/json",
    })]
}

/// The addresses of records.
pub fn templates() -> Vec<Value> {
    let template = |kind: &&str| {
        json!({
            "uriTemplate": format!("crm://{kind}/{{id}}"),
            "name": kind,
            "title": format!("One {kind} by its id"),
            "mimeType": "text/plain",
        })
    };
    KINDS.iter().map(template).collect()
}

/// The kind of the records that a template of addresses is for.
pub fn kind_of_template(uri: &str) -> Option<&'static str> {
    KINDS.iter().copied().find(|kind| uri == format!("crm://{kind}/{{id}}"))
}

impl Session<'_, '_> {
    /// Reads a resource.
    pub async fn read(&mut self, params: &Map<String, Value>) -> Result<Value, RpcError> {
        let Some(uri) = params.get("uri").and_then(Value::as_str).map(str::to_owned) else {
            return Err(RpcError::invalid_params("\"uri\" must be the address of a resource."));
        };
        let (tool, arguments) = match uri.strip_prefix("crm://").and_then(|path| path.split_once('/')) {
            None if uri == SCHEMA => ("describe_schema", Map::new()),
            Some((kind, id)) if KINDS.contains(&kind) && table_of_id(id).is_some_and(|it| it.name == kind) => {
                ("fetch", [("id".to_owned(), id.into())].into_iter().collect())
            }
            _ => return Err(self.no_resource(&uri)),
        };
        let Some(tool) = tools::by_name(tool) else { return Err(self.no_resource(&uri)) };
        let caller = self.caller_of(params);
        let read = guarded(Box::pin(self.perform(&tool, arguments, caller))).await;
        let (mime_type, text) = match read {
            Ok(mut object) => match object.remove("text") {
                // Clients show a model only the text.
                Some(Value::String(text)) => ("text/plain", format!("{text}\n\n{}", tools::NOTE_TEXT)),
                _ => ("application/json", Value::Object(object).to_string()),
            },
            Err(Fault::Internal { cause, place }) => {
                let request_id = self.id;
                tracing::error!(request_id, cause, %place, "a resource could not be read");
                return Err(RpcError::internal());
            }
            Err(Fault::NotFound { .. } | Fault::Invalid { .. }) => {
                return Err(self.no_resource(&uri));
            }
            Err(fault) => return Err(RpcError::invalid_params(fault.message())),
        };
        Ok(json!({"contents": [{"uri": uri, "mimeType": mime_type, "text": text}]}))
    }

    fn no_resource(&self, uri: &str) -> RpcError {
        let code = if self.era == Era::Modern { INVALID_PARAMS } else { NOT_FOUND };
        let message = format!("There is no resource \"{uri}\". resources/list and resources/templates/list name them.");
        RpcError { status: 200, code, message, data: Some(json!({"uri": uri})) }
    }
}
