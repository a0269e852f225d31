"""Why a set is impossible, in words for the person who writes the manifest.

A resolver's own account names the last things it tried. Here the search is asked again with fewer
choices until only those are left that clash, and then once more with just their newest releases, so
that what is said is about releases the reader knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from owc_deploy.catalogue.errors import Refusal
from owc_deploy.catalogue.models import Requirement
from owc_deploy.catalogue.packages import (
    PHP,
    WORDPRESS,
    WP_CLI,
    Ask,
    Candidate,
    Packages,
    language_name,
)
from owc_deploy.catalogue.question import (
    Question,
    caret,
    chosen_asks,
    in_beta_only,
    listed,
    with_beta,
)
from owc_deploy.catalogue.search import Cause, Misfit, Scope, options_for, search, usable

CHOOSE_PROVIDER = "choose-provider"

_CLASHES_EXPLAINED = 4
_LANGUAGE = "language-"
_ALWAYS_THERE = frozenset({PHP, WORDPRESS, WP_CLI})


def explain(packages: Packages, question: Question) -> tuple[Refusal, ...]:
    """Explain a question that has no answer; every clash that stands apart is its own refusal."""
    scope = replace(question.scope(), first={})
    asks = chosen_asks(question)
    refusals: list[Refusal] = []
    for _ in range(_CLASHES_EXPLAINED):
        clash = _smallest_clash(packages, scope, asks, question)
        if clash is None:
            break
        telling = _Telling(packages, scope, question, clash)
        refusals += (refusal for refusal in telling.refusals() if refusal not in refusals)
        removable = {ask.name for ask in clash if _removable(ask, question)}
        if not removable:
            break
        asks = tuple(ask for ask in asks if ask.name not in removable)
    return tuple(refusals)


def choose_provider(
    packages: Packages, scope: Scope, asker: Candidate, function: str, options: Sequence[str]
) -> Refusal:
    """Ask the reader to choose between blocks that provide the same function."""
    lines = [_line(packages, scope, name) for name in options]
    return Refusal(
        ("blocks", asker.name),
        CHOOSE_PROVIDER,
        f"{asker} needs the function {function}, which {_either(options)} provides, and "
        f"{_unchosen(options)}.",
        f"Add {_either(lines)} under blocks.",
    )


def not_chosen(packages: Packages, asker: Candidate, needed: Candidate) -> Refusal:
    """Say that `asker` needs a block that is not named, where none may be added."""
    wants = f"needs {needed.name}"
    for ask in packages.asked_by(asker):
        if ask.name == needed.name and not ask.is_conditional:
            wants = _wants(ask, needed.name)
        elif ask.requirement is not None and _would_do(packages, ask.requirement, needed.name):
            wants = f"{_wants(ask, '')}, for which {needed.name} would do"
    return Refusal(
        ("blocks", asker.name),
        "not-chosen",
        f"{asker} {wants}, and {needed.name} is not chosen.",
        f'Add `{needed.name}: "{caret([needed.version])}"` under blocks, or set '
        "`dependencies: add`.",
    )


def _would_do(packages: Packages, wanted: Requirement, name: str) -> bool:
    if wanted.function is not None:
        return name in packages.providers.get(wanted.function, ())
    return name in wanted.any_of


def _smallest_clash(
    packages: Packages, scope: Scope, asks: tuple[Ask, ...], question: Question
) -> tuple[Ask, ...] | None:
    """Return asks that cannot be met together, and could without any one of the removable."""
    if not isinstance(search(packages, scope, asks), Misfit):
        return None
    for ask in asks:
        if _removable(ask, question):
            fewer = tuple(other for other in asks if other is not ask)
            if isinstance(search(packages, scope, fewer), Misfit):
                asks = fewer
    return asks


def _removable(ask: Ask, question: Question) -> bool:
    return ask.name == question.theme[0] or any(ask.name == name for name, _ in question.blocks)


@dataclass(frozen=True, slots=True)
class _Telling:
    """One clash, and what is needed to put it in words."""

    packages: Packages
    scope: Scope
    question: Question
    clash: tuple[Ask, ...]

    def refusals(self) -> Iterator[Refusal]:
        newest = {}
        for ask in self.clash:
            if ask.name not in _ALWAYS_THERE and not ask.name.startswith(_LANGUAGE):
                fitting = [c for c in usable(self.packages, self.scope, ask.name) if ask.accepts(c)]
                newest[ask.name] = fitting[0]
        outcome = search(self.packages, replace(self.scope, only=newest), self.clash)
        causes = outcome.causes if isinstance(outcome, Misfit) else ()
        grouped: dict[str, list[Cause]] = {}
        for cause in causes:
            same = grouped.setdefault(cause.requirement.name, [])
            if cause not in same:
                same.append(cause)
        if not grouped:
            names = [ask.name for ask in self.clash if _removable(ask, self.question)]
            yield Refusal(
                ("blocks",),
                "clash",
                f"{listed(names)} cannot be combined in any of their releases.",
                f"Leave one of them out: {_either(names)}.",
            )
        needed_by = self._needed_by(newest)
        for blamed, group in sorted(grouped.items()):
            # Language files follow WordPress: they are only to blame when nothing else is.
            name = WORDPRESS if blamed.startswith(_LANGUAGE) else blamed
            own = [c for c in group if c.requirement.name == name and not _is_language(c)]
            yield self._refusal(name, self._completed(name, own, newest, needed_by), needed_by)

    def _completed(
        self,
        name: str,
        group: list[Cause],
        newest: Mapping[str, Candidate],
        needed_by: Mapping[str, str],
    ) -> list[Cause]:
        """Add what else is asked of a package, where what the search blamed could be met alone."""
        if not self._can_be(name, group):
            return group
        brought = [usable(self.packages, self.scope, other)[:1] for other in sorted(needed_by)]
        there = [*newest.values(), *(candidate for first in brought for candidate in first)]
        asked = (Cause(ask, None) for ask in self.clash if ask.name == name)
        others = (
            Cause(ask, candidate)
            for candidate in sorted(there, key=str)
            for ask in self.packages.asked_by(candidate)
            if ask.name == name and ask.kind in {"needs", "conflict", "train"}
        )
        return list(dict.fromkeys((*group, *asked, *others)))

    def _can_be(self, name: str, causes: Sequence[Cause]) -> bool:
        """Say whether a release of a package meets all of these."""
        return any(
            all(cause.requirement.accepts(candidate) for cause in causes)
            for candidate in usable(self.packages, self.scope, name)
        )

    def _refusal(self, name: str, causes: list[Cause], needed_by: Mapping[str, str]) -> Refusal:
        if name == WORDPRESS and self._can_be(name, causes):
            return self._language()
        place = self._place(name, causes, needed_by)
        said = [_says(cause, needed_by, self.scope) for cause in causes]
        asks = [cause.requirement for cause in causes]
        if name == PHP:
            return self._php(place, said, asks)
        if name.startswith(_LANGUAGE):
            return self._language()
        if name == WORDPRESS:
            return self._wordpress(place, said, asks)
        if "?" in name:
            return self._several(place, causes[0], said[0])
        wanted = causes[0].parent.asked if causes[0].parent is not None else None
        if len(causes) == 1 and wanted is not None and len(wanted.any_of) > 1:
            return self._none_of(place, causes[0], wanted)
        if any(ask.kind in {"conflict", "train"} for ask in asks):
            return self._beside(place, name, said, causes)
        return self._block(place, name, said, asks)

    def _php(self, place: tuple[str, ...], said: list[str], asks: list[Ask]) -> Refusal:
        offered = self.question.php_versions
        others = [ask for ask in asks if ask.kind != "chosen"]
        would_do = [
            candidate.version
            for candidate in self.scope.php
            if all(ask.accepts(candidate) for ask in others)
        ]
        suggestion = (
            f'Write `php: "{would_do[0]}"`.'
            if would_do and len(others) < len(asks)
            else "Leave one of them out, or let the server offer the PHP branch that is needed "
            "(owc_php_versions in servers.yml)."
        )
        return Refusal(
            place, "php", f"{_sentence(said)}; the server offers PHP {listed(offered)}.", suggestion
        )

    def _language(self) -> Refusal:
        name = language_name(self.question.locale) or ""
        held = [candidate.version for candidate in usable(self.packages, self.scope, name)]
        return Refusal(
            ("locale",),
            "no-language",
            f"the language files in the catalogue ({name} {listed(held)}) are for none of the "
            f"WordPress releases that the manifest asks ({self.question.wordpress}).",
            f"Add them: owc-deploy catalogue add SOURCE --name {name} --kind language",
        )

    def _wordpress(self, place: tuple[str, ...], said: list[str], asks: list[Ask]) -> Refusal:
        held = [candidate.version for candidate in usable(self.packages, self.scope, WORDPRESS)]
        others = [ask for ask in asks if ask.kind != "chosen"]
        would_do = [
            candidate.version
            for candidate in usable(self.packages, self.scope, WORDPRESS)
            if all(ask.accepts(candidate) for ask in others)
        ]
        suggestion = (
            f'Write `wordpress: "{caret(would_do)}"`.'
            if would_do and len(others) < len(asks)
            else "Leave one of them out, or add a WordPress release that fits to the catalogue."
        )
        return Refusal(
            place,
            "wordpress",
            f"{_sentence(said)}; the catalogue holds WordPress {listed(held)}.",
            suggestion,
        )

    def _several(self, place: tuple[str, ...], cause: Cause, said: str) -> Refusal:
        wanted = cause.requirement.requirement
        names: tuple[str, ...] = ()
        if wanted is not None and wanted.function is not None:
            names = self.packages.providers.get(wanted.function, ())
        elif wanted is not None:
            names = wanted.any_of
        present = [name for name in names if usable(self.packages, self.scope, name)]
        if present and wanted is not None and wanted.function is not None:
            said = f"{said}, which {_either(present)} provides"
        asker = cause.parent.name if cause.parent else ""
        if not present:
            return Refusal(
                place,
                "not-in-catalogue",
                f"{said}, and the catalogue holds none that may run here.",
                f"Add one to the catalogue, or leave {asker} out.",
            )
        lines = [_line(self.packages, self.scope, name) for name in present]
        can_be_added = not self.scope.may_add and (
            len(present) == 1 or (wanted is not None and wanted.function is None)
        )
        return Refusal(
            place,
            "not-chosen",
            f"{said}, and {_unchosen(present)}.",
            f"Add {_either(lines)} under blocks"
            + (", or set `dependencies: add`." if can_be_added else "."),
        )

    def _none_of(self, place: tuple[str, ...], cause: Cause, wanted: Requirement) -> Refusal:
        """Say of each of several blocks why it does not do."""
        asker = _asker(cause)
        why, advice = [], [f"Leave {asker.name} out"]
        for name in wanted.any_of:
            ask = Ask(name, "needs", wanted.version)
            held = [c.version for c in usable(self.packages, self.scope, name)]
            betas = [
                c.version
                for c in self.packages.candidates.get(name, ())
                if c.version not in held and ask.accepts(c)
            ]
            if betas:
                advice.append(f"take the beta: {with_beta(name, caret(betas))}")
                why.append(f"of {name} {in_beta_only(betas)}")
            else:
                why.append(f"of {name} there is {listed(held) or 'no release that may be chosen'}")
        return Refusal(
            place,
            "clash",
            f"{asker} {_wants(Ask('', 'needs', requirement=wanted), '')}; {_sentence(why)}.",
            f"{', or '.join(advice)}.",
        )

    def _beside(
        self, place: tuple[str, ...], name: str, said: list[str], causes: list[Cause]
    ) -> Refusal:
        names = sorted({_asker(cause).name for cause in causes if cause.parent} | {name})
        train = any(cause.requirement.kind == "train" for cause in causes)
        advice = (
            f"Allow releases of {listed(names)} that belong together, or leave one of them out."
            if train
            else f"Leave one of them out: {_either(names)}."
        )
        return Refusal(place, "train" if train else "conflict", f"{_sentence(said)}.", advice)

    def _block(
        self, place: tuple[str, ...], name: str, said: list[str], asks: list[Ask]
    ) -> Refusal:
        block = self.packages.catalogue.blocks.get(name)
        sentence = _sentence(said)
        if block is None:
            return Refusal(
                place,
                "not-in-catalogue",
                f"{sentence}, and the catalogue does not hold {name}.",
                f"Add it: owc-deploy catalogue add SOURCE --name {name} --kind plugin",
            )
        if self.scope.environment not in block.environments:
            return Refusal(
                place,
                "environment",
                f"{sentence}, and {name} may not run on a site in {self.scope.environment}.",
            )
        held = usable(self.packages, self.scope, name)
        versions = [candidate.version for candidate in held]
        fitting = [candidate for candidate in held if all(ask.accepts(candidate) for ask in asks)]
        if fitting and name not in self.scope.chosen and not self.scope.may_add:
            return Refusal(
                place,
                "not-chosen",
                f"{sentence}, which is not chosen.",
                f'Add `{name}: "{caret([c.version for c in fitting])}"` under blocks, or set '
                "`dependencies: add`.",
            )
        holds = listed(versions) or "no release that may be chosen"
        others = [ask for ask in asks if ask.kind != "chosen"]
        would_do = [c.version for c in held if all(ask.accepts(c) for ask in others)]
        betas = [
            c.version
            for c in self.packages.candidates[name]
            if c not in held and all(ask.accepts(c) for ask in asks)
        ]
        if name in self.scope.held:
            return Refusal(
                place,
                "held",
                f"{sentence}; {name} is held at {self.scope.locked[name]} "
                f"({self.scope.held[name]}).",
                f"Take the hold on {name} away, or leave out what needs another release of it.",
            )
        if betas:
            stable = f"the stable ones are {listed(versions)}" if versions else "none is stable"
            chosen = dict(self.question.blocks).get(name, f"^{caret(betas).removeprefix('^')}")
            return Refusal(
                place,
                "beta-only",
                f"{sentence}; {in_beta_only(betas)}, {stable}.",
                f"To take the beta, write under blocks: {with_beta(name, chosen)}.",
            )
        if would_do and len(others) < len(asks):
            advice = f'Write `{name}: "{caret(would_do)}"`.'
        elif would_do:
            advice = f"Leave out what keeps {name} from being {would_do[0]}."
        else:
            advice = "Leave one of them out, or add a release that fits to the catalogue."
        return Refusal(place, "clash", f"{sentence}; the catalogue holds {name} {holds}.", advice)

    def _place(
        self, name: str, causes: Iterable[Cause], needed_by: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Return where in the manifest the reader should look first."""
        chosen = {block for block, _ in self.question.blocks}
        askers = sorted(_asker(cause).name for cause in causes if cause.parent is not None)
        for asker in (*askers, name):
            origin = asker
            while origin not in chosen and origin in needed_by:
                origin = needed_by[origin]
            if origin in chosen:
                return ("blocks", origin)
            if origin == self.question.theme[0]:
                return ("theme", "name")
        return ("blocks",)

    def _needed_by(self, newest: Mapping[str, Candidate]) -> dict[str, str]:
        """Return who brings in what the manifest does not name, following newest releases."""
        found: dict[str, str] = {}
        queue = [newest[name] for name in sorted(newest)]
        for candidate in queue:
            for ask in self.packages.asked_by(candidate):
                if ask.is_conditional or ask.name in _ALWAYS_THERE:
                    continue
                names: tuple[str, ...] = (ask.name,)
                if ask.requirement is not None:
                    names = options_for(self.packages, self.scope, ask.requirement)
                for name in names:
                    if name not in self.scope.chosen and name not in found:
                        found[name] = candidate.name
                        queue += usable(self.packages, self.scope, name)[:1]
        return found


def _asker(cause: Cause) -> Candidate:
    """Return the release behind a cause; a virtual package speaks for the one that asked for it."""
    parent = cause.parent
    if parent is None:
        raise TypeError(cause)
    return parent.asker or parent


def _is_language(cause: Cause) -> bool:
    return cause.parent is not None and cause.parent.name.startswith(_LANGUAGE)


def _says(cause: Cause, needed_by: Mapping[str, str], scope: Scope) -> str:
    ask = cause.requirement
    thing = {PHP: "PHP", WORDPRESS: "WordPress"}.get(ask.name, ask.name)
    if cause.parent is None:
        return f"the manifest asks {thing} {ask.constraint}"
    asker = _asker(cause)
    if asker.name == WORDPRESS:
        who = f"WordPress {asker.version}"
    elif asker.name in needed_by:
        who = f"{asker} ({_chain(asker.name, needed_by)})"
    elif asker.name in scope.held:
        who = f"{asker} ({scope.why_held(asker.name)})"
    else:
        who = str(asker)
    return f"{who} {_wants(ask, thing)}"


def _chain(name: str, needed_by: Mapping[str, str]) -> str:
    """Say by which way a block comes in, up to one that the manifest names."""
    way = []
    while name in needed_by and needed_by[name] not in way:
        name = needed_by[name]
        way.append(name)
    first, *others = way
    return f"needed by {first}" + "".join(f", which {other} needs" for other in others)


def _wants(ask: Ask, thing: str) -> str:
    wanted = ask.requirement
    if wanted is not None:
        if wanted.function is not None:
            return f"needs the function {wanted.function}"
        return f"needs {_either(wanted.any_of)}{_at(wanted.version)}"
    if ask.kind == "conflict":
        reason = f" ({ask.reason})" if ask.reason else ""
        return f"cannot stand beside {thing}{_at(ask.constraint)}{reason}"
    if ask.kind == "train":
        return f"moves together with {thing} (train {ask.train})"
    if ask.function is not None:
        return f"needs the function {ask.function} from {thing}"
    if ask.name in {PHP, WORDPRESS}:
        return f"works with {thing} {ask.constraint}"
    return f"needs {thing}{_at(ask.constraint)}"


def _at(constraint: str) -> str:
    return "" if constraint == "*" else f" {constraint}"


def _line(packages: Packages, scope: Scope, name: str) -> str:
    versions = [candidate.version for candidate in usable(packages, scope, name)]
    return f'`{name}: "{caret(versions)}"`'


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _unchosen(names: Sequence[str]) -> str:
    few = {1: "it is not chosen", 2: "neither is chosen"}
    return few.get(len(names), "none of them is chosen")


def _sentence(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
