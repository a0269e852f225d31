"""Keys of a lab: made here, so that host-key checking is strict from the first connection."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_PRIVATE_MODE = 0o600


def ensure_key_pair(path: Path) -> str:
    """Make an ed25519 key pair at `path` unless there is one; return the public line."""
    public = path.with_name(f"{path.name}.pub")
    if not (path.is_file() and public.is_file()):
        key = Ed25519PrivateKey.generate()
        path.touch(mode=_PRIVATE_MODE)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        public.write_bytes(
            key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"
        )
    return public.read_text(encoding="ascii").strip()
