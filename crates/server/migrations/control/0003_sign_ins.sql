-- Sign-ins at OpenID Connect providers that have begun and not come back yet.

CREATE TABLE sign_ins (
    state_hash bytea PRIMARY KEY,
    provider   text NOT NULL,
    next       text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_ins_expires_at ON sign_ins (expires_at);
COMMENT ON TABLE sign_ins IS 'Each is taken out once. The secrets of a sign-in follow from a token that the browser alone has.';
