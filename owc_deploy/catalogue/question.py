"""What a manifest asks of the catalogue, and what can be refused before any search."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from owc_deploy.catalogue.errors import Refusal
from owc_deploy.catalogue.packages import (
    PHP,
    WORDPRESS,
    WP_CLI,
    Ask,
    Candidate,
    Packages,
    language_name,
    php_candidates,
)
from owc_deploy.catalogue.search import Scope, usable
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import BlockChoice, Channel, Lock, Manifest, Server, ThemeChoice

_SHOWN = 8
_BLOCK_KINDS = frozenset({"plugin", "mu-plugin"})


@dataclass(frozen=True, slots=True)
class Question:
    """All of a manifest and its server that the answer depends on, and nothing else.

    `locked` is everything that the site has, by name. Of that `kept` stays where it can, `renewed`
    are the names to bring to the newest, and `held` those that may not move, each with the reason.
    `channels` are those that blocks have for themselves.
    """

    environment: str
    php: str
    wordpress: str
    theme: tuple[str, str]
    locale: str
    may_add: bool
    blocks: tuple[tuple[str, str], ...]
    php_versions: tuple[str, ...]
    channel: Channel = "stable"
    channels: tuple[tuple[str, Channel], ...] = ()
    locked: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    renewed: frozenset[str] = frozenset()
    held: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        server: Server,
        *,
        previous: Lock | None = None,
        only: frozenset[str] = frozenset(),
        upgrade: bool = False,
        today: date | None = None,
    ) -> Question:
        """Take from a manifest, its server and its lock what matters; see `resolve`."""
        locked = _locked(previous)
        choices: tuple[ThemeChoice | BlockChoice, ...] = (manifest.theme, *manifest.blocks)
        held = {
            choice.name: str(choice.hold)
            for choice in choices
            if choice.hold is not None and choice.name in locked
            if today is None or not choice.hold.is_over(today)
        }
        kept = {} if upgrade else {n: v for n, v in locked.items() if n not in only or n in held}
        return cls(
            environment=manifest.environment,
            php=manifest.php,
            wordpress=manifest.wordpress,
            theme=(manifest.theme.name, manifest.theme.version),
            locale=manifest.locale,
            may_add=manifest.dependencies == "add",
            blocks=tuple(sorted((block.name, block.version) for block in manifest.blocks)),
            php_versions=tuple(sorted(server.php_versions)),
            channel=manifest.channel,
            channels=tuple(sorted((c.name, c.channel) for c in choices if c.channel is not None)),
            locked=tuple(sorted(locked.items())),
            kept=tuple(sorted(kept.items())),
            renewed=frozenset() if upgrade or not locked else only - frozenset(held),
            held=tuple(sorted(held.items())),
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
            locked=dict(self.locked),
            first=dict(self.kept),
            held=dict(self.held),
            beta=None
            if self.channel == "beta"
            else frozenset(name for name, channel in self.channels if channel == "beta"),
            not_beta=frozenset(name for name, channel in self.channels if channel == "stable"),
        )


def _locked(previous: Lock | None) -> dict[str, str]:
    if previous is None:
        return {}
    return {PHP: previous.php, **{item.name: item.version for item in previous.artefacts}}


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
        yield from _no_release(packages, question, ("wordpress",), WORDPRESS, question.wordpress)
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
        yield from _no_release(packages, question, version_place, name, constraint)


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
    packages: Packages, question: Question, place: tuple[str, ...], name: str, constraint: str
) -> Iterator[Refusal]:
    asked, scope = Ask(name, "chosen", constraint), question.scope()
    may_be = usable(packages, scope, name)
    if any(asked.accepts(candidate) for candidate in may_be):
        return
    if name in scope.held:
        yield _held_elsewhere(scope, place, name, constraint, may_be)
        return
    versions = [candidate.version for candidate in may_be]
    pinned = parse_constraint(constraint).pinned
    for candidate in packages.withdrawn[name]:
        if pinned in candidate.versions and candidate.release is not None:
            locked = scope.locked.get(name) == candidate.version
            keep = ", or keep the locked one for now: `hold: {reason: ...}`" if locked else ""
            yield Refusal(
                place,
                "withdrawn",
                f"{name} is pinned to {candidate.version}, which is withdrawn "
                f"({candidate.release.withdrawn}).",
                f"Write `{caret(versions)}`{keep}." if versions else "Choose another block.",
            )
            return
    betas = [c.version for c in packages.candidates[name] if c.is_beta and asked.accepts(c)]
    holds = f"the catalogue holds {listed(versions)}" if versions else "no release may be chosen"
    gone = [
        f"{candidate.version} was withdrawn ({candidate.release.withdrawn})"
        for candidate in packages.withdrawn[name]
        if candidate.release is not None
    ]
    also = "".join(f"; {listed(items)}" for items in ([in_beta_only(betas)], gone) if any(items))
    advice = [f"Write `{caret(versions)}`"] if versions else []
    advice += [f"{'take' if advice else 'Take'} the beta: {with_beta(name, constraint)}"] * any(
        betas
    )
    advice += ["add the release to the catalogue"] * bool(versions and not betas)
    yield Refusal(
        place,
        "no-release",
        f"no {'stable ' if betas else ''}release of {name} is {constraint}: {holds}{also}.",
        f"{', or '.join(advice)}." if advice else "",
    )


def _held_elsewhere(
    scope: Scope,
    place: tuple[str, ...],
    name: str,
    constraint: str,
    may_be: tuple[Candidate, ...],
) -> Refusal:
    held = f"{name} is held at {scope.locked[name]} ({scope.held[name]})"
    if not may_be:
        return Refusal(
            place,
            "held",
            f"{held}, and the catalogue does not hold that release.",
            "Take the hold away, or add the release to the catalogue.",
        )
    return Refusal(
        place,
        "held",
        f"{held}, and the manifest asks {constraint}.",
        f"Write `{caret([scope.locked[name]])}`, or take the hold away.",
    )


def in_beta_only(versions: Sequence[str]) -> str:
    """Say that some releases are there in beta only, `""` for none."""
    if not versions:
        return ""
    return f"{listed(list(versions))} {'is' if len(versions) == 1 else 'are'} there in beta only"


def with_beta(name: str, constraint: str) -> str:
    """Return what to write in a manifest to take betas of one block."""
    if name == WORDPRESS:
        return "`channel: beta` for the whole site"
    return f'`{name}: {{version: "{constraint}", channel: beta}}`'


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
