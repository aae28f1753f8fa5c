//! Random writes of all kinds, by two keys in turn and through several paths, undone in reverse: everything is as it was.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Numbers, Reply, both};

const TABLES: [&str; 13] = [
    "nodes",
    "leaves",
    "places",
    "slots",
    "codes",
    "uses",
    "orders",
    "lines",
    "contacts",
    "companies",
    "deals",
    "pipeline_stages",
    "associations",
];

/// A write: method, path, body.
type Write = (Method, String, Value);

fn sql(text: impl Into<String>) -> Write {
    (Method::POST, "/v1/sql".into(), json!({"sql": text.into()}))
}

/// One write. `new` is a number that no other write has.
fn write(numbers: &mut Numbers, contacts: &[String], new: u64) -> Write {
    let (a, b, c) = (numbers.below(20) + 1, numbers.below(60) + 1, numbers.below(20) + 1);
    let contact = &contacts[numbers.below(contacts.len() as u64) as usize];
    let path = format!("/v1/contacts/{contact}");
    match numbers.below(26) {
        0 => sql(format!("delete from nodes where id = {a}")),
        1 => sql(format!("update nodes set label = label || '!', parent = null where id % 3 = {}", a % 3)),
        2 => sql(format!(
            "insert into nodes values ({new}, 'n{new}', null, 'new', null); insert into leaves values ({new}, {new}, '{{}}', null, null)"
        )),
        3 => sql(format!("update leaves set extra = 'null', tags = '[0:0]={{x}}', size = '-0' where id = {b}")),
        4 => sql(format!("delete from leaves where id < {}", b / 4)),
        5 => sql(format!(
            "insert into contacts (email) values ('r{new}@b.example'); insert into deals (name, stage, contact_id) select 'D{new}', 's{new}', id from contacts where email = 'r{new}@b.example'"
        )),
        6 => sql(format!("update nodes set deleted_at = case when deleted_at is null then now() end where id = {a}")),
        7 => sql(format!("delete from nodes where id = {new}; update nodes set code = 'x' || code where id = {a}")),
        8 => sql(format!(
            "update nodes set code = 'tmp' where id = {a}; update nodes set code = 'c{a}{new}' where id = {a}"
        )),
        9 => sql(format!("update nodes set id = id + 1000 where id = {a}")),
        10 => (Method::POST, "/v1/contacts".into(), json!({"email": format!("w{new}@b.example"), "first_name": "Ünï"})),
        11 => (Method::PATCH, path, json!({"phone": format!("+4930{new}"), "last_name": null})),
        12 => (Method::DELETE, path, Value::Null),
        13 => (Method::POST, "/v1/nodes".into(), json!({"id": new, "code": format!("r{new}"), "label": "by REST"})),
        14 => sql(format!("delete from contacts where id = '{contact}'")),
        15 => sql("update places set id = id + 1; update places set label = label"),
        16 => sql(format!(
            "update places set id = 13 - id, label = case id when {} then label || '!' else label end",
            a % 12
        )),
        17 => sql(format!(
            "update slots set id = 900 where id = {a}; update slots set id = {a} where id = {c}; update slots set id = {c} where id = 900"
        )),
        18 => {
            sql(format!("delete from slots where id = {a}; update slots set id = {a}, label = 'moved' where id = {c}"))
        }
        19 => sql(format!(
            "update codes set k = 'tmp' where id = {0}; update codes set k = 'k{0}' where id = {1} and not exists (select from codes where k = 'k{0}');
             update codes set k = 'k{1}' where k = 'tmp' and not exists (select from codes where k = 'k{1}'); update codes set k = 't{new}' where k = 'tmp'",
            a % 8,
            c % 8
        )),
        20 => sql(format!("delete from codes where id = {}; insert into uses select {new}, min(k) from codes", a % 8)),
        21 => sql(format!("insert into codes values ({new}, 'k{}') on conflict do nothing", a % 8)),
        22 => sql(format!("update orders set no = no || '{new}', note = 'renamed' where length(no) % 2 = {}", a % 2)),
        23 => sql(format!("delete from lines where line = {}; update lines set line = line + 10 where line = {}", a % 3, c % 3)),
        24 => sql(format!(
            "insert into orders values ('n{new}', 'new'); update lines set no = 'n{new}' where line = {} and no = (select min(no) from orders); delete from orders where no = 'o{}'",
            a % 3,
            c % 4
        )),
        _ => {
            let operations = json!([
                {"method": "POST", "path": "/v1/companies", "body": {"name": format!("C{new}")}, "ref": "c"},
                {"method": "PATCH", "path": path, "body": {"company_id": "$c.id"}},
                {"method": "POST", "path": "/v1/sql", "body": {"sql": format!("update leaves set tags = tags || 'b{new}' where id = {b}")}},
            ]);
            (Method::POST, "/v1/batch".into(), json!({"operations": operations}))
        }
    }
}

async fn in_run(agent: &Agent, run: &str, (method, path, body): Write) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    agent.send(method, &path, &[("content-type", "application/json"), ("x-run-id", run)], body).await
}

/// All rows, as PostgreSQL writes them, `updated_at` excepted. JSON does not show the bounds of an array or the sign of a zero.
async fn state(agent: &Agent) -> Value {
    let each = |table: &&str| {
        format!(
            "select '{table}' as t, array(select (to_jsonb(whole) - 'updated_at')::text from {table} whole order by 1) as rows"
        )
    };
    let exact = "select 'exact' as t, array(select format('%s %s %s', id, tags, size) from leaves order by id)";
    let plain = TABLES.iter().map(each).collect::<Vec<_>>().join(" union all ");
    agent.sql(&format!("{plain} union all {exact}")).await.status(200).at("/data/rows")
}

async fn runs_undone_in_reverse(seed: u64) {
    let (relm, agent) = both().await;
    agent
        .sql("create table nodes (id int primary key, code text unique, parent int references nodes on delete set null, label text not null default 'l', deleted_at timestamptz);
              create table leaves (id int primary key, node int not null references nodes on delete cascade on update cascade, tags text[], extra jsonb, size float8);
              create table places (id int primary key deferrable initially deferred, label text);
              create table slots (id int primary key, label text not null unique);
              create table codes (id int primary key, k text unique); create table uses (id int primary key, k text references codes (k) on update cascade on delete set null);
              create table orders (no text primary key, note text); create table lines (no text references orders on update cascade on delete cascade, line int, primary key (no, line));
              insert into codes select g, 'k' || g from generate_series(0, 7) g; insert into uses select g, 'k' || g % 8 from generate_series(1, 20) g;
              insert into orders select 'o' || g, 'n' from generate_series(0, 3) g; insert into lines select 'o' || g % 4, g / 4 from generate_series(0, 11) g;
              insert into places select g, case when g % 2 = 0 then 'p' else 'p' || g end from generate_series(1, 12) g;
              insert into slots select g, 's' || g from generate_series(1, 20) g;
              insert into nodes select g, 'c' || g, nullif(g / 2, 0), 'l' || g from generate_series(1, 20) g;
              insert into leaves select g, 1 + g % 20, array['t' || g], case when g % 3 = 0 then 'null' else to_jsonb(g) end, g / 7.0 from generate_series(1, 60) g")
        .await
        .status(200);
    let mut contacts = Vec::new();
    for number in 0..5 {
        let made = agent.post("/v1/contacts", json!({"email": format!("p{number}@b.example"), "last_name": "L"})).await;
        contacts.push(made.status(201).id());
    }
    let start = state(&agent).await;
    let mut numbers = Numbers(seed);
    let mut runs = Vec::new();
    for number in 0..8 {
        let (key, run) = (if number % 2 == 0 { &agent } else { &relm }, format!("run-{number}"));
        for step in 0..5 {
            let write = write(&mut numbers, &contacts, 100 + number * 10 + step);
            let told = format!("seed {seed}, {run}: {write:?}");
            let reply = in_run(key, &run, write).await;
            // A contact may have been deleted by an earlier write, and a code may be taken.
            assert!(matches!(reply.code, 200 | 201 | 400 | 404 | 409), "{told}\n{}", reply.story());
        }
        runs.push((key, run));
    }
    let changed = state(&agent).await;
    assert_ne!(changed, start, "seed {seed}");
    // Back, and forth by the undos of the undos, and back again.
    let mut ids: Vec<_> = runs.iter().map(|(key, run)| (*key, run.clone())).collect();
    for expected in [&start, &changed, &start] {
        ids.reverse();
        let mut undos = Vec::new();
        for (key, run) in ids {
            let reply = key.post(&format!("/v1/runs/{run}/undo"), json!({})).await;
            // A run of which no write succeeded is none.
            assert!(matches!(reply.code, 200 | 404), "seed {seed}, {run}\n{}", reply.story());
            if let Some(id) = reply.json()["data"]["run_id"].as_str().or(reply.json()["run_id"].as_str()) {
                undos.push((key, id.to_owned()));
            }
        }
        assert_eq!(&state(&agent).await, expected, "seed {seed}");
        ids = undos;
    }
}

#[tokio::test]
async fn random_runs_undone_in_reverse_leave_everything_as_it_was() {
    for seed in [7, 11, 103, 2026] {
        runs_undone_in_reverse(seed).await;
    }
}
