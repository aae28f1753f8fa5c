//! Pages and searches of a hundred thousand rows while others write.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Agent, agent, home, psql};

const ROWS: usize = 100_000;
/// How many of them one statement inserts.
const PART: usize = 10_000;
/// Far more than the median may take, because the machine may have other load.
const MOST: Duration = Duration::from_secs(2);

/// The pages of a walk, and the rows that it saw more than once. `page` is notified of each page.
async fn walk(
    agent: &Agent,
    path: &str,
    key: &str,
    page: watch::Sender<usize>,
) -> (HashSet<String>, Vec<String>, usize) {
    let (mut seen, mut twice, mut pages, mut cursor) = (HashSet::new(), Vec::new(), 0, String::new());
    let join = if path.contains('?') { '&' } else { '?' };
    loop {
        let reply = agent.get(&format!("{path}{join}limit=200&cursor={cursor}")).await.status(200);
        let json = reply.json();
        let rows = json["data"].as_array().expect("rows");
        for row in rows {
            let id = row[key].to_string();
            if !seen.insert(id.clone()) {
                twice.push(id);
            }
        }
        pages += 1;
        page.send_replace(pages);
        match &json["_meta"]["next_cursor"] {
            Value::String(next) => cursor = next.clone(),
            _ => return (seen, twice, pages),
        }
        assert_eq!(rows.len(), 200, "a page that is not the last is full");
    }
}

#[tokio::test]
async fn every_row_that_was_there_all_the_time_is_met_once() {
    let agent = agent().await;
    // Runs of 1000 equal times, and a run of NULLs. The writers may change every tenth row.
    agent
        .sql("create table visits (id int primary key, created_at timestamptz default now(), n int, deleted_at timestamptz)")
        .await
        .status(200);
    for first in (1..=ROWS).step_by(PART) {
        agent
            .sql_with(
                "insert into visits select g, case when g % 50000 > 1000 then '2026-01-01'::timestamptz + (g / 1000) * interval '1 second' end, 0
                   from generate_series($1::int, $2::int) g",
                json!([first, first + PART - 1]),
            )
            .await
            .status(200);
    }
    let writes = AtomicU32::new(0);
    let (page, pages_read) = watch::channel(0);
    // A few writes for each page that is read. They end with the walk.
    let writer = async |lane: usize, mut pages_read: watch::Receiver<usize>| {
        let mut session = psql(&agent).await;
        let mut number = lane;
        while pages_read.changed().await.is_ok() {
            number += 7;
            let (touched, fresh) = (number * 10 % ROWS + 10, ROWS * (lane + 1) + number);
            let sql = match number % 4 {
                0 => format!("update visits set created_at = created_at + interval '1 hour' where id = {touched}"),
                1 => format!("update visits set deleted_at = now() where id = {touched}"),
                2 => format!("delete from visits where id = {touched}"),
                _ => format!(
                    "insert into visits values ({fresh}, '2026-01-01'::timestamptz + {number} % 100 * interval '1 second', 0)"
                ),
            };
            session.script(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            // Rows that keep their position may still change.
            session.script(&format!("update visits set n = n + 1 where id = {}", touched + 1)).await.unwrap();
            writes.fetch_add(1, Ordering::Relaxed);
        }
    };
    let walking = walk(&agent, "/v1/visits", "id", page);
    let writing = (writer(1, pages_read.clone()), writer(2, pages_read));
    let ((seen, twice, pages), (), ()) = tokio::join!(walking, writing.0, writing.1);
    println!("{pages} pages, {} writes meanwhile", writes.load(Ordering::Relaxed));
    assert!(writes.load(Ordering::Relaxed) > 50);
    // A row that gets another time during the walk may be seen at both positions. No other row may.
    let twice: Vec<_> = twice.iter().filter(|id| id.parse::<usize>().is_ok_and(|id| id % 10 > 0)).collect();
    assert!(twice.is_empty(), "met twice: {twice:?}");
    let missed: Vec<usize> = (1..=ROWS).filter(|id| id % 10 > 0 && !seen.contains(&id.to_string())).collect();
    assert!(missed.is_empty(), "{} missed: {:?}", missed.len(), &missed[..missed.len().min(20)]);
}

#[tokio::test]
async fn many_contacts_are_searched_and_walked() {
    let agent = agent().await;
    let begun = Instant::now();
    // By the administrator and without triggers: a hundred thousand entries in the feed would take most of the time.
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    admin.script("SET session_replication_role = replica").await.expect("rows without triggers");
    for part in 0..10 {
        let sql = "insert into public.contacts (first_name, last_name, email, title)
                   select 'Person' || g, (array['Andersson', 'Müller', 'Kowalski', 'Okonkwo', 'García'])[1 + g % 5],
                          'person' || g || '@company' || g % 10007 || '.example', (array['Engineer', 'Manager', 'CTO'])[1 + g % 3]
                     from generate_series($1::int * 10000 + 1, $1::int * 10000 + 10000) g";
        admin.query(sql, &[Some(&part.to_string())]).await.expect("rows");
    }
    println!("{ROWS} contacts took {:?}", begun.elapsed());
    for (words, first) in [
        ("person", None),
        ("example", None),
        ("company", None),
        ("an", None),
        ("garcia", None),
        ("muller cto", None),
        ("person77777", Some("Person77777")),
        ("Kowalksi", None),
        ("person77777@company7728.example", Some("Person77777")),
        ("zzyzx quux", None),
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let reply = agent.get(&format!("/v1/contacts/search?q={words}&limit=20")).await.status(200);
            times.push(begun.elapsed());
            let found = reply.column("first_name");
            assert!(found.len() <= 20);
            assert_eq!(found.is_empty(), words == "zzyzx quux", "{}", reply.story());
            if let Some(first) = first {
                assert_eq!(found[0], first, "{}", reply.story());
            }
        }
        times.sort_unstable();
        println!("search {words:?}: {:?} in the middle, {:?} at most", times[2], times[4]);
        assert!(times[2] < MOST, "{words}: {times:?}");
    }
    let created = AtomicU32::new(0);
    let (page, mut pages_read) = watch::channel(0);
    let writing = async {
        while pages_read.changed().await.is_ok() {
            let made = agent.post("/v1/contacts", json!({"first_name": "Late"})).await.status(201);
            agent.patch(&format!("/v1/contacts/{}", made.id()), json!({"title": "CTO"})).await.status(200);
            created.fetch_add(1, Ordering::Relaxed);
            agent.delete(&format!("/v1/contacts/{}", made.id())).await.status(200);
        }
    };
    // Each insertion of 10,000 has the same created_at.
    let walking = walk(&agent, "/v1/contacts?first_name_starts=person", "id", page);
    let ((seen, twice, pages), ()) = tokio::join!(walking, writing);
    assert_eq!((seen.len(), pages), (ROWS, ROWS / 200));
    assert!(twice.is_empty(), "met twice: {twice:?}");
    assert!(created.load(Ordering::Relaxed) > 0);
}
