"""One search for a set that fits, through resolvelib; what to search for is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible
from resolvelib.resolvers import Resolution, ResolutionTooDeep
from resolvelib.structs import RequirementInformation

from owc_deploy.catalogue.models import Requirement
from owc_deploy.catalogue.packages import PHP, Ask, Candidate, Packages, virtual_name
from owc_deploy.fleet.constraints import parse_constraint, parse_version

Cause = RequirementInformation[Ask, Candidate]

_MAXIMUM_ROUNDS = 20_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What one search may choose from.

    `chosen` are the names the manifest itself names, `may_add` whether others may join them,
    `environment` where it must be allowed to run. `locked` are the versions that the site has, and
    `first` those of them to be tried before newer ones. `held` may not move from there; it says
    why. `beta` are those of which betas may be taken, `None` standing for all, and `not_beta` the
    exceptions. `only` holds candidates that stand in for all of their package. `usable_candidates`
    remembers what `usable` answered.
    """

    php: tuple[Candidate, ...]
    chosen: frozenset[str]
    may_add: bool
    environment: str
    locked: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    beta: frozenset[str] | None = frozenset()
    not_beta: frozenset[str] = frozenset()
    only: Mapping[str, Candidate] = field(default_factory=dict)
    usable_candidates: dict[str, tuple[Candidate, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def why_held(self, name: str) -> str:
        """Return why a held block may not move, in a few words."""
        why = self.held[name]
        return f"held {why}" if why.startswith("until ") else f"held: {why}"

    def takes_beta(self, name: str) -> bool:
        """Say whether a beta of this block may be chosen."""
        return (self.beta is None or name in self.beta) and name not in self.not_beta


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
        names = packages.providers.get(requirement.function, ())
    else:
        names = requirement.any_of
    named = tuple(name for name in names if name in scope.chosen)
    if named:
        return named
    return tuple(name for name in names if usable(packages, scope, name)) if scope.may_add else ()


def usable(packages: Packages, scope: Scope, name: str) -> tuple[Candidate, ...]:
    """Return the candidates of a package in the order they are tried.

    Newer before older, but before all the locked version where it is to stay, and behind what can
    be reached from the locked version in one step and is not known to be vulnerable.
    """
    known = scope.usable_candidates.get(name)
    if known is None:
        known = scope.usable_candidates[name] = _usable(packages, scope, name)
    return known


def _usable(packages: Packages, scope: Scope, name: str) -> tuple[Candidate, ...]:
    if name == PHP:
        return _first_of(scope, name, scope.php)
    block = packages.catalogue.blocks.get(name)
    if block is None or scope.environment not in block.environments:
        return ()
    if name in scope.only:
        return (scope.only[name],)
    locked = scope.locked.get(name)
    if name in scope.held:
        all_releases = (*packages.candidates[name], *packages.withdrawn[name])
        return tuple(c for c in all_releases if c.version == locked)
    listed = packages.candidates[name]
    if not scope.takes_beta(name):
        listed = tuple(c for c in listed if not c.is_beta or c.version == locked)
    return _first_of(scope, name, listed)


def in_one_step(candidate: Candidate, locked: str) -> bool:
    """Say whether a release may be installed over the locked version; an older one is no update."""
    release = candidate.release
    if release is None or release.updates_from == "*":
        return True
    was = parse_version(locked)
    return candidate.versions[0] <= was or parse_constraint(release.updates_from).allows(was)


def _first_of(scope: Scope, name: str, listed: Sequence[Candidate]) -> tuple[Candidate, ...]:
    first, locked = scope.first.get(name), scope.locked.get(name)
    return tuple(
        sorted(
            listed,
            key=lambda c: (
                c.version != first,
                locked is not None and not in_one_step(c, locked),
                c.affected,
            ),
        )
    )


class _Provider(AbstractProvider[Ask, Candidate, str]):
    """Answers resolvelib's questions; the names of the arguments are resolvelib's."""

    def __init__(self, packages: Packages, scope: Scope) -> None:
        self._packages = packages
        self._scope = scope
        self._virtual: dict[str, tuple[Candidate, ...]] = {}

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
            listed = usable(self._packages, self._scope, identifier)
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

    def _ways(self, identifier: str, ask: Ask) -> tuple[Candidate, ...]:
        if identifier not in self._virtual and ask.requirement is not None:
            self._virtual[identifier] = tuple(
                Candidate(
                    identifier, version=name, choice=name, asked=ask.requirement, asker=ask.asker
                )
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
