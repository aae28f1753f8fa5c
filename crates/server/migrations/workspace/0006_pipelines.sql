-- Pipelines, stages and deals. Each pipeline and stage has the position that it was given; one that has deals cannot be deleted; the
-- key of a deleted one can be used again. README.md describes roles, sections and rules.

-- section: system

-- The lock on the stage, which the foreign key would take anyway, keeps it from being deleted at the same time.
CREATE FUNCTION kith.place_deal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE found_stage text;
BEGIN
  -- A deleted deal may be in a deleted stage. Undo inserts it as it was.
  IF NEW.deleted_at IS NOT NULL AND NEW.pipeline IS NOT NULL AND NEW.stage IS NOT NULL AND (TG_OP = 'UPDATE' OR kith.is_undo()) THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.stage IS NULL THEN
    RAISE EXCEPTION 'a deal must have a stage' USING ERRCODE = '23502', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
      HINT = 'Leave the stage out to keep it, or for the first one of another pipeline.';
  END IF;
  IF NEW.pipeline IS NULL THEN
    SELECT p.key INTO NEW.pipeline FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL;
  END IF;
  SELECT s.key INTO found_stage FROM public.pipeline_stages s JOIN public.pipelines p ON p.key = s.pipeline
   WHERE s.pipeline = NEW.pipeline AND s.key = NEW.stage AND s.deleted_at IS NULL AND p.deleted_at IS NULL FOR KEY SHARE OF s;
  IF FOUND THEN
    RETURN NEW;
  END IF;
  PERFORM FROM public.pipelines p WHERE p.key = NEW.pipeline AND p.deleted_at IS NULL FOR KEY SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no pipeline "%"', NEW.pipeline
      USING ERRCODE = '23503', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'pipeline', CONSTRAINT = 'deals_pipeline_fkey',
            DETAIL = format('Key (pipeline)=(%s) is not present in table "pipelines".', NEW.pipeline),
            HINT = 'Create the pipeline first, or leave it out for the default one.';
  END IF;
  -- A stage that was deleted since is not added again.
  IF NEW.stage IS NOT NULL AND kith.is_undo() THEN
    RAISE EXCEPTION 'there is no stage "%" in pipeline "%"', NEW.stage, NEW.pipeline
      USING ERRCODE = '23503', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage', CONSTRAINT = 'deals_stage_fkey';
  END IF;
  -- If no stage is given, or on a move to another pipeline only the old one, the deal goes to the first stage. If the statement
  -- names the old stage, kith_place_named has called this function before, with an argument.
  IF NEW.stage IS NULL OR (TG_OP = 'UPDATE' AND TG_NARGS = 0 AND NEW.stage = OLD.stage AND NEW.pipeline IS DISTINCT FROM OLD.pipeline) THEN
    SELECT s.key INTO found_stage FROM public.pipeline_stages s
     WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL ORDER BY s.position, s.created_at, s.id LIMIT 1;
    IF FOUND THEN
      NEW.stage := found_stage;
      RETURN NEW;
    END IF;
    IF NEW.stage IS NULL THEN
      RAISE EXCEPTION 'pipeline "%" has no stages', NEW.pipeline
        USING ERRCODE = 'KP002', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage', HINT = 'Add a stage to the pipeline first.';
    END IF;
  END IF;
  -- A tenant that sets this only has its own writes refused.
  IF current_setting('kith.unknown_stage', true) = 'refuse' THEN
    RAISE EXCEPTION 'pipeline "%" has no stage "%"', NEW.pipeline, NEW.stage
      USING ERRCODE = 'KP005', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
            HINT = coalesce((SELECT 'It has: ' || left(string_agg(s.key, ', ' ORDER BY s.position), 500) || '.' FROM public.pipeline_stages s
                              WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL), 'Add a stage to the pipeline first.');
  END IF;
  IF NEW.stage = '' THEN
    RAISE EXCEPTION 'a deal must have a stage' USING ERRCODE = '23502', SCHEMA = 'public', TABLE = 'deals', COLUMN = 'stage',
      HINT = 'Leave the stage out for the first one of the pipeline.';
  END IF;
  -- A missing stage is added to the end. If another transaction is adding the same one, this one waits for it and uses it.
  UPDATE public.pipeline_stages s SET deleted_at = NULL, position = NULL WHERE s.pipeline = NEW.pipeline AND s.key = NEW.stage AND s.deleted_at IS NOT NULL;
  IF NOT FOUND THEN
    INSERT INTO public.pipeline_stages AS s (pipeline, key, label)
    VALUES (NEW.pipeline, NEW.stage, upper(left(NEW.stage, 1)) || replace(substr(NEW.stage, 2), '_', ' '))
    ON CONFLICT (pipeline, key) DO NOTHING;
  END IF;
  RETURN NEW;
END $$;

COMMENT ON FUNCTION kith.place_deal IS 'Gives a deal a pipeline and a stage, and adds a stage that the pipeline lacks.';

-- Changes of the order move each other's rows, and a new default unsets the previous one, so they wait for each other before they
-- hold any row. The lock conflicts only with itself. Deals that add a stage hold rows already; they wait at the pipeline's row, see
-- place_stage().
CREATE FUNCTION kith.await_order() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_trigger_depth() = 1 OR TG_TABLE_NAME = 'pipelines' THEN
    LOCK TABLE public.pipelines IN SHARE UPDATE EXCLUSIVE MODE;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.await_order IS 'Makes changes of pipelines and stages wait for each other.';

CREATE FUNCTION kith.place_pipeline() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN
    IF OLD.deleted_at IS NULL THEN
      IF OLD.is_default THEN
        RAISE EXCEPTION 'the default pipeline cannot be deleted or unset'
          USING ERRCODE = 'KP001', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'is_default', HINT = 'Make another pipeline the default first.';
      END IF;
      -- From here on no deal can be added.
      PERFORM FROM public.pipelines p WHERE p.id = OLD.id FOR UPDATE;
      PERFORM FROM public.pipeline_stages s WHERE s.pipeline = OLD.key FOR UPDATE;
      IF EXISTS (SELECT FROM public.deals d WHERE d.pipeline = OLD.key AND d.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'deals are still in pipeline "%"', OLD.key
          USING ERRCODE = 'KP003', SCHEMA = 'public', TABLE = 'pipelines', HINT = 'Move them to another pipeline, or delete them, first.';
      END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
    UPDATE public.pipeline_stages s SET deleted_at = NEW.deleted_at WHERE s.pipeline = OLD.key AND s.deleted_at IS NULL;
  END IF;
  IF NEW.position NOT BETWEEN 0 AND 2000000000 AND (TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position) THEN
    RAISE EXCEPTION 'a position is a number from 0 to 2000000000, not %', NEW.position
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'position', CONSTRAINT = 'pipelines_position_check';
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.position := coalesce(NEW.position, 0);
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position OR NEW.key <> OLD.key OR OLD.deleted_at IS NOT NULL THEN
    UPDATE public.pipelines p SET key = p.key || ' (' || p.id || ')' WHERE p.key = NEW.key AND p.deleted_at IS NOT NULL AND p.id <> NEW.id;
    IF NEW.position IS NULL THEN
      NEW.position := (SELECT coalesce(max(p.position) + 1, 0) FROM public.pipelines p WHERE p.deleted_at IS NULL AND p.id <> NEW.id);
    END IF;
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.deleted_at IS NOT NULL THEN
    UPDATE public.pipeline_stages s SET deleted_at = NULL WHERE s.pipeline = OLD.key AND s.deleted_at = OLD.deleted_at;
  END IF;
  IF NEW.is_default THEN
    UPDATE public.pipelines p SET is_default = false WHERE p.is_default AND p.deleted_at IS NULL AND p.id <> NEW.id;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.place_pipeline IS 'Gives a pipeline its position, unsets the previous default, and refuses to delete a pipeline that has deals.';

-- Two changes of a pipeline's stages wait for each other at the pipeline's row.
CREATE FUNCTION kith.place_stage() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'DELETE' AND NEW.is_won AND NEW.is_lost THEN
    RAISE EXCEPTION 'a stage is not both won and lost'
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipeline_stages', COLUMN = 'is_lost', CONSTRAINT = 'pipeline_stages_is_lost_check';
  END IF;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN
    IF OLD.deleted_at IS NULL THEN
      PERFORM FROM public.pipeline_stages s WHERE s.id = OLD.id FOR UPDATE;
      IF EXISTS (SELECT FROM public.deals d WHERE d.pipeline = OLD.pipeline AND d.stage = OLD.key AND d.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'deals are still in stage "%" of pipeline "%"', OLD.key, OLD.pipeline
          USING ERRCODE = 'KP004', SCHEMA = 'public', TABLE = 'pipeline_stages', HINT = 'Move them to another stage, or delete them, first.';
      END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
  END IF;
  IF NEW.position NOT BETWEEN 0 AND 2000000000 AND (TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position) THEN
    RAISE EXCEPTION 'a position is a number from 0 to 2000000000, not %', NEW.position
      USING ERRCODE = '23514', SCHEMA = 'public', TABLE = 'pipeline_stages', COLUMN = 'position', CONSTRAINT = 'pipeline_stages_position_check';
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.position := coalesce(NEW.position, 0);
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' OR NEW.position IS DISTINCT FROM OLD.position OR NEW.key <> OLD.key OR OLD.deleted_at IS NOT NULL
     -- If only the pipeline was renamed, its stages keep their positions.
     OR NEW.pipeline <> OLD.pipeline AND EXISTS (SELECT FROM public.pipelines p WHERE p.key = OLD.pipeline) THEN
    PERFORM FROM public.pipelines p WHERE p.key = NEW.pipeline FOR NO KEY UPDATE;
    UPDATE public.pipeline_stages s SET key = s.key || ' (' || s.id || ')'
     WHERE s.pipeline = NEW.pipeline AND s.key = NEW.key AND s.deleted_at IS NOT NULL AND s.id <> NEW.id;
    IF NEW.position IS NULL THEN
      NEW.position := (SELECT coalesce(max(s.position) + 1, 0) FROM public.pipeline_stages s
                        WHERE s.pipeline = NEW.pipeline AND s.deleted_at IS NULL AND s.id <> NEW.id);
    END IF;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION kith.place_stage IS 'Gives a stage its position, and refuses to delete a stage that has deals.';

-- A stage that is put at a taken position gets it, and the stages from there on move up by one until there is a gap. A stage that is
-- moved up to a taken position comes after the one that had it: the stages between move down by one. This is done only after a
-- statement that the client sent: after a trigger's statement the order is not complete yet. Undo writes the positions with several
-- statements, and then calls restore_order().
CREATE FUNCTION kith.order_stages() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE before text[] := '{}'; behind text[] := '{}'; moved record; crowded text[]; places integer[];
BEGIN
  IF pg_trigger_depth() > 1 OR kith.is_undo() THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    before := ARRAY(SELECT n.id FROM kith_new n);
  ELSE
    before := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position < o.position OR n.pipeline <> o.pipeline OR o.deleted_at IS NOT NULL);
    behind := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position > o.position AND n.id <> ALL (before));
    SELECT n.id, n.pipeline, o.position AS was, n.position AS place INTO moved FROM kith_new n JOIN kith_old o USING (id)
     WHERE n.id = ANY (behind) AND n.deleted_at IS NULL AND (SELECT count(*) FROM kith_new) = 1
       AND EXISTS (SELECT FROM public.pipeline_stages s WHERE s.pipeline = n.pipeline AND s.position = n.position AND s.deleted_at IS NULL AND s.id <> n.id);
    IF FOUND THEN
      UPDATE public.pipeline_stages s SET position = s.position - 1
       WHERE s.pipeline = moved.pipeline AND s.deleted_at IS NULL AND s.id <> moved.id AND s.position > moved.was AND s.position <= moved.place;
      RETURN NULL;
    END IF;
  END IF;
  SELECT array_agg(x.id), array_agg(x.place) INTO crowded, places
    FROM (SELECT y.id, y.position, y.nth + max(y.position - y.nth) OVER (PARTITION BY y.pipeline ORDER BY y.nth) AS place
            FROM (SELECT s.id, s.pipeline, s.position, (row_number() OVER (PARTITION BY s.pipeline ORDER BY s.position,
                           CASE WHEN s.id = ANY (before) THEN -1 WHEN s.id = ANY (behind) THEN 1 ELSE 0 END, s.created_at, s.id))::integer AS nth
                    FROM public.pipeline_stages s WHERE s.deleted_at IS NULL AND s.pipeline IN (SELECT n.pipeline FROM kith_new n)) y) x
   WHERE x.position <> x.place;
  IF crowded IS NOT NULL THEN
    UPDATE public.pipeline_stages s SET position = x.place FROM unnest(crowded, places) x(id, place) WHERE s.id = x.id;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.order_stages IS 'Ensures that no two stages of a pipeline have the same position.';

CREATE FUNCTION kith.order_pipelines() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE before text[] := '{}'; behind text[] := '{}'; moved record; crowded text[]; places integer[];
BEGIN
  IF pg_trigger_depth() > 1 OR kith.is_undo() THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    before := ARRAY(SELECT n.id FROM kith_new n);
  ELSE
    before := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position < o.position OR o.deleted_at IS NOT NULL);
    behind := ARRAY(SELECT n.id FROM kith_new n JOIN kith_old o USING (id) WHERE n.position > o.position AND n.id <> ALL (before));
    SELECT n.id, o.position AS was, n.position AS place INTO moved FROM kith_new n JOIN kith_old o USING (id)
     WHERE n.id = ANY (behind) AND n.deleted_at IS NULL AND (SELECT count(*) FROM kith_new) = 1
       AND EXISTS (SELECT FROM public.pipelines p WHERE p.position = n.position AND p.deleted_at IS NULL AND p.id <> n.id);
    IF FOUND THEN
      UPDATE public.pipelines p SET position = p.position - 1
       WHERE p.deleted_at IS NULL AND p.id <> moved.id AND p.position > moved.was AND p.position <= moved.place;
      RETURN NULL;
    END IF;
  END IF;
  SELECT array_agg(x.id), array_agg(x.place) INTO crowded, places
    FROM (SELECT y.id, y.position, y.nth + max(y.position - y.nth) OVER (ORDER BY y.nth) AS place
            FROM (SELECT p.id, p.position, (row_number() OVER (ORDER BY p.position,
                           CASE WHEN p.id = ANY (before) THEN -1 WHEN p.id = ANY (behind) THEN 1 ELSE 0 END, p.created_at, p.id))::integer AS nth
                    FROM public.pipelines p WHERE p.deleted_at IS NULL) y) x
   WHERE x.position <> x.place;
  IF crowded IS NOT NULL THEN
    UPDATE public.pipelines p SET position = x.place FROM unnest(crowded, places) x(id, place) WHERE p.id = x.id;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.order_pipelines IS 'Ensures that no two pipelines have the same position.';

-- It runs after the statement, so that one UPDATE can move the default, and not after place_pipeline()'s own update.
CREATE FUNCTION kith.keep_default() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_trigger_depth() = 1 AND NOT EXISTS (SELECT FROM public.pipelines p WHERE p.is_default AND p.deleted_at IS NULL) THEN
    RAISE EXCEPTION 'the default pipeline cannot be deleted or unset'
      USING ERRCODE = 'KP001', SCHEMA = 'public', TABLE = 'pipelines', COLUMN = 'is_default', HINT = 'Make another pipeline the default first.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION kith.keep_default IS 'Ensures that there is a default pipeline.';

REVOKE ALL ON FUNCTION kith.place_deal(), kith.await_order(), kith.place_pipeline(), kith.place_stage(), kith.order_stages(),
  kith.order_pipelines(), kith.keep_default() FROM PUBLIC;

-- section: workspace

CREATE TRIGGER kith_await_order BEFORE INSERT OR UPDATE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.await_order();
CREATE TRIGGER kith_place BEFORE INSERT OR UPDATE OR DELETE ON public.pipelines FOR EACH ROW EXECUTE FUNCTION kith.place_pipeline();
CREATE TRIGGER kith_keep_default AFTER INSERT OR UPDATE OR DELETE ON public.pipelines FOR EACH STATEMENT EXECUTE FUNCTION kith.keep_default();
CREATE TRIGGER kith_order_insert AFTER INSERT ON public.pipelines REFERENCING NEW TABLE AS kith_new
  FOR EACH STATEMENT EXECUTE FUNCTION kith.order_pipelines();
CREATE TRIGGER kith_order_update AFTER UPDATE ON public.pipelines REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new
  FOR EACH STATEMENT EXECUTE FUNCTION kith.order_pipelines();

CREATE TRIGGER kith_await_order BEFORE INSERT OR UPDATE ON public.pipeline_stages FOR EACH STATEMENT EXECUTE FUNCTION kith.await_order();
CREATE TRIGGER kith_place BEFORE INSERT OR UPDATE OR DELETE ON public.pipeline_stages FOR EACH ROW EXECUTE FUNCTION kith.place_stage();
CREATE TRIGGER kith_order_insert AFTER INSERT ON public.pipeline_stages REFERENCING NEW TABLE AS kith_new
  FOR EACH STATEMENT EXECUTE FUNCTION kith.order_stages();
CREATE TRIGGER kith_order_update AFTER UPDATE ON public.pipeline_stages REFERENCING OLD TABLE AS kith_old NEW TABLE AS kith_new
  FOR EACH STATEMENT EXECUTE FUNCTION kith.order_stages();

CREATE TRIGGER kith_place_insert BEFORE INSERT ON public.deals FOR EACH ROW EXECUTE FUNCTION kith.place_deal();
-- Its name makes it fire before kith_place_update.
CREATE TRIGGER kith_place_named BEFORE UPDATE OF stage ON public.deals FOR EACH ROW
  WHEN (OLD.stage = NEW.stage AND OLD.pipeline IS DISTINCT FROM NEW.pipeline) EXECUTE FUNCTION kith.place_deal('named');
CREATE TRIGGER kith_place_update BEFORE UPDATE ON public.deals FOR EACH ROW
  WHEN (OLD.pipeline IS DISTINCT FROM NEW.pipeline OR OLD.stage IS DISTINCT FROM NEW.stage OR OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL)
  EXECUTE FUNCTION kith.place_deal();
