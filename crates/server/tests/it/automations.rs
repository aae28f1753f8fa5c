//! Automations: rules, what fires them, what they do, and where they stop.

use kith::clock::Clock;
use pg::conn::Begin;
use pg::types::TypeCache;
use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, Reply, agent, both, home, mailbox, psql, relm};

/// The record in an answer of either dialect.
fn record(reply: &Reply) -> Value {
    let json = reply.json();
    if json.get("object").is_some() { json } else { json["data"].clone() }
}

/// Creates an automation. Returns its id.
pub async fn rule(agent: &Agent, trigger: &str, conditions: Value, actions: Value) -> String {
    let body = json!({"name": "R", "trigger_event": trigger, "conditions": conditions, "actions": actions});
    let made = record(&agent.post("/v1/automations", body).await.status(201));
    made["id"].as_str().expect("an id").to_owned()
}

/// Waits until an automation has this many runs that ended. The newest comes first.
pub async fn runs(agent: &Agent, id: &str, count: usize) -> Vec<Value> {
    let start = std::time::Instant::now();
    loop {
        let page = agent.get(&format!("/v1/automations/{id}/runs?limit=100")).await.status(200).json();
        let found = page["data"].as_array().expect("runs").clone();
        if found.len() >= count {
            return found;
        }
        assert!(start.elapsed().as_secs() < 60, "{count} runs are expected: {page}");
    }
}

/// Creates a record. Returns its id.
pub async fn create(agent: &Agent, path: &str, body: Value) -> String {
    record(&agent.post(path, body).await.status(201))["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_automation_is_created_read_changed_and_deleted_in_both_dialects() {
    let (relm, agentcrm) = both().await;
    for agent in [&relm, &agentcrm] {
        let body = json!({
            "name": "Move to Replied on inbound email", "trigger_event": "activity.created", "enabled": true,
            "conditions": [{"field": "type", "op": "eq", "value": "email"}],
            "actions": [{"type": "move_deal_stage", "stage": "replied"}],
        });
        let made = record(&agent.post("/v1/automations", body.clone()).await.status(201));
        let id = made["id"].as_str().expect("an id");
        assert!(id.starts_with("auto_"), "{id}");
        for name in ["name", "trigger_event", "enabled", "conditions", "actions"] {
            assert_eq!(made[name], body[name], "{name}");
        }
        let path = format!("/v1/automations/{id}");
        assert_eq!(record(&agent.get(&path).await.status(200)), made);
        assert_eq!(agent.get("/v1/automations").await.status(200).json()["data"], json!([made]));
        let changed = record(&agent.patch(&path, json!({"enabled": false, "trigger_event": "*"})).await.status(200));
        assert_eq!(
            (&changed["enabled"], &changed["trigger_event"], &changed["name"]),
            (&json!(false), &json!("*"), &made["name"])
        );
        assert_eq!(agent.get(&format!("{path}/runs")).await.status(200).json()["data"], json!([]));
        agent.delete(&path).await.status(200);
        for reply in [agent.get(&path).await, agent.delete(&path).await, agent.get(&format!("{path}/runs")).await] {
            reply.fault(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_rule_that_could_not_work_is_refused_with_its_path() {
    let agent = relm().await;
    let with = |name: &str, value: Value| {
        let mut rule =
            json!({"name": "R", "trigger_event": "deal.*", "actions": [{"type": "move_deal_stage", "stage": "won"}]});
        rule[name] = value;
        rule
    };
    for (body, status, said) in [
        (json!({"name": "R", "trigger_event": "*"}), 422, "actions"),
        (with("trigger_event", json!("deals.created")), 422, "deal.created"),
        (with("conditions", json!([{"field": "a", "op": "like", "value": 1}])), 422, "conditions[0].op"),
        (
            with("actions", json!([{"type": "create_activity", "activity_type": "note"}, {"type": "fly"}])),
            422,
            "actions[1].type",
        ),
        (with("actions", json!([{"type": "send_email", "to": "a@b.example", "subject": "{{x.y}}"}])), 422, "{{x.y}}"),
        (
            with(
                "actions",
                json!([{"type": "create_activity", "activity_type": "note"}, {"type": "move_deal_stage", "stage": "won2"}]),
            ),
            422,
            "actions[1].stage: no such stage \"won2\"; there are lead, qualified, proposal, won, lost.",
        ),
        (
            with("actions", json!([{"type": "move_deal_stage", "stage": "won", "pipeline": "renewals"}])),
            422,
            "actions[0].pipeline: no such pipeline",
        ),
        (with("colour", json!("red")), 400, "colour"),
    ] {
        let code = if status == 400 { "invalid_request" } else { "validation_failed" };
        agent.post("/v1/automations", body).await.fault(status, code).says(said);
    }
    let (owner, live) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    let id = rule(&live, "*", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    viewer.get(&format!("/v1/automations/{id}")).await.status(200);
    viewer.post("/v1/automations", with("enabled", json!(true))).await.fault(403, "forbidden");
    viewer.delete(&format!("/v1/automations/{id}")).await.fault(403, "forbidden");
    agent.get(&format!("/v1/automations/{id}")).await.fault(404, "not_found");
}

#[tokio::test]
async fn an_inbound_email_moves_its_deal() {
    let agent = relm().await;
    let id = rule(
        &agent,
        "activity.created",
        json!([{"field": "type", "op": "eq", "value": "email"}]),
        json!([{"type": "move_deal_stage", "stage": "replied"}]),
    )
    .await;
    let deal = create(&agent, "/v1/deals", json!({"title": "T"})).await;
    create(&agent, "/v1/activities", json!({"type": "note", "deal_id": deal})).await;
    let skipped = runs(&agent, &id, 1).await.remove(0);
    assert_eq!((&skipped["status"], &skipped["object"]), (&json!("skipped"), &json!("automation_run")));
    create(&agent, "/v1/activities", json!({"type": "email", "deal_id": deal})).await;
    let too_early = runs(&agent, &id, 2).await.remove(0);
    assert_eq!(too_early["status"], "error");
    assert!(too_early["actions"][0]["error"].to_string().contains("replied"), "{too_early}");
    agent.post("/v1/pipeline/stages", json!({"key": "replied", "label": "Replied"})).await.status(201);
    create(&agent, "/v1/activities", json!({"type": "email", "deal_id": deal})).await;
    let run = runs(&agent, &id, 3).await.remove(0);
    assert_eq!(
        (&run["status"], &run["event_type"], &run["depth"]),
        (&json!("success"), &json!("activity.created"), &json!(0))
    );
    assert_eq!(run["actions"], json!([{"type": "move_deal_stage", "status": "success", "id": deal}]));
    assert!(run["id"].as_str().is_some_and(|id| id.starts_with("run_")), "{run}");
    assert_eq!(agent.get(&format!("/v1/deals/{deal}")).await.status(200).json()["stage"], "replied");
    // The feed names the automation and its run.
    let feed = agent.get("/v1/activity?subject_type=deal&verb=updated").await.status(200).json();
    let entry = &feed["data"][0];
    assert_eq!(entry["actor"], json!(format!("automation:{id}")));
    let custom = if entry["metadata"].is_null() { &entry["custom"] } else { &entry["metadata"] };
    assert_eq!((&custom["run_id"], &custom["request_id"]), (&run["id"], &run["request_id"]));
}

#[tokio::test]
async fn activities_and_metadata_are_written_with_the_context() {
    let agent = relm().await;
    let company = create(&agent, "/v1/companies", json!({"name": "Acme"})).await;
    let contact = create(&agent, "/v1/contacts", json!({"email": "a@b.example", "company_id": company})).await;
    let id = rule(
        &agent,
        "deal.stage_changed",
        json!([{"field": "new_stage", "op": "in", "value": ["won"]}, {"field": "previous.stage", "op": "exists"}]),
        json!([
            {"type": "create_activity", "activity_type": "task", "subject": "Send the contract"},
            {"type": "set_metadata", "key": "celebrate", "value": true},
            {"type": "set_metadata", "target": "company", "key": "tier", "value": "gold"},
        ]),
    )
    .await;
    let body = json!({"title": "T", "primary_contact_id": contact, "company_id": company, "metadata": {"kept": 1}});
    let deal = create(&agent, "/v1/deals", body).await;
    agent.patch(&format!("/v1/deals/{deal}"), json!({"stage": "won"})).await.status(200);
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!((&run["status"], run["actions"].as_array().map(Vec::len)), (&json!("success"), Some(3)));
    let activity = agent.get("/v1/activities").await.status(200).json()["data"][0].clone();
    assert_eq!((&activity["type"], &activity["subject"]), (&json!("task"), &json!("Send the contract")));
    assert_eq!(
        (&activity["deal_id"], &activity["contact_id"], &activity["company_id"]),
        (&json!(deal), &json!(contact), &json!(company))
    );
    let deal = agent.get(&format!("/v1/deals/{deal}")).await.status(200).json();
    assert_eq!(deal["metadata"], json!({"kept": 1, "celebrate": true}));
    assert_eq!(
        agent.get(&format!("/v1/companies/{company}")).await.status(200).json()["metadata"],
        json!({"tier": "gold"})
    );
}

#[tokio::test]
async fn automations_fire_each_other_twice_and_no_more() {
    let agent = agent().await;
    // Each note leads to another note.
    let id = rule(&agent, "activity.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}]))
        .await;
    let automation = id.clone();
    create(&agent, "/v1/activities", json!({"type": "call"})).await;
    let found = runs(&agent, &id, 2).await;
    assert_eq!([&found[0]["depth"], &found[1]["depth"]], [&json!(1), &json!(0)]);
    assert_eq!(found[0]["caused_by"], found[1]["id"]);
    // The same runs are among the workspace's, with the same causes.
    for run in &found {
        let id = run["id"].as_str().expect("an id");
        let same = agent.get(&format!("/v1/runs/{id}")).await.status(200);
        assert_eq!(same.at("/data/caused_by"), run["caused_by"]);
        assert_eq!(same.text("/data/status"), "complete");
        assert_eq!(
            (same.text("/data/id"), same.text("/data/actor")),
            (id.to_owned(), format!("automation:{}", run["automation_id"].as_str().unwrap_or(&automation)))
        );
    }
    let fired = found[1]["caused_by"].as_str().expect("a request");
    assert!(fired.starts_with("req_"), "{fired}");
    let listed = agent.get(&format!("/v1/runs?actor=automation:{automation}")).await.status(200);
    assert_eq!(listed.column("id"), [found[0]["id"].clone(), found[1]["id"].clone()]);
    assert!(
        agent
            .get("/v1/activity")
            .await
            .data()
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["custom"].get("caused_by").is_none())
    );
    // A later event of a person shows that nothing else was queued: runs of a rule keep their order.
    create(&agent, "/v1/activities", json!({"type": "meeting"})).await;
    let found = runs(&agent, &id, 4).await;
    let depths: Vec<&Value> = found.iter().map(|run| &run["depth"]).collect();
    assert_eq!(depths, [&json!(1), &json!(0), &json!(1), &json!(0)]);
    let count = agent.sql("select count(*)::int as v from activities").await.status(200).v();
    assert_eq!(count, json!(6));
}

#[tokio::test]
async fn what_a_deleted_automation_has_written_fires_nothing() {
    let agent = agent().await;
    let note = json!([{"type": "create_activity", "activity_type": "note"}]);
    let gone = rule(&agent, "contact.created", json!([]), note).await;
    let seen = json!([{"type": "set_metadata", "key": "seen", "value": true}]);
    let kept = rule(&agent, "activity.created", json!([]), seen).await;
    let contact = create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    assert_eq!(runs(&agent, &kept, 1).await[0]["depth"], json!(1));
    agent.delete(&format!("/v1/automations/{gone}")).await.status(200);
    // As if the note had not been published before the automation was deleted.
    home().control("DELETE FROM automation_runs WHERE automation_id = $1", &[&kept]).await;
    let place = home().place(&agent.workspace_id).await;
    let mut admin = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    let again = format!("UPDATE kith.change SET position = NULL WHERE actor = 'automation:{gone}'");
    admin.script(&again).await.expect("an unpublished change");
    let call = agent.post("/v1/activities", json!({"type": "call", "contact_id": contact})).await.status(201);
    let mut found = runs(&agent, &kept, 1).await;
    while !found.iter().any(|run| run["caused_by"] == call.at("/_meta/request_id")) {
        let count = found.len() + 1;
        found = runs(&agent, &kept, count).await;
    }
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn a_failed_run_says_why_and_ten_in_a_row_switch_the_rule_off() {
    let (owner, live) = owned().await;
    let email = owner.get("/v1/auth/me").await.status(200).text("/data/user/email");
    let id = rule(&live, "contact.created", json!([]), json!([{"type": "move_deal_stage", "stage": "won"}])).await;
    for n in 0..10 {
        create(&live, "/v1/contacts", json!({"email": format!("{n}@b.example")})).await;
    }
    let found = runs(&live, &id, 10).await;
    assert!(found.iter().all(|run| run["status"] == "error"), "{found:?}");
    assert_eq!(found[0]["error"], "actions[0]: The event is about no deal.");
    let path = format!("/v1/automations/{id}");
    let off = live.get(&path).await.status(200).data();
    assert_eq!((&off["enabled"], &off["disabled_reason"]), (&json!(false), &json!("Ten runs in a row have failed.")));
    let mails = mailbox().wait(&email, 2).await;
    let mail = mails.iter().find(|mail| mail.text.contains("switched off")).expect("an e-mail about it");
    assert_eq!(mail.link(), format!("{}/automations/{id}", live.base));
    let on = live.patch(&path, json!({"enabled": true})).await.status(200).data();
    assert_eq!((&on["enabled"], &on["disabled_reason"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_run_that_is_repeated_after_a_crash_does_nothing_twice() {
    let agent = agent().await;
    let id =
        rule(&agent, "contact.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    let first = runs(&agent, &id, 1).await.remove(0);
    // The crash came after the work and before its outcome was recorded.
    let again = "UPDATE automation_runs SET status = 'pending', next_attempt_at = now(), actions = '[]' WHERE automation_id = $1";
    home().control(again, &[&id]).await;
    home().kith.app.wakes.runs.notify_one();
    let second = runs(&agent, &id, 1).await.remove(0);
    assert_eq!((&second["status"], &second["actions"]), (&json!("success"), &first["actions"]));
    assert_eq!(agent.sql("select count(*)::int as v from activities").await.status(200).v(), json!(1));
}

#[tokio::test]
async fn a_rule_acts_in_its_own_mode_and_only_while_it_is_enabled() {
    let (owner, live) = owned().await;
    let path = format!("/v1/keys?ws={}", owner.workspace_id);
    let key = owner.post(&path, json!({"mode": "test"})).await.status(201).text("/data/api_key");
    let test = live.clone().with_key(key, live.workspace_id.clone());
    let actions = json!([{"type": "set_metadata", "key": "seen", "value": true}]);
    let id = rule(&test, "contact.created", json!([]), actions).await;
    live.get(&format!("/v1/automations/{id}")).await.fault(404, "not_found");
    let in_live = create(&live, "/v1/contacts", json!({"email": "a@b.example"})).await;
    let in_test = create(&test, "/v1/contacts", json!({"email": "a@b.example"})).await;
    runs(&test, &id, 1).await;
    assert_eq!(
        test.get(&format!("/v1/contacts/{in_test}")).await.status(200).json()["metadata"],
        json!({"seen": true})
    );
    assert_eq!(live.get(&format!("/v1/contacts/{in_live}")).await.status(200).data()["custom"], json!({}));
    test.patch(&format!("/v1/automations/{id}"), json!({"enabled": false})).await.status(200);
    let other =
        rule(&test, "contact.created", json!([]), json!([{"type": "set_metadata", "key": "later", "value": 1}])).await;
    create(&test, "/v1/contacts", json!({"email": "b@b.example"})).await;
    runs(&test, &other, 1).await;
    assert_eq!(runs(&test, &id, 1).await.len(), 1);
}

#[tokio::test]
async fn a_workspace_with_slow_triggers_delays_no_other_one() {
    let (slow, other) = (relm().await, relm().await);
    slow.sql(
        "create function rests() returns trigger language plpgsql as 'begin perform pg_sleep(28); return new; end';
         create trigger rests before insert on activities for each row execute function rests()",
    )
    .await
    .status(200);
    let note = || json!([{"type": "create_activity", "activity_type": "note"}]);
    let mut rests = Vec::new();
    for _ in 0..3 {
        rests.push(rule(&slow, "contact.created", json!([]), note()).await);
    }
    let quick = rule(&other, "contact.created", json!([]), note()).await;
    create(&slow, "/v1/contacts", json!({"email": "a@slow.example"})).await;
    // Its runs have begun, or are before the other workspace's.
    create(&other, "/v1/contacts", json!({"email": "a@other.example"})).await;
    assert_eq!(runs(&other, &quick, 1).await[0]["status"], "success");
    let ended = ended_runs(&slow, &rests).await;
    assert!(ended < 3, "the other workspace waited for all of them");
}

#[tokio::test]
async fn workspaces_with_slow_triggers_leave_places_for_another() {
    let note = || json!([{"type": "create_activity", "activity_type": "note"}]);
    let mut crowd = Vec::new();
    // Each of them may make two runs at once. Together they want all places of the process.
    for _ in 0..8 {
        let slow = relm().await;
        slow.sql(
            "create function rests() returns trigger language plpgsql as 'begin perform pg_sleep(28); return new; end';
             create trigger rests before insert on activities for each row execute function rests()",
        )
        .await
        .status(200);
        let rests = [
            rule(&slow, "contact.created", json!([]), note()).await,
            rule(&slow, "contact.created", json!([]), note()).await,
        ];
        create(&slow, "/v1/contacts", json!({"email": "a@slow.example"})).await;
        crowd.push((slow, rests));
    }
    let other = relm().await;
    let quick = rule(&other, "contact.created", json!([]), note()).await;
    create(&other, "/v1/contacts", json!({"email": "a@other.example"})).await;
    assert_eq!(runs(&other, &quick, 1).await[0]["status"], "success");
    let (slow, rests) = &crowd[7];
    assert_eq!(ended_runs(slow, rests).await, 0, "the other workspace waited for one of them");
}

/// How many runs of these automations have ended.
async fn ended_runs(agent: &Agent, ids: &[String]) -> usize {
    let mut count = 0;
    for id in ids {
        count += runs(agent, id, 0).await.len();
    }
    count
}

#[tokio::test]
async fn a_test_says_what_a_rule_would_do_and_keeps_nothing() {
    let (relm, agentcrm) = both().await;
    let made = create(&relm, "/v1/deals", json!({"title": "T", "value_cents": 5})).await;
    let id = rule(
        &relm,
        "deal.stage_changed",
        json!([{"field": "new_stage", "op": "eq", "value": "won"}, {"field": "value_cents", "op": "exists"}]),
        json!([{"type": "create_activity", "activity_type": "task", "subject": "Send it"}, {"type": "set_metadata", "key": "done", "value": true}]),
    )
    .await;
    let path = format!("/v1/automations/{id}/test");
    for agent in [&relm, &agentcrm] {
        // The event is in the words of its caller; the rule sees it in its own.
        let mut deal = record(&agent.get(&format!("/v1/deals/{made}")).await.status(200));
        deal["new_stage"] = json!("won");
        let event = json!({"type": "deal.stage_changed", "data": deal});
        let said = record(&agent.post(&path, json!({"event": event})).await.status(200));
        assert_eq!(
            (&said["status"], &said["fires"], &said["error"]),
            (&json!("success"), &json!(true), &Value::Null),
            "{said}"
        );
        assert_eq!(
            said["conditions"][0],
            json!({"field": "new_stage", "op": "eq", "value": "won", "found": "won", "holds": true})
        );
        assert_eq!(said["conditions"][1]["found"], json!(5));
        assert_eq!(said["actions"][0]["affected"]["activities"]["created"], 1, "{said}");
        assert_eq!(said["actions"][1]["changes"][0]["id"], event["data"]["id"]);
        assert_eq!(agent.get("/v1/activities").await.status(200).json()["data"], json!([]));

        let skipped = json!({"event": {"type": "deal.stage_changed", "data": {"new_stage": "lost"}}});
        let said = record(&agent.post(&path, skipped).await.status(200));
        assert_eq!((&said["status"], &said["actions"]), (&json!("skipped"), &json!([])));
        let said = record(&agent.post(&path, json!({"event": {"type": "contact.created"}})).await.status(200));
        assert_eq!((&said["status"], &said["fires"]), (&json!("skipped"), &json!(false)));
        for body in [
            json!({}),
            json!({"event": "x"}),
            json!({"event": {"data": {}}}),
            json!({"event": {"type": "deals.updated"}}),
        ] {
            agent.post(&path, body).await.fault(422, "validation_failed");
        }
        agent.post(&path, json!({"events": {}})).await.fault(400, "invalid_request");
        assert_eq!(agent.get(&format!("/v1/automations/{id}/runs")).await.status(200).json()["data"], json!([]));
    }
    // An action that would fail says why.
    let broken = rule(&relm, "contact.created", json!([]), json!([{"type": "move_deal_stage", "stage": "won"}])).await;
    let contact = json!({"event": {"type": "contact.created", "data": {}}});
    let said = record(&relm.post(&format!("/v1/automations/{broken}/test"), contact).await.status(200));
    assert_eq!(said["status"], "error");
    assert!(said["error"].as_str().is_some_and(|it| it.starts_with("actions[0]: ")), "{said}");
    relm.post("/v1/automations/auto_01m8j8s1e4ctf0qbkv1eg5rwfv/test", json!({"event": {"type": "deal.updated"}}))
        .await
        .fault(404, "not_found");
}

/// `depth` objects in one another.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({"a": inner}))
}

#[tokio::test]
async fn an_event_that_cannot_be_read_fails_its_run_and_no_worker() {
    let agent = relm().await;
    let id =
        rule(&agent, "contact.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example", "metadata": nested(126)})).await;
    assert_eq!(runs(&agent, &id, 1).await[0]["status"], "success", "an event leaves out what is nested too deep");
    // PostgreSQL holds what no parser reads.
    let spoil = "UPDATE automation_runs SET status = 'pending', next_attempt_at = now(), event = (repeat('[', 200) || repeat(']', 200))::jsonb
                  WHERE automation_id = $1";
    home().control(spoil, &[&id]).await;
    home().kith.app.wakes.runs.notify_one();
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!(run["status"], "error", "{run}");
    let why = run["error"].as_str().expect("words");
    assert!(why.starts_with("The event can't be read: "), "{why}");
}

#[tokio::test]
async fn a_run_that_never_ends_is_given_up() {
    let agent = agent().await;
    let id =
        rule(&agent, "contact.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    runs(&agent, &id, 1).await;
    // As if ten processes had ended in the middle of it.
    let again = "UPDATE automation_runs SET status = 'pending', next_attempt_at = now(), attempts = 10 WHERE automation_id = $1";
    home().control(again, &[&id]).await;
    home().kith.app.wakes.runs.notify_one();
    let run = runs(&agent, &id, 1).await.remove(0);
    assert_eq!(run["status"], "error");
    assert_eq!(run["error"], "It was begun 10 times, and no attempt came to an end.");
}

/// Reads a number from the control database until it is this one.
async fn until_control_says(sql: &'static str, id: &str, wanted: i64) {
    let start = std::time::Instant::now();
    loop {
        let id = id.to_owned();
        let said = home().run(async move {
            let rows = home().kith.app.store.control.query(sql, &[Some(&id)]).await.expect("an answer");
            rows.only().expect("a row").get::<i64>("count").expect("a number")
        });
        let said = said.await;
        if said == wanted {
            return;
        }
        assert!(start.elapsed().as_secs() < 60, "{said} is not {wanted}: {sql}");
    }
}

#[tokio::test]
async fn an_action_that_another_attempt_is_at_is_tried_again() {
    let agent = agent().await;
    let id =
        rule(&agent, "contact.created", json!([]), json!([{"type": "create_activity", "activity_type": "note"}])).await;
    let mut session = psql(&agent).await;
    let mut open = session.begin(Begin::ReadWrite(&[])).await.expect("a transaction");
    open.prepare("LOCK TABLE activities IN SHARE MODE", &TypeCache::default()).await.expect("a statement");
    open.discard().await.expect("a lock");
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    let taken =
        "SELECT count(*) FROM automation_runs WHERE automation_id = $1 AND attempts = 1 AND taken_by IS NOT NULL";
    until_control_says(taken, &id, 1).await;
    // The first attempt holds the key of its action in a session that waits.
    let place = home().place(&agent.workspace_id).await;
    let mut observer = home().kith.app.store.cells.administer(place.cell, &place.database).await.expect("a session");
    let waiting = "SELECT FROM pg_locks WHERE relation = 'public.activities'::regclass AND NOT granted";
    while observer.query(waiting, &[]).await.expect("locks").is_empty() {}
    // Its lease ends.
    let due = "UPDATE automation_runs SET next_attempt_at = now() WHERE automation_id = $1";
    home().control(due, &[&id]).await;
    home().kith.app.wakes.runs.notify_one();
    let later = "SELECT count(*) FROM automation_runs WHERE automation_id = $1 AND attempts = 2 AND taken_by IS NULL";
    until_control_says(later, &id, 1).await;
    open.rollback().await.expect("an end of the lock");
    until_rows(&agent, "activities", 1).await;
    home().control(due, &[&id]).await;
    home().kith.app.wakes.runs.notify_one();
    assert_eq!(runs(&agent, &id, 1).await[0]["status"], "success");
    until_rows(&agent, "activities", 1).await;
}

/// Waits until a table has this many rows.
async fn until_rows(agent: &Agent, table: &str, wanted: i64) {
    let start = std::time::Instant::now();
    let sql = format!("select count(*)::int as v from {table}");
    loop {
        let said = agent.sql(&sql).await.status(200).v();
        if said == json!(wanted) {
            return;
        }
        assert!(start.elapsed().as_secs() < 60, "{table}: {said}");
    }
}

#[tokio::test]
async fn runs_that_wait_for_a_rule_that_is_switched_off_are_skipped() {
    let agent = agent().await;
    let note = || json!([{"type": "create_activity", "activity_type": "note"}]);
    let (first, second) = (
        rule(&agent, "contact.created", json!([]), note()).await,
        rule(&agent, "contact.created", json!([]), note()).await,
    );
    create(&agent, "/v1/contacts", json!({"email": "a@b.example"})).await;
    runs(&agent, &first, 1).await;
    runs(&agent, &second, 1).await;
    // The runs wait for a time that does not come in this test.
    let wait = "UPDATE automation_runs SET status = 'pending', next_attempt_at = now() + interval '1 hour' WHERE automation_id = $1";
    home().control(wait, &[&first]).await;
    home().control(wait, &[&second]).await;
    assert_eq!(ended_runs(&agent, &[first.clone(), second.clone()]).await, 0);
    agent.patch(&format!("/v1/automations/{first}"), json!({"enabled": false})).await.status(200);
    let run = runs(&agent, &first, 1).await.remove(0);
    assert_eq!(
        (&run["status"], &run["error"]),
        (&json!("skipped"), &json!("The automation was switched off before this run."))
    );
    assert_eq!(ended_runs(&agent, std::slice::from_ref(&second)).await, 0, "the other rule's run still waits");
    // A run that was being made is left to its end. If its process has ended, the sweep finds it.
    let taken = "UPDATE automation_runs SET taken_by = 'try_of_nobody' WHERE automation_id = $1";
    home().control(taken, &[&second]).await;
    agent.patch(&format!("/v1/automations/{second}"), json!({"enabled": false})).await.status(200);
    let sweep = async || {
        let now = kith::clock::iso(Clock::System.unix_seconds());
        let ended = home().run(async move { home().kith.app.store.control.end_stopped_runs(&now).await });
        ended.await.expect("a sweep");
    };
    sweep().await;
    assert_eq!(ended_runs(&agent, std::slice::from_ref(&second)).await, 0);
    let lease_ended = "UPDATE automation_runs SET next_attempt_at = now() - interval '1 minute' WHERE automation_id = $1 AND status = 'pending'";
    home().control(lease_ended, &[&second]).await;
    sweep().await;
    assert_eq!(runs(&agent, &second, 1).await[0]["status"], "skipped");
}

#[tokio::test]
async fn runs_behind_ten_failed_ones_are_skipped() {
    let agent = agent().await;
    let id = rule(&agent, "contact.created", json!([]), json!([{"type": "move_deal_stage", "stage": "won"}])).await;
    let rows: Vec<String> = (0..12).map(|n| format!("('{n}@b.example')")).collect();
    agent.sql(&format!("insert into contacts (email) values {}", rows.join(", "))).await.status(200);
    let found = runs(&agent, &id, 12).await;
    let count = |status: &str| found.iter().filter(|run| run["status"] == status).count();
    assert_eq!((count("error"), count("skipped")), (10, 2), "{found:?}");
}

#[tokio::test]
async fn a_condition_may_name_a_record_in_either_dialect() {
    let (relm, agentcrm) = both().await;
    let company = create(&agentcrm, "/v1/companies", json!({"name": "A"})).await;
    let of_relm = format!("cmp{}", company.strip_prefix("co").expect("an id"));
    let note = json!([{"type": "create_activity", "activity_type": "note", "subject": "S"}]);
    let mut rules = Vec::new();
    for agent in [&relm, &agentcrm] {
        for id in [&company, &of_relm] {
            for (op, value) in [("eq", json!(id)), ("in", json!(["x", id])), ("contains", json!(id))] {
                let conditions = json!([{"field": "company_id", "op": op, "value": value}]);
                rules.push((agent, rule(agent, "contact.created", conditions, note.clone()).await));
            }
        }
    }
    create(&agentcrm, "/v1/contacts", json!({"email": "a@b.example", "company_id": company})).await;
    for (agent, id) in rules {
        assert_eq!(runs(agent, &id, 1).await[0]["status"], "success");
    }
}
