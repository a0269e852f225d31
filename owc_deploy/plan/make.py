"""Making a plan: desired state from the documents, observed state from the probe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.fleet.models import Fleet, Lock, Manifest
from owc_deploy.plan.certificate import certificate_change
from owc_deploy.plan.difference import difference, drift_changes
from owc_deploy.plan.migrations import migrations, post_steps, renamed
from owc_deploy.plan.mitigations import missing, rules, unknown_blocks
from owc_deploy.plan.models import (
    TRANSACTION,
    UNDER_WAY,
    Change,
    ObservedServer,
    Plan,
    ServerPlan,
    SiteAction,
    SitePlan,
)
from owc_deploy.plan.one_step import hindrance
from owc_deploy.plan.specification import canonical_sha256, specification
from owc_deploy.plan.stewardship import refusal, warnings
from owc_deploy.plan.strangers import stranger_plans


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person at the keyboard asked for.

    `sites` are those to plan for. `decommission` are sites on the servers that no manifest names
    any more and that may be taken off the air. When neither names any, all of the fleet is planned.
    """

    sites: frozenset[str] = frozenset()
    decommission: frozenset[str] = frozenset()

    @property
    def are_for_all(self) -> bool:
        """Whether nobody named a site: to take one off the air is to name one."""
        return not self.sites and not self.decommission


def make_plan(
    fleet: Fleet,
    catalogue: Catalogue,
    observed: Mapping[str, ObservedServer],
    fingerprints: Mapping[str, str],
    wishes: Wishes,
    supplied: Mapping[str, str],
    now: datetime,
) -> Plan:
    """Return what would have to change on the observed servers, bound to what it was made from.

    `observed` is keyed by server name and holds every server that carries a planned site; a site
    that is new on its server is safe from being there twice only when it holds all web servers.
    `fingerprints` are what each server's provisioning should be. `supplied` maps each site that
    brings its own certificate to the chain in its file. `now` is an aware time.

    Raises UsageError when a site that is to be decommissioned cannot be.
    """
    sites = [
        _site_plan(
            fleet.manifests[name],
            fleet.locks.get(name),
            catalogue,
            observed,
            supplied.get(name, ""),
            rules(fleet.mitigations, catalogue, name),
            unknown_blocks((m for m in fleet.mitigations if m.concerns(name)), catalogue),
            now,
        )
        for name in sorted(fleet.manifests if wishes.are_for_all else wishes.sites)
        if name in fleet.manifests
    ]
    sites += stranger_plans(fleet, observed, wishes.decommission, others=wishes.are_for_all)
    sites.sort(key=lambda site: _ring_order(fleet, site))
    servers = [
        _server_plan(seen, fingerprints.get(name, ""), sites)
        for name, seen in sorted(observed.items())
    ]
    if not wishes.are_for_all:
        # Whoever names sites does not ask for work on servers that carry none of them.
        carrying = {site.server for site in sites if site.action != "held"}
        servers = [
            server
            for server in servers
            if server.action != "provision" or server.server in carrying
        ]
    plan = Plan(
        plan_id="",
        created_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        fleet=fleet.settings.name,
        bound_to=bindings(fleet, catalogue, sites, observed),
        servers=tuple(servers),
        sites=tuple(sites),
    )
    return replace(plan, plan_id=canonical_sha256(plan))


def bindings(
    fleet: Fleet,
    catalogue: Catalogue,
    sites: list[SitePlan] | tuple[SitePlan, ...],
    observed: Mapping[str, ObservedServer] | None = None,
) -> dict[str, str]:
    """Return the hashes that a plan for these sites depends on.

    Without `observed` only what stands in files: what `apply` compares before it starts. What is
    live is compared by each server itself, in the moment it begins.
    """
    bound = {"catalogue": catalogue.sha256}
    for site in sites:
        manifest, lock = fleet.manifests.get(site.site), fleet.locks.get(site.site)
        if manifest:
            bound[f"manifest/{site.site}"] = manifest.sha256
        if lock:
            bound[f"lock/{site.site}"] = canonical_sha256(lock)
        if observed is not None and site.server in observed:
            seen = observed[site.server].sites.get(site.site, {})
            bound[f"observed/{site.server}/{site.site}"] = canonical_sha256(seen)
    return bound


def _ring_order(fleet: Fleet, site: SitePlan) -> tuple[int, str]:
    names = [ring.name for ring in fleet.settings.rings]
    return (names.index(site.ring) if site.ring in names else len(names), site.site)


def _site_plan(
    manifest: Manifest,
    lock: Lock | None,
    catalogue: Catalogue,
    observed: Mapping[str, ObservedServer],
    supplied: str,
    closed: tuple[Mapping[str, Any], ...],
    beside: tuple[str, ...],
    now: datetime,
) -> SitePlan:
    server = observed[manifest.servers.web[0]]
    plan = SitePlan(manifest.site, server.server, manifest.ring, "not-attempted")
    obstacle = _obstacle(manifest, lock, server, observed)
    if obstacle or lock is None:
        return replace(plan, reason=obstacle)
    seen = server.sites.get(manifest.site, {})
    told = (*warnings(manifest, lock, catalogue, now.date()), *beside, *missing(closed, seen))
    plan = replace(plan, warnings=told, mitigations=closed)
    refused = refusal(manifest, lock, catalogue, seen, now.date())
    if refused:
        return replace(plan, observed_release=str(seen.get("release_id", "")), reason=refused)
    wanted = specification(manifest, lock, catalogue)
    certificate = certificate_change(manifest, seen, supplied, now)
    interruption = _interruption(seen)
    plan = replace(
        plan,
        specification=wanted,
        observed_release=str(seen.get("release_id", "")),
        new_certificate=certificate is not None,
    )
    renewed = (certificate,) if certificate else ()
    if not plan.observed_release:
        return replace(
            plan,
            action="create",
            changes=(*interruption, *_creation(manifest, lock, seen), *renewed),
            post_steps=post_steps(None, lock, catalogue),
        )
    hindered = hindrance(manifest, lock, catalogue, seen)
    if hindered:
        return replace(plan, specification=None, new_certificate=False, reason=hindered)
    live = seen.get("specification") or {}
    differs = seen.get("specification_sha256") != canonical_sha256(wanted)
    found = _difference(live, wanted, lock) if differs else drift_changes(seen)
    action: SiteAction = "none"
    if interruption or (found and not differs):
        action = "repair"
    elif differs or certificate:
        action = "update"
    return replace(
        plan,
        action=action,
        changes=(*interruption, *found, *renewed),
        migrations=migrations(live, lock, catalogue) if differs else (),
        renamed=renamed(live, lock) if differs else (),
        post_steps=post_steps(live, lock, catalogue) if differs else (),
        specification=None if action == "none" else wanted,
    )


def _obstacle(
    manifest: Manifest,
    lock: Lock | None,
    server: ObservedServer,
    observed: Mapping[str, ObservedServer],
) -> str:
    """Return why nothing can be done to a site, `""` when it can."""
    if server.unreachable:
        return server.unreachable
    elsewhere = _live_elsewhere(manifest.site, server, observed)
    if elsewhere:
        return (
            f"it is live on {elsewhere}; moving a site to another server is not possible yet; put"
            f" `servers` back, or take it off the air there first: move {manifest.source.name}"
            f" and its lock away, then owc-deploy apply --decommission {manifest.site}"
        )
    if lock is None:
        return f"not locked yet; next: owc-deploy lock {manifest.site}"
    if lock.manifest_sha256 != manifest.sha256:
        return f"the manifest changed since it was locked; next: owc-deploy lock {manifest.site}"
    return ""


def _live_elsewhere(
    site: str, server: ObservedServer, observed: Mapping[str, ObservedServer]
) -> str:
    """Return the names of the other servers on which a site is live that is new on `server`.

    Creating it would give an empty WordPress while the old one keeps serving.
    """
    if server.sites.get(site, {}).get("release_id"):
        return ""
    return ", ".join(
        sorted(
            other.server
            for other in observed.values()
            if other.sites.get(site, {}).get("release_id")
        )
    )


def _interruption(seen: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the change that waits for a transaction that is under way, or undoes one."""
    if seen.get("transaction"):
        return (Change(TRANSACTION, UNDER_WAY, "over", "somebody else has begun it"),)
    if not seen.get("interrupted"):
        return ()
    return (Change(TRANSACTION, "interrupted", "undone", "it was killed half-way"),)


def _difference(
    live: Mapping[str, Any], wanted: Mapping[str, Any], lock: Lock
) -> tuple[Change, ...]:
    if not live:
        return (Change("release", "unreadable", "made anew", "its release.json is damaged"),)
    return difference(live, wanted, lock)


def _creation(manifest: Manifest, lock: Lock, seen: Mapping[str, Any]) -> tuple[Change, ...]:
    why = "it was taken off the air before" if seen.get("decommissioned") else "it is new here"
    artefacts = [lock.wordpress, *([lock.language] if lock.language else []), lock.theme]
    return (
        Change("site", None, manifest.url, why),
        *(
            Change(f"{artefact.kind} {artefact.name}", None, artefact.version, artefact.reason)
            for artefact in (*artefacts, *lock.blocks)
        ),
    )


def _server_plan(server: ObservedServer, fingerprint: str, sites: list[SitePlan]) -> ServerPlan:
    if server.unreachable:
        return ServerPlan(server.server, "unreachable", server.unreachable)
    wanted: set[str] = set()
    for site in sites:
        if site.server == server.server and site.specification is not None:
            wanted |= _hashes(site.specification)
    artefacts = tuple(sorted(wanted - server.store))
    if server.provisioned == fingerprint:
        return ServerPlan(server.server, "none", artefacts=artefacts)
    reason = (
        "the roles or the server's variables changed since it was prepared"
        if server.provisioned
        else "it was never prepared"
    )
    return ServerPlan(server.server, "provision", reason, artefacts)


def _hashes(wanted: Mapping[str, Any]) -> set[str]:
    artefacts = [wanted["wordpress"], wanted["wp_cli"], wanted["language"], wanted["theme"]]
    return {artefact["sha256"] for artefact in (*artefacts, *wanted["blocks"]) if artefact}
