//! The argument `filter` of tools that list: conditions on fields, in the names of either dialect.

use serde_json::Value;

use crate::dialect::relm::filter::OPERATORS;
use crate::dialect::stored_id;
use crate::dialect::tools::names::{column_of, word};
use crate::model::entity::by_table;
use crate::model::fault::{Fault, nearest};
use crate::model::filter::{Filter, Op, Reading, Subject};

/// The condition that a column has this value.
pub fn equals(column: &str, value: String) -> Filter {
    let reading = Reading { subject: Subject::Column(column.to_owned()), op: Op::Eq, values: vec![value] };
    Filter { parameter: column.to_owned(), readings: vec![reading] }
}

/// Reads a condition of `filter`: `"stage": "won"` or `"close_date": {"gte": "2026-01-01"}`.
pub fn filters(table: &str, name: &str, value: Value) -> Result<Vec<Filter>, Fault> {
    match value {
        Value::Object(conditions) => {
            conditions.into_iter().map(|(op, value)| filter(table, name, &op, value)).collect()
        }
        value => {
            let op = if value.is_array() { "in" } else { "eq" };
            Ok(vec![filter(table, name, op, value)?])
        }
    }
}

fn filter(table: &str, name: &str, op: &str, value: Value) -> Result<Filter, Fault> {
    let names = || OPERATORS.iter().map(|it| it.name);
    let Some(operator) = OPERATORS.iter().find(|it| it.name == op) else {
        let near = nearest(op, names()).map_or(String::new(), |it| format!("Did you mean \"{it}\"? "));
        return Err(Fault::invalid_with_hint(
            format!("filter.{name}: there is no operator \"{op}\"."),
            format!("{near}The operators are {}.", names().collect::<Vec<_>>().join(", ")),
        ));
    };
    let values: Vec<Value> = match value {
        Value::Array(items) => items,
        value => vec![value],
    };
    let texts: Option<Vec<String>> = values
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Some(stored_id(&text).into_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        })
        .collect();
    let is_list = matches!(operator.op, Op::In | Op::Has);
    let texts = texts.filter(|texts| !texts.is_empty() && (is_list || texts.len() == 1)).ok_or_else(|| {
        Fault::invalid_with_hint(
            format!("filter.{name}: \"{op}\" takes {}.", if is_list { "an array of values" } else { "one value" }),
            format!("For null, write {{\"{name}\": {{\"present\": false}}}}."),
        )
    })?;
    let op = match operator.op {
        Op::Contains if texts[0].contains('%') => Op::Like,
        op => op,
    };
    let subject = subject(table, name);
    let mut texts = texts;
    if let (Some(entity), Subject::Column(column)) = (by_table(table), &subject) {
        for text in &mut texts {
            if let Some(word) = word(entity, column, text) {
                *text = word.to_owned();
            }
        }
    }
    let parameter = format!("filter.{name}");
    Ok(Filter { parameter, readings: vec![Reading { subject, op, values: texts }] })
}

/// A column, or a key of a JSON column: `metadata.plan`.
fn subject(table: &str, name: &str) -> Subject {
    let column = |name: &str| by_table(table).map_or(name, |entity| column_of(entity, name)).to_owned();
    match name.split_once("->>").or_else(|| name.split_once('.')) {
        Some((json, key)) => Subject::Key { column: column(json), key: key.to_owned() },
        None => Subject::Column(column(name)),
    }
}
