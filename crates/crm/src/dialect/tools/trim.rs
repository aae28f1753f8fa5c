//! Makes answers small that are not rows of a table: runs, changes, events, and the answers of a batch of operations. Long texts
//! are cut first. Then a page is asked for again with fewer rows, and of a batch's answers only the ids are left.

use serde_json::{Map, Value, json};

use crate::dialect::tools::shrink::{BYTES_A_TOKEN, ENVELOPE, LENGTHS};
use crate::model::answer::Answer;

/// What was cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// What was cut, in words.
    pub said: Option<String>,
    /// The rows of a page that fit, if not all of them do.
    pub rows: Option<usize>,
}

/// Whether answers of this kind are cut here. The others are cut as rows.
pub fn is_here(answer: &Answer) -> bool {
    match answer {
        Answer::Operations(_)
        | Answer::Events(_)
        | Answer::Run { .. }
        | Answer::Runs { .. }
        | Answer::Changes { .. }
        | Answer::Undone { .. } => true,
        Answer::Record { .. }
        | Answer::Written { .. }
        | Answer::Email { .. }
        | Answer::Page { .. }
        | Answer::Deleted { .. }
        | Answer::Batch(_)
        | Answer::Imported(_)
        | Answer::Found(_)
        | Answer::Rows { .. }
        | Answer::Tables { .. }
        | Answer::Object { .. }
        | Answer::Sql(_)
        | Answer::DryRun(_)
        | Answer::Workspace { .. } => false,
    }
}

/// Cuts an answer, which was written as this object, to its tokens.
pub fn fit(object: &mut Map<String, Value>, answer: &Answer, max_tokens: usize) -> Trimmed {
    let budget = (max_tokens * BYTES_A_TOKEN).saturating_sub(ENVELOPE);
    let mut trimmed = Trimmed::default();
    if size(object) <= budget {
        return trimmed;
    }
    // The longest length with which it fits, or the shortest.
    let shortest = LENGTHS[LENGTHS.len() - 1];
    let length = LENGTHS.into_iter().find(|length| size_at(object, *length) <= budget).unwrap_or(shortest);
    let whole = size(object);
    object.values_mut().for_each(|value| shorten(value, length));
    let texts = (size(object) != whole).then_some("Long texts are cut.");
    trimmed.said = texts.map(str::to_owned);
    if size(object) <= budget {
        return trimmed;
    }
    match answer {
        Answer::Operations(_) => {
            trimmed.said = Some([texts.unwrap_or_default(), &only_ids(object, budget)].join(" ").trim().to_owned());
        }
        Answer::Undone { .. } => {
            let left = budget.saturating_sub(size(object) - object.get("skipped").map_or(0, written));
            if let Some(Value::Array(rows)) = object.get_mut("skipped") {
                let (shown, all) = (that_fit(rows, left), rows.len());
                rows.truncate(shown);
                trimmed.said = Some(format!("{shown} of {all} skipped rows are shown."));
            }
        }
        _ => {
            let rows = object.get("data").and_then(Value::as_array);
            trimmed.rows = rows.map(|rows| (that_fit(rows, budget).max(1), rows.len())).and_then(|(shown, all)| {
                // Its cursor must lead on from its last row.
                (shown < all).then_some(shown)
            });
        }
    }
    trimmed
}

fn size(object: &Map<String, Value>) -> usize {
    size_at(object, usize::MAX)
}

/// The bytes of an object as JSON, with texts of at most this length.
fn size_at(object: &Map<String, Value>, length: usize) -> usize {
    object.iter().map(|(name, value)| name.len() + 4 + written_at(value, length)).sum::<usize>() + 2
}

fn written(value: &Value) -> usize {
    written_at(value, usize::MAX)
}

fn written_at(value: &Value, length: usize) -> usize {
    match value {
        Value::String(text) => text.len().min(length.saturating_add(60)) + 2,
        Value::Array(items) => items.iter().map(|item| written_at(item, length) + 1).sum::<usize>() + 2,
        Value::Object(members) => size_at(members, length),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string().len(),
    }
}

/// How many of the first rows have at most this many bytes.
fn that_fit(rows: &[Value], mut left: usize) -> usize {
    let fits = |row: &&Value| match left.checked_sub(written(row) + 1) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    rows.iter().take_while(fits).count()
}

/// Cuts long texts at any depth. A cut text says how long it was.
fn shorten(value: &mut Value, length: usize) {
    match value {
        Value::String(text) if text.len() > length + 60 => {
            let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= length).last().unwrap_or(0);
            *text = format!("{}… [cut: {} characters in all]", &text[..end], text.chars().count());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, length)),
        Value::Object(members) => members.values_mut().for_each(|member| shorten(member, length)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Leaves only the ids of the largest answers of a batch, until all fit.
fn only_ids(object: &mut Map<String, Value>, budget: usize) -> String {
    let whole = size(object);
    let Some(Value::Array(answers)) = object.get_mut("data") else { return String::new() };
    let mut largest: Vec<(usize, usize)> = answers.iter().map(written).enumerate().collect();
    largest.sort_by_key(|found| std::cmp::Reverse((found.1, found.0)));
    let (mut bytes, mut cut) = (whole, Vec::new());
    for (at, size) in largest {
        if bytes <= budget {
            break;
        }
        if let Some(body) = answers[at].get_mut("body") {
            *body = match body.get("id").cloned() {
                Some(id) => json!({"id": id}),
                None => Value::Null,
            };
        }
        bytes = bytes - size + written(&answers[at]);
        cut.push(at);
    }
    cut.sort_unstable();
    let cut: Vec<String> = cut.iter().map(usize::to_string).collect();
    format!("Only the ids of these operations' answers are shown: {}.", cut.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("{value}") };
        object
    }

    #[test]
    fn the_largest_answers_of_a_batch_keep_their_ids() {
        let body = |id: &str, fields: usize| {
            let mut body: Map<String, Value> = (0..fields).map(|at| (format!("field_{at}"), at.into())).collect();
            body.insert("id".into(), id.into());
            json!({"status": 201, "body": body})
        };
        let mut batch = object(json!({"data": [body("a", 1), body("b", 200), body("c", 2)]}));
        let trimmed = fit(&mut batch, &Answer::Operations(Vec::new()), 200);
        assert_eq!(batch["data"][1], json!({"status": 201, "body": {"id": "b"}}));
        assert_eq!(batch["data"][0]["body"]["field_0"], 0);
        assert!(trimmed.said.is_some_and(|said| said.ends_with(": 1.")), "{batch:?}");
    }

    #[test]
    fn texts_are_cut_before_rows() {
        let rows: Vec<Value> =
            (0..10).map(|at| json!({"at": at, "changes": {"body": {"to": "x".repeat(900)}}})).collect();
        let answer = Answer::Changes { changes: Vec::new(), next_cursor: None, limit: 10 };
        let mut page = object(json!({"data": rows}));
        assert_eq!(fit(&mut page, &answer, 10_000), Trimmed::default());
        let whole = page.clone();
        let trimmed = fit(&mut page, &answer, 1_600);
        assert_eq!((trimmed.rows, trimmed.said.as_deref()), (None, Some("Long texts are cut.")));
        assert!(page["data"][9]["changes"]["body"]["to"].as_str().is_some_and(|it| it.contains("900 characters")));
        let mut page = whole;
        let trimmed = fit(&mut page, &answer, 300);
        assert!(trimmed.rows.is_some_and(|rows| (1..10).contains(&rows)), "{trimmed:?}");
        let one = fit(&mut page, &answer, 1);
        assert_eq!(one.rows, Some(1), "a page has at least one row");
    }
}
