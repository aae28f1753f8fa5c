//! An interface without HTTP. It proves that a second interface needs nothing of the first: it authenticates a caller and
//! performs requests through the hall, with limits and idempotency.

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::ask::{Single, UnknownStage};
use crm::model::fault::Fault;
use crm::model::who::Provenance;
use kith::access;
use kith::access::limits::Limits;
use kith::app::App;
use kith::hall::{self, Controls, Effect, Idempotency, Performed};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::{agent, home};

/// The interface: a line with a key, a table and a record's values creates a record.
struct LineDoor {
    app: App,
}

impl LineDoor {
    async fn create(
        &self,
        api_key: &str,
        line: (&str, Value),
        once: Option<&str>,
        effect: Effect,
    ) -> Result<Value, Fault> {
        let provenance = Provenance::new(&self.app.clock.id("req"), Some(b"line"), None, None);
        let admitted = access::admit_key(&self.app, api_key, provenance).await;
        let caller = admitted.map_err(|refused| refused.fault)?;
        let (table, values) = (line.0.to_owned(), line.1.as_object().expect("values").clone());
        let said = [line.0];
        let body = line.1.to_string();
        let ask = Single::Create { table, values, unknown_stage: UnknownStage::Add }.into();
        let idempotency = once.map(|key| Idempotency::new(key, said, body.as_bytes(), &render)).transpose()?;
        let controls = Controls {
            idempotency,
            effect,
            max_affected: None,
            wire: None,
            progress: None,
            values: None,
            tells: false,
        };
        match hall::perform(&self.app, &caller, &ask, &controls).await? {
            Performed::Done(answer, _) => Ok(read(&render(&Ok(answer)))),
            Performed::Stored(reply) => Ok(read(&reply)),
            Performed::Replayed(reply) => Ok(json!({"replayed": read(&reply)})),
        }
    }
}

fn render(result: &Result<Answer, Fault>) -> Reply {
    let said = match result {
        Ok(Answer::DryRun(dry)) => match &dry.answer {
            Answer::Record { record, .. } => json!({"made": record.row.string(0, "id")}),
            other => json!({"unexpected": format!("{other:?}")}),
        },
        Ok(Answer::Record { record, .. }) => json!({"made": record.row.string(0, "id")}),
        Ok(other) => json!({"unexpected": format!("{other:?}")}),
        Err(fault) => json!({"refused": fault.code()}),
    };
    Reply {
        status: result.as_ref().map_or_else(Fault::status, |_| 201),
        headers: Vec::new(),
        body: said.to_string().into(),
    }
}

fn read(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test]
async fn a_door_without_http_has_limits_idempotency_and_provenance_from_the_hall() {
    let agent = agent().await;
    let (key, app) = (agent.key.clone(), home().kith.app.clone());
    let said = home().run(async move {
        let door = LineDoor { app: App { limits: Arc::new(Limits::new(6)), ..app } };
        let make = async |line, once, effect| door.create(&key, line, once, effect).await;
        let acme = || ("companies", json!({"name": "Acme", "domain": "acme.com"}));
        let first = make(acme(), Some("k"), Effect::Commit).await.expect("a company");
        let again = make(acme(), Some("k"), Effect::Commit).await.expect("the same answer");
        assert_eq!(again, json!({"replayed": first}));
        let other = make(("companies", json!({"name": "B"})), Some("k"), Effect::Commit).await;
        assert_eq!(other.unwrap_err().code(), "idempotency_conflict");
        let refused = make(acme(), Some("l"), Effect::Commit).await.expect("a refusal that is stored");
        assert_eq!(refused, json!({"refused": "conflict"}));
        let dry = make(("contacts", json!({"email": "a@b.example"})), None, Effect::DryRun).await.expect("an answer");
        assert!(dry["made"].as_str().is_some_and(|id| id.starts_with("c_")), "{dry}");
        let none = door.create("acrm_dev_nothing", acme(), None, Effect::Commit).await;
        assert_eq!(none.unwrap_err().code(), "unauthorized");
        make(("deals", json!({"name": "D"})), None, Effect::Commit).await.expect("a deal");
        make(("deals", json!({"name": "E"})), None, Effect::Commit).await.unwrap_err().code().to_owned()
    });
    assert_eq!(said.await, "rate_limited");
    let feed = agent.get("/v1/activity").await.status(200);
    let verbs: Vec<Value> = feed.column("verb");
    assert_eq!(verbs, ["created", "conflict", "created"], "a deal, the refused company, the company: {}", feed.story());
    assert!(feed.column("custom").iter().all(|custom| custom["agent"] == "line"), "{}", feed.story());
    assert_eq!(agent.get("/v1/contacts").await.status(200).data(), json!([]), "a dry run keeps nothing");
}
