//! A workspace's API keys: made, listed, ended, rotated. The key itself is shown once, when it is made.

use serde_json::{Value, json};

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::{DIALECTS, Dialect};
use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::{Mode, Role};

use crate::access::api_key;
use crate::clock::Clock;
use crate::people::context::{PersonContext, as_listed};
use crate::people::pages;
use crate::store::control::members::{KEYS, NewKey};
use crate::store::fault::of_connection;

/// Longest name of a key, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// What the key is called that a claim gives.
pub const OF_CLAIM: &str = "claim";
/// What the key is called that an invitation gives.
pub const OF_INVITE: &str = "invite";
const OF_ROTATION: &str = "rotated";

/// A kind of key: what it speaks, which data it sees, and what it begins with.
#[derive(Clone, Copy)]
struct Kind {
    dialect: &'static Dialect,
    mode: Mode,
    prefix: &'static str,
}

impl Kind {
    /// The kind that was asked for. Where the dialect is left out, it is the first that has keys of the mode.
    fn of(dialect: Option<&str>, mode: Option<&str>) -> Result<Kind, Fault> {
        let names = |names: Vec<&str>| names.join(" or ");
        let mode = mode.map_or(Ok(Mode::Live), |mode| {
            Mode::parse(mode).ok_or_else(|| {
                let hint = format!("mode is {}.", names(vec![Mode::Live.name(), Mode::Test.name()]));
                Fault::invalid_with_hint(format!("There is no mode \"{mode}\"."), hint)
            })
        })?;
        let meant: Vec<_> = DIALECTS.iter().filter(|it| dialect.is_none_or(|dialect| it.name == dialect)).collect();
        let kind = meant.iter().find_map(|dialect| Some(Kind { dialect, mode, prefix: dialect.key_prefix(mode)? }));
        kind.ok_or_else(|| match dialect.filter(|_| !meant.is_empty()) {
            Some(dialect) => {
                let able = DIALECTS.iter().filter(|it| it.key_prefix(mode).is_some()).map(|it| it.name).collect();
                let message = format!("Keys of dialect \"{dialect}\" have no mode \"{}\".", mode.name());
                Fault::invalid_with_hint(message, format!("For this mode, dialect is {}.", names(able)))
            }
            None => {
                let message = format!("There is no dialect \"{}\".", dialect.unwrap_or_default());
                let all = DIALECTS.iter().map(|it| it.name).collect();
                Fault::invalid_with_hint(message, format!("dialect is {}.", names(all)))
            }
        })
    }
}

/// A key that was just made. It is whole in here, so it is never printed.
pub struct Minted {
    /// The key itself; shown this once.
    pub api_key: String,
    id: String,
    hint: String,
    name: Option<String>,
    kind: Kind,
    role: Role,
}

impl Minted {
    /// A live key that speaks agentCRM, as claims, invitations and rotation give one.
    pub fn live(clock: &Clock, name: &str, role: Role) -> Result<Minted, Fault> {
        Ok(Minted::new(clock, Kind::of(Some(AGENTCRM.name), None)?, Some(name), role))
    }

    fn new(clock: &Clock, kind: Kind, name: Option<&str>, role: Role) -> Minted {
        let api_key = api_key::make(kind.prefix);
        let hint = api_key::hint(&api_key, kind.prefix);
        Minted { api_key, id: clock.id("ak"), hint, name: name.map(str::to_owned), kind, role }
    }

    /// As the store takes it.
    pub fn row(&self) -> NewKey<'_> {
        NewKey {
            id: &self.id,
            hash: api_key::hash(&self.api_key),
            hint: &self.hint,
            name: self.name.as_deref(),
            dialect: self.kind.dialect.name,
            mode: self.kind.mode.name(),
            role: self.role.name(),
        }
    }
}

/// The keys that work.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    // When they were last used is noted once a minute; who looks wants to know it now.
    context.keys.note_uses(context.store, Some(member.workspace_id)).await.map_err(of_connection)?;
    pages::page(context, &KEYS, member.workspace_id, &[], ask).await
}

/// A new key: `{name, dialect, mode, role}`, all of which may be left out.
pub async fn create(context: &PersonContext<'_>, workspace_id: &str, call: &Call<'_>) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let body = call.object()?;
    let known = ["name", "dialect", "mode", "role"];
    if let Some(unknown) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Fault::unknown_field(unknown, known.into_iter()));
    }
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Fault::invalid(format!("\"{name}\" takes text."))),
    };
    let name = text("name")?;
    if name.is_some_and(|name| name.chars().count() > MAX_NAME_CHARACTERS || name.contains('\0')) {
        return Err(Fault::invalid(format!("\"name\" takes up to {MAX_NAME_CHARACTERS} characters.")));
    }
    let kind = Kind::of(text("dialect")?, text("mode")?)?;
    let role = text("role")?.unwrap_or(member.role.min(Role::Member).name());
    let role = Role::parse(role).ok_or_else(|| {
        Fault::invalid_with_hint(format!("There is no role \"{role}\"."), "role is owner, member or viewer.")
    })?;
    if role > member.role {
        return Err(Fault::Forbidden {
            message: format!("A {} can't make a key of role {}.", member.role.name(), role.name()),
        });
    }
    if kind.mode == Mode::Test && context.store.ensure_test_database(workspace_id).await.map_err(of_connection)? {
        context.database_taken.notify_one();
        tracing::info!(workspace_id, "a workspace has test data from now on");
    }
    let (key, act_id, now) = (Minted::new(context.clock, kind, name, role), context.clock.id("au"), context.now());
    context.store.control.create_key(member.act(&act_id, &now), &key.row()).await.map_err(of_connection)?;
    let row = key.row();
    let text = json!({"id": row.id, "workspace_id": workspace_id, "name": name, "dialect": row.dialect, "mode": row.mode,
        "role": row.role, "hint": row.hint, "created_at": as_listed(&now), "api_key": key.api_key});
    Ok(Answer::Object { text: text.to_string(), created: true })
}

/// Ends a key. Owners may end any, others their own.
pub async fn revoke(context: &PersonContext<'_>, workspace_id: &str, key_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let (act_id, now) = (context.clock.id("au"), context.now());
    let only_own = member.role != Role::Owner;
    let ended =
        context.store.control.revoke_key(member.act(&act_id, &now), key_id, only_own).await.map_err(of_connection)?;
    if !ended {
        return Err(Fault::NotFound { table: "the keys that you may end".into(), id: key_id.to_owned() });
    }
    context.keys.forget();
    Ok(Answer::Object { text: json!({"id": key_id, "deleted_at": now}).to_string(), created: false })
}

/// Ends the visitor's own live keys that speak agentCRM, and makes a new one (agentCRM seed, "Endpoints").
pub async fn rotate(context: &PersonContext<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let (key, act_id, now) =
        (Minted::live(context.clock, OF_ROTATION, member.role)?, context.clock.id("au"), context.now());
    context.store.control.rotate_keys(member.act(&act_id, &now), &key.row()).await.map_err(of_connection)?;
    context.keys.forget();
    let text = json!({"id": key.id, "workspace_id": workspace_id, "api_key": key.api_key}).to_string();
    Ok(Answer::Object { text, created: false })
}
