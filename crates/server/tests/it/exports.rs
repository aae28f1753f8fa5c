//! Rows as other products export them: texts for everything, empty texts for missing values, people twice. What can be taken is taken as
//! it was sent. What can't be is refused with the name of the field and what fits, and the other rows are kept.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::support::{Agent, agent, both};

/// Names as people have them.
const NAMES: [(&str, &str); 20] = [
    ("Ann", "O'Brien"),
    ("José", "García Márquez"),
    ("李", "雷"),
    ("محمد", "بن سلمان"),
    ("नरेन्द्र", "शर्मा"),
    ("Žofia", "Łukasz-Müller"),
    ("Ἀλέξανδρος", "Παπαδόπουλος"),
    ("Александр", "Пушкин"),
    ("さくら", "山田"),
    ("민준", "김"),
    ("ณัฐ", "สุขใจ"),
    ("אברהם", "כהן"),
    ("e\u{301}", "combining"),
    ("👩\u{200d}💻", "Dev"),
    ("Smith, John", "\"Jr.\""),
    ("=1+1", "+formula"),
    ("Robert'); DROP TABLE contacts;--", "Tables"),
    ("\u{202e}override", "x\ty"),
    ("", ""),
    ("line\r\nbreak", "\u{feff}mark"),
];

/// The spellings of a telephone number.
const PHONES: [&str; 20] = [
    "+44 20 7946 0018",
    "+44 (0)20 7946 0018",
    "+44(0)2079460018",
    "0044 20 7946 0018",
    "020 7946 0018",
    "(020) 7946 0018",
    "020-7946-0018",
    "020.7946.0018",
    "020/79460018",
    "+442079460018",
    "442079460018",
    "tel:+44-20-7946-0018",
    "+44 20 7946 0018 ext. 5",
    "+44 20 7946 0018 x5",
    "+44\u{a0}20\u{a0}7946\u{a0}0018",
    "+44\u{2011}20\u{2011}7946\u{2011}0018",
    "＋４４ ２０ ７９４６ ００１８",
    "+44 20 7946 0018 (work)",
    "'+442079460018",
    "+44 20 7946 0018; +44 20 7946 0019",
];

/// 500 rows: every fifth has no address, and every seventh of the others is the person of the row before it, spelled in another way.
fn rows() -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let mut last = String::new();
    for at in 0..500 {
        let (first, family) = NAMES[at % NAMES.len()];
        let email = match at {
            _ if at % 5 == 0 => ["", " ", "\u{200b}", "\u{a0}\t"][at / 5 % 4].to_owned(),
            _ if at % 7 == 0 && !last.is_empty() => format!("\u{feff} {} ", last.to_uppercase()),
            _ => {
                last = format!("person{at}@export.example");
                last.clone()
            }
        };
        rows.push(json!({"email": email, "first_name": first, "last_name": family, "phone": PHONES[at / 3 % PHONES.len()], "title": ""}));
    }
    rows
}

/// The number of different people among the rows: each one without an address, and each address.
fn people(rows: &[Value]) -> usize {
    let blank = |it: char| it.is_whitespace() || matches!(it, '\u{200b}' | '\u{feff}');
    let addresses = rows.iter().map(|row| row["email"].as_str().unwrap_or_default().trim_matches(blank).to_lowercase());
    let (without, with): (Vec<_>, Vec<_>) = addresses.partition(String::is_empty);
    without.len() + with.into_iter().collect::<HashSet<_>>().len()
}

async fn count(agent: &Agent) -> Value {
    agent.sql("select count(*) as v from contacts").await.status(200).v()
}

#[tokio::test]
async fn an_export_loses_nobody() {
    let rows = rows();
    let expected = people(&rows);
    assert!(expected < 480, "the rows have people twice");
    let (relm, agent) = both().await;
    let reply = relm.post("/v1/contacts/batch", json!({"contacts": rows})).await.status(200);
    assert_eq!((reply.at("/failed"), reply.at("/created")), (json!(0), json!(expected)), "{}", reply.story());
    assert_eq!(count(&agent).await, expected);
    // The last row of a person is what is stored, to the letter but for the address.
    let stored: HashMap<String, (&Value, Value)> = rows
        .iter()
        .zip(reply.column("contact"))
        .map(|(row, contact)| (contact["id"].to_string(), (row, contact)))
        .collect();
    assert_eq!(stored.len(), expected);
    for (row, contact) in stored.values() {
        for field in ["first_name", "last_name", "phone", "title"] {
            assert_eq!(contact[field], row[field], "{field} of {contact}");
        }
    }
    // The same export again creates only the people without an address, who can't be recognized.
    let again = agent.post("/v1/contacts/batch", json!({"contacts": rows})).await.status(200);
    assert!(!again.column("status").contains(&json!("error")), "{}", again.story());
    assert_eq!(count(&agent).await, expected + 100);
}

#[tokio::test]
async fn an_export_loses_nobody_over_sql() {
    let agent = agent().await;
    let rows = rows();
    agent.sql("create table staged (line jsonb)").await.status(200);
    agent.sql_with("insert into staged select jsonb_array_elements($1)", json!([rows])).await.status(200);
    let insert = "insert into contacts (email, first_name, last_name, phone, title)
                  select line ->> 'email', line ->> 'first_name', line ->> 'last_name', line ->> 'phone', line ->> 'title' from staged";
    // A person who is in it twice is an error that names the address, and nothing is kept.
    let refused = agent.sql(insert).await.fault(400, "sql_error").says("contacts_email_key");
    assert_eq!(refused.at("/code"), "23505");
    assert_eq!(count(&agent).await, 0);
    let upsert = format!("{insert} on conflict (email) where deleted_at is null do nothing");
    agent.sql(&upsert).await.status(200);
    assert_eq!(count(&agent).await, people(&rows));
    let bad =
        "select count(*) as v from contacts where email <> trim(email) or email = '' or email ~ '[\\u200b\\ufeff]'";
    assert_eq!(agent.sql(bad).await.status(200).v(), 0);
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_named_with_what_fits() {
    let (relm, agent) = both().await;
    agent
        .sql("alter table contacts add age int, add worth numeric, add born date, add seen timestamptz, add vip boolean, add tags text[], add code varchar(3)")
        .await
        .status(200);
    let live = agent.post("/v1/contacts", json!({"email": "live@x.example", "age": 5})).await.status(201).id();
    for (field, value, says) in [
        ("age", json!(""), "Send null"),
        ("age", json!("1,000"), "whole number"),
        ("age", json!("1 000"), "whole number"),
        ("age", json!("12.5"), "whole number"),
        ("age", json!("$12"), "whole number"),
        ("age", json!(99999999999_i64), "out of range"),
        ("age", json!(true), "a number"),
        ("worth", json!(""), "Send null"),
        ("worth", json!("1.000,50"), "a point before its fraction"),
        ("worth", json!("1,5"), "a point before its fraction"),
        ("born", json!(""), "Send null"),
        ("born", json!("01/02/2026"), "YYYY-MM-DD"),
        ("born", json!("13/02/2026"), "YYYY-MM-DD"),
        ("born", json!("02.01.2026"), "YYYY-MM-DD"),
        ("born", json!("2026-02-30"), "2026-01-31"),
        ("born", json!("1767312000"), "2026-01-31"),
        ("born", json!(1767312000), "as text"),
        ("seen", json!("01/02/2026 03:04"), "YYYY-MM-DD"),
        ("seen", json!("1767312000000"), "2026-01-31"),
        ("seen", json!("n/a"), "2026-01-31"),
        ("vip", json!(""), "Send null"),
        ("vip", json!("Wahr"), "true or false"),
        ("vip", json!(1), "true or false"),
        ("tags", json!("a;b"), "an array"),
        ("company_id", json!(""), "send null"),
        ("company_id", json!("co_none"), "send null"),
        ("email", json!(5), "text"),
        ("first_name", json!("a\0b"), "NUL"),
        ("first_name", json!(["a"]), "text"),
        ("custom", json!(""), "object"),
    ] {
        for (client, dialect) in [(&agent, "agentcrm"), (&relm, "relm")] {
            let field = if field == "custom" && dialect == "relm" { "metadata" } else { field };
            let whole = json!({"last_name": "L", field: value});
            for reply in [
                client.post("/v1/contacts", whole.clone()).await,
                client.patch(&format!("/v1/contacts/{live}"), whole.clone()).await,
            ] {
                assert!(matches!(reply.code, 400 | 422), "{}", reply.story());
                let reply = reply.says(says).says(field);
                assert!(!reply.story().contains("DateStyle"), "{}", reply.story());
            }
            let good = json!({"email": format!("{dialect}@x.example"), "last_name": "Good"});
            let batch = client.post("/v1/contacts/batch", json!({"contacts": [good, whole]})).await.status(200);
            let items = batch.data();
            assert_ne!(items[0]["status"], "error", "{}", batch.story());
            assert_eq!(items[1]["status"], "error", "{}", batch.story());
            let error = items[1]["error"].to_string();
            assert!(
                error.contains(says) && error.contains(field) && !error.contains("DateStyle"),
                "{field} {value}: {error}"
            );
        }
    }
    // Nothing of a refused row was kept.
    let kept = agent.get(&format!("/v1/contacts/{live}")).await.status(200).data();
    assert_eq!((&kept["age"], &kept["last_name"]), (&json!(5), &Value::Null));
    assert_eq!(count(&agent).await, 3);
    // These are the spellings that are taken.
    for (field, value, expected) in [
        ("age", json!("1000"), json!(1000)),
        ("age", json!("1000.0"), json!(1000)),
        ("age", json!(" 7 "), json!(7)),
        ("age", json!(1e3), json!(1000)),
        ("age", Value::Null, Value::Null),
        ("born", json!("2026-01-02"), json!("2026-01-02")),
        ("born", json!("2026-01-02 03:04:05"), json!("2026-01-02")),
        ("born", json!("20260102"), json!("2026-01-02")),
        ("born", json!("2026/1/2"), json!("2026-01-02")),
        ("born", json!("Jan 2, 2026"), json!("2026-01-02")),
        ("seen", json!("2026-01-02 03:04:05"), json!("2026-01-02T03:04:05+00:00")),
        ("seen", json!("2026-01-02T03:04:05.000+0100"), json!("2026-01-02T02:04:05+00:00")),
        ("vip", json!("TRUE"), json!(true)),
        ("vip", json!("no"), json!(false)),
        ("vip", json!(false), json!(false)),
        ("tags", json!([]), json!([])),
        ("first_name", json!(""), json!("")),
        ("email", json!(""), Value::Null),
    ] {
        let path = format!("/v1/contacts/{live}");
        let patched = agent.patch(&path, json!({field: value})).await.status(200);
        assert_eq!(patched.data()[field], expected, "{value}");
        let batch = agent.post("/v1/contacts/batch", json!({"contacts": [{field: value}]})).await.status(200);
        assert_eq!(batch.at("/data/0/contact")[field], expected, "{value}: {}", batch.story());
    }
    for (filter, code) in [
        ("born=01/02/2026", 400),
        ("born_after=02.01.2026", 400),
        ("seen_before=1/2/26", 400),
        ("born=2026-01-02", 200),
    ] {
        let reply = agent.get(&format!("/v1/contacts?{filter}")).await;
        assert_eq!(reply.code, code, "{}", reply.story());
    }
    let reply = relm.get("/v1/contacts?filter[born][gte]=01/02/2026").await.fault(400, "invalid_request");
    reply.says("YYYY-MM-DD").says("born");
}

#[tokio::test]
async fn a_deal_of_an_export_says_what_is_wrong_with_it() {
    let (relm, agent) = both().await;
    for (field, alias, value, status, says) in [
        ("amount_cents", "value_cents", json!("1,000"), 400, "whole number"),
        ("amount_cents", "value_cents", json!(""), 400, "Send null"),
        ("amount_cents", "value_cents", json!("1000.50"), 400, "whole number"),
        ("close_date", "close_date", json!("01/02/2026"), 400, "YYYY-MM-DD"),
        ("close_date", "close_date", json!(""), 400, "Send null"),
        ("contact_id", "primary_contact_id", json!(""), 422, "send null"),
        ("company_id", "company_id", json!("Acme Inc."), 422, "send null"),
        ("pipeline", "pipeline", json!(""), 422, "default"),
        ("stage", "stage", json!(""), 422, ""),
    ] {
        for (client, field) in [(&agent, field), (&relm, alias)] {
            let live = agent.post("/v1/deals", json!({"name": "D", "stage": "won"})).await.status(201).id();
            for reply in [
                client.post("/v1/deals", json!({field: value})).await,
                client.patch(&format!("/v1/deals/{live}"), json!({field: value})).await,
            ] {
                assert_eq!(reply.code, status, "{}", reply.story());
                reply.says(field).says(says);
            }
            assert_eq!(agent.get(&format!("/v1/deals/{live}")).await.status(200).data()["stage"], "won");
        }
    }
    let stages = agent.get("/v1/pipelines/sales/stages").await.status(200).column("key");
    assert_eq!(stages, ["lead", "qualified", "proposal", "won", "lost"]);
    let refused = agent.sql("insert into deals (name, stage) values ('D', '')").await.fault(400, "sql_error");
    assert_eq!(refused.at("/code"), "23502", "{}", refused.story());
}

#[tokio::test]
async fn empty_keys_of_an_export_collide_with_nothing() {
    let (relm, agent) = both().await;
    for client in [&agent, &relm] {
        for _ in 0..2 {
            let mail = json!({"provider": "", "provider_msg_id": "", "thread_id": "", "from_addr": "", "subject": ""});
            client.post("/v1/emails", mail).await.status(201);
            client.post("/v1/emails", json!({"provider": "gmail", "provider_msg_id": ""})).await.status(201);
            client
                .post("/v1/companies", json!({"name": "", "domain": " ", "industry": "", "size": ""}))
                .await
                .status(201);
            client.post("/v1/contacts", json!({"email": "", "first_name": "", "phone": ""})).await.status(201);
        }
    }
    agent
        .sql("insert into emails (provider, provider_msg_id) select '', '' from generate_series(1, 2)")
        .await
        .status(200);
    agent.sql("insert into companies (domain) select '' from generate_series(1, 2)").await.status(200);
    let counts = agent.sql("select array[(select count(*) from emails), (select count(*) from companies), (select count(*) from contacts)] as v").await;
    assert_eq!(counts.v(), json!([10, 6, 4]));
    agent.post("/v1/emails", json!({"provider": "gmail", "provider_msg_id": "m1"})).await.status(201);
    agent.post("/v1/emails", json!({"provider": "gmail", "provider_msg_id": "m1"})).await.fault(409, "conflict");
}

#[tokio::test]
async fn a_note_of_a_megabyte_comes_back_to_the_letter() {
    let (relm, agent) = both().await;
    let note = "Ünïcode 🦀 \"quoted\"\r\n\\ ".repeat(40_000);
    assert!(note.len() > 1 << 20);
    let made = relm.post("/v1/activities", json!({"type": "note", "subject": "Long", "body": note})).await.status(201);
    let path = format!("/v1/activities/{}", made.text("/id"));
    assert!(agent.get(&path).await.status(200).data()["body"] == note.as_str(), "the note differs");
    let contact = agent.post("/v1/contacts", json!({"custom": {"note": note}})).await.status(201).id();
    agent.patch(&format!("/v1/contacts/{contact}"), json!({"custom": {"other": 1}})).await.status(200);
    assert!(agent.get(&format!("/v1/contacts/{contact}")).await.status(200).data()["custom"]["note"] == note.as_str());
}
