from __future__ import annotations

import ssl

import pytest

from owc_agent import services

PRINTED = """\
notAfter=Jan  5 09:34:43 2027 GMT
X509v3 Subject Alternative Name:
    DNS:www.voorbeeld.example, DNS:Voorbeeld.example, IP Address:192.0.2.1
"""
DOMAINS = frozenset({"www.voorbeeld.example", "voorbeeld.example"})
END_SECONDS = ssl.cert_time_to_seconds("Jan  5 09:34:43 2027 GMT")


def test_names_and_end_are_read() -> None:
    assert services.parse_certificate(PRINTED) == services.Certificate(DOMAINS, END_SECONDS)


def test_the_order_of_what_openssl_prints_does_not_matter() -> None:
    turned = "\n".join(reversed(PRINTED.splitlines()))
    assert services.parse_certificate(turned) == services.Certificate(DOMAINS, END_SECONDS)


def test_a_certificate_without_names_covers_nothing() -> None:
    certificate = services.parse_certificate("notAfter=Jan  5 09:34:43 2027 GMT\n")
    assert certificate == services.Certificate(frozenset(), END_SECONDS)


@pytest.mark.parametrize("text", ["", "DNS:a.example", "notAfter=tomorrow", "notAfter=\n"])
def test_what_is_no_certificate_is_none(text: str) -> None:
    assert services.parse_certificate(text) is None


@pytest.mark.parametrize(
    ("names", "domain", "covered"),
    [
        ({"a.example"}, "a.example", True),
        ({"a.example"}, "www.a.example", False),
        ({"*.a.example"}, "www.a.example", True),
        ({"*.a.example"}, "a.example", False),
        ({"*.a.example"}, "x.www.a.example", False),
        (set(), "a.example", False),
    ],
)
def test_which_names_a_certificate_covers(names: set[str], domain: str, covered: bool) -> None:
    assert services.Certificate(frozenset(names), 0).covers(domain) is covered


@pytest.mark.parametrize(
    ("left_seconds", "domains", "usable"),
    [
        (86401, ["www.voorbeeld.example"], True),
        (86401, sorted(DOMAINS), True),
        (86400, sorted(DOMAINS), False),
        (-1, sorted(DOMAINS), False),
        (90 * 86400, [*sorted(DOMAINS), "nieuw.voorbeeld.example"], False),
    ],
)
def test_when_the_installed_certificate_will_do(
    left_seconds: int, domains: list[str], usable: bool
) -> None:
    certificate = services.Certificate(DOMAINS, END_SECONDS)
    assert services.usable(certificate, domains, END_SECONDS - left_seconds) is usable
