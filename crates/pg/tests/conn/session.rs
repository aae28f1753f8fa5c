//! What a connection knows about itself: whether it is clean, whether it is alive, and whether its settings are those of the
//! log-in.

use std::time::Duration;

use pg::conn::{Begin, Doubt, Frame, Login, Reset};
use pg::types::TypeCache;
use pg::{Conn, Error};

use crate::support::{one, server, until};
use crate::{CAPS, act, code, raw, run, run_with, tenant};

#[tokio::test]
async fn a_connection_keeps_200_statements() {
    let (_tenant, mut conn) = tenant().await;
    let types = TypeCache::default();
    for i in 0..450 {
        let (a, b) = (format!("select {i}"), format!("select {}", i / 2));
        run_with(&mut conn, Frame::ReadOnly, &[&a, "select 'always'", &b], CAPS, &types).await.unwrap();
    }
    let sqls: Vec<String> = (0..300).map(|i| format!("select -{i}")).collect();
    let sqls: Vec<&str> = sqls.iter().map(String::as_str).collect();
    assert_eq!(run_with(&mut conn, Frame::Implicit, &sqls, CAPS, &types).await.unwrap().len(), 300);
    run_with(&mut conn, Frame::Implicit, &["select 'x'"], CAPS, &types).await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_prepared_statements").await, "200");
    conn.reset().await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_prepared_statements").await, "0");
    run_with(&mut conn, Frame::ReadOnly, &["select 1", "select 1"], CAPS, &types).await.unwrap();
}

#[tokio::test]
async fn a_request_given_up_half_way_leaves_the_connection_unclean() {
    let (tenant, mut conn) = tenant().await;
    let short = Duration::from_millis(50);
    let slow = run(&mut conn, Frame::Implicit, &["select pg_sleep(60)"]);
    assert!(tokio::time::timeout(short, slow).await.is_err());
    assert!(!conn.is_clean());
    assert!(run(&mut conn, Frame::Implicit, &["select 1"]).await.is_err());
    assert!(conn.reset().await.is_err());

    let mut conn = tenant.connect().await;
    let mut tx = conn.begin(Begin::ReadWrite(&[])).await.unwrap();
    act(&mut tx, "select 1", CAPS).await.unwrap();
    drop(tx);
    assert!(!conn.is_clean());
    let mut conn = tenant.connect().await;
    drop(conn.begin(Begin::ReadWrite(&[])).await.unwrap());
    assert!(!conn.is_clean());
}

#[tokio::test]
async fn the_end_of_the_backend_is_told_and_noticed() {
    let (tenant, mut conn) = tenant().await;
    let mut admin = server().await.admin().await;
    let terminate = format!("select pg_terminate_backend({}, 5000)", conn.pid());
    let slow = run(&mut conn, Frame::Implicit, &["select pg_sleep(60)"]);
    let (result, _) = tokio::join!(slow, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        admin.query(&terminate, &[]).await.unwrap()
    });
    assert_eq!(code(result), "57P01");
    assert!(!conn.is_clean() && !conn.is_alive());

    let mut conn = tenant.connect().await;
    assert!(conn.is_alive());
    admin.query(&format!("select pg_terminate_backend({}, 5000)", conn.pid()), &[]).await.unwrap();
    until("the end is noticed", Duration::from_secs(5), || {
        let alive = conn.is_alive();
        async move { !alive }
    })
    .await;
    let mut conn = tenant.connect().await;
    admin.query(&format!("select pg_terminate_backend({}, 5000)", conn.pid()), &[]).await.unwrap();
    assert_eq!(code(run(&mut conn, Frame::Implicit, &["select 1"]).await), "57P01");
}

#[tokio::test]
async fn a_changed_setting_is_seen_and_a_reset_undoes_it() {
    let (_tenant, mut conn) = tenant().await;
    for (setting, value) in [("timezone", "Asia/Tokyo"), ("search_path", "pg_temp"), ("datestyle", "german")] {
        assert!(!conn.is_altered());
        let sql = format!("select set_config('{setting}', '{value}', false)");
        run(&mut conn, Frame::Implicit, &[&sql]).await.unwrap();
        assert!(conn.is_clean());
        // Reported since PostgreSQL 18.
        assert!(conn.is_altered() || setting == "search_path");
        conn.reset().await.unwrap();
    }
    assert!(!conn.is_altered());
    raw(&mut conn, Begin::ReadWrite(&[]), "declare c cursor with hold for select 1").await.unwrap();
    conn.reset().await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from pg_cursors where name <> ''").await, "0");
}

#[tokio::test]
async fn a_verifier_lets_its_password_in_and_no_other() {
    let (tenant, _conn) = tenant().await;
    let mut admin = server().await.admin().await;
    for iterations in [1, 4096] {
        let verifier = pg::scram::verifier("a fine password", iterations, &[7; 16]);
        assert_eq!(one(&mut admin, &format!("select '{verifier}'")).await, verifier);
        admin.query(&format!("alter role {} password '{verifier}'", tenant.role), &[]).await.unwrap();
        let target = server().await.target();
        let login = |password| Login { user: &tenant.role, password, database: &tenant.database, settings: &[] };
        assert!(Conn::open(&target, &login("a fine password")).await.unwrap().is_clean());
        assert_eq!(code(Conn::open(&target, &login("another")).await), "28P01");
    }
}

#[tokio::test]
async fn a_reset_may_go_out_with_the_end_of_a_transaction() {
    let (_tenant, mut conn) = tenant().await;
    for (sql, ends_well) in
        [("select set_config('a.b', 'left', false)", true), ("select 1/0", false), ("select 1", true)]
    {
        conn.reset_at_end(Reset::Full);
        assert_eq!(raw(&mut conn, Begin::ReadWrite(&[]), sql).await.is_ok(), ends_well);
        assert!(conn.is_clean());
        // Until its end is read, no other request runs.
        let early = run(&mut conn, Frame::Implicit, &["select 1"]).await;
        assert!(matches!(early, Err(Error::Protocol(_))), "{early:?}");
        conn.reset().await.unwrap();
        assert_eq!(one(&mut conn, "select coalesce(current_setting('a.b', true), '')").await, "");
    }
    // A transaction that ends without a frame is reset separately.
    conn.reset_at_end(Reset::Full);
    raw(&mut conn, Begin::Bare, "vacuum t").await.unwrap();
    conn.reset().await.unwrap();
    assert_eq!(one(&mut conn, "select count(*) from t").await, "3");
}

#[tokio::test]
async fn a_light_reset_keeps_what_is_prepared_unless_there_is_a_doubt() {
    let (_tenant, mut conn) = tenant().await;
    let light = |doubt: &str| Reset::Light(Some(Doubt { sql: "select $1::bool", param: doubt.to_owned() }));
    let set = "select set_config('timezone', 'Asia/Tokyo', false), set_config('a.b', 'left', false)";
    for round in 0..3 {
        conn.reset_at_end(light("false"));
        run(&mut conn, Frame::Implicit, &[set]).await.unwrap();
        assert!(conn.is_in_light_reset() && conn.is_clean() && !conn.owes_reset());
        conn.ready().await.unwrap();
        assert!(!conn.is_altered(), "round {round}");
        assert_eq!(one(&mut conn, "select coalesce(current_setting('a.b', true), '')").await, "");
    }
    conn.script("prepare p as select 1").await.unwrap();
    conn.reset_at_end(light("false"));
    run(&mut conn, Frame::Implicit, &[set]).await.unwrap();
    // The next request reads its end.
    run(&mut conn, Frame::ReadOnly, &["execute p"]).await.unwrap();
    for (doubt, frame) in [("true", Frame::Implicit), ("true", Frame::ReadOnly), ("no boolean", Frame::Implicit)] {
        conn.script("deallocate all; prepare p as select 1").await.unwrap();
        conn.reset().await.unwrap();
        conn.script("prepare p as select 1").await.unwrap();
        conn.reset_at_end(light(doubt));
        run(&mut conn, frame, &["select 1"]).await.unwrap();
        conn.ready().await.unwrap();
        assert_eq!(code(raw(&mut conn, Begin::ReadWrite(&[]), "execute p").await), "26000", "{doubt}");
    }
    // A statement that fails, and one whose plan is stale, still start the reset.
    conn.reset_at_end(light("false"));
    assert_eq!(code(run(&mut conn, Frame::Implicit, &["select set_config('a.b', 'left', false)::int"]).await), "22P02");
    conn.ready().await.unwrap();
    run(&mut conn, Frame::Implicit, &["select * from t"]).await.unwrap();
    conn.script("alter table t add more int").await.unwrap();
    conn.reset_at_end(light("false"));
    assert!(matches!(run(&mut conn, Frame::Implicit, &["select * from t"]).await, Err(Error::Stale)));
    conn.ready().await.unwrap();
    run(&mut conn, Frame::Implicit, &["select * from t"]).await.unwrap();
}
