-- Generated from the migrations beside it, under PostgreSQL 18: what a new database contains. Do not edit it. A run of the
-- tests with KITH_BLESS=1 writes it.

-- Sequences that {{workspace}} creates: SELECT to {{viewer}}.
-- Tables that {{workspace}} creates: SELECT to {{viewer}}.

----------------------------------------------------------------------------------------------------
-- Schema public, owned by {{system}}. Granted: USAGE TO {{viewer}}, CREATE USAGE TO {{workspace}}.

-- Notes, emails, calls, meetings and tasks about a contact, a deal or a company.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.activities (
  id text NOT NULL DEFAULT kith.new_id('act'::text),  -- act_ and 26 characters that sort by time; generated.
  type text NOT NULL DEFAULT 'note'::text,  -- note, email, call, meeting or task.
  subject text,  -- Subject line.
  body text,  -- The text.
  contact_id text,  -- The person that it concerns.
  deal_id text,  -- The deal that it concerns.
  company_id text,  -- The company that it concerns.
  occurred_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it happened.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields; keys that custom_fields defines are validated.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT activities_company_id_fkey FOREIGN KEY (company_id) REFERENCES public.companies(id),
  CONSTRAINT activities_contact_id_fkey FOREIGN KEY (contact_id) REFERENCES public.contacts(id),
  CONSTRAINT activities_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT activities_deal_id_fkey FOREIGN KEY (deal_id) REFERENCES public.deals(id),
  CONSTRAINT activities_pkey PRIMARY KEY (id),
  CONSTRAINT activities_type_check CHECK ((type = ANY (ARRAY['note'::text, 'email'::text, 'call'::text, 'meeting'::text, 'task'::text])))
);
CREATE INDEX activities_company_id_idx ON public.activities USING btree (company_id);
CREATE INDEX activities_contact_id_idx ON public.activities USING btree (contact_id);
CREATE INDEX activities_deal_id_idx ON public.activities USING btree (deal_id);
CREATE INDEX activities_kith_search_idx ON public.activities USING gin (kith.search_words(ARRAY[subject, body])) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX activities_newest_idx ON public.activities USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.activities REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('activity', '', 'subject', '', '', '', '', 'type', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.activities REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('activity', '', 'subject', '', '', '', '', 'type', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.activities REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('activity', '', 'subject', '', '', '', '', 'type', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_company_id AFTER INSERT OR UPDATE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.check_company_id();
CREATE TRIGGER kith_contact_id AFTER INSERT OR UPDATE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.check_contact_id();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.check_custom('activity');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.activities FOR EACH ROW WHEN ((old.custom IS DISTINCT FROM new.custom)) EXECUTE FUNCTION kith.check_custom('activity');
CREATE TRIGGER kith_deal_id AFTER INSERT OR UPDATE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.check_deal_id();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.activities FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- The feed: one entry for each change to a record. Only triggers write it; nobody can edit it.
-- Owned by {{system}}. Granted: SELECT TO {{viewer}}, SELECT TO {{workspace}}.
CREATE TABLE public.activity (
  id text NOT NULL DEFAULT kith.new_id('a'::text),  -- a_ and 26 characters that sort by time.
  occurred_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),  -- When the change was made.
  actor text NOT NULL,  -- Who made it: api_key:…, user:…, automation:… or postgres:<role> for a direct connection.
  verb text NOT NULL,  -- created, updated, deleted, restored, or conflict: a create refused because the record exists.
  subject_type text NOT NULL,  -- contact, company, deal, email, activity, list, …; for a table of your own its name, with its schema if that is not public.
  subject_id text,  -- The id of the record.
  subject_repr text,  -- A few words that say which record it is.
  changes jsonb,  -- What changed, {column: {from, to}}; long values are cut, and "clipped" gives their full length in bytes.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Where the change came from: agent, run_id, reason, request_id.
  CONSTRAINT activity_pkey PRIMARY KEY (id)
);
CREATE INDEX activity_actor_idx ON public.activity USING btree (actor, occurred_at);
CREATE INDEX activity_newest_idx ON public.activity USING btree (occurred_at, id);
CREATE INDEX activity_subject_idx ON public.activity USING btree (subject_type, subject_id, occurred_at);

-- Links between any two records.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.associations (
  id text NOT NULL DEFAULT kith.new_id('as'::text),  -- as_ and 26 characters that sort by time; generated.
  from_type text NOT NULL,  -- Type of the first record: contact, company, deal, …
  from_id text NOT NULL,  -- Id of the first record.
  to_type text NOT NULL,  -- Type of the second record.
  to_id text NOT NULL,  -- Id of the second record.
  label text,  -- How the first relates to the second.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT associations_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT associations_from_type_check CHECK ((from_type <> ''::text)),
  CONSTRAINT associations_pkey PRIMARY KEY (id),
  CONSTRAINT associations_to_type_check CHECK ((to_type <> ''::text))
);
CREATE INDEX associations_from_idx ON public.associations USING btree (from_type, from_id);
CREATE INDEX associations_newest_idx ON public.associations USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX associations_to_idx ON public.associations USING btree (to_type, to_id);
CREATE UNIQUE INDEX associations_together_key ON public.associations USING btree (from_type, from_id, to_type, to_id, label) NULLS NOT DISTINCT WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.associations REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('association', '', 'from_id', ' – ', 'to_id', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.associations REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('association', '', 'from_id', ' – ', 'to_id', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.associations REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('association', '', 'from_id', ' – ', 'to_id', ''); -- ALWAYS
CREATE TRIGGER kith_link AFTER INSERT ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.link();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.associations FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.touch();

CREATE EXTENSION citext SCHEMA public;

-- Organisations.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.companies (
  id text NOT NULL DEFAULT kith.new_id('co'::text),  -- co_ and 26 characters that sort by time; generated.
  name text,  -- Name of the company.
  domain text,  -- Internet domain, in lower case, without scheme, www., port and path. Emails from it attach to the company. Unique among live rows.
  industry text,  -- Line of business.
  size text,  -- Number of people as a range, for example 11-50.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields; keys that custom_fields defines are validated.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT companies_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT companies_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX companies_domain_key ON public.companies USING btree (lower(domain)) WHERE (deleted_at IS NULL);
CREATE INDEX companies_kith_search_idx ON public.companies USING gin (kith.search_text(ARRAY[name, domain, industry]) public.gin_trgm_ops) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX companies_newest_idx ON public.companies USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.companies REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('company', '', 'name', '', '', '', '', 'domain', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.companies REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('company', '', 'name', '', '', '', '', 'domain', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.companies REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('company', '', 'name', '', '', '', '', 'domain', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.check_custom('company');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.companies FOR EACH ROW WHEN ((old.custom IS DISTINCT FROM new.custom)) EXECUTE FUNCTION kith.check_custom('company');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.companies FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_normal BEFORE INSERT OR UPDATE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.normal_company();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- People.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.contacts (
  id text NOT NULL DEFAULT kith.new_id('c'::text),  -- c_ and 26 characters that sort by time; generated.
  email public.citext,  -- Case-insensitive; unique among live rows.
  first_name text,  -- Given name.
  last_name text,  -- Family name.
  phone text,  -- Telephone number.
  title text,  -- Job title.
  company_id text,  -- The company that the person works for.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields; keys that custom_fields defines are validated.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT contacts_company_id_fkey FOREIGN KEY (company_id) REFERENCES public.companies(id),
  CONSTRAINT contacts_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT contacts_pkey PRIMARY KEY (id)
);
CREATE INDEX contacts_company_id_idx ON public.contacts USING btree (company_id);
CREATE UNIQUE INDEX contacts_email_key ON public.contacts USING btree (email) WHERE (deleted_at IS NULL);
CREATE INDEX contacts_kith_search_idx ON public.contacts USING gin (kith.search_text(ARRAY[first_name, last_name, (email)::text, title, kith.phone_digits(phone)]) public.gin_trgm_ops) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX contacts_newest_idx ON public.contacts USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.contacts REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('contact', '', 'first_name', ' ', 'last_name', '', '', 'email', '', '', '', '', 'phone', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.contacts REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('contact', '', 'first_name', ' ', 'last_name', '', '', 'email', '', '', '', '', 'phone', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.contacts REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('contact', '', 'first_name', ' ', 'last_name', '', '', 'email', '', '', '', '', 'phone', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_company_id AFTER INSERT OR UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.check_company_id();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.check_custom('contact');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.contacts FOR EACH ROW WHEN ((old.custom IS DISTINCT FROM new.custom)) EXECUTE FUNCTION kith.check_custom('contact');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.contacts FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_normal BEFORE INSERT OR UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.normal_contact();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- Definitions of keys in custom, by type of record. Keys without a definition are free-form.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.custom_fields (
  id text NOT NULL DEFAULT kith.new_id('fld'::text),  -- fld_ and 26 characters that sort by time; generated.
  object_type text NOT NULL,  -- contact, company, deal or activity.
  key text NOT NULL,  -- The key in custom. Unique for a type of record among live rows.
  label text,  -- The name that people see.
  type text NOT NULL,  -- text, number, date, bool or select.
  options jsonb,  -- For a select: an array of the strings that it may hold.
  required boolean NOT NULL DEFAULT false,  -- Whether a new record must have the key.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT custom_fields_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT custom_fields_key_check CHECK ((key <> ''::text)),
  CONSTRAINT custom_fields_object_type_check CHECK ((object_type = ANY (ARRAY['contact'::text, 'company'::text, 'deal'::text, 'activity'::text]))),
  CONSTRAINT custom_fields_options_check CHECK (
CASE
    WHEN (jsonb_typeof(options) = 'array'::text) THEN ((type <> 'select'::text) OR (jsonb_array_length(options) > 0))
    ELSE ((type <> 'select'::text) AND ((options IS NULL) OR (options = 'null'::jsonb)))
END),
  CONSTRAINT custom_fields_pkey PRIMARY KEY (id),
  CONSTRAINT custom_fields_type_check CHECK ((type = ANY (ARRAY['text'::text, 'number'::text, 'date'::text, 'bool'::text, 'select'::text])))
);
CREATE INDEX custom_fields_newest_idx ON public.custom_fields USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE UNIQUE INDEX custom_fields_object_type_key_key ON public.custom_fields USING btree (object_type, key) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.custom_fields REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('custom_field', '', 'object_type', '.', 'key', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.custom_fields REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('custom_field', '', 'object_type', '.', 'key', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.custom_fields REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('custom_field', '', 'object_type', '.', 'key', ''); -- ALWAYS
CREATE TRIGGER kith_definition BEFORE INSERT OR UPDATE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.check_definition();
CREATE TRIGGER kith_index AFTER INSERT OR DELETE OR UPDATE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.index_field();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.custom_fields FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.touch();

-- Opportunities.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.deals (
  id text NOT NULL DEFAULT kith.new_id('d'::text),  -- d_ and 26 characters that sort by time; generated.
  name text,  -- Name of the deal.
  pipeline text NOT NULL,  -- Key of the pipeline; the default one if left out.
  stage text NOT NULL,  -- Key of the stage in the pipeline; the first if left out. A stage that the pipeline lacks is added to its end.
  amount_cents bigint,  -- Value in hundredths of the currency.
  currency text DEFAULT 'USD'::text,  -- ISO 4217 code.
  close_date date,  -- Expected or actual closing date.
  contact_id text,  -- The person that the deal is with.
  company_id text,  -- The company that the deal is with.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields; keys that custom_fields defines are validated.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT deals_company_id_fkey FOREIGN KEY (company_id) REFERENCES public.companies(id),
  CONSTRAINT deals_contact_id_fkey FOREIGN KEY (contact_id) REFERENCES public.contacts(id),
  CONSTRAINT deals_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT deals_pkey PRIMARY KEY (id),
  CONSTRAINT deals_stage_fkey FOREIGN KEY (pipeline, stage) REFERENCES public.pipeline_stages(pipeline, key) ON UPDATE CASCADE
);
CREATE INDEX deals_company_id_idx ON public.deals USING btree (company_id);
CREATE INDEX deals_contact_id_idx ON public.deals USING btree (contact_id);
CREATE INDEX deals_kith_search_idx ON public.deals USING gin (kith.search_text(ARRAY[name]) public.gin_trgm_ops) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX deals_newest_idx ON public.deals USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX deals_stage_idx ON public.deals USING btree (pipeline, stage);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.deals REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('deal', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.deals REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('deal', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.deals REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('deal', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_company_id AFTER INSERT OR UPDATE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.check_company_id();
CREATE TRIGGER kith_contact_id AFTER INSERT OR UPDATE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.check_contact_id();
CREATE TRIGGER kith_custom_insert AFTER INSERT ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.check_custom('deal');
CREATE TRIGGER kith_custom_update AFTER UPDATE ON public.deals FOR EACH ROW WHEN ((old.custom IS DISTINCT FROM new.custom)) EXECUTE FUNCTION kith.check_custom('deal');
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.deals FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_place_insert BEFORE INSERT ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.place_deal();
CREATE TRIGGER kith_place_named BEFORE UPDATE OF stage ON public.deals FOR EACH ROW WHEN (((old.stage = new.stage) AND (old.pipeline IS DISTINCT FROM new.pipeline))) EXECUTE FUNCTION kith.place_deal('named');
CREATE TRIGGER kith_place_update BEFORE UPDATE ON public.deals FOR EACH ROW WHEN (((old.pipeline IS DISTINCT FROM new.pipeline) OR (old.stage IS DISTINCT FROM new.stage) OR ((old.deleted_at IS NOT NULL) AND (new.deleted_at IS NULL)))) EXECUTE FUNCTION kith.place_deal();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- Messages received and sent. Contacts and companies attach by address.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.emails (
  id text NOT NULL DEFAULT kith.new_id('e'::text),  -- e_ and 26 characters that sort by time; generated.
  thread_id text,  -- The provider's id of the conversation.
  provider text,  -- The mail service, for example gmail.
  provider_msg_id text,  -- The provider's id of the message; unique for a provider among live rows.
  direction text,  -- inbound or outbound.
  from_addr public.citext,  -- The sender.
  to_addrs public.citext[] NOT NULL DEFAULT '{}'::public.citext[],  -- The recipients, one address in each element.
  cc_addrs public.citext[] NOT NULL DEFAULT '{}'::public.citext[],  -- The recipients of copies, one address in each element.
  subject text,  -- The subject line.
  snippet text,  -- The first words.
  body_text text,  -- The text.
  body_html text,  -- The text as HTML.
  sent_at timestamp with time zone,  -- When it was sent.
  received_at timestamp with time zone,  -- When it was received.
  contact_ids text[] NOT NULL DEFAULT '{}'::text[],  -- Contacts that it is from or to. Those whose address it has are added to the ids that are given.
  company_ids text[] NOT NULL DEFAULT '{}'::text[],  -- Companies that it is from or to. Those whose domain an address has are added to the ids that are given.
  deal_ids text[] NOT NULL DEFAULT '{}'::text[],  -- Deals that it concerns.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  status text,  -- What became of a message that Kith sends: queued, held, sent, failed or simulated.
  status_reason text,  -- The provider's words, if it was refused or has to wait.
  CONSTRAINT emails_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT emails_direction_check CHECK ((direction = ANY (ARRAY['inbound'::text, 'outbound'::text]))),
  CONSTRAINT emails_pkey PRIMARY KEY (id),
  CONSTRAINT emails_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'held'::text, 'sent'::text, 'failed'::text, 'simulated'::text])))
);
CREATE INDEX emails_company_ids_idx ON public.emails USING gin (company_ids);
CREATE INDEX emails_contact_ids_idx ON public.emails USING gin (contact_ids);
CREATE INDEX emails_conversation_idx ON public.emails USING hash (thread_id);
CREATE INDEX emails_deal_ids_idx ON public.emails USING gin (deal_ids);
CREATE INDEX emails_kith_search_idx ON public.emails USING gin (kith.search_words((((ARRAY[subject, (from_addr)::text] || (to_addrs)::text[]) || (cc_addrs)::text[]) || ARRAY[snippet, body_text]))) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX emails_message_idx ON public.emails USING btree (provider_msg_id) WHERE (provider_msg_id IS NOT NULL);
CREATE INDEX emails_newest_idx ON public.emails USING btree (COALESCE(received_at, sent_at, created_at), id) WHERE (deleted_at IS NULL);
CREATE UNIQUE INDEX emails_provider_msg_id_key ON public.emails USING btree (provider, provider_msg_id) WHERE ((provider IS NOT NULL) AND (provider_msg_id IS NOT NULL) AND (deleted_at IS NULL));
CREATE INDEX emails_thread_idx ON public.emails USING btree (kith.thread_subject(subject), COALESCE(received_at, sent_at, created_at)) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.emails REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('email', '', 'subject', '', '', '', '', 'snippet', '', '', '', '', 'from_addr', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.emails REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('email', '', 'subject', '', '', '', '', 'snippet', '', '', '', '', 'from_addr', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.emails REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('email', '', 'subject', '', '', '', '', 'snippet', '', '', '', '', 'from_addr', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_attach BEFORE INSERT OR UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.attach_email();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.emails FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_references AFTER INSERT OR UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.check_mail_references();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- The members of static lists.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.list_members (
  id text NOT NULL DEFAULT kith.new_id('lm'::text),  -- lm_ and 26 characters that sort by time; generated.
  list_id text NOT NULL,  -- The list that it is in.
  member_id text NOT NULL,  -- Id of the record in the list's target table.
  added_at timestamp with time zone NOT NULL DEFAULT now(),  -- When it was added to the list.
  added_by text DEFAULT kith.current_actor(),  -- The actor who added it.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  CONSTRAINT list_members_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT list_members_list_id_fkey FOREIGN KEY (list_id) REFERENCES public.lists(id) ON DELETE CASCADE,
  CONSTRAINT list_members_list_id_member_id_key UNIQUE (list_id, member_id),
  CONSTRAINT list_members_pkey PRIMARY KEY (id)
);
CREATE INDEX list_members_member_id_idx ON public.list_members USING btree (member_id);
CREATE INDEX list_members_newest_idx ON public.list_members USING btree (added_at, id);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.list_members REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('list_member', '', 'member_id', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.list_members REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('list_member', '', 'member_id', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.list_members REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('list_member', '', 'member_id', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_link AFTER INSERT ON public.list_members FOR EACH ROW EXECUTE FUNCTION kith.link();
CREATE TRIGGER kith_list_id AFTER INSERT OR UPDATE ON public.list_members FOR EACH ROW EXECUTE FUNCTION kith.check_list_id();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.list_members FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS

-- Saved lists of records. A dynamic list has a condition, a static one has members.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.lists (
  id text NOT NULL DEFAULT kith.new_id('l'::text),  -- l_ and 26 characters that sort by time; generated.
  name text NOT NULL,  -- Name of the list.
  description text,  -- Purpose of the list.
  target_table text NOT NULL,  -- The table whose rows it contains.
  kind text NOT NULL DEFAULT 'dynamic'::text,  -- dynamic or static.
  filter_predicate text,  -- For a dynamic list: an SQL condition on a row of the target table and the rows that it refers to.
  filter_params jsonb NOT NULL DEFAULT '[]'::jsonb,  -- Values of $1, $2, … in filter_predicate.
  config jsonb NOT NULL DEFAULT '{}'::jsonb,  -- The columns that it shows, and the order of its rows: {columns, order}.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT lists_config_check CHECK ((jsonb_typeof(config) = 'object'::text)),
  CONSTRAINT lists_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT lists_filter_params_check CHECK ((jsonb_typeof(filter_params) = 'array'::text)),
  CONSTRAINT lists_kind_check CHECK ((kind = ANY (ARRAY['dynamic'::text, 'static'::text]))),
  CONSTRAINT lists_pkey PRIMARY KEY (id)
);
CREATE INDEX lists_kith_search_idx ON public.lists USING gin (kith.search_text(ARRAY[name, description]) public.gin_trgm_ops) WITH (gin_pending_list_limit='128') WHERE (deleted_at IS NULL);
CREATE INDEX lists_newest_idx ON public.lists USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.lists REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('list', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.lists REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('list', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.lists REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('list', '', 'name', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.lists FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.lists FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.lists FOR EACH ROW EXECUTE FUNCTION kith.unlink();

CREATE EXTENSION pg_trgm SCHEMA public;

CREATE EXTENSION pgcrypto SCHEMA public; -- Has kith.change, kith.gap, kith.idempotency, kith.judgement, kith.published, kith.run, kith.seal, kith.secret, kith.shape, which pg_dump leaves out.

-- The stages of a pipeline, in order.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.pipeline_stages (
  id text NOT NULL DEFAULT kith.new_id('st'::text),  -- st_ and 26 characters that sort by time; generated.
  pipeline text NOT NULL,  -- The key of the pipeline.
  key text NOT NULL,  -- The name by which deals refer to it.
  label text NOT NULL,  -- The name that people see.
  "position" integer NOT NULL,  -- Place in the pipeline; last if left out.
  is_won boolean NOT NULL DEFAULT false,  -- Whether deals in this stage are won.
  is_lost boolean NOT NULL DEFAULT false,  -- Whether deals in this stage are lost. A stage is not both.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT pipeline_stages_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT pipeline_stages_is_lost_check CHECK ((NOT (is_won AND is_lost))),
  CONSTRAINT pipeline_stages_key_check CHECK ((key <> ''::text)),
  CONSTRAINT pipeline_stages_pipeline_fkey FOREIGN KEY (pipeline) REFERENCES public.pipelines(key) ON UPDATE CASCADE ON DELETE CASCADE,
  CONSTRAINT pipeline_stages_pipeline_key_key UNIQUE (pipeline, key),
  CONSTRAINT pipeline_stages_pkey PRIMARY KEY (id)
);
CREATE INDEX pipeline_stages_newest_idx ON public.pipeline_stages USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.pipeline_stages REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline_stage', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.pipeline_stages REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline_stage', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.pipeline_stages REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline_stage', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_await_order BEFORE INSERT OR UPDATE ON public.pipeline_stages FOR EACH STATEMENT EXECUTE FUNCTION kith.await_order();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.pipeline_stages FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_order_insert AFTER INSERT ON public.pipeline_stages REFERENCING NEW TABLE AS kith_new FOR EACH STATEMENT EXECUTE FUNCTION kith.order_stages();
CREATE TRIGGER kith_order_update AFTER UPDATE ON public.pipeline_stages REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH STATEMENT EXECUTE FUNCTION kith.order_stages();
CREATE TRIGGER kith_place BEFORE INSERT OR DELETE OR UPDATE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.place_stage();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- Sequences of stages that deals go through. One is the default.
-- Owned by {{workspace}}. Granted: SELECT TO {{viewer}}.
CREATE TABLE public.pipelines (
  id text NOT NULL DEFAULT kith.new_id('pl'::text),  -- pl_ and 26 characters that sort by time; generated.
  key text NOT NULL,  -- The name by which deals refer to it.
  label text NOT NULL,  -- The name that people see.
  "position" integer NOT NULL,  -- Place among the pipelines; last if left out.
  is_default boolean NOT NULL DEFAULT false,  -- Whether a deal without a pipeline goes here. True for exactly one; setting it unsets the previous one.
  custom jsonb NOT NULL DEFAULT '{}'::jsonb,  -- Free-form fields.
  created_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was created.
  updated_at timestamp with time zone NOT NULL DEFAULT now(),  -- When the row was last changed.
  deleted_at timestamp with time zone,  -- When the row was soft-deleted; null while it is live.
  CONSTRAINT pipelines_custom_check CHECK ((jsonb_typeof(custom) = 'object'::text)),
  CONSTRAINT pipelines_key_check CHECK ((key <> ''::text)),
  CONSTRAINT pipelines_key_key UNIQUE (key),
  CONSTRAINT pipelines_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX pipelines_default_key ON public.pipelines USING btree (is_default) WHERE (is_default AND (deleted_at IS NULL));
CREATE INDEX pipelines_newest_idx ON public.pipelines USING btree (created_at, id) WHERE (deleted_at IS NULL);
CREATE TRIGGER "!kith_record" AFTER INSERT ON public.pipelines REFERENCING NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_delete" AFTER DELETE ON public.pipelines REFERENCING OLD TABLE AS kith_old FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER "!kith_record_update" AFTER UPDATE ON public.pipelines REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH ROW EXECUTE FUNCTION kith.record_change('pipeline', '', 'label', '', '', ''); -- ALWAYS
CREATE TRIGGER kith_await_order BEFORE INSERT OR UPDATE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.await_order();
CREATE TRIGGER kith_keep_default AFTER INSERT OR DELETE OR UPDATE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.keep_default();
CREATE TRIGGER kith_no_truncate BEFORE TRUNCATE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate(); -- ALWAYS
CREATE TRIGGER kith_order_insert AFTER INSERT ON public.pipelines REFERENCING NEW TABLE AS kith_new FOR EACH STATEMENT EXECUTE FUNCTION kith.order_pipelines();
CREATE TRIGGER kith_order_update AFTER UPDATE ON public.pipelines REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH STATEMENT EXECUTE FUNCTION kith.order_pipelines();
CREATE TRIGGER kith_place BEFORE INSERT OR DELETE OR UPDATE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.place_pipeline();
CREATE TRIGGER kith_touch BEFORE UPDATE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.touch();
CREATE TRIGGER kith_unlink AFTER DELETE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.unlink();

CREATE EXTENSION vector SCHEMA public;

-- Not for PUBLIC: armor(bytea), armor(bytea, text[], text[]), dearmor(text), pgp_armor_headers(text, OUT key text, OUT value text), pgp_key_id(bytea), pgp_pub_decrypt(bytea, bytea), pgp_pub_decrypt(bytea, bytea, text), pgp_pub_decrypt(bytea, bytea, text, text), pgp_pub_decrypt_bytea(bytea, bytea), pgp_pub_decrypt_bytea(bytea, bytea, text), pgp_pub_decrypt_bytea(bytea, bytea, text, text), pgp_pub_encrypt(text, bytea), pgp_pub_encrypt(text, bytea, text), pgp_pub_encrypt_bytea(bytea, bytea), pgp_pub_encrypt_bytea(bytea, bytea, text), pgp_sym_decrypt(bytea, text), pgp_sym_decrypt(bytea, text, text), pgp_sym_decrypt_bytea(bytea, text), pgp_sym_decrypt_bytea(bytea, text, text), pgp_sym_encrypt(text, text), pgp_sym_encrypt(text, text, text), pgp_sym_encrypt_bytea(bytea, text), pgp_sym_encrypt_bytea(bytea, text, text)

-- Puts a table of your own into the activity feed: CREATE TRIGGER … AFTER INSERT OR UPDATE OR DELETE ON … FOR EACH ROW EXECUTE FUNCTION record_activity().
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION public.record_activity()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
 SET "IntervalStyle" TO 'postgres'
 SET extra_float_digits TO '1'
 SET bytea_output TO 'hex'
 SET lc_monetary TO 'C'
 SET quote_all_identifiers TO 'off'
AS $function$
DECLARE
  before jsonb; after jsonb; row_now jsonb; key_column name; own_name text; key text; repr text; entry text; changes jsonb;
BEGIN
  IF TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' THEN
    RAISE EXCEPTION 'record_activity() must be an AFTER … FOR EACH ROW trigger' USING ERRCODE = '0A000',
      HINT = format('CREATE TRIGGER activity AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION record_activity()', TG_TABLE_NAME);
  END IF;
  IF EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = TG_RELID) THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
  IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
  row_now := coalesce(after, before);

  own_name := kith.own_subject(TG_RELID);
  IF NOT row_now ? 'id' THEN
    SELECT a.attname INTO key_column FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = TG_RELID AND i.indisprimary AND i.indnkeyatts = 1;
  END IF;
  key := row_now ->> coalesce(key_column, 'id');
  repr := coalesce(row_now ->> 'name', row_now ->> 'title', row_now ->> 'label', row_now ->> 'subject', row_now ->> 'email');
  entry := CASE WHEN TG_OP = 'INSERT' THEN kith.write_entry('created', own_name, key, repr, NULL)
                ELSE kith.write_change(own_name, key, repr, before, after) END;
  IF entry IS NULL AND NEW *<> OLD THEN
    changes := kith.image_changes(TG_RELID, OLD, NEW);
    IF changes IS NOT NULL THEN
      entry := kith.write_entry('updated', own_name, key, repr, kith.clip_changes(changes));
    END IF;
  END IF;
  IF entry IS NOT NULL THEN
    PERFORM kith.note_entry(TG_RELID, row_now, entry);
  END IF;
  RETURN NULL;
END $function$;

----------------------------------------------------------------------------------------------------
-- Schema kith, owned by {{system}}. Granted: USAGE TO PUBLIC.

-- The change log. Triggers write it; the workspace can neither read nor write it.
-- Owned by {{system}}.
CREATE TABLE kith.change (
  seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  "position" bigint,  -- The place among the events; null until the change is published.
  xid xid8 NOT NULL,
  at timestamp with time zone NOT NULL,
  actor text NOT NULL,
  request text,
  run text,
  via text NOT NULL,
  relation oid NOT NULL,
  shape integer NOT NULL,
  key text NOT NULL,  -- The value of the primary key, as text; of several columns, a JSON object.
  was text,  -- The previous key, if the change gave the row another one.
  op "char" NOT NULL,  -- I, U or D.
  verb text NOT NULL,
  image jsonb NOT NULL,  -- The whole row after the change; the row before it, if it was deleted for good.
  previous jsonb,  -- The previous values of the columns that an update changed, updated_at excepted.
  exact jsonb,  -- Texts of the values that JSON does not hold to the letter: {row: {column: text}, previous: {column: text}}. If the key of the table is deferrable, tuple says which row it is: {from: its place before, unless it is of an earlier transaction, to: its place after}.
  activity text,
  undone_by text,
  said jsonb,  -- The agent and the reason of a request, where no entry of the feed has them.
  command text,  -- Of a row that was deleted from a partition or inserted into one: the partition, the number of the command in its transaction (empty if the transaction wrote the deleted row itself), and the depth of the trigger. Null once it is known whether the row was moved.
  CONSTRAINT change_pkey PRIMARY KEY (seq)
);
CREATE INDEX change_activity_idx ON kith.change USING btree (activity) WHERE ((activity IS NOT NULL) AND (request IS NULL));
CREATE INDEX change_command_idx ON kith.change USING btree (xid, relation, split_part(command, ' '::text, 3)) WHERE ((command IS NOT NULL) AND (op = 'D'::"char"));
CREATE INDEX change_moved_idx ON kith.change USING btree (relation, was) WHERE (was IS NOT NULL);
CREATE INDEX change_position_idx ON kith.change USING btree ("position", seq);
CREATE INDEX change_request_idx ON kith.change USING btree (request) WHERE (request IS NOT NULL);
CREATE INDEX change_row_idx ON kith.change USING btree (relation, key, seq) WHERE (activity IS NULL);
CREATE INDEX change_run_idx ON kith.change USING btree (run, seq) WHERE (run IS NOT NULL);
CREATE INDEX change_transaction_idx ON kith.change USING btree (xid, relation, key);
CREATE INDEX change_undone_by_idx ON kith.change USING btree (undone_by) WHERE (undone_by IS NOT NULL);

-- What runs did that cannot be undone: DDL, TRUNCATE, writes to tables without a primary key.
-- Owned by {{system}}.
CREATE TABLE kith.gap (
  run text NOT NULL,
  what text NOT NULL,
  request text NOT NULL,  -- The request that did it; empty if there was none.
  at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT gap_key PRIMARY KEY (run, what, request)
);

-- Answers to requests with an Idempotency-Key, kept for 24 hours. A row without a status belongs to a transaction that has not ended.
-- Owned by {{system}}.
CREATE TABLE kith.idempotency (
  key text NOT NULL,
  fingerprint text NOT NULL,
  status integer,
  body text,
  created_at timestamp with time zone NOT NULL,
  CONSTRAINT idempotency_pkey PRIMARY KEY (key)
);
CREATE INDEX idempotency_created_at ON kith.idempotency USING btree (created_at);

-- Changes under a limit that are still to be counted. Empty outside of transactions.
-- Owned by {{system}}.
CREATE TABLE kith.judgement (
  xid xid8 NOT NULL
);
CREATE CONSTRAINT TRIGGER judge AFTER INSERT ON kith.judgement DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION kith.judge();

-- How far the changes are published as events.
-- Owned by {{system}}.
CREATE TABLE kith.published (
  id integer NOT NULL DEFAULT 1,
  "position" bigint NOT NULL,  -- The position of the last one.
  CONSTRAINT published_id_check CHECK ((id = 1)),
  CONSTRAINT published_pkey PRIMARY KEY (id)
);

-- Runs: all that one actor does under one X-Run-Id.
-- Owned by {{system}}.
CREATE TABLE kith.run (
  id text NOT NULL DEFAULT kith.new_id('run'::text),
  actor text NOT NULL,
  run_id text NOT NULL,
  agent text,
  reason text,
  status text NOT NULL DEFAULT 'open'::text,
  summary text,
  started_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  undone_by text,  -- The run that undid it.
  undo_of text,  -- What it undoes: a run, a request or an entry of the feed.
  caused_by text,
  CONSTRAINT run_actor_run_id_key UNIQUE (actor, run_id),
  CONSTRAINT run_pkey PRIMARY KEY (id),
  CONSTRAINT run_status_check CHECK ((status = ANY (ARRAY['open'::text, 'complete'::text, 'failed'::text])))
);
CREATE INDEX run_newest_idx ON kith.run USING btree (started_at, id);

-- Transactions that may change at most so many rows, or that may not be committed.
-- Owned by {{system}}.
CREATE TABLE kith.seal (
  xid xid8 NOT NULL,
  most integer,
  is_dry boolean NOT NULL,
  passed timestamp with time zone,  -- The start of the statement in which SET CONSTRAINTS last ran the trigger that refuses to commit.
  children text[],  -- Which tables were children of which before the first DDL of a transaction that may change so many rows.
  CONSTRAINT seal_pkey PRIMARY KEY (xid)
);
CREATE CONSTRAINT TRIGGER refuse_dry AFTER INSERT OR UPDATE OF passed ON kith.seal DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.is_dry) EXECUTE FUNCTION kith.refuse_dry();

-- The hash of the secret that the server knows, and the key that signs contexts. One row.
-- Owned by {{system}}.
CREATE TABLE kith.secret (
  one boolean NOT NULL DEFAULT true,
  token_hash bytea NOT NULL,
  mac_key bytea NOT NULL,
  CONSTRAINT secret_one_check CHECK (one),
  CONSTRAINT secret_pkey PRIMARY KEY (one)
);

-- What the change log knows of each table: its name, key and columns.
-- Owned by {{system}}.
CREATE TABLE kith.shape (
  id integer NOT NULL GENERATED ALWAYS AS IDENTITY,
  relation oid NOT NULL,
  is_current boolean NOT NULL DEFAULT true,
  name text NOT NULL,
  key name[] NOT NULL,
  columns jsonb NOT NULL,  -- {name: [number, type, modifier]}, without generated columns but those of the key.
  generated name[] NOT NULL,
  exact name[] NOT NULL,  -- Columns whose values JSON does not hold to the letter: arrays (their bounds), json (its spaces), and all types that are not known to be safe.
  doubtful name[] NOT NULL,  -- Columns whose value JSON loses if it is shown as null (of jsonb) or 0 (of a float, which has a sign).
  is_styled boolean NOT NULL,  -- Whether it has a column of intervals or bytea, which are written as settings of the session say.
  is_deferrable boolean NOT NULL,  -- Whether its key is deferrable, so that several rows can have the same key for a moment.
  actions jsonb,  -- The foreign keys by which a change of another row changes rows here.
  only_key text DEFAULT 
CASE
    WHEN (cardinality(key) = 1) THEN (key[1])::text
    ELSE NULL::text
END,  -- The column of the key, if it has one column.
  is_inexact boolean DEFAULT ((exact <> '{}'::name[]) OR (doubtful <> '{}'::name[])),
  is_plain boolean DEFAULT ((generated = '{}'::name[]) AND (exact = '{}'::name[]) AND (doubtful = '{}'::name[]) AND (NOT is_styled) AND (NOT is_deferrable) AND (cardinality(key) = 1)),  -- Whether JSON holds all rows to the letter and whatever the settings but the time zone, no column is left out because it is generated, and the key has one column and is not deferrable.
  CONSTRAINT shape_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX shape_current_key ON kith.shape USING btree (relation) WHERE is_current;

-- The addresses in one text as contacts may have them: alone, and with the domain in Unicode and in ASCII.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.address_forms(list text)
 RETURNS public.citext[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE address text; place text; domain text; forms text[] := '{}';
BEGIN
  FOREACH address IN ARRAY kith.split_addresses(list) LOOP
    address := kith.bare_address(address);
    IF address LIKE '%@%' THEN
      forms := forms || address;
      IF octet_length(address) <> char_length(address) OR address ILIKE '%xn--%' THEN
        domain := split_part(address, '@', -1);
        place := left(address, -length(domain));
        forms := forms || ARRAY[place || kith.unicode_domain(domain), place || kith.ascii_domain(domain)];
      END IF;
    END IF;
  END LOOP;
  RETURN forms;
END $function$;

-- How many rows of each table were created, updated, deleted and restored.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.affected(changes kith.change[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
    FROM (SELECT s.name, count(*) FILTER (WHERE n.verb = 'created') AS created, count(*) FILTER (WHERE n.verb = 'updated') AS updated,
                 count(*) FILTER (WHERE n.verb = 'deleted') AS deleted, count(*) FILTER (WHERE n.verb = 'restored') AS restored
            FROM kith.net(affected.changes) n JOIN kith.shape s ON s.id = n.shape GROUP BY s.name) x
$function$;

-- How many rows of each table a run created, updated, deleted and restored.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.affected_by(run text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH noted AS MATERIALIZED (
         SELECT c.seq, c.shape, c.verb, count(*) OVER (PARTITION BY c.relation, c.key) AS times, bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) AS moved
           FROM kith.change c WHERE c.run = affected_by.run),
       each_row AS (
         SELECT n.shape, n.verb FROM noted n WHERE n.times = 1 AND NOT n.moved
          UNION ALL
         SELECT m.shape, m.verb FROM kith.net(ARRAY(SELECT c FROM kith.change c WHERE c.seq IN (SELECT n.seq FROM noted n WHERE n.times > 1 OR n.moved))) m)
  SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
    FROM (SELECT s.name, count(*) FILTER (WHERE e.verb = 'created') AS created, count(*) FILTER (WHERE e.verb = 'updated') AS updated,
                 count(*) FILTER (WHERE e.verb = 'deleted') AS deleted, count(*) FILTER (WHERE e.verb = 'restored') AS restored
            FROM each_row e JOIN kith.shape s ON s.id = e.shape GROUP BY s.name) x
$function$;

-- What a conflict says of columns of an update. `now` is the row as it is.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.as_conflict(item kith.undo_item, names text[], now jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_object_agg(c.name, jsonb_build_object('expected', item.expected -> c.name, 'now', as_conflict.now -> c.name, 'back_to', item.back_shown -> c.name)) FROM unnest(names) c(name)
$function$;

-- What events say of changes.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.as_events(changes kith.change[])
 RETURNS TABLE(seq bigint, "position" bigint, xid text, at timestamp with time zone, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text, verb text, image jsonb, previous jsonb)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
  SELECT c.seq, c.position, c.xid::text, c.at, c.actor, c.request, r.run_id, r.undo_of, s.name::text, c.key, c.op::text, c.verb, kith.part_of(c.image), kith.part_of(c.previous)
    FROM unnest(as_events.changes) c JOIN kith.shape s ON s.id = c.shape LEFT JOIN kith.run r ON r.id = c.run
$function$;

-- A domain with its labels in ASCII: xn--bcher-kva.example for bücher.example.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.ascii_domain(domain text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
BEGIN
  IF domain !~ '[^\u0001-\u007f]' OR length(domain) > 253 THEN
    RETURN domain;
  END IF;
  RETURN (SELECT string_agg(CASE WHEN label ~ '[^\u0001-\u007f]' THEN 'xn--' || kith.punycode(lower(label)) ELSE label END, '.' ORDER BY place)
            FROM string_to_table(normalize(domain, NFKC), '.') WITH ORDINALITY x(label, place));
END $function$;

-- The rows that were put back and are not as they were, with the columns that differ. A row that is missing has no image.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.astray(items kith.undo_item[])
 RETURNS TABLE(n integer, names text[], image jsonb)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
DECLARE batch record;
BEGIN
  FOR batch IN SELECT i.act = 'delete' AS is_gone, i.relation, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key, (array_agg(i.target))[1] AS target,
                      array_agg(kith.key_after(i.key, i.target)) AS keys, array_agg(i.target) AS targets, array_agg(i.n) AS numbers
                 FROM unnest(items) i WHERE i.state = 'done'
                  -- Another row may have the key of one that is deleted.
                  AND CASE i.act WHEN 'delete' THEN (i.relation, i.key) NOT IN (SELECT o.relation, kith.key_after(o.key, o.target) FROM unnest(items) o WHERE o.state = 'done' AND o.act <> 'delete')
                                 ELSE i.target <> '{}' END
                GROUP BY i.act = 'delete', i.relation, ARRAY(SELECT jsonb_object_keys(i.target) ORDER BY 1) LOOP
    IF batch.is_gone THEN
      RETURN QUERY EXECUTE kith.undo_statement('find', batch.relation, batch.columns, batch.key, NULL) USING batch.keys, batch.numbers;
    ELSE
      RETURN QUERY EXECUTE kith.undo_statement('compare', batch.relation, batch.columns, batch.key, batch.target) USING batch.keys, batch.targets, batch.numbers;
    END IF;
  END LOOP;
END $function$;

-- Puts the addresses of an email into their normal form, and finds its contacts and companies.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.attach_email()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
DECLARE addresses public.citext[]; domains text[];
BEGIN
  -- The columns are NOT NULL for readers. A writer may leave them null.
  NEW.contact_ids := coalesce(NEW.contact_ids, '{}');
  NEW.company_ids := coalesce(NEW.company_ids, '{}');
  NEW.deal_ids := coalesce(NEW.deal_ids, '{}');
  NEW.from_addr := kith.trimmed(NEW.from_addr::text);
  -- An empty id is none. As a value it would be unique, and a second message without an id would be refused.
  NEW.provider := nullif(NEW.provider, '');
  NEW.provider_msg_id := nullif(NEW.provider_msg_id, '');
  IF TG_OP = 'INSERT' OR NEW.to_addrs IS DISTINCT FROM OLD.to_addrs THEN
    NEW.to_addrs := kith.normal_addresses(NEW.to_addrs);
  END IF;
  IF TG_OP = 'INSERT' OR NEW.cc_addrs IS DISTINCT FROM OLD.cc_addrs THEN
    NEW.cc_addrs := kith.normal_addresses(NEW.cc_addrs);
  END IF;
  IF TG_OP = 'UPDATE' THEN
    RETURN NEW;
  END IF;
  SELECT array_agg(f), array_agg(DISTINCT kith.normal_domain(split_part(f::text, '@', -1))) INTO addresses, domains
    FROM unnest(NEW.from_addr || NEW.to_addrs || NEW.cc_addrs) a, LATERAL unnest(kith.address_forms(a::text)) f;
  SELECT NEW.contact_ids || array_agg(c.id ORDER BY c.id) INTO NEW.contact_ids FROM public.contacts c
   WHERE c.email = ANY (addresses) AND c.deleted_at IS NULL AND c.id <> ALL (NEW.contact_ids);
  SELECT NEW.company_ids || array_agg(c.id ORDER BY c.id) INTO NEW.company_ids FROM public.companies c
   WHERE lower(c.domain) = ANY (domains) AND c.deleted_at IS NULL AND c.id <> ALL (NEW.company_ids);
  RETURN NEW;
END $function$;

-- Has the changes of this transaction counted at its end, if it has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.await_judgement()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id() AND s.most IS NOT NULL) THEN
    INSERT INTO kith.judgement AS j (xid) VALUES (pg_current_xact_id());
  END IF;
END $function$;

-- Makes changes of pipelines and stages wait for each other.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.await_order()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF pg_trigger_depth() = 1 OR TG_TABLE_NAME = 'pipelines' THEN
    LOCK TABLE public.pipelines IN SHARE UPDATE EXCLUSIVE MODE;
  END IF;
  RETURN NULL;
END $function$;

-- The address alone, without names and comments.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.bare_address(address text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN kith.trimmed(CASE WHEN (address ~~ '%<%@%>%'::text) THEN "substring"(address, '<([^<>]*)>[^<>]*$'::text) WHEN (address ~ '[(:<]'::text) THEN regexp_replace(regexp_replace(address, '("(?:[^"\\]|\\.)*")|\((?:[^()]|\([^()]*\))*\)|<[^<>]*>'::text, '\1'::text, 'g'::text), '^(?:"(?:[^"\\]|\\.)*"|[^"@])*:\s*'::text, ''::text) ELSE address END);

-- The type that a domain is of; any other type itself.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.base_type(type oid)
 RETURNS oid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE base oid;
BEGIN
  SELECT CASE y.typtype WHEN 'd' THEN kith.base_type(y.typbasetype) ELSE y.oid END INTO base FROM pg_type y WHERE y.oid = type;
  RETURN base;
END $function$;

-- Says who acts in this transaction, and where the request came from: an actor and a JSON object of one line each, the object may be null; and if it only inserts one row of a built-in table, an id for its entry in the feed. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.begin_request(secret text, actor text, provenance text, entry text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE payload text := concat(actor, E'\n', coalesce(provenance, '{}'), E'\n' || entry);
BEGIN
  PERFORM set_config('kith.context', kith.context_mac(s.mac_key, payload) || payload, true)
     FROM kith.secret s
    WHERE s.token_hash = sha256(convert_to(secret, 'UTF8')) AND actor <> '' AND position(E'\n' IN actor) = 0;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'only the server can say who is acting' USING ERRCODE = '28000';
  END IF;
END $function$;

-- The query that writes the changes of all rows of a statement to the log and to the feed. Refuses viewers.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.begin_statement(relation oid, op text, depth integer, labels text[])
 RETURNS kith.statement
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
#variable_conflict use_variable
DECLARE
  shape kith.shape; made kith.statement; own text[]; number text; key text; texts text; label text; rows text;
  own_via constant text := CASE WHEN depth > 1 THEN 'trigger' ELSE 'request' END;
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = begin_statement.relation AND s.is_current;
  SELECT c.actor, c.provenance INTO made.actor, made.provenance FROM kith.current_context() c;
  made.has_cascades := shape.actions IS NOT NULL AND op = 'UPDATE';
  made.is_limited := made.provenance ? 'limited' OR starts_with(made.actor, 'postgres:');
  IF starts_with(made.actor, 'postgres:') AND kith.is_viewer() THEN
    RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
  END IF;
  -- No column has this name.
  number := 'kith:' || gen_random_uuid();
  own := number || shape.generated::text[];
  key := CASE WHEN shape.only_key IS NOT NULL THEN format('(r.%%s ->> %L)', shape.only_key) ELSE format('kith.key_of(r.%%s, %L, %L)', shape.key, shape.doubtful) END;
  -- {row} is the expression for a row.
  texts := kith.exact_texts_query(shape.exact, '{row}') || coalesce((
    SELECT string_agg(format(' || CASE WHEN i.image -> %1$L IN (''null'', ''0'')' || CASE op WHEN 'UPDATE' THEN ' OR i.before -> %1$L IN (''null'', ''0'')' ELSE '' END || ' THEN %2$s ELSE ''{}'' END',
                             d.name, kith.exact_texts_query(ARRAY[d.name], '{row}')), '')
      FROM unnest(shape.doubtful) d(name)), '');
  label := (SELECT 'coalesce(' || string_agg(format('nullif(btrim(concat(%L, r.image ->> %L, %L, r.image ->> %L, %L)), '''')',
                                                    labels[n], labels[n + 1], labels[n + 2], labels[n + 3], labels[n + 4]), ', ' ORDER BY n) || ')'
              FROM generate_series(1, array_upper(labels, 1), 5) n);
  IF op = 'UPDATE' THEN
    -- Equal images of rows that differ are rare.
    rows := format('
      SELECT o.%4$I AS n, i.before, i.image, c.changes, coalesce(d.previous, (SELECT jsonb_object_agg(x.name, i.before -> x.name) FROM jsonb_object_keys(c.changes) x(name))) AS previous, %1$s AS exact
        FROM (SELECT row_number() OVER () AS %4$I, k.* FROM (SELECT * FROM kith_old OFFSET $3 LIMIT $4) k) o
        JOIN (SELECT row_number() OVER () AS %4$I, k.* FROM (SELECT * FROM kith_new OFFSET $3 LIMIT $4) k) w ON w.%4$I = o.%4$I
       CROSS JOIN LATERAL (SELECT to_jsonb(o.*) - %3$L::text[] AS before, to_jsonb(w.*) - %3$L::text[] AS image OFFSET 0) i
       CROSS JOIN LATERAL (
             SELECT jsonb_object_agg(a.key, i.before -> a.key) AS previous, jsonb_object_agg(a.key, jsonb_build_object(''from'', i.before -> a.key, ''to'', a.value)) AS changes
               FROM jsonb_each(i.image) a
              WHERE (a.value <> (i.before -> a.key) OR jsonb_typeof(a.value) <> ''string'' AND jsonb_send(a.value) <> jsonb_send(i.before -> a.key)) AND a.key <> ''updated_at'') d
       CROSS JOIN LATERAL (SELECT coalesce(d.changes, (%2$s) - %3$L::text[]) AS changes OFFSET 0) c
       WHERE o.* *<> w.* AND c.changes <> ''{}''',
      CASE WHEN NOT shape.is_inexact THEN 'NULL::jsonb'
           ELSE format('nullif(jsonb_build_object(''row'', %s, ''previous'', %s), ''{"row": {}, "previous": {}}'')',
                       replace(texts, '{row}', 'w'), replace(texts, '{row}', 'o')) END,
      kith.image_changes_query(relation, 'o', 'w'), own, number);
  ELSE
    rows := format('
      SELECT k.%6$I AS n, %1$s AS before, i.image, %2$s AS changes, NULL::jsonb AS previous, %3$s AS exact
        FROM (SELECT row_number() OVER () AS %6$I, k.* FROM (SELECT * FROM %4$s OFFSET $3 LIMIT $4) k) k
       CROSS JOIN LATERAL (SELECT to_jsonb(k.*) - %5$L::text[] AS image OFFSET 0) i',
      CASE op WHEN 'DELETE' THEN 'i.image' ELSE 'NULL::jsonb' END,
      CASE op WHEN 'DELETE' THEN '(SELECT jsonb_object_agg(b.key, jsonb_build_object(''from'', b.value, ''to'', NULL)) FROM jsonb_each(i.image) b WHERE b.value <> ''null'' AND b.key <> ''updated_at'')'
                            ELSE 'NULL::jsonb' END,
      CASE WHEN NOT shape.is_inexact THEN 'NULL::jsonb'
           ELSE format('nullif(jsonb_build_object(''row'', %s), ''{"row": {}}'')', replace(texts, '{row}', 'k')) END,
      CASE op WHEN 'DELETE' THEN 'kith_old' ELSE 'kith_new' END, own, number);
  END IF;
  made.query := format('
    WITH r AS MATERIALIZED (
      SELECT x.*, %s AS verb, kith.new_id(''a'') AS entry FROM (%s) x),
    feed AS (
      INSERT INTO public.activity (id, actor, verb, subject_type, subject_id, subject_repr, changes, custom)
      SELECT r.entry, $1, r.verb, %L, left(r.image ->> ''id'', 500), left(%s, 200), CASE WHEN octet_length(r.changes::text) > 1000000 THEN kith.clip_changes(r.changes) ELSE r.changes END,
             $2 - ''{undo_of,limited,caused_by}''::text[]
        FROM r ORDER BY r.n)
    INSERT INTO kith.change (xid, at, actor, request, run, via, relation, shape, key, was, op, verb, image, previous, exact, activity)
    SELECT pg_current_xact_id(), clock_timestamp(), $1, $2 ->> ''request_id'', (SELECT CASE WHEN $2 ? ''run_id'' THEN kith.note_run($1, $2) END), %s, %s, %s, %s,
           CASE WHEN r.previous ?| %L THEN %s END, %L, r.verb, r.image, r.previous, r.exact, r.entry
      FROM r ORDER BY r.n',
    CASE op WHEN 'DELETE' THEN '''deleted'''
            WHEN 'INSERT' THEN quote_literal(CASE WHEN depth = 1 AND made.provenance ? 'undo_of' THEN 'restored' ELSE 'created' END)
            ELSE 'CASE WHEN NOT x.previous ? ''deleted_at'' THEN ''updated'' WHEN x.previous -> ''deleted_at'' = ''null'' THEN ''deleted''
                       WHEN x.image -> ''deleted_at'' = ''null'' THEN ''restored'' ELSE ''updated'' END' END,
    rows, labels[0], label,
    CASE WHEN shape.actions IS NULL OR op = 'INSERT' THEN quote_literal(own_via)
         ELSE format('CASE WHEN kith.is_cascade(%L, %L, r.before, r.previous) THEN ''cascade'' ELSE %L END', shape.actions, op, own_via) END,
    shape.relation, shape.id, format(key, 'image'), shape.key, format(key, 'before'), left(op, 1));
  RETURN made;
END $function$;

-- Opens the run of an undo. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.begin_undo(secret text, id text, actor text, agent text, reason text, undo_of text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  INSERT INTO kith.run AS r (id, actor, run_id, agent, reason, undo_of) VALUES (begin_undo.id, begin_undo.actor, begin_undo.id, begin_undo.agent, begin_undo.reason, begin_undo.undo_of);
END $function$;

-- Why a row could not be put back: the reason of the conflict, and the columns that the error names.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.blame(item kith.undo_item, error jsonb, OUT reason text, OUT names text[])
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  state constant text := error ->> 'state';
  failed constant oid := (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = error ->> 'schema' AND c.relname = error ->> 'table');
  is_own constant boolean := coalesce(pg_partition_root(failed), failed) = item.relation;
BEGIN
  names := ARRAY(
    SELECT x.name FROM (
      SELECT a.attname::text AS name FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) WHERE k.conrelid = failed AND k.conname = error ->> 'constraint'
       UNION
      -- An index of its own, and the expressions of one.
      SELECT a.attname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjid = failed
        JOIN pg_attribute a ON a.attrelid = failed AND a.attnum = d.refobjsubid
       WHERE x.indrelid = failed AND c.relname = error ->> 'constraint' AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
       UNION
      SELECT error ->> 'column') x
     WHERE is_own AND item.back ? x.name ORDER BY x.name);
  reason := CASE WHEN state = 'KL010' OR state IN ('23503', '23001', 'KP003', 'KP004') AND item.act = 'delete' THEN 'would_remove_others'
                 WHEN state IN ('23505', '23P01') THEN 'unique_taken' WHEN state = '23503' THEN 'parent_gone' ELSE 'not_permitted' END;
  -- Others refer to the row.
  IF names = '{}' AND item.act = 'update' AND state IN ('23503', '23001') THEN
    names := ARRAY(SELECT a.attname::text FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
                    WHERE k.conrelid = failed AND k.conname = error ->> 'constraint' AND k.contype = 'f' AND item.back ? a.attname::text ORDER BY 1);
    reason := CASE WHEN names <> '{}' THEN 'would_remove_others' ELSE reason END;
  END IF;
END $function$;

-- Whether these columns of a row could be written. Writes nothing.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.can_write(secret text, item kith.undo_item, back jsonb, planned jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE state text; since constant bigint := kith.last_change(secret); touched bigint;
BEGIN
  touched := kith.write_back(kith.undo_statement('update', item.relation, item.columns, item.key, can_write.back), ARRAY[item.key], ARRAY[can_write.back]);
  -- It sees the changes of the statements before this one.
  IF touched = 1 AND NOT kith.removes_others(secret, since, planned) THEN
    RAISE EXCEPTION 'nothing is in the way' USING ERRCODE = 'KL015';
  END IF;
  RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
  IF kith.is_passing(state) THEN
    RAISE;
  END IF;
  RETURN state = 'KL015';
END $function$;

-- Writes the changes of a table of the workspace's own to the change log.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.capture()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
#variable_conflict use_variable
DECLARE
  pinned constant text[] := '{"ISO, MDY",postgres,1,hex,C,off}';
  relid oid := coalesce(pg_partition_root(TG_RELID), TG_RELID);
  signed text := current_setting('kith.context', true);
  payload text := substr(signed, 65);
  entry text := split_part(payload, E'\n', 3);
  shape_id integer; only_key text; actions jsonb; is_plain boolean; is_deferrable boolean; key_columns name[]; generated name[]; inexact name[]; doubtful name[];
  actor text; custom jsonb; is_limited boolean := false; run text;
  before jsonb; image jsonb; previous jsonb; changes jsonb; exact jsonb; named name[]; key text; was text; command text;
  verb text := 'created'; via text := 'request'; repr text; said jsonb;
  styles text[]; is_of_several boolean; is_first boolean; statement kith.statement; starts bigint[]; touched bigint; logged bigint := 0;
BEGIN
  IF entry <> '' THEN
    IF TG_OP <> 'INSERT' OR pg_trigger_depth() > 1 THEN
      entry := '';
    END IF;
  END IF;

  IF TG_OP = 'UPDATE' THEN
    IF NEW *= OLD THEN
      RETURN NULL;
    END IF;
  END IF;
  -- As current_context() reads it. Only a context of the server's is looked into: any other may be no JSON.
  SELECT s.id, s.only_key, s.actions, s.is_plain INTO shape_id, only_key, actions, is_plain
    FROM kith.shape s, kith.secret k
   WHERE s.relation = relid AND s.is_current AND left(signed, 64) = kith.context_mac(k.mac_key, payload);
  IF FOUND THEN
    actor := split_part(payload, E'\n', 1);
    custom := split_part(payload, E'\n', 2)::jsonb;
  ELSE
    SELECT s.id, s.only_key, s.actions, s.is_plain, kith.direct_actor(), '{}' INTO shape_id, only_key, actions, is_plain, actor, custom
      FROM kith.shape s WHERE s.relation = relid AND s.is_current;
    -- A viewer has no rights to write. If code of the workspace's lent them some, the change is refused here. The server names no viewer.
    IF kith.is_viewer() THEN
      RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
    END IF;
    -- The server says in the context that there is a limit. The workspace's SQL may have cleared it.
    is_limited := true;
    entry := '';
  END IF;

  IF TG_OP = 'INSERT' AND is_plain THEN
    image := to_jsonb(new);
    key := image ->> only_key;
  ELSE
    IF NOT is_plain THEN
      SELECT s.key, s.generated, s.exact, s.doubtful, s.is_deferrable INTO key_columns, generated, inexact, doubtful, is_deferrable FROM kith.shape s WHERE s.id = shape_id;
      styles := kith.set_styles(pinned);
    END IF;
    IF TG_OP <> 'DELETE' THEN
      image := to_jsonb(new);
    END IF;
    IF TG_OP <> 'INSERT' THEN
      before := to_jsonb(old);
    END IF;
    IF NOT is_plain THEN
      image := image - generated::text[];
      before := before - generated::text[];
    END IF;
    IF TG_OP = 'DELETE' THEN
      verb := 'deleted';
      image := before;
      IF false THEN
        SELECT jsonb_object_agg(b.key, jsonb_build_object('from', b.value, 'to', NULL)) INTO changes FROM jsonb_each(before) b WHERE b.value <> 'null' AND b.key <> 'updated_at';
      END IF;
    ELSIF TG_OP = 'UPDATE' THEN
      SELECT jsonb_object_agg(a.key, before -> a.key), jsonb_object_agg(a.key, jsonb_build_object('from', before -> a.key, 'to', a.value)) INTO previous, changes
        FROM jsonb_each(image) a
       WHERE (a.value <> (before -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(before -> a.key)) AND a.key <> 'updated_at';
      IF previous IS NULL THEN
        changes := kith.image_changes(relid, old, new) - coalesce(generated::text[], '{}');
        IF changes IS NULL OR changes = '{}' THEN
          IF NOT is_plain THEN
            PERFORM kith.set_styles(styles);
          END IF;
          RETURN NULL;
        END IF;
        SELECT jsonb_object_agg(c.name, before -> c.name) INTO previous FROM jsonb_object_keys(changes) c(name);
      END IF;
      verb := 'updated';
      IF previous ? 'deleted_at' THEN
        verb := CASE WHEN previous -> 'deleted_at' = 'null' THEN 'deleted' WHEN image -> 'deleted_at' = 'null' THEN 'restored' ELSE 'updated' END;
      END IF;
    END IF;
    IF false AND changes IS NOT NULL THEN
      IF octet_length(changes::text) > 1000000 THEN
        changes := kith.clip_changes(changes);
      END IF;
    END IF;
    IF is_plain THEN
      key := image ->> only_key;
      IF previous ? only_key THEN
        was := before ->> only_key;
      END IF;
    ELSE
      key := kith.key_of(image, key_columns, doubtful);
      IF previous ?| key_columns::text[] THEN
        was := kith.key_of(before, key_columns, doubtful);
      END IF;
      named := inexact || ARRAY(SELECT d.name FROM unnest(doubtful) d(name) WHERE image -> d.name::text IN ('null', '0') OR previous -> d.name::text IN ('null', '0'));
      IF named <> '{}' THEN
        exact := CASE TG_OP WHEN 'DELETE' THEN jsonb_build_object('row', kith.exact_texts(named, old)) WHEN 'INSERT' THEN jsonb_build_object('row', kith.exact_texts(named, new))
                 ELSE jsonb_build_object('row', kith.exact_texts(named, new), 'previous', kith.exact_texts(named, old)) END;
      END IF;
      IF is_deferrable THEN
        exact := coalesce(exact, '{}') || '{"tuple": {}}';
        IF TG_OP <> 'INSERT' THEN
          -- Of this transaction or of a savepoint in it: nobody sees a row of another one in progress.
          IF age(OLD.xmin) <= 0 AND pg_xact_status((pg_current_xact_id()::text::bigint - age(OLD.xmin))::text::xid8) = 'in progress' THEN
            exact := jsonb_set(exact, '{tuple,from}', to_jsonb(concat(OLD.tableoid, ' ', OLD.ctid)));
          END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
          exact := jsonb_set(exact, '{tuple,to}', to_jsonb(concat(NEW.tableoid, ' ', NEW.ctid)));
        END IF;
      END IF;
      PERFORM kith.set_styles(styles);
    END IF;
  END IF;

  IF custom ?| '{run_id,undo_of,limited,caused_by}' THEN
    IF TG_OP = 'INSERT' AND pg_trigger_depth() = 1 AND custom ? 'undo_of' THEN
      verb := 'restored';
    END IF;
    IF custom ? 'run_id' THEN
      run := kith.note_run(actor, custom);
    END IF;
    is_limited := custom ? 'limited';
    custom := custom - '{undo_of,limited,caused_by}'::text[];
  END IF;
  IF pg_trigger_depth() > 1 OR TG_OP <> 'INSERT' THEN
    IF pg_trigger_depth() > 1 THEN
      via := 'trigger';
    END IF;
    IF actions IS NOT NULL AND TG_OP <> 'INSERT' THEN
      IF kith.is_cascade(actions, TG_OP, before, previous) THEN
        via := 'cascade';
      END IF;
    END IF;
  END IF;
  IF false THEN
    repr := nullif(btrim(concat(TG_ARGV[1], image ->> TG_ARGV[2], TG_ARGV[3], image ->> TG_ARGV[4], TG_ARGV[5])), '');
    IF repr IS NULL THEN
      FOR n IN 6 .. TG_NARGS - 1 BY 5 LOOP
        repr := nullif(btrim(concat(TG_ARGV[n], image ->> TG_ARGV[n + 1], TG_ARGV[n + 2], image ->> TG_ARGV[n + 3], TG_ARGV[n + 4])), '');
        EXIT WHEN repr IS NOT NULL;
      END LOOP;
    END IF;
    IF entry = '' THEN
      entry := kith.new_id('a');
    END IF;
    INSERT INTO public.activity AS a (id, actor, verb, subject_type, subject_id, subject_repr, changes, custom)
    VALUES (entry, actor, verb, TG_ARGV[0], left(key, 500), left(repr, 200), changes, custom);
  ELSE
    entry := NULL;
    said := nullif(custom - '{request_id,run_id}'::text[], '{}');
  END IF;

  IF relid <> TG_RELID THEN
    IF TG_OP = 'DELETE' THEN
      -- Of a row of this transaction's own, the number is that of a pair of commands.
      command := concat(TG_RELID, ' ', CASE WHEN age(OLD.xmin) <= 0 AND pg_xact_status((pg_current_xact_id()::text::bigint - age(OLD.xmin))::text::xid8) = 'in progress' THEN '' ELSE OLD.cmax::text END,
                        ' ', pg_trigger_depth());
    ELSIF TG_OP = 'INSERT' THEN
      command := concat(TG_RELID, ' ', NEW.cmin, ' ', pg_trigger_depth());
    END IF;
  END IF;
  INSERT INTO kith.change AS c (xid, at, actor, request, run, via, relation, shape, key, was, op, verb, image, previous, exact, activity, said, command)
  VALUES (pg_current_xact_id(), clock_timestamp(), actor, custom ->> 'request_id', run, via, relid, shape_id, key, was, TG_OP::"char", verb, image, previous, exact, entry, said, command);
  IF is_limited OR via = 'cascade' THEN
    IF is_limited THEN
      PERFORM kith.await_judgement();
    END IF;
    IF via = 'cascade' AND TG_OP = 'UPDATE' THEN
      PERFORM kith.place_deletes(relid);
    END IF;
  END IF;
  RETURN NULL;
END $function$;

-- The keys, as texts, that foreign keys gave in this transaction to rows which had these keys. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.cascaded_keys(secret text, relation oid, keys text[])
 RETURNS TABLE(was text, key jsonb)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE shape kith.shape;
BEGIN
  PERFORM kith.check_secret(secret);
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = cascaded_keys.relation AND s.is_current;
  IF NOT EXISTS (SELECT FROM jsonb_array_elements(shape.actions) a WHERE a.value ->> 'on_update' <> 'a' AND a.value -> 'columns' ?| shape.key::text[]) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT x.was, kith.texts((SELECT jsonb_object_agg(k.name, x.image -> k.name::text) FROM unnest(shape.key) k(name)), x.exact -> 'row',
                             ARRAY(SELECT c.key FROM jsonb_each(shape.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype))
      FROM (SELECT DISTINCT ON (c.was) c.was, c.image, c.exact FROM kith.change c
             WHERE c.xid = pg_current_xact_id_if_assigned() AND c.relation = cascaded_keys.relation AND c.was = ANY (cascaded_keys.keys) AND c.via = 'cascade' ORDER BY c.was, c.seq) x;
END $function$;

-- The changes of runs that are not undone, of each run the first ones. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.changes_of_runs(secret text, runs text[], most integer)
 RETURNS TABLE(run text, seq bigint, milliseconds bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT r.run, c.seq, c.milliseconds FROM unnest(runs) AS r (run) CROSS JOIN LATERAL (
    SELECT c.seq, floor(extract(epoch FROM c.at) * 1000)::bigint AS milliseconds FROM kith.change c
     WHERE c.run = r.run AND c.undone_by IS NULL ORDER BY c.seq LIMIT most) AS c;
END $function$;

-- Refuses a company that is soft-deleted.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_company_id()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
      BEGIN
        IF NEW.company_id IS NULL OR TG_OP = 'UPDATE' AND NEW.company_id IS NOT DISTINCT FROM OLD.company_id THEN
          RETURN NULL;
        END IF;
        PERFORM FROM public.companies r WHERE r.id = NEW.company_id AND r.deleted_at IS NOT NULL;
        IF FOUND AND (TG_OP = 'UPDATE' OR NEW.created_at >= now()) AND NOT (pg_trigger_depth() = 1 AND kith.is_undo()) THEN
          RAISE EXCEPTION '% "%" is deleted', 'company', NEW.company_id
            USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'company_id', CONSTRAINT = TG_TABLE_NAME || '_company_id_fkey',
                  HINT = 'Restore it first, or refer to another.';
        END IF;
        RETURN NULL;
      END $function$;

-- Checks deferred constraints, and runs deferred triggers.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.check_constraints()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
END $function$;

-- Refuses a contact that is soft-deleted.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_contact_id()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
      BEGIN
        IF NEW.contact_id IS NULL OR TG_OP = 'UPDATE' AND NEW.contact_id IS NOT DISTINCT FROM OLD.contact_id THEN
          RETURN NULL;
        END IF;
        PERFORM FROM public.contacts r WHERE r.id = NEW.contact_id AND r.deleted_at IS NOT NULL;
        IF FOUND AND (TG_OP = 'UPDATE' OR NEW.created_at >= now()) AND NOT (pg_trigger_depth() = 1 AND kith.is_undo()) THEN
          RAISE EXCEPTION '% "%" is deleted', 'contact', NEW.contact_id
            USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'contact_id', CONSTRAINT = TG_TABLE_NAME || '_contact_id_fkey',
                  HINT = 'Restore it first, or refer to another.';
        END IF;
        RETURN NULL;
      END $function$;

-- Checks custom against the definitions in custom_fields.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_custom()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE field record; value jsonb; fault text;
BEGIN
  -- Most workspaces define no fields, and this query costs less than opening a loop.
  PERFORM FROM public.custom_fields f WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  FOR field IN SELECT f.key, f.type, f.options, f.required FROM public.custom_fields f
                WHERE f.object_type = TG_ARGV[0] AND f.deleted_at IS NULL ORDER BY f.created_at, f.id
  LOOP
    value := NEW.custom -> field.key;
    CONTINUE WHEN TG_OP = 'UPDATE' AND value IS NOT DISTINCT FROM OLD.custom -> field.key;
    IF value IS NULL OR value = 'null' THEN
      fault := CASE WHEN field.required THEN 'is required' END;
    ELSE
      fault := CASE field.type
        WHEN 'text' THEN CASE WHEN jsonb_typeof(value) <> 'string' THEN 'must be a string' END
        WHEN 'number' THEN CASE WHEN jsonb_typeof(value) <> 'number' THEN 'must be a number' END
        WHEN 'bool' THEN CASE WHEN jsonb_typeof(value) <> 'boolean' THEN 'must be true or false' END
        WHEN 'date' THEN CASE WHEN jsonb_typeof(value) <> 'string' OR NOT kith.is_date(value #>> '{}') THEN 'must be a date, YYYY-MM-DD or RFC 3339' END
        WHEN 'select' THEN CASE WHEN jsonb_typeof(value) <> 'string' OR NOT coalesce(field.options @> jsonb_build_array(value), false)
                                THEN 'must be one of ' || left(coalesce(field.options, '[]')::text, 300) END
      END;
    END IF;
    IF fault IS NOT NULL THEN
      RAISE EXCEPTION 'custom field "%" of % %', field.key, TG_ARGV[0], fault
        USING ERRCODE = 'KF001', DETAIL = field.key, COLUMN = 'custom', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA,
              HINT = 'The definitions are in custom_fields.';
    END IF;
  END LOOP;
  RETURN NULL;
END $function$;

-- Refuses a deal that is soft-deleted.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_deal_id()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
      BEGIN
        IF NEW.deal_id IS NULL OR TG_OP = 'UPDATE' AND NEW.deal_id IS NOT DISTINCT FROM OLD.deal_id THEN
          RETURN NULL;
        END IF;
        PERFORM FROM public.deals r WHERE r.id = NEW.deal_id AND r.deleted_at IS NOT NULL;
        IF FOUND AND (TG_OP = 'UPDATE' OR NEW.created_at >= now()) AND NOT (pg_trigger_depth() = 1 AND kith.is_undo()) THEN
          RAISE EXCEPTION '% "%" is deleted', 'deal', NEW.deal_id
            USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'deal_id', CONSTRAINT = TG_TABLE_NAME || '_deal_id_fkey',
                  HINT = 'Restore it first, or refer to another.';
        END IF;
        RETURN NULL;
      END $function$;

-- Refuses a wrong definition and says what is wrong.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_definition()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE wrong text; fault text;
BEGIN
  IF jsonb_typeof(NEW.options) = 'null' THEN
    NEW.options := NULL;
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    RETURN NEW;
  END IF;
  IF NEW.object_type NOT IN ('contact', 'company', 'deal', 'activity') THEN
    wrong := 'object_type';
    fault := 'must be contact, company, deal or activity';
  ELSIF NEW.type NOT IN ('text', 'number', 'date', 'bool', 'select') THEN
    wrong := 'type';
    fault := 'must be text, number, date, bool or select';
  ELSIF (TG_OP = 'INSERT' OR NEW.key <> OLD.key) AND NEW.key !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' THEN
    wrong := 'key';
    fault := 'must begin with a letter or underscore and have at most 63 letters, digits, underscores, dots and hyphens';
  ELSIF NEW.options IS NOT NULL AND jsonb_typeof(NEW.options) <> 'array' THEN
    wrong := 'options';
    fault := 'must be an array of strings';
  ELSIF EXISTS (SELECT FROM jsonb_array_elements(NEW.options) o WHERE jsonb_typeof(o) <> 'string' OR o = '""') THEN
    wrong := 'options';
    fault := 'must be an array of strings, none of them empty';
  ELSIF NEW.type = 'select' AND coalesce(jsonb_array_length(NEW.options), 0) = 0 THEN
    wrong := 'options';
    fault := 'must name at least one choice of a select';
  ELSIF (SELECT count(*) > count(DISTINCT o) FROM jsonb_array_elements(NEW.options) o) THEN
    wrong := 'options';
    fault := 'must not name a choice twice';
  END IF;
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION '"%" of a custom field %', wrong, fault
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'custom_fields', COLUMN = wrong, CONSTRAINT = 'custom_fields_' || wrong || '_check';
  END IF;
  RETURN NEW;
END $function$;

-- Refuses a list that is soft-deleted.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_list_id()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
      BEGIN
        IF NEW.list_id IS NULL OR TG_OP = 'UPDATE' AND NEW.list_id IS NOT DISTINCT FROM OLD.list_id THEN
          RETURN NULL;
        END IF;
        PERFORM FROM public.lists r WHERE r.id = NEW.list_id AND r.deleted_at IS NOT NULL;
        IF FOUND AND (TG_OP = 'UPDATE' OR NEW.added_at >= now()) AND NOT (pg_trigger_depth() = 1 AND kith.is_undo()) THEN
          RAISE EXCEPTION '% "%" is deleted', 'list', NEW.list_id
            USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'list_id', CONSTRAINT = TG_TABLE_NAME || '_list_id_fkey',
                  HINT = 'Restore it first, or refer to another.';
        END IF;
        RETURN NULL;
      END $function$;

-- Refuses ids in an email that name no live record.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_mail_references()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE place text; noun text; missing text; undoes boolean;
BEGIN
  IF TG_OP = 'INSERT' AND NEW.created_at < now()
     OR TG_OP = 'UPDATE' AND NEW.contact_ids = OLD.contact_ids AND NEW.company_ids = OLD.company_ids AND NEW.deal_ids = OLD.deal_ids THEN
    RETURN NULL;
  END IF;
  -- What undo puts back may have been soft-deleted since.
  undoes := pg_trigger_depth() = 1 AND kith.is_undo();
  SELECT x.place, x.noun, x.id INTO place, noun, missing FROM (
    SELECT 'contact_ids', 'contact', i.id FROM unnest(NEW.contact_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.contact_ids, '{}')) AND NOT EXISTS (SELECT FROM public.contacts r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
    UNION ALL
    SELECT 'company_ids', 'company', i.id FROM unnest(NEW.company_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.company_ids, '{}')) AND NOT EXISTS (SELECT FROM public.companies r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
    UNION ALL
    SELECT 'deal_ids', 'deal', i.id FROM unnest(NEW.deal_ids) i(id)
     WHERE i.id <> ALL (coalesce(OLD.deal_ids, '{}')) AND NOT EXISTS (SELECT FROM public.deals r WHERE r.id = i.id AND (r.deleted_at IS NULL OR undoes))
  ) x(place, noun, id) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'there is no live % "%"', noun, missing
      USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = place, CONSTRAINT = TG_TABLE_NAME || '_' || place || '_fkey',
            HINT = 'Refer to a record that exists and is not deleted.';
  END IF;
  RETURN NULL;
END $function$;

-- Refuses callers that do not know the secret.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.check_secret(secret text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM kith.secret s WHERE s.token_hash = sha256(convert_to(check_secret.secret, 'UTF8'))) THEN
    RAISE EXCEPTION 'only the server can do this' USING ERRCODE = '28000';
  END IF;
END $function$;

-- Refuses changes that are undone. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.check_standing(secret text, seqs bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  IF (SELECT count(*) FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL) <> cardinality(seqs) THEN
    RAISE EXCEPTION 'another undo has put these rows back' USING ERRCODE = '40001';
  END IF;
END $function$;

-- Which tables are children of which: the oids of a partition, or of a table that inherits, and of its parent.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.children()
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT coalesce(array_agg(i.inhrelid || ' ' || i.inhparent ORDER BY i.inhrelid, i.inhparent), '{}') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
$function$;

-- Takes an Idempotency-Key for this transaction, or returns the stored answer. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.claim_key(secret text, key text, fingerprint text, moment timestamp with time zone, OUT outcome text, OUT status integer, OUT body text)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE found_row kith.idempotency;
BEGIN
  PERFORM kith.check_secret(secret);
  DELETE FROM kith.idempotency i WHERE i.key IN (
    SELECT o.key FROM kith.idempotency o WHERE o.created_at < moment - interval '24 hours' ORDER BY o.created_at LIMIT 20 FOR UPDATE SKIP LOCKED);
  INSERT INTO kith.idempotency AS i (key, fingerprint, created_at) VALUES (claim_key.key, claim_key.fingerprint, moment)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    outcome := 'fresh';
    RETURN;
  END IF;
  SELECT * INTO found_row FROM kith.idempotency i WHERE i.key = claim_key.key FOR UPDATE;
  IF found_row.created_at < moment - interval '24 hours' THEN
    UPDATE kith.idempotency i SET fingerprint = claim_key.fingerprint, status = NULL, body = NULL, created_at = moment
     WHERE i.key = claim_key.key;
    outcome := 'fresh';
  ELSIF found_row.fingerprint IS DISTINCT FROM claim_key.fingerprint THEN
    outcome := 'conflict';
  ELSE
    outcome := 'stored';
    status := found_row.status;
    body := found_row.body;
  END IF;
END $function$;

-- Keeps an entry of the feed under 1 MiB: {column: {from, to, clipped: {from: bytes, to: bytes}}}.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.clip_changes(changes jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE longest integer;
BEGIN
  FOREACH longest IN ARRAY ARRAY[16384, 2048, 256, 64] LOOP
    EXIT WHEN octet_length(changes::text) <= 1000000;
    SELECT jsonb_object_agg(c.key, (
             SELECT jsonb_object_agg(side.key, CASE
                      WHEN octet_length(side.value::text) <= longest OR side.key NOT IN ('from', 'to') THEN side.value
                      ELSE to_jsonb(left(c.value ->> side.key, longest / 8)) END)
                    || coalesce((SELECT jsonb_build_object('clipped', coalesce(c.value -> 'clipped', '{}') || jsonb_object_agg(long.key,
                                          coalesce(c.value -> 'clipped' -> long.key, to_jsonb(octet_length(c.value ->> long.key)))))
                                   FROM jsonb_each(c.value) long
                                  WHERE long.key IN ('from', 'to') AND octet_length(long.value::text) > longest HAVING count(*) > 0), '{}')
               FROM jsonb_each(c.value) side))
      INTO changes FROM jsonb_each(changes) c;
  END LOOP;
  RETURN changes;
END $function$;

-- The columns that differ: {column: {from, to}}. A created row has its values, a deleted one all columns.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.columns_changed(before jsonb, after jsonb, exact_before jsonb, exact_after jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
RETURN (SELECT COALESCE(jsonb_object_agg(k.name, jsonb_build_object('from', (columns_changed.before -> k.name), 'to', (columns_changed.after -> k.name))), '{}'::jsonb) AS "coalesce" FROM jsonb_object_keys((COALESCE(columns_changed.after, '{}'::jsonb) || COALESCE(columns_changed.before, '{}'::jsonb))) k(name) WHERE ((k.name <> 'updated_at'::text) AND CASE WHEN (columns_changed.before IS NULL) THEN ((columns_changed.after -> k.name) <> 'null'::jsonb) WHEN (columns_changed.after IS NULL) THEN true ELSE (((columns_changed.before -> k.name) IS DISTINCT FROM (columns_changed.after -> k.name)) OR (jsonb_send((columns_changed.before -> k.name)) <> jsonb_send((columns_changed.after -> k.name))) OR ((columns_changed.exact_before -> k.name) <> (columns_changed.exact_after -> k.name))) END));

-- The columns of an update that cannot be written, found by writing them one by one. Writes nothing.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.columns_in_the_way(secret text, item kith.undo_item, planned jsonb)
 RETURNS text[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE rest jsonb := item.back; fitting jsonb := '{}'; name text; moved boolean;
BEGIN
  LOOP
    moved := false;
    FOR name IN SELECT jsonb_object_keys(rest) ORDER BY 1 LOOP
      IF kith.can_write(secret, item, fitting || jsonb_build_object(name, rest -> name), planned) THEN
        fitting := fitting || jsonb_build_object(name, rest -> name);
        rest := rest - name;
        moved := true;
      END IF;
    END LOOP;
    EXIT WHEN NOT moved OR rest = '{}';
  END LOOP;
  RETURN ARRAY(SELECT jsonb_object_keys(rest) ORDER BY 1);
END $function$;

-- The columns that one change changed: {column: {from, to}}. A created row has its values, a deleted one all columns.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.columns_of(op "char", image jsonb, previous jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
RETURN (SELECT COALESCE(jsonb_object_agg(x.key, CASE columns_of.op WHEN 'I'::"char" THEN jsonb_build_object('from', NULL::unknown, 'to', x.value) WHEN 'D'::"char" THEN jsonb_build_object('from', x.value, 'to', NULL::unknown) ELSE jsonb_build_object('from', x.value, 'to', (columns_of.image -> x.key)) END), '{}'::jsonb) AS "coalesce" FROM jsonb_each(CASE columns_of.op WHEN 'U'::"char" THEN columns_of.previous ELSE columns_of.image END) x(key, value) WHERE ((x.key <> 'updated_at'::text) AND ((columns_of.op <> 'I'::"char") OR (x.value <> 'null'::jsonb))));

-- Compares the rows of a plan with what was left of them. Rows that were changed since are conflicts, but the columns of an update that were not changed can go back: those rows are in `partly`.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.compare_rows(secret text, own bigint[], INOUT items kith.undo_item[], OUT conflicts jsonb[], OUT partly integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE batch record; found_row record; item kith.undo_item; other record; exact name[]; column_name text; same jsonb; wrong jsonb; fault record;
BEGIN
  conflicts := '{}';
  partly := '{}';
  FOR batch IN SELECT i.relation, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key, array_agg(i.key ORDER BY i.n) AS keys, array_agg(i.n ORDER BY i.n) AS numbers,
                      array_agg(i.key_text ORDER BY i.n) AS key_texts, array_agg(i.members[cardinality(i.members)] ORDER BY i.n) AS latest
                 FROM unnest(items) i WHERE i.fault IS NULL GROUP BY i.relation ORDER BY i.relation LOOP
    exact := ARRAY(SELECT DISTINCT e.name::name FROM unnest(items) i, jsonb_object_keys(i.expected_exact) e(name) WHERE i.relation = batch.relation AND batch.columns ? e.name);
    FOR found_row IN SELECT r.* FROM kith.lock_rows(kith.undo_statement('lock', batch.relation, batch.columns, batch.key, NULL), batch.keys, batch.numbers, exact) r LOOP
      item := items[found_row.n];
      item.state := 'found';
      IF item.is_kept THEN
        -- What others have made of it since is theirs.
        IF EXISTS (SELECT FROM jsonb_object_keys(item.target) c(name) WHERE jsonb_send(found_row.image -> c.name) <> jsonb_send(item.expected -> c.name)) THEN
          item.state := 'left';
        END IF;
        items[found_row.n] := item;
        CONTINUE;
      END IF;
      item.back := item.back - item.gone;
      wrong := '{}';
      -- Most rows are as they were left, in all columns.
      IF item.act <> 'insert' AND (item.expected_exact <> '{}' OR jsonb_send(found_row.image - 'updated_at') <> jsonb_send(item.expected - 'updated_at')) THEN
        FOR column_name IN SELECT c.name FROM jsonb_object_keys(CASE item.act WHEN 'delete' THEN found_row.image || item.expected ELSE item.back END) c(name) WHERE c.name <> 'updated_at' AND item.columns ? c.name LOOP
          same := found_row.image -> column_name;
          -- A column that was added since has no value, or that with which it was added.
          CONTINUE WHEN item.act = 'delete' AND NOT item.expected ? column_name
                    AND (same = 'null' OR same = (SELECT to_jsonb(a.attmissingval) -> 0 FROM pg_attribute a WHERE a.attrelid = item.relation AND a.attname = column_name));
          CONTINUE WHEN jsonb_send(same) = jsonb_send(item.expected -> column_name)
                    AND (NOT item.expected_exact ? column_name OR found_row.exact_texts -> column_name = item.expected_exact -> column_name);
          IF item.act = 'update' AND jsonb_send(same) = jsonb_send(item.back_shown -> column_name)
             AND (NOT coalesce(found_row.exact_texts, '{}') ? column_name OR found_row.exact_texts -> column_name = item.back -> column_name) THEN
            -- It has its old value already.
            item.back := item.back - column_name;
            CONTINUE;
          END IF;
          wrong := wrong || jsonb_build_object(column_name, jsonb_build_object('expected', item.expected -> column_name, 'now', same,
                              'back_to', CASE item.act WHEN 'update' THEN item.back_shown -> column_name END));
        END LOOP;
      END IF;
      FOR fault IN SELECT 'schema_changed' AS reason, kith.as_conflict(item, item.gone, found_row.image) AS columns WHERE item.gone <> '{}'
                    UNION ALL SELECT 'changed_since', wrong WHERE wrong <> '{}' LOOP
        item := kith.without_columns(item, ARRAY(SELECT jsonb_object_keys(fault.columns)));
        item.fault := fault.reason;
        conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'columns', fault.columns, 'may_stay', item.may_stay);
      END LOOP;
      -- What is left of an update can still go back.
      IF item.fault IS NOT NULL AND item.act = 'update' AND item.back <> '{}' THEN
        item.fault := NULL;
        partly := partly || item.n;
      END IF;
      items[found_row.n] := item;
    END LOOP;
    -- The rows are locked now, so nobody gives their keys to others any more.
    FOR other IN SELECT batch.numbers[o.place] AS n, o.is_moved FROM kith.others_since(secret, batch.relation, batch.key_texts, batch.latest, own) o LOOP
      item := items[other.n];
      CONTINUE WHEN item.act = 'insert';
      conflicts := ARRAY(SELECT c FROM unnest(conflicts) c WHERE (c ->> 'table', c -> 'id') IS DISTINCT FROM (item.name, item.id));
      partly := array_remove(partly, item.n);
      item.state := NULL;
      item.fault := CASE WHEN item.act = 'delete' AND other.is_moved THEN 'changed_since' END;
      items[other.n] := item;
    END LOOP;
  END LOOP;
END $function$;

-- Signs a context for this backend and this transaction.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.context_mac(mac_key bytea, payload text)
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN encode(sha256((((int4send(pg_backend_pid()) || timestamptz_send(transaction_timestamp())) || convert_to(payload, 'UTF8'::name)) || mac_key)), 'hex'::text);

-- Adds a number of rows of a table to the counts.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.counted(counts jsonb, relation regclass, further bigint)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN further = 0 THEN counts ELSE counts || jsonb_build_object(x.name, coalesce((counts ->> x.name)::bigint, 0) + further) END
    FROM (SELECT CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation) x
$function$;

-- Whether a change has an effect on what was there after an earlier one.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.counts_since(change kith.change, since bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN change.seq > since AND change.undone_by IS NULL
     AND NOT EXISTS (SELECT FROM kith.change d WHERE d.undone_by = change.run AND d.relation = change.relation AND d.seq > since
                        AND (d.key IN (change.key, change.was) OR d.was IN (change.key, change.was)));
END $function$;

-- Who is acting: api_key:…, user:…, automation:… or postgres:<role>.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.current_actor()
 RETURNS text
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN (SELECT c.actor FROM kith.current_context() c);
END $function$;

-- The actor and provenance of this transaction, or the database role where the server has not said.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.current_context()
 RETURNS TABLE(actor text, provenance jsonb)
 LANGUAGE sql
 STABLE
BEGIN ATOMIC
 SELECT
         CASE
             WHEN s.one THEN split_part(c.payload, '
'::text, 1)
             ELSE kith.direct_actor()
         END AS direct_actor,
         CASE
             WHEN s.one THEN (split_part(c.payload, '
'::text, 2))::jsonb
             ELSE '{}'::jsonb
         END AS "case"
    FROM (( SELECT "left"(x.signed, 64) AS "left",
             substr(x.signed, 65) AS substr
            FROM ( SELECT current_setting('kith.context'::text, true) AS current_setting
                  OFFSET 0) x(signed)
          OFFSET 0) c(mac, payload)
      LEFT JOIN kith.secret s ON ((c.mac = kith.context_mac(s.mac_key, c.payload))));
END;

-- The value of a key, if it is a boolean.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.custom_bool(custom jsonb, key text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof((custom -> key)) WHEN 'boolean'::text THEN ((custom -> key) = 'true'::jsonb) ELSE NULL::boolean END;

-- The value of a key, if it is a date: YYYY-MM-DD (midnight UTC) or RFC 3339.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.custom_date(custom jsonb, key text)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE COST 20
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
BEGIN
  IF jsonb_typeof(custom -> key) = 'string' AND kith.is_date(custom ->> key) THEN
    RETURN (custom ->> key)::timestamptz;
  END IF;
  RETURN NULL;
END $function$;

-- The value of a key, if it is a number.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.custom_number(custom jsonb, key text)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((jsonb_typeof((custom -> key)) = 'number'::text) AND (length((custom ->> key)) <= 500)) THEN ((custom ->> key))::numeric ELSE NULL::numeric END;

-- The first 200 characters of the value of a key.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.custom_text(custom jsonb, key text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN "left"((custom ->> key), 200);

-- Defers all constraints but the primary keys of these tables.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.defer_constraints(relations oid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
DECLARE checked_late text;
BEGIN
  SET CONSTRAINTS ALL DEFERRED;
  FOR checked_late IN SELECT DISTINCT format('%I.%I', n.nspname, k.conname) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
                     WHERE k.conrelid = ANY (relations) AND k.contype = 'p' AND k.condeferrable LOOP
    EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', checked_late);
  END LOOP;
END $function$;

-- Deletes rows that have other keys by now, because others went back that they refer to.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.delete_moved(secret text, relation regclass, columns jsonb, keys text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE keys_now constant jsonb[] := ARRAY(SELECT c.key FROM kith.cascaded_keys(secret, relation, keys) c);
BEGIN
  IF keys_now <> '{}' THEN
    PERFORM kith.write_back(kith.undo_statement('delete', relation, columns, keys_now[1], NULL), keys_now, '{}');
  END IF;
END $function$;

-- The database role that acts if the server has not named an actor.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.direct_actor()
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE workspace constant text := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'workspace');
BEGIN
  RETURN 'postgres:' || CASE WHEN starts_with(session_user, workspace) THEN session_user ELSE coalesce(workspace, session_user) END;
END $function$;

-- The ids of the e-mails that runs have changed and that are not undone. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.emails_of_runs(secret text, runs text[])
 RETURNS TABLE(run text, id text)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT DISTINCT c.run, c.key FROM kith.change c
    WHERE c.run = ANY (runs) AND c.undone_by IS NULL AND c.relation = 'public.emails'::regclass;
END $function$;

-- Marks changes as undone and ends the run of the undo. Returns whether there is one. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.end_undo(secret text, id text, kind text, target text, seqs bigint[], wrote boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE marked bigint; undos text[]; turned bigint[] := seqs; run_of_level text := target; under text;
BEGIN
  PERFORM kith.check_secret(secret);
  undos := ARRAY(SELECT m.run FROM kith.change m JOIN kith.run r ON r.id = m.run WHERE m.seq = ANY (seqs) AND r.undo_of IS NOT NULL
                  UNION SELECT r.id FROM kith.run r WHERE kind = 'run' AND r.id = target AND r.undo_of IS NOT NULL AND EXISTS (SELECT FROM kith.change c WHERE c.undone_by = r.id));
  -- What undoes nothing is no run.
  IF seqs = '{}' AND NOT wrote AND undos = '{}' THEN
    DELETE FROM kith.run r WHERE r.id = end_undo.id;
    RETURN false;
  END IF;
  UPDATE kith.change AS c SET undone_by = end_undo.id WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL;
  GET DIAGNOSTICS marked = ROW_COUNT;
  -- It waits for another undo that is marking them. See check_standing().
  IF marked <> cardinality(seqs) THEN
    RAISE EXCEPTION 'another undo has put these rows back' USING ERRCODE = '40001';
  END IF;
  WHILE undos <> '{}' LOOP
    turned := kith.undo_again(kith.let_stand(turned, undos));
    undos := ARRAY(SELECT DISTINCT m.run FROM kith.change m JOIN kith.run r ON r.id = m.run WHERE m.seq = ANY (turned) AND r.undo_of IS NOT NULL);
  END LOOP;
  IF kind = 'run' THEN
    UPDATE kith.run AS r SET undone_by = end_undo.id WHERE r.id = target;
    LOOP
      under := (SELECT r.undo_of FROM kith.run r WHERE r.id = run_of_level);
      UPDATE kith.run AS r SET undone_by = NULL WHERE r.id = under AND r.undone_by = run_of_level;
      EXIT WHEN NOT FOUND;
      run_of_level := (SELECT r.undo_of FROM kith.run r WHERE r.id = under);
      UPDATE kith.run AS r SET undone_by = under WHERE r.id = run_of_level AND r.undone_by IS NULL;
      EXIT WHEN NOT FOUND;
    END LOOP;
  ELSE
    -- The request or the entries of an undo.
    UPDATE kith.run AS r SET undone_by = NULL
     WHERE r.undone_by IN (SELECT m.run FROM kith.change m JOIN kith.run u ON u.id = m.run WHERE m.seq = ANY (seqs) AND u.undo_of IS NOT NULL)
       AND NOT EXISTS (SELECT FROM kith.change c WHERE c.run = r.id AND c.undone_by = r.undone_by);
  END IF;
  UPDATE kith.run AS r SET status = 'complete' WHERE r.id = end_undo.id;
  RETURN true;
END $function$;

-- Published changes after a position that the session may see, in order. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.events(secret text, reached bigint, after bigint, most integer)
 RETURNS TABLE(seq bigint, "position" bigint, xid text, at timestamp with time zone, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text, verb text, image jsonb, previous jsonb)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
#variable_conflict use_column
DECLARE hidden oid[] := kith.hidden_relations();
BEGIN
  PERFORM kith.check_secret(events.secret);
  IF events.reached > (SELECT p.position FROM kith.published p) THEN
    RAISE EXCEPTION 'no event has this position' USING ERRCODE = 'KE001';
  END IF;
  RETURN QUERY SELECT e.* FROM kith.as_events(ARRAY(SELECT c FROM kith.change c WHERE c.position > events.after AND c.relation <> ALL (hidden) ORDER BY c.position LIMIT events.most)) e
                ORDER BY e.position;
END $function$;

-- The texts that the output functions of these columns' types give, or null.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.exact_texts(columns name[], "row" anyelement)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE texts jsonb := '{}';
BEGIN
  IF cardinality(columns) = 0 THEN
    RETURN texts;
  END IF;
  EXECUTE 'SELECT ' || kith.exact_texts_query(columns, '($1)') INTO texts USING "row";
  RETURN texts;
END $function$;

-- The expression for the texts of columns. The row is named by an expression.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.exact_texts_query(columns name[], "row" text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
  SELECT 'jsonb_build_object(' || coalesce(string_agg(format('%L, CASE WHEN to_jsonb(%s.%I) IS NOT NULL THEN format(''%%s'', %2$s.%3$I) END', c.name, "row", c.name), ', '), '') || ')'
    FROM unnest(columns) c(name)
$function$;

-- Puts back, change by change, failing rows that have exchanged their keys.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.exchange_keys(secret text, INOUT items kith.undo_item[], INOUT failing integer[], partly integer[], planned jsonb)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE batch record; number integer; state text;
BEGIN
  FOR batch IN SELECT x.numbers FROM (SELECT 1 AS place, failing AS numbers UNION ALL SELECT 2, array_agg(i.n) FROM unnest(items) i WHERE i.n = ANY (failing) GROUP BY i.relation) x
                WHERE NOT x.numbers && partly AND EXISTS (SELECT FROM unnest(items) i WHERE i.n = ANY (x.numbers) AND cardinality(i.members) > 1) ORDER BY x.place LOOP
    CONTINUE WHEN NOT batch.numbers <@ failing;
    BEGIN
      PERFORM kith.step_back(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.n = ANY (batch.numbers)), planned);
      FOREACH number IN ARRAY batch.numbers LOOP
        items[number].state := 'done';
      END LOOP;
      failing := ARRAY(SELECT f.n FROM unnest(failing) f(n) WHERE f.n <> ALL (batch.numbers));
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF kith.is_passing(state) THEN
        RAISE;
      END IF;
    END;
  END LOOP;
END $function$;

-- Finds the rows that cannot go back as things are, and says of each row whether it is pending, left, or done because nothing has to be written.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.find_obstacles(INOUT items kith.undo_item[], INOUT conflicts jsonb[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE item kith.undo_item; emails text[]; number integer; acts constant text[] := ARRAY(SELECT DISTINCT i.act FROM unnest(items) i);
BEGIN
  -- A row whose key another one has now comes back if the plan removes the other one, or gives it another key.
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.state IS NOT NULL
                   AND (i.relation, i.key_text) NOT IN (SELECT h.relation, h.key_text FROM unnest(items) h
                          WHERE h.fault IS NULL AND h.state IS NOT NULL AND (h.act = 'delete' OR h.act = 'update' AND h.back ?| ARRAY(SELECT jsonb_object_keys(h.key)))) LOOP
    items[number].fault := 'row_exists';
  END LOOP;
  -- E-mails name their records without a foreign key. One that was there before the record did so when the record was deleted before.
  emails := ARRAY(SELECT i.key_text FROM unnest(items) i WHERE 'delete' = ANY (acts) AND i.name = 'emails' AND i.fault IS NULL);
  FOR number IN SELECT i.n FROM unnest(items) i
                 WHERE 'delete' = ANY (acts) AND i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND CASE i.name WHEN 'contacts' THEN EXISTS (SELECT FROM public.emails e WHERE e.contact_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails))
                                   WHEN 'companies' THEN EXISTS (SELECT FROM public.emails e WHERE e.company_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails))
                                   WHEN 'deals' THEN EXISTS (SELECT FROM public.emails e WHERE e.deal_ids @> ARRAY[i.key_text] AND e.updated_at >= i.made_at AND e.id <> ALL (emails)) ELSE false END LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  FOR number IN SELECT DISTINCT i.n FROM unnest(items) i JOIN public.list_members m ON m.member_id = i.key_text JOIN public.lists l ON l.id = m.list_id AND l.target_table = i.name
                 WHERE 'delete' = ANY (acts) AND i.fault IS NULL AND i.act = 'delete' AND i.state IS NOT NULL
                   AND m.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.name = 'list_members' AND o.fault IS NULL) LOOP
    items[number].fault := 'would_remove_others';
  END LOOP;
  -- Members of lists and associations name their records without a foreign key too.
  FOR number IN SELECT DISTINCT e.n
                  FROM (SELECT i.n, coalesce(l.target_table, (SELECT o.back ->> 'target_table' FROM unnest(items) o WHERE o.name = 'lists' AND o.key_text = i.back ->> 'list_id')) AS kind, i.back ->> 'member_id' AS id
                          FROM unnest(items) i LEFT JOIN public.lists l ON l.id = i.back ->> 'list_id' WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.name = 'list_members'
                        UNION ALL
                        SELECT i.n, b.name, x.id FROM unnest(items) i CROSS JOIN LATERAL (VALUES (i.back ->> 'from_type', i.back ->> 'from_id'), (i.back ->> 'to_type', i.back ->> 'to_id')) x(subject, id)
                          JOIN kith_guard.builtin b ON b.subject = x.subject WHERE 'insert' = ANY (acts) AND i.fault IS NULL AND i.act = 'insert' AND i.name = 'associations') e
                 WHERE (e.kind, e.id) NOT IN (SELECT o.name, o.key_text FROM unnest(items) o WHERE o.act = 'insert' AND o.fault IS NULL)
                   AND NOT CASE e.kind WHEN 'contacts' THEN EXISTS (SELECT FROM public.contacts x WHERE x.id = e.id) WHEN 'companies' THEN EXISTS (SELECT FROM public.companies x WHERE x.id = e.id)
                                       WHEN 'deals' THEN EXISTS (SELECT FROM public.deals x WHERE x.id = e.id) WHEN 'activities' THEN EXISTS (SELECT FROM public.activities x WHERE x.id = e.id)
                                       WHEN 'emails' THEN EXISTS (SELECT FROM public.emails x WHERE x.id = e.id) ELSE true END LOOP
    items[number].fault := 'parent_gone';
  END LOOP;
  FOREACH item IN ARRAY items LOOP
    IF item.is_kept THEN
      items[item.n].state := CASE item.state WHEN 'found' THEN 'done' ELSE 'left' END;
      CONTINUE;
    END IF;
    IF item.fault IS NULL AND item.act = 'update' AND item.state IS NULL THEN
      item.fault := 'row_gone';
    END IF;
    -- Others that were compared have their conflict already.
    IF item.fault IS NOT NULL AND (item.fault NOT IN ('schema_changed', 'changed_since') OR item.state IS NULL) THEN
      conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'may_stay', item.may_stay);
    END IF;
    item.state := CASE WHEN item.fault IS NOT NULL THEN 'left' WHEN item.act = 'delete' AND item.state IS NULL OR item.act = 'update' AND item.back = '{}' THEN 'done' ELSE 'pending' END;
    items[item.n] := item;
  END LOOP;
END $function$;

-- One run. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.find_run(secret text, actor text, name text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_run kith.run;
BEGIN
  PERFORM kith.check_secret(secret);
  found_run := kith.named_run(actor, name);
  RETURN CASE WHEN found_run.id IS NOT NULL THEN kith.shown_run(found_run) END;
END $function$;

-- Ends a run. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.finish_run(secret text, actor text, name text, status text, summary text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_run kith.run := kith.named_run(actor, name);
BEGIN
  PERFORM kith.check_secret(secret);
  IF found_run.id IS NULL THEN
    RETURN NULL;
  END IF;
  UPDATE kith.run AS r SET status = finish_run.status, summary = finish_run.summary
   WHERE r.id = found_run.id AND r.status = 'open' AND r.undone_by IS NULL RETURNING r.* INTO found_run;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'run "%" has ended', name USING ERRCODE = 'KL002';
  END IF;
  RETURN kith.shown_run(found_run);
END $function$;

-- Finds pending updates of rows that foreign keys have given other keys, and leaves what remains to be written. Rows without a remainder are done.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.follow_cascades(secret text, INOUT items kith.undo_item[])
 RETURNS kith.undo_item[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE batch record; moved jsonb := '{}';
BEGIN
  FOR batch IN SELECT i.relation, array_agg(i.key_text) AS keys FROM unnest(items) i WHERE i.state = 'pending' AND i.act = 'update' GROUP BY i.relation LOOP
    moved := moved || (SELECT coalesce(jsonb_object_agg(concat(batch.relation, ' ', c.was), c.key), '{}') FROM kith.cascaded_keys(secret, batch.relation, batch.keys) c);
  END LOOP;
  IF moved <> '{}' THEN
    items := ARRAY(
      SELECT CASE WHEN m.key IS NULL OR i.state <> 'pending' OR i.act <> 'update' THEN i
                  ELSE jsonb_populate_record(i, jsonb_build_object('key', m.key, 'back', r.back, 'state', CASE r.back WHEN '{}' THEN 'done' ELSE 'pending' END)) END
        FROM unnest(items) i
       CROSS JOIN LATERAL (SELECT moved -> concat(i.relation, ' ', i.key_text) AS key) m
       CROSS JOIN LATERAL (SELECT i.back - ARRAY(SELECT k.key FROM jsonb_each(m.key) k WHERE k.value = i.back -> k.key) AS back) r
       ORDER BY i.n);
  END IF;
END $function$;

-- The label that punycode() gives this text for, or null: RFC 3492, section 6.2.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.from_punycode(code text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  basic integer := length(code) - position('-' IN reverse(code));
  has_basic constant boolean := position('-' IN code) > 0;
  points integer[] := '{}'; place integer; n bigint := 128; i bigint := 0; old bigint; weight bigint; bias integer := 72; digit integer; t integer;
BEGIN
  IF code !~ '^[a-z0-9-]{1,59}$' THEN
    RETURN NULL;
  END IF;
  IF has_basic THEN
    points := ARRAY(SELECT ascii(c) FROM string_to_table(left(code, basic), NULL) WITH ORDINALITY x(c, at) ORDER BY at);
  END IF;
  place := CASE WHEN has_basic THEN basic + 2 ELSE 1 END;
  WHILE place <= length(code) LOOP
    old := i;
    weight := 1;
    FOR k IN 36 .. 100000 BY 36 LOOP
      digit := position(substr(code, place, 1) IN 'abcdefghijklmnopqrstuvwxyz0123456789') - 1;
      IF place > length(code) OR digit < 0 THEN
        RETURN NULL;
      END IF;
      place := place + 1;
      i := i + digit * weight;
      t := least(greatest(k - bias, 1), 26);
      EXIT WHEN digit < t;
      weight := weight * (36 - t);
      -- No code point is as large.
      IF weight > 1000000000 OR i > 1000000000 THEN
        RETURN NULL;
      END IF;
    END LOOP;
    bias := kith.punycode_bias(i - old, cardinality(points) + 1, old = 0);
    n := n + i / (cardinality(points) + 1);
    i := i % (cardinality(points) + 1);
    IF n > 1114111 OR n BETWEEN 55296 AND 57343 THEN
      RETURN NULL;
    END IF;
    points := points[:i] || n::integer || points[i + 1:];
    i := i + 1;
  END LOOP;
  RETURN (SELECT string_agg(chr(p), '' ORDER BY at) FROM unnest(points) WITH ORDINALITY x(p, at));
END $function$;

-- Renames the pipelines and stages that an undo deletes and whose keys it gives back to others. Returns the plan with the keys of deals that this renamed.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.give_keys_back(INOUT items kith.undo_item[])
 RETURNS kith.undo_item[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE was jsonb;
BEGIN
  IF NOT EXISTS (SELECT FROM unnest(items) i WHERE i.name IN ('pipelines', 'pipeline_stages') AND i.act = 'delete' AND i.state = 'pending') THEN
    RETURN;
  END IF;
  was := (SELECT jsonb_object_agg(d.id, jsonb_build_object('pipeline', d.pipeline, 'stage', d.stage))
            FROM unnest(items) i JOIN public.deals d ON d.id = i.key_text
           WHERE i.relation = 'public.deals'::regclass AND i.act = 'update' AND i.state = 'pending');
  PERFORM kith.write_column('public.pipelines', p.id, 'key', p.key || ' (' || p.id || ')')
     FROM unnest(items) i JOIN public.pipelines p ON p.id = i.key_text
    WHERE i.relation = 'public.pipelines'::regclass AND i.act = 'delete' AND i.state = 'pending'
      AND p.key IN (SELECT o.back ->> 'key' FROM unnest(items) o WHERE o.relation = i.relation AND o.act <> 'delete' AND o.state = 'pending')
      AND NOT EXISTS (SELECT FROM public.pipeline_stages s WHERE s.pipeline = p.key
                         AND s.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.pipeline_stages'::regclass AND o.state = 'pending'))
      AND NOT EXISTS (SELECT FROM public.deals d WHERE d.pipeline = p.key
                         AND d.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.deals'::regclass AND o.state = 'pending'));
  PERFORM kith.write_column('public.pipeline_stages', s.id, 'key', s.key || ' (' || s.id || ')')
     FROM unnest(items) i JOIN public.pipeline_stages s ON s.id = i.key_text
    WHERE i.relation = 'public.pipeline_stages'::regclass AND i.act = 'delete' AND i.state = 'pending'
      AND (s.pipeline, s.key) IN (
            SELECT coalesce(o.back ->> 'pipeline', n.pipeline), coalesce(o.back ->> 'key', n.key) FROM unnest(items) o LEFT JOIN public.pipeline_stages n ON n.id = o.key_text
             WHERE o.relation = i.relation AND o.act <> 'delete' AND o.state = 'pending')
      AND NOT EXISTS (SELECT FROM public.deals d WHERE d.pipeline = s.pipeline AND d.stage = s.key
                         AND d.id NOT IN (SELECT o.key_text FROM unnest(items) o WHERE o.relation = 'public.deals'::regclass AND o.state = 'pending'));
  items := ARRAY(SELECT CASE WHEN d.id IS NULL THEN i
                             ELSE jsonb_populate_record(i, jsonb_build_object('back', (was -> d.id) || i.back, 'target', (was -> d.id) || i.target)) END
                   FROM unnest(items) i
                   LEFT JOIN public.deals d ON d.id = i.key_text AND i.relation = 'public.deals'::regclass AND was ? d.id
                                           AND (d.pipeline, d.stage) <> (was -> d.id ->> 'pipeline', was -> d.id ->> 'stage')
                  ORDER BY i.n);
END $function$;

-- The tables whose changes the session may not see: for a viewer, those that it cannot read.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.hidden_relations()
 RETURNS oid[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT kith.is_viewer() THEN
    RETURN '{}';
  END IF;
  RETURN ARRAY(SELECT DISTINCT s.relation FROM kith.shape s LEFT JOIN pg_class c ON c.oid = s.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.oid IS NULL OR c.relrowsecurity OR NOT has_schema_privilege(session_user, n.oid, 'USAGE') OR NOT has_table_privilege(session_user, c.oid, 'SELECT'));
END $function$;

-- Soft-deletes all but the oldest of the records that have the same key of an invalid unique index.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.hide_duplicates()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
DECLARE
  x record;
  hidden bigint := 0;
  n bigint;
BEGIN
  FOR x IN
    SELECT i.indrelid::regclass AS relation, pg_get_expr(i.indpred, i.indrelid) AS predicate, i.indnullsnotdistinct AS nulls_are_equal,
           (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, false), ', ' ORDER BY k) FROM generate_series(1, i.indnkeyatts) k) AS keys
      FROM pg_index i JOIN kith_guard.fact f ON f.relid = i.indrelid AND f.kind = 'index' JOIN pg_class c ON c.oid = i.indexrelid AND c.relname = f.name
     WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND pg_get_expr(i.indpred, i.indrelid) LIKE '%deleted_at IS NULL%'
  LOOP
    EXECUTE format('UPDATE %1$s SET deleted_at = now() WHERE id IN (
                      SELECT y.id FROM (SELECT t.id, row_number() OVER (PARTITION BY %2$s ORDER BY t.created_at, t.id) AS nth FROM %1$s t WHERE %3$s AND (%4$L OR ROW(%2$s) IS NOT NULL)) y
                       WHERE y.nth > 1)', x.relation, x.keys, x.predicate, x.nulls_are_equal);
    GET DIAGNOSTICS n = ROW_COUNT;
    hidden := hidden + n;
  END LOOP;
  RETURN hidden;
END $function$;

-- The position of the last event. No other session can publish until the transaction ends. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.hold_published(secret text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '5s'
AS $function$
DECLARE last bigint;
BEGIN
  PERFORM kith.check_secret(hold_published.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  RETURN last;
END $function$;

-- The columns whose stored values differ, as texts, updated_at excepted: {column: {from, to}} or null.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.image_changes(relation oid, before anyelement, after anyelement)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  changes jsonb;
BEGIN
  EXECUTE kith.image_changes_query(relation, '($1)', '($2)') INTO changes USING before, after;
  RETURN changes;
END $function$;

-- The query for the columns whose stored values differ, as texts, updated_at excepted: {column: {from, to}} or null. The rows are named by expressions.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.image_changes_query(relation oid, before text, after text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
  SELECT 'SELECT jsonb_object_agg(x.name, jsonb_build_object(''from'', x.old, ''to'', x.new)) FROM (VALUES '
      || string_agg(format('(%L, format(''%%s'', %2$s.%3$I), format(''%%s'', %4$s.%3$I), coalesce(ROW(%2$s.%3$I)) *<> coalesce(ROW(%4$s.%3$I)))',
                           a.attname, before, a.attname, after), ', ' ORDER BY a.attnum)
      || ') x(name, old, new, differs) WHERE x.differs'
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'updated_at'
$function$;

-- Creates the index of a custom field, and drops it with the definition.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.index_field()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  was_live constant boolean := TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL;
  is_live constant boolean := TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL;
  relation name;
BEGIN
  IF was_live AND is_live AND (NEW.id, NEW.object_type, NEW.key, NEW.type) = (OLD.id, OLD.object_type, OLD.key, OLD.type) THEN
    RETURN NULL;
  END IF;
  IF was_live THEN
    EXECUTE format('DROP INDEX IF EXISTS public.%I', 'kith_' || OLD.id);
  END IF;
  IF is_live THEN
    relation := (SELECT b.name FROM kith_guard.builtin b WHERE b.subject = NEW.object_type);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I (kith.%I(custom, %L), created_at, id)', 'kith_' || NEW.id, relation,
      CASE NEW.type WHEN 'number' THEN 'custom_number' WHEN 'date' THEN 'custom_date' WHEN 'bool' THEN 'custom_bool' ELSE 'custom_text' END, NEW.key);
    -- ANALYZE evaluates the expressions of all indexes. Those of the workspace's own may fail.
    BEGIN
      EXECUTE format('ANALYZE public.%I', relation);
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END IF;
  RETURN NULL;
END $function$;

-- Whether a column or a key has no value.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.is_blank_value(value jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
RETURN COALESCE((value = ANY (ARRAY['null'::jsonb, '""'::jsonb, '[]'::jsonb, '{}'::jsonb])), true);

-- Whether a foreign key's action made this change.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.is_cascade(actions jsonb, op text, before jsonb, previous jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE action jsonb; old_values text[]; target text[];
BEGIN
  FOR action IN SELECT x.value FROM jsonb_array_elements(actions) x WHERE op = 'DELETE' OR previous ?| ARRAY(SELECT jsonb_array_elements_text(x.value -> 'columns')) LOOP
    old_values := ARRAY(SELECT before ->> c.name FROM jsonb_array_elements_text(action -> 'columns') WITH ORDINALITY c(name, place) ORDER BY c.place);
    target := ARRAY(SELECT jsonb_array_elements_text(action -> 'target'));
    CONTINUE WHEN array_position(old_values, NULL) IS NOT NULL;
    -- Most foreign keys refer to the primary key, which the index finds.
    PERFORM FROM kith.change c JOIN kith.shape s ON s.id = c.shape
      WHERE c.xid = pg_current_xact_id() AND c.relation = (action ->> 'parent')::oid
        AND (cardinality(target) > 1 OR s.key <> target::name[] OR s.key <@ s.doubtful OR coalesce(c.was, c.key) = old_values[1])
        AND (c.op = 'D' AND action ->> 'on_delete' IN ('c', 'n', 'd') OR c.op = 'U' AND action ->> 'on_update' IN ('c', 'n', 'd') AND c.previous ?| target)
        AND ARRAY(SELECT (c.image || coalesce(c.previous, '{}')) ->> t.name FROM unnest(target) WITH ORDINALITY t(name, place) ORDER BY t.place) = old_values
      LIMIT 1;
    IF FOUND THEN
      RETURN true;
    END IF;
  END LOOP;
  RETURN false;
END $function$;

-- Whether a text is a date, YYYY-MM-DD or RFC 3339.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.is_date(value text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
BEGIN
  RETURN CASE WHEN value ~ '^\d{4}-\d\d-\d\d$' THEN pg_input_is_valid(value, 'date')
              WHEN value ~* '^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$' THEN pg_input_is_valid(value, 'timestamptz')
              ELSE false END;
END $function$;

-- Whether JSON holds all values of a type to the letter, but for nulls of jsonb and zeros of floats.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.is_exact_in_json(type oid)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE t record;
BEGIN
  SELECT y.oid, y.typtype, y.typbasetype, n.nspname, y.typname INTO t FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace WHERE y.oid = type;
  RETURN CASE t.typtype WHEN 'd' THEN kith.is_exact_in_json(t.typbasetype) WHEN 'e' THEN true
    ELSE t.nspname = 'public' AND t.typname = 'citext' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
      OR t.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'text'::regtype,
                   'varchar'::regtype, 'name'::regtype, 'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype,
                   'timetz'::regtype, 'interval'::regtype, 'bytea'::regtype, 'jsonb'::regtype, 'inet'::regtype, 'cidr'::regtype, 'macaddr'::regtype, 'oid'::regtype) END;
END $function$;

-- Whether the tables of a schema are in the change log: all but Kith's, PostgreSQL's and temporary ones.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.is_logged(schema oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN (SELECT ((n.nspname <> 'information_schema'::name) AND (n.nspname !~ '^(kith|pg_)'::text)) FROM pg_namespace n WHERE (n.oid = is_logged.schema));

-- Whether a change of this transaction removed a row that the plan does not remove, or changed a reference of one that is not in it.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.is_other(seq bigint, planned jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE change kith.change; act text;
BEGIN
  SELECT c.* INTO change FROM kith.change c WHERE c.seq = is_other.seq;
  act := coalesce(planned ->> concat(change.relation, ' ', change.key), planned ->> concat(change.relation, ' ', change.was));
  IF act IS NULL THEN
    act := (SELECT planned ->> concat(m.relation, ' ', m.was) FROM kith.change m
             WHERE m.xid = change.xid AND m.relation = change.relation AND m.key = change.key AND m.seq < change.seq AND m.was IS NOT NULL AND planned ? concat(m.relation, ' ', m.was) ORDER BY m.seq DESC LIMIT 1);
  END IF;
  RETURN act IS NULL OR change.op = 'D' AND act <> 'delete'
         AND NOT EXISTS (SELECT FROM kith.change n WHERE n.xid = change.xid AND n.relation = change.relation AND n.key = change.key AND n.op = 'I' AND n.seq > change.seq);
END $function$;

-- Whether an error ends an undo instead of being a conflict of a row.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.is_passing(state text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
RETURN ((state ~~ '40%'::text) OR (state ~~ '53%'::text) OR (state = '55P03'::text) OR (state ~~ '57%'::text) OR (state ~~ 'KL00_'::text));

-- Whether this transaction undoes what an earlier one did.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.is_undo()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN (SELECT c.provenance ? 'undo_of' FROM kith.current_context() c);
END $function$;

-- Whether the session belongs to a viewer.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.is_viewer()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace' AND pg_get_userbyid(r.role) = session_user) THEN
    RETURN false;
  END IF;
  RETURN EXISTS (SELECT FROM kith_guard.role r JOIN pg_roles u ON u.rolname = session_user LEFT JOIN pg_auth_members m ON m.member = u.oid
                  WHERE r.part = 'viewer' AND r.role IN (u.oid, m.roleid));
END $function$;

-- Makes one update of the two changes of a row that was moved to another partition.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.join_move(shape kith.shape, gone bigint, came bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE old kith.change; new kith.change; before jsonb; texts jsonb; texts_before jsonb; made jsonb; told jsonb; kind text := 'updated';
BEGIN
  SELECT c.* INTO old FROM kith.change c WHERE c.seq = join_move.gone;
  DELETE FROM kith.change c WHERE c.seq = join_move.came RETURNING c.* INTO new;
  SELECT jsonb_object_agg(a.key, old.image -> a.key), jsonb_object_agg(a.key, jsonb_build_object('from', old.image -> a.key, 'to', a.value)) INTO before, told
    FROM jsonb_each(new.image) a
   WHERE (a.value <> (old.image -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(old.image -> a.key)) AND a.key <> 'updated_at';
  IF before ? 'deleted_at' THEN
    kind := CASE WHEN before -> 'deleted_at' = 'null' THEN 'deleted' WHEN new.image -> 'deleted_at' = 'null' THEN 'restored' ELSE kind END;
  END IF;
  IF shape.is_inexact THEN
    texts := coalesce(new.exact -> 'row', '{}');
    texts_before := coalesce(old.exact -> 'row', '{}');
    texts := texts || (SELECT coalesce(jsonb_object_agg(t.name, kith.text_of(shape, t.name, new.image -> t.name)), '{}') FROM jsonb_object_keys(texts_before - ARRAY(SELECT jsonb_object_keys(texts))) t(name));
    texts_before := texts_before
                 || (SELECT coalesce(jsonb_object_agg(t.name, kith.text_of(shape, t.name, old.image -> t.name)), '{}') FROM jsonb_object_keys(texts - ARRAY(SELECT jsonb_object_keys(texts_before))) t(name));
    made := nullif(jsonb_build_object('row', texts, 'previous', texts_before), '{"row": {}, "previous": {}}');
  END IF;
  IF shape.is_deferrable THEN
    made := coalesce(made, '{}') || jsonb_build_object('tuple', (old.exact -> 'tuple') || (new.exact -> 'tuple'));
  END IF;
  UPDATE kith.change AS c SET key = new.key, was = old.key, op = 'U', verb = kind, image = new.image, previous = before, exact = made, activity = coalesce(new.activity, old.activity), command = NULL
   WHERE c.seq = old.seq;
  -- record_activity() has written two entries.
  IF old.activity IS NOT NULL AND new.activity IS NOT NULL THEN
    DELETE FROM public.activity a WHERE a.id = old.activity;
    UPDATE public.activity AS a SET verb = kind, changes = CASE WHEN octet_length(told::text) > 1000000 THEN kith.clip_changes(told) ELSE told END WHERE a.id = new.activity;
  END IF;
END $function$;

-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.judge()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE limit_of_rows integer; changed bigint; changes kith.change[];
BEGIN
  DELETE FROM kith.judgement j WHERE j.xid = pg_current_xact_id();
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT s.most INTO limit_of_rows FROM kith.seal s WHERE s.xid = pg_current_xact_id();
  -- So few changes are no more rows. Otherwise they are compared, because a row may have changed several times.
  IF (SELECT count(*) FROM (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id() LIMIT limit_of_rows::bigint + 1) x) <= limit_of_rows THEN
    RETURN NULL;
  END IF;
  changes := kith.of_transaction();
  SELECT count(*) INTO changed FROM kith.net(changes);
  IF changed > limit_of_rows THEN
    RAISE EXCEPTION 'the request changes % rows, and may change at most %', changed, limit_of_rows
      USING ERRCODE = 'KL001', DETAIL = kith.affected(changes)::text;
  END IF;
  RETURN NULL;
END $function$;

-- Stores the answer to a request with an Idempotency-Key. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.keep_answer(secret text, key text, status integer, body text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  UPDATE kith.idempotency i SET status = keep_answer.status, body = keep_answer.body WHERE i.key = keep_answer.key;
END $function$;

-- Ensures that there is a default pipeline.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.keep_default()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF pg_trigger_depth() = 1 AND NOT EXISTS (SELECT FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'the default pipeline cannot be deleted or unset'
      USING ERRCODE = 'KP001', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'is_default', HINT = 'Make another pipeline the default first.';
  END IF;
  RETURN NULL;
END $function$;

-- The key that a row has after it is put back.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.key_after(key jsonb, back jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
RETURN (SELECT jsonb_object_agg(k.key, COALESCE((key_after.back -> k.key), k.value)) AS jsonb_object_agg FROM jsonb_each(key_after.key) k(key, value));

-- The key of a row as text.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.key_of(image jsonb, key name[], doubtful name[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
RETURN CASE WHEN ((key <@ doubtful) AND (cardinality(key) = 1)) THEN ((image -> ((key)[1])::text))::text WHEN (cardinality(key) = 1) THEN (image ->> ((key)[1])::text) ELSE (SELECT (jsonb_object_agg(k.name, (key_of.image -> (k.name)::text)))::text AS jsonb_object_agg FROM unnest(key_of.key) k(name)) END;

-- The last number of the log: what this transaction changes from now on has a higher one. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.last_change(secret text)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN (SELECT s.last_value FROM kith.change_seq_seq s);
END $function$;

-- Leaves in a plan what was left when it was written.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.leave_as_found(INOUT compared kith.undo_item[], INOUT partly integer[], items kith.undo_item[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE item kith.undo_item;
BEGIN
  FOREACH item IN ARRAY items LOOP
    IF item.state = 'left' THEN
      compared[item.n].state := 'left';
    ELSIF item.target <> compared[item.n].target THEN
      compared[item.n] := kith.without_columns(compared[item.n], ARRAY(SELECT c.name FROM jsonb_object_keys(compared[item.n].target) c(name) WHERE NOT item.target ? c.name));
      partly := partly || item.n;
      IF compared[item.n].back = '{}' THEN
        compared[item.n].state := 'done';
      END IF;
    END IF;
  END LOOP;
END $function$;

-- Leaves what would refer to rows that are left, by keys that they do not get back.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.leave_dependents(INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT partly integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE dependent record; item kith.undo_item; found_any boolean;
BEGIN
  LOOP
    found_any := false;
    FOR dependent IN
      WITH f AS MATERIALIZED (
             SELECT k.oid, k.conrelid, k.confrelid,
                    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY c(number, place) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place) AS names,
                    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY c(number, place) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.number ORDER BY c.place) AS referenced
               FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN (SELECT i.relation FROM unnest(items) i) AND k.confrelid IN (SELECT i.relation FROM unnest(items) i)),
           p AS MATERIALIZED (
             SELECT f.oid, ARRAY(SELECT coalesce(i.back_shown -> x.name, i.expected -> x.name) FROM unnest(f.referenced) WITH ORDINALITY x(name, place) ORDER BY x.place) AS old
               FROM unnest(items) i JOIN f ON f.confrelid = i.relation
              WHERE i.act = 'insert' AND i.state = 'left'
                 OR i.act = 'update' AND EXISTS (SELECT FROM unnest(f.referenced) x(name) WHERE i.back_shown ? x.name AND i.back_shown -> x.name <> i.expected -> x.name AND (i.state = 'left' OR NOT i.target ? x.name)))
      SELECT c.n, array_agg(x.name) AS names
        FROM (SELECT i.n, f.oid, f.names, ARRAY(SELECT coalesce(i.back_shown -> x.name, i.expected -> x.name) FROM unnest(f.names) WITH ORDINALITY x(name, place) ORDER BY x.place) AS old
                FROM unnest(items) i JOIN f ON f.conrelid = i.relation WHERE i.state <> 'left' AND (i.act = 'insert' OR i.act = 'update' AND i.target ?| f.names)) c
        JOIN p ON (p.oid, p.old) = (c.oid, c.old) CROSS JOIN LATERAL unnest(c.names) x(name)
       WHERE 'null' <> ALL (c.old)
       GROUP BY c.n
    LOOP
      found_any := true;
      item := items[dependent.n];
      conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'parent_gone', 'may_stay', item.may_stay);
      IF item.act = 'update' THEN
        item := kith.without_columns(item, dependent.names);
      END IF;
      IF item.act = 'update' AND item.target <> '{}' THEN
        partly := partly || item.n;
        item.state := CASE WHEN item.back = '{}' THEN 'done' ELSE item.state END;
      ELSE
        item.state := 'left';
      END IF;
      items[dependent.n] := item;
    END LOOP;
    EXIT WHEN NOT found_any;
  END LOOP;
END $function$;

-- Leaves the rows that could not be written, or the columns of theirs that are in the way: those rows are in `narrowed` and pending.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.leave_failing(secret text, INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT narrowed integer[], planned jsonb, skips boolean)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE item kith.undo_item; rest kith.undo_item; names text[];
BEGIN
  FOREACH item IN ARRAY items LOOP
    CONTINUE WHEN item.state <> 'failing';
    names := item.blamed;
    IF skips AND item.act = 'update' AND names = '{}' THEN
      names := kith.columns_in_the_way(secret, item, planned);
    END IF;
    conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', item.fault, 'may_stay', item.may_stay,
                                                 'columns', CASE WHEN item.act = 'update' THEN kith.as_conflict(item, names, item.expected) END);
    rest := kith.without_columns(item, names);
    IF item.act = 'update' AND names <> '{}' AND rest.back <> '{}' THEN
      item := rest;
      item.state := 'pending';
      item.blamed := '{}';
      narrowed := narrowed || item.n;
    ELSE
      item.state := 'left';
    END IF;
    items[item.n] := item;
  END LOOP;
END $function$;

-- Leaves what triggers do not let go back, as astray() found it: columns of an update, else the whole row.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.leave_strays(INOUT items kith.undo_item[], INOUT conflicts jsonb[], INOUT partly integer[], strays jsonb[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE stray record; item kith.undo_item; wrong jsonb;
BEGIN
  FOR stray IN SELECT s.n, s.names, s.image FROM unnest(strays) x, jsonb_to_record(x) s(n integer, names text[], image jsonb) LOOP
    item := items[stray.n];
    wrong := CASE WHEN item.act = 'update' AND stray.image IS NOT NULL THEN kith.as_conflict(item, stray.names, stray.image) END;
    conflicts := conflicts || jsonb_build_object('table', item.name, 'id', item.id, 'reason', 'not_permitted', 'columns', wrong, 'may_stay', false);
    item := kith.without_columns(item, stray.names);
    IF wrong IS NULL OR item.target = '{}' THEN
      item.state := 'left';
    ELSE
      partly := partly || item.n;
      IF item.back = '{}' THEN
        item.state := 'done';
      END IF;
    END IF;
    items[stray.n] := item;
  END LOOP;
END $function$;

-- Lets the changes stand that undos had undone with these changes of theirs, and returns them.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.let_stand(seqs bigint[], undos text[])
 RETURNS bigint[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE standing bigint[];
BEGIN
  -- The rows that it passed over stand with the others.
  IF NOT EXISTS (SELECT FROM kith.change m WHERE m.run = ANY (undos) AND m.undone_by IS NULL) THEN
    WITH changed AS (UPDATE kith.change c SET undone_by = NULL WHERE c.undone_by = ANY (undos) RETURNING c.seq) SELECT array_agg(c.seq) INTO standing FROM changed c;
  ELSE
    WITH undone AS MATERIALIZED (SELECT u.seq, u.undone_by, u.relation, u.key, u.was FROM kith.change u WHERE u.undone_by = ANY (undos)),
         stands AS MATERIALIZED (
           SELECT u.seq FROM undone u
            WHERE (u.undone_by, u.relation, u.key) IN (SELECT m.run, m.relation, k.key FROM kith.change m, unnest(ARRAY[m.key, m.was]) k(key) WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL AND k.key IS NOT NULL)
               OR (u.undone_by, u.relation, u.was) IN (SELECT m.run, m.relation, m.key FROM kith.change m WHERE m.seq = ANY (seqs) AND m.run IS NOT NULL)),
         moved AS MATERIALIZED (
           SELECT r.* FROM kith.rows_of(ARRAY(SELECT u FROM kith.change u WHERE u.undone_by = ANY (undos) AND u.relation IN (SELECT x.relation FROM undone x WHERE x.was IS NOT NULL))) r),
         changed AS (
           UPDATE kith.change AS c SET undone_by = NULL
             FROM (SELECT s.seq FROM stands s UNION SELECT o.seq FROM stands s JOIN moved m ON m.seq = s.seq JOIN moved o ON o.first = m.first) x
            WHERE c.seq = x.seq RETURNING c.seq)
    SELECT array_agg(c.seq) INTO standing FROM changed c;
  END IF;
  WITH changed AS (
         UPDATE kith.change AS c SET undone_by = NULL FROM kith.undone_with(seqs) t WHERE c.seq = t.seq AND c.undone_by IS NOT NULL RETURNING c.seq, c.run),
       runs AS (UPDATE kith.run AS r SET undone_by = NULL WHERE r.id IN (SELECT c.run FROM changed c) AND r.undone_by IS NOT NULL)
  SELECT standing || array_agg(c.seq) INTO standing FROM changed c;
  RETURN coalesce(standing, '{}');
END $function$;

-- Lets the deferred constraints of a dry transaction be checked, and returns the number of this command in it. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.lift_seal(secret text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE command bigint;
BEGIN
  PERFORM kith.check_secret(secret);
  UPDATE kith.seal AS s SET is_dry = false WHERE s.xid = pg_current_xact_id() RETURNING s.cmin::text::bigint INTO command;
  RETURN command;
END $function$;

-- Limits this transaction: to so many changed rows, or to no commit. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.limit_request(secret text, most integer, is_dry boolean)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  -- Another limited transaction may be removing the same rows, and may take long to end.
  DELETE FROM kith.seal s WHERE s.xid IN (SELECT o.xid FROM kith.seal o WHERE o.xid < pg_snapshot_xmin(pg_current_snapshot()) FOR UPDATE SKIP LOCKED);
  INSERT INTO kith.seal AS s (xid, most, is_dry) VALUES (pg_current_xact_id(), limit_request.most, limit_request.is_dry);
END $function$;

-- Ensures that the associations and the list memberships of a record are deleted with it.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.link()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_table record; named text[];
BEGIN
  IF TG_TABLE_NAME = 'list_members' THEN
    named := ARRAY(SELECT l.target_table FROM public.lists l JOIN pg_class c ON c.relname = l.target_table AND c.relnamespace = 'public'::regnamespace
                    WHERE l.id = NEW.list_id AND c.oid NOT IN (SELECT b.relid FROM kith_guard.builtin b));
  ELSE
    named := ARRAY(SELECT x.subject FROM unnest(ARRAY[NEW.from_type, NEW.to_type]) x(subject) WHERE x.subject NOT IN (SELECT b.subject FROM kith_guard.builtin b));
  END IF;
  IF named = '{}' THEN
    RETURN NULL;
  END IF;
  FOR found_table IN
    SELECT c.relname, a.attname FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY (named)
       AND pg_get_userbyid(c.relowner) = current_user AND c.oid NOT IN (SELECT b.relid FROM kith_guard.builtin b)
       AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'kith.unlink'::regproc)
  LOOP
    EXECUTE format('CREATE TRIGGER kith_unlink AFTER DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION kith.unlink(%L)', found_table.relname, found_table.attname);
  END LOOP;
  RETURN NULL;
END $function$;

-- Runs, newest first. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.list_runs(secret text, filters jsonb, most integer)
 RETURNS SETOF jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    SELECT kith.shown_run(r) FROM kith.run r
     WHERE (filters ->> 'actor' IS NULL OR r.actor = filters ->> 'actor') AND (filters ->> 'agent' IS NULL OR r.agent = filters ->> 'agent')
       AND (filters ->> 'status' IS NULL OR CASE WHEN r.undone_by IS NULL THEN r.status ELSE 'undone' END = filters ->> 'status')
       AND (filters ->> 'since' IS NULL OR r.started_at >= (filters ->> 'since')::timestamptz)
       AND (filters ->> 'before' IS NULL OR (r.started_at, r.id) < (SELECT b.started_at, b.id FROM kith.run b WHERE b.id = filters ->> 'before'))
     ORDER BY r.started_at DESC, r.id DESC LIMIT most;
END $function$;

-- Runs a statement of undo_statement() that locks rows, and returns them as they are now.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.lock_rows(statement text, keys jsonb[], numbers integer[], exact name[])
 RETURNS TABLE(n integer, image jsonb, exact_texts jsonb)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
BEGIN
  RETURN QUERY EXECUTE statement USING keys, numbers, exact;
END $function$;

-- Creates the triggers of a built-in table: the subject of its entries in the feed, templates that describe a row, and the features that it has.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.make_builtin(relation regclass, subject text, labels text[], VARIADIC features text[] DEFAULT '{}'::text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  reference name;
  remark record;
  viewer name;
  part text;
  -- As log_change() takes them: '', first_name, ' ', last_name, ''. A label with one column has two empty texts at the end.
  templates constant text[] := ARRAY(SELECT coalesce((string_to_array(translate(l.label, '{', '}'), '}'))[n], '')
                                       FROM unnest(labels) WITH ORDINALITY l(label, place), generate_series(1, 5) n ORDER BY l.place, n);
BEGIN
  IF NOT features <@ ARRAY['custom_fields', 'associations'] THEN
    RAISE EXCEPTION 'a built-in table has the features custom_fields and associations, not %', features;
  END IF;
  IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = 'updated_at') THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_touch BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION kith.touch()', relation);
  END IF;
  FOR reference IN
    SELECT a.attname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
     WHERE k.conrelid = relation AND k.contype = 'f' AND cardinality(k.conkey) = 1
       AND to_regproc('kith.' || quote_ident('check_' || a.attname)) IS NOT NULL
  LOOP
    -- Without WHEN (NEW.… IS NOT NULL): the column would then have a dependent, and DROP COLUMN would suggest CASCADE instead of being
    -- refused by the guards.
    EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION kith.%I()',
      'kith_' || reference, relation, 'check_' || reference);
  END LOOP;
  IF 'custom_fields' = ANY (features) THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_custom_insert AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION kith.check_custom(%L)', relation, subject);
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_custom_update AFTER UPDATE ON %s FOR EACH ROW WHEN (OLD.custom IS DISTINCT FROM NEW.custom) EXECUTE FUNCTION kith.check_custom(%L)',
      relation, subject);
  END IF;
  IF 'associations' = ANY (features) THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION kith.unlink()', relation);
  END IF;
  FOREACH part IN ARRAY ARRAY['"!kith_record" AFTER INSERT ON %s REFERENCING NEW TABLE AS kith_new', '"!kith_record_update" AFTER UPDATE ON %s REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new',
                              '"!kith_record_delete" AFTER DELETE ON %s REFERENCING OLD TABLE AS kith_old'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER ' || part || ' FOR EACH ROW EXECUTE FUNCTION kith.record_change(%s)',
      relation, (SELECT string_agg(quote_literal(x.argument), ', ' ORDER BY x.place) FROM unnest(array_prepend(subject, templates)) WITH ORDINALITY x(argument, place)));
  END LOOP;
  EXECUTE format('CREATE OR REPLACE TRIGGER kith_no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION kith.no_truncate()', relation);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!kith_record", ENABLE ALWAYS TRIGGER "!kith_record_update", ENABLE ALWAYS TRIGGER "!kith_record_delete", ENABLE ALWAYS TRIGGER kith_no_truncate', relation);
  FOR remark IN
    SELECT a.attname, replace(x.words, '%', coalesce((SELECT substring(pg_get_expr(d.adbin, d.adrelid) FROM '''([a-z]+)''') FROM pg_attrdef d
                                              WHERE d.adrelid = relation AND d.adnum = a.attnum), '')) AS words
      FROM pg_attribute a
      JOIN (VALUES ('id', '%_ and 26 characters that sort by time; generated.'),
                   ('custom', CASE WHEN 'custom_fields' = ANY (features) THEN 'Free-form fields; keys that custom_fields defines are validated.' ELSE 'Free-form fields.' END),
                   ('created_at', 'When the row was created.'),
                   ('updated_at', 'When the row was last changed.'),
                   ('deleted_at', 'When the row was soft-deleted; null while it is live.')) x(field, words) ON a.attname = x.field
     WHERE a.attrelid = relation
  LOOP
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, remark.attname, remark.words);
  END LOOP;
  -- In the template there is no viewer yet; adopt.sql grants it all tables.
  SELECT pg_get_userbyid(r.role) INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
  IF FOUND THEN
    EXECUTE format('GRANT SELECT ON %s TO %I', relation, viewer);
  END IF;
END $function$;

-- Turns triggers of built-in tables on, rebuilds their indexes, and removes row security, rules and inheritance.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.mend_builtins()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE
  x record;
BEGIN
  FOR x IN SELECT c.oid::regclass AS relation FROM pg_class c JOIN kith_guard.builtin b ON b.relid = c.oid WHERE c.relrowsecurity OR c.relforcerowsecurity LOOP
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', x.relation);
  END LOOP;
  FOR x IN SELECT r.rulename, r.ev_class::regclass AS relation FROM pg_rewrite r JOIN kith_guard.builtin b ON b.relid = r.ev_class LOOP
    EXECUTE format('DROP RULE %I ON %s', x.rulename, x.relation);
  END LOOP;
  FOR x IN SELECT i.inhrelid::regclass AS child, i.inhparent::regclass AS parent FROM pg_inherits i
            WHERE i.inhparent IN (SELECT b.relid FROM kith_guard.builtin b) OR i.inhrelid IN (SELECT b.relid FROM kith_guard.builtin b) LOOP
    EXECUTE format('ALTER TABLE %s NO INHERIT %s', x.child, x.parent);
  END LOOP;
  FOR x IN SELECT t.tgname, t.tgrelid::regclass AS relation, CASE WHEN a.is_always THEN 'ALWAYS ' ELSE '' END AS always
             FROM pg_trigger t JOIN kith_guard.builtin b ON b.relid = t.tgrelid
            CROSS JOIN LATERAL (SELECT t.tgname LIKE '!kith\_%' OR t.tgname = 'kith_no_truncate' AS is_always) a
            WHERE t.tgname ~ '^!?kith_' AND t.tgenabled <> CASE WHEN a.is_always THEN 'A' ELSE 'O' END LOOP
    EXECUTE format('ALTER TABLE %s ENABLE %sTRIGGER %I', x.relation, x.always, x.tgname);
  END LOOP;
  -- The expressions of built-in indexes call no function of the workspace's.
  FOR x IN SELECT i.indexrelid::regclass AS index FROM pg_index i JOIN kith_guard.fact f ON f.relid = i.indrelid AND f.kind = 'index'
             JOIN pg_class c ON c.oid = i.indexrelid AND c.relname = f.name
            WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) LOOP
    EXECUTE format('REINDEX INDEX %s', x.index);
  END LOOP;
END $function$;

-- Merges records into the first one: fills its empty fields, rewrites references, and deletes the others.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.merge(relation name, key name, ids text[], columns name[], prefer jsonb, prefer_keys jsonb, together jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$
DECLARE
  home constant regclass := format('public.%I', relation)::regclass;
  subject constant text := coalesce((SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = home), relation);
  hides constant boolean := EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = home AND a.attname = 'deleted_at' AND NOT a.attisdropped);
  key_type constant text := (SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = home AND a.attname = key);
  names text[]; gone text[]; images jsonb[]; usable jsonb[]; final jsonb; number integer; source integer; group_names jsonb;
  column_name name; reference record; condition text; own_row text; not_merged text; setting text; changed name[] := '{}'; released text;
  counted record; is_live boolean; moved jsonb := '{}'; dropped jsonb := '{}';
BEGIN
  PERFORM kith_guard.take_record_turn();
  number := (SELECT min(i.at) FROM unnest(ids) WITH ORDINALITY i(id, at) WHERE NOT pg_input_is_valid(i.id, key_type));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('missing', number);
  END IF;
  EXECUTE format('SELECT array_agg((i.id::%s)::text ORDER BY i.at) FROM unnest($1) WITH ORDINALITY i(id, at)', key_type) INTO names USING ids;
  number := (SELECT min(n.at) FROM unnest(names) WITH ORDINALITY n(name, at) WHERE EXISTS (SELECT FROM unnest(names) WITH ORDINALITY o(name, at) WHERE o.name = n.name AND o.at < n.at));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('twice', number);
  END IF;
  EXECUTE format('SELECT array_agg(x.image ORDER BY array_position($1, x.name)) FROM (
                    SELECT t.%I::text AS name, to_jsonb(t.*) AS image FROM %s AS t WHERE t.%I = ANY ($1::%s[])%s ORDER BY t.%I FOR UPDATE) x',
                 key, home, key, key_type, CASE WHEN hides THEN ' AND t.deleted_at IS NULL' ELSE '' END, key) INTO images USING names;
  number := (SELECT min(n.at) FROM unnest(names) WITH ORDINALITY n(name, at) WHERE NOT EXISTS (SELECT FROM unnest(images) i WHERE i ->> key = n.name));
  IF number IS NOT NULL THEN
    RETURN jsonb_build_object('missing', number);
  END IF;
  gone := names[2:];
  own_row := format('t.%I = %L', key, names[1]);
  not_merged := format(' AND t.%I <> ALL (%L)', key, names);

  -- A reference to a deleted record, or to one that is merged, is no value to take over.
  usable := images;
  FOR reference IN
    SELECT (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = home AND a.attnum = k.conkey[1]) AS own, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]) AS referred,
           k.confrelid::regclass AS parent, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attname = 'deleted_at' AND NOT a.attisdropped) AS hides
      FROM pg_constraint k WHERE k.conrelid = home AND k.contype = 'f' AND k.conparentid = 0 AND cardinality(k.conkey) = 1
  LOOP
    FOR number IN 1 .. cardinality(images) LOOP
      CONTINUE WHEN images[number] ->> reference.own IS NULL;
      is_live := reference.parent <> home OR NOT EXISTS (SELECT FROM unnest(images) i WHERE i -> reference.referred = images[number] -> reference.own);
      IF is_live AND reference.hides THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE t.%I = %L AND t.deleted_at IS NULL)', reference.parent, reference.referred, images[number] ->> reference.own) INTO is_live;
      END IF;
      IF NOT is_live AND (number > 1 OR reference.parent = home) THEN
        usable[number] := usable[number] || jsonb_build_object(reference.own, NULL);
      END IF;
    END LOOP;
  END LOOP;

  -- The values of the record that stays.
  final := usable[1];
  FOREACH column_name IN ARRAY columns LOOP
    group_names := (SELECT g FROM jsonb_array_elements(together) g WHERE g ? column_name LIMIT 1);
    source := coalesce((prefer ->> column_name)::integer, (SELECT (prefer ->> m)::integer FROM jsonb_array_elements_text(group_names) m WHERE prefer ? m LIMIT 1));
    IF source IS NOT NULL THEN
      final := final || jsonb_build_object(column_name, images[source] -> column_name);
    ELSE
      source := coalesce((SELECT min(u.at) FROM unnest(usable) WITH ORDINALITY u(image, at) WHERE NOT kith.is_blank_value(u.image -> (group_names ->> 0))),
                         (SELECT min(u.at) FROM unnest(usable) WITH ORDINALITY u(image, at) WHERE NOT kith.is_blank_value(u.image -> column_name)), 1);
      final := final || jsonb_build_object(column_name, usable[source] -> column_name);
    END IF;
    IF prefer_keys ? column_name AND NOT prefer ? column_name THEN
      final := final || jsonb_build_object(column_name, (
        SELECT coalesce(jsonb_object_agg(x.key, x.value), '{}') FROM (
          SELECT DISTINCT ON (m.key) m.key, m.value
            FROM unnest(usable) WITH ORDINALITY u(image, at), jsonb_each(CASE jsonb_typeof(u.image -> column_name) WHEN 'object' THEN u.image -> column_name END) m
           WHERE u.at = coalesce((prefer_keys -> column_name ->> m.key)::integer, u.at) ORDER BY m.key, kith.is_blank_value(m.value), u.at) x));
    END IF;
    IF final -> column_name IS DISTINCT FROM images[1] -> column_name THEN
      changed := changed || column_name;
    END IF;
  END LOOP;

  -- What refers to the others refers to it.
  FOR reference IN SELECT * FROM kith.references_to(home) LOOP
    condition := (SELECT string_agg(r.condition, ' OR ') FROM unnest(images[2:]) i, kith.refers(reference.columns, reference.referred, i) r(condition)
                   WHERE EXISTS (SELECT FROM unnest(reference.referred) c WHERE i -> c::text IS DISTINCT FROM final -> c::text));
    CONTINUE WHEN condition IS NULL;
    setting := (SELECT string_agg(format('%I = %L', c.name, final ->> r.name), ', ') FROM unnest(reference.columns) WITH ORDINALITY c(name, at) JOIN unnest(reference.referred) WITH ORDINALITY r(name, at) USING (at));
    counted := kith.repoint(reference.child, setting, format('(%s)%s', condition, CASE WHEN reference.child = home THEN not_merged ELSE '' END));
    moved := kith.counted(moved, reference.child, counted.moved);
    dropped := kith.counted(dropped, reference.child, counted.dropped);
  END LOOP;
  -- References without a foreign key.
  IF home IN ('public.contacts'::regclass, 'public.companies'::regclass, 'public.deals'::regclass) THEN
    column_name := subject || '_ids';
    counted := kith.repoint('public.emails', format('%1$I = ARRAY(SELECT u.id FROM (SELECT CASE WHEN e.id = ANY (%2$L) THEN %3$L ELSE e.id END AS id, min(e.at) AS at
                                                                   FROM unnest(t.%1$I) WITH ORDINALITY e(id, at) GROUP BY 1) u ORDER BY u.at)', column_name, gone, names[1]),
                            format('t.%I && %L', column_name, gone));
    moved := kith.counted(moved, 'public.emails', counted.moved);
  END IF;
  counted := kith.repoint('public.list_members', format('member_id = %L', names[1]),
                          format('t.member_id = ANY (%L) AND EXISTS (SELECT FROM public.lists l WHERE l.id = t.list_id AND l.target_table = %L)', gone, relation));
  moved := kith.counted(moved, 'public.list_members', counted.moved);
  dropped := kith.counted(dropped, 'public.list_members', counted.dropped);
  -- An association among them joins nothing any more.
  dropped := kith.counted(dropped, 'public.associations', kith.write_merged(
    format('DELETE FROM public.associations AS t WHERE t.from_type = %1$L AND t.to_type = %1$L AND t.from_id = ANY (%2$L) AND t.to_id = ANY (%2$L) AND t.from_id <> t.to_id', subject, names), NULL));
  FOREACH column_name IN ARRAY ARRAY['from', 'to'] LOOP
    counted := kith.repoint('public.associations', format('%I = %L', column_name || '_id', names[1]), format('t.%I = %L AND t.%I = ANY (%L)', column_name || '_type', subject, column_name || '_id', gone));
    moved := kith.counted(moved, 'public.associations', counted.moved);
    dropped := kith.counted(dropped, 'public.associations', counted.dropped);
  END LOOP;
  -- It must not go with a record that it refers to.
  setting := (SELECT string_agg(format('%I = %L', c.name, final ->> c.name::text), ', ') FROM unnest(columns) c(name)
               WHERE usable[1] -> c.name::text IS DISTINCT FROM images[1] -> c.name::text);
  IF setting IS NOT NULL THEN
    PERFORM kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', home, setting, own_row), NULL);
  END IF;
  -- A trigger or a generated column may have kept a reference.
  FOR number IN 2 .. cardinality(images) LOOP
    PERFORM kith.refuse_referred(home, images[number], not_merged);
  END LOOP;

  -- The others go. They give up values that are unique among deleted rows too.
  IF NOT hides THEN
    IF kith.write_merged(format('DELETE FROM %s AS t WHERE t.%I = ANY (%L)', home, key, gone), NULL) <> cardinality(gone) THEN
      RAISE EXCEPTION 'a trigger keeps records of "%" from being deleted', relation USING ERRCODE = 'P0001';
    END IF;
  ELSE
    released := (SELECT string_agg(DISTINCT format(', %I = NULL', c.name), '') FROM unnest(changed) c(name)
                   JOIN pg_attribute a ON a.attrelid = home AND a.attname = c.name AND NOT a.attnotnull
                   JOIN pg_index x ON x.indrelid = home AND x.indisunique AND coalesce(pg_get_expr(x.indpred, home) NOT LIKE '%deleted_at IS NULL%', true)
                  WHERE a.attnum = ANY (x.indkey::smallint[])
                     OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid AND d.refobjid = home AND d.refobjsubid = a.attnum));
    IF kith.write_merged(format('UPDATE %s AS t SET deleted_at = now()%s WHERE t.%I = ANY (%L)', home, released, key, gone), NULL) <> cardinality(gone) THEN
      RAISE EXCEPTION 'a trigger keeps records of "%" from being deleted', relation USING ERRCODE = 'P0001';
    END IF;
  END IF;
  IF changed <> '{}' THEN
    setting := (SELECT string_agg(format('%1$I = v.%1$I', c.name), ', ') FROM unnest(changed) c(name));
    PERFORM kith.write_merged(format('UPDATE %s AS t SET %s FROM jsonb_populate_record(NULL::%s, $1) AS v WHERE %s', home, setting, home, own_row), final);
  END IF;
  RETURN jsonb_build_object('moved', moved, 'dropped', dropped);
END $function$;

-- A run by its id, or by the actor's own name for it.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.named_run(actor text, name text)
 RETURNS kith.run
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT r FROM kith.run r WHERE r.id = named_run.name OR (r.actor, r.run_id) = (named_run.actor, named_run.name) ORDER BY r.id = named_run.name DESC LIMIT 1
$function$;

-- The net effect of changes, one row for each changed row.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.net(changes kith.change[])
 RETURNS TABLE(seq bigint, at timestamp with time zone, request text, activity text, via text, relation oid, shape integer, key text, verb text, hard boolean, before jsonb, after jsonb, exact_before jsonb, exact_after jsonb, members bigint[], overwritten jsonb, is_replaced boolean)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT (y.f).seq, (y.f).at, (y.f).request, (y.f).activity, (y.f).via, y.relation, (y.l).shape, (y.l).key,
         CASE WHEN y.before IS NULL THEN (y.f).verb WHEN y.after IS NULL THEN 'deleted'
              WHEN y.before -> 'deleted_at' = 'null' AND y.after -> 'deleted_at' <> 'null' THEN 'deleted'
              WHEN y.before -> 'deleted_at' <> 'null' AND y.after -> 'deleted_at' = 'null' THEN 'restored' ELSE 'updated' END,
         y.before IS NOT NULL AND y.after IS NULL, y.before, y.after, y.exact_before, y.exact_after, y.members, y.overwritten, y.is_replaced
    FROM (SELECT x.relation, x.members, x.f, x.l,
                 CASE WHEN x.several IS NOT NULL THEN u.before
                      ELSE CASE (x.f).op WHEN 'I' THEN NULL WHEN 'U' THEN (x.f).image || (x.f).previous ELSE (x.f).image END END AS before,
                 CASE (x.l).op WHEN 'D' THEN NULL ELSE (x.l).image END AS after,
                 CASE WHEN x.several IS NOT NULL THEN u.exact_before
                      ELSE CASE (x.f).op WHEN 'I' THEN NULL WHEN 'U' THEN coalesce((x.f).exact -> 'row', '{}') || coalesce((x.f).exact -> 'previous', '{}') ELSE coalesce((x.f).exact -> 'row', '{}') END END AS exact_before,
                 CASE (x.l).op WHEN 'D' THEN NULL ELSE coalesce((x.l).exact -> 'row', '{}') END AS exact_after,
                 coalesce(u.overwritten, '{}') AS overwritten, coalesce(u.is_replaced, false) AS is_replaced
            FROM (SELECT c.relation, (array_agg(c ORDER BY c.seq))[1] AS f, (array_agg(c ORDER BY c.seq))[count(*)] AS l, array_agg(c.seq ORDER BY c.seq) AS members,
                         CASE WHEN count(*) > 1 THEN array_agg(c ORDER BY c.seq) END AS several
                    FROM unnest(changes) c
                    LEFT JOIN kith.rows_of(ARRAY(SELECT e FROM unnest(changes) e
                                                  WHERE e.relation IN (SELECT m.relation FROM unnest(changes) m WHERE m.was IS NOT NULL OR m.exact ? 'tuple'))) r ON r.seq = c.seq
                   GROUP BY c.relation, r.first, CASE WHEN r.first IS NULL THEN c.key END) x
           CROSS JOIN LATERAL kith.unwound(x.several) u) y
   WHERE (y.before IS NULL) <> (y.after IS NULL)
      OR y.before - 'updated_at' IS DISTINCT FROM y.after - 'updated_at'
      OR jsonb_send(y.before - 'updated_at') <> jsonb_send(y.after - 'updated_at')
      OR y.exact_before IS DISTINCT FROM y.exact_after AND y.exact_before <> '{}'
$function$;

-- A new id: the prefix, an underscore and 26 characters that sort by time.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.new_id(prefix text)
 RETURNS text
 LANGUAGE plpgsql
 PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    DECLARE
      t bigint := floor(date_part('epoch', clock_timestamp()) * 1000);
      r bytea := uuid_send(gen_random_uuid());
    BEGIN
      RETURN prefix || '_' || encode(
           substring('000102030405060708090a0b0c0d0e0f0g0h0j0k0m0n0p0q0r0s0t0v0w0x0y0z101112131415161718191a1b1c1d1e1f1g1h1j1k1m1n1p1q1r1s1t1v1w1x1y1z202122232425262728292a2b2c2d2e2f2g2h2j2k2m2n2p2q2r2s2t2v2w2x2y2z303132333435363738393a3b3c3d3e3f3g3h3j3k3m3n3p3q3r3s3t3v3w3x3y3z404142434445464748494a4b4c4d4e4f4g4h4j4k4m4n4p4q4r4s4t4v4w4x4y4z505152535455565758595a5b5c5d5e5f5g5h5j5k5m5n5p5q5r5s5t5v5w5x5y5z606162636465666768696a6b6c6d6e6f6g6h6j6k6m6n6p6q6r6s6t6v6w6x6y6z707172737475767778797a7b7c7d7e7f7g7h7j7k7m7n7p7q7r7s7t7v7w7x7y7z808182838485868788898a8b8c8d8e8f8g8h8j8k8m8n8p8q8r8s8t8v8w8x8y8z909192939495969798999a9b9c9d9e9f9g9h9j9k9m9n9p9q9r9s9t9v9w9x9y9za0a1a2a3a4a5a6a7a8a9aaabacadaeafagahajakamanapaqarasatavawaxayazb0b1b2b3b4b5b6b7b8b9babbbcbdbebfbgbhbjbkbmbnbpbqbrbsbtbvbwbxbybzc0c1c2c3c4c5c6c7c8c9cacbcccdcecfcgchcjckcmcncpcqcrcsctcvcwcxcyczd0d1d2d3d4d5d6d7d8d9dadbdcdddedfdgdhdjdkdmdndpdqdrdsdtdvdwdxdydze0e1e2e3e4e5e6e7e8e9eaebecedeeefegehejekemenepeqeresetevewexeyezf0f1f2f3f4f5f6f7f8f9fafbfcfdfefffgfhfjfkfmfnfpfqfrfsftfvfwfxfyfzg0g1g2g3g4g5g6g7g8g9gagbgcgdgegfggghgjgkgmgngpgqgrgsgtgvgwgxgygzh0h1h2h3h4h5h6h7h8h9hahbhchdhehfhghhhjhkhmhnhphqhrhshthvhwhxhyhzj0j1j2j3j4j5j6j7j8j9jajbjcjdjejfjgjhjjjkjmjnjpjqjrjsjtjvjwjxjyjzk0k1k2k3k4k5k6k7k8k9kakbkckdkekfkgkhkjkkkmknkpkqkrksktkvkwkxkykzm0m1m2m3m4m5m6m7m8m9mambmcmdmemfmgmhmjmkmmmnmpmqmrmsmtmvmwmxmymzn0n1n2n3n4n5n6n7n8n9nanbncndnenfngnhnjnknmnnnpnqnrnsntnvnwnxnynzp0p1p2p3p4p5p6p7p8p9papbpcpdpepfpgphpjpkpmpnpppqprpsptpvpwpxpypzq0q1q2q3q4q5q6q7q8q9qaqbqcqdqeqfqgqhqjqkqmqnqpqqqrqsqtqvqwqxqyqzr0r1r2r3r4r5r6r7r8r9rarbrcrdrerfrgrhrjrkrmrnrprqrrrsrtrvrwrxryrzs0s1s2s3s4s5s6s7s8s9sasbscsdsesfsgshsjsksmsnspsqsrssstsvswsxsyszt0t1t2t3t4t5t6t7t8t9tatbtctdtetftgthtjtktmtntptqtrtstttvtwtxtytzv0v1v2v3v4v5v6v7v8v9vavbvcvdvevfvgvhvjvkvmvnvpvqvrvsvtvvvwvxvyvzw0w1w2w3w4w5w6w7w8w9wawbwcwdwewfwgwhwjwkwmwnwpwqwrwswtwvwwwxwywzx0x1x2x3x4x5x6x7x8x9xaxbxcxdxexfxgxhxjxkxmxnxpxqxrxsxtxvxwxxxyxzy0y1y2y3y4y5y6y7y8y9yaybycydyeyfygyhyjykymynypyqyrysytyvywyxyyyzz0z1z2z3z4z5z6z7z8z9zazbzczdzezfzgzhzjzkzmznzpzqzrzsztzvzwzxzyzz'::bytea FROM (t >> 39 & 2046)::integer + 1 FOR 2)
        || substring('000102030405060708090a0b0c0d0e0f0g0h0j0k0m0n0p0q0r0s0t0v0w0x0y0z101112131415161718191a1b1c1d1e1f1g1h1j1k1m1n1p1q1r1s1t1v1w1x1y1z202122232425262728292a2b2c2d2e2f2g2h2j2k2m2n2p2q2r2s2t2v2w2x2y2z303132333435363738393a3b3c3d3e3f3g3h3j3k3m3n3p3q3r3s3t3v3w3x3y3z404142434445464748494a4b4c4d4e4f4g4h4j4k4m4n4p4q4r4s4t4v4w4x4y4z505152535455565758595a5b5c5d5e5f5g5h5j5k5m5n5p5q5r5s5t5v5w5x5y5z606162636465666768696a6b6c6d6e6f6g6h6j6k6m6n6p6q6r6s6t6v6w6x6y6z707172737475767778797a7b7c7d7e7f7g7h7j7k7m7n7p7q7r7s7t7v7w7x7y7z808182838485868788898a8b8c8d8e8f8g8h8j8k8m8n8p8q8r8s8t8v8w8x8y8z909192939495969798999a9b9c9d9e9f9g9h9j9k9m9n9p9q9r9s9t9v9w9x9y9za0a1a2a3a4a5a6a7a8a9aaabacadaeafagahajakamanapaqarasatavawaxayazb0b1b2b3b4b5b6b7b8b9babbbcbdbebfbgbhbjbkbmbnbpbqbrbsbtbvbwbxbybzc0c1c2c3c4c5c6c7c8c9cacbcccdcecfcgchcjckcmcncpcqcrcsctcvcwcxcyczd0d1d2d3d4d5d6d7d8d9dadbdcdddedfdgdhdjdkdmdndpdqdrdsdtdvdwdxdydze0e1e2e3e4e5e6e7e8e9eaebecedeeefegehejekemenepeqeresetevewexeyezf0f1f2f3f4f5f6f7f8f9fafbfcfdfefffgfhfjfkfmfnfpfqfrfsftfvfwfxfyfzg0g1g2g3g4g5g6g7g8g9gagbgcgdgegfggghgjgkgmgngpgqgrgsgtgvgwgxgygzh0h1h2h3h4h5h6h7h8h9hahbhchdhehfhghhhjhkhmhnhphqhrhshthvhwhxhyhzj0j1j2j3j4j5j6j7j8j9jajbjcjdjejfjgjhjjjkjmjnjpjqjrjsjtjvjwjxjyjzk0k1k2k3k4k5k6k7k8k9kakbkckdkekfkgkhkjkkkmknkpkqkrksktkvkwkxkykzm0m1m2m3m4m5m6m7m8m9mambmcmdmemfmgmhmjmkmmmnmpmqmrmsmtmvmwmxmymzn0n1n2n3n4n5n6n7n8n9nanbncndnenfngnhnjnknmnnnpnqnrnsntnvnwnxnynzp0p1p2p3p4p5p6p7p8p9papbpcpdpepfpgphpjpkpmpnpppqprpsptpvpwpxpypzq0q1q2q3q4q5q6q7q8q9qaqbqcqdqeqfqgqhqjqkqmqnqpqqqrqsqtqvqwqxqyqzr0r1r2r3r4r5r6r7r8r9rarbrcrdrerfrgrhrjrkrmrnrprqrrrsrtrvrwrxryrzs0s1s2s3s4s5s6s7s8s9sasbscsdsesfsgshsjsksmsnspsqsrssstsvswsxsyszt0t1t2t3t4t5t6t7t8t9tatbtctdtetftgthtjtktmtntptqtrtstttvtwtxtytzv0v1v2v3v4v5v6v7v8v9vavbvcvdvevfvgvhvjvkvmvnvpvqvrvsvtvvvwvxvyvzw0w1w2w3w4w5w6w7w8w9wawbwcwdwewfwgwhwjwkwmwnwpwqwrwswtwvwwwxwywzx0x1x2x3x4x5x6x7x8x9xaxbxcxdxexfxgxhxjxkxmxnxpxqxrxsxtxvxwxxxyxzy0y1y2y3y4y5y6y7y8y9yaybycydyeyfygyhyjykymynypyqyrysytyvywyxyyyzz0z1z2z3z4z5z6z7z8z9zazbzczdzezfzgzhzjzkzmznzpzqzrzsztzvzwzxzyzz'::bytea FROM (t >> 29 & 2046)::integer + 1 FOR 2)
        || substring('000102030405060708090a0b0c0d0e0f0g0h0j0k0m0n0p0q0r0s0t0v0w0x0y0z101112131415161718191a1b1c1d1e1f1g1h1j1k1m1n1p1q1r1s1t1v1w1x1y1z202122232425262728292a2b2c2d2e2f2g2h2j2k2m2n2p2q2r2s2t2v2w2x2y2z303132333435363738393a3b3c3d3e3f3g3h3j3k3m3n3p3q3r3s3t3v3w3x3y3z404142434445464748494a4b4c4d4e4f4g4h4j4k4m4n4p4q4r4s4t4v4w4x4y4z505152535455565758595a5b5c5d5e5f5g5h5j5k5m5n5p5q5r5s5t5v5w5x5y5z606162636465666768696a6b6c6d6e6f6g6h6j6k6m6n6p6q6r6s6t6v6w6x6y6z707172737475767778797a7b7c7d7e7f7g7h7j7k7m7n7p7q7r7s7t7v7w7x7y7z808182838485868788898a8b8c8d8e8f8g8h8j8k8m8n8p8q8r8s8t8v8w8x8y8z909192939495969798999a9b9c9d9e9f9g9h9j9k9m9n9p9q9r9s9t9v9w9x9y9za0a1a2a3a4a5a6a7a8a9aaabacadaeafagahajakamanapaqarasatavawaxayazb0b1b2b3b4b5b6b7b8b9babbbcbdbebfbgbhbjbkbmbnbpbqbrbsbtbvbwbxbybzc0c1c2c3c4c5c6c7c8c9cacbcccdcecfcgchcjckcmcncpcqcrcsctcvcwcxcyczd0d1d2d3d4d5d6d7d8d9dadbdcdddedfdgdhdjdkdmdndpdqdrdsdtdvdwdxdydze0e1e2e3e4e5e6e7e8e9eaebecedeeefegehejekemenepeqeresetevewexeyezf0f1f2f3f4f5f6f7f8f9fafbfcfdfefffgfhfjfkfmfnfpfqfrfsftfvfwfxfyfzg0g1g2g3g4g5g6g7g8g9gagbgcgdgegfggghgjgkgmgngpgqgrgsgtgvgwgxgygzh0h1h2h3h4h5h6h7h8h9hahbhchdhehfhghhhjhkhmhnhphqhrhshthvhwhxhyhzj0j1j2j3j4j5j6j7j8j9jajbjcjdjejfjgjhjjjkjmjnjpjqjrjsjtjvjwjxjyjzk0k1k2k3k4k5k6k7k8k9kakbkckdkekfkgkhkjkkkmknkpkqkrksktkvkwkxkykzm0m1m2m3m4m5m6m7m8m9mambmcmdmemfmgmhmjmkmmmnmpmqmrmsmtmvmwmxmymzn0n1n2n3n4n5n6n7n8n9nanbncndnenfngnhnjnknmnnnpnqnrnsntnvnwnxnynzp0p1p2p3p4p5p6p7p8p9papbpcpdpepfpgphpjpkpmpnpppqprpsptpvpwpxpypzq0q1q2q3q4q5q6q7q8q9qaqbqcqdqeqfqgqhqjqkqmqnqpqqqrqsqtqvqwqxqyqzr0r1r2r3r4r5r6r7r8r9rarbrcrdrerfrgrhrjrkrmrnrprqrrrsrtrvrwrxryrzs0s1s2s3s4s5s6s7s8s9sasbscsdsesfsgshsjsksmsnspsqsrssstsvswsxsyszt0t1t2t3t4t5t6t7t8t9tatbtctdtetftgthtjtktmtntptqtrtstttvtwtxtytzv0v1v2v3v4v5v6v7v8v9vavbvcvdvevfvgvhvjvkvmvnvpvqvrvsvtvvvwvxvyvzw0w1w2w3w4w5w6w7w8w9wawbwcwdwewfwgwhwjwkwmwnwpwqwrwswtwvwwwxwywzx0x1x2x3x4x5x6x7x8x9xaxbxcxdxexfxgxhxjxkxmxnxpxqxrxsxtxvxwxxxyxzy0y1y2y3y4y5y6y7y8y9yaybycydyeyfygyhyjykymynypyqyrysytyvywyxyyyzz0z1z2z3z4z5z6z7z8z9zazbzczdzezfzgzhzjzkzmznzpzqzrzsztzvzwzxzyzz'::bytea FROM (t >> 19 & 2046)::integer + 1 FOR 2)
        || substring('000102030405060708090a0b0c0d0e0f0g0h0j0k0m0n0p0q0r0s0t0v0w0x0y0z101112131415161718191a1b1c1d1e1f1g1h1j1k1m1n1p1q1r1s1t1v1w1x1y1z202122232425262728292a2b2c2d2e2f2g2h2j2k2m2n2p2q2r2s2t2v2w2x2y2z303132333435363738393a3b3c3d3e3f3g3h3j3k3m3n3p3q3r3s3t3v3w3x3y3z404142434445464748494a4b4c4d4e4f4g4h4j4k4m4n4p4q4r4s4t4v4w4x4y4z505152535455565758595a5b5c5d5e5f5g5h5j5k5m5n5p5q5r5s5t5v5w5x5y5z606162636465666768696a6b6c6d6e6f6g6h6j6k6m6n6p6q6r6s6t6v6w6x6y6z707172737475767778797a7b7c7d7e7f7g7h7j7k7m7n7p7q7r7s7t7v7w7x7y7z808182838485868788898a8b8c8d8e8f8g8h8j8k8m8n8p8q8r8s8t8v8w8x8y8z909192939495969798999a9b9c9d9e9f9g9h9j9k9m9n9p9q9r9s9t9v9w9x9y9za0a1a2a3a4a5a6a7a8a9aaabacadaeafagahajakamanapaqarasatavawaxayazb0b1b2b3b4b5b6b7b8b9babbbcbdbebfbgbhbjbkbmbnbpbqbrbsbtbvbwbxbybzc0c1c2c3c4c5c6c7c8c9cacbcccdcecfcgchcjckcmcncpcqcrcsctcvcwcxcyczd0d1d2d3d4d5d6d7d8d9dadbdcdddedfdgdhdjdkdmdndpdqdrdsdtdvdwdxdydze0e1e2e3e4e5e6e7e8e9eaebecedeeefegehejekemenepeqeresetevewexeyezf0f1f2f3f4f5f6f7f8f9fafbfcfdfefffgfhfjfkfmfnfpfqfrfsftfvfwfxfyfzg0g1g2g3g4g5g6g7g8g9gagbgcgdgegfggghgjgkgmgngpgqgrgsgtgvgwgxgygzh0h1h2h3h4h5h6h7h8h9hahbhchdhehfhghhhjhkhmhnhphqhrhshthvhwhxhyhzj0j1j2j3j4j5j6j7j8j9jajbjcjdjejfjgjhjjjkjmjnjpjqjrjsjtjvjwjxjyjzk0k1k2k3k4k5k6k7k8k9kakbkckdkekfkgkhkjkkkmknkpkqkrksktkvkwkxkykzm0m1m2m3m4m5m6m7m8m9mambmcmdmemfmgmhmjmkmmmnmpmqmrmsmtmvmwmxmymzn0n1n2n3n4n5n6n7n8n9nanbncndnenfngnhnjnknmnnnpnqnrnsntnvnwnxnynzp0p1p2p3p4p5p6p7p8p9papbpcpdpepfpgphpjpkpmpnpppqprpsptpvpwpxpypzq0q1q2q3q4q5q6q7q8q9qaqbqcqdqeqfqgqhqjqkqmqnqpqqqrqsqtqvqwqxqyqzr0r1r2r3r4r5r6r7r8r9rarbrcrdrerfrgrhrjrkrmrnrprqrrrsrtrvrwrxryrzs0s1s2s3s4s5s6s7s8s9sasbscsdsesfsgshsjsksmsnspsqsrssstsvswsxsyszt0t1t2t3t4t5t6t7t8t9tatbtctdtetftgthtjtktmtntptqtrtstttvtwtxtytzv0v1v2v3v4v5v6v7v8v9vavbvcvdvevfvgvhvjvkvmvnvpvqvrvsvtvvvwvxvyvzw0w1w2w3w4w5w6w7w8w9wawbwcwdwewfwgwhwjwkwmwnwpwqwrwswtwvwwwxwywzx0x1x2x3x4x5x6x7x8x9xaxbxcxdxexfxgxhxjxkxmxnxpxqxrxsxtxvxwxxxyxzy0y1y2y3y4y5y6y7y8y9yaybycydyeyfygyhyjykymynypyqyrysytyvywyxyyyzz0z1z2z3z4z5z6z7z8z9zazbzczdzezfzgzhzjzkzmznzpzqzrzsztzvzwzxzyzz'::bytea FROM (t >> 9 & 2046)::integer + 1 FOR 2)
        || substring('000102030405060708090a0b0c0d0e0f0g0h0j0k0m0n0p0q0r0s0t0v0w0x0y0z101112131415161718191a1b1c1d1e1f1g1h1j1k1m1n1p1q1r1s1t1v1w1x1y1z202122232425262728292a2b2c2d2e2f2g2h2j2k2m2n2p2q2r2s2t2v2w2x2y2z303132333435363738393a3b3c3d3e3f3g3h3j3k3m3n3p3q3r3s3t3v3w3x3y3z404142434445464748494a4b4c4d4e4f4g4h4j4k4m4n4p4q4r4s4t4v4w4x4y4z505152535455565758595a5b5c5d5e5f5g5h5j5k5m5n5p5q5r5s5t5v5w5x5y5z606162636465666768696a6b6c6d6e6f6g6h6j6k6m6n6p6q6r6s6t6v6w6x6y6z707172737475767778797a7b7c7d7e7f7g7h7j7k7m7n7p7q7r7s7t7v7w7x7y7z808182838485868788898a8b8c8d8e8f8g8h8j8k8m8n8p8q8r8s8t8v8w8x8y8z909192939495969798999a9b9c9d9e9f9g9h9j9k9m9n9p9q9r9s9t9v9w9x9y9za0a1a2a3a4a5a6a7a8a9aaabacadaeafagahajakamanapaqarasatavawaxayazb0b1b2b3b4b5b6b7b8b9babbbcbdbebfbgbhbjbkbmbnbpbqbrbsbtbvbwbxbybzc0c1c2c3c4c5c6c7c8c9cacbcccdcecfcgchcjckcmcncpcqcrcsctcvcwcxcyczd0d1d2d3d4d5d6d7d8d9dadbdcdddedfdgdhdjdkdmdndpdqdrdsdtdvdwdxdydze0e1e2e3e4e5e6e7e8e9eaebecedeeefegehejekemenepeqeresetevewexeyezf0f1f2f3f4f5f6f7f8f9fafbfcfdfefffgfhfjfkfmfnfpfqfrfsftfvfwfxfyfzg0g1g2g3g4g5g6g7g8g9gagbgcgdgegfggghgjgkgmgngpgqgrgsgtgvgwgxgygzh0h1h2h3h4h5h6h7h8h9hahbhchdhehfhghhhjhkhmhnhphqhrhshthvhwhxhyhzj0j1j2j3j4j5j6j7j8j9jajbjcjdjejfjgjhjjjkjmjnjpjqjrjsjtjvjwjxjyjzk0k1k2k3k4k5k6k7k8k9kakbkckdkekfkgkhkjkkkmknkpkqkrksktkvkwkxkykzm0m1m2m3m4m5m6m7m8m9mambmcmdmemfmgmhmjmkmmmnmpmqmrmsmtmvmwmxmymzn0n1n2n3n4n5n6n7n8n9nanbncndnenfngnhnjnknmnnnpnqnrnsntnvnwnxnynzp0p1p2p3p4p5p6p7p8p9papbpcpdpepfpgphpjpkpmpnpppqprpsptpvpwpxpypzq0q1q2q3q4q5q6q7q8q9qaqbqcqdqeqfqgqhqjqkqmqnqpqqqrqsqtqvqwqxqyqzr0r1r2r3r4r5r6r7r8r9rarbrcrdrerfrgrhrjrkrmrnrprqrrrsrtrvrwrxryrzs0s1s2s3s4s5s6s7s8s9sasbscsdsesfsgshsjsksmsnspsqsrssstsvswsxsyszt0t1t2t3t4t5t6t7t8t9tatbtctdtetftgthtjtktmtntptqtrtstttvtwtxtytzv0v1v2v3v4v5v6v7v8v9vavbvcvdvevfvgvhvjvkvmvnvpvqvrvsvtvvvwvxvyvzw0w1w2w3w4w5w6w7w8w9wawbwcwdwewfwgwhwjwkwmwnwpwqwrwswtwvwwwxwywzx0x1x2x3x4x5x6x7x8x9xaxbxcxdxexfxgxhxjxkxmxnxpxqxrxsxtxvxwxxxyxzy0y1y2y3y4y5y6y7y8y9yaybycydyeyfygyhyjykymynypyqyrysytyvywyxyyyzz0z1z2z3z4z5z6z7z8z9zazbzczdzezfzgzhzjzkzmznzpzqzrzsztzvzwzxzyzz'::bytea FROM (t << 1 & 2046)::integer + 1 FOR 2), 'escape')
        || translate(lower(encode(substring(r FROM 1 FOR 6) || substring(r FROM 10 FOR 6), 'base64') COLLATE "C"), 'ilou+/', '012345');
    END $function$;

-- Refuses TRUNCATE, which the feed would not see.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.no_truncate()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RAISE EXCEPTION 'TRUNCATE is not allowed on built-in table "%"', TG_TABLE_NAME
    USING ERRCODE = '42501', HINT = format('DELETE FROM %I removes the rows, and the activity feed shows it.', TG_TABLE_NAME);
END $function$;

-- Addresses as they are stored, one in each element.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.normal_addresses(addresses public.citext[])
 RETURNS public.citext[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT (y.found_address)::public.citext AS found_address FROM unnest((normal_addresses.addresses)::text[]) WITH ORDINALITY x(list, place), LATERAL unnest(kith.split_addresses(x.list)) WITH ORDINALITY y(found_address, part) ORDER BY x.place, y.part);

-- Puts the domain of a company into its normal form.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.normal_company()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NEW.domain IS NOT NULL THEN
    NEW.domain := kith.normal_domain(NEW.domain);
  END IF;
  RETURN NEW;
END $function$;

-- Puts the address of a contact into its normal form.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.normal_contact()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF NEW.email::pg_catalog.text OPERATOR(pg_catalog.~) '^[^!-~]|[^!-~]$|^$' THEN
    NEW.email := kith.trimmed(NEW.email::pg_catalog.text);
  END IF;
  RETURN NEW;
END $function$;

-- A domain as it is stored: in lower case and Unicode, without scheme, www., port, path and final dot; null if nothing is left.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.normal_domain(value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE domain text := lower(kith.trimmed(value));
BEGIN
  IF domain ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' AND domain !~ '(^|\.)(www\.|xn--)' THEN
    RETURN domain;
  END IF;
  IF octet_length(domain) <> char_length(domain) THEN
    -- Characters that IDNA ignores. The joiners have a meaning in some scripts, so they stay.
    domain := regexp_replace(domain, '[\u00ad\u034f\u180b-\u180d\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]', '', 'g');
    domain := lower(normalize(translate(domain, '。．｡', '...'), NFKC));
  END IF;
  -- Schemes as people write them: https://, http:, //, http//.
  domain := regexp_replace(domain, '^([a-z][a-z0-9+.-]*:[/\\]{2,}|https?[/\\]{2,}:?|(https?|wss?|ftps?|mailto):[/\\]?(?![0-9]+([/?#.]|$))|[/\\])+', '');
  domain := regexp_replace(domain, '[/?#\\].*$', '');
  domain := regexp_replace(domain, '^.*@|>$', '', 'g');
  IF domain ~ '^\[.*\]' THEN
    domain := substring(domain FROM '^\[(?:ipv6:)?([^\]]*)\]');
  ELSIF domain !~ '^[0-9a-f.]*:[0-9a-f.]*:[0-9a-f.:]*$' THEN
    domain := regexp_replace(domain, '(:[0-9]*[.]*)*$', '');
  END IF;
  IF domain LIKE '%:%' AND domain NOT LIKE '%/%' AND pg_input_is_valid(domain, 'inet') THEN
    RETURN host(domain::inet);
  END IF;
  domain := regexp_replace(kith.trimmed(domain), '^(\.*www\.+)+$', '');
  domain := btrim(lower(kith.unicode_domain(domain)), '.');
  RETURN kith.trimmed(regexp_replace(domain, '^(www\.+)+(?=[^.]+\.)', ''));
END $function$;

-- Notes which tables are children of which, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.note_children()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL AND s.children IS NULL) THEN
    UPDATE kith.seal AS s SET children = kith.children() WHERE s.xid = pg_current_xact_id_if_assigned();
  END IF;
END $function$;

-- Notes DDL.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.note_ddl()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  IF TG_EVENT = 'sql_drop' THEN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
                WHERE d.object_type = 'trigger' AND d.address_names[3] NOT IN ('!kith_capture', '!kith_capture_all', '!kith_moves', 'kith_truncate', 'kith_statement', 'kith_row')) THEN
      PERFORM kith.note_gap(TG_TAG);
    END IF;
  -- A trigger of Kith's makes and drops the indexes of custom fields, and does so in an undo too.
  ELSIF TG_TAG <> 'DROP TRIGGER' AND NOT (TG_TAG IN ('CREATE INDEX', 'DROP INDEX') AND pg_trigger_depth() > 0) AND NOT kith_guard.creates_log_triggers(TG_TAG) THEN
    PERFORM kith.note_gap(TG_TAG);
  END IF;
END $function$;

-- Notes which entry of the feed is about the last change of a row.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.note_entry(relation oid, image jsonb, entry text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE shape kith.shape;
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = coalesce(pg_partition_root(note_entry.relation), note_entry.relation) AND s.is_current;
  IF FOUND THEN
    UPDATE kith.change AS c SET activity = note_entry.entry
     WHERE c.seq = (SELECT x.seq FROM kith.change x WHERE x.xid = pg_current_xact_id() AND x.relation = shape.relation AND x.key = kith.key_of(note_entry.image, shape.key, shape.doubtful) AND x.activity IS NULL
                     ORDER BY x.seq DESC LIMIT 1);
  END IF;
END $function$;

-- Notes that the run did what cannot be undone.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.note_gap(what text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE who record;
BEGIN
  SELECT c.actor, c.provenance INTO who FROM kith.current_context() c;
  IF who.provenance ? 'run_id' THEN
    INSERT INTO kith.gap AS g (run, what, request) VALUES (kith.note_run(who.actor, who.provenance), note_gap.what, coalesce(who.provenance ->> 'request_id', '')) ON CONFLICT DO NOTHING;
  END IF;
END $function$;

-- Makes updates of the changes of rows that a statement has moved to other partitions.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.note_moves()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
DECLARE
  root constant oid := coalesce(pg_partition_root(TG_RELID), TG_RELID);
  depth constant text := pg_trigger_depth();
  shape kith.shape; styles text[]; old_rows refcursor; new_rows refcursor; key_before text; key_after text; image_before jsonb; image_after jsonb;
  gone kith.change; came bigint; first bigint; since bigint; own name[];
BEGIN
  SELECT s.* INTO shape FROM kith.shape s WHERE s.relation = root AND s.is_current;
  IF shape.is_styled OR shape.is_inexact THEN
    styles := kith.set_styles('{"ISO, MDY",postgres,1,hex,C,off}');
  END IF;
  -- Both tables have the rows in one order. A join would have the plan of the first statement, which may have had one row.
  OPEN old_rows NO SCROLL FOR SELECT kith.key_of(x.image, shape.key, shape.doubtful), x.image FROM (SELECT to_jsonb(k.*) - shape.generated::text[] AS image FROM kith_old k OFFSET 0) x;
  OPEN new_rows NO SCROLL FOR SELECT kith.key_of(x.image, shape.key, shape.doubtful), x.image FROM (SELECT to_jsonb(k.*) - shape.generated::text[] AS image FROM kith_new k OFFSET 0) x;
  LOOP
    FETCH old_rows INTO key_before, image_before;
    EXIT WHEN NOT FOUND;
    FETCH new_rows INTO key_after, image_after;
    CONTINUE WHEN key_before = key_after;
    -- By the index of keys, not by that of deleted rows.
    SELECT x.* INTO gone FROM (
      SELECT c.* FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.key = key_before AND c.op = 'D' AND coalesce(c.command, '') <> '' AND c.image = image_before OFFSET 0) x
     ORDER BY x.seq DESC LIMIT 1;
    CONTINUE WHEN NOT FOUND;
    came := (SELECT min(x.seq) FROM (
      SELECT c.seq FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.key = key_after AND c.op = 'I' AND c.seq > gone.seq AND c.image = image_after
         AND split_part(c.command, ' ', 1) <> split_part(gone.command, ' ', 1) OFFSET 0) x);
    CONTINUE WHEN came IS NULL;
    PERFORM kith.join_move(shape, gone.seq, came);
    first := least(first, gone.seq);
  END LOOP;
  CLOSE old_rows;
  CLOSE new_rows;
  -- Not by the index of all numbers, in which the first one may be far off.
  since := (SELECT min(x.seq) FROM (SELECT c.seq FROM kith.change c
                                     WHERE c.xid = pg_current_xact_id_if_assigned() AND c.relation = root AND c.op = 'D' AND c.command IS NOT NULL AND split_part(c.command, ' ', 3) = depth OFFSET 0) x);
  IF since IS NOT NULL THEN
    own := ARRAY(SELECT k.name FROM unnest(shape.key) k(name)
                  WHERE k.name NOT IN (SELECT a.attname FROM pg_partition_tree(root) t JOIN pg_partitioned_table p ON p.partrelid = t.relid
                                         JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::smallint[])));
    PERFORM kith.join_move(shape, x.seq_before, x.seq)
       FROM (SELECT c.seq, c.op, c.command, c.image, lag(c.seq) OVER w AS seq_before, lag(c.op) OVER w AS op_before, lag(c.command) OVER w AS command_before, lag(c.image) OVER w AS image_before
               FROM kith.change c WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.seq >= since AND split_part(c.command, ' ', 3) = depth
             WINDOW w AS (ORDER BY c.seq) OFFSET 0) x
      WHERE x.op = 'I' AND x.op_before = 'D' AND split_part(x.command, ' ', 1) <> split_part(x.command_before, ' ', 1) AND split_part(x.command_before, ' ', 2) IN ('', split_part(x.command, ' ', 2))
        AND CASE WHEN own = '{}' THEN x.image - shape.key::text[] = x.image_before - shape.key::text[]
                 ELSE kith.key_of(x.image, own, '{}') = kith.key_of(x.image_before, own, '{}') END;
    UPDATE kith.change AS c SET command = NULL
     WHERE c.xid = pg_current_xact_id() AND c.relation = root AND c.op = 'D' AND c.command IS NOT NULL AND split_part(c.command, ' ', 3) = depth;
  END IF;
  -- A foreign key of the table's own may have moved others, or changed them, before it was known what it follows.
  IF least(first, since) IS NOT NULL AND shape.actions @> jsonb_build_array(jsonb_build_object('parent', root::bigint)) THEN
    UPDATE kith.change AS c SET via = 'cascade' FROM kith.shape s
     WHERE c.xid = pg_current_xact_id() AND c.seq > least(first, since) AND c.op = 'U' AND c.via <> 'cascade' AND s.id = c.shape
       AND s.actions @> jsonb_build_array(jsonb_build_object('parent', root::bigint)) AND kith.is_cascade(s.actions, 'UPDATE', c.image || c.previous, c.previous);
  END IF;
  IF styles IS NOT NULL THEN
    PERFORM kith.set_styles(styles);
  END IF;
  RETURN NULL;
END $function$;

-- The id of the run that the request belongs to. Creates the run, and refuses one that has ended.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.note_run(actor text, provenance jsonb)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE known record;
BEGIN
  FOR attempt IN 1 .. 2 LOOP
    SELECT r.id, r.status, r.undone_by INTO known FROM kith.run r WHERE r.actor = note_run.actor AND r.run_id = provenance ->> 'run_id';
    EXIT WHEN FOUND;
    -- An automation's run has the id that the automation's own list shows, so that what it caused leads to it.
    INSERT INTO kith.run AS r (id, actor, run_id, agent, reason, caused_by)
    VALUES (CASE WHEN starts_with(note_run.actor, 'automation:') THEN provenance ->> 'run_id' ELSE kith.new_id('run') END, note_run.actor, provenance ->> 'run_id',
            provenance ->> 'agent', provenance ->> 'reason', provenance ->> 'caused_by') ON CONFLICT DO NOTHING;
  END LOOP;
  IF known.status <> 'open' OR known.undone_by IS NOT NULL THEN
    RAISE EXCEPTION 'run "%" has ended', provenance ->> 'run_id' USING ERRCODE = 'KL002', HINT = 'Send another X-Run-Id.';
  END IF;
  RETURN known.id;
END $function$;

-- Writes down the columns of all tables, or of these, that have changed since the last time.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.note_shapes(relations oid[] DEFAULT NULL::oid[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_shape record; known kith.shape;
BEGIN
  FOR found_shape IN
    SELECT c.oid AS relation, CASE WHEN c.relnamespace = 'public'::regnamespace THEN c.relname ELSE kith.own_subject(c.oid) END AS name,
           (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::smallint[]) WITH ORDINALITY k(number, place)
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts) AS key,
           x.columns, x.generated, x.exact, x.doubtful, x.is_styled, NOT i.indimmediate AS is_deferrable,
           (SELECT jsonb_agg(jsonb_build_object('parent', coalesce(pg_partition_root(f.confrelid), f.confrelid)::bigint, 'on_delete', f.confdeltype, 'on_update', f.confupdtype,
                     'columns', (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number),
                     'target', (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY k(number, place) JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number)) ORDER BY f.oid)
              FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0 AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))) AS actions
      FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
     CROSS JOIN LATERAL (
           SELECT jsonb_object_agg(a.attname, jsonb_build_array(a.attnum, a.atttypid::bigint, a.atttypmod)) FILTER (WHERE a.is_kept) AS columns,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE NOT a.is_kept), '{}') AS generated,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.is_kept AND NOT kith.is_exact_in_json(a.atttypid)), '{}') AS exact,
                  coalesce(array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.is_kept AND kith.base_type(a.atttypid) IN ('jsonb'::regtype, 'float4'::regtype, 'float8'::regtype)
                    AND NOT (kith.base_type(a.atttypid) = 'jsonb'::regtype AND a.attnotnull AND a.attnum <> ALL (i.indkey::smallint[]))), '{}') AS doubtful,
                  coalesce(bool_or(kith.base_type(a.atttypid) IN ('interval'::regtype, 'bytea'::regtype)), false) AS is_styled
             -- A key may have a generated column.
             FROM (SELECT b.*, b.attgenerated = '' OR b.attnum = ANY (i.indkey::smallint[]) AS is_kept FROM pg_attribute b) a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) x
     WHERE kith.is_logged(c.relnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.oid <> 'public.activity'::regclass
       AND (note_shapes.relations IS NULL OR c.oid = ANY (note_shapes.relations))
  LOOP
    SELECT s.* INTO known FROM kith.shape s WHERE s.relation = found_shape.relation AND s.is_current;
    CONTINUE WHEN FOUND AND (known.name, known.key, known.columns, known.generated, known.exact, known.doubtful, known.is_deferrable)
                          = (found_shape.name, found_shape.key, found_shape.columns, found_shape.generated, found_shape.exact, found_shape.doubtful, found_shape.is_deferrable)
                    AND known.actions IS NOT DISTINCT FROM found_shape.actions;
    UPDATE kith.shape s SET is_current = false WHERE s.relation = found_shape.relation AND s.is_current;
    INSERT INTO kith.shape AS s (relation, name, key, columns, generated, exact, doubtful, is_styled, is_deferrable, actions)
    VALUES (found_shape.relation, found_shape.name, found_shape.key, found_shape.columns, found_shape.generated, found_shape.exact, found_shape.doubtful, found_shape.is_styled, found_shape.is_deferrable, found_shape.actions);
  END LOOP;
END $function$;

-- Notes TRUNCATE, and writes to a table without a primary key.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.note_statement()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM kith.refuse_uncounted('TRUNCATE is', 'DELETE counts them.');
    PERFORM kith.note_gap(format('TRUNCATE of %s', kith.own_subject(TG_RELID)));
  ELSE
    PERFORM kith.refuse_uncounted(format('writes to %s, which has no primary key, are', kith.own_subject(TG_RELID)), 'Add a primary key.');
    PERFORM kith.note_gap(format('writes to %s, which has no primary key', kith.own_subject(TG_RELID)));
  END IF;
  RETURN NULL;
END $function$;

-- The changes of this transaction.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.of_transaction()
 RETURNS kith.change[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT coalesce(array_agg(c), '{}') FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()
$function$;

-- Opens a run, or returns the same open one. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.open_run(secret text, actor text, run_id text, agent text, reason text)
 RETURNS TABLE(run jsonb, created boolean)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_run kith.run;
BEGIN
  PERFORM kith.check_secret(secret);
  INSERT INTO kith.run AS r (actor, run_id, agent, reason) VALUES (open_run.actor, open_run.run_id, open_run.agent, open_run.reason)
  ON CONFLICT ON CONSTRAINT run_actor_run_id_key DO NOTHING RETURNING r.* INTO found_run;
  created := found_run.id IS NOT NULL;
  IF NOT created THEN
    SELECT r.* INTO found_run FROM kith.run r WHERE (r.actor, r.run_id) = (open_run.actor, open_run.run_id);
    IF found_run.status <> 'open' OR found_run.undone_by IS NOT NULL THEN
      RAISE EXCEPTION 'run "%" has ended', open_run.run_id USING ERRCODE = 'KL002', HINT = 'Choose another run_id.';
    END IF;
  END IF;
  run := kith.shown_run(found_run);
  RETURN NEXT;
END $function$;

-- Ensures that no two pipelines have the same position.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.order_pipelines()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE before text[] := '{}'; behind text[] := '{}'; moved record; crowded text[]; places integer[];
BEGIN
  IF pg_trigger_depth() > 1 OR kith.is_undo() THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    before := ARRAY(SELECT n.id FROM kith_new n);
  ELSE
    before := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position < o.position OR o.deleted_at IS NOT NULL);
    behind := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position > o.position AND n.id <> ALL (before));
    SELECT n.id, o.position AS was, n.position AS place INTO moved FROM kith_new n JOIN kith_old o USING (id)
     WHERE n.id = ANY (behind) AND n.deleted_at IS NULL AND (SELECT count(*) FROM kith_new) = 1
       AND EXISTS (SELECT FROM public.pipelines p WHERE p.position = n.position AND p.deleted_at IS NULL AND p.id <> n.id);
    IF FOUND THEN
      UPDATE public.pipelines p SET position = p.position - 1
       WHERE p.deleted_at IS NULL AND p.id <> moved.id AND p.position > moved.was AND p.position <= moved.place;
      RETURN NULL;
    END IF;
  END IF;
  SELECT array_agg(x.id), array_agg(x.place) INTO crowded, places
    FROM (SELECT y.id, y.position, y.nth + max(y.position - y.nth) OVER (ORDER BY y.nth) AS place
            FROM (SELECT p.id, p.position, (row_number() OVER (ORDER BY p.position,
                           CASE WHEN p.id = ANY (before) THEN -1 WHEN p.id = ANY (behind) THEN 1 ELSE 0 END, p.created_at, p.id))::integer AS nth
                    FROM public.pipelines p WHERE p.deleted_at IS NULL) y) x
   WHERE x.position <> x.place;
  IF crowded IS NOT NULL THEN
    UPDATE public.pipelines p SET position = x.place FROM unnest(crowded, places) x(id, place) WHERE p.id = x.id;
  END IF;
  RETURN NULL;
END $function$;

-- Ensures that no two stages of a pipeline have the same position.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.order_stages()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE before text[] := '{}'; behind text[] := '{}'; moved record; crowded text[]; places integer[];
BEGIN
  IF pg_trigger_depth() > 1 OR kith.is_undo() THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    before := ARRAY(SELECT n.id FROM kith_new n);
  ELSE
    before := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position < o.position OR n.pipeline <> o.pipeline OR o.deleted_at IS NOT NULL);
    behind := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position > o.position AND n.id <> ALL (before));
    SELECT n.id, n.pipeline, o.position AS was, n.position AS place INTO moved FROM kith_new n JOIN kith_old o USING (id)
     WHERE n.id = ANY (behind) AND n.deleted_at IS NULL AND (SELECT count(*) FROM kith_new) = 1
       AND EXISTS (SELECT FROM public.pipeline_stages s WHERE s.pipeline = n.pipeline AND s.position = n.position AND s.deleted_at IS NULL AND s.id <> n.id);
    IF FOUND THEN
      UPDATE public.pipeline_stages s SET position = s.position - 1
       WHERE s.pipeline = moved.pipeline AND s.deleted_at IS NULL AND s.id <> moved.id AND s.position > moved.was AND s.position <= moved.place;
      RETURN NULL;
    END IF;
  END IF;
  SELECT array_agg(x.id), array_agg(x.place) INTO crowded, places
    FROM (SELECT y.id, y.position, y.nth + max(y.position - y.nth) OVER (PARTITION BY y.pipeline ORDER BY y.nth) AS place
            FROM (SELECT s.id, s.pipeline, s.position, (row_number() OVER (PARTITION BY s.pipeline ORDER BY s.position,
                           CASE WHEN s.id = ANY (before) THEN -1 WHEN s.id = ANY (behind) THEN 1 ELSE 0 END, s.created_at, s.id))::integer AS nth
                    FROM public.pipeline_stages s WHERE s.deleted_at IS NULL AND s.pipeline IN (SELECT n.pipeline FROM kith_new n)) y) x
   WHERE x.position <> x.place;
  IF crowded IS NOT NULL THEN
    UPDATE public.pipeline_stages s SET position = x.place FROM unnest(crowded, places) x(id, place) WHERE s.id = x.id;
  END IF;
  RETURN NULL;
END $function$;

-- Which of the rows that had these keys have gone since, or have moved to other keys, by other changes than their own. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.others_since(secret text, relation oid, keys text[], since bigint[], own bigint[])
 RETURNS TABLE(place bigint, is_moved boolean)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
DECLARE earliest constant bigint := (SELECT min(s.seq) FROM unnest(since) s(seq)); changes kith.change[];
BEGIN
  PERFORM kith.check_secret(secret);
  IF EXISTS (SELECT FROM kith.change c WHERE c.relation = others_since.relation AND c.was IS NOT NULL AND c.seq > earliest AND c.seq NOT IN (SELECT unnest(own))) THEN
    changes := ARRAY(SELECT c FROM kith.change c WHERE c.relation = others_since.relation AND c.seq > earliest AND c.seq NOT IN (SELECT unnest(own)) AND kith.counts_since(c, earliest)
                      UNION ALL SELECT c FROM kith.change c WHERE c.seq = ANY (own) AND c.relation = others_since.relation);
    RETURN QUERY
      WITH rows AS MATERIALIZED (SELECT r.seq, r.first FROM kith.rows_of(changes) r),
           later AS (SELECT DISTINCT ON (x.place) x.place, x.key, c.key AS key_now, c.op FROM unnest(keys, since) WITH ORDINALITY x(key, since, place)
                       JOIN rows o ON o.seq = x.since JOIN rows l ON l.first = o.first AND l.seq > x.since JOIN unnest(changes) c ON c.seq = l.seq
                      ORDER BY x.place, c.op = 'D' DESC, c.seq DESC)
      SELECT l.place, l.op <> 'D' FROM later l WHERE l.op = 'D' OR l.key_now <> l.key;
  ELSIF NOT EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = others_since.relation) THEN
    RETURN QUERY
      SELECT x.place, false FROM unnest(keys, since) WITH ORDINALITY x(key, since, place)
       WHERE EXISTS (SELECT FROM kith.change c WHERE c.relation = others_since.relation AND c.key = x.key AND c.activity IS NULL AND c.seq > x.since AND c.op <> 'U'
                        AND c.seq NOT IN (SELECT unnest(own)) AND kith.counts_since(c, x.since));
  END IF;
END $function$;

-- What this transaction has changed so far. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.outcome(secret text, most integer, OUT affected jsonb, OUT changes jsonb, OUT truncated boolean)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
DECLARE seqs bigint[]; compared jsonb[]; rows bigint; change jsonb; told jsonb[] := '{}'; bytes bigint := 0;
BEGIN
  PERFORM kith.check_secret(secret);
  IF NOT EXISTS (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned() OFFSET 1) THEN
    SELECT jsonb_build_object(s.name, '{"created": 0, "updated": 0, "deleted": 0, "restored": 0}' || jsonb_build_object(c.verb, 1)),
           jsonb_build_array(jsonb_build_object('table', s.name, 'id', CASE WHEN s.only_key IS NULL THEN kith.shown_key(s.id, c.image) ELSE c.image -> s.only_key END, 'verb', c.verb,
                                                'hard', c.op = 'D', 'changes', CASE WHEN octet_length(c.image::text) + octet_length(coalesce(c.previous, '{}')::text) > 500000
                                                                                    THEN kith.clip_changes(kith.columns_of(c.op, c.image, c.previous))
                                                                                    ELSE kith.columns_of(c.op, c.image, c.previous) END, 'via', c.via)), false
      INTO affected, changes, truncated
      FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.xid = pg_current_xact_id_if_assigned() AND (c.op <> 'U' OR c.exact IS NULL);
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  WITH noted AS MATERIALIZED (
         SELECT c.seq, c.shape, c.verb, count(*) OVER (PARTITION BY c.relation, c.key) > 1 OR bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) OR c.op = 'U' AND c.exact IS NOT NULL AS is_compared
           FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()),
       each_row AS MATERIALIZED (
         SELECT n.seq, n.shape, n.verb, NULL::jsonb AS change FROM noted n WHERE NOT n.is_compared
          UNION ALL
         SELECT n.seq, n.shape, n.verb,
                CASE WHEN row_number() OVER (ORDER BY n.seq) <= outcome.most THEN
                  jsonb_build_object('table', s.name, 'id', kith.shown_key(n.shape, coalesce(n.after, n.before)), 'verb', n.verb, 'hard', n.hard,
                                     'changes', kith.clip_changes(kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after)), 'via', n.via) END
           FROM kith.net(ARRAY(SELECT c FROM kith.change c WHERE c.seq IN (SELECT m.seq FROM noted m WHERE m.is_compared))) n JOIN kith.shape s ON s.id = n.shape)
  SELECT (SELECT coalesce(jsonb_object_agg(x.name, jsonb_build_object('created', x.created, 'updated', x.updated, 'deleted', x.deleted, 'restored', x.restored)), '{}')
            FROM (SELECT s.name, count(*) FILTER (WHERE e.verb = 'created') AS created, count(*) FILTER (WHERE e.verb = 'updated') AS updated,
                         count(*) FILTER (WHERE e.verb = 'deleted') AS deleted, count(*) FILTER (WHERE e.verb = 'restored') AS restored
                    FROM each_row e JOIN kith.shape s ON s.id = e.shape GROUP BY s.name) x),
         (SELECT count(*) FROM each_row), f.seqs, f.changes
    INTO affected, rows, seqs, compared
    FROM (SELECT coalesce(array_agg(x.seq ORDER BY x.seq), '{}') AS seqs, array_agg(x.change ORDER BY x.seq) AS changes FROM (SELECT e.seq, e.change FROM each_row e ORDER BY e.seq LIMIT outcome.most) x) f;
  FOR n IN 1 .. cardinality(seqs) LOOP
    change := compared[n];
    IF change IS NULL THEN
      SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(s.id, c.image), 'verb', c.verb, 'hard', c.op = 'D', 'changes', kith.clip_changes(kith.columns_of(c.op, c.image, c.previous)), 'via', c.via)
        INTO change FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.seq = seqs[n];
    END IF;
    bytes := bytes + octet_length(change::text);
    EXIT WHEN bytes > 4000000;
    told := array_append(told, change);
  END LOOP;
  changes := to_jsonb(told);
  truncated := rows > cardinality(told);
END $function$;

-- The subject of entries about a table of the workspace's own: its name, with its schema if that is not public, and never a built-in table's subject.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.own_subject(relation oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN n.nspname <> 'public' THEN regexp_replace(n.nspname, '^pg_temp_.*', 'pg_temp') || '.'
              WHEN EXISTS (SELECT FROM kith_guard.builtin b WHERE b.subject = c.relname) THEN 'custom:' ELSE '' END || c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = coalesce(pg_partition_root(relation), relation)
$function$;

-- A row without its long values, if it is longer than a million bytes. The rest is at most as long.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.part_of(image jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN pg_column_size(part_of.image) > 4000
               AND CASE WHEN (SELECT sum(pg_column_size(i.value)) FROM jsonb_each(part_of.image) i) > 10000000 THEN true ELSE octet_length(part_of.image::text) > 1000000 END
              THEN (SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}')
                      FROM (SELECT s.key, s.value, sum(s.size) OVER (ORDER BY s.size, s.key) AS total
                              FROM (SELECT i.key, i.value, CASE WHEN pg_column_size(i.value) <= 40000 THEN octet_length(i.value::text) END AS size FROM jsonb_each(part_of.image) i) s
                             WHERE s.size <= 10000) o
                     WHERE o.total <= 1000000)
              ELSE part_of.image END
$function$;

-- A telephone number without separators, and without the zero in brackets after the code of a country.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.phone_digits(phone text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
BEGIN
  IF octet_length(phone) <> char_length(phone) THEN
    phone := translate(normalize(phone, NFKC), '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹‐‑‒–—―−·•', '01234567890123456789---------');
    phone := regexp_replace(phone, '[\u0080-\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff]', '', 'g');
  END IF;
  IF phone ~ '0[ .-]*[])]' THEN
    phone := regexp_replace(phone, '((?:^|[^0-9])(?:\+|00)?[1-9][0-9]{0,2}[ .-]*)[[(] *0[ .-]*[])]', '\1', 'g');
  END IF;
  RETURN translate(phone, E'+-()[] ./_\t\n\r', '');
END $function$;

-- Gives a deal a pipeline and a stage, and adds a stage that the pipeline lacks.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.place_deal()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE found_stage text;
BEGIN
  -- A deleted deal may be in a deleted stage. Undo inserts it as it was.
  IF NEW.deleted_at IS NOT NULL AND NEW.pipeline IS NOT NULL AND NEW.stage IS NOT NULL AND (TG_OP = 'UPDATE' OR kith.is_undo()) THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.stage IS NULL THEN
    RAISE EXCEPTION 'a deal must have a stage' USING ERRCODE = '23502', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
      HINT = 'Leave the stage out to keep it, or for the first one of another pipeline.';
  END IF;
  IF NEW.pipeline IS NULL THEN
    SELECT p.key INTO NEW.pipeline FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL;
  END IF;
  SELECT s.key INTO found_stage FROM public.pipeline_stages s JOIN public.pipelines p ON p.key = s.pipeline
   WHERE s.pipeline = NEW.pipeline AND s.key = NEW.stage AND s.deleted_at IS NULL AND p.deleted_at IS NULL FOR KEY SHARE OF s;
  IF FOUND THEN
    RETURN NEW;
  END IF;
  PERFORM FROM public.pipelines p WHERE p.key = NEW.pipeline AND p.deleted_at IS NULL FOR KEY SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no pipeline "%"', NEW.pipeline
      USING ERRCODE = '23503', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'pipeline', CONSTRAINT = 'deals_pipeline_fkey',
            DETAIL = format('Key (pipeline)=(%s) is not present in table "pipelines".', NEW.pipeline),
            HINT = 'Create the pipeline first, or leave it out for the default one.';
  END IF;
  -- A stage that was deleted since is not added again.
  IF NEW.stage IS NOT NULL AND kith.is_undo() THEN
    RAISE EXCEPTION 'there is no stage "%" in pipeline "%"', NEW.stage, NEW.pipeline
      USING ERRCODE = '23503', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage', CONSTRAINT = 'deals_stage_fkey';
  END IF;
  -- If no stage is given, or on a move to another pipeline only the old one, the deal goes to the first stage. If the statement
  -- names the old stage, kith_place_named has called this function before, with an argument.
  IF NEW.stage IS NULL OR (TG_OP = 'UPDATE' AND TG_NARGS = 0 AND NEW.stage = OLD.stage AND NEW.pipeline IS DISTINCT FROM OLD.pipeline) THEN
    SELECT s.key INTO found_stage FROM public.pipeline_stages s
     WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL ORDER BY s.position, s.created_at, s.id LIMIT 1;
    IF FOUND THEN
      NEW.stage := found_stage;
      RETURN NEW;
    END IF;
    IF NEW.stage IS NULL THEN
      RAISE EXCEPTION 'pipeline "%" has no stages', NEW.pipeline
        USING ERRCODE = 'KP002', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage', HINT = 'Add a stage to the pipeline first.';
    END IF;
  END IF;
  -- A tenant that sets this only has its own writes refused.
  IF current_setting('kith.unknown_stage', true) = 'refuse' THEN
    RAISE EXCEPTION 'pipeline "%" has no stage "%"', NEW.pipeline, NEW.stage
      USING ERRCODE = 'KP005', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
            HINT = coalesce((SELECT 'It has: ' || left(string_agg(s.key, ', ' ORDER BY s.position), 500) || '.' FROM public.pipeline_stages s
                              WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL), 'Add a stage to the pipeline first.');
  END IF;
  IF NEW.stage = '' THEN
    RAISE EXCEPTION 'a deal must have a stage' USING ERRCODE = '23502', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
      HINT = 'Leave the stage out for the first one of the pipeline.';
  END IF;
  -- A missing stage is added to the end. If another transaction is adding the same one, this one waits for it and uses it.
  UPDATE public.pipeline_stages s SET deleted_at = NULL, position = NULL WHERE s.pipeline = NEW.pipeline AND s.key = NEW.stage AND s.deleted_at IS NOT NULL;
  IF NOT FOUND THEN
    INSERT INTO public.pipeline_stages AS s (pipeline, key, label)
    VALUES (NEW.pipeline, NEW.stage, upper(left(NEW.stage, 1)) || replace(substr(NEW.stage, 2), '_', ' '))
    ON CONFLICT (pipeline, key) DO NOTHING;
  END IF;
  RETURN NEW;
END $function$;

-- Puts the deletes of rows after the updates that were logged after them.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.place_deletes(relation oid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  UPDATE kith.change AS d SET seq = DEFAULT
   WHERE d.xid = pg_current_xact_id() AND d.relation = place_deletes.relation AND d.op = 'D'
     AND EXISTS (SELECT FROM kith.change u WHERE u.xid = d.xid AND u.relation = d.relation AND u.key = d.key AND u.op = 'U' AND u.was IS NULL AND u.seq > d.seq
                    AND NOT EXISTS (SELECT FROM kith.change i WHERE i.xid = d.xid AND i.relation = d.relation AND i.key = d.key AND (i.op = 'I' OR i.was IS NOT NULL) AND i.seq > d.seq));
END $function$;

-- Gives a pipeline its position, unsets the previous default, and refuses to delete a pipeline that has deals.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.place_pipeline()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN
    IF OLD.deleted_at IS NULL THEN
      IF OLD.is_default THEN
        RAISE EXCEPTION 'the default pipeline cannot be deleted or unset'
          USING ERRCODE = 'KP001', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'is_default', HINT = 'Make another pipeline the default first.';
      END IF;
      -- From here on no deal can be added.
      PERFORM FROM public.pipelines p WHERE p.id = OLD.id FOR UPDATE;
      PERFORM FROM public.pipeline_stages s WHERE s.pipeline = OLD.key FOR UPDATE;
      IF EXISTS (SELECT FROM public.deals d WHERE d.pipeline = OLD.key AND d.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'deals are still in pipeline "%"', OLD.key
          USING ERRCODE = 'KP003', SCHEMA = 'public', TABLE = 'pipelines', HINT = 'Move them to another pipeline, or delete them, first.';
      END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
    UPDATE public.pipeline_stages s SET deleted_at = NEW.deleted_at WHERE s.pipeline = OLD.key AND s.deleted_at IS NULL;
  END IF;
  IF NEW.position NOT BETWEEN 0 AND 2000000000 AND (TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position) THEN
    RAISE EXCEPTION 'a position is a number from 0 to 2000000000, not %', NEW.position
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'position', CONSTRAINT = 'pipelines_position_check';
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.position := coalesce(NEW.position, 0);
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position OR NEW.key <> OLD.key OR OLD.deleted_at IS NOT NULL THEN
    UPDATE public.pipelines p SET key = p.key || ' (' || p.id || ')' WHERE p.key = NEW.key AND p.deleted_at IS NOT NULL AND p.id <> NEW.id;
    IF NEW.position IS NULL THEN
      NEW.position := (SELECT coalesce(max(p.position) + 1, 0) FROM public.pipelines p WHERE p.deleted_at IS NULL AND p.id <> NEW.id);
    END IF;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.deleted_at IS NOT NULL THEN
    UPDATE public.pipeline_stages s SET deleted_at = NULL WHERE s.pipeline = OLD.key AND s.deleted_at = OLD.deleted_at;
  END IF;
  IF NEW.is_default THEN
    UPDATE public.pipelines p SET is_default = false WHERE p.is_default AND p.deleted_at IS NULL AND p.id <> NEW.id;
  END IF;
  RETURN NEW;
END $function$;

-- Gives a stage its position, and refuses to delete a stage that has deals.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.place_stage()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF TG_OP <> 'DELETE' AND NEW.is_won AND NEW.is_lost THEN
    RAISE EXCEPTION 'a stage is not both won and lost'
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipeline_stages', COLUMN = 'is_lost', CONSTRAINT = 'pipeline_stages_is_lost_check';
  END IF;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN
    IF OLD.deleted_at IS NULL THEN
      PERFORM FROM public.pipeline_stages s WHERE s.id = OLD.id FOR UPDATE;
      IF EXISTS (SELECT FROM public.deals d WHERE d.pipeline = OLD.pipeline AND d.stage = OLD.key AND d.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'deals are still in stage "%" of pipeline "%"', OLD.key, OLD.pipeline
          USING ERRCODE = 'KP004', SCHEMA = 'public', TABLE = 'pipeline_stages', HINT = 'Move them to another stage, or delete them, first.';
      END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
  END IF;
  IF NEW.position NOT BETWEEN 0 AND 2000000000 AND (TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position) THEN
    RAISE EXCEPTION 'a position is a number from 0 to 2000000000, not %', NEW.position
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipeline_stages', COLUMN = 'position', CONSTRAINT = 'pipeline_stages_position_check';
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.position := coalesce(NEW.position, 0);
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position OR NEW.key <> OLD.key OR OLD.deleted_at IS NOT NULL
     -- If only the pipeline was renamed, its stages keep their positions.
     OR NEW.pipeline <> OLD.pipeline AND EXISTS (SELECT FROM public.pipelines p WHERE p.key = OLD.pipeline) THEN
    PERFORM FROM public.pipelines p WHERE p.key = NEW.pipeline FOR NO KEY UPDATE;
    UPDATE public.pipeline_stages s SET key = s.key || ' (' || s.id || ')'
     WHERE s.pipeline = NEW.pipeline AND s.key = NEW.key AND s.deleted_at IS NOT NULL AND s.id <> NEW.id;
    IF NEW.position IS NULL THEN
      NEW.position := (SELECT coalesce(max(s.position) + 1, 0) FROM public.pipeline_stages s
                        WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL AND s.id <> NEW.id);
    END IF;
  END IF;
  RETURN NEW;
END $function$;

-- The rows of a plan that are not left, {"relation key": "delete" or "write"}.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.planned(items kith.undo_item[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  -- A row may take the key of one that is deleted.
  SELECT coalesce(jsonb_object_agg(concat(i.relation, ' ', i.key_text), CASE i.act WHEN 'delete' THEN 'delete' ELSE 'write' END ORDER BY i.act = 'delete'), '{}') FROM unnest(items) i WHERE i.state <> 'left'
$function$;

-- Numbers changes as published. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.publish(secret text, seqs bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE last bigint;
BEGIN
  PERFORM kith.check_secret(publish.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  UPDATE kith.change c SET position = last + s.number FROM unnest(publish.seqs) WITH ORDINALITY s(seq, number) WHERE c.seq = s.seq AND c.position IS NULL;
  UPDATE kith.published p SET position = last + cardinality(publish.seqs);
END $function$;

-- A label of a domain in ASCII, without xn--: RFC 3492, section 6.3.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.punycode(label text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  points integer[] := ARRAY(SELECT ascii(c) FROM string_to_table(label, NULL) WITH ORDINALITY x(c, place) ORDER BY place);
  basic integer := (SELECT count(*) FROM unnest(points) p WHERE p < 128);
  result text := coalesce((SELECT string_agg(chr(p), '' ORDER BY place) FROM unnest(points) WITH ORDINALITY x(p, place) WHERE p < 128), '');
  handled integer := basic; n bigint := 128; delta bigint := 0; bias integer := 72; least_point bigint; point integer; q bigint; t integer;
BEGIN
  IF basic > 0 THEN
    result := result || '-';
  END IF;
  WHILE handled < cardinality(points) LOOP
    least_point := (SELECT min(p) FROM unnest(points) p WHERE p >= n);
    delta := delta + (least_point - n) * (handled + 1);
    n := least_point;
    FOREACH point IN ARRAY points LOOP
      IF point < n THEN
        delta := delta + 1;
      ELSIF point = n THEN
        q := delta;
        FOR k IN 36 .. 100000 BY 36 LOOP
          t := least(greatest(k - bias, 1), 26);
          EXIT WHEN q < t;
          result := result || substr('abcdefghijklmnopqrstuvwxyz0123456789', (t + (q - t) % (36 - t))::integer + 1, 1);
          q := (q - t) / (36 - t);
        END LOOP;
        result := result || substr('abcdefghijklmnopqrstuvwxyz0123456789', q::integer + 1, 1);
        bias := kith.punycode_bias(delta, handled + 1, handled = basic);
        delta := 0;
        handled := handled + 1;
      END IF;
    END LOOP;
    delta := delta + 1;
    n := n + 1;
  END LOOP;
  RETURN result;
END $function$;

-- RFC 3492, section 6.1.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.punycode_bias(delta bigint, points integer, is_first boolean)
 RETURNS integer
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE k integer := 0;
BEGIN
  delta := CASE WHEN is_first THEN delta / 700 ELSE delta / 2 END;
  delta := delta + delta / points;
  WHILE delta > 455 LOOP
    delta := delta / 35;
    k := k + 36;
  END LOOP;
  RETURN k + 36 * delta / (delta + 38);
END $function$;

-- Writes the changes of a built-in table to the change log and to the feed.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.record_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
#variable_conflict use_variable
DECLARE
  pinned constant text[] := '{"ISO, MDY",postgres,1,hex,C,off}';
  relid oid := TG_RELID;
  signed text := current_setting('kith.context', true);
  payload text := substr(signed, 65);
  entry text := split_part(payload, E'\n', 3);
  shape_id integer; only_key text; actions jsonb; is_plain boolean; is_deferrable boolean; key_columns name[]; generated name[]; inexact name[]; doubtful name[];
  actor text; custom jsonb; is_limited boolean := false; run text;
  before jsonb; image jsonb; previous jsonb; changes jsonb; exact jsonb; named name[]; key text; was text; command text;
  verb text := 'created'; via text := 'request'; repr text; said jsonb;
  styles text[]; is_of_several boolean; is_first boolean; statement kith.statement; starts bigint[]; touched bigint; logged bigint := 0;
BEGIN
  IF entry <> '' THEN
    IF TG_OP <> 'INSERT' OR pg_trigger_depth() > 1 THEN
      entry := '';
    END IF;
  END IF;

  IF TG_OP = 'DELETE' THEN
    is_of_several := EXISTS (SELECT FROM kith_old OFFSET 1);
  ELSIF entry <> '' THEN
    is_of_several := false;
  ELSE
    is_of_several := EXISTS (SELECT FROM kith_new OFFSET 1);
  END IF;
  IF is_of_several THEN
    IF TG_OP = 'DELETE' THEN
      is_first := (SELECT k.* *= OLD FROM kith_old k LIMIT 1);
    ELSE
      is_first := (SELECT k.* *= NEW FROM kith_new k LIMIT 1);
    END IF;
    IF NOT is_first THEN
      RETURN NULL;
    END IF;
    statement := kith.begin_statement(TG_RELID, TG_OP, pg_trigger_depth(), TG_ARGV);
    -- In parts of a few megabytes. The query takes several times as much space for a moment, and a session has little for temporary files.
    IF TG_OP = 'DELETE' THEN
      starts := ARRAY(SELECT min(x.n) FROM (SELECT row_number() OVER () - 1 AS n, sum(pg_column_size(k.*) + 400) OVER (ROWS UNBOUNDED PRECEDING) / 4000000 AS part FROM kith_old k) x GROUP BY x.part ORDER BY 1);
    ELSE
      starts := ARRAY(SELECT min(x.n) FROM (SELECT row_number() OVER () - 1 AS n, sum(pg_column_size(k.*) + 400) OVER (ROWS UNBOUNDED PRECEDING) / 4000000 AS part FROM kith_new k) x GROUP BY x.part ORDER BY 1);
    END IF;
    styles := kith.set_styles(pinned);
    FOR part IN 1 .. cardinality(starts) LOOP
      EXECUTE statement.query USING statement.actor, statement.provenance, starts[part], starts[part + 1] - starts[part];
      GET DIAGNOSTICS touched = ROW_COUNT;
      logged := logged + touched;
    END LOOP;
    PERFORM kith.set_styles(styles);
    IF logged > 0 AND statement.is_limited THEN
      PERFORM kith.await_judgement();
    END IF;
    IF logged > 0 AND statement.has_cascades THEN
      PERFORM kith.place_deletes(TG_RELID);
    END IF;
    RETURN NULL;
  END IF;

  IF TG_OP = 'UPDATE' THEN
    IF NEW *= OLD THEN
      RETURN NULL;
    END IF;
  END IF;
  -- As current_context() reads it. Only a context of the server's is looked into: any other may be no JSON.
  SELECT s.id, s.only_key, s.actions, s.is_plain INTO shape_id, only_key, actions, is_plain
    FROM kith.shape s, kith.secret k
   WHERE s.relation = relid AND s.is_current AND left(signed, 64) = kith.context_mac(k.mac_key, payload);
  IF FOUND THEN
    actor := split_part(payload, E'\n', 1);
    custom := split_part(payload, E'\n', 2)::jsonb;
  ELSE
    SELECT s.id, s.only_key, s.actions, s.is_plain, kith.direct_actor(), '{}' INTO shape_id, only_key, actions, is_plain, actor, custom
      FROM kith.shape s WHERE s.relation = relid AND s.is_current;
    -- A viewer has no rights to write. If code of the workspace's lent them some, the change is refused here. The server names no viewer.
    IF kith.is_viewer() THEN
      RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
    END IF;
    -- The server says in the context that there is a limit. The workspace's SQL may have cleared it.
    is_limited := true;
    entry := '';
  END IF;

  IF TG_OP = 'INSERT' AND is_plain THEN
    image := to_jsonb(new);
    key := image ->> only_key;
  ELSE
    IF NOT is_plain THEN
      SELECT s.key, s.generated, s.exact, s.doubtful, s.is_deferrable INTO key_columns, generated, inexact, doubtful, is_deferrable FROM kith.shape s WHERE s.id = shape_id;
      styles := kith.set_styles(pinned);
    END IF;
    IF TG_OP <> 'DELETE' THEN
      image := to_jsonb(new);
    END IF;
    IF TG_OP <> 'INSERT' THEN
      before := to_jsonb(old);
    END IF;
    IF NOT is_plain THEN
      image := image - generated::text[];
      before := before - generated::text[];
    END IF;
    IF TG_OP = 'DELETE' THEN
      verb := 'deleted';
      image := before;
      IF TG_NARGS > 0 THEN
        SELECT jsonb_object_agg(b.key, jsonb_build_object('from', b.value, 'to', NULL)) INTO changes FROM jsonb_each(before) b WHERE b.value <> 'null' AND b.key <> 'updated_at';
      END IF;
    ELSIF TG_OP = 'UPDATE' THEN
      SELECT jsonb_object_agg(a.key, before -> a.key), jsonb_object_agg(a.key, jsonb_build_object('from', before -> a.key, 'to', a.value)) INTO previous, changes
        FROM jsonb_each(image) a
       WHERE (a.value <> (before -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(before -> a.key)) AND a.key <> 'updated_at';
      IF previous IS NULL THEN
        changes := kith.image_changes(relid, old, new) - coalesce(generated::text[], '{}');
        IF changes IS NULL OR changes = '{}' THEN
          IF NOT is_plain THEN
            PERFORM kith.set_styles(styles);
          END IF;
          RETURN NULL;
        END IF;
        SELECT jsonb_object_agg(c.name, before -> c.name) INTO previous FROM jsonb_object_keys(changes) c(name);
      END IF;
      verb := 'updated';
      IF previous ? 'deleted_at' THEN
        verb := CASE WHEN previous -> 'deleted_at' = 'null' THEN 'deleted' WHEN image -> 'deleted_at' = 'null' THEN 'restored' ELSE 'updated' END;
      END IF;
    END IF;
    IF TG_NARGS > 0 AND changes IS NOT NULL THEN
      IF octet_length(changes::text) > 1000000 THEN
        changes := kith.clip_changes(changes);
      END IF;
    END IF;
    IF is_plain THEN
      key := image ->> only_key;
      IF previous ? only_key THEN
        was := before ->> only_key;
      END IF;
    ELSE
      key := kith.key_of(image, key_columns, doubtful);
      IF previous ?| key_columns::text[] THEN
        was := kith.key_of(before, key_columns, doubtful);
      END IF;
      named := inexact || ARRAY(SELECT d.name FROM unnest(doubtful) d(name) WHERE image -> d.name::text IN ('null', '0') OR previous -> d.name::text IN ('null', '0'));
      IF named <> '{}' THEN
        exact := CASE TG_OP WHEN 'DELETE' THEN jsonb_build_object('row', kith.exact_texts(named, old)) WHEN 'INSERT' THEN jsonb_build_object('row', kith.exact_texts(named, new))
                 ELSE jsonb_build_object('row', kith.exact_texts(named, new), 'previous', kith.exact_texts(named, old)) END;
      END IF;
      IF is_deferrable THEN
        exact := coalesce(exact, '{}') || '{"tuple": {}}';
        IF TG_OP <> 'INSERT' THEN
          -- Of this transaction or of a savepoint in it: nobody sees a row of another one in progress.
          IF age(OLD.xmin) <= 0 AND pg_xact_status((pg_current_xact_id()::text::bigint - age(OLD.xmin))::text::xid8) = 'in progress' THEN
            exact := jsonb_set(exact, '{tuple,from}', to_jsonb(concat(OLD.tableoid, ' ', OLD.ctid)));
          END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
          exact := jsonb_set(exact, '{tuple,to}', to_jsonb(concat(NEW.tableoid, ' ', NEW.ctid)));
        END IF;
      END IF;
      PERFORM kith.set_styles(styles);
    END IF;
  END IF;

  IF custom ?| '{run_id,undo_of,limited,caused_by}' THEN
    IF TG_OP = 'INSERT' AND pg_trigger_depth() = 1 AND custom ? 'undo_of' THEN
      verb := 'restored';
    END IF;
    IF custom ? 'run_id' THEN
      run := kith.note_run(actor, custom);
    END IF;
    is_limited := custom ? 'limited';
    custom := custom - '{undo_of,limited,caused_by}'::text[];
  END IF;
  IF pg_trigger_depth() > 1 OR TG_OP <> 'INSERT' THEN
    IF pg_trigger_depth() > 1 THEN
      via := 'trigger';
    END IF;
    IF actions IS NOT NULL AND TG_OP <> 'INSERT' THEN
      IF kith.is_cascade(actions, TG_OP, before, previous) THEN
        via := 'cascade';
      END IF;
    END IF;
  END IF;
  IF TG_NARGS > 0 THEN
    repr := nullif(btrim(concat(TG_ARGV[1], image ->> TG_ARGV[2], TG_ARGV[3], image ->> TG_ARGV[4], TG_ARGV[5])), '');
    IF repr IS NULL THEN
      FOR n IN 6 .. TG_NARGS - 1 BY 5 LOOP
        repr := nullif(btrim(concat(TG_ARGV[n], image ->> TG_ARGV[n + 1], TG_ARGV[n + 2], image ->> TG_ARGV[n + 3], TG_ARGV[n + 4])), '');
        EXIT WHEN repr IS NOT NULL;
      END LOOP;
    END IF;
    IF entry = '' THEN
      entry := kith.new_id('a');
    END IF;
    INSERT INTO public.activity AS a (id, actor, verb, subject_type, subject_id, subject_repr, changes, custom)
    VALUES (entry, actor, verb, TG_ARGV[0], left(key, 500), left(repr, 200), changes, custom);
  ELSE
    entry := NULL;
    said := nullif(custom - '{request_id,run_id}'::text[], '{}');
  END IF;
  INSERT INTO kith.change AS c (xid, at, actor, request, run, via, relation, shape, key, was, op, verb, image, previous, exact, activity, said, command)
  VALUES (pg_current_xact_id(), clock_timestamp(), actor, custom ->> 'request_id', run, via, relid, shape_id, key, was, TG_OP::"char", verb, image, previous, exact, entry, said, command);
  IF is_limited OR via = 'cascade' THEN
    IF is_limited THEN
      PERFORM kith.await_judgement();
    END IF;
    IF via = 'cascade' AND TG_OP = 'UPDATE' THEN
      PERFORM kith.place_deletes(relid);
    END IF;
  END IF;
  RETURN NULL;
END $function$;

-- Adds a refused write to the feed: the constraint, the existing record, and the attempted values.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.record_conflict(secret text, subject_type text, constraint_name text, existing_id text, attempted jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  IF octet_length(attempted::text) > 1000000 THEN
    SELECT jsonb_object_agg(a.key, CASE WHEN octet_length(a.value::text) <= 512 THEN a.value ELSE to_jsonb(left(attempted ->> a.key, 60)) END)
           || jsonb_build_object('clipped', jsonb_object_agg(a.key, octet_length(attempted ->> a.key)) FILTER (WHERE octet_length(a.value::text) > 512))
      INTO attempted FROM jsonb_each(attempted) a;
  END IF;
  PERFORM kith.write_entry('conflict', subject_type, existing_id, NULL,
    jsonb_build_object('constraint', constraint_name, 'existing_id', existing_id, 'attempted', attempted));
END $function$;

-- Adds an entry when a column of a table is dropped.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.record_dropped_columns()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE subject text;
BEGIN
  IF EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  FOR subject IN
    SELECT DISTINCT coalesce(b.subject, kith.own_subject(d.objid)) FROM pg_event_trigger_dropped_objects() d LEFT JOIN kith_guard.builtin b ON b.relid = d.objid
     WHERE d.classid = 'pg_class'::regclass AND d.objsubid > 0
       AND (b.relid IS NOT NULL OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = d.objid AND t.tgfoid = 'public.record_activity'::regproc))
  LOOP
    PERFORM kith.write_entry('updated', subject, NULL, 'all rows, by a dropped column', NULL);
  END LOOP;
END $function$;

-- Adds an entry when ALTER TABLE writes all rows of a table anew.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.record_rewrite()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  relation constant oid := pg_event_trigger_table_rewrite_oid();
  subject text := (SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = relation);
BEGIN
  IF pg_event_trigger_table_rewrite_reason() & 6 = 0 OR EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid()) THEN
    RETURN;
  END IF;
  IF subject IS NULL AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = relation AND t.tgfoid = 'public.record_activity'::regproc) THEN
    subject := kith.own_subject(relation);
  END IF;
  IF subject IS NOT NULL THEN
    PERFORM kith.write_entry('updated', subject, NULL, 'all rows, by ALTER TABLE', NULL);
  END IF;
END $function$;

-- The foreign keys that refer to a table, in a fixed order.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.references_to(target regclass)
 RETURNS TABLE(rule name, child regclass, columns name[], referred name[])
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT k.conname, k.conrelid::regclass,
         ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(number, at) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.at),
         ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(number, at) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.at)
    FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = target AND k.conparentid = 0 ORDER BY k.conrelid, k.conname
$function$;

-- The condition on a row that refers to another one.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.refers(columns name[], referred name[], image jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN bool_or(image ->> r.name IS NULL) THEN NULL ELSE '(' || string_agg(format('t.%I = %L', c.name, image ->> r.name), ' AND ') || ')' END
    FROM unnest(columns) WITH ORDINALITY c(name, at) JOIN unnest(referred) WITH ORDINALITY r(name, at) USING (at)
$function$;

-- Refuses commands by which a table with its rows becomes a child of another one, or ceases to be one, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_adoption()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE known text[]; present text[] := kith.children(); what text;
BEGIN
  SELECT s.children INTO known FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL;
  IF known IS NULL THEN
    RETURN;
  END IF;
  SELECT CASE WHEN x.is_new THEN CASE WHEN c.relispartition THEN 'ATTACH PARTITION' ELSE 'INHERIT' END
              ELSE CASE WHEN p.relkind = 'p' THEN 'DETACH PARTITION' ELSE 'NO INHERIT' END END INTO what
    FROM (SELECT n.pair, true AS is_new FROM unnest(present) n(pair) WHERE n.pair <> ALL (known)
           UNION ALL SELECT k.pair, false FROM unnest(known) k(pair) WHERE k.pair <> ALL (present)) x
   CROSS JOIN LATERAL (SELECT split_part(x.pair, ' ', 1)::oid AS child, split_part(x.pair, ' ', 2)::oid AS parent) i
    LEFT JOIN pg_class c ON c.oid = i.child LEFT JOIN pg_class p ON p.oid = i.parent
   WHERE kith_guard.holds_alone(i.child)
     AND i.child NOT IN (SELECT d.objid FROM pg_event_trigger_ddl_commands() d WHERE d.classid = 'pg_class'::regclass AND d.command_tag = 'CREATE TABLE')
   LIMIT 1;
  IF FOUND THEN
    PERFORM kith.refuse_uncounted(what || ' is', 'Send it without the limit.');
  END IF;
  IF present <> known THEN
    UPDATE kith.seal AS s SET children = present WHERE s.xid = pg_current_xact_id_if_assigned();
  END IF;
END $function$;

-- Refuses commands that create a table with rows, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_copy()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.refuse_uncounted(TG_TAG || ' is', 'CREATE TABLE, then INSERT … SELECT, counts them.');
END $function$;

-- Refuses the DROP of a table, a column or a primary key, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_drop()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE dropped record;
BEGIN
  IF NOT EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL) THEN
    RETURN;
  END IF;
  SELECT d.object_type, d.object_identity INTO dropped FROM pg_event_trigger_dropped_objects() d
   WHERE d.object_type IN ('table', 'table column') AND NOT d.is_temporary LIMIT 1;
  IF FOUND THEN
    PERFORM kith.refuse_uncounted(format('the DROP of %s %s is', CASE dropped.object_type WHEN 'table' THEN 'table' ELSE 'column' END, dropped.object_identity), 'Send it without the limit.');
  END IF;
  -- Not by to_regclass(): this role has no rights to the schemas of a workspace.
  PERFORM FROM pg_event_trigger_dropped_objects() d
     JOIN pg_namespace n ON n.nspname = d.address_names[1]
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = d.address_names[2]
     JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgfoid = 'kith.capture'::regproc
    WHERE d.object_type = 'table constraint' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.tgrelid AND i.indisprimary);
  IF FOUND THEN
    PERFORM kith.refuse_uncounted('the DROP of a primary key is', 'Send it without the limit.');
  END IF;
END $function$;

-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_dry()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE sealed kith.seal;
BEGIN
  SELECT s.* INTO sealed FROM kith.seal s WHERE s.xid = NEW.xid;
  IF sealed.is_dry THEN
    IF sealed.passed = statement_timestamp() THEN
      RAISE EXCEPTION 'a dry run cannot be committed' USING ERRCODE = 'KL003', HINT = 'A statement of a dry run can set constraints once.';
    END IF;
    SET CONSTRAINTS kith.refuse_dry DEFERRED;
    UPDATE kith.seal AS s SET passed = statement_timestamp() WHERE s.xid = NEW.xid;
  END IF;
  RETURN NULL;
END $function$;

-- Fails if rows refer to a row that is to go.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.refuse_referred(target regclass, image jsonb, except_for text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$
DECLARE reference record; condition text; is_referred boolean;
BEGIN
  FOR reference IN SELECT * FROM kith.references_to(target) LOOP
    condition := kith.refers(reference.columns, reference.referred, image);
    CONTINUE WHEN condition IS NULL;
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE %s%s)', reference.child, condition, CASE WHEN reference.child = target THEN except_for ELSE '' END) INTO is_referred;
    IF is_referred THEN
      RAISE EXCEPTION 'rows of "%" still refer to a record of "%" by "%"', (SELECT c.relname FROM pg_class c WHERE c.oid = reference.child),
                      (SELECT c.relname FROM pg_class c WHERE c.oid = target), reference.rule
        USING ERRCODE = '23503', CONSTRAINT = reference.rule;
    END IF;
  END LOOP;
END $function$;

-- Refuses an ALTER TABLE that writes rows, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_rewrite()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF pg_event_trigger_table_rewrite_reason() & 6 <> 0 THEN
    PERFORM kith.refuse_uncounted('an ALTER TABLE that writes all rows is', 'Send it without the limit.');
  END IF;
END $function$;

-- Refuses what changes rows without a change in the log, if the transaction has a limit.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.refuse_uncounted(what text, hint text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM kith.seal s WHERE s.xid = pg_current_xact_id_if_assigned() AND s.most IS NOT NULL) THEN
    RAISE EXCEPTION '% not allowed under X-Max-Affected, because the rows cannot be counted', what USING ERRCODE = '42501', HINT = hint;
  END IF;
END $function$;

-- Whether rows were removed that the plan, {"relation key": "delete" or "write"}, does not remove. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.removes_others(secret text, since bigint, planned jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
DECLARE pipelines constant oid := 'public.pipelines'::regclass;
BEGIN
  PERFORM kith.check_secret(secret);
  IF since = 0 THEN
    RETURN EXISTS (SELECT FROM kith.change c WHERE c.xid = pg_current_xact_id_if_assigned()
                      AND CASE WHEN c.op = 'D' THEN planned ->> concat(c.relation, ' ', c.key) IS DISTINCT FROM 'delete' WHEN c.via = 'cascade' THEN true
                               ELSE c.relation = pipelines AND c.via = 'trigger' AND c.previous ? 'is_default' END
                      AND kith.is_other(c.seq, planned));
  END IF;
  RETURN EXISTS (SELECT FROM (SELECT c.seq, c.xid, c.relation, c.key, c.op, c.via, c.previous FROM kith.change c WHERE c.seq > since ORDER BY c.seq OFFSET 0) c
                  WHERE c.xid = pg_current_xact_id_if_assigned()
                    AND CASE WHEN c.op = 'D' THEN planned ->> concat(c.relation, ' ', c.key) IS DISTINCT FROM 'delete' WHEN c.via = 'cascade' THEN true
                             ELSE c.relation = pipelines AND c.via = 'trigger' AND c.previous ? 'is_default' END
                    AND kith.is_other(c.seq, planned));
END $function$;

-- Has rows that refer to one record refer to another one, and drops those that are there already.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.repoint(child regclass, setting text, condition text, OUT moved bigint, OUT dropped bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET row_security TO 'off'
AS $function$
DECLARE
  found_row record; failed_key text; one text;
  late_keys constant text := (SELECT string_agg(format('%I.%I', n.nspname, k.conname), ', ') FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
                                WHERE k.conrelid = child AND k.contype IN ('p', 'u', 'x') AND k.condeferrable);
BEGIN
  IF late_keys IS NOT NULL THEN
    EXECUTE 'SET CONSTRAINTS ' || late_keys || ' IMMEDIATE';
  END IF;
  dropped := 0;
  BEGIN
    moved := kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', child, setting, condition), NULL);
    RETURN;
  EXCEPTION WHEN unique_violation THEN
    moved := 0;
  END;
  FOR found_row IN EXECUTE format('SELECT t.ctid AS place, t.tableoid AS home, to_jsonb(t.*) AS image FROM %s AS t WHERE %s FOR UPDATE', child, condition) LOOP
    one := format('t.ctid = %L AND t.tableoid = %L', found_row.place, found_row.home);
    BEGIN
      moved := moved + kith.write_merged(format('UPDATE %s AS t SET %s WHERE %s', child, setting, one), NULL);
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS failed_key = CONSTRAINT_NAME;
      IF NOT EXISTS (SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = found_row.home AND c.relname = failed_key AND x.indnkeyatts > 1) THEN
        RAISE;
      END IF;
      PERFORM kith.refuse_referred(child, found_row.image, '');
      dropped := dropped + kith.write_merged(format('DELETE FROM %s AS t WHERE %s', child, one), NULL);
    END;
  END LOOP;
END $function$;

-- Ensures that no two pipelines, and no two stages of a pipeline, have the same position after an undo.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.restore_order(items kith.undo_item[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE own text[]; previous text; other record; place integer;
BEGIN
  own := ARRAY(SELECT i.key_text FROM unnest(items) i WHERE i.relation IN ('public.pipelines'::regclass, 'public.pipeline_stages'::regclass) AND i.act <> 'delete' AND i.state = 'done');
  IF own = '{}' THEN
    RETURN;
  END IF;
  FOR other IN
    WITH placed AS (
           SELECT 'public.pipelines'::regclass AS relation, '' AS within, p.id, p.position, p.created_at FROM public.pipelines p WHERE p.deleted_at IS NULL
            UNION ALL
           SELECT 'public.pipeline_stages', s.pipeline, s.id, s.position, s.created_at FROM public.pipeline_stages s WHERE s.deleted_at IS NULL),
         kept AS (
           SELECT DISTINCT ON (p.relation, p.within, p.position) p.* FROM placed p WHERE p.id = ANY (own) ORDER BY p.relation, p.within, p.position, p.created_at, p.id)
    SELECT p.relation, p.within, p.id, p.position, x.taken
      FROM (SELECT k.relation, k.within, array_agg(k.position) AS taken FROM kept k GROUP BY k.relation, k.within) x JOIN placed p ON p.relation = x.relation AND p.within = x.within
     WHERE p.id NOT IN (SELECT k.id FROM kept k)
     ORDER BY p.relation, p.within, p.position, p.created_at, p.id
  LOOP
    place := greatest(other.position, CASE WHEN previous = other.relation || ' ' || other.within THEN place + 1 END);
    previous := other.relation || ' ' || other.within;
    WHILE place = ANY (other.taken) LOOP
      place := place + 1;
    END LOOP;
    IF place <> other.position THEN
      PERFORM kith.write_column(other.relation, other.id, 'position', place);
    END IF;
  END LOOP;
END $function$;

-- The changes of a row that have no entry in the feed, newest first. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.row_changes(secret text, "table" text, key text, before timestamp with time zone, most integer)
 RETURNS SETOF jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
DECLARE
  hidden oid[] := kith.hidden_relations();
  found_relation oid := (SELECT r.oid FROM pg_class r WHERE r.relnamespace = 'public'::regnamespace AND r.relname = "table");
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    SELECT jsonb_build_object('seq', c.seq, 'at', c.at, 'actor', c.actor, 'request_id', c.request, 'verb', c.verb, 'hard', c.op = 'D', 'via', c.via,
                              'changes', kith.columns_of(c.op, c.image, c.previous), 'run_id', r.run_id,
                              'agent', coalesce(c.said ->> 'agent', r.agent), 'reason', coalesce(c.said ->> 'reason', r.reason))
      FROM kith.change c LEFT JOIN kith.run r ON r.id = c.run
     WHERE c.relation = found_relation AND c.key = row_changes.key AND c.activity IS NULL AND c.relation <> ALL (hidden) AND (before IS NULL OR c.at < before)
     ORDER BY c.seq DESC LIMIT most;
END $function$;

-- The row that each change belongs to, named by its first change.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.rows_of(changes kith.change[])
 RETURNS TABLE(seq bigint, first bigint)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  change record; number integer; above integer; higher integer; rows integer := 0;
  -- By key: the last row that came to it, and the last one that was deleted.
  present integer[]; deleted integer[];
  -- By row: its first change, the row that came to the same key before it, its last transaction, its last place.
  firsts bigint[]; below integer[]; transactions xid8[]; places text[];
BEGIN
  FOR change IN
    WITH keyed AS (SELECT c.seq, c.xid, c.op, c.relation, c.key, coalesce(c.was, c.key) AS was, c.exact -> 'tuple' AS tuple FROM unnest(changes) c),
         numbered AS (SELECT k.relation, k.key, row_number() OVER ()::integer AS n FROM (SELECT k.relation, k.key FROM keyed k UNION SELECT k.relation, k.was FROM keyed k) k)
    SELECT k.seq, k.xid, k.op, k.tuple, n.n AS key, w.n AS was
      FROM keyed k JOIN numbered n ON (n.relation, n.key) = (k.relation, k.key) JOIN numbered w ON (w.relation, w.key) = (k.relation, k.was) ORDER BY k.seq
  LOOP
    above := NULL;
    higher := NULL;
    number := present[change.was];
    IF change.op = 'I' AND (transactions[number] = change.xid OR change.tuple IS NOT NULL) THEN
      number := NULL;
    ELSIF change.tuple IS NOT NULL THEN
      -- A row of an earlier transaction is none that this one has moved.
      WHILE number IS NOT NULL LOOP
        EXIT WHEN CASE WHEN transactions[number] <> change.xid THEN NOT change.tuple ? 'from' ELSE places[number] = change.tuple ->> 'from' END;
        higher := above;
        above := number;
        number := below[number];
      END LOOP;
      IF number IS NULL AND change.tuple ? 'from' THEN
        -- A write that changes nothing has moved the row. It is the one that has had the key longest: the statement has not come to it yet.
        number := above;
        above := higher;
      END IF;
    END IF;
    IF number IS NOT NULL THEN
      IF above IS NULL THEN
        present[change.was] := below[number];
      ELSE
        below[above] := below[number];
      END IF;
    ELSIF deleted[change.was] IS NOT NULL AND present[change.was] IS NULL THEN
      number := deleted[change.was];
      deleted[change.was] := NULL;
    ELSE
      rows := rows + 1;
      number := rows;
      firsts[number] := change.seq;
    END IF;
    transactions[number] := change.xid;
    places[number] := change.tuple ->> 'to';
    IF change.op = 'D' THEN
      deleted[change.key] := number;
      below[number] := NULL;
    ELSE
      below[number] := present[change.key];
      present[change.key] := number;
    END IF;
    seq := change.seq;
    first := firsts[number];
    RETURN NEXT;
  END LOOP;
END $function$;

-- The changes of a run that the session may see, oldest first, clipped as in the feed. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.run_changes(secret text, run text, net boolean, after bigint, most integer)
 RETURNS SETOF jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
DECLARE hidden oid[] := kith.hidden_relations();
BEGIN
  PERFORM kith.check_secret(secret);
  IF net THEN
    RETURN QUERY SELECT x FROM kith.shown(ARRAY(SELECT c FROM kith.change c WHERE c.run = run_changes.run AND c.relation <> ALL (hidden)), NULL) x WHERE (x ->> 'seq')::bigint > after LIMIT most;
  ELSE
    RETURN QUERY
      SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(c.shape, c.image), 'verb', c.verb, 'hard', c.op = 'D',
                                'changes', kith.clip_changes(kith.columns_of(c.op, c.image, c.previous)),
                                'via', c.via, 'at', c.at, 'request_id', c.request, 'activity_id', c.activity, 'seq', c.seq)
        FROM kith.change c JOIN kith.shape s ON s.id = c.shape WHERE c.run = run_changes.run AND c.seq > after AND c.relation <> ALL (hidden) ORDER BY c.seq LIMIT most;
  END IF;
END $function$;

-- The live rows of a built-in table that match a few words best, with a score from 0 to 1. Accents, typos and parts of words do not matter: SELECT c.*, s.score FROM kith.search('contacts', 'ada love', 20) s JOIN contacts c USING (id) ORDER BY s.score DESC.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search(relation text, query text, most integer, thorough boolean DEFAULT true)
 RETURNS TABLE(id text, score real)
 LANGUAGE plpgsql
 STABLE ROWS 20
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE words constant text[] := kith.search_terms(query);
BEGIN
  IF kith.search_source(relation) IS NULL THEN
    RAISE EXCEPTION 'table "%" cannot be searched', relation USING ERRCODE = '22023';
  END IF;
  IF words = '{}' OR most < 1 THEN
    RETURN;
  END IF;
  IF relation IN ('activities', 'emails') THEN
    RETURN QUERY SELECT * FROM kith.search_long(relation, words, least(most, 200), thorough);
  ELSE
    RETURN QUERY SELECT * FROM kith.search_short(relation, words, least(most, 200), thorough);
  END IF;
END $function$;

-- The live contacts, companies, deals and activities that match a few words best, with a score from 0 to 1.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_all(query text, most integer)
 RETURNS TABLE(relation text, id text, score real)
 LANGUAGE plpgsql
 STABLE ROWS 50
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  relations constant text[] := ARRAY['contacts', 'companies', 'deals', 'activities'];
  words text[] := kith.search_terms(query); spelt text[] := '{}'; spelling text; hits jsonb;
BEGIN
  most := least(most, 200);
  IF words = '{}' OR most < 1 THEN
    RETURN;
  END IF;
  hits := (SELECT jsonb_agg(jsonb_build_array(r.relation, s.id, s.score)) FROM unnest(relations) r(relation), LATERAL kith.search(r.relation, query, most, false) s);
  IF hits IS NULL OR jsonb_array_length(hits) < 5 AND NOT EXISTS (SELECT FROM jsonb_array_elements(hits) h WHERE (h.value ->> 2)::real >= 0.65) THEN
    FOREACH spelling IN ARRAY words LOOP
      spelt := spelt || coalesce(kith.search_spelling(spelling), '');
    END LOOP;
    spelt := array_remove(spelt, '');
    IF spelt <> words AND spelt <> '{}' THEN
      hits := coalesce(hits, '[]') || coalesce((
        SELECT jsonb_agg(jsonb_build_array(r.relation, s.id, s.score * 0.6 * length(array_to_string(spelt, ''))
                                           / greatest(length(array_to_string(words, '')), length(array_to_string(spelt, '')))))
          FROM unnest(relations) r(relation), LATERAL kith.search(r.relation, array_to_string(spelt, ' '), most, false) s), '[]');
    END IF;
    IF cardinality(spelt) > 1 AND jsonb_array_length(coalesce(hits, '[]')) = 0 THEN
      hits := (SELECT jsonb_agg(jsonb_build_array(x.relation, x.id, x.score))
                 FROM (SELECT r.relation, s.id, 0.3 * sum(s.score * length(w.word)) / length(array_to_string(words, '')) AS score
                         FROM unnest(relations) r(relation), unnest(spelt) w(word), LATERAL kith.search(r.relation, w.word, most, false) s
                        WHERE length(w.word) > 2 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT most) x);
    END IF;
  END IF;
  RETURN QUERY SELECT h.value ->> 0, h.value ->> 1, max((h.value ->> 2)::real) FROM jsonb_array_elements(hits) h
                GROUP BY 1, 2 ORDER BY 3 DESC, 2 DESC LIMIT most;
END $function$;

-- Searches a table with an index of words.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_long(relation text, words text[], most integer, thorough boolean)
 RETURNS TABLE(id text, score real)
 LANGUAGE plpgsql
 STABLE ROWS 20
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
AS $function$
DECLARE
  source constant text := kith.search_source(relation);
  tests text; found_ids text[] := '{}';
BEGIN
  -- Rows that have each word; the beginning of each word; words one edit away (all spellings are tried); some of the words.
  FOR step IN 1..4 LOOP
    SELECT string_agg('(' || CASE
             WHEN step = 1 OR length(w) < 2 THEN w
             WHEN step <> 3 OR length(w) NOT BETWEEN 4 AND 9 OR w !~ '[a-z]' OR place > 4 THEN w || ':*'
             ELSE w || ':*|' || (
               SELECT string_agg(DISTINCT e, '|')
                 FROM generate_series(0, length(w)) i, LATERAL (
                   SELECT left(w, i) || substr(w, i + 2, 1) || substr(w, i + 1, 1) || substr(w, i + 3) WHERE i <= length(w) - 2
                   UNION ALL SELECT left(w, i) || substr(w, i + 2) WHERE i < length(w)
                   UNION ALL SELECT left(w, i) || letter || rest FROM string_to_table('abcdefghijklmnopqrstuvwxyz', NULL) letter,
                     unnest(ARRAY[substr(w, i + 1), substr(w, i + 2)]) rest) x(e))
             END || ')', CASE WHEN step = 4 THEN '|' ELSE '&' END)
      INTO tests FROM unnest(words) WITH ORDINALITY x(w, place) WHERE step < 4 OR length(w) > 2;
    FOR id, score IN EXECUTE
      'SELECT c.id, $2 + $3 * similarity(kith.search_text(ARRAY[c.title]), $4) AS score
         FROM (SELECT r.id, r.title FROM ' || source || ' WHERE r.words @@ $1::tsquery AND r.id <> ALL ($5) LIMIT 200) c
        ORDER BY score DESC, c.id DESC LIMIT $6'
      USING tests, (ARRAY[0.8, 0.65, 0.3, 0])[step]::real, (ARRAY[0.2, 0.15, 0.2, 0.3])[step]::real, array_to_string(words, ' '),
            found_ids, most - cardinality(found_ids)
    LOOP
      found_ids := found_ids || id;
      RETURN NEXT;
    END LOOP;
    IF cardinality(found_ids) >= (ARRAY[most, 1, 1, 0])[step] OR step = 2 AND NOT thorough THEN
      RETURN;
    END IF;
  END LOOP;
END $function$;

-- Searches a table with an index of trigrams.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_short(relation text, words text[], most integer, thorough boolean)
 RETURNS TABLE(id text, score real)
 LANGUAGE plpgsql
 STABLE ROWS 20
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
AS $function$
DECLARE
  source constant text := kith.search_source(relation);
  near constant text := 'greatest(similarity(kith.search_text(ARRAY[c.title]), c.phrase), similarity(kith.search_text(ARRAY[c.address]), c.phrase))';
  tests constant text := (SELECT string_agg(format('r.words LIKE ($1)[%s]', i), ' AND ') FROM generate_subscripts(words, 1) i);
  patterns text[]; known text[]; kinds integer[]; sure integer; places bigint[] := '{}'; spellings text[] := '{}'; found_ids text[] := '{}';
BEGIN
  -- Rows that have every word as a whole; as the beginning of a word; anywhere in one.
  FOR step IN 1..3 LOOP
    SELECT array_agg(CASE WHEN step = 1 THEN '% ' || w || ' %' WHEN step = 2 OR length(w) < 3 THEN '% ' || w || '%' ELSE '%' || w || '%' END)
      INTO patterns FROM unnest(words) w;
    FOR id, score IN EXECUTE
      'SELECT c.id, $2 + $3 * ' || near || ' AS score
         FROM (SELECT r.id, r.title, r.address, $4 AS phrase FROM ' || source || ' WHERE ' || tests || ' AND r.id <> ALL ($5) LIMIT 200) c
        ORDER BY score DESC, c.id DESC LIMIT $6'
      USING patterns, CASE step WHEN 1 THEN 0.8::real WHEN 2 THEN 0.65 ELSE 0.5 END, CASE step WHEN 1 THEN 0.2::real ELSE 0.15 END,
            array_to_string(words, ' '), found_ids, most - cardinality(found_ids)
    LOOP
      found_ids := found_ids || id;
      RETURN NEXT;
    END LOOP;
    IF step = 2 THEN
      sure := cardinality(found_ids);
    END IF;
    IF cardinality(found_ids) >= (ARRAY[most, least(most, 5), most])[step] THEN
      RETURN;
    END IF;
  END LOOP;
  IF NOT thorough OR sure > 0 OR cardinality(found_ids) >= 5 THEN
    RETURN;
  END IF;

  -- Few rows, and by parts of words only. Look for other spellings of the words that occur nowhere, or of all if each occurs somewhere.
  EXECUTE 'SELECT array_agg(w.word) FROM unnest($1, $2) w(word, pattern) WHERE EXISTS (SELECT FROM ' || source || ' WHERE r.words LIKE w.pattern)'
    INTO known USING words, patterns;
  known := coalesce(known, '{}');
  -- A long word shares most of its trigrams with the one that was meant.
  EXECUTE
    'SELECT coalesce(array_agg(s.place), ''{}''), coalesce(array_agg(s.word), ''{}'')
       FROM (SELECT x.place, x.word, row_number() OVER (PARTITION BY x.place ORDER BY similarity(x.word, ($1)[x.place]) DESC, x.word) AS rank
               FROM (SELECT DISTINCT w.place, x.word
                       FROM unnest($1) WITH ORDINALITY w(word, place), LATERAL (SELECT r.words FROM ' || source || ' WHERE w.word <% r.words LIMIT 100) r,
                            LATERAL string_to_table(r.words, '' '') x(word)
                      WHERE length(w.word) >= 6 AND w.word ~ ''[a-z]'' AND (w.word <> ALL ($2) OR cardinality($2) = cardinality($1))) x
              WHERE similarity(x.word, ($1)[x.place]) >= 0.35 AND x.word <> ALL ($1)) s
      WHERE s.rank <= 3'
    INTO places, spellings USING words, known;
  -- A short word may not. Candidates are one edit away: two letters swapped, one missing, one too many, one replaced. A wildcard letter
  -- is a gap to the index, which may match many rows, so their number is limited first.
  FOREACH kinds SLICE 1 IN ARRAY ARRAY[[1, 2, 3], [4, 4, 4]] LOOP
    EXECUTE
      'WITH edit AS (
         SELECT DISTINCT ON (w.place, p.pattern) w.place, p.kind, p.pattern
           FROM unnest($1) WITH ORDINALITY w(word, place), generate_series(0, length(w.word)) i, LATERAL (VALUES
             (1, left(word, i) || substr(word, i + 2, 1) || substr(word, i + 1, 1) || substr(word, i + 3), length(word) - 2),
             (2, left(word, i) || ''_'' || substr(word, i + 1), length(word) - 1),
             (3, left(word, i) || substr(word, i + 2), length(word) - 1),
             (4, left(word, i) || ''_'' || substr(word, i + 2), length(word) - 1)) p(kind, pattern, last)
          WHERE length(w.word) BETWEEN 4 AND 9 AND w.word ~ ''[a-z]'' AND w.place <> ALL ($3) AND i <= p.last AND p.kind = ANY ($4)
            AND (w.word <> ALL ($2) OR cardinality($2) = cardinality($1))
          LIMIT 100),
       spelling AS (
         SELECT e.place, x.word, min(e.kind) AS kind
           FROM edit e, LATERAL (SELECT g.words FROM (SELECT r.words FROM ' || source || ' WHERE r.words LIKE ''% '' || replace(e.pattern, ''_'', ''%'') || '' %'' LIMIT 50) g
                                  WHERE g.words LIKE ''% '' || e.pattern || '' %'' LIMIT 3) r,
                LATERAL string_to_table(r.words, '' '') x(word)
          WHERE x.word LIKE e.pattern AND x.word <> ALL ($1) GROUP BY 1, 2)
       SELECT $3 || coalesce(array_agg(s.place), ''{}''), $5 || coalesce(array_agg(s.word), ''{}'')
         FROM (SELECT s.place, s.word, row_number() OVER (PARTITION BY s.place ORDER BY s.kind, similarity(s.word, ($1)[s.place]) DESC, s.word) AS rank FROM spelling s) s
        WHERE s.rank <= 3'
      INTO places, spellings USING words, known, places, kinds, spellings;
  END LOOP;

  -- All words again, at most two of them in another spelling. A word without a similar one may be missing, and reduces the score.
  FOR id, score IN EXECUTE
    'WITH RECURSIVE choice AS (
       SELECT w.place, w.word, w.pattern, 0 AS changes FROM unnest($1, $2) WITH ORDINALITY w(word, pattern, place) WHERE w.word = ANY ($3)
       UNION ALL SELECT s.place, s.word, ''% '' || s.word || '' %'', 1 FROM unnest($4, $5) s(place, word)
       UNION ALL SELECT w.place, NULL, ''%'', 0 FROM unnest($1) WITH ORDINALITY w(word, place) WHERE w.word <> ALL ($3) AND w.place <> ALL ($4)),
     combination AS (
       SELECT 0::bigint AS place, ''{}''::text[] AS patterns, ''{}''::text[] AS words, 0 AS changes
       UNION ALL
       SELECT o.place, c.patterns || o.pattern, array_append(c.words, o.word), c.changes + o.changes
         FROM combination c JOIN choice o ON o.place = c.place + 1 WHERE c.changes + o.changes <= 2)
     SELECT c.id, max((0.25 + 0.15 * c.likeness + 0.1 * ' || near || ') * c.share)::real AS score
       FROM (SELECT r.id, r.title, r.address, array_to_string(k.words, '' '') AS phrase, k.likeness,
                    least(1, length(array_to_string(k.words, ''''))::real / length(array_to_string($1, ''''))) AS share
               FROM (SELECT x.*, similarity(array_to_string(x.words, '' ''), array_to_string($1, '' '')) AS likeness FROM combination x
                      WHERE x.place = cardinality($1) AND array_to_string(x.words, '''') <> '''' ORDER BY x.changes, likeness DESC LIMIT 20) k,
                    LATERAL (SELECT r.id, r.title, r.address FROM ' || source || ' WHERE ' || replace(tests, '($1)', 'k.patterns') || ' LIMIT 100) r
              WHERE r.id <> ALL ($6) LIMIT 200) c
      GROUP BY c.id ORDER BY score DESC, c.id DESC LIMIT $7'
    USING words, patterns, known, places, spellings, found_ids, most - cardinality(found_ids)
  LOOP
    found_ids := found_ids || id;
    RETURN NEXT;
  END LOOP;
  IF found_ids <> '{}' OR cardinality(words) = 1 THEN
    RETURN;
  END IF;

  -- Nothing was found: rows that have some of the words.
  RETURN QUERY EXECUTE
    'SELECT r.id, (0.3 * sum(length(w.word)) / length(array_to_string($1, '''')))::real AS score
       FROM unnest($1, $2) w(word, pattern), LATERAL (SELECT r.id FROM ' || source || ' WHERE r.words LIKE w.pattern LIMIT 300) r
      WHERE w.word = ANY ($3) AND length(w.word) > 2 GROUP BY r.id ORDER BY score DESC, r.id DESC LIMIT $4'
    USING words, patterns, known, most;
END $function$;

-- The query that kith.search() reads from; null for a table that cannot be searched.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_source(relation text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
RETURN CASE relation WHEN 'contacts'::text THEN '(SELECT t.id, concat_ws('' '', t.first_name, t.last_name) AS title, t.email::text AS address,
    kith.search_text(ARRAY[t.first_name, t.last_name, t.email::text, t.title, kith.phone_digits(t.phone)]) AS words
    FROM public.contacts t WHERE t.deleted_at IS NULL) r'::text WHEN 'companies'::text THEN '(SELECT t.id, t.name AS title, t.domain AS address, kith.search_text(ARRAY[t.name, t.domain, t.industry]) AS words
    FROM public.companies t WHERE t.deleted_at IS NULL) r'::text WHEN 'deals'::text THEN '(SELECT t.id, t.name AS title, NULL::text AS address, kith.search_text(ARRAY[t.name]) AS words
    FROM public.deals t WHERE t.deleted_at IS NULL) r'::text WHEN 'lists'::text THEN '(SELECT t.id, t.name AS title, NULL::text AS address, kith.search_text(ARRAY[t.name, t.description]) AS words
    FROM public.lists t WHERE t.deleted_at IS NULL) r'::text WHEN 'activities'::text THEN '(SELECT t.id, t.subject AS title, NULL::text AS address, kith.search_words(ARRAY[t.subject, t.body]) AS words
    FROM public.activities t WHERE t.deleted_at IS NULL) r'::text WHEN 'emails'::text THEN '(SELECT t.id, t.subject AS title, t.from_addr::text AS address,
    kith.search_words(ARRAY[t.subject, t.from_addr::text] || t.to_addrs::text[] || t.cc_addrs::text[] || ARRAY[t.snippet, t.body_text]) AS words
    FROM public.emails t WHERE t.deleted_at IS NULL) r'::text ELSE NULL::text END;

-- A word that a contact, company, deal or activity has, or the one that was probably meant; null if there is no similar one.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_spelling(word text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
AS $function$
DECLARE
  relation text; source text; is_known boolean; near text[]; spellings text[] := '{}';
  edits constant text := 'SELECT left($1, i) || substr($1, i + 2, 1) || substr($1, i + 1, 1) || substr($1, i + 3) AS edit
      FROM generate_series(0, length($1) - 2) i UNION SELECT left($1, i) || substr($1, i + 2) FROM generate_series(0, length($1) - 1) i';
  all_edits constant text := 'SELECT DISTINCT left($1, i) || letter || rest AS edit FROM generate_series(0, length($1)) i,
      string_to_table(''abcdefghijklmnopqrstuvwxyz'', NULL) letter, unnest(ARRAY[substr($1, i + 1), substr($1, i + 2)]) rest';
BEGIN
  FOREACH relation IN ARRAY ARRAY['companies', 'deals', 'activities', 'contacts'] LOOP
    source := kith.search_source(relation);
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || source || CASE relation WHEN 'activities' THEN ' WHERE r.words @@ ($1 || '':*'')::tsquery)'
                                                                     ELSE ' WHERE r.words LIKE ''%'' || $1 || ''%'')' END INTO is_known USING word;
    IF is_known THEN
      RETURN word;
    END IF;
  END LOOP;
  IF length(word) NOT BETWEEN 4 AND 40 OR word !~ '[a-z]' THEN
    RETURN NULL;
  END IF;
  FOR step IN 1..4 LOOP
    -- Step 2 reads the first rows without an index.
    PERFORM set_config('enable_seqscan', CASE step WHEN 2 THEN 'on' ELSE 'off' END, true);
    FOREACH relation IN ARRAY ARRAY['companies', 'deals', 'activities', 'contacts'] LOOP
      source := kith.search_source(relation);
      near := NULL;
      IF step = 1 OR step = 4 AND relation = 'activities' AND length(word) BETWEEN 5 AND 9 THEN
        EXECUTE 'SELECT array_agg(e.edit) FROM (' || CASE step WHEN 1 THEN edits ELSE all_edits END || ') e WHERE EXISTS (SELECT FROM ' || source
             || CASE relation WHEN 'activities' THEN ' WHERE r.words @@ e.edit::tsquery)' ELSE ' WHERE r.words LIKE ''% '' || e.edit || '' %'')' END
          INTO near USING word;
      ELSIF step = 2 AND word !~ '[0-9]' THEN
        EXECUTE 'SELECT array_agg(x.word) FROM (SELECT r.words FROM ' || source || ' LIMIT 100) r, '
             || CASE relation WHEN 'activities' THEN 'unnest(tsvector_to_array(r.words))' ELSE 'string_to_table(r.words, '' '')' END
             || ' x(word) WHERE similarity(x.word, $1) >= $2'
          INTO near USING word, CASE WHEN length(word) <= 5 THEN 0.35 ELSE 0.45 END::real;
      ELSIF step = 3 AND relation <> 'activities' AND length(word) >= 6 THEN
        EXECUTE 'SELECT array_agg(DISTINCT x.word) FROM (SELECT r.words FROM ' || source || ' WHERE $1 <% r.words LIMIT 100) r,
                   string_to_table(r.words, '' '') x(word) WHERE similarity(x.word, $1) >= 0.35'
          INTO near USING word;
      ELSIF step = 4 AND relation <> 'activities' AND length(word) BETWEEN 5 AND 9 THEN
        EXECUTE 'SELECT array_agg(DISTINCT x.word)
                   FROM (SELECT left($1, i) || ''_'' || substr($1, i + k) AS edit FROM generate_series(0, length($1)) i, generate_series(1, 2) k) e,
                        LATERAL (SELECT g.words FROM (SELECT r.words FROM ' || source || ' WHERE r.words LIKE ''% '' || replace(e.edit, ''_'', ''%'') || '' %'' LIMIT 50) g
                                  WHERE g.words LIKE ''% '' || e.edit || '' %'' LIMIT 3) r,
                        string_to_table(r.words, '' '') x(word) WHERE x.word LIKE e.edit'
          INTO near USING word;
      END IF;
      spellings := spellings || coalesce(near, '{}');
    END LOOP;
    IF spellings <> '{}' THEN
      RETURN (SELECT s FROM unnest(spellings) s GROUP BY s ORDER BY similarity(s, word) DESC, count(*) DESC, s LIMIT 1);
    END IF;
  END LOOP;
  RETURN NULL;
END $function$;

-- The words to search for: at most twelve, from the first 200 characters.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_terms(query text)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE digits text;
BEGIN
  query := left(query, 200);
  -- A telephone number is one word, with or without separators. An extension may be written in many ways, so it is not searched for.
  digits := kith.phone_digits(regexp_replace(query, '^ *tel:|[ ,;]*(ext|extension|x)[.: ]*[0-9]{1,6} *$', '', 'gi'));
  IF digits ~ '^[0-9]{5,}$' THEN
    query := ltrim(digits, '0');
  END IF;
  RETURN ARRAY(SELECT left(x.word, 64) FROM string_to_table(kith.search_text(ARRAY[query]), ' ') WITH ORDINALITY x(word, place)
                WHERE x.word <> '' GROUP BY 1 ORDER BY min(x.place) LIMIT 12);
END $function$;

-- The texts as one, in lower-case Latin letters and digits, without accents and punctuation.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_text(parts text[])
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE COST 300
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE value text := lower(left(array_to_string(parts, ' '), 10000));
BEGIN
  -- This runs for each row that is compared, so common texts take a short path.
  value := translate(value, '@.-,''', '    ');
  IF value ~ '[^a-z0-9 ]' THEN
    IF octet_length(value) <> char_length(value) THEN
      value := regexp_replace(normalize(value, NFKD),
        $re$[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]+$re$, '', 'g');
      IF octet_length(value) <> char_length(value) THEN
        value := translate(lower(normalize(value, NFC)),
          'øłđðħıŋабвгдежзиклмнопрстуфхцчшщыэюяєіґђјљњћџѕαβγδεζηθικλμνξοπρσςτυφχψω'
          '–—―‐‑‒−«»“”„‹›·•、。「」¿¡§ьъ’‘ʼ′',
          'olddhinabvgdezziklmnoprstufhccssyeuaeigdjlncdsabgdezitiklmnxoprsstyfhpo'
          '                       ');
        value := replace(replace(replace(replace(value, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
      END IF;
    END IF;
    value := regexp_replace(replace(replace(lower(value), '''', ''), '`', ''), $re$[\u0001-\u001f!-/:-@\[-`{-\u007f]+$re$, ' ', 'g');
    IF octet_length(value) <> char_length(value) THEN
      value := regexp_replace(value, $re$([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])$re$, $re$ \1 $re$, 'g');
      value := replace(encode(convert_to(value, 'UTF8'), 'escape'), $re$\$re$, '');
    END IF;
  END IF;
  RETURN ' ' || value || ' ';
END $function$;

-- The words of kith.search_text().
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.search_words(parts text[])
 RETURNS tsvector
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE COST 1000
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN array_to_tsvector(ARRAY(SELECT left(w, 64) FROM string_to_table(kith.search_text(parts), ' ') w WHERE w <> ''));
END $function$;

-- Sets how values are written, until the transaction ends, and returns how they were: DateStyle, IntervalStyle, extra_float_digits, bytea_output, lc_monetary, quote_all_identifiers.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.set_styles(styles text[])
 RETURNS text[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  names constant text[] := '{datestyle,intervalstyle,extra_float_digits,bytea_output,lc_monetary,quote_all_identifiers}';
  before constant text[] := ARRAY(SELECT current_setting(n.name) FROM unnest(names) WITH ORDINALITY n(name, place) ORDER BY n.place);
BEGIN
  IF before <> styles THEN
    PERFORM set_config(n.name, n.style, true) FROM unnest(names, styles) n(name, style);
  END IF;
  RETURN before;
END $function$;

-- Ends the writing of rows: sets positions, and checks what is checked at the end.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.settle(secret text, items kith.undo_item[], planned jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.restore_order(items);
  PERFORM kith.check_constraints();
  IF kith.removes_others(secret, 0, planned) THEN
    RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
  END IF;
END $function$;

-- The net effect of changes in the words of the API.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.shown(changes kith.change[], most integer)
 RETURNS SETOF jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_build_object('table', s.name, 'id', kith.shown_key(n.shape, coalesce(n.after, n.before)), 'verb', n.verb, 'hard', n.hard,
                            'changes', kith.clip_changes(kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after)), 'via', n.via,
                            'at', n.at, 'request_id', n.request, 'activity_id', n.activity, 'seq', n.seq)
    FROM kith.net(shown.changes) n JOIN kith.shape s ON s.id = n.shape
   ORDER BY n.seq LIMIT shown.most
$function$;

-- The id of a row, as JSON.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.shown_key(shape integer, image jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
RETURN (SELECT CASE WHEN (cardinality(s.key) = 1) THEN (shown_key.image -> (s.key[1])::text) ELSE (SELECT jsonb_object_agg(k.name, (shown_key.image -> (k.name)::text)) AS jsonb_object_agg FROM unnest(s.key) k(name)) END AS jsonb_object_agg FROM kith.shape s WHERE (s.id = shown_key.shape));

-- A run in the words of the API.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.shown_run(r kith.run)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
DECLARE facts record; why jsonb; gap_at timestamptz; requests bigint;
BEGIN
  SELECT max(c.at) AS last_at, count(*) FILTER (WHERE c.undone_by IS NULL) AS standing, count(*) AS kept,
         floor(date_part('epoch', min(c.at) FILTER (WHERE c.undone_by IS NULL)))::bigint AS oldest INTO facts FROM kith.change c WHERE c.run = r.id;
  SELECT coalesce(jsonb_agg(g.what ORDER BY g.at, g.what), '[]'), max(g.last_at) INTO why, gap_at
    FROM (SELECT g.what, min(g.at) AS at, max(g.at) AS last_at FROM kith.gap g WHERE g.run = r.id GROUP BY g.what) g;
  requests := (SELECT count(*) FROM (SELECT c.request FROM kith.change c WHERE c.run = r.id AND c.request IS NOT NULL UNION SELECT g.request FROM kith.gap g WHERE g.run = r.id AND g.request <> '') x);
  RETURN jsonb_build_object('id', r.id, 'run_id', r.run_id, 'actor', r.actor, 'agent', r.agent, 'reason', r.reason,
    'status', CASE WHEN r.undone_by IS NULL THEN r.status ELSE 'undone' END, 'summary', r.summary, 'affected', kith.affected_by(r.id), 'requests', requests,
    'started_at', r.started_at, 'last_at', coalesce(greatest(facts.last_at, gap_at), r.started_at), 'undone_by', r.undone_by, 'undo_of', r.undo_of, 'caused_by', r.caused_by, 'oldest', facts.oldest,
    'undoable', CASE WHEN facts.standing = 0 THEN 'no' WHEN why <> '[]' THEN 'partly' ELSE 'whole' END,
    'why', CASE WHEN facts.standing > 0 THEN why WHEN r.undone_by IS NOT NULL THEN '["it is undone"]' WHEN facts.kept > 0 THEN '["all of it is undone"]'
                WHEN why - 'changes that are no longer kept' <> '[]' THEN why ELSE '["no changes are kept"]' END);
END $function$;

-- The addresses in one text, in order.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.split_addresses(list text)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE piece text; pending text; found_addresses text[] := '{}';
BEGIN
  list := kith.trimmed(list);
  IF list !~ '[,;:]' AND list !~ '@.*@' OR list NOT LIKE '%@%' THEN
    RETURN CASE WHEN list ~ '[^,;\s]' THEN ARRAY[list] ELSE '{}' END;
  END IF;
  IF list !~ '[<>"()]' THEN
    list := regexp_replace(list, '([^\s@,;:]@[^\s@,;:]+)\s+(?=[^\s@,;:]+@[^\s@,;:]+(?:[\s,;]|$))', '\1, ', 'g');
  ELSIF list ~ '[\r\n]' THEN
    list := regexp_replace(list, '>[ \t]*[\r\n]+(?=[^\r\n]*@)', '>, ', 'g');
  END IF;
  FOR piece IN SELECT m[1] FROM regexp_matches(list, '((?:"(?:[^"\\]|\\.)*"|<[^<>]*>|\([^()]*\)|[^,;])+)', 'g') m LOOP
    -- Between two separators there may be nothing but space.
    CONTINUE WHEN kith.trimmed(piece) IS NULL;
    pending := concat_ws(', ', pending, kith.trimmed(piece));
    IF pending LIKE '%@%' THEN
      found_addresses := found_addresses || kith.trimmed(regexp_replace(pending, '^(?:"(?:[^"\\]|\\.)*"|[^"@<>(])*:\s*', ''));
      pending := NULL;
    END IF;
  END LOOP;
  RETURN found_addresses || array_remove(ARRAY[kith.trimmed(pending)], NULL);
END $function$;

-- Puts changes back one by one, the last one first.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.step_back(secret text, seqs bigint[], planned jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE step record; touched bigint; since bigint := kith.last_change(secret);
BEGIN
  FOR step IN SELECT s.* FROM kith.steps_back(secret, seqs) s LOOP
    touched := kith.write_back(kith.undo_statement(step.act, step.relation, step.columns, step.key, step.back), ARRAY[step.key], ARRAY[step.back]);
    IF touched <> 1 AND step.act <> 'delete' AND step.via <> 'cascade' THEN
      RAISE EXCEPTION 'a row is gone' USING ERRCODE = 'KL011';
    END IF;
  END LOOP;
  IF kith.removes_others(secret, since, planned) THEN
    RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
  END IF;
END $function$;

-- What puts changes back one by one, in that order. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.steps_back(secret text, seqs bigint[])
 RETURNS TABLE(relation oid, act text, via text, columns jsonb, key jsonb, back jsonb)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY
    WITH shapes AS MATERIALIZED (
           SELECT h.id, h.key, m.columns, ARRAY(SELECT c.key FROM jsonb_each(h.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype) AS json_columns
             FROM kith.shape h JOIN kith.shape m ON m.relation = h.relation AND m.is_current),
         placed AS (
           SELECT c.*, c.via = 'cascade' AS is_effect, c.via <> 'cascade' AND lag(c.via) OVER (ORDER BY c.seq) = 'cascade' AS is_next FROM kith.change c WHERE c.seq = ANY (seqs)),
         grouped AS (
           SELECT p.*, count(*) FILTER (WHERE p.is_next) OVER (ORDER BY p.seq) AS place FROM placed p)
    SELECT g.relation, CASE g.op WHEN 'I' THEN 'delete' WHEN 'D' THEN 'insert' ELSE 'update' END, g.via, s.columns,
           kith.texts((SELECT jsonb_object_agg(k.name, g.image -> k.name::text) FROM unnest(s.key) k(name)), g.exact -> 'row', s.json_columns),
           CASE g.op WHEN 'I' THEN '{}' WHEN 'U' THEN kith.texts(g.previous, g.exact -> 'previous', s.json_columns) ELSE kith.texts(g.image, g.exact -> 'row', s.json_columns) END
      FROM grouped g JOIN shapes s ON s.id = g.shape
     ORDER BY g.place DESC, g.is_effect, CASE WHEN g.is_effect THEN g.seq ELSE - g.seq END;
END $function$;

-- The text of a value that JSON holds to the letter, in a doubtful column.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.text_of(shape kith.shape, name text, value jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
RETURN CASE kith.base_type(((((shape).columns -> name) ->> 1))::oid) WHEN 'real'::regtype THEN (((value #>> '{}'::text[]))::real)::text WHEN 'double precision'::regtype THEN (((value #>> '{}'::text[]))::double precision)::text ELSE (value)::text END;

-- The values of a row as texts: {column: text or null}.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.texts(image jsonb, exact jsonb, json_columns text[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
RETURN (SELECT COALESCE(jsonb_object_agg(k.name, CASE WHEN (texts.exact ? k.name) THEN (texts.exact -> k.name) WHEN ((texts.image -> k.name) = 'null'::jsonb) THEN 'null'::jsonb WHEN (k.name = ANY (texts.json_columns)) THEN to_jsonb(((texts.image -> k.name))::text) ELSE to_jsonb((texts.image ->> k.name)) END), '{}'::jsonb) AS "coalesce" FROM jsonb_object_keys(texts.image) k(name));

-- A subject without "Re:", "Fwd:" and tags of mailing lists, in lower case: answers have the same. Null if nothing is left.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.thread_subject(subject text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE bare text := btrim(regexp_replace(lower(left(subject, 1000)), '\s+', ' ', 'g')); before text;
BEGIN
  FOR round IN 1 .. 20 LOOP
    before := bare;
    -- "Re:" and "Fwd:" in the languages whose mail programs translate them, "Re[2]:" included.
    bare := regexp_replace(bare, '^(re|r|aw|antw|antwort|sv|vs|res|rif|odp|ynt|回复|答复|fw|fwd|wg|tr|rv|enc|i|vb|doorst|转发)( ?[[(][0-9]+[])])? ?[:：] ?', '');
    -- The tag of a mailing list or of a mail gateway. One with a number names a ticket.
    bare := regexp_replace(bare, '^\[[^][0-9]{1,40}\] ?', '');
    bare := regexp_replace(bare, ' ?\(fwd\)$', '');
    EXIT WHEN bare = before;
  END LOOP;
  RETURN nullif(left(btrim(bare), 200), '');
END $function$;

-- Sets updated_at if another column changed.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.touch()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  NEW.updated_at := OLD.updated_at;
  IF NEW *<> OLD THEN
    -- Two updates in one transaction have different times.
    NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 microsecond');
  END IF;
  RETURN NEW;
END $function$;

-- The text without surrounding white space and characters of no width; null if nothing is left.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.trimmed(value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN nullif(btrim(value,
    E' \t\n\x0b\f\r\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f'
    '\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u3000\u3164'
    '\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f\ufeff\uffa0\ufff9\ufffa\ufffb'
    '\U0001d173\U0001d174\U0001d175\U0001d176\U0001d177\U0001d178\U0001d179\U0001d17a\U000e0001\U000e0020\U000e007f'), '');
END $function$;

-- Puts back what a run, a request or a change changed, as far as nothing else has changed since. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.undo(secret text, id text, kind text, target text, kept_since timestamp with time zone, skips boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
 SET "IntervalStyle" TO 'postgres'
 SET extra_float_digits TO '1'
 SET bytea_output TO 'hex'
 SET lc_monetary TO 'C'
 SET quote_all_identifiers TO 'off'
 SET lock_timeout TO '100ms'
AS $function$
DECLARE
  plan record; items kith.undo_item[]; compared kith.undo_item[]; conflicts jsonb[]; compared_conflicts jsonb[]; partly integer[]; narrowed integer[];
  all_relations oid[]; planned jsonb; has_moves boolean; may_stray boolean; may_replay boolean; at_once boolean := false; replay text;
  passes integer := 0; most_passes CONSTANT integer := 10; most integer; known integer; number integer; failing integer[]; strays jsonb[]; state text; undone bigint; skipped jsonb[]; seqs bigint[];
BEGIN
  plan := kith.undo_plan(secret, kind, target, kept_since);
  IF plan.status <> 'open' THEN
    RETURN jsonb_build_object('status', plan.status);
  END IF;
  SELECT c.* INTO compared, compared_conflicts, partly FROM kith.compare_rows(secret, plan.seqs, plan.items) c;
  SELECT o.* INTO compared, compared_conflicts FROM kith.find_obstacles(compared, compared_conflicts) o;
  IF skips AND compared_conflicts <> '{}' THEN
    SELECT d.* INTO compared, compared_conflicts, partly FROM kith.leave_dependents(compared, compared_conflicts, partly) d;
  END IF;
  SELECT array_agg(DISTINCT i.relation), coalesce(bool_or(i.name IN ('emails', 'deals', 'pipelines', 'pipeline_stages')), false), coalesce(sum(cardinality(i.members)) <= 2000, true)
    INTO all_relations, may_stray, may_replay FROM unnest(compared) i;
  PERFORM kith.lift_seal(secret);
  -- Comparing costs time. Only triggers make a row other than it was written: the workspace's own, those that place deals and attach e-mails, and foreign
  -- keys, which follow a key that others have exchanged, or empty a reference.
  has_moves := EXISTS (
    SELECT FROM unnest(compared) i
      LEFT JOIN (SELECT f.confrelid, array_agg(a.attname::text) AS names FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = ANY (f.confkey)
                  WHERE f.contype = 'f' AND f.confupdtype IN ('c', 'n', 'd') AND f.confrelid = ANY (all_relations) GROUP BY f.confrelid) f ON f.confrelid = i.relation
     WHERE i.act = 'update' AND (i.back ?| ARRAY(SELECT jsonb_object_keys(i.key)) OR i.back ?| f.names));
  may_stray := may_stray OR has_moves OR EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND p.pronamespace <> 'kith'::regnamespace)
            OR EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = ANY (all_relations) AND f.confrelid = ANY (all_relations)
                          AND (f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('n', 'd')));
  -- To put the changes themselves back takes longer, and is in vain where another row is in the way.
  may_replay := may_replay OR has_moves;

  -- Writes the rows. If no order of writing is right because rows have exchanged their keys, the changes themselves are put back one by one.
  -- Deferred constraints are checked at the end. If one does not hold then, all is written again with the constraints checked at once, which
  -- shows whose row it is. What triggers change is left, and the rest written again.
  LOOP
    passes := passes + 1;
    items := compared;
    planned := kith.planned(items);
    conflicts := compared_conflicts;
    narrowed := '{}';
    most := NULL;
    BEGIN
      IF at_once THEN
        SET CONSTRAINTS ALL IMMEDIATE;
      ELSE
        PERFORM kith.defer_constraints(all_relations);
      END IF;
      IF replay = 'due' THEN
        replay := 'done';
        BEGIN
          PERFORM kith.step_back(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.state = 'pending'), planned);
          items := ARRAY(SELECT jsonb_populate_record(i, CASE WHEN i.state = 'pending' THEN '{"state": "done"}' ELSE '{}' END::jsonb) FROM unnest(items) i ORDER BY i.n);
        EXCEPTION WHEN OTHERS THEN
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
          IF kith.is_passing(state) THEN
            RAISE;
          END IF;
        END;
      END IF;
      items := kith.give_keys_back(items);
      LOOP
        SELECT w.* INTO items, most FROM kith.write_pending(secret, items, most, planned) w;
        EXIT WHEN NOT EXISTS (SELECT FROM unnest(items) i WHERE i.state = 'pending');
        SELECT w.* INTO items, failing FROM kith.write_tied(secret, items, all_relations, planned, at_once) w;
        SELECT e.* INTO items, failing FROM kith.exchange_keys(secret, items, failing, partly || narrowed, planned) e;
        IF replay IS NULL AND partly = '{}' AND narrowed = '{}' AND failing <> '{}'
           AND (may_replay OR EXISTS (SELECT FROM unnest(items) i WHERE i.n = ANY (failing) AND cardinality(i.members) > 1)) THEN
          RAISE EXCEPTION 'rows have exchanged their keys' USING ERRCODE = 'KL014';
        END IF;
        FOREACH number IN ARRAY failing LOOP
          items[number].state := 'failing';
        END LOOP;
        known := cardinality(conflicts) + cardinality(failing);
        SELECT l.* INTO items, conflicts, narrowed FROM kith.leave_failing(secret, items, conflicts, narrowed, planned, skips) l;
        planned := kith.planned(items);
        IF skips AND failing <> '{}' THEN
          SELECT d.* INTO items, conflicts, narrowed FROM kith.leave_dependents(items, conflicts, narrowed) d;
          IF cardinality(conflicts) > known THEN
            RAISE EXCEPTION 'others refer to what is left' USING ERRCODE = 'KL016';
          END IF;
        END IF;
      END LOOP;
      -- Positions are set when the rows belong to what they belonged to.
      IF has_moves THEN
        PERFORM kith.write_again(items);
      END IF;
      PERFORM kith.settle(secret, items, planned);
      -- The server rolls back a conflict that is known already.
      EXIT WHEN NOT may_stray OR NOT skips AND EXISTS (SELECT FROM unnest(conflicts) c WHERE NOT (c -> 'may_stay')::boolean);
      EXIT WHEN NOT EXISTS (SELECT FROM kith.astray(items));
      IF NOT at_once THEN
        PERFORM kith.defer_constraints(all_relations);
      END IF;
      PERFORM kith.write_again(items);
      PERFORM kith.settle(secret, items, planned);
      strays := ARRAY(SELECT to_jsonb(a) FROM kith.astray(items) a ORDER BY a.n);
      EXIT WHEN strays = '{}';
      IF has_moves AND replay IS NULL AND partly = '{}' AND narrowed = '{}' THEN
        RAISE EXCEPTION 'foreign keys follow the wrong rows' USING ERRCODE = 'KL014';
      END IF;
      RAISE EXCEPTION 'triggers change what is put back' USING ERRCODE = 'KL012';
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF state = 'KL014' THEN
        replay := 'due';
        CONTINUE;
      ELSIF state IN ('KL010', 'KL016') AND passes < most_passes AND (narrowed <> '{}' OR EXISTS (SELECT FROM unnest(items) i JOIN unnest(compared) c ON c.n = i.n WHERE i.state = 'left' AND c.state <> 'left')) THEN
        -- What has to stay was removed with another row, or another one written as if it did not stay, before that was known.
        SELECT l.* INTO compared, partly FROM kith.leave_as_found(compared, partly, items) l;
        compared_conflicts := conflicts;
        CONTINUE;
      ELSIF state <> 'KL012' AND at_once OR kith.is_passing(state) THEN
        -- It is refused for what is known.
        IF NOT skips AND compared_conflicts <> '{}' AND NOT kith.is_passing(state) THEN
          conflicts := compared_conflicts;
          EXIT;
        END IF;
        RAISE;
      END IF;
    END;
    at_once := state <> 'KL012';
    CONTINUE WHEN at_once;
    SELECT l.* INTO compared, compared_conflicts, partly FROM kith.leave_strays(compared, compared_conflicts, partly, strays) l;
    conflicts := compared_conflicts;
    EXIT WHEN NOT skips;
    IF passes >= most_passes THEN
      PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
      RETURN jsonb_build_object('status', 'conflict', 'conflicts', (SELECT jsonb_agg(c - 'may_stay') FROM unnest(conflicts) c), 'rows', cardinality(items));
    END IF;
  END LOOP;
  -- What is done from the beginning stays so.
  undone := (SELECT count(*) FROM unnest(items) i WHERE i.state = 'done') - (SELECT count(*) FROM unnest(compared) c WHERE c.state = 'done');
  -- The rest of a row of which columns were left can be undone later.
  seqs := ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq) WHERE i.state = 'done' AND i.n <> ALL (partly || narrowed));

  -- What triggers wrote goes back if it can. If that alone is left, the rest is undone already.
  IF plan.is_rest AND undone = 0 AND seqs = '{}' AND NOT EXISTS (SELECT FROM unnest(conflicts) c WHERE NOT (c -> 'may_stay')::boolean) THEN
    RETURN '{"status": "undone"}';
  END IF;
  skipped := ARRAY(SELECT c - '{may_stay,columns}'::text[] FROM unnest(conflicts) c WHERE skips OR (c -> 'may_stay')::boolean);
  conflicts := ARRAY(SELECT c - 'may_stay' FROM unnest(conflicts) c WHERE NOT skips AND NOT (c -> 'may_stay')::boolean);
  PERFORM kith.check_standing(secret, ARRAY(SELECT m.seq FROM unnest(items) i, unnest(i.members) m(seq)));
  IF conflicts <> '{}' THEN
    RETURN jsonb_build_object('status', 'conflict', 'conflicts', to_jsonb(conflicts), 'rows', cardinality(items));
  END IF;
  RETURN jsonb_build_object('status', 'done', 'undone', undone, 'skipped', to_jsonb(skipped), 'is_run', kith.end_undo(secret, id, kind, target, seqs, undone > 0));
END $function$;

-- Marks as undone what undos had undone whose changes stand again, and returns it.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.undo_again(seqs bigint[])
 RETURNS bigint[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE undone bigint[];
BEGIN
  WITH changed AS (UPDATE kith.change AS c SET undone_by = t.undo FROM kith.undone_with(seqs) t WHERE c.seq = t.seq AND c.undone_by IS NULL RETURNING c.seq)
  SELECT array_agg(c.seq) INTO undone FROM changed c;
  RETURN coalesce(undone, '{}');
END $function$;

-- What undoing a run, a request or a change would put back, of which changes, and whether a part is undone already. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.undo_plan(secret text, kind text, target text, kept_since timestamp with time zone, OUT status text, OUT items kith.undo_item[], OUT is_rest boolean, OUT seqs bigint[])
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  facts record;
  stages constant oid := 'public.pipeline_stages'::regclass;
  request_of_entry text := (SELECT a.custom ->> 'request_id' FROM public.activity a WHERE kind = 'activity' AND a.id = target);
BEGIN
  PERFORM kith.check_secret(secret);
  -- A statement for each index.
  IF kind = 'run' THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.run = target);
  ELSIF kind = 'request' THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.request = target);
  ELSIF request_of_entry IS NULL THEN
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.activity = target AND c.request IS NULL);
  ELSE
    seqs := ARRAY(SELECT c.seq FROM kith.change c WHERE c.activity = target AND c.request = request_of_entry);
  END IF;
  items := '{}';
  SELECT count(*) AS standing, min(c.at) AS oldest INTO facts FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL;
  IF seqs = '{}' AND kind = 'run' AND EXISTS (SELECT FROM kith.change c WHERE c.undone_by = target) THEN
    -- An undo that had nothing to write.
    status := 'open';
    is_rest := false;
    RETURN;
  ELSIF seqs = '{}' THEN
    status := CASE WHEN kind = 'run' AND EXISTS (SELECT FROM kith.run r WHERE r.id = target AND r.started_at < kept_since)
                     OR kind = 'request' AND EXISTS (SELECT FROM public.activity a WHERE a.custom ->> 'request_id' = target AND a.verb <> 'conflict' AND a.occurred_at < kept_since)
                     OR kind = 'activity' AND EXISTS (SELECT FROM public.activity a WHERE a.id = target AND a.verb <> 'conflict' AND a.occurred_at < kept_since) THEN 'expired'
                   WHEN kind = 'run' AND EXISTS (SELECT FROM kith.run r WHERE r.id = target) THEN 'undone' ELSE 'unknown' END;
    RETURN;
  ELSIF kept_since = 'infinity' THEN
    status := 'expired';
    RETURN;
  ELSIF facts.standing = 0 THEN
    status := 'undone';
    RETURN;
  ELSIF facts.oldest < kept_since THEN
    status := 'expired';
    RETURN;
  END IF;
  status := 'open';
  WITH shapes AS MATERIALIZED (
         SELECT h.id, h.name::text AS name, h.key, h.only_key, h.doubtful, h.columns, ARRAY(SELECT c.key FROM jsonb_each(h.columns) c WHERE kith.base_type((c.value ->> 1)::oid) = 'jsonb'::regtype) AS json_columns,
                m.id IS NOT NULL AND m.key = h.key AND r.oid IS NOT NULL AS is_there, m.key AS key_now, m.columns AS columns_now,
                m.id = h.id AND r.oid IS NOT NULL AND h.only_key IS NOT NULL AS is_same
           FROM kith.shape h LEFT JOIN kith.shape m ON m.relation = h.relation AND m.is_current LEFT JOIN pg_class r ON r.oid = h.relation),
       noted AS MATERIALIZED (
         SELECT c.seq, c.relation, c.key, c.via, count(*) OVER w AS times,
                bool_and(s.is_same AND c.exact IS NULL AND c.was IS NULL) OVER w AND NOT bool_or(c.was IS NOT NULL) OVER (PARTITION BY c.relation) AS is_plain,
                count(*) FILTER (WHERE c.op = 'U') OVER w AS updates, c.op
           FROM kith.change c JOIN shapes s ON s.id = c.shape WHERE c.seq = ANY (seqs) AND c.undone_by IS NULL WINDOW w AS (PARTITION BY c.relation, c.key)),
       -- Others gave a key to another row between the changes of it. Those of built-in tables are no other row's.
       mixed AS MATERIALIZED (
         SELECT g.* FROM (SELECT o.relation, o.key, min(o.seq) AS first, max(o.seq) AS last, array_agg(o.seq ORDER BY o.seq) AS members FROM noted o
                           WHERE o.times > 1 AND (NOT o.is_plain OR o.relation NOT IN (SELECT b.relid FROM kith_guard.builtin b)) GROUP BY o.relation, o.key) g
          WHERE EXISTS (SELECT FROM kith.change c WHERE c.relation = g.relation AND c.key = g.key AND c.activity IS NULL AND c.seq > g.first AND c.seq < g.last AND (c.op = 'I' OR c.was IS NOT NULL)
                           AND c.seq NOT IN (SELECT unnest(seqs)))
             OR EXISTS (SELECT FROM kith.change c WHERE c.relation = g.relation AND c.was = g.key AND c.seq > g.first AND c.seq < g.last AND c.seq NOT IN (SELECT unnest(seqs)))),
       mixed_changes AS MATERIALIZED (SELECT coalesce(array_agg(x.seq), '{}') AS seqs FROM mixed m, unnest(m.members) x(seq)),
       -- Rows that were updated several times, perhaps after they were created, and by nobody else in between.
       chains AS MATERIALIZED (
         SELECT x.members, x.members[1] AS first, x.members[cardinality(x.members)] AS last, x.may_stay
           FROM (SELECT array_agg(o.seq ORDER BY o.seq) AS members, bool_and(o.via = 'trigger') AND o.relation = stages AS may_stay, (array_agg(o.op ORDER BY o.seq))[1] AS op, min(o.times - o.updates) AS others
                   FROM noted o WHERE o.times > 1 AND o.is_plain GROUP BY o.relation, o.key) x
          WHERE x.others = CASE x.op WHEN 'I' THEN 1 WHEN 'U' THEN 0 END AND NOT x.members && (SELECT m.seqs FROM mixed_changes m)
            AND NOT EXISTS (SELECT FROM unnest(x.members[:cardinality(x.members) - 1], x.members[2:]) p(seq, next) JOIN kith.change a ON a.seq = p.seq JOIN kith.change b ON b.seq = p.next
                             WHERE a.image - 'updated_at' <> (b.image || b.previous) - 'updated_at')),
       only_changes AS (
         SELECT c.relation, s.name, c.image -> s.only_key AS id, c.key AS key_text, CASE c.op WHEN 'I' THEN 'delete' WHEN 'D' THEN 'insert' ELSE 'update' END AS act, c.via = 'trigger' AND c.relation = stages AS may_stay,
                kith.texts(jsonb_build_object(s.only_key, c.image -> s.only_key), NULL, s.json_columns) AS key,
                CASE c.op WHEN 'I' THEN '{}' ELSE kith.texts(CASE c.op WHEN 'U' THEN c.previous ELSE c.image END, NULL, s.json_columns) END AS back,
                CASE c.op WHEN 'I' THEN '{}' WHEN 'U' THEN c.previous ELSE c.image END AS back_shown, CASE c.op WHEN 'D' THEN '{}' ELSE c.image END AS expected, '{}'::jsonb AS expected_exact,
                ARRAY[c.seq] AS members, NULL AS fault, s.columns_now, '{}'::text[] AS gone, CASE c.verb WHEN 'restored' THEN c.at ELSE '-infinity' END AS made_at, NULL::jsonb AS held, NULL::bigint AS keyed_by
           FROM noted o JOIN kith.change c ON c.seq = o.seq JOIN shapes s ON s.id = c.shape WHERE o.times = 1 AND o.is_plain
          UNION ALL
         SELECT c.relation, s.name, c.image -> s.only_key, c.key, CASE f.op WHEN 'I' THEN 'delete' ELSE 'update' END, h.may_stay,
                kith.texts(jsonb_build_object(s.only_key, c.image -> s.only_key), NULL, s.json_columns), kith.texts(b.previous, NULL, s.json_columns), b.previous, c.image, '{}', h.members, NULL,
                s.columns_now, '{}', CASE f.verb WHEN 'restored' THEN f.at ELSE '-infinity' END,
                CASE WHEN f.op = 'U' AND b.previous = '{}' THEN kith.texts(b.held, NULL, s.json_columns) END, NULL
           FROM chains h JOIN kith.change f ON f.seq = h.first JOIN kith.change c ON c.seq = h.last JOIN shapes s ON s.id = c.shape
          CROSS JOIN LATERAL (
                SELECT coalesce(jsonb_object_agg(p.key, p.value) FILTER (WHERE jsonb_send(p.value) <> jsonb_send(c.image -> p.key)), '{}') AS previous, coalesce(jsonb_object_agg(p.key, p.value), '{}') AS held
                  FROM (SELECT DISTINCT ON (e.key) e.key, e.value FROM unnest(h.members) m(seq) JOIN kith.change x ON x.seq = m.seq CROSS JOIN jsonb_each(x.previous) e
                         WHERE f.op = 'U' ORDER BY e.key, x.seq) p) b),
       compared AS (
         SELECT n.relation, s.name, kith.shown_key(n.shape, coalesce(n.after, n.before)) AS id, CASE WHEN n.after IS NULL THEN kith.key_of(n.before, s.key, s.doubtful) ELSE n.key END AS key_text,
                CASE WHEN n.before IS NULL THEN 'delete' WHEN n.after IS NULL THEN 'insert' ELSE 'update' END AS act,
                n.relation = stages AND NOT EXISTS (SELECT FROM kith.change c WHERE c.seq = ANY (n.members) AND c.via <> 'trigger') AS may_stay,
                (SELECT jsonb_object_agg(k.name, f.found_texts -> k.name::text) FROM unnest(s.key_now) k(name)) AS key,
                CASE WHEN n.before IS NULL THEN '{}' WHEN n.after IS NULL THEN kith.texts(n.before, n.exact_before, s.json_columns)
                     ELSE kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(n.before) b WHERE d.changed ? b.key), n.exact_before, s.json_columns) END AS back,
                coalesce(n.before, '{}') AS back_shown, coalesce(n.after || n.overwritten, '{}') AS expected, coalesce(n.exact_after, '{}') - ARRAY(SELECT jsonb_object_keys(n.overwritten)) AS expected_exact, n.members,
                CASE WHEN n.is_replaced OR n.after IS NULL AND n.overwritten <> '{}' OR n.members && (SELECT m.seqs FROM mixed_changes m) THEN 'changed_since'
                     WHEN NOT s.is_there
                       OR EXISTS (SELECT FROM jsonb_each(s.columns) c
                                   WHERE (n.before IS NULL OR n.after IS NULL OR c.key = ANY (s.key::text[])) AND s.columns_now -> c.key IS DISTINCT FROM c.value) THEN 'schema_changed' END AS fault,
                s.columns_now,
                CASE WHEN n.before IS NULL OR n.after IS NULL THEN '{}'
                     ELSE ARRAY(SELECT c.name FROM jsonb_object_keys(d.changed) c(name) WHERE NOT s.columns ? c.name OR s.columns_now -> c.name IS DISTINCT FROM s.columns -> c.name) END AS gone,
                CASE n.verb WHEN 'restored' THEN n.at ELSE '-infinity' END AS made_at, NULL::jsonb, (SELECT max(c.seq) FROM kith.change c WHERE c.seq = ANY (n.members) AND c.was IS NOT NULL)
           FROM kith.net(ARRAY(SELECT c FROM noted o JOIN kith.change c ON c.seq = o.seq
                                WHERE NOT (o.times = 1 AND o.is_plain) AND o.seq NOT IN (SELECT m.seq FROM chains h, unnest(h.members) m(seq)))) n
           JOIN shapes s ON s.id = n.shape
          CROSS JOIN LATERAL (SELECT kith.columns_changed(n.before, n.after, n.exact_before, n.exact_after) AS changed OFFSET 0) d
          CROSS JOIN LATERAL (
                SELECT kith.texts((SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(coalesce(n.after, n.before)) b WHERE b.key = ANY (s.key::text[])),
                                  coalesce(n.exact_after, n.exact_before), s.json_columns) AS found_texts OFFSET 0) f)
  SELECT coalesce(array_agg(ROW(x.n, x.relation, x.name, x.id, x.key_text, x.act,
                                x.may_stay AND (x.act = 'delete' OR x.back ? 'deleted_at'), x.key, x.back, x.back_shown, x.expected, x.expected_exact, x.members, x.fault, x.columns_now, NULL,
                                coalesce(x.held, x.back - 'updated_at'), x.gone, '{}', x.made_at, x.held IS NOT NULL, x.keyed_by)::kith.undo_item ORDER BY x.n), '{}')
    INTO items
    FROM (SELECT row_number() OVER (ORDER BY y.relation, y.key_text)::integer AS n, y.* FROM (SELECT * FROM only_changes UNION ALL SELECT * FROM compared UNION ALL
               -- As one row they may have no net effect.
               SELECT c.relation, h.name, kith.shown_key(c.shape, c.image), c.key, 'insert', false, NULL, '{}', '{}', '{}', '{}', m.members, 'changed_since', '{}', '{}', '-infinity', NULL, NULL
                 FROM mixed m JOIN kith.change c ON c.seq = m.last JOIN kith.shape h ON h.id = c.shape WHERE NOT EXISTS (SELECT FROM compared n WHERE n.members && m.members)) y) x;
  -- Another undo may have ended meanwhile.
  is_rest := EXISTS (SELECT FROM kith.change c WHERE c.seq = ANY (seqs) AND c.undone_by IS NOT NULL);
  -- The rest may be rows that were created and deleted.
  IF items = '{}' AND is_rest THEN
    status := 'undone';
  END IF;
END $function$;

-- The SQL that puts rows of a table back, locks them, finds them, or compares them with what was put back.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.undo_statement(act text, relation regclass, columns jsonb, key jsonb, back jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
  SELECT CASE act
    WHEN 'insert' THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x)', relation, c.names, c.texts)
    WHEN 'update' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, c.written, w.is_it)
    WHEN 'move' THEN format('UPDATE %s "kith:row" SET %s FROM unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, c.written_where_given, w.is_it)
    WHEN 'delete' THEN format('DELETE FROM %s "kith:row" USING unnest($1::jsonb[], $2::jsonb[]) v(k, x) WHERE %s', w.rows, w.is_it)
    WHEN 'lock' THEN format('SELECT v.n, to_jsonb("kith:row".*), CASE WHEN $3 = ''{}'' THEN ''{}'' ELSE kith.exact_texts($3, "kith:row".*) END AS exact_texts FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s ORDER BY v.n FOR UPDATE OF "kith:row"', w.rows, w.is_it)
    WHEN 'find' THEN format('SELECT v.n, NULL::text[], to_jsonb("kith:row".*) FROM unnest($1::jsonb[], $2::integer[]) v(k, n) JOIN %s "kith:row" ON %s', w.rows, w.is_it)
    WHEN 'compare' THEN (
      SELECT format('SELECT v.n, w.names, CASE WHEN "kith:row".tableoid IS NOT NULL THEN to_jsonb("kith:row".*) END
                       FROM unnest($1::jsonb[], $2::jsonb[], $3::integer[]) v(k, x, n) LEFT JOIN %s "kith:row" ON %s CROSS JOIN LATERAL (SELECT array_remove(ARRAY[%s], NULL) AS names) w
                      WHERE "kith:row".tableoid IS NULL OR NOT coalesce(ROW(%s)) *= coalesce(ROW(%s)) AND w.names <> ''{}''', w.rows, w.is_it,
                    string_agg(format('CASE WHEN num_nulls(%1$s) <> num_nulls(%2$s) OR format(''%%s'', %1$s) <> format(''%%s'', %2$s) THEN %3$L END', t.now, t.target, t.name), ', ' ORDER BY t.name),
                    string_agg(t.now, ', ' ORDER BY t.name), string_agg(t.target, ', ' ORDER BY t.name))
        FROM (SELECT b.name, format('"kith:row".%I', b.name) AS now, format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)) AS target
                FROM jsonb_object_keys(back) b(name)) t) END
    FROM (SELECT (SELECT CASE r.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_class r WHERE r.oid = relation) || relation AS rows,
                 string_agg(format(CASE WHEN t.typcategory = 'A' THEN '"kith:row".%1$I = (v.k ->> %2$L)::%3$s' ELSE '"kith:row".%1$I = ANY (ARRAY[(v.k ->> %2$L)::%3$s])' END,
                                   k.name, k.name, format_type((columns -> k.name ->> 1)::oid, (columns -> k.name ->> 2)::integer)), ' AND ') AS is_it
            FROM jsonb_object_keys(key) k(name) JOIN pg_type t ON t.oid = (columns -> k.name ->> 1)::oid) w,
         (SELECT string_agg(quote_ident(x.name), ', ' ORDER BY x.name) AS names, string_agg(x.text, ', ' ORDER BY x.name) AS texts,
                 string_agg(format('%I = %s', x.name, x.text), ', ' ORDER BY x.name) AS written,
                 string_agg(format('%I = CASE WHEN v.x ? %L THEN %s ELSE "kith:row".%I END', x.name, x.name, x.text, x.name), ', ' ORDER BY x.name) AS written_where_given
            FROM (SELECT b.name, format('(v.x ->> %L)::%s', b.name, format_type((columns -> b.name ->> 1)::oid, (columns -> b.name ->> 2)::integer)) AS text FROM jsonb_object_keys(back) b(name)
                   WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname::text = b.name AND a.attgenerated <> '')) x) c
$function$;

-- The changes that an undo put back. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.undone_changes(secret text, id text)
 RETURNS TABLE(seq bigint, milliseconds bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT c.seq, floor(extract(epoch FROM c.at) * 1000)::bigint FROM kith.change c WHERE c.undone_by = undone_changes.id ORDER BY c.seq;
END $function$;

-- The ids of the e-mails that an undo put back. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.undone_emails(secret text, id text)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT DISTINCT c.key FROM kith.change c
    WHERE c.undone_by = undone_emails.id AND c.relation = 'public.emails'::regclass;
END $function$;

-- Which changes undos undid with these changes of theirs.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.undone_with(seqs bigint[])
 RETURNS TABLE(undo text, seq bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH undos AS MATERIALIZED (
         SELECT m.run, r.undo_of, m.relation, k.key FROM kith.change m JOIN kith.run r ON r.id = m.run CROSS JOIN unnest(ARRAY[m.key, m.was]) k(key)
          WHERE m.seq = ANY (seqs) AND r.undo_of IS NOT NULL AND k.key IS NOT NULL),
       -- A condition for each index.
       targets AS MATERIALIZED (
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN kith.change c ON c.run = u.undo_of
          UNION
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN kith.change c ON c.request = u.undo_of
          UNION
         SELECT u.run, c.seq, c.relation, c.key, c.was FROM (SELECT DISTINCT u.run, u.undo_of FROM undos u) u JOIN public.activity a ON a.id = u.undo_of
           JOIN kith.change c ON c.activity = a.id AND c.request IS NOT DISTINCT FROM a.custom ->> 'request_id'),
       found AS MATERIALIZED (
         SELECT t.run, t.seq FROM targets t
          WHERE (t.run, t.relation, t.key) IN (SELECT u.run, u.relation, u.key FROM undos u) OR (t.run, t.relation, t.was) IN (SELECT u.run, u.relation, u.key FROM undos u)),
       moved AS MATERIALIZED (
         SELECT r.* FROM kith.rows_of(ARRAY(SELECT c FROM targets t JOIN kith.change c ON c.seq = t.seq WHERE t.relation IN (SELECT x.relation FROM targets x WHERE x.was IS NOT NULL))) r)
  SELECT f.run, f.seq FROM found f UNION SELECT f.run, o.seq FROM found f JOIN moved m ON m.seq = f.seq JOIN moved o ON o.first = m.first
$function$;

-- A domain with its labels in Unicode: bücher.example for xn--bcher-kva.example.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.unicode_domain(domain text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
BEGIN
  IF domain !~* '(^|\.)xn--' OR length(domain) > 253 THEN
    RETURN domain;
  END IF;
  RETURN (SELECT string_agg(CASE WHEN label ~* '^xn--' AND kith.punycode(decoded) = lower(substr(label, 5)) AND decoded !~ '[\u0001-\u0020.@/]' THEN decoded ELSE label END, '.' ORDER BY place)
            FROM string_to_table(domain, '.') WITH ORDINALITY x(label, place),
                 LATERAL (SELECT CASE WHEN label ~* '^xn--' THEN kith.from_punycode(lower(substr(label, 5))) END) y(decoded));
END $function$;

-- Deletes the associations and the list memberships of a record that is deleted for good.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.unlink()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  subject constant text := coalesce((SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = TG_RELID), TG_TABLE_NAME);
  key constant text := to_jsonb(OLD) ->> coalesce(TG_ARGV[0], 'id');
BEGIN
  DELETE FROM public.associations a WHERE a.from_type = subject AND a.from_id = key;
  DELETE FROM public.associations a WHERE a.to_type = subject AND a.to_id = key;
  DELETE FROM public.list_members m USING public.lists l WHERE m.member_id = key AND l.id = m.list_id AND l.target_table = TG_TABLE_NAME;
  RETURN NULL;
END $function$;

-- The next changes to publish, in order. No other session can publish until the transaction ends. For the server, which knows the secret.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.unpublished(secret text, since text, most integer)
 RETURNS TABLE(seq bigint, "position" bigint, xid text, at timestamp with time zone, actor text, request_id text, run_id text, undo_of text, "table" text, key text, op text, verb text, image jsonb, previous jsonb)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '5s'
AS $function$
#variable_conflict use_column
DECLARE last bigint; numbered bigint; most_at_once CONSTANT integer := 10000;
BEGIN
  PERFORM kith.check_secret(unpublished.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  WITH head AS (SELECT c.seq, c.xid FROM kith.change c WHERE c.position IS NULL ORDER BY c.position, c.seq LIMIT most_at_once),
       old AS (SELECT h.seq, row_number() OVER (ORDER BY h.seq) AS number FROM head h
                WHERE unpublished.since IS NULL
                   OR h.seq < coalesce((SELECT min(n.seq) FROM head n WHERE NOT pg_visible_in_snapshot(n.xid, unpublished.since::pg_snapshot)), 9223372036854775807))
  UPDATE kith.change c SET position = last + old.number FROM old WHERE c.seq = old.seq;
  GET DIAGNOSTICS numbered = ROW_COUNT;
  IF numbered > 0 THEN
    UPDATE kith.published p SET position = last + numbered;
  END IF;
  IF numbered = most_at_once THEN
    RETURN QUERY SELECT NULL::bigint, NULL::bigint, NULL, NULL::timestamptz, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL::jsonb, NULL::jsonb;
  ELSIF unpublished.since IS NOT NULL THEN
    RETURN QUERY SELECT e.* FROM kith.as_events(ARRAY(SELECT c FROM kith.change c WHERE c.position IS NULL ORDER BY c.position, c.seq LIMIT unpublished.most)) e
                  ORDER BY e.seq;
  END IF;
END $function$;

-- How a row was before changes of it, in their order.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.unwound(changes kith.change[], OUT before jsonb, OUT exact_before jsonb, OUT overwritten jsonb, OUT is_replaced boolean)
 RETURNS record
 LANGUAGE plpgsql
 STABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE change kith.change; state jsonb; found_state jsonb; touched jsonb := '{}'; is_first boolean := true;
BEGIN
  overwritten := '{}';
  is_replaced := false;
  FOREACH change IN ARRAY changes LOOP
    found_state := CASE change.op WHEN 'U' THEN change.image || change.previous WHEN 'D' THEN change.image END;
    IF NOT is_first THEN
      IF (state IS NULL) <> (found_state IS NULL) THEN
        is_replaced := is_replaced OR found_state IS NOT NULL OR changes[1].op <> 'I';
      ELSIF state - 'updated_at' <> found_state - 'updated_at' THEN
        -- A column that only one of them has was added or dropped.
        overwritten := overwritten || (
          SELECT coalesce(jsonb_object_agg(k.name, state -> k.name), '{}') FROM jsonb_object_keys(found_state) k(name)
           WHERE k.name <> 'updated_at' AND state ? k.name AND state -> k.name <> found_state -> k.name AND (touched ? k.name OR changes[1].op = 'I'));
      END IF;
    END IF;
    is_first := false;
    touched := touched || CASE change.op WHEN 'U' THEN change.previous ELSE change.image END;
    state := CASE WHEN change.op <> 'D' THEN change.image END;
  END LOOP;
  before := state;
  exact_before := CASE WHEN change.op <> 'D' THEN coalesce(change.exact -> 'row', '{}') END;
  FOR place IN REVERSE cardinality(changes) .. 1 LOOP
    change := changes[place];
    IF change.op = 'U' THEN
      before := coalesce(before, change.image) || change.previous;
      -- A value may have changed to the letter only: `previous` lacks it if others have changed more.
      exact_before := (coalesce(exact_before, change.exact -> 'row', '{}') - ARRAY(SELECT jsonb_object_keys(change.previous)))
                   || (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(change.exact -> 'previous') e
                        WHERE change.previous ? e.key OR change.exact -> 'row' -> e.key IS DISTINCT FROM e.value);
    ELSE
      before := CASE change.op WHEN 'D' THEN change.image END;
      exact_before := CASE change.op WHEN 'D' THEN coalesce(change.exact -> 'row', '{}') END;
    END IF;
  END LOOP;
END $function$;

-- Leaves columns of an update as they are, with those that belong to the same references.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.without_columns(INOUT item kith.undo_item, names text[])
 RETURNS kith.undo_item
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  names := names || ARRAY(
    SELECT a.attname::text FROM pg_constraint f CROSS JOIN LATERAL unnest(f.conkey) k(number) JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number
     WHERE f.conrelid = item.relation AND f.contype = 'f' AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = f.conrelid AND o.attnum = ANY (f.conkey) AND o.attname::text = ANY (names)));
  item.back := item.back - names;
  item.target := item.target - names;
END $function$;

-- What to write of a row first, if others are in its way: no references, and no unique values. Of a row to delete, only that.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.without_ties(item kith.undo_item)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE item.act WHEN 'delete' THEN '{}' ELSE item.back END || coalesce(jsonb_object_agg(a.attname, NULL), '{}')
    FROM pg_attribute a
   WHERE a.attrelid = item.relation AND a.attnum > 0 AND NOT a.attnotnull AND a.attgenerated = '' AND item.columns ? a.attname::text AND (item.act = 'delete' OR item.back ? a.attname::text)
     AND EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = item.relation AND f.contype = 'f' AND a.attnum = ANY (f.conkey)
                 UNION ALL SELECT FROM pg_index x WHERE x.indrelid = item.relation AND x.indisunique AND item.act <> 'delete' AND a.attnum = ANY (x.indkey::smallint[]))
$function$;

-- Writes the rows once more that were put back and are not as they were.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_again(items kith.undo_item[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE batch record; state text;
BEGIN
  FOR batch IN SELECT x.act, x.relation, (array_agg(x.columns))[1] AS columns, (array_agg(x.key))[1] AS key, (array_agg(x.back))[1] AS back, array_agg(x.key ORDER BY x.n) AS keys,
                      array_agg(x.back ORDER BY x.n) AS backs
                 FROM (SELECT a.n, i.relation, i.columns, kith.key_after(i.key, i.target) AS key, CASE WHEN i.act = 'insert' AND a.image IS NOT NULL THEN 'update' ELSE i.act END AS act,
                              CASE WHEN i.act = 'delete' THEN '{}' WHEN a.image IS NULL THEN i.back ELSE (SELECT jsonb_object_agg(c.name, i.target -> c.name) FROM unnest(a.names) c(name)) END AS back
                         FROM kith.astray(items) a JOIN unnest(items) i ON i.n = a.n) x
                WHERE x.act = 'delete' OR x.back <> '{}'
                GROUP BY x.act, x.relation, ARRAY(SELECT jsonb_object_keys(x.back) ORDER BY 1) ORDER BY min(x.n) LOOP
    BEGIN
      PERFORM kith.write_back(kith.undo_statement(batch.act, batch.relation, batch.columns, batch.key, batch.back), batch.keys, batch.backs);
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
      IF kith.is_passing(state) THEN
        RAISE;
      END IF;
    END;
  END LOOP;
END $function$;

-- Runs a statement of undo_statement() and returns the number of its rows.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_back(statement text, keys jsonb[], backs jsonb[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE scans constant text := pg_catalog.current_setting('enable_seqscan'); written refcursor; touched bigint;
BEGIN
  IF starts_with(statement, 'INSERT ') THEN
    EXECUTE statement USING keys, backs;
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
  END IF;
  PERFORM pg_catalog.set_config('enable_seqscan', 'off', true);
  OPEN written NO SCROLL FOR EXECUTE statement || ' RETURNING 1' USING keys, backs;
  PERFORM pg_catalog.set_config('enable_seqscan', scans, true);
  MOVE FORWARD ALL FROM written;
  GET DIAGNOSTICS touched = ROW_COUNT;
  CLOSE written;
  RETURN touched;
END $function$;

-- Adds an entry for an updated or (after: null) deleted row: what changed, {column: {from, to}}. Returns null if nothing did.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.write_change(subject_type text, subject_id text, subject_repr text, before jsonb, after jsonb)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE changes jsonb; verb text := 'updated';
BEGIN
  IF after IS NULL THEN
    verb := 'deleted';
    SELECT jsonb_object_agg(b.key, jsonb_build_object('from', b.value, 'to', NULL)) INTO changes
      FROM jsonb_each(before) b WHERE b.value <> 'null' AND b.key <> 'updated_at';
  ELSE
    SELECT jsonb_object_agg(a.key, jsonb_build_object('from', before -> a.key, 'to', a.value)) INTO changes
      FROM jsonb_each(after) a
     WHERE (a.value <> (before -> a.key) OR jsonb_typeof(a.value) <> 'string' AND jsonb_send(a.value) <> jsonb_send(before -> a.key)) AND a.key <> 'updated_at';
    IF changes IS NULL THEN
      RETURN NULL;
    ELSIF changes ? 'deleted_at' THEN
      verb := CASE WHEN before ->> 'deleted_at' IS NULL THEN 'deleted' WHEN after ->> 'deleted_at' IS NULL THEN 'restored' ELSE verb END;
    END IF;
  END IF;
  IF octet_length(changes::text) > 1000000 THEN
    changes := kith.clip_changes(changes);
  END IF;
  RETURN kith.write_entry(verb, subject_type, subject_id, subject_repr, changes);
END $function$;

-- Writes one column of a row of a built-in table, as write_back() does.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_column(relation regclass, id text, name text, value anyelement)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  back constant jsonb := jsonb_build_object(name, value);
  columns constant jsonb := jsonb_build_object('id', jsonb_build_array(0, 'text'::regtype::oid::bigint, -1), name, jsonb_build_array(0, pg_typeof(value)::oid::bigint, -1));
BEGIN
  PERFORM kith.write_back(kith.undo_statement('update', relation, columns, '{"id": null}', back), ARRAY[jsonb_build_object('id', id)], ARRAY[back]);
END $function$;

-- Writes the rows of a batch, one by one if they cannot be written together.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_each(statements text[], batches jsonb)
 RETURNS TABLE(place integer, id text, created boolean, code text, message text, detail text, hint text, field text, rule text)
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  batch jsonb; entry jsonb; ids text[]; news boolean[]; statement text;
BEGIN
  FOR number IN 1 .. cardinality(statements) LOOP
    statement := 'WITH w AS (' || statements[number] || ') SELECT array_agg(w.id), array_agg(w.created) FROM w';
    batch := batches -> (number - 1);
    BEGIN
      FOR ids, news IN EXECUTE statement USING batch LOOP END LOOP;
      IF cardinality(ids) IS DISTINCT FROM jsonb_array_length(batch) THEN
        RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KB001';
      END IF;
      RETURN QUERY SELECT (r.value ->> 0)::integer, ids[r.ordinality], news[r.ordinality], NULL, NULL, NULL, NULL, NULL, NULL
                     FROM jsonb_array_elements(batch) WITH ORDINALITY r;
      CONTINUE;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
    END;
    -- The rows come in an order that prevents deadlocks between batches. It is kept after a deadlock all the same. Else they are written
    -- in the order in which they were sent, so that the first one gets a key that several want.
    FOR entry IN SELECT r.value FROM jsonb_array_elements(batch) WITH ORDINALITY r
                  ORDER BY CASE WHEN code <> '40P01' THEN (r.value ->> 0)::integer END, r.ordinality LOOP
      place := entry ->> 0;
      code := NULL; message := NULL; detail := NULL; hint := NULL; field := NULL; rule := NULL;
      BEGIN
        FOR ids, news IN EXECUTE statement USING jsonb_build_array(entry) LOOP END LOOP;
        IF ids IS NULL THEN
          RAISE EXCEPTION 'a trigger of the workspace''s own left the row out' USING ERRCODE = 'P0001';
        END IF;
        id := ids[1];
        created := news[1];
      EXCEPTION WHEN OTHERS THEN
        id := NULL;
        created := NULL;
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
          field = COLUMN_NAME, rule = CONSTRAINT_NAME;
      END;
      RETURN NEXT;
    END LOOP;
  END LOOP;
END $function$;

-- Adds an entry to the feed in the name of the actor and returns its id.
-- Owned by {{system}}.
CREATE OR REPLACE FUNCTION kith.write_entry(verb text, subject_type text, subject_id text, subject_repr text, changes jsonb)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE entry text; writer text;
BEGIN
  INSERT INTO public.activity AS a (actor, verb, subject_type, subject_id, subject_repr, changes, custom)
  SELECT c.actor, write_entry.verb, write_entry.subject_type, left(write_entry.subject_id, 500), left(write_entry.subject_repr, 200), write_entry.changes, c.provenance - '{undo_of,limited,caused_by}'::text[]
    FROM kith.current_context() c
  RETURNING a.id, a.actor INTO entry, writer;
  -- A viewer has no rights to write. If code of the workspace's lent them some, the change is refused here. The server names no viewer.
  IF starts_with(writer, 'postgres:') AND kith.is_viewer() THEN
    RAISE EXCEPTION 'viewers are read-only' USING ERRCODE = '42501';
  END IF;
  RETURN entry;
END $function$;

-- Runs a statement of merge() and returns the number of its rows.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_merged(statement text, image jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
 SET row_security TO 'off'
AS $function$
DECLARE touched bigint;
BEGIN
  EXECUTE statement USING image;
  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END $function$;

-- Writes the pending rows: together where that works, else in smaller and smaller parts, in whatever order their keys and references need.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_pending(secret text, INOUT items kith.undo_item[], INOUT most integer, planned jsonb)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE batch record; number integer; since bigint; touched bigint; moved boolean; waiting boolean; state text;
BEGIN
  LOOP
    IF waiting THEN
      items := kith.follow_cascades(secret, items);
    END IF;
    moved := false;
    waiting := false;
    FOR batch IN SELECT i.act, i.relation, i.moves, (array_agg(i.columns))[1] AS columns, (array_agg(i.key))[1] AS key,
                        CASE WHEN i.moves THEN (SELECT jsonb_object_agg(b.key, b.value) FROM unnest(array_agg(i.back)) x(back), jsonb_each(x.back) b) ELSE (array_agg(i.back))[1] END AS back,
                        array_agg(i.key ORDER BY i.place) AS keys, array_agg(i.back ORDER BY i.place) AS backs, array_agg(i.n ORDER BY i.place) AS numbers, array_agg(i.key_text) AS key_texts
                   FROM (SELECT y.*, row_number() OVER (PARTITION BY y.act, y.relation, y.names ORDER BY CASE y.act WHEN 'insert' THEN y.latest ELSE - y.latest END, y.n) AS place
                           FROM (SELECT z.*, CASE WHEN NOT z.moves THEN ARRAY(SELECT jsonb_object_keys(z.back) ORDER BY 1) END AS names
                                   FROM (SELECT i.n, i.act, i.relation, i.columns, i.key, i.key_text, i.back, coalesce(i.keyed_by, i.members[cardinality(i.members)]) AS latest,
                                                i.act = 'update' AND i.back ?| ARRAY(SELECT jsonb_object_keys(i.key)) AS moves
                                           FROM unnest(items) i WHERE i.state = 'pending') z) y) i
                  GROUP BY i.act, i.relation, i.moves, i.names, (i.place - 1) / most
                  -- A deal whose stage is not there yet would create it.
                  ORDER BY array_position(ARRAY['insert', 'update', 'delete'], i.act), array_position(ARRAY['public.pipelines', 'public.pipeline_stages']::regclass[], i.relation::regclass),
                           max(i.latest) DESC LOOP
      state := NULL;
      BEGIN
        since := kith.last_change(secret);
        touched := kith.write_back(kith.undo_statement(CASE WHEN batch.moves THEN 'move' ELSE batch.act END, batch.relation, batch.columns, batch.key, batch.back), batch.keys, batch.backs);
        IF batch.act = 'delete' AND touched < cardinality(batch.numbers) THEN
          PERFORM kith.delete_moved(secret, batch.relation, batch.columns, batch.key_texts);
        END IF;
        IF batch.act <> 'delete' AND touched <> cardinality(batch.numbers) THEN
          RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KL011';
        ELSIF kith.removes_others(secret, since, planned) THEN
          RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
        END IF;
      EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        IF kith.is_passing(state) THEN
          RAISE;
        END IF;
      END;
      moved := moved OR state IS NULL;
      waiting := waiting OR state IS NOT NULL;
      FOREACH number IN ARRAY batch.numbers LOOP
        IF state IS NULL THEN
          items[number].state := 'done';
        END IF;
      END LOOP;
    END LOOP;
    EXIT WHEN NOT waiting;
    CONTINUE WHEN moved;
    EXIT WHEN most = 1;
    most := greatest(1, coalesce(most, (SELECT count(*) FROM unnest(items) i WHERE i.state = 'pending')::integer) / 10);
  END LOOP;
END $function$;

-- Writes pending rows that refer to each other, or that exchange unique values.
-- Owned by {{system}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith.write_tied(secret text, INOUT items kith.undo_item[], relations oid[], planned jsonb, at_once boolean, OUT failing integer[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE item kith.undo_item; number integer; same jsonb; since bigint; touched bigint; moved boolean; written integer[]; checked boolean; state text; errors jsonb[]; blame record;
        failed_schema text; failed_table text; failed_constraint text; failed_column text;
BEGIN
  BEGIN
    failing := '{}';
    written := '{}';
    checked := false;
    PERFORM kith.defer_constraints(relations);
    FOR item IN SELECT i.* FROM unnest(items) i WHERE i.state = 'pending' ORDER BY i.members[cardinality(i.members)] DESC LOOP
      same := kith.without_ties(item);
      CONTINUE WHEN same = '{}';
      BEGIN
        since := kith.last_change(secret);
        touched := kith.write_back(kith.undo_statement(CASE item.act WHEN 'insert' THEN 'insert' ELSE 'update' END, item.relation, item.columns, item.key, same), ARRAY[item.key], ARRAY[same]);
        IF kith.removes_others(secret, since, planned) THEN
          RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
        END IF;
        IF touched = 1 AND item.act <> 'delete' THEN
          written[item.n] := 1;
        END IF;
      EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        IF kith.is_passing(state) THEN
          RAISE;
        END IF;
      END;
    END LOOP;
    failing := ARRAY(SELECT i.n FROM unnest(items) i WHERE i.state = 'pending' ORDER BY i.act DESC, i.members[cardinality(i.members)] DESC);
    LOOP
      moved := false;
      FOREACH number IN ARRAY failing LOOP
        item := items[number];
        BEGIN
          since := kith.last_change(secret);
          IF written[number] = 1 THEN
            item.act := 'update';
            item.key := kith.key_after(item.key, item.back);
          END IF;
          touched := kith.write_back(kith.undo_statement(item.act, item.relation, item.columns, item.key, item.back), ARRAY[item.key], ARRAY[item.back]);
          IF item.act = 'delete' AND touched = 0 THEN
            PERFORM kith.delete_moved(secret, item.relation, item.columns, ARRAY[item.key_text]);
          ELSIF item.act = 'update' AND touched = 0 AND written[number] IS NULL THEN
            item := (kith.follow_cascades(secret, ARRAY[item]))[1];
            touched := CASE item.state WHEN 'done' THEN 1
                                       ELSE kith.write_back(kith.undo_statement('update', item.relation, item.columns, item.key, item.back), ARRAY[item.key], ARRAY[item.back]) END;
          END IF;
          IF item.act <> 'delete' AND touched <> 1 THEN
            RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KL011';
          ELSIF kith.removes_others(secret, since, planned) THEN
            RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
          END IF;
          written[number] := 2;
          moved := true;
        EXCEPTION WHEN OTHERS THEN
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, failed_schema = SCHEMA_NAME, failed_table = TABLE_NAME, failed_constraint = CONSTRAINT_NAME, failed_column = COLUMN_NAME;
          IF kith.is_passing(state) THEN
            RAISE;
          END IF;
          errors[number] := jsonb_build_object('state', state, 'schema', failed_schema, 'table', failed_table, 'constraint', failed_constraint, 'column', failed_column);
        END;
      END LOOP;
      failing := ARRAY(SELECT f.n FROM unnest(failing) WITH ORDINALITY f(n, place) WHERE written[f.n] IS DISTINCT FROM 2 ORDER BY f.place);
      EXIT WHEN failing = '{}' OR NOT moved;
    END LOOP;
    IF failing <> '{}' THEN
      RAISE EXCEPTION 'rows are in the way' USING ERRCODE = 'KL013';
    END IF;
    IF at_once THEN
      checked := true;
      PERFORM kith.check_constraints();
      IF kith.removes_others(secret, 0, planned) THEN
        RAISE EXCEPTION 'others would be removed' USING ERRCODE = 'KL010';
      END IF;
    END IF;
    items := ARRAY(SELECT jsonb_populate_record(i, CASE WHEN i.state = 'pending' THEN '{"state": "done"}' ELSE '{}' END::jsonb) FROM unnest(items) i ORDER BY i.n);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, failed_schema = SCHEMA_NAME, failed_table = TABLE_NAME, failed_constraint = CONSTRAINT_NAME, failed_column = COLUMN_NAME;
    IF kith.is_passing(state) OR state <> 'KL013' AND NOT checked THEN
      RAISE;
    ELSIF checked THEN
      -- PostgreSQL names the table whose constraint does not hold, not the row. Each pending row has failed alone too.
      failing := ARRAY(SELECT i.n FROM unnest(items) i JOIN pg_class c ON c.oid = i.relation WHERE i.state = 'pending' ORDER BY c.relname = failed_table DESC, i.n LIMIT 1);
      errors[failing[1]] := jsonb_build_object('state', state, 'schema', failed_schema, 'table', failed_table, 'constraint', failed_constraint, 'column', failed_column);
    END IF;
    FOREACH number IN ARRAY failing LOOP
      blame := kith.blame(items[number], errors[number]);
      items[number].fault := blame.reason;
      items[number].blamed := blame.names;
    END LOOP;
  END;
END $function$;

----------------------------------------------------------------------------------------------------
-- Schema kith_guard, owned by {{admin}}. Granted: USAGE TO PUBLIC.

-- The built-in tables. The workspace owns them and may not deform them.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE TABLE kith_guard.builtin (
  relid oid NOT NULL,
  name name NOT NULL,
  subject text NOT NULL,  -- What the feed calls one of its records.
  CONSTRAINT builtin_name_key UNIQUE (name),
  CONSTRAINT builtin_pkey PRIMARY KEY (relid),
  CONSTRAINT builtin_subject_key UNIQUE (subject)
);

-- The rows that kith_guard.observed must contain.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE TABLE kith_guard.fact (
  relid oid NOT NULL,
  kind text NOT NULL,
  name name NOT NULL,
  value text NOT NULL,
  CONSTRAINT fact_pkey PRIMARY KEY (relid, kind, name)
);

-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE VIEW kith_guard.log_trigger AS
 SELECT t.oid
   FROM pg_trigger t
     JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE p.pronamespace = 'kith'::regnamespace::oid AND (p.proname = ANY (ARRAY['capture'::name, 'note_statement'::name, 'note_moves'::name])) AND NOT (t.tgrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b));

-- Backends that run a workspace section of a migration. The guards let them pass. After a restart of the server another session may have the same pid, so older rows do not count.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE TABLE kith_guard.migration (
  pid integer NOT NULL,
  since timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  until timestamp with time zone NOT NULL DEFAULT (now() + '00:10:00'::interval),
  CONSTRAINT migration_pkey PRIMARY KEY (pid)
);

-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE VIEW kith_guard.observed AS
 SELECT c.oid AS relid,
    'table'::text AS kind,
    ''::name AS name,
    concat_ws(' '::text, c.relname, c.relnamespace, c.relowner, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, (EXISTS ( SELECT
           FROM pg_rewrite w
          WHERE w.ev_class = c.oid)), c.relispartition, c.reloftype, c.relam, (EXISTS ( SELECT
           FROM pg_inherits i
          WHERE i.inhparent = c.oid OR i.inhrelid = c.oid))) AS value
   FROM pg_class c
  WHERE (c.oid IN ( SELECT b.relid
           FROM kith_guard.builtin b))
UNION ALL
 SELECT a.attrelid AS relid,
    'column'::text AS kind,
    a.attname AS name,
    concat_ws(' '::text, a.attnum, a.atttypid, a.atttypmod, a.attcollation, a.attgenerated, a.attidentity) AS value
   FROM pg_attribute a
  WHERE (a.attrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
 SELECT a.attrelid AS relid,
    'not null'::text AS kind,
    a.attname AS name,
    'yes'::text AS value
   FROM pg_attribute a
  WHERE (a.attrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
UNION ALL
 SELECT a.attrelid AS relid,
    'default'::text AS kind,
    a.attname AS name,
    md5(d.adbin::text) AS value
   FROM pg_attribute a
     JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE (a.attrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
UNION ALL
 SELECT k.conrelid AS relid,
    'constraint'::text AS kind,
    k.conname AS name,
    concat_ws(' '::text, k.oid, k.contype, k.condeferrable, k.condeferred, k.convalidated) AS value
   FROM pg_constraint k
  WHERE (k.conrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND (k.contype = ANY (ARRAY['p'::"char", 'u'::"char", 'f'::"char", 'c'::"char"]))
UNION ALL
 SELECT i.indrelid AS relid,
    'index'::text AS kind,
    c.relname AS name,
    concat_ws(' '::text, i.indnullsnotdistinct, i.indimmediate, i.indisvalid, i.indisready, i.indislive, i.indkey, i.indclass, i.indcollation, pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)) AS value
   FROM pg_index i
     JOIN pg_class c ON c.oid = i.indexrelid
  WHERE (i.indrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND i.indisunique
UNION ALL
 SELECT t.tgrelid AS relid,
    'trigger'::text AS kind,
    t.tgname AS name,
    concat_ws(' '::text, t.oid, t.tgfoid, t.tgtype, t.tgenabled, t.tgdeferrable, t.tginitdeferred, t.tgattr, encode(t.tgargs, 'hex'::text), md5(t.tgqual::text), t.tgoldtable, t.tgnewtable) AS value
   FROM pg_trigger t
  WHERE (t.tgrelid IN ( SELECT b.relid
           FROM kith_guard.builtin b)) AND NOT t.tgisinternal;

-- The schemas of objects through which dropping one drops columns.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE VIEW kith_guard.placed AS
 SELECT 'pg_class'::regclass AS classid,
    c.oid AS objid,
    c.relnamespace AS namespace
   FROM pg_class c
  WHERE c.oid >= 16384::oid AND c.relkind <> 't'::"char"
UNION ALL
 SELECT 'pg_type'::regclass AS classid,
    y.oid AS objid,
    y.typnamespace AS namespace
   FROM pg_type y
  WHERE y.oid >= 16384::oid
UNION ALL
 SELECT 'pg_proc'::regclass AS classid,
    p.oid AS objid,
    p.pronamespace AS namespace
   FROM pg_proc p
  WHERE p.oid >= 16384::oid
UNION ALL
 SELECT 'pg_operator'::regclass AS classid,
    o.oid AS objid,
    o.oprnamespace AS namespace
   FROM pg_operator o
  WHERE o.oid >= 16384::oid
UNION ALL
 SELECT 'pg_collation'::regclass AS classid,
    c.oid AS objid,
    c.collnamespace AS namespace
   FROM pg_collation c
  WHERE c.oid >= 16384::oid
UNION ALL
 SELECT 'pg_attrdef'::regclass AS classid,
    d.oid AS objid,
    c.relnamespace AS namespace
   FROM pg_attrdef d
     JOIN pg_class c ON c.oid = d.adrelid
  WHERE d.oid >= 16384::oid;

-- The roles of this database, by the part they play.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE TABLE kith_guard.role (
  part text NOT NULL,
  role oid NOT NULL,
  CONSTRAINT role_part_check CHECK ((part = ANY (ARRAY['admin'::text, 'workspace'::text, 'system'::text, 'viewer'::text]))),
  CONSTRAINT role_pkey PRIMARY KEY (part)
);

-- The functions that only workspace sections of migrations may use: those of Kith's triggers that are not for PUBLIC, and what creates and mends them.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE VIEW kith_guard.section_function AS
 SELECT p.oid::regprocedure AS f
   FROM pg_proc p
     JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'kith'::name AND (p.prorettype = 'trigger'::regtype::oid OR (p.proname = ANY (ARRAY['make_builtin'::name, 'mend_builtins'::name]))) AND NOT (EXISTS ( SELECT
           FROM aclexplode(COALESCE(p.proacl, acldefault('f'::"char", p.proowner))) x(grantor, grantee, privilege_type, is_grantable)
          WHERE x.grantee = 0::oid));

-- Owned by {{admin}}.
CREATE VIEW kith_guard.shape AS
 SELECT b.name AS relation,
    'column'::text AS kind,
    a.attname AS name,
    concat_ws(' '::text, format_type(a.atttypid, a.atttypmod),
        CASE
            WHEN a.attnotnull THEN 'not null'::text
            ELSE NULL::text
        END,
        CASE
            WHEN a.attnotnull THEN pg_get_expr(d.adbin, d.adrelid)
            ELSE NULL::text
        END) AS value
   FROM kith_guard.builtin b
     JOIN pg_attribute a ON a.attrelid = b.relid AND a.attnum > 0 AND NOT a.attisdropped
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
 SELECT b.name AS relation,
    'constraint'::text AS kind,
    k.conname AS name,
    pg_get_constraintdef(k.oid) AS value
   FROM kith_guard.builtin b
     JOIN pg_constraint k ON k.conrelid = b.relid AND (k.contype = ANY (ARRAY['p'::"char", 'u'::"char", 'f'::"char", 'c'::"char"]))
UNION ALL
 SELECT b.name AS relation,
    'index'::text AS kind,
    c.relname AS name,
    pg_get_indexdef(i.indexrelid) AS value
   FROM kith_guard.builtin b
     JOIN pg_index i ON i.indrelid = b.relid AND i.indisunique
     JOIN pg_class c ON c.oid = i.indexrelid
UNION ALL
 SELECT b.name AS relation,
    'trigger'::text AS kind,
    t.tgname AS name,
    concat_ws(' '::text, t.tgenabled, pg_get_triggerdef(t.oid)) AS value
   FROM kith_guard.builtin b
     JOIN pg_trigger t ON t.tgrelid = b.relid AND NOT t.tgisinternal;

-- How many objects of each kind this database has, and how many it may have.
-- Owned by {{admin}}. Granted: SELECT TO PUBLIC.
CREATE VIEW kith_guard.usage AS
 SELECT 'tables, indexes, views and sequences'::text AS what,
    2000 AS most,
    ( SELECT count(*) AS count
           FROM pg_class c
          WHERE c.oid >= 16384::oid AND (c.relkind = ANY (ARRAY['r'::"char", 'i'::"char", 'v'::"char", 'm'::"char", 'S'::"char", 'c'::"char", 'p'::"char", 'I'::"char"]))) AS used
UNION ALL
 SELECT 'columns'::text AS what,
    20000 AS most,
    ( SELECT count(*) AS count
           FROM pg_attribute a
          WHERE a.attrelid >= 16384::oid AND a.attnum > 0 AND NOT a.attisdropped) AS used
UNION ALL
 SELECT 'bytes in names of columns and of their types'::text AS what,
    3000000 AS most,
    ( SELECT COALESCE(sum(octet_length(to_jsonb(a.attname::text)::text) + octet_length(to_jsonb(y.typname::text)::text)), 0::bigint) AS "coalesce"
           FROM pg_attribute a
             JOIN pg_type y ON y.oid = a.atttypid
          WHERE a.attrelid >= 16384::oid AND a.attnum > 0) AS used
UNION ALL
 SELECT 'constraints'::text AS what,
    5000 AS most,
    ( SELECT count(*) AS count
           FROM pg_constraint k
          WHERE k.oid >= 16384::oid AND k.contype <> 'n'::"char") AS used
UNION ALL
 SELECT 'column defaults'::text AS what,
    10000 AS most,
    ( SELECT count(*) AS count
           FROM pg_attrdef d
          WHERE d.oid >= 16384::oid) AS used
UNION ALL
 SELECT 'types'::text AS what,
    1000 AS most,
    ( SELECT count(*) AS count
           FROM pg_type y
          WHERE y.oid >= 16384::oid AND (y.typtype = ANY (ARRAY['d'::"char", 'e'::"char", 'r'::"char", 'm'::"char"]))) AS used
UNION ALL
 SELECT 'values of enums'::text AS what,
    10000 AS most,
    ( SELECT count(*) AS count
           FROM pg_enum e
          WHERE e.oid >= 16384::oid) AS used
UNION ALL
 SELECT 'schemas'::text AS what,
    100 AS most,
    ( SELECT count(*) AS count
           FROM pg_namespace n
             JOIN kith_guard.role r ON r.role = n.nspowner
          WHERE r.part = 'workspace'::text) AS used
UNION ALL
 SELECT 'functions'::text AS what,
    2000 AS most,
    ( SELECT count(*) AS count
           FROM pg_proc p
             JOIN kith_guard.role r ON r.role = p.proowner
          WHERE p.oid >= 16384::oid AND r.part = 'workspace'::text) AS used
UNION ALL
 SELECT 'triggers'::text AS what,
    1000 AS most,
    ( SELECT count(*) AS count
           FROM pg_trigger t
          WHERE t.oid >= 16384::oid AND NOT t.tgisinternal AND NOT (t.oid IN ( SELECT l.oid
                   FROM kith_guard.log_trigger l))) AS used
UNION ALL
 SELECT 'operators, rules, policies, collations, statistics and text search objects'::text AS what,
    1000 AS most,
    (( SELECT count(*) AS count
           FROM pg_operator o
          WHERE o.oid >= 16384::oid)) + (( SELECT count(*) AS count
           FROM pg_rewrite w
          WHERE w.oid >= 16384::oid AND w.ev_type <> '1'::"char")) + (( SELECT count(*) AS count
           FROM pg_policy)) + (( SELECT count(*) AS count
           FROM pg_collation c
          WHERE c.oid >= 16384::oid)) + (( SELECT count(*) AS count
           FROM pg_statistic_ext)) + (( SELECT count(*) AS count
           FROM pg_ts_config c
          WHERE c.oid >= 16384::oid)) + (( SELECT count(*) AS count
           FROM pg_ts_dict c
          WHERE c.oid >= 16384::oid)) AS used;

-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.after_ddl()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
 SET quote_all_identifiers TO 'off'
AS $function$
DECLARE broken record; viewer oid; full_kind record; kinds text[]; counted text[];
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;
  -- They concern neither built-in tables nor limits, and every table has some.
  IF kith_guard.creates_log_triggers(TG_TAG) THEN RETURN; END IF;

  IF TG_TAG = 'CREATE SCHEMA' THEN
    PERFORM kith_guard.take_over_schemas();
  END IF;
  -- The workspace's role may create temporary objects, because PostgreSQL asks for the current role's right. The first one creates the
  -- session's schema for them, and its end by this error removes it again.
  IF pg_my_temp_schema() <> 0 AND NOT kith_guard.is_direct('workspace') THEN
    RAISE EXCEPTION 'temporary objects are available on a direct connection only' USING ERRCODE = '42501';
  END IF;
  -- The end of the session drops them with all that depends on them, columns of other tables included, and no event trigger sees it.
  IF pg_my_temp_schema() <> 0 AND (TG_TAG LIKE 'CREATE %' OR TG_TAG LIKE 'ALTER %' OR TG_TAG = 'SELECT INTO') AND EXISTS (
       SELECT FROM pg_depend d JOIN kith_guard.placed r ON r.classid = d.refclassid AND r.objid = d.refobjid
         JOIN kith_guard.placed o ON o.classid = d.classid AND o.objid = d.objid
        WHERE r.namespace = pg_my_temp_schema() AND o.namespace <> pg_my_temp_schema()) THEN
    RAISE EXCEPTION 'an object that stays cannot depend on a temporary one' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG NOT IN ('COMMENT', 'CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'CREATE OPERATOR', 'CREATE VIEW', 'CREATE SEQUENCE',
                    'CREATE INDEX', 'CREATE TYPE', 'CREATE DOMAIN', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW',
                    'REFRESH MATERIALIZED VIEW', 'GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES', 'CREATE STATISTICS', 'CREATE POLICY') THEN
    -- A new table can only inherit from a built-in one. A new trigger can only take the place of one of its own table.
    kinds := CASE TG_TAG WHEN 'CREATE TABLE' THEN ARRAY['table'] WHEN 'CREATE TRIGGER' THEN ARRAY['trigger'] END;
    SELECT b.name AS relation, f.kind, f.name INTO broken
      FROM kith_guard.fact f JOIN kith_guard.builtin b USING (relid)
      LEFT JOIN kith_guard.observed o ON o.relid = f.relid AND o.kind = f.kind AND o.name = f.name AND (kinds IS NULL OR o.kind = ANY (kinds))
     WHERE o.value IS DISTINCT FROM f.value AND (kinds IS NULL OR f.kind = ANY (kinds))
     ORDER BY array_position(ARRAY['table', 'column', 'not null', 'default', 'constraint', 'index', 'trigger'], f.kind) LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION '%', CASE broken.kind
          WHEN 'table' THEN format('built-in table "%s" cannot be dropped, renamed, moved, given away, inherited from, made unlogged or put under rules or row security', broken.relation)
          WHEN 'column' THEN format('built-in column "%s" of "%s" cannot be dropped, renamed or retyped', broken.name, broken.relation)
          WHEN 'not null' THEN format('built-in column "%s" of "%s" must stay NOT NULL', broken.name, broken.relation)
          WHEN 'default' THEN format('the default of built-in column "%s" of "%s" cannot be changed', broken.name, broken.relation)
          ELSE format('built-in %s "%s" of "%s" cannot be dropped, renamed, changed or disabled', broken.kind, broken.name, broken.relation) END
        USING ERRCODE = '42501',
              HINT = CASE broken.kind WHEN 'trigger' THEN 'DISABLE TRIGGER takes the name of one of your own triggers; ALL and USER include the built-in ones.'
                                      ELSE 'Columns, indexes, constraints and triggers of your own can be added to built-in tables.' END;
    END IF;
  END IF;

  -- The triggers of the change log come first: what other triggers of a row change is in the log after it.
  IF TG_TAG IN ('CREATE TRIGGER', 'ALTER TRIGGER') AND EXISTS (
       SELECT FROM pg_trigger t
        WHERE NOT t.tgisinternal AND (t.tgname < '!l' OR t.tgname LIKE 'kith\_%' AND t.tgrelid IN (SELECT b.relid FROM kith_guard.builtin b))
          AND NOT EXISTS (SELECT FROM kith_guard.fact f WHERE f.relid = t.tgrelid AND f.kind = 'trigger' AND f.name = t.tgname)
          AND t.oid NOT IN (SELECT l.oid FROM kith_guard.log_trigger l)) THEN
    RAISE EXCEPTION 'trigger names that begin with kith_ are reserved on built-in tables, and names up to !kith on all tables' USING ERRCODE = '42501';
  END IF;

  -- The workspace has no EXECUTE on these functions, but for the moment in which another of its sessions runs a migration.
  IF TG_TAG = 'CREATE TRIGGER' AND EXISTS (
       SELECT FROM pg_trigger t JOIN kith_guard.section_function s ON s.f = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace <> 'kith'::regnamespace AND NOT EXISTS (SELECT FROM kith_guard.fact f WHERE f.relid = t.tgrelid AND f.kind = 'trigger' AND f.name = t.tgname)) THEN
    RAISE EXCEPTION 'this function is for the triggers of built-in tables' USING ERRCODE = '42501', HINT = 'Use record_activity().';
  END IF;

  IF TG_TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER AGGREGATE')
     AND (SELECT count(*) FROM pg_proc p WHERE p.proname = 'record_activity') > 1 THEN
    RAISE EXCEPTION 'the name record_activity is taken' USING ERRCODE = '42501';
  END IF;

  -- For an installed extension CREATE EXTENSION IF NOT EXISTS creates nothing and gives a notice.
  IF TG_TAG = 'CREATE EXTENSION' AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'CREATE EXTENSION') THEN
    RAISE EXCEPTION 'this extension is not available in a workspace' USING ERRCODE = '42501',
      HINT = 'Installed: citext, pg_trgm, vector, pgcrypto. gen_random_uuid() needs none.';
  END IF;

  -- A role that has a right in any database cannot be dropped: another workspace could not be deleted.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES', 'CREATE POLICY', 'ALTER POLICY') AND kith_guard.has_strangers() THEN
    RAISE EXCEPTION 'rights can be given to this workspace''s members and viewers only' USING ERRCODE = '42501';
  END IF;

  IF TG_TAG IN ('ALTER INDEX', 'ALTER TRIGGER') AND EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x') THEN
    RAISE EXCEPTION 'DEPENDS ON EXTENSION is not available in a workspace' USING ERRCODE = '42501';
  END IF;

  -- Viewers are read-only on a direct connection too: they and PUBLIC get only SELECT, and no SECURITY DEFINER function.
  IF TG_TAG IN ('GRANT', 'ALTER DEFAULT PRIVILEGES') THEN
    SELECT r.role INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
    IF EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x WHERE c.relacl IS NOT NULL AND c.oid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.oid >= 16384 AND x.grantee IN (0, viewer) AND x.privilege_type <> 'USAGE')
       OR EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) x WHERE d.defaclobjtype IN ('r', 'S') AND x.grantee IN (0, viewer) AND x.privilege_type <> 'SELECT')
       OR EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) x WHERE d.defaclobjtype = 'n' AND x.grantee IN (0, viewer) AND x.privilege_type <> 'USAGE') THEN
      RAISE EXCEPTION 'PUBLIC and viewers can be granted no more than SELECT, and USAGE of schemas' USING ERRCODE = '42501',
        HINT = 'Members of the workspace have every right already.';
    END IF;
  END IF;
  IF TG_TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'GRANT') THEN
    DECLARE f record;
    BEGIN
      SELECT r.role INTO viewer FROM kith_guard.role r WHERE r.part = 'viewer';
      FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p
                WHERE p.prosecdef AND p.oid >= 16384 AND pg_get_userbyid(p.proowner) = current_user
                  AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE x.grantee IN (0, viewer))
      LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, %I', f.name, pg_get_userbyid(viewer));
        RAISE NOTICE 'EXECUTE on % was revoked from PUBLIC: viewers are read-only, and it is SECURITY DEFINER', f.name;
      END LOOP;
    END;
  END IF;

  -- The other half may be in a transaction that has not ended.
  IF TG_TAG IN ('CREATE AGGREGATE', 'CREATE OPERATOR', 'ALTER OPERATOR', 'CREATE TYPE')
     OR TG_TAG IN ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE')
        AND EXISTS (SELECT FROM pg_proc p WHERE p.prosecdef AND p.oid >= 16384 AND pg_get_userbyid(p.proowner) = current_user) THEN
    PERFORM kith_guard.take_turn();
  END IF;
  -- PostgreSQL calls these functions without asking whether the caller has EXECUTE: an aggregate's with its owner's rights, a range's
  -- subtype_diff and an operator's (also that of its commutator or negator) in the planner.
  IF TG_TAG IN ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE', 'CREATE AGGREGATE', 'CREATE OPERATOR', 'ALTER OPERATOR', 'CREATE TYPE') AND EXISTS (
       SELECT FROM pg_proc p
        WHERE p.prosecdef AND p.oid >= 16384
          AND (EXISTS (SELECT FROM pg_aggregate a WHERE p.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                                                                  a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
               OR EXISTS (SELECT FROM pg_range r WHERE p.oid IN (r.rngsubdiff, r.rngcanonical))
               OR EXISTS (SELECT FROM pg_operator o WHERE p.oid IN (o.oprcode, o.oprrest, o.oprjoin)))) THEN
    RAISE EXCEPTION 'a SECURITY DEFINER function cannot serve an aggregate, an operator or a range' USING ERRCODE = '42501';
  END IF;

  -- Below an eighth of each limit transactions do not wait for each other: there are too few sessions to go far beyond it together.
  IF TG_TAG LIKE 'CREATE %' OR TG_TAG LIKE 'ALTER %' OR TG_TAG = 'SELECT INTO' THEN
    -- Only these can have become more.
    counted := CASE TG_TAG WHEN 'CREATE TRIGGER' THEN ARRAY['triggers', 'constraints'] WHEN 'CREATE FUNCTION' THEN ARRAY['functions']
                             WHEN 'CREATE PROCEDURE' THEN ARRAY['functions'] END;
    IF EXISTS (SELECT FROM kith_guard.usage u WHERE (counted IS NULL OR u.what = ANY (counted)) AND u.used > u.most / 8) THEN
      PERFORM kith_guard.take_turn();
      SELECT u.most, u.what INTO full_kind FROM kith_guard.usage u WHERE (counted IS NULL OR u.what = ANY (counted)) AND u.used > u.most LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION 'a workspace holds at most % %', full_kind.most, full_kind.what USING ERRCODE = '53400';
      END IF;
    END IF;
  END IF;
END $function$;

-- Creates and keeps the triggers by which tables of the workspace's own are in the change log.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.attach()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET quote_all_identifiers TO 'off'
AS $function$
DECLARE x record; relations oid[]; dumped boolean := TG_TAG IN ('CREATE TRIGGER', 'DROP TRIGGER') AND kith_guard.dumped_trigger() IS NOT NULL;
BEGIN
  -- The command of the dump is still to come.
  IF dumped AND TG_TAG = 'DROP TRIGGER' THEN
    RETURN;
  END IF;
  -- Commands that are named after one kind of object change others too: ALTER VIEW renames the columns of a table, DROP TYPE drops them.
  IF NOT (TG_TAG LIKE 'ALTER %' OR TG_TAG LIKE 'DROP %' OR TG_TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER')) THEN
    RETURN;
  END IF;
  IF kith_guard.is_exempt() THEN
    PERFORM kith.note_shapes();
    RETURN;
  END IF;
  -- These commands concern their own tables only. A workspace may have thousands. But the name in a dump's command may have become another
  -- table's after give_way_to_dump().
  IF NOT dumped AND TG_TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER') THEN
    relations := ARRAY(SELECT coalesce(t.tgrelid, d.objid) FROM pg_event_trigger_ddl_commands() d LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
                        WHERE d.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass));
  END IF;
  IF EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
              WHERE (relations IS NULL OR t.tgrelid = ANY (relations)) AND t.tgfoid IN ('kith.capture'::regproc, 'kith.note_moves'::regproc, 'kith.note_statement'::regproc) AND NOT t.tgisinternal
                AND (t.tgqual IS NOT NULL OR t.tgnargs > 0 OR t.tgdeferrable OR t.tgattr::text <> '' OR t.tgenabled NOT IN ('O', 'A')
                     OR (t.tgoldtable, t.tgnewtable) IS DISTINCT FROM (CASE WHEN t.tgtype = 16 THEN 'kith_old'::name END, CASE WHEN t.tgtype = 16 THEN 'kith_new'::name END)
                     OR (t.tgname::text, t.tgtype, t.tgfoid::oid) NOT IN (('!kith_capture', 29, 'kith.capture'::regproc::oid), ('!kith_capture_all', 29, 'kith.capture'::regproc::oid),
                          ('!kith_moves', 16, 'kith.note_moves'::regproc::oid),
                          ('kith_truncate', 34, 'kith.note_statement'::regproc::oid), ('kith_statement', 28, 'kith.note_statement'::regproc::oid),
                          ('kith_row', 29, 'kith.note_statement'::regproc::oid))
                     OR EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = t.tgrelid))) THEN
    RAISE EXCEPTION 'the triggers that keep the change log cannot be created, changed or disabled' USING ERRCODE = '42501',
      HINT = 'DISABLE TRIGGER takes the name of one of your own triggers; ALL and USER include Kith''s.';
  END IF;
  FOR x IN
    SELECT c.oid::regclass AS relation, y.name, y.timing, y.is_wanted, y.f
      FROM (SELECT c.*, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = coalesce(pg_partition_root(c.oid), c.oid) AND i.indisprimary) AS keyed,
                   NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AS inherits FROM pg_class c
             WHERE kith.is_logged(c.relnamespace) AND c.relkind IN ('r', 'p') AND (relations IS NULL OR c.oid = ANY (relations)) AND pg_get_userbyid(c.relowner) = current_user) c
     CROSS JOIN LATERAL (VALUES
            ('!kith_capture', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', c.keyed AND c.relkind = 'r' AND NOT c.relispartition, 'kith.capture'::regproc),
            ('!kith_capture_all', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', c.keyed AND c.relkind = 'p' AND NOT c.relispartition, 'kith.capture'),
            ('!kith_moves', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new FOR EACH STATEMENT', c.keyed AND c.relkind = 'p', 'kith.note_moves'),
            ('kith_truncate', 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT', true, 'kith.note_statement'),
            ('kith_statement', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT', NOT c.keyed AND NOT c.inherits, 'kith.note_statement'),
            -- A statement that names a parent changes rows of this table too, and only runs triggers of rows here.
            ('kith_row', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', NOT c.keyed AND c.inherits, 'kith.note_statement')) y(name, timing, is_wanted, f)
      LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = y.name AND t.tgparentid = 0
     WHERE NOT EXISTS (SELECT FROM kith_guard.builtin b WHERE b.relid = c.oid) AND y.is_wanted <> (t.tgfoid IS NOT DISTINCT FROM y.f::oid)
       AND (y.is_wanted OR t.oid IS NOT NULL)
  LOOP
    -- The event trigger also fires for these commands, and may have done the rest already.
    IF x.is_wanted AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = x.relation AND t.tgname = x.name AND t.tgfoid = x.f) THEN
      -- With its partitions, from the root downward, and at once as strongly as the nested call will need. If each command locked them more and more
      -- strongly, two at the same time would wait for each other.
      IF x.name = '!kith_capture_all' THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', x.relation);
      END IF;
      EXECUTE format('CREATE OR REPLACE TRIGGER %I ' || x.timing || ' EXECUTE FUNCTION %s()', x.name, x.relation, x.f);
    ELSIF NOT x.is_wanted AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = x.relation AND t.tgname = x.name AND t.tgfoid = x.f AND t.tgparentid = 0) THEN
      EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', x.name, x.relation);
    END IF;
  END LOOP;
  PERFORM kith.note_shapes(relations);
END $function$;

-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.before_ddl()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE full_kind record;
BEGIN
  IF kith_guard.is_exempt() THEN RETURN; END IF;
  -- record_activity() would run a tenant's function that a cast to json calls. DROP OWNED would revoke the role's own rights.
  IF TG_TAG IN ('CREATE CAST', 'DROP CAST', 'DROP OWNED', 'REASSIGN OWNED', 'CREATE LANGUAGE', 'ALTER LANGUAGE', 'DROP LANGUAGE',
                'CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION',
                'CREATE FOREIGN DATA WRAPPER', 'CREATE SERVER', 'CREATE USER MAPPING', 'CREATE FOREIGN TABLE', 'IMPORT FOREIGN SCHEMA',
                'CREATE TRANSFORM', 'CREATE ACCESS METHOD', 'CREATE OPERATOR CLASS', 'CREATE OPERATOR FAMILY', 'CREATE CONVERSION',
                'ALTER EXTENSION', 'DROP EXTENSION', 'SECURITY LABEL') THEN
    RAISE EXCEPTION '% is not available in a workspace', TG_TAG USING ERRCODE = '42501';
  END IF;
  IF TG_TAG IN ('CREATE SCHEMA', 'ALTER SCHEMA', 'DROP SCHEMA') AND NOT kith_guard.is_direct('workspace') THEN
    RAISE EXCEPTION '% is available on a direct connection only', TG_TAG USING ERRCODE = '42501',
      HINT = 'REST serves the tables of one schema, public.';
  END IF;
  -- take_over_schemas() does this as the role that created the schema; only an owner can do it, and that role owns no other schema.
  IF TG_TAG = 'ALTER SCHEMA' AND current_user = session_user THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace' AND pg_get_userbyid(r.role) = current_user) THEN
    RAISE EXCEPTION '% is for the workspace''s own role', TG_TAG USING ERRCODE = '42501',
      HINT = (SELECT format('On a direct connection: SET ROLE %I. Viewers are read-only.', pg_get_userbyid(r.role)) FROM kith_guard.role r WHERE r.part = 'workspace');
  END IF;
  -- With an older snapshot after_ddl() would not see what others have created.
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') AND TG_TAG NOT IN ('COMMENT', 'REFRESH MATERIALIZED VIEW') THEN
    RAISE EXCEPTION '% is available in READ COMMITTED transactions only', TG_TAG USING ERRCODE = '42501';
  END IF;
  IF TG_TAG = 'CREATE SCHEMA' THEN
    PERFORM set_config('role', 'none', true);
    RETURN;
  END IF;

  -- CONCURRENTLY commits in phases. What after_ddl() would refuse has to be refused before the first one. Only the text of the command
  -- says what it is about; it is the whole command, since CONCURRENTLY does not work within a transaction or a function.
  IF current_query() ~* '\mconcurrently\M' THEN
    IF TG_TAG = 'DROP INDEX' AND (current_query() ~* 'u&"' OR EXISTS (
         SELECT FROM kith_guard.fact f WHERE f.kind = 'index' AND position(f.name::text IN lower(current_query())) > 0)) THEN
      RAISE EXCEPTION 'built-in indexes cannot be dropped' USING ERRCODE = '42501',
        HINT = 'To drop an index of your own whose name contains the name of a built-in one, leave CONCURRENTLY out.';
    END IF;
    IF TG_TAG IN ('CREATE INDEX', 'REINDEX') THEN
      SELECT u.most, u.what INTO full_kind FROM kith_guard.usage u WHERE u.used >= u.most LIMIT 1;
      IF FOUND THEN
        RAISE EXCEPTION 'a workspace holds at most % %', full_kind.most, full_kind.what USING ERRCODE = '53400';
      END IF;
    END IF;
  END IF;
END $function$;

-- Lets a backend run a workspace section of a migration.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.begin_section(workspace regrole, backend integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE f regprocedure;
BEGIN
  DELETE FROM kith_guard.migration;
  INSERT INTO kith_guard.migration (pid) VALUES (backend);
  FOR f IN SELECT s.f FROM kith_guard.section_function s LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', f, workspace);
  END LOOP;
END $function$;

-- Whether all that a command has created is triggers of the change log. For event triggers at the end of a command.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.creates_log_triggers(tag text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT tag = 'CREATE TRIGGER' AND NOT EXISTS (
    SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.classid <> 'pg_trigger'::regclass OR c.objid NOT IN (SELECT l.oid FROM kith_guard.log_trigger l))
$function$;

-- Puts a table under the guards.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.declare_builtin(relation regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
BEGIN
  INSERT INTO kith_guard.builtin (relid, name, subject)
  SELECT c.oid, c.relname, split_part(encode(t.tgargs, 'escape'), '\000', 1)
    FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = '!kith_record' WHERE c.oid = relation
  ON CONFLICT (relid) DO UPDATE SET subject = excluded.subject;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% has no trigger !kith_record: call kith.make_builtin() first', relation;
  END IF;
END $function$;

-- The name and the table of a trigger of the change log that a dump creates.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.dumped_trigger()
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT regexp_match(current_query(), '^[[:space:]]*CREATE TRIGGER "?(!kith_capture|!kith_capture_all|!kith_moves|kith_truncate|kith_statement|kith_row)"? (?:AFTER|BEFORE) [A-Z ]+ ON '
         || '((?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+")[.](?:[a-z_][a-z0-9_]*|"(?:[^"]|"")+"))(?: REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new)? FOR EACH (?:ROW|STATEMENT) EXECUTE FUNCTION kith[.](?:capture|note_moves|note_statement)[(][)];?[[:space:]]*$')
$function$;

-- Takes back what begin_section() has granted.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.end_section(workspace regrole)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE f regprocedure;
BEGIN
  DELETE FROM kith_guard.migration;
  FOR f IN SELECT s.f FROM kith_guard.section_function s LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', f, workspace);
  END LOOP;
END $function$;

-- Lets a trigger of the change log that a dump creates take the place of the one that is there.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.give_way_to_dump()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE dumped text[] := kith_guard.dumped_trigger();
BEGIN
  IF dumped IS NOT NULL AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(dumped[2]) AND t.tgname = dumped[1] AND t.oid IN (SELECT l.oid FROM kith_guard.log_trigger l)) THEN
    EXECUTE format('DROP TRIGGER %I ON %s', dumped[1], dumped[2]);
  END IF;
END $function$;

-- Whether a role of another workspace owns something here or has a right to it.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.has_strangers()
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM pg_shdepend d
                  WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
                    AND d.refclassid = 'pg_authid'::regclass AND d.refobjid NOT IN (SELECT r.role FROM kith_guard.role r))
$function$;

-- Whether this session has a lock on a table that excludes all others.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.holds_alone(relation oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM kith_guard.pg_lock_status() l WHERE l.locktype = 'relation' AND l.database = kith_guard.own_database()
                    AND l.relation = holds_alone.relation AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid = pg_backend_pid())
$function$;

-- Whether a person's role has opened this session: a member's (workspace) or a viewer's (viewer).
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.is_direct(part text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM pg_roles u JOIN pg_auth_members m ON m.member = u.oid JOIN kith_guard.role r ON r.role = m.roleid
                  WHERE u.rolname = session_user AND r.part = is_direct.part)
$function$;

-- Whether the guards let the current role of this session pass.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.is_exempt()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM kith_guard.migration m WHERE m.pid = pg_backend_pid() AND m.until > clock_timestamp() AND m.since > pg_postmaster_start_time())
      OR EXISTS (SELECT FROM pg_roles u LEFT JOIN kith_guard.role r ON r.role = u.oid WHERE u.rolname = session_user AND (u.rolsuper OR r.part = 'admin'))
         AND (EXISTS (SELECT FROM pg_roles u LEFT JOIN kith_guard.role r ON r.role = u.oid
                       WHERE u.rolname = current_user AND (u.rolsuper OR r.part IN ('admin', 'system')))
              OR NOT EXISTS (SELECT FROM kith_guard.role r WHERE r.part = 'workspace'))
$function$;

-- Refuses an advisory lock that is not for this session, or one too many.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.limit_locks(name text, key bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM kith_guard.needs_direct(name, false);
  IF key BETWEEN 7236455900 AND 7236455909 AND NOT EXISTS (SELECT FROM pg_roles u WHERE u.rolname = session_user AND u.rolsuper) THEN
    RAISE EXCEPTION 'the key % is reserved', key USING ERRCODE = '42501';
  END IF;
  IF get_byte(uuid_send(gen_random_uuid()), 0) = 0 AND (
       SELECT count(*) FROM kith_guard.pg_lock_status() l WHERE l.locktype = 'advisory' AND l.database = kith_guard.own_database()) > 10000 THEN
    RAISE EXCEPTION 'a workspace holds at most 10000 advisory locks' USING ERRCODE = '53400';
  END IF;
END $function$;

-- Drops casts and takes back rights that a workspace cannot have.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.mend_rights()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  x record;
BEGIN
  FOR x IN SELECT format_type(c.castsource, NULL) AS source, format_type(c.casttarget, NULL) AS target FROM pg_cast c
            WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
  LOOP
    EXECUTE format('DROP CAST (%s AS %s) CASCADE', x.source, x.target);
    RAISE WARNING 'dropped the cast from % to %', x.source, x.target;
  END LOOP;
  FOR x IN SELECT d.classid, d.objid, pg_get_userbyid(d.refobjid) AS stranger FROM pg_shdepend d
            WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
              AND d.refclassid = 'pg_authid'::regclass AND d.refobjid NOT IN (SELECT r.role FROM kith_guard.role r)
  LOOP
    CASE x.classid
      WHEN 'pg_class'::regclass THEN EXECUTE format('REVOKE ALL ON %s FROM %I', x.objid::regclass, x.stranger);
      WHEN 'pg_proc'::regclass THEN EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', x.objid::regprocedure, x.stranger);
      WHEN 'pg_namespace'::regclass THEN
        EXECUTE (SELECT format('REVOKE ALL ON SCHEMA %I FROM %I', n.nspname, x.stranger) FROM pg_namespace n WHERE n.oid = x.objid);
      WHEN 'pg_type'::regclass THEN EXECUTE format('REVOKE ALL ON TYPE %s FROM %I', format_type(x.objid, NULL), x.stranger);
      WHEN 'pg_policy'::regclass THEN
        EXECUTE (SELECT format('DROP POLICY IF EXISTS %I ON %s', p.polname, p.polrelid::regclass) FROM pg_policy p WHERE p.oid = x.objid);
      WHEN 'pg_default_acl'::regclass THEN
        EXECUTE (SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM %I', pg_get_userbyid(d.defaclrole),
                               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' ELSE 'TYPES' END, x.stranger)
                   FROM pg_default_acl d WHERE d.oid = x.objid);
      ELSE RAISE WARNING 'role % has a right to % of %', x.stranger, x.objid, x.classid::regclass;
    END CASE;
    RAISE WARNING 'took a right from role %', x.stranger;
  END LOOP;
END $function$;

-- Refuses sessions that are not a person's.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.needs_direct(what text, is_for_viewers boolean)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT (kith_guard.is_direct('workspace') OR is_for_viewers AND kith_guard.is_direct('viewer')
          OR EXISTS (SELECT FROM pg_roles u WHERE u.rolname = session_user AND u.rolsuper)) THEN
    RAISE EXCEPTION 'permission denied for function %', what USING ERRCODE = '42501', HINT = 'It is available on a direct connection.';
  END IF;
END $function$;

-- The oid of this database.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.own_database()
 RETURNS oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT b.oid FROM pg_database b WHERE b.datname = current_database()
$function$;

-- obtain exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_lock(bigint)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_lock_int8$function$;

-- obtain exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_lock(integer, integer)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_lock_int4$function$;

-- obtain shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_lock_shared(bigint)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_lock_shared_int8$function$;

-- obtain shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_lock_shared(integer, integer)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_lock_shared_int4$function$;

-- release exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_unlock(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_unlock_int8$function$;

-- release exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_unlock(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_unlock_int4$function$;

-- release shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_unlock_shared(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_unlock_shared_int8$function$;

-- release shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_unlock_shared(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_unlock_shared_int4$function$;

-- obtain exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_xact_lock(bigint)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_xact_lock_int8$function$;

-- obtain exclusive advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_xact_lock(integer, integer)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_xact_lock_int4$function$;

-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_xact_lock_int8(bigint)
 RETURNS void
 LANGUAGE internal
 STRICT
AS $function$pg_advisory_xact_lock_int8$function$;

-- obtain shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_xact_lock_shared(bigint)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_xact_lock_shared_int8$function$;

-- obtain shared advisory lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_advisory_xact_lock_shared(integer, integer)
 RETURNS void
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_advisory_xact_lock_shared_int4$function$;

-- get array of PIDs of sessions blocking specified backend PID from acquiring a heavyweight lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_blocking_pids(integer)
 RETURNS integer[]
 LANGUAGE internal
 PARALLEL SAFE STRICT
AS $function$pg_blocking_pids$function$;

-- export a snapshot
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_export_snapshot()
 RETURNS text
 LANGUAGE internal
 STRICT
AS $function$pg_export_snapshot$function$;

-- information about replication slots currently in use
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_get_replication_slots(OUT slot_name name, OUT plugin name, OUT slot_type text, OUT datoid oid, OUT temporary boolean, OUT active boolean, OUT active_pid integer, OUT xmin xid, OUT catalog_xmin xid, OUT restart_lsn pg_lsn, OUT confirmed_flush_lsn pg_lsn, OUT wal_status text, OUT safe_wal_size bigint, OUT two_phase boolean, OUT two_phase_at pg_lsn, OUT inactive_since timestamp with time zone, OUT conflicting boolean, OUT invalidation_reason text, OUT failover boolean, OUT synced boolean)
 RETURNS SETOF record
 LANGUAGE internal
 STABLE PARALLEL SAFE ROWS 10
AS $function$pg_get_replication_slots$function$;

-- view system lock information
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_lock_status(OUT locktype text, OUT database oid, OUT relation oid, OUT page integer, OUT tuple smallint, OUT virtualxid text, OUT transactionid xid, OUT classid oid, OUT objid oid, OUT objsubid smallint, OUT virtualtransaction text, OUT pid integer, OUT mode text, OUT granted boolean, OUT fastpath boolean, OUT waitstart timestamp with time zone)
 RETURNS SETOF record
 LANGUAGE internal
 PARALLEL SAFE STRICT
AS $function$pg_lock_status$function$;

-- view two-phase transactions
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_prepared_xact(OUT transaction xid, OUT gid text, OUT prepared timestamp with time zone, OUT ownerid oid, OUT dbid oid)
 RETURNS SETOF record
 LANGUAGE internal
 PARALLEL SAFE STRICT
AS $function$pg_prepared_xact$function$;

-- statistics: information about currently active backends
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_activity(pid integer, OUT datid oid, OUT pid integer, OUT usesysid oid, OUT application_name text, OUT state text, OUT query text, OUT wait_event_type text, OUT wait_event text, OUT xact_start timestamp with time zone, OUT query_start timestamp with time zone, OUT backend_start timestamp with time zone, OUT state_change timestamp with time zone, OUT client_addr inet, OUT client_hostname text, OUT client_port integer, OUT backend_xid xid, OUT backend_xmin xid, OUT backend_type text, OUT ssl boolean, OUT sslversion text, OUT sslcipher text, OUT sslbits integer, OUT ssl_client_dn text, OUT ssl_client_serial numeric, OUT ssl_issuer_dn text, OUT gss_auth boolean, OUT gss_princ text, OUT gss_enc boolean, OUT gss_delegation boolean, OUT leader_pid integer, OUT query_id bigint)
 RETURNS SETOF record
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED ROWS 100
AS $function$pg_stat_get_activity$function$;

-- statistics: session active time, in milliseconds
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_active_time(oid)
 RETURNS double precision
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_active_time$function$;

-- statistics: block read time, in milliseconds
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_blk_read_time(oid)
 RETURNS double precision
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_blk_read_time$function$;

-- statistics: block write time, in milliseconds
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_blk_write_time(oid)
 RETURNS double precision
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_blk_write_time$function$;

-- statistics: blocks fetched for database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_blocks_fetched(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_blocks_fetched$function$;

-- statistics: blocks found in cache for database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_blocks_hit(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_blocks_hit$function$;

-- statistics: checksum failures detected in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_checksum_failures(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_checksum_failures$function$;

-- statistics: when last checksum failure was detected in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_checksum_last_failure(oid)
 RETURNS timestamp with time zone
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_checksum_last_failure$function$;

-- statistics: recovery conflicts in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_all(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_all$function$;

-- statistics: recovery conflicts in database caused by shared buffer pin
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_bufferpin(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_bufferpin$function$;

-- statistics: recovery conflicts in database caused by relation lock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_lock(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_lock$function$;

-- statistics: recovery conflicts in database caused by logical replication slot
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_logicalslot(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_logicalslot$function$;

-- statistics: recovery conflicts in database caused by snapshot expiry
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_snapshot(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_snapshot$function$;

-- statistics: recovery conflicts in database caused by buffer deadlock
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_startup_deadlock(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_startup_deadlock$function$;

-- statistics: recovery conflicts in database caused by drop tablespace
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_conflict_tablespace(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_conflict_tablespace$function$;

-- statistics: deadlocks detected in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_deadlocks(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_deadlocks$function$;

-- statistics: session idle in transaction time, in milliseconds
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_idle_in_transaction_time(oid)
 RETURNS double precision
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_idle_in_transaction_time$function$;

-- statistics: number of backends in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_numbackends(oid)
 RETURNS integer
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_numbackends$function$;

-- statistics: number of parallel workers effectively launched by queries
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_parallel_workers_launched(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_parallel_workers_launched$function$;

-- statistics: number of parallel workers planned to be launched by queries
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_parallel_workers_to_launch(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_parallel_workers_to_launch$function$;

-- statistics: session time, in milliseconds
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_session_time(oid)
 RETURNS double precision
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_session_time$function$;

-- statistics: total number of sessions
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_sessions(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_sessions$function$;

-- statistics: number of sessions disconnected by the client closing the network connection
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_sessions_abandoned(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_sessions_abandoned$function$;

-- statistics: number of sessions disconnected by fatal errors
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_sessions_fatal(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_sessions_fatal$function$;

-- statistics: number of sessions killed by administrative action
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_sessions_killed(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_sessions_killed$function$;

-- statistics: last reset for a database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_stat_reset_time(oid)
 RETURNS timestamp with time zone
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_stat_reset_time$function$;

-- statistics: number of bytes in temporary files written
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_temp_bytes(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_temp_bytes$function$;

-- statistics: number of temporary files written
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_temp_files(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_temp_files$function$;

-- statistics: tuples deleted in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_tuples_deleted(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_tuples_deleted$function$;

-- statistics: tuples fetched for database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_tuples_fetched(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_tuples_fetched$function$;

-- statistics: tuples inserted in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_tuples_inserted(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_tuples_inserted$function$;

-- statistics: tuples returned for database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_tuples_returned(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_tuples_returned$function$;

-- statistics: tuples updated in database
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_tuples_updated(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_tuples_updated$function$;

-- statistics: transactions committed
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_xact_commit(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_xact_commit$function$;

-- statistics: transactions rolled back
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_db_xact_rollback(oid)
 RETURNS bigint
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED STRICT
AS $function$pg_stat_get_db_xact_rollback$function$;

-- statistics: information about currently active replication
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_stat_get_wal_senders(OUT pid integer, OUT state text, OUT sent_lsn pg_lsn, OUT write_lsn pg_lsn, OUT flush_lsn pg_lsn, OUT replay_lsn pg_lsn, OUT write_lag interval, OUT flush_lag interval, OUT replay_lag interval, OUT sync_priority integer, OUT sync_state text, OUT reply_time timestamp with time zone)
 RETURNS SETOF record
 LANGUAGE internal
 STABLE PARALLEL RESTRICTED ROWS 10
AS $function$pg_stat_get_wal_senders$function$;

-- total disk space usage for the specified tablespace
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_tablespace_size(name)
 RETURNS bigint
 LANGUAGE internal
 PARALLEL SAFE STRICT
AS $function$pg_tablespace_size_name$function$;

-- total disk space usage for the specified tablespace
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_tablespace_size(oid)
 RETURNS bigint
 LANGUAGE internal
 PARALLEL SAFE STRICT
AS $function$pg_tablespace_size_oid$function$;

-- obtain exclusive advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_lock(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_lock_int8$function$;

-- obtain exclusive advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_lock(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_lock_int4$function$;

-- obtain shared advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_lock_shared(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_lock_shared_int8$function$;

-- obtain shared advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_lock_shared(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_lock_shared_int4$function$;

-- obtain exclusive advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_xact_lock(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_xact_lock_int8$function$;

-- obtain exclusive advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_xact_lock(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_xact_lock_int4$function$;

-- obtain shared advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_xact_lock_shared(bigint)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_xact_lock_shared_int8$function$;

-- obtain shared advisory lock if available
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.pg_try_advisory_xact_lock_shared(integer, integer)
 RETURNS boolean
 LANGUAGE internal
 PARALLEL RESTRICTED STRICT
AS $function$pg_try_advisory_xact_lock_shared_int4$function$;

-- Makes a new key for contexts. Whoever has seen the old one can sign none any more; transactions that are under way lose their actor.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.renew_key()
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE kith.secret SET mac_key = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$function$;

-- Records the built-in tables as they are. Call it only before the workspace has been used, or after kith_guard.shape was compared with the template's.
-- Owned by {{admin}}.
CREATE OR REPLACE FUNCTION kith_guard.snapshot()
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  DELETE FROM kith_guard.fact;
  INSERT INTO kith_guard.fact SELECT o.relid, o.kind, o.name, o.value FROM kith_guard.observed o;
$function$;

-- Gives the schemas of a CREATE SCHEMA to the workspace, and returns to its role.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.take_over_schemas()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE
  made record;
  workspace name := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'workspace');
  viewer name := (SELECT pg_get_userbyid(r.role) FROM kith_guard.role r WHERE r.part = 'viewer');
  names name[];
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag <> 'CREATE SCHEMA') THEN
    RAISE EXCEPTION 'CREATE SCHEMA creates nothing but the schema' USING ERRCODE = '42501', HINT = 'Create its tables with statements of their own.';
  END IF;
  SELECT array_agg(n.nspname) INTO names FROM pg_event_trigger_ddl_commands() c JOIN pg_namespace n ON n.oid = c.objid;
  FOR made IN SELECT n.nspname, n.nspowner FROM pg_namespace n WHERE n.nspname = ANY (names) LOOP
    IF made.nspname LIKE 'kith%' THEN
      RAISE EXCEPTION 'names of schemas that begin with kith are reserved' USING ERRCODE = '42501';
    END IF;
    IF pg_get_userbyid(made.nspowner) <> workspace THEN
      EXECUTE format('ALTER SCHEMA %I OWNER TO %I', made.nspname, workspace);
    END IF;
  END LOOP;
  PERFORM set_config('role', workspace, true);
  FOR made IN SELECT x.nspname FROM unnest(names) x (nspname) LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', made.nspname, viewer);
  END LOOP;
END $function$;

-- Waits until no other transaction of this database merges records, or looks for one before it creates it.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.take_record_turn()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT kith_guard.pg_advisory_xact_lock_int8(7236455904)
$function$;

-- Waits until no other transaction of this database has taken its turn and is still open.
-- Owned by {{admin}}. Granted: EXECUTE TO PUBLIC.
CREATE OR REPLACE FUNCTION kith_guard.take_turn()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT kith_guard.pg_advisory_xact_lock_int8(7236455903)
$function$;

CREATE EVENT TRIGGER kith_adoption ON ddl_command_end EXECUTE FUNCTION kith.refuse_adoption(); -- ALWAYS

CREATE EVENT TRIGGER kith_after_ddl ON ddl_command_end EXECUTE FUNCTION kith_guard.after_ddl(); -- ALWAYS

CREATE EVENT TRIGGER kith_attach ON ddl_command_end EXECUTE FUNCTION kith_guard.attach(); -- ALWAYS

CREATE EVENT TRIGGER kith_before_ddl ON ddl_command_start EXECUTE FUNCTION kith_guard.before_ddl(); -- ALWAYS

CREATE EVENT TRIGGER kith_dropped_columns ON sql_drop EXECUTE FUNCTION kith.record_dropped_columns(); -- ALWAYS

CREATE EVENT TRIGGER kith_give_way_to_dump ON ddl_command_start EXECUTE FUNCTION kith_guard.give_way_to_dump(); -- ALWAYS

CREATE EVENT TRIGGER kith_note_children ON ddl_command_start EXECUTE FUNCTION kith.note_children(); -- ALWAYS

CREATE EVENT TRIGGER kith_note_ddl ON ddl_command_end EXECUTE FUNCTION kith.note_ddl(); -- ALWAYS

CREATE EVENT TRIGGER kith_note_drop ON sql_drop EXECUTE FUNCTION kith.note_ddl(); -- ALWAYS

CREATE EVENT TRIGGER kith_refuse_copy ON ddl_command_start EXECUTE FUNCTION kith.refuse_copy(); -- ALWAYS

CREATE EVENT TRIGGER kith_refuse_drop ON sql_drop EXECUTE FUNCTION kith.refuse_drop(); -- ALWAYS

CREATE EVENT TRIGGER kith_refuse_rewrite ON table_rewrite EXECUTE FUNCTION kith.refuse_rewrite(); -- ALWAYS

CREATE EVENT TRIGGER kith_rewrite ON table_rewrite EXECUTE FUNCTION kith.record_rewrite(); -- ALWAYS
