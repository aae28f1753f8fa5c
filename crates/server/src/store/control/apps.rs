//! Connected apps: the programs, what people granted them, and their codes and tokens.

use crm::model::fault::Fault;
use crm::model::id;

use crate::store::control::audit::{AuditEntry, insert_entry};
use crate::store::control::grants::{Grant, WORKSPACE, grant};
use crate::store::control::keys::COUNT_CHANGE;
use crate::store::control::lists::{First, PagedList};
use crate::store::control::members::RANKS;
use crate::store::control::rows::ControlRow;
use crate::store::control::{Control, bytea};

/// The apps that are connected to a workspace. `$5` is the person if only their own are listed.
pub static APPS: PagedList = PagedList {
    columns: &[
        ("id", "g.id"),
        ("client_id", "g.client_id"),
        ("name", "g.client_name"),
        ("user_id", "g.user_id"),
        ("scopes", "string_to_array(g.scopes, ' ')"),
        ("mode", "g.mode"),
        ("created_at", "g.created_at"),
        ("last_used_at", "g.last_used_at"),
    ],
    from: "app_grants AS g",
    conditions: &[
        "g.workspace_id = $1",
        "g.revoked_at IS NULL",
        "g.begun_at IS NOT NULL",
        "($5 = '' OR g.user_id = $5)",
    ],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A program that registered itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredApp {
    /// `app_…`
    pub id: String,
    /// Its name, as it says.
    pub name: String,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
}

/// What a person grants a program.
#[derive(Debug)]
pub struct NewGrant<'a> {
    /// `og_…`
    pub id: &'a str,
    /// The program's id.
    pub client_id: &'a str,
    /// Its name, for the list of connected apps and the feed.
    pub client_name: &'a str,
    /// `live` or `test`
    pub mode: &'a str,
    /// The rights, with spaces between them.
    pub scopes: &'a str,
    /// The address that tokens are good for.
    pub resource: &'a str,
    /// SHA-256 of the code.
    pub code_hash: [u8; 32],
    /// Where the code is sent.
    pub redirect_uri: &'a str,
    /// The verifier's challenge.
    pub challenge: &'a str,
    /// When the code expires, ISO 8601.
    pub expires_at: &'a str,
}

/// A code that was exchanged.
#[derive(Debug)]
pub struct UsedCode {
    /// `og_…`
    pub grant_id: String,
    /// The program that may exchange it.
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// The verifier's challenge.
    pub challenge: String,
    /// The rights of the grant.
    pub scopes: String,
    /// The address that tokens are good for.
    pub resource: String,
    /// Whether it is valid: not used before, not expired, and the grant stands.
    pub is_valid: bool,
    /// Whether it had been used before.
    pub is_repeated: bool,
}

/// A refresh token that was exchanged.
#[derive(Debug)]
pub struct UsedRefreshToken {
    /// `og_…`
    pub grant_id: String,
    /// The rights of the grant.
    pub scopes: String,
    /// The address that tokens are good for.
    pub resource: String,
    /// Whether it is valid: not used before, not expired, and the grant stands.
    pub is_valid: bool,
    /// Whether it had been used before.
    pub is_repeated: bool,
}

/// A token to be stored.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// `access` or `refresh`
    pub kind: &'static str,
    /// When it expires, ISO 8601.
    pub expires_at: &'a str,
}

/// The rights of an access token.
#[derive(Debug)]
pub struct AppAccess {
    /// The role and the workspace.
    pub grant: Grant,
    /// The person who granted them, `u_…`.
    pub user_id: String,
    /// The program's name.
    pub client_name: String,
    /// The rights, with spaces between them.
    pub scopes: String,
    /// Whether the person may write, and so could let the program write.
    pub person_writes: bool,
    /// The address that the token is good for.
    pub resource: String,
    /// When the token expires, in Unix seconds.
    pub expires_at: i64,
}

impl Control {
    /// Stores a program that registered itself.
    pub async fn register_app(&self, app: &RegisteredApp, now: &str) -> Result<(), Fault> {
        let uris = serde_json::json!(app.redirect_uris).to_string();
        let sql = "INSERT INTO app_clients (id, name, redirect_uris, created_at)
                   SELECT $1, $2, ARRAY(SELECT jsonb_array_elements_text($3::jsonb)), $4::timestamptz";
        self.query(sql, &[Some(&app.id), Some(&app.name), Some(&uris), Some(now)]).await.map(drop)
    }

    /// A program that registered itself.
    pub async fn registered_app(&self, client_id: &str) -> Result<Option<RegisteredApp>, Fault> {
        if !id::is_id(client_id, "app") {
            return Ok(None);
        }
        let sql = "SELECT id, name, to_jsonb(redirect_uris)::text AS uris FROM app_clients WHERE id = $1";
        self.query(sql, &[Some(client_id)]).await?.first(|row| {
            let uris: String = row.get("uris")?;
            let redirect_uris = serde_json::from_str(&uris).map_err(|error| Fault::internal(error.to_string()))?;
            Ok(RegisteredApp { id: row.get("id")?, name: row.get("name")?, redirect_uris })
        })
    }

    /// Stores a grant and its code.
    pub async fn grant_app(&self, entry: &AuditEntry<'_>, new: &NewGrant<'_>) -> Result<(), Fault> {
        let insert_entry =
            insert_entry("app.granted", "$5", "jsonb_build_object('name', $7::text, 'scopes', $9::text)", "");
        let sql = format!(
            "WITH granted AS (
                 INSERT INTO app_grants (id, client_id, client_name, user_id, workspace_id, mode, scopes, resource, created_at)
                 VALUES ($5, $6, $7, $3, $2, $8, $9, $10, $4::timestamptz) RETURNING id),
             code AS (
                 INSERT INTO app_codes (hash, grant_id, redirect_uri, challenge, expires_at)
                 SELECT $11::bytea, id, $12, $13, $14::timestamptz FROM granted)
             {insert_entry}"
        );
        let hash = bytea(&new.code_hash);
        let params = entry.params([
            Some(new.id),
            Some(new.client_id),
            Some(new.client_name),
            Some(new.mode),
            Some(new.scopes),
            Some(new.resource),
            Some(hash.as_str()),
            Some(new.redirect_uri),
            Some(new.challenge),
            Some(new.expires_at),
        ]);
        self.query(&sql, &params).await.map(drop)
    }

    /// Uses a code up. `None` if there is no such code.
    pub async fn use_app_code(&self, hash: &[u8; 32], now: &str) -> Result<Option<UsedCode>, Fault> {
        let sql = "WITH found AS (SELECT * FROM app_codes WHERE hash = $1::bytea FOR UPDATE),
             used AS (UPDATE app_codes AS c SET used_at = $2::timestamptz FROM found WHERE c.hash = found.hash AND found.used_at IS NULL)
             SELECT g.id, g.client_id, f.redirect_uri, f.challenge, g.scopes, g.resource,
                    f.used_at IS NULL AND f.expires_at > $2::timestamptz AND g.revoked_at IS NULL AS valid,
                    f.used_at IS NOT NULL AS repeated
             FROM found AS f JOIN app_grants AS g ON g.id = f.grant_id";
        self.query(sql, &[Some(&bytea(hash)), Some(now)]).await?.first(|row| {
            Ok(UsedCode {
                grant_id: row.get("id")?,
                client_id: row.get("client_id")?,
                redirect_uri: row.get("redirect_uri")?,
                challenge: row.get("challenge")?,
                scopes: row.get("scopes")?,
                resource: row.get("resource")?,
                is_valid: row.is("valid")?,
                is_repeated: row.is("repeated")?,
            })
        })
    }

    /// Uses a refresh token of this program up. `None` if there is no such token.
    pub async fn use_refresh_token(
        &self,
        hash: &[u8; 32],
        client_id: &str,
        now: &str,
    ) -> Result<Option<UsedRefreshToken>, Fault> {
        let sql = "WITH found AS (
                 SELECT t.*, g.scopes, g.resource, g.revoked_at FROM app_tokens AS t JOIN app_grants AS g ON g.id = t.grant_id
                 WHERE t.hash = $1::bytea AND t.kind = 'refresh' AND g.client_id = $2 FOR UPDATE OF t),
             used AS (UPDATE app_tokens AS t SET used_at = $3::timestamptz FROM found WHERE t.hash = found.hash AND found.used_at IS NULL)
             SELECT grant_id, scopes, resource, used_at IS NOT NULL AS repeated,
                    used_at IS NULL AND expires_at > $3::timestamptz AND revoked_at IS NULL AS valid FROM found";
        self.query(sql, &[Some(&bytea(hash)), Some(client_id), Some(now)]).await?.first(|row| {
            Ok(UsedRefreshToken {
                grant_id: row.get("grant_id")?,
                scopes: row.get("scopes")?,
                resource: row.get("resource")?,
                is_valid: row.is("valid")?,
                is_repeated: row.is("repeated")?,
            })
        })
    }

    /// Stores the tokens of a grant, and that the program uses it.
    pub async fn issue_app_tokens(&self, grant_id: &str, tokens: &[NewToken<'_>], now: &str) -> Result<(), Fault> {
        let row = |it: &NewToken<'_>| serde_json::json!({"hash": hex::encode(it.hash), "kind": it.kind, "expires_at": it.expires_at});
        let rows = serde_json::Value::from_iter(tokens.iter().map(row)).to_string();
        let sql = "WITH used AS (
                 UPDATE app_grants SET begun_at = COALESCE(begun_at, $2::timestamptz), last_used_at = $2::timestamptz
                 WHERE id = $1)
             INSERT INTO app_tokens (hash, grant_id, kind, created_at, expires_at)
             SELECT decode(t.hash, 'hex'), $1, t.kind, $2::timestamptz, t.expires_at
             FROM jsonb_to_recordset($3::jsonb) AS t (hash text, kind text, expires_at timestamptz)";
        self.query(sql, &[Some(grant_id), Some(now), Some(&rows)]).await.map(drop)
    }

    /// Ends a grant, so that none of its tokens is valid. Returns whether it stood.
    pub async fn end_app_grant(&self, grant_id: &str, why: &str, now: &str) -> Result<bool, Fault> {
        let sql = format!(
            "WITH ended AS (
                 UPDATE app_grants SET revoked_at = $2::timestamptz, revoked_why = $3
                 WHERE id = $1 AND revoked_at IS NULL RETURNING id)
             SELECT id, {COUNT_CHANGE} FROM ended"
        );
        Ok(!self.query(&sql, &[Some(grant_id), Some(now), Some(why)]).await?.is_empty())
    }

    /// Ends a grant in the name of a member: their own, or any with `all`. Returns whether there was one.
    pub async fn disconnect_app(&self, entry: &AuditEntry<'_>, grant_id: &str, all: bool) -> Result<bool, Fault> {
        let insert_entry = insert_entry("app.revoked", "id", "jsonb_build_object('name', client_name)", "FROM ended");
        let sql = format!(
            "WITH ended AS (
                 UPDATE app_grants SET revoked_at = $4::timestamptz, revoked_why = 'disconnected'
                 WHERE id = $5 AND workspace_id = $2 AND revoked_at IS NULL AND (user_id = $3 OR $6::boolean)
                 RETURNING id, client_name),
             entry AS ({insert_entry})
             SELECT id, {COUNT_CHANGE} FROM ended"
        );
        let all = if all { "t" } else { "f" };
        Ok(!self.query(&sql, &entry.params([Some(grant_id), Some(all)])).await?.is_empty())
    }

    /// The grant of a token of this program, of either kind.
    pub async fn grant_of_token(&self, hash: &[u8; 32], client_id: &str) -> Result<Option<String>, Fault> {
        let sql = "SELECT g.id FROM app_tokens AS t JOIN app_grants AS g ON g.id = t.grant_id
                   WHERE t.hash = $1::bytea AND g.client_id = $2";
        self.query(sql, &[Some(&bytea(hash)), Some(client_id)]).await?.first(|row| row.get("id"))
    }

    /// The rights of an access token; `None` if it was never issued, or its grant or the membership has ended. The token may
    /// have expired.
    pub async fn app_access(&self, hash: &[u8; 32]) -> Result<Option<AppAccess>, Fault> {
        let sql = format!(
            "SELECT g.id AS key_id, {WORKSPACE}, g.user_id, g.client_name, g.scopes, g.resource,
                    extract(epoch FROM t.expires_at)::bigint AS expires_at, m.role <> 'viewer' AS person_writes,
                    ({RANKS})[least(array_position({RANKS}, m.role),
                        array_position({RANKS}, CASE WHEN ' ' || g.scopes || ' ' LIKE '% crm:write %' THEN 'member' ELSE 'viewer' END))]
                        AS granted
             FROM app_tokens AS t
             JOIN app_grants AS g ON g.id = t.grant_id AND g.revoked_at IS NULL
             JOIN members AS m ON m.workspace_id = g.workspace_id AND m.user_id = g.user_id
             JOIN workspaces AS w ON w.id = g.workspace_id
             JOIN databases AS d ON d.workspace_id = w.id AND d.mode = g.mode AND d.state = 'taken'
             WHERE t.hash = $1::bytea AND t.kind = 'access'"
        );
        self.query(&sql, &[Some(&bytea(hash))]).await?.first(|row: ControlRow<'_>| {
            Ok(AppAccess {
                user_id: row.get("user_id")?,
                client_name: row.get("client_name")?,
                scopes: row.get("scopes")?,
                person_writes: row.is("person_writes")?,
                resource: row.get("resource")?,
                expires_at: row.get("expires_at")?,
                grant: grant(row)?,
            })
        })
    }
}
