-- What the server needs for requests: answers to those with an Idempotency-Key, and batches. README.md describes roles, sections and
-- rules.

-- section: system

-- An answer is written in the transaction that does the work.

CREATE TABLE kith.idempotency (
  key         text PRIMARY KEY,
  fingerprint text NOT NULL,
  status      integer,
  body        text,
  created_at  timestamptz NOT NULL
);
COMMENT ON TABLE kith.idempotency IS 'Answers to requests with an Idempotency-Key, kept for 24 hours. A row without a status belongs to a transaction that has not ended.';
CREATE INDEX idempotency_created_at ON kith.idempotency (created_at);
REVOKE ALL ON kith.idempotency FROM PUBLIC;

-- Returns 'fresh' (do the work and store the answer), 'stored' (with the answer) or 'conflict' (the key belongs to another request). It
-- waits two seconds for a transaction that is doing the work, then fails with 55P03.
CREATE FUNCTION kith.claim_key(secret text, key text, fingerprint text, moment timestamptz, OUT outcome text, OUT status integer, OUT body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
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
END $$;
COMMENT ON FUNCTION kith.claim_key IS 'Takes an Idempotency-Key for this transaction, or returns the stored answer. For the server, which knows the secret.';

CREATE FUNCTION kith.keep_answer(secret text, key text, status integer, body text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM kith.check_secret(secret);
  UPDATE kith.idempotency i SET status = keep_answer.status, body = keep_answer.body WHERE i.key = keep_answer.key;
END $$;
COMMENT ON FUNCTION kith.keep_answer IS 'Stores the answer to a request with an Idempotency-Key. For the server, which knows the secret.';

GRANT EXECUTE ON FUNCTION kith.claim_key, kith.keep_answer TO PUBLIC;

-- Batches.

-- It runs with the rights of the caller, who could send each of these statements as well. A statement takes its rows as $1, an array of
-- arrays, and returns for each of them, in order, the id and whether the row is new.
-- EXECUTE … INTO runs a text of several statements: a caller could close the WITH and add PREPARE or LISTEN, which no plain statement
-- can run otherwise. The server relies on that: it does not look for prepared statements after plain ones. A loop opens a cursor, and a
-- cursor takes one query.
CREATE FUNCTION kith.write_each(statements text[], batches jsonb)
RETURNS TABLE (place integer, id text, created boolean, code text, message text, detail text, hint text, field text, rule text)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
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
END $$;
COMMENT ON FUNCTION kith.write_each IS 'Writes the rows of a batch, one by one if they cannot be written together.';
REVOKE ALL ON FUNCTION kith.write_each(text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.write_each(text[], jsonb) TO PUBLIC;

-- section: admin

-- pg_dump leaves members of extensions out. The workspace may dump its database, and may not read this table.
ALTER EXTENSION pgcrypto ADD TABLE kith.idempotency;
