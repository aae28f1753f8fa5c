//! The asks of automations' actions, for their runs and for their tests.

use serde_json::{Map, Value};

use crm::dialect::column_of_any;
use crm::model::answer::Answer;
use crm::model::ask::{Ask, Related, Single};
use crm::model::fault::Fault;
use crm::model::filter::Deleted;
use crm::plan::automation::{Context, ask, filled, subjects};
use crm::plan::placeholder::SUBJECTS;

use crate::access::Caller;
use crate::app::App;
use crate::hall::{Controls, Performed, perform_allowed};

/// The ask of an action about the records of an event, with its placeholders filled.
pub async fn ask_of(app: &App, caller: &Caller, action: &Value, context: &Context) -> Result<Ask, Fault> {
    let records = records(app, caller, action, context).await?;
    let action = filled(action, column_of_any, &records).map_err(Fault::invalid)?;
    ask(&action, context).map_err(Fault::invalid)
}

/// The records that the placeholders of an action name, by their columns.
async fn records(app: &App, caller: &Caller, action: &Value, context: &Context) -> Result<Map<String, Value>, Fault> {
    let mut records = Map::new();
    for (subject, table) in SUBJECTS {
        let Some(id) = context.id_of(subject).filter(|_| subjects(action, column_of_any).contains(&subject)) else {
            continue;
        };
        let (deleted, related) = (Deleted::Include, Related::Named(Vec::new()));
        let find = Ask::from(Single::Find { table: table.into(), id: id.into(), deleted, related });
        match Box::pin(perform_allowed(app, caller, &find, &Controls::default())).await {
            Ok(Performed::Done(Answer::Record { record, .. }, _)) => {
                let columns = record.row.columns().iter().take(record.width).enumerate();
                let cell = |at| serde_json::from_slice(record.row.cell(0, at)).unwrap_or_default();
                let row: Map<String, Value> = columns.map(|(at, it)| (it.name.to_string(), cell(at))).collect();
                records.insert(subject.to_owned(), row.into());
            }
            Ok(_) => {}
            // It was removed for good. The action says what it lacks.
            Err(fault) if fault.status() == 404 => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(records)
}
