"""What a manifest asks of the catalogue, and what can be refused before any search."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from owc_deploy.catalogue.errors import Refusal
from owc_deploy.catalogue.packages import (
    PHP,
    WORDPRESS,
    WP_CLI,
    Ask,
    Packages,
    language_name,
    php_candidates,
)
from owc_deploy.catalogue.search import Scope
from owc_deploy.fleet.constraints import parse_version
from owc_deploy.fleet.models import Manifest, Server

_SHOWN = 8
_BLOCK_KINDS = frozenset({"plugin", "mu-plugin"})


@dataclass(frozen=True, slots=True)
class Question:
    """All of a manifest and its server that the answer depends on, and nothing else.

    `kept` are locked versions to stay at, by name; `renewed` the names to bring to the newest.
    """

    environment: str
    php: str
    wordpress: str
    theme: tuple[str, str]
    locale: str
    may_add: bool
    blocks: tuple[tuple[str, str], ...]
    php_versions: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()
    renewed: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        server: Server,
        kept: tuple[tuple[str, str], ...],
        renewed: frozenset[str],
    ) -> Question:
        """Take from a manifest and its server what matters."""
        return cls(
            environment=manifest.environment,
            php=manifest.php,
            wordpress=manifest.wordpress,
            theme=(manifest.theme.name, manifest.theme.version),
            locale=manifest.locale,
            may_add=manifest.dependencies == "add",
            blocks=tuple(sorted((block.name, block.version) for block in manifest.blocks)),
            php_versions=tuple(sorted(server.php_versions)),
            kept=kept,
            renewed=renewed,
        )

    def scope(self) -> Scope:
        """Return what a search for this question may choose from."""
        names = {name for name, _ in self.blocks} | {WORDPRESS, WP_CLI, self.theme[0]}
        language = language_name(self.locale)
        return Scope(
            php=php_candidates(self.php_versions),
            chosen=frozenset(names | ({language} if language else set())),
            may_add=self.may_add,
            environment=self.environment,
            first=dict(self.kept),
        )


def chosen_asks(question: Question) -> tuple[Ask, ...]:
    """Return what the manifest itself asks."""
    language = language_name(question.locale)
    return (
        Ask(PHP, "chosen", question.php),
        Ask(WORDPRESS, "chosen", question.wordpress),
        Ask(WP_CLI, "chosen"),
        *((Ask(language, "chosen"),) if language else ()),
        Ask(question.theme[0], "chosen", question.theme[1]),
        *(Ask(name, "chosen", version) for name, version in question.blocks),
    )


def refusals_of(packages: Packages, question: Question) -> tuple[Refusal, ...]:
    """Return what is wrong with the manifest's choices one by one."""
    found = [
        *_platform_refusals(packages, question),
        *_block_refusals(packages, question, *question.theme, is_theme=True),
    ]
    for name, constraint in question.blocks:
        found += _block_refusals(packages, question, name, constraint, is_theme=False)
    return tuple(found)


def _platform_refusals(packages: Packages, question: Question) -> Iterator[Refusal]:
    asked = Ask(PHP, "chosen", question.php)
    if not any(asked.accepts(candidate) for candidate in php_candidates(question.php_versions)):
        offered = listed(question.php_versions) or "none"
        yield Refusal(
            ("php",),
            "no-php",
            f"the manifest asks PHP {question.php}, and its server offers {offered}.",
            "Choose one of those, or add the branch to owc_php_versions in servers.yml.",
        )
    if WORDPRESS not in packages.catalogue.blocks:
        yield Refusal(
            ("wordpress",),
            "no-wordpress",
            "the catalogue holds no WordPress.",
            "Add it: owc-deploy catalogue add SOURCE --name wordpress --kind core",
        )
    else:
        yield from _no_release(packages, ("wordpress",), WORDPRESS, question.wordpress)
    if not packages.candidates.get(WP_CLI):
        yield Refusal(
            (),
            "no-wp-cli",
            "the catalogue holds no WP-CLI, with which sites are installed.",
            "Add it: owc-deploy catalogue add SOURCE --name wp-cli --kind tool",
        )
    language = language_name(question.locale)
    if language and not packages.candidates.get(language):
        yield Refusal(
            ("locale",),
            "no-language",
            f"the catalogue holds no language files for {question.locale}.",
            f"Add them: owc-deploy catalogue add SOURCE --name {language} --kind language",
        )


def _block_refusals(
    packages: Packages, question: Question, name: str, constraint: str, *, is_theme: bool
) -> Iterator[Refusal]:
    place = ("theme", "name") if is_theme else ("blocks", name)
    block = packages.catalogue.blocks.get(name)
    if block is None:
        yield _unknown(packages, place, name, is_theme=is_theme)
        return
    if is_theme and block.kind != "theme":
        yield Refusal(
            place,
            "wrong-kind",
            f"{name} is a {block.kind}, not a theme.",
            f'Write it under blocks: `{name}: "{constraint}"`.',
        )
    elif not is_theme and block.kind not in _BLOCK_KINDS:
        where = {
            "theme": f"Write it under theme: `name: {name}`; a theme that it builds on is added "
            "by itself.",
            "core": "Its version is chosen with `wordpress`.",
            "language": "Languages are chosen with `locale`.",
            "tool": "It is added by itself.",
        }[block.kind]
        kind = "WordPress itself" if block.kind == "core" else f"a {block.kind}"
        yield Refusal(place, "wrong-kind", f"{name} is {kind}, not a block.", where)
    elif question.environment not in block.environments:
        allowed = " and ".join(block.environments)
        yield Refusal(
            place,
            "environment",
            f"{name} may not run on a site in {question.environment}, only in {allowed}.",
            f"Leave {name} out of this manifest.",
        )
    else:
        version_place = ("theme", "version") if is_theme else place
        yield from _no_release(packages, version_place, name, constraint)


def _unknown(packages: Packages, place: tuple[str, ...], name: str, *, is_theme: bool) -> Refusal:
    kinds = frozenset({"theme"}) if is_theme else _BLOCK_KINDS
    names = [block.name for block in packages.catalogue.blocks.values() if block.kind in kinds]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return Refusal(
        place,
        "unknown-block",
        f"the catalogue holds no {'theme' if is_theme else 'block'} called {name}.",
        f"Write `{close[0]}`, if that is meant."
        if close
        else "Look for its name with `owc-deploy catalogue list`, or add it to the catalogue.",
    )


def _no_release(
    packages: Packages, place: tuple[str, ...], name: str, constraint: str
) -> Iterator[Refusal]:
    asked = Ask(name, "chosen", constraint)
    if any(asked.accepts(candidate) for candidate in packages.candidates[name]):
        return
    block = packages.catalogue.blocks[name]
    versions = [candidate.version for candidate in packages.candidates[name]]
    holds = f"the catalogue holds {listed(versions)}" if versions else "no release may be chosen"
    withdrawn = [
        f"{release.version} was withdrawn ({release.withdrawn})"
        for release in block.releases
        if release.withdrawn is not None
    ]
    also = f"; {listed(withdrawn)}" if withdrawn else ""
    yield Refusal(
        place,
        "no-release",
        f"no release of {name} is {constraint}: {holds}{also}.",
        f"Write `{caret(versions)}`, or add the release to the catalogue." if versions else "",
    )


def caret(versions: Sequence[str]) -> str:
    """Return the constraint to suggest for the newest of these: `^3.9` for 3.9.3.

    `versions` stand newest first; a prerelease is only suggested where there is nothing else.
    """
    stable = [version for version in versions if not parse_version(version).is_prerelease]
    if not stable:
        return f"^{versions[0].removeprefix('v')}"
    return "^" + ".".join(stable[0].removeprefix("v").split("-")[0].split(".")[:2])


def listed(items: tuple[str, ...] | list[str]) -> str:
    """Join words for a sentence, leaving out what would make it unreadable."""
    shown = list(items[:_SHOWN])
    if len(items) > _SHOWN:
        shown.append(f"{len(items) - _SHOWN} more")
    return (
        shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""
    )
