-- People: accounts, sessions, who belongs to which workspace, and who did what.

CREATE TABLE users (
    id                text PRIMARY KEY,
    email             text NOT NULL CHECK (email = lower(email)),
    name              text,
    password_hash     text,
    email_verified_at timestamptz,
    created_at        timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (email);
COMMENT ON COLUMN users.password_hash IS 'Argon2id in PHC form; null for who signs in elsewhere only.';

CREATE TABLE identities (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);
COMMENT ON TABLE identities IS 'Accounts elsewhere (OpenID Connect, Clerk) by which a person signs in.';

CREATE TABLE sessions (
    id           text PRIMARY KEY,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   bytea NOT NULL UNIQUE,
    user_agent   text,
    address      text,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX sessions_user ON sessions (user_id);
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the token; the token itself is stored nowhere.';

CREATE TABLE mail_tokens (
    token_hash bytea PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose    text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX mail_tokens_user ON mail_tokens (user_id);

CREATE TABLE login_failures (
    subject    text NOT NULL,
    failed_at  timestamptz NOT NULL
);
CREATE INDEX login_failures_subject ON login_failures (subject, failed_at);
COMMENT ON TABLE login_failures IS 'Failed log-ins of the last minutes, by account (account:<e-mail>) and by address (address:<ip>).';

CREATE TABLE outgoing_mail (
    id              text PRIMARY KEY,
    letter          text NOT NULL CHECK (letter IN ('verify_email', 'reset_password', 'invite')),
    user_id         text REFERENCES users (id) ON DELETE CASCADE,
    public_url      text NOT NULL,
    created_at      timestamptz NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE INDEX outgoing_mail_due ON outgoing_mail (next_attempt_at);
CREATE INDEX outgoing_mail_user ON outgoing_mail (user_id);
COMMENT ON TABLE outgoing_mail IS 'Letters that are to be sent. The token in a letter is made when it is sent, so none stands here.';

CREATE TABLE members (
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE invites (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    email        text NOT NULL CHECK (email = lower(email)),
    role         text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    token_hash   bytea NOT NULL UNIQUE,
    letter_token_hash bytea UNIQUE,
    invited_by   text NOT NULL REFERENCES users (id),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    accepted_at  timestamptz
);
CREATE INDEX invites_workspace ON invites (workspace_id);
COMMENT ON COLUMN invites.letter_token_hash IS 'Of the token in the letter, which is made when that is sent; the inviter''s own is another.';

ALTER TABLE outgoing_mail
    ADD COLUMN invite_id text REFERENCES invites (id) ON DELETE CASCADE,
    ADD CHECK ((user_id IS NULL) = (letter = 'invite') AND (invite_id IS NULL) = (letter <> 'invite'));

ALTER TABLE api_keys
    ADD COLUMN user_id      text REFERENCES users (id) ON DELETE SET NULL,
    ADD COLUMN dialect      text NOT NULL DEFAULT 'agentcrm' CHECK (dialect IN ('agentcrm', 'relm')),
    ADD COLUMN last_used_at timestamptz;
CREATE INDEX api_keys_user ON api_keys (user_id);
COMMENT ON COLUMN api_keys.user_id IS 'Whose key it is; it ends with the person''s membership. Null for keys of anonymous workspaces.';

CREATE TABLE connections (
    workspace_id text NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user_id      text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role         text NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
COMMENT ON TABLE connections IS 'Roles by which people reach a workspace''s database directly; the passwords are stored nowhere.';

CREATE TABLE audit (
    id           text PRIMARY KEY,
    workspace_id text REFERENCES workspaces (id) ON DELETE CASCADE,
    occurred_at  timestamptz NOT NULL,
    actor        text NOT NULL,
    action       text NOT NULL,
    subject      text,
    details      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_workspace ON audit (workspace_id, occurred_at, id);
COMMENT ON TABLE audit IS 'Who made, rotated, revoked, invited, removed and claimed what, and when.';

-- Every change of what a key or session may do counts up here, so that each process sees within a second that what it
-- remembers may be old.
CREATE SEQUENCE access_changes;
