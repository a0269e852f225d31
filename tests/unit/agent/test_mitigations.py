"""What is closed on a site: by what address, kept how, and seen to be so."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path
from typing import Any

import pytest

from owc_agent import commands, fences, files, gate, layout, mitigations, services

RULE: dict[str, Any] = {
    "identifier": "zgw",
    "routes": ["/owc/zgw/v1"],
    "folders": ["plugins/owc-zgw"],
    "ajax_actions": ["zgw_upload"],
}
ROOT = "/srv/owc/sites/heusden/current/public "


def refuses(key: str) -> bool:
    """Look a key up in the map as nginx does, whose regular expressions these are."""
    lines = mitigations.nginx_map("heusden", [RULE]).splitlines()[1:]
    patterns = [re.fullmatch(r'"~\*(.*)" 1;', line) for line in lines]
    return any(re.search(found.group(1), key, re.IGNORECASE) for found in patterns if found)


@pytest.mark.filterwarnings("ignore:Possible nested set")
@pytest.mark.parametrize(
    "address",
    [
        "/wp-json/owc/zgw/v1?",
        "/wp-json/owc/zgw/v1/upload/7?x=1",
        "/WP-JSON/OWC/Zgw/v1/?",
        "/index.php/wp-json/owc/zgw/v1?",
        "/?rest_route=/owc/zgw/v1",
        "/x?a=1&rest_route=owc/zgw/v1/upload&b=2",
        "/?rest%5Froute=%2Fowc%2fzgw%2Fv1%2Fupload",
        "/?rest.route=/%6Fwc/%5Agw/v1",
        "/?rest[route=//owc/zgw/v1%0a",
        "/wp-content/plugins/owc-zgw/upload.php?x",
        "/wp-content/plugins/owc-zgw/src/upload.php/path?",
    ],
)
def test_nginx_refuses(address: str) -> None:
    assert refuses(ROOT + address)


@pytest.mark.filterwarnings("ignore:Possible nested set")
@pytest.mark.parametrize(
    "key",
    [
        ROOT + "/wp-json/owc/zgw/v1x?",
        ROOT + "/wp-json/owc/zgw?",
        ROOT + "/?rest_route=/owc/zgw/v10",
        ROOT + "/nieuws/wp-json/owc/zgw/v1?",
        ROOT + "/wp-content/plugins/owc-zgw/style.css?",
        ROOT + "/wp-content/plugins/owc-zgw-other/upload.php?",
        "/srv/owc/sites/heusden-oost/current/public /wp-json/owc/zgw/v1?",
    ],
)
def test_nginx_lets_through(key: str) -> None:
    assert not refuses(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"routes": ['/owc"; return 200; #']},
        {"routes": ["/owc/.*"]},
        {"routes": ["/"]},
        {"folders": ["plugins/../../etc"]},
        {"folders": ["uploads/x"]},
        {"ajax_actions": ["a b"]},
        {"identifier": "a\nb"},
    ],
)
def test_what_could_be_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(layout.NameRefusedError):
        mitigations.checked([{**RULE, **changes}])


@pytest.mark.parametrize(
    ("address", "by"),
    [
        ("/wp-json/owc/zgw/v1/", "zgw"),
        ("/wp-json/owc/zgw/v1/upload?x=1", "zgw"),
        ("/?rest_route=/owc/zgw/v1/upload", "zgw"),
        ("/wp-content/plugins/owc-zgw/upload.php", "zgw"),
        ("/wp-admin/admin-ajax.php?action=zgw_upload", "zgw"),
        ("/wp-admin/admin-ajax.php?action=heartbeat", ""),
        ("/wp-json/owc/zgw/v12", ""),
        ("/", ""),
    ],
)
def test_the_gate_knows_what_is_closed(address: str, by: str) -> None:
    assert mitigations.closed_by([RULE], address) == by


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.SitePaths:
    monkeypatch.setattr(layout, "SITES", str(tmp_path / "sites"))
    monkeypatch.setattr(layout, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(mitigations, "FOLDER", str(tmp_path / "nginx"))
    monkeypatch.setattr(services, "NGINX_LOCK", str(tmp_path / "nginx.lock"))
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _: me)
    monkeypatch.setattr(services, "reload_nginx_locked", lambda: None)
    monkeypatch.setattr(mitigations, "is_prepared", lambda: True)
    site = layout.SitePaths("heusden")
    release = Path(site.release("20261101T000000Z-aaaaaaaa"))
    release.mkdir(parents=True)
    document = {"specification": {"domains": ["www.heusden.example"]}}
    (release / "release.json").write_text(json.dumps(document))
    Path(site.current).symlink_to(release)
    return site


def answers(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str = mitigations.CODE
) -> list[str]:
    asked: list[str] = []

    def ask(domain: str, path: str, seconds: float, *, body: str = "") -> gate.Answer:
        del domain, seconds
        asked.append(f"{path} {body}".strip())
        return gate.Answer(path, status, said, 0.01, "")

    said = body
    monkeypatch.setattr(gate, "ask", ask)
    return asked


FENCE = {"store": "a", "token": 1, "owner": "anna@controller:7"}


def converge(*rules: dict[str, Any]) -> dict[str, Any]:
    asked = {"site": "heusden", "rules": list(rules), "fence": FENCE}
    (outcome,) = mitigations.converge([asked])
    return outcome


def test_a_controller_that_was_overtaken_closes_and_opens_nothing(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, 403)
    newer = {**FENCE, "token": 2, "owner": "bo@laptop:8"}
    fences.take(paths.mitigations_fence, paths, newer)
    # Of transactions: closing something must not wait for an update.
    fences.take(paths.fence, paths, {**FENCE, "token": 9})
    outcome = converge(RULE)
    assert (outcome["outcome"], outcome["details"]) == ("busy", {"closed": [], "newer": newer})
    assert "bo@laptop:8, has taken this site over" in outcome["message"]
    (outcome,) = mitigations.converge([{"site": "heusden", "rules": [RULE], "fence": newer}])
    assert outcome["outcome"] == "changed"
    elsewhere = {"store": "b", "token": 1, "owner": "cor@elsewhere:9"}
    (outcome,) = mitigations.converge([{"site": "heusden", "rules": [], "fence": elsewhere}])
    assert outcome["outcome"] == "changed"
    assert "another history store, by bo@laptop:8" in outcome["details"]["notes"][0]


def test_closing_is_seen_from_the_site_and_once_is_enough(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, 403)
    assert converge(RULE)["outcome"] == "changed"
    assert "/?_method=GET rest_route=/owc/zgw/v1" in asked
    (file,) = Path(mitigations.FOLDER).iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert converge(RULE) | {"seconds": 0} == {
        "site": "heusden",
        "outcome": "ok",
        "message": "",
        "release_id": "20261101T000000Z-aaaaaaaa",
        "previous_release_id": "20261101T000000Z-aaaaaaaa",
        "seconds": 0,
        "details": {"closed": ["zgw"], "notes": []},
    }
    assert converge()["outcome"] == "changed"
    assert not list(Path(mitigations.FOLDER).iterdir())
    assert mitigations.read(paths) == []


def test_what_still_answers_is_told(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    del paths
    answers(monkeypatch, 200, "open")
    outcome = converge(RULE)
    assert outcome["outcome"] == "failed"
    assert "/wp-json/owc/zgw/v1 still answers 200" in outcome["message"]


def test_what_cannot_be_told_is_inconclusive(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    del paths
    answers(monkeypatch, 503, "frozen")
    outcome = converge(RULE)
    assert outcome["outcome"] == "inconclusive"
    assert "answers 503 for now" in outcome["message"]


def test_a_403_of_somebody_else_is_no_proof(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    del paths
    answers(monkeypatch, 403, "a firewall")
    assert converge(RULE)["outcome"] == "failed"


def test_when_nginx_refuses_its_part_is_put_back_and_that_of_php_stays(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise commands.CommandError("nginx failed: a neighbour's mistake")

    monkeypatch.setattr(services, "reload_nginx_locked", refuse)
    answers(monkeypatch, 403)
    outcome = converge(RULE)
    assert outcome["outcome"] == "failed"
    assert "a neighbour's mistake" in outcome["message"]
    assert not list(Path(mitigations.FOLDER).iterdir())
    assert mitigations.read(paths) == [RULE]


def test_a_release_adds_what_lacks_and_opens_nothing(paths: layout.SitePaths) -> None:
    other = {**RULE, "identifier": "later", "routes": ["/owc/pdc/v1"]}
    mitigations.add_missing("heusden", [other])
    assert mitigations.add_missing("heusden", [RULE]) == []
    assert [rule["identifier"] for rule in mitigations.read(paths)] == ["later", "zgw"]
    mitigations.add_missing("heusden", [])
    assert len(mitigations.read(paths)) == 2


def test_a_server_of_an_earlier_version_says_what_to_do(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mitigations, "is_prepared", lambda: False)
    outcome = converge(RULE)
    assert outcome["outcome"] == "not-attempted"
    assert "owc-deploy provision" in outcome["message"]
    assert mitigations.read(paths) == []
    (note,) = mitigations.add_missing("heusden", [RULE])
    assert "zgw" in note


def test_a_site_that_is_not_there_gets_it_with_its_first_release(
    paths: layout.SitePaths,
) -> None:
    del paths
    (outcome,) = mitigations.converge([{"site": "breda", "rules": [RULE], "fence": FENCE}])
    assert outcome["outcome"] == "ok"
    assert "first release" in outcome["message"]


def test_the_gate_leaves_out_what_is_closed(paths: layout.SitePaths) -> None:
    mitigations.add_missing("heusden", [RULE])
    pages = [{"path": "/"}, {"path": "/wp-json/owc/zgw/v1/items"}]
    kept, notes = mitigations.open_pages(paths, pages)
    assert kept == [{"path": "/"}]
    assert notes == ["/wp-json/owc/zgw/v1/items was not asked: mitigation zgw"]


@pytest.mark.filterwarnings("ignore:Possible nested set")
@pytest.mark.parametrize(
    "address",
    [
        "/wp-json/oembed/1.0/proxy?",
        "/wp-json/oembed/1x0/proxy?",
        "/wp-json/oembed/1%0/proxy?",
        "/?rest_route=/oembed/1x0/proxy",
        "/?rest_route=/oembed/1%2E0/proxy",
        "/?rest_route=/oembed/1%780/proxy",
    ],
)
def test_a_point_in_a_route_is_any_sign(address: str) -> None:
    rule = {**RULE, "routes": ["/oembed/1.0"]}
    lines = mitigations.nginx_map("heusden", [rule]).splitlines()[1:]
    patterns = [re.fullmatch(r'"~\*(.*)" 1;', line) for line in lines]
    assert any(
        re.search(found.group(1), ROOT + address, re.IGNORECASE) for found in patterns if found
    )


def test_the_folder_of_mu_plugins_is_closed_as_a_whole() -> None:
    rule = {**RULE, "folders": ["mu-plugins"]}
    assert mitigations.checked([rule])
    assert "/+mu-plugins/" in mitigations.nginx_map("heusden", [rule])


def test_a_block_that_the_catalogue_lost_stays_closed(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, 403)
    converge(RULE)
    unknown = {**RULE, "routes": [], "folders": [], "ajax_actions": []}
    assert converge(unknown)["outcome"] == "ok"
    assert mitigations.read(paths) == [RULE]


def test_a_site_that_does_not_answer_is_asked_once(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    del paths
    asked: list[str] = []

    def ask(domain: str, path: str, seconds: float, *, body: str = "") -> gate.Answer:
        del domain, seconds, body
        asked.append(path)
        return gate.Answer(path, 0, "", 10.0, "timed out")

    monkeypatch.setattr(gate, "ask", ask)
    assert converge(RULE)["outcome"] == "inconclusive"
    assert len(asked) == 1


def test_a_full_disk_of_one_site_leaves_its_neighbours_closed(
    paths: layout.SitePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, 403)
    other = layout.SitePaths("altena")
    Path(other.root).mkdir()
    write = files.write_atomic

    def full(path: str, *rest: Any) -> None:
        if path == other.mitigations:
            raise OSError(28, "No space left on device")
        write(path, *rest)

    monkeypatch.setattr(files, "write_atomic", full)
    asked = [{"site": site, "rules": [RULE], "fence": FENCE} for site in ("altena", "heusden")]
    outcomes = {each["site"]: each for each in mitigations.converge(asked)}
    assert outcomes["heusden"]["outcome"] == "changed"
    assert outcomes["altena"]["outcome"] == "failed"
    assert "No space left" in outcomes["altena"]["message"]
    assert mitigations.read(paths) == [RULE]
