-- All that a vulnerability is known by (JSON), so that one that gets another name stays one row.
ALTER TABLE findings ADD COLUMN names TEXT NOT NULL DEFAULT '[]';
-- Why it is neither open nor patched: dismissed, or nobody tells of it any more.
ALTER TABLE findings ADD COLUMN standing TEXT NOT NULL DEFAULT '';
