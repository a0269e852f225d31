"""What `validate` can say of a fleet with the catalogue at hand, without any server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from owc_deploy.catalogue.errors import Refusal, ResolutionError
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.errors import Problem
from owc_deploy.fleet.documents import Finding, read_bytes, to_problem
from owc_deploy.fleet.locks import lock_file
from owc_deploy.fleet.models import Fleet, Lock, Manifest


def problems_of(fleet: Fleet, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Return every choice the catalogue cannot give, and locks that name what it does not hold.

    Sorted; files are relative to the fleet's folder, as in all other problems.
    """
    findings: list[Finding] = []
    for site, manifest in fleet.manifests.items():
        findings += (_finding(manifest, refusal) for refusal in _refusals(fleet, catalogue, site))
    for lock in fleet.locks.values():
        findings += _lock_findings(lock, catalogue)
    return tuple(sorted(_located(fleet, finding) for finding in findings))


def places_of(fleet: Fleet, site: str, refusals: Iterable[Refusal]) -> tuple[str, ...]:
    """Return for each refusal where in the site's manifest to look: `sites/heusden.yml:12`."""
    manifest = fleet.manifests[site]
    located = (_located(fleet, _finding(manifest, refusal)) for refusal in refusals)
    return tuple(f"{problem.file}:{problem.line}" for problem in located)


def _refusals(fleet: Fleet, catalogue: Catalogue, site: str) -> tuple[Refusal, ...]:
    manifest = fleet.manifests[site]
    server = fleet.servers[manifest.servers.web[0]]
    try:
        today = datetime.now(UTC).date()
        resolve(manifest, server, catalogue, previous=fleet.locks.get(site), today=today)
    except ResolutionError as error:
        return error.refusals
    return ()


def _finding(manifest: Manifest, refusal: Refusal) -> Finding:
    # `validate` says "write:" before a suggestion; here the sentence goes on from there.
    suggestion = refusal.suggestion.removeprefix("Write ").removesuffix(".")
    suggestion = suggestion[:1].lower() + suggestion[1:]
    message = refusal.message.removesuffix(".")
    return Finding(manifest.source, refusal.path, refusal.reference, message, suggestion)


def _lock_findings(lock: Lock, catalogue: Catalogue) -> Iterator[Finding]:
    places = {lock.wordpress: ("wordpress",), lock.wp_cli: ("wp_cli",), lock.theme: ("theme",)}
    if lock.language is not None:
        places[lock.language] = ("language",)
    located = [*places.items(), *((b, ("blocks", i)) for i, b in enumerate(lock.blocks))]
    for artefact, place in located:
        block = catalogue.blocks.get(artefact.name)
        if block is None or not any(
            (release.version, release.sha256) == (artefact.version, artefact.sha256)
            for release in block.releases
        ):
            yield Finding(
                lock_file(lock.site),
                place,
                "not-in-catalogue",
                f"the catalogue does not hold {artefact.name} {artefact.version} with this hash",
                f"owc-deploy lock {lock.site}",
            )


def _located(fleet: Fleet, finding: Finding) -> Problem:
    raw = read_bytes(fleet.root, finding.file)
    # The file was read a moment ago; if it is gone by now its line no longer matters.
    return to_problem(finding, b"" if isinstance(raw, Problem) else raw)
