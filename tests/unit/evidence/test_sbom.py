from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from unit.plan import examples

from owc_deploy.catalogue.models import Catalogue, Guarantee, Requirement
from owc_deploy.evidence.sbom import site_sbom
from owc_deploy.plan.specification import specification

AT = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)


def catalogue() -> Catalogue:
    known = examples.catalogue().blocks["news"]
    releases = tuple(
        replace(
            each,
            source="https://github.com/OpenWebconcept/news",
            commit="1a2b3c4d",
            requires=(Requirement(any_of=("theme", "elsewhere")),),
        )
        for each in known.releases
    )
    news = replace(
        known,
        releases=releases,
        licence="EUPL-1.2",
        guarantee=Guarantee("Gemeente Buren", "2026-01-01", "2028-12-31"),
        support="hulp@buren.example",
    )
    return Catalogue({"news": news}, examples.sha256(2))


def made(known: Catalogue) -> str:
    wanted = specification(examples.manifest(), examples.lock(), known)
    return site_sbom(wanted, known, release_id=examples.LIVE, made_at=AT, is_live=True)


def components(text: str) -> dict[str, Any]:
    return {item["name"]: item for item in json.loads(text)["components"]}


def test_it_keeps_to_the_official_schema_and_is_the_same_every_time() -> None:
    text = made(catalogue())
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    assert made(catalogue()) == text


def test_a_component_says_its_hash_licence_source_and_guarantee() -> None:
    news = components(made(catalogue()))["news"]
    assert (news["version"], news["licenses"]) == ("1.0.0", [{"expression": "EUPL-1.2"}])
    assert news["hashes"] == [{"alg": "SHA-256", "content": examples.sha256(20)}]
    properties = {item["name"]: item["value"] for item in news["properties"]}
    assert properties["cdx:lifecycle:milestone:endOfGuaranteedSupport"] == "2028-12-31"
    assert properties["owc:guarantee:by"] == "Gemeente Buren"
    references = {item["type"]: item["url"] for item in news["externalReferences"]}
    assert references == {
        "support": "mailto:hulp@buren.example",
        "vcs": "https://github.com/OpenWebconcept/news",
    }


def test_everything_of_the_site_is_in_it_and_says_what_it_needs() -> None:
    text = made(catalogue())
    assert set(components(text)) == {
        "wordpress",
        "wp-cli",
        "language-nl_NL",
        "theme",
        "news",
        "php",
    }
    needed = {item["ref"]: item.get("dependsOn", []) for item in json.loads(text)["dependencies"]}
    assert needed["news@1.0.0"] == ["theme@1.0.0", "wordpress@7.1.1"]
    assert len(needed["site/heusden"]) == 6


def test_what_the_catalogue_does_not_list_is_there_without_claims() -> None:
    text = made(Catalogue({}, examples.sha256(2)))
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    assert "licenses" not in components(text)["news"]
