-- A migration that no version of Kith has: the upgrade of workspaces is tested with it. It does what a real one may do, in sections of
-- all three kinds.

-- section: system

CREATE OR REPLACE FUNCTION kith.shout(words text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN upper(words) || '!';
REVOKE ALL ON FUNCTION kith.shout(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.shout(text) TO PUBLIC;

-- section: workspace

ALTER TABLE public.contacts ADD COLUMN IF NOT EXISTS nickname text;
CREATE INDEX IF NOT EXISTS contacts_nickname_idx ON public.contacts (kith.shout(nickname));

CREATE TABLE IF NOT EXISTS public.tickets (
  id text PRIMARY KEY DEFAULT kith.new_id('tk'),
  title text NOT NULL,
  company_id text CONSTRAINT tickets_company_id_fkey REFERENCES public.companies (id),
  custom jsonb NOT NULL DEFAULT '{}' CONSTRAINT tickets_custom_check CHECK (jsonb_typeof(custom) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
COMMENT ON TABLE public.tickets IS 'Requests for help.';
SELECT kith.make_builtin('public.tickets', 'ticket', ARRAY['{title}'], 'associations');

-- section: admin

SELECT kith_guard.declare_builtin('public.tickets');
