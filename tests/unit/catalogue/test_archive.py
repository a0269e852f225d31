"""What is refused of an archive, and that packing gives the same bytes every time."""

import contextlib
import os
import stat
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.catalogue.archives import plugin_folder, plugin_zip, zip_of

from owc_deploy.catalogue.archive import MAXIMUM_ENTRIES, inspect_archive, pack_folder
from owc_deploy.catalogue.errors import ArtefactRefusedError

HOSTILE_NAMES = [
    ("../evil.php", "climbs out"),
    ("cmb2/../../evil.php", "climbs out"),
    ("cmb2/..", "climbs out"),
    ("/etc/passwd", "absolute path"),
    ("C:/windows/evil.php", "absolute path"),
    ("c:evil.php", "absolute path"),
    ("cmb2\\..\\evil.php", "backslash"),
    ("cmb2//evil.php", "empty part"),
    ("cmb2/./evil.php", "empty part"),
    ("cmb2/ev\x00il.php", "control character"),
    ("cmb2/ev\nil.php", "control character"),
    ("cmb2/\x1b[31m.php", "control character"),
    ("cmb2/" + "a/" * 40 + "deep.php", "folders deep"),
    ("cmb2/" + "a" * 300, "too long"),
    ("cmb2/CMB2.php", "one place on some disks"),
    ("CMB2/other.php", "one place on some disks"),
    ("cmb2/cmb2.php/inside.php", "one place on some disks"),
    ("cmb2/caf\u00e9.php", None),
]


@pytest.mark.parametrize(
    ("name", "said"), HOSTILE_NAMES, ids=[ascii(n[0])[:40] for n in HOSTILE_NAMES]
)
def test_names(tmp_path: Path, name: str, said: str | None) -> None:
    path = plugin_zip(tmp_path / "a.zip", {name: "x"})
    if said is None:
        assert name.removeprefix("cmb2/") in inspect_archive(path).files
        return
    with pytest.raises(ArtefactRefusedError) as caught:
        inspect_archive(path)
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFLNK | 0o777, "is a link"),
        (stat.S_IFCHR | 0o666, "a device"),
        (stat.S_IFIFO | 0o644, "a device, a socket or a pipe"),
        (stat.S_IFSOCK | 0o644, "a device"),
        (stat.S_IFDIR | 0o755, "both a file and a folder"),
        (stat.S_IFREG | stat.S_ISUID | 0o755, "setuid"),
    ],
)
def test_kinds_of_file(tmp_path: Path, mode: int, said: str) -> None:
    path = zip_of(tmp_path / "a.zip", {"cmb2/x": "/etc/passwd"}, {"cmb2/x": mode})
    with pytest.raises(ArtefactRefusedError, match=said):
        inspect_archive(path)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = plugin_zip(tmp_path / "a.zip", {f"../{n}": "x" for n in range(20)})
    with pytest.raises(ArtefactRefusedError) as caught:
        inspect_archive(path)
    assert caught.value.message.count("climbs out") == 10
    assert "and 10 more" in caught.value.message


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as twice:
        warnings.simplefilter("ignore")
        twice.writestr("cmb2/a.php", "1")
        twice.writestr("cmb2/a.php", "2")
    with pytest.raises(ArtefactRefusedError, match="one place"):
        inspect_archive(path)


def test_bombs(tmp_path: Path) -> None:
    path = plugin_zip(tmp_path / "a.zip", {"cmb2/zeros": b"\0" * (16 << 20)})
    with pytest.raises(ArtefactRefusedError, match="zip bomb"):
        inspect_archive(path)


def test_too_many_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as many:
        for number in range(MAXIMUM_ENTRIES + 1):
            many.writestr(f"cmb2/{number}", b"")
    with pytest.raises(ArtefactRefusedError, match="50001 entries"):
        inspect_archive(path)


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"cmb2/a.php": "x" * 1000})
    raw = bytearray(path.read_bytes())
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 24 : central + 28] = struct.pack("<L", 10)
    path.write_bytes(raw)
    with pytest.raises(ArtefactRefusedError, match="not a sound zip"):
        inspect_archive(path)


@pytest.mark.parametrize("offset", [0.3, 0.5])
def test_a_damaged_byte(tmp_path: Path, offset: float) -> None:
    path = zip_of(tmp_path / "a.zip", {"cmb2/a.php": os.urandom(2000)})
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * offset)] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ArtefactRefusedError, match="not a sound zip"):
        inspect_archive(path)


def test_an_encrypted_entry(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"cmb2/a.php": "x"})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(ArtefactRefusedError, match="encrypted"):
        inspect_archive(path)


def test_a_name_in_another_encoding(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"cmb2/caf\u00e9.php": "x"})
    raw = path.read_bytes().replace("caf\u00e9".encode(), b"caf\xe9x")
    path.write_bytes(raw)
    with pytest.raises(ArtefactRefusedError, match="not UTF-8"):
        inspect_archive(path)


@pytest.mark.parametrize(
    "members",
    [
        {"cmb2/a.php": "x", "other/b.php": "x"},
        {"cmb2/a.php": "x", "readme.txt": "x"},
        {"cmb2/a.php": "x", "__MACOSX/a": "x"},
        {"cmb2/": ""},
        {"a.php": "x"},
        {},
    ],
)
def test_one_top_folder(tmp_path: Path, members: dict[str, bytes | str]) -> None:
    with pytest.raises(ArtefactRefusedError, match="one folder at the top"):
        inspect_archive(zip_of(tmp_path / "a.zip", members))


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"<html>not found</html>", b"\x1f\x8b" + b"0" * 100]
)
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ArtefactRefusedError, match="not a sound zip"):
        inspect_archive(path)


@given(st.binary(max_size=400))
def test_any_bytes_are_judged_without_a_crash(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        sound = plugin_zip(path).read_bytes()
        for raw in (content, sound[: len(sound) // 2] + content + sound[len(sound) // 2 :]):
            path.write_bytes(raw)
            with contextlib.suppress(ArtefactRefusedError):
                inspect_archive(path)


def test_packing_is_reproducible(tmp_path: Path) -> None:
    first = plugin_folder(tmp_path / "one")
    second = plugin_folder(tmp_path / "two")
    for folder in (first, second):
        (folder / ".git").mkdir()
        (folder / ".git" / str(folder.stat().st_ino)).write_text("not packed")
        (folder / "a").mkdir()
    (first / "a" / "z").write_text("z")
    (first / "b").write_text("b")
    (second / "b").write_text("b")
    (second / "a" / "z").write_text("z")
    (first / "b").chmod(0o600)
    os.utime(second / "b", (0, 0))
    pack_folder(first, tmp_path / "1.zip", folder="cmb2")
    pack_folder(second, tmp_path / "2.zip", folder="cmb2")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert inspect_archive(tmp_path / "1.zip").files == {"cmb2.php", "a/z", "b"}


def test_packing_refuses_links(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path)
    (folder / "shadow").symlink_to("/etc/shadow")
    with pytest.raises(ArtefactRefusedError, match="is a link"):
        pack_folder(folder, tmp_path / "a.zip", folder="cmb2")
