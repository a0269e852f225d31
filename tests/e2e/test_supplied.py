"""A site with a certificate that the municipality bought, its key in an age file."""

from __future__ import annotations

from datetime import UTC, datetime

import pyrage
import pytest
import yaml
from e2e.conftest import Town, ask

from owc_deploy.execution.certificates import InternalAuthority

pytestmark = pytest.mark.lab


def test_a_supplied_certificate_is_served_and_a_wrong_key_is_refused(town: Town) -> None:
    """The seller is an authority of its own, unknown to the fleet."""
    seller = town.root / "seller"
    seller.mkdir()
    authority = InternalAuthority.open(seller, datetime.now(UTC))
    chain, key = authority.issue(("www.venlo.example",), datetime.now(UTC))
    _, other_key = authority.issue(("www.venlo.example",), datetime.now(UTC))
    identity = pyrage.x25519.Identity.generate()
    (town.root / "operator.key").write_text(str(identity))
    settings = yaml.safe_load((town.root / "fleet.yml").read_text())
    settings["age_identity"] = str(town.root / "operator.key")
    (town.root / "fleet.yml").write_text(yaml.safe_dump(settings))
    (town.root / "venlo.pem").write_text(chain)
    (town.root / "secrets").mkdir(exist_ok=True)
    secret = town.root / "secrets" / "venlo-tls.age"
    tls = {
        "policy": "supplied",
        "certificate": "venlo.pem",
        "private_key": {"secret": "venlo-tls"},
    }

    secret.write_bytes(pyrage.encrypt(other_key.reveal().encode(), [identity.to_public()]))
    town.write("venlo", tls=tls)
    town.lock("venlo")
    refused = town.apply("venlo", check=False)
    assert refused.code == 1
    assert refused.outcome("venlo")["outcome"] == "not-attempted"
    assert "key" in refused.outcome("venlo")["message"]

    secret.write_bytes(pyrage.encrypt(key.reveal().encode(), [identity.to_public()]))
    assert town.apply("venlo").outcome("venlo")["outcome"] == "changed"
    address = town.lab.servers["web1"].address
    page = ask(address, "www.venlo.example", "/", authority.certificate_path)
    assert page.status == 200
    assert town.owc("plan", "venlo", "--detailed-exitcode").code == 0
