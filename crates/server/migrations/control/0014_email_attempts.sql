-- What is known of failed attempts: to record a message of a mailbox, and to send an e-mail.

ALTER TABLE mailboxes ADD COLUMN tried_uid bigint, ADD COLUMN tries integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN mailboxes.tried_uid IS 'The message after last_uid that could not be recorded.';
COMMENT ON COLUMN mailboxes.tries IS 'How often that was tried. The message is skipped after some tries.';

ALTER TABLE outgoing_emails ADD COLUMN tried_at timestamptz;
COMMENT ON COLUMN outgoing_emails.tried_at IS 'The first attempt that the provider may have accepted. A provider with idempotency keys knows them for a day from then on.';
ALTER TABLE outgoing_emails ADD COLUMN is_recorded boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN outgoing_emails.is_recorded IS 'Whether the record has the outcome. If it is still due then, the provider is asked for the Message-ID.';
