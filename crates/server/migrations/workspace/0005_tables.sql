-- The built-in tables, owned by the workspace. Each has a COMMENT, and each of its columns: agents read them. What is special about
-- a table (pipelines, emails …) is in the files after this one. README.md describes roles, sections and rules.

-- section: workspace

CREATE TABLE public.companies (
  id text PRIMARY KEY DEFAULT kith.new_id('co'),
  name text,
  domain text,
  industry text,
  size text,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT companies_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX companies_domain_key ON public.companies (lower(domain)) WHERE deleted_at IS NULL;
CREATE INDEX companies_newest_idx ON public.companies (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.companies IS 'Organisations.';
COMMENT ON COLUMN public.companies.name IS 'Name of the company.';
COMMENT ON COLUMN public.companies.domain IS 'Internet domain, in lower case, without scheme, www., port and path. Emails from it attach to the company. Unique among live rows.';
COMMENT ON COLUMN public.companies.industry IS 'Line of business.';
COMMENT ON COLUMN public.companies.size IS 'Number of people as a range, for example 11-50.';

CREATE TABLE public.contacts (
  id text PRIMARY KEY DEFAULT kith.new_id('c'),
  email public.citext,
  first_name text,
  last_name text,
  phone text,
  title text,
  company_id text CONSTRAINT contacts_company_id_fkey REFERENCES public.companies (id),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT contacts_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX contacts_email_key ON public.contacts (email) WHERE deleted_at IS NULL;
CREATE INDEX contacts_newest_idx ON public.contacts (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX contacts_company_id_idx ON public.contacts (company_id);
COMMENT ON TABLE public.contacts IS 'People.';
COMMENT ON COLUMN public.contacts.email IS 'Case-insensitive; unique among live rows.';
COMMENT ON COLUMN public.contacts.first_name IS 'Given name.';
COMMENT ON COLUMN public.contacts.last_name IS 'Family name.';
COMMENT ON COLUMN public.contacts.phone IS 'Telephone number.';
COMMENT ON COLUMN public.contacts.title IS 'Job title.';
COMMENT ON COLUMN public.contacts.company_id IS 'The company that the person works for.';

CREATE TABLE public.pipelines (
  id text PRIMARY KEY DEFAULT kith.new_id('pl'),
  key text NOT NULL CONSTRAINT pipelines_key_key UNIQUE CONSTRAINT pipelines_key_check CHECK (key <> ''),
  label text NOT NULL,
  position integer NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT pipelines_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX pipelines_default_key ON public.pipelines (is_default) WHERE is_default AND deleted_at IS NULL;
CREATE INDEX pipelines_newest_idx ON public.pipelines (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.pipelines IS 'Sequences of stages that deals go through. One is the default.';
COMMENT ON COLUMN public.pipelines.key IS 'The name by which deals refer to it.';
COMMENT ON COLUMN public.pipelines.label IS 'The name that people see.';
COMMENT ON COLUMN public.pipelines.position IS 'Place among the pipelines; last if left out.';
COMMENT ON COLUMN public.pipelines.is_default IS 'Whether a deal without a pipeline goes here. True for exactly one; setting it unsets the previous one.';

CREATE TABLE public.pipeline_stages (
  id text PRIMARY KEY DEFAULT kith.new_id('st'),
  pipeline text NOT NULL CONSTRAINT pipeline_stages_pipeline_fkey REFERENCES public.pipelines (key) ON UPDATE CASCADE ON DELETE CASCADE,
  key text NOT NULL CONSTRAINT pipeline_stages_key_check CHECK (key <> ''),
  label text NOT NULL,
  position integer NOT NULL,
  is_won boolean NOT NULL DEFAULT false,
  is_lost boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT pipeline_stages_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT pipeline_stages_pipeline_key_key UNIQUE (pipeline, key),
  CONSTRAINT pipeline_stages_is_lost_check CHECK (NOT (is_won AND is_lost))
);
CREATE INDEX pipeline_stages_newest_idx ON public.pipeline_stages (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.pipeline_stages IS 'The stages of a pipeline, in order.';
COMMENT ON COLUMN public.pipeline_stages.pipeline IS 'The key of the pipeline.';
COMMENT ON COLUMN public.pipeline_stages.key IS 'The name by which deals refer to it.';
COMMENT ON COLUMN public.pipeline_stages.label IS 'The name that people see.';
COMMENT ON COLUMN public.pipeline_stages.position IS 'Place in the pipeline; last if left out.';
COMMENT ON COLUMN public.pipeline_stages.is_won IS 'Whether deals in this stage are won.';
COMMENT ON COLUMN public.pipeline_stages.is_lost IS 'Whether deals in this stage are lost. A stage is not both.';

CREATE TABLE public.deals (
  id text PRIMARY KEY DEFAULT kith.new_id('d'),
  name text,
  pipeline text NOT NULL,
  stage text NOT NULL,
  amount_cents bigint,
  currency text DEFAULT 'USD',
  close_date date,
  contact_id text CONSTRAINT deals_contact_id_fkey REFERENCES public.contacts (id),
  company_id text CONSTRAINT deals_company_id_fkey REFERENCES public.companies (id),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT deals_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT deals_stage_fkey FOREIGN KEY (pipeline, stage) REFERENCES public.pipeline_stages (pipeline, key) ON UPDATE CASCADE
);
CREATE INDEX deals_newest_idx ON public.deals (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX deals_stage_idx ON public.deals (pipeline, stage);
CREATE INDEX deals_contact_id_idx ON public.deals (contact_id);
CREATE INDEX deals_company_id_idx ON public.deals (company_id);
COMMENT ON TABLE public.deals IS 'Opportunities.';
COMMENT ON COLUMN public.deals.name IS 'Name of the deal.';
COMMENT ON COLUMN public.deals.pipeline IS 'Key of the pipeline; the default one if left out.';
COMMENT ON COLUMN public.deals.stage IS 'Key of the stage in the pipeline; the first if left out. A stage that the pipeline lacks is added to its end.';
COMMENT ON COLUMN public.deals.amount_cents IS 'Value in hundredths of the currency.';
COMMENT ON COLUMN public.deals.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN public.deals.close_date IS 'Expected or actual closing date.';
COMMENT ON COLUMN public.deals.contact_id IS 'The person that the deal is with.';
COMMENT ON COLUMN public.deals.company_id IS 'The company that the deal is with.';

CREATE TABLE public.activities (
  id text PRIMARY KEY DEFAULT kith.new_id('act'),
  type text NOT NULL DEFAULT 'note' CONSTRAINT activities_type_check CHECK (type IN ('note', 'email', 'call', 'meeting', 'task')),
  subject text,
  body text,
  contact_id text CONSTRAINT activities_contact_id_fkey REFERENCES public.contacts (id),
  deal_id text CONSTRAINT activities_deal_id_fkey REFERENCES public.deals (id),
  company_id text CONSTRAINT activities_company_id_fkey REFERENCES public.companies (id),
  occurred_at timestamptz NOT NULL DEFAULT now(),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT activities_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE INDEX activities_newest_idx ON public.activities (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX activities_contact_id_idx ON public.activities (contact_id);
CREATE INDEX activities_deal_id_idx ON public.activities (deal_id);
CREATE INDEX activities_company_id_idx ON public.activities (company_id);
COMMENT ON TABLE public.activities IS 'Notes, emails, calls, meetings and tasks about a contact, a deal or a company.';
COMMENT ON COLUMN public.activities.type IS 'note, email, call, meeting or task.';
COMMENT ON COLUMN public.activities.subject IS 'Subject line.';
COMMENT ON COLUMN public.activities.body IS 'The text.';
COMMENT ON COLUMN public.activities.contact_id IS 'The person that it concerns.';
COMMENT ON COLUMN public.activities.deal_id IS 'The deal that it concerns.';
COMMENT ON COLUMN public.activities.company_id IS 'The company that it concerns.';
COMMENT ON COLUMN public.activities.occurred_at IS 'When it happened.';

CREATE TABLE public.emails (
  id text PRIMARY KEY DEFAULT kith.new_id('e'),
  thread_id text,
  provider text,
  provider_msg_id text,
  direction text CONSTRAINT emails_direction_check CHECK (direction IN ('inbound', 'outbound')),
  from_addr public.citext,
  to_addrs public.citext[] NOT NULL DEFAULT '{}',
  cc_addrs public.citext[] NOT NULL DEFAULT '{}',
  subject text,
  snippet text,
  body_text text,
  body_html text,
  sent_at timestamptz,
  received_at timestamptz,
  contact_ids text[] NOT NULL DEFAULT '{}',
  company_ids text[] NOT NULL DEFAULT '{}',
  deal_ids text[] NOT NULL DEFAULT '{}',
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT emails_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX emails_provider_msg_id_key ON public.emails (provider, provider_msg_id)
  WHERE provider IS NOT NULL AND provider_msg_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX emails_newest_idx ON public.emails (coalesce(received_at, sent_at, created_at), id) WHERE deleted_at IS NULL;
CREATE INDEX emails_contact_ids_idx ON public.emails USING gin (contact_ids);
CREATE INDEX emails_company_ids_idx ON public.emails USING gin (company_ids);
CREATE INDEX emails_deal_ids_idx ON public.emails USING gin (deal_ids);
COMMENT ON TABLE public.emails IS 'Messages received and sent. Contacts and companies attach by address.';
COMMENT ON COLUMN public.emails.thread_id IS 'The provider''s id of the conversation.';
COMMENT ON COLUMN public.emails.provider IS 'The mail service, for example gmail.';
COMMENT ON COLUMN public.emails.provider_msg_id IS 'The provider''s id of the message; unique for a provider among live rows.';
COMMENT ON COLUMN public.emails.direction IS 'inbound or outbound.';
COMMENT ON COLUMN public.emails.from_addr IS 'The sender.';
COMMENT ON COLUMN public.emails.to_addrs IS 'The recipients, one address in each element.';
COMMENT ON COLUMN public.emails.cc_addrs IS 'The recipients of copies, one address in each element.';
COMMENT ON COLUMN public.emails.subject IS 'The subject line.';
COMMENT ON COLUMN public.emails.snippet IS 'The first words.';
COMMENT ON COLUMN public.emails.body_text IS 'The text.';
COMMENT ON COLUMN public.emails.body_html IS 'The text as HTML.';
COMMENT ON COLUMN public.emails.sent_at IS 'When it was sent.';
COMMENT ON COLUMN public.emails.received_at IS 'When it was received.';
COMMENT ON COLUMN public.emails.contact_ids IS 'Contacts that it is from or to. Those whose address it has are added to the ids that are given.';
COMMENT ON COLUMN public.emails.company_ids IS 'Companies that it is from or to. Those whose domain an address has are added to the ids that are given.';
COMMENT ON COLUMN public.emails.deal_ids IS 'Deals that it concerns.';

CREATE TABLE public.lists (
  id text PRIMARY KEY DEFAULT kith.new_id('l'),
  name text NOT NULL,
  description text,
  target_table text NOT NULL,
  kind text NOT NULL DEFAULT 'dynamic' CONSTRAINT lists_kind_check CHECK (kind IN ('dynamic', 'static')),
  filter_predicate text,
  filter_params jsonb NOT NULL DEFAULT '[]' CONSTRAINT lists_filter_params_check CHECK (jsonb_typeof(filter_params) = 'array'),
  config jsonb NOT NULL DEFAULT '{}' CONSTRAINT lists_config_check CHECK (jsonb_typeof(config) = 'object'),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT lists_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE INDEX lists_newest_idx ON public.lists (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.lists IS 'Saved lists of records. A dynamic list has a condition, a static one has members.';
COMMENT ON COLUMN public.lists.name IS 'Name of the list.';
COMMENT ON COLUMN public.lists.description IS 'Purpose of the list.';
COMMENT ON COLUMN public.lists.target_table IS 'The table whose rows it contains.';
COMMENT ON COLUMN public.lists.kind IS 'dynamic or static.';
COMMENT ON COLUMN public.lists.filter_predicate IS 'For a dynamic list: an SQL condition on a row of the target table and the rows that it refers to.';
COMMENT ON COLUMN public.lists.filter_params IS 'Values of $1, $2, … in filter_predicate.';
COMMENT ON COLUMN public.lists.config IS 'The columns that it shows, and the order of its rows: {columns, order}.';

CREATE TABLE public.list_members (
  id text PRIMARY KEY DEFAULT kith.new_id('lm'),
  list_id text NOT NULL CONSTRAINT list_members_list_id_fkey REFERENCES public.lists (id) ON DELETE CASCADE,
  member_id text NOT NULL,
  added_at timestamptz NOT NULL DEFAULT now(),
  added_by text DEFAULT kith.current_actor(),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT list_members_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  CONSTRAINT list_members_list_id_member_id_key UNIQUE (list_id, member_id)
);
CREATE INDEX list_members_newest_idx ON public.list_members (added_at, id);
CREATE INDEX list_members_member_id_idx ON public.list_members (member_id);
COMMENT ON TABLE public.list_members IS 'The members of static lists.';
COMMENT ON COLUMN public.list_members.list_id IS 'The list that it is in.';
COMMENT ON COLUMN public.list_members.member_id IS 'Id of the record in the list''s target table.';
COMMENT ON COLUMN public.list_members.added_at IS 'When it was added to the list.';
COMMENT ON COLUMN public.list_members.added_by IS 'The actor who added it.';

CREATE TABLE public.associations (
  id text PRIMARY KEY DEFAULT kith.new_id('as'),
  from_type text NOT NULL CONSTRAINT associations_from_type_check CHECK (from_type <> ''),
  from_id text NOT NULL,
  to_type text NOT NULL CONSTRAINT associations_to_type_check CHECK (to_type <> ''),
  to_id text NOT NULL,
  label text,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT associations_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE UNIQUE INDEX associations_together_key ON public.associations (from_type, from_id, to_type, to_id, label)
  NULLS NOT DISTINCT WHERE deleted_at IS NULL;
CREATE INDEX associations_from_idx ON public.associations (from_type, from_id);
CREATE INDEX associations_to_idx ON public.associations (to_type, to_id);
CREATE INDEX associations_newest_idx ON public.associations (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.associations IS 'Links between any two records.';
COMMENT ON COLUMN public.associations.from_type IS 'Type of the first record: contact, company, deal, …';
COMMENT ON COLUMN public.associations.from_id IS 'Id of the first record.';
COMMENT ON COLUMN public.associations.to_type IS 'Type of the second record.';
COMMENT ON COLUMN public.associations.to_id IS 'Id of the second record.';
COMMENT ON COLUMN public.associations.label IS 'How the first relates to the second.';

CREATE TABLE public.custom_fields (
  id text PRIMARY KEY DEFAULT kith.new_id('fld'),
  object_type text NOT NULL CONSTRAINT custom_fields_object_type_check CHECK (object_type IN ('contact', 'company', 'deal', 'activity')),
  key text NOT NULL CONSTRAINT custom_fields_key_check CHECK (key <> ''),
  label text,
  type text NOT NULL CONSTRAINT custom_fields_type_check CHECK (type IN ('text', 'number', 'date', 'bool', 'select')),
  options jsonb,
  required boolean NOT NULL DEFAULT false,
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT custom_fields_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  CONSTRAINT custom_fields_options_check CHECK (CASE WHEN jsonb_typeof(options) = 'array' THEN type <> 'select' OR jsonb_array_length(options) > 0
    ELSE type <> 'select' AND (options IS NULL OR options = 'null') END)
);
CREATE UNIQUE INDEX custom_fields_object_type_key_key ON public.custom_fields (object_type, key) WHERE deleted_at IS NULL;
CREATE INDEX custom_fields_newest_idx ON public.custom_fields (created_at, id) WHERE deleted_at IS NULL;
COMMENT ON TABLE public.custom_fields IS 'Definitions of keys in custom, by type of record. Keys without a definition are free-form.';
COMMENT ON COLUMN public.custom_fields.object_type IS 'contact, company, deal or activity.';
COMMENT ON COLUMN public.custom_fields.key IS 'The key in custom. Unique for a type of record among live rows.';
COMMENT ON COLUMN public.custom_fields.label IS 'The name that people see.';
COMMENT ON COLUMN public.custom_fields.type IS 'text, number, date, bool or select.';
COMMENT ON COLUMN public.custom_fields.options IS 'For a select: an array of the strings that it may hold.';
COMMENT ON COLUMN public.custom_fields.required IS 'Whether a new record must have the key.';

-- Each workspace starts with one pipeline. It is inserted before the triggers are created, so that the feed starts empty.
INSERT INTO public.pipelines (key, label, position, is_default) VALUES ('sales', 'Sales', 0, true);
INSERT INTO public.pipeline_stages (pipeline, key, label, position, is_won, is_lost) VALUES
  ('sales', 'lead', 'Lead', 0, false, false),
  ('sales', 'qualified', 'Qualified', 1, false, false),
  ('sales', 'proposal', 'Proposal', 2, false, false),
  ('sales', 'won', 'Won', 3, true, false),
  ('sales', 'lost', 'Lost', 4, false, true);

SELECT kith.make_builtin('public.companies', 'company', ARRAY['{name}', '{domain}'], 'custom_fields', 'associations');
SELECT kith.make_builtin('public.contacts', 'contact', ARRAY['{first_name} {last_name}', '{email}', '{phone}'], 'custom_fields', 'associations');
SELECT kith.make_builtin('public.pipelines', 'pipeline', ARRAY['{label}'], 'associations');
SELECT kith.make_builtin('public.pipeline_stages', 'pipeline_stage', ARRAY['{label}'], 'associations');
SELECT kith.make_builtin('public.deals', 'deal', ARRAY['{name}'], 'custom_fields', 'associations');
SELECT kith.make_builtin('public.activities', 'activity', ARRAY['{subject}', '{type}'], 'custom_fields', 'associations');
SELECT kith.make_builtin('public.emails', 'email', ARRAY['{subject}', '{snippet}', '{from_addr}'], 'associations');
SELECT kith.make_builtin('public.lists', 'list', ARRAY['{name}'], 'associations');
SELECT kith.make_builtin('public.list_members', 'list_member', ARRAY['{member_id}']);
SELECT kith.make_builtin('public.associations', 'association', ARRAY['{from_id} – {to_id}']);
SELECT kith.make_builtin('public.custom_fields', 'custom_field', ARRAY['{object_type}.{key}']);

-- section: admin

SELECT kith_guard.declare_builtin('public.companies');
SELECT kith_guard.declare_builtin('public.contacts');
SELECT kith_guard.declare_builtin('public.pipelines');
SELECT kith_guard.declare_builtin('public.pipeline_stages');
SELECT kith_guard.declare_builtin('public.deals');
SELECT kith_guard.declare_builtin('public.activities');
SELECT kith_guard.declare_builtin('public.emails');
SELECT kith_guard.declare_builtin('public.lists');
SELECT kith_guard.declare_builtin('public.list_members');
SELECT kith_guard.declare_builtin('public.associations');
SELECT kith_guard.declare_builtin('public.custom_fields');
