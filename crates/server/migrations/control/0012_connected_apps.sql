-- Connected apps: programs that a person lets act in a workspace by OAuth 2.1, instead of handing them an API key.

CREATE TABLE app_clients (
    id            text PRIMARY KEY,
    name          text NOT NULL,
    redirect_uris text[] NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE INDEX app_clients_created ON app_clients (created_at);
COMMENT ON TABLE app_clients IS 'Programs that registered themselves (RFC 7591). A program whose id is the address of its metadata is not stored.';

CREATE TABLE app_grants (
    id           text PRIMARY KEY,
    client_id    text NOT NULL,
    client_name  text NOT NULL,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    mode         text NOT NULL CHECK (mode IN ('live', 'test')),
    scopes       text NOT NULL,
    resource     text NOT NULL,
    created_at   timestamptz NOT NULL,
    begun_at     timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_why  text
);
CREATE INDEX app_grants_user ON app_grants (user_id, workspace_id);
CREATE INDEX app_grants_workspace ON app_grants (workspace_id, created_at, id);
COMMENT ON COLUMN app_grants.scopes IS 'Rights, with spaces between them: crm:read crm:write crm:sql.';
COMMENT ON COLUMN app_grants.resource IS 'The address that tokens are good for (RFC 8707).';
COMMENT ON COLUMN app_grants.begun_at IS 'When the program fetched its first token.';

CREATE TABLE app_codes (
    hash         bytea PRIMARY KEY,
    grant_id     text NOT NULL REFERENCES app_grants (id) ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE INDEX app_codes_grant ON app_codes (grant_id);
COMMENT ON COLUMN app_codes.hash IS 'SHA-256 of the code; the code itself is stored nowhere.';
COMMENT ON COLUMN app_codes.challenge IS 'SHA-256 of the verifier, in base64url (RFC 7636).';

CREATE TABLE app_tokens (
    hash       bytea PRIMARY KEY,
    grant_id   text NOT NULL REFERENCES app_grants (id) ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('access', 'refresh')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX app_tokens_grant ON app_tokens (grant_id);
CREATE INDEX app_tokens_expires ON app_tokens (expires_at);
COMMENT ON COLUMN app_tokens.used_at IS 'When a refresh token was exchanged. Used a second time, it ends the grant.';
