-- Webhooks: the addresses that events are sent to, and the queue of what is sent.

CREATE TABLE webhook_endpoints (
    id              text PRIMARY KEY,
    workspace_id    text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    dialect         text NOT NULL,
    url             text NOT NULL,
    events          text[] NOT NULL,
    description     text,
    enabled         boolean NOT NULL,
    disabled_reason text,
    secret          bytea NOT NULL,
    old_secret      bytea,
    old_secret_ends timestamptz,
    since           text NOT NULL,
    failing_since   timestamptz,
    created_by      text NOT NULL,
    public_url      text NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CHECK ((old_secret IS NULL) = (old_secret_ends IS NULL))
);
CREATE INDEX webhook_endpoints_workspace ON webhook_endpoints (workspace_id, mode, created_at, id);
COMMENT ON COLUMN webhook_endpoints.dialect IS 'The dialect of the key that subscribed. Events are written in it.';
COMMENT ON COLUMN webhook_endpoints.secret IS 'Sealed with a key that follows from the installation''s secret key.';
COMMENT ON COLUMN webhook_endpoints.old_secret IS 'The secret before the last rotation, sealed. Payloads are signed with it too until it ends.';
COMMENT ON COLUMN webhook_endpoints.since IS 'The snapshot of the workspace''s database at the subscription. Changes that are visible in it came before.';
COMMENT ON COLUMN webhook_endpoints.failing_since IS 'The first failed attempt after the last delivery.';
COMMENT ON COLUMN webhook_endpoints.public_url IS 'The address of this Kith for the link in an e-mail about the endpoint.';

CREATE TABLE webhook_deliveries (
    id              text PRIMARY KEY,
    endpoint_id     text NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    place           bigint GENERATED ALWAYS AS IDENTITY,
    event_id        text NOT NULL,
    event_type      text NOT NULL,
    subject         text NOT NULL,
    body            text NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    taken_by        text,
    response_status integer,
    response_body   text,
    duration_ms     integer,
    error           text,
    created_at      timestamptz NOT NULL,
    CONSTRAINT webhook_deliveries_event_key UNIQUE (endpoint_id, event_id),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL))
);
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (endpoint_id, created_at, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at, place) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_order ON webhook_deliveries (endpoint_id, subject, place) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (created_at);
COMMENT ON TABLE webhook_deliveries IS 'What is sent to endpoints. A pending delivery waits for earlier ones of the same subject and endpoint.';
COMMENT ON COLUMN webhook_deliveries.place IS 'The order of the events.';
COMMENT ON COLUMN webhook_deliveries.subject IS 'The record that the event is about: its table and id.';
COMMENT ON COLUMN webhook_deliveries.next_attempt_at IS 'While a process sends it, the time after which another process may.';
COMMENT ON COLUMN webhook_deliveries.taken_by IS 'The attempt that may record its outcome. A repeated attempt has another one.';

-- A reply to a request with an Idempotency-Key is stored in the workspace's database. The work of such a request may be in this one. The
-- copy here belongs to its transaction, so that a crash between the two commits does not repeat the work.
CREATE TABLE idempotent_replies (
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    mode         text NOT NULL,
    key          text NOT NULL,
    fingerprint  text NOT NULL,
    status       integer NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, mode, key)
);
CREATE INDEX idempotent_replies_created_at ON idempotent_replies (created_at);
COMMENT ON COLUMN idempotent_replies.body IS 'Sealed, because it may hold a secret.';

ALTER TABLE outgoing_mail ADD COLUMN webhook_id text REFERENCES webhook_endpoints (id) ON DELETE CASCADE;
ALTER TABLE outgoing_mail DROP CONSTRAINT outgoing_mail_letter_check;
ALTER TABLE outgoing_mail ADD CONSTRAINT outgoing_mail_letter_check
    CHECK (letter IN ('verify_email', 'reset_password', 'invite', 'webhook_disabled'));
COMMENT ON COLUMN outgoing_mail.webhook_id IS 'The endpoint that an e-mail to an owner of its workspace is about.';
