//! Tests of the tools: their definitions, what they are read as, and how their answers are cut.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::dialect::agentcrm::AGENTCRM;
use crate::dialect::arguments::Arguments;
use crate::dialect::openapi::control::TASKS;
use crate::dialect::openapi::{Act as EndpointAct, ENDPOINTS};
use crate::dialect::relm::RELM;
use crate::dialect::tools::{Act, Offer, Shown, ToolAnswer, ToolAsk, by_name, error, read, show, tools};
use crate::dialect::{DIALECTS, Dialect, Meta};
use crate::model::answer::{Answer, SqlResult};
use crate::model::ask::{Ask, RecordName, Single, Steps};
use crate::model::call::{Method, parse_query};
use crate::model::control::{ControlAsk, Resource};
use crate::model::entity::by_table;
use crate::model::fault::Fault;
use crate::model::filter::{Op, Subject};
use crate::model::lifecycle::Phase;
use crate::model::page::PageAsk;
use crate::model::rows::{ResultColumn, Rows};
use crate::model::who::{Features, Mode, Role, Who};

/// The tokens that the definitions may have, of the small set and of all tools.
const CORE_TOKENS: usize = 5_000;
const ALL_TOKENS: usize = 17_000;

fn offer(is_core: bool, role: Role) -> Offer {
    Offer::of(is_core, &who(role, Phase::Claimed))
}

fn who(role: Role, phase: Phase) -> Who {
    let (workspace_id, actor) = ("ws_1".into(), "api_key:ak_1".into());
    Who {
        workspace_id,
        actor,
        role,
        mode: Mode::Live,
        phase,
        features: Features::default(),
        may_run_sql: true,
        sends: true,
    }
}

fn names(offer: Offer) -> Vec<String> {
    let named = |tool: &Value| tool["name"].as_str().expect("a name").to_owned();
    offer.definitions(&RELM).iter().map(named).collect()
}

fn asked(dialect: &'static Dialect, tool: &str, arguments: Value) -> Result<ToolAsk, Fault> {
    let Value::Object(arguments) = arguments else { panic!("{arguments}") };
    read(&by_name(tool).expect("a tool"), dialect, arguments, None)
}

#[track_caller]
fn refused(tool: &str, arguments: Value, part: &str) {
    let fault = asked(&RELM, tool, arguments.clone()).map(|ask| ask.ask).expect_err(tool);
    let text = format!("{} {}", fault.message(), fault.hint().unwrap_or_default());
    assert!(text.contains(part), "{tool} {arguments}: {text}");
}

#[test]
fn the_definitions_are_small() {
    // The tokens of a model of today. Others differ by a tenth.
    let tokenizer = tiktoken_rs::o200k_base().expect("a tokenizer");
    for dialect in DIALECTS {
        for (is_core, most) in [(true, CORE_TOKENS), (false, ALL_TOKENS)] {
            let definitions = offer(is_core, Role::Owner).definitions(dialect);
            let text = serde_json::to_string(&definitions).expect("JSON");
            let tokens = tokenizer.encode_ordinary(&text).len();
            println!("{}: {} tools, {tokens} tokens", dialect.name, definitions.len());
            assert!(tokens < most, "{}: {tokens} tokens", dialect.name);
            assert!(!is_core || definitions.len() <= 16, "{}", definitions.len());
        }
    }
}

/// Every method and path for API keys, from the tables of the documents.
fn routes() -> impl Iterator<Item = (Method, &'static str)> {
    let of_tables = ENDPOINTS.iter().filter(|it| it.act != EndpointAct::SignUp).map(|it| (it.method, it.path));
    of_tables.chain(TASKS.iter().map(|it| (it.method, it.path)))
}

#[test]
fn the_small_set_reaches_every_route() {
    let core = names(offer(true, Role::Owner));
    // What some paths require, in their parameters and bodies. The first that can be read is taken.
    let bodies = [
        ("", json!({})),
        ("q=ada", json!({})),
        ("table=contacts", json!({"csv": "email\na@b.example"})),
        ("", json!({"sql": "select 1"})),
        ("", json!({"operations": [{"method": "GET", "path": "/v1/contacts"}]})),
        ("", json!({"contacts": [{"email": "a@b.example"}]})),
        ("", json!({"member_ids": ["c_1"]})),
        ("", json!({"run_id": "r"})),
        ("", json!({"status": "complete"})),
        ("", json!({"from": ["c_1"]})),
        ("", json!({"match": ["email"], "data": {"email": "a@b.example"}})),
    ];
    let mut count = 0;
    for dialect in DIALECTS {
        for (method, path) in routes() {
            count += 1;
            let path = path.trim_start_matches("/v1/").replace("{table}", "contacts").replace(['{', '}'], "");
            let segments: Vec<&str> = path.split('/').collect();
            let rest = |(query, body): &(&str, Value)| {
                let query = parse_query(query).expect("a query");
                (dialect.read)(Arguments::of_operation(method, &segments, &query, Some(body.clone())).ok()?).ok()
            };
            let read = bodies.iter().find_map(|said| Some((rest(said)?, said)));
            let (expected, (query, body)) =
                read.unwrap_or_else(|| panic!("give this test a body for {method:?} /v1/{path}"));
            let filter: Map<String, Value> =
                parse_query(query).expect("a query").into_iter().map(|(name, value)| (name, value.into())).collect();
            let (parent, last) = path.rsplit_once('/').unwrap_or(("", &path));
            let calls = match method {
                Method::Get => vec![
                    ("list_records", json!({"table": path, "limit": 50, "filter": filter})),
                    ("get_record", json!({"table": parent, "id": last})),
                    ("search", json!({"query": "ada", "limit": 50})),
                    ("describe_schema", json!({})),
                ],
                _ => {
                    let address = format!("/v1/{path}?{query}");
                    vec![("call_api", json!({"method": method.name(), "path": address, "body": body}))]
                }
            };
            let reaches = calls.iter().any(|(tool, arguments)| {
                assert!(core.contains(&(*tool).to_owned()), "{tool} is not in the small set");
                asked(dialect, tool, arguments.clone()).is_ok_and(|read| read.ask == expected)
            });
            assert!(reaches, "{}: no tool of the small set reads {method:?} /v1/{path} as {expected:?}", dialect.name);
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn every_tool_has_a_name_of_its_own_and_a_whole_definition() {
    let all: Vec<String> = tools().map(|tool| tool.name()).collect();
    for (at, name) in all.iter().enumerate() {
        assert!(!all[at + 1..].contains(name), "{name} is there twice");
        assert!(name.len() <= 64 && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'), "{name}");
    }
    for dialect in DIALECTS {
        for tool in offer(false, Role::Owner).definitions(dialect) {
            let name = tool["name"].as_str().expect("a name");
            for key in ["title", "description"] {
                let text = tool[key].as_str().expect(key);
                let is_filled = ["{one}", "{many}", "{a}"].iter().all(|it| !text.contains(it));
                assert!(!text.is_empty() && is_filled, "{name}: {text}");
            }
            assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{name}");
            assert_eq!(tool["annotations"]["readOnlyHint"] == true, tool["annotations"]["destructiveHint"].is_null());
            for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
                assert_eq!(schema["type"], "object", "{name}");
                assert!(schema["properties"].is_object(), "{name}");
            }
            let input = &tool["inputSchema"];
            // A schema says which other names there can be.
            let more = &input["additionalProperties"];
            assert!(*more == false || more["description"].is_string(), "{name}: {more}");
            for required in input["required"].as_array().into_iter().flatten() {
                let required = required.as_str().expect("a name");
                assert!(input["properties"].get(required).is_some(), "{name}: {required}");
            }
        }
    }
}

#[test]
fn who_can_only_read_is_offered_only_what_reads() {
    let viewer = names(offer(false, Role::Viewer));
    assert!(viewer.contains(&"get_contact".to_owned()) && viewer.contains(&"query_sql".to_owned()), "{viewer:?}");
    for name in viewer.iter().filter(|name| *name != "batch") {
        assert!(!by_name(name).expect("a tool").kind.act.writes(), "{name}");
    }
    // All that a viewer's batch can do is read.
    for tool in offer(false, Role::Viewer).definitions(&RELM) {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
    }
    assert!(viewer.contains(&"batch".to_owned()));
    let without = Offer { features: Features { associations: false }, ..offer(false, Role::Owner) };
    assert!(names(offer(false, Role::Owner)).contains(&"create_association".to_owned()));
    assert!(!names(without).contains(&"create_association".to_owned()));
    let read_only = Offer::of(false, &who(Role::Owner, Phase::ReadOnly { expires_at: 0 }));
    assert_eq!(names(read_only), viewer);
    let without_sql = Offer { may_run_sql: false, ..offer(false, Role::Owner) };
    assert!(!names(without_sql).iter().any(|name| name.ends_with("_sql")));
}

#[test]
fn the_names_that_clients_know_exist() {
    let all = names(offer(false, Role::Member));
    for name in [
        "create_contact get_contact update_contact list_contacts create_company get_company list_companies",
        "create_deal get_deal list_deals update_deal move_deal_stage log_activity list_activities search",
        "create_association list_pipelines create_pipeline update_pipeline delete_pipeline list_pipeline_stages",
        "create_pipeline_stage update_pipeline_stage delete_pipeline_stage fetch query_sql execute_sql",
        "list_records get_record create_record update_record delete_record restore_record describe_schema",
        "create_automation list_automations get_automation update_automation delete_automation list_automation_runs",
        "create_webhook list_webhooks get_webhook update_webhook delete_webhook test_webhook list_webhook_deliveries",
        "replay_webhook_deliveries rotate_webhook_secret batch undo list_runs get_run list_run_changes list_events",
    ]
    .join(" ")
    .split(' ')
    {
        assert!(all.iter().any(|it| it == name), "{name}");
    }
    let core = names(offer(true, Role::Member));
    for name in ["search", "fetch", "query_sql", "execute_sql"] {
        assert!(core.iter().any(|it| it == name), "{name}");
    }
    assert_eq!(core, names(offer(true, Role::Member)), "the order is always the same");
}

#[test]
fn what_is_in_the_control_plane_takes_no_controls() {
    for tool in tools().filter(|tool| matches!(tool.kind.act, Act::Control(..))) {
        let definition = tool.definition(&RELM, true);
        for argument in ["dry_run", "max_affected", "reason", "run_id"] {
            assert!(definition["inputSchema"]["properties"].get(argument).is_none(), "{}", tool.name());
        }
    }
    for name in ["batch", "undo", "finish_run"] {
        let definition = by_name(name).expect("a tool").definition(&RELM, true);
        assert!(definition["inputSchema"]["properties"].get("dry_run").is_some(), "{name}");
    }
    refused("delete_webhook", json!({"id": "whep_1", "dry_run": true}), "Unknown argument \"dry_run\"");
}

#[test]
fn the_tools_for_any_table_serve_kiths_own_too() {
    let control = |tool: &str, arguments: Value| match asked(&RELM, tool, arguments).expect("an ask").ask {
        Ask::Control(ask) => ask,
        other => panic!("{other:?}"),
    };
    let page = |limit| PageAsk { limit, cursor: None };
    assert_eq!(
        control("list_records", json!({"table": "webhooks", "limit": 3})),
        ControlAsk::List { resource: Resource::Webhooks, page: page(3) }
    );
    assert_eq!(
        control("get_record", json!({"table": "automation", "id": "auto_1"})),
        ControlAsk::Find { resource: Resource::Automations, id: "auto_1".into() }
    );
    let values = json!({"enabled": false});
    let ControlAsk::Update { values: read, .. } =
        control("update_record", json!({"table": "webhooks", "id": "whep_1", "values": values}))
    else {
        panic!()
    };
    assert_eq!(Value::Object(read), values);
    let deliveries = json!({"table": "webhooks/whep_1/deliveries", "filter": {"status": "failed"}});
    assert_eq!(
        control("list_records", deliveries),
        ControlAsk::Deliveries { id: "whep_1".into(), status: Some("failed".into()), page: page(25) }
    );
    let runs = asked(&RELM, "list_records", json!({"table": "runs", "filter": {"status": "open"}})).expect("an ask");
    assert!(matches!(&runs.ask, Ask::Steps(Steps::ListRuns { filters, .. }) if filters["status"] == "open"));
    let changes = asked(&RELM, "list_records", json!({"table": "runs/my run/changes"})).expect("an ask");
    assert!(matches!(&changes.ask, Ask::Steps(Steps::RunChanges { run, .. }) if run == "my run"));
    assert!(
        asked(&RELM, "delete_record", json!({"table": "webhooks", "id": "whep_1"})).expect("an ask").is_unconfirmed()
    );
    refused("update_record", json!({"table": "runs", "id": "run_1", "values": {}}), "has no runs");
    refused("list_records", json!({"table": "runs", "filter": {"status": {"eq": "open"}}}), "takes a text");
    refused("list_records", json!({"table": "events", "filter": {"limit": 1}}), "given twice");
    refused("undo", json!({"run_id": "run_1"}), "undo takes one of run");
    refused("undo", json!({"run": "a", "request_id": "req_1"}), "undo takes one of run");
    refused("replay_webhook_deliveries", json!({"id": "whep_1"}), "either \"delivery_id\" or \"since\"");
}

/// The values of an ask that writes.
fn values(ask: &Ask) -> &Map<String, Value> {
    match ask {
        Ask::Single(
            Single::Create { values, .. } | Single::Update { values, .. } | Single::CreateStage { values, .. },
        ) => values,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_are_understood_in_the_names_of_both_dialects() {
    let expected =
        json!({"name": "A", "amount_cents": 5, "contact_id": "c_01kaqz3v5t8w9x2y4z6a8b0c1d", "custom": {"a": 1}});
    let relm = json!({"title": "A", "value_cents": 5, "primary_contact_id": "con_01kaqz3v5t8w9x2y4z6a8b0c1d", "metadata": {"a": 1}});
    for dialect in DIALECTS {
        for fields in [&expected, &relm] {
            let ask = asked(dialect, "create_deal", fields.clone()).expect("an ask").ask;
            assert_eq!(Value::Object(values(&ask).clone()), expected, "{}", dialect.name);
            let ask = asked(dialect, "create_record", json!({"table": "deals", "values": fields})).expect("an ask").ask;
            assert_eq!(Value::Object(values(&ask).clone()), expected, "{}", dialect.name);
        }
    }
    // Names and words as people read them.
    for dialect in DIALECTS {
        let ask = asked(dialect, "create_contact", json!({"First name": "A", "lastName": "B"})).expect("an ask").ask;
        assert_eq!(Value::Object(values(&ask).clone()), json!({"first_name": "A", "last_name": "B"}));
        let logged = json!({"type": "Call", "Contact-Id": "c_01kaqz3v5t8w9x2y4z6a8b0c1d"});
        let ask = asked(dialect, "log_activity", logged).expect("an ask").ask;
        let expected = json!({"type": "call", "contact_id": "c_01kaqz3v5t8w9x2y4z6a8b0c1d"});
        assert_eq!(Value::Object(values(&ask).clone()), expected, "{}", dialect.name);
        let listed = json!({"table": "activities", "filter": {"Type": {"in": ["Call", "NOTE", "other"]}}});
        let Ask::Single(Single::List { filters, .. }) = asked(dialect, "list_records", listed).expect("an ask").ask
        else {
            panic!()
        };
        assert_eq!(filters[0].readings[0].values, ["call", "note", "other"]);
        assert_eq!(filters[0].readings[0].subject, Subject::Column("type".into()));
    }
    // A contact's title is a column of its own.
    let ask = asked(&AGENTCRM, "create_contact", json!({"title": "CTO"})).expect("an ask").ask;
    assert_eq!(values(&ask)["title"], "CTO");
}

#[test]
fn a_filter_is_a_value_or_an_operator_with_one() {
    let conditions =
        json!({"title": "A", "value_cents": {"gte": 1, "lt": 9}, "metadata.plan": "pro", "stage": ["won", "lost"]});
    for dialect in DIALECTS {
        let ask =
            asked(dialect, "list_deals", json!({"filter": conditions, "stage": "won", "limit": 3})).expect("an ask");
        let Ask::Single(Single::List { filters, page, .. }) = ask.ask else { panic!() };
        let read: Vec<String> = filters
            .iter()
            .map(|filter| {
                let reading = &filter.readings[0];
                let subject = match &reading.subject {
                    Subject::Column(column) => column.clone(),
                    Subject::Key { column, key } => format!("{column}.{key}"),
                    Subject::Mail(_) => panic!(),
                };
                format!("{subject} {:?} {}", reading.op, reading.values.join(","))
            })
            .collect();
        let expected = [
            "stage Eq won",
            "name Eq A",
            "amount_cents Gte 1",
            "amount_cents Lt 9",
            "custom.plan Eq pro",
            "stage In won,lost",
        ];
        assert_eq!((read, page.limit), (expected.map(str::to_owned).to_vec(), 3), "{}", dialect.name);
    }
    refused("list_deals", json!({"filter": {"stage": {"like": "w"}}}), "Did you mean \"ilike\"?");
    refused("list_deals", json!({"filter": {"stage": null}}), "{\"present\": false}");
    refused("list_deals", json!({"filter": [1]}), "\"filter\" must be an object, not an array.");
}

#[test]
fn a_pattern_is_a_pattern_only_with_a_wildcard() {
    for (value, op) in [("%a", Op::Like), ("a", Op::Contains)] {
        let ask = asked(&RELM, "list_records", json!({"table": "contact", "filter": {"email": {"ilike": value}}}));
        let Ask::Single(Single::List { table, filters, .. }) = ask.expect("an ask").ask else { panic!() };
        assert_eq!((table.as_str(), filters[0].readings[0].op), ("contacts", op));
    }
}

#[test]
fn wrong_arguments_are_refused_with_the_nearest_name() {
    refused("get_contact", json!({"id": "c_1", "respose_format": "detailed"}), "Did you mean \"response_format\"?");
    refused("delete_record", json!({"table": "contacts", "id": "c_1", "dryrun": true}), "Unknown argument \"dryrun\"");
    refused("get_contact", json!({"email": "a@b.example"}), "The arguments are id, ");
    refused("get_contact", json!({}), "get_contact requires \"id\"");
    refused("get_contact", json!({"id": ["c_1"]}), "\"id\" must be a string, not an array.");
    refused("get_contact", json!({"id": ""}), "\"id\" is empty.");
    refused("query_sql", json!({"sql": "select 1", "parms": [1]}), "Did you mean \"params\"?");
    refused("query_sql", json!({}), "query_sql requires \"sql\"");
    refused("list_deals", json!({"limit": 0}), "limit");
    refused("list_deals", json!({"limit": {}}), "\"limit\" must be a number, not an object.");
    refused("search", json!({"query": "a", "max_tokens": 0}), "max_tokens");
    refused("search", json!({"query": "a", "response_format": "full"}), "concise or detailed");
    refused("create_contact", json!({"email": "a@b.example", "run_id": "x".repeat(201)}), "run_id");
    refused(
        "create_record",
        json!({"table": "contacts", "values": "x"}),
        "\"values\" must be an object, not a string.",
    );
    refused("fetch", json!({"id": "nothing"}), "not the id of a built-in record");
}

#[test]
fn a_permanent_deletion_is_confirmed() {
    let batch = |path: &str| json!({"operations": [{"method": "GET", "path": "/v1/contacts"}, {"method": "DELETE", "path": path}]});
    let call = |path: &str| json!({"method": "DELETE", "path": path});
    for (tool, mut arguments) in [
        ("delete_record", json!({"table": "contacts", "id": "c_1", "hard": true})),
        ("delete_record", json!({"table": "invoices", "id": "1"})),
        ("delete_record", json!({"table": "automation", "id": "auto_1"})),
        ("delete_webhook", json!({"id": "whep_1"})),
        ("delete_automation", json!({"id": "auto_1"})),
        ("batch", batch("/v1/contacts/c_1?hard=true")),
        ("batch", batch("/v1/invoices/1")),
        ("call_api", call("/v1/contacts/c_1?hard=true")),
        ("call_api", call("/v1/webhooks/whep_1")),
        ("call_api", call("/v1/automations/auto_1")),
        ("call_api", call("/v1/integrations/email")),
        ("call_api", call("/v1/integrations/mailbox")),
        ("call_api", json!({"method": "POST", "path": "/v1/batch", "body": batch("/v1/deals/d_1?hard=1")})),
    ] {
        assert!(asked(&RELM, tool, arguments.clone()).expect(tool).is_unconfirmed(), "{tool} {arguments}");
        arguments["confirm"] = true.into();
        assert!(!asked(&RELM, tool, arguments.clone()).expect(tool).is_unconfirmed(), "{tool} {arguments}");
    }
    for (tool, arguments) in [
        ("delete_pipeline", json!({"key": "sales"})),
        ("batch", batch("/v1/contacts/c_1")),
        ("batch", batch("/v1/lists/l_1/members/c_1")),
        ("call_api", call("/v1/deals/d_1")),
        ("remove_list_member", json!({"list_id": "l_1", "member_id": "c_1"})),
    ] {
        assert!(!asked(&RELM, tool, arguments.clone()).expect(tool).is_unconfirmed(), "{tool} {arguments}");
    }
    refused("get_contact", json!({"id": "c_1", "confirm": true}), "confirm");
    let hard = json!({"table": "contacts", "id": "c_1", "hard": true, "confirm": true});
    let ask = asked(&RELM, "delete_record", hard).expect("an ask").ask;
    assert_eq!(ask, Single::Delete { table: "contacts".into(), id: "c_1".into(), hard: true }.into());
    let soft = asked(&RELM, "delete_record", json!({"table": "contacts", "id": "c_1"})).expect("an ask").ask;
    assert_eq!(soft, Single::Delete { table: "contacts".into(), id: "c_1".into(), hard: false }.into());
}

#[test]
fn records_are_named_as_their_kind_is() {
    let ask = asked(&RELM, "move_deal_stage", json!({"deal_id": "d_1", "stage": "won"})).expect("an ask").ask;
    let Ask::Single(Single::Update { id, values, .. }) = ask else { panic!() };
    assert_eq!((id.text(), Value::Object(values)), ("d_1", json!({"stage": "won"})));
    let ask = asked(&RELM, "delete_pipeline", json!({"key": "sales"})).expect("an ask").ask;
    assert_eq!(ask, Single::Delete { table: "pipelines".into(), id: "sales".into(), hard: false }.into());
    let ask = asked(&RELM, "update_pipeline_stage", json!({"pipeline": "sales", "key": "won", "label": "W"}))
        .expect("an ask")
        .ask;
    let Ask::Single(Single::Update { id: RecordName::Stage { key, .. }, values, .. }) = ask else { panic!() };
    assert_eq!((key.as_str(), Value::Object(values)), ("won", json!({"label": "W"})));
    let ask = asked(&AGENTCRM, "fetch", json!({"id": "con_01kaqz3v5t8w9x2y4z6a8b0c1d"})).expect("an ask").ask;
    let Ask::Single(Single::Find { table, id, .. }) = ask else { panic!() };
    assert_eq!((table.as_str(), id.text()), ("contacts", "c_01kaqz3v5t8w9x2y4z6a8b0c1d"));
    let ask = asked(&AGENTCRM, "fetch", json!({"id": "invoices/7"})).expect("an ask").ask;
    let Ask::Single(Single::Find { table, id, .. }) = ask else { panic!() };
    assert_eq!((table.as_str(), id.text()), ("invoices", "7"));
}

#[test]
fn reasons_and_runs_are_no_fields() {
    let ask = asked(&RELM, "create_contact", json!({"email": "a@b.example", "reason": "asked", "run_id": "r1"}))
        .expect("an ask");
    assert_eq!((ask.reason.as_deref(), ask.run_id.as_deref()), (Some("asked"), Some("r1")));
    assert_eq!(Value::Object(values(&ask.ask).clone()), json!({"email": "a@b.example"}));
    let query = asked(&RELM, "query_sql", json!({"query": "select 1", "max_tokens": 10})).expect("an ask");
    assert_eq!(query.ask, Steps::Sql { sql: "select 1".into(), params: Vec::new() }.into());
}

fn rows(names: &[&str], cells: &[&[&str]]) -> Rows {
    let columns: Arc<[ResultColumn]> =
        names.iter().map(|name| ResultColumn { name: (*name).into(), type_name: "text".into() }).collect();
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for row in cells {
        for cell in *row {
            data.extend_from_slice(cell.as_bytes());
            ends.push(data.len() as u32);
        }
    }
    Rows::new(columns, data, ends, cells.len())
}

fn page(names: &[&str], cells: &[&[&str]], next: Option<&str>) -> Answer {
    Answer::Page {
        entity: by_table("deals"),
        table: None,
        rows: rows(names, cells),
        width: names.len(),
        next_cursor: next.map(str::to_owned),
        limit: 50,
    }
}

fn alone(answer: Answer) -> ToolAnswer {
    ToolAnswer { answer, beside: Vec::new(), effect: None, duplicates: Vec::new() }
}

fn shown(dialect: &'static Dialect, arguments: Value, answer: Answer) -> Result<Shown, Fault> {
    let ask = asked(dialect, "list_deals", arguments)?;
    show(dialect, &ask.view, alone(answer), None, &Meta { table: Some("deals"), ..Meta::default() })
}

#[track_caller]
fn whole(shown: Result<Shown, Fault>) -> Value {
    match shown {
        Ok(Shown::Whole(object)) => Value::Object(object),
        other => panic!("{other:?}"),
    }
}

const COLUMNS: &[&str] = &["id", "name", "amount_cents", "contact_id", "custom", "created_at", "more"];
const ROW: &[&str] = &["\"d_1\"", "\"A\"", "5", "null", "{\"a\":1}", "\"2026-01-01T00:00:00+00:00\"", "\"m\""];

#[test]
fn a_list_is_brief_and_says_whether_there_is_more() {
    let concise = whole(shown(&AGENTCRM, json!({}), page(COLUMNS, &[ROW], Some("n"))));
    assert_eq!(concise["data"], json!([{"id": "d_1", "name": "A", "amount_cents": 5}]));
    assert_eq!((&concise["has_more"], &concise["next_cursor"]), (&json!(true), &json!("n")));
    let relm = whole(shown(&RELM, json!({"fields": ["amount_cents", "metadata"]}), page(COLUMNS, &[ROW], None)));
    assert_eq!(relm["data"], json!([{"id": "d_1", "object": "deal", "value_cents": 5, "metadata": {"a": 1}}]));
    assert_eq!((&relm["has_more"], &relm["next_cursor"]), (&json!(false), &Value::Null));
    let detailed = whole(shown(&AGENTCRM, json!({"response_format": "detailed"}), page(COLUMNS, &[ROW], None)));
    assert_eq!(detailed["data"][0]["more"], "m");
    let fault =
        shown(&RELM, json!({"fields": ["valu_cents"]}), page(COLUMNS, &[ROW], None)).expect_err("no such field");
    assert!(fault.hint().is_some_and(|hint| hint.contains("value_cents")), "{fault:?}");
}

#[test]
fn long_texts_are_cut_before_rows_and_named() {
    let long = format!("\"{}\"", "x".repeat(5_000));
    let row: &[&str] = &["\"d_1\"", &long, "5", "null", "{}", "null", "\"m\""];
    let cut = whole(shown(&RELM, json!({"max_tokens": 800}), page(COLUMNS, &[row, row], None)));
    let title = cut["data"][1]["title"].as_str().expect("a title");
    assert!(title.len() < 1_100 && title.ends_with("… [cut: 5000 characters in all]"), "{title}");
    assert!(cut["cut"].as_str().is_some_and(|cut| cut.contains("title")), "{cut}");
    let many: Vec<&[&str]> = vec![row; 50];
    match shown(&RELM, json!({"max_tokens": 500}), page(COLUMNS, &many, None)) {
        Ok(Shown::TooLong { rows }) => assert!((1..50).contains(&rows), "{rows}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_result_of_sql_is_cut_to_the_tokens() {
    let ask = asked(&AGENTCRM, "query_sql", json!({"sql": "select 1", "max_tokens": 100})).expect("an ask");
    let row: &[&str] = &["\"0123456789\""];
    let many: Vec<&[&str]> = vec![row; 500];
    let result = SqlResult {
        rows: rows(&["a"], &many),
        row_count: 500,
        command: "SELECT".into(),
        truncated: false,
        before: Vec::new(),
    };
    let shown = show(&AGENTCRM, &ask.view, alone(Answer::Sql(result)), None, &Meta::default());
    let value = whole(shown);
    assert!(value["rows"].as_array().is_some_and(|rows| (1..20).contains(&rows.len())), "{value}");
    assert_eq!((&value["truncated"], &value["rowCount"]), (&json!(true), &json!(500)));
    assert!(value["cut"].as_str().is_some_and(|cut| cut.contains("of 500 rows")), "{value}");
}

#[test]
fn an_error_says_what_to_do_next() {
    for dialect in DIALECTS {
        for code in crate::model::codes::CODES {
            let fault = Fault::Refused { code: code.code, message: "No.".into(), hint: None };
            let object = error(&fault, &by_name("get_contact").expect("a tool"), dialect, &Meta::default());
            let members = object["error"].as_object().unwrap_or(&object);
            assert!(members["next"].as_str().is_some_and(|next| next.len() > 10), "{object:?}");
        }
    }
    let id = Some("d_01kaqz3v5t8w9x2y4z6a8b0c1d".to_owned());
    let fault = Fault::Conflict { message: "taken".into(), constraint: "c".into(), existing_id: id };
    let object = error(&fault, &by_name("create_deal").expect("a tool"), &RELM, &Meta::default());
    assert_eq!(
        object["error"]["next"],
        "Call update_record with the id deal_01kaqz3v5t8w9x2y4z6a8b0c1d instead of creating another."
    );
    assert_eq!(by_name("create_deal").map(|tool| tool.kind.act), Some(Act::Create));
}
