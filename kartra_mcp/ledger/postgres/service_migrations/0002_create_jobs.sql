-- Create the table of the jobs that one replica of all runs: when each ran last.
-- compatible: 1

CREATE TABLE jobs (name TEXT COLLATE "C" PRIMARY KEY, ran_at TIMESTAMPTZ NOT NULL);
