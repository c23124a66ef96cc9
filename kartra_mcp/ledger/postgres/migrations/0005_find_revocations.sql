-- Find the entries about a revoked access by its key: every begin of a write reads them.
-- compatible: 1

CREATE INDEX lines_revocation ON lines (json_extract(body, '$.key'), n) WHERE kind = 'revocation';
