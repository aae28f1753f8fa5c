-- Associations with, and lists of, tables of the workspace's own. README.md describes roles, sections and rules.

-- section: system

-- A table of the workspace's own gets the trigger kith_unlink with its first association or the first member of a list; built-in tables have it
-- by make_builtin(). This runs with the rights of the role that creates the association or the member.
CREATE FUNCTION kith.link() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_table record; named text[];
BEGIN
  IF TG_TABLE_NAME = 'list_members' THEN
    named := ARRAY(SELECT l.target_table FROM public.lists l JOIN pg_class c ON c.relname = l.target_table AND c.relnamespace = 'public'::regnamespace
                    WHERE l.id = NEW.list_id AND c.oid NOT IN (SELECT b.relid FROM kith_guard.builtin b));
  ELSE
    named := ARRAY(SELECT x.subject FROM unnest(ARRAY[NEW.from_type, NEW.to_type]) x(subject) WHERE x.subject NOT IN (SELECT b.subject FROM kith_guard.builtin b));
  END IF;
  IF named = '{}' THEN
    RETURN NULL;
  END IF;
  FOR found_table IN
    SELECT c.relname, a.attname FROM pg_class c
      JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY (named)
       AND pg_get_userbyid(c.relowner) = current_user AND c.oid NOT IN (SELECT b.relid FROM kith_guard.builtin b)
       AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'kith.unlink'::regproc)
  LOOP
    EXECUTE format('CREATE TRIGGER kith_unlink AFTER DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION kith.unlink(%L)', found_table.relname, found_table.attname);
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.link IS 'Ensures that the associations and the list memberships of a record are deleted with it.';
REVOKE ALL ON FUNCTION kith.link() FROM PUBLIC;

-- section: workspace

CREATE TRIGGER kith_link AFTER INSERT ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.link();
CREATE TRIGGER kith_link AFTER INSERT ON public.list_members FOR EACH ROW EXECUTE FUNCTION kith.link();
