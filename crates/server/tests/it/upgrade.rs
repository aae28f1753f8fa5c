//! The first request to a workspace that an older Kith created upgrades it. The newer Kith is this one with one more
//! migration.

use std::sync::LazyLock;

use kith::store::cell::migrate::{WORKSPACE, ensure_template, template_name};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::support::{Agent, agent, home, newer_process, psql, stranger_at};

/// The migrations of a Kith that is newer than this one.
static NEWER: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| [WORKSPACE, &[include_str!("data/made_up_migration.sql")]].concat());

/// The base URL of the newer Kith.
async fn newer() -> &'static str {
    static BASE: OnceCell<String> = OnceCell::const_new();
    BASE.get_or_init(|| newer_process(&NEWER)).await
}

async fn version(agent: &Agent) -> usize {
    let sql = "SELECT version FROM databases WHERE workspace_id = $1";
    let rows = home().kith.app.store.control.query(sql, &[Some(&agent.workspace_id)]).await.expect("an answer");
    rows.only().expect("a database").get("version").expect("a version")
}

/// The structure of a workspace's built-in tables, without its owner's additions.
async fn shape(agent: &Agent) -> Vec<String> {
    let store = &home().kith.app.store;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = store.cells.administer(0, &place.database).await.expect("an administrator");
    let sql = "select concat_ws(' ', relation, kind, name, value) as line from kith_guard.shape
               where name not in ('score', 'mine') order by 1";
    let rows = admin.query(sql, &[]).await.expect("an answer");
    (0..rows.len()).map(|row| rows.get(row, "line").expect("a line")).collect()
}

#[tokio::test]
async fn an_older_workspace_is_upgraded_with_all_that_is_in_it() {
    let agent = agent().await;
    assert_eq!(version(&agent).await, WORKSPACE.len());
    // Changes that its owner made while it was old, in the owner's own session.
    let mut owner = psql(&agent).await;
    owner
        .script(
            "alter table contacts add column score int;
             create table memos (id int primary key, body text);
             insert into contacts (email, score) values ('old@b.example', 7);
             insert into memos values (1, 'kept');
             create function shadow() returns trigger language plpgsql as $$ begin new.score = 8; return new; end $$;
             create trigger mine before insert on contacts for each row execute function shadow();",
        )
        .await
        .expect("the owner's work");
    drop(owner);

    let base = newer().await;
    let agent = agent.at(base);
    // Many first requests at the same time: one upgrades, the others wait for it.
    let asks = (0..6).map(|_| agent.get("/v1/contacts?email=OLD@b.example"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status(200).column("score"), [7]);
    }
    assert_eq!(version(&agent).await, NEWER.len());
    assert_eq!(agent.get("/v1/memos/1").await.status(200).data()["body"], "kept");
    let made = agent.post("/v1/contacts", json!({"email": "new@b.example"})).await.status(201);
    assert_eq!(made.data()["score"], 8, "the owner's trigger goes on");

    // It equals a new workspace, and the guards still work.
    let fresh = stranger_at(base).with_workspace().await;
    assert_eq!(version(&fresh).await, NEWER.len());
    assert_eq!(shape(&agent).await, shape(&fresh).await);
    for agent in [&agent, &fresh] {
        agent.sql("alter table contacts drop column email").await.fault(403, "sql_error");
        agent.sql("alter table contacts add column another text").await.status(200);
        agent.post("/v1/contacts", json!({"another": "x"})).await.status(201);
    }
}

#[tokio::test]
async fn a_migration_adds_a_built_in_table() {
    let old = agent().await;
    let base = newer().await;
    let old = old.at(base);
    let fresh = stranger_at(base).with_workspace().await;
    for agent in [&old, &fresh] {
        let company = agent.post("/v1/companies", json!({"name": "Acme"})).await.status(201).id();
        let made = agent.post("/v1/tickets", json!({"title": "Help", "company_id": company})).await.status(201);
        assert!(made.id().starts_with("tk_"), "{}", made.story());
        agent.patch(&format!("/v1/tickets/{}", made.id()), json!({"title": "Help!"})).await.status(200);
        agent.delete(&format!("/v1/companies/{company}")).await.status(200);
        agent.post("/v1/tickets", json!({"title": "Late", "company_id": company})).await.status(422);
        let told = agent.get(&format!("/v1/activity?subject_id={}", made.id())).await.status(200);
        assert_eq!(told.column("verb"), ["updated", "created"]);
        assert_eq!(told.column("subject_type"), ["ticket", "ticket"]);
        assert_eq!(told.column("subject_repr"), ["Help!", "Help"]);
        agent.sql("alter table tickets drop column title").await.fault(403, "sql_error");
        agent.sql("alter table tickets disable trigger \"!kith_record\"").await.fault(403, "sql_error");
        agent.sql("truncate tickets").await.fault(403, "sql_error");
        let viewer = agent.sql("select has_table_privilege(rolname, 'tickets', 'SELECT') as v from pg_roles where rolname = current_user || '_r'");
        assert_eq!(viewer.await.status(200).column("v"), [true]);
    }
}

#[tokio::test]
async fn nothing_of_a_migration_stays_with_the_workspace() {
    let agent = agent().await;
    let base = newer().await;
    let agent = agent.at(base);
    agent.get("/v1/tickets").await.status(200);
    for function in ["record_change()", "no_truncate()", "check_custom()", "place_deal()", "link()"] {
        let sql = format!("select has_function_privilege('kith.{function}', 'EXECUTE') as v");
        assert_eq!(agent.sql(&sql).await.status(200).column("v"), [false], "{function}");
    }
    let found = agent.sql("select count(*) as v from kith_guard.migration").await.status(200);
    assert_eq!(found.column("v"), [0]);
}

#[tokio::test]
async fn another_session_gains_nothing_while_a_migration_runs() {
    let agent = agent().await;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(0, &place.database).await.expect("an administrator");
    // No session has this process id, so every session that connects is a different one.
    let begin = format!("select kith_guard.begin_section('{}'::regrole, 0)", place.role);
    admin.script(&begin).await.expect("a section that begins");
    for sql in [
        "create table forged (id text, name text);
         create trigger \"!kith_record\" after insert on forged for each row execute function kith.record_change('contact', '{name}')",
        "create trigger zz after insert on contacts for each row execute function kith.record_change('contact')",
        "create table forged (id text); select kith.make_builtin('forged', 'contact', array['{id}'])",
        "alter table contacts disable trigger \"!kith_record\"",
    ] {
        agent.sql(sql).await.fault(403, "sql_error");
    }
    admin.script(&format!("select kith_guard.end_section('{}'::regrole)", place.role)).await.expect("its end");
}

/// Changes that vulnerabilities of older versions allowed. The guards are switched off for this.
const BREAKS: &str = "
    alter event trigger kith_before_ddl disable;
    alter event trigger kith_after_ddl disable;
    alter table public.contacts disable trigger \"!kith_record\", disable trigger kith_touch;
    alter table public.deals enable row level security, force row level security;
    create rule r as on delete to public.lists do instead nothing;
    create table public.child () inherits (public.associations);
    create type public.mood as enum ('fine');
    create function public.mood_json(public.mood) returns json language sql as $$ select '{}'::json $$;
    create cast (public.mood as json) with function public.mood_json(public.mood);
    create table public.shared (id int primary key);
    create policy p on public.shared to {{other}} using (true);
    grant select on public.contacts, public.shared to {{other}};
    grant execute on function public.mood_json(public.mood) to {{other}};
    grant usage on type public.mood to {{other}};
    alter default privileges for role {{workspace}} grant select on tables to {{other}};
    update pg_index set indisvalid = false, indisready = false, indislive = false
     where indexrelid in ('public.contacts_email_key'::regclass, 'public.companies_domain_key'::regclass);
    alter table public.child owner to {{workspace}};
    alter event trigger kith_before_ddl enable always;
    alter event trigger kith_after_ddl enable always";

#[tokio::test]
async fn an_upgrade_mends_what_came_through_a_hole() {
    let (agent, neighbour) = (agent().await, agent().await);
    let [place, other] = [home().place(&agent.workspace_id).await, home().place(&neighbour.workspace_id).await];
    let mut admin = home().kith.app.store.cells.administer(0, &place.database).await.expect("an administrator");
    let breaks = BREAKS.replace("{{workspace}}", &place.role).replace("{{other}}", &other.role);
    admin.script(&breaks).await.expect("what an older version let through");
    let first = agent.post("/v1/contacts", json!({"email": "twice@b.example"})).await.status(201).id();
    let second = agent.post("/v1/contacts", json!({"email": "TWICE@b.example"})).await.status(201).id();
    agent.post("/v1/contacts", json!({})).await.status(201);
    agent.post("/v1/contacts", json!({})).await.status(201);
    let key = "select encode(mac_key, 'hex') as v from kith.secret";
    let stolen: String = admin.query(key, &[]).await.expect("a key").get(0, "v").expect("a key");

    let agent = agent.at(newer().await);
    assert_eq!(
        agent.get("/v1/contacts").await.status(200).column("id").len(),
        3,
        "one of two with an address is hidden"
    );
    agent.get(&format!("/v1/contacts/{first}")).await.status(200);
    agent.get(&format!("/v1/contacts/{second}?include_deleted=true")).await.status(200);
    for check in [
        "select not exists (select from kith_guard.fact f left join kith_guard.observed o using (relid, kind, name)
                             where o.value is distinct from f.value) as v",
        "select bool_and(i.indisvalid and i.indislive) as v from pg_index i join kith_guard.builtin b on b.relid = i.indrelid",
        "select not kith_guard.has_strangers() as v",
        "select not exists (select from pg_cast where castsource = 'public.mood'::regtype) as v",
        "select not exists (select from pg_policy) as v",
    ] {
        let so: String = admin.query(check, &[]).await.expect("an answer").get(0, "v").expect("a boolean");
        assert_eq!(so, "t", "{check}");
    }
    let now: String = admin.query(key, &[]).await.expect("a key").get(0, "v").expect("a key");
    assert_ne!(now, stolen, "a stolen key signs nothing any more");
    agent.post("/v1/contacts", json!({"email": "Twice@b.example"})).await.fault(409, "conflict");
    let made = agent.post("/v1/contacts", json!({"email": "once@b.example"})).await.status(201).id();
    let told = agent.get(&format!("/v1/activity?subject_id={made}")).await.status(200);
    assert_eq!(told.column("verb"), ["created"]);
    assert!(told.column("actor")[0].as_str().is_some_and(|actor| actor.starts_with("api_key:")), "{}", told.story());
    agent.sql("alter table deals add column x int").await.status(200);
    neighbour.sql("select 1 as v").await.status(200);
}

#[tokio::test]
async fn clones_of_a_new_template_have_nothing_in_common() {
    // With one more migration it is another template, of which no clone has been made yet.
    const ONE_MORE: &str = "-- section: admin\nSELECT 'another template';";
    let migrations: Vec<&'static str> = [WORKSPACE, &[ONE_MORE]].concat();
    let rights = home()
        .run(async move {
            let store = &home().kith.app.store;
            ensure_template(&store.cells, &store.control, 0, &migrations).await.expect("a template");
            let mut admin = store.cells.administer_cell(0).await.expect("an administrator");
            let sql = "SELECT datacl::text AS rights FROM pg_database WHERE datname = $1";
            let rows = admin.query(sql, &[Some(&template_name(&migrations))]).await.expect("an answer");
            rows.get::<String>(0, "rights").expect("the rights on the template")
        })
        .await;
    // A right of a role of the template would be revoked by each clone, and two at a time would get in each other's way.
    assert!(!rights.contains("kith_tpl"), "{rights}");
}
