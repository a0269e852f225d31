-- Times are ISO 8601 in UTC with microseconds, so that they sort as text.

CREATE TABLE runs (
    -- Given out by the tool, one more than the highest.
    id INTEGER PRIMARY KEY,
    verb TEXT NOT NULL,
    plan_id TEXT NOT NULL,
    operator TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT,
    tool_version TEXT NOT NULL,
    fencing_token INTEGER
);

CREATE TABLE site_outcomes (
    run_id INTEGER NOT NULL REFERENCES runs (id),
    site TEXT NOT NULL,
    server TEXT NOT NULL,
    ring TEXT NOT NULL,
    -- NULL: intended, and nothing is known yet of how it ended.
    outcome TEXT,
    message TEXT NOT NULL DEFAULT '',
    release_id TEXT NOT NULL DEFAULT '',
    previous_release_id TEXT NOT NULL DEFAULT '',
    seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
    details TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, site)
);

CREATE INDEX site_outcomes_by_site ON site_outcomes (site, run_id);

-- A row stays when its lease is given back, so that fencing_token never goes down.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    fencing_token INTEGER NOT NULL,
    owner TEXT,
    host TEXT,
    boot TEXT,
    process_id INTEGER,
    process_started TEXT,
    reason TEXT,
    acquired_at TEXT,
    heartbeat_at TEXT,
    expires_at TEXT
);
