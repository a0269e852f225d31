"""catalogue.json: read strictly, every problem at once, and written in one way."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.catalogue.catalogues import FUNCTION, advisory, block, conflict, function, needs, release

from owc_deploy.catalogue.document import parse_catalogue, render_catalogue
from owc_deploy.catalogue.listing import read_metadata, read_source_list
from owc_deploy.catalogue.models import Block, Gate, Migration
from owc_deploy.errors import DocumentsInvalidError

FILE = Path("catalogue.json")


def problems(document: Any) -> list[str]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(DocumentsInvalidError) as caught:
        parse_catalogue(content, FILE)
    return [f"{p.path}: {p.message}" for p in caught.value.problems]


def document(**releases: Any) -> dict[str, Any]:
    described = {"version": "1.0", "header_version": "1.0", "sha256": "0" * 64, "size_bytes": 1}
    block = {"kind": "plugin", "title": "A", "folder": "a", "main_file": "a.php"}
    return {
        "schema_version": 1,
        "blocks": {"a": {**block, "releases": [{**described, **releases}]}},
    }


def test_what_is_written_is_read_back() -> None:
    full = block(
        "openwoo",
        release(
            "4.3.0",
            source="https://github.com/OpenWebconcept/plugin-openwoo",
            commit="1a2b",
            php=">=8.1",
            wordpress=">=6.7",
            requires=(needs("cmb2", "other", version=">=2"), function(FUNCTION)),
            provides=("f",),
            conflicts=(conflict("zgw", "<2", "both bring php-di"),),
            folder="open-woo",
            main_file="woo.php",
            database_version=1,
            train="extended-cpts-5",
            updates_from="^3",
            migrations=(Migration("<4", ">=4", (("openwoo", "migrate"),), reversible=True),),
            post_steps=(("rewrite", "flush"),),
            constants=("KEY",),
            gate=Gate(("owc/openwoo/v1",), ("hook",)),
            withdrawn="leaks",
        ),
        "4.2.0",
        licence="EUPL-1.2",
        paid=True,
        environments=("test",),
        advisories=(advisory("<4.3"),),
    )
    content = render_catalogue([full, block("cmb2", "2.11.0")])
    assert parse_catalogue(content, FILE).blocks == {
        "cmb2": block("cmb2", "2.11.0"),
        "openwoo": full,
    }
    assert render_catalogue([block("cmb2", "2.11.0"), full]) == content


names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?", fullmatch=True)


@given(st.dictionaries(names, st.sets(st.integers(0, 40), min_size=1, max_size=5), max_size=4))
def test_any_catalogue_survives_writing(content: dict[str, set[int]]) -> None:
    blocks: list[Block] = [
        block(name, *(f"1.{minor}" for minor in minors)) for name, minors in content.items()
    ]
    parsed = parse_catalogue(render_catalogue(blocks), FILE).blocks
    assert parsed == {item.name: item for item in blocks}


def test_every_problem_at_once() -> None:
    broken = document(php="dev-master", requires=[{}], conflicts=[{"block": "b", "version": "1 -"}])
    broken["blocks"]["a"]["kinda"] = "plugin"
    broken["blocks"]["b"] = {"kind": "plugin"}
    broken["blocks"]["a"]["releases"] += [
        {**broken["blocks"]["a"]["releases"][0], "php": "*", "requires": [], "conflicts": []},
        {"version": 2.1},
    ]
    found = "\n".join(problems(broken))
    for said in (
        "blocks.a.kinda: `kinda` is not a key",
        "blocks.b: `title` is missing",
        "blocks.a.releases[0].php: `dev-master` names a branch",
        "blocks.a.releases[0].requires[0]: a requirement names blocks or a function",
        "blocks.a.releases[0].conflicts[0].version",
        "blocks.a.releases[1].version: version 1.0 is listed twice",
        "blocks.a.releases[2].version: must be text",
    ):
        assert said in found


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"sha256": "ABC"}, "64 hexadecimal digits"),
        ({"version": "newest"}, "is not a version"),
        ({"requires": [{"any_of": ["a"], "function": "f"}]}, "one of the two"),
        ({"requires": [{"function": "f", "version": "^1"}]}, "one of the two"),
        ({"requires": [{"any_of": []}]}, "must list at least 1"),
        ({"post_steps": ["rewrite flush"]}, "must be a list"),
        ({"post_steps": [["rewrite", "flush\n"]]}, "post_steps"),
        ({"requires": [{"any_of": ["a"]}]}, "a 1.0 needs, or cannot stand beside, a itself"),
        ({"conflicts": [{"block": "a"}]}, "a 1.0 needs, or cannot stand beside, a itself"),
        ({"size_bytes": 0}, "must be at least 1"),
        ({"updates_from": "dev-master"}, "names a branch"),
        ({"folder": "../a"}, "must be the name of one folder"),
        ({"main_file": "a/b.php"}, "must be the name of one file"),
        ({"gate": {"rest": []}}, "`rest` is not a key"),
    ],
)
def test_details(details: dict[str, Any], said: str) -> None:
    assert said in "\n".join(problems(document(**details)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "utf-8"),
        (b'{"schema_version": 1, "schema_version": 1, "blocks": {}}', "stands there twice"),
        (b"[]", "must be a mapping"),
        (b'{"schema_version": 2, "blocks": {}}', "must be 1"),
        (b"[" * 100_000, "recursion"),
        (b'{"schema_version": 1, "blocks": {"../a": {}}}', "must be at most 100 letters"),
    ],
)
def test_what_is_no_catalogue(content: bytes, said: str) -> None:
    assert said in "\n".join(problems(content))


def test_source_lists(tmp_path: Path) -> None:
    file = tmp_path / "source.yml"
    file.write_text(
        "schema_version: 1\nreleases:\n"
        "  - archive: zips/a.zip\n    name: a\n    kind: plugin\n    version: 2.10\n"
        "    requires: [{any_of: [cmb2], version: '>=2'}]\n    gate: {cron_hooks: [x]}\n"
        "  - archive: https://blocks.example/b.zip\n    name: b\n    kind: theme\n"
    )
    first, second = read_source_list(file)
    assert first.archive == tmp_path / "zips" / "a.zip"
    assert first.version == "2.10"
    assert first.requires == (needs("cmb2", version=">=2"),)
    assert first.gate == Gate(cron_hooks=("x",))
    assert second.archive == "https://blocks.example/b.zip"
    file.write_text(
        "schema_version: 1\nreleases:\n"
        "  - archive: a\n    name: a\n    kind: plugin\n    php: '^^8'\n"
    )
    with pytest.raises(DocumentsInvalidError) as caught:
        read_source_list(file)
    assert caught.value.problems[0].path == "releases[0].php"
    file.write_text("releases: []\n")
    with pytest.raises(DocumentsInvalidError) as caught:
        read_source_list(file)
    assert len(caught.value.problems) == 2


def test_metadata(tmp_path: Path) -> None:
    file = tmp_path / "meta.yml"
    file.write_text("php: '>=8.1'\nadvisories: []\ntitle: Open Woo\nenvironments: [test]\n")
    assert read_metadata(file) == {
        "php": ">=8.1",
        "advisories": (),
        "title": "Open Woo",
        "environments": ("test",),
    }
    file.write_text("php: latest\nfolder: x\n")
    with pytest.raises(DocumentsInvalidError) as caught:
        read_metadata(file)
    assert "folder" in caught.value.problems[0].message
