"""Write the reference pages that follow from the schemas and from `--help`.

    python docs/generate.py

tests/repo/test_docs_are_current.py fails when a page differs from what this would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from owc_deploy.cli.main import cli
from owc_deploy.fleet import schema_check
from owc_deploy.fleet.schema_check import SchemaName

REFERENCE = Path(__file__).resolve().parent / "reference"
SCHEMAS: tuple[SchemaName, ...] = ("fleet", "servers", "site", "lock", "mitigations")
FILES = {
    "fleet": "fleet.yml",
    "servers": "servers.yml",
    "site": "sites/SITE.yml",
    "lock": "locks/SITE.lock.yml",
    "mitigations": "mitigations.yml",
}
WIDTH = 100
MADE = "<!-- Made by docs/generate.py; change the source it is made from. -->"


def pages() -> Mapping[Path, str]:
    """Return every generated page: its file and its text."""
    written = {REFERENCE / f"{name}.md": schema_page(name) for name in SCHEMAS}
    written[REFERENCE / "cli.md"] = command_page()
    return written


def schema_page(name: SchemaName) -> str:
    """Describe one kind of document: a row per key."""
    schema = schema_check.schema(name)
    lines = [
        f"# {FILES[name]}",
        "",
        MADE,
        "",
        schema["description"],
        "",
        f"The schema is [{name}.schema.json](../../schemas/{name}.schema.json).",
        "",
        "| Key | Kind | Needed | Meaning | Example |",
        "|---|---|---|---|---|",
    ]
    lines += rows(schema, schema, "", ())
    return "\n".join(lines) + "\n"


def rows(
    schema: Mapping[str, Any], part: Mapping[str, Any], prefix: str, inside: tuple[str, ...]
) -> Iterator[str]:
    """Give a table row per key, those of inner mappings and lists after their own key."""
    required = part.get("required", ())
    for key, written in part.get("properties", {}).items():
        target, names = followed(schema, written)
        if set(names) & set(inside):
            yield row(f"{prefix}{key}", {**target, **written}, needed=key in required)
            continue
        merged = {**target, **written}
        yield row(f"{prefix}{key}", merged, needed=key in required)
        yield from inner_rows(schema, merged, f"{prefix}{key}", (*inside, *names))


def inner_rows(
    schema: Mapping[str, Any], part: Mapping[str, Any], prefix: str, inside: tuple[str, ...]
) -> Iterator[str]:
    """Give the rows of what stands inside one key."""
    yield from rows(schema, part, f"{prefix}.", inside)
    if isinstance(part.get("items"), dict):
        target, names = followed(schema, part["items"])
        yield from rows(schema, target, f"{prefix}[].", (*inside, *names))
    for branch in part.get("anyOf", ()):
        target, names = followed(schema, branch)
        yield from rows(schema, target, f"{prefix}.", (*inside, *names))
    others = part.get("additionalProperties")
    if isinstance(others, dict):
        for branch in others.get("anyOf", [others]):
            target, names = followed(schema, branch)
            yield from rows(schema, target, f"{prefix}.NAME.", (*inside, *names))


def followed(
    schema: Mapping[str, Any], part: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Follow a `$ref`; also return the definition's name."""
    if "$ref" not in part:
        return (part, ())
    name = part["$ref"].removeprefix("#/$defs/")
    return (schema["$defs"][name], (name,))


def row(key: str, part: Mapping[str, Any], *, needed: bool) -> str:
    """Write one table row."""
    if needed:
        need = "yes"
    elif part.get("default") not in (None, [], {}):
        need = f"no: `{inline(part['default'])}`"
    else:
        need = "no"
    meaning = part["description"]
    if "enum" in part:
        meaning += f" One of {', '.join(f'`{one}`' for one in part['enum'])}."
    if "patternErrorMessage" in part:
        meaning += f" It {part['patternErrorMessage']}."
    example = "<br>".join(f"`{inline(one)}`" for one in part["examples"])
    cells = (f"`{key}`", kind(part), need, meaning, example)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def kind(part: Mapping[str, Any]) -> str:
    """Name a value's kind as a person would."""
    if "anyOf" in part:
        return " or ".join(kind(branch) for branch in part["anyOf"])
    kinds = part.get("type", "text" if "$ref" in part else "anything")
    words = {"string": "text", "object": "mapping", "array": "list", "integer": "whole number"}
    named = [kinds] if isinstance(kinds, str) else [one for one in kinds if one != "null"]
    return " or ".join(words.get(one, one) for one in named)


def inline(value: Any) -> str:
    """Write an example on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def command_page() -> str:
    """Give the help of every verb."""
    lines = ["# Commands", "", MADE, ""]
    settings = {**cli.context_settings, "terminal_width": WIDTH}
    root = click.Context(cli, info_name="owc-deploy", **settings)
    for title, text in helps(cli, root, "owc-deploy"):
        lines += [f"## {title}", "", "```", text.rstrip(), "```", ""]
    return "\n".join(lines)


def helps(command: click.Command, context: click.Context, title: str) -> Iterator[tuple[str, str]]:
    """Give a command's help, and that of the commands below it."""
    yield (title, command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                below = click.Context(inner, info_name=name, parent=context)
                yield from helps(inner, below, f"{title} {name}")


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
