//! Completions: what a person may mean by the beginning of a prompt's argument or of a record's id. Records are found by the tools
//! `search` and `list_records`, with the caller's rights.

use serde_json::{Map, Value, json};

use crm::dialect::tools;
use crm::dialect::tools::prompts;
use crm::model::fault::Fault;

use crate::door::mcp::call::guarded;
use crate::door::mcp::resources::kind_of_template;
use crate::door::mcp::rpc::RpcError;
use crate::door::mcp::session::Session;

/// The most values of an answer.
const MOST_VALUES: usize = 20;
/// The hits of a search of which some are of the wanted kind.
const MOST_HITS: usize = 100;

/// What completes an argument.
#[derive(Clone, Copy)]
enum Source {
    /// A contact's e-mail address or name.
    Contacts,
    /// The key of a pipeline.
    Pipelines,
    /// One of these words.
    Words(&'static [&'static str]),
    /// The id of a record of this kind.
    Ids(&'static str),
}

impl Session<'_, '_> {
    /// Answers `completion/complete`.
    pub async fn completion(&mut self, params: &Map<String, Value>) -> Result<Value, RpcError> {
        let argument = params.get("argument");
        let text = |name: &str| argument.and_then(|argument| argument.get(name)).and_then(Value::as_str);
        let (Some(name), Some(value)) = (text("name"), text("value")) else {
            return Err(RpcError::invalid_params("\"argument\" must have a \"name\" and a \"value\", both texts."));
        };
        let source = source(params.get("ref"), name)?;
        let found = match source {
            Source::Words(words) => Ok(words.iter().map(|word| (*word).to_owned()).collect()),
            source => guarded(Box::pin(self.candidates(&source, value, params))).await,
        };
        let mut values: Vec<String> = found.map_err(|fault| self.failed(fault))?;
        if matches!(source, Source::Words(_) | Source::Pipelines) {
            values.retain(|it| it.starts_with(value));
        }
        let has_more = values.len() > MOST_VALUES;
        values.truncate(MOST_VALUES);
        Ok(json!({"completion": {"values": values, "hasMore": has_more}}))
    }

    /// The values of records that have the words, or of the newest ones.
    async fn candidates(
        &mut self,
        source: &Source,
        words: &str,
        params: &Map<String, Value>,
    ) -> Result<Vec<String>, Fault> {
        let (tool, arguments, kind) = match source {
            Source::Pipelines => ("list_pipelines", json!({"limit": MOST_HITS}), None),
            Source::Contacts | Source::Ids(_) if !words.trim().is_empty() => {
                let kind = if let Source::Ids(kind) = source { kind } else { "contact" };
                ("search", json!({"query": words, "limit": MOST_HITS}), Some(kind))
            }
            Source::Ids(kind) => ("list_records", json!({"table": kind, "limit": MOST_VALUES + 1}), None),
            Source::Contacts | Source::Words(_) => {
                ("list_records", json!({"table": "contacts", "limit": MOST_VALUES + 1}), None)
            }
        };
        let tool = tools::by_name(tool).ok_or_else(|| Fault::internal(format!("there is no tool {tool}")))?;
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let caller = self.caller_of(params);
        let answer = self.perform(&tool, arguments, caller).await?;
        let rows = answer.get("data").and_then(Value::as_array).into_iter().flatten();
        let rows = rows.filter(|row| kind.is_none_or(|kind| row["object"] == kind));
        Ok(rows.filter_map(|row| value_of(source, row)).collect())
    }

    fn failed(&self, fault: Fault) -> RpcError {
        let Fault::Internal { cause, place } = &fault else { return RpcError::invalid_params(fault.message()) };
        tracing::error!(request_id = self.id, cause, %place, "a completion failed");
        RpcError::internal()
    }
}

/// What completes the argument of a prompt, or of the address of a record.
fn source(reference: Option<&Value>, argument: &str) -> Result<Source, RpcError> {
    let text = |name: &str| reference.and_then(|it| it.get(name)).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "ref/prompt" => {
            let Some(prompt) = prompts::by_name(text("name")) else {
                return Err(RpcError::invalid_params(format!("There is no prompt \"{}\".", text("name"))));
            };
            let (name, ..) = prompt.argument;
            if name != argument {
                let message = format!("The prompt has no argument \"{argument}\"; it takes \"{name}\".");
                return Err(RpcError::invalid_params(message));
            }
            Ok(match name {
                "contact" => Source::Contacts,
                "pipeline" => Source::Pipelines,
                "table" => Source::Words(&["contacts", "companies"]),
                _ => Source::Words(&[]),
            })
        }
        "ref/resource" => match (kind_of_template(text("uri")), argument) {
            (Some(kind), "id") => Ok(Source::Ids(kind)),
            (Some(_), other) => {
                Err(RpcError::invalid_params(format!("The address has no part \"{other}\", only \"id\".")))
            }
            (None, _) => Err(RpcError::invalid_params(format!(
                "There is no resource \"{}\"; resources/templates/list names them.",
                text("uri")
            ))),
        },
        _ => Err(RpcError::invalid_params("\"ref\" must be of type ref/prompt or ref/resource.")),
    }
}

fn value_of(source: &Source, row: &Value) -> Option<String> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let value = match source {
        Source::Ids(_) => text("id")?.to_owned(),
        Source::Pipelines => text("key")?.to_owned(),
        Source::Contacts | Source::Words(_) => match text("email") {
            Some(email) => email.to_owned(),
            None => [text("first_name"), text("last_name")].into_iter().flatten().collect::<Vec<_>>().join(" "),
        },
    };
    (!value.is_empty()).then_some(value)
}
