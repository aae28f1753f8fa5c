-- Associations go with the records that they join. README.md explains roles, sections and rules.

-- section: system

-- The argument is the column that names a row; the built-in tables' is id. It has no rights of its own: what it deletes, who
-- deleted the record could delete as well.
CREATE OR REPLACE FUNCTION kith.unlink() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  subject constant text := coalesce((SELECT b.subject FROM kith_guard.builtin b WHERE b.relid = TG_RELID), TG_TABLE_NAME);
  key constant text := to_jsonb(OLD) ->> coalesce(TG_ARGV[0], 'id');
BEGIN
  DELETE FROM public.associations a WHERE a.from_type = subject AND a.from_id = key;
  DELETE FROM public.associations a WHERE a.to_type = subject AND a.to_id = key;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.unlink IS 'Deletes the associations of a record that is deleted for good.';

-- A table of the workspace's own gets its trigger with its first association, in the session and with the rights of who makes that.
CREATE OR REPLACE FUNCTION kith.link() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_table record;
BEGIN
  IF NOT EXISTS (SELECT FROM unnest(ARRAY[NEW.from_type, NEW.to_type]) x(subject) WHERE x.subject NOT IN (SELECT b.subject FROM kith_guard.builtin b)) THEN
    RETURN NULL;
  END IF;
  FOR found_table IN
    SELECT c.relname, a.attname FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname IN (NEW.from_type, NEW.to_type)
       AND pg_get_userbyid(c.relowner) = current_user AND c.oid NOT IN (SELECT b.relid FROM kith_guard.builtin b)
       AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'kith.unlink'::regproc)
  LOOP
    EXECUTE format('CREATE TRIGGER kith_unlink AFTER DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION kith.unlink(%L)', found_table.relname, found_table.attname);
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.link IS 'Sees to it that the associations of a record go with it.';

REVOKE ALL ON FUNCTION kith.unlink(), kith.link() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.unlink() TO PUBLIC;
GRANT EXECUTE ON FUNCTION kith.link() TO {{workspace}};

-- section: workspace

CREATE INDEX IF NOT EXISTS associations_from_idx ON public.associations (from_type, from_id);
CREATE OR REPLACE TRIGGER kith_link AFTER INSERT ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.link();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.companies FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.activities FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.emails FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.lists FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.unlink();
CREATE OR REPLACE TRIGGER kith_unlink AFTER DELETE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.unlink();

-- section: system

REVOKE ALL ON FUNCTION kith.link() FROM {{workspace}};
