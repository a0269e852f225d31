"""What a site is made of, as a CycloneDX bill of materials.

The format is CycloneDX 1.7. Property names that begin with `cdx:` are from its property taxonomy,
which wants ISO 8601 dates for milestones; those that begin with `owc:` are ours.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

from owc_deploy.catalogue.models import Block, BlockRelease, Catalogue

END_OF_GUARANTEE = "cdx:lifecycle:milestone:endOfGuaranteedSupport"


def site_sbom(
    specification: Mapping[str, Any],
    catalogue: Catalogue,
    *,
    release_id: str,
    made_at: datetime,
    is_live: bool,
) -> str:
    """Return the CycloneDX JSON of one release of one site.

    `specification` is what the release was built from, live on a server or as a lock asks for it.
    What the catalogue says of each artefact is found by its hash; an artefact that it does not list
    any more is there without licence, source and guarantee. The same release and catalogue give the
    same text.
    """
    phase = LifecyclePhase.OPERATIONS if is_live else LifecyclePhase.BUILD
    site = Component(
        name=specification["site"],
        version=release_id,
        type=ComponentType.APPLICATION,
        bom_ref=f"site/{specification['site']}",
        external_references=[
            ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(specification["url"]))
        ],
        properties=[Property(name="owc:environment", value=specification["environment"])],
    )
    parts = {name: _component(name, part, catalogue) for name, part in _parts(specification)}
    bom = Bom(
        components=[*parts.values(), _php(specification["php"])],
        serial_number=uuid.uuid5(
            uuid.NAMESPACE_URL, f"{specification['url']}#{release_id}@{catalogue.sha256}"
        ),
    )
    bom.metadata.timestamp = made_at
    bom.metadata.component = site
    bom.metadata.lifecycles = [PredefinedLifecycle(phase=phase)]
    bom.register_dependency(site, bom.components)
    for name, part in _parts(specification):
        needed = _needed(name, part, catalogue) & parts.keys()
        bom.register_dependency(parts[name], [parts[other] for other in sorted(needed)])
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_7)
    return outputter.output_as_string(indent=2) + "\n"


def _parts(specification: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield the name in the catalogue and the artefact of everything in a release."""
    yield "wordpress", specification["wordpress"]
    yield "wp-cli", specification["wp_cli"]
    if specification["language"]:
        yield f"language-{specification['locale']}", specification["language"]
    for block in (specification["theme"], *specification["blocks"]):
        yield block["name"], block


def _component(name: str, part: Mapping[str, Any], catalogue: Catalogue) -> Component:
    block = catalogue.blocks.get(name)
    release = catalogue.release_of(name, part["sha256"])
    is_core = name == "wordpress"
    return Component(
        name=name,
        version=part["version"],
        type=ComponentType.FRAMEWORK if is_core else ComponentType.LIBRARY,
        bom_ref=f"{name}@{part['version']}",
        description=block.title if block else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=part["sha256"])],
        licenses=[LicenseExpression(block.licence)] if block and block.licence else None,
        external_references=_references(block, release),
        properties=_properties(part, block),
    )


def _references(block: Block | None, release: BlockRelease | None) -> list[ExternalReference]:
    found = []
    if release is not None and "://" in release.source:
        comment = f"commit {release.commit}" if release.commit else None
        found.append(
            ExternalReference(
                type=ExternalReferenceType.VCS, url=XsUri(release.source), comment=comment
            )
        )
    if block is not None and block.support:
        address = block.support if "://" in block.support else f"mailto:{block.support}"
        found.append(ExternalReference(type=ExternalReferenceType.SUPPORT, url=XsUri(address)))
    return found


def _properties(part: Mapping[str, Any], block: Block | None) -> list[Property]:
    values = {
        "owc:kind": part.get("kind", ""),
        "owc:folder": part.get("folder", ""),
        "owc:header_version": part.get("header_version", ""),
    }
    if block is not None and block.guarantee is not None:
        values[END_OF_GUARANTEE] = block.guarantee.until_date
        values["owc:guarantee:by"] = block.guarantee.by
        values["owc:guarantee:from"] = block.guarantee.from_date
    return [Property(name=name, value=value) for name, value in values.items() if value]


def _needed(name: str, part: Mapping[str, Any], catalogue: Catalogue) -> set[str]:
    """Return the blocks that one may need, WordPress for everything that runs in it."""
    if name in {"wordpress", "wp-cli"}:
        return set()
    release = catalogue.release_of(name, part["sha256"])
    wanted = release.requires if release else ()
    return {"wordpress", *(other for requirement in wanted for other in requirement.any_of)}


def _php(version: str) -> Component:
    """Return the branch of PHP: the distribution keeps its patch releases."""
    return Component(
        name="php", version=version, type=ComponentType.PLATFORM, bom_ref=f"php@{version}"
    )
