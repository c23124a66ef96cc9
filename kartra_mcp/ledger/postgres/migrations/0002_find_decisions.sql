-- Find the entries of an approval by its number: the decisions of a team are read from them.
-- compatible: 1

CREATE INDEX lines_approval ON lines (CAST(json_extract(body, '$.number') AS INTEGER))
  WHERE kind = 'consent';
