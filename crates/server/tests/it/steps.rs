//! Kith or its PostgreSQL is killed at each step between a commit and what follows from it. A lock that the test holds, or a receiver that
//! does not answer, stops the server at the step. Afterwards each event is listed, streamed and delivered, in the order of its record, and
//! each automation has acted once.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use pg::Conn;
use pg::conn::{Begin, Tx};
use pg::types::TypeCache;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, block_in_place};
use tokio::time::timeout;

use crate::crashes::{LOOK_EVERY, arrive_in_order, kill_postgres, listed, runs, serve, until};
use crate::support::{Agent, Child, Receiver, StreamReader, TempDir, postmaster, superuser};

/// How long a statement may take to come to a lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whatever was going on goes on before another process could take it over.
const SHORTER_THAN_A_LEASE: Duration = Duration::from_secs(50);

/// What is killed.
#[derive(Clone, Copy, PartialEq)]
enum Kill {
    /// Kith. Its PostgreSQL then ends all sessions.
    Kith,
    /// PostgreSQL. Kith starts it again.
    Postgres,
}

/// A database of the cell.
#[derive(Clone, Copy)]
enum In {
    Control,
    Workspace,
}

/// A point at which the server stops.
enum Stop {
    /// This lock is held, and a statement like this waits for it. What it waits for may be named before the statement.
    Lock(In, &'static str, &'static str),
    /// No connection to the receiver can be opened, and a delivery is taken.
    Shut,
    /// The receiver has read a request and has not answered. When the next stop is set, it answers with this status.
    Silent(u16),
    /// This condition holds. Nothing stops the server.
    Until(In, &'static str),
}

/// How often the events of a step are sent.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Once,
    AtLeastOnce,
}

/// A step: the stops on the way to it, of which the server leaves each when the next one is set.
struct Step {
    name: &'static str,
    stops: &'static [Stop],
    /// What else holds at the last stop.
    shows: Option<(In, &'static str)>,
    sent: Sent,
}

impl Step {
    const fn at(name: &'static str, sent: Sent, stops: &'static [Stop]) -> Step {
        Step { name, stops, shows: None, sent }
    }

    const fn when(self, place: In, condition: &'static str) -> Step {
        Step { shows: Some((place, condition)), ..self }
    }
}

/// Who listens can't be read, so nothing is published.
const UNREAD: Stop =
    Stop::Lock(In::Control, "LOCK TABLE public.webhook_endpoints IN ACCESS EXCLUSIVE MODE", "%FROM webhook_endpoints%");
const UNLOCKED: Stop = Stop::Lock(In::Workspace, "SELECT 1 FROM kith.published FOR UPDATE", "%kith.unpublished(%");
const NO_DELIVERIES: Stop =
    Stop::Lock(In::Control, "LOCK TABLE public.webhook_deliveries IN SHARE MODE", "INSERT INTO webhook_deliveries%");
const NO_RUNS: Stop =
    Stop::Lock(In::Control, "LOCK TABLE public.automation_runs IN SHARE MODE", "INSERT INTO automation_runs%");
const UNNUMBERED: Stop =
    Stop::Lock(In::Workspace, "SELECT 1 FROM kith.change WHERE position IS NULL FOR UPDATE", "%kith.publish(%");
const UNTAKEN: Stop =
    Stop::Lock(In::Control, "LOCK TABLE public.workspaces IN ACCESS EXCLUSIVE MODE", "WITH RECURSIVE waiting%");
const NO_ACTIVITY: Stop =
    Stop::Lock(In::Workspace, "LOCK TABLE public.activities IN ACCESS EXCLUSIVE MODE", "%INSERT INTO%activities%");

const STEPS: &[Step] = &[
    Step::at("committed, and nobody has looked who listens", Sent::Once, &[UNREAD]),
    Step::at("the drain waits for the log", Sent::Once, &[UNREAD, UNLOCKED]),
    Step::at("read, and nothing is queued", Sent::Once, &[UNREAD, NO_DELIVERIES]),
    Step::at("queued for webhooks, and not for automations", Sent::AtLeastOnce, &[UNREAD, NO_RUNS]),
    Step::at("queued, and not numbered", Sent::AtLeastOnce, &[UNREAD, UNNUMBERED]),
    Step::at("numbered, and no delivery is taken", Sent::Once, &[UNREAD, UNTAKEN])
        .when(In::Workspace, "NOT EXISTS (SELECT FROM kith.change WHERE position IS NULL)"),
    Step::at(
        "numbered, and not read by the stream",
        Sent::AtLeastOnce,
        &[
            UNREAD,
            UNNUMBERED,
            Stop::Lock(In::Workspace, "LOCK TABLE kith.change IN ACCESS EXCLUSIVE MODE", "relation %FROM kith.%"),
        ],
    ),
    Step::at("taken, and not sent", Sent::Once, &[Stop::Shut]),
    Step::at("sent, and not answered", Sent::AtLeastOnce, &[Stop::Silent(200)]),
    Step::at(
        "answered, and not recorded",
        Sent::AtLeastOnce,
        &[
            Stop::Silent(200),
            Stop::Lock(
                In::Control,
                "SELECT 1 FROM public.webhook_deliveries WHERE taken_by IS NOT NULL FOR UPDATE",
                "WITH done AS (%UPDATE webhook_deliveries%'delivered'%",
            ),
        ],
    ),
    Step::at(
        "recorded",
        Sent::Once,
        &[Stop::Until(
            In::Control,
            "(SELECT count(*) % 5 = 0 AND bool_and(status = 'delivered') FROM public.webhook_deliveries)
             AND EXISTS (SELECT FROM public.webhook_deliveries WHERE created_at >= $1::timestamptz)",
        )],
    ),
    Step::at(
        "refused, and not recorded",
        Sent::AtLeastOnce,
        &[
            Stop::Silent(500),
            // Not the whole table: workers that wait for it would keep the connections that the outcome needs.
            Stop::Lock(
                In::Control,
                "SELECT 1 FROM public.webhook_deliveries WHERE taken_by IS NOT NULL FOR UPDATE",
                "WITH done AS (%UPDATE webhook_deliveries%'failed'%",
            ),
        ],
    ),
    Step::at(
        "refused, and recorded",
        Sent::AtLeastOnce,
        &[
            Stop::Silent(500),
            Stop::Until(
                In::Control,
                "EXISTS (SELECT FROM public.webhook_deliveries WHERE status = 'pending' AND response_status = 500 AND taken_by IS NULL)",
            ),
        ],
    ),
    Step::at(
        "a run is queued, and not taken",
        Sent::AtLeastOnce,
        &[
            UNREAD,
            NO_RUNS,
            Stop::Lock(
                In::Control,
                "LOCK TABLE public.automation_runs IN ACCESS EXCLUSIVE MODE",
                "WITH RECURSIVE head AS%",
            ),
        ],
    ),
    Step::at("a run is taken, and has done nothing", Sent::AtLeastOnce, &[UNREAD, NO_ACTIVITY]),
    Step::at(
        "the first action of a run is done",
        Sent::AtLeastOnce,
        &[
            UNREAD,
            NO_ACTIVITY,
            Stop::Lock(
                In::Control,
                "LOCK TABLE public.automation_runs IN SHARE MODE",
                "UPDATE automation_runs SET next_attempt_at%",
            ),
        ],
    ),
    Step::at(
        "all actions of a run are done, and it is not recorded",
        Sent::AtLeastOnce,
        &[
            UNREAD,
            Stop::Lock(In::Workspace, "SELECT 1 FROM public.contacts FOR NO KEY UPDATE", "%UPDATE%contacts%"),
            Stop::Lock(
                In::Control,
                "LOCK TABLE public.automation_runs IN SHARE MODE",
                "WITH done AS (%UPDATE automation_runs%",
            ),
        ],
    ),
    Step::at(
        "a run is recorded",
        Sent::AtLeastOnce,
        &[Stop::Until(
            In::Control,
            "EXISTS (SELECT FROM public.automation_runs WHERE created_at >= $1::timestamptz AND status = 'success')",
        )],
    ),
];

/// The contact events of a step: two contacts are created, one of them is changed, and the automation changes both.
const EVENTS: usize = 5;
/// The runs of a step.
const RUNS: usize = 2;

/// A port in front of a receiver. While it is shut, connections to it are neither accepted nor refused.
struct Doorway {
    address: SocketAddr,
    to: String,
    accepting: Option<JoinHandle<()>>,
    shut: Vec<TcpStream>,
    full: Option<TcpListener>,
}

/// A free port that stays so while nobody listens: it is none of those that the system gives to connections.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut addresses = std::iter::repeat_with(|| {
        SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000))
    });
    addresses.find(|address| std::net::TcpListener::bind(address).is_ok()).expect("a free port")
}

impl Doorway {
    async fn to(receiver: &Receiver) -> Doorway {
        let to = receiver.base.strip_prefix("http://").expect("an address").to_owned();
        let address = free_address();
        let mut doorway = Doorway { address, to, accepting: None, shut: Vec::new(), full: None };
        doorway.open();
        doorway
    }

    fn listen(&self, backlog: u32) -> TcpListener {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a port to use again");
        socket.bind(self.address).expect("the port");
        socket.listen(backlog).expect("a listener")
    }

    fn open(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        (self.full, self.shut) = (None, Vec::new());
        let (listener, to) = (self.listen(128), self.to.clone());
        self.accepting = Some(tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                let to = to.clone();
                passing.spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        }));
    }

    /// Ends all connections, and lets as many others wait as the system lets wait, so that no more can be opened.
    async fn shut(&mut self) {
        let accepting = self.accepting.take().expect("an open doorway");
        accepting.abort();
        let _ = accepting.await;
        self.full = Some(self.listen(1));
        while let Ok(Ok(one)) = timeout(Duration::from_millis(200), TcpStream::connect(self.address)).await {
            self.shut.push(one);
        }
    }
}

/// What is held at a stop.
enum Held {
    Lock(JoinHandle<Tx<Box<Conn>>>),
    Doorway,
    Answer(u16),
    Nothing,
}

/// The sessions that look whether the server is where it should be.
struct Observers {
    control: Conn,
    workspace: Conn,
    /// The time at which the step began.
    since: String,
}

impl Observers {
    async fn holds(&mut self, place: In, condition: &str) -> bool {
        let sql = format!("SELECT ({condition})::text");
        let params = if condition.contains("$1") { vec![Some(self.since.as_str())] } else { Vec::new() };
        let observer = match place {
            In::Control => &mut self.control,
            In::Workspace => &mut self.workspace,
        };
        observer.query(&sql, &params).await.expect("a condition").text(0, 0) == Some("true")
    }

    /// Waits until a statement waits for a lock.
    async fn wait_for(&mut self, step: &str, database: &str, statement: &str) {
        let sql =
            "SELECT concat_ws(' | ', datname, application_name, wait_event, query), datname = $1 AND (query LIKE $2 OR wait_event || ' ' || query LIKE $2)
                   FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name <> 'test'";
        let start = Instant::now();
        loop {
            let waiting = self.control.query(sql, &[Some(database), Some(statement)]).await.expect("the sessions");
            if (0..waiting.len()).any(|row| waiting.text(row, 1) == Some("t")) {
                return;
            }
            if start.elapsed() > PATIENCE {
                let waiting: Vec<_> = (0..waiting.len()).filter_map(|row| waiting.text(row, 0)).collect();
                panic!("{step}: no {statement} waits in {database}, but {waiting:#?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A Kith of its own, with a workspace, a receiver, an automation and a reader of the stream.
struct Scene {
    dir: TempDir,
    child: Option<Child>,
    base: watch::Sender<String>,
    agent: Agent,
    database: String,
    receiver: Receiver,
    doorway: Doorway,
    /// What the receiver answers. Without a status it does not answer.
    answers: watch::Sender<Option<u16>>,
    webhook: String,
    rule: String,
    /// The events that were listed so far, page by page, and the cursor after them.
    events: Vec<(String, Value)>,
    cursor: Option<String>,
    streamed: watch::Receiver<Vec<String>>,
    steps: usize,
}

impl Scene {
    async fn start() -> Scene {
        let dir = TempDir::new();
        let child = serve(&dir);
        let agent = child.agent().await;
        let answers = watch::Sender::new(Some(200));
        let answered = answers.subscribe();
        let receiver = Receiver::answering(move |_, _| {
            let mut answered = answered.clone();
            async move {
                let answer = answered.wait_for(|answer| answer.is_some()).await.expect("an answer");
                answer.expect("a status")
            }
        })
        .await;
        let doorway = Doorway::to(&receiver).await;
        let url = format!("http://{}/hook", doorway.address);
        let webhook = agent.post("/v1/webhooks", json!({"url": url, "events": ["contact.*"]})).await.status(201).id();
        let actions = json!([
            {"type": "create_activity", "activity_type": "note"},
            {"type": "set_metadata", "key": "seen", "value": true},
        ]);
        let rule = json!({"name": "R", "trigger_event": "contact.created", "actions": actions});
        let rule = agent.post("/v1/automations", rule).await.status(201).id();
        let database = agent.sql("select current_database() as v").await.status(200).v();
        let base = watch::Sender::new(child.base.clone());
        let seen = watch::Sender::new(Vec::new());
        let streamed = seen.subscribe();
        tokio::spawn(StreamReader::follow(agent.clone(), base.subscribe(), "?type=contact.*", seen));
        Scene {
            dir,
            child: Some(child),
            base,
            agent,
            database: database.as_str().expect("a name").to_owned(),
            receiver,
            doorway,
            answers,
            webhook,
            rule,
            events: Vec::new(),
            cursor: None,
            streamed,
            steps: 0,
        }
    }

    fn agent(&self) -> Agent {
        self.agent.at(&self.base.borrow())
    }

    fn database(&self, place: In) -> &str {
        match place {
            In::Control => "kith",
            In::Workspace => &self.database,
        }
    }

    /// A session of the superuser.
    async fn session(&self, place: In) -> Conn {
        superuser(&self.dir, self.database(place)).await
    }

    /// Sets a stop. A lock may have to wait for the lock of the stop before it.
    async fn set(&mut self, stop: &'static Stop, observers: &mut Observers) -> Held {
        match stop {
            Stop::Lock(place, lock, _) => {
                let session = self.session(*place).await;
                let pid = session.pid();
                let locking = tokio::spawn(async move {
                    let mut held = Tx::begin(Box::new(session), Begin::ReadWrite(&[])).expect("a transaction");
                    // A kill may come first.
                    if held.prepare(lock, &TypeCache::default()).await.is_ok() {
                        let _ = held.discard().await;
                    }
                    held
                });
                let waits =
                    format!("EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock')");
                until(lock, async || locking.is_finished() || observers.holds(In::Control, &waits).await).await;
                Held::Lock(locking)
            }
            Stop::Shut => {
                self.doorway.shut().await;
                Held::Doorway
            }
            Stop::Silent(status) => {
                self.answers.send_replace(None);
                Held::Answer(*status)
            }
            Stop::Until(..) => Held::Nothing,
        }
    }

    async fn release(&mut self, held: Held) {
        match held {
            Held::Lock(locking) => {
                locking.await.expect("a transaction").rollback().await.expect("its end");
            }
            Held::Doorway => self.doorway.open(),
            Held::Answer(status) => {
                self.answers.send_replace(Some(status));
            }
            Held::Nothing => {}
        }
    }

    /// Waits until the server is at a stop.
    async fn reach(&self, step: &Step, stop: &Stop, observers: &mut Observers) {
        let (name, before) = (step.name, self.steps * EVENTS);
        match stop {
            Stop::Lock(place, _, statement) => {
                observers.wait_for(name, self.database(*place), statement).await;
            }
            Stop::Shut => {
                let taken = "EXISTS (SELECT FROM public.webhook_deliveries WHERE taken_by IS NOT NULL)";
                until(name, async || observers.holds(In::Control, taken).await).await;
            }
            Stop::Silent(_) => {
                let known: BTreeSet<&String> = self.events.iter().map(|(id, _)| id).collect();
                assert_eq!(known.len(), before);
                until(name, async || {
                    self.receiver.received().iter().any(|it| !known.contains(&it.header("webhook-id")))
                })
                .await;
            }
            Stop::Until(place, condition) => {
                until(name, async || observers.holds(*place, condition).await).await;
            }
        }
    }

    async fn write(&self) {
        let (agent, number) = (self.agent(), self.steps);
        let made = agent.post("/v1/contacts", json!({"email": format!("a{number}@step.example")})).await.status(201);
        agent.patch(&format!("/v1/contacts/{}", made.id()), json!({"title": "T"})).await.status(200);
        agent.sql(&format!("insert into contacts (email) values ('b{number}@step.example')")).await.status(200);
    }

    /// Kills Kith, and starts it again.
    fn start_again(&mut self) {
        let child = self.child.take().expect("a server");
        block_in_place(|| child.kill());
        self.release_all();
        let child = serve(&self.dir);
        self.base.send_replace(child.base.clone());
        self.child = Some(child);
    }

    /// Kills, and waits until all of it runs again.
    async fn kill(&mut self, kill: Kill) {
        match kill {
            Kill::Kith => self.start_again(),
            Kill::Postgres => {
                let killed = postmaster(&self.dir);
                kill_postgres(&self.dir);
                self.release_all();
                let agent = self.agent();
                until("another server", async || {
                    postmaster(&self.dir).is_some_and(|server| Some(server) != killed)
                        && agent.get("/readyz").await.code == 200
                        && agent.get("/v1/contacts?limit=1").await.code == 200
                })
                .await;
            }
        }
    }

    /// The locks have gone with the sessions.
    fn release_all(&mut self) {
        self.doorway.open();
        self.answers.send_replace(Some(200));
    }

    async fn run(&mut self, step: &'static Step, kill: Kill) {
        let mut control = self.session(In::Control).await;
        let now = control.query("SELECT now()::text", &[]).await.expect("a time");
        let since = now.text(0, 0).expect("a time").to_owned();
        let mut observers = Observers { control, workspace: self.session(In::Workspace).await, since };
        let requests = self.receiver.received().len();
        let mut held = Held::Nothing;
        for (number, stop) in step.stops.iter().enumerate() {
            let next = self.set(stop, &mut observers).await;
            self.release(std::mem::replace(&mut held, next)).await;
            if number == 0 {
                self.write().await;
            }
            self.reach(step, stop, &mut observers).await;
        }
        if let Some((place, condition)) = step.shows {
            until(step.name, async || observers.holds(place, condition).await).await;
        }
        self.kill(kill).await;
        drop(held);
        self.steps += 1;
        let checked = timeout(SHORTER_THAN_A_LEASE, self.check(step)).await;
        checked.unwrap_or_else(|_| panic!("{}: not all has followed before the end of a lease", step.name));
        let sent = self.receiver.received().len() - requests;
        assert!(step.sent == Sent::AtLeastOnce || sent == EVENTS, "{}: {sent} requests", step.name);
        // Waiting for it ended with the process, so it was sent again.
        let is_silent = matches!(step.stops, [Stop::Silent(_)]);
        assert!(!is_silent || kill == Kill::Postgres || sent > EVENTS, "{}: {sent} requests", step.name);
        if kill == Kill::Postgres {
            // A Kith whose PostgreSQL ends again and again ends too.
            self.start_again();
        }
    }

    async fn check(&mut self, step: &Step) {
        let (name, agent, all) = (step.name, self.agent(), self.steps * EVENTS);
        // The list, from where its reader was.
        until(name, async || {
            let after = self.cursor.as_ref().map(|cursor| format!("&after={cursor}")).unwrap_or_default();
            let page = agent.get(&format!("/v1/events?limit=3&type=contact.*{after}")).await.status(200).json();
            let events = page["data"].as_array().expect("events").clone();
            self.events.extend(events.into_iter().map(|it| (it["id"].as_str().expect("an id").to_owned(), it)));
            self.cursor = Some(page["_meta"]["next_cursor"].as_str().expect("a cursor").to_owned());
            self.events.len() >= all
        })
        .await;
        let whole = listed(&agent).await;
        let ids = |events: &[(String, Value)]| events.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&self.events), ids(&whole), "{name}: no gap and no repetition");
        assert_eq!(whole.len(), all, "{name}: one event for each change");
        // The stream.
        let told = timeout(Duration::from_secs(60), self.streamed.wait_for(|seen| seen.len() >= all)).await;
        let told = told.unwrap_or_else(|_| panic!("{name}: the stream does not tell all")).expect("a reader").clone();
        assert_eq!(told, ids(&whole), "{name}: no gap and no repetition in the stream");
        // The receiver.
        arrive_in_order(name, &self.receiver, &whole).await;
        let deliveries = format!("/v1/webhooks/{}/deliveries?limit=200", self.webhook);
        until(name, async || {
            let listed = agent.get(&deliveries).await.status(200).column("status");
            listed.len() == all && listed.iter().all(|status| status == "delivered")
        })
        .await;
        // The automation.
        let mut done = Vec::new();
        until(name, async || {
            done = runs(&agent, &self.rule).await;
            done.len() == self.steps * RUNS && done.iter().all(|run| run["status"] != "pending")
        })
        .await;
        let failed: Vec<&Value> = done.iter().filter(|run| run["status"] != "success").collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        let sql = "select jsonb_build_object('once', count(*) = count(distinct contact_id), 'number', count(*)) as v from activities";
        let acted = agent.sql(sql).await.status(200).v();
        assert_eq!(acted, json!({"once": true, "number": self.steps * RUNS}), "{name}: each acted once");
    }
}

async fn kill_at_each_step(kill: Kill) {
    let mut scene = Scene::start().await;
    let start = Instant::now();
    for step in STEPS {
        println!("{:>6} ms: {}", start.elapsed().as_millis(), step.name);
        scene.run(step, kill).await;
    }
    println!("{:>6} ms: {} requests", start.elapsed().as_millis(), scene.receiver.received().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_when_kith_is_killed_at_any_step() {
    kill_at_each_step(Kill::Kith).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_when_postgres_is_killed_at_any_step() {
    kill_at_each_step(Kill::Postgres).await;
}

/// Whether the system holds bytes that the server has sent and that its client does not take.
fn is_clogged(base: &str) -> bool {
    let port: u16 = base.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let sockets = fs::read_to_string("/proc/net/tcp").expect("the system's connections");
    sockets.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "01" && !fields[4].starts_with("00000000:")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_killed_between_reading_and_sending_goes_on_where_its_reader_is() {
    let dir = TempDir::new();
    let child = serve(&dir);
    let agent = child.agent().await;
    // More than the buffers of a connection hold.
    let sql = "insert into contacts (custom) select jsonb_build_object('long', repeat('x', 100000)) from generate_series(1, 400)";
    agent.sql(sql).await.status(200);
    let mut stream = StreamReader::open(&agent, &child.base, "", None).await;
    let mut told = vec![stream.next().await.expect("an event")];
    until("the server can't send what it has read", async || is_clogged(&child.base)).await;
    block_in_place(|| child.kill());
    while let Ok(next) = stream.try_next().await {
        told.extend(next);
    }
    let sent = told.len();
    let child = serve(&dir);
    let agent = agent.at(&child.base);
    let last = told.last().expect("an event").id.clone();
    let mut stream = StreamReader::open(&agent, &child.base, "", Some(&last)).await;
    while told.len() < 400 {
        told.extend(stream.next().await);
    }
    assert!(sent < 400, "all was sent");
    let told: Vec<Value> = told.into_iter().map(|event| event.data["id"].clone()).collect();
    let whole = listed(&agent).await;
    assert_eq!(told, whole.iter().map(|(id, _)| json!(id)).collect::<Vec<_>>(), "no gap and no repetition");
    println!("{sent} of 400 events were sent before the kill");
}
