-- Generated from the migrations beside it, under PostgreSQL 18: what a new database contains. Do not edit it. A run of the
-- tests with KITH_BLESS=1 writes it.

----------------------------------------------------------------------------------------------------
-- Schema public, owned by pg_database_owner. Granted: USAGE TO PUBLIC.

CREATE SEQUENCE public.access_changes;

-- Owned by kith_control.
CREATE TABLE public.api_keys (
  id text NOT NULL,
  workspace_id text NOT NULL,
  hash bytea NOT NULL,  -- SHA-256 of the whole key; the key itself is stored nowhere.
  hint text NOT NULL,  -- The key's first and last characters, for people to tell keys apart.
  name text,
  mode text NOT NULL,
  role text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  revoked_at timestamp with time zone,
  user_id text,  -- Whose key it is; it ends with the person's membership. Null for keys of anonymous workspaces.
  dialect text NOT NULL DEFAULT 'agentcrm'::text,
  last_used_at timestamp with time zone,
  CONSTRAINT api_keys_dialect_check CHECK ((dialect = ANY (ARRAY['agentcrm'::text, 'relm'::text]))),
  CONSTRAINT api_keys_hash_key UNIQUE (hash),
  CONSTRAINT api_keys_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT api_keys_pkey PRIMARY KEY (id),
  CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'member'::text, 'viewer'::text]))),
  CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE SET NULL,
  CONSTRAINT api_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX api_keys_user ON public.api_keys USING btree (user_id);
CREATE INDEX api_keys_workspace ON public.api_keys USING btree (workspace_id);

-- Programs that registered themselves (RFC 7591). A program whose id is the address of its metadata is not stored.
-- Owned by kith_control.
CREATE TABLE public.app_clients (
  id text NOT NULL,
  name text NOT NULL,
  redirect_uris text[] NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT app_clients_pkey PRIMARY KEY (id)
);
CREATE INDEX app_clients_created ON public.app_clients USING btree (created_at);

-- Owned by kith_control.
CREATE TABLE public.app_codes (
  hash bytea NOT NULL,  -- SHA-256 of the code; the code itself is stored nowhere.
  grant_id text NOT NULL,
  redirect_uri text NOT NULL,
  challenge text NOT NULL,  -- SHA-256 of the verifier, in base64url (RFC 7636).
  expires_at timestamp with time zone NOT NULL,
  used_at timestamp with time zone,
  CONSTRAINT app_codes_grant_id_fkey FOREIGN KEY (grant_id) REFERENCES public.app_grants(id) ON DELETE CASCADE,
  CONSTRAINT app_codes_pkey PRIMARY KEY (hash)
);
CREATE INDEX app_codes_grant ON public.app_codes USING btree (grant_id);

-- Owned by kith_control.
CREATE TABLE public.app_grants (
  id text NOT NULL,
  client_id text NOT NULL,
  client_name text NOT NULL,
  user_id text NOT NULL,
  workspace_id text NOT NULL,
  mode text NOT NULL,
  scopes text NOT NULL,  -- Rights, with spaces between them: crm:read crm:write crm:sql.
  resource text NOT NULL,  -- The address that tokens are good for (RFC 8707).
  created_at timestamp with time zone NOT NULL,
  begun_at timestamp with time zone,  -- When the program fetched its first token.
  last_used_at timestamp with time zone,
  revoked_at timestamp with time zone,
  revoked_why text,
  CONSTRAINT app_grants_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT app_grants_pkey PRIMARY KEY (id),
  CONSTRAINT app_grants_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE,
  CONSTRAINT app_grants_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX app_grants_user ON public.app_grants USING btree (user_id, workspace_id);
CREATE INDEX app_grants_workspace ON public.app_grants USING btree (workspace_id, created_at, id);

-- Owned by kith_control.
CREATE TABLE public.app_tokens (
  hash bytea NOT NULL,
  grant_id text NOT NULL,
  kind text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  used_at timestamp with time zone,  -- When a refresh token was exchanged. Used a second time, it ends the grant.
  CONSTRAINT app_tokens_grant_id_fkey FOREIGN KEY (grant_id) REFERENCES public.app_grants(id) ON DELETE CASCADE,
  CONSTRAINT app_tokens_kind_check CHECK ((kind = ANY (ARRAY['access'::text, 'refresh'::text]))),
  CONSTRAINT app_tokens_pkey PRIMARY KEY (hash)
);
CREATE INDEX app_tokens_expires ON public.app_tokens USING btree (expires_at);
CREATE INDEX app_tokens_grant ON public.app_tokens USING btree (grant_id);

-- Who made, rotated, revoked, invited, removed and claimed what, and when.
-- Owned by kith_control.
CREATE TABLE public.audit (
  id text NOT NULL,
  workspace_id text,
  occurred_at timestamp with time zone NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  subject text,
  details jsonb NOT NULL DEFAULT '{}'::jsonb,
  CONSTRAINT audit_pkey PRIMARY KEY (id),
  CONSTRAINT audit_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX audit_workspace ON public.audit USING btree (workspace_id, occurred_at, id);

-- Owned by kith_control.
CREATE TABLE public.automation_runs (
  id text NOT NULL,
  automation_id text NOT NULL,  -- The automation. If it is deleted, the run waits to be removed.
  place bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  event_id text NOT NULL,
  event_type text NOT NULL,
  event jsonb NOT NULL,  -- The event, as the automation's conditions see it.
  context jsonb NOT NULL,  -- The records that the event is about: {contact, deal, company}, by their ids.
  depth integer NOT NULL,  -- 0 if a person or key fired the event, and one more for each automation in between.
  caused_by text,
  request_id text NOT NULL,  -- The request of the run's writes. By it their events find the run that caused them.
  status text NOT NULL DEFAULT 'pending'::text,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone,
  taken_by text,
  actions jsonb NOT NULL DEFAULT '[]'::jsonb,
  error text,
  duration_ms integer,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT automation_runs_check CHECK (((status = 'pending'::text) = (next_attempt_at IS NOT NULL))),
  CONSTRAINT automation_runs_event_key UNIQUE (automation_id, event_id),
  CONSTRAINT automation_runs_pkey PRIMARY KEY (id),
  CONSTRAINT automation_runs_request_id_key UNIQUE (request_id),
  CONSTRAINT automation_runs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'success'::text, 'error'::text, 'skipped'::text])))
);
CREATE INDEX automation_runs_due ON public.automation_runs USING btree (next_attempt_at, place) WHERE (status = 'pending'::text);
CREATE INDEX automation_runs_newest ON public.automation_runs USING btree (automation_id, created_at, id);
CREATE INDEX automation_runs_old ON public.automation_runs USING btree (created_at);
CREATE INDEX automation_runs_order ON public.automation_runs USING btree (automation_id, place) WHERE (status = 'pending'::text);

-- Owned by kith_control.
CREATE TABLE public.automations (
  id text NOT NULL,
  workspace_id text NOT NULL,
  mode text NOT NULL,
  dialect text NOT NULL,  -- The dialect of the key that created it. Its conditions see events in it.
  name text NOT NULL,
  trigger_event text NOT NULL,
  enabled boolean NOT NULL,
  conditions jsonb NOT NULL,
  actions jsonb NOT NULL,
  disabled_reason text,
  failures integer NOT NULL DEFAULT 0,  -- Runs that failed since the last one that did not.
  since text NOT NULL,  -- The snapshot of the workspace's database at the creation. Changes that are visible in it fire nothing.
  created_by text NOT NULL,
  public_url text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  behind_at bigint,  -- While its queue is full, the position of the last event of the workspace's log that was queued for it.
  behind_since timestamp with time zone,  -- When its queue became full. Null once it has caught up with the log.
  CONSTRAINT automations_behind_check CHECK (((behind_at IS NULL) = (behind_since IS NULL))),
  CONSTRAINT automations_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT automations_pkey PRIMARY KEY (id),
  CONSTRAINT automations_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX automations_behind ON public.automations USING btree (workspace_id) WHERE (behind_at IS NOT NULL);
CREATE INDEX automations_workspace ON public.automations USING btree (workspace_id, mode, created_at, id);

-- PostgreSQL clusters that hold workspaces.
-- Owned by kith_control.
CREATE TABLE public.cells (
  id integer NOT NULL,
  name text NOT NULL,
  accepts_new boolean NOT NULL DEFAULT true,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT cells_name_key UNIQUE (name),
  CONSTRAINT cells_pkey PRIMARY KEY (id)
);

-- Roles by which people reach a workspace's database directly; the passwords are stored nowhere.
-- Owned by kith_control.
CREATE TABLE public.connections (
  workspace_id text NOT NULL,
  user_id text NOT NULL,
  role text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT connections_pkey PRIMARY KEY (workspace_id, user_id),
  CONSTRAINT connections_role_key UNIQUE (role),
  CONSTRAINT connections_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE,
  CONSTRAINT connections_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);

-- Every tenant database: in the making, warm (ready to be handed out), taken by a workspace, or about to be dropped.
-- Owned by kith_control.
CREATE TABLE public.databases (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  cell_id integer NOT NULL,
  name text NOT NULL,
  role text NOT NULL,
  version integer NOT NULL,
  state text NOT NULL,
  epoch bigint NOT NULL DEFAULT 1,
  workspace_id text,
  mode text,
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT databases_cell_id_fkey FOREIGN KEY (cell_id) REFERENCES public.cells(id),
  CONSTRAINT databases_check CHECK (((state = 'taken'::text) <= ((workspace_id IS NOT NULL) AND (mode IS NOT NULL)))),
  CONSTRAINT databases_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT databases_name_key UNIQUE (name),
  CONSTRAINT databases_pkey PRIMARY KEY (id),
  CONSTRAINT databases_role_key UNIQUE (role),
  CONSTRAINT databases_state_check CHECK ((state = ANY (ARRAY['making'::text, 'warm'::text, 'taken'::text, 'dropping'::text]))),
  CONSTRAINT databases_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id),
  CONSTRAINT databases_workspace_id_mode_key UNIQUE (workspace_id, mode)
);
CREATE INDEX databases_warm ON public.databases USING btree (cell_id, version, id) WHERE (state = 'warm'::text);

-- Owned by kith_control.
CREATE TABLE public.email_integrations (
  workspace_id text NOT NULL,
  provider text NOT NULL,
  settings bytea NOT NULL,  -- The provider with its secrets, sealed with a key that follows from the installation's secret key.
  from_email text NOT NULL,
  verified boolean NOT NULL,  -- Whether the provider accepted the sender when it was last asked.
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  webhook_secret bytea,  -- Signs the provider's webhook about received e-mail. Sealed.
  CONSTRAINT email_integrations_pkey PRIMARY KEY (workspace_id),
  CONSTRAINT email_integrations_provider_check CHECK ((provider = ANY (ARRAY['resend'::text, 'smtp'::text]))),
  CONSTRAINT email_integrations_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);

-- Owned by kith_control.
CREATE TABLE public.idempotent_replies (
  workspace_id text NOT NULL,
  mode text NOT NULL,
  key text NOT NULL,
  fingerprint text NOT NULL,
  status integer NOT NULL,
  body bytea NOT NULL,  -- Sealed, because it may hold a secret.
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT idempotent_replies_pkey PRIMARY KEY (workspace_id, mode, key),
  CONSTRAINT idempotent_replies_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX idempotent_replies_created_at ON public.idempotent_replies USING btree (created_at);

-- Accounts elsewhere (OpenID Connect, Clerk) by which a person signs in.
-- Owned by kith_control.
CREATE TABLE public.identities (
  issuer text NOT NULL,
  subject text NOT NULL,
  user_id text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT identities_pkey PRIMARY KEY (issuer, subject),
  CONSTRAINT identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE
);
CREATE INDEX identities_user ON public.identities USING btree (user_id);

-- Owned by kith_control.
CREATE TABLE public.invites (
  id text NOT NULL,
  workspace_id text NOT NULL,
  email text NOT NULL,
  role text NOT NULL,
  token_hash bytea NOT NULL,
  letter_token_hash bytea,  -- Of the token in the letter, which is made when that is sent; the inviter's own is another.
  invited_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  accepted_at timestamp with time zone,
  CONSTRAINT invites_email_check CHECK ((email = lower(email))),
  CONSTRAINT invites_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.users(id),
  CONSTRAINT invites_letter_token_hash_key UNIQUE (letter_token_hash),
  CONSTRAINT invites_pkey PRIMARY KEY (id),
  CONSTRAINT invites_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'member'::text, 'viewer'::text]))),
  CONSTRAINT invites_token_hash_key UNIQUE (token_hash),
  CONSTRAINT invites_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX invites_email ON public.invites USING btree (email, created_at);
CREATE INDEX invites_workspace ON public.invites USING btree (workspace_id);

-- Failed log-ins of the last minutes, by account (account:<e-mail>) and by address (address:<ip>).
-- Owned by kith_control.
CREATE TABLE public.login_failures (
  subject text NOT NULL,
  failed_at timestamp with time zone NOT NULL
);
CREATE INDEX login_failures_subject ON public.login_failures USING btree (subject, failed_at);

-- Owned by kith_control.
CREATE TABLE public.mail_tokens (
  token_hash bytea NOT NULL,
  user_id text NOT NULL,
  purpose text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  used_at timestamp with time zone,
  CONSTRAINT mail_tokens_pkey PRIMARY KEY (token_hash),
  CONSTRAINT mail_tokens_purpose_check CHECK ((purpose = ANY (ARRAY['verify_email'::text, 'reset_password'::text]))),
  CONSTRAINT mail_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE
);
CREATE INDEX mail_tokens_user ON public.mail_tokens USING btree (user_id);

-- Mailboxes that are read by IMAP. Messages up to last_uid are recorded, as long as the server has the same uid_validity.
-- Owned by kith_control.
CREATE TABLE public.mailboxes (
  workspace_id text NOT NULL,
  host text NOT NULL,
  port integer NOT NULL,
  username text NOT NULL,
  password bytea NOT NULL,  -- Sealed with a key that follows from the installation's secret key.
  tls text NOT NULL,
  folder text NOT NULL,
  address text,  -- The address whose e-mail it has, if the user's name is none.
  uid_validity bigint NOT NULL,
  last_uid bigint NOT NULL,
  received bigint NOT NULL DEFAULT 0,  -- How many messages were new.
  failures integer NOT NULL DEFAULT 0,  -- Attempts that failed since the last one that did not.
  last_error text,
  last_checked_at timestamp with time zone,
  next_attempt_at timestamp with time zone NOT NULL,  -- When it is looked at. While a process reads it, the time after which another one may.
  taken_by text,  -- The attempt that may note progress.
  created_by text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  tried_uid bigint,  -- The message after last_uid that could not be recorded.
  tries integer NOT NULL DEFAULT 0,  -- How often that was tried. The message is skipped after some tries.
  CONSTRAINT mailboxes_pkey PRIMARY KEY (workspace_id),
  CONSTRAINT mailboxes_tls_check CHECK ((tls = ANY (ARRAY['implicit'::text, 'required'::text, 'none'::text]))),
  CONSTRAINT mailboxes_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX mailboxes_due ON public.mailboxes USING btree (next_attempt_at);

-- Owned by kith_control.
CREATE TABLE public.members (
  workspace_id text NOT NULL,
  user_id text NOT NULL,
  role text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT members_pkey PRIMARY KEY (workspace_id, user_id),
  CONSTRAINT members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'member'::text, 'viewer'::text]))),
  CONSTRAINT members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE,
  CONSTRAINT members_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX members_user ON public.members USING btree (user_id);

-- Facts about this installation, for example a check of the secret key.
-- Owned by kith_control.
CREATE TABLE public.meta (
  key text NOT NULL,
  value text NOT NULL,
  CONSTRAINT meta_pkey PRIMARY KEY (key)
);

-- Owned by kith_control.
CREATE TABLE public.migrations (
  version integer NOT NULL,
  applied_at timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT migrations_pkey PRIMARY KEY (version)
);

-- Requests of all keys of a workspace in a month (UTC), by all processes. Counted only where plans have quotas.
-- Owned by kith_control.
CREATE TABLE public.monthly_requests (
  workspace_id text NOT NULL,
  month date NOT NULL,
  requests bigint NOT NULL,
  CONSTRAINT monthly_requests_pkey PRIMARY KEY (workspace_id, month),
  CONSTRAINT monthly_requests_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);

-- E-mail that is sent. A row is there before its record in the workspace's database is committed. If the record never comes, nothing is sent.
-- Owned by kith_control.
CREATE TABLE public.outgoing_emails (
  workspace_id text NOT NULL,
  id text NOT NULL,  -- The id of the record.
  actor text NOT NULL,
  provenance text NOT NULL,  -- Where the request came from, so that the record of the outcome belongs to it.
  message bytea,  -- The message, sealed. It is forgotten once the outcome is known.
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone,  -- When it is sent, or its outcome recorded. While a process does that, the time after which another process may.
  taken_by text,  -- The attempt that may note its outcome. A repeated attempt has another one.
  outcome text,  -- What became of it. It is in the record too once next_attempt_at is null.
  provider text,
  provider_msg_id text,
  error text,
  created_at timestamp with time zone NOT NULL,
  ended_at timestamp with time zone,
  tried_at timestamp with time zone,  -- The first attempt that the provider may have accepted. A provider with idempotency keys knows them for a day from then on.
  is_recorded boolean NOT NULL DEFAULT false,  -- Whether the record has the outcome. If it is still due then, the provider is asked for the Message-ID.
  account text,  -- A hash that names the account at the provider through which it was last tried. Another account does not know the idempotency key.
  CONSTRAINT outgoing_emails_check CHECK (((outcome IS NULL) = (message IS NOT NULL))),
  CONSTRAINT outgoing_emails_check1 CHECK (((outcome IS NULL) = (ended_at IS NULL))),
  CONSTRAINT outgoing_emails_outcome_check CHECK ((outcome = ANY (ARRAY['sent'::text, 'failed'::text]))),
  CONSTRAINT outgoing_emails_pkey PRIMARY KEY (workspace_id, id),
  CONSTRAINT outgoing_emails_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX outgoing_emails_due ON public.outgoing_emails USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);
CREATE INDEX outgoing_emails_old ON public.outgoing_emails USING btree (ended_at);

-- Letters that are to be sent. The token in a letter is made when it is sent, so none stands here.
-- Owned by kith_control.
CREATE TABLE public.outgoing_mail (
  id text NOT NULL,
  letter text NOT NULL,
  user_id text,
  public_url text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
  invite_id text,
  webhook_id text,  -- The endpoint that an e-mail to an owner of its workspace is about.
  automation_id text,  -- The automation that an e-mail to an owner of its workspace is about.
  CONSTRAINT outgoing_mail_automation_id_fkey FOREIGN KEY (automation_id) REFERENCES public.automations(id) ON DELETE CASCADE,
  CONSTRAINT outgoing_mail_check CHECK ((((user_id IS NULL) = (letter = 'invite'::text)) AND ((invite_id IS NULL) = (letter <> 'invite'::text)))),
  CONSTRAINT outgoing_mail_invite_id_fkey FOREIGN KEY (invite_id) REFERENCES public.invites(id) ON DELETE CASCADE,
  CONSTRAINT outgoing_mail_letter_check CHECK ((letter = ANY (ARRAY['verify_email'::text, 'reset_password'::text, 'invite'::text, 'webhook_disabled'::text, 'automation_disabled'::text]))),
  CONSTRAINT outgoing_mail_pkey PRIMARY KEY (id),
  CONSTRAINT outgoing_mail_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE,
  CONSTRAINT outgoing_mail_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES public.webhook_endpoints(id) ON DELETE CASCADE
);
CREATE INDEX outgoing_mail_due ON public.outgoing_mail USING btree (next_attempt_at);
CREATE INDEX outgoing_mail_user ON public.outgoing_mail USING btree (user_id);

-- Requests of the last 7 days, the newest 100,000 of a workspace and mode. Written in batches, after the requests.
-- Owned by kith_control.
CREATE TABLE public.request_log (
  workspace_id text NOT NULL,
  mode text NOT NULL,
  created_at timestamp with time zone NOT NULL,
  id text NOT NULL,  -- req_…, the header X-Request-Id.
  method text NOT NULL,
  path text NOT NULL,  -- The path without its query; tokens in it are masked.
  status smallint NOT NULL,
  duration_us bigint NOT NULL,
  actor text,  -- api_key:ak_… or user:u_…; null if nobody was signed in.
  agent text,
  tool text,  -- The tool of MCP that was called.
  code text,  -- The code of the error.
  CONSTRAINT request_log_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT request_log_pkey PRIMARY KEY (workspace_id, mode, created_at, id),
  CONSTRAINT request_log_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX request_log_old ON public.request_log USING brin (created_at);

-- Owned by kith_control.
CREATE TABLE public.sessions (
  id text NOT NULL,
  user_id text NOT NULL,
  token_hash bytea NOT NULL,  -- SHA-256 of the token; the token itself is stored nowhere.
  user_agent text,
  address text,
  created_at timestamp with time zone NOT NULL,
  last_used_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  revoked_at timestamp with time zone,
  CONSTRAINT sessions_pkey PRIMARY KEY (id),
  CONSTRAINT sessions_token_hash_key UNIQUE (token_hash),
  CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE
);
CREATE INDEX sessions_user ON public.sessions USING btree (user_id);

-- Each is taken out once. The secrets of a sign-in follow from a token that the browser alone has.
-- Owned by kith_control.
CREATE TABLE public.sign_ins (
  state_hash bytea NOT NULL,
  provider text NOT NULL,
  next text NOT NULL,
  expires_at timestamp with time zone NOT NULL,
  CONSTRAINT sign_ins_pkey PRIMARY KEY (state_hash)
);
CREATE INDEX sign_ins_expires_at ON public.sign_ins USING btree (expires_at);

-- Owned by kith_control.
CREATE TABLE public.users (
  id text NOT NULL,
  email text NOT NULL,
  name text,
  password_hash text,  -- Argon2id in PHC form; null for who signs in elsewhere only.
  email_verified_at timestamp with time zone,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT users_email_check CHECK ((email = lower(email))),
  CONSTRAINT users_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX users_email_key ON public.users USING btree (email);

-- What is sent to endpoints. A pending delivery waits for earlier ones of the same subject and endpoint.
-- Owned by kith_control.
CREATE TABLE public.webhook_deliveries (
  id text NOT NULL,
  endpoint_id text NOT NULL,  -- The endpoint. If it is deleted, the delivery waits to be removed.
  place bigint NOT NULL GENERATED ALWAYS AS IDENTITY,  -- The order of the events.
  event_id text NOT NULL,
  event_type text NOT NULL,
  subject text NOT NULL,  -- The record that the event is about: its table and id.
  body text NOT NULL,
  status text NOT NULL DEFAULT 'pending'::text,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamp with time zone,  -- While a process sends it, the time after which another process may.
  taken_by text,  -- The attempt that may record its outcome. A repeated attempt has another one.
  response_status integer,
  response_body text,
  duration_ms integer,
  error text,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT webhook_deliveries_check CHECK (((status = 'pending'::text) = (next_attempt_at IS NOT NULL))),
  CONSTRAINT webhook_deliveries_event_key UNIQUE (endpoint_id, event_id),
  CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text])))
);
CREATE INDEX webhook_deliveries_due ON public.webhook_deliveries USING btree (endpoint_id, next_attempt_at, place) WHERE (status = 'pending'::text);
CREATE INDEX webhook_deliveries_newest ON public.webhook_deliveries USING btree (endpoint_id, created_at, id);
CREATE INDEX webhook_deliveries_old ON public.webhook_deliveries USING btree (created_at);
CREATE INDEX webhook_deliveries_order ON public.webhook_deliveries USING btree (endpoint_id, subject, place) WHERE (status = 'pending'::text);

-- Owned by kith_control.
CREATE TABLE public.webhook_endpoints (
  id text NOT NULL,
  workspace_id text NOT NULL,
  mode text NOT NULL,
  dialect text NOT NULL,  -- The dialect of the key that subscribed. Events are written in it.
  url text NOT NULL,
  events text[] NOT NULL,
  description text,
  enabled boolean NOT NULL,
  disabled_reason text,
  secret bytea NOT NULL,  -- Sealed with a key that follows from the installation's secret key.
  old_secret bytea,  -- The secret before the last rotation, sealed. Payloads are signed with it too until it ends.
  old_secret_ends timestamp with time zone,
  since text NOT NULL,  -- The snapshot of the workspace's database at the subscription. Changes that are visible in it came before.
  failing_since timestamp with time zone,  -- The first failed attempt after the last delivery.
  created_by text NOT NULL,
  public_url text NOT NULL,  -- The address of this Kith for the link in an e-mail about the endpoint.
  created_at timestamp with time zone NOT NULL,
  updated_at timestamp with time zone NOT NULL,
  behind_at bigint,  -- While its queue is full, the position of the last event of the workspace's log that was queued for it.
  behind_since timestamp with time zone,  -- When its queue became full. Null once it has caught up with the log.
  new_first boolean NOT NULL DEFAULT false,  -- Whether a first attempt names the signature of the new secret before that of the previous one.
  CONSTRAINT webhook_endpoints_behind_check CHECK (((behind_at IS NULL) = (behind_since IS NULL))),
  CONSTRAINT webhook_endpoints_check CHECK (((old_secret IS NULL) = (old_secret_ends IS NULL))),
  CONSTRAINT webhook_endpoints_mode_check CHECK ((mode = ANY (ARRAY['live'::text, 'test'::text]))),
  CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_endpoints_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id) ON DELETE CASCADE
);
CREATE INDEX webhook_endpoints_behind ON public.webhook_endpoints USING btree (workspace_id) WHERE (behind_at IS NOT NULL);
CREATE INDEX webhook_endpoints_workspace ON public.webhook_endpoints USING btree (workspace_id, mode, created_at, id);

-- Owned by kith_control.
CREATE TABLE public.workspaces (
  id text NOT NULL,
  name text,
  created_at timestamp with time zone NOT NULL,
  claimed_at timestamp with time zone,
  plan text,  -- The name of its plan among those that the operator set; null for the default one.
  sending boolean NOT NULL DEFAULT true,  -- Whether e-mail and webhooks leave. While it is false they wait.
  deleted_at timestamp with time zone,  -- When an owner deleted it. It has no members, keys or connections since then.
  CONSTRAINT workspaces_pkey PRIMARY KEY (id)
);
CREATE INDEX workspaces_deleted ON public.workspaces USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
