"""A manifest resolved to exact artefacts; `owc_deploy.catalogue.best` says what is preferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

from owc_deploy.catalogue.activation import activation_order
from owc_deploy.catalogue.best import best_fit, present
from owc_deploy.catalogue.errors import Refusal, ResolutionError
from owc_deploy.catalogue.explain import CHOOSE_PROVIDER, choose_provider, explain, not_chosen
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.packages import (
    PHP,
    WORDPRESS,
    WP_CLI,
    Candidate,
    Packages,
    language_name,
    packages_of,
)
from owc_deploy.catalogue.question import Question, chosen_asks, refusals_of
from owc_deploy.catalogue.search import Fit, Misfit, Scope, choices_behind, options_for
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Lock, LockedArtefact, Manifest, Server

REQUIRED_BY = "required by "

_CATALOGUES_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to a question: the candidates, why each block is there, and the lock they make.

    `blocks` stand in activation order. `lock` is that of no site yet: its `site` and
    `manifest_sha256` are empty.
    """

    core: Candidate
    theme: Candidate
    blocks: tuple[tuple[Candidate, str], ...]
    lock: Lock


def resolve(
    manifest: Manifest,
    server: Server,
    catalogue: Catalogue,
    *,
    previous: Lock | None = None,
    only: frozenset[str] = frozenset(),
    upgrade: bool = False,
    today: date | None = None,
) -> Lock:
    """Find the exact artefacts for a manifest on its server; the same questions, the same answer.

    With `previous`, what it locks is kept, except the names in `only` (blocks, `wordpress`, `php`,
    `wp-cli`, the theme), which go to the newest that is allowed, or with `upgrade` everything. What
    the manifest holds stays, unless the hold ran out before `today`; without it none has.

    Raises ResolutionError, in words for the person who writes the manifest.
    """
    question = Question.of(
        manifest, server, previous=previous, only=only, upgrade=upgrade, today=today
    )
    answer = answer_of(catalogue, question)
    if isinstance(answer, Solution):
        return replace(answer.lock, site=manifest.site, manifest_sha256=manifest.sha256)
    raise ResolutionError(manifest.site, answer)


def answer_of(catalogue: Catalogue, question: Question) -> Solution | tuple[Refusal, ...]:
    """Answer a question, or give every reason why it has no answer; answers are remembered."""
    return _answers(_ByIdentity(catalogue)).answer(question)


def warnings_of(lock: Lock, catalogue: Catalogue) -> tuple[tuple[LockedArtefact, Advisory], ...]:
    """Return the known vulnerabilities of what a lock holds, in the order of its artefacts."""
    return tuple(
        (artefact, advisory)
        for artefact in lock.artefacts
        for advisory in advisories_of(catalogue, artefact.name, artefact.version)
    )


def advisories_of(catalogue: Catalogue, name: str, version: str) -> tuple[Advisory, ...]:
    """Return the known vulnerabilities of one release, none when the catalogue does not list it."""
    block = catalogue.blocks.get(name)
    if block is None:
        return ()
    parsed = parse_version(version)
    return tuple(
        advisory
        for advisory in block.advisories
        if parse_constraint(advisory.affected).allows(parsed)
    )


class _ByIdentity:
    """Lets one catalogue object be remembered without comparing catalogues."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return id(self.catalogue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.catalogue is self.catalogue


class _Answers:
    """The questions asked of one catalogue; many sites of a fleet ask the same."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._known: dict[Question, Solution | tuple[Refusal, ...]] = {}

    def answer(self, question: Question) -> Solution | tuple[Refusal, ...]:
        if question not in self._known:
            self._known[question] = _answer(self._packages, question)
        return self._known[question]


@lru_cache(maxsize=_CATALOGUES_REMEMBERED)
def _answers(key: _ByIdentity) -> _Answers:
    return _Answers(packages_of(key.catalogue))


def _answer(packages: Packages, question: Question) -> Solution | tuple[Refusal, ...]:
    refusals = refusals_of(packages, question)
    if refusals:
        return refusals
    scope = question.scope()
    asks = chosen_asks(question)
    fit = best_fit(packages, question, scope)
    if isinstance(fit, Misfit):
        return _missing(packages, question)
    there = present(packages, fit, asks)
    firm = present(packages, fit, asks, firmly=True)
    ambiguous = tuple(_ambiguous(packages, scope, fit, there, firm))
    return ambiguous or _solution(packages, question, fit, there)


def _missing(packages: Packages, question: Question) -> tuple[Refusal, ...]:
    """Explain; where the policy is to refuse and adding would do, say all that is not chosen."""
    if question.may_add:
        return explain(packages, question)
    answer = _answer(packages, replace(question, may_add=True))
    if not isinstance(answer, Solution):
        unclear = tuple(refusal for refusal in answer if refusal.reference == CHOOSE_PROVIDER)
        return tuple(dict.fromkeys((*unclear, *explain(packages, question))))
    versions = {candidate.name: candidate for candidate, _ in answer.blocks}
    versions[answer.theme.name] = answer.theme
    return tuple(
        not_chosen(packages, versions[requirer], candidate)
        for candidate, reason in answer.blocks
        for requirer in [reason.removeprefix(REQUIRED_BY)]
        if requirer in versions
    )


def _ambiguous(
    packages: Packages,
    scope: Scope,
    fit: Fit,
    there: Mapping[str, str],
    firm: Mapping[str, str],
) -> Iterator[Refusal]:
    """Yield the functions that several blocks provide, none of which is there for its own sake.

    What the site has stays its choice: a block that is listed later cannot make it unclear.
    """
    for name in sorted(there):
        for ask in packages.asked_by(fit.mapping[name]):
            wanted = ask.requirement
            if wanted is None or wanted.function is None:
                continue
            taken = fit.mapping[ask.name].choice
            if taken in firm or taken in scope.locked:
                continue
            options = options_for(packages, scope, wanted)
            if len(options) > 1:
                yield choose_provider(packages, scope, fit.mapping[name], wanted.function, options)


def _solution(
    packages: Packages, question: Question, fit: Fit, there: Mapping[str, str]
) -> Solution:
    language = language_name(question.locale)
    apart = {PHP, WORDPRESS, WP_CLI, language, question.theme[0]}
    blocks = {name: fit.mapping[name] for name in there if name not in apart}
    needs = {
        name: {
            choices[ask.name] if ask.kind == "virtual" else ask.name
            for ask in packages.asked_by(candidate)
            if not ask.is_conditional
        }
        for name, candidate in blocks.items()
        for choices in [choices_behind(fit, candidate)]
    }
    core, theme = fit.mapping[WORDPRESS], fit.mapping[question.theme[0]]
    ordered = tuple(
        (blocks[name], f"{REQUIRED_BY}{there[name]}" if there[name] else "chosen")
        for name in activation_order(needs)
    )
    lock = Lock(
        site="",
        manifest_sha256="",
        php=fit.mapping[PHP].version,
        wordpress=_artefact(core),
        wp_cli=_artefact(fit.mapping[WP_CLI]),
        language=_artefact(fit.mapping[language]) if language else None,
        theme=_artefact(theme),
        blocks=tuple(_artefact(candidate, reason) for candidate, reason in ordered),
    )
    return Solution(core, theme, ordered, lock)


def _artefact(candidate: Candidate, reason: str = "chosen") -> LockedArtefact:
    block, release = candidate.block, candidate.release
    if block is None or release is None:
        raise TypeError(candidate)
    folder, main_file = block.place_of(release)
    return LockedArtefact(
        name=block.name,
        kind=block.kind,
        version=release.version,
        header_version=release.header_version,
        sha256=release.sha256,
        folder=folder,
        main_file=main_file,
        reason=reason,
    )
