//! Asks can be stored, and it is known which of them change the catalog.

use serde_json::json;

use super::*;
use crate::model::call::Method;
use crate::model::control::Resource;
use crate::model::filter::{MailRelation, Op, Reading, Subject};

/// One ask of every kind.
fn samples() -> Vec<Ask> {
    let (table, id) = (|| "contacts".to_owned(), || RecordName::from("c_1"));
    let values =
        || json!({"email": "a@b.example", "n": 12345678901234567890123456789_f64}).as_object().unwrap().clone();
    let page = || PageAsk { limit: 3, cursor: Some("x".into()) };
    let reading = |subject| Reading { subject, op: Op::Gte, values: vec!["1".into()] };
    let readings = vec![
        reading(Subject::Column("n".into())),
        reading(Subject::Key { column: "custom".into(), key: "k".into() }),
        reading(Subject::Mail(MailRelation::FromContact)),
    ];
    let filters = vec![Filter { parameter: "n_gte".into(), readings }];
    let stage = RecordName::Stage { pipeline: PipelineName::Key("sales".into()), key: "won".into() };
    let rows = vec![
        BatchRow::Values(values()),
        BatchRow::UnknownField { name: "nmae".into(), nearest: Some("name".into()) },
        BatchRow::NotAnObject { found: "null".into() },
    ];
    let unknown_stage = UnknownStage::Refuse;
    let sort = Sort { said: "n".into(), subjects: vec![Subject::Column("n".into())], descending: true };
    vec![
        Single::List { table: table(), filters, deleted: Deleted::Only, sort: Some(sort), page: page() }.into(),
        Single::Find { table: table(), id: stage, deleted: Deleted::Include, related: Related::Named(vec![table()]) }
            .into(),
        Single::Create { table: table(), values: values(), unknown_stage }.into(),
        Single::CreateStage { pipeline: PipelineName::Default, values: values() }.into(),
        Single::Stages { pipeline: PipelineName::Default, page: page() }.into(),
        Single::Update { table: table(), id: id(), values: values(), unknown_stage }.into(),
        Single::Delete { table: table(), id: id(), hard: true }.into(),
        Single::Restore { table: table(), id: id() }.into(),
        Single::Merge {
            table: table(),
            id: id(),
            from: vec!["c_1".into()],
            prefer: vec![Preference {
                said: "metadata.k".into(),
                column: "custom".into(),
                key: Some("k".into()),
                id: "c_1".into(),
            }],
        }
        .into(),
        Single::Search { table: table(), words: "w".into(), page: page() }.into(),
        Single::Tables { page: None }.into(),
        Single::Schema { table: Some(table()) }.into(),
        Steps::Batch { table: table(), rows, dedup_on: vec!["email".into()] }.into(),
        Steps::SearchAll { words: "w".into(), page: page() }.into(),
        Steps::ListRows { list_id: "l_1".into(), page: page() }.into(),
        Steps::AddMembers { list_id: "l_1".into(), ids: vec!["c_1".into()], several: true }.into(),
        Steps::RemoveMember { list_id: "l_1".into(), id: "c_1".into() }.into(),
        Steps::Events(EventsAsk { after: Some("x".into()), types: vec!["deal.*".into()], limit: 3 }).into(),
        Steps::Undo { what: Undoable::Request("req_1".into()), skips: true }.into(),
        Steps::Sql { sql: "select $1".into(), params: vec![json!([1, null])] }.into(),
        Ask::Operations(vec![Operation {
            method: Method::Post,
            path: vec!["contacts".into()],
            query: vec![("limit".into(), "1".into())],
            body: Some(Value::Object(values())),
            name: Some("a".into()),
        }]),
        ControlAsk::Create { resource: Resource::Webhooks, values: values(), dialect: "relm".into() }.into(),
        ControlAsk::Deliveries { id: "whep_1".into(), status: Some("failed".into()), page: page() }.into(),
        ControlAsk::Logs { filters: values(), page: page() }.into(),
        ControlAsk::ReplayFailed { id: "whep_1".into(), values: values() }.into(),
    ]
}

#[test]
fn an_ask_can_be_stored() {
    for ask in samples() {
        let stored = serde_json::to_string(&ask).expect("JSON");
        assert_eq!(serde_json::from_str::<Ask>(&stored).expect(&stored), ask, "{stored}");
    }
}

#[test]
fn what_changes_the_catalog_is_known() {
    let check = |ask: Ask, expected| assert_eq!(ask.changes_catalog(), expected, "{ask:?}");
    let sql = |sql: &str| Steps::Sql { sql: sql.to_owned(), params: Vec::new() }.into();
    let delete = |table: &str| Single::Delete { table: table.to_owned(), id: "x".into(), hard: false };
    check(delete("custom_fields").into(), true);
    check(delete("contacts").into(), false);
    check(delete("a_table_of_its_own").into(), false);
    check(sql("select 1"), false);
    check(sql("select 1; create table t (id int)"), true);
    check(sql("insert into custom_fields values ('x')"), true);
    let list = Single::Find {
        table: "custom_fields".into(),
        id: "x".into(),
        deleted: Deleted::Exclude,
        related: Related::All,
    };
    check(list.into(), false);
}
