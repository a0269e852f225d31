"""Every set that a small catalogue allows, and the one to prefer: written as the docs say it.

It shares nothing with the resolver but the models and the reading of constraints.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from owc_deploy.catalogue.models import BlockRelease, Catalogue, Requirement
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Manifest


def allows(constraint: str, version: str) -> bool:
    return parse_constraint(constraint).allows(parse_version(version))


@dataclass(frozen=True)
class Found:
    """One set: version by name, `wordpress` and `php` among them, and who meets which need."""

    versions: dict[str, str]
    choices: dict[tuple[str, int], str]


@dataclass
class Oracle:
    catalogue: Catalogue
    manifest: Manifest
    names: tuple[str, ...]
    php: tuple[str, ...]
    locked: dict[str, str] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.asked = {choice.name: choice for choice in self.manifest.blocks}
        self.held = {n for n, c in self.asked.items() if c.hold is not None and n in self.locked}
        self.left: list[Found] = []
        self.kept = {n: v for n, v in self.locked.items() if n not in self.renewed - self.held}

    def release(self, name: str, version: str) -> BlockRelease:
        return next(r for r in self.catalogue.blocks[name].releases if r.version == version)

    def ranked(self, name: str) -> list[str]:
        """Return the versions that may be chosen, best first."""
        if name == "php":
            best = sorted(self.php, key=parse_version, reverse=True)
            return sorted(best, key=lambda v: v != self.kept.get(name))
        block = self.catalogue.blocks[name]
        locked = self.locked.get(name)
        choice = self.asked.get(name)
        channel = (choice.channel if choice else None) or self.manifest.channel
        if self.manifest.environment not in block.environments:
            return []
        if name in self.held:
            return [r.version for r in block.releases if r.version == locked]
        may_be = [
            r
            for r in block.releases
            if r.withdrawn is None
            and (r.channel == "stable" or channel == "beta" or r.version == locked)
        ]

        def key(item: BlockRelease) -> tuple[bool, bool, bool]:
            affected = any(allows(a.affected, item.version) for a in block.advisories)
            far = (
                locked is not None
                and parse_version(item.version) > parse_version(locked)
                and not allows(item.updates_from, locked)
            )
            return (item.version != self.kept.get(name), far, affected)

        newest = sorted(may_be, key=lambda r: parse_version(r.version), reverse=True)
        return [r.version for r in sorted(newest, key=key)]

    def options(self, wanted: Requirement) -> list[str]:
        if wanted.function is not None:
            able = [
                name
                for name in sorted(self.names)
                if any(wanted.function in r.provides for r in self.catalogue.blocks[name].releases)
            ]
        else:
            able = list(wanted.any_of)
        named = [name for name in able if name in self.asked]
        if named or self.manifest.dependencies == "refuse":
            return named
        return [name for name in able if self.ranked(name)]

    def has(self, versions: dict[str, str], name: str, wanted: Requirement) -> bool:
        if name not in versions or not allows(wanted.version, versions[name]):
            return False
        return (
            wanted.function is None
            or wanted.function in self.release(name, versions[name]).provides
        )

    def fits(self, versions: dict[str, str]) -> bool:
        present = {n: self.release(n, versions[n]) for n in self.names if n in versions}
        trains = {r.train for r in present.values() if r.train}
        for name, item in present.items():
            if not allows(item.wordpress, versions["wordpress"]):
                return False
            if not (
                allows(item.php, versions["php"] + ".999") or allows(item.php, versions["php"])
            ):
                return False
            if any(
                c.block in versions and allows(c.version, versions[c.block]) for c in item.conflicts
            ):
                return False
            ridden = {r.train for r in self.catalogue.blocks[name].releases if r.train}
            if any(train in ridden and item.train != train for train in trains):
                return False
        return all(n in versions and allows(c.version, versions[n]) for n, c in self.asked.items())

    def every(self) -> Iterator[Found]:
        may_add = self.manifest.dependencies == "add"
        ways: list[list[str | None]] = [
            list(self.ranked(name))
            if name in self.asked
            else [None, *self.ranked(name)]
            if may_add
            else [None]
            for name in self.names
        ]
        cores = [v for v in self.ranked("wordpress") if allows(self.manifest.wordpress, v)]
        branches = [v for v in self.php if allows(self.manifest.php, v)]
        for *picked, core, branch in itertools.product(*ways, cores, branches):
            versions = {n: v for n, v in zip(self.names, picked, strict=True) if v is not None}
            versions |= {"wordpress": core, "php": branch}
            if self.fits(versions):
                yield from self.with_choices(versions)

    def with_choices(self, versions: dict[str, str]) -> Iterator[Found]:
        keys, ways = [], []
        for name in self.names:
            if name in versions:
                for index, wanted in enumerate(self.release(name, versions[name]).requires):
                    single = len(wanted.any_of) == 1
                    able = list(wanted.any_of) if single else self.options(wanted)
                    keys.append((name, index))
                    ways.append([other for other in able if self.has(versions, other, wanted)])
        for picked in itertools.product(*ways):
            choices = dict(zip(keys, picked, strict=True))
            there = set(self.asked)
            while True:
                more = {to for (name, _), to in choices.items() if name in there} - there
                if not more:
                    break
                there |= more
            if there == versions.keys() - {"wordpress", "php"}:
                yield Found(versions, choices)

    def best(self) -> Found | None:
        """Return the set to prefer: decision after decision, each as the earlier ones leave it."""
        self.left = list(self.every())
        if not self.left:
            return None
        self.improve("wordpress")
        for name in sorted(self.renewed - self.held - {"wordpress"}):
            self.improve(name)
        if self.kept:
            self.left = least(self.left, self.changes)
        for name in self.needing_first():
            self.improve(name)
        self.complete()
        self.improve("php")
        (found,) = self.left
        return found

    def improve(self, name: str) -> None:
        rank = {version: index for index, version in enumerate(self.ranked(name))}
        self.left = least(self.left, lambda found: rank[found.versions[name]])

    def complete(self) -> None:
        there = sorted(self.asked)
        queue, several = list(there), list[tuple[str, int]]()
        while queue or several:
            taken = [] if queue else [self.choose(several.pop(0), there)]
            if queue:
                name = queue.pop(0)
                item = self.release(name, self.left[0].versions[name])
                for index, wanted in enumerate(item.requires):
                    if len(wanted.any_of) == 1:
                        taken.append(wanted.any_of[0])
                    else:
                        several.append((name, index))
            for name in taken:
                if name not in there:
                    there.append(name)
                    self.improve(name)
                    queue.append(name)

    def choose(self, key: tuple[str, int], there: list[str]) -> str:
        name, index = key
        wanted = self.release(name, self.left[0].versions[name]).requires[index]
        options = sorted(self.options(wanted), key=lambda n: (n not in there, n not in self.locked))
        self.left = least(self.left, lambda found: options.index(found.choices[key]))
        return self.left[0].choices[key]

    def changes(self, found: Found) -> tuple[int, list[int]]:
        """Return how many wishes are not granted, and which, in the order of giving them up."""
        platforms = ("php", "wordpress")
        kept = {n: v for n, v in self.kept.items() if v in self.ranked(n)}
        reach = set(self.names) - self.asked.keys() - self.locked.keys()
        blocks = sorted(n for n in kept if n not in platforms)
        wishes = [*blocks, *sorted(reach), *(n for n in platforms if n in kept)]
        broken = [
            index
            for index, name in enumerate(wishes)
            if name in found.versions and (name in reach or found.versions[name] != kept[name])
        ]
        # The language files are those of WordPress: where one moves the other does.
        both = "wordpress" in kept and found.versions["wordpress"] != kept["wordpress"]
        return (len(broken) + both, broken)

    def needing_first(self) -> list[str]:
        needs: dict[str, set[str]] = {}
        for name in self.asked:
            needs[name] = set()
            for version in self.ranked(name):
                for wanted in self.release(name, version).requires:
                    needs[name] |= set(wanted.any_of) or {
                        other
                        for other in self.names
                        for r in self.catalogue.blocks[other].releases
                        if wanted.function in r.provides
                    }
        left, order = sorted(self.asked), []
        while left:
            free = [n for n in left if not any(n in needs[other] - {other} for other in left)]
            order.append((free or left)[0])
            left.remove(order[-1])
        return order

    def unclear(self, found: Found) -> bool:
        """Say whether a function is left to a block that is there for nothing else, of several."""
        firm = set(self.asked)
        queue = list(firm)
        for name in queue:
            for wanted in self.release(name, found.versions[name]).requires:
                if len(wanted.any_of) == 1 and wanted.any_of[0] not in firm:
                    firm.add(wanted.any_of[0])
                    queue.append(wanted.any_of[0])
        for (name, index), taken in found.choices.items():
            wanted = self.release(name, found.versions[name]).requires[index]
            settled = taken in firm or taken in self.locked
            if wanted.function is not None and not settled and len(self.options(wanted)) > 1:
                return True
        return False


def least(items: list[Found], key: Callable[[Found], Any]) -> list[Found]:
    lowest = min(key(item) for item in items)
    return [item for item in items if key(item) == lowest]
