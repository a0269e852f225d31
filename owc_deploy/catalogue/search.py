"""One search for a set that fits, through resolvelib; what to search for is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible
from resolvelib.resolvers import Resolution, ResolutionTooDeep
from resolvelib.structs import RequirementInformation

from owc_deploy.catalogue.models import Requirement
from owc_deploy.catalogue.packages import PHP, Ask, Candidate, Packages, virtual_name

Cause = RequirementInformation[Ask, Candidate]

_MAXIMUM_ROUNDS = 20_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What one search may choose from.

    `chosen` are the names the manifest itself names, `may_add` whether others may join them,
    `environment` where it must be allowed to run. `first` holds versions to be tried before newer
    ones, `preferred` blocks to be taken before others where any of several will do, and `only`
    candidates that stand in for all of their package.
    """

    php: tuple[Candidate, ...]
    chosen: frozenset[str]
    may_add: bool
    environment: str
    first: Mapping[str, str] = field(default_factory=dict)
    preferred: frozenset[str] = frozenset()
    only: Mapping[str, Candidate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fit:
    """A set that fits: every package's candidate, virtual ones included."""

    mapping: Mapping[str, Candidate]


@dataclass(frozen=True, slots=True)
class Misfit:
    """No set fits: the asks that could not be met together, and who made them."""

    causes: tuple[Cause, ...]


def search(packages: Packages, scope: Scope, asks: Sequence[Ask]) -> Fit | Misfit:
    """Look for a set that meets every ask; deterministic."""
    # Not `Resolver`: the graph that it makes of the result recurses without end where packages that
    # nobody needs any more need each other.
    resolution: Resolution[Ask, Candidate, str] = Resolution(
        _Provider(packages, scope), BaseReporter()
    )
    try:
        result = resolution.resolve(list(asks), max_rounds=_MAXIMUM_ROUNDS)
    except ResolutionImpossible as error:
        return Misfit(tuple(error.causes))
    except ResolutionTooDeep:
        return Misfit(())
    present = {name: c for name, c in result.mapping.items() if not c.is_absence}
    return Fit(present)


def options_for(packages: Packages, scope: Scope, requirement: Requirement) -> tuple[str, ...]:
    """Return the blocks that may satisfy a requirement of several, best first.

    Where the manifest names one or more of them, only those: it has made the choice.
    """
    if requirement.function is not None:
        able = packages.providers.get(requirement.function, ())
        names = tuple(sorted(able, key=lambda name: (name not in scope.preferred, name)))
    else:
        names = tuple(sorted(requirement.any_of, key=lambda name: name not in scope.preferred))
    named = tuple(name for name in names if name in scope.chosen)
    if named:
        return named
    return tuple(name for name in names if usable(packages, scope, name)) if scope.may_add else ()


def usable(packages: Packages, scope: Scope, name: str) -> tuple[Candidate, ...]:
    """Return the candidates of a package in the order they are tried."""
    if name == PHP:
        listed = scope.php
    else:
        block = packages.catalogue.blocks.get(name)
        if block is None or scope.environment not in block.environments:
            return ()
        listed = packages.candidates[name]
    if name in scope.only:
        return (scope.only[name],)
    first = scope.first.get(name)
    return tuple(sorted(listed, key=lambda c: (c.version != first, c.affected)))


class _Provider(AbstractProvider[Ask, Candidate, str]):
    """Answers resolvelib's questions; the names of the arguments are resolvelib's."""

    def __init__(self, packages: Packages, scope: Scope) -> None:
        self._packages = packages
        self._scope = scope
        self._virtual: dict[str, tuple[Candidate, ...]] = {}
        self._usable: dict[str, tuple[Candidate, ...]] = {}

    def identify(self, requirement_or_candidate: Ask | Candidate) -> str:
        return requirement_or_candidate.name

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[Cause]],
        backtrack_causes: Sequence[Cause],
    ) -> tuple[bool, bool, str]:
        del resolutions, candidates, information
        blamed = any(
            identifier in (cause.requirement.name, cause.parent.name if cause.parent else "")
            for cause in backtrack_causes
        )
        return ("?" in identifier, not blamed, identifier)

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Ask]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> Iterable[Candidate]:
        asks = list(requirements[identifier])
        excluded = {id(candidate) for candidate in incompatibilities[identifier]}
        listed: tuple[Candidate, ...] = ()
        if all(ask.is_conditional for ask in asks):
            # Also where nothing is asked any more: what an abandoned release needed is not needed.
            listed = (self._packages.absence(identifier),)
        elif "?" in identifier:
            listed = self._ways(identifier, asks[0])
        elif self._scope.may_add or self._is_chosen(identifier):
            listed = self._candidates(identifier)
        return [
            candidate
            for candidate in listed
            if id(candidate) not in excluded and all(ask.accepts(candidate) for ask in asks)
        ]

    def is_satisfied_by(self, requirement: Ask, candidate: Candidate) -> bool:
        return requirement.accepts(candidate)

    def get_dependencies(self, candidate: Candidate) -> Iterable[Ask]:
        return self._packages.asked_by(candidate)

    def _is_chosen(self, name: str) -> bool:
        return name == PHP or name in self._scope.chosen

    def _candidates(self, name: str) -> tuple[Candidate, ...]:
        if name not in self._usable:
            self._usable[name] = usable(self._packages, self._scope, name)
        return self._usable[name]

    def _ways(self, identifier: str, ask: Ask) -> tuple[Candidate, ...]:
        if identifier not in self._virtual and ask.requirement is not None:
            self._virtual[identifier] = tuple(
                Candidate(identifier, choice=name, asked=ask.requirement, asker=ask.asker)
                for name in options_for(self._packages, self._scope, ask.requirement)
            )
        return self._virtual[identifier]


def choices_behind(fit: Fit, candidate: Candidate) -> dict[str, str]:
    """Return, per requirement of a candidate that several blocks could meet, the one that does."""
    release = candidate.release
    if release is None:
        return {}
    names = [virtual_name(candidate, index) for index in range(len(release.requires))]
    return {name: fit.mapping[name].choice for name in names if name in fit.mapping}
