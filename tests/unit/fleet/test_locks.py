"""Locks: written the same way always, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from owc_deploy.errors import DocumentsInvalidError
from owc_deploy.fleet import schema_check
from owc_deploy.fleet.locks import lock_file, parse_lock, render_lock
from owc_deploy.fleet.models import Lock, LockedArtefact

FILE = Path("locks/voorbeeld.lock.yml")
HASH = "0" * 63 + "1"

LOCK = Lock(
    site="voorbeeld",
    manifest_sha256=HASH,
    php="8.2",
    wordpress=LockedArtefact("wordpress", "core", "7.1.1", "7.1.1", HASH),
    wp_cli=LockedArtefact("wp-cli", "tool", "2.12.0", "2.12.0", HASH),
    language=LockedArtefact("language-nl_NL", "language", "7.1.1", "7.1.1", HASH),
    theme=LockedArtefact("example-theme", "theme", "1.0", "1.0", HASH, folder="example-theme"),
    blocks=(
        LockedArtefact(
            "cmb2", "plugin", "2.11.0", "2.11.0", HASH, "cmb2", "init.php", "required by openwoo"
        ),
        LockedArtefact("openwoo", "plugin", "4.3.0", "4.2.0-beta: 1", HASH, "openwoo", "no"),
    ),
)


def test_a_lock_is_written_so_that_a_person_can_review_it() -> None:
    text = render_lock(LOCK)
    assert text.startswith("# Made by `owc-deploy lock`; do not edit.")
    assert 'php: "8.2"\n' in text
    assert "blocks:\n  - name: cmb2\n    kind: plugin\n" in text
    assert "    reason: required by openwoo\n" in text
    assert "reason: chosen" not in text
    assert "\n  - name: openwoo\n" in text


def test_it_is_ordinary_yaml() -> None:
    loaded = yaml.safe_load(render_lock(LOCK))
    assert schema_check.violations("lock", loaded) == ()
    assert loaded["blocks"][1]["header_version"] == "4.2.0-beta: 1"
    assert loaded["blocks"][1]["main_file"] == "no"
    assert loaded["manifest_sha256"] == HASH


def test_its_file_is_named_after_the_site() -> None:
    assert lock_file("voorbeeld") == FILE


def words(alphabet: str, first: str = "a") -> st.SearchStrategy[str]:
    return st.text(alphabet=alphabet, max_size=6).map(lambda rest: f"{first}{rest}0")


LINES = st.text(
    alphabet=st.characters(
        codec="utf-8",
        exclude_categories=["Cc", "Cf", "Zl", "Zp"],
        include_characters="\xa0\U0001f600:#'\"\\{}[]&*!|>%@`, -",
    ),
    max_size=8,
)
HASHES = st.integers(0, 2**256 - 1).map("{:064x}".format)
ARTEFACTS = st.builds(
    LockedArtefact,
    name=words("abz09-_"),
    kind=st.sampled_from(["core", "tool", "language", "theme", "plugin", "mu-plugin"]),
    version=words("0123456789.+~-", "1") | st.sampled_from(["1.10", "0x1F", "022", "1e3", "no"]),
    header_version=LINES | st.sampled_from(["", "~", "true", "1.10", " x ", "no"]),
    sha256=HASHES | st.just("0" * 64) | st.just("1e" + "0" * 62),
    folder=st.just("") | words("abz09-_"),
    main_file=st.just("") | words("abz09-_/"),
    reason=LINES | st.just("chosen"),
)
LOCKS = st.builds(
    Lock,
    site=words("abz09", "no"),
    manifest_sha256=HASHES,
    php=st.sampled_from(["8.2", "8.10", "7.4"]),
    wordpress=ARTEFACTS,
    wp_cli=ARTEFACTS,
    language=st.none() | ARTEFACTS,
    theme=ARTEFACTS,
    blocks=st.lists(ARTEFACTS, max_size=2).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(lock=LOCKS)
def test_what_is_written_is_read_back(lock: Lock) -> None:
    assert parse_lock(render_lock(lock), FILE) == lock


def test_a_damaged_lock_names_its_problems() -> None:
    text = render_lock(LOCK).replace("kind: theme", "kind: thema")
    with pytest.raises(DocumentsInvalidError) as caught:
        parse_lock(text, FILE)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("theme.kind", 26)
    assert problem.suggestion == f"rm {FILE} && owc-deploy lock voorbeeld"
