-- Share stored results and the rate limit between the replicas of a team.
-- compatible: 1
--
-- Both tables are unlogged: they lose their rows when the server crashes or fails over, as a folder
-- of temporary files would. No commit waits for the disk because of them.

CREATE UNLOGGED TABLE results (
  id TEXT COLLATE "C" PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL, body BYTEA NOT NULL,
  size BIGINT NOT NULL, made_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp());
CREATE INDEX results_made ON results (made_at);

-- One row: the time at which the bucket of the calls to Membrane is empty, in seconds.
CREATE UNLOGGED TABLE pace (
  one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), empty_at DOUBLE PRECISION NOT NULL);
