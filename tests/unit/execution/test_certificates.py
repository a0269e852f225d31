from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from owc_deploy.errors import SecretError
from owc_deploy.execution.certificates import InternalAuthority, read_supplied

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
DOMAINS = ("www.heusden.example", "heusden.example")

RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from owc_deploy.execution.certificates import InternalAuthority
sys.stdin.readline()
authority = InternalAuthority.open(Path(sys.argv[1]), datetime.now(UTC))
print(hash(authority.certificate_path.read_bytes()))
"""


@pytest.fixture
def authority(tmp_path: Path) -> InternalAuthority:
    return InternalAuthority.open(tmp_path, NOW)


@pytest.fixture
def supplied(authority: InternalAuthority, tmp_path: Path) -> Path:
    path = tmp_path / "site.pem"
    path.write_text(authority.issue(DOMAINS, NOW)[0])
    return path


def load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_the_authority_is_made_once_with_its_key_private(tmp_path: Path) -> None:
    first = InternalAuthority.open(tmp_path, NOW)
    second = InternalAuthority.open(tmp_path, NOW + timedelta(days=1))
    folder = tmp_path / ".owc-deploy" / "internal-ca"
    assert first.certificate_path == second.certificate_path == folder / "certificate.pem"
    assert (folder / "private-key.pem").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.parent.iterdir()) == ["internal-ca"]
    certificate = load(first.certificate_path.read_text())
    assert certificate.not_valid_after_utc == NOW + timedelta(days=3653)


def test_a_site_certificate_is_for_its_domains_and_ninety_days(
    authority: InternalAuthority,
) -> None:
    pem, key = authority.issue(DOMAINS, NOW)
    certificate = load(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == DOMAINS
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)
    private = serialization.load_pem_private_key(key.reveal().encode(), password=None)
    assert private.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(load(authority.certificate_path.read_text()))


def test_it_never_outlives_the_authority(tmp_path: Path) -> None:
    InternalAuthority.open(tmp_path, NOW)
    late = NOW + timedelta(days=3650)
    pem, _ = InternalAuthority.open(tmp_path, late).issue(DOMAINS, late)
    assert load(pem).not_valid_after_utc == NOW + timedelta(days=3653)


def test_every_certificate_has_its_own_key_and_number(authority: InternalAuthority) -> None:
    one, two = (load(authority.issue(DOMAINS, NOW)[0]) for _ in range(2))
    assert one.serial_number != two.serial_number
    assert one.public_key() != two.public_key()


@pytest.mark.parametrize(
    ("host", "accepted"), [("heusden.example", True), ("other.example", False)]
)
def test_openssl_verifies_it(authority: InternalAuthority, host: str, accepted: bool) -> None:
    leaf = authority.certificate_path.parent / "leaf.pem"
    leaf.write_text(authority.issue(DOMAINS, NOW)[0])
    answer = subprocess.run(
        [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            authority.certificate_path,
            "-purpose",
            "sslserver",
            "-verify_hostname",
            host,
            "-attime",
            str(int((NOW + timedelta(days=1)).timestamp())),
            leaf,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode == 0) is accepted, answer.stderr


def test_an_expired_authority_is_refused_with_the_way_out(tmp_path: Path) -> None:
    InternalAuthority.open(tmp_path, NOW)
    with pytest.raises(SecretError, match="expired") as caught:
        InternalAuthority.open(tmp_path, NOW + timedelta(days=4000))
    assert (caught.value.hint or "").startswith(f"rm -r {tmp_path}")


@pytest.mark.parametrize("name", ["certificate.pem", "private-key.pem"])
def test_a_damaged_or_incomplete_authority_is_refused(tmp_path: Path, name: str) -> None:
    folder = InternalAuthority.open(tmp_path, NOW).certificate_path.parent
    (folder / name).write_text("nonsense")
    with pytest.raises(SecretError, match="damaged"):
        InternalAuthority.open(tmp_path, NOW)
    (folder / name).unlink()
    with pytest.raises(SecretError, match="cannot be used"):
        InternalAuthority.open(tmp_path, NOW)


def test_processes_that_make_it_at_once_use_the_same_one(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONHASHSEED": "0"},
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = {racer.communicate()[0] for racer in racers}
    assert len(answers) == 1
    assert "" not in answers
    assert [path.name for path in (tmp_path / ".owc-deploy").iterdir()] == ["internal-ca"]


def test_a_good_supplied_certificate_has_no_problems(supplied: Path) -> None:
    found = read_supplied(supplied, DOMAINS, NOW)
    assert found.problems == ()
    assert found.not_after == NOW + timedelta(days=90)
    assert found.chain == supplied.read_text()


def test_everything_wrong_is_said_at_once(supplied: Path, tmp_path: Path) -> None:
    elsewhere = InternalAuthority.open(tmp_path / "elsewhere", NOW)
    other, other_key = elsewhere.issue(("other.example",), NOW)
    supplied.write_text(supplied.read_text() + other)
    found = read_supplied(
        supplied,
        (*DOMAINS, "extra.example"),
        NOW + timedelta(days=91),
        private_key=other_key,
    )
    assert found.problems == (
        "certificate 1 expired on 2027-02-21",
        "certificate 2 expired on 2027-02-21",
        "does not cover extra.example; it covers www.heusden.example, heusden.example",
        (
            "certificate 1 is not signed by certificate 2:"
            " put the site's own first, then each issuer"
        ),
        "its private key belongs to another certificate",
    )


def test_not_valid_yet(supplied: Path) -> None:
    found = read_supplied(supplied, DOMAINS, NOW - timedelta(days=1))
    assert found.problems == ("certificate 1 is valid from 2026-11-23",)


def test_a_chain_in_order_is_accepted_and_in_reverse_is_not(
    authority: InternalAuthority, supplied: Path
) -> None:
    leaf, issuer = supplied.read_text(), authority.certificate_path.read_text()
    supplied.write_text(leaf + issuer)
    assert read_supplied(supplied, DOMAINS, NOW).problems == ()
    supplied.write_text(issuer + leaf)
    problems = read_supplied(supplied, DOMAINS, NOW).problems
    assert any("is not signed by" in problem for problem in problems)


@pytest.mark.parametrize(
    ("domain", "covered"),
    [("www.heusden.example", True), ("heusden.example", False), ("a.b.heusden.example", False)],
)
def test_a_wildcard_stands_for_one_label(
    authority: InternalAuthority, tmp_path: Path, domain: str, covered: bool
) -> None:
    path = tmp_path / "wildcard.pem"
    path.write_text(authority.issue(("*.heusden.example",), NOW)[0])
    assert (read_supplied(path, (domain,), NOW).problems == ()) is covered


def test_what_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    assert read_supplied(path, DOMAINS, NOW).problems == (
        "cannot be read: No such file or directory",
    )
    path.write_text("nonsense")
    assert read_supplied(path, DOMAINS, NOW).problems == ("holds no certificates in PEM form",)
