//! Kith and its PostgreSQL are killed while writers work over REST, SQL and a direct connection. Whatever happens, the events of each
//! committed change arrive, in the order of its record, and each of them fires its automation once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use pg::Conn;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};

use crate::direct::come;
use crate::support::{Agent, Child, Received, Receiver, StreamReader, TempDir, postmaster};

const JSON: (&str, &str) = ("content-type", "application/json");
/// How often each of the two is killed. In the last round both are.
const KILLS: usize = 3;
/// How often a condition is looked at that nothing announces.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a test waits for a condition.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the writers share.
struct Writers {
    /// The address of Kith, another one after each start.
    base: watch::Sender<String>,
    agent: Agent,
    /// The owner of the workspace, who may open direct connections.
    owner: Agent,
    over: AtomicBool,
    acknowledged: Mutex<BTreeSet<String>>,
    count: watch::Sender<usize>,
    numbers: AtomicUsize,
}

impl Writers {
    fn agent(&self) -> Agent {
        self.agent.at(&self.base.borrow())
    }

    fn owner(&self) -> Agent {
        self.owner.at(&self.base.borrow())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// An address that no other record has.
    fn email(&self, kind: &str) -> String {
        format!("{kind}-{}@crash.example", self.numbers.fetch_add(1, Ordering::SeqCst))
    }

    fn acknowledge(&self, email: &str) {
        self.acknowledged.lock().expect("the addresses").insert(email.to_owned());
        self.count.send_modify(|count| *count += 1);
    }

    /// Sends a request. Returns the answer if it is as expected, and nothing while the server is down.
    async fn send(&self, method: Method, path: &str, header: (&str, &str), body: Value) -> Option<Value> {
        let sent = self.agent().try_send(method, path, &[JSON, header], body.to_string()).await;
        match sent {
            Ok(reply) if reply.code < 300 => Some(reply.json()),
            Ok(reply) if reply.code < 500 => panic!("{}", reply.story()),
            Ok(_) | Err(_) => {
                tokio::time::sleep(LOOK_EVERY).await;
                None
            }
        }
    }

    /// Creates contacts, and changes each of them three times. An update without an answer is repeated.
    async fn by_rest(self: Arc<Self>) {
        while !self.is_over() {
            let email = self.email("rest");
            let no = ("x-none", "1");
            self.send(Method::POST, "/v1/contacts", ("x-dry-run", "true"), json!({"email": self.email("dry")})).await;
            let Some(made) = self.send(Method::POST, "/v1/contacts", no, json!({"email": email})).await else {
                continue;
            };
            self.acknowledge(&email);
            let path = format!("/v1/contacts/{}", made["data"]["id"].as_str().expect("an id"));
            for title in ["1", "2", "3"] {
                while self.send(Method::PATCH, &path, no, json!({"title": title})).await.is_none() {}
            }
        }
    }

    async fn by_sql(self: Arc<Self>) {
        while !self.is_over() {
            let (email, gone) = (self.email("sql"), self.email("gone"));
            let insert = |email: &str| format!("insert into contacts (email) values ('{email}')");
            let refused = json!({"sql": format!("{}; select 1 / 0", insert(&gone))}).to_string();
            let refused = self.agent().try_send(Method::POST, "/v1/sql", &[JSON], refused).await;
            assert!(refused.is_err() || refused.is_ok_and(|reply| reply.code >= 400), "it is rolled back");
            let sql = json!({"sql": insert(&email)});
            if self.send(Method::POST, "/v1/sql", ("x-none", "1"), sql).await.is_some() {
                self.acknowledge(&email);
            }
        }
    }

    async fn by_psql(self: Arc<Self>) {
        let mut session: Option<Conn> = None;
        while !self.is_over() {
            let Some(conn) = &mut session else {
                session = self.connect().await;
                continue;
            };
            let (email, gone) = (self.email("psql"), self.email("gone"));
            let rolled_back = format!("BEGIN; INSERT INTO contacts (email) VALUES ('{gone}'); ROLLBACK");
            let committed = format!("BEGIN; INSERT INTO contacts (email) VALUES ('{email}'); COMMIT");
            match conn.script(&rolled_back).await.and(conn.script(&committed).await) {
                Ok(()) => self.acknowledge(&email),
                Err(_) => session = None,
            }
        }
    }

    async fn connect(&self) -> Option<Conn> {
        let owner = self.owner();
        let path = format!("/v1/connection?ws={}", owner.workspace_id);
        let asked = owner.try_send(Method::POST, &path, &[JSON], "{}").await.ok().filter(|reply| reply.code == 200);
        let session = match asked {
            Some(reply) => come(&reply.text("/data/url")).await.ok(),
            None => None,
        };
        if session.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        session
    }
}

/// A server on this data directory that may send to this machine.
pub fn serve(dir: &TempDir) -> Child {
    block_in_place(|| {
        Child::serve_with(dir, |command| {
            command.env("KITH_ALLOW_PRIVATE_TARGETS", "1");
        })
    })
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub fn kill_postgres(dir: &TempDir) {
    let server = postmaster(dir).expect("a server");
    rustix::process::kill_process(server, rustix::process::Signal::KILL).expect("its end");
}

/// All events about contacts, from the list: their ids and bodies.
pub async fn listed(agent: &Agent) -> Vec<(String, Value)> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/v1/events?limit=200&type=contact.*{after}")).await.status(200).json();
        let events = page["data"].as_array().expect("events").clone();
        found.extend(events.into_iter().map(|it| (it["id"].as_str().expect("an id").to_owned(), it)));
        if page["_meta"]["has_more"] == false {
            return found;
        }
        after = format!("&after={}", page["_meta"]["next_cursor"].as_str().expect("a cursor"));
    }
}

/// All runs of an automation that have ended.
pub async fn runs(agent: &Agent, id: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = agent.get(&format!("/v1/automations/{id}/runs?limit=200{cursor}")).await.status(200).json();
        found.extend(page["data"].as_array().expect("runs").clone());
        match page["_meta"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Waits until a receiver has got these events, each once or more often with the same id and body, in the order of each record. Returns
/// all requests.
pub async fn arrive_in_order(what: &str, receiver: &Receiver, events: &[(String, Value)]) -> Vec<Received> {
    let ids: BTreeSet<&String> = events.iter().map(|(id, _)| id).collect();
    let mut received = receiver.received();
    until(what, async || {
        received = receiver.received();
        received.iter().map(|it| it.header("webhook-id")).collect::<BTreeSet<_>>().len() >= events.len()
    })
    .await;
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    let mut stories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in &received {
        let (id, body) = (request.header("webhook-id"), request.json());
        assert_eq!(body["id"], json!(id));
        let same = *first.entry(id.clone()).or_insert(&request.body);
        assert_eq!(same, request.body, "{what}: a repeated event is the same");
        let story = stories.entry(body["data"]["id"].as_str().expect("an id").to_owned()).or_default();
        // While an event may be repeated, the next one of its record waits.
        if story.last() != Some(&id) {
            story.push(id);
        }
    }
    assert_eq!(first.keys().collect::<BTreeSet<_>>(), ids, "{what}: nothing else was sent");
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, event) in events {
        expected.entry(event["data"]["id"].as_str().expect("an id").to_owned()).or_default().push(id.clone());
    }
    assert_eq!(stories, expected, "{what}: the order of each record");
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_made_up_when_kith_and_postgres_are_killed_under_load() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").subsec_nanos();
    println!("the moments follow from {seed}");
    let start = Instant::now();
    let phase = |what: &str| println!("{:>6} ms: {what}", start.elapsed().as_millis());
    let dir = TempDir::new();
    let mut child = serve(&dir);
    let body = json!({"email": "one@people.example", "password": "correct horse battery"});
    let token = child.stranger().post("/v1/auth/signup", body).await.status(201).text("/data/session_token");
    let person = child.stranger().with_key(token.clone(), String::new());
    let made = person.post("/v1/workspaces", json!({})).await.status(201);
    let workspace_id = made.text("/data/workspace_id");
    let agent = child.stranger().with_key(made.text("/data/api_key"), workspace_id.clone());
    let receiver = Receiver::start().await;
    agent.post("/v1/webhooks", json!({"url": receiver.url(), "events": ["contact.*"]})).await.status(201);
    let action = json!({"type": "create_activity", "activity_type": "note"});
    let rule = json!({"name": "R", "trigger_event": "contact.created", "actions": [action]});
    let rule = agent.post("/v1/automations", rule).await.status(201).id();

    let writers = Arc::new(Writers {
        base: watch::Sender::new(child.base.clone()),
        agent,
        owner: person.with_key(token, workspace_id),
        over: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        count: watch::Sender::new(0),
        numbers: AtomicUsize::new(0),
    });
    let working: Vec<JoinHandle<()>> = vec![
        tokio::spawn(writers.clone().by_rest()),
        tokio::spawn(writers.clone().by_rest()),
        tokio::spawn(writers.clone().by_sql()),
        tokio::spawn(writers.clone().by_psql()),
    ];
    let seen = watch::Sender::new(Vec::new());
    let mut streamed = seen.subscribe();
    let reading =
        tokio::spawn(StreamReader::follow(writers.agent(), writers.base.subscribe(), "?type=contact.*", seen));

    let mut count = writers.count.subscribe();
    let mut more = async |wanted: usize| {
        let target = *count.borrow() + wanted;
        tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= target))
            .await
            .expect("writes")
            .expect("writers");
    };
    for round in 0..2 * KILLS {
        // Some writes, so that the server works again, and some more, so that the moment differs.
        more(15 + (seed as usize >> (2 * round)) % 20).await;
        let last = round + 1 == 2 * KILLS;
        phase(&format!("round {round}"));
        if round % 2 == 1 {
            let killed = postmaster(&dir);
            kill_postgres(&dir);
            if !last {
                until("another server", async || postmaster(&dir).is_some_and(|server| Some(server) != killed)).await;
            }
        }
        if round % 2 == 0 || last {
            block_in_place(|| child.kill());
            child = serve(&dir);
            writers.base.send_replace(child.base.clone());
        }
    }
    phase("the last start");
    more(20).await;
    writers.over.store(true, Ordering::SeqCst);
    for writer in working {
        tokio::time::timeout(PATIENCE, writer).await.expect("its end").expect("a writer");
    }

    phase("the writers have ended");
    let agent = writers.agent();
    let mut contacts: Vec<Value> = Vec::new();
    until("the contacts", async || {
        let sql = "select coalesce(jsonb_agg(jsonb_build_object('id', id, 'email', email)), '[]') as v from contacts";
        let reply = agent.sql(sql).await;
        contacts = if reply.code == 200 { reply.v().as_array().expect("contacts").clone() } else { Vec::new() };
        !contacts.is_empty()
    })
    .await;
    let emails: BTreeSet<String> = contacts.iter().map(|it| it["email"].as_str().expect("one").to_owned()).collect();
    let acknowledged = writers.acknowledged.lock().expect("the addresses").clone();
    let lost: Vec<&String> = acknowledged.difference(&emails).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(emails.len(), contacts.len(), "each of them once");
    for kind in ["rest", "sql", "psql"] {
        assert!(acknowledged.iter().any(|email| email.starts_with(kind)), "nothing was written by {kind}");
    }
    assert!(!emails.iter().any(|email| email.starts_with("dry") || email.starts_with("gone")), "{emails:?}");

    // The list has one event for each change.
    let events = listed(&agent).await;
    let ids: BTreeSet<&String> = events.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), events.len(), "each event is listed once");
    let created: BTreeMap<&str, &str> = events
        .iter()
        .filter(|(_, it)| it["type"] == "contact.created")
        .map(|(id, it)| (it["data"]["id"].as_str().expect("an id"), id.as_str()))
        .collect();
    let known: BTreeSet<&str> = contacts.iter().map(|it| it["id"].as_str().expect("an id")).collect();
    assert_eq!(created.keys().copied().collect::<BTreeSet<_>>(), known, "one event for each contact");

    phase("the events are listed");
    // The stream told the same, in the same order.
    let all = streamed.wait_for(|seen| seen.len() >= events.len());
    let told = tokio::time::timeout(PATIENCE, all).await.expect("the stream tells all").expect("a reader").clone();
    assert_eq!(told, events.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), "no gap and no repetition");
    reading.abort();

    phase("the stream has told all");
    let received = arrive_in_order("all events arrive", &receiver, &events).await;
    phase("all events have arrived");

    // The automation has run once for each contact, and has acted once.
    let mut done = Vec::new();
    until("all runs end", async || {
        done = runs(&agent, &rule).await;
        done.len() >= created.len()
    })
    .await;
    let failed: Vec<&Value> = done.iter().filter(|run| run["status"] != "success").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let of_runs: BTreeSet<&str> = done.iter().map(|run| run["event_id"].as_str().expect("an id")).collect();
    assert_eq!((of_runs.len(), done.len()), (created.len(), created.len()));
    assert_eq!(of_runs, created.values().copied().collect::<BTreeSet<_>>());
    let sql = "select coalesce(jsonb_agg(contact_id order by contact_id), '[]') as v from activities";
    let acted: Vec<Value> = agent.sql(sql).await.status(200).v().as_array().expect("activities").clone();
    assert_eq!(acted, known.iter().map(|id| json!(id)).collect::<Vec<_>>(), "each acted once");
    phase("all runs have ended");
    println!(
        "{} acknowledged writes, {} events, {} requests, {} runs",
        acknowledged.len(),
        events.len(),
        received.len(),
        done.len()
    );
}
