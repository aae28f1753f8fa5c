//! Labels in the place of keys: a model may name a stage or a pipeline as people read it. The answer has the key.

use serde_json::{Map, Value};

use crate::model::answer::Answer;
use crate::model::ask::{Ask, PipelineName, RecordName, STAGES, Single};
use crate::model::filter::{Filter, Op, Subject};

/// The table of deals, and that of pipelines.
const DEALS: &str = "deals";
const PIPELINES: &str = "pipelines";
const PIPELINE: &str = "pipeline";
const STAGE: &str = "stage";

/// A pipeline or a stage: the key of the pipeline, its own key, and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The key of the pipeline that a stage is in.
    pub pipeline: Option<String>,
    /// The key.
    pub key: String,
    /// The label.
    pub label: String,
}

/// Reads the pipelines or stages of an answer.
pub fn labelled(answer: &Answer) -> Vec<Labelled> {
    let Answer::Page { rows, .. } = answer else { return Vec::new() };
    let one = |row: usize| {
        let text = |column: &str| rows.string(row, column);
        Some(Labelled { pipeline: text(PIPELINE), key: text("key")?, label: text("label")? })
    };
    (0..rows.len()).filter_map(one).collect()
}

/// Whether a text looks like a label rather than like a key.
fn is_label(text: &str) -> bool {
    text.chars().any(|it| it.is_uppercase() || it.is_whitespace())
}

/// Whether an ask has what may be labels, so that they must be looked up.
pub fn has_labels(ask: &Ask) -> bool {
    let mut found = false;
    let mut copy = match ask {
        Ask::Single(single) if matches!(single.table(), Some(DEALS | PIPELINES | STAGES)) => single.clone(),
        Ask::Single(_) | Ask::Steps(_) | Ask::Operations(_) | Ask::Control(_) => return false,
    };
    each(&mut copy, &mut |_, text, _| {
        found |= is_label(text);
        None
    });
    found
}

/// Puts keys in the place of labels. A label of no pipeline or stage, or of several, stays.
pub fn use_keys(ask: &mut Ask, pipelines: &[Labelled], stages: &[Labelled]) {
    let Ask::Single(ask) = ask else { return };
    each(ask, &mut |kind, text, within| match kind {
        PIPELINE => key_of(text, pipelines.iter()),
        _ => key_of(text, stages.iter().filter(|stage| within.is_none() || stage.pipeline.as_deref() == within)),
    });
}

/// The key that a text means: its own, or the only one with this label.
fn key_of<'a>(text: &str, all: impl Iterator<Item = &'a Labelled> + Clone) -> Option<String> {
    if all.clone().any(|it| it.key == text) {
        return None;
    }
    let wanted = text.trim().to_lowercase();
    let mut keys: Vec<&str> =
        all.filter(|it| it.label.trim().to_lowercase() == wanted).map(|it| it.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    match keys.as_slice() {
        [only] => Some((*only).to_owned()),
        _ => None,
    }
}

/// What a name is replaced by, if it is: its kind, the name, and the pipeline that the ask names.
type Replace<'a> = dyn FnMut(&'static str, &str, Option<&str>) -> Option<String> + 'a;

/// Calls a function with each name of a pipeline or stage. Pipelines come first, because stages are in them.
fn each(ask: &mut Single, replace: &mut Replace<'_>) {
    match ask {
        Single::Create { table, values, .. } | Single::Update { table, values, .. } if table == DEALS => {
            in_values(values, replace);
        }
        Single::List { table, filters, .. } if table == DEALS => {
            in_filters(filters, PIPELINE, None, replace);
            let within = filters.iter().find_map(pipeline_of).map(str::to_owned);
            in_filters(filters, STAGE, within.as_deref(), replace);
        }
        Single::Find { table, id: RecordName::Id(id), .. }
        | Single::Update { table, id: RecordName::Id(id), .. }
        | Single::Delete { table, id: RecordName::Id(id), .. }
            if table == PIPELINES =>
        {
            put(id, replace(PIPELINE, id, None));
        }
        Single::Find { id: RecordName::Stage { pipeline, key }, .. }
        | Single::Update { id: RecordName::Stage { pipeline, key }, .. }
        | Single::Delete { id: RecordName::Stage { pipeline, key }, .. } => {
            in_pipeline(pipeline, replace);
            let within = match &*pipeline {
                PipelineName::Key(key) => Some(key.clone()),
                PipelineName::Default => None,
            };
            put(key, replace(STAGE, key, within.as_deref()));
        }
        Single::Stages { pipeline, .. } | Single::CreateStage { pipeline, .. } => in_pipeline(pipeline, replace),
        _ => {}
    }
}

fn put(text: &mut String, key: Option<String>) {
    if let Some(key) = key {
        *text = key;
    }
}

fn in_pipeline(pipeline: &mut PipelineName, replace: &mut Replace<'_>) {
    if let PipelineName::Key(key) = pipeline {
        put(key, replace(PIPELINE, key, None));
    }
}

fn in_values(values: &mut Map<String, Value>, replace: &mut Replace<'_>) {
    if let Some(Value::String(pipeline)) = values.get_mut(PIPELINE) {
        put(pipeline, replace(PIPELINE, pipeline, None));
    }
    let within = values.get(PIPELINE).and_then(Value::as_str).map(str::to_owned);
    if let Some(Value::String(stage)) = values.get_mut(STAGE) {
        put(stage, replace(STAGE, stage, within.as_deref()));
    }
}

fn is_of(filter: &Filter, column: &str) -> bool {
    let is_equality = |op: &Op| matches!(op, Op::Eq | Op::In | Op::Neq);
    matches!(filter.readings.as_slice(), [only] if is_equality(&only.op) && only.subject == Subject::Column(column.to_owned()))
}

fn in_filters(filters: &mut [Filter], column: &'static str, within: Option<&str>, replace: &mut Replace<'_>) {
    for filter in filters.iter_mut().filter(|filter| is_of(filter, column)) {
        for value in filter.readings.iter_mut().flat_map(|reading| &mut reading.values) {
            put(value, replace(column, value, within));
        }
    }
}

fn pipeline_of(filter: &Filter) -> Option<&str> {
    let reading = filter.readings.first().filter(|reading| reading.op == Op::Eq && is_of(filter, PIPELINE))?;
    reading.values.first().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ask::UnknownStage;

    fn labelled(pipeline: Option<&str>, key: &str, label: &str) -> Labelled {
        Labelled { pipeline: pipeline.map(str::to_owned), key: key.into(), label: label.into() }
    }

    fn check(values: Value, has: bool, expected: Value) {
        let Value::Object(fields) = values.clone() else { panic!() };
        let table = DEALS.to_owned();
        let mut ask: Ask = Single::Create { table, values: fields, unknown_stage: UnknownStage::Add }.into();
        assert_eq!(has_labels(&ask), has, "{values}");
        let pipelines = [labelled(None, "sales", "Sales"), labelled(None, "renewals", "Renewals 2026")];
        let stages = [
            labelled(Some("sales"), "won", "Closed Won"),
            labelled(Some("sales"), "Odd", "Even"),
            labelled(Some("renewals"), "done", "Closed Won"),
        ];
        use_keys(&mut ask, &pipelines, &stages);
        let Ask::Single(Single::Create { values: read, .. }) = ask else { panic!() };
        assert_eq!(Value::Object(read), expected, "{values}");
    }

    #[test]
    fn a_label_stands_for_its_key() {
        let won = json!({"pipeline": "sales", "stage": "won"});
        check(won.clone(), false, won.clone());
        check(json!({"pipeline": "Sales", "stage": "closed won"}), true, won);
        check(
            json!({"pipeline": "renewals 2026", "stage": "Closed Won"}),
            true,
            json!({"pipeline": "renewals", "stage": "done"}),
        );
        // A label of two stages names neither, and a key is no label.
        check(json!({"stage": "Closed Won"}), true, json!({"stage": "Closed Won"}));
        check(json!({"stage": "Even"}), true, json!({"stage": "Odd"}));
        check(json!({"stage": "Odd", "name": "Closed Won"}), true, json!({"stage": "Odd", "name": "Closed Won"}));
        check(json!({"stage": "Unknown"}), true, json!({"stage": "Unknown"}));
    }
}
