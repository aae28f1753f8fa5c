//! Makes answers small: chooses the columns of lists, cuts long texts, and then rows, until the answer fits the tokens
//! that the call allows. It works on the rows of the database, so that a large result never becomes a tree of values.

use crate::dialect::tools::View;
use crate::dialect::tools::names::{STAMPED, column_of, is_brief, own};
use crate::dialect::{Dialect, json};
use crate::model::answer::Answer;
use crate::model::entity::{Entity, by_table};
use crate::model::fault::{Fault, nearest};
use crate::model::rows::Rows;

/// Bytes of JSON a token, at least. Text in most languages has more.
pub(super) const BYTES_A_TOKEN: usize = 3;
/// Bytes of an answer beside its cells, and of a row beside its cells.
pub(super) const ENVELOPE: usize = 200;
const ROW: usize = 40;
/// Bytes of a key with its quotes, colon and comma.
const KEY: usize = 4;
/// The lengths to which texts are cut, in bytes of JSON, until the answer fits.
pub(super) const LENGTHS: [usize; 4] = [4_000, 1_000, 300, 100];

/// What was cut of an answer.
#[derive(Debug, Default)]
pub struct Cut {
    /// The columns with texts that were cut, in the names of the database.
    pub columns: Vec<String>,
    /// The rows that fit, if not all of them do.
    pub rows: Option<usize>,
    /// The rows that there were.
    pub of: usize,
}

/// Leaves out the columns that the call does not ask for.
pub fn choose(answer: &mut Answer, view: &View, dialect: &Dialect) -> Result<(), Fault> {
    match answer {
        Answer::Page { entity, rows, width, .. } => {
            let entity = *entity;
            let chosen = chosen(entity, rows, *width, view, dialect)?;
            *rows = rows.rewritten(&chosen, copy);
            *width = chosen.len();
        }
        Answer::Found(found) if !view.is_detailed => {
            for (entity, rows) in &mut found.tables {
                *rows = brief(Some(*entity), rows);
            }
        }
        Answer::Record { record, .. } | Answer::Email { record, .. } if !view.is_detailed => {
            for (key, rows) in &mut record.related {
                *rows = brief(by_table(key), rows);
            }
        }
        Answer::Batch(batch) if !view.is_detailed => {
            let entity = batch.entity;
            let chosen = brief_columns(entity, &batch.rows, batch.width);
            batch.rows = batch.rows.rewritten(&chosen, copy);
            batch.width = chosen.len();
        }
        _ => {}
    }
    Ok(())
}

fn copy(out: &mut Vec<u8>, _: usize, cell: &[u8]) {
    out.extend_from_slice(cell);
}

fn brief(entity: Option<&Entity>, rows: &Rows) -> Rows {
    rows.rewritten(&brief_columns(entity, rows, rows.columns().len()), copy)
}

/// The columns of a page that the call asks for.
fn chosen(
    entity: Option<&'static Entity>,
    rows: &Rows,
    width: usize,
    view: &View,
    dialect: &Dialect,
) -> Result<Vec<usize>, Fault> {
    if view.is_detailed {
        return Ok((0..width).collect());
    }
    if view.fields.is_empty() {
        return Ok(brief_columns(entity, rows, width));
    }
    let names = || rows.columns()[..width].iter().map(|column| &*column.name);
    let mut chosen: Vec<usize> = names().position(|name| name == "id").into_iter().collect();
    for field in &view.fields {
        let column = entity.map_or(field.as_str(), |entity| column_of(entity, field));
        match names().position(|name| name == column) {
            Some(at) if chosen.contains(&at) => {}
            Some(at) => chosen.push(at),
            None => {
                let own = names().map(|name| own_name(dialect, entity, name));
                return Err(Fault::Unknown { what: "field", name: field.clone(), nearest: nearest(field, own) });
            }
        }
    }
    Ok(chosen)
}

fn own_name<'a>(dialect: &Dialect, entity: Option<&'static Entity>, column: &'a str) -> &'a str {
    entity.map_or(column, |entity| own(dialect, entity, column))
}

/// The columns that lists show by default. Of a custom table that is all but the times of its rows' changes.
fn brief_columns(entity: Option<&Entity>, rows: &Rows, width: usize) -> Vec<usize> {
    let is_shown = |name: &str| match entity {
        None => !STAMPED.contains(&name),
        // The score of a search.
        Some(_) if matches!(name, "id" | "score") => true,
        Some(entity) => entity.fields.iter().any(|field| field.name == name && is_brief(field)),
    };
    (0..width).filter(|at| is_shown(&rows.columns()[*at].name)).collect()
}

/// Cuts texts, and counts the rows that fit.
pub fn fit(answer: &mut Answer, max_tokens: usize) -> Cut {
    let budget = max_tokens * BYTES_A_TOKEN;
    let parts = parts(answer);
    let whole: usize = parts.iter().map(|rows| size(rows, usize::MAX)).sum();
    let of: usize = parts.iter().map(|rows| rows.len()).sum();
    let mut cut = Cut { of, ..Cut::default() };
    if whole + ENVELOPE <= budget {
        return cut;
    }
    let size_at = |length: usize| parts.iter().map(|rows| size(rows, length)).sum::<usize>() + ENVELOPE;
    let length = LENGTHS.into_iter().find(|length| size_at(*length) <= budget).unwrap_or(LENGTHS[LENGTHS.len() - 1]);
    if size_at(length) > budget {
        // Whole rows are in the order of the answer, and each costs much the same.
        let each = (size_at(length) - ENVELOPE) / of.max(1) + 1;
        cut.rows = Some((budget.saturating_sub(ENVELOPE) / each).clamp(1, of.max(1))).filter(|rows| *rows < of);
    }
    for rows in parts_mut(answer) {
        *rows = shortened(rows, length, &mut cut.columns);
    }
    cut
}

/// All rows of an answer.
fn parts(answer: &Answer) -> Vec<&Rows> {
    match answer {
        Answer::Page { rows, .. } | Answer::Rows { rows, .. } | Answer::Tables { rows, .. } => vec![rows],
        Answer::Record { record, .. } | Answer::Written { record, .. } | Answer::Email { record, .. } => {
            [&record.row].into_iter().chain(record.related.iter().map(|(_, rows)| rows)).collect()
        }
        Answer::Batch(batch) => vec![&batch.rows],
        Answer::Found(found) => found.tables.iter().map(|(_, rows)| rows).collect(),
        Answer::Sql(result) => vec![&result.rows],
        Answer::DryRun(dry) => parts(&dry.answer),
        Answer::Object { .. }
        | Answer::Imported(_)
        | Answer::Operations(_)
        | Answer::Events(_)
        | Answer::Run { .. }
        | Answer::Runs { .. }
        | Answer::Changes { .. }
        | Answer::Undone { .. }
        | Answer::Deleted { .. }
        | Answer::Workspace { .. } => Vec::new(),
    }
}

fn parts_mut(answer: &mut Answer) -> Vec<&mut Rows> {
    match answer {
        Answer::Page { rows, .. } | Answer::Rows { rows, .. } | Answer::Tables { rows, .. } => vec![rows],
        Answer::Record { record, .. } | Answer::Written { record, .. } | Answer::Email { record, .. } => {
            [&mut record.row].into_iter().chain(record.related.iter_mut().map(|(_, rows)| rows)).collect()
        }
        Answer::Batch(batch) => vec![&mut batch.rows],
        Answer::Found(found) => found.tables.iter_mut().map(|(_, rows)| rows).collect(),
        Answer::Sql(result) => vec![&mut result.rows],
        Answer::DryRun(dry) => parts_mut(&mut dry.answer),
        Answer::Object { .. }
        | Answer::Imported(_)
        | Answer::Operations(_)
        | Answer::Events(_)
        | Answer::Run { .. }
        | Answer::Runs { .. }
        | Answer::Changes { .. }
        | Answer::Undone { .. }
        | Answer::Deleted { .. }
        | Answer::Workspace { .. } => Vec::new(),
    }
}

/// The bytes of rows as JSON objects, with texts of at most this length.
fn size(rows: &Rows, length: usize) -> usize {
    let keys: usize = rows.columns().iter().map(|column| column.name.len() + KEY).sum();
    let mut bytes = rows.len() * (keys + ROW);
    for row in 0..rows.len() {
        for at in 0..rows.columns().len() {
            bytes += rows.cell(row, at).len().min(length.saturating_add(60));
        }
    }
    bytes
}

/// The same rows with long texts cut. A cut text says how long it was.
fn shortened(rows: &Rows, length: usize, columns: &mut Vec<String>) -> Rows {
    let all: Vec<usize> = (0..rows.columns().len()).collect();
    let is_long = |cell: &[u8]| cell.len() > length + 60;
    for at in &all {
        let name = &*rows.columns()[*at].name;
        if (0..rows.len()).any(|row| is_long(rows.cell(row, *at))) && !columns.iter().any(|it| it == name) {
            columns.push(name.to_owned());
        }
    }
    rows.rewritten(&all, |out, _, cell| match is_long(cell) {
        true => json::string(out, &beginning(cell, length)),
        false => out.extend_from_slice(cell),
    })
}

/// The beginning of a JSON string, or of any other JSON text.
fn beginning(cell: &[u8], length: usize) -> String {
    let text = match serde_json::from_slice::<String>(cell) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(cell).into_owned(),
    };
    let mut written = 0;
    let fits = |(_, character): &(usize, char)| {
        written += match character {
            '"' | '\\' => 2,
            control if control.is_control() => 6,
            other => other.len_utf8(),
        };
        written <= length
    };
    let end = text.char_indices().take_while(fits).last().map_or(0, |(at, last)| at + last.len_utf8());
    format!("{}… [cut: {} characters in all]", &text[..end], text.chars().count())
}
