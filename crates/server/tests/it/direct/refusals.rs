//! Who may request a direct connection, who may log in over the network, and what a user's role may not do.

use std::time::Duration;

use pg::{Target, Url};
use serde_json::json;

use super::{ask, come, connection, login};
use crate::belongings::{joined, owned, person};
use crate::support::{Child, TempDir, agent, home, other_process, stranger};

#[tokio::test]
async fn only_members_of_a_claimed_workspace_may_ask() {
    let (owner, live) = owned().await;
    let path = format!("/v1/connection?ws={}", owner.workspace_id);
    stranger().post(&path, json!({})).await.fault(401, "unauthorized");
    live.post(&path, json!({})).await.fault(401, "unauthorized");
    let (outsider, _) = person("outsider").await;
    outsider.post(&path, json!({})).await.fault(404, "not_found");
    outsider.post("/v1/connection?ws=ws_nonsense", json!({})).await.fault(404, "not_found");
    outsider.post("/v1/connection", json!({})).await.fault(400, "invalid_request");
    owner.get(&path).await.fault(405, "method_not_allowed");
    let unclaimed = agent().await;
    let path = format!("/v1/connection?ws={}", unclaimed.workspace_id);
    outsider.post(&path, json!({})).await.fault(403, "forbidden");
    // The second process reaches its database over a Unix socket, to which no client can connect from the network.
    let path = format!("/v1/connection?ws={}", owner.workspace_id);
    owner.at(other_process().await).post(&path, json!({})).await.fault(403, "forbidden");
}

#[tokio::test]
async fn by_the_network_come_peoples_roles_and_no_others() {
    let (owner, _) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (url, role) = connection(&owner).await;
    let Target { port, .. } = Url::parse(&url).expect("a URL").target;
    let to = |role: &str, password: &str, database: &str| {
        format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    };
    let cells = &home().kith.app.store.cells;
    for api in [&*place.role, &*place.viewer, &*place.system, "kith_control", "postgres"] {
        let right = cells.password(api);
        for password in [right.expose(), "wrong"] {
            for database in [&*place.database, "postgres", "kith"] {
                assert_eq!(login(&to(api, password, database)).await, "28000", "{api} to {database}");
            }
        }
    }
    assert_eq!(login(&to(&role, "wrong", &place.database)).await, "28P01");
    assert_eq!(login(&to(&role, "", &place.database)).await, "28P01");
    assert_eq!(login(&to("nobody_d", "wrong", &place.database)).await, "28P01");

    // They may not connect to any database but their own either.
    let password = Url::parse(&url).expect("a URL").password.expect("a password");
    let (other, _) = owned().await;
    let strange = home().place(&other.workspace_id).await.database;
    for database in [&*strange, "postgres", "kith", "template1"] {
        assert_eq!(login(&to(&role, password.expose(), database)).await, "42501", "{database}");
    }
    assert_eq!(login(&to(&role, password.expose(), "replication")).await, "3D000");
}

#[tokio::test]
async fn a_persons_role_is_nothing_by_itself() {
    let (owner, _) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    let (url, role) = connection(&owner).await;
    let (other, _) = owned().await;
    let strange = home().place(&other.workspace_id).await.role;
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "set role none").await, "");
    assert_eq!(ask(&mut conn, "select current_user").await, role);
    let workspace = &place.role;
    for sql in [
        "create table mine (id integer)".to_owned(),
        "create temp table mine (id integer)".to_owned(),
        "create function f() returns integer language sql as 'select 1'".to_owned(),
        "create schema mine".to_owned(),
        "alter table contacts add column mine text".to_owned(),
        "comment on table contacts is 'mine'".to_owned(),
        "insert into contacts default values".to_owned(),
        "select * from contacts".to_owned(),
        format!("alter role {role} connection limit -1"),
        format!("alter role {role} superuser"),
        format!("alter role {workspace} password 'known'"),
        format!("grant {workspace} to public"),
        // No event trigger fires for this one. It is the reason why the role inherits nothing.
        format!("reassign owned by {workspace} to {role}"),
        format!("reassign owned by {workspace} to current_user"),
        format!("alter table public.contacts owner to {role}"),
        format!("grant {strange} to {role}"),
        format!("set role {strange}"),
        format!("set role {}", place.system),
        "set role postgres".to_owned(),
        "set session authorization postgres".to_owned(),
        format!("set session authorization {workspace}"),
        "create role more".to_owned(),
        "create database more".to_owned(),
        "select pg_terminate_backend(1)".to_owned(),
        "select lo_create(0)".to_owned(),
        "select pg_advisory_lock(7236455903)".to_owned(),
        "copy (select 1) to program 'true'".to_owned(),
        "select * from kith.secret".to_owned(),
    ] {
        let outcome = ask(&mut conn, &sql).await;
        // In a schema without USAGE the table does not exist for it, and `public` is not a role that could be granted one.
        assert!(["42501", "42P01", "0LP01", "42704"].contains(&outcome.as_str()), "{sql}: {outcome}");
    }
    assert_eq!(ask(&mut conn, &format!("set role {workspace}")).await, "");
    assert_eq!(ask(&mut conn, "insert into contacts default values").await, "");
    assert_eq!(ask(&mut conn, "create table notes (id integer)").await, "");
    let direct = "select a.actor from activity a order by occurred_at desc limit 1";
    assert_eq!(ask(&mut conn, direct).await, format!("postgres:{role}"));
    assert_eq!(ask(&mut conn, &format!("reassign owned by {workspace} to {role}")).await, "42501");
    assert_eq!(ask(&mut conn, &format!("alter table notes owner to {role}")).await, "42501");
    for sql in [
        "insert into activity (actor, verb, subject_type) values ('user:u_1', 'created', 'contact')",
        "delete from activity",
        "truncate contacts cascade",
        "drop table contacts cascade",
        "select kith.begin_request('guessed', 'user:u_1', null)",
        "alter table contacts disable trigger \"!kith_record\"",
        "grant select on contacts to kith_control",
    ] {
        let outcome = ask(&mut conn, sql).await;
        assert!(["42501", "28000"].contains(&outcome.as_str()), "{sql}: {outcome}");
    }
}

#[tokio::test]
async fn a_person_has_twelve_sessions_and_others_of_the_workspace_have_theirs() {
    let (owner, _) = owned().await;
    let (member, ..) = joined(&owner, "member").await;
    let (url, _) = connection(&owner).await;
    let (members, _) = connection(&member).await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(come(&url).await.expect("a session"));
    }
    assert_eq!(login(&url).await, "53300");
    for _ in 0..8 {
        open.push(come(&members).await.expect("a session"));
    }
    // Maintenance does not change them.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for conn in &mut open {
        assert_eq!(ask(conn, "select 1").await, "1");
    }
}

#[tokio::test]
async fn kith_starts_with_no_entrance_that_is_open_to_others_without_tls() {
    let refused = |arguments: &[&str]| {
        let dir = TempDir::new();
        let output = Child::run(&dir, "serve", &[&["--listen", "127.0.0.1:0"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        said.lines().last().unwrap_or_default().to_owned()
    };
    assert!(refused(&["--postgres-listen", "0.0.0.0:7301"]).contains("needs TLS"));
    assert!(refused(&["--postgres-listen", "[::]:7301"]).contains("needs TLS"));
    let half = ["--postgres-listen", "127.0.0.1:7301", "--postgres-tls-cert", "/nowhere/c.pem"];
    assert!(refused(&half).contains("go together"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("its address").to_string();
    assert!(refused(&["--postgres-listen", &at]).contains(&at));
}
