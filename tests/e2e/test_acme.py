"""A site whose certificate is asked for on the server, from an ACME authority that checks it."""

from __future__ import annotations

import shutil
import ssl
from socket import create_connection

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from e2e.conftest import Town

pytestmark = pytest.mark.lab

SITE = "acht"
# Debian's ACME test server, with a certificate of its own that its clients have to trust.
PEBBLE = """
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends pebble > /dev/null
mkdir -p /etc/owc-pebble && cd /etc/owc-pebble
new="openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
$new -subj /CN=Pebble -keyout authority.key -out authority.pem
$new -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -addext basicConstraints=critical,CA:FALSE \
    -CA authority.pem -CAkey authority.key -keyout pebble.key -out pebble.pem
cat > config.json << END
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
 "certificate": "/etc/owc-pebble/pebble.pem", "privateKey": "/etc/owc-pebble/pebble.key",
 "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false}}
END
echo "127.0.0.1 www.SITE.example SITE.example" >> /etc/hosts
systemd-run --quiet --unit=owc-pebble --setenv=PEBBLE_VA_NOSLEEP=1 \
    --setenv=PEBBLE_WFE_NONCEREJECT=0 pebble -config /etc/owc-pebble/config.json
""".replace("SITE", SITE)


@pytest.fixture(scope="module")
def acme_town(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Return the fleet with web2 pointed at an ACME server of its own."""
    tmp_path = tmp_path_factory.mktemp("acme")
    town.run("web2", "bash", "-c", PEBBLE)
    shutil.copytree(town.root, tmp_path / "fleet")
    made = Town(tmp_path / "fleet", town.lab)
    authority = tmp_path / "pebble.pem"
    authority.write_text(town.run("web2", "cat", "/etc/owc-pebble/authority.pem"))
    inventory = made.root / "servers.yml"
    servers = yaml.safe_load(inventory.read_text())
    servers["all"]["children"]["web"]["hosts"]["web2"].update(
        owc_acme_directory_url="https://localhost:14000/dir", owc_acme_ca_file=str(authority)
    )
    inventory.write_text(yaml.safe_dump(servers))
    return made


def issuer(town: Town, domain: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        create_connection((town.lab.servers["web2"].address, 443), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=domain) as secure,
    ):
        leaf = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert domain in names.get_values_for_type(x509.DNSName)
    return str(leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_the_server_asks_for_the_certificate_itself(acme_town: Town) -> None:
    tls = {"policy": "acme", "email": f"beheer@{SITE}.example"}
    acme_town.create(SITE, "web2", tls=tls)
    assert issuer(acme_town, f"www.{SITE}.example").startswith("Pebble")
    acme_town.write(SITE, "web2", tls=tls, aliases=[f"{SITE}.example"])
    acme_town.lock(SITE)
    acme_town.apply(SITE)
    assert issuer(acme_town, f"{SITE}.example").startswith("Pebble")


def test_a_refusing_authority_leaves_the_site_as_it_was(acme_town: Town) -> None:
    tls = {"policy": "acme", "email": f"beheer@{SITE}.example"}
    acme_town.create(SITE, "web2", tls=tls)
    before = acme_town.status(SITE)["release_id"]
    acme_town.write(SITE, "web2", tls=tls, aliases=["nergens.example"])
    acme_town.lock(SITE)
    result = acme_town.apply(SITE, check=False)
    assert result.outcome(SITE)["outcome"] == "failed"
    assert "certbot" in result.outcome(SITE)["message"]
    assert acme_town.status(SITE)["release_id"] == before
    assert issuer(acme_town, f"www.{SITE}.example").startswith("Pebble")
