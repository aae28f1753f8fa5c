//! Writes pages of records as comma-separated values, in a dialect's names.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::model::entity::Entity;
use crate::model::rows::{ResultColumn, Rows};

/// How cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvCells {
    /// As they are.
    Plain,
    /// For spreadsheets: a text that they would take for a formula gets an apostrophe in front of it.
    ForSpreadsheets,
}

/// The row of names. `width` is the number of columns that belong to the records.
pub fn header(dialect: &Dialect, entity: Option<&Entity>, rows: &Rows, width: usize, cells: CsvCells) -> Vec<u8> {
    let table = entity.map_or("", |entity| entity.table);
    let name = |column: &ResultColumn| written((dialect.change_words.column)(table, &column.name), cells);
    let names = rows.columns()[..width].iter().map(name);
    let mut out = csv::Writer::from_writer(Vec::new());
    let _ = out.write_record(names);
    out.into_inner().unwrap_or_default()
}

/// The rows of a page.
pub fn page(dialect: &Dialect, rows: &Rows, width: usize, cells: CsvCells) -> Vec<u8> {
    let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::with_capacity(rows.data_len() + 64));
    for row in 0..rows.len() {
        let _ =
            out.write_record((0..width).map(|at| cell(dialect, &rows.columns()[at].name, rows.cell(row, at), cells)));
    }
    out.into_inner().unwrap_or_default()
}

/// A cell's text: the content of a JSON string, nothing for null, and the JSON text of any other value.
fn cell(dialect: &Dialect, column: &str, json: &[u8], cells: CsvCells) -> String {
    let Ok(mut value) = serde_json::from_slice::<Value>(json) else {
        return String::from_utf8_lossy(json).into_owned();
    };
    (dialect.change_words.ids)(column, &mut value);
    match value {
        Value::Null => String::new(),
        Value::String(text) => written(text, cells),
        other => other.to_string(),
    }
}

/// A text as a cell, or as the name of a column: the caller chooses both.
fn written(text: String, cells: CsvCells) -> String {
    // One that only looks guarded is guarded too, so that an import finds the same text again.
    if cells == CsvCells::ForSpreadsheets && is_formula(text.trim_start_matches(GUARD)) {
        format!("{GUARD}{text}")
    } else {
        text
    }
}

/// What stands before a text that spreadsheets would take for a formula.
const GUARD: char = '\'';

fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The text of a cell that [`CsvCells::ForSpreadsheets`] wrote: without its guard.
pub fn unguarded(cell: &str) -> &str {
    let text = cell.strip_prefix(GUARD).filter(|text| is_formula(text.trim_start_matches(GUARD)));
    text.unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::agentcrm::AGENTCRM;
    use crate::dialect::relm::RELM;
    use crate::model::entity::by_table;

    fn rows(columns: &[&str], cells: &[&str]) -> Rows {
        let column = |name: &&str| ResultColumn { name: (*name).into(), type_name: "text".into() };
        let mut data = Vec::new();
        let ends = cells.iter().map(|cell| {
            data.extend_from_slice(cell.as_bytes());
            data.len() as u32
        });
        let ends: Vec<u32> = ends.collect();
        Rows::new(columns.iter().map(column).collect(), data, ends, cells.len() / columns.len())
    }

    #[test]
    fn rows_are_in_the_dialects_names() {
        let rows = rows(
            &["id", "name", "amount_cents", "custom", "order"],
            &[r#""d_01m8j8s1e4ctf0qbkv1eg5rwfv""#, r#""a, \"b\"""#, "9007199254740993", r#"{"k": 1.10}"#, "1"],
        );
        let written = |dialect: &Dialect| {
            let text = [
                header(dialect, by_table("deals"), &rows, 4, CsvCells::Plain),
                page(dialect, &rows, 4, CsvCells::Plain),
            ]
            .concat();
            String::from_utf8(text).unwrap()
        };
        let cells = "\"a, \"\"b\"\"\",9007199254740993,\"{\"\"k\"\":1.10}\"\n";
        assert_eq!(written(&AGENTCRM), format!("id,name,amount_cents,custom\nd_01m8j8s1e4ctf0qbkv1eg5rwfv,{cells}"));
        assert_eq!(written(&RELM), format!("id,title,value_cents,metadata\ndeal_01m8j8s1e4ctf0qbkv1eg5rwfv,{cells}"));
    }

    #[test]
    fn names_of_columns_are_no_formulas_either() {
        let rows = rows(&["id", "=HYPERLINK(1)", "+a", "-b", "@c", "\td"], &["1", "2", "3", "4", "5", "6"]);
        let written = |cells| String::from_utf8(header(&AGENTCRM, None, &rows, 6, cells)).unwrap();
        assert_eq!(written(CsvCells::ForSpreadsheets), "id,'=HYPERLINK(1),'+a,'-b,'@c,'\td\n");
        assert_eq!(written(CsvCells::Plain), "id,=HYPERLINK(1),+a,-b,@c,\td\n");
    }

    #[test]
    fn spreadsheets_get_no_formulas() {
        let texts = [
            r#""=1+1""#,
            r#""+47""#,
            r#""-1""#,
            r#""@a""#,
            r#""\tx""#,
            "-5",
            "null",
            r#""a=b""#,
            r#""'=1""#,
            r#""'90s""#,
        ];
        let rows = rows(&["a"], &texts);
        let text = String::from_utf8(page(&AGENTCRM, &rows, 1, CsvCells::ForSpreadsheets)).unwrap();
        assert_eq!(text, "'=1+1\n'+47\n'-1\n'@a\n'\tx\n-5\n\"\"\na=b\n''=1\n'90s\n");
        let read: Vec<&str> = text.lines().map(unguarded).collect();
        assert_eq!(read, ["=1+1", "+47", "-1", "@a", "\tx", "-5", "\"\"", "a=b", "'=1", "'90s"]);
    }
}
