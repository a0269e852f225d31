"""A manifest resolved to exact artefacts.

What is preferred, in this order: the newest WordPress that everything chosen works with; then, on a
site that is locked already, what it has; then the newest release of each block that is not known to
be vulnerable; then the newest PHP branch of the server. A block named for an update goes as far as
it can, and takes along only what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from owc_deploy.catalogue.activation import activation_order
from owc_deploy.catalogue.errors import Refusal, ResolutionError
from owc_deploy.catalogue.explain import CHOOSE_PROVIDER, choose_provider, explain, not_chosen
from owc_deploy.catalogue.models import Advisory, Catalogue
from owc_deploy.catalogue.packages import (
    PHP,
    WORDPRESS,
    WP_CLI,
    Ask,
    Candidate,
    Packages,
    language_name,
    packages_of,
)
from owc_deploy.catalogue.question import Question, chosen_asks, refusals_of
from owc_deploy.catalogue.search import (
    Fit,
    Misfit,
    Scope,
    choices_behind,
    options_for,
    search,
    usable,
)
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
) -> Lock:
    """Find the exact artefacts for a manifest on its server; the same questions, the same answer.

    With `previous`, what it locks is kept, except the names in `only` (blocks, `wordpress`, `php`,
    `wp-cli`, the theme), which go to the newest that is allowed. Without, everything is new.

    Raises ResolutionError, in words for the person who writes the manifest.
    """
    kept = _kept(previous, only) if previous is not None else ()
    question = Question.of(manifest, server, kept, only if previous is not None else frozenset())
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
    fit = _best(packages, question, scope, asks)
    if isinstance(fit, Misfit):
        return _missing(packages, question)
    scope, fit = _without_the_needless(packages, question, scope, asks, fit)
    present = _present(packages, fit, asks, firmly=False)
    firm = _present(packages, fit, asks, firmly=True)
    ambiguous = tuple(_ambiguous(packages, scope, fit, present, firm))
    return ambiguous or _solution(packages, question, fit, present)


def _without_the_needless(
    packages: Packages, question: Question, scope: Scope, asks: tuple[Ask, ...], fit: Fit
) -> tuple[Scope, Fit]:
    """Search again where something was added although what is there anyhow would have done."""
    present = _present(packages, fit, asks, firmly=False)
    firm = _present(packages, fit, asks, firmly=True)
    if any(_could_do_with_less(packages, scope, fit, name, firm) for name in present):
        narrowed = replace(scope, preferred=frozenset(firm))
        again = _best(packages, question, narrowed, asks)
        if isinstance(again, Fit):
            return narrowed, again
    return scope, fit


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


def _best(
    packages: Packages, question: Question, scope: Scope, asks: tuple[Ask, ...]
) -> Fit | Misfit:
    """Find the set that fits best; see the module's description for what is better."""
    if question.kept and not question.renewed:
        held = _held(packages, scope, question, asks)
        fit = _furthest(packages, scope, (*asks, *held), [WORDPRESS])
        if isinstance(fit, Fit):
            return fit
    renewed = sorted(name for name in question.renewed if name != WORDPRESS)
    return _furthest(packages, scope, asks, [WORDPRESS, *renewed])


def _held(
    packages: Packages, scope: Scope, question: Question, asks: tuple[Ask, ...]
) -> Iterator[Ask]:
    """Yield asks to stay at the locked versions, where the manifest still allows them."""
    for name, version in question.kept:
        named = [ask for ask in asks if ask.name == name]
        if any(
            candidate.version == version and all(ask.accepts(candidate) for ask in named)
            for candidate in usable(packages, scope, name)
        ):
            yield Ask(name, "kept", version)


def _furthest(
    packages: Packages, scope: Scope, asks: tuple[Ask, ...], names: list[str]
) -> Fit | Misfit:
    """Fit with each of `names` in turn at its first candidate that can be fitted at all."""
    fit = search(packages, scope, asks)
    for name in names:
        if isinstance(fit, Misfit):
            return fit
        for candidate in usable(packages, scope, name):
            if fit.mapping.get(name) is candidate:
                break
            pinned = search(packages, scope, (*asks, Ask(name, "pinned", candidate.version)))
            if isinstance(pinned, Fit):
                fit = pinned
                break
        if name in fit.mapping:
            asks = (*asks, Ask(name, "pinned", fit.mapping[name].version))
    return fit


def _present(packages: Packages, fit: Fit, asks: Iterable[Ask], *, firmly: bool) -> dict[str, str]:
    """Return what the chosen really need, each with the name of what needs it first (`""`: chosen).

    A search may leave behind what only an abandoned release needed. With `firmly` only what is
    needed by name counts, not what was taken out of several that would do.
    """
    reasons = {ask.name: "" for ask in asks if not ask.is_conditional}
    queue = sorted(reasons)
    for name in queue:
        candidate = fit.mapping[name]
        for ask in packages.asked_by(candidate):
            if ask.is_conditional or (firmly and ask.kind == "virtual"):
                continue
            needed = fit.mapping[ask.name].choice if ask.kind == "virtual" else ask.name
            if needed not in reasons:
                reasons[needed] = name
                queue.append(needed)
    return reasons


def _could_do_with_less(
    packages: Packages, scope: Scope, fit: Fit, name: str, firm: Mapping[str, str]
) -> bool:
    """Say whether something was added although another that is there anyhow would have done."""
    candidate = fit.mapping[name]
    for ask in packages.asked_by(candidate):
        if ask.requirement is not None and fit.mapping[ask.name].choice not in firm:
            others = options_for(packages, scope, ask.requirement)
            if any(other in firm for other in others):
                return True
    return False


def _ambiguous(
    packages: Packages,
    scope: Scope,
    fit: Fit,
    present: Mapping[str, str],
    firm: Mapping[str, str],
) -> Iterator[Refusal]:
    """Yield the functions that several blocks provide, none of which is there for its own sake."""
    for name in sorted(present):
        for ask in packages.asked_by(fit.mapping[name]):
            wanted = ask.requirement
            if wanted is None or wanted.function is None or fit.mapping[ask.name].choice in firm:
                continue
            options = options_for(packages, scope, wanted)
            if len(options) > 1:
                yield choose_provider(packages, scope, fit.mapping[name], wanted.function, options)


def _solution(
    packages: Packages, question: Question, fit: Fit, present: Mapping[str, str]
) -> Solution:
    language = language_name(question.locale)
    apart = {PHP, WORDPRESS, WP_CLI, language, question.theme[0]}
    blocks = {name: fit.mapping[name] for name in present if name not in apart}
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
        (blocks[name], f"{REQUIRED_BY}{present[name]}" if present[name] else "chosen")
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


def _kept(previous: Lock, only: frozenset[str]) -> tuple[tuple[str, str], ...]:
    versions = {artefact.name: artefact.version for artefact in previous.artefacts}
    versions[PHP] = previous.php
    return tuple(sorted((name, version) for name, version in versions.items() if name not in only))


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
