-- The requests of workspaces, as /v1/logs shows them.

CREATE TABLE request_log (
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    mode         text NOT NULL CHECK (mode IN ('live', 'test')),
    created_at   timestamptz NOT NULL,
    id           text NOT NULL,
    method       text NOT NULL,
    path         text NOT NULL,
    status       smallint NOT NULL,
    duration_us  bigint NOT NULL,
    actor        text,
    agent        text,
    tool         text,
    code         text,
    PRIMARY KEY (workspace_id, mode, created_at, id)
);
-- Rows come in the order of time, so that this small index finds the old ones.
CREATE INDEX request_log_old ON request_log USING brin (created_at);
COMMENT ON TABLE request_log IS 'Requests of the last 7 days, the newest 100,000 of a workspace and mode. Written in batches, after the requests.';
COMMENT ON COLUMN request_log.id IS 'req_…, the header X-Request-Id.';
COMMENT ON COLUMN request_log.path IS 'The path without its query; tokens in it are masked.';
COMMENT ON COLUMN request_log.actor IS 'api_key:ak_… or user:u_…; null if nobody was signed in.';
COMMENT ON COLUMN request_log.tool IS 'The tool of MCP that was called.';
COMMENT ON COLUMN request_log.code IS 'The code of the error.';
