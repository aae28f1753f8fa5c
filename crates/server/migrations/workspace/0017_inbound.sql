-- E-mail that Kith receives: which messages belong to one conversation. README.md describes roles, sections and rules.

-- section: system

CREATE OR REPLACE FUNCTION kith.thread_subject(subject text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
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
END $$;
COMMENT ON FUNCTION kith.thread_subject IS 'A subject without "Re:", "Fwd:" and tags of mailing lists, in lower case: answers have the same. Null if nothing is left.';
REVOKE ALL ON FUNCTION kith.thread_subject(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.thread_subject(text) TO PUBLIC;

-- section: workspace

CREATE INDEX IF NOT EXISTS emails_thread_idx ON public.emails (kith.thread_subject(subject), coalesce(received_at, sent_at, created_at))
  WHERE deleted_at IS NULL;
