//! Pipelines and their stages: identified by key, ordered by position, and kept while they contain deals.

use serde_json::{Value, json};

use crate::support::{Agent, agent, both, relm};

async fn stages(agent: &Agent, path: &str) -> Vec<(Value, Value)> {
    let page = agent.get(path).await.status(200);
    page.column("key").into_iter().zip(page.column("position")).collect()
}

/// `a:0 b:1` for stages or pipelines in order.
async fn order(agent: &Agent, path: &str) -> String {
    let all = stages(agent, path).await;
    all.iter().map(|(key, at)| format!("{}:{at}", key.as_str().unwrap())).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_pipeline_is_named_by_its_key_or_its_id() {
    let agent = agent().await;
    let made = agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Renewals"})).await.status(201);
    assert_eq!((made.data()["position"].clone(), made.data()["is_default"].clone()), (json!(1), json!(false)));
    for name in ["renewals".to_owned(), made.id()] {
        let path = format!("/v1/pipelines/{name}");
        assert_eq!(agent.get(&path).await.status(200).id(), made.id());
        let label = format!("By {name}");
        assert_eq!(agent.patch(&path, json!({"label": label})).await.status(200).data()["label"], label);
    }
    assert_eq!(order(&agent, "/v1/pipelines").await, "sales:0 renewals:1");
    agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Again"})).await.fault(409, "conflict");
    agent.post("/v1/pipelines", json!({"key": "", "label": "Empty"})).await.fault(422, "validation_failed");
    agent.post("/v1/pipelines", json!({"label": "No key"})).await.fault(422, "validation_failed");
    for method in ["get", "patch", "delete"] {
        let path = "/v1/pipelines/nothing";
        let reply = match method {
            "get" => agent.get(path).await,
            "patch" => agent.patch(path, json!({"label": "x"})).await,
            _ => agent.delete(path).await,
        };
        reply.fault(404, "not_found").says("nothing");
    }
}

#[tokio::test]
async fn a_pipeline_goes_unless_it_is_the_default_or_deals_are_in_it() {
    let agent = agent().await;
    agent.delete("/v1/pipelines/sales").await.fault(409, "cannot_delete_default");
    agent.delete("/v1/pipelines/sales?hard=true").await.fault(409, "cannot_delete_default");
    agent.patch("/v1/pipelines/sales", json!({"is_default": false})).await.fault(409, "cannot_delete_default");

    agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Renewals"})).await.status(201);
    agent.post("/v1/pipelines/renewals/stages", json!({"key": "due", "label": "Due"})).await.status(201);
    let deal = agent.post("/v1/deals", json!({"name": "D", "pipeline": "renewals"})).await.status(201);
    assert_eq!(deal.data()["stage"], "due");
    agent.delete("/v1/pipelines/renewals").await.fault(409, "pipeline_in_use").says("renewals");
    agent.delete("/v1/pipelines/renewals?hard=true").await.fault(409, "pipeline_in_use");
    agent.delete("/v1/pipelines/renewals/stages/due").await.fault(409, "stage_in_use").says("due");
    agent.sql("update pipelines set deleted_at = now() where key = 'renewals'").await.fault(400, "sql_error");

    // Hidden deals do not prevent a pipeline's deletion. They can't be restored when another pipeline has taken its key.
    agent.delete(&format!("/v1/deals/{}", deal.id())).await.status(200);
    agent.delete("/v1/pipelines/renewals").await.status(200);
    agent.get("/v1/pipelines/renewals").await.fault(404, "not_found");
    agent.get("/v1/pipelines/renewals/stages").await.fault(404, "not_found");
    assert_eq!(order(&agent, "/v1/pipelines").await, "sales:0");
    let second = agent.post("/v1/pipelines", json!({"key": "renewals", "label": "Second"})).await.status(201);
    assert_eq!(agent.get("/v1/pipelines/renewals").await.status(200).id(), second.id());
    assert_eq!(order(&agent, "/v1/pipelines/renewals/stages").await, "");
    agent.post(&format!("/v1/deals/{}/restore", deal.id()), json!({})).await.fault(422, "validation_failed");

    // A new default replaces the old one immediately. There is never more than one.
    let body = json!({"key": "first", "label": "First", "is_default": true, "position": 0});
    agent.post("/v1/pipelines", body).await.status(201);
    assert_eq!(agent.get("/v1/pipelines?is_default=true").await.column("key"), ["first"]);
    agent.post("/v1/deals", json!({"name": "D"})).await.fault(422, "validation_failed").says("has no stages");
    agent.patch("/v1/pipelines/sales", json!({"is_default": true})).await.status(200);
    assert_eq!(agent.get("/v1/pipelines?is_default=true").await.column("key"), ["sales"]);
    agent.delete("/v1/pipelines/first").await.status(200);

    // Another pipeline becomes the default, and the former one can be deleted.
    agent.patch("/v1/pipelines/renewals", json!({"is_default": true})).await.status(200);
    assert_eq!(agent.get("/v1/pipelines").await.column("is_default"), [json!(false), json!(true)]);
    agent.delete("/v1/pipelines/sales").await.status(200);
    assert_eq!(order(&agent, "/v1/pipelines").await, "renewals:2");
}

#[tokio::test]
async fn positions_are_kept_as_they_are_given() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "p", "label": "P"})).await.status(201);
    let path = "/v1/pipelines/p/stages";
    for (key, position) in [("late", 10), ("early", 5)] {
        let body = json!({"key": key, "label": key, "position": position});
        assert_eq!(agent.post(path, body).await.status(201).data()["position"], position);
    }
    assert_eq!(order(&agent, path).await, "early:5 late:10");
    let last = agent.post(path, json!({"key": "last", "label": "Last"})).await.status(201);
    assert_eq!(last.data()["position"], 11);
    let moved = agent.patch(&format!("{path}/early"), json!({"position": 7})).await.status(200);
    assert_eq!(moved.data()["position"], 7);
    let insert = "insert into pipeline_stages (pipeline, key, label, position) values ('p', 's', 'S', 6) returning position as v";
    assert_eq!(agent.sql(insert).await.status(200).v(), 6);
    assert_eq!(order(&agent, path).await, "s:6 early:7 late:10 last:11");
    // A deal's new stage is added at the end. A deleted stage leaves a gap, and returns to it when it is restored.
    agent.post("/v1/deals", json!({"name": "D", "pipeline": "p", "stage": "named"})).await.status(201);
    let early = agent.get(&format!("{path}/early")).await.id();
    agent.delete(&format!("{path}/early")).await.status(200);
    assert_eq!(order(&agent, path).await, "s:6 late:10 last:11 named:12");
    agent.post(&format!("/v1/pipeline_stages/{early}/restore"), json!({})).await.status(200);
    assert_eq!(order(&agent, path).await, "s:6 early:7 late:10 last:11 named:12");

    for (key, position) in [("a", 10), ("b", 20), ("c", 15)] {
        let body = json!({"key": key, "label": key, "position": position});
        assert_eq!(agent.post("/v1/pipelines", body).await.status(201).data()["position"], position);
    }
    assert_eq!(order(&agent, "/v1/pipelines").await, "sales:0 p:1 a:10 c:15 b:20");
    for body in [
        json!({"key": "n", "label": "N", "position": -1}),
        json!({"key": "n", "label": "N", "position": 2_000_000_001}),
    ] {
        for path in ["/v1/pipelines", path] {
            let refused = agent.post(path, body.clone()).await.fault(422, "validation_failed");
            assert_eq!(refused.at("/field"), "position", "{}", refused.story());
        }
    }
    agent.patch(&format!("{path}/late"), json!({"position": -1})).await.fault(422, "validation_failed");
    assert_eq!(agent.sql("update pipelines set position = -1").await.fault(400, "sql_error").at("/code"), "23514");
}

#[tokio::test]
async fn stages_make_way_for_one_another() {
    let agent = agent().await;
    let path = "/v1/pipelines/sales/stages";
    assert_eq!(order(&agent, path).await, "lead:0 qualified:1 proposal:2 won:3 lost:4");
    let made = agent.post(path, json!({"key": "legal", "label": "Legal", "position": 2})).await.status(201);
    assert_eq!((&made.data()["pipeline"], &made.data()["position"]), (&json!("sales"), &json!(2)));
    assert_eq!(order(&agent, path).await, "lead:0 qualified:1 legal:2 proposal:3 won:4 lost:5");
    for (stage, position, expected) in [
        ("legal", 4, "lead:0 qualified:1 proposal:2 won:3 legal:4 lost:5"),
        ("legal", 0, "legal:0 lead:1 qualified:2 proposal:3 won:4 lost:5"),
        ("legal", 0, "legal:0 lead:1 qualified:2 proposal:3 won:4 lost:5"),
        ("lead", 0, "lead:0 legal:1 qualified:2 proposal:3 won:4 lost:5"),
        ("lead", 1, "legal:0 lead:1 qualified:2 proposal:3 won:4 lost:5"),
        ("lead", 99, "legal:0 qualified:2 proposal:3 won:4 lost:5 lead:99"),
        // A gap absorbs the shift of the stages before it.
        ("lead", 0, "lead:0 legal:1 qualified:2 proposal:3 won:4 lost:5"),
        ("legal", 20, "lead:0 qualified:2 proposal:3 won:4 lost:5 legal:20"),
        ("legal", 2, "lead:0 legal:2 qualified:3 proposal:4 won:5 lost:6"),
        ("lost", 0, "lost:0 lead:1 legal:2 qualified:3 proposal:4 won:5"),
        ("won", 10, "lost:0 lead:1 legal:2 qualified:3 proposal:4 won:10"),
        ("lead", 10, "lost:0 legal:1 qualified:2 proposal:3 won:9 lead:10"),
    ] {
        let moved = agent.patch(&format!("{path}/{stage}"), json!({"position": position})).await.status(200);
        assert_eq!(order(&agent, path).await, expected, "{stage} to {position}");
        assert_eq!(moved.data()["position"], position, "{}", moved.story());
    }
    agent.delete(&format!("{path}/legal")).await.status(200);
    assert_eq!(order(&agent, path).await, "lost:0 qualified:2 proposal:3 won:9 lead:10");
    agent.delete(&format!("{path}/legal")).await.fault(404, "not_found");
    // The key is free again. The new stage is a different one, and is added at the end.
    let again = agent.post(path, json!({"key": "legal", "label": "Legal"})).await.status(201);
    assert_ne!(again.id(), made.id());
    assert_eq!(order(&agent, path).await, "lost:0 qualified:2 proposal:3 won:9 lead:10 legal:11");
    agent.post(path, json!({"key": "legal", "label": "L"})).await.fault(409, "conflict").says(&again.id());
    // By SQL, several in one statement.
    agent.sql("update pipeline_stages set position = 11 - position where pipeline = 'sales'").await.status(200);
    assert_eq!(order(&agent, path).await, "legal:0 lead:1 won:2 proposal:8 qualified:9 lost:11");
    agent.sql("delete from pipeline_stages where key in ('won', 'lead')").await.status(200);
    assert_eq!(order(&agent, path).await, "legal:0 proposal:8 qualified:9 lost:11");
    agent.sql("insert into pipeline_stages (pipeline, key, label, position) values ('sales', 'a', 'A', 8), ('sales', 'b', 'B', 8)").await.status(200);
    let all = order(&agent, path).await;
    assert!(all.starts_with("legal:0 ") && all.ends_with(" proposal:10 qualified:11 lost:12"), "{all}");
    assert!(all.contains("a:8 b:9") || all.contains("b:8 a:9"), "{all}");
    agent.sql("update pipeline_stages set position = 3 where pipeline = 'sales'").await.status(200);
    let places: Vec<Value> = stages(&agent, path).await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(places, [3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn pipelines_make_way_too() {
    let agent = agent().await;
    for (key, position) in [("a", json!(null)), ("b", json!(0)), ("c", json!(1))] {
        let mut body = json!({"key": key, "label": key});
        if !position.is_null() {
            body["position"] = position;
        }
        agent.post("/v1/pipelines", body).await.status(201);
    }
    assert_eq!(order(&agent, "/v1/pipelines").await, "b:0 c:1 sales:2 a:3");
    agent.patch("/v1/pipelines/b", json!({"position": 2})).await.status(200);
    assert_eq!(order(&agent, "/v1/pipelines").await, "c:0 sales:1 b:2 a:3");
    agent.delete("/v1/pipelines/c").await.status(200);
    assert_eq!(order(&agent, "/v1/pipelines").await, "sales:1 b:2 a:3");
    let moved = agent.patch("/v1/pipelines/a", json!({"position": 1})).await.status(200);
    assert_eq!(moved.data()["position"], 1);
    assert_eq!(order(&agent, "/v1/pipelines").await, "a:1 sales:2 b:3");
}

#[tokio::test]
async fn places_that_many_ask_for_at_once_are_given_once() {
    let agent = agent().await;
    let path = "/v1/pipeline/stages";
    let made = (0..8).map(|n| {
        let mut body = json!({"key": format!("s{n}"), "label": "S"});
        if n % 2 == 0 {
            body["position"] = json!(2);
        }
        agent.post(path, body)
    });
    let made = futures_util::future::join_all(made).await;
    made.into_iter().for_each(|reply| drop(reply.status(201)));
    let places: Vec<Value> = stages(&agent, path).await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(places, (0..13).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn moves_at_once_wait_for_one_another() {
    let agent = agent().await;
    for key in ["a", "b", "c", "d"] {
        agent.post("/v1/pipelines", json!({"key": key, "label": key})).await.status(201);
    }
    let (stages, pipelines) = ("/v1/pipelines/sales/stages", "/v1/pipelines");
    for round in 0..4 {
        let moves = ["lead", "qualified", "proposal", "won"].map(|key| (stages, key));
        let moves = moves.into_iter().chain(["a", "b", "c", "d"].map(|key| (pipelines, key)));
        let moves = moves.enumerate().map(async |(at, (path, key))| {
            let mut body = json!({"position": (at + round) % 4});
            if path == pipelines && at % 2 == 0 {
                body["is_default"] = json!(true);
            }
            agent.patch(&format!("{path}/{key}"), body).await
        });
        let made = agent.post(stages, json!({"key": format!("s{round}"), "label": "S", "position": 1}));
        let (moved, made) = tokio::join!(futures_util::future::join_all(moves), made);
        for reply in moved {
            reply.status(200);
        }
        made.status(201);
        for path in [stages, pipelines] {
            let places: Vec<i64> =
                self::stages(&agent, path).await.iter().map(|(_, at)| at.as_i64().unwrap()).collect();
            assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
        }
    }
    assert_eq!(agent.get("/v1/pipelines?is_default=true").await.column("key").len(), 1);
}

#[tokio::test]
async fn of_many_new_defaults_the_last_is_the_default() {
    let agent = agent().await;
    agent.post("/v1/pipelines", json!({"key": "p", "label": "P"})).await.status(201);
    agent.sql("update pipelines set is_default = (key = 'p')").await.status(200);
    assert_eq!(agent.get("/v1/pipelines?is_default=true").await.column("key"), ["p"]);
    for round in 0..3 {
        let made = (0..6).map(|n| {
            let key = format!("p{round}{n}");
            agent.post("/v1/pipelines", json!({"key": key, "label": key, "is_default": true}))
        });
        let made = futures_util::future::join_all(made).await;
        made.into_iter().for_each(|reply| drop(reply.status(201)));
        assert_eq!(agent.get("/v1/pipelines?is_default=true").await.column("key").len(), 1);
    }
    assert_eq!(agent.get("/v1/pipelines").await.column("key").len(), 20);
}

#[tokio::test]
async fn a_stage_that_is_named_with_another_pipeline_is_meant() {
    let (relm, agent) = both().await;
    agent.post("/v1/pipelines", json!({"key": "p2", "label": "P"})).await.status(201);
    agent.post("/v1/pipelines/p2/stages", json!({"key": "only", "label": "Only"})).await.status(201);
    let deal = agent.post("/v1/deals", json!({"name": "D", "pipeline": "p2"})).await.status(201).id();
    let path = format!("/v1/deals/{deal}");
    let place = async || {
        let deal = agent.get(&path).await.status(200).data();
        format!("{}/{}", deal["pipeline"].as_str().unwrap(), deal["stage"].as_str().unwrap())
    };
    relm.patch(&path, json!({"pipeline": "sales", "stage": "only"})).await.fault(422, "unknown_stage");
    assert_eq!(place().await, "p2/only");
    // If no stage is given, the deal moves to the first stage, or to the one with the same name.
    relm.patch(&path, json!({"pipeline": "sales"})).await.status(200);
    assert_eq!(place().await, "sales/lead");
    agent.patch(&path, json!({"pipeline": "p2"})).await.status(200);
    assert_eq!(place().await, "p2/only");
    agent.patch(&path, json!({"pipeline": "sales", "stage": "only"})).await.status(200);
    assert_eq!(place().await, "sales/only");
    assert_eq!(order(&agent, "/v1/pipelines/sales/stages").await, "lead:0 qualified:1 proposal:2 won:3 lost:4 only:5");
    agent.patch(&path, json!({"pipeline": "p2"})).await.status(200);
    assert_eq!(place().await, "p2/only");
    agent.delete("/v1/pipelines/sales/stages/only").await.status(200);
    agent.sql("update deals set pipeline = 'sales', stage = 'only'").await.status(200);
    assert_eq!(place().await, "sales/only");
    agent.sql("update deals set pipeline = 'p2', stage = 'new'").await.status(200);
    assert_eq!(place().await, "p2/new");
}

#[tokio::test]
async fn the_aliases_are_about_the_default_pipeline() {
    let agent = agent().await;
    let path = "/v1/pipeline/stages";
    agent.post("/v1/pipelines", json!({"key": "renewals", "label": "R"})).await.status(201);
    agent.post("/v1/pipelines/renewals/stages", json!({"key": "due", "label": "Due"})).await.status(201);
    let made = agent.post(path, json!({"key": "legal", "label": "Legal"})).await.status(201);
    assert_eq!(made.data()["pipeline"], "sales");
    assert!(order(&agent, path).await.ends_with(" legal:5"));
    agent.patch(&format!("{path}/legal"), json!({"label": "Law", "is_won": true})).await.status(200);
    agent.patch(&format!("{path}/due"), json!({"label": "Law"})).await.fault(404, "not_found");
    agent.delete(&format!("{path}/due")).await.fault(404, "not_found");
    agent.patch("/v1/pipelines/renewals", json!({"is_default": true})).await.status(200);
    assert_eq!(order(&agent, path).await, "due:0");
    agent.delete(&format!("{path}/due")).await.status(200);
    // Also by their ids.
    let sales = agent.get("/v1/pipelines/sales").await.id();
    agent.patch(&format!("/v1/pipelines/{sales}/stages/{}", made.id()), json!({"label": "L"})).await.status(200);
    agent.get(&format!("/v1/pipelines/renewals/stages/{}", made.id())).await.fault(404, "not_found");
    agent.delete("/v1/pipelines/sales/stages/legal").await.status(200);
    for path in ["/v1/pipelines/none/stages", "/v1/pipelines/pl_00000000000000000000000000/stages"] {
        agent.get(path).await.fault(404, "not_found");
        agent.post(path, json!({"key": "x", "label": "X"})).await.fault(404, "not_found");
        agent.delete(&format!("{path}/x")).await.fault(404, "not_found");
    }
    let body = json!({"key": "x", "label": "X", "pipeline": "renewals"});
    agent.post("/v1/pipelines/sales/stages", body).await.fault(400, "invalid_request");
}

#[tokio::test]
async fn a_key_that_is_renamed_takes_its_deals_along() {
    let agent = agent().await;
    let deal = agent.post("/v1/deals", json!({"name": "D", "stage": "proposal"})).await.status(201).id();
    agent.patch("/v1/pipelines/sales/stages/proposal", json!({"key": "offer"})).await.status(200);
    let path = format!("/v1/deals/{deal}");
    assert_eq!(agent.get(&path).await.data()["stage"], "offer");
    agent.patch("/v1/pipelines/sales", json!({"key": "new_business"})).await.status(200);
    assert_eq!(agent.get(&path).await.data()["pipeline"], "new_business");
    let stages = order(&agent, "/v1/pipelines/new_business/stages").await;
    assert_eq!(stages, "lead:0 qualified:1 offer:2 won:3 lost:4");
    agent.patch("/v1/pipelines/new_business/stages/offer", json!({"key": "lead"})).await.fault(409, "conflict");
}

#[tokio::test]
async fn relm_refuses_a_stage_that_the_pipeline_lacks() {
    let relm = relm().await;
    let fault = |reply: crate::support::Reply, status: u16, code: &str| {
        let reply = reply.status(status);
        assert_eq!(reply.at("/error/code"), code, "{}", reply.story());
        reply
    };
    let reply = relm.post("/v1/deals", json!({"title": "D", "stage": "legal"})).await;
    let reply = fault(reply, 422, "unknown_stage");
    assert!(reply.text("/error/message").contains("legal"), "{}", reply.story());
    fault(relm.post("/v1/deals", json!({"title": "D", "pipeline": "none"})).await, 422, "validation_failed");
    let deal = relm.post("/v1/deals", json!({"title": "D", "stage": "won"})).await.status(201).text("/id");
    let path = format!("/v1/deals/{deal}");
    fault(relm.patch(&path, json!({"stage": "legal"})).await, 422, "unknown_stage");
    // A pipeline without stages accepts no deal. If only the old stage is missing, the deal is put into the first stage.
    relm.post("/v1/pipelines", json!({"key": "renewals", "label": "R"})).await.status(201);
    fault(relm.post("/v1/deals", json!({"title": "D", "pipeline": "renewals"})).await, 422, "validation_failed");
    fault(relm.patch(&path, json!({"pipeline": "renewals"})).await, 422, "unknown_stage");
    fault(relm.patch(&path, json!({"pipeline": "renewals", "stage": "won"})).await, 422, "unknown_stage");
    relm.post("/v1/pipelines/renewals/stages", json!({"key": "due", "label": "Due"})).await.status(201);
    let moved = relm.patch(&path, json!({"pipeline": "renewals"})).await.status(200);
    assert_eq!((moved.at("/pipeline"), moved.at("/stage")), (json!("renewals"), json!("due")));
    // The refusal applies only to that request: SQL still adds stages.
    relm.sql("update deals set stage = 'legal'").await.status(200);
    assert_eq!(relm.get(&path).await.status(200).at("/stage"), "legal");
    let keyed = [("idempotency-key", "one"), ("content-type", "application/json")];
    let body = r#"{"title": "E", "stage": "nowhere"}"#;
    fault(relm.send(reqwest::Method::POST, "/v1/deals", &keyed, body).await, 422, "unknown_stage");
}

#[tokio::test]
async fn a_deal_and_the_end_of_its_stage_never_cross() {
    let agent = agent().await;
    for round in 0..6 {
        let key = format!("s{round}");
        agent.post("/v1/pipeline/stages", json!({"key": key, "label": key})).await.status(201);
        let (path, body) = (format!("/v1/pipeline/stages/{key}"), json!({"name": "D", "stage": key}));
        let (gone, made) = tokio::join!(agent.delete(&path), agent.post("/v1/deals", body));
        made.status(201);
        assert!(matches!(gone.code, 200 | 409), "{}", gone.story());
        // The deal's stage exists, whichever request was first.
        agent.get(&path).await.status(200);
    }
}
