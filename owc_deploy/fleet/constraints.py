"""Composer's version constraints, since that is what the authors of blocks write.

`parse_constraint("^3.18 || ~2.10.1").allows(parse_version("v3.18.1"))`. The rules, with every form
that is accepted and refused, are in docs/reference/constraints.md. Branches and stability flags are
refused: a catalogue holds releases only, so that what was tested is what is installed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from packaging.version import Version

__all__ = ["Constraint", "Version", "parse_constraint", "parse_version"]

# One fleet names some hundreds of versions; the bound only guards against a hostile document.
_REMEMBERED = 16_384
# Longer than any version or constraint in use; keeps a hostile document from costing anything.
_TEXT_LIMIT_CHARACTERS = 512

_NUMBERS = r"\d{1,12}(?:\.\d{1,12}){0,3}"
_SUFFIX = (
    r"(?:[._-]?(?P<{0}word>alpha|beta|rc|a|b|patch|pl|p|stable)"
    r"[._-]?(?P<{0}count>\d{{1,12}})?(?P<{0}build>-\d{{1,12}})?)?"
    r"(?:\+[0-9A-Za-z.-]+)?"
)
_VERSION = re.compile(rf"v?(?P<numbers>{_NUMBERS}){_SUFFIX.format('')}", re.IGNORECASE | re.ASCII)
_WILDCARD = re.compile(
    r"v?(?P<numbers>\d{1,12}(?:\.\d{1,12}){0,2})(?:\.[x*]){1,3}", re.IGNORECASE | re.ASCII
)
_ANYTHING = re.compile(r"v?[x*](?:\.[x*]){0,3}", re.IGNORECASE | re.ASCII)
_OPERATOR = re.compile(r"(?P<operator>\^|~|>=|<=|==|=|!=|<>|>|<)?(?P<operand>[^\s^~<>=!].*)")
_HYPHEN = re.compile(r"(?P<low>\S+) - (?P<high>\S+)")

_PACKAGING_WORDS = {"alpha": "a", "beta": "b", "patch": ".post", "pl": ".post", "p": ".post"}
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ALIASES = {"": "==", "=": "==", "<>": "!="}
_STABLE = 3
_STABILITY = {"a": 0, "b": 1, "rc": 2}
_OPEN_HYPHEN_NUMBERS = 2


@dataclass(frozen=True, slots=True)
class _Bound:
    """One comparison: `comparison` is a key of `_COMPARE`."""

    comparison: str
    version: Version

    def allows(self, version: Version) -> bool:
        return _COMPARE[self.comparison](version, self.version)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A set of versions, as written in `text`.

    `alternatives` are joined by "or", the bounds within one by "and". `minimum_stability` is 0 for
    alpha, 1 for beta, 2 for RC and 3 for stable: prereleases less stable than what the text itself
    names are not allowed.
    """

    text: str
    alternatives: tuple[tuple[_Bound, ...], ...]
    minimum_stability: int = _STABLE

    def allows(self, version: Version) -> bool:
        """Say whether `version` is in the set."""
        if version.is_prerelease and _stability(version) < self.minimum_stability:
            return False
        return any(all(bound.allows(version) for bound in bounds) for bounds in self.alternatives)

    @property
    def pinned(self) -> Version | None:
        """The one version that it allows, where it is written as that: `3.9.3` or `=3.9.3`."""
        if len(self.alternatives) != 1 or len(self.alternatives[0]) != 1:
            return None
        (bound,) = self.alternatives[0]
        return bound.version if bound.comparison == "==" else None

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=_REMEMBERED)
def parse_version(text: str) -> Version:
    """Read a version as blocks write them: `3.18.1`, `v2.0.7.1`, `6.9-RC1`, `1.0-beta2`.

    One to four numbers, an optional `v` in front and an optional alpha, beta, RC or patch behind.
    `1.2` equals `1.2.0`.

    Raises ValueError, saying what to write, for anything else.
    """
    stripped = text.strip()
    match = _VERSION.fullmatch(stripped) if len(stripped) <= _TEXT_LIMIT_CHARACTERS else None
    if match is None:
        raise ValueError(
            f"`{_shortened(stripped)}` is not a version: write one to four numbers, such as "
            "`3.18.1` or `6.9-RC1`"
        )
    return _version_of(match)


@lru_cache(maxsize=_REMEMBERED)
def parse_constraint(text: str) -> Constraint:
    """Read a constraint in Composer's syntax, such as `^3.18`, `~2.10`, `>=2.10.1 <3` or `6.9.*`.

    Raises ValueError, saying what to write, for what is not one.
    """
    stripped = text.strip()
    if not stripped:
        raise ValueError("a constraint cannot be empty: write `*` for any version")
    if len(stripped) > _TEXT_LIMIT_CHARACTERS:
        raise ValueError(f"a constraint of {len(stripped)} characters: write a range, as `^3.18`")
    _refuse_what_is_not_a_release(stripped)
    alternatives = tuple(
        _alternative(part, whole=stripped) for part in re.split(r"\s*\|\|?\s*", stripped)
    )
    named = [
        _stability(bound.version)
        for bounds in alternatives
        for bound in bounds
        if bound.version.pre is not None
    ]
    return Constraint(stripped, alternatives, min(named, default=_STABLE))


def _alternative(text: str, *, whole: str) -> tuple[_Bound, ...]:
    # An operator may stand apart from its version (`>= 2.10`); joined up, spaces only separate.
    joined = re.sub(r"([\^~<>=!])\s+(?=[v\d*x])", r"\1", text, flags=re.IGNORECASE | re.ASCII)
    joined = re.sub(r"\s+-\s+", " - ", joined)
    terms = re.split(r"(?<! -)\s*,\s*|(?<! -)\s+(?!- )", joined)
    if not all(terms):
        raise ValueError(
            f"`{_shortened(whole)}` has nothing between two separators: write as `>=2.10 <3 || ^4`"
        )
    return tuple(bound for term in terms for bound in _term(term, whole=whole))


def _term(term: str, *, whole: str) -> tuple[_Bound, ...]:
    hyphen = _HYPHEN.fullmatch(term)
    if hyphen:
        return _hyphen_range(hyphen["low"], hyphen["high"], whole=whole)
    if _ANYTHING.fullmatch(term):
        return ()
    match = _OPERATOR.fullmatch(term)
    sign, operand = (match["operator"] or "", match["operand"]) if match else ("", term)
    wildcard = _WILDCARD.fullmatch(operand)
    if wildcard and not sign:
        numbers = _numbers(wildcard["numbers"])
        return _from_until(_lowest(numbers), _raised(numbers, len(numbers)))
    if wildcard or _ANYTHING.fullmatch(operand):
        plain = wildcard["numbers"] if wildcard else "1.2"
        raise ValueError(
            f"`{_shortened(term)}` mixes a wildcard with an operator: write `{sign}{plain}` or "
            f"`{plain}.*`"
        )
    parsed = _VERSION.fullmatch(operand)
    if parsed is None:
        raise ValueError(
            f"`{_shortened(term)}` in `{_shortened(whole)}` is not a version constraint: write one "
            "such as `^3.18`, `~2.10`, `>=2.10.1 <3` or `6.9.*`"
        )
    return _bounds(sign, parsed)


def _bounds(sign: str, match: re.Match[str]) -> tuple[_Bound, ...]:
    version = _version_of(match)
    numbers = _numbers(match["numbers"])
    # Composer reads a bound without a suffix as including (`>=`) or excluding (`<`) prereleases
    # of that very version: `<2.0` does not let 2.0-beta1 in.
    edge = version if match["word"] else _lowest(numbers)
    if sign == "^":
        kept = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
        return _from_until(edge, _raised(numbers, min(kept, 3)))
    if sign == "~":
        return _from_until(edge, _raised(numbers, max(1, len(numbers) - 1)))
    comparison = _ALIASES.get(sign, sign)
    return (_Bound(comparison, edge if comparison in {">=", "<"} else version),)


def _hyphen_range(low_text: str, high_text: str, *, whole: str) -> tuple[_Bound, ...]:
    low, high = _VERSION.fullmatch(low_text), _VERSION.fullmatch(high_text)
    if low is None or high is None:
        raise ValueError(
            f"`{_shortened(whole)}` is not a range: write two versions, as `1.0 - 2.0`"
        )
    (lower,) = _bounds(">=", low)
    numbers = _numbers(high["numbers"])
    if len(numbers) > _OPEN_HYPHEN_NUMBERS or high["word"]:
        return (lower, _Bound("<=", _version_of(high)))
    # A partial upper version includes all its releases: `1.0 - 2.0` reaches to just below 2.1.
    return (lower, _Bound("<", _raised(numbers, len(numbers))))


def _from_until(low: Version, high: Version) -> tuple[_Bound, ...]:
    return (_Bound(">=", low), _Bound("<", high))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def _raised(numbers: tuple[int, ...], places: int) -> Version:
    """Return the edge below the next version when only the first `places` numbers count."""
    return _lowest((*numbers[: places - 1], numbers[places - 1] + 1))


def _lowest(numbers: tuple[int, ...]) -> Version:
    """Return what sorts just below every prerelease of this version."""
    return Version(".".join(str(number) for number in numbers) + ".dev0")


def _version_of(match: re.Match[str]) -> Version:
    word = (match["word"] or "").lower()
    if word in {"", "stable"}:
        return Version(match["numbers"])
    suffix = f"{_PACKAGING_WORDS.get(word, word)}{match['count'] or '0'}"
    # WordPress names its nightly builds 6.9-alpha-60093: newer than the alpha itself.
    build = f".post{match['build'][1:]}" if match["build"] and ".post" not in suffix else ""
    return Version(f"{match['numbers']}{suffix}{build}")


def _stability(version: Version) -> int:
    return _STABILITY[version.pre[0]] if version.pre else _STABLE


def _refuse_what_is_not_a_release(text: str) -> None:
    if re.search(r"(?:^|[\s,|])dev-|[.\dx]-dev\b|(?:^|\s)(?:master|main|trunk|latest)$", text):
        raise ValueError(
            f"`{_shortened(text)}` names a branch, and a catalogue holds releases only: write a "
            "version such as `^1.2`, or `*` for the newest"
        )
    if "@" in text:
        raise ValueError(
            f"`{_shortened(text)}` holds a stability flag: write it without `@...`, and name the "
            "prerelease where one is wanted, as `^2.0-beta1`"
        )
    if "#" in text:
        raise ValueError(
            f"`{_shortened(text)}` names a commit: the lock pins the exact artefact; write a "
            "version such as `^1.2`"
        )
    if re.search(r"\sas\s", text):
        raise ValueError(
            f"`{_shortened(text)}` holds an alias: write only the version, without `as`"
        )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  a line in a terminal
