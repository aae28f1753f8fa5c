-- E-mail that Kith sends: what became of it. README.md describes roles, sections and rules.

-- section: system

CREATE OR REPLACE FUNCTION kith.undone_emails(secret text, id text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT DISTINCT c.key FROM kith.change c
    WHERE c.undone_by = undone_emails.id AND c.relation = 'public.emails'::regclass;
END $$;
COMMENT ON FUNCTION kith.undone_emails IS 'The ids of the e-mails that an undo put back. For the server, which knows the secret.';
REVOKE ALL ON FUNCTION kith.undone_emails(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.undone_emails(text, text) TO PUBLIC;

-- section: workspace

ALTER TABLE public.emails ADD COLUMN IF NOT EXISTS status text
  CONSTRAINT emails_status_check CHECK (status IN ('queued', 'held', 'sent', 'failed', 'simulated'));
ALTER TABLE public.emails ADD COLUMN IF NOT EXISTS status_reason text;
COMMENT ON COLUMN public.emails.status IS 'What became of a message that Kith sends: queued, held, sent, failed or simulated.';
COMMENT ON COLUMN public.emails.status_reason IS 'The provider''s words, if it was refused or has to wait.';
CREATE INDEX IF NOT EXISTS emails_message_idx ON public.emails (provider_msg_id) WHERE provider_msg_id IS NOT NULL;
