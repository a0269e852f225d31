"""`owc-deploy sbom`: what a site is made of, for whoever has to know."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.options import fleet_option
from owc_deploy.cli.session import Session, now, open_session, progress
from owc_deploy.cli.view import narrate
from owc_deploy.errors import OwcError, UsageError
from owc_deploy.evidence.sbom import site_sbom
from owc_deploy.plan.specification import canonical_sha256, specification
from owc_deploy.rollout.observe import check_sites, observe, servers_for


@click.command(
    epilog="""
\b
Examples:
  owc-deploy sbom heusden > heusden.cdx.json
  owc-deploy sbom heusden --locked --out heusden.cdx.json

Exit codes: 0 written, 1 the site is not live or its server out of reach, 2 there is no such site.
"""
)
@click.argument("site")
@fleet_option
@click.option("--locked", is_flag=True, help="Of what the lock asks for, without asking a server.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here.")
def command(site: str, fleet_root: Path, locked: bool, out: Path | None) -> None:
    """Write the CycloneDX bill of materials (SBOM) of one site, of the release that is live.

    Each component has the hash of its artefact, its licence and source, and the day until which its
    steward guarantees it, as far as the catalogue knows them.
    """
    session = open_session(fleet_root, last_verified_will_do=True)
    check_sites(session.fleet, (site,))
    text = _locked(session, site) if locked else _live(session, site)
    if out is None:
        click.echo(text, nl=False)
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror}") from error
        narrate(f"written: {out}")


def _live(session: Session, site: str) -> str:
    fleet = session.fleet
    with closing(session.executor), progress("looking at the server") as on_progress:
        servers = servers_for(fleet, frozenset({site}))
        observed = observe(session.executor, servers, on_progress=on_progress)
    server = observed[fleet.manifests[site].servers.web[0]]
    seen = server.sites.get(site, {})
    live = seen.get("specification")
    if server.unreachable or not live:
        raise OwcError(
            f"{site}: {server.unreachable or 'no release is live'}",
            hint=f"owc-deploy sbom {site} --locked",
        )
    return site_sbom(
        live,
        session.catalogue,
        release_id=seen["release_id"],
        made_at=_activated_at(seen),
        is_live=True,
    )


def _activated_at(seen: Mapping[str, Any]) -> datetime:
    times = [
        release["activated_at"]
        for release in seen["releases"]
        if release["release_id"] == seen["release_id"] and release.get("activated_at")
    ]
    return datetime.fromisoformat(times[-1]) if times else now()


def _locked(session: Session, site: str) -> str:
    lock = session.fleet.locks.get(site)
    if lock is None:
        raise UsageError(f"{site} is not locked yet", hint=f"owc-deploy lock {site}")
    wanted = specification(session.fleet.manifests[site], lock, session.catalogue)
    return site_sbom(
        wanted,
        session.catalogue,
        release_id=f"lock-{canonical_sha256(wanted)[:12]}",
        made_at=now(),
        is_live=False,
    )
