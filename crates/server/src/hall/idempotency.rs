//! `Idempotency-Key`: the answer is kept in the transaction that does the work, so that a crash at any moment and a
//! retry never do it twice (wire contract, section 6).

use ring::digest;

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::ask::Ask;
use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::{plan, sql};

use crate::app::App;
use crate::clock::iso;
use crate::hall::{self, Caller};
use crate::store::cell::secrets::hex;
use crate::store::tenant::transaction::{OpenTransaction, Reservation, Transaction};

/// Longest key that is taken.
const MAX_KEY_CHARACTERS: usize = 255;
/// How often work is begun anew because the tables changed under it.
const TRIES: usize = 3;

/// A request with a key.
pub struct Keyed<'a> {
    /// The key.
    pub key: &'a str,
    /// What the request is, so that another request with the key is told from a retry.
    pub fingerprint: String,
}

/// What the caller gets.
pub struct Kept {
    /// The answer, now or then.
    pub reply: Reply,
    /// Whether it was given before.
    pub replayed: bool,
}

impl<'a> Keyed<'a> {
    /// Checks the key and takes the request's fingerprint.
    pub fn new(key: &'a str, call: &Call<'_>, dialect: &str) -> Result<Keyed<'a>, Fault> {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(Fault::invalid(format!("An Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters.")));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        let query = call.query.iter().flat_map(|(name, value)| [name, value]);
        for part in [dialect].into_iter().chain(call.path.iter().chain(query).map(String::as_str)) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(call.body);
        Ok(Keyed { key, fingerprint: hex(hash.finish().as_ref()) })
    }
}

/// Serves a request with a key. `read` gives its ask, or the fault that reading it ended in; `show` writes the answer.
pub async fn serve(
    app: &App,
    caller: Caller<'_>,
    keyed: &Keyed<'_>,
    read: Result<Ask, Fault>,
    show: impl Fn(&Result<Answer, Fault>) -> Reply,
) -> Result<Kept, Fault> {
    if let Ok(ask) = &read {
        // Who may not do it may not see how it went when another did, nor is their refusal the answer to that one's retry.
        plan::allow(ask, caller.who)?;
        if plan::reads_only(caller.who) {
            return read_only(app, caller, keyed, ask, show).await;
        }
    }
    for attempt in 1..=TRIES {
        let mut work = match claim(app, caller, keyed).await? {
            Claimed::Fresh(work) => work,
            Claimed::Stored(kept) => return Ok(kept),
        };
        let result = match &read {
            Ok(ask) => {
                let mut session = Transaction::Open(work);
                let result = hall::answer(&app.store, &mut session, caller, ask).await;
                let Transaction::Open(back) = session else { return Err(Fault::internal("a transaction was lost")) };
                work = back;
                result
            }
            Err(fault) => Err(fault.clone()),
        };
        // Not the last time: by a catalog that was read just now the fault holds.
        if work.catalog_was_old && attempt < TRIES {
            work.roll_back().await;
            app.store.known(caller.place).forget();
            continue;
        }
        let reply = show(&result);
        if result.is_err() {
            work.roll_back().await;
            return keep_alone(app, caller, keyed, reply).await;
        }
        match commit(app, caller, keyed, work, &reply).await {
            Ok(()) => {
                if read.as_ref().is_ok_and(plan::changes_catalog) {
                    app.store.known(caller.place).forget();
                }
                return Ok(Kept { reply, replayed: false });
            }
            Err(fault) => return keep_alone(app, caller, keyed, show(&Err(fault))).await,
        }
    }
    Err(Fault::Unavailable { retry_after: 1, message: "The table is being changed; it did not hold still.".into() })
}

/// Serves one who can only read: SQL, which only PostgreSQL can tell to be writing. It changes nothing, so it is done before the
/// key is looked up, and what was refused is not kept.
async fn read_only(
    app: &App,
    caller: Caller<'_>,
    keyed: &Keyed<'_>,
    ask: &Ask,
    show: impl Fn(&Result<Answer, Fault>) -> Reply,
) -> Result<Kept, Fault> {
    let reply = show(&hall::answer(&app.store, &mut Transaction::PerPlan, caller, ask).await);
    if reply.status == 403 {
        return Ok(Kept { reply, replayed: false });
    }
    keep_alone(app, caller, keyed, reply).await
}

enum Claimed {
    Fresh(Box<OpenTransaction>),
    Stored(Kept),
}

async fn claim(app: &App, caller: Caller<'_>, keyed: &Keyed<'_>) -> Result<Claimed, Fault> {
    let secret = app.store.secret_of(caller.place);
    let context = sql::context::begin_request(secret.expose(), caller.who, caller.provenance);
    let mut work = app.store.begin_work(caller.place, &context).await?;
    let now = iso(app.clock.unix_seconds());
    let claim = work.claim(secret.expose(), keyed.key, &keyed.fingerprint, &now).await;
    match claim {
        Ok(Reservation::Fresh) => return Ok(Claimed::Fresh(Box::new(work))),
        _ => work.roll_back().await,
    }
    match claim? {
        Reservation::Stored { status, body } => {
            let reply = Reply { status, headers: Vec::new(), body: body.into_bytes() };
            Ok(Claimed::Stored(Kept { reply, replayed: true }))
        }
        Reservation::Conflict => Err(Fault::IdempotencyConflict),
        Reservation::InProgress | Reservation::Fresh => Err(Fault::IdempotencyInProgress),
    }
}

async fn commit(
    app: &App,
    caller: Caller<'_>,
    keyed: &Keyed<'_>,
    mut work: Box<OpenTransaction>,
    reply: &Reply,
) -> Result<(), Fault> {
    let secret = app.store.secret_of(caller.place);
    work.keep(secret.expose(), keyed.key, reply.status, &String::from_utf8_lossy(&reply.body)).await?;
    work.commit().await
}

/// Keeps an answer whose work left nothing behind. What a retry may better (401, 429, 5xx) is not kept.
async fn keep_alone(app: &App, caller: Caller<'_>, keyed: &Keyed<'_>, reply: Reply) -> Result<Kept, Fault> {
    if matches!(reply.status, 401 | 429 | 500..) {
        return Ok(Kept { reply, replayed: false });
    }
    match claim(app, caller, keyed).await? {
        Claimed::Stored(kept) => Ok(kept),
        Claimed::Fresh(work) => {
            commit(app, caller, keyed, work, &reply).await?;
            Ok(Kept { reply, replayed: false })
        }
    }
}
