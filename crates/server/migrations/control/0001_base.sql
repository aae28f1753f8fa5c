-- The control plane: which workspaces there are, where their data lives and which keys open them.
-- Runs as the role that owns database "kith"; no tenant ever connects here.

CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE meta IS 'Facts about this installation, for example a check of the secret key.';

CREATE TABLE cells (
    id          integer PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    accepts_new boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE cells IS 'PostgreSQL clusters that hold workspaces.';

CREATE TABLE workspaces (
    id         text PRIMARY KEY,
    name       text,
    created_at timestamptz NOT NULL,
    claimed_at timestamptz
);

CREATE TABLE databases (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cell_id      integer NOT NULL REFERENCES cells (id),
    name         text NOT NULL UNIQUE,
    role         text NOT NULL UNIQUE,
    version      integer NOT NULL,
    state        text NOT NULL CHECK (state IN ('making', 'warm', 'taken', 'dropping')),
    epoch        bigint NOT NULL DEFAULT 1,
    workspace_id text REFERENCES workspaces (id),
    mode         text CHECK (mode IN ('live', 'test')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'taken') <= (workspace_id IS NOT NULL AND mode IS NOT NULL)),
    UNIQUE (workspace_id, mode)
);
COMMENT ON TABLE databases IS 'Every tenant database: in the making, warm (ready to be handed out), taken by a workspace, or about to be dropped.';
CREATE INDEX databases_warm ON databases (cell_id, version, id) WHERE state = 'warm';

CREATE TABLE api_keys (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    hash         bytea NOT NULL UNIQUE,
    hint         text NOT NULL,
    name         text,
    mode         text NOT NULL CHECK (mode IN ('live', 'test')),
    role         text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    created_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the whole key; the key itself is stored nowhere.';
COMMENT ON COLUMN api_keys.hint IS 'The key''s first and last characters, for people to tell keys apart.';
CREATE INDEX api_keys_workspace ON api_keys (workspace_id);
