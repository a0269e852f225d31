"""Certificates that the fleet brings itself: looked at as a whole before anything is touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest
from unit.plan.examples import NOW, fleet, manifest

from owc_deploy.errors import SecretError
from owc_deploy.execution.certificates import InternalAuthority
from owc_deploy.fleet.models import Fleet, SecretReference, Tls
from owc_deploy.rollout.secrets import site_secrets, supplied_chains

DOMAIN = "www.heusden.example"
FILE = "heusden.pem"


@pytest.fixture
def supplying(tmp_path: Path) -> Fleet:
    """A fleet whose one site brings its own certificate, and the key that opens its secrets."""
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n")
    (tmp_path / "secrets").mkdir()
    chain, key = InternalAuthority.open(tmp_path, NOW).issue((DOMAIN,), NOW)
    (tmp_path / FILE).write_text(chain)
    sealed = pyrage.encrypt(key.reveal().encode(), [identity.to_public()])
    (tmp_path / "secrets" / "heusden-tls.age").write_bytes(sealed)
    tls = Tls("supplied", certificate=FILE, private_key=SecretReference("heusden-tls"))
    made = fleet(manifest(tls=tls))
    settings = replace(made.settings, age_identity=tmp_path / "identity")
    return replace(made, root=tmp_path, settings=settings)


def test_a_good_certificate_and_its_key_become_files(supplying: Fleet) -> None:
    chain, key = site_secrets(supplying, "heusden", NOW)
    assert (chain.path, key.path) == ("tls/fullchain.pem", "tls/privkey.pem")
    assert chain.content.reveal() == (supplying.root / FILE).read_text()
    assert "PRIVATE KEY" in key.content.reveal()
    assert supplied_chains(supplying) == {"heusden": chain.content.reveal()}


@pytest.mark.parametrize(
    ("names", "days", "keep_key", "problems"),
    [
        ((DOMAIN,), 0, True, ["its private key belongs to another certificate"]),
        (
            ("other.example",),
            100,
            True,
            [
                "certificate 1 expired on 2027-02-21",
                f"does not cover {DOMAIN}",
                "its private key belongs to another certificate",
            ],
        ),
        (
            ("other.example",),
            0,
            False,
            [f"does not cover {DOMAIN}", "its private key cannot be read"],
        ),
    ],
    ids=["another key", "everything", "no key"],
)
def test_everything_wrong_is_said_at_once(
    supplying: Fleet, names: tuple[str, ...], days: int, keep_key: bool, problems: list[str]
) -> None:
    authority = InternalAuthority.open(supplying.root, NOW)
    (supplying.root / FILE).write_text(authority.issue(names, NOW)[0])
    if not keep_key:
        (supplying.root / "secrets" / "heusden-tls.age").unlink()
    with pytest.raises(SecretError) as raised:
        site_secrets(supplying, "heusden", NOW + timedelta(days=days))
    for problem in problems:
        assert problem in raised.value.message
    assert "owc-deploy plan heusden" in str(raised.value.hint)


def test_a_file_that_cannot_be_read_is_left_out_of_the_chains(supplying: Fleet) -> None:
    (supplying.root / FILE).unlink()
    assert supplied_chains(supplying) == {}
    with pytest.raises(SecretError, match="cannot be read"):
        site_secrets(supplying, "heusden", NOW)


def test_the_fleets_own_authority_signs_internal_sites(tmp_path: Path) -> None:
    made = replace(fleet(manifest(tls=Tls("internal"))), root=tmp_path)
    chain, _ = site_secrets(made, "heusden", NOW)
    assert "BEGIN CERTIFICATE" in chain.content.reveal()
    assert supplied_chains(made) == {}
