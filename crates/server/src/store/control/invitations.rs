//! Invitations to workspaces: creates, lists, withdraws and accepts them.

use crm::model::fault::Fault;

use crate::store::control::audit::{AuditEntry, NO_DETAILS, insert_entry};
use crate::store::control::keys::{NewKey, insert_key};
use crate::store::control::lists::{First, PagedList};
use crate::store::control::members::RANKS;
use crate::store::control::{Control, bytea};

/// The most invitations that an address gets by e-mail within an hour.
const MOST_MAILS: i64 = 5;

/// An invitation `i` is void if its inviter is no longer an owner: they have its token, and could use it to come back.
const BY_AN_OWNER: &str = "EXISTS (SELECT FROM members AS m WHERE m.workspace_id = i.workspace_id AND m.user_id = i.invited_by AND m.role = 'owner')";

/// The open invitations to a workspace; `$5` is the current time. The list holds no token.
pub static INVITATIONS: PagedList = PagedList {
    columns: &[
        ("id", "i.id"),
        ("email", "i.email"),
        ("role", "i.role"),
        ("invited_by", "i.invited_by"),
        ("created_at", "i.created_at"),
        ("expires_at", "i.expires_at"),
    ],
    from: "invites AS i",
    conditions: &["i.workspace_id = $1", "i.accepted_at IS NULL", "i.expires_at > $5::timestamptz", BY_AN_OWNER],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// An invitation to be stored.
#[derive(Debug)]
pub struct NewInvitation<'a> {
    /// `inv_…`
    pub id: &'a str,
    /// The invited address.
    pub email: &'a str,
    /// `member` or `viewer`
    pub role: &'a str,
    /// SHA-256 of the token that the inviter gets.
    pub token_hash: [u8; 32],
    /// When it expires, ISO 8601.
    pub expires_at: &'a str,
    /// The e-mail that contains it, `mail_…`.
    pub mail_id: &'a str,
    /// The address of this Kith, for the link in the e-mail.
    pub public_url: &'a str,
}

/// An invitation that can be accepted.
#[derive(Debug)]
pub struct OpenInvitation {
    /// `ws_…`
    pub workspace_id: String,
    /// The invited address.
    pub email: String,
    /// `member` or `viewer`
    pub role: String,
    /// The workspace's display name, if it has one.
    pub workspace_name: Option<String>,
}

impl Control {
    /// Stores an invitation and queues its e-mail. An open invitation to the same address ends. An address that was invited
    /// several times within the hour gets no further e-mail, even from another inviter.
    pub async fn invite(&self, entry: &AuditEntry<'_>, new: &NewInvitation<'_>) -> Result<(), Fault> {
        let details = "jsonb_build_object('email', $6::text, 'role', $7::text)";
        let insert_entry = insert_entry("member.invited", "$5", details, "");
        let sql = format!(
            "WITH ended AS (
                 DELETE FROM invites WHERE workspace_id = $2 AND email = $6 AND accepted_at IS NULL),
             made AS (
                 INSERT INTO invites (id, workspace_id, email, role, token_hash, invited_by, created_at, expires_at)
                 VALUES ($5, $2, $6, $7, $8::bytea, $3, $4::timestamptz, $9::timestamptz)),
             mail AS (
                 INSERT INTO outgoing_mail (id, letter, invite_id, public_url, created_at)
                 SELECT $10, 'invite', $5, $11, $4::timestamptz
                 WHERE (SELECT count(*) FROM invites
                        WHERE email = $6 AND workspace_id <> $2 AND created_at > $4::timestamptz - interval '1 hour')
                     + (SELECT count(*) FROM audit
                        WHERE workspace_id = $2 AND occurred_at > $4::timestamptz - interval '1 hour'
                          AND action = 'member.invited' AND details ->> 'email' = $6) < $12::bigint)
             {insert_entry}"
        );
        let (hash, most) = (bytea(&new.token_hash), MOST_MAILS.to_string());
        let own = [new.id, new.email, new.role, &hash, new.expires_at, new.mail_id, new.public_url, &most].map(Some);
        self.query(&sql, &entry.params(own)).await.map(drop)
    }

    /// The open invitation with this token.
    pub async fn find_invitation(&self, token_hash: &[u8; 32], now: &str) -> Result<Option<OpenInvitation>, Fault> {
        let sql = format!(
            "SELECT workspace_id, email, role, (SELECT w.name FROM workspaces AS w WHERE w.id = i.workspace_id) AS workspace_name FROM invites AS i
             WHERE (token_hash = $1::bytea OR letter_token_hash = $1::bytea)
               AND accepted_at IS NULL AND expires_at > $2::timestamptz AND {BY_AN_OWNER}"
        );
        self.query(&sql, &[Some(&bytea(token_hash)), Some(now)]).await?.first(|row| {
            Ok(OpenInvitation {
                workspace_id: row.get("workspace_id")?,
                email: row.get("email")?,
                role: row.get("role")?,
                workspace_name: row.optional("workspace_name")?,
            })
        })
    }

    /// Accepts an invitation: makes the person a member (a member keeps a higher role) and stores a live key. If it is accepted
    /// twice at the same time, one attempt succeeds. Returns the member's role; `None` if the invitation is not open.
    pub async fn accept_invitation(
        &self,
        entry: &AuditEntry<'_>,
        token_hash: &[u8; 32],
        key: &NewKey<'_>,
    ) -> Result<Option<String>, Fault> {
        let insert_key = insert_key("member.role", ", member");
        let details = "jsonb_build_object('role', role)";
        let insert_entry = insert_entry("member.joined", "$3", details, "FROM member");
        let sql = format!(
            "WITH taken AS (
                 UPDATE invites AS i SET accepted_at = $4::timestamptz
                 WHERE (token_hash = $6::bytea OR letter_token_hash = $6::bytea) AND workspace_id = $2
                   AND accepted_at IS NULL AND expires_at > $4::timestamptz AND {BY_AN_OWNER}
                 RETURNING workspace_id, role),
             member AS (
                 INSERT INTO members AS m (workspace_id, user_id, role, created_at)
                 SELECT workspace_id, $3, role, $4::timestamptz FROM taken
                 ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = CASE
                     WHEN array_position({RANKS}, excluded.role)
                        > array_position({RANKS}, m.role) THEN excluded.role ELSE m.role END
                 RETURNING role),
             key AS ({insert_key}),
             entry AS ({insert_entry})
             SELECT role FROM member"
        );
        let accepted = self.query(&sql, &entry.params([Some(&key.to_json()), Some(&bytea(token_hash))])).await?;
        accepted.first(|row| row.get("role"))
    }

    /// Withdraws an invitation. Returns whether it was open.
    pub async fn withdraw_invitation(&self, entry: &AuditEntry<'_>, invitation_id: &str) -> Result<bool, Fault> {
        let insert_entry = insert_entry("invite.withdrawn", "id", NO_DETAILS, "FROM gone");
        let sql = format!(
            "WITH gone AS (
                 DELETE FROM invites WHERE id = $5 AND workspace_id = $2 AND accepted_at IS NULL RETURNING id),
             entry AS ({insert_entry})
             SELECT id FROM gone"
        );
        Ok(!self.query(&sql, &entry.params([Some(invitation_id)])).await?.is_empty())
    }
}
