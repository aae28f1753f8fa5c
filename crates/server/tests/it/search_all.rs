//! `/v1/search`: contacts, companies, deals and activities together; the best match is first.

use serde_json::{Value, json};

use crate::support::{Agent, Reply, agent, both};

async fn search(agent: &Agent, words: &str) -> Reply {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("q", words);
    agent.get(&format!("/v1/search?{}", url.query().unwrap())).await.status(200)
}

fn objects(reply: &Reply) -> Vec<Value> {
    let scores: Vec<f64> = reply.column("score").iter().map(|score| score.as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{}", reply.story());
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{}", reply.story());
    let mut all = reply.column("object");
    all.sort_by_key(|it| it.as_str().unwrap().to_owned());
    all
}

/// Records about zebras, and other records.
async fn zoo(agent: &Agent) {
    agent
        .post("/v1/contacts", json!({"first_name": "Žofie", "last_name": "Zebra", "email": "zofie@zoo.example"}))
        .await
        .status(201);
    agent.post("/v1/companies", json!({"name": "Zebra Crossing", "domain": "zebra.example"})).await.status(201);
    agent.post("/v1/deals", json!({"name": "Zebra rollout"})).await.status(201);
    agent
        .post(
            "/v1/activities",
            json!({"type": "note", "subject": "Stripes", "body": "A zebra called about onboarding and incomprehensibilities."}),
        )
        .await
        .status(201);
    agent.post("/v1/contacts", json!({"first_name": "Ada", "last_name": "Lovelace"})).await.status(201);
    agent.post("/v1/lists", json!({"name": "Zebras", "target_table": "contacts"})).await.status(201);
}

#[tokio::test]
async fn all_four_tables_are_searched_and_no_other() {
    let agent = agent().await;
    zoo(&agent).await;
    for words in ["zebra", "ZEBRA", "zébra", "zebr", "zebar", "zzebra", "zbra", "zobra"] {
        let found = search(&agent, words).await;
        assert_eq!(objects(&found), ["activity", "company", "contact", "deal"], "{words}\n{}", found.story());
    }
    for (words, object) in [
        ("zofie", "contact"),
        ("zebra rollout", "deal"),
        ("zebar rolout", "deal"),
        ("crossing zebra", "company"),
        ("onbaording", "activity"),
        ("lovelase", "contact"),
        ("zofie@zoo.exmaple", "contact"),
        ("incomprehensiblities", "activity"),
        ("stripes", "activity"),
        ("zofie@zoo.example", "contact"),
    ] {
        let found = search(&agent, words).await;
        assert_eq!(found.at("/data/0/object"), object, "{words}\n{}", found.story());
    }
    // The complete name is first, and an exact match comes before one with a different spelling.
    let exact = search(&agent, "zebra rollout").await.at("/data/0/score").as_f64().unwrap();
    let spelt = search(&agent, "zebar rollout").await.at("/data/0/score").as_f64().unwrap();
    assert!(exact > spelt, "{exact} {spelt}");
    // If no record contains all words, records with some of them are found.
    let found = search(&agent, "lovelace crossing").await;
    assert_eq!(objects(&found), ["company", "contact"], "{}", found.story());
    for nothing in ["qqqq", "?!", "zebra-free-zone-without-any-like-it", "日本"] {
        let found = search(&agent, nothing).await;
        assert!(found.column("object").len() <= 4, "{nothing}\n{}", found.story());
    }
    assert_eq!(search(&agent, "qqqq").await.data(), json!([]));
}

#[tokio::test]
async fn records_are_shown_whole_and_only_live_ones() {
    let (relm, agent) = both().await;
    zoo(&agent).await;
    agent.sql("alter table deals add column colour text default 'red'").await.status(200);
    let found = search(&agent, "zebra rollout").await;
    let deal = found.text("/data/0/id");
    let mut shown = found.at("/data/0");
    let shown = shown.as_object_mut().unwrap();
    assert!(shown.remove("score").is_some_and(|score| score.is_number()));
    assert_eq!(shown.remove("object"), Some(json!("deal")));
    let mut there = agent.get(&format!("/v1/deals/{deal}")).await.data();
    there.as_object_mut().unwrap().retain(|name, _| !["contact", "company"].contains(&name.as_str()));
    assert_eq!(json!(shown), there);
    // With Relm's names.
    let found = search(&relm, "zebra rollout").await;
    assert_eq!((found.at("/object"), found.at("/data/0/object")), (json!("list"), json!("deal")));
    assert_eq!((found.at("/data/0/title"), found.at("/data/0/colour")), (json!("Zebra rollout"), json!("red")));
    assert!(
        found.text("/data/0/id").starts_with("deal_") && found.at("/data/0/score").is_number(),
        "{}",
        found.story()
    );

    agent.delete(&format!("/v1/deals/{deal}")).await.status(200);
    assert!(!search(&agent, "zebra rollout").await.column("object").contains(&json!("deal")));
}

#[tokio::test]
async fn results_are_as_many_as_were_asked_for() {
    let agent = agent().await;
    agent.sql("insert into companies (name) select 'Common ' || g from generate_series(1, 300) g; insert into deals (name) select 'Common ' || g from generate_series(1, 300) g").await.status(200);
    for (limit, rows) in [("1", 1), ("7", 7), ("200", 200), ("1000", 200)] {
        let reply = agent.get(&format!("/v1/search?q=common&limit={limit}")).await.status(200);
        assert_eq!(reply.column("id").len(), rows, "{limit}");
    }
    assert_eq!(search(&agent, "common").await.column("id").len(), 50);
    let found = search(&agent, "common 42").await;
    assert_eq!(objects(&found)[..2], ["company", "deal"]);
    assert_eq!([&found.at("/data/0/name"), &found.at("/data/1/name")], [&json!("Common 42"); 2]);
    for bad in ["limit=5", "q=", "q=%20", "", "q=x&limit=0", "query=x"] {
        agent.get(&format!("/v1/search?{bad}")).await.fault(400, "invalid_request");
    }
    agent.get("/v1/search?q=x&cursor=y").await.fault(400, "invalid_cursor");
    agent.post("/v1/search", json!({})).await.fault(405, "method_not_allowed");
}
