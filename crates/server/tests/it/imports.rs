//! CSV files: imports into tables, and lists as files.

use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, Reply, agent, both};

async fn import(agent: &Agent, query: &str, headers: &[(&str, &str)], file: impl Into<Vec<u8>>) -> Reply {
    let all: Vec<_> = [("content-type", "text/csv")].into_iter().chain(headers.iter().copied()).collect();
    agent.send(Method::POST, &format!("/v1/imports?{query}"), &all, file).await
}

async fn as_file(agent: &Agent, path: &str) -> String {
    let reply = agent.send(Method::GET, path, &[("accept", "text/csv")], "").await.status(200);
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    String::from_utf8(reply.body).expect("text")
}

#[tokio::test]
async fn a_file_creates_and_updates_and_doubles_nobody() {
    let agent = agent().await;
    let file = "E-mail;Given name;custom.plan\nann@b.example;Ann;pro\n;;\nANN@b.example;Anna;\nbob@b.example;Bob;free\n;Nameless;\n";
    let query = "table=contacts&map[E-mail]=email&map[Given+name]=first_name&map[custom.plan]=custom.plan";
    let told = import(&agent, query, &[], file).await.status(200).data();
    assert_eq!(told, json!({"table": "contacts", "created": 3, "updated": 1, "skipped": 1, "refused": []}));
    let again =
        import(&agent, query, &[], "E-mail;Given name;custom.plan\nbob@b.example;;team\n").await.status(200).data();
    assert_eq!((&again["created"], &again["updated"]), (&json!(0), &json!(1)));
    let rows = agent.sql("select email, first_name, custom from contacts order by email nulls last").await.status(200);
    assert_eq!(
        rows.at("/data/rows"),
        json!([{"email": "ANN@b.example", "first_name": "Anna", "custom": {"plan": "pro"}},
               {"email": "bob@b.example", "first_name": "Bob", "custom": {"plan": "team"}},
               {"email": null, "first_name": "Nameless", "custom": {}}])
    );
    let entries = agent.sql("select count(*) as n from activity where subject_type = 'contact'").await;
    assert_eq!(entries.at("/data/rows/0/n"), 5, "each change is in the feed");
}

#[tokio::test]
async fn a_stage_that_the_pipeline_lacks_is_refused_by_row_in_both_dialects() {
    let (relm, agent) = both().await;
    for (agent, name) in [(&agent, "name"), (&relm, "title")] {
        let file = format!("{name},stage\nA,won\nB,nope\nC,\nD,qualified\n");
        let told = import(agent, "table=deals", &[], file).await.status(200).json();
        let told = if told["data"].is_object() { &told["data"] } else { &told };
        assert_eq!((&told["created"], &told["refused"][0]["row"]), (&json!(3), &json!(3)), "{told}");
        let refused = told["refused"].as_array().expect("a list");
        assert_eq!((refused.len(), &refused[0]["code"]), (1, &json!("unknown_stage")), "{told}");
        assert!(refused[0]["reason"].as_str().expect("a text").contains("nope"), "{told}");
        assert_eq!(refused[0]["hint"], "It has: lead, qualified, proposal, won, lost.", "{told}");
    }
    let stages = agent.sql("select count(*) as n from pipeline_stages").await.status(200);
    assert_eq!(stages.at("/data/rows/0/n"), 5, "no stage was added");
    // A single record may still name a new one.
    agent.post("/v1/deals", json!({"name": "E", "stage": "nope"})).await.status(201);
}

#[tokio::test]
async fn rows_that_are_refused_do_not_stop_the_others() {
    let agent = agent().await;
    let field = json!({"object_type": "deal", "key": "seats", "label": "Seats", "type": "number"});
    agent.post("/v1/schema/fields", field).await.status(201);
    let file = "name,amount,close_date,custom.seats,contact_id\nA,\"1,234.50\",2026-12-01,12,\nB,much,,,\nC,,yesterday evening,,\nD,,,many,\n\
                E,,,,c_01m8j8s1e4ctf0qbkv1eg5rwfv\nF,,,,,more\nG,5,,1.5,\n";
    let told = import(&agent, "table=deals", &[], file).await.status(200).data();
    assert_eq!((&told["created"], &told["updated"]), (&json!(2), &json!(0)), "{told}");
    let refused: Vec<_> =
        told["refused"].as_array().unwrap().iter().map(|it| (it["row"].clone(), it["code"].clone())).collect();
    assert_eq!(refused.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>(), [3, 4, 5, 6, 7].map(Value::from));
    assert_eq!(refused[2].1, "invalid_metadata", "{told}");
    assert_eq!(refused[3].1, "invalid_reference", "{told}");
    for it in told["refused"].as_array().unwrap() {
        assert!(it["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{told}");
    }
    let rows = agent.sql("select name, amount_cents, custom from deals order by name").await.status(200);
    assert_eq!(
        rows.at("/data/rows"),
        json!([{"name": "A", "amount_cents": 123450, "custom": {"seats": 12}}, {"name": "G", "amount_cents": 500, "custom": {"seats": 1.5}}])
    );
}

#[tokio::test]
async fn an_import_is_tried_limited_repeated_and_undone() {
    let agent = agent().await;
    let rows: String = (0..1200).map(|at| format!("p{at}@many.example,P{at}\n")).collect();
    let file = format!("email,first_name\n{rows}");
    let tried = import(&agent, "table=contacts", &[("x-dry-run", "true")], file.as_str()).await.status(200);
    assert_eq!(tried.at("/data/created"), 1200);
    assert_eq!(tried.at("/_meta/affected/contacts/created"), 1200, "{}", tried.story());
    import(&agent, "table=contacts", &[("x-max-affected", "1199")], file.as_str())
        .await
        .fault(412, "max_affected_exceeded");
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 0);
    let run = [("x-run-id", "import-1"), ("idempotency-key", "part-1")];
    let first = import(&agent, "table=contacts", &run, file.as_str()).await.status(200);
    let replayed = import(&agent, "table=contacts", &run, file.as_str()).await.status(200);
    assert_eq!((first.at("/data/created"), replayed.header("idempotent-replayed")), (1200.into(), "true".into()));
    import(&agent, "table=contacts", &[("x-run-id", "import-1")], "email\nlast@many.example\n").await.status(200);
    let undone = agent.post("/v1/runs/import-1/undo", json!({})).await.status(200);
    assert_eq!(undone.at("/data/undone"), 1201);
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 0);
}

#[tokio::test]
async fn both_dialects_import_and_export_any_table() {
    let (relm, agentcrm) = both().await;
    let told =
        import(&relm, "table=deals", &[], "title,value_cents,metadata.plan\nA,12,pro\n").await.status(200).json();
    assert_eq!((&told["object"], &told["created"]), (&json!("import"), &json!(1)));
    import(&relm, "table=deals&map[a]=name", &[], "a\nA\n").await.status(400);
    agentcrm.sql("create table parts (code text primary key, weight numeric, at date)").await.status(200);
    import(&agentcrm, "table=parts&dedup_on=code", &[], "code,weight,at\nx,1.50,2026-01-02\n=1,2,\n").await.status(200);
    let again = import(&agentcrm, "table=parts&dedup_on=code", &[], "code,weight\nx,2.50\n").await.status(200);
    assert_eq!(again.at("/data/updated"), 1);
    assert_eq!(as_file(&agentcrm, "/v1/parts").await, "code,weight,at\n=1,2,\nx,2.50,2026-01-02\n");
    let deal = agentcrm.get("/v1/deals").await.text("/data/0/id");
    let (own, of_relm) = (as_file(&agentcrm, "/v1/deals?name=A").await, as_file(&relm, "/v1/deals?title=A").await);
    assert!(
        own.starts_with("id,name,") && own.contains(&deal) && own.contains("\"{\"\"plan\"\":\"\"pro\"\"}\""),
        "{own}"
    );
    assert!(of_relm.starts_with("id,title,") && of_relm.contains("deal_"), "{of_relm}");
    assert_eq!(as_file(&agentcrm, "/v1/deals?name=B").await.lines().count(), 1, "the names of the columns alone");
}

#[tokio::test]
async fn a_file_has_all_rows_that_match_in_order() {
    let agent = agent().await;
    agent.sql("insert into contacts (email, last_name) select 'p' || g || '@b.example', 'L' || g % 2 from generate_series(1, 501) g").await.status(200);
    let deleted = agent.get("/v1/contacts?limit=1").await.text("/data/0/id");
    agent.delete(&format!("/v1/contacts/{deleted}")).await.status(200);
    let file = as_file(&agent, "/v1/contacts").await;
    assert_eq!(file.lines().count(), 501, "the header and the live rows");
    assert!(!file.contains(&deleted));
    let mut ids: Vec<&str> = file.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let listed = agent.get("/v1/contacts?limit=200").await.column("id");
    assert_eq!(ids[..200].iter().map(|id| json!(id)).collect::<Vec<_>>(), listed);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500);
    let half = as_file(&agent, "/v1/contacts?last_name=L1&limit=3").await;
    assert!((250..=252).contains(&half.lines().count()), "{}", half.lines().count());
    let refused = agent.send(Method::GET, "/v1/contacts?nothing=1", &[("accept", "text/csv")], "").await.status(400);
    assert_eq!(refused.header("content-type"), "application/json");
    agent.send(Method::GET, "/v1/contacts", &[("accept", "application/json")], "").await.status(200).at("/data/0");
}

#[tokio::test]
async fn what_is_no_import_is_refused() {
    let agent = agent().await;
    let wrong = [("content-type", "application/json")];
    agent.send(Method::POST, "/v1/imports?table=contacts", &wrong, "{}").await.fault(415, "unsupported_media_type");
    import(&agent, "", &[], "email\n").await.fault(400, "invalid_request").says("table");
    import(&agent, "table=contacts", &[], "").await.fault(400, "invalid_request").says("empty");
    import(&agent, "table=contacts&map[x]=email", &[], "y\n1\n").await.fault(400, "invalid_request").says("x");
    import(&agent, "table=contacts&map[x]=emial", &[], "x\n1\n").await.fault(400, "invalid_request").says("emial");
    import(&agent, "table=contacts&map[x]=created_at", &[], "x\n1\n")
        .await
        .fault(400, "invalid_request")
        .says("read-only");
    import(&agent, "table=contacts&dedup_on=title", &[], "title\n1\n")
        .await
        .fault(400, "invalid_request")
        .says("unique");
    import(&agent, "table=nothing", &[], "x\n1\n").await.fault(404, "not_found");
    import(&agent, "table=activity&map[x]=verb", &[], "x\n1\n").await.fault(403, "forbidden");
    let many = format!("email\n{}", "x\n".repeat(5001));
    import(&agent, "table=contacts", &[], many).await.fault(422, "batch_too_large");
    let nul = import(&agent, "table=contacts&map[a]=first_name", &[], "a\nx\0y\nok\n").await.status(200).data();
    assert_eq!((&nul["created"], &nul["refused"][0]["row"]), (&json!(1), &json!(2)), "{nul}");
    assert_eq!(agent.get("/v1/contacts").await.column("id").len(), 1);
    let (owner, _) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    import(&viewer, "table=contacts", &[], "email\na@b.example\n").await.fault(403, "forbidden");
}
