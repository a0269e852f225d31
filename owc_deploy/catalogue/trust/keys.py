"""The keys of those who sign: made, read, and used where they are.

A holder's public half is a small JSON file to hand around. The private half is a file encrypted
with a passphrase, or stays in GnuPG's agent or on a PKCS#11 token.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_public_key,
    load_ssh_private_key,
)
from securesystemslib.signer import (
    CryptoSigner,
    GPGKey,
    GPGSigner,
    HSMSigner,
    Key,
    Signer,
    SSlibKey,
)

from owc_deploy.catalogue.trust.errors import KeyUnusableError
from owc_deploy.catalogue.write import write_atomically

HOLDER_FIELD = "x-owc-holder"
PRIVATE_ENDING = ".key"
PUBLIC_ENDING = ".pub.json"
SCHEMA_VERSION = 1

_FILE = "file"
_MAXIMUM_BYTES = 64 << 10
_MAXIMUM_NAME = 100
_MINIMUM_PASSPHRASE = 8
SHOWN_KEYID = 16
_FINGERPRINT = re.compile(r"[0-9a-f]{40}")
# Of GnuPG, by what its numbers are called; written as bytes, they have one form only.
_GNUPG_KINDS = {
    ("eddsa", "pgp+eddsa-ed25519"): {"q"},
    ("rsa", "pgp+rsa-pkcsv1.5"): {"e", "n"},
}
_NUMBER = re.compile(r"(?!00)(?:[0-9a-f]{2})+")
_PLAIN_KINDS = {
    ("ed25519", "ed25519"),
    ("ecdsa", "ecdsa-sha2-nistp256"),
    ("ecdsa", "ecdsa-sha2-nistp384"),
}

AskSecret = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Holder:
    """A party that signs. `base` is the path of its files without their endings.

    `signer` says where the private key is: `file` beside the public one, `gnupg:` with the folder
    of its keyring, or `hsm:` (see securesystemslib for these addresses).
    """

    name: str
    key: Key
    signer: str
    base: Path


def create_key(base: Path, name: str, passphrase: str) -> Holder:
    """Make an Ed25519 key: `BASE.key`, encrypted and for its owner alone, and `BASE.pub.json`.

    The private file has OpenSSH's form, whose passphrase is costly to guess (bcrypt). Raises
    KeyUnusableError when there is a key already or the passphrase is too short.
    """
    if len(passphrase) < _MINIMUM_PASSPHRASE:
        raise KeyUnusableError(
            f"a passphrase has at least {_MINIMUM_PASSPHRASE} characters; whoever finds the file "
            "can try as many as he likes"
        )
    base = _without_ending(base)
    _refuse_written_over(base, name)
    private_key = Ed25519PrivateKey.generate()
    content = private_key.private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(passphrase.encode())
    )
    file = _with_ending(base, PRIVATE_ENDING)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise KeyUnusableError(f"{file} cannot be written: {error.strerror}") from error
    return _holder(base, name, SSlibKey.from_crypto(private_key.public_key()), _FILE)


def adopt_key(base: Path, name: str, where: str) -> Holder:
    """Write the public half of a key that stays in GnuPG's agent or on a token.

    `where` is `gnupg:FINGERPRINT` or `hsm:`. Raises KeyUnusableError when there is no such key.
    """
    scheme, _, identifier = where.partition(":")
    if scheme not in {"gnupg", "hsm"}:
        raise KeyUnusableError(f"{where} is neither gnupg:FINGERPRINT nor hsm:")
    try:
        if scheme == "gnupg":
            signer, key = GPGSigner.import_(identifier.replace(" ", "").lower())
        else:
            signer, key = HSMSigner.import_()
    except Exception as error:  # The library lets whatever its tools raise through.
        raise KeyUnusableError(f"{where} holds no key that can be used: {error}") from error
    base = _without_ending(base)
    _refuse_written_over(base, name)
    key.unrecognized_fields[HOLDER_FIELD] = name
    if wrong := wrong_with_key(key):
        raise KeyUnusableError(f"the key {where} {wrong}")
    return _holder(base, name, key, signer)


def read_holder(path: Path) -> Holder:
    """Read a public key; `path` may also name the private file, or both without an ending.

    Raises KeyUnusableError when it cannot be read or is not what `create_key` writes.
    """
    base = _without_ending(path)
    file = _with_ending(base, PUBLIC_ENDING)
    try:
        with file.open("rb") as stream:
            document = json.loads(stream.read(_MAXIMUM_BYTES))
        holder = _read(document, base)
    except FileNotFoundError:
        raise KeyUnusableError(
            f"there is no public key {file}", hint=f"owc-deploy catalogue key {base} --holder NAME"
        ) from None
    except OSError as error:
        raise KeyUnusableError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyUnusableError(f"{file} is no public key of this tool: {error}") from error
    return holder


def signer_of(holder: Holder, ask_secret: AskSecret) -> Signer:
    """Open the holder's private key; `ask_secret` is given what is asked for, in words.

    Raises KeyUnusableError when it cannot be opened or belongs to another public key.
    """
    if holder.signer == _FILE:
        return _signer_of_file(holder, ask_secret)
    try:
        return Signer.from_priv_key_uri(holder.signer, holder.key, ask_secret)
    except Exception as error:  # As above: tokens and agents raise what they like.
        raise KeyUnusableError(f"the key of {holder.name} cannot be used: {error}") from error


def holder_name(key: Key) -> str:
    """Return the name of the party that a key belongs to, as it calls itself."""
    return str(key.unrecognized_fields.get(HOLDER_FIELD, ""))


def shown(key: Key) -> str:
    """Return the name of the party that a key belongs to, with what tells it from impostors."""
    return f"{holder_name(key)} ({key.keyid[:SHOWN_KEYID]})".strip()


def same_public_key(one: Key, other: Key) -> bool:
    """Return whether two keys, of which nothing is wrong, are one key, whatever they are called."""
    return _material(one) == _material(other)


def wrong_with_key(key: Key) -> str:
    """Return why a key may not be used, `""` when it may: each key has one form and one name.

    Otherwise one key could be written in two ways, and one party count as two.
    """
    kind = (key.keytype, key.scheme)
    try:
        _checked_name(key.unrecognized_fields.get(HOLDER_FIELD))
        if isinstance(key, GPGKey):
            numbers = key.keyval["public"]
            sound = (
                kind in _GNUPG_KINDS
                and _FINGERPRINT.fullmatch(key.keyid) is not None
                and set(numbers) == _GNUPG_KINDS[kind]
                and all(_NUMBER.fullmatch(number) for number in numbers.values())
            )
        else:
            again = _made_again(key)
            sound = kind in _PLAIN_KINDS and (again.keyid, again.keyval) == (key.keyid, key.keyval)
    except KeyUnusableError as error:
        return f"has no name that can be shown: {error.message}"
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    return "" if sound else "is not written in the one way that is accepted"


def _material(key: Key) -> tuple[str, object]:
    public = key.keyval["public"]
    if isinstance(key, GPGKey):
        # An Ed25519 key of GnuPG is the same secret outside of it.
        return ("ed25519", public["q"]) if "q" in public else ("rsa", public["n"])
    return key.keytype, public


def _signer_of_file(holder: Holder, ask_secret: AskSecret) -> Signer:
    file = _with_ending(holder.base, PRIVATE_ENDING)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise KeyUnusableError(
            f"the private key {file} cannot be read: {error.strerror}",
            hint="sign on the machine that holds it",
        ) from error
    passphrase = ask_secret(f"passphrase of {file}")
    try:
        private_key = load_ssh_private_key(content, passphrase.encode())
        if not isinstance(private_key, Ed25519PrivateKey) or not isinstance(holder.key, SSlibKey):
            raise KeyUnusableError(f"{file} is no key of this tool")
        return CryptoSigner(private_key, holder.key)
    except (ValueError, TypeError) as error:
        raise KeyUnusableError(
            f"{file} cannot be opened: the passphrase is wrong, or it is another key"
        ) from error


def _refuse_written_over(base: Path, name: str) -> None:
    _checked_name(name)
    for ending in (PUBLIC_ENDING, PRIVATE_ENDING):
        file = _with_ending(base, ending)
        if file.exists():
            raise KeyUnusableError(f"{file} is there already; a key is never written over")


def _holder(base: Path, name: str, key: Key, signer: str) -> Holder:
    key.unrecognized_fields[HOLDER_FIELD] = name
    file = _with_ending(base, PUBLIC_ENDING)
    document = {
        "schema_version": SCHEMA_VERSION,
        "holder": name,
        "keyid": key.keyid,
        "signer": signer,
        "key": key.to_dict(),
    }
    content = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OSError as error:
        raise KeyUnusableError(f"{file} cannot be written: {error.strerror}") from error
    return Holder(name, key, signer, base)


def _read(document: dict[str, Any], base: Path) -> Holder:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {document['schema_version']}, not {SCHEMA_VERSION}")
    name = _checked_name(document["holder"])
    key = Key.from_dict(document["keyid"], dict(document["key"]))
    key.unrecognized_fields[HOLDER_FIELD] = name
    if wrong := wrong_with_key(key):
        raise ValueError(f"its key {wrong}")
    signer = document["signer"]
    if not isinstance(signer, str) or signer.partition(":")[0] not in {_FILE, "gnupg", "hsm"}:
        raise ValueError("its signer is none of file, gnupg: and hsm:")
    return Holder(name, key, signer, base)


def _made_again(key: Key) -> SSlibKey:
    public = key.keyval["public"]
    public_key = (
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        if key.keytype == "ed25519"
        else load_pem_public_key(public.encode())
    )
    return SSlibKey.from_crypto(public_key, scheme=key.scheme)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _MAXIMUM_NAME:
        raise KeyUnusableError(f"a holder has a name of 1 to {_MAXIMUM_NAME} characters")
    if not name.isprintable() or "," in name or "(" in name:
        raise KeyUnusableError("a holder's name has no commas, brackets or signs nobody can see")
    return name


def _without_ending(path: Path) -> Path:
    for ending in (PUBLIC_ENDING, PRIVATE_ENDING):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending))
    return path


def _with_ending(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)
