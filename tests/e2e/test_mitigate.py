"""A hole is closed on every site before there is a patch, whatever way an attacker spells it."""

from __future__ import annotations

import json
import shutil
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from socket import create_connection

import pytest
import yaml
from e2e.conftest import Town

pytestmark = pytest.mark.lab

SITES = {"bladel": "web1", "boxtel": "web2"}
ROUTE = "lab/form/v1"
SECRET = "lab-form-secret"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=owc"}
# Ways to one route: method, path, body, headers.
WAYS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("GET", "/wp-json/lab/form/v1/entries", "", {}),
    ("GET", "/wp-json/lab/form/v1/entries/", "", {}),
    ("GET", "/wp-json/lab/form/v1/entries/7", "", {}),
    ("GET", "/wp-json/Lab/FORM/v1/Entries", "", {}),
    ("GET", "//wp-json///lab/form//v1/entries", "", {}),
    ("GET", "/wp-json/%6cab/f%6Frm/v1/entries", "", {}),
    ("GET", "/wp-json/lab%2Fform%2Fv1%2Fentries", "", {}),
    ("GET", "/wp-json/lab/form/v1/entries%0a", "", {}),
    ("GET", "/wp-json/x/../lab/form/v1/entries", "", {}),
    ("GET", "/index.php/wp-json/lab/form/v1/entries", "", {}),
    ("GET", "/wp-json/?rest_route=/lab/form/v1/entries", "", {}),
    ("GET", "/?rest_route=/lab/form/v1/entries", "", {}),
    ("GET", "/index.php?rest_route=/lab/form/v1/entries", "", {}),
    ("GET", "/?rest_route=/lab/form/v1/entries/7/", "", {}),
    ("GET", "/?rest_route=/lab/form/v1/entries%5C", "", {}),
    ("GET", "/?rest_route=/LAB/form/v1/entries", "", {}),
    ("GET", "/?rest_route=%2Flab%2Fform%2Fv1%2Fentries", "", {}),
    ("GET", "/?rest_route=/%6C%61b/form/v1/entries%0A", "", {}),
    ("GET", "/?rest%5Froute=/lab/form/v1/entries", "", {}),
    ("GET", "/?rest.route=/lab/form/v1/entries", "", {}),
    ("GET", "/?rest[route=/lab/form/v1/entries", "", {}),
    ("GET", "/?rest+route=/lab/form/v1/entries", "", {}),
    ("GET", "/?%72est_route=/lab/form/v1/entries", "", {}),
    ("GET", "/?+rest_route=/lab/form/v1/entries", "", {}),
    ("GET", "/?a=1&rest_route=/wp/v2/posts&rest_route=/lab/form/v1/entries", "", {}),
    ("POST", "/", "rest_route=/lab/form/v1/entries", FORM),
    ("POST", "/?rest_route=/wp/v2/types", "rest_route=/lab/form/v1/entries", FORM),
    (
        "POST",
        "/",
        (
            '--owc\r\nContent-Disposition: form-data; name="rest_route"\r\n\r\n'
            "/lab/form/v1/entries\r\n--owc--\r\n"
        ),
        MULTIPART,
    ),
    ("POST", "/wp-json/lab/form/v1/entries", "", {}),
    ("GET", "/wp-json/wp/v2/types?_method=GET&rest_route=/lab/form/v1/entries", "", {}),
    ("HEAD", "/wp-json/lab/form/v1/entries", "", {}),
)
OTHERS = ("/", "/wp-json/", "/wp-json/wp/v2/posts", "/?rest_route=/wp/v2/types", "/wp-login.php")
BATCH = json.dumps({"requests": [{"method": "POST", "path": "/lab/form/v1/entries"}]})
AJAX = "/wp-admin/admin-ajax.php?action=%s"
FILE = "/wp-content/plugins/lab-form/src/export.php"


def send(
    town: Town,
    site: str,
    method: str,
    path: str,
    body: str = "",
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    authority = town.root / ".owc-deploy" / "internal-ca" / "certificate.pem"
    context = ssl.create_default_context(cafile=str(authority))
    domain = f"www.{site}.example"
    connection = HTTPSConnection(domain, context=context, timeout=30)
    plain = create_connection((str(town.lab.servers[SITES[site]].address), 443), timeout=30)
    connection.sock = context.wrap_socket(plain, server_hostname=domain)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def leaks(town: Town, site: str) -> list[str]:
    """Return the ways that are open."""
    found = []
    for method, path, body, headers in WAYS:
        status, said = send(town, site, method, path, body, headers)
        if SECRET in said or (method == "HEAD" and status == 200):
            found.append(f"{method} {path} {body}")
    batch = send(
        town, site, "POST", "/wp-json/batch/v1", BATCH, {"Content-Type": "application/json"}
    )
    if SECRET in batch[1]:
        found.append("batch")
    if SECRET in send(town, site, "GET", AJAX % "lab_form_inside")[1]:
        found.append("inside")
    return found


@pytest.fixture(scope="module")
def holes(town: Town) -> Iterator[Town]:
    for site, server in SITES.items():
        town.write(site, server, blocks={"lab-form": "1.0.0"})
    town.lock(*SITES)
    town.apply(*SITES)
    yield town
    (town.root / "mitigations.yml").unlink(missing_ok=True)
    town.owc("mitigate", "apply", *SITES)


def close(town: Town, *arguments: str) -> None:
    result = town.owc(
        "mitigate",
        "add",
        "--reason",
        "anybody reads entries",
        *arguments,
        *SITES,
        "--format",
        "json",
    )
    assert {each["outcome"] for each in result.document["outcomes"]} == {"changed"}


def test_a_route_is_closed_however_it_is_spelled_until_it_is_lifted(holes: Town) -> None:
    before = {site: leaks(holes, site) for site in SITES}
    # The ways that WordPress itself takes; the others must not be ways either, afterwards.
    assert all(len(found) > 20 for found in before.values()), before
    assert all({"batch", "inside"} <= set(found) for found in before.values()), before
    close(holes, "--route", ROUTE, "--advisory", "CVE-2026-0001")
    for site in SITES:
        assert leaks(holes, site) == []
        for path in OTHERS:
            assert send(holes, site, "GET", path)[0] == 200, path
        # To the login, as always.
        assert send(holes, site, "GET", "/wp-admin/")[0] == 302
        assert send(holes, site, "GET", "/wp-json/lab/form/v1x")[0] == 404
        status, said = send(holes, site, "GET", "/wp-json/lab/form/v1/entries")
        assert status == 403
        assert json.loads(said)["code"] == "owc_mitigated"
    # PHP alone closes every way.
    for site, server in SITES.items():
        holes.run(server, "rm", f"/etc/nginx/owc-mitigations/{site}.conf")
        holes.run(server, "systemctl", "reload", "nginx")
        time.sleep(1)
        assert leaks(holes, site) == []
    holes.owc("mitigate", "apply", *SITES)
    again = holes.owc("mitigate", "apply", *SITES, "--format", "json").document
    assert {each["outcome"] for each in again["outcomes"]} == {"ok"}
    listed = holes.owc("mitigate", "list", "--format", "json").document
    assert [each["identifier"] for each in listed["mitigations"]] == ["lab-form-v1"]

    holes.owc("mitigate", "lift", "lab-form-v1", "--reason", "patched")
    assert {site: leaks(holes, site) for site in SITES} == before
    history = holes.owc("history", *SITES, "--format", "json").document["outcomes"]
    told = [item for item in history if item["run"]["verb"] == "mitigate"]
    assert {item["site"] for item in told} == set(SITES)
    assert "CVE-2026-0001" in told[0]["run"]["reason"]
    assert told[0]["details"]["mitigation"]["advisory"] == "CVE-2026-0001"
    assert "mitigate lift" in {item["run"]["verb"] for item in history}


def test_a_block_stays_closed_through_releases_and_rollbacks(holes: Town) -> None:
    site = "bladel"
    assert SECRET in send(holes, site, "GET", FILE)[1]
    assert SECRET in send(holes, site, "GET", AJAX % "lab_form_entries")[1]
    close(holes, "--block", "lab-form", "--ajax-action", "lab_form_entries")

    def closed() -> bool:
        return (
            leaks(holes, site) == []
            and send(holes, site, "GET", FILE)[0] == 403
            and send(holes, site, "GET", AJAX % "lab_form_entries")[0] == 403
            and send(holes, site, "POST", AJAX % "x", "action=lab_form_entries", FORM)[0] == 403
            and send(holes, site, "GET", "/wp-content/plugins/LAB-form/src/export.php")[0] == 403
        )

    assert closed()
    live = holes.status(site)["release_id"]
    # Its gate asks for a page that is closed, which is not held against it.
    holes.write(site, blocks={"lab-form": "1.0.0", "lab-news": "1.0.0"})
    holes.lock(site)
    released = holes.apply(site).outcome(site)
    assert released["outcome"] == "changed"
    assert any("mitigation lab-form" in note for note in released["details"]["notes"])
    assert closed()
    holes.owc("rollback", site, "--to", live, "--yes")
    assert closed()
    holes.owc("mitigate", "lift", "lab-form", "--reason", "done")
    assert SECRET in send(holes, site, "GET", FILE)[1]


def test_a_server_out_of_reach_is_told_and_closed_later(holes: Town, tmp_path: Path) -> None:
    shutil.copytree(holes.root, tmp_path / "fleet")
    elsewhere = Town(tmp_path / "fleet", holes.lab)
    inventory = elsewhere.root / "servers.yml"
    reachable = inventory.read_text()
    servers = yaml.safe_load(reachable)
    servers["all"]["children"]["web"]["hosts"]["web2"]["ansible_port"] = 2
    inventory.write_text(yaml.safe_dump(servers))
    arguments = ("mitigate", "add", "--route", ROUTE, "--reason", "a hole", *SITES)
    result = elsewhere.owc(*arguments, "--format", "json", check=False)
    assert result.code == 1
    assert result.outcome("bladel")["outcome"] == "changed"
    assert result.outcome("boxtel")["outcome"] == "unreachable"
    assert leaks(elsewhere, "bladel") == []
    inventory.write_text(reachable)
    assert "not in force" in elsewhere.owc("plan", "boxtel").stdout
    assert elsewhere.status("boxtel")["state"] == "drifted"
    assert elsewhere.status("boxtel")["mitigations_missing"] == ["lab-form-v1"]
    assert elsewhere.status("bladel")["mitigations"] == ["lab-form-v1"]
    later = elsewhere.owc("mitigate", "apply", *SITES, "--format", "json")
    assert later.outcome("bladel")["outcome"] == "ok"
    assert later.outcome("boxtel")["outcome"] == "changed"
    assert leaks(elsewhere, "boxtel") == []
    elsewhere.owc("mitigate", "lift", "lab-form-v1", "--reason", "done")


def test_a_new_site_is_closed_from_its_first_release(holes: Town) -> None:
    add = ("mitigate", "add", "--route", ROUTE, "--reason", "a hole")
    holes.owc(*add, "bladel", "--identifier", "for-all", check=False)
    file = holes.root / "mitigations.yml"
    document = yaml.safe_load(file.read_text())
    del document["mitigations"][0]["sites"]
    file.write_text(yaml.safe_dump(document))
    SITES["cuijk"] = "web1"
    try:
        holes.create("cuijk", blocks={"lab-form": "1.0.0"})
        assert leaks(holes, "cuijk") == []
    finally:
        file.unlink()
        holes.owc("mitigate", "apply", "bladel", "cuijk")
    assert leaks(holes, "cuijk") != []
    del SITES["cuijk"]


def test_from_an_advisory_to_a_patch_on_record(holes: Town) -> None:
    for site, server in SITES.items():
        holes.write(site, server, blocks={"lab-form": "1.0.0"})
    holes.lock(*SITES)
    holes.apply(*SITES)
    advisory = {
        "id": "OWC-2026-1",
        "aliases": ["CVE-2026-0002"],
        "published": "2026-11-20T00:00:00Z",
        "database_specific": {"severity": "CRITICAL"},
        "affected": [
            {
                "package": {"name": "lab-form"},
                "ranges": [{"events": [{"introduced": "0"}, {"fixed": "1.1.0"}]}],
            }
        ],
    }
    (holes.root / "advisories").mkdir(exist_ok=True)
    file = holes.root / "advisories" / "OWC-2026-1.json"
    file.write_text(json.dumps(advisory))
    try:
        audit = ("audit", *SITES, "--format", "json")
        found = holes.owc(*audit, check=False)
        assert found.code == 1
        assert [each["mitigation"] for each in found.document["findings"]] == [None] * 2
        close(holes, "--block", "lab-form", "--advisory", "CVE-2026-0002")
        found = holes.owc(*audit, check=False)
        assert [each["mitigation"] for each in found.document["findings"]] == [
            {"identifier": "lab-form", "in_force": True}
        ] * 2
        for site, server in SITES.items():
            holes.write(site, server, blocks={"lab-form": "1.1.0"})
        holes.lock(*SITES)
        holes.apply(*SITES)
        assert holes.owc(*audit).document["findings"] == []
        told = holes.owc("audit", "--history", *SITES, "--format", "json").document["patch_times"]
        assert [each["site"] for each in told] == sorted(SITES)
        for each in told:
            assert each["vulnerability"] == "CVE-2026-0002"
            assert each["first_seen_at"] < each["mitigated_at"] < each["patched_at"]
        holes.owc("mitigate", "lift", "lab-form", "--reason", "1.1.0 is everywhere")
        for site in SITES:
            status, said = send(holes, site, "GET", "/wp-json/lab/form/v1/entries")
            assert (status, json.loads(said)) == (200, {"entries": ["none"]})
    finally:
        file.unlink()
