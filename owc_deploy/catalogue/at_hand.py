"""The catalogue of a fleet, wherever it comes from: a folder of its own, or a signed one.

A signed catalogue is verified and mirrored first. Where that cannot be done, what was verified
last may do for those who change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from owc_deploy.catalogue.models import Catalogue
from owc_deploy.catalogue.read import CATALOGUE_FILE, read_catalogue
from owc_deploy.errors import CatalogueError
from owc_deploy.fleet.models import FleetSettings, SignedCatalogue


@dataclass(frozen=True, slots=True)
class CatalogueAtHand:
    """A catalogue that may be believed, and what is to be told of it, in words."""

    catalogue: Catalogue
    notes: tuple[str, ...] = ()


def catalogue_at_hand(settings: FleetSettings, *, last_verified_will_do: bool) -> CatalogueAtHand:
    """Return the fleet's catalogue, a signed one after verifying what its source publishes now.

    With `last_verified_will_do` a source that is unreachable, stale or untrusted is only noted,
    where something was verified before.

    Raises CatalogueError when there is none that may be believed.
    """
    signed = settings.signed_catalogue
    if signed is None:
        return CatalogueAtHand(read_catalogue(settings.catalogue))
    try:
        notes = _refreshed(settings, signed)
    except CatalogueError as error:
        if not last_verified_will_do or not (settings.catalogue / CATALOGUE_FILE).exists():
            raise
        notes = (f"{error.message}; what was verified last is used",)
    return CatalogueAtHand(read_catalogue(settings.catalogue), notes)


def fetch_artefacts(settings: FleetSettings, wanted: Iterable[str]) -> None:
    """See to it that artefacts of a signed catalogue are at hand; `wanted` are hashes.

    Raises CatalogueError when one cannot be fetched. One that no release lists is left alone:
    whoever needs it says so.
    """
    signed = settings.signed_catalogue
    if signed is None:
        return
    needed = set(wanted)
    if not needed:
        return
    # Imported here, as below: TUF takes longer to load than most verbs to run.
    from owc_deploy.catalogue.trust.client import fetch_artefact  # noqa: PLC0415

    for name, block in read_catalogue(settings.catalogue).blocks.items():
        for release in block.releases:
            if release.sha256 in needed:
                fetch_artefact(settings.catalogue, signed.source, name, release)


def _refreshed(settings: FleetSettings, signed: SignedCatalogue) -> tuple[str, ...]:
    from owc_deploy.catalogue.trust.client import refresh  # noqa: PLC0415

    try:
        root = signed.root.read_bytes()
    except OSError as error:
        raise CatalogueError(
            f"the trusted root {signed.root} cannot be read: {error.strerror}",
            hint="put it there: those who govern the catalogue hand it out",
        ) from error
    return refresh(settings.catalogue, signed.source, root).notes
