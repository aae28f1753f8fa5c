//! API keys of a workspace: creates, lists, revokes and rotates them. The key itself is shown only once, when it is created.

use serde_json::json;

use crm::dialect::agentcrm::AGENTCRM;
use crm::dialect::{DIALECTS, Dialect};
use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::page::PageAsk;
use crm::model::who::{Mode, Role};

use crate::access::api_key;
use crate::clock::{Clock, iso};
use crate::people::context::{PersonContext, as_listed};
use crate::people::paging;
use crate::store::control::keys::{KEYS, NewKey};

/// The longest name of a key, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// How long a revocation can be taken back.
const RESTORABLE_SECONDS: i64 = 10 * 60;

/// The name of the key that a claim creates.
pub const OF_CLAIM: &str = "claim";
/// The name of the key that is created when an invitation is accepted.
pub const OF_INVITATION: &str = "invite";
const OF_ROTATION: &str = "rotated";

/// The prefix of an anonymous workspace's key.
const ANONYMOUS_PREFIX: &str = "acrm_dev_";

/// A person's request for a key.
#[derive(Debug, Default)]
pub struct KeyRequest {
    /// The key's display name.
    pub name: Option<String>,
    /// The name of its dialect. If none is given, the first dialect that has keys of the mode.
    pub dialect: Option<String>,
    /// The name of its mode. If none is given, live.
    pub mode: Option<String>,
    /// Its role. If none is given, the person's own role or member, whichever is lower.
    pub role: Option<Role>,
}

/// A kind of key: its dialect, the data that it accesses, and its prefix.
#[derive(Clone, Copy)]
struct KeyKind {
    dialect: &'static Dialect,
    mode: Mode,
    prefix: &'static str,
}

impl KeyKind {
    fn of(dialect: Option<&str>, mode: Option<&str>) -> Result<KeyKind, Fault> {
        let names = |names: Vec<&str>| names.join(" or ");
        let mode = mode.map_or(Ok(Mode::Live), |mode| {
            Mode::parse(mode).ok_or_else(|| {
                let hint = format!("mode is {}.", names(vec![Mode::Live.name(), Mode::Test.name()]));
                Fault::invalid_with_hint(format!("There is no mode \"{mode}\"."), hint)
            })
        })?;
        let meant: Vec<_> = DIALECTS.iter().filter(|it| dialect.is_none_or(|dialect| it.name == dialect)).collect();
        let kind = meant.iter().find_map(|dialect| Some(KeyKind { dialect, mode, prefix: dialect.key_prefix(mode)? }));
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

/// A new key. It holds the whole key, so it is never printed.
pub struct IssuedKey {
    /// The key itself. It is shown only once.
    pub api_key: String,
    id: String,
    hint: String,
    name: Option<String>,
    kind: KeyKind,
    role: Role,
}

impl IssuedKey {
    /// Creates a live key of the agentCRM dialect.
    pub fn live(clock: &Clock, name: Option<&str>, role: Role) -> Result<IssuedKey, Fault> {
        Ok(IssuedKey::new(clock, KeyKind::of(Some(AGENTCRM.name), None)?, name, role))
    }

    /// Creates the key of an anonymous workspace.
    pub fn anonymous(clock: &Clock) -> Result<IssuedKey, Fault> {
        let kind = KeyKind { prefix: ANONYMOUS_PREFIX, ..KeyKind::of(Some(AGENTCRM.name), None)? };
        Ok(IssuedKey::new(clock, kind, None, Role::Member))
    }

    fn new(clock: &Clock, kind: KeyKind, name: Option<&str>, role: Role) -> IssuedKey {
        let api_key = api_key::make(kind.prefix);
        let hint = api_key::hint(&api_key, kind.prefix);
        IssuedKey { api_key, id: clock.id("ak"), hint, name: name.map(str::to_owned), kind, role }
    }

    /// The part of it that is stored.
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

/// Lists the valid keys.
pub async fn list(context: &PersonContext<'_>, workspace_id: &str, ask: PageAsk) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    // Last uses are normally stored once a minute. They are stored now, so that the list is up to date.
    context.app.keys.note_uses(&context.app.store, Some(member.workspace_id)).await?;
    paging::page(context, &KEYS, member.workspace_id, &[], ask).await
}

/// Creates a key. Its role may not be higher than the person's own.
pub async fn create(context: &PersonContext<'_>, workspace_id: &str, ask: &KeyRequest) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let name = ask.name.as_deref();
    if name.is_some_and(|name| name.chars().count() > MAX_NAME_CHARACTERS || name.contains('\0')) {
        return Err(Fault::invalid(format!("A key's name has up to {MAX_NAME_CHARACTERS} characters.")));
    }
    let kind = KeyKind::of(ask.dialect.as_deref(), ask.mode.as_deref())?;
    let role = ask.role.unwrap_or(member.role.min(Role::Member));
    if role > member.role {
        return Err(Fault::Forbidden {
            message: format!("A {} can't make a key of role {}.", member.role.name(), role.name()),
        });
    }
    if kind.mode == Mode::Test && context.app.store.ensure_test_database(workspace_id).await? {
        context.app.wakes.database_taken.notify_one();
        tracing::info!(workspace_id, "made a database for a workspace's test data");
    }
    let (key, entry) = (IssuedKey::new(&context.app.clock, kind, name, role), member.audit_entry(&context.app.clock));
    let row = key.row();
    context.app.store.control.create_key(&entry, &row).await?;
    context.app.keys.made();
    let text = json!({"id": row.id, "workspace_id": workspace_id, "name": name, "dialect": row.dialect, "mode": row.mode,
        "role": row.role, "hint": row.hint, "created_at": as_listed(&entry.now), "api_key": key.api_key});
    Ok(Answer::Object { text: text.to_string(), created: true })
}

/// Revokes a key. Owners may revoke any key, others their own.
pub async fn revoke(context: &PersonContext<'_>, workspace_id: &str, key_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let (entry, only_own) = (member.audit_entry(&context.app.clock), member.role != Role::Owner);
    if !context.app.store.control.revoke_key(&entry, key_id, only_own).await? {
        return Err(Fault::NotFound { table: "the keys that you may end".into(), id: key_id.to_owned() });
    }
    context.app.keys.forget();
    Ok(Answer::Object { text: json!({"id": key_id, "deleted_at": entry.now}).to_string(), created: false })
}

/// Takes back the revocation of a key, soon after it. Owners may restore any key, others their own. A key that ended otherwise, by a
/// rotation or with its member, stays revoked.
pub async fn restore(context: &PersonContext<'_>, workspace_id: &str, key_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let (entry, only_own) = (member.audit_entry(&context.app.clock), member.role != Role::Owner);
    let since = iso(context.app.clock.unix_seconds() - RESTORABLE_SECONDS);
    if !context.app.store.control.restore_key(&entry, key_id, only_own, &since).await? {
        return Err(Fault::NotFound { table: "the keys that were revoked just now".into(), id: key_id.to_owned() });
    }
    context.app.keys.forget();
    Ok(Answer::Object { text: json!({"id": key_id, "restored_at": entry.now}).to_string(), created: false })
}

/// Revokes the visitor's own live keys of the agentCRM dialect, and creates a new one.
pub async fn rotate(context: &PersonContext<'_>, workspace_id: &str) -> Result<Answer, Fault> {
    let member = context.member(workspace_id).await?;
    let key = IssuedKey::live(&context.app.clock, Some(OF_ROTATION), member.role)?;
    context.app.store.control.rotate_keys(&member.audit_entry(&context.app.clock), &key.row()).await?;
    context.app.keys.forget();
    let text = json!({"id": key.id, "workspace_id": workspace_id, "api_key": key.api_key}).to_string();
    Ok(Answer::Object { text, created: false })
}
