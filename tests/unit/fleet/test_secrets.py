"""Secrets open with the right key, refuse in words with another, and never show themselves."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from owc_deploy.errors import SecretError
from owc_deploy.fleet.models import FleetSettings, Ring, SecretReference
from owc_deploy.fleet.secrets import Sensitive, read_secret

CANARY = "geheim-kanarie-7f3a"
KEY = SecretReference("voorbeeld-tls")


@pytest.fixture
def fleet(tmp_path: Path) -> FleetSettings:
    (tmp_path / "secrets").mkdir()
    return FleetSettings("x", tmp_path / "catalogue", tmp_path / "state", (Ring("one"),))


def age_file(root: Path, recipient: object) -> None:
    encrypted = pyrage.encrypt(CANARY.encode(), [recipient])
    (root / "secrets" / "voorbeeld-tls.age").write_bytes(encrypted)


def test_an_age_key_opens_it(tmp_path: Path, fleet: FleetSettings) -> None:
    identity = pyrage.x25519.Identity.generate()
    age_file(tmp_path, identity.to_public())
    (tmp_path / "key").write_text(f"# created: today\n{identity}\n")
    opened = read_secret(dataclasses.replace(fleet, age_identity=tmp_path / "key"), tmp_path, KEY)
    assert opened == Sensitive(CANARY)
    assert opened.reveal() == CANARY


def test_an_ssh_key_opens_it(tmp_path: Path, fleet: FleetSettings) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    age_file(tmp_path, pyrage.ssh.Recipient.from_str(public.decode()))
    (tmp_path / "id_ed25519").write_bytes(private)
    settings = dataclasses.replace(fleet, age_identity=tmp_path / "id_ed25519")
    assert read_secret(settings, tmp_path, KEY).reveal() == CANARY


def test_ansible_vault_opens_it(tmp_path: Path, fleet: FleetSettings) -> None:
    (tmp_path / "password").write_text("wachtwoord\n")
    (tmp_path / "plain").write_text(CANARY)
    subprocess.run(
        [
            Path(sys.executable).with_name("ansible-vault"),
            "encrypt",
            "--vault-password-file",
            tmp_path / "password",
            "--output",
            tmp_path / "secrets" / "voorbeeld-tls.vault",
            tmp_path / "plain",
        ],
        check=True,
        capture_output=True,
    )
    settings = dataclasses.replace(fleet, vault_password_file=tmp_path / "password")
    assert read_secret(settings, tmp_path, KEY).reveal() == CANARY

    (tmp_path / "password").write_text("anders\n")
    with pytest.raises(SecretError) as caught:
        read_secret(settings, tmp_path, KEY)
    assert "does not open" in caught.value.message
    assert caught.value.hint


def test_another_key_is_refused_in_words(tmp_path: Path, fleet: FleetSettings) -> None:
    age_file(tmp_path, pyrage.x25519.Identity.generate().to_public())
    (tmp_path / "key").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    with pytest.raises(SecretError) as caught:
        read_secret(dataclasses.replace(fleet, age_identity=tmp_path / "key"), tmp_path, KEY)
    assert "does not open" in caught.value.message


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({}, "does not say which key"),
        ({"age_identity": Path("/nowhere/key")}, "cannot be read"),
        ({"age_identity": Path(__file__)}, "is not an age key"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, fleet: FleetSettings, setting: dict[str, Path], words: str
) -> None:
    age_file(tmp_path, pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(SecretError) as caught:
        read_secret(dataclasses.replace(fleet, **setting), tmp_path, KEY)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_secret_without_a_file(tmp_path: Path, fleet: FleetSettings) -> None:
    with pytest.raises(SecretError, match="no file"):
        read_secret(fleet, tmp_path, KEY)


def test_a_secret_never_shows_itself() -> None:
    secret = Sensitive(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>10}", f"{[secret]}"]
    assert not any(CANARY in text for text in shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
