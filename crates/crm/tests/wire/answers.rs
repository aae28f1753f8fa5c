//! Snapshots of the same answers in each dialect.

use std::sync::Arc;

use crm::model::answer::{Answer, Batch, BatchItem, Found, OperationAnswer, Part, Record, SqlResult};
use crm::model::entity::by_table;
use crm::model::fault::Fault;
use crm::model::rows::{ResultColumn, Rows};
use serde_json::{Value, json};

use crate::{check, ids, meta, replies};

/// Rows as the store returns them, from the names of the columns and the JSON of the cells.
fn rows(columns: &[&str], cells: &[&[Value]]) -> Rows {
    let columns: Arc<[ResultColumn]> =
        columns.iter().map(|name| ResultColumn { name: (*name).into(), type_name: "text".into() }).collect();
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for cell in cells.iter().copied().flatten() {
        data.extend_from_slice(ids(&cell.to_string()).as_bytes());
        ends.push(u32::try_from(data.len()).expect("few bytes"));
    }
    Rows::new(columns, data, ends, cells.len())
}

/// A snapshot of several answers. Each has a title and the table of its request.
#[track_caller]
fn snapshot(name: &str, answers: &[(&str, Option<&str>, Answer)]) {
    let mut text = String::new();
    for (title, table, answer) in answers {
        replies(&mut text, title, |dialect| (dialect.show)(answer, &meta(*table)));
    }
    check(name, &text);
}

fn deal() -> Record {
    let own = ["id", "name", "amount_cents", "contact_id", "custom", "title"];
    let of_contact = ["id", "email"];
    Record {
        entity: by_table("deals"),
        row: rows(
            &[own.as_slice(), &of_contact].concat(),
            &[&[
                json!("d_~"),
                json!("T"),
                json!(5),
                json!("c_~"),
                json!({"contact_id": "c_~"}),
                json!("own"),
                json!("c_~"),
                json!("a@x.com"),
            ]],
        ),
        width: own.len(),
        parts: vec![Part { key: "contact", start: own.len(), width: of_contact.len(), id_at: 0 }],
        related: vec![("companies", rows(&["id", "domain"], &[&[json!("co_~"), json!("x.com")]]))],
    }
}

fn page(table: &str, columns: &[&str], cells: &[Value], next_cursor: Option<&str>) -> Answer {
    Answer::Page {
        entity: by_table(table),
        table: None,
        rows: rows(columns, &[cells]),
        width: columns.len(),
        next_cursor: next_cursor.map(str::to_owned),
        limit: 50,
    }
}

#[test]
fn answers_with_records() {
    let entry = json!({"name": {"from": "T", "to": "U"}, "contact_id": {"from": null, "to": "c_~"}});
    let columns = ["id", "subject_type", "subject_id", "changes"];
    snapshot(
        "answers_records",
        &[
            ("a new deal", Some("deals"), Answer::Record { record: deal(), created: true }),
            (
                "a merged deal",
                Some("deals"),
                Answer::Written {
                    record: deal(),
                    created: false,
                    about: ("merged", json!({"from": [ids("d_~")], "moved": {"activities": 2}, "dropped": {}})),
                },
            ),
            (
                "an asserted row with a column of that name",
                Some("projects"),
                Answer::Written {
                    record: Record {
                        entity: None,
                        row: rows(&["id", "outcome"], &[&[json!(1), json!("own")]]),
                        width: 2,
                        parts: Vec::new(),
                        related: Vec::new(),
                    },
                    created: true,
                    about: ("outcome", "created".into()),
                },
            ),
            ("a page", Some("contacts"), page("contacts", &["n", "id"], &[json!(1), json!("c_~")], Some("next"))),
            ("a page of another table", Some("projects"), page("projects", &["n", "id"], &[json!(1), json!(7)], None)),
            (
                "the feed",
                Some("activity"),
                page("activity", &columns, &[json!("a_~"), json!("deal"), json!("d_~"), entry], None),
            ),
            (
                "a deleted deal",
                Some("deals"),
                Answer::Deleted {
                    entity: by_table("deals"),
                    id: ids("\"d_~\""),
                    deleted_at: "\"2026-01-01T00:00:00+00:00\"".into(),
                    name: Some("Acme".into()),
                    with: Vec::new(),
                    note: Some("A note."),
                },
            ),
        ],
    );
}

#[test]
fn answers_of_other_kinds() {
    let batch = Batch {
        entity: by_table("contacts"),
        rows: rows(&["id", "email"], &[&[json!("c_~"), json!("a@x.com")]]),
        width: 2,
        items: vec![
            BatchItem::Created(0),
            BatchItem::Updated(0),
            BatchItem::Failed(Fault::invalid("\"custom\" takes a JSON object.")),
        ],
    };
    let found = Found {
        tables: vec![(
            by_table("deals").expect("a built-in table"),
            rows(&["id", "name", "score"], &[&[json!("d_~"), json!("T"), json!(0.5)]]),
        )],
        order: vec![(0, 0)],
        next_cursor: None,
        limit: 50,
    };
    let sql = |truncated| SqlResult {
        rows: rows(&["id"], &[&[json!("c_~")]]),
        row_count: 1,
        command: "SELECT".into(),
        truncated,
        before: Vec::new(),
    };
    let workspace = Answer::Workspace {
        workspace_id: "ws_~".into(),
        api_key: "acrm_dev_~".into(),
        claim_url: Some("https://kith.example/claim/ws_~".into()),
        ttl_expires_at: Some("2026-01-08T00:00:00Z".into()),
    };
    snapshot(
        "answers_others",
        &[
            ("a batch", Some("contacts"), Answer::Batch(batch)),
            ("a search of all", None, Answer::Found(found)),
            (
                "rows",
                Some("list_members"),
                Answer::Rows { rows: rows(&["member_id"], &[&[json!("c_~")]]), created: true },
            ),
            (
                "answers of operations",
                None,
                Answer::Operations(vec![
                    OperationAnswer { name: Some("co".into()), status: 201, body: br#"{"n": 1}"#.to_vec() },
                    OperationAnswer { name: None, status: 200, body: b"{}".to_vec() },
                ]),
            ),
            (
                "tables",
                None,
                Answer::Tables {
                    rows: rows(
                        &["name", "kind"],
                        &[&[json!("deals"), json!("builtin")], &[json!("notes"), json!("custom")]],
                    ),
                    next_cursor: Some("CURSOR".into()),
                    limit: 2,
                },
            ),
            ("an object", None, Answer::Object { text: r#"{"tables":[]}"#.into(), created: false }),
            ("a result of SQL", None, Answer::Sql(sql(false))),
            ("a result of SQL that was cut", None, Answer::Sql(sql(true))),
            ("a workspace", None, workspace),
        ],
    );
}
