//! E-mail that is received: raw messages, what is recorded of them, and what follows.

mod corpus;
mod mailboxes;
mod webhook;

use reqwest::Method;
use serde_json::{Value, json};

use crate::belongings::{joined, owned};
use crate::support::{Agent, Reply, both, stranger};

/// The record in an answer of either dialect.
fn record(reply: &Reply) -> Value {
    let json = reply.json();
    if json.get("object").is_some() { json } else { json["data"].clone() }
}

/// A Relm client and an agentCRM client, each with a workspace of its own.
async fn apart() -> [Agent; 2] {
    [both().await.0, both().await.1]
}

async fn raw(agent: &Agent, headers: &[(&str, &str)], message: impl Into<Vec<u8>>) -> Reply {
    let headers = [&[("content-type", "message/rfc822")], headers].concat();
    agent.send(Method::POST, "/v1/emails", &headers, message).await
}

async fn receive(agent: &Agent, message: &str) -> Value {
    record(&raw(agent, &[], message.replace('\n', "\r\n")).await.status(201))
}

/// A message from Sarah with these further fields.
fn hello(id: &str, subject: &str, more: &str) -> String {
    format!(
        "From: Sarah Connor <sarah@acme.example>\nTo: help@shop.example\nSubject: {subject}\nMessage-ID: <{id}@acme.example>\n\
         Date: Tue, 14 Nov 2023 22:13:20 +0000\n{more}\nHello, how are you?\n"
    )
}

async fn create(agent: &Agent, path: &str, body: Value) -> String {
    record(&agent.post(path, body).await.status(201))["id"].as_str().expect("an id").to_owned()
}

async fn count(agent: &Agent, path: &str) -> usize {
    agent.get(path).await.status(200).json()["data"].as_array().expect("a page").len()
}

/// A deal of a contact, in the names of the agent's dialect.
async fn deal(agent: &Agent, name: &str, contact: &str, stage: &str) -> String {
    let (title, person) =
        if agent.key.starts_with("sk_") { ("title", "primary_contact_id") } else { ("name", "contact_id") };
    create(agent, "/v1/deals", json!({title: name, person: contact, "stage": stage})).await
}

fn custom(agent: &Agent) -> &'static str {
    if agent.key.starts_with("sk_") { "metadata" } else { "custom" }
}

#[tokio::test]
async fn a_raw_message_is_recorded_attached_and_logged() {
    for agent in &apart().await {
        let company = create(agent, "/v1/companies", json!({"name": "Acme", "domain": "acme.example"})).await;
        let contact =
            create(agent, "/v1/contacts", json!({"email": "Sarah@acme.example", "company_id": company})).await;
        let deal = deal(agent, "Big", &contact, "proposal").await;
        let message = hello(
            "1",
            "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
            "Cc: bob@b.example\nReply-To: s@acme.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n",
        ) + "--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n";
        let email = receive(agent, &message).await;
        for (name, value) in [
            ("direction", json!("inbound")),
            ("provider", json!("rfc822")),
            ("provider_msg_id", json!("<1@acme.example>")),
            ("thread_id", json!("<1@acme.example>")),
            ("from_addr", json!("sarah@acme.example")),
            ("to_addrs", json!(["help@shop.example"])),
            ("cc_addrs", json!(["bob@b.example"])),
            ("subject", json!("Grüße")),
            ("snippet", json!("Hello, how are you?")),
            ("status", Value::Null),
            ("contact_ids", json!([contact])),
            ("company_ids", json!([company])),
            ("deal_ids", json!([deal])),
        ] {
            assert_eq!(email[name], value, "{name}: {email}");
        }
        assert!(email["sent_at"].as_str().unwrap().starts_with("2023-11-14T22:13:20"), "{email}");
        assert!(email["received_at"].as_str().unwrap().starts_with("2023-11-14T22:13:20"), "{email}");
        assert_eq!(
            email[custom(agent)],
            json!({"from_name": "Sarah Connor", "reply_to": ["s@acme.example"],
                "attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "bytes": 3}]})
        );
        let listed = agent.get("/v1/activities").await.status(200).json()["data"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        for (name, value) in [
            ("type", json!("email")),
            ("subject", json!("Grüße")),
            ("body", json!("Hello, how are you?")),
            ("contact_id", json!(contact)),
            ("company_id", json!(company)),
            ("deal_id", json!(deal)),
            ("occurred_at", email["received_at"].clone()),
            (custom(agent), json!({"email_id": email["id"], "direction": "inbound"})),
        ] {
            assert_eq!(listed[0][name], value, "{name}: {listed}");
        }
        // The same message is the same e-mail, in one piece or with another trace.
        let again = raw(agent, &[], format!("Received: from x\r\n{}", message.replace('\n', "\r\n"))).await.status(200);
        assert_eq!(record(&again)["id"], email["id"]);
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (1, 1));
        // Nobody becomes a contact by writing.
        receive(agent, &hello("2", "Other", "").replace("sarah@", "stranger@")).await;
        assert_eq!((count(agent, "/v1/contacts").await, count(agent, "/v1/companies").await), (1, 1));
        // A deleted one is recorded again if somebody asks for it.
        agent.delete(&format!("/v1/emails/{}", email["id"].as_str().unwrap())).await.status(200);
        assert_ne!(receive(agent, &message).await["id"], email["id"]);
    }
}

#[tokio::test]
async fn the_recipe_moves_the_deal_when_an_answer_comes() {
    for agent in &apart().await {
        let contact = create(agent, "/v1/contacts", json!({"email": "sarah@acme.example"})).await;
        deal(agent, "Lost before", &contact, "lost").await;
        let id = deal(agent, "Big", &contact, "proposal").await;
        deal(agent, "Won since", &contact, "won").await;
        let rule = json!({
            "name": "Move to Replied on inbound email", "trigger_event": "activity.created", "enabled": true,
            "conditions": [{"field": "type", "op": "eq", "value": "email"}],
            "actions": [{"type": "move_deal_stage", "stage": "replied"}],
        });
        agent.post("/v1/pipeline/stages", json!({"key": "replied", "label": "Replied"})).await.status(201);
        let rule = create(agent, "/v1/automations", rule).await;
        receive(agent, &hello("1", "Re: Your offer", "")).await;
        let start = std::time::Instant::now();
        loop {
            let runs = agent.get(&format!("/v1/automations/{rule}/runs")).await.status(200).json()["data"].clone();
            if runs[0]["status"] == "success" {
                break;
            }
            assert!(runs[0].is_null() || runs[0]["status"] == "pending", "{runs}");
            assert!(start.elapsed().as_secs() < 60, "no run came: {runs}");
        }
        let stage = record(&agent.get(&format!("/v1/deals/{id}")).await.status(200))["stage"].clone();
        assert_eq!(stage, "replied");
        let title = if agent.key.starts_with("sk_") { "title" } else { "name" };
        let others = agent.get("/v1/deals").await.status(200).json()["data"].clone();
        for deal in others.as_array().unwrap().iter().filter(|it| it["id"] != json!(id)) {
            assert_ne!(deal["stage"], "replied", "{}", deal[title]);
        }
    }
}

#[tokio::test]
async fn answers_join_the_conversation() {
    for agent in &apart().await {
        let thread = async |message: String| receive(agent, &message).await["thread_id"].as_str().unwrap().to_owned();
        let first = thread(hello("1", "Offer", "")).await;
        assert_eq!(first, "<1@acme.example>");
        // By References and by In-Reply-To, whatever the subject says, and from the end to the beginning.
        assert_eq!(thread(hello("2", "Something else", "References: <1@acme.example>\n")).await, first);
        assert_eq!(thread(hello("3", "Third", "In-Reply-To: <2@acme.example>\n")).await, first);
        // By a message that is not there, which then comes.
        assert_eq!(thread(hello("6", "Six", "References: <5@acme.example> <unknown@x>\n")).await, "<5@acme.example>");
        assert_eq!(thread(hello("5", "Five", "")).await, "<5@acme.example>");
        // By the subject and somebody who takes part, within 30 days.
        assert_eq!(thread(hello("7", "RE: [EXTERNAL] AW:  offer", "")).await, first);
        assert_eq!(thread(hello("8", "Fwd: Offer", "References: <unknown@y>\n")).await, first);
        let later = |id: &str, date: &str| hello(id, "Re: Offer", "").replace("Tue, 14 Nov", date);
        assert_eq!(thread(later("9", "Thu, 14 Dec")).await, first);
        assert_eq!(
            thread(hello("10", "Re: Offer", "").replace("Tue, 14 Nov 2023", "Tue, 14 Jan 2025")).await,
            "<10@acme.example>"
        );
        let stranger = hello("11", "Offer", "").replace("sarah@acme", "other@acme").replace("help@shop", "sales@shop");
        assert_eq!(thread(stranger).await, "<11@acme.example>");
        assert_eq!(thread(hello("12", "Re:", "")).await, "<12@acme.example>");
        assert_eq!(thread(hello("13", "Fwd:", "")).await, "<13@acme.example>");
        // A record without a conversation begins one.
        let noted =
            json!({"from_addr": "sarah@acme.example", "provider": "imap", "provider_msg_id": "<n@acme.example>"});
        let id = create(agent, "/v1/emails", noted).await;
        assert_eq!(thread(hello("14", "N", "In-Reply-To: <n@acme.example>\n")).await, "<n@acme.example>");
        assert_eq!(record(&agent.get(&format!("/v1/emails/{id}")).await)["thread_id"], "<n@acme.example>");
    }
}

#[tokio::test]
async fn what_the_workspace_itself_has_sent_is_outbound_and_no_activity() {
    let (owner, live) = owned().await;
    let address = owner.get("/v1/auth/me").await.status(200).text("/data/user/email");
    let contact = create(&live, "/v1/contacts", json!({"email": "sarah@acme.example"})).await;
    let deal = deal(&live, "Big", &contact, "proposal").await;
    assert_eq!(receive(&live, &hello("1", "Offer", "")).await["deal_ids"], json!([deal]));
    let mine = hello("2", "Re: Offer", "")
        .replace("sarah@acme.example", &address.to_uppercase())
        .replace("help@shop.example", "sarah@acme.example");
    let sent = receive(&live, &mine).await;
    assert_eq!((&sent["direction"], &sent["received_at"]), (&json!("outbound"), &Value::Null), "{sent}");
    assert!(sent["sent_at"].as_str().unwrap().starts_with("2023-11-14"), "{sent}");
    assert_eq!((&sent["thread_id"], &sent["deal_ids"]), (&json!("<1@acme.example>"), &json!([deal])));
    assert_eq!(count(&live, "/v1/activities").await, 1);
    let put = json!({"api_key": format!("re_{}", live.workspace_id), "from_email": "Shop <Shop@shop.example>"});
    live.send_json(Method::PUT, "/v1/integrations/email", put.to_string()).await.status(200);
    let shop = receive(&live, &hello("3", "News", "").replace("sarah@acme.example", "shop@shop.example")).await;
    assert_eq!(shop["direction"], "outbound");
    // The message that Kith has sent comes back from the mailbox of sent mail.
    let put = json!({"provider": "smtp", "provider_msg_id": "<e_1@shop.example>", "from_addr": "shop@shop.example", "direction": "outbound"});
    let known = create(&live, "/v1/emails", put).await;
    let copy = hello("x", "Sent", "").replace("<x@acme.example>", "<e_1@shop.example>");
    assert_eq!(record(&raw(&live, &[], copy).await.status(200))["id"], json!(known));
}

#[tokio::test]
async fn the_deal_is_that_of_the_conversation_else_the_open_one() {
    for agent in &apart().await {
        let company = create(agent, "/v1/companies", json!({"name": "Acme", "domain": "acme.example"})).await;
        let title = if agent.key.starts_with("sk_") { "title" } else { "name" };
        let one = create(agent, "/v1/deals", json!({title: "One", "company_id": company, "stage": "lead"})).await;
        // The company's only open deal.
        assert_eq!(receive(agent, &hello("1", "A", "")).await["deal_ids"], json!([one]));
        let two = create(agent, "/v1/deals", json!({title: "Two", "company_id": company, "stage": "lead"})).await;
        assert_eq!(receive(agent, &hello("2", "B", "")).await["deal_ids"], json!([]));
        assert_eq!(receive(agent, &hello("3", "C", "References: <1@acme.example>\n")).await["deal_ids"], json!([one]));
        // A deal that is won stays the conversation's, and no action moves it.
        agent.patch(&format!("/v1/deals/{one}"), json!({"stage": "won"})).await.status(200);
        let answer = receive(agent, &hello("4", "D", "References: <1@acme.example>\n")).await;
        assert_eq!(answer["deal_ids"], json!([one, two]));
        let newest = agent.get("/v1/activities?limit=1").await.status(200).json()["data"][0].clone();
        assert_eq!(newest["deal_id"], json!(two), "{newest}");
        let contact = create(agent, "/v1/contacts", json!({"email": "sarah@acme.example"})).await;
        let own = deal(agent, "Own", &contact, "lead").await;
        assert_eq!(receive(agent, &hello("5", "E", "")).await["deal_ids"], json!([own]));
    }
}

#[tokio::test]
async fn a_message_passes_the_hall_like_every_ask() {
    for agent in &apart().await {
        let message = hello("1", "Offer", "");
        // Keys.
        let key = [("idempotency-key", "k"), ("x-run-id", "inbox"), ("x-agent", "reader")];
        let first = raw(agent, &key, message.clone()).await.status(201);
        let again = raw(agent, &key, message.clone()).await.status(201);
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(record(&again), record(&first));
        raw(agent, &key, hello("2", "Other", "")).await.fault(409, "idempotency_conflict");
        // Provenance, and the run.
        let id = record(&first)["id"].as_str().unwrap().to_owned();
        let entry = agent.get(&format!("/v1/activity?subject_id={id}")).await.status(200).json()["data"][0].clone();
        assert_eq!(entry[custom(agent)]["agent"], "reader", "{entry}");
        let run = record(&agent.get("/v1/runs/inbox").await.status(200));
        assert_eq!(run["affected"]["emails"]["created"], 1, "{run}");
        assert_eq!(run["affected"]["activities"]["created"], 1, "{run}");
        // Dry run and limit.
        let dry = raw(agent, &[("x-dry-run", "true")], hello("3", "Dry", "")).await.status(200);
        assert!(dry.story().contains("\"activities\""), "{}", dry.story());
        raw(agent, &[("x-max-affected", "1")], hello("3", "Capped", "")).await.fault(412, "max_affected_exceeded");
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (1, 1));
        // Other paths and wrong parameters.
        let headers = [("content-type", "message/rfc822")];
        agent.send(Method::POST, "/v1/contacts", &headers, message.clone()).await.fault(415, "unsupported_media_type");
        agent.send(Method::POST, "/v1/emails?x=1", &headers, message.clone()).await.fault(400, "invalid_request");
        // Undo.
        agent.post("/v1/runs/inbox/undo", json!({})).await.status(200);
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (0, 0));
        // The parameters of a content type do not matter.
        let headers = [("content-type", "Message/RFC822; charset=utf-8")];
        agent.send(Method::POST, "/v1/emails", &headers, message).await.status(201);
    }
}

#[tokio::test]
async fn a_viewer_is_refused_and_a_test_key_records_test_data() {
    let (owner, live) = owned().await;
    let (_, viewer, _) = joined(&owner, "viewer").await;
    raw(&viewer, &[], hello("1", "Offer", "")).await.status(403);
    assert_eq!(count(&live, "/v1/emails").await, 0);
    let made = owner.post(&format!("/v1/keys?ws={}", owner.workspace_id), json!({"mode": "test"})).await.status(201);
    let test = stranger().with_key(made.text("/data/api_key"), owner.workspace_id.clone());
    receive(&test, &hello("1", "Offer", "")).await;
    assert_eq!((count(&test, "/v1/activities").await, count(&live, "/v1/emails").await), (1, 0));
}

#[tokio::test]
async fn the_same_message_at_the_same_time_is_recorded_once() {
    for agent in &apart().await {
        let message = hello("1", "Offer", "");
        let replies = futures_util::future::join_all((0..8).map(|_| raw(agent, &[], message.clone()))).await;
        let created = replies.iter().filter(|reply| reply.code == 201).count();
        let ids: Vec<Value> = replies.iter().map(|reply| record(reply)["id"].clone()).collect();
        assert!(created == 1 && ids.iter().all(|id| *id == ids[0] && id.is_string()), "{created} {ids:?}");
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (1, 1));
    }
}

#[tokio::test]
async fn a_workspaces_own_rules_do_not_lose_a_message() {
    for agent in &apart().await {
        let field =
            json!({"object_type": "activity", "key": "outcome", "label": "Outcome", "type": "text", "required": true});
        agent.post("/v1/schema/fields", field).await.status(201);
        receive(agent, &hello("1", "Offer", "")).await;
        assert_eq!((count(agent, "/v1/emails").await, count(agent, "/v1/activities").await), (1, 0));
    }
    // A trigger of the workspace's own that leaves the record out.
    let agent = &apart().await[1];
    agent
        .sql("CREATE FUNCTION no_mail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER a_no_mail BEFORE INSERT ON emails FOR EACH ROW EXECUTE FUNCTION no_mail()")
        .await
        .status(200);
    raw(agent, &[], hello("1", "Offer", "")).await.fault(422, "validation_failed").says("trigger");
}
