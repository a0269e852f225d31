"""Keys: made, read, opened; in files, in GnuPG's agent."""

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from owc_deploy.catalogue.trust.errors import KeyUnusableError
from owc_deploy.catalogue.trust.keys import (
    adopt_key,
    create_key,
    holder_name,
    read_holder,
    signer_of,
)

PASSPHRASE = "canary-of-the-passphrase"
PIN = "123456"


def ask(_: str) -> str:
    return PASSPHRASE


def test_a_key_is_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    holder = create_key(tmp_path / "keys/buren", "Gemeente Buren", PASSPHRASE)
    private = tmp_path / "keys/buren.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with pytest.raises(KeyUnusableError, match="the passphrase is wrong"):
        signer_of(holder, lambda _: "")
    everything = b"".join(file.read_bytes() for file in (tmp_path / "keys").iterdir())
    assert PASSPHRASE.encode() not in everything
    for name in ("buren", "buren.key", "buren.pub.json"):
        again = read_holder(tmp_path / "keys" / name)
        assert (again.name, again.key) == ("Gemeente Buren", holder.key)
        assert holder_name(again.key) == "Gemeente Buren"
    signature = signer_of(again, ask).sign(b"text")
    again.key.verify_signature(signature, b"text")


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    create_key(tmp_path / "buren", "Gemeente Buren", PASSPHRASE)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(KeyUnusableError, match="never written over"):
        create_key(tmp_path / "buren", "Somebody else", PASSPHRASE)
    (tmp_path / "buren.pub.json").rename(tmp_path / "elsewhere")
    with pytest.raises(KeyUnusableError, match="never written over"):
        create_key(tmp_path / "buren", "Somebody else", PASSPHRASE)
    (tmp_path / "elsewhere").replace(tmp_path / "buren.pub.json")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("wrong", "the passphrase is wrong"), ("", "the passphrase is wrong")],
)
def test_a_wrong_passphrase_is_said(tmp_path: Path, answer: str, reason: str) -> None:
    holder = create_key(tmp_path / "buren", "Gemeente Buren", PASSPHRASE)
    with pytest.raises(KeyUnusableError, match=reason):
        signer_of(holder, lambda _: answer)


def test_the_private_key_of_another_is_said(tmp_path: Path) -> None:
    create_key(tmp_path / "buren", "Gemeente Buren", PASSPHRASE)
    create_key(tmp_path / "heusden", "Gemeente Heusden", PASSPHRASE)
    shutil.copy(tmp_path / "heusden.key", tmp_path / "buren.key")
    with pytest.raises(KeyUnusableError):
        signer_of(read_holder(tmp_path / "buren"), ask)


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "Buren\nHeusden", "\x1b[31mBuren"])
def test_a_holder_has_a_name_to_be_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyUnusableError):
        create_key(tmp_path / "key", name, PASSPHRASE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"holder": 7},
        {"holder": "a\nb"},
        {"keyid": "0" * 64},
        {"signer": "sh:-c"},
        {"signer": 7},
        {"key": {}},
        {"key": None},
    ],
)
def test_a_public_key_that_is_none_is_said(tmp_path: Path, change: dict[str, Any]) -> None:
    create_key(tmp_path / "buren", "Gemeente Buren", PASSPHRASE)
    file = tmp_path / "buren.pub.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(KeyUnusableError):
        read_holder(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 10_000])
def test_what_is_no_public_key_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pub.json").write_bytes(content)
    with pytest.raises(KeyUnusableError):
        read_holder(tmp_path / "x")


def test_a_missing_key_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusableError) as error:
        read_holder(tmp_path / "buren")
    assert "owc-deploy catalogue key" in (error.value.hint or "")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A GnuPG keyring with one key, whose private half its agent keeps."""
    gpg = shutil.which("gpg")
    if gpg is None:
        pytest.skip("this machine has no gpg")
    # An agent's socket has a short path, which those of pytest are not.
    with tempfile.TemporaryDirectory(prefix="owc-gpg-") as home:
        Path(home).chmod(0o700)
        monkeypatch.setenv("GNUPGHOME", home)
        environment = {**os.environ, "GNUPGHOME": home}
        subprocess.run(
            [
                gpg,
                "--batch",
                "--passphrase",
                "",
                "--quick-generate-key",
                "buren@example",
                "ed25519",
            ],
            check=True,
            capture_output=True,
            env=environment,
        )
        listed = subprocess.run(
            [gpg, "--list-keys", "--with-colons"],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout
        yield next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        subprocess.run(
            ["gpgconf", "--kill", "gpg-agent"], check=True, capture_output=True, env=environment
        )


def test_a_key_may_stay_in_the_agent_of_gnupg(tmp_path: Path, keyring: str) -> None:
    adopt_key(tmp_path / "buren", "Gemeente Buren", f"gnupg:{keyring}")
    assert [file.name for file in tmp_path.iterdir()] == ["buren.pub.json"]
    holder = read_holder(tmp_path / "buren")
    signature = signer_of(holder, ask).sign(b"text")
    holder.key.verify_signature(signature, b"text")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PKCS#11 token, in software, with one key that never leaves it."""
    library, tool = Path("/usr/lib/softhsm/libsofthsm2.so"), shutil.which("pkcs11-tool")
    if tool is None or not library.exists():
        pytest.skip("this machine has no softhsm2 and opensc")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("PYKCS11LIB", str(library))
    pin = ("--login", "--pin", PIN)
    for arguments in (
        ("--init-token", "--label", "buren", "--so-pin", PIN, "--slot-index", "0"),
        ("--init-pin", "--login", "--so-pin", PIN, "--pin", PIN, "--token-label", "buren"),
        (
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--id",
            "02",
            "--token-label",
            "buren",
            *pin,
        ),
    ):
        subprocess.run([tool, "--module", library, *arguments], check=True, capture_output=True)


@pytest.mark.usefixtures("token")
def test_a_key_may_stay_on_a_token(tmp_path: Path) -> None:
    adopt_key(tmp_path / "keys/buren", "Gemeente Buren", "hsm:")
    holder = read_holder(tmp_path / "keys/buren")
    asked: list[str] = []

    def pin(what: str) -> str:
        asked.append(what)
        return PIN

    signature = signer_of(holder, pin).sign(b"text")
    holder.key.verify_signature(signature, b"text")
    assert asked == ["pin"]
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["buren.pub.json"]


@pytest.mark.parametrize("where", ["gnupg:" + "0" * 40, "sh:x", "hsm:", "gnupg:--version"])
def test_a_key_that_is_not_there_cannot_be_adopted(tmp_path: Path, where: str) -> None:
    with pytest.raises(KeyUnusableError):
        adopt_key(tmp_path / "buren", "Gemeente Buren", where)
    assert not list(tmp_path.iterdir())
