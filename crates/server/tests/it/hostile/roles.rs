//! A workspace changes its own role: its password, which is allowed, and the settings of its log-ins.

use std::time::Instant;

use super::{Scene, outcome};
use crate::support::home;

/// Settings that would break or end every session that starts with them.
const SETTINGS: &[&str] = &[
    "local_preload_libraries = 'nothing_there'",
    "statement_timeout = 1",
    "transaction_timeout = 1",
    "lock_timeout = 1",
    "idle_session_timeout = 1",
    "idle_in_transaction_session_timeout = 1",
    "search_path = nowhere",
    "client_min_messages = debug5",
    "client_encoding = 'LATIN1'",
    "datestyle = 'German'",
    "timezone = 'Asia/Tokyo'",
    "intervalstyle = 'iso_8601'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "standard_conforming_strings = off",
    "default_transaction_read_only = on",
    "default_transaction_isolation = serializable",
    "default_transaction_deferrable = on",
    "exit_on_error = on",
    "restrict_nonsystem_relation_kind = 'view, foreign-table'",
    "quote_all_identifiers = on",
    "row_security = off",
    "work_mem = '64kB'",
    "role = 'none'",
    "array_nulls = off",
    "transform_null_equals = on",
    "xmloption = document",
    "default_tablespace = ''",
    "default_text_search_config = 'pg_catalog.simple'",
    "password_encryption = md5",
    "plan_cache_mode = force_custom_plan",
    "gin_fuzzy_search_limit = 1",
    "log_parameter_max_length_on_error = -1",
    "debug_print_plan = on",
    "debug_print_parse = on",
    "debug_print_rewritten = on",
    "tcp_keepalives_idle = 1",
    "client_connection_check_interval = 1",
    "application_name = 'somebody else'",
    "kith.context = 'junk'",
];

/// Makes the workspace's next request need a new log-in.
fn close_all(scene: &Scene) {
    let pool = &scene.home.kith.app.store.pool;
    for role in [&scene.place.role, &scene.place.viewer] {
        pool.evict_role(scene.place.cell, role);
    }
}

async fn sql_works(scene: &Scene, after: &str) {
    let reply = scene.attacker.sql("select current_setting('statement_timeout') as v").await;
    assert_eq!((reply.code, outcome(&reply).as_str()), (200, "ok"), "after {after}: {}", reply.story());
    assert_eq!(reply.v(), "30s", "after {after}");
}

#[tokio::test]
async fn settings_of_ones_own_role_spoil_no_session_of_the_servers() {
    let scene = Scene::new(home()).await;
    let mut taken = 0;
    for setting in SETTINGS {
        let reply = scene.attacker.sql(&format!("alter role current_user set {setting}")).await;
        println!("{setting}: {}", outcome(&reply));
        taken += u32::from(reply.code == 200);
        close_all(&scene);
        sql_works(&scene, setting).await;
        if let Err(offence) = scene.own_rest(setting).await {
            panic!("{offence}");
        }
    }
    assert!(taken >= 30, "only {taken} settings were taken");
    scene.stands("settings of its own role").await;
}

#[tokio::test]
async fn a_changed_password_is_set_right() {
    let scene = Scene::new(home()).await;
    let passwords = [
        "'mine now'",
        "null",
        "''",
        "'md5d41d8cd98f00b204e9800998ecf8427e'",
        // More rounds than a client accepts.
        "'SCRAM-SHA-256$1000000:AQIDBAUGBwgJCgsMDQ4PEA==$8rrDg00OqaiWXJ7p+sCgHEIaBSHY89ZJl3mfIsf32oY=:05L1f+yZbiN8O0AnO40Og85NNRhvzTS57naKRWCcsIA='",
        "'SCRAM-SHA-256$100001:AQIDBAUGBwgJCgsMDQ4PEA==$8rrDg00OqaiWXJ7p+sCgHEIaBSHY89ZJl3mfIsf32oY=:05L1f+yZbiN8O0AnO40Og85NNRhvzTS57naKRWCcsIA='",
        "'SCRAM-SHA-256$99999:AQIDBAUGBwgJCgsMDQ4PEA==$8rrDg00OqaiWXJ7p+sCgHEIaBSHY89ZJl3mfIsf32oY=:05L1f+yZbiN8O0AnO40Og85NNRhvzTS57naKRWCcsIA='",
        "'SCRAM-SHA-256$4096:AA==$8rrDg00OqaiWXJ7p+sCgHEIaBSHY89ZJl3mfIsf32oY=:05L1f+yZbiN8O0AnO40Og85NNRhvzTS57naKRWCcsIA='",
    ];
    for password in passwords {
        scene.prepare(&format!("alter role current_user password {password}")).await;
        close_all(&scene);
        let begun = Instant::now();
        sql_works(&scene, password).await;
        println!("the password {password:.40} was set right in {:?}", begun.elapsed());
        scene.prepare(&format!("alter role current_user password {password}")).await;
        close_all(&scene);
        if let Err(offence) = scene.own_rest(password).await {
            panic!("{offence}");
        }
    }
    scene.stands("changed passwords").await;
}

#[tokio::test]
async fn more_than_that_is_refused() {
    let scene = Scene::new(home()).await;
    let (role, database) = (&scene.place.role, &scene.place.database);
    let (viewer, system, other) = (&scene.place.viewer, &scene.place.system, &scene.neighbour_place.role);
    let refused = [
        format!("alter role {role} nologin"),
        format!("alter role {role} rename to mine"),
        format!("alter role {role} connection limit -1"),
        format!("alter role {role} valid until '2000-01-01'"),
        format!("alter role {role} superuser"),
        format!("alter role {role} createdb"),
        format!("alter role {role} createrole"),
        format!("alter role {role} replication"),
        format!("alter role {role} bypassrls"),
        format!("alter role {role} inherit"),
        format!("alter role {role} set temp_file_limit = -1"),
        format!("alter role {role} set session_replication_role = replica"),
        format!("alter role {role} set session_preload_libraries = 'x'"),
        format!("alter role {role} set event_triggers = off"),
        format!("alter role {role} set log_statement = 'all'"),
        "alter role all set work_mem = '1GB'".to_owned(),
        format!("alter role {viewer} password 'x'"),
        format!("alter role {viewer} set work_mem = '1GB'"),
        format!("alter role {system} login password 'x'"),
        format!("alter role {other} password 'x'"),
        "alter role kith_control password 'x'".to_owned(),
        "alter role postgres password 'x'".to_owned(),
        format!("alter database {database} set work_mem = '1GB'"),
        format!("alter database {database} rename to mine"),
        format!("alter database {database} owner to {role}"),
        format!("alter database {database} connection limit 0"),
        format!("alter database {database} allow_connections false"),
        format!("alter database {database} set tablespace pg_default"),
        format!("grant connect on database {database} to public"),
        "alter system set work_mem = '1GB'".into(),
        format!("drop role {role}"),
        format!("drop role {other}"),
        format!("drop database {other}"),
        "create database mine".into(),
        "create role mine".into(),
        "create tablespace mine location '/tmp'".into(),
        format!("grant {system} to {role}"),
        format!("grant {other} to {role}"),
        "grant pg_read_all_data to current_user".into(),
        "grant pg_signal_backend to current_user".into(),
        "checkpoint".into(),
        "select pg_reload_conf()".into(),
        "select pg_rotate_logfile()".into(),
        "select pg_switch_wal()".into(),
        "select pg_stat_reset()".into(),
        "select pg_log_backend_memory_contexts(pg_backend_pid())".into(),
        "select pg_create_physical_replication_slot('x')".into(),
        "select pg_create_logical_replication_slot('x', 'pgoutput')".into(),
    ];
    let mut offences = Vec::new();
    for sql in &refused {
        let reply = scene.attacker.sql(sql).await;
        // A warning is enough if the statement has no effect. Another test checks for grants to PUBLIC.
        let came = outcome(&reply);
        if !["42501", "25001", "0A000", "0LP01", "2BP01", "55006"].contains(&came.as_str())
            && !sql.starts_with("grant connect")
        {
            offences.push(reply.story());
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n\n"));
    scene.stands("changes to roles and databases").await;
}
