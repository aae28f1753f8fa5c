-- The position of the last event, for those who read the log because their queue was full. README.md describes roles, sections and rules.

-- section: system

CREATE OR REPLACE FUNCTION kith.hold_published(secret text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE last bigint;
BEGIN
  PERFORM kith.check_secret(hold_published.secret);
  SELECT p.position INTO last FROM kith.published p FOR UPDATE;
  RETURN last;
END $$;
COMMENT ON FUNCTION kith.hold_published IS 'The position of the last event. No other session can publish until the transaction ends. For the server, which knows the secret.';
REVOKE ALL ON FUNCTION kith.hold_published FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.hold_published TO PUBLIC;
