"""How far each artefact of a site is behind, and what holds it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.holds import HoldStanding, holds_of
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.packages import WORDPRESS, WP_CLI
from owc_deploy.catalogue.question import Question
from owc_deploy.catalogue.resolve import Solution, advisories_of, answer_of, resolve
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Lock, LockedArtefact, Manifest, Server


@dataclass(frozen=True, slots=True)
class Standing:
    """One artefact of one site.

    `locked` is what its lock holds, `allowed` the newest that the manifest allows beside everything
    else, `newest` the newest in the catalogue; each is `None` when there is none. `held_back` says
    in words why `allowed` is not `newest`. `advisories` are the known vulnerabilities of `locked`;
    `hold` is the manifest's on it, where there is one.
    """

    site: str
    name: str
    kind: str
    locked: str | None
    allowed: str | None
    newest: str | None
    held_back: str = ""
    advisories: tuple[Advisory, ...] = ()
    hold: HoldStanding | None = None

    @property
    def is_outdated(self) -> bool:
        """Whether anything newer, or safer, exists, or a hold needs looking at."""
        if self.hold is not None and (self.hold.is_over or self.hold.danger):
            return True
        return bool(self.advisories) or self.locked != self.newest or self.locked != self.allowed


def standings_of(
    manifest: Manifest,
    server: Server,
    catalogue: Catalogue,
    lock: Lock | None,
    today: date | None = None,
) -> tuple[Standing, ...]:
    """Compare a site's lock with what it could have, in the order of a lock's artefacts.

    Holds run out before `today`, which is this day where it is not given.
    """
    day = today or datetime.now(UTC).date()
    refused = ""
    try:
        renewed = {
            a.name: a
            for a in resolve(
                manifest, server, catalogue, previous=lock, upgrade=True, today=day
            ).artefacts
        }
    except ResolutionError as error:
        renewed = {}
        refused = " ".join(str(refusal) for refusal in error.refusals)
    locked = {artefact.name: artefact for artefact in lock.artefacts} if lock else {}
    question = Question.of(manifest, server, previous=lock, upgrade=True, today=day)
    holds = {hold.name: hold for hold in holds_of(manifest, lock, catalogue, day)}
    standings = (
        _standing(manifest.site, catalogue, question, locked.get(name), name, renewed, refused)
        for name in dict.fromkeys((*locked, *renewed))
    )
    return tuple(replace(standing, hold=holds.get(standing.name)) for standing in standings)


def _standing(
    site: str,
    catalogue: Catalogue,
    question: Question,
    locked: LockedArtefact | None,
    name: str,
    renewed: Mapping[str, LockedArtefact],
    refused: str,
) -> Standing:
    allowed = renewed.get(name)
    artefact = locked or allowed
    if artefact is None:
        raise TypeError(site)
    newest = newest_of(catalogue, artefact.name, beta=question.scope().takes_beta(artefact.name))
    held_back = refused
    if not refused and allowed is None:
        held_back = "it is not needed any more"
    elif not refused and allowed is not None and newest not in {None, allowed.version}:
        held_back = _held_back(catalogue, question, artefact, newest or "", renewed)
    return Standing(
        site,
        artefact.name,
        artefact.kind,
        locked.version if locked else None,
        allowed.version if allowed else None,
        newest,
        held_back,
        advisories_of(catalogue, locked.name, locked.version) if locked else (),
    )


def newest_of(catalogue: Catalogue, name: str, *, beta: bool = False) -> str | None:
    """Return the newest release that is neither withdrawn nor, if it can be had, a prerelease.

    One in the channel `beta` only counts with `beta`.
    """
    block = catalogue.blocks.get(name)
    if block is None:
        return None
    versions = [
        release.version
        for release in block.releases
        if release.withdrawn is None and (beta or release.channel == "stable")
    ]
    return max(
        versions,
        key=lambda text: (not parse_version(text).is_prerelease, parse_version(text)),
        default=None,
    )


def _held_back(
    catalogue: Catalogue,
    question: Question,
    artefact: LockedArtefact,
    newest: str,
    renewed: Mapping[str, LockedArtefact],
) -> str:
    constraints = {
        WORDPRESS: question.wordpress,
        question.theme[0]: question.theme[1],
        **dict(question.blocks),
    }
    constraint = constraints.get(artefact.name, "*")
    scope = question.scope()
    if artefact.name in scope.held:
        return scope.why_held(artefact.name)
    if not parse_constraint(constraint).allows(parse_version(newest)):
        return f"the manifest asks {constraint}"
    if artefact.kind == "language":
        return "it follows the version of WordPress"
    answer = answer_of(catalogue, _with_exactly(question, artefact, newest))
    if isinstance(answer, Solution):
        if advisories_of(catalogue, artefact.name, newest):
            return "the newest release has a known vulnerability"
        return _instead(answer, renewed)
    return " ".join(refusal.message for refusal in answer)


def _instead(solution: Solution, renewed: Mapping[str, LockedArtefact]) -> str:
    """Say which other artefact would not be what it can be, if this one were the newest."""
    others = [solution.core, solution.theme, *(candidate for candidate, _ in solution.blocks)]
    for other in others:
        held = renewed.get(other.name)
        if held and parse_version(other.version) < parse_version(held.version):
            return f"{other.name} would have to be {other.version} instead of {held.version}"
    return "something else would have to be older"


def _with_exactly(question: Question, artefact: LockedArtefact, version: str) -> Question:
    name = artefact.name
    if name == WORDPRESS:
        return replace(question, wordpress=version)
    if name == question.theme[0]:
        return replace(question, theme=(name, version))
    if name == WP_CLI:
        return question
    others = tuple(block for block in question.blocks if block[0] != name)
    return replace(question, blocks=tuple(sorted((*others, (name, version)))))
