-- What of a run can't be undone although its changes can: e-mail and webhooks that have left. README.md describes roles, sections and rules.

-- section: system

CREATE OR REPLACE FUNCTION kith.emails_of_runs(secret text, runs text[]) RETURNS TABLE (run text, id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT DISTINCT c.run, c.key FROM kith.change c
    WHERE c.run = ANY (runs) AND c.undone_by IS NULL AND c.relation = 'public.emails'::regclass;
END $$;
COMMENT ON FUNCTION kith.emails_of_runs IS 'The ids of the e-mails that runs have changed and that are not undone. For the server, which knows the secret.';
REVOKE ALL ON FUNCTION kith.emails_of_runs(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.emails_of_runs(text, text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION kith.changes_of_runs(secret text, runs text[], most integer) RETURNS TABLE (run text, seq bigint, milliseconds bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM kith.check_secret(secret);
  RETURN QUERY SELECT r.run, c.seq, c.milliseconds FROM unnest(runs) AS r (run) CROSS JOIN LATERAL (
    SELECT c.seq, floor(extract(epoch FROM c.at) * 1000)::bigint AS milliseconds FROM kith.change c
     WHERE c.run = r.run AND c.undone_by IS NULL ORDER BY c.seq LIMIT most) AS c;
END $$;
COMMENT ON FUNCTION kith.changes_of_runs IS 'The changes of runs that are not undone, of each run the first ones. For the server, which knows the secret.';
REVOKE ALL ON FUNCTION kith.changes_of_runs(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.changes_of_runs(text, text[], integer) TO PUBLIC;
