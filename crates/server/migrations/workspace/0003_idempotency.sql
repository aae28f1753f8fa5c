-- Answers to requests that carried an Idempotency-Key, written in the transaction that did the work. README.md explains
-- roles, sections and rules.

-- section: system

CREATE TABLE IF NOT EXISTS kith.idempotency (
  key         text PRIMARY KEY,
  fingerprint text NOT NULL,
  status      integer,
  body        text,
  created_at  timestamptz NOT NULL
);
COMMENT ON TABLE kith.idempotency IS 'Answers to requests with an Idempotency-Key, kept for 24 hours. A row without a status is of a transaction that has not ended.';
CREATE INDEX IF NOT EXISTS idempotency_created_at ON kith.idempotency (created_at);
REVOKE ALL ON kith.idempotency FROM PUBLIC;

-- 'fresh': the work is to be done, and its answer kept. 'stored': it was done, here is the answer. 'conflict': the key was
-- used for another request. Who comes while the first is still at work waits for it a moment (then 55P03).
CREATE OR REPLACE FUNCTION kith.claim_key(secret text, key text, fingerprint text, moment timestamptz, OUT outcome text, OUT status integer, OUT body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE found_row kith.idempotency;
BEGIN
  IF NOT EXISTS (SELECT FROM kith.secret s WHERE s.token_hash = sha256(convert_to(claim_key.secret, 'UTF8'))) THEN
    RAISE EXCEPTION 'only the server can claim keys' USING ERRCODE = '28000';
  END IF;
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
COMMENT ON FUNCTION kith.claim_key IS 'Takes an Idempotency-Key for this transaction, or gives the answer that was given. For the server, which knows the secret.';

CREATE OR REPLACE FUNCTION kith.keep_answer(secret text, key text, status integer, body text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM kith.secret s WHERE s.token_hash = sha256(convert_to(keep_answer.secret, 'UTF8'))) THEN
    RAISE EXCEPTION 'only the server can claim keys' USING ERRCODE = '28000';
  END IF;
  UPDATE kith.idempotency i SET status = keep_answer.status, body = keep_answer.body WHERE i.key = keep_answer.key;
END $$;
COMMENT ON FUNCTION kith.keep_answer IS 'Keeps the answer to a request with an Idempotency-Key. For the server, which knows the secret.';

GRANT EXECUTE ON FUNCTION kith.claim_key, kith.keep_answer TO PUBLIC;

-- section: admin

-- An extension's member is nothing that pg_dump takes: the workspace may dump its database, but not read this table.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = 'kith.idempotency'::regclass AND d.deptype = 'e') THEN
    ALTER EXTENSION pgcrypto ADD TABLE kith.idempotency;
  END IF;
END $$;
