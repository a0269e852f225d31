"""Block files: read strictly, held against one another, and turned into models."""

from pathlib import Path

import pytest

from owc_deploy.catalogue.source import catalogue_of, read_source, read_sources
from owc_deploy.catalogue.source_check import problems_between
from owc_deploy.errors import DocumentsInvalidError, UsageError

BASE = """\
schema_version: 1
name: base
kind: plugin
title: Base
folder: base
main_file: base.php
repository: https://git.example/base
recipe:
  composer: true
  prune: [wp-content]
every_release:
  php: ">=8.1"
  provides: [make_type]
releases:
  - version: 2.0.0
    tag: v2.0.0
    header_version: 1.9.9
  - version: 1.0.0
    commit: 0a1b2c3
    php: "*"
    provides: []
"""
NEWS = """\
schema_version: 1
name: news
kind: plugin
title: News
folder: news
releases:
  - version: 1.0.0
    requires:
      - any_of: [base]
        version: ">=2"
      - function: make_type
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def problems(folder: Path) -> list[str]:
    return [found.message for found in problems_between(read_sources((folder,)))]


def test_what_holds_for_every_release_holds_unless_one_says_otherwise(tmp_path: Path) -> None:
    block = catalogue_of(read_sources((write(tmp_path / "a", base=BASE),))).blocks["base"]
    new, old = block.releases
    assert (new.php, new.provides, new.header_version) == (">=8.1", ("make_type",), "1.9.9")
    assert (old.php, old.provides, old.commit, old.header_version) == ("*", (), "0a1b2c3", "1.0.0")
    assert (new.sha256, new.size_bytes, new.source) == ("", 0, "https://git.example/base")


def test_a_later_folder_replaces_a_block_and_leaves_the_others(tmp_path: Path) -> None:
    common = write(tmp_path / "a", base=BASE, news=NEWS)
    own = write(tmp_path / "b", base=BASE.replace("2.0.0", "2.5.0"))
    blocks = catalogue_of(read_sources((common, own))).blocks
    assert [release.version for release in blocks["base"].releases] == ["2.5.0", "1.0.0"]
    assert "news" in blocks


def test_the_same_files_are_the_same_catalogue(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", base=BASE, news=NEWS)
    first = catalogue_of(read_sources((folder,)))
    assert first == catalogue_of(read_sources((folder,)))
    write(folder, news=NEWS.replace("News", "Newer"))
    assert first.sha256 != catalogue_of(read_sources((folder,))).sha256


def test_libraries_are_no_blocks(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", base=BASE.replace("kind: plugin", "kind: library"))
    assert catalogue_of(read_sources((folder,))).blocks == {}


def test_every_problem_of_every_file_at_once(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "a",
        base=BASE.replace('">=8.1"', "eight").replace("v2.0.0", "--upload-pack=x"),
        news=NEWS + "colour: blue\n",
    )
    with pytest.raises(DocumentsInvalidError) as caught:
        read_sources((folder,))
    text = " ".join(f"{p.file.name} {p.path} {p.message}" for p in caught.value.problems)
    assert "releases[0].tag" in text
    assert "news.yml colour" in text


@pytest.mark.parametrize(
    "text",
    [
        "repository: ext::sh -c id",
        "repository: --upload-pack=id",
        "repository: https://someone@git.example/base",
        "repository: file:///etc",
        "repository: https://git.example/../base;id",
    ],
)
def test_an_address_is_no_command(tmp_path: Path, text: str) -> None:
    wrong = BASE.replace("repository: https://git.example/base", text)
    with pytest.raises(DocumentsInvalidError):
        read_sources((write(tmp_path / "a", base=wrong),))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("prune: [wp-content]", "prune: [../other]"),
        ("prune: [wp-content]", "prune: [/etc]"),
        ("prune: [wp-content]", "prune: [a, .., b]"),
        ("composer: true", "subfolder: a/../../b"),
        ("composer: true", "packages: [--allow]"),
        ("commit: 0a1b2c3", "commit: HEAD"),
    ],
)
def test_a_recipe_stays_in_its_folder(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(DocumentsInvalidError):
        read_source(write(tmp_path / "a", base=BASE.replace(old, new)) / "base.yml")


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no block files"):
        read_sources((tmp_path,))


def test_sound_files_have_no_problems_between_them(tmp_path: Path) -> None:
    assert problems(write(tmp_path / "a", base=BASE, news=NEWS)) == []


def test_what_is_needed_must_be_listed(tmp_path: Path) -> None:
    assert problems(write(tmp_path / "a", news=NEWS)) == [
        "no file says what base is",
        "nothing provides make_type()",
    ]


def test_a_release_that_is_needed_must_be_listed_where_it_is_built_here(tmp_path: Path) -> None:
    needs = NEWS.replace(">=2", ">=3")
    assert problems(write(tmp_path / "a", base=BASE, news=needs)) == [
        "no release of base that is listed is >=3"
    ]
    brought = BASE.replace("recipe:\n  composer: true\n  prune: [wp-content]\n", "")
    assert problems(write(tmp_path / "b", base=brought, news=needs)) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other", BASE, "base stands in other.yml"),
        ("base", BASE + "successor: nobody\n", "no file says what nobody is"),
        ("base", BASE + "lines: {'2.x': ^2}\n", "1.0.0 is in none of its lines; it must be in one"),
        (
            "base",
            BASE + "lines: {'2.x': ^2, '1.x': ^1, '3.x': ^3}\n",
            "no release is in the line 3.x",
        ),
        ("base", BASE + "  - version: 1.0.0.0\n", "1.0.0 is listed 2 times"),
        (
            "base",
            BASE.replace("folder: base\n", ""),
            "a release is offered and its folder is not known",
        ),
        ("base", BASE + "    train: alone\n", "no other block is on the train alone"),
        (
            "base",
            BASE + "    migrations: [{from_version: <2, to_version: '>=2', commands: [[a]]}]\n",
            "1.0.0 carries a migration to >=2",
        ),
        (
            "base",
            BASE + "    conflicts: [{block: nobody}]\n",
            "no file says what nobody is",
        ),
        (
            "base",
            BASE.replace("repository: https://git.example/base\n", ""),
            "there is a recipe and nothing to build from",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    assert message in problems(write(tmp_path / "a", **{name: text}))


def test_two_blocks_cannot_have_one_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", base=BASE, twin=BASE.replace("name: base", "name: twin"))
    assert problems(folder) == ["base is the folder of base too"]
