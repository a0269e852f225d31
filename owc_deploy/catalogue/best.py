"""The best of all sets that fit, decided one thing after the other.

Each decision is as good as the earlier ones leave it; in this order:

1. On a site that is locked, WordPress stays; else it is the newest that everything else works with.
2. What an update names, in alphabetical order, is the best of its releases.
3. As few as possible of the other locked names get another version, or blocks come in that were not
   there. Of equally few changes those come first that are of a locked block, then those of a new
   one, in alphabetical order each, then those of languages, WP-CLI, PHP and WordPress.
4. The theme, then each chosen block, what needs others before what it needs, and else in
   alphabetical order, is the best of its releases.
5. What these need by name is the best of its releases, first come first. Where several would do it
   is one that is there already, then one that is locked, then the first that the catalogue names.
6. The PHP branch is the newest.

The best release is the one that the order of `usable` puts first. A search only says whether a set
with what is decided so far exists: `search` finds one, and another search is made only where what
it found is not the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from owc_deploy.catalogue.packages import PHP, WORDPRESS, WP_CLI, Ask, Candidate, Packages
from owc_deploy.catalogue.question import Question, chosen_asks
from owc_deploy.catalogue.search import Fit, Misfit, Scope, options_for, search, usable

_LANGUAGE = "language-"


def best_fit(packages: Packages, question: Question, scope: Scope) -> Fit | Misfit:
    """Find the set that fits best, or one reason why none fits."""
    asks = chosen_asks(question)
    found = search(packages, scope, asks)
    if isinstance(found, Misfit):
        return found
    deciding = _Deciding(packages, scope, asks, found)
    deciding.improve(WORDPRESS)
    for name in sorted(question.renewed - {WORDPRESS}):
        if name == PHP or name in scope.chosen:
            deciding.improve(name)
        else:
            deciding.improve_needed(name)
    if question.kept:
        deciding.change_little(question)
    names = [name for name, _ in question.blocks]
    for name in (question.theme[0], *_needing_first(packages, scope, names)):
        deciding.improve(name)
    deciding.complete((question.theme[0], *names))
    for name in sorted(scope.chosen & deciding.fit.mapping.keys() | {PHP}):
        deciding.improve(name)
    return deciding.fit


def present(
    packages: Packages, fit: Fit, asks: Iterable[Ask], *, firmly: bool = False
) -> dict[str, str]:
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


@dataclass(slots=True)
class _Deciding:
    """What was decided so far (`asks`) and a set that has it (`fit`)."""

    packages: Packages
    scope: Scope
    asks: tuple[Ask, ...]
    fit: Fit
    chosen: tuple[Ask, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.chosen = self.asks

    def improve(self, name: str) -> None:
        """Decide on the best candidate of a package that is certainly there."""
        known = [ask for ask in self.asks if ask.name == name]
        for candidate in usable(self.packages, self.scope, name):
            if self.fit.mapping[name] is candidate or (
                all(ask.accepts(candidate) for ask in known)
                and self._try(Ask(name, "pinned", candidate.version))
            ):
                break
        self.asks = (*self.asks, Ask(name, "pinned", self.fit.mapping[name].version))

    def improve_needed(self, name: str) -> None:
        """Decide on the best candidate of a package with which it is still needed, if any is."""
        for candidate in usable(self.packages, self.scope, name):
            found = search(
                self.packages, self.scope, (*self.asks, Ask(name, "pinned", candidate.version))
            )
            if isinstance(found, Fit) and name in present(self.packages, found, self.chosen):
                self.asks = (*self.asks, Ask(name, "kept", candidate.version))
                self.fit = found
                return

    def change_little(self, question: Question) -> None:
        """Decide which locked versions change, and which blocks come in, as few as possible."""
        wishes = tuple(self._wishes(question))
        granted, self.fit = self._granted(wishes)
        self.asks = (*self.asks, *granted)

    def complete(self, names: Sequence[str]) -> None:
        """Decide on everything that the decided need, and on what that needs."""
        there = dict.fromkeys(names)
        queue = list(there)
        several: list[Ask] = []
        seen: set[str] = set()
        while queue or several:
            if queue:
                for ask in self.packages.asked_by(self.fit.mapping[queue.pop(0)]):
                    if ask.kind == "virtual" and ask.name not in seen:
                        seen.add(ask.name)
                        several.append(ask)
                    elif not ask.is_conditional and ask.kind != "virtual":
                        self._join(ask.name, there, queue)
                continue
            ask = several.pop(0)
            self._choose(ask, there)
            self._join(self.fit.mapping[ask.name].choice, there, queue)

    def _join(self, name: str, there: dict[str, None], queue: list[str]) -> None:
        if name not in there and name not in {PHP, WORDPRESS, WP_CLI}:
            there[name] = None
            self.improve(name)
            queue.append(name)

    def _choose(self, ask: Ask, there: Mapping[str, None]) -> None:
        """Decide which of several blocks meets a requirement."""
        if ask.requirement is None:
            raise TypeError(ask)
        options = sorted(
            options_for(self.packages, self.scope, ask.requirement),
            key=lambda name: (name not in there, name not in self.scope.locked),
        )
        for option in options:
            pinned = Ask(ask.name, "pinned", option, requirement=ask.requirement, asker=ask.asker)
            if self.fit.mapping[ask.name].choice == option or self._try(pinned):
                self.asks = (*self.asks, pinned)
                return

    def _try(self, ask: Ask) -> bool:
        found = search(self.packages, self.scope, (*self.asks, ask))
        if isinstance(found, Misfit):
            return False
        self.fit = found
        return True

    def _wishes(self, question: Question) -> Iterator[Ask]:
        """Yield every wish that nothing changes, those first that are given up first."""
        kept = {
            name: version
            for name, version in question.kept
            if any(c.version == version for c in usable(self.packages, self.scope, name))
        }
        last = (WP_CLI, PHP, WORDPRESS)
        blocks = [name for name in kept if name not in last and not name.startswith(_LANGUAGE)]
        locked = dict(question.locked)
        yield from (Ask(name, "kept", kept[name]) for name in sorted(blocks))
        for name in sorted(self._within_reach() - self.scope.chosen - locked.keys()):
            yield Ask(name, "absent")
        for name in (*(name for name in sorted(kept) if name.startswith(_LANGUAGE)), *last):
            if name in kept:
                yield Ask(name, "kept", kept[name])

    def _within_reach(self) -> set[str]:
        """Return every block that some release of a chosen one could bring in."""
        if not self.scope.may_add:
            return set()
        found = set(self.scope.chosen)
        queue = sorted(found)
        for name in queue:
            for candidate in usable(self.packages, self.scope, name):
                for ask in self.packages.asked_by(candidate):
                    new = set(_names_in(ask)) - found - {PHP}
                    if ask.requirement is not None and ask.requirement.function is not None:
                        new = set(options_for(self.packages, self.scope, ask.requirement)) - found
                    found |= new
                    queue += sorted(new)
        return found

    def _granted(self, wishes: tuple[Ask, ...]) -> tuple[tuple[Ask, ...], Fit]:
        """Return as many wishes as can be granted together, and a set that has them.

        Any set of wishes that cannot be granted together has to lose one; so the fewest to give up
        are the smallest that have one of each such set. Those sets are found as they are needed.
        """
        if all(wish.accepts(self._found(wish.name)) for wish in wishes):
            return wishes, self.fit
        clashes: list[frozenset[Ask]] = []
        while True:
            given_up = _fewest_of_each(wishes, clashes)
            rest = tuple(wish for wish in wishes if wish not in given_up)
            found = search(self.packages, self.scope, (*self.asks, *rest))
            if isinstance(found, Fit):
                return rest, found
            clashes.append(frozenset(self._clash_in(rest)))

    def _found(self, name: str) -> Candidate:
        return self.fit.mapping.get(name, self.packages.absence(name))

    def _clash_in(self, wishes: tuple[Ask, ...]) -> tuple[Ask, ...]:
        """Return wishes that cannot be granted together, and could be without any one of them."""
        clash = wishes
        for wish in reversed(wishes):
            fewer = tuple(other for other in clash if other is not wish)
            if isinstance(search(self.packages, self.scope, (*self.asks, *fewer)), Misfit):
                clash = fewer
        return clash


def _fewest_of_each(wishes: Sequence[Ask], clashes: Sequence[frozenset[Ask]]) -> frozenset[Ask]:
    """Return the fewest wishes that have one of each clash, of several the first in order."""
    certain = frozenset(one for clash in clashes if len(clash) == 1 for one in clash)
    others = [clash for clash in clashes if not clash & certain]
    among = [wish for wish in wishes if any(wish in clash for clash in others)]
    for count in range(len(others) + 1):
        for picked in itertools.combinations(among, count):
            if all(clash.intersection(picked) for clash in others):
                return certain | frozenset(picked)
    raise TypeError(clashes)


def _names_in(ask: Ask) -> tuple[str, ...]:
    if ask.is_conditional:
        return ()
    if ask.requirement is not None:
        return ask.requirement.any_of
    return (ask.name,)


def _needing_first(packages: Packages, scope: Scope, names: Iterable[str]) -> Iterator[str]:
    """Yield names so that what needs another comes before it, where that is possible."""
    left = sorted(names)
    needs = {
        name: {
            needed
            for candidate in usable(packages, scope, name)
            for ask in packages.asked_by(candidate)
            for needed in _needed_by(packages, ask)
        }
        - {name}
        for name in left
    }
    while left:
        free = [name for name in left if not any(name in needs[other] for other in left)]
        first = (free or left)[0]
        left.remove(first)
        yield first


def _needed_by(packages: Packages, ask: Ask) -> tuple[str, ...]:
    if ask.requirement is not None and ask.requirement.function is not None:
        return packages.providers.get(ask.requirement.function, ())
    return _names_in(ask)
