//! Tests of keys and ids, and golden pairs: requests of each dialect with the ask that they are read as, and answers
//! with the response of each dialect.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::dialect::agentcrm::AGENTCRM;
use crate::dialect::relm::RELM;
use crate::dialect::{DIALECTS, Dialect, Meta, of_key, stored_id};
use crate::model::answer::{Answer, Batch, BatchItem, Found, Record, SqlResult};
use crate::model::ask::{Ask, BatchRow, PipelineName, RecordName, Related, Single, Steps, UnknownStage};
use crate::model::call::{Call, Method, parse_path, parse_query};
use crate::model::entity::{ENTITIES, by_table};
use crate::model::fault::{Fault, SqlFault};
use crate::model::filter::{Deleted, Op, Reading, Subject};
use crate::model::page::PageAsk;
use crate::model::rows::{ResultColumn, Rows};
use crate::model::who::Mode;

const TAIL: &str = "01kaqz3v5t8w9x2y4z6a8b0c1d";

/// Replaces each `~` by the 26 characters of an id.
fn ids(text: &str) -> String {
    text.replace('~', TAIL)
}

fn read(dialect: &Dialect, request: &str, body: &Value) -> Result<Ask, Fault> {
    let (method, address) = request.split_once(' ').expect("a method and an address");
    let address = ids(address);
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let body = if body.is_null() { Vec::new() } else { ids(&body.to_string()).into_bytes() };
    let call = Call {
        method: Method::parse(method).expect("a method"),
        path: parse_path(path)?,
        query: parse_query(query)?,
        content_type: Some("application/json"),
        body: &body,
    };
    dialect.read_call(&call)
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_str(&ids(&value.to_string())).expect("an object")
}

/// Both dialects read these requests as the same ask.
#[track_caller]
fn both(agentcrm: (&str, Value), relm: (&str, Value), expected: impl Into<Ask>) {
    let expected = expected.into();
    assert_eq!(read(&AGENTCRM, agentcrm.0, &agentcrm.1), Ok(expected.clone()), "{}", agentcrm.0);
    let expected = match expected {
        // The related rows and the handling of an unknown stage differ between the dialects.
        Ask::Single(Single::Find { table, id, deleted, .. }) => {
            Single::Find { table, id, deleted, related: Related::Named(Vec::new()) }.into()
        }
        Ask::Single(Single::Create { table, values, .. }) => {
            Single::Create { table, values, unknown_stage: UnknownStage::Refuse }.into()
        }
        Ask::Single(Single::Update { table, id, values, .. }) => {
            Single::Update { table, id, values, unknown_stage: UnknownStage::Refuse }.into()
        }
        other => other,
    };
    assert_eq!(read(&RELM, relm.0, &relm.1), Ok(expected), "{}", relm.0);
}

fn id(text: &str) -> RecordName {
    RecordName::Id(ids(text))
}

#[test]
fn records_are_asked_for_in_either_words() {
    let values = object(
        json!({"name": "T", "amount_cents": 5, "contact_id": "c_~", "company_id": "co_~", "custom": {"deal_id": "deal_~"}}),
    );
    both(
        (
            "POST deals",
            json!({"name": "T", "amount_cents": 5, "contact_id": "c_~", "company_id": "cmp_~", "custom": {"deal_id": "deal_~"}}),
        ),
        (
            "POST deals",
            json!({"title": "T", "value_cents": 5, "primary_contact_id": "con_~", "company_id": "co_~", "metadata": {"deal_id": "deal_~"}}),
        ),
        Single::Create { table: "deals".into(), values, unknown_stage: UnknownStage::Add },
    );
    both(
        ("PATCH contacts/con_~", json!({"title": "CTO", "custom": null})),
        ("PATCH contacts/c_~", json!({"title": "CTO", "metadata": null})),
        Single::Update {
            table: "contacts".into(),
            id: id("c_~"),
            values: object(json!({"title": "CTO", "custom": null})),
            unknown_stage: UnknownStage::Add,
        },
    );
    let find = |table: &str, name: &str, deleted| Single::Find {
        table: table.into(),
        id: id(name),
        deleted,
        related: Related::All,
    };
    both(("GET deals/deal_~", Value::Null), ("GET deals/deal_~", Value::Null), find("deals", "d_~", Deleted::Exclude));
    both(
        ("GET companies/co_~?include_deleted=true", Value::Null),
        ("GET companies/cmp_~?include_deleted=true", Value::Null),
        find("companies", "co_~", Deleted::Include),
    );
    both(
        ("DELETE activities/act_~", Value::Null),
        ("DELETE activities/act_~", Value::Null),
        Single::Delete { table: "activities".into(), id: id("act_~"), hard: false },
    );
    both(
        ("GET pipelines/sales", Value::Null),
        ("GET pipelines/sales", Value::Null),
        find("pipelines", "sales", Deleted::Exclude),
    );
    both(
        ("POST pipeline/stages", json!({"key": "k", "custom": {}})),
        ("POST pipeline/stages", json!({"key": "k", "metadata": {}})),
        Single::CreateStage { pipeline: PipelineName::Default, values: object(json!({"key": "k", "custom": {}})) },
    );
    both(
        ("GET schema/fields/fld_~", Value::Null),
        ("GET schema/fields/fld_~", Value::Null),
        find("custom_fields", "fld_~", Deleted::Exclude),
    );
    both(
        ("POST contacts/batch", json!({"contacts": [{"email": "a@x.com", "custom": {}}]})),
        ("POST contacts/batch", json!({"contacts": [{"email": "a@x.com", "metadata": {}}], "dedup_on": ["email"]})),
        Steps::Batch {
            table: "contacts".into(),
            rows: vec![BatchRow::Values(object(json!({"email": "a@x.com", "custom": {}})))],
            dedup_on: vec!["email".into()],
        },
    );
    both(
        ("POST sql", json!({"sql": "select $1", "params": ["con_~"]})),
        ("POST sql", json!({"sql": "select $1", "params": ["c_~"]})),
        Steps::Sql { sql: "select $1".into(), params: vec![json!(ids("c_~"))] },
    );
    let page = PageAsk { limit: 200, cursor: Some("x".into()) };
    both(
        ("GET lists/l_~/rows?limit=999&cursor=x", Value::Null),
        ("GET lists/l_~/rows?limit=999&cursor=x", Value::Null),
        Steps::ListRows { list_id: ids("l_~"), page },
    );
}

#[test]
fn filters_are_written_in_either_way() {
    let reading = |dialect: &Dialect, request: &str| -> Vec<Reading> {
        let Ok(Ask::Single(Single::List { filters, .. })) = read(dialect, request, &Value::Null) else {
            panic!("{request} is no list")
        };
        filters.into_iter().map(|filter| filter.readings.into_iter().next_back().expect("a reading")).collect()
    };
    let check = |agentcrm: &str, relm: &str, subject: Subject, op: Op, values: &[&str]| {
        let expected = vec![Reading { subject, op, values: values.iter().map(|value| ids(value)).collect() }];
        assert_eq!(reading(&AGENTCRM, agentcrm), expected, "{agentcrm}");
        assert_eq!(reading(&RELM, relm), expected, "{relm}");
    };
    let column = |name: &str| Subject::Column(name.to_owned());
    check("GET deals?name=a", "GET deals?filter[title]=a", column("name"), Op::Eq, &["a"]);
    check("GET deals?contact_id=c_~", "GET deals?primary_contact_id=con_~", column("contact_id"), Op::Eq, &["c_~"]);
    check("GET deals?stage=a,\"b,c\"", "GET deals?filter[stage][in]=a,\"b,c\"", column("stage"), Op::In, &["a", "b,c"]);
    check(
        "GET deals?amount_cents_gte=5",
        "GET deals?filter[value_cents][gte]=5",
        column("amount_cents"),
        Op::Gte,
        &["5"],
    );
    check(
        "GET deals?close_date_after=2026-01-01",
        "GET deals?filter[close_date][gt]=2026-01-01",
        column("close_date"),
        Op::Gt,
        &["2026-01-01"],
    );
    check(
        "GET deals?name_contains=50_",
        "GET deals?filter%5Btitle%5D%5Bilike%5D=50_",
        column("name"),
        Op::Contains,
        &["50_"],
    );
    check(
        "GET deals?name_present=false",
        "GET deals?filter[title][present]=false",
        column("name"),
        Op::Present,
        &["false"],
    );
    check(
        "GET emails?deal_ids_has=d_~",
        "GET emails?filter[deal_ids][has]=deal_~",
        column("deal_ids"),
        Op::Has,
        &["d_~"],
    );
    let plan = Subject::Key { column: "custom".into(), key: "plan".into() };
    check("GET deals?custom.plan=pro", "GET deals?filter[metadata->>plan]=pro", plan, Op::Eq, &["pro"]);
}

#[test]
fn both_refuse_the_same_paths_and_methods() {
    for dialect in DIALECTS {
        for (request, status) in [
            ("PUT contacts", 405),
            ("DELETE contacts", 405),
            ("PATCH sql", 405),
            ("GET nothing/at/all/here", 404),
            ("GET keys", 404),
            ("GET contacts?limit=0", 400),
            ("GET tables?x=1", 400),
        ] {
            let fault = read(dialect, request, &Value::Null).expect_err(request);
            assert_eq!(fault.status(), status, "{} {request}", dialect.name);
        }
    }
}

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

/// Checks the responses of both dialects, without the envelope of agentCRM and the request id and URL of errors.
#[track_caller]
fn shows(answer: &Result<Answer, Fault>, table: Option<&str>, agentcrm: Value, relm: Value, status: u16) {
    let meta = Meta { request_id: "req_1", public_url: "https://kith.example", table, ..Meta::default() };
    for (dialect, expected) in [(&AGENTCRM, agentcrm), (&RELM, relm)] {
        let reply = match answer {
            Ok(answer) => (dialect.show)(answer, &meta),
            Err(fault) => (dialect.show_fault)(fault, &meta),
        };
        let mut body: Value = serde_json::from_slice(&reply.body).expect("JSON");
        forget(&mut body, &["request_id", "docs_url"]);
        if let Some(error) = body.get_mut("error") {
            forget(error, &["request_id", "docs_url"]);
        }
        if let Some(meta) = body.get_mut("_meta") {
            forget(meta, &["request_id"]);
        }
        assert_eq!(body.to_string(), ids(&expected.to_string()), "{}", dialect.name);
        assert_eq!(reply.status, status, "{}", dialect.name);
    }
}

fn forget(value: &mut Value, keys: &[&str]) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

#[test]
fn records_are_shown_in_either_words() {
    let row = rows(
        &["id", "name", "amount_cents", "contact_id", "custom", "title"],
        &[&[json!("d_~"), json!("T"), json!(5), json!("c_~"), json!({"contact_id": "c_~"}), json!("own")]],
    );
    let deal = |row: Rows| Record {
        entity: by_table("deals"),
        width: row.columns().len(),
        row,
        parts: vec![],
        related: vec![],
    };
    shows(
        &Ok(Answer::Record { record: deal(row.clone()), created: true }),
        Some("deals"),
        json!({"data": {"id": "d_~", "name": "T", "amount_cents": 5, "contact_id": "c_~", "custom": {"contact_id": "c_~"}, "title": "own"}, "_meta": {}}),
        json!({"id": "deal_~", "object": "deal", "title": "T", "value_cents": 5, "primary_contact_id": "con_~", "metadata": {"contact_id": "c_~"}}),
        201,
    );
    let page = |next: Option<&str>, entity| Answer::Page {
        entity,
        table: None,
        rows: rows(&["n", "id"], &[&[json!(1), json!("c_~")]]),
        width: 2,
        next_cursor: next.map(str::to_owned),
        limit: 50,
    };
    shows(
        &Ok(page(Some("x"), by_table("contacts"))),
        Some("contacts"),
        json!({"data": [{"n": 1, "id": "c_~"}], "_meta": {"next_cursor": "x", "has_more": true, "limit": 50}}),
        json!({"object": "list", "data": [{"id": "con_~", "object": "contact", "n": 1}], "has_more": true, "next_cursor": "x"}),
        200,
    );
    shows(
        &Ok(page(None, None)),
        Some("projects"),
        json!({"data": [{"n": 1, "id": "c_~"}], "_meta": {"next_cursor": null, "has_more": false, "limit": 50}}),
        json!({"object": "list", "data": [{"id": "con_~", "object": "projects", "n": 1}], "has_more": false, "next_cursor": null}),
        200,
    );
    shows(
        &Ok(Answer::Deleted {
            entity: by_table("deals"),
            id: ids("\"d_~\""),
            deleted_at: "\"now\"".into(),
            name: None,
            with: Vec::new(),
            note: None,
        }),
        Some("deals"),
        json!({"data": {"id": "d_~", "deleted_at": "now"}, "_meta": {}}),
        json!({"id": "deal_~", "object": "deal", "deleted": true}),
        200,
    );
}

#[test]
fn entries_of_the_feed_are_shown_in_either_words() {
    let changes = json!({"name": {"from": "T", "to": "U"}, "contact_id": {"from": null, "to": "c_~"}, "custom": {"from": {}, "to": {"a": 1}}});
    let renamed = json!({"title": {"from": "T", "to": "U"}, "primary_contact_id": {"from": null, "to": "con_~"}, "metadata": {"from": {}, "to": {"a": 1}}});
    let row = rows(
        &["id", "subject_type", "subject_id", "changes"],
        &[&[json!("a_~"), json!("deal"), json!("d_~"), changes.clone()]],
    );
    shows(
        &Ok(Answer::Page {
            entity: by_table("activity"),
            table: None,
            rows: row,
            width: 4,
            next_cursor: None,
            limit: 50,
        }),
        Some("activity"),
        json!({"data": [{"id": "a_~", "subject_type": "deal", "subject_id": "d_~", "changes": changes}], "_meta": {"next_cursor": null, "has_more": false, "limit": 50}}),
        json!({"object": "list", "data": [{"id": "a_~", "object": "event", "subject_type": "deal", "subject_id": "deal_~", "changes": renamed}], "has_more": false, "next_cursor": null}),
        200,
    );
}

#[test]
fn batches_and_searches_are_shown_in_either_words() {
    let batch = Batch {
        entity: by_table("contacts"),
        rows: rows(&["id", "email"], &[&[json!("c_~"), json!("a@x.com")]]),
        width: 2,
        items: vec![BatchItem::Updated(0), BatchItem::Failed(Fault::invalid("\"custom\" takes a JSON object."))],
    };
    let failed = |message: &str| json!({"message": message, "request_id": "req_1", "docs_url": "https://kith.example/docs/errors#invalid_request"});
    let mut of_agentcrm = object(json!({"error": "invalid_request"}));
    of_agentcrm.extend(object(failed("\"custom\" takes a JSON object.")));
    let mut of_relm = object(json!({"code": "invalid_request"}));
    of_relm.extend(object(failed("\"metadata\" takes a JSON object.")));
    shows(
        &Ok(Answer::Batch(batch)),
        Some("contacts"),
        json!({"data": [{"index": 0, "status": "updated", "contact": {"id": "c_~", "email": "a@x.com"}}, {"index": 1, "status": "error", "error": of_agentcrm}],
            "_meta": {"created": 0, "updated": 1, "failed": 1}}),
        json!({"object": "batch", "data": [{"index": 0, "status": "updated", "contact": {"id": "con_~", "object": "contact", "email": "a@x.com"}}, {"index": 1, "status": "error", "error": of_relm}],
            "created": 0, "updated": 1, "failed": 1}),
        200,
    );
    let deals = ENTITIES.iter().find(|entity| entity.table == "deals").expect("deals");
    let found = Found {
        tables: vec![(deals, rows(&["id", "name", "score"], &[&[json!("d_~"), json!("T"), json!(0.5)]]))],
        order: vec![(0, 0)],
        next_cursor: Some("next".into()),
        limit: 50,
    };
    shows(
        &Ok(Answer::Found(found)),
        None,
        json!({"data": [{"object": "deal", "id": "d_~", "name": "T", "score": 0.5}], "_meta": {"next_cursor": "next", "has_more": true, "limit": 50}}),
        json!({"object": "list", "data": [{"id": "deal_~", "object": "deal", "title": "T", "score": 0.5}], "has_more": true, "next_cursor": "next"}),
        200,
    );
}

#[test]
fn sql_is_shown_as_the_database_has_it() {
    let result = SqlResult {
        rows: rows(&["id"], &[&[json!("c_~")]]),
        row_count: 1,
        command: "SELECT".into(),
        truncated: false,
        before: Vec::new(),
    };
    let columns = json!([{"name": "id", "type": "text"}]);
    shows(
        &Ok(Answer::Sql(result)),
        None,
        json!({"data": {"columns": columns, "rows": [{"id": "c_~"}], "rowCount": 1, "command": "SELECT"}, "_meta": {}}),
        json!({"object": "sql_result", "columns": columns, "rows": [{"id": "c_~"}], "rowCount": 1, "command": "SELECT", "truncated": false}),
        200,
    );
    let fault = SqlFault {
        message: "column \"name\" does not exist".into(),
        sqlstate: "42703".into(),
        position: Some(8),
        ..SqlFault::default()
    };
    shows(
        &Err(Fault::Sql(Box::new(fault))),
        Some("deals"),
        json!({"error": "sql_error", "message": "column \"name\" does not exist", "code": "42703", "hint": null, "position": 8}),
        json!({"error": {"code": "sql_error", "message": "column \"name\" does not exist", "sqlstate": "42703", "hint": null, "position": 8}}),
        400,
    );
}

#[test]
fn faults_are_shown_in_either_words() {
    let conflict = Fault::Conflict {
        message: "Taken.".into(),
        constraint: "contacts_email_key".into(),
        existing_id: Some(ids("c_~")),
    };
    shows(
        &Err(conflict),
        Some("contacts"),
        json!({"error": "conflict", "message": "Taken.", "code": "23505", "constraint": "contacts_email_key", "existing_id": "c_~", "hint": "PATCH the record c_~ instead."}),
        json!({"error": {"code": "conflict", "message": "Taken.", "constraint": "contacts_email_key", "existing_id": "con_~", "hint": "PATCH the record con_~ instead."}}),
        409,
    );
    shows(
        &Err(Fault::Unknown { what: "field", name: "valu_cents".into(), nearest: None }),
        Some("deals"),
        json!({"error": "invalid_request", "message": "Unknown field \"valu_cents\".", "field": "valu_cents"}),
        json!({"error": {"code": "invalid_request", "message": "Unknown field \"valu_cents\".", "field": "valu_cents", "hint": "Did you mean \"value_cents\"?"}}),
        400,
    );
    let missing = Fault::ValidationFailed {
        message: "null value in column \"name\".".into(),
        hint: None,
        field: Some("name".into()),
    };
    shows(
        &Err(missing),
        Some("deals"),
        json!({"error": "validation_failed", "message": "null value in column \"name\".", "field": "name"}),
        json!({"error": {"code": "validation_failed", "message": "null value in column \"title\".", "field": "title"}}),
        422,
    );
}

#[test]
fn either_prefix_means_the_stored_id() {
    for (either, stored) in [("con_~", "c_~"), ("cmp_~", "co_~"), ("deal_~", "d_~"), ("c_~", "c_~")] {
        assert_eq!(stored_id(&ids(either)), ids(stored));
    }
    assert_eq!(stored_id("deal_with_it"), "deal_with_it");
}

#[test]
fn a_key_decides_its_dialect() {
    assert_eq!(of_key("acrm_dev_x").map(|dialect| dialect.name), Some("agentcrm"));
    assert_eq!(of_key("acrm_live_x").map(|dialect| dialect.name), Some("agentcrm"));
    assert_eq!(of_key("sk_live_x").map(|dialect| dialect.name), Some("relm"));
    assert_eq!(of_key("sk_test_x").map(|dialect| dialect.name), Some("relm"));
    assert!(of_key("whatever").is_none());
}

#[test]
fn a_prefix_says_which_data_its_keys_see() {
    assert_eq!(AGENTCRM.key_prefix(Mode::Live), Some("acrm_live_"));
    assert_eq!(AGENTCRM.key_prefix(Mode::Test), None);
    assert_eq!(RELM.key_prefix(Mode::Live), Some("sk_live_"));
    assert_eq!(RELM.key_prefix(Mode::Test), Some("sk_test_"));
}
