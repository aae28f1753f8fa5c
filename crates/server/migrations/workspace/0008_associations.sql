-- Associations and lists' members, which can be rows of the workspace's own tables. README.md describes roles, sections and rules.

-- section: system

-- A table of the workspace's own gets the trigger kith_unlink with its first association; built-in tables have it by make_builtin(). This
-- runs with the rights of the role that creates the association.
CREATE FUNCTION kith.link() RETURNS trigger
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
COMMENT ON FUNCTION kith.link IS 'Ensures that the associations of a record are deleted with it.';

-- It runs with the rights of the role that adds the member, and that could read the table as well. The key of a table of the workspace's own
-- can have any type; a member that does not fit the type names no row.
CREATE FUNCTION kith.check_member() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE target record; is_there boolean := false;
BEGIN
  IF TG_OP = 'INSERT' AND NEW.added_at < now() OR TG_OP = 'UPDATE' AND NEW.member_id = OLD.member_id AND NEW.list_id = OLD.list_id THEN
    RETURN NULL;
  END IF;
  SELECT c.relname, a.attname, format_type(a.atttypid, -1) AS type, t.typnamespace = 'pg_catalog'::regnamespace AS is_standard,
         EXISTS (SELECT FROM pg_attribute d WHERE d.attrelid = c.oid AND d.attname = 'deleted_at' AND NOT d.attisdropped) AS can_hide
    INTO target
    FROM public.lists l
    JOIN pg_class c ON c.relname = l.target_table AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
    JOIN pg_type t ON t.oid = a.atttypid
   WHERE l.id = NEW.list_id;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  BEGIN
    EXECUTE format(CASE WHEN target.is_standard THEN 'SELECT EXISTS (SELECT FROM public.%1$I t WHERE t.%2$I = $1::%3$s%4$s)'
                        ELSE 'SELECT EXISTS (SELECT FROM public.%1$I t WHERE t.%2$I::text = $1%4$s)' END,
      target.relname, target.attname, target.type, CASE WHEN target.can_hide THEN ' AND t.deleted_at IS NULL' END) INTO is_there USING NEW.member_id;
  EXCEPTION WHEN data_exception THEN
    NULL;
  END;
  IF NOT is_there THEN
    RAISE EXCEPTION 'there is no live row "%" in table "%"', NEW.member_id, target.relname
      USING ERRCODE = '23503', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'member_id', CONSTRAINT = TG_TABLE_NAME || '_member_id_fkey',
            HINT = 'Add a record of the list''s target table that is not deleted.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.check_member IS 'Refuses a member of a list that is no live row of its target table.';

REVOKE ALL ON FUNCTION kith.link(), kith.check_member() FROM PUBLIC;

-- section: workspace

CREATE TRIGGER kith_link AFTER INSERT ON public.associations FOR EACH ROW EXECUTE FUNCTION kith.link();
CREATE TRIGGER kith_member AFTER INSERT OR UPDATE ON public.list_members FOR EACH ROW EXECUTE FUNCTION kith.check_member();
