//! Reads requests about runs and undo. All dialects have the same names for them.

use serde_json::{Map, Value};

use crate::dialect::arguments::Arguments;
use crate::model::ask::{Steps, Undoable};
use crate::model::fault::Fault;
use crate::model::value::has_nul;
use crate::model::who::{MAX_PROVENANCE_BYTES, checked_run_id};

/// The filters of a list of runs.
const FILTERS: &[&str] = &["actor", "agent", "run_id", "status", "since"];
/// The most bytes of a summary.
pub(super) const MAX_SUMMARY_BYTES: usize = 4000;

/// The statuses of runs.
const STATUSES: &[&str] = &["open", "complete", "failed", "undone"];

/// Reads a list of runs.
pub fn list(said: &Arguments<'_>) -> Result<Steps, Fault> {
    said.only_options(&[FILTERS, &["limit", "cursor"]].concat())?;
    let mut filters = Map::new();
    for name in FILTERS {
        if let Some(value) = said.option(name).filter(|value| !value.is_empty()) {
            // A space where a time's offset has its sign is an unescaped `+`.
            let value = if *name == "since" { value.replace(' ', "+") } else { value.to_owned() };
            filters.insert((*name).to_owned(), value.into());
        }
    }
    if let Some(Value::String(status)) = filters.get("status")
        && !STATUSES.contains(&status.as_str())
    {
        return Err(Fault::invalid(format!("status must be one of {}, not \"{status}\".", STATUSES.join(", "))));
    }
    Ok(Steps::ListRuns { filters, page: said.page()? })
}

/// Reads the opening of a run.
pub fn open(said: &mut Arguments<'_>) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["run_id", "agent", "reason"])?;
    let run_id = text(said, "run_id")?.ok_or_else(|| {
        Fault::invalid_with_hint(
            "\"run_id\" is missing.",
            "Send {\"run_id\": \"import-2026-11-28\"}, your own name for the run.",
        )
    })?;
    checked_run_id(run_id.as_bytes())?;
    let agent = short(said, "agent", MAX_PROVENANCE_BYTES)?;
    Ok(Steps::OpenRun { run_id, agent, reason: short(said, "reason", MAX_PROVENANCE_BYTES)? })
}

/// Reads the end of a run.
pub fn finish(said: &mut Arguments<'_>, run: &str) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["status", "summary"])?;
    let is_complete = match text(said, "status")?.as_deref() {
        Some("complete") => true,
        Some("failed") => false,
        _ => return Err(Fault::invalid("\"status\" must be \"complete\" or \"failed\".")),
    };
    Ok(Steps::FinishRun { run: run.to_owned(), is_complete, summary: short(said, "summary", MAX_SUMMARY_BYTES)? })
}

/// Reads an undo.
pub fn undo(said: &mut Arguments<'_>, what: Undoable) -> Result<Steps, Fault> {
    said.only_options(&[])?;
    said.only_fields(&["on_conflict"])?;
    let skips = match text(said, "on_conflict")?.as_deref() {
        None | Some("refuse") => false,
        Some("skip") => true,
        Some(_) => return Err(Fault::invalid("\"on_conflict\" must be \"refuse\" or \"skip\".")),
    };
    Ok(Steps::Undo { what, skips })
}

/// A text of at most so many bytes. Lists of runs have all of it.
fn short(said: &mut Arguments<'_>, name: &str, most: usize) -> Result<Option<String>, Fault> {
    match text(said, name)? {
        Some(text) if text.len() > most => {
            Err(Fault::invalid(format!("\"{name}\" has at most {most} bytes; this one has {}.", text.len())))
        }
        text => Ok(text),
    }
}

fn text(said: &mut Arguments<'_>, name: &str) -> Result<Option<String>, Fault> {
    match said.fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if has_nul(&value) => Err(Fault::invalid(format!("\"{name}\" contains a NUL character."))),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::invalid(format!("\"{name}\" must be a string."))),
    }
}
