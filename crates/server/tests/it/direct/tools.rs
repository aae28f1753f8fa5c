//! The tools that users connect with: psql, pg_dump, and a BI tool's queries about the schema.

use std::path::Path;
use std::process::Command;

use pg::cluster::Binaries;
use reqwest::Method;
use serde_json::json;

use super::{ask, come, connection, person_at};
use crate::belongings::owned;
use crate::support::{Child, TempDir, home};

/// Runs a PostgreSQL client program: the one beside the server, or else the one on PATH. Returns its output or its error.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let binaries = Binaries::find(Path::new("/nonexistent")).expect("PostgreSQL's programs");
    let beside = binaries.bin.join(program);
    let is_beside = beside.exists();
    let mut command = Command::new(if is_beside { beside.as_os_str() } else { program.as_ref() });
    if let Some(lib) = binaries.lib.as_ref().filter(|_| is_beside) {
        command.env("LD_LIBRARY_PATH", lib);
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    let output = command
        .env("HOME", "/nonexistent")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; bin/test installs it"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn psql_and_pg_dump_take_the_url_as_it_stands() {
    let (owner, live) = owned().await;
    let place = home().place(&owner.workspace_id).await;
    live.post("/v1/contacts", json!({"email": "dumped@b.example"})).await.status(201);
    live.sql("create table notes (id serial primary key, body text)").await.status(200);
    let (url, role) = connection(&owner).await;
    let told = run("psql", &["-X", "-v", "ON_ERROR_STOP=1", "-At", "-c", "select email from contacts", &url]);
    assert_eq!(told, Ok("dumped@b.example\n".to_owned()));
    for command in [
        "\\d",
        "\\d+ contacts",
        "\\dt+",
        "\\dn+",
        "\\df+",
        "\\dx+",
        "\\du+",
        "\\dv+",
        "\\dT+",
        "\\di+",
        "\\dp",
        "\\ddp",
        "\\l+",
        "\\db+",
        "\\drds",
        "\\dl+",
    ] {
        let told = run("psql", &["-X", "-v", "ON_ERROR_STOP=1", "-c", command, &url]);
        let told = told.unwrap_or_else(|complaint| panic!("{command}: {complaint}"));
        assert!(!told.contains("ERROR"), "{command}: {told}");
    }
    let told = run("psql", &["-X", "-v", "ON_ERROR_STOP=1", "-c", "\\conninfo", &url]);
    assert!(told.expect("where it is").contains(&role));
    let told = run(
        "psql",
        &[
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "\\copy contacts (email) from program 'echo by@copy.example'",
            &url,
        ],
    );
    assert_eq!(told, Ok(String::new()));
    assert_eq!(
        live.get("/v1/contacts?email=by@copy.example").await.status(200).at("/data").as_array().map(Vec::len),
        Some(1)
    );

    let dump = run("pg_dump", &[&url]).expect("a dump");
    for part in
        ["dumped@b.example", "CREATE TABLE public.notes", "CREATE TRIGGER \"!kith_record\"", "COPY public.activity"]
    {
        assert!(dump.contains(part), "the dump lacks {part}");
    }
    let dir = TempDir::new();
    let parallel = dir.path.join("parallel");
    assert_eq!(run("pg_dump", &["-Fd", "-j", "4", "-f", &parallel.to_string_lossy(), &url]), Ok(String::new()));
    let list = run("pg_restore", &["-l", &parallel.to_string_lossy()]).expect("a list");
    assert!(list.contains("TABLE DATA public contacts"), "{list}");
    assert!(dump.contains(&format!("OWNER TO {}", place.role)));
    for secret in ["COPY kith.", "TABLE kith.secret ("] {
        assert!(!dump.contains(secret), "the dump has {secret}");
    }
}

#[tokio::test]
async fn pg_restore_takes_a_dump_of_ones_own_tables() {
    let (owner, _) = owned().await;
    let (url, _) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    assert_eq!(ask(&mut conn, "create schema app").await, "");
    conn.script(
        r#"create table app."Odd ""name"" $" (id integer primary key, body text);
           create table app.keyless (body text);
           create table app.months (id integer, month integer, primary key (id, month)) partition by list (month);
           create table app.january partition of app.months for values in (1);
           create table things (id serial primary key, body text);
           insert into app."Odd ""name"" $" values (1, 'odd'); insert into app.keyless values ('none');
           insert into app.months values (1, 1); insert into things (body) values ('thing')"#,
    )
    .await
    .expect("tables");
    let dir = TempDir::new();
    let dump = dir.path.join("dump").to_string_lossy().into_owned();
    let tables = ["-t", "app.*", "-t", "public.things", "-t", "public.things_id_seq"];
    run("pg_dump", &[&["-Fc", "-f", &dump], &tables[..], &[&url]].concat()).expect("a dump");
    let text =
        run("pg_dump", &[&tables[..], &["--no-owner", "--no-privileges", &url]].concat()).expect("a dump as text");
    let script = dir.path.join("script").to_string_lossy().into_owned();
    std::fs::write(&script, text).expect("a file");

    let restore: [&[&str]; 2] = [
        &["pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-j", "4", &dump, "-d"],
        &["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &script],
    ];
    for command in restore {
        let (other, other_live) = owned().await;
        let (other_url, _) = connection(&other).await;
        let mut conn = come(&other_url).await.expect("a session");
        assert_eq!(ask(&mut conn, "create schema app").await, "");
        let told = run(command[0], &[&command[1..], &[&other_url]].concat());
        told.unwrap_or_else(|complaint| panic!("{command:?}: {complaint}"));
        let triggers = "select string_agg(concat_ws(' ', c.relname, t.tgname), ', ' order by c.relname, t.tgname)
                          from pg_trigger t join pg_class c on c.oid = t.tgrelid
                         where t.tgname ~ '^!?kith' and (c.relnamespace = 'app'::regnamespace or c.relname = 'things')";
        assert_eq!(
            ask(&mut conn, triggers).await,
            "Odd \"name\" $ !kith_capture, Odd \"name\" $ kith_truncate, january !kith_capture_all, january kith_truncate, \
             keyless kith_statement, keyless kith_truncate, months !kith_capture_all, months !kith_moves, months kith_truncate, \
             things !kith_capture, things kith_truncate"
        );
        // What is written into a restored table can be undone, and the log knows all its columns.
        let run_id = [("x-run-id", "after"), ("content-type", "application/json")];
        for sql in
            [r#"update app."Odd ""name"" $" set body = 'other'"#, "update app.months set id = 2", "delete from things"]
        {
            let body = json!({"sql": sql}).to_string();
            other_live.send(Method::POST, "/v1/sql", &run_id, body).await.status(200);
        }
        let runs = other_live.get("/v1/runs").await.status(200);
        other_live.post(&format!("/v1/runs/{}/undo", runs.text("/data/0/id")), json!({})).await.status(200);
        let state = r#"select concat_ws(' ', (select body from app."Odd ""name"" $"), (select id from app.months), (select body from things))"#;
        assert_eq!(ask(&mut conn, state).await, "odd 1 thing");
    }
}

#[tokio::test]
async fn a_bi_tool_finds_its_way() {
    let (owner, _) = owned().await;
    let (url, _) = connection(&owner).await;
    let mut conn = come(&url).await.expect("a session");
    for (sql, least) in [
        ("select count(*) from information_schema.tables where table_schema = 'public'", 12),
        ("select count(*) from information_schema.columns where table_name = 'contacts'", 10),
        ("select count(*) from information_schema.table_constraints where table_name = 'deals'", 3),
        ("select count(*) from information_schema.key_column_usage where table_name = 'contacts'", 1),
        ("select count(*) from information_schema.referential_constraints", 1),
        ("select count(*) from information_schema.schemata where schema_name = 'public'", 1),
        ("select count(*) from information_schema.table_privileges where table_name = 'contacts'", 1),
        ("select count(*) from pg_catalog.pg_tables where schemaname = 'public'", 12),
        ("select count(*) from pg_catalog.pg_indexes where tablename = 'contacts'", 1),
        ("select count(*) from pg_catalog.pg_description", 1),
        ("select count(*) from pg_catalog.pg_stat_user_tables", 1),
        ("select sum(pg_total_relation_size(oid))::bigint from pg_class where relname = 'contacts'", 1),
        ("select count(*) from pg_settings", 100),
        ("select count(*) from pg_timezone_names where name = 'UTC'", 1),
        ("select count(*) from pg_stat_activity where query like '%pg_stat_activity%'", 1),
        ("select count(*) from pg_stat_gssapi where pid = pg_backend_pid()", 1),
        ("select count(*) from pg_locks where pid = pg_backend_pid()", 1),
        ("select xact_commit from pg_stat_database where datname = current_database()", 1),
        ("select count(*) from pg_replication_slots", 0),
        ("select count(*) from pg_roles r left join pg_shdescription d on d.objoid = r.oid", 1),
    ] {
        let told = ask(&mut conn, sql).await;
        assert!(told.parse().is_ok_and(|number: i64| number >= least), "{sql}: {told}");
    }
}

#[tokio::test]
async fn tools_come_by_tls_and_several_at_once() {
    let data = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../pg/tests/data/tls").join(name);
    let (dir, dump) = (TempDir::new(), TempDir::new());
    let child = Child::serve_with(&dir, |command| {
        command.arg("--postgres-tls-cert").arg(data("server.pem"));
        command.arg("--postgres-tls-key").arg(data("server.key"));
    });
    let person = person_at(&child).await;
    let (url, _) = connection(&person).await;
    assert!(url.ends_with("?sslmode=require"), "{url}");
    let url = url.replace("127.0.0.1", "localhost");
    let ca = data("ca.pem");
    let verified = format!("{}&sslrootcert={}", url.replace("sslmode=require", "sslmode=verify-full"), ca.display());
    let ask = |url: &str| run("psql", &["-X", "-At", "-c", "select 'let in'", url]);
    assert_eq!(ask(&url), Ok("let in\n".to_owned()));
    assert_eq!(ask(&verified), Ok("let in\n".to_owned()));
    let refused = |url: &str| ask(url).expect_err("a refusal");
    // The certificate is not valid for an IP address.
    assert!(refused(&verified.replace("localhost", "127.0.0.1")).contains("does not match host name"));
    assert!(refused(&url.replace("sslmode=require", "sslmode=disable")).contains("no encryption"));
    // TLS ends in Kith, which does not know the password. So channel binding is not possible.
    let bound = refused(&format!("{verified}&channel_binding=require"));
    assert!(bound.contains("channel binding"), "{bound}");
    // Clients since PostgreSQL 17 can begin with TLS immediately.
    let direct = format!("{verified}&sslnegotiation=direct");
    assert_eq!(ask(&direct), Ok("let in\n".to_owned()));

    // Eight at the same time, each with a session of its own.
    let dumps: Vec<_> = (0..8)
        .map(|n| {
            let (to, url) = (dump.path.join(n.to_string()), verified.clone());
            std::thread::spawn(move || {
                let done = run("pg_dump", &["-Fd", "-f", &to.to_string_lossy(), &url]);
                (done, to.join("toc.dat").exists())
            })
        })
        .collect();
    for dump in dumps {
        let (done, is_there) = dump.join().expect("pg_dump");
        assert_eq!(done, Ok(String::new()));
        assert!(is_there);
    }
}
