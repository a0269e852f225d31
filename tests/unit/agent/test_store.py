from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from owc_agent import archive, files, layout, staging, store

FILES = {
    "news/news.php": b"<?php // news",
    "news/a/b.txt": b"some text",
    "news/a/empty": b"",
    "other/beside.php": b"<?php",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "STORE", str(tmp_path / "store"))
    monkeypatch.setattr(layout, "SITES", str(tmp_path / "sites"))
    monkeypatch.setattr(layout, "INCOMING", str(tmp_path / "incoming"))
    (tmp_path / "store").mkdir()
    (tmp_path / "incoming").mkdir()
    return tmp_path


@pytest.fixture
def sha256(folder: Path) -> str:
    """Return the hash of an artefact that has just arrived."""
    return unpacked(folder)


def unpacked(folder: Path) -> str:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in FILES.items():
            bundle.writestr(name, data)
    path = folder / "incoming" / "one.zip"
    path.write_bytes(content.getvalue())
    sha256 = files.sha256_of_file(str(path))
    archive.unpack(str(path), sha256)
    return sha256


def test_what_arrived_is_linked_as_it_was(folder: Path, sha256: str) -> None:
    store.link(sha256, "news", str(folder / "there"))
    assert (folder / "there" / "news.php").read_bytes() == FILES["news/news.php"]
    assert (folder / "there" / "a" / "b.txt").stat().st_nlink == 2
    assert not (folder / "there" / "beside.php").exists()
    store.link_file(sha256, "news/news.php", str(folder / "one"))
    assert (folder / "one").read_bytes() == FILES["news/news.php"]


def replaced(content: bytes) -> Callable[[Path], None]:
    """Write as an editor or a failing disk would: in the store only."""

    def harm(path: Path) -> None:
        path.unlink()
        path.write_bytes(content)

    return harm


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


SAME_SIZE = replaced(b"<?php // nEws")


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("news/news.php", SAME_SIZE, "news.php has another content"),
        ("news/news.php", replaced(b"<?php"), "news.php has 5 bytes instead of 13"),
        ("news/a/empty", replaced(b"x"), "a/empty has 1 bytes instead of 0"),
        ("news/a/b.txt", Path.unlink, "a/b.txt is missing"),
        ("news/a/b.txt", linked, "a/b.txt is no plain file"),
        ("news/more.php", Path.touch, "more.php does not belong to it"),
        ("news", lambda path: path.rename(path.parent / "old"), "news is missing"),
    ],
)
def test_what_was_damaged_since_is_named(
    folder: Path, sha256: str, name: str, harm: Callable[[Path], None], said: str
) -> None:
    harm(folder / "store" / sha256 / name)
    with pytest.raises(store.DamagedError, match=f"^{said}$"):
        store.link(sha256, "news", str(folder / "there"))


def test_content_that_is_live_already_is_not_read_again_but_its_size_is(
    folder: Path, sha256: str
) -> None:
    path = folder / "store" / sha256 / "news" / "news.php"
    SAME_SIZE(path)
    store.link(sha256, "news", str(folder / "there"), read=False)
    replaced(b"")(path)
    with pytest.raises(store.DamagedError):
        store.link(sha256, "news", str(folder / "elsewhere"), read=False)


def test_what_is_passed_over_is_not_missed(folder: Path, sha256: str) -> None:
    (folder / "store" / sha256 / "news" / "a" / "b.txt").unlink()
    store.link(sha256, "news", str(folder / "there"), skip=frozenset(["a"]))
    assert [path.name for path in (folder / "there").iterdir()] == ["news.php"]


@pytest.mark.parametrize("harm", [SAME_SIZE, replaced(b""), Path.unlink, linked])
def test_a_single_file_is_compared_too(
    folder: Path, sha256: str, harm: Callable[[Path], None]
) -> None:
    harm(folder / "store" / sha256 / "news" / "news.php")
    with pytest.raises(store.DamagedError, match=r"^news/news\.php "):
        store.link_file(sha256, "news/news.php", str(folder / "one"))


def test_what_was_set_aside_counts_as_absent_until_it_is_sent_anew(
    folder: Path, sha256: str
) -> None:
    SAME_SIZE(folder / "store" / sha256 / "news" / "news.php")
    store.set_aside(sha256)
    # As another transaction does that found the same.
    store.set_aside(sha256)
    assert store.artefacts() == []
    assert [path.name for path in (folder / "store").iterdir()] == [f"{sha256}.damaged"]
    with pytest.raises(store.AbsentError):
        store.link(sha256, "news", str(folder / "there"))
    assert unpacked(folder) == sha256
    assert store.artefacts() == [sha256]
    assert not (folder / "store" / f"{sha256}.damaged").exists()
    store.link(sha256, "news", str(folder / "here"))


def test_taken_out_by_another_transaction_while_it_is_linked_is_absence(
    folder: Path, sha256: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_and_lose(*arguments: str, **named: bool) -> None:
        store.set_aside(sha256)
        link(*arguments, **named)

    monkeypatch.setattr(os, "link", link_and_lose)
    with pytest.raises(store.AbsentError):
        store.link(sha256, "news", str(folder / "there"))


def test_an_artefact_of_before_there_were_listings_is_replaced_by_what_is_sent(
    folder: Path, sha256: str
) -> None:
    (folder / "store" / f"{sha256}.files.json").unlink()
    (folder / "store" / sha256 / "news" / "of before").touch()
    assert store.artefacts() == []
    unpacked(folder)
    assert store.artefacts() == [sha256]
    assert sorted(path.name for path in (folder / "store").iterdir()) == [
        sha256,
        f"{sha256}.files.json",
    ]
    store.link(sha256, "news", str(folder / "there"))


@pytest.mark.parametrize("listing", ["", "[]", "{", '{"news/news.php": 3}'])
def test_a_listing_that_cannot_be_read_is_damage(folder: Path, sha256: str, listing: str) -> None:
    (folder / "store" / f"{sha256}.files.json").write_text(listing)
    with pytest.raises(store.DamagedError, match="its listing"):
        store.link(sha256, "news", str(folder / "there"))


def test_damage_is_said_and_what_is_damaged_set_aside(sha256: str) -> None:
    block = {"name": "lab-news", "version": "1.1.0", "sha256": sha256}
    inode = Path(layout.stored(sha256)).stat().st_ino
    # Somebody else found it damaged before, and it was sent anew since.
    staging.refusal(block, store.DamagedError("news.php is missing", inode + 1))
    assert store.holds(sha256)
    said = staging.refusal(block, store.DamagedError("news.php has another content", inode))
    assert str(said) == (
        "lab-news 1.1.0 is damaged in this server's store (news.php has another content); it was"
        " set aside; run this again and it is sent anew"
    )
    assert not store.holds(sha256)


def test_absence_is_said_and_nothing_is_set_aside(sha256: str) -> None:
    block = {"name": "lab-news", "version": "1.1.0", "sha256": sha256}
    assert "not in this server's store any more" in str(staging.refusal(block, store.AbsentError()))
    assert store.holds(sha256)


def test_which_artefacts_a_release_was_built_from() -> None:
    paths = layout.SitePaths("heusden")
    release = "20261123T182200Z-1a2b3c4d"
    assert staging.hashes_of(paths, "") == frozenset()
    assert staging.hashes_of(paths, release) == frozenset()
    specification = {
        "wordpress": {"sha256": "a"},
        "language": None,
        "theme": {"sha256": "b"},
        "blocks": [{"sha256": "c"}],
    }
    folder = Path(paths.release(release))
    folder.mkdir(parents=True)
    files.write_json(str(folder / "release.json"), {"specification": specification})
    assert staging.hashes_of(paths, release) == {"a", "b", "c"}
