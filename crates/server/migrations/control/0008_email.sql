-- E-mail of workspaces: how it is sent, what waits to be sent, and the switch that stops everything outgoing.

ALTER TABLE workspaces ADD COLUMN sending boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN workspaces.sending IS 'Whether e-mail and webhooks leave. While it is false they wait.';

CREATE TABLE email_integrations (
    workspace_id text PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    provider     text NOT NULL CHECK (provider IN ('resend', 'smtp')),
    settings     bytea NOT NULL,
    from_email   text NOT NULL,
    verified     boolean NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
COMMENT ON COLUMN email_integrations.settings IS 'The provider with its secrets, sealed with a key that follows from the installation''s secret key.';
COMMENT ON COLUMN email_integrations.verified IS 'Whether the provider accepted the sender when it was last asked.';

CREATE TABLE outgoing_emails (
    workspace_id    text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id              text NOT NULL,
    actor           text NOT NULL,
    provenance      text NOT NULL,
    message         bytea,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    taken_by        text,
    outcome         text CHECK (outcome IN ('sent', 'failed')),
    provider        text,
    provider_msg_id text,
    error           text,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    PRIMARY KEY (workspace_id, id),
    CHECK ((outcome IS NULL) = (message IS NOT NULL)),
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
CREATE INDEX outgoing_emails_due ON outgoing_emails (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX outgoing_emails_old ON outgoing_emails (ended_at);
COMMENT ON TABLE outgoing_emails IS 'E-mail that is sent. A row is there before its record in the workspace''s database is committed. If the record never comes, nothing is sent.';
COMMENT ON COLUMN outgoing_emails.id IS 'The id of the record.';
COMMENT ON COLUMN outgoing_emails.provenance IS 'Where the request came from, so that the record of the outcome belongs to it.';
COMMENT ON COLUMN outgoing_emails.message IS 'The message, sealed. It is forgotten once the outcome is known.';
COMMENT ON COLUMN outgoing_emails.next_attempt_at IS 'When it is sent, or its outcome recorded. While a process does that, the time after which another process may.';
COMMENT ON COLUMN outgoing_emails.taken_by IS 'The attempt that may note its outcome. A repeated attempt has another one.';
COMMENT ON COLUMN outgoing_emails.outcome IS 'What became of it. It is in the record too once next_attempt_at is null.';
