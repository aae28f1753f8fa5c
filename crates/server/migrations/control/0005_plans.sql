-- Plans: which one a workspace has, and how many requests it has made each month.

ALTER TABLE workspaces ADD COLUMN plan text;
COMMENT ON COLUMN workspaces.plan IS 'The name of its plan among those that the operator set; null for the default one.';

CREATE TABLE monthly_requests (
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    month        date NOT NULL,
    requests     bigint NOT NULL,
    PRIMARY KEY (workspace_id, month)
);
COMMENT ON TABLE monthly_requests IS 'Requests of all keys of a workspace in a month (UTC), by all processes. Counted only where plans have quotas.';
