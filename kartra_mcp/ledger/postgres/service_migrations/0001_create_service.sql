-- Create the tables of the service, which belong to no account: logins that have begun, and sessions.
-- compatible: 1
--
-- Keys are hashes of what a browser holds: who reads these tables cannot log in.

CREATE TABLE logins (
  state TEXT COLLATE "C" PRIMARY KEY, record TEXT NOT NULL, ends_at TIMESTAMPTZ NOT NULL);
CREATE INDEX logins_end ON logins (ends_at);

CREATE TABLE sessions (
  key TEXT COLLATE "C" PRIMARY KEY, principal TEXT COLLATE "C" NOT NULL, record TEXT NOT NULL,
  opened_at DOUBLE PRECISION NOT NULL, used_at DOUBLE PRECISION NOT NULL,
  ends_at DOUBLE PRECISION NOT NULL, flash TEXT NOT NULL);
CREATE INDEX sessions_principal ON sessions (principal);
CREATE INDEX sessions_end ON sessions (ends_at);
