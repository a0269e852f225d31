"""A site in the runtime: what its PHP can do, what the web server lets through."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest
from testinfra.host import Host

HEADERS = {
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "frame-ancestors 'self'; base-uri 'self'",
}


def test_php_is_held_to_its_own_site(site: str, fetch: Callable) -> None:
    response = fetch(site, "/")
    assert response.status == 200
    report = json.loads(response.body)
    database = report.pop("database")
    assert database == ["owc-test@localhost", "utf8mb4"]
    assert "denied" in report.pop("other_database")
    assert report == {
        "user": "owc-test",
        "script": "/srv/owc/sites/test/releases/r1/public/index.php",
        "document_root": "/srv/owc/sites/test/releases/r1/public",
        "https": "on",
        "query": "",
        "writes_release": False,
        "writes_uploads": True,
        "writes_tmp": True,
        "reads_certificate_key": False,
        "lists_letsencrypt": False,
        "runs_upload": False,
        "becomes_root": False,
        "processes_seen": 0,
        "cache": True,
        "flushes_cache": False,
        "image": True,
        "opcache": True,
        "extensions": [],
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/style.css", 200),
        ("/missing.css", 404),
        ("/xmlrpc.php", 403),
        ("/wp-login.php", 200),
        ("/wp-content/uploads/picture.jpg", 200),
    ],
)
def test_headers_are_on_every_response_once(
    site: str, fetch: Callable, path: str, status: int
) -> None:
    response = fetch(site, path)
    assert response.status == status
    assert {name: response.headers.get(name) for name in HEADERS} == {
        name: [value] for name, value in HEADERS.items()
    }
    assert response.headers["server"] == ["nginx"]
    assert "x-powered-by" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/xmlrpc.php",
        "/wp-cron.php",
        "/wp-config.php",
        "/readme.html",
        "/license.txt",
        "/.git",
        "/.env",
        "/dump.sql",
        "/wp-admin/install.php",
        "/wp-includes/version.php",
        "/wp-includes/rss-functions.php",
        "/wp-content/debug.log",
        "/wp-content/owc-sync-log-2026.json",
        "/wp-content/plugins/block/readme.txt",
        "/wp-content/plugins/block/composer.json",
        "/wp-content/plugins/block/.htaccess",
        "/wp-content/uploads/evil.php",
        "/wp-content/uploads/evil.php/x",
        "/wp-content/uploads/EVIL.PHP",
        "/wp-content/uploads/dump.sql",
        "/wp-content/uploads/notes.md",
        "/wp-sitemap-users-1.xml",
        "/?author=1",
        "/index.php?author=2",
        "/wp-json/wp/v2/users",
        "/wp-json/wp/v2/users/1",
        "/?rest_route=/wp/v2/users",
        "/?rest_route=%2Fwp%2Fv2%2Fusers",
    ],
)
def test_is_refused(site: str, fetch: Callable, path: str) -> None:
    response = fetch(site, path)
    assert response.status == 403
    assert "secret" not in response.body


@pytest.mark.parametrize(
    "path",
    [
        "/een/pagina/",
        "/wp-json/wp/v2/posts",
        "/?s=author",
        "/feed/",
        "/.well-known/security.txt",
        "/robots.txt",
        "/wp-sitemap.xml",
    ],
)
def test_reaches_wordpress(site: str, fetch: Callable, path: str) -> None:
    response = fetch(site, path)
    assert response.status == 200
    assert json.loads(response.body)["user"] == "owc-test"


def test_users_are_listed_to_those_who_write(site: str, fetch: Callable) -> None:
    cookie = {"Cookie": "wordpress_logged_in_abc=x"}
    assert fetch(site, "/wp-json/wp/v2/users", headers=cookie).status == 200
    assert (
        fetch(site, "/wp-json/wp/v2/users", headers={"Authorization": "Basic eA=="}).status == 200
    )


def test_plain_http_goes_to_https_on_the_same_name(site: str, fetch: Callable) -> None:
    response = fetch(site, "/pad?a=1", tls=False)
    assert response.status == 301
    assert response.headers["location"] == [f"https://{site}/pad?a=1"]


def test_unknown_names_and_proofs_of_control(server: Host, fetch: Callable) -> None:
    folder = "/var/lib/owc-deploy/acme/.well-known/acme-challenge"
    server.check_output("mkdir -p %s && echo -n proof > %s/token", folder, folder)
    known = fetch("new.example", "/.well-known/acme-challenge/token", tls=False)
    assert (known.status, known.body) == (200, "proof")
    assert fetch("new.example", "/", tls=False).status == 421


def test_guessing_passwords_is_slowed_down(site: str, fetch: Callable) -> None:
    statuses = [fetch(site, "/wp-login.php", method="POST").status for _ in range(30)]
    assert statuses[0] == 200
    # One more gets through every six seconds, and that may be the last.
    assert 429 in statuses[20:]
    assert fetch(site, "/").status == 200


def _handshake(address: str, site: str, *arguments: str) -> str:
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"{address}:443", "-servername", site, *arguments],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        input="",
        timeout=20,
    ).stdout


def test_tls_offers_only_what_is_good_or_sufficient(site: str, address: str) -> None:
    def accepted(*arguments: str) -> str | None:
        found = re.search(r"Cipher is (\S+)", _handshake(address, site, *arguments))
        return None if found is None or found[1] == "(NONE)" else found[1]

    assert accepted("-tls1_3") == "TLS_AES_256_GCM_SHA384"
    assert accepted("-tls1_2") == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert accepted("-tls1_1", "-cipher", "ALL:@SECLEVEL=0") is None
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"):
        assert accepted("-tls1_2", "-cipher", f"{weak}:@SECLEVEL=0") is None
    assert accepted("-tls1_3", "-groups", "ffdhe2048") is None
    assert accepted("-tls1_2", "-sigalgs", "ECDSA+SHA1:RSA+SHA1") is None
    text = _handshake(address, site, "-tls1_2")
    assert "Extended master secret: yes" in text
    assert "Secure Renegotiation IS supported" in text
    assert "Compression: NONE" in text
    assert "TLS session ticket" not in text


def test_http2(site: str, address: str) -> None:
    assert "ALPN protocol: h2" in _handshake(address, site, "-alpn", "h2,http/1.1")


def test_units_are_sandboxed(server: Host, site: str) -> None:
    for unit in ("owc-php-fpm@test.service", "owc-cron@test.service"):
        summary = server.check_output("systemd-analyze security --no-pager %s | tail -n 1", unit)
        assert float(summary.split(":", 1)[1].split()[0]) <= 2.2, summary


def test_scheduled_tasks_run_as_the_site(server: Host, site: str) -> None:
    assert server.service("owc-cron@test.timer").is_running
    server.check_output("systemctl start owc-cron@test.service")
    written = server.file("/srv/owc/sites/test/shared/uploads/cron.txt")
    assert written.content_string == "owc-test"


def test_php_reloads_without_losing_its_socket(server: Host, site: str, fetch: Callable) -> None:
    server.check_output("systemctl reload owc-php-fpm@test.service")
    assert all(fetch(site, "/").status == 200 for _ in range(20))
    assert server.service("owc-php-fpm@test.service").is_running
