-- What each rollout was started with; what became of it is in audit_log.
CREATE TABLE rollouts (
    rollout_id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,
    document TEXT NOT NULL,
    -- NULL: it is not over.
    ended TEXT
);

CREATE TABLE rollout_sites (
    rollout_id TEXT NOT NULL REFERENCES rollouts (rollout_id),
    site TEXT NOT NULL,
    PRIMARY KEY (rollout_id, site)
);
