"""What a manifest holds where it is, and whether that is still a good idea."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.resolve import advisories_of
from owc_deploy.fleet.models import BlockChoice, Lock, Manifest, ThemeChoice


@dataclass(frozen=True, slots=True)
class HoldStanding:
    """One hold of one site.

    `version` is the locked one, `None` where nothing is locked yet that could be held. `is_over`
    says that it ran out, and no longer holds. `withdrawn` (why, else empty) and `advisories` are of
    the locked release.
    """

    name: str
    version: str | None
    reason: str
    until: str | None
    is_over: bool
    withdrawn: str = ""
    advisories: tuple[Advisory, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it keeps something where it is."""
        return self.version is not None and not self.is_over

    @property
    def danger(self) -> str:
        """Why it should not hold, empty when nothing is known against it."""
        if not self.is_active:
            return ""
        known = [f"which was withdrawn ({self.withdrawn})"] if self.withdrawn else []
        known += [
            f"which has a known vulnerability, {found.identifier} ({found.severity}): "
            f"{found.summary}"
            for found in self.advisories
        ]
        return " and ".join(known)

    def __str__(self) -> str:
        until = f" until {self.until}" if self.until else ""
        if self.version is None:
            return f"{self.name} is not locked yet; its hold begins then ({self.reason})"
        if self.is_over:
            return f"the hold on {self.name} ran out on {self.until}; it may move ({self.reason})"
        if self.danger:
            return (
                f"WARNING: {self.name} is held at {self.version}{until}, {self.danger}; "
                f"the hold says: {self.reason}"
            )
        return f"{self.name} stays at {self.version}: held{until} ({self.reason})"


def holds_of(
    manifest: Manifest, lock: Lock | None, catalogue: Catalogue, today: date
) -> tuple[HoldStanding, ...]:
    """Return how every hold of a manifest stands, in the manifest's order, the theme first."""
    choices: tuple[ThemeChoice | BlockChoice, ...] = (manifest.theme, *manifest.blocks)
    locked = {item.name: item.version for item in lock.artefacts} if lock else {}
    return tuple(
        HoldStanding(
            name=choice.name,
            version=locked.get(choice.name),
            reason=choice.hold.reason,
            until=choice.hold.until,
            is_over=choice.hold.is_over(today),
            withdrawn=_withdrawn(catalogue, choice.name, locked.get(choice.name)),
            advisories=advisories_of(catalogue, choice.name, locked[choice.name])
            if choice.name in locked
            else (),
        )
        for choice in choices
        if choice.hold is not None
    )


def _withdrawn(catalogue: Catalogue, name: str, version: str | None) -> str:
    block = catalogue.blocks.get(name)
    releases = block.releases if block else ()
    return next((r.withdrawn or "" for r in releases if r.version == version), "")
