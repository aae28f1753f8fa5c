//! Calls of tools: the dialect reads the arguments, the hall performs the asks, and the dialect shows the answer.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use axum::http::header;
use futures_util::FutureExt;
use futures_util::future::{try_join, try_join_all};
use serde_json::{Map, Value};

use crm::dialect::controls::Limits;
use crm::dialect::tools::{self, Act, Beside, Shown, Tool, ToolAnswer, ToolAsk};
use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::fault::Fault;
use crm::model::value::name_of;
use crm::model::who::{Provenance, Role, Who};

use crate::access::Caller;
use crate::app::App;
use crate::clients::ClientProgram;
use crate::door::mcp::asked::answer;
use crate::door::mcp::confirm;
use crate::door::mcp::operations::Operations;
use crate::door::mcp::rpc::RpcError;
use crate::door::mcp::session::Session;
use crate::door::mcp::version::{self, Era};
use crate::hall::{self, Controls};

impl Session<'_, '_> {
    /// Calls a tool. What is wrong with the call is its result, so that the model sees it.
    pub async fn call(&mut self, mut params: Map<String, Value>) -> Result<Vec<u8>, RpcError> {
        let (tool, mut arguments) = self.named(&mut params)?;
        let caller = self.caller_of(&params);
        self.envelope.tool = Some(tool.name());
        let performed = match confirm::answered(&tool, &params, &mut arguments) {
            Ok(()) => guarded(Box::pin(self.perform(&tool, arguments, caller))).await,
            // The person is not asked again.
            Err(fault) => {
                params.remove("_meta");
                Err(fault)
            }
        };
        let (object, is_error) = match performed {
            Ok(object) => (object, false),
            Err(fault) => {
                self.envelope.tool_code = Some(fault.code());
                if let Some(question) = self.question(&fault, &params) {
                    return Ok(question);
                }
                if let Fault::Internal { cause, place } = &fault {
                    let (request_id, tool) = (self.id, tool.name());
                    tracing::error!(request_id, tool, cause, %place, "a tool failed");
                }
                (self.envelope.with_meta(None, |dialect, meta| tools::error(&fault, &tool, dialect, meta)), true)
            }
        };
        Ok(result(&object, is_error, self.era))
    }

    /// The tool that the parameters name, and its arguments.
    fn named(&self, params: &mut Map<String, Value>) -> Result<(Tool, Map<String, Value>), RpcError> {
        let Some(name) = params.get("name").and_then(Value::as_str) else {
            return Err(RpcError::invalid_params("\"name\" must be the name of a tool."));
        };
        let Some(tool) = tools::by_name(name) else {
            let near =
                tools::nearest_name(name, self.offer).map_or(String::new(), |it| format!(" Did you mean \"{it}\"?"));
            return Err(RpcError::invalid_params(format!(
                "There is no tool \"{name}\".{near} tools/list names them all."
            )));
        };
        match params.remove("arguments") {
            None | Some(Value::Null) => Ok((tool, Map::new())),
            Some(Value::Object(arguments)) => Ok((tool, arguments)),
            Some(other) => {
                Err(RpcError::invalid_params(format!("\"arguments\" must be an object, not {}.", name_of(&other))))
            }
        }
    }

    /// The caller, with the client's name as the agent if the request has no other.
    pub fn caller_of(&self, params: &Map<String, Value>) -> Caller {
        let mut caller = self.caller.clone();
        let user_agent = || {
            let value = self.head.headers.get(header::USER_AGENT)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if caller.provenance.agent.is_none() {
            let initialized = || self.app.clients.name(&self.program(), self.app.clock.unix_ms());
            let known = || initialized().map(|name| name.to_string());
            let agent = version::client(params).or_else(known).or_else(user_agent);
            let said = Provenance::new(self.id, agent.as_deref().map(str::as_bytes), None, None);
            caller.provenance.agent = said.agent;
        }
        caller
    }

    /// The program that calls.
    pub fn program(&self) -> ClientProgram {
        let program = self.head.headers.get(header::USER_AGENT);
        ClientProgram {
            workspace_id: self.caller.who.workspace_id.clone(),
            actor: self.caller.who.actor.clone(),
            program: program.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        }
    }

    /// Performs a tool's call and shows its answer.
    pub async fn perform(
        &mut self,
        tool: &Tool,
        arguments: Map<String, Value>,
        mut caller: Caller,
    ) -> Result<Map<String, Value>, Fault> {
        if !self.offer.allows(tool) {
            return Err(Fault::Forbidden { message: format!("This key may not use {}.", tool.name()) });
        }
        let dialect = self.envelope.dialect;
        // A page that turns out too long is read again with a smaller limit.
        let again = (!tool.kind.act.writes()).then(|| arguments.clone());
        let mut ask = tools::read(tool, dialect, arguments, None)?;
        note(&mut caller, &ask);
        let limits = self.limits.clone().and(&ask.limits)?;
        if tool.kind.act == Act::Query {
            // The session of a viewer is read-only in PostgreSQL itself.
            caller.who = Who { role: Role::Viewer, ..caller.who };
        }
        if tools::has_labels(&ask.ask) {
            // On the heap, because it is large and rare.
            Box::pin(self.use_keys(&caller, &mut ask.ask)).await?;
        }
        if ask.is_unconfirmed() && limits.dry_run != Some(true) {
            // On the heap, because it is large and rare.
            Box::pin(self.require_confirmation(&caller, &ask, &limits)).await?;
        }
        let mut asked = None;
        loop {
            let answers = self.answers(&caller, &ask, &limits).await?;
            let shown = self.show(&ask, answers, asked)?;
            match (shown, &again) {
                (Shown::Whole(object), _) => return Ok(object),
                (Shown::TooLong { rows }, Some(arguments)) => {
                    asked = Some(ask.view.limit);
                    ask = tools::read(tool, dialect, arguments.clone(), Some(rows))?;
                    if tools::has_labels(&ask.ask) {
                        Box::pin(self.use_keys(&caller, &mut ask.ask)).await?;
                    }
                }
                (Shown::TooLong { .. }, None) => return Err(Fault::internal("a write has no pages")),
            }
        }
    }

    /// The answers to the ask and to those beside it. They are performed at the same time.
    async fn answers(&mut self, caller: &Caller, ask: &ToolAsk, limits: &Limits) -> Result<ToolAnswer, Fault> {
        self.envelope.table = ask.ask.table().map(str::to_owned);
        if !ask.beside.is_empty() {
            let asks: Vec<&Ask> = [&ask.ask].into_iter().chain(ask.beside.iter().map(|it| &it.ask)).collect();
            let answers = hall::read_together(self.app, caller, &asks).await.map(Vec::into_iter);
            if let Some(mut answers) = answers
                && let Some(main) = answers.next().flatten()
            {
                let beside = ask.beside.iter().zip(answers);
                let beside = beside.filter_map(|(it, answer)| Some((it.key, answer?))).collect();
                return Ok(ToolAnswer { answer: main, beside, effect: None, duplicates: Vec::new() });
            }
        }
        let operations = Operations::new(self.envelope, ask.view.max_tokens);
        let (progress, values, tells) = (self.progress, self.values, ask.wants_effect());
        let controls = Controls { wire: Some(&operations), progress, values, tells, ..Controls::of(limits) };
        if ask.beside.is_empty() {
            // On the heap, because it is large and few calls need it.
            let duplicates = match tools::search_for(&ask.ask) {
                Some(search) => Box::pin(self.duplicates(caller, &ask.ask, &search)).await,
                None => Vec::new(),
            };
            let (answer, effect) = answer(self.app, caller, &ask.ask, &controls).await?;
            return Ok(ToolAnswer { answer, beside: Vec::new(), effect, duplicates });
        }
        let beside = try_join_all(ask.beside.iter().map(|beside| answer_beside(self.app, caller, beside)));
        // On the heap, because it is large and rare.
        let ((answer, effect), beside) =
            Box::pin(try_join(answer(self.app, caller, &ask.ask, &controls), beside)).await?;
        let beside = beside.into_iter().flatten().collect();
        Ok(ToolAnswer { answer, beside, effect, duplicates: Vec::new() })
    }

    /// Other records of a new one's name. A search that fails does not stop the work.
    async fn duplicates(&self, caller: &Caller, ask: &Ask, search: &Ask) -> Vec<Value> {
        match answer(self.app, caller, search, &Controls::default()).await {
            Ok((found, _)) => tools::of_same_name(ask, &found, self.envelope.dialect),
            Err(fault) => {
                tracing::debug!(request_id = self.id, code = fault.code(), "no search for duplicates");
                Vec::new()
            }
        }
    }

    fn show(&self, ask: &ToolAsk, answers: ToolAnswer, asked: Option<usize>) -> Result<Shown, Fault> {
        self.envelope.with_meta(ask.ask.table(), |dialect, meta| tools::show(dialect, &ask.view, answers, asked, meta))
    }
}

/// Does the work of a call. A panic in it is an error of this call only. The work is on the heap: it is large, and would be moved
/// with the future of every request.
pub async fn guarded<T>(work: Pin<Box<impl Future<Output = Result<T, Fault>>>>) -> Result<T, Fault> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Fault::internal("a panic in a tool, see above")))
}

/// The records beside a record; `None` if the workspace's plan lacks them.
async fn answer_beside(app: &App, caller: &Caller, beside: &Beside) -> Result<Option<(&'static str, Answer)>, Fault> {
    match answer(app, caller, &beside.ask, &Controls::default()).await {
        Ok((answer, _)) => Ok(Some((beside.key, answer))),
        Err(fault) if tools::failed_part(&fault) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Adds the reason and the run that a call names to its provenance.
fn note(caller: &mut Caller, ask: &ToolAsk) {
    let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
    let (run_id, reason) = (bytes(&ask.run_id), bytes(&ask.reason));
    let said = Provenance::new("", None, run_id.as_deref(), reason.as_deref());
    caller.provenance.run_id = said.run_id.or(caller.provenance.run_id.take());
    caller.provenance.reason = said.reason.or(caller.provenance.reason.take());
}

/// The result of a call. Some clients show a model only the text, others only the object, so both say the same.
fn result(object: &Map<String, Value>, is_error: bool, era: Era) -> Vec<u8> {
    // Maps with text keys are always JSON.
    let object = serde_json::to_string(object).unwrap_or_default();
    let mut out = Vec::with_capacity(object.len() * 5 / 2 + 128);
    out.extend_from_slice(b"{\"content\":[{\"type\":\"text\",\"text\":");
    let _ = serde_json::to_writer(&mut out, &object);
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(if is_error { b",\"isError\":true" } else { b",\"isError\":false" });
    if era == Era::Modern {
        out.extend_from_slice(b",\"resultType\":\"complete\"");
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_call() {
        let panicking = async {
            if true {
                panic!("a defect of a tool");
            }
            Ok(())
        };
        assert_eq!(guarded(Box::pin(panicking)).await.map_err(|fault| fault.code()), Err("internal_error"));
        assert_eq!(guarded(Box::pin(async { Ok(7) })).await, Ok(7));
    }
}
