"""The catalogue as a resolver sees it: candidates, what they ask, and what accepts what.

Three things are put as ordinary requirements although no resolver library has them. A *virtual*
package stands for "any of these" and for "whatever provides this function"; its candidates are the
blocks that would do. A *conditional* ask ("not at that version", "on this train", "as locked") is
also satisfied by a block that is absent, so that it never brings one in; "absent" by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from packaging.version import Version

from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue, Requirement
from owc_deploy.fleet.constraints import parse_constraint, parse_version

PHP = "php"
WORDPRESS = "wordpress"
WP_CLI = "wp-cli"
UNTRANSLATED_LOCALE = "en_US"

AskKind = Literal["chosen", "needs", "pinned", "conflict", "train", "kept", "absent", "virtual"]

_CONDITIONAL: frozenset[AskKind] = frozenset({"conflict", "train", "kept", "absent"})
# A branch such as 8.2 stands for all its patches; blocks that say >=8.2.3 mean the branch too.
_NEWEST_PATCH = ".999"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One release of one block, one PHP branch, one way to satisfy a virtual package, or absence.

    There is one object per candidate, so that identity is equality. `versions` holds what a
    constraint is held against: any one of them will do. `choice` is the block that a virtual
    candidate stands for, `asked` the requirement behind it and `asker` who made it. `allowed_by`
    remembers which constraints were found to allow it: a search asks the same thing many times.
    """

    name: str
    version: str = ""
    versions: tuple[Version, ...] = ()
    block: Block | None = None
    release: BlockRelease | None = None
    choice: str = ""
    asked: Requirement | None = None
    asker: Candidate | None = None
    affected: bool = False
    allowed_by: dict[str, bool] = field(default_factory=dict, repr=False)

    @property
    def is_absence(self) -> bool:
        """Whether this stands for the block not being there."""
        return not self.versions and not self.choice

    @property
    def is_beta(self) -> bool:
        """Whether only sites that ask for betas may take it."""
        return self.release is not None and self.release.channel == "beta"

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class Ask:
    """Something asked of the package `name`, by a candidate or (`chosen`) by the manifest.

    `constraint` is what is allowed; for `conflict` what is forbidden, for `kept` and `pinned` the
    exact version. With `function` the release must provide it. `requirement` and `asker` are those
    of a virtual package.
    """

    name: str
    kind: AskKind
    constraint: str = "*"
    function: str | None = None
    train: str | None = None
    reason: str = ""
    requirement: Requirement | None = None
    asker: Candidate | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether absence satisfies it."""
        return self.kind in _CONDITIONAL

    def accepts(self, candidate: Candidate) -> bool:
        """Say whether this candidate of the same package is what is asked."""
        if candidate.is_absence:
            return self.is_conditional
        if self.kind in {"virtual", "absent"}:
            return self.kind == "virtual"
        if self.kind in {"kept", "pinned"}:
            return candidate.version == self.constraint
        release = candidate.release
        if self.kind == "train":
            return release is not None and release.train == self.train
        allowed = self._allows(candidate)
        if self.kind == "conflict":
            return not allowed
        return allowed and (
            self.function is None or (release is not None and self.function in release.provides)
        )

    def _allows(self, candidate: Candidate) -> bool:
        known = candidate.allowed_by.get(self.constraint)
        if known is None:
            constraint = parse_constraint(self.constraint)
            known = any(constraint.allows(version) for version in candidate.versions)
            candidate.allowed_by[self.constraint] = known
        return known


@dataclass(frozen=True, slots=True)
class Packages:
    """Everything the catalogue offers, prepared once for all sites.

    `candidates` are those not withdrawn, newest first, `withdrawn` the others; `providers` the
    blocks with a release that provides a function, and `trains` those with a release in a train, by
    name. `asks` remembers what each candidate asks.
    """

    catalogue: Catalogue
    candidates: Mapping[str, tuple[Candidate, ...]]
    withdrawn: Mapping[str, tuple[Candidate, ...]]
    providers: Mapping[str, tuple[str, ...]]
    trains: Mapping[str, tuple[str, ...]]
    asks: dict[tuple[str, str], tuple[Ask, ...]] = field(default_factory=dict)
    absences: dict[str, Candidate] = field(default_factory=dict)

    def absence(self, name: str) -> Candidate:
        """Return the candidate that stands for this block not being there."""
        return self.absences.setdefault(name, Candidate(name))

    def asked_by(self, candidate: Candidate) -> tuple[Ask, ...]:
        """Return what a candidate asks of others."""
        if candidate.choice and candidate.asked is not None:
            wanted = candidate.asked
            return (Ask(candidate.choice, "needs", wanted.version, function=wanted.function),)
        if candidate.block is None or candidate.release is None:
            return ()
        key = (candidate.name, candidate.version)
        if key not in self.asks:
            self.asks[key] = tuple(self._asked_by(candidate, candidate.release))
        return self.asks[key]

    def _asked_by(self, candidate: Candidate, release: BlockRelease) -> list[Ask]:
        asks = []
        if release.php != "*":
            asks.append(Ask(PHP, "needs", release.php))
        if release.wordpress != "*":
            asks.append(Ask(WORDPRESS, "needs", release.wordpress))
        for index, requirement in enumerate(release.requires):
            if len(requirement.any_of) == 1:
                asks.append(Ask(requirement.any_of[0], "needs", requirement.version))
            else:
                identifier = virtual_name(candidate, index)
                asks.append(Ask(identifier, "virtual", requirement=requirement, asker=candidate))
        asks += [
            Ask(conflict.block, "conflict", conflict.version, reason=conflict.reason)
            for conflict in release.conflicts
        ]
        if release.train is not None:
            asks += [
                Ask(member, "train", train=release.train)
                for member in self.trains[release.train]
                if member != candidate.name
            ]
        return asks


def virtual_name(asker: Candidate, index: int) -> str:
    """Return the identifier of one requirement of one candidate; no block can have such a name."""
    return f"{asker}?{index}"


def packages_of(catalogue: Catalogue) -> Packages:
    """Prepare a catalogue for resolving."""
    candidates: dict[str, tuple[Candidate, ...]] = {}
    withdrawn: dict[str, tuple[Candidate, ...]] = {}
    providers: dict[str, set[str]] = {}
    trains: dict[str, set[str]] = {}
    for name, block in catalogue.blocks.items():
        advised = [parse_constraint(advisory.affected) for advisory in block.advisories]
        listed = []
        for release in block.releases:
            for function in release.provides:
                providers.setdefault(function, set()).add(name)
            if release.train is not None:
                trains.setdefault(release.train, set()).add(name)
            version = parse_version(release.version)
            affected = any(constraint.allows(version) for constraint in advised)
            listed.append(
                Candidate(name, release.version, (version,), block, release, affected=affected)
            )
        listed.sort(key=lambda candidate: candidate.versions, reverse=True)
        candidates[name] = tuple(c for c in listed if not _is_withdrawn(c))
        withdrawn[name] = tuple(c for c in listed if _is_withdrawn(c))
    return Packages(
        catalogue,
        candidates,
        withdrawn,
        {function: tuple(sorted(names)) for function, names in providers.items()},
        {train: tuple(sorted(names)) for train, names in trains.items()},
    )


def _is_withdrawn(candidate: Candidate) -> bool:
    return candidate.release is not None and candidate.release.withdrawn is not None


def php_candidates(branches: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Return the PHP branches that a server offers as candidates, newest first."""
    listed = [
        Candidate(PHP, branch, (parse_version(branch + _NEWEST_PATCH), parse_version(branch)))
        for branch in branches
    ]
    return tuple(sorted(listed, key=lambda candidate: candidate.versions, reverse=True))


def language_name(locale: str) -> str | None:
    """Return the name of a locale's language files in a catalogue, `None` when it needs none."""
    return None if locale == UNTRANSLATED_LOCALE else f"language-{locale}"
