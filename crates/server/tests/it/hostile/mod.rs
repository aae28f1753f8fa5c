//! Attacks by a workspace on everything around it. After each one the same is asserted: a neighbour is answered, the
//! attacker's own REST is correct, and the feed is correct.

mod attacks;
mod cell;
mod crowds;
mod excess;
mod floods;
mod leftovers;
mod limits;
mod maintenance;
mod operations;
mod races;
mod roles;
mod secrets;
mod stuck;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kith::store::cell::TenantDatabase;
use pg::Conn;
use serde_json::{Value, json};

use crate::support::{Agent, Home, Reply, stranger_at};

/// A neighbour is answered within two seconds on an idle machine. The rest is for other load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A workspace that attacks, and a neighbour in the same cell.
struct Scene {
    home: &'static Home,
    attacker: Agent,
    place: TenantDatabase,
    neighbour: Agent,
    neighbour_contact: String,
    neighbour_place: TenantDatabase,
}

impl Scene {
    async fn new(home: &'static Home) -> Scene {
        let attacker = stranger_at(&home.base).with_workspace().await;
        let neighbour = stranger_at(&home.base).with_workspace().await;
        let contact = neighbour.post("/v1/contacts", json!({"email": "n@b.example", "first_name": "Nell"})).await;
        let place = home.place(&attacker.workspace_id).await;
        let neighbour_place = home.place(&neighbour.workspace_id).await;
        let neighbour_contact = contact.status(201).id();
        Scene { home, attacker, place, neighbour, neighbour_contact, neighbour_place }
    }

    /// The same, after the attacker's workspace was claimed. It has more places than an unclaimed one.
    async fn with_claimed_attacker(home: &'static Home) -> Scene {
        let scene = Scene::new(home).await;
        claim(home, &scene.attacker).await;
        scene
    }

    /// Runs the attacker's SQL, which must succeed.
    #[track_caller]
    fn prepare(&self, sql: &str) -> impl Future<Output = Reply> {
        let (attacker, sql) = (self.attacker.clone(), sql.to_owned());
        let caller = std::panic::Location::caller();
        async move {
            let reply = attacker.sql(&sql).await;
            assert_eq!(reply.code, 200, "{caller}\n{}", reply.story());
            reply
        }
    }

    /// A session of the attacker's own role, like one of psql.
    async fn session(&self) -> Conn {
        self.session_as(&self.place.role).await
    }

    async fn session_as(&self, role: &str) -> Conn {
        let opened = self.home.kith.app.store.cells.tenant(self.place.cell, role, &self.place.database).await;
        opened.unwrap_or_else(|error| panic!("{role}: {error:?}"))
    }

    /// A session of the cell's administrator in a database.
    async fn administrator(&self, database: &str) -> Conn {
        self.home.kith.app.store.cells.administer(self.place.cell, database).await.expect("the administrator's session")
    }

    /// The secret that the server uses to set actors in the attacker's database.
    fn secret(&self) -> String {
        self.home.kith.app.store.secret_of(&self.place).expose().to_owned()
    }

    /// Checks that an attack has no lasting effect: the neighbour is answered in time, and the attacker's own REST can still
    /// write and read.
    #[track_caller]
    fn stands(&self, after: &str) -> impl Future<Output = Duration> {
        let caller = std::panic::Location::caller();
        async move {
            let took = self.look(after).await.unwrap_or_else(|offence| panic!("{caller}\n{offence}"));
            println!("after {after}: the neighbour was answered in {took:?}");
            took
        }
    }

    /// The same. An error describes what is wrong.
    async fn look(&self, after: &str) -> Result<Duration, String> {
        let path = format!("/v1/contacts/{}", self.neighbour_contact);
        let begun = Instant::now();
        let reply = self.neighbour.get(&path).await;
        let took = begun.elapsed();
        if reply.code != 200 || reply.text("/data/first_name") != "Nell" {
            return Err(format!("after {after} the neighbour: {}", reply.story()));
        }
        if took > PATIENCE {
            return Err(format!("after {after} the neighbour waited {took:?}"));
        }
        self.own_rest(after).await.map(|()| took)
    }

    async fn own_rest(&self, after: &str) -> Result<(), String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let email = format!("Right{}@own.example", NEXT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"email": email, "first_name": "Ada", "custom": {"n": 0.1, "list": [1, null]}});
        let made = self.attacker.post("/v1/contacts", body.clone()).await;
        if made.code != 201 {
            return Err(format!("after {after} the attacker's own POST: {}", made.story()));
        }
        let data = made.data();
        let found = self.attacker.get(&format!("/v1/contacts/{}", made.id())).await;
        if found.code != 200 {
            return Err(format!("after {after} the attacker's own GET: {}", found.story()));
        }
        for (name, value) in data.as_object().expect("a record") {
            if body.get(name).is_some_and(|sent| sent != value) || found.data().get(name) != Some(value) {
                return Err(format!("after {after} \"{name}\" is not right\n{}\n{}", made.story(), found.story()));
            }
        }
        let created = data["created_at"].as_str().unwrap_or_default();
        if !(created.starts_with("20")
            && created.contains('T')
            && (created.ends_with("+00:00") || created.ends_with('Z')))
        {
            return Err(format!("after {after} created_at is {created:?}"));
        }
        let filtered = self.attacker.get(&format!("/v1/contacts?email={email}&limit=1")).await;
        match filtered.code == 200 && filtered.column("id") == [Value::String(made.id())] {
            true => Ok(()),
            false => Err(format!("after {after} the attacker's own list: {}", filtered.story())),
        }
    }
}

/// Claims the workspace of an agent that has sent no request with its key yet, because keys are cached.
async fn claim(home: &'static Home, agent: &Agent) {
    home.control("UPDATE workspaces SET claimed_at = now() WHERE id = $1", &[&agent.workspace_id]).await;
}

/// Waits until at least this many statements sleep in the cell, in the databases with matching names.
async fn until_asleep(home: &Home, databases: &str, least: usize) {
    let sql = "select pid from pg_stat_activity where wait_event = 'PgSleep' and datname like $1";
    let mut admin = home.kith.app.store.cells.administer_cell(0).await.expect("an administrator");
    let begun = Instant::now();
    loop {
        let asleep = admin.query(sql, &[Some(databases)]).await.expect("an answer").len();
        if asleep >= least {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{asleep} of {least} statements sleep");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The result of SQL over HTTP: `ok`, a SQLSTATE, or the API's own code.
fn outcome(reply: &Reply) -> String {
    if reply.code == 200 {
        return "ok".into();
    }
    let body = reply.json();
    let code = body.get("code").or_else(|| body.get("error")).and_then(Value::as_str);
    code.unwrap_or("an error without a code").to_owned()
}

/// The result of SQL in a session.
fn outcome_of<T>(result: Result<T, pg::Error>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(pg::Error::Server(error)) => error.code,
        Err(other) => format!("{other:?}"),
    }
}

/// A query of one boolean.
async fn is_true(conn: &mut Conn, sql: &str) -> Result<bool, pg::Error> {
    let rows = conn.query(sql, &[]).await?;
    Ok(rows.len() == 1 && rows.text(0, 0) == Some("t"))
}
