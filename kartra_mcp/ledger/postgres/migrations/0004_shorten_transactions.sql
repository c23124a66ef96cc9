-- Spend less time on the begin of a transaction and in the triggers of its rows.
-- compatible: 1
--
-- No table changes. `SET search_path` on a function costs as much as its work: the triggers name
-- their schema instead, and the schema of their operators, which a search path could replace.

CREATE OR REPLACE FUNCTION begin_transaction(
  path TEXT, writes BOOLEAN, wait INTEGER, work INTEGER, seen BIGINT)
  RETURNS TABLE (
    n BIGINT, hash TEXT, line BIGINT, line_hash TEXT, at DOUBLE PRECISION, hash_then TEXT,
    clock DOUBLE PRECISION, version INTEGER, oldest_program INTEGER, backend INTEGER,
    timeline TEXT, swept TEXT, durable BOOLEAN, oldest_running DOUBLE PRECISION)
  LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  -- A path that is set is looked up anew, which takes as long as all the rest.
  IF current_setting('search_path') <> path THEN
    PERFORM set_config('search_path', path, TRUE);
  END IF;
  PERFORM set_config('lock_timeout', wait::text, TRUE),
    set_config('statement_timeout', work::text, TRUE),
    set_config('idle_in_transaction_session_timeout', '10s', TRUE),
    set_config('synchronous_commit', 'on', TRUE);
  IF writes THEN
    -- Its reads are few and find few rows: a plan for each value takes longer than all of them.
    PERFORM set_config('plan_cache_mode', 'force_generic_plan', TRUE);
    PERFORM FROM head FOR UPDATE;
  END IF;
  RETURN QUERY SELECT h.n, h.hash, l.n, l.hash, l.at,
    CASE seen WHEN h.n THEN h.hash ELSE (SELECT t.hash FROM lines t WHERE t.n = seen) END,
    extract(epoch FROM clock_timestamp())::double precision,
    v.number, v.oldest_program, pg_backend_pid(),
    c.system_identifier || '/' ||
      ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint,
    (SELECT m.value FROM meta m WHERE m.key = 'swept_timeline'),
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
    (SELECT min(i.at) FROM intents i WHERE i.state = 'running')
  FROM head h CROSS JOIN pg_control_system() c
  CROSS JOIN (SELECT max(s.number), max(s.oldest_program) FROM schema_version s)
    v (number, oldest_program)
  LEFT JOIN LATERAL (SELECT t.n, t.hash, t.at FROM lines t ORDER BY t.n DESC LIMIT 1) l ON TRUE;
END $$;

DO $migration$ BEGIN
  EXECUTE replace($functions$
CREATE OR REPLACE FUNCTION require_next_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  newest RECORD;
BEGIN
  SELECT n, hash INTO newest FROM :schema.lines ORDER BY n DESC LIMIT 1;
  IF NEW.n OPERATOR(pg_catalog.<>) (COALESCE(newest.n, 0) OPERATOR(pg_catalog.+) 1)
    OR NEW.prev OPERATOR(pg_catalog.<>) COALESCE(newest.hash, pg_catalog.repeat('0', 64))
  THEN
    RAISE EXCEPTION 'lines only follow each other' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION mark_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.state := 'running';
  NEW.is_again := FALSE;
  IF NEW.number OPERATOR(pg_catalog.>) 0 THEN
    NEW.is_again := EXISTS (
      SELECT FROM :schema.parts p WHERE p.intent OPERATOR(pg_catalog.=) NEW.intent
        AND p.number OPERATOR(pg_catalog.<) NEW.number
        AND p.operation OPERATOR(pg_catalog.=) NEW.operation
        AND p.target_kind OPERATOR(pg_catalog.=) NEW.target_kind
        AND p.target OPERATOR(pg_catalog.=) NEW.target);
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION follow_intent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state OPERATOR(pg_catalog.<>) NEW.state THEN
    UPDATE :schema.parts SET state = NEW.state WHERE intent OPERATOR(pg_catalog.=) NEW.id;
  END IF;
  RETURN NULL;
END $$;
$functions$, ':schema', quote_ident(current_schema()));
END $migration$;

-- Its function compares: a condition of the trigger is prepared anew for each statement.
DROP TRIGGER parts_follow ON intents;
CREATE TRIGGER parts_follow AFTER UPDATE OF state ON intents
  FOR EACH ROW EXECUTE FUNCTION follow_intent();
