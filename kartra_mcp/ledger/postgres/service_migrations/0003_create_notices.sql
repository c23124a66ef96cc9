-- Create the table of notices of requests for approval: one replica of all sends each, once.
-- compatible: 1
--
-- `outcome` is empty from the claim until the webhook has answered.

CREATE TABLE notices (
  account TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL,
  outcome TEXT NOT NULL, PRIMARY KEY (account, number));
CREATE INDEX notices_at ON notices (at);
