"""A certificate by ACME: asked for as the agent does, installed by the hook, renewed, undone."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from testinfra.host import Host

TLS = "/srv/owc/sites/test/tls"
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/owc-deploy"
ISSUE = (
    "certbot certonly --non-interactive --agree-tos --webroot"
    " --webroot-path /var/lib/owc-deploy/acme --cert-name test --keep-until-expiring --expand"
    " --email beheer@test.example --domain www.test.example"
)


def _served(address: str, name: str) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        content = secured.getpeercert(binary_form=True)
    assert content is not None
    return x509.load_der_x509_certificate(content)


def _served_soon(
    address: str, name: str, wanted: Callable[[x509.Certificate], bool]
) -> x509.Certificate:
    """Return what is served once it is as wanted, or after ten seconds.

    nginx takes a new certificate up in new workers, while the old ones answer for a moment more.
    """
    deadline = time.monotonic() + 10
    served = _served(address, name)
    while not wanted(served) and time.monotonic() < deadline:
        time.sleep(0.1)
        served = _served(address, name)
    return served


def _is_pebbles(certificate: x509.Certificate) -> bool:
    return "Pebble" in certificate.issuer.rfc4514_string()


@pytest.fixture(scope="module")
def issued(server: Host, site: str, address: str) -> x509.Certificate:
    """Ask for the certificate of the site; return what the web server shows afterwards."""
    assert not _is_pebbles(_served(address, site))
    result = server.run(ISSUE)
    assert result.rc == 0, result.stdout + result.stderr
    return _served_soon(address, site, _is_pebbles)


def test_a_first_certificate_is_issued_and_served(issued: x509.Certificate, server: Host) -> None:
    assert _is_pebbles(issued)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.test.example"]
    assert issued.public_key().curve.name == "secp256r1"
    for name in ("fullchain.pem", "privkey.pem"):
        file = server.file(f"{TLS}/{name}")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o400)
    assert set(server.file(TLS).listdir()) == {"fullchain.pem", "privkey.pem"}


def test_asking_again_keeps_it(issued: x509.Certificate, server: Host, address: str) -> None:
    assert server.run(ISSUE).rc == 0
    assert _served(address, "www.test.example").serial_number == issued.serial_number


def test_the_timer_has_nothing_to_do_and_does_not_fail(
    issued: x509.Certificate, server: Host
) -> None:
    assert server.service("certbot.timer").is_running
    assert server.run("systemctl start certbot.service").rc == 0


def test_a_renewal_reaches_the_web_server(
    issued: x509.Certificate, server: Host, address: str
) -> None:
    result = server.run("certbot renew --force-renewal --no-random-sleep-on-renew")
    assert result.rc == 0, result.stdout + result.stderr
    number = issued.serial_number
    renewed = _served_soon(address, "www.test.example", lambda seen: seen.serial_number != number)
    assert _is_pebbles(renewed)
    assert renewed.serial_number != number


def test_a_pair_that_nginx_refuses_is_undone(
    issued: x509.Certificate, server: Host, address: str
) -> None:
    before = _served(address, "www.test.example").serial_number
    digest = hashlib.sha256(server.file(f"{TLS}/privkey.pem").content).hexdigest()
    server.check_output(
        "rm -rf /tmp/lineage && mkdir -p /tmp/lineage/test"
        f" && cp {TLS}/fullchain.pem /tmp/lineage/test/"
        " && openssl ecparam -name prime256v1 -genkey -noout -out /tmp/lineage/test/privkey.pem"
    )
    result = server.run(f"RENEWED_LINEAGE=/tmp/lineage/test {HOOK}")
    assert result.rc == 1
    assert "the previous one is back" in result.stderr
    assert hashlib.sha256(server.file(f"{TLS}/privkey.pem").content).hexdigest() == digest
    assert set(server.file(TLS).listdir()) == {"fullchain.pem", "privkey.pem"}
    server.check_output("nginx -t -q && systemctl reload nginx")
    assert _served(address, "www.test.example").serial_number == before


@pytest.mark.parametrize(
    ("lineage", "return_code"),
    [("/etc/letsencrypt/live/another", 0), ("/etc/letsencrypt/live/../../x y", 2)],
)
def test_certificates_of_others_are_left_alone(
    server: Host, lineage: str, return_code: int
) -> None:
    assert server.run("env RENEWED_LINEAGE=%s " + HOOK, lineage).rc == return_code
