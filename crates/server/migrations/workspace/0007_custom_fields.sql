-- Definitions of custom fields: they are checked, and each live one has an index for filters. README.md describes roles, sections and
-- rules.

-- section: system

-- The value of a key as the declared type, or null if it has another type: it may be older than the definition. The first three have
-- SQL-standard bodies and no SET clause, so that queries and indexes can inline them. An index cannot hold everything: numbers of more
-- than 500 characters are null, and texts are cut at 200.
CREATE FUNCTION kith.custom_text(custom jsonb, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(custom ->> key, 200);
COMMENT ON FUNCTION kith.custom_text IS 'The first 200 characters of the value of a key.';

CREATE FUNCTION kith.custom_number(custom jsonb, key text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(custom -> key) = 'number' AND length(custom ->> key) <= 500 THEN (custom ->> key)::numeric END;
COMMENT ON FUNCTION kith.custom_number IS 'The value of a key, if it is a number.';

CREATE FUNCTION kith.custom_bool(custom jsonb, key text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(custom -> key) WHEN 'boolean' THEN custom -> key = 'true' END;
COMMENT ON FUNCTION kith.custom_bool IS 'The value of a key, if it is a boolean.';

-- What kith.is_date() accepts depends on no setting but the time zone, which is pinned.
CREATE FUNCTION kith.custom_date(custom jsonb, key text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 20 SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  IF jsonb_typeof(custom -> key) = 'string' AND kith.is_date(custom ->> key) THEN
    RETURN (custom ->> key)::timestamptz;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.custom_date IS 'The value of a key, if it is a date: YYYY-MM-DD (midnight UTC) or RFC 3339.';

CREATE FUNCTION kith.check_definition() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE wrong text; fault text;
BEGIN
  IF jsonb_typeof(NEW.options) = 'null' THEN
    NEW.options := NULL;
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    RETURN NEW;
  END IF;
  IF NEW.object_type NOT IN ('contact', 'company', 'deal', 'activity') THEN
    wrong := 'object_type';
    fault := 'must be contact, company, deal or activity';
  ELSIF NEW.type NOT IN ('text', 'number', 'date', 'bool', 'select') THEN
    wrong := 'type';
    fault := 'must be text, number, date, bool or select';
  ELSIF (TG_OP = 'INSERT' OR NEW.key <> OLD.key) AND NEW.key !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' THEN
    wrong := 'key';
    fault := 'must begin with a letter or underscore and have at most 63 letters, digits, underscores, dots and hyphens';
  ELSIF NEW.options IS NOT NULL AND jsonb_typeof(NEW.options) <> 'array' THEN
    wrong := 'options';
    fault := 'must be an array of strings';
  ELSIF EXISTS (SELECT FROM jsonb_array_elements(NEW.options) o WHERE jsonb_typeof(o) <> 'string' OR o = '""') THEN
    wrong := 'options';
    fault := 'must be an array of strings, none of them empty';
  ELSIF NEW.type = 'select' AND coalesce(jsonb_array_length(NEW.options), 0) = 0 THEN
    wrong := 'options';
    fault := 'must name at least one choice of a select';
  ELSIF (SELECT count(*) > count(DISTINCT o) FROM jsonb_array_elements(NEW.options) o) THEN
    wrong := 'options';
    fault := 'must not name a choice twice';
  END IF;
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION '"%" of a custom field %', wrong, fault
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'custom_fields', COLUMN = wrong, CONSTRAINT = 'custom_fields_' || wrong || '_check';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.check_definition IS 'Refuses a wrong definition and says what is wrong.';

-- It runs with the rights of the role that defines the field, so the workspace owns the index. After the value come the columns that
-- lists are sorted by. The index is not partial, although it is used for live rows only: for a partial index the planner does not know
-- how common a value is, and would read all rows in search of a rare one.
CREATE FUNCTION kith.index_field() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  was_live constant boolean := TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL;
  is_live constant boolean := TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL;
  relation name;
BEGIN
  IF was_live AND is_live AND (NEW.id, NEW.object_type, NEW.key, NEW.type) = (OLD.id, OLD.object_type, OLD.key, OLD.type) THEN
    RETURN NULL;
  END IF;
  IF was_live THEN
    EXECUTE format('DROP INDEX IF EXISTS public.%I', 'kith_' || OLD.id);
  END IF;
  IF is_live THEN
    relation := (SELECT b.name FROM kith_guard.builtin b WHERE b.subject = NEW.object_type);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I (kith.%I(custom, %L), created_at, id)', 'kith_' || NEW.id, relation,
      CASE NEW.type WHEN 'number' THEN 'custom_number' WHEN 'date' THEN 'custom_date' WHEN 'bool' THEN 'custom_bool' ELSE 'custom_text' END, NEW.key);
    -- ANALYZE evaluates the expressions of all indexes. Those of the workspace's own may fail.
    BEGIN
      EXECUTE format('ANALYZE public.%I', relation);
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.index_field IS 'Creates the index of a custom field, and drops it with the definition.';

REVOKE ALL ON FUNCTION kith.check_definition(), kith.index_field(), kith.custom_text(jsonb, text), kith.custom_number(jsonb, text),
  kith.custom_bool(jsonb, text), kith.custom_date(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kith.custom_text(jsonb, text), kith.custom_number(jsonb, text), kith.custom_bool(jsonb, text), kith.custom_date(jsonb, text) TO PUBLIC;

-- section: workspace

CREATE TRIGGER kith_definition BEFORE INSERT OR UPDATE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.check_definition();
CREATE TRIGGER kith_index AFTER INSERT OR UPDATE OR DELETE ON public.custom_fields FOR EACH ROW EXECUTE FUNCTION kith.index_field();
