-- Create the ledger of one account, in the schema that the search path names.
-- compatible: 1
--
-- `lines` only grows and is authoritative; the other tables derive from it or expire.
-- Text that is a key is compared by its bytes (collation C), as SQLite compares it.

CREATE TABLE lines (
  n BIGINT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, kind TEXT COLLATE "C" NOT NULL,
  body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX lines_kind ON lines (kind, n);

-- One row. Every writer locks it first, so that commits follow each other.
CREATE TABLE head (
  one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), n BIGINT NOT NULL, hash TEXT NOT NULL);
INSERT INTO head (n, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'lines are never changed or removed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION require_next_line() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  newest RECORD;
BEGIN
  SELECT n, hash INTO newest FROM lines ORDER BY n DESC LIMIT 1;
  IF NEW.n <> COALESCE(newest.n, 0) + 1 OR NEW.prev <> COALESCE(newest.hash, repeat('0', 64)) THEN
    RAISE EXCEPTION 'lines only follow each other' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER lines_stay BEFORE UPDATE OR DELETE ON lines
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER lines_remain BEFORE TRUNCATE ON lines
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER lines_follow BEFORE INSERT ON lines
  FOR EACH ROW EXECUTE FUNCTION require_next_line();

CREATE TABLE intents (
  id TEXT COLLATE "C" PRIMARY KEY, line BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL,
  tool TEXT COLLATE "C" NOT NULL, operation TEXT COLLATE "C" NOT NULL, risk INTEGER NOT NULL,
  connection TEXT COLLATE "C" NOT NULL, target_kind TEXT COLLATE "C" NOT NULL,
  target TEXT COLLATE "C", amount TEXT, remainder TEXT, known_amount TEXT, mail INTEGER NOT NULL,
  lead_hash TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL, executed TEXT NOT NULL,
  ended_at DOUBLE PRECISION, outcome_line BIGINT, reconcile_line BIGINT, action_run_id TEXT);
CREATE INDEX intents_line ON intents (line);
CREATE INDEX intents_found ON intents (target);
CREATE INDEX intents_lead ON intents (lead_hash) WHERE lead_hash <> '';
CREATE INDEX intents_running ON intents (state) WHERE state = 'running';
CREATE INDEX intents_since ON intents (at);
CREATE INDEX intents_mail ON intents (at) WHERE mail > 0;

-- `state` is that of the intent; `is_again` marks a command that its own chain already has. Both are
-- kept by triggers, for the index below alone.
CREATE TABLE parts (
  intent TEXT COLLATE "C" NOT NULL, number INTEGER NOT NULL, line BIGINT NOT NULL,
  at DOUBLE PRECISION NOT NULL, operation TEXT COLLATE "C" NOT NULL, risk INTEGER NOT NULL,
  connection TEXT COLLATE "C" NOT NULL, target_kind TEXT COLLATE "C" NOT NULL,
  target TEXT COLLATE "C", known_amount TEXT, equality TEXT COLLATE "C",
  state TEXT COLLATE "C" NOT NULL DEFAULT 'running', is_again BOOLEAN NOT NULL DEFAULT FALSE,
  PRIMARY KEY (intent, number));
CREATE INDEX parts_target ON parts (connection, target_kind, target);
CREATE INDEX parts_equal ON parts (connection, operation, equality);
CREATE INDEX parts_final ON parts (at) WHERE risk = 3;

-- The main rule, true even if the program is wrong: of an irreversible operation on one target only
-- one runs, and of a refund or cancellation none runs while another is unknown.
CREATE UNIQUE INDEX parts_one_running ON parts (connection, operation, target_kind, target)
  WHERE risk = 3 AND NOT is_again AND state = 'running';
CREATE UNIQUE INDEX parts_one_unsettled ON parts (connection, operation, target_kind, target)
  WHERE risk = 3 AND NOT is_again AND state IN ('running', 'unknown')
    AND operation IN ('refund_transaction', 'cancel_transaction');

CREATE FUNCTION mark_part() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  NEW.state := 'running';
  NEW.is_again := NEW.number > 0 AND EXISTS (
    SELECT FROM parts p WHERE p.intent = NEW.intent AND p.number < NEW.number
      AND p.operation = NEW.operation AND p.target_kind = NEW.target_kind
      AND p.target = NEW.target);
  RETURN NEW;
END $$;
CREATE FUNCTION follow_intent() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE parts SET state = NEW.state WHERE intent = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER parts_marked BEFORE INSERT ON parts FOR EACH ROW EXECUTE FUNCTION mark_part();
CREATE TRIGGER parts_follow AFTER UPDATE OF state ON intents
  FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION follow_intent();

CREATE TABLE leads (
  connection TEXT COLLATE "C" NOT NULL, target TEXT COLLATE "C" NOT NULL,
  lead_id TEXT COLLATE "C" NOT NULL, PRIMARY KEY (connection, target));
CREATE INDEX leads_id ON leads (connection, lead_id);

-- System identifier and timeline of the server that writes now. `pg_control_checkpoint` would show
-- the timeline of before, until the first checkpoint after a failover.
CREATE FUNCTION current_timeline() RETURNS TEXT LANGUAGE sql VOLATILE AS $$
  SELECT (SELECT system_identifier FROM pg_control_system()) || '/' ||
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint
$$;

CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE confirmations (
  hash TEXT COLLATE "C" PRIMARY KEY, kind TEXT NOT NULL, binding TEXT NOT NULL,
  summary TEXT NOT NULL, facts TEXT NOT NULL, asked_at DOUBLE PRECISION, question_number INTEGER,
  typed_confirmation TEXT, made_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION NOT NULL,
  used_by TEXT);
CREATE INDEX confirmations_end ON confirmations (expires_at);
CREATE TABLE blocks (
  key TEXT COLLATE "C" PRIMARY KEY, why TEXT NOT NULL, until DOUBLE PRECISION NOT NULL);
CREATE TABLE approvals (
  number INTEGER PRIMARY KEY, binding TEXT COLLATE "C" NOT NULL, summary TEXT NOT NULL, facts TEXT,
  facts_digest TEXT NOT NULL, asked_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION NOT NULL, asked_by TEXT NOT NULL, key TEXT NOT NULL DEFAULT '',
  state TEXT COLLATE "C" NOT NULL, decided_at DOUBLE PRECISION, who TEXT, reason TEXT, used_by TEXT);
CREATE INDEX approvals_open ON approvals (state, expires_at);
CREATE INDEX approvals_bound ON approvals USING hash (binding);
CREATE TABLE pin_attempts (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at DOUBLE PRECISION NOT NULL,
  correct INTEGER NOT NULL);

CREATE TABLE bulk_intents (
  bulk TEXT COLLATE "C" NOT NULL, item INTEGER NOT NULL, intent TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (bulk, item));
CREATE INDEX bulk_intents_intent ON bulk_intents (intent);
CREATE TABLE bulk_runs (
  id TEXT COLLATE "C" PRIMARY KEY, tool TEXT NOT NULL, operation TEXT NOT NULL,
  risk INTEGER NOT NULL, connection TEXT COLLATE "C" NOT NULL, request TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL, made_at DOUBLE PRECISION NOT NULL, actor TEXT NOT NULL,
  client TEXT NOT NULL, digest TEXT COLLATE "C" NOT NULL, binding TEXT, facts TEXT NOT NULL,
  consent TEXT NOT NULL, agreed_at DOUBLE PRECISION, ended_at DOUBLE PRECISION, why TEXT NOT NULL,
  total INTEGER NOT NULL, duplicates INTEGER NOT NULL, options TEXT NOT NULL,
  undoes TEXT COLLATE "C" NOT NULL);
CREATE INDEX bulk_runs_made ON bulk_runs (made_at);
CREATE TABLE bulk_items (
  bulk TEXT COLLATE "C" NOT NULL, number INTEGER NOT NULL, source INTEGER NOT NULL,
  arguments TEXT NOT NULL, state TEXT COLLATE "C" NOT NULL, digest TEXT COLLATE "C" NOT NULL,
  facts_digest TEXT NOT NULL, amount TEXT NOT NULL, risk INTEGER NOT NULL, mail INTEGER NOT NULL,
  gate TEXT NOT NULL, changes INTEGER, looked_at DOUBLE PRECISION, code TEXT NOT NULL,
  reason TEXT NOT NULL, result TEXT, held TEXT NOT NULL, claimed_until DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (bulk, number));
CREATE INDEX bulk_items_state ON bulk_items (bulk, state, number);

-- The function of this name that SQLite has, for the paths of the shared SQL: '$.name.name'. JSON
-- allows \u0000 and a lone surrogate, which no text of PostgreSQL can hold: where the body has one,
-- each surrogate of it is read as U+FFFD.
CREATE FUNCTION json_extract_any(body TEXT, path TEXT[]) RETURNS TEXT
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN body::json #>> path;
EXCEPTION WHEN data_exception THEN
  -- A backslash before it, of which the text has an even number, escapes nothing.
  RETURN regexp_replace(
    body, '(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})', '\1\\ufffd', 'gi')::json #>> path;
END $$;
CREATE FUNCTION json_extract(body TEXT, path TEXT) RETURNS TEXT
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path FROM CURRENT AS $$
  SELECT CASE
    WHEN position('\u' IN body) = 0 THEN body::json #>> string_to_array(substr(path, 3), '.')
    ELSE json_extract_any(body, string_to_array(substr(path, 3), '.'))
  END
$$;

-- Begin of each transaction, in one call whose plans are kept: settings that end with it (a pooler in
-- transaction mode forgets those of a session), the lock of a writer, and the state of the ledger.
-- The lock is a statement of its own: one that waits for it would see the lines of before.
CREATE FUNCTION begin_transaction(
  path TEXT, writes BOOLEAN, wait INTEGER, work INTEGER, seen BIGINT)
  RETURNS TABLE (
    n BIGINT, hash TEXT, line BIGINT, line_hash TEXT, at DOUBLE PRECISION, hash_then TEXT,
    clock DOUBLE PRECISION, version INTEGER, oldest_program INTEGER, backend INTEGER,
    timeline TEXT, swept TEXT, durable BOOLEAN, oldest_running DOUBLE PRECISION)
  LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('search_path', path, TRUE),
    set_config('lock_timeout', wait::text, TRUE),
    set_config('statement_timeout', work::text, TRUE),
    set_config('idle_in_transaction_session_timeout', '10s', TRUE),
    set_config('synchronous_commit', 'on', TRUE);
  IF writes THEN
    PERFORM FROM head FOR UPDATE;
  END IF;
  RETURN QUERY SELECT h.n, h.hash, l.n, l.hash, l.at,
    (SELECT t.hash FROM lines t WHERE t.n = seen),
    extract(epoch FROM clock_timestamp())::double precision,
    (SELECT max(v.number) FROM schema_version v),
    (SELECT max(v.oldest_program) FROM schema_version v),
    pg_backend_pid(), current_timeline(),
    (SELECT m.value FROM meta m WHERE m.key = 'swept_timeline'),
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
    (SELECT min(i.at) FROM intents i WHERE i.state = 'running')
  FROM head h
  LEFT JOIN LATERAL (SELECT t.n, t.hash, t.at FROM lines t ORDER BY t.n DESC LIMIT 1) l ON TRUE;
END $$;
