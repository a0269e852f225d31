-- What `audit` found wrong with sites, to tell afterwards how long it took until it was patched.
CREATE TABLE findings (
    site TEXT NOT NULL,
    block TEXT NOT NULL,
    vulnerability TEXT NOT NULL,
    severity TEXT NOT NULL,
    version TEXT NOT NULL,
    deal_with_by TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    -- NULL: the site was not seen without it since.
    patched_at TEXT,
    PRIMARY KEY (site, block, vulnerability)
);
