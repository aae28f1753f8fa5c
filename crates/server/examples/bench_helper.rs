//! Tells `bin/bench` how to drive PostgreSQL as Kith does. It is an example and not a command of `kith`, because it prints
//! a workspace's password.
//!
//!     bench_helper sql                       the SQL of the benchmarked requests, as one line of JSON
//!     bench_helper login DATA_DIR WORKSPACE  how to log in as the workspace's own role, as one line of JSON

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};

use crm::model::ask::{Related, Single, UnknownStage};
use crm::model::catalog::Catalog;
use crm::model::filter::Deleted;
use crm::model::lifecycle::Phase;
use crm::model::page::PageAsk;
use crm::model::who::{Features, Mode, Provenance, Role, Who};
use crm::plan::{self, Plan};
use crm::sql::{self, Sql};

use kith::config::{Command, Line};
use kith::store::cell::{server, settings};

/// What stands for an address that is not in use, or for an id.
const UNUSED: &str = ":email";
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

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = match arguments[..] {
        ["sql"] => sql(),
        ["login", data_dir, workspace] => login(data_dir, workspace),
        _ => Err("usage: bench_helper sql | login DATA_DIR WORKSPACE".into()),
    };
    match printed {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("bench_helper: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The SQL of the benchmarked requests, made by the same code that serves them.
fn sql() -> Result<Value, String> {
    let catalog = Catalog::parse(CATALOG).map_err(|error| error.to_string())?;
    let contacts = || "contacts".to_owned();
    let get = Single::Find { table: contacts(), id: ":id".into(), deleted: Deleted::Exclude, related: Related::All };
    let list = Single::List {
        table: contacts(),
        filters: Vec::new(),
        deleted: Deleted::Exclude,
        sort: None,
        page: PageAsk { limit: 50, cursor: None },
    };
    let mut values = Map::new();
    values.insert("email".into(), UNUSED.into());
    values.insert("first_name".into(), "Bench".into());
    let create = Single::Create { table: contacts(), values, unknown_stage: UnknownStage::Add };
    let who = Who {
        workspace_id: "".into(),
        actor: "api_key:ak_bench".into(),
        role: Role::Member,
        mode: Mode::Live,
        phase: Phase::Claimed,
        features: Features::default(),
        may_run_sql: true,
        sends: true,
    };
    let provenance = Provenance { request_id: "req_bench".into(), ..Provenance::default() };
    let context = sql::context::begin_request(":begin_secret", &who, &provenance.to_json(&[]), Some(UNUSED.into()));
    Ok(json!({
        "get": texts(&catalog, &get, None)?,
        "list": texts(&catalog, &list, None)?,
        "create": texts(&catalog, &create, Some(context))?,
        "sql": [{"sql": "SELECT * FROM contacts WHERE id = $1", "params": [":id"]}],
    }))
}

fn texts(catalog: &Catalog, ask: &Single, context: Option<Sql>) -> Result<Vec<Value>, String> {
    let mut plan = plan::plan(ask, catalog).map_err(|fault| fault.message())?;
    if let Plan::Create(create) = &mut plan {
        create.give_id(|_| UNUSED.into());
    }
    let statements = context.into_iter().chain(sql::statements(&plan));
    Ok(statements.map(|sql| json!({"sql": sql.text, "params": sql.params})).collect())
}

/// How to log in to a running embedded server as a workspace's own role. It reads the secret key's file in the data
/// directory, so only a user who may read that file can run it.
fn login(data_dir: &str, workspace: &str) -> Result<Value, String> {
    let Command::Serve(config) = Line::parse_from(["kith", "serve", "--data-dir", data_dir]).command else {
        return Err("`kith serve` is no command".into());
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let store = server::reach(&config)?;
        let places = store.control.databases(workspace).await.map_err(|fault| fault.message())?;
        let place = places.into_iter().next().ok_or_else(|| format!("there is no workspace {workspace}"))?;
        let target = store.cells.target(place.cell);
        let pg::Host::Unix(socket_dir) = &target.host else { return Err("the server has no socket".into()) };
        Ok(json!({
            "socket_dir": socket_dir.display().to_string(),
            "port": target.port,
            "database": &*place.database,
            "role": &*place.role,
            "password": store.cells.password(&place.role).expose(),
            "begin_secret": store.secret_of(&place).expose(),
            "settings": settings::TENANT.iter().copied().collect::<BTreeMap<_, _>>(),
        }))
    })
}
