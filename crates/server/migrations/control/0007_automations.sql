-- Automations: rules that act when events fire, and what they did.

CREATE TABLE automations (
    id              text PRIMARY KEY,
    workspace_id    text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    mode            text NOT NULL CHECK (mode IN ('live', 'test')),
    dialect         text NOT NULL,
    name            text NOT NULL,
    trigger_event   text NOT NULL,
    enabled         boolean NOT NULL,
    conditions      jsonb NOT NULL,
    actions         jsonb NOT NULL,
    disabled_reason text,
    failures        integer NOT NULL DEFAULT 0,
    since           text NOT NULL,
    created_by      text NOT NULL,
    public_url      text NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX automations_workspace ON automations (workspace_id, mode, created_at, id);
COMMENT ON COLUMN automations.dialect IS 'The dialect of the key that created it. Its conditions see events in it.';
COMMENT ON COLUMN automations.failures IS 'Runs that failed since the last one that did not.';
COMMENT ON COLUMN automations.since IS 'The snapshot of the workspace''s database at the creation. Changes that are visible in it fire nothing.';

CREATE TABLE automation_runs (
    id              text PRIMARY KEY,
    automation_id   text NOT NULL REFERENCES automations (id) ON DELETE CASCADE,
    place           bigint GENERATED ALWAYS AS IDENTITY,
    event_id        text NOT NULL,
    event_type      text NOT NULL,
    event           jsonb NOT NULL,
    context         jsonb NOT NULL,
    depth           integer NOT NULL,
    caused_by       text,
    request_id      text NOT NULL UNIQUE,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'error', 'skipped')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    taken_by        text,
    actions         jsonb NOT NULL DEFAULT '[]',
    error           text,
    duration_ms     integer,
    created_at      timestamptz NOT NULL,
    CONSTRAINT automation_runs_event_key UNIQUE (automation_id, event_id),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL))
);
CREATE INDEX automation_runs_newest ON automation_runs (automation_id, created_at, id);
CREATE INDEX automation_runs_due ON automation_runs (next_attempt_at, place) WHERE status = 'pending';
CREATE INDEX automation_runs_order ON automation_runs (automation_id, place) WHERE status = 'pending';
CREATE INDEX automation_runs_old ON automation_runs (created_at);
COMMENT ON COLUMN automation_runs.event IS 'The event, as the automation''s conditions see it.';
COMMENT ON COLUMN automation_runs.context IS 'The records that the event is about: {contact, deal, company}, by their ids.';
COMMENT ON COLUMN automation_runs.depth IS '0 if a person or key fired the event, and one more for each automation in between.';
COMMENT ON COLUMN automation_runs.request_id IS 'The request of the run''s writes. By it their events find the run that caused them.';

ALTER TABLE outgoing_mail ADD COLUMN automation_id text REFERENCES automations (id) ON DELETE CASCADE;
ALTER TABLE outgoing_mail DROP CONSTRAINT outgoing_mail_letter_check;
ALTER TABLE outgoing_mail ADD CONSTRAINT outgoing_mail_letter_check
    CHECK (letter IN ('verify_email', 'reset_password', 'invite', 'webhook_disabled', 'automation_disabled'));
COMMENT ON COLUMN outgoing_mail.automation_id IS 'The automation that an e-mail to an owner of its workspace is about.';
