from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from owc_agent import commands, layout, services, undo

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


BEFORE, AFTER = "20261123T182200Z-00000001", "20261123T182200Z-00000002"
PHP, CRON = "owc-php-fpm@heusden.service", "owc-cron@heusden.timer"
RESET = ["reset-failed", PHP, CRON]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return what systemctl is asked; two releases are there that are the same."""
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    monkeypatch.setattr(services, "NGINX_LOCK", str(tmp_path / "nginx.lock"))
    for release in (BEFORE, AFTER):
        folder = Path(layout.SitePaths("heusden").release(release))
        folder.mkdir(parents=True)
        for name in ("nginx.conf", "php-fpm.conf"):
            (folder / name).write_text("one")
    done: list[list[str]] = []

    def run(arguments: list[str], **_: object) -> None:
        done.append(arguments[1:] if arguments[0] == "systemctl" else arguments[:1])

    monkeypatch.setattr(commands, "run", run)
    return done


RESTARTED = [
    RESET,
    ["enable", "--quiet", PHP, CRON],
    ["restart", PHP],
    ["start", CRON],
]
RELOADED = [["nginx"], ["announced"], ["reload", "nginx"]]


@pytest.mark.parametrize(
    ("before", "after", "changed", "wanted"),
    [
        (BEFORE, AFTER, "", [RESET, ["start", PHP, CRON]]),
        # What failed too often is allowed to start again, before it is restarted.
        (BEFORE, AFTER, "php-fpm.conf", RESTARTED),
        (BEFORE, AFTER, "nginx.conf", [RESET, ["start", PHP, CRON], *RELOADED]),
        ("", AFTER, "", [*RESTARTED, *RELOADED]),
        (BEFORE, "", "", [["disable", "--now", CRON, PHP], *RELOADED]),
    ],
)
def test_what_changed_is_restarted_and_a_reload_is_announced(
    asked: list[list[str]], before: str, after: str, changed: str, wanted: list[list[str]]
) -> None:
    paths = layout.SitePaths("heusden")
    if changed:
        (Path(paths.release(AFTER)) / changed).write_text("other")
    services.converge(paths, before, after, lambda: asked.append(["announced"]))
    assert asked == wanted


def test_a_configuration_that_nginx_refuses_leaves_nothing_to_undo(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(arguments: list[str], **_: object) -> None:
        if arguments[0] == "nginx":
            raise commands.CommandError("nginx failed")

    monkeypatch.setattr(commands, "run", refuse)
    with pytest.raises(commands.CommandError):
        services.reload_nginx(lambda: asked.append(["announced"]))
    assert asked == []


@pytest.mark.parametrize(("changed", "reloads"), [("nginx.conf", 1), ("php-fpm.conf", 0)])
def test_undoing_lets_nginx_read_again_what_another_sites_reload_may_have_read(
    asked: list[list[str]], changed: str, reloads: int
) -> None:
    paths = layout.SitePaths("heusden")
    (Path(paths.release(AFTER)) / changed).write_text("other")
    undo.OPERATIONS["units"](paths, {"from": AFTER, "to": BEFORE})
    assert asked.count(["reload", "nginx"]) == reloads


def test_what_somebody_else_broke_in_nginx_does_not_keep_a_site_from_being_undone(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = layout.SitePaths("heusden")
    (Path(paths.release(AFTER)) / "nginx.conf").write_text("other")

    def refuse() -> None:
        raise commands.CommandError("nginx failed")

    monkeypatch.setattr(services, "reload_nginx", refuse)
    undo.OPERATIONS["units"](paths, {"from": AFTER, "to": BEFORE})
    assert asked == [RESET, ["start", PHP, CRON]]
