-- Bounds of the queues of webhooks and automations.

ALTER TABLE webhook_endpoints
    ADD COLUMN behind_at bigint,
    ADD COLUMN behind_since timestamptz,
    ADD COLUMN new_first boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT webhook_endpoints_behind_check CHECK ((behind_at IS NULL) = (behind_since IS NULL));
CREATE INDEX webhook_endpoints_behind ON webhook_endpoints (workspace_id) WHERE behind_at IS NOT NULL;
COMMENT ON COLUMN webhook_endpoints.behind_at IS 'While its queue is full, the position of the last event of the workspace''s log that was queued for it.';
COMMENT ON COLUMN webhook_endpoints.behind_since IS 'When its queue became full. Null once it has caught up with the log.';
COMMENT ON COLUMN webhook_endpoints.new_first IS 'Whether a first attempt names the signature of the new secret before that of the previous one.';

ALTER TABLE automations
    ADD COLUMN behind_at bigint,
    ADD COLUMN behind_since timestamptz,
    ADD CONSTRAINT automations_behind_check CHECK ((behind_at IS NULL) = (behind_since IS NULL));
CREATE INDEX automations_behind ON automations (workspace_id) WHERE behind_at IS NOT NULL;
COMMENT ON COLUMN automations.behind_at IS 'While its queue is full, the position of the last event of the workspace''s log that was queued for it.';
COMMENT ON COLUMN automations.behind_since IS 'When its queue became full. Null once it has caught up with the log.';

-- What is deleted goes at once; its deliveries and runs are removed afterwards, a batch at a time.
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_endpoint_id_fkey;
ALTER TABLE automation_runs DROP CONSTRAINT automation_runs_automation_id_fkey;
COMMENT ON COLUMN webhook_deliveries.endpoint_id IS 'The endpoint. If it is deleted, the delivery waits to be removed.';
COMMENT ON COLUMN automation_runs.automation_id IS 'The automation. If it is deleted, the run waits to be removed.';
