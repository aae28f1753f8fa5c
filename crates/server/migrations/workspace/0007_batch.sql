-- Batches: rows are written by few statements, and where one fails its rows go one by one, so that the good ones are kept.
-- README.md explains roles, sections and rules.

-- section: system

-- Runs in the session and with the rights of who calls it, who could send each of these statements as well. Each takes its rows
-- as $1, an array of arrays, and gives for each of them, in order, its id and whether it is new.
CREATE OR REPLACE FUNCTION kith.write_each(statements text[], batches jsonb)
RETURNS TABLE (place integer, id text, created boolean, code text, message text, detail text, hint text, field text, rule text)
LANGUAGE plpgsql SET search_path = public, extensions, pg_temp AS $$
#variable_conflict use_column
DECLARE
  batch jsonb; entry jsonb; ids text[]; news boolean[]; statement text;
BEGIN
  FOR number IN 1 .. cardinality(statements) LOOP
    statement := 'WITH w AS (' || statements[number] || ') SELECT array_agg(w.id), array_agg(w.created) FROM w';
    batch := batches -> (number - 1);
    BEGIN
      EXECUTE statement INTO ids, news USING batch;
      IF cardinality(ids) IS DISTINCT FROM jsonb_array_length(batch) THEN
        RAISE EXCEPTION 'a trigger left rows out' USING ERRCODE = 'KB001';
      END IF;
      RETURN QUERY SELECT (r.value ->> 0)::integer, ids[r.ordinality], news[r.ordinality], NULL, NULL, NULL, NULL, NULL, NULL
                     FROM jsonb_array_elements(batch) WITH ORDINALITY r;
      CONTINUE;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
    END;
    -- They come in an order in which batches don't wait for each other crosswise; it is kept if that has happened nonetheless.
    -- Else the first that was sent comes first, and takes what another wants as well.
    FOR entry IN SELECT r.value FROM jsonb_array_elements(batch) WITH ORDINALITY r
                  ORDER BY CASE WHEN code <> '40P01' THEN (r.value ->> 0)::integer END, r.ordinality LOOP
      place := entry ->> 0;
      code := NULL; message := NULL; detail := NULL; hint := NULL; field := NULL; rule := NULL;
      BEGIN
        EXECUTE statement INTO ids, news USING jsonb_build_array(entry);
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
COMMENT ON FUNCTION kith.write_each IS 'Writes the rows of a batch, each for itself where they do not go together.';
REVOKE ALL ON FUNCTION kith.write_each(text[], jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.write_each(text[], jsonb) TO PUBLIC;
