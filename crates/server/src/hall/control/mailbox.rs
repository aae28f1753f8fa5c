//! Acts on the mailbox of a workspace, which is read by IMAP.

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::plan::mailbox::new_mailbox;
use serde_json::{Map, Value, json};

use crate::hall::control::ControlCall;
use crate::hall::control::email::rows_of;
use crate::hall::inbound::sealed_mailbox_password;
use crate::providers::ImapError;
use crate::store::control::mailboxes::{MailboxPosition, StoredMailbox};
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::record;

impl ControlCall<'_> {
    /// The mailbox.
    pub(super) async fn mailbox(&self) -> Result<Answer, Fault> {
        let found = self.app.store.control.mailbox(self.holder().workspace_id).await?;
        found.map(|row| record(row, false)).ok_or_else(|| Fault::internal("a workspace that is none"))
    }

    /// Opens a new mailbox, so that wrong settings are refused at once. Returns where reading begins.
    pub(super) async fn reach_mailbox(&self, values: &Map<String, Value>) -> Result<MailboxPosition, Fault> {
        let new = new_mailbox(values)?;
        let work = async {
            let mut folder = self.app.providers.open_mailbox(&new.settings).await?;
            let last_uid = folder.position(new.since.as_deref()).await?;
            let position = MailboxPosition { uid_validity: folder.uid_validity, last_uid };
            folder.close().await;
            Ok(position)
        };
        work.await.map_err(|error: ImapError| match error {
            ImapError::NotAllowed => Fault::Refused {
                code: "target_not_allowed",
                message: error.words(),
                hint: Some("Mailboxes of public servers can be read.".into()),
            },
            ImapError::Wrong(field, message) => {
                Fault::ValidationFailed { message, hint: None, field: Some(field.to_owned()) }
            }
            ImapError::Down(message) => Fault::ValidationFailed {
                message,
                hint: Some("Check \"host\", \"port\" and \"tls\", and try again.".into()),
                field: Some("host".into()),
            },
        })
    }

    pub(super) async fn set_mailbox(
        &self,
        transaction: &mut ControlTransaction<'_>,
        values: &Map<String, Value>,
        position: MailboxPosition,
    ) -> Result<Answer, Fault> {
        let new = new_mailbox(values)?;
        let (workspace_id, now) = (self.holder().workspace_id, self.now());
        let password = sealed_mailbox_password(self.app, workspace_id, &new.settings.password);
        let stored = StoredMailbox {
            workspace_id,
            settings: &new.settings,
            password: &password,
            position,
            actor: &self.caller.who.actor,
            now: &now,
        };
        let set = transaction.set_mailbox(&stored).await?;
        set.map(|row| record(row, true)).ok_or_else(|| Fault::internal("a mailbox was not stored"))
    }

    pub(super) async fn remove_mailbox(&self, transaction: &mut ControlTransaction<'_>) -> Result<Answer, Fault> {
        if !transaction.remove_mailbox(self.holder().workspace_id).await? {
            return Err(Fault::NotFound { table: "integrations".into(), id: "mailbox".into() });
        }
        let cells = [("configured", json!(false)), ("deleted", json!(true))];
        Ok(record(rows_of(&[cells.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()]), false))
    }
}
