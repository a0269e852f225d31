"""What a rollout is to bring: which sites, and which releases they may get. Pure.

An aim narrows the catalogue to what is wanted of a block, so that the resolver decides everything
else as always; what comes out of it are locks, and a rollout brings sites to their locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from owc_deploy.catalogue.models import BlockRelease, Catalogue
from owc_deploy.catalogue.relock import LockChange
from owc_deploy.catalogue.resolve import advisories_of
from owc_deploy.errors import UsageError
from owc_deploy.fleet.constraints import parse_constraint, parse_version
from owc_deploy.fleet.models import Fleet, LockedArtefact
from owc_deploy.store.models import RecordedFinding


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted: `blocks` move on `sites`, to what `catalogue` still offers of them.

    `cause` says so in words. Without `blocks` the locks stay as they are. `is_upgrade`: no block
    may go back to an older release, whose code does not know the database of the newer one. `seen`
    is what a saved plan was made from, see `Plan.bound_to`.
    """

    cause: str
    sites: frozenset[str]
    catalogue: Catalogue
    blocks: frozenset[str] = frozenset()
    is_upgrade: bool = False
    seen: Mapping[str, str] = field(default_factory=dict)

    def going_back(self, changes: Iterable[LockChange]) -> tuple[LockChange, ...]:
        """Return which of a lock's changes would bring a block back that may not go back."""
        return tuple(
            change
            for change in changes
            if self.is_upgrade
            and change.name in self.blocks
            and change.before
            and change.after
            and parse_version(change.after) < parse_version(change.before)
        )


def to_locks(fleet: Fleet, catalogue: Catalogue, sites: Iterable[str]) -> Aim:
    """Bring these sites, or all, to what their locks say."""
    named = frozenset(sites) or frozenset(fleet.manifests)
    return Aim("what manifests and locks say", named, catalogue)


def to_block(
    fleet: Fleet, catalogue: Catalogue, sites: frozenset[str], block: str, constraint: str
) -> Aim:
    """Move a block to a release that keeps to a Composer constraint, on the sites that have it.

    Raises UsageError when no site has it, or no release keeps to the constraint.
    """
    try:
        wanted = parse_constraint(constraint)
    except ValueError as error:
        raise UsageError(
            f"--version: {error}", hint=f"owc-deploy rollout start --block {block} --version '^1.2'"
        ) from error
    concerned = _sites_with(fleet, sites, lambda artefact: artefact.name == block)
    if not concerned:
        raise UsageError(f"no site has {block} locked", hint="owc-deploy outdated")
    _require_listed(catalogue, block)
    narrowed = _without(
        catalogue, block, lambda release: not wanted.allows(parse_version(release.version))
    )
    if not narrowed.blocks[block].releases:
        raise UsageError(
            f"the catalogue has no release of {block} that is {constraint}",
            hint=f"owc-deploy catalogue list {block}",
        )
    return Aim(f"{block} {constraint}", concerned, narrowed, frozenset({block}), is_upgrade=True)


def off_withdrawn(fleet: Fleet, catalogue: Catalogue, sites: frozenset[str], block: str) -> Aim:
    """Move a block off its withdrawn releases, on the sites that have one locked.

    Raises UsageError when no site has.
    """
    withdrawn = {
        release.sha256
        for release in (catalogue.blocks[block].releases if block in catalogue.blocks else ())
        if release.withdrawn is not None
    }
    concerned = _sites_with(
        fleet, sites, lambda artefact: artefact.name == block and artefact.sha256 in withdrawn
    )
    if not concerned:
        raise UsageError(f"no site has a withdrawn release of {block} locked")
    narrowed = _without(catalogue, block, lambda release: release.withdrawn is not None)
    return Aim(f"{block} off its withdrawn releases", concerned, narrowed, frozenset({block}))


def off_advisory(
    fleet: Fleet,
    catalogue: Catalogue,
    sites: frozenset[str],
    advisory: str,
    found: Iterable[RecordedFinding],
) -> Aim:
    """Move the blocks that a vulnerability is in to releases without it, where it was found.

    `found` is what `audit` saw; advisories of the catalogue itself are looked up here.
    Raises UsageError when no site is known to have it.
    """
    seen: dict[str, set[str]] = {}
    for finding in found:
        if finding.is_known_as(advisory) and not finding.patched_at:
            seen.setdefault(finding.block, set()).add(finding.version)

    def has_it(name: str, version: str) -> bool:
        known = advisories_of(catalogue, name, version)
        return version in seen.get(name, ()) or any(a.identifier == advisory for a in known)

    concerned = _sites_with(fleet, sites, lambda artefact: has_it(artefact.name, artefact.version))
    if not concerned:
        raise UsageError(
            f"no site's lock holds anything known to have {advisory}", hint="owc-deploy audit"
        )
    blocks = frozenset(
        artefact.name
        for site in concerned
        for artefact in fleet.locks[site].artefacts
        if has_it(artefact.name, artefact.version)
    )
    narrowed, fixed = catalogue, set()
    for block in blocks & catalogue.blocks.keys():
        without = _without(catalogue, block, lambda r, b=block: has_it(b, r.version))  # type: ignore[misc]
        if without.blocks[block].releases:
            narrowed = replace(narrowed, blocks={**narrowed.blocks, block: without.blocks[block]})
            fixed.add(block)
    unfixed = ", ".join(sorted(blocks - fixed))
    if not fixed:
        raise UsageError(
            f"the catalogue has no release of {unfixed} without {advisory}",
            hint=f"owc-deploy mitigate add --block {min(blocks)} --advisory {advisory}"
            ' --reason "..." closes it until there is one',
        )
    cause = f"the fix of {advisory} in {', '.join(sorted(fixed))}"
    return Aim(
        f"{cause}; there is none yet in {unfixed}" if unfixed else cause,
        _sites_with(fleet, concerned, lambda a: a.name in fixed and has_it(a.name, a.version)),
        narrowed,
        frozenset(fixed),
    )


def _sites_with(
    fleet: Fleet, sites: frozenset[str], has: Callable[[LockedArtefact], bool]
) -> frozenset[str]:
    return frozenset(
        site
        for site, lock in fleet.locks.items()
        if (not sites or site in sites) and any(has(artefact) for artefact in lock.artefacts)
    )


def _require_listed(catalogue: Catalogue, block: str) -> None:
    """Raise UsageError where a block is locked that the catalogue does not list any more."""
    if block not in catalogue.blocks:
        raise UsageError(
            f"the catalogue has no {block}, so nothing can take its place",
            hint="owc-deploy catalogue list",
        )


def _without(
    catalogue: Catalogue, block: str, unwanted: Callable[[BlockRelease], bool]
) -> Catalogue:
    listed = catalogue.blocks[block]
    kept = tuple(release for release in listed.releases if not unwanted(release))
    return replace(catalogue, blocks={**catalogue.blocks, block: replace(listed, releases=kept)})
