//! Direct connections: psql and similar tools on a workspace's own database.

pub mod budget;
mod floods;
mod own_objects;
mod refusals;
mod tools;
mod viewers;

use std::time::{Duration, Instant};

use pg::conn::Login;
use pg::{Conn, Error, Url};
use serde_json::json;

use crate::belongings::{joined, owned};
use crate::support::{Agent, Child, TempDir, home, other_process};

/// Requests a connection. Returns its URL and role.
pub async fn connection(member: &Agent) -> (String, String) {
    let path = format!("/v1/connection?ws={}", member.workspace_id);
    let reply = member.post(&path, json!({})).await.status(200);
    (reply.text("/data/url"), reply.text("/data/role"))
}

/// A session over the network with the URL's parameters and no other settings.
pub async fn come(url: &str) -> Result<Conn, Error> {
    let url = Url::parse(url).expect("a URL");
    let password = url.password.as_ref().expect("a password").expose();
    let login = Login { user: &url.user, password, database: &url.database, settings: &[] };
    Conn::open(&url.target, &login).await
}

/// The result of a statement: the first column of its first row, or the SQLSTATE. `gone` if the session has ended.
async fn ask(conn: &mut Conn, sql: &str) -> String {
    match conn.query(sql, &[]).await {
        Ok(rows) if rows.is_empty() || rows.columns().is_empty() => String::new(),
        Ok(rows) => rows.text(0, 0).unwrap_or("null").to_owned(),
        Err(Error::Server(error)) if error.severity != "FATAL" => error.code.clone(),
        Err(_) => "gone".to_owned(),
    }
}

/// The result of a log-in: empty, or the SQLSTATE.
async fn login(url: &str) -> String {
    match come(url).await {
        Ok(_) => String::new(),
        Err(error) => error.code().map_or_else(|| error.to_string(), str::to_owned),
    }
}

/// Waits until a session has ended.
async fn until_gone(conn: &mut Conn, limit: Duration) {
    let start = Instant::now();
    while ask(conn, "select 1").await != "gone" {
        assert!(start.elapsed() < limit, "the session lives on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_member_works_on_the_same_data_under_a_name_of_their_own() {
    let (owner, live) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (url, role) = connection(&owner).await;
    assert!(role.starts_with(&format!("{}_", place.role)) && role.ends_with("_d"), "{role}");
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "select session_user || ' ' || current_user").await, format!("{role} {}", place.role));
    assert_eq!(ask(&mut conn, "show search_path").await, "public");
    assert_eq!(ask(&mut conn, "show statement_timeout").await, "10min");

    let id = live.post("/v1/contacts", json!({"email": "by@rest.example"})).await.status(201).id();
    assert_eq!(ask(&mut conn, "select id from contacts").await, id);
    let made = ask(&mut conn, "insert into contacts (email) values ('by@psql.example') returning id").await;
    let entry = live.get(&format!("/v1/activity?subject_id={made}")).await.status(200);
    assert_eq!(entry.text("/data/0/actor"), format!("postgres:{role}"));
    assert_eq!(entry.text("/data/0/verb"), "created");

    // Objects that they create belong to the workspace and are served immediately.
    conn.script("create table memos (id serial primary key, body text); insert into memos (body) values ('hello')")
        .await
        .expect("a table");
    let owner_of = "select tableowner from pg_tables where tablename = 'memos'";
    assert_eq!(ask(&mut conn, owner_of).await, &*place.role);
    assert_eq!(live.get("/v1/memos").await.status(200).text("/data/0/body"), "hello");
    live.post("/v1/memos", json!({"body": "by REST"})).await.status(201);
    assert_eq!(ask(&mut conn, "alter table contacts add column score integer").await, "");
    assert_eq!(live.get(&format!("/v1/contacts/{id}")).await.status(200).at("/data/score"), json!(null));

    // Connection pools reset them.
    for reset in ["reset role", "reset all", "discard all", "reset session authorization"] {
        assert_eq!(ask(&mut conn, reset).await, "", "{reset}");
        assert_eq!(ask(&mut conn, "select current_user").await, &*place.role, "{reset}");
        assert_eq!(ask(&mut conn, "show search_path").await, "public", "{reset}");
    }
    let audit = owner.get(&format!("/v1/workspaces/audit?ws={}", owner.workspace_id)).await.status(200);
    assert_eq!(audit.text("/data/0/action"), "connection.opened");
    assert_eq!(audit.text("/data/0/subject"), role);
    assert!(!audit.at("/data").to_string().contains("postgres://"));
}

#[tokio::test]
async fn asking_again_replaces_the_password_and_ends_what_is_open() {
    let (owner, _) = owned().await;
    let (first, role) = connection(&owner).await;
    let mut conn = come(&first).await.expect("a session");
    conn.query(&format!("alter role {role} set statement_timeout = '1s'"), &[]).await.expect_err("not as this role");
    conn.script(&format!("set role none; alter role {role} set search_path = pg_temp")).await.expect("an own setting");
    let (second, same) = connection(&owner).await;
    assert_eq!(role, same);
    assert_ne!(first, second);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(login(&first).await, "28P01");
    // Settings that they broke for themselves are repaired too.
    let mut conn = come(&second).await.expect("a session");
    assert_eq!(ask(&mut conn, "show search_path").await, "public");
    // Maintenance does not treat the session as an old one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(&mut conn, "select 1").await, "1");
}

#[tokio::test]
async fn two_who_ask_at_once_both_get_an_answer() {
    let (owner, _) = owned().await;
    let path = format!("/v1/connection?ws={}", owner.workspace_id);
    let ask = || owner.post(&path, json!({}));
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    let urls = [one, two, three].map(|reply| reply.status(200).text("/data/url"));
    let mut good = 0;
    for url in &urls {
        good += usize::from(login(url).await.is_empty());
    }
    assert_eq!(good, 1, "one password is the last");
}

#[tokio::test]
async fn a_removed_member_is_out_at_once() {
    let (owner, _) = owned().await;
    let (member, _, user_id) = joined(&owner, "member").await;
    let (url, role) = connection(&member).await;
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "select 1").await, "1");
    let path = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    owner.delete(&path).await.status(200);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(login(&url).await, "28P01");
    member.post(&format!("/v1/connection?ws={}", owner.workspace_id), json!({})).await.fault(404, "not_found");
    assert_eq!(roles_like(&role).await, 0);

    // Also through another process.
    let (member, _, user_id) = joined(&owner, "viewer").await;
    let (url, _) = connection(&member).await;
    let mut conn = come(&url).await.expect("a session");
    let path = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    owner.at(other_process().await).delete(&path).await.status(200);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(login(&url).await, "28P01");
}

#[tokio::test]
async fn another_role_in_the_workspace_is_another_connection() {
    let (owner, _) = owned().await;
    let (member, _, user_id) = joined(&owner, "member").await;
    let path = format!("/v1/members?ws={}&user_id={user_id}", owner.workspace_id);
    let (url, as_member) = connection(&member).await;
    let mut conn = come(&url).await.expect("a session");
    owner.patch(&path, json!({"role": "viewer"})).await.status(200);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(login(&url).await, "28P01");
    let (url, as_viewer) = connection(&member).await;
    assert_ne!(as_member, as_viewer);
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "insert into contacts default values").await, "25006");
    owner.patch(&path, json!({"role": "member"})).await.status(200);
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    let mut conn = come(&connection(&member).await.0).await.expect("a session");
    assert_eq!(ask(&mut conn, "insert into contacts (email) values ('a@b.example')").await, "");
}

#[tokio::test]
async fn what_a_crash_left_open_is_closed() {
    let (owner, _) = owned().await;
    let (url, role) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    // As if the process had died between the statement that ends a membership and the removal of its role.
    home().control("DELETE FROM connections WHERE role = $1", &[&role]).await;
    until_gone(&mut conn, Duration::from_secs(10)).await;
    home().run(async { home().kith.app.store.sweep_direct(None).await }).await.expect("a sweep");
    assert_eq!(login(&url).await, "28P01");
    assert_eq!(roles_like(&role).await, 0);
}

#[tokio::test]
async fn a_workspace_that_is_dropped_takes_its_peoples_roles_along() {
    let (owner, _) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (url, _) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    let name = place.role.to_string();
    home().run(async move { home().kith.app.store.drop_database(&place).await }).await.expect("an end");
    assert_eq!(ask(&mut conn, "select 1").await, "gone");
    assert_eq!(roles_like(&name).await, 0);
}

#[tokio::test]
async fn it_is_kept_through_starts_on_other_ports() {
    let dir = TempDir::new();
    let child = Child::serve(&dir);
    let person = person_at(&child).await;
    let (first, role) = connection(&person).await;
    assert_eq!(login(&first).await, "");
    child.kill();

    let child = Child::serve(&dir);
    let (second, same) = connection(&person.at(&child.base)).await;
    assert_eq!(role, same);
    assert_eq!(login(&second).await, "");
    let ports = [&first, &second].map(|url| Url::parse(url).expect("a URL").target.port);
    assert_ne!(ports[0], ports[1]);
}

/// A user with an account and a workspace on this test's own Kith.
async fn person_at(child: &Child) -> Agent {
    let body = json!({"email": "one@people.example", "password": "correct horse battery"});
    let token = child.stranger().post("/v1/auth/signup", body).await.status(201).text("/data/session_token");
    let person = child.stranger().with_key(token.clone(), String::new());
    let workspace_id = person.post("/v1/workspaces", json!({})).await.status(201).text("/data/workspace_id");
    person.with_key(token, workspace_id)
}

/// The number of roles whose names have this prefix.
async fn roles_like(name: &str) -> usize {
    let cells = &home().kith.app.store.cells;
    let mut admin = cells.administer_cell(0).await.expect("the administrator");
    let rows = admin.query("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)", &[Some(name)]).await;
    rows.expect("roles").len()
}
