//! Reads a file of comma-separated values as an import. The parameters name the table, and which column of the file is which field.

use serde_json::{Map, Value, json};

use crate::dialect::arguments::Arguments;
use crate::dialect::csv::unguarded;
use crate::dialect::encoding::FILE;
use crate::dialect::words::{UnknownField, Words, store_ids};
use crate::model::answer::Imported;
use crate::model::ask::{ImportRow, Steps};
use crate::model::currency::decimals;
use crate::model::entity::{CUSTOM, FieldKind, by_table};
use crate::model::fault::Fault;

/// The most rows of an import.
pub const MAX_ROWS: usize = 5000;

/// The columns that identify an existing record if the caller names none.
const DEDUP_ON: &[(&str, &str)] = &[("contacts", "email"), ("companies", "domain")];

/// What a column of the file is.
#[derive(Clone, Debug, PartialEq)]
enum ImportTarget {
    /// A column of the table.
    Column(String),
    /// An amount in a currency's main unit, for a column that counts the smallest one.
    Amount(String),
    /// A key of the free-form column.
    Key(String),
}

/// Reads the arguments: `table`, `map[HEADER]=FIELD`, `dedup_on`, `delimiter`.
pub fn read(said: &mut Arguments<'_>, words: &Words) -> Result<Steps, Fault> {
    let is_own = |name: &str| ["table", "dedup_on", "delimiter"].contains(&name) || header_of(name).is_some();
    if let Some((name, _)) = said.options.iter().find(|(name, _)| !is_own(name)) {
        return Err(Fault::unknown_parameter(name, ["table", "map[…]", "dedup_on", "delimiter"].into_iter()));
    }
    let table = said.option("table").filter(|table| !table.is_empty()).map(str::to_owned);
    let table =
        table.ok_or_else(|| Fault::invalid_with_hint("The parameter \"table\" is needed.", "Send ?table=contacts."))?;
    let text = match said.fields.remove(FILE) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let delimiter = delimiter(said.option("delimiter"), &text)?;
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records();
    let headers = match records.next() {
        Some(Ok(record)) => record.iter().map(|header| unguarded(header.trim()).trim().to_owned()).collect::<Vec<_>>(),
        Some(Err(error)) => return Err(Fault::invalid(format!("The file can't be read: {error}."))),
        None => {
            return Err(Fault::invalid_with_hint(
                "The file is empty.",
                "Its first row names the columns, each further row is a record.",
            ));
        }
    };
    let targets = targets(said, words, &table, &headers)?;
    let emails = emails(&table);
    let (mut rows, mut skipped) = (Vec::new(), 0);
    for (at, record) in records.enumerate() {
        let number = at as u64 + 2;
        if rows.len() == MAX_ROWS {
            return Err(Fault::Refused {
                code: "batch_too_large",
                message: format!("The file has more than {MAX_ROWS} records."),
                hint: Some("Send it in parts, each with the row of names, under one X-Run-Id.".into()),
            });
        }
        let record = record.map_err(|error| Fault::invalid(format!("Row {number} can't be read: {error}.")))?;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            skipped += 1;
        } else if record.iter().skip(headers.len()).any(|cell| !cell.trim().is_empty()) {
            let why = format!("The row has {} cells, and the file has {} columns.", record.len(), headers.len());
            rows.push(ImportRow { number, values: Err(why) });
        } else {
            rows.push(ImportRow { number, values: values(&record, &targets, &emails) });
        }
    }
    let mut columns: Vec<String> = targets.iter().flatten().map(column_of).collect();
    columns.dedup();
    let dedup_on = dedup_on(said, words, &table, &columns)?;
    Ok(Steps::Import { table, columns, rows, skipped, dedup_on })
}

/// The header in a parameter `map[HEADER]`.
fn header_of(name: &str) -> Option<&str> {
    name.strip_prefix("map[")?.strip_suffix(']')
}

/// The character between the cells: the one that is given, or the most frequent candidate in the first row.
fn delimiter(given: Option<&str>, text: &str) -> Result<u8, Fault> {
    const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];
    match given {
        Some("tab" | "\t") => return Ok(b'\t'),
        Some(given) if given.len() == 1 && CANDIDATES.contains(&given.as_bytes()[0]) => return Ok(given.as_bytes()[0]),
        Some(other) => {
            let message = format!("delimiter is one of , ; | and tab, not \"{other}\".");
            return Err(Fault::invalid_with_hint(message, "Leave it out, and it is found out."));
        }
        None => {}
    }
    let mut counts = [0_usize; 4];
    let mut is_quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            byte if !is_quoted => {
                if let Some(at) = CANDIDATES.iter().position(|candidate| *candidate == byte) {
                    counts[at] += 1;
                }
            }
            _ => {}
        }
    }
    let best = (0..4).rev().max_by_key(|at| counts[*at]).unwrap_or(0);
    Ok(CANDIDATES[best])
}

/// What each column of the file is; `None` for one that is left out. Without a mapping, a column is the field of its name.
fn targets(
    said: &Arguments<'_>,
    words: &Words,
    table: &str,
    headers: &[String],
) -> Result<Vec<Option<ImportTarget>>, Fault> {
    let mapped: Vec<(&str, &str)> =
        said.options.iter().filter_map(|(name, value)| Some((header_of(name)?, value.as_str()))).collect();
    if mapped.is_empty() {
        let own = |header: &String| target_by_name(words, table, header);
        let targets: Vec<Option<ImportTarget>> = headers.iter().map(own).collect();
        if targets.iter().all(Option::is_none) {
            return Err(Fault::invalid_with_hint(
                "No column of the file has the name of a field.",
                "Say what each is: ?map[E-mail]=email&map[Given name]=first_name.",
            ));
        }
        return Ok(targets);
    }
    let mut targets: Vec<Option<ImportTarget>> = vec![None; headers.len()];
    for (header, field) in mapped {
        let at = headers.iter().position(|it| it == header.trim()).ok_or_else(|| {
            let known = headers.iter().map(String::as_str).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ");
            Fault::invalid_with_hint(
                format!("The file has no column \"{header}\"."),
                format!("Its columns are {known}."),
            )
        })?;
        targets[at] = match field {
            "" => None,
            field => Some(target(words, table, field)?),
        };
    }
    Ok(targets)
}

/// The field that a header names, whatever its case.
fn target_by_name(words: &Words, table: &str, header: &str) -> Option<ImportTarget> {
    let name = header.trim().to_lowercase().replace([' ', '-'], "_");
    if name.is_empty() || ["id", "created_at", "updated_at", "deleted_at"].contains(&name.as_str()) {
        return None;
    }
    let target = match header.split_once('.') {
        Some((prefix, key)) => target(words, table, &format!("{}.{key}", prefix.trim().to_lowercase())),
        None => target(words, table, &name),
    };
    let target = target.ok()?;
    // A custom table's columns are known to the workspace alone, which refuses unknown ones by name.
    let is_there = by_table(table).is_none_or(|entity| match &target {
        ImportTarget::Column(column) | ImportTarget::Amount(column) => {
            entity.columns().any(|it| it.name == column.as_str())
        }
        ImportTarget::Key(_) => true,
    });
    is_there.then_some(target)
}

fn target(words: &Words, table: &str, field: &str) -> Result<ImportTarget, Fault> {
    if let Some((prefix, key)) = field.split_once('.')
        && !key.is_empty()
        && (words.column)(table, prefix).is_ok_and(|column| column == CUSTOM.name)
    {
        return Ok(ImportTarget::Key(key.to_owned()));
    }
    let has = |column: &str| by_table(table).is_some_and(|entity| entity.columns().any(|it| it.name == column));
    let in_cents = (words.column)(table, &format!("{field}_cents"));
    if let Ok(column) = in_cents.as_ref()
        && has(column)
    {
        return Ok(ImportTarget::Amount(column.clone()));
    }
    (words.column)(table, field).map(ImportTarget::Column).map_err(UnknownField::into_fault)
}

fn column_of(target: &ImportTarget) -> String {
    match target {
        ImportTarget::Column(column) | ImportTarget::Amount(column) => column.clone(),
        ImportTarget::Key(_) => CUSTOM.name.to_owned(),
    }
}

/// The columns of a table that hold an e-mail address.
fn emails(table: &str) -> Vec<&'static str> {
    let columns = by_table(table).into_iter().flat_map(|entity| entity.columns());
    columns.filter(|column| matches!(column.kind, FieldKind::Email)).map(|column| column.name).collect()
}

/// The values of a row, or why it is refused. An empty cell is left out, so that an update keeps what is there. A file often has other
/// things where addresses belong, so that they are checked here.
fn values(
    record: &csv::StringRecord,
    targets: &[Option<ImportTarget>],
    emails: &[&str],
) -> Result<Map<String, Value>, String> {
    let mut values = Map::new();
    let mut custom = Map::new();
    let currency = |it: &Option<ImportTarget>| matches!(it, Some(ImportTarget::Column(column)) if column == "currency");
    let currency = targets.iter().position(currency).and_then(|at| record.get(at)).unwrap_or_default();
    for (cell, target) in record.iter().zip(targets) {
        let (cell, Some(target)) = (unguarded(cell.trim()).trim(), target) else { continue };
        if cell.is_empty() {
            continue;
        }
        match target {
            ImportTarget::Key(key) => {
                custom.insert(key.clone(), cell.into());
            }
            ImportTarget::Amount(column) => {
                let amount = in_smallest_unit(cell, currency).ok_or_else(|| no_amount(cell, currency))?;
                values.insert(column.clone(), Value::String(amount));
            }
            ImportTarget::Column(column) => {
                if emails.contains(&column.as_str()) && !is_email(cell) {
                    return Err(format!("\"{cell}\" is not an e-mail address."));
                }
                let mut value = Value::from(cell);
                store_ids(column, &mut value);
                values.insert(column.clone(), value);
            }
        }
    }
    if !custom.is_empty() {
        values.insert(CUSTOM.name.to_owned(), Value::Object(custom));
    }
    Ok(values)
}

/// Whether a text may be an e-mail address: one @ with something on both sides, and no white space.
fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains(char::is_whitespace)
}

/// An amount in the currency's smallest unit, or `None` for a text that may mean another amount. With two decimals, "1,234.50" and
/// "1234.5" are 123450; "1.005" and "1,5" are refused. The forms of the pages have the same rule (`amounts.js`).
fn in_smallest_unit(text: &str, currency: &str) -> Option<String> {
    let decimals = decimals(currency);
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').map_or(text, str::trim_start)),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let (whole, part) = match digits.split_once('.') {
        Some((whole, part)) if is_digits(part) && part.len() <= decimals.max(2) => (whole, part),
        Some(_) => return None,
        None => (digits, ""),
    };
    // Where there are fewer decimals, ".00" says nothing more.
    let (part, beyond) = part.split_at(part.len().min(decimals));
    let (first, groups) = whole.split_once(',').map_or((whole, None), |(first, groups)| (first, Some(groups)));
    let is_grouped = |groups: &str| first.len() <= 3 && groups.split(',').all(|it| it.len() == 3 && is_digits(it));
    if !is_digits(first) || !groups.is_none_or(is_grouped) || beyond.bytes().any(|it| it != b'0') {
        return None;
    }
    let smallest = format!("{first}{}{part:0<decimals$}", groups.unwrap_or_default().replace(',', ""));
    let smallest = smallest.trim_start_matches('0');
    let sign = if is_negative && !smallest.is_empty() { "-" } else { "" };
    Some(format!("{sign}{}", if smallest.is_empty() { "0" } else { smallest }))
}

fn no_amount(cell: &str, currency: &str) -> String {
    let (decimals, currency) = (decimals(currency), currency.trim());
    let example =
        format!("1,234{}{:0<decimals$}", if decimals > 0 { "." } else { "" }, if decimals > 0 { "5" } else { "" });
    let of = if decimals == 2 { String::new() } else { format!(" in {currency}") };
    format!("\"{cell}\" is not an amount. An amount{of} is written like {example}.")
}

/// The columns that identify an existing record.
fn dedup_on(said: &Arguments<'_>, words: &Words, table: &str, columns: &[String]) -> Result<Vec<String>, Fault> {
    let Some(given) = said.option("dedup_on") else {
        let usual = DEDUP_ON.iter().filter(|(of, column)| *of == table && columns.iter().any(|it| it == column));
        return Ok(usual.map(|(_, column)| (*column).to_owned()).collect());
    };
    let names = given.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| (words.column)(table, name).map_err(UnknownField::into_fault)).collect()
}

/// The outcome of an import, in every dialect.
pub fn outcome(imported: &Imported) -> Map<String, Value> {
    let refused: Vec<Value> = imported
        .refused
        .iter()
        .map(|(row, fault)| json!({"row": row, "code": fault.code(), "reason": fault.message(), "hint": fault.hint()}))
        .collect();
    let outcome = json!({"table": imported.table, "created": imported.created, "updated": imported.updated,
        "skipped": imported.skipped, "refused": refused});
    outcome.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::agentcrm::AGENTCRM;
    use crate::dialect::relm::RELM;
    use crate::dialect::{Dialect, arguments};
    use crate::model::ask::Ask;
    use crate::model::call::{Call, Method, parse_query};

    fn import(dialect: &Dialect, query: &str, body: &[u8]) -> Result<Steps, Fault> {
        let call = Call {
            method: Method::Post,
            path: vec!["imports".into()],
            query: parse_query(query).unwrap(),
            content_type: Some("text/csv; charset=utf-8"),
            body,
        };
        let arguments = arguments::Arguments::of_call(&call, &["imports"])?;
        match (dialect.read)(arguments)? {
            Ask::Steps(steps) => Ok(steps),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(dialect: &Dialect, query: &str, body: &[u8], expected: Value) {
        let Steps::Import { rows, .. } = import(dialect, query, body).unwrap() else { panic!() };
        let rows: Vec<Value> = rows.into_iter().map(|row| json!([row.number, row.values.unwrap()])).collect();
        assert_eq!(Value::from(rows), expected);
    }

    #[test]
    fn columns_are_the_fields_of_their_names() {
        let file = "E-mail,first name,Nothing,id\nann@b.example,Ann,x,c_1\n,,,\n,Bob,,\n";
        check(
            &AGENTCRM,
            "table=contacts&map[E-mail]=email",
            file.as_bytes(),
            json!([[2, {"email": "ann@b.example"}], [4, {}]]),
        );
        check(
            &AGENTCRM,
            "table=contacts",
            b"Email,first name,Nothing,id\nann@b.example,Ann,x,c_1\n",
            json!([[2, {"email": "ann@b.example", "first_name": "Ann"}]]),
        );
        check(
            &AGENTCRM,
            "table=contacts",
            b"custom.Segment;email\nlead;a@b.example",
            json!([[2, {"email": "a@b.example", "custom": {"Segment": "lead"}}]]),
        );
        check(
            &RELM,
            "table=deals",
            b"title\tvalue\tprimary_contact_id\tmetadata.plan\nA \"b\"\t1,234.50\tcon_01m8j8s1e4ctf0qbkv1eg5rwfv\tpro",
            json!([[2, {"name": "A \"b\"", "amount_cents": "123450", "contact_id": "c_01m8j8s1e4ctf0qbkv1eg5rwfv", "custom": {"plan": "pro"}}]]),
        );
    }

    #[test]
    fn files_come_in_many_encodings() {
        let expected = json!([[2, {"first_name": "Tomáš, \"T\"\nX"}]]);
        let text = "first_name\n\"Tomáš, \"\"T\"\"\nX\"\n";
        check(&AGENTCRM, "table=contacts", text.as_bytes(), expected.clone());
        check(&AGENTCRM, "table=contacts", format!("\u{feff}{text}").as_bytes(), expected.clone());
        let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        check(&AGENTCRM, "table=contacts", &wide, expected);
        check(&AGENTCRM, "table=contacts", b"first_name\nJos\xe9 \x80", json!([[2, {"first_name": "José €"}]]));
    }

    #[test]
    fn a_cell_that_an_export_has_guarded_is_read_as_it_was() {
        check(
            &AGENTCRM,
            "table=contacts",
            b"first_name,phone,custom.x\n'=1+1,'+47 22,''@a\n'90s,'-5,'\n",
            json!([
                [2, {"first_name": "=1+1", "phone": "+47 22", "custom": {"x": "'@a"}}],
                [3, {"first_name": "'90s", "phone": "-5", "custom": {"x": "'"}}]
            ]),
        );
    }

    #[test]
    fn amounts_are_read_in_their_main_unit() {
        for (text, cents) in [
            ("1,234.50", "123450"),
            ("1234.5", "123450"),
            ("1234", "123400"),
            ("1,234", "123400"),
            ("1,234,567.8", "123456780"),
            ("-0.05", "-5"),
            ("+ 7", "700"),
            ("-0", "0"),
            ("0", "0"),
        ] {
            assert_eq!(in_smallest_unit(text, "EUR").as_deref(), Some(cents), "{text}");
        }
        for text in [
            "1.005", "12.345", "1e3", "1,5", "1,2345", "1234,567", "1.234,50", "1.", ".5", "$5", "5 EUR", "1 234",
            "many", "1-2", "3%", "--1", "", "-", "१",
        ] {
            assert_eq!(in_smallest_unit(text, "EUR"), None, "{text}");
        }
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (text, currency, expected) in [
            ("1,234", "JPY", Some("1234")),
            ("1234.00", "jpy", Some("1234")),
            ("1,234.5", "JPY", None),
            ("1,234.500", "KWD", Some("1234500")),
            ("1.234", "KWD", Some("1234")),
            ("1,234", "KWD", Some("1234000")),
            ("1.234,5", "KWD", None),
            ("1.2345", "EUR", None),
            ("1.2345", "CLF", Some("12345")),
            ("0.0000", "CLF", Some("0")),
        ] {
            assert_eq!(in_smallest_unit(text, currency).as_deref(), expected, "{text} {currency}");
        }
        assert!(no_amount("1,5", "EUR").ends_with("like 1,234.50."));
        assert!(no_amount("1.5", "JPY").ends_with("An amount in JPY is written like 1,234."));
        assert!(no_amount("1,5", "KWD").ends_with("like 1,234.500."));
        let file = b"name,amount,currency\nA,1200,JPY\nB,1.5,KWD\nC,1.5,\n";
        let row = |name: &str, amount: &str, currency: &str| json!({"name": name, "amount_cents": amount, "currency": currency});
        check(
            &AGENTCRM,
            "table=deals",
            file,
            json!([
                [2, row("A", "1200", "JPY")],
                [3, row("B", "1500", "KWD")],
                [4, {"name": "C", "amount_cents": "150"}]
            ]),
        );
    }

    #[test]
    fn what_cant_be_read_is_refused() {
        let fault = |query: &str, body: &str| import(&AGENTCRM, query, body.as_bytes()).unwrap_err().message();
        assert!(fault("", "email\n").contains("table"));
        assert!(fault("table=contacts", "").contains("empty"));
        assert!(fault("table=contacts", "x,y\n1,2").contains("No column"));
        assert!(fault("table=contacts&map[Mail]=email", "email\n").contains("no column \"Mail\""));
        assert!(fault("table=contacts&tabel=x", "email\n").contains("tabel"));
        assert!(fault("table=contacts&delimiter=x", "email\n").contains("delimiter"));
        let many = format!("email\n{}", "a@b.example\n".repeat(MAX_ROWS + 1));
        assert!(fault("table=contacts", &many).contains("5000"));
        let Steps::Import { rows, .. } = import(&AGENTCRM, "table=contacts", b"email\na,b").unwrap() else { panic!() };
        assert!(rows[0].values.is_err());
        let Steps::Import { rows, .. } =
            import(&AGENTCRM, "table=contacts", b"email\nann\n@b\na@\na b@c\na@b@c").unwrap()
        else {
            panic!()
        };
        assert!(rows.iter().all(|row| row.values.is_err()), "{rows:?}");
    }
}
