//! Replaces the installation's secret key. The key decides on passwords of roles, on the secrets by which workspaces' databases know this server,
//! and on the key that seals. A start with the new key and the old one replaces all of them; if it is killed, the next one begins again.
//! All other processes must have been stopped, because they know the old key only.

use pg::conn::Login;
use pg::{Conn, Error, Target};

use crate::store::Store;
use crate::store::cell::{
    Administrator, CONTROL_DATABASE, CONTROL_ROLE, Cells, TenantDatabase, literal, name, settings,
};
use crate::store::secrets::{SecretKey, SecretKeys};

/// The name of the embedded cluster's superuser.
const SUPERUSER: &str = "postgres";

/// Lets only one process at a time replace a key.
const LOCK: &str = "SELECT pg_advisory_lock(7236455902)";

/// The superuser of an embedded server that was set up with this key.
pub(super) fn superuser(secret: &SecretKey) -> Administrator {
    let password = secret.derive("superuser", SUPERUSER);
    Administrator { user: SUPERUSER.into(), password, database: "postgres".into() }
}

/// The superuser of an embedded server, whose password follows from the key.
pub(super) async fn administrator(target: &Target, keys: &SecretKeys) -> Result<Administrator, Error> {
    let own = superuser(&keys.current);
    match log_in(target, &own).await {
        Ok(_) => Ok(own),
        Err(error) if !is_wrong_password(&error) => Err(error),
        Err(_) => {
            let old = superuser(keys.old.as_ref().ok_or_else(wrong_key)?);
            let mut conn = log_in(target, &old).await.map_err(explained)?;
            conn.script(&with_password(&own.user, &keys.current, "superuser")).await?;
            tracing::info!("the superuser's password follows from the new secret key");
            Ok(own)
        }
    }
}

async fn log_in(target: &Target, administrator: &Administrator) -> Result<Conn, Error> {
    let Administrator { user, password, database } = administrator;
    Conn::open(target, &Login { user, password: password.expose(), database, settings: settings::ADMINISTRATOR }).await
}

/// Gives a role the password that follows from a key.
fn with_password(role: &str, secret: &SecretKey, purpose: &str) -> String {
    let verifier = pg::scram::verifier(secret.derive(purpose, role).expose(), 1, &crate::clock::random());
    format!("ALTER ROLE {} PASSWORD {};", name(role), literal(&verifier))
}

/// A session of Kith's own role in the control database. The role gets the new key's password if the old key is given and is right.
pub(super) async fn control(cells: &Cells, keys: &SecretKeys) -> Result<Conn, Error> {
    match cells.control().await {
        Err(error) if is_wrong_password(&error) => {}
        other => return other,
    }
    let old = keys.old.as_ref().ok_or_else(wrong_key)?;
    let mut admin = cells.administer(0, CONTROL_DATABASE).await?;
    let exists = admin.query("SELECT FROM pg_tables WHERE (schemaname, tablename) = ('public', 'meta')", &[]).await?;
    if exists.is_empty() || key_check(&mut admin).await? != Some(old.check()) {
        return Err(wrong_key());
    }
    admin.script(&with_password(CONTROL_ROLE, &keys.current, "role")).await?;
    cells.control().await.map_err(explained)
}

async fn key_check(conn: &mut Conn) -> Result<Option<String>, Error> {
    let rows = conn.query("SELECT value FROM public.meta WHERE key = 'key_check'", &[]).await?;
    if rows.is_empty() { Ok(None) } else { rows.get(0, "value").map(Some) }
}

/// Checks the key, and replaces the old one if that is given: in each workspace's database, and in what is sealed.
pub(super) async fn replace_key(
    store: &Store,
    cells: &Cells,
    keys: &SecretKeys,
    control: &mut Conn,
) -> Result<(), Error> {
    let check = keys.current.check();
    control
        .query("INSERT INTO meta (key, value) VALUES ('key_check', $1) ON CONFLICT DO NOTHING", &[Some(&check)])
        .await?;
    control.query(LOCK, &[]).await?;
    // A start that was killed in the middle of it has left a note.
    let begun = control.query("SELECT value FROM meta WHERE key = 'key_rotation'", &[]).await?;
    let known = key_check(control).await?;
    let is_old = |check: Option<&str>| keys.old.as_ref().is_some_and(|old| check == Some(&old.check()));
    let is_current = known.as_deref() == Some(check.as_str());
    if !is_current && !is_old(known.as_deref()) {
        return Err(wrong_key());
    }
    if !is_current || !begun.is_empty() {
        control
            .query(
                "INSERT INTO meta (key, value) VALUES ('key_rotation', $1) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
                &[Some(&check)],
            )
            .await?;
        tracing::info!("replacing the secret key in all databases");
        let databases = replace_in_databases(store, cells, control).await?;
        control.query("UPDATE meta SET value = $1 WHERE key = 'key_check'", &[Some(&check)]).await?;
        control.query("DELETE FROM meta WHERE key = 'key_rotation'", &[]).await?;
        tracing::info!(databases, "replaced the secret key");
    }
    if keys.old.is_some() {
        store.control.seal_again(&store.sealer).await?;
    }
    control.query("SELECT pg_advisory_unlock_all()", &[]).await.map(drop)
}

/// Gives the roles of each database their new passwords, and tells the database the secret by which it knows this server.
async fn replace_in_databases(store: &Store, cells: &Cells, control: &mut Conn) -> Result<usize, Error> {
    let rows = control
        .query(
            "SELECT id, cell_id, name, role, version FROM databases WHERE state IN ('warm', 'taken') ORDER BY id",
            &[],
        )
        .await?;
    for row in 0..rows.len() {
        let place = TenantDatabase::read(&rows, row)?;
        let mut admin = match cells.administer(place.cell, &place.database).await {
            Err(Error::Server(error)) if error.code == "3D000" => {
                tracing::warn!(database = &*place.database, "a workspace's database is not there");
                continue;
            }
            opened => opened?,
        };
        let secret = literal(store.secret_of(&place).expose());
        admin
            .script(&format!(
                "ALTER ROLE {} PASSWORD {}; ALTER ROLE {} PASSWORD {};
                 UPDATE kith.secret SET token_hash = sha256(convert_to({secret}, 'UTF8'));",
                name(&place.role),
                literal(&cells.verifier(&place.role)),
                name(&place.viewer),
                literal(&cells.verifier(&place.viewer)),
            ))
            .await?;
    }
    Ok(rows.len())
}

fn is_wrong_password(error: &Error) -> bool {
    matches!(error, Error::Server(error) if error.code == "28P01")
}

fn explained(error: Error) -> Error {
    if is_wrong_password(&error) { wrong_key() } else { error }
}

fn wrong_key() -> Error {
    Error::Config(
        "the secret key is not the one that this database was set up with (KITH_SECRET_KEY, or secret_key in the data dir). To replace that key, give it as \
         KITH_SECRET_KEY_OLD"
            .into(),
    )
}
