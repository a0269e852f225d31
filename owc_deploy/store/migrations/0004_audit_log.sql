-- What happened, each entry bound to the one before it by a hash; see owc_deploy.store.chain.
CREATE TABLE audit_log (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    rollout_id TEXT NOT NULL,
    site TEXT NOT NULL,
    body TEXT NOT NULL,
    previous_sha256 TEXT NOT NULL,
    sha256 TEXT NOT NULL
);

CREATE INDEX audit_log_by_rollout ON audit_log (rollout_id, number);
CREATE INDEX audit_log_by_site ON audit_log (site, number);

-- The rollout a run is part of, '' for none, so that its entries in the log can say so.
ALTER TABLE runs ADD COLUMN rollout_id TEXT NOT NULL DEFAULT '';
