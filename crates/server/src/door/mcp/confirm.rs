//! What a tool would remove for good is confirmed first: by the argument `confirm`, or by the person, whom a client of 2026-07-28 can ask
//! (elicitation). No state is kept: the client sends the call again with the answer.

use serde_json::{Map, Value, json};

use crm::dialect::controls::Limits;
use crm::dialect::tools::{self, Tool, ToolAsk};
use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::fault::Fault;

use crate::access::Caller;
use crate::door::mcp::asked::answer;
use crate::door::mcp::operations::Operations;
use crate::door::mcp::session::Session;
use crate::door::mcp::version::{self, Era};
use crate::hall::Controls;

/// The code of the fault of a call that is not confirmed.
pub const REQUIRED: &str = "confirmation_required";
/// The name of the question, and of its field.
const CONFIRM: &str = "confirm";

impl Session<'_, '_> {
    /// Refuses a call that would remove something for good. The fault says what would be lost; it is found out by a dry run.
    pub async fn require_confirmation(&mut self, caller: &Caller, ask: &ToolAsk, limits: &Limits) -> Result<(), Fault> {
        let lost = match &ask.ask {
            Ask::Control(control) => {
                let shown = tools::control_shown(control).ok_or_else(|| Fault::internal("nothing is removed"))?;
                let (found, _) = answer(self.app, caller, &Ask::Control(shown), &Controls::default()).await?;
                Some(tools::control_loss(control, &found))
            }
            ask_of_records => {
                self.envelope.table = ask_of_records.table().map(str::to_owned);
                let operations = Operations::new(self.envelope, ask.view.max_tokens);
                let limits = Limits { dry_run: Some(true), ..limits.clone() };
                let controls = Controls { wire: Some(&operations), ..Controls::of(&limits) };
                match answer(self.app, caller, ask_of_records, &controls).await?.0 {
                    Answer::DryRun(dry) => tools::loss(&ask.view, &dry.answer, &dry.outcome),
                    other => return Err(Fault::internal(format!("a dry run came to {other:?}"))),
                }
            }
        };
        let Some(lost) = lost else { return Ok(()) };
        let message = format!("This would remove for good: {lost}. Nothing was done.");
        Err(Fault::Refused { code: REQUIRED, message, hint: None })
    }

    /// The result that has the client ask the person, if it can.
    pub fn question(&self, fault: &Fault, params: &Map<String, Value>) -> Option<Vec<u8>> {
        let Fault::Refused { code: REQUIRED, message, .. } = fault else { return None };
        if self.era != Era::Modern || !version::can_ask(params) {
            return None;
        }
        let field = json!({"type": "boolean", "title": "Remove it for good"});
        let schema = json!({"type": "object", "properties": {CONFIRM: field}, "required": [CONFIRM]});
        let question = json!({"mode": "form", "message": message, "requestedSchema": schema});
        let request = json!({"method": "elicitation/create", "params": question});
        let result = json!({"resultType": "input_required", "inputRequests": {CONFIRM: request}});
        Some(result.to_string().into_bytes())
    }
}

/// Reads the person's answer, which the client sends with the call. The argument takes its place.
pub fn answered(tool: &Tool, params: &Map<String, Value>, arguments: &mut Map<String, Value>) -> Result<(), Fault> {
    let Some(response) = params.get("inputResponses").and_then(|it| it.get(CONFIRM)) else { return Ok(()) };
    let agrees = response["action"] == "accept" && response["content"][CONFIRM] == true;
    if !agrees {
        return Err(Fault::Refused {
            code: REQUIRED,
            message: "The person did not agree. Nothing was done.".into(),
            hint: Some("Do not call it again unless the person asks for it.".into()),
        });
    }
    if tools::takes_confirm(tool) {
        arguments.insert(CONFIRM.into(), true.into());
    }
    Ok(())
}
