"""What a block says of itself in its publiccode.yml: judged, mended, and never relied upon.

The standard is publiccode.yml 0.2 to 0.5 (schemas/publiccode.schema.json). Beside it stand the
OWC's own agreements (GOVERNANCE.md and SUPPORT.md of OpenWebconcept/.github): the owner, the
maintainer and the end of support must be there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from owc_deploy.catalogue.models import Block, Catalogue
from owc_deploy.errors import Problem
from owc_deploy.fleet import yaml_reader
from owc_deploy.fleet.documents import Finding, parse_document, to_problem
from owc_deploy.fleet.schema_check import schema, shape

_TAB_WIDTHS = (2, 4, 8)
_INDENTATION = re.compile(r"^[ \t]*\t[ \t]*(?=\S)", re.MULTILINE)
_LONG_DESCRIPTION_CHARACTERS = 150


@dataclass(frozen=True, slots=True)
class Publiccode:
    """One file that was judged.

    `data` holds what could be read and keeps to the schema. `mended` is the text with tabs made
    spaces, the same as the file's where there are none, and `None` where that cannot be done
    without guessing.
    """

    file: Path
    data: Mapping[str, Any]
    problems: tuple[Problem, ...]
    mended: str | None


@dataclass(frozen=True, slots=True)
class BlockHints:
    """What an entry of a catalogue could take over; a person decides.

    `contracts_until` are the days on which contracts of contractors end: a hint for whoever asks
    the steward for a guarantee, and not one.
    """

    details: Mapping[str, str] = field(default_factory=dict)
    contracts_until: tuple[tuple[str, str], ...] = ()


def judge(file: Path, raw: bytes, catalogue: Catalogue | None = None) -> Publiccode:
    """Say everything that is missing or wrong; `file` is only named in problems.

    With a catalogue, its licence of the block with the same repository is compared.
    """
    tabs, mended = _without_tabs(file, raw)
    content = raw if mended is None else mended.encode()
    document, found = parse_document(file, content, "publiccode")
    problems = [*tabs, *(problem for problem in found if problem.reference != "tab" or not tabs)]
    data = document.data if document is not None else {}
    if document is not None:
        missing = {problem.path for problem in found}
        problems += (
            to_problem(finding, content)
            for finding in _findings(file, data, missing, _block_of(catalogue, data))
        )
    return Publiccode(file, data, tuple(sorted(problems)), mended)


def hints_of(data: Mapping[str, Any]) -> BlockHints:
    """Return what an entry could take over from a file's data."""
    legal, maintenance = _mapping(data, "legal"), _mapping(data, "maintenance")
    people = [*_mappings(maintenance, "contacts"), *_mappings(maintenance, "contractors")]
    reached = [person.get("email") or person.get("website") for person in people]
    details = {
        "title": data.get("name"),
        "licence": _spdx(legal.get("license", "")),
        "support": next(filter(None, reached), None),
        "source": data.get("url"),
    }
    return BlockHints(
        {key: value for key, value in details.items() if value},
        tuple(
            (contractor["name"], contractor["until"])
            for contractor in _mappings(maintenance, "contractors")
            if {"name", "until"} <= contractor.keys()
        ),
    )


def corrected(judged: Publiccode) -> str | None:
    """Return the file with its keys in order and what is still missing named in comments.

    `None` where it cannot be read, and so not be mended without guessing.
    """
    if judged.mended is None or not judged.data:
        return None
    missing = [
        f"#   line {problem.line}: " + f"{problem.path}: ".removeprefix(": ") + problem.message
        for problem in judged.problems
        if problem.reference != "tab"
    ]
    still = ["# Still to be said or mended, by who knows it:", *missing, ""] if missing else []
    return "\n".join(still) + _in_order(judged.mended)


def _findings(
    file: Path, data: Mapping[str, Any], missing: set[str], block: Block | None
) -> Iterator[Finding]:
    yield from _licence(file, data, block)
    yield from _dates(file, data)
    legal, maintenance = _mapping(data, "legal"), _mapping(data, "maintenance")
    organisation = _mapping(data, "organisation")
    owners = (legal.get("mainCopyrightOwner"), legal.get("repoOwner"), organisation.get("name"))
    people = [*_mappings(maintenance, "contacts"), *_mappings(maintenance, "contractors")]
    contractors = list(_mappings(maintenance, "contractors"))
    at_legal = ("legal",) if "legal" in data else ()
    at_maintenance = ("maintenance",) if "maintenance" in data else ()
    if not any(owners):
        yield Finding(
            file,
            at_legal,
            "no-owner",
            "nobody is named as owner (eigenaar), which the OWC agreed on",
            "legal.mainCopyrightOwner with the municipality's name",
            at_key=True,
        )
    if not any(person.get("name") for person in people):
        yield Finding(
            file,
            at_maintenance,
            "no-maintainer",
            "nobody is named as maintainer (beheerder), which the OWC agreed on",
            "maintenance.contacts with a name and an e-mail address",
            at_key=True,
        )
    if not any("until" in contractor for contractor in contractors):
        yield Finding(
            file,
            at_maintenance,
            "no-end-of-support",
            "no end of support is stated, which the OWC agreed on (at least one year)",
            "maintenance.contractors with until, a date such as 2027-12-31",
            at_key=True,
        )
    if (
        maintenance.get("type") == "contract"
        and not contractors
        and not missing & {"maintenance.contractors"}
    ):
        yield Finding(
            file,
            ("maintenance", "type"),
            "no-contractor",
            "it is maintained under a contract, and no contractor is named",
            "maintenance.contractors with name and until",
        )
    for language, texts in _mapping(data, "description").items():
        long = texts.get("longDescription", "") if isinstance(texts, dict) else ""
        if long and len(long) < _LONG_DESCRIPTION_CHARACTERS:
            yield Finding(
                file,
                ("description", language, "longDescription"),
                "too-short",
                f"the description is {len(long)} signs long, and has to be 150 at least",
            )


def _licence(file: Path, data: Mapping[str, Any], block: Block | None) -> Iterator[Finding]:
    stated = _mapping(data, "legal").get("license")
    if not stated:
        return
    licence, place = _spdx(stated), ("legal", "license")
    if licence is None:
        yield Finding(
            file, place, "licence", f"`{stated}` is no SPDX expression", "EUPL-1.2, for instance"
        )
    elif block is not None and block.licence and _spdx(block.licence) != licence:
        yield Finding(
            file,
            place,
            "other-licence",
            f"it says {licence}, and the catalogue says {block.licence} of {block.name}",
            "find out which it is, and mend the other",
        )


def _dates(file: Path, data: Mapping[str, Any]) -> Iterator[Finding]:
    places: list[tuple[tuple[str | int, ...], Any]] = [(("releaseDate",), data.get("releaseDate"))]
    contractors = _mapping(data, "maintenance").get("contractors")
    for index, contractor in enumerate(contractors if isinstance(contractors, list) else ()):
        if isinstance(contractor, dict):
            place = ("maintenance", "contractors", index, "until")
            places.append((place, contractor.get("until")))
    for path, text in places:
        if text is not None and not _is_day(text):
            yield Finding(file, path, "date", f"`{text}` is no day of the calendar")


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _spdx(text: str) -> str | None:
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return None


def _block_of(catalogue: Catalogue | None, data: Mapping[str, Any]) -> Block | None:
    address = _repository(data.get("url", ""))
    if catalogue is None or not address:
        return None
    for block in catalogue.blocks.values():
        if any(_repository(release.source) == address for release in block.releases):
            return block
    return None


def _repository(address: str) -> str:
    return address.lower().rstrip("/").removesuffix(".git")


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _mappings(data: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    value = data.get(key)
    yield from (item for item in value or () if isinstance(item, dict))


def _without_tabs(file: Path, raw: bytes) -> tuple[list[Problem], str | None]:
    """Return the tabs that indent lines, and the text with spaces where only one width can be."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [], None
    if len(raw) > yaml_reader.MAXIMUM_BYTES:
        return [], None
    reading = yaml_reader.read(text.encode(), shape("publiccode"))
    if reading.data is not None:
        return [], text
    if not any(flaw.reference == "tab" for flaw in reading.flaws):
        return [], None
    meanings: list[tuple[Any, str]] = []
    for width in _TAB_WIDTHS:
        spaced = _INDENTATION.sub(lambda tabs: tabs[0].replace("\t", " " * width), text)  # noqa: B023
        data = yaml_reader.read(spaced.encode(), shape("publiccode")).data
        if data is not None and all(data != other for other, _ in meanings):
            meanings.append((data, spaced))
    mended = meanings[0][1] if len(meanings) == 1 else None
    advice = "indent with spaces"
    if mended is None:
        advice += "; by how many cannot be told from the file, so only its author can mend it"
    tabs = [
        Problem(
            file,
            text.count("\n", 0, found.start()) + 1,
            found[0].index("\t") + 1,
            "",
            "tab",
            "a tab indents this line, which YAML does not allow",
            advice,
        )
        for found in _INDENTATION.finditer(text)
    ]
    return tabs, mended


def _in_order(text: str) -> str:
    """Put the keys at the top in the order of the standard; comments stay with their keys."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        loaded = yaml.load(text)
        if not isinstance(loaded, CommentedMap):
            return text
        wanted = [key for key in schema("publiccode")["properties"] if key in loaded]
        for key in (*wanted, *[key for key in loaded if key not in wanted]):
            loaded.move_to_end(key)
        written = io.StringIO()
        yaml.dump(loaded, written)
    except Exception:  # noqa: BLE001  ruamel raises all kinds of errors; unordered is good as well
        return text
    return written.getvalue() if _means_the_same(text, written.getvalue()) else text


def _means_the_same(*texts: str) -> bool:
    expected = shape("publiccode")
    first, *others = [yaml_reader.read(one.encode(), expected).data for one in texts]
    return all(other == first for other in others)
