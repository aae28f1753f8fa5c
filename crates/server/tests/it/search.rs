//! Search in one table: typos, accents, parts of words; the best match is first.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent};

async fn search(agent: &Agent, table: &str, words: &str) -> Reply {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("q", words);
    agent.get(&format!("/v1/{table}/search?{}", url.query().unwrap())).await
}

/// Contacts by first name.
async fn people() -> Agent {
    let agent = agent().await;
    for (first, last, email, title, phone) in [
        ("Sarah", "Connor", "sarah@cyberdyne.example", "CTO", "+1 (555) 010-2233"),
        ("Sara", "Müller", "sm@beispiel.example", "Head of Sales", ""),
        ("José", "García Márquez", "jose.garcia@mundo.example", "Author", ""),
        ("Zoë", "O'Brien", "zoe@dublin.example", "Engineer", ""),
        ("Александр", "Пушкин", "pushkin@poet.example", "Poet", ""),
        ("太郎", "山田", "taro@tokyo.example", "部長", ""),
        ("Jonathan", "Smith", "jon@smith.example", "Engineering Manager", ""),
        ("Smithers", "Waylon", "waylon@plant.example", "Assistant", ""),
        ("Søren", "Łukasz", "soren@nord.example", "100% CEO_x", ""),
    ] {
        let given = json!({"first_name": first, "last_name": last, "email": email, "title": title, "phone": phone});
        agent.post("/v1/contacts", given).await.status(201);
    }
    agent
}

#[tokio::test]
async fn words_are_found_as_people_type_them() {
    let agent = people().await;
    for (words, expected) in [
        ("sarah", "Sarah"),
        ("SARAH CONNOR", "Sarah"),
        ("connor sarah", "Sarah"),
        ("Conor", "Sarah"),
        ("sarha", "Sarah"),
        ("srah connor", "Sarah"),
        ("cyberdine", "Sarah"),
        ("cyberdyne.example", "Sarah"),
        ("sarah@cyberdyne.example", "Sarah"),
        ("5550102233", "Sarah"),
        ("+1 555-010", "Sarah"),
        ("muller", "Sara"),
        ("MÜLLER", "Sara"),
        ("mueller", "Sara"),
        ("jose garcia", "José"),
        ("José", "José"),
        ("marquez", "José"),
        ("garc", "José"),
        ("arqu", "José"),
        ("zoe obrien", "Zoë"),
        ("o'brien", "Zoë"),
        ("O’Brien", "Zoë"),
        ("пушкин", "Александр"),
        ("Пушк", "Александр"),
        ("pushkin", "Александр"),
        ("山田", "太郎"),
        ("部長", "太郎"),
        ("jonathon", "Jonathan"),
        ("engineering manager", "Jonathan"),
        ("smith jonathan", "Jonathan"),
        ("soren lukasz", "Søren"),
        ("100%", "Søren"),
        ("ceo_x", "Søren"),
        ("poe", "Александр"),
    ] {
        let reply = search(&agent, "contacts", words).await.status(200);
        let found = reply.column("first_name");
        assert_eq!(found.first(), Some(&json!(expected)), "{words}\n{}", reply.story());
        let scores: Vec<f64> = reply.column("score").iter().map(|score| score.as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{words} {scores:?}");
        assert!(scores.iter().all(|score| *score > 0.0 && *score <= 1.0), "{words} {scores:?}");
    }
    for words in ["xyzzy", "qqqq wwww", "!!!", "'", "%", "\\", "\"; drop table contacts; --", "🦀", &"x".repeat(5000)]
    {
        let reply = search(&agent, "contacts", words).await.status(200);
        assert!(reply.column("first_name").len() <= 9, "{}", reply.story());
    }
    assert_eq!(search(&agent, "contacts", "xyzzy").await.data(), json!([]));
}

#[tokio::test]
async fn a_telephone_number_is_found_in_any_spelling() {
    let agent = agent().await;
    let spellings = [
        (
            "+44 (0)20 7946 0018",
            &[
                "442079460018",
                "+442079460018",
                "02079460018",
                "020 7946 0018",
                "+44 (0)20 7946 0018",
                "0044 20 7946 0018",
                "(020) 7946-0018",
            ][..],
        ),
        (
            "+49 (0)89/1234-567",
            &["49891234567", "+49 89 1234567", "0891234567", "089 / 12 34 567", "tel:+49-89-1234567"],
        ),
        ("+43(0)1 5888 10", &["431588810", "01 5888 10", "004315888 10"]),
        ("0041 (0) 44 668 18 00", &["+41446681800", "044 668 18 00"]),
        ("44 (0)117 496 0000", &["+441174960000", "0117 496 0000"]),
        (
            "+1 (212) 555-0147 ext. 12",
            &["12125550147", "(212) 555-0147", "212.555.0147", "+1 (212) 555-0147 ext. 12", "2125550147 x12"],
        ),
        ("+33\u{a0}1\u{2011}99\u{2011}00\u{2011}11\u{2011}22", &["+33199001122", "1 99 00 11 22"]),
        ("＋８１ ３ ５５５０ ０１００", &["81355500100", "3-5550-0100"]),
        ("+39 06 555 0100", &["39065550100", "06 555 0100"]),
        ("(0)30 901820", &["030 901820", "30901820"]),
    ];
    let mut ids = Vec::new();
    for (phone, _) in &spellings {
        let made = agent.post("/v1/contacts", json!({"phone": phone})).await.status(201);
        assert_eq!(made.data()["phone"], *phone);
        ids.push(made.id());
    }
    for ((phone, queries), id) in spellings.iter().zip(&ids) {
        for query in *queries {
            let found = search(&agent, "contacts", query).await.status(200);
            assert_eq!(found.column("id"), [json!(id)], "{phone} by {query}\n{}", found.story());
            let mut url = reqwest::Url::parse("http://x/").unwrap();
            url.query_pairs_mut().append_pair("q", query);
            let found = agent.get(&format!("/v1/search?{}", url.query().unwrap())).await.status(200);
            assert_eq!(found.column("id").first(), Some(&json!(id)), "{phone} by {query}\n{}", found.story());
        }
    }
}

#[tokio::test]
async fn the_closer_the_higher() {
    let agent = people().await;
    let reply = search(&agent, "contacts", "smith").await.status(200);
    assert_eq!(reply.column("first_name"), ["Jonathan", "Smithers"], "{}", reply.story());
    let reply = search(&agent, "contacts", "sara").await.status(200);
    assert_eq!(reply.column("first_name"), ["Sara", "Sarah"], "{}", reply.story());
    let whole = search(&agent, "contacts", "sarah connor").await.status(200).column("score")[0].as_f64().unwrap();
    let part = search(&agent, "contacts", "conno").await.status(200).column("score")[0].as_f64().unwrap();
    let typo = search(&agent, "contacts", "sarha conor").await.status(200).column("score")[0].as_f64().unwrap();
    assert!(whole > part && whole > typo, "{whole} {part} {typo}");
}

#[tokio::test]
async fn a_page_of_results_is_as_long_as_was_asked_and_shows_live_rows_whole() {
    let agent = agent().await;
    agent.sql("insert into companies (name, domain) select 'Common ' || g, 'common' || g || '.example' from generate_series(1, 300) g").await.status(200);
    for (limit, rows) in [("1", 1), ("7", 7), ("200", 200), ("1000", 200)] {
        let reply = agent.get(&format!("/v1/companies/search?q=common&limit={limit}")).await.status(200);
        assert_eq!(reply.column("id").len(), rows, "{limit}");
        assert_eq!(reply.at("/_meta/limit"), rows, "{limit}");
    }
    assert_eq!(agent.get("/v1/companies/search?q=common").await.status(200).column("id").len(), 50);
    for bad in ["q=common&limit=0", "q=common&limit=x", "limit=5", "q=", "q=%20%20", "", "q=x&name=y", "query=x"] {
        agent.get(&format!("/v1/companies/search?{bad}")).await.fault(400, "invalid_request");
    }
    agent.get("/v1/companies/search?q=x&cursor=y").await.fault(400, "invalid_cursor");
    let found = search(&agent, "companies", "common 42").await.status(200);
    assert_eq!(found.column("name")[0], "Common 42");
    let id = found.text("/data/0/id");
    let mut expected = agent.get(&format!("/v1/companies/{id}")).await.status(200).data();
    let expected = expected.as_object_mut().unwrap();
    expected.retain(|name, _| !["contacts", "deals"].contains(&name.as_str()));
    let mut shown = found.at("/data/0");
    assert!(shown.as_object_mut().unwrap().remove("score").is_some_and(|score| score.is_number()));
    assert_eq!(shown, json!(expected));
    agent.delete(&format!("/v1/companies/{id}")).await.status(200);
    let found = search(&agent, "companies", "common 42").await.status(200).column("name");
    assert!(!found.contains(&json!("Common 42")), "{found:?}");
    agent.post(&format!("/v1/companies/{id}/restore"), json!({})).await.status(200);
    agent.patch(&format!("/v1/companies/{id}"), json!({"name": "Renamed"})).await.status(200);
    assert_eq!(search(&agent, "companies", "renamed").await.status(200).column("id"), [json!(id)]);
}

#[tokio::test]
async fn each_searchable_table_has_a_search_and_others_say_what_to_do() {
    let agent = agent().await;
    for (table, record, words) in [
        ("companies", json!({"name": "Zebra Works", "industry": "Logistics"}), vec!["zebra", "zebar", "logistic"]),
        ("contacts", json!({"title": "Chief Zebra"}), vec!["zebra", "chief"]),
        ("deals", json!({"name": "Zebra rollout"}), vec!["zebra roll", "rollout", "zbera"]),
        (
            "activities",
            json!({"subject": "Zebra call", "body": "They want stripes in March."}),
            vec!["zebra", "stripes", "strip", "march", "stirpes"],
        ),
        (
            "emails",
            json!({"subject": "Re: Zebra", "from_addr": "ann@stripes.example", "body_text": "Price list attached"}),
            vec!["zebra", "ann@stripes.example", "price", "attach"],
        ),
        (
            "lists",
            json!({"name": "Zebras", "target_table": "contacts", "description": "striped"}),
            vec!["zebra", "stripe"],
        ),
    ] {
        let id = agent.post(&format!("/v1/{table}"), record).await.status(201).id();
        for words in words {
            let reply = search(&agent, table, words).await.status(200);
            assert_eq!(reply.column("id"), [json!(id)], "{table} {words}\n{}", reply.story());
        }
    }
    agent.sql("create table things (id int primary key, name text)").await.status(200);
    for table in ["things", "activity", "pipelines", "associations"] {
        agent.get(&format!("/v1/{table}/search?q=x")).await.fault(400, "invalid_request").says("/v1/sql");
    }
    agent.get("/v1/nope/search?q=x").await.fault(404, "not_found");
    // Custom columns are shown. One named score does not hide the search's score.
    agent.sql("alter table deals add colour text default 'red'").await.status(200);
    assert_eq!(search(&agent, "deals", "zebra").await.status(200).at("/data/0/colour"), "red");
    let sql = "select d.name, s.score from kith.search('deals', 'zebra', 5) s join deals d using (id)";
    assert_eq!(agent.sql(sql).await.status(200).column("name"), [Value::from("Zebra rollout")]);
}
