"""Secret values: read where they are needed, and never shown by accident."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pyrage  # type: ignore[import-untyped]

from owc_deploy.errors import SecretError
from owc_deploy.fleet.models import FleetSettings, SecretReference

REDACTED = "***"
FOLDER = "secrets"
AGE_ENDING = ".age"
VAULT_ENDING = ".vault"

_VAULT_TIMEOUT_SECONDS = 60
_MAXIMUM_BYTES = 1_000_000


class Sensitive:
    """A secret value; `repr`, `str` and `format` show `***`, pickling is refused."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Sensitive({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, specification: str) -> str:
        return format(REDACTED, specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


def secret_file(root: Path, name: str) -> Path | None:
    """Return the file that holds a secret, `None` when there is none."""
    for ending in (AGE_ENDING, VAULT_ENDING):
        path = root / FOLDER / f"{name}{ending}"
        if path.is_file():
            return path
    return None


def read_secret(settings: FleetSettings, root: Path, reference: SecretReference) -> Sensitive:
    """Open one secret of the fleet.

    Raises SecretError when the file, or the key that opens it, is missing or does not fit.
    """
    path = secret_file(root, reference.secret)
    if path is None:
        raise SecretError(
            f"the secret `{reference.secret}` has no file in {root / FOLDER}",
            hint=f"age -R RECIPIENTS -o {FOLDER}/{reference.secret}{AGE_ENDING} FILE",
        )
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise SecretError(f"{path} is too large for a secret")
    opened = _open_age(settings, path) if path.suffix == AGE_ENDING else _open_vault(settings, path)
    try:
        return Sensitive(opened.decode("utf-8"))
    except UnicodeDecodeError:
        # The error itself would carry the secret's bytes; it must not be chained.
        raise SecretError(f"{path} opens, but does not hold text") from None


def _open_age(settings: FleetSettings, path: Path) -> bytes:
    if settings.age_identity is None:
        raise SecretError(
            f"{path} is locked, and fleet.yml does not say which key opens it",
            hint="write `age_identity: ~/.ssh/id_ed25519` in fleet.yml",
        )
    try:
        return bytes(pyrage.decrypt(path.read_bytes(), [_identity(settings.age_identity)]))
    except pyrage.DecryptError as error:
        raise SecretError(
            f"{settings.age_identity} does not open {path}: {error}",
            hint="ask somebody whose key opens it to encrypt it for your key too",
        ) from None


def _identity(path: Path) -> pyrage.x25519.Identity | pyrage.ssh.Identity:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SecretError(
            f"the key {path} cannot be read: {error.strerror}",
            hint="name your own age or SSH private key in fleet.yml's age_identity",
        ) from error
    try:
        if b"PRIVATE KEY-----" in raw:
            return pyrage.ssh.Identity.from_buffer(raw)
        for line in raw.decode("ascii").splitlines():
            if line.startswith("AGE-SECRET-KEY-"):
                return pyrage.x25519.Identity.from_str(line.strip())
    except (pyrage.IdentityError, UnicodeDecodeError):
        pass
    raise SecretError(
        f"{path} is not an age key, nor an SSH private key (ed25519 or RSA) without a passphrase",
        hint="age-keygen -o KEY, and name KEY in fleet.yml's age_identity",
    )


def _open_vault(settings: FleetSettings, path: Path) -> bytes:
    """Let ansible-vault open the file in a process of its own: importing Ansible takes 0.4 s."""
    if settings.vault_password_file is None:
        raise SecretError(
            f"{path} is locked, and fleet.yml does not say which password file opens it",
            hint="write `vault_password_file: ~/.owc-deploy-vault-password` in fleet.yml",
        )
    program = Path(sys.executable).with_name("ansible-vault")
    arguments = [
        str(program) if program.exists() else "ansible-vault",
        "decrypt",
        "--vault-password-file",
        str(settings.vault_password_file),
        "--output=-",
        str(path),
    ]
    try:
        finished = subprocess.run(
            arguments,
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # Ansible refuses any other encoding
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VAULT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SecretError(
            f"ansible-vault could not be run: {error}", hint="pip install owc-deploy again"
        ) from error
    if finished.returncode != 0:
        reason = finished.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SecretError(
            f"ansible-vault does not open {path}",
            context=next((line for line in reason if line.startswith(("ERROR", "[ERROR"))), None),
            hint=f"check {settings.vault_password_file}",
        )
    return finished.stdout
