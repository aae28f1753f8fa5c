//! The control plane's statements about invitations: made, listed, withdrawn, accepted.

use pg::Error;

use crate::store::control::Control;
use crate::store::control::accounts::bytea;
use crate::store::control::lists::{First, List};
use crate::store::control::members::{Act, NO_DETAILS, NewKey, entry, new_key};

/// An invitation that is about to be.
#[derive(Debug)]
pub struct NewInvite<'a> {
    /// `inv_…`
    pub id: &'a str,
    /// Whom it is for.
    pub email: &'a str,
    /// `member` or `viewer`
    pub role: &'a str,
    /// SHA-256 of the token that the inviter gets.
    pub token_hash: [u8; 32],
    /// ISO 8601.
    pub expires_at: &'a str,
    /// Its letter, `mail_…`.
    pub letter_id: &'a str,
    /// Where the letter's link leads.
    pub public_url: &'a str,
}

/// An invitation `i` is worth nothing once who made it may invite no more: they have its token, and could come back by it.
const BY_AN_OWNER: &str = "EXISTS (SELECT FROM members AS m WHERE m.workspace_id = i.workspace_id AND m.user_id = i.invited_by AND m.role = 'owner')";

/// The open invitations to a workspace, now being `$5`. Nothing in it accepts any.
pub static INVITES: List = List {
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

/// Letters with invitations that an address gets within an hour.
const MOST_LETTERS: i64 = 5;

impl Control {
    /// Writes an invitation down and queues its letter; an older one to the same address ends. An address that was invited
    /// again and again within the hour gets no further letter, whoever invites it.
    pub async fn invite(&self, act: Act<'_>, new: &NewInvite<'_>) -> Result<(), Error> {
        let hash = bytea(&new.token_hash);
        let entry = entry("member.invited", "$5", "jsonb_build_object('email', $6::text, 'role', $7::text)", "");
        self.query(
            &format!(
                "WITH ended AS (
                     DELETE FROM invites WHERE workspace_id = $2 AND email = $6 AND accepted_at IS NULL),
                 made AS (
                     INSERT INTO invites (id, workspace_id, email, role, token_hash, invited_by, created_at, expires_at)
                     VALUES ($5, $2, $6, $7, $8::bytea, $3, $4::timestamptz, $9::timestamptz)),
                 letter AS (
                     INSERT INTO outgoing_mail (id, letter, invite_id, public_url, created_at)
                     SELECT $10, 'invite', $5, $11, $4::timestamptz
                     WHERE (SELECT count(*) FROM invites
                            WHERE email = $6 AND workspace_id <> $2 AND created_at > $4::timestamptz - interval '1 hour')
                         + (SELECT count(*) FROM audit
                            WHERE workspace_id = $2 AND occurred_at > $4::timestamptz - interval '1 hour'
                              AND action = 'member.invited' AND details ->> 'email' = $6) < $12::bigint)
                 {entry}"
            ),
            &[
                Some(act.id),
                Some(act.workspace_id),
                Some(act.user_id),
                Some(act.now),
                Some(new.id),
                Some(new.email),
                Some(new.role),
                Some(&hash),
                Some(new.expires_at),
                Some(new.letter_id),
                Some(new.public_url),
                Some(&MOST_LETTERS.to_string()),
            ],
        )
        .await
        .map(|_| ())
    }

    /// Keeps the hash of the token that goes out in an invitation's letter.
    pub async fn keep_invite_token(&self, invite_id: &str, token_hash: &[u8; 32]) -> Result<(), Error> {
        let hash = bytea(token_hash);
        let sql = "UPDATE invites SET letter_token_hash = $2::bytea WHERE id = $1";
        self.query(sql, &[Some(invite_id), Some(&hash)]).await.map(drop)
    }

    /// The invitation with this token that is still open: its workspace, address and role.
    pub async fn find_invite(
        &self,
        token_hash: &[u8; 32],
        now: &str,
    ) -> Result<Option<(String, String, String)>, Error> {
        let hash = bytea(token_hash);
        let sql = format!(
            "SELECT workspace_id, email, role FROM invites AS i
             WHERE (token_hash = $1::bytea OR letter_token_hash = $1::bytea)
               AND accepted_at IS NULL AND expires_at > $2::timestamptz AND {BY_AN_OWNER}"
        );
        let rows = self.query(&sql, &[Some(&hash), Some(now)]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some((rows.get(0, "workspace_id")?, rows.get(0, "email")?, rows.get(0, "role")?)))
    }

    /// Accepts an invitation: makes the person a member (one who is one already keeps the higher role) and makes a live
    /// key. Of two who try at once, one succeeds.
    pub async fn accept_invite(
        &self,
        act: Act<'_>,
        token_hash: &[u8; 32],
        key: &NewKey<'_>,
    ) -> Result<Option<String>, Error> {
        let new_key = new_key("member.role", ", member");
        let entry = entry("member.joined", "$3", "jsonb_build_object('role', role)", "FROM member");
        let rows = self
            .query(
                &format!(
                    "WITH taken AS (
                         UPDATE invites AS i SET accepted_at = $4::timestamptz
                         WHERE (token_hash = $6::bytea OR letter_token_hash = $6::bytea) AND workspace_id = $2
                           AND accepted_at IS NULL AND expires_at > $4::timestamptz AND {BY_AN_OWNER}
                         RETURNING workspace_id, role),
                     member AS (
                         INSERT INTO members AS m (workspace_id, user_id, role, created_at)
                         SELECT workspace_id, $3, role, $4::timestamptz FROM taken
                         ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = CASE
                             WHEN array_position(ARRAY['viewer', 'member', 'owner'], excluded.role)
                                > array_position(ARRAY['viewer', 'member', 'owner'], m.role) THEN excluded.role ELSE m.role END
                         RETURNING role),
                     key AS ({new_key}),
                     entry AS ({entry})
                     SELECT role FROM member"
                ),
                &[
                    Some(act.id),
                    Some(act.workspace_id),
                    Some(act.user_id),
                    Some(act.now),
                    Some(&key.to_json()),
                    Some(&bytea(token_hash)),
                ],
            )
            .await?;
        if rows.is_empty() { Ok(None) } else { rows.get(0, "role").map(Some) }
    }

    /// Takes an invitation back. False where there is none that is open.
    pub async fn withdraw_invite(&self, act: Act<'_>, invite_id: &str) -> Result<bool, Error> {
        let entry = entry("invite.withdrawn", "id", NO_DETAILS, "FROM gone");
        let rows = self
            .query(
                &format!(
                    "WITH gone AS (
                         DELETE FROM invites WHERE id = $5 AND workspace_id = $2 AND accepted_at IS NULL RETURNING id),
                     entry AS ({entry})
                     SELECT id FROM gone"
                ),
                &[Some(act.id), Some(act.workspace_id), Some(act.user_id), Some(act.now), Some(invite_id)],
            )
            .await?;
        Ok(!rows.is_empty())
    }
}
