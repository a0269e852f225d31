"""Certificates not asked for on the server: the fleet's own authority, and supplied ones."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from owc_deploy.errors import SecretError
from owc_deploy.fleet.secrets import Sensitive

_FOLDER = Path(".owc-deploy", "internal-ca")
_CERTIFICATE = "certificate.pem"
_KEY = "private-key.pem"
_AUTHORITY_DAYS = 3653
_LEAF_DAYS = 90
# Clocks of servers and browsers are not exactly ours.
_CLOCK_SKEW = timedelta(minutes=10)
_COMMON_NAME_CHARACTERS = 64


class InternalAuthority:
    """The certificate authority that signs sites with `tls: internal`.

    It belongs to one fleet, may sign for host names only (no addresses, no further authorities) and
    is meant for labs, tests and sites behind a supplier's own front.
    """

    def __init__(
        self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, fleet_root: Path, now: datetime) -> Self:
        """Return the fleet's authority, made when there is none yet.

        Two processes may do this at once: one makes it, both use that one. Raises SecretError when
        it cannot be read or made, or has expired.
        """
        folder = fleet_root / _FOLDER
        hint = f"rm -r {folder} (a new authority is made; browsers must trust it anew)"
        try:
            if not folder.is_dir():
                _create(folder, fleet_root.name, now)
            certificate = x509.load_pem_x509_certificate((folder / _CERTIFICATE).read_bytes())
            key = serialization.load_pem_private_key((folder / _KEY).read_bytes(), password=None)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SecretError(
                f"the fleet's internal authority in {folder} cannot be used: {reason}",
                hint=f"ls -la {folder.parent}",
            ) from error
        except ValueError as error:
            raise SecretError(
                f"the fleet's internal authority in {folder} is damaged: {error}", hint=hint
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SecretError(f"{folder / _KEY} is not a key that this tool made", hint=hint)
        if certificate.not_valid_after_utc <= now:
            raise SecretError(f"the fleet's internal authority in {folder} expired", hint=hint)
        return cls(folder, certificate, key)

    @property
    def certificate_path(self) -> Path:
        """The authority's certificate, for `curl --cacert` and for browsers to trust."""
        return self._folder / _CERTIFICATE

    def issue(
        self, domains: Iterable[str], now: datetime, days: int = _LEAF_DAYS
    ) -> tuple[str, Sensitive]:
        """Return a certificate for these host names (PEM) and its new private key.

        It ends when the authority does, if that is sooner than `days` from `now`.
        """
        names = list(dict.fromkeys(domains))
        key = ec.generate_private_key(ec.SECP256R1())
        ends = min(now + timedelta(days=days), self._certificate.not_valid_after_utc)
        authority_key = self._certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_key),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        return pem, Sensitive(_key_pem(key).decode("ascii"))


@dataclass(frozen=True, slots=True)
class SuppliedCertificate:
    """A certificate somebody else issued; `problems` say in words why it will not do."""

    chain: str
    not_after: datetime | None
    problems: tuple[str, ...]


def read_supplied(
    path: Path, domains: Iterable[str], now: datetime, *, private_key: Sensitive | None = None
) -> SuppliedCertificate:
    """Read a PEM file, leaf first, and say everything that is wrong with it for these domains."""
    try:
        chain = path.read_text(encoding="ascii")
        certificates = x509.load_pem_x509_certificates(chain.encode("ascii"))
    except OSError as error:
        return SuppliedCertificate("", None, (f"cannot be read: {error.strerror}",))
    except ValueError:
        return SuppliedCertificate("", None, ("holds no certificates in PEM form",))
    leaf = certificates[0]
    problems = [
        *_problems_of_time(certificates, now),
        *_problems_of_domains(leaf, domains),
        *_problems_of_chain(certificates),
    ]
    if private_key is not None:
        problems += _problems_of_key(leaf, private_key)
    return SuppliedCertificate(chain, leaf.not_valid_after_utc, tuple(problems))


def _problems_of_time(certificates: list[x509.Certificate], now: datetime) -> Iterable[str]:
    for number, certificate in enumerate(certificates, 1):
        if certificate.not_valid_after_utc <= now:
            yield f"certificate {number} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        elif certificate.not_valid_before_utc > now:
            yield f"certificate {number} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}"


def _problems_of_domains(leaf: x509.Certificate, domains: Iterable[str]) -> Iterable[str]:
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]
    for domain in domains:
        # A wildcard stands for exactly one label.
        wildcard = f"*.{domain.lower().partition('.')[2]}"
        if domain.lower() not in names and wildcard not in names:
            yield f"does not cover {domain}; it covers {', '.join(names) or 'no host name'}"


def _problems_of_chain(certificates: list[x509.Certificate]) -> Iterable[str]:
    for number, (below, above) in enumerate(itertools.pairwise(certificates), 1):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            yield (
                f"certificate {number} is not signed by certificate {number + 1}:"
                " put the site's own first, then each issuer"
            )


def _problems_of_key(leaf: x509.Certificate, private_key: Sensitive) -> Iterable[str]:
    try:
        key = serialization.load_pem_private_key(private_key.reveal().encode(), password=None)
    except TypeError:
        yield "its private key is protected by a passphrase, which nobody can type on a server"
    except (ValueError, UnsupportedAlgorithm):
        yield "its private key is not a key in PEM form"
    else:
        if key.public_key() != leaf.public_key():
            yield "its private key belongs to another certificate"


def _create(folder: Path, fleet: str, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"owc-deploy internal authority of {fleet}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.NameConstraints(
                permitted_subtrees=None,
                excluded_subtrees=[
                    x509.IPAddress(ip_network("0.0.0.0/0")),
                    x509.IPAddress(ip_network("::/0")),
                ],
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".internal-ca-", dir=folder.parent))
    try:
        _write(made / _KEY, _key_pem(key), mode=0o600)
        _write(made / _CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        made.chmod(0o755)
        # Renaming onto a folder that is not empty fails: then another process was first.
        made.rename(folder)
    except OSError:
        if not (folder / _KEY).is_file():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_CHARACTERS])]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
