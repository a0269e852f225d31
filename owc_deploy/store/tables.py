"""The tables, as SQLAlchemy Core sees them; `migrations/` makes them."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, String, Table

_METADATA = MetaData()

schema_version = Table("schema_version", _METADATA, Column("version", Integer))

runs = Table(
    "runs",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("verb", String),
    Column("plan_id", String),
    Column("operator", String),
    Column("reason", String),
    Column("started_at", String),
    Column("finished_at", String),
    Column("outcome", String),
    Column("tool_version", String),
    Column("fencing_token", Integer),
    Column("rollout_id", String),
)

site_outcomes = Table(
    "site_outcomes",
    _METADATA,
    Column("run_id", Integer, primary_key=True),
    Column("site", String, primary_key=True),
    Column("server", String),
    Column("ring", String),
    Column("outcome", String),
    Column("message", String),
    Column("release_id", String),
    Column("previous_release_id", String),
    Column("seconds", Float),
    Column("details", String),
)

store = Table(
    "store",
    _METADATA,
    Column("id", String),
    Column("fencing_token", Integer),
)

leases = Table(
    "leases",
    _METADATA,
    Column("name", String, primary_key=True),
    Column("fencing_token", Integer),
    Column("first_token", Integer),
    Column("owner", String),
    Column("host", String),
    Column("boot", String),
    Column("process_id", Integer),
    Column("process_started", String),
    Column("reason", String),
    Column("acquired_at", String),
    Column("heartbeat_at", String),
    Column("expires_at", String),
)

findings = Table(
    "findings",
    _METADATA,
    Column("site", String, primary_key=True),
    Column("block", String, primary_key=True),
    Column("vulnerability", String, primary_key=True),
    Column("severity", String),
    Column("version", String),
    Column("deal_with_by", String),
    Column("first_seen_at", String),
    Column("last_seen_at", String),
    Column("patched_at", String),
    Column("names", String),
    Column("standing", String),
)

audit_log = Table(
    "audit_log",
    _METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String),
    Column("kind", String),
    Column("actor", String),
    Column("rollout_id", String),
    Column("site", String),
    Column("body", String),
    Column("previous_sha256", String),
    Column("sha256", String),
)

rollouts = Table(
    "rollouts",
    _METADATA,
    Column("rollout_id", String, primary_key=True),
    Column("started_at", String),
    Column("document", String),
    Column("ended", String),
)

rollout_sites = Table(
    "rollout_sites",
    _METADATA,
    Column("rollout_id", String, primary_key=True),
    Column("site", String, primary_key=True),
)
