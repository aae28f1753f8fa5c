//! The stages that the actions of an automation name.

use serde_json::Value;

use crate::model::fault::{Fault, nearest};
use crate::plan::control::broken;

/// Refuses actions that move deals to a stage that the named pipeline lacks, or that no pipeline has and that looks like a slip of the
/// pen: Relm's own example names a stage that its workspaces do not have yet. A run says then that there is none. `stages` are
/// all pairs of a pipeline's key and a stage's key, in order.
pub fn check_stages(actions: &[Value], stages: &[(String, String)]) -> Result<(), Fault> {
    for (at, action) in actions.iter().enumerate().filter(|(_, action)| action["type"] == "move_deal_stage") {
        let (stage, pipeline) = (action["stage"].as_str().unwrap_or_default(), action["pipeline"].as_str());
        let of = stages.iter().filter(|(key, _)| pipeline.is_none_or(|it| it == key)).map(|(_, stage)| stage.as_str());
        let found: Vec<&str> = distinct(of);
        if let Some(pipeline) = pipeline.filter(|_| found.is_empty()) {
            let known = distinct(stages.iter().map(|(key, _)| key.as_str())).join(", ");
            let path = format!("actions[{at}].pipeline");
            let message = format!("{path}: no such pipeline \"{pipeline}\" with stages; there are {known}.");
            return Err(broken(&path, message, None));
        }
        let may_come = || pipeline.is_none() && nearest(stage, found.iter().copied()).is_none();
        if !found.contains(&stage) && !may_come() {
            let path = format!("actions[{at}].stage");
            let message = format!("{path}: no such stage \"{stage}\"; there are {}.", found.join(", "));
            return Err(broken(&path, message, Some("POST /v1/pipelines/:key/stages adds a stage.".into())));
        }
    }
    Ok(())
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.fold(Vec::new(), |mut all, name| {
        if !all.contains(&name) {
            all.push(name);
        }
        all
    })
}
