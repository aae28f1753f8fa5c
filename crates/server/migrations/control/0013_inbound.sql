-- E-mail that workspaces receive: mailboxes that are read, and the secret of the provider's webhook.

ALTER TABLE email_integrations ADD COLUMN webhook_secret bytea;
COMMENT ON COLUMN email_integrations.webhook_secret IS 'Signs the provider''s webhook about received e-mail. Sealed.';

CREATE TABLE mailboxes (
    workspace_id    text PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    host            text NOT NULL,
    port            integer NOT NULL,
    username        text NOT NULL,
    password        bytea NOT NULL,
    tls             text NOT NULL CHECK (tls IN ('implicit', 'required', 'none')),
    folder          text NOT NULL,
    address         text,
    uid_validity    bigint NOT NULL,
    last_uid        bigint NOT NULL,
    received        bigint NOT NULL DEFAULT 0,
    failures        integer NOT NULL DEFAULT 0,
    last_error      text,
    last_checked_at timestamptz,
    next_attempt_at timestamptz NOT NULL,
    taken_by        text,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX mailboxes_due ON mailboxes (next_attempt_at);
COMMENT ON TABLE mailboxes IS 'Mailboxes that are read by IMAP. Messages up to last_uid are recorded, as long as the server has the same uid_validity.';
COMMENT ON COLUMN mailboxes.password IS 'Sealed with a key that follows from the installation''s secret key.';
COMMENT ON COLUMN mailboxes.address IS 'The address whose e-mail it has, if the user''s name is none.';
COMMENT ON COLUMN mailboxes.received IS 'How many messages were new.';
COMMENT ON COLUMN mailboxes.failures IS 'Attempts that failed since the last one that did not.';
COMMENT ON COLUMN mailboxes.next_attempt_at IS 'When it is looked at. While a process reads it, the time after which another one may.';
COMMENT ON COLUMN mailboxes.taken_by IS 'The attempt that may note progress.';
