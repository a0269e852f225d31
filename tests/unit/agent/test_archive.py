from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from owc_agent import archive, layout
from owc_agent import store as kept


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "STORE", str(tmp_path / "store"))
    monkeypatch.setattr(layout, "INCOMING", str(tmp_path / "incoming"))
    (tmp_path / "store").mkdir()
    (tmp_path / "incoming").mkdir()
    return tmp_path / "store"


def packed(entries: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, data)
    return content.getvalue()


def bundle(folder: Path, members: dict[str, bytes]) -> str:
    path = folder / "bundle.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def send(folder: Path, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    archive.receive(bundle(folder, {f"{sha256}.zip": data}))
    return sha256


def test_an_artefact_is_unpacked_under_its_hash_and_kept_from_php(
    tmp_path: Path, store: Path
) -> None:
    sha256 = send(tmp_path, packed({"block/block.php": b"<?php", "block/a/b.txt": b"x"}))
    assert (store / sha256 / "block" / "block.php").read_bytes() == b"<?php"
    assert stat.S_IMODE((store / sha256 / "block" / "a" / "b.txt").stat().st_mode) == 0o644
    assert kept.artefacts() == [sha256]
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["lock"]


def test_an_artefact_already_stored_is_passed_over(tmp_path: Path, store: Path) -> None:
    data = packed({"block/block.php": b"<?php"})
    sha256 = send(tmp_path, data)
    marker = store / sha256 / "marker"
    marker.touch()
    send(tmp_path, data)
    assert marker.exists()


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a\\b", "a/./b"],
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, store: Path, name: str) -> None:
    with pytest.raises(archive.ArtefactRefusedError):
        send(tmp_path, packed({"block/ok.php": b"x", name: b"x"}))
    assert not list(store.iterdir())


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, store: Path, mode: int) -> None:
    with pytest.raises(archive.ArtefactRefusedError):
        send(tmp_path, packed({"block/link": b"/etc/passwd"}, mode | 0o777))
    assert not list(store.iterdir())


def test_another_content_than_the_hash_says_is_refused(tmp_path: Path, store: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(archive.ArtefactRefusedError, match="another content"):
        archive.receive(bundle(tmp_path, {f"{wrong}.zip": packed({"a/b": b"x"})}))
    assert not list(store.iterdir())


def test_a_bomb_is_refused(tmp_path: Path, store: Path) -> None:
    with pytest.raises(archive.ArtefactRefusedError, match="suspiciously"):
        send(tmp_path, packed({"block/zeros": bytes(64 << 20)}))
    assert not list(store.iterdir())


@pytest.mark.parametrize("name", ["../x.zip", "x.zip", "a/" + "0" * 64 + ".zip", "0" * 64])
def test_a_bundle_holds_nothing_but_artefacts(tmp_path: Path, name: str) -> None:
    with pytest.raises((archive.ArtefactRefusedError, layout.NameRefusedError)):
        archive.receive(bundle(tmp_path, {name: b"x"}))


def test_the_store_is_readable_whatever_the_umask_and_the_umask_is_kept(
    tmp_path: Path, store: Path
) -> None:
    umask = os.umask(0o077)
    try:
        sha256 = send(tmp_path, packed({"block/a/b.txt": b"x"}))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)
    for folder in (store / sha256, store / sha256 / "block", store / sha256 / "block" / "a"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("size", [0, 300, 600])
def test_a_bundle_that_arrived_damaged_is_refused(tmp_path: Path, store: Path, size: int) -> None:
    data = packed({"block/block.php": b"<?php"})
    path = Path(bundle(tmp_path, {f"{hashlib.sha256(data).hexdigest()}.zip": data}))
    path.write_bytes(path.read_bytes()[:size] if size else b"x" * 1024)
    with pytest.raises(archive.ArtefactRefusedError, match="arrived"):
        archive.receive(str(path))
    assert not list(store.iterdir())
