//! What `bin/bench` needs to drive PostgreSQL just as Kith does: the statements, and a log-in as the workspace.

use serde_json::{Map, Value, json};

use crm::model::ask::{Related, Single, UnknownStage};
use crm::model::catalog::Catalog;
use crm::model::filter::Deleted;
use crm::model::lifecycle::Phase;
use crm::model::page::PageAsk;
use crm::model::who::{Features, Mode, Provenance, Role, Who};
use crm::plan;
use crm::sql::{self, Sql};

use crate::config::BenchLogin;
use crate::store::cell::server;

/// The tables that the benchmarked requests touch, as the catalog would list them.
const CATALOG: &str = r#"[
  {"name": "contacts", "relkind": "r", "estimated_rows": 0, "primary_key": ["id"], "unique": [], "columns": [
    {"name": "id", "type": "text", "typname": "text", "category": "S", "not_null": true, "generated": false},
    {"name": "email", "type": "citext", "typname": "citext", "category": "S", "not_null": false, "generated": false},
    {"name": "first_name", "type": "text", "typname": "text", "category": "S", "not_null": false, "generated": false},
    {"name": "created_at", "type": "timestamptz", "typname": "timestamptz", "category": "D", "not_null": true, "generated": false},
    {"name": "deleted_at", "type": "timestamptz", "typname": "timestamptz", "category": "D", "not_null": false, "generated": false}]},
  {"name": "companies", "relkind": "r", "estimated_rows": 0, "primary_key": ["id"], "unique": [], "columns": [
    {"name": "id", "type": "text", "typname": "text", "category": "S", "not_null": true, "generated": false}]}
]"#;

/// Prints the SQL of the benchmarked requests, made by the same code that serves them.
pub fn sql() -> Result<(), String> {
    let catalog = Catalog::parse(CATALOG).map_err(|error| error.to_string())?;
    let contacts = || "contacts".to_owned();
    let get = Single::Find { table: contacts(), id: ":id".into(), deleted: Deleted::Exclude, related: Related::All };
    let list = Single::List {
        table: contacts(),
        filters: Vec::new(),
        deleted: Deleted::Exclude,
        page: PageAsk { limit: 50, cursor: None },
    };
    let mut values = Map::new();
    values.insert("email".into(), ":email".into());
    values.insert("first_name".into(), "Bench".into());
    let create = Single::Create { table: contacts(), values, unknown_stage: UnknownStage::Add };
    let who = Who {
        workspace_id: "".into(),
        actor: "api_key:ak_bench".into(),
        role: Role::Member,
        mode: Mode::Live,
        phase: Phase::Claimed,
        features: Features::default(),
    };
    let provenance = Provenance { request_id: "req_bench".into(), ..Provenance::default() };
    let context = sql::context::begin_request(":begin_secret", &who, &provenance);
    let lines = json!({
        "get": texts(&catalog, &get, None)?,
        "list": texts(&catalog, &list, None)?,
        "create": texts(&catalog, &create, Some(context))?,
        "sql": [{"sql": "SELECT * FROM contacts WHERE id = $1", "params": [":id"]}],
    });
    println!("{lines}");
    Ok(())
}

fn texts(catalog: &Catalog, ask: &Single, context: Option<Sql>) -> Result<Vec<Value>, String> {
    let plan = plan::plan(ask, catalog).map_err(|fault| fault.message())?;
    let statements = context.into_iter().chain(sql::statements(&plan));
    Ok(statements.map(|sql| json!({"sql": sql.text, "params": sql.params})).collect())
}

/// Prints how to log in as a workspace's own role, as one line of JSON.
pub async fn login(ask: BenchLogin) -> Result<(), String> {
    println!("{}", server::login_line(&ask.data_dir, &ask.workspace).await?);
    Ok(())
}
