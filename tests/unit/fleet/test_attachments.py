"""Supplied certificates and secrets are looked at before anything is sent anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from unit.fleet.fleet_folder import manifest, write_fleet

from owc_deploy.errors import Problem
from owc_deploy.fleet.load import check_fleet

SUPPLIED = manifest(
    aliases="aliases: [voorbeeld.example]",
    tls="tls: {policy: supplied, certificate: certificates/x.pem, private_key: {secret: x-tls}}",
    **{"  policy": ""},
)


def certificate(*names: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def problems(root: Path, pem: bytes | None, key_file: str = "secrets/x-tls.age") -> list[Problem]:
    files: dict[str, str | bytes] = {"sites/voorbeeld.yml": SUPPLIED}
    if pem is not None:
        files["certificates/x.pem"] = pem
    if key_file:
        files[key_file] = b"encrypted"
    return list(check_fleet(write_fleet(root, files))[1])


@pytest.mark.parametrize("secret", ["secrets/x-tls.age", "secrets/x-tls.vault"])
@pytest.mark.parametrize(
    "names",
    [("www.voorbeeld.example", "voorbeeld.example"), ("*.voorbeeld.example", "voorbeeld.example")],
)
def test_a_certificate_for_every_domain_is_good(
    tmp_path: Path, names: tuple[str, ...], secret: str
) -> None:
    assert problems(tmp_path, certificate(*names), secret) == []


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (None, "does not exist"),
        (b"not a certificate", "not a PEM certificate"),
        (b"-----BEGIN PRIVATE KEY-----", "holds a private key"),
    ],
)
def test_a_certificate_that_cannot_be_used(tmp_path: Path, pem: bytes | None, words: str) -> None:
    (problem,) = problems(tmp_path, pem)
    assert (problem.path, problem.reference) == ("tls.certificate", "certificate")
    assert words in problem.message


def test_a_domain_that_is_not_covered_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, certificate("*.voorbeeld.example"))
    assert "not for voorbeeld.example" in problem.message


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    pem = certificate("*.voorbeeld.example", "voorbeeld.example")
    (problem,) = problems(tmp_path, pem, key_file="")
    assert (problem.reference, problem.path) == ("missing-secret", "tls.private_key.secret")
    assert "secrets/x-tls.age" in problem.suggestion


def test_a_certificate_outside_the_fleet_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "x.pem"
    outside.write_bytes(certificate("*.voorbeeld.example", "voorbeeld.example"))
    root = write_fleet(
        tmp_path / "fleet", {"sites/voorbeeld.yml": SUPPLIED, "secrets/x-tls.age": b"encrypted"}
    )
    (root / "certificates").mkdir()
    (root / "certificates" / "x.pem").symlink_to(outside)
    (problem,) = check_fleet(root)[1]
    assert "outside" in problem.message
