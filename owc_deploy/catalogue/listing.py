"""Lists of releases written by hand: source lists for `build`, metadata for `add`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from owc_deploy.catalogue.add import AddRequest
from owc_deploy.catalogue.document import details_from, meaning_problems
from owc_deploy.errors import CatalogueError, DocumentsInvalidError, Problem
from owc_deploy.fleet.documents import parse_document
from owc_deploy.fleet.schema_check import SchemaName


class NoListError(CatalogueError):
    """A file says what one block is, where a list of archives could be."""


def read_source_list(file: Path) -> tuple[AddRequest, ...]:
    """Read a list of releases (schemas/catalogue-source.schema.json), YAML or JSON.

    Paths in it are relative to the file. Raises DocumentsInvalidError with every problem, and
    NoListError for a block file.
    """
    document = _read(file, "catalogue-source")
    problems = [
        problem
        for index, item in enumerate(document["releases"])
        for problem in meaning_problems(item, f"releases[{index}]", file)
    ]
    if problems:
        raise DocumentsInvalidError(tuple(problems))
    return tuple(_request(item, file.parent) for item in document["releases"])


def read_metadata(file: Path) -> dict[str, Any]:
    """Read what is known of one release (schemas/catalogue-metadata.schema.json), YAML or JSON.

    Returns values for the fields of `AddRequest`. Raises DocumentsInvalidError with every problem.
    """
    document = _read(file, "catalogue-metadata")
    problems = tuple(meaning_problems(document, "", file))
    if problems:
        raise DocumentsInvalidError(problems)
    return details_from(document)


def _request(item: Mapping[str, Any], folder: Path) -> AddRequest:
    details = details_from(item)
    if "://" not in details["archive"]:
        details["archive"] = folder / details["archive"]
    return AddRequest(**details)


def _read(file: Path, schema_name: SchemaName) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{file} cannot be read: {error.strerror}") from error
    document, problems = parse_document(file, raw, schema_name)
    if schema_name == "catalogue-source" and any(problem.path == "name" for problem in problems):
        raise NoListError(f"{file} says what one block is; it lists no archives")
    if document is None or problems:
        raise DocumentsInvalidError(problems or (Problem(file, 1, 1, "", "empty", "it is empty"),))
    return document.data
