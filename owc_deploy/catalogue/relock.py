"""Renewing the locks of a fleet's sites: what `lock` and `update` have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from owc_deploy.catalogue.check import places_of
from owc_deploy.catalogue.errors import Refusal, ResolutionError
from owc_deploy.catalogue.holds import HoldStanding, holds_of
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.resolve import resolve, warnings_of
from owc_deploy.catalogue.write import write_atomically
from owc_deploy.fleet.locks import lock_file, render_lock
from owc_deploy.fleet.models import Fleet, Lock, LockedArtefact


@dataclass(frozen=True, slots=True)
class LockChange:
    """One thing that a new lock holds otherwise; `before` and `after` are versions.

    `None` stands for absence; `rebuilt` says that the version stayed and the artefact did not.
    """

    name: str
    before: str | None
    after: str | None
    reason: str = ""
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class Relocked:
    """What became of one site's lock.

    `lock` is `None` when it was refused, for the reasons in `refusals`; `places` says of each in
    which file and on which line to look. `is_written` tells whether
    the file already says exactly this.
    """

    site: str
    lock: Lock | None
    is_written: bool = False
    changes: tuple[LockChange, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    places: tuple[str, ...] = ()
    warnings: tuple[tuple[LockedArtefact, Advisory], ...] = ()
    holds: tuple[HoldStanding, ...] = ()


def relock(
    fleet: Fleet,
    catalogue: Catalogue,
    sites: Iterable[str],
    *,
    only: frozenset[str] = frozenset(),
    upgrade: bool = False,
    today: date | None = None,
) -> tuple[Relocked, ...]:
    """Resolve sites again, in the order given; one site's refusal leaves the others alone.

    Locked versions are kept, except the names in `only`, or all of them with `upgrade`; what a
    manifest holds stays until `today` is past it, which is this day where it is not given. Nothing
    is written.
    """
    day = today or datetime.now(UTC).date()
    return tuple(_relock(fleet, catalogue, site, only, day, upgrade=upgrade) for site in sites)


def write_lock(fleet: Fleet, lock: Lock) -> None:
    """Write a site's lock in the fleet's folder, whole or not at all."""
    file = fleet.root / lock_file(lock.site)
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, render_lock(lock).encode())


def lock_changes(before: Lock | None, after: Lock) -> tuple[LockChange, ...]:
    """Return what differs between two locks of one site, PHP and WordPress first."""
    old = {artefact.name: artefact for artefact in before.artefacts} if before else {}
    new = {artefact.name: artefact for artefact in after.artefacts}
    changes = []
    if before is None or before.php != after.php:
        changes.append(LockChange("php", before.php if before else None, after.php))
    for name, artefact in new.items():
        known = old.get(name)
        if known is None or (known.version, known.sha256) != (artefact.version, artefact.sha256):
            changes.append(
                LockChange(
                    name,
                    known.version if known else None,
                    artefact.version,
                    artefact.reason,
                    rebuilt=known is not None and known.version == artefact.version,
                )
            )
    changes += [
        LockChange(name, artefact.version, None)
        for name, artefact in old.items()
        if name not in new
    ]
    return tuple(changes)


def _relock(
    fleet: Fleet,
    catalogue: Catalogue,
    site: str,
    only: frozenset[str],
    today: date,
    *,
    upgrade: bool,
) -> Relocked:
    manifest = fleet.manifests[site]
    previous = fleet.locks.get(site)
    server = fleet.servers[manifest.servers.web[0]]
    holds = holds_of(manifest, previous, catalogue, today)
    try:
        lock = resolve(
            manifest,
            server,
            catalogue,
            previous=previous,
            only=only,
            upgrade=upgrade,
            today=today,
        )
    except ResolutionError as error:
        places = places_of(fleet, site, error.refusals)
        return Relocked(site, None, refusals=error.refusals, places=places, holds=holds)
    return Relocked(
        site,
        lock,
        is_written=lock == previous,
        changes=lock_changes(previous, lock),
        warnings=warnings_of(lock, catalogue),
        holds=holds,
    )
