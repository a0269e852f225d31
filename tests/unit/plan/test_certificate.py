from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from unit.plan.examples import NOW, catalogue, fleet, live_site, lock, manifest, server

from owc_deploy.execution.certificates import InternalAuthority
from owc_deploy.fleet.models import SecretReference, Tls
from owc_deploy.plan.certificate import certificate_change
from owc_deploy.plan.make import Wishes, make_plan

DOMAIN = "www.heusden.example"
SUPPLIED = manifest(
    tls=Tls("supplied", certificate="tls/heusden.pem", private_key=SecretReference("key"))
)
INTERNAL = manifest(tls=Tls("internal"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> InternalAuthority:
    return InternalAuthority.open(tmp_path_factory.mktemp("fleet"), NOW)


def issued(authority: InternalAuthority, *names: str, at: datetime = NOW) -> str:
    return authority.issue(names or (DOMAIN,), at)[0]


def seen(certificate: str, policy: str | None = "internal") -> dict[str, Any]:
    specification = {"tls": {"policy": policy}} if policy else None
    return {"certificate": certificate, "specification": specification}


def test_the_server_itself_sees_to_acme() -> None:
    assert certificate_change(manifest(), seen(""), "", NOW) is None


@pytest.mark.parametrize("wanted", [INTERNAL, SUPPLIED])
def test_a_site_without_a_certificate_gets_one(wanted: Any, authority: InternalAuthority) -> None:
    change = certificate_change(wanted, seen(""), issued(authority), NOW)
    assert change is not None
    assert (change.before, change.after) == (None, DOMAIN)


@pytest.mark.parametrize("names", [(DOMAIN,), ("*.heusden.example",), ("other.example",)])
@pytest.mark.parametrize("later", [timedelta(), timedelta(days=80), timedelta(days=400)])
def test_the_same_supplied_chain_is_never_asked_for_again(
    authority: InternalAuthority, names: tuple[str, ...], later: timedelta
) -> None:
    chain = issued(authority, *names) + authority.certificate_path.read_text()
    installed = "# installed\n" + chain + "\n\n"
    assert certificate_change(SUPPLIED, seen(installed, "supplied"), chain, NOW + later) is None


def test_another_supplied_chain_is_a_change(authority: InternalAuthority) -> None:
    old, new = issued(authority), issued(authority, at=NOW + timedelta(days=9))
    change = certificate_change(SUPPLIED, seen(old, "supplied"), new, NOW)
    assert change is not None
    assert change.before == f"{DOMAIN} until 2027-02-21"
    assert change.after == f"{DOMAIN} until 2027-03-02"
    longer = old + authority.certificate_path.read_text()
    assert certificate_change(SUPPLIED, seen(old, "supplied"), longer, NOW) is not None


@pytest.mark.parametrize(
    ("supplied", "after"), [("", "unreadable"), ("nonsense", "unreadable")], ids=["none", "no PEM"]
)
def test_a_supplied_file_that_will_not_do_is_not_passed_over(
    authority: InternalAuthority, supplied: str, after: str
) -> None:
    change = certificate_change(SUPPLIED, seen(issued(authority), "supplied"), supplied, NOW)
    assert change is not None
    assert change.after == after


@pytest.mark.parametrize(
    ("names", "policy", "later", "why"),
    [
        ((DOMAIN,), "internal", 0, None),
        ((DOMAIN, "extra.example"), "internal", 0, None),
        ((DOMAIN,), "internal", 61, "it is about to expire"),
        (("other.example",), "internal", 0, "a domain is missing"),
        ((DOMAIN,), "acme", 0, "the fleet's own authority did not issue it"),
        ((DOMAIN,), "supplied", 0, "the fleet's own authority did not issue it"),
        ((DOMAIN,), None, 0, "the fleet's own authority did not issue it"),
    ],
)
def test_an_internal_certificate(
    authority: InternalAuthority,
    names: tuple[str, ...],
    policy: str | None,
    later: int,
    why: str | None,
) -> None:
    installed = seen(issued(authority, *names), policy)
    change = certificate_change(INTERNAL, installed, "", NOW + timedelta(days=later))
    assert (change.why if change else None) == why


def test_a_damaged_internal_certificate_is_replaced() -> None:
    change = certificate_change(INTERNAL, seen("nonsense"), "", NOW)
    assert change is not None
    assert change.why == "it is damaged"


def test_a_plan_compares_each_site_with_its_own_file(
    authority: InternalAuthority,
) -> None:
    old, new = issued(authority, "*.heusden.example"), issued(authority, "*.heusden.example")
    live = server({"heusden": live_site(SUPPLIED, lock(), certificate=old)})
    made = fleet(SUPPLIED, locks=(lock(),))
    for chain, action in ((old, "none"), (new, "update")):
        plan = make_plan(
            made, catalogue(), {"web1": live}, {"web1": "f"}, Wishes(), {"heusden": chain}, NOW
        )
        assert plan.sites[0].action == action
        assert plan.sites[0].new_certificate is (action == "update")
