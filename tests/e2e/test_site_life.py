"""A site from its manifest to live, updated, broken, undone, rolled back, taken off and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from e2e.conftest import Answer, Town

pytestmark = pytest.mark.lab


@contextmanager
def watched(town: Town, site: str) -> Iterator[list[Answer | Exception]]:
    """Ask for the front page again and again while something happens to the site."""
    answers: list[Answer | Exception] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                answers.append(town.get(site))
            except OSError as error:
                answers.append(error)
            time.sleep(0.05)

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def failures(answers: list[Answer | Exception]) -> list[str]:
    return [
        str(answer)[:300]
        for answer in answers
        if isinstance(answer, Exception) or answer.status != 200
    ]


def test_sites_go_live_on_two_servers_and_stay_as_they_are(town: Town) -> None:
    sites = {"altena": "web1", "heusden": "web1", "zundert": "web2"}
    for site, server in sites.items():
        town.write(site, server)
    town.lock(*sites)
    first = town.apply(*sites)
    assert [item["outcome"] for item in first.document["outcomes"]] == ["changed"] * 3
    for site, server in sites.items():
        page = town.get(site, server=server)
        assert page.status == 200
        assert f"Gemeente {site.title()}" in page.body
        assert 'lang="nl-NL"' in page.body
        assert "lab-news 1.0.0" in page.body
        assert town.get(site, "/wp-json/lab/woo/v1/", server).status == 200
    assert "Wachtwoord" in town.get("altena", "/wp-login.php").body

    releases = {site: town.status(site)["release_id"] for site in sites}
    assert town.owc("plan", *sites, "--detailed-exitcode").code == 0
    again = town.apply(*sites)
    assert [item["outcome"] for item in again.document["outcomes"]] == ["ok"] * 3
    assert {site: town.status(site)["release_id"] for site in releases} == releases

    bill = town.owc("sbom", "altena").document
    assert bill["metadata"]["component"]["version"] == releases["altena"]
    named = {item["name"]: item["version"] for item in bill["components"]}
    assert (named["wordpress"], named["lab-news"], named["php"]) == ("7.1.1", "1.0.0", "8.2")


def test_an_update_touches_one_site_and_every_visitor_is_served(town: Town) -> None:
    town.create("bergen")
    town.create("breda")
    before = town.status("breda")["release_id"]
    town.write("bergen", blocks={"lab-woo": "^4.3", "lab-news": "~1.1.0"})
    town.owc("update", "lab-news", "--site", "bergen")
    # Not all of the fleet: other tests leave sites in it that are broken on purpose.
    with watched(town, "bergen") as answers:
        result = town.apply("bergen", "breda")
    assert result.outcome("bergen")["outcome"] == "changed"
    assert "lab-news 1.1.0" in town.get("bergen").body
    assert town.status("breda")["release_id"] == before
    assert len(answers) > 5
    assert failures(answers) == []


@pytest.mark.parametrize(
    ("block", "version", "why"),
    [("lab-news", "1.2.0", "lab-news"), ("lab-silent", "1.1.0", "switched itself off")],
)
def test_a_broken_block_is_undone_while_the_old_release_answers(
    town: Town, block: str, version: str, why: str
) -> None:
    site = f"boxtel-{block.removeprefix('lab-')}"
    town.create(site, blocks={"lab-woo": "^4.3", "lab-news": "1.0.0", "lab-silent": "1.0.0"})
    before = town.status(site)
    good = {"lab-woo": "^4.3", "lab-news": "1.0.0", "lab-silent": "1.0.0"}
    town.write(site, blocks={**good, block: version})
    town.lock(site)
    with watched(town, site) as answers:
        result = town.apply(site, check=False)
    assert result.code == 1
    assert result.outcome(site)["outcome"] == "rolled-back"
    assert why in result.outcome(site)["message"]
    assert failures(answers) == []
    after = town.status(site)
    assert after["state"] == "live"
    assert after["release_id"] == before["release_id"]
    assert "lab-news 1.0.0" in town.get(site).body


def test_a_broken_site_leaves_its_neighbours_alone(town: Town) -> None:
    town.create("gilze")
    town.write("gilze", blocks={"lab-woo": "^4.3", "lab-news": "1.2.0"})
    town.write("goirle")
    town.lock("gilze", "goirle")
    result = town.apply("gilze", "goirle", check=False)
    assert result.outcome("gilze")["outcome"] == "rolled-back"
    assert result.outcome("goirle")["outcome"] == "changed"
    assert "Gemeente Goirle" in town.get("goirle").body


def test_a_rollback_brings_the_earlier_release_back(town: Town) -> None:
    pages = [{"path": "/", "text": "Oss"}]
    town.create("oss", pages=pages)
    first = town.status("oss")["release_id"]
    blocks = {"lab-woo": "^4.3", "lab-news": "1.1.0"}
    town.write("oss", blocks=blocks, title="Oss vooruit", pages=pages)
    town.lock("oss")
    town.apply("oss")
    assert "Oss vooruit" in town.get("oss").body
    refused = town.owc("rollback", "oss", "--to", "20200101T000000Z-00000000", "--yes", check=False)
    assert refused.code == 2
    assert first in refused.stderr
    result = town.owc("rollback", "oss", "--yes", "--format", "json")
    assert result.outcome("oss")["outcome"] == "changed"
    page = town.get("oss").body
    assert "lab-news 1.0.0" in page
    assert "Gemeente Oss" in page
    assert town.status("oss")["release_id"] == first
    town.apply("oss")
    assert "lab-news 1.1.0" in town.get("oss").body


def test_wordpress_6_becomes_7_with_its_database_and_goes_back(town: Town) -> None:
    old = {"wordpress": "6.5.*", "blocks": {"lab-news": "1.0.0"}}
    town.create("tilburg", **old)
    first = town.status("tilburg")
    assert first["wordpress"].startswith("6.5")
    town.write("tilburg", **{**old, "wordpress": "7.1.*"})
    town.lock("tilburg")
    town.apply("tilburg")
    second = town.status("tilburg")
    assert second["wordpress"] == "7.1.1"
    assert second["releases"][0]["database_changed"]

    refused = town.owc("rollback", "tilburg", "--yes", "--format", "json", check=False)
    assert refused.code == 1
    assert "since release" in refused.outcome("tilburg")["message"]
    assert town.status("tilburg")["wordpress"] == "7.1.1"

    town.owc("rollback", "tilburg", "--restore-database", "--yes")
    back = town.status("tilburg")
    assert back["release_id"] == first["release_id"]
    assert back["state"] == "live"
    version = "SELECT option_value FROM wp_options WHERE option_name='db_version'"
    assert town.run("web1", "mariadb", "-N", "owc_tilburg", "-e", version).strip() == "57155"


def test_a_migration_runs_once_and_its_undoing_is_a_restore(town: Town) -> None:
    town.create("vught", blocks={"lab-agenda": "1.0.0"})
    town.write("vught", blocks={"lab-agenda": "2.0.0"})
    town.lock("vught")
    plan = town.owc("plan", "vught")
    assert "lab-agenda 1.0.0 -> 2.0.0, one way: wp lab-agenda migrate" in plan.stdout
    town.apply("vught")
    assert town.status("vught")["releases"][0]["database_changed"]
    assert town.owc("plan", "vught", "--detailed-exitcode").code == 0


def test_what_was_changed_behind_the_tool_is_seen_and_repaired(town: Town) -> None:
    town.create("waalre")
    sql = "UPDATE wp_options SET option_value='Gehackt' WHERE option_name='blogname'"
    town.run("web1", "mariadb", "owc_waalre", "-e", sql)
    seen = town.status("waalre")
    assert seen["state"] == "drifted"
    assert seen["drift"][0]["what"] == "option blogname"
    plan = town.owc("plan", "waalre", "--detailed-exitcode", check=False)
    assert plan.code == 10
    assert "it was changed on the server" in plan.stdout
    town.apply("waalre")
    assert "Gemeente Waalre" in town.get("waalre").body
    assert town.status("waalre")["state"] == "live"


def test_a_site_leaves_only_when_named_and_comes_back_whole(town: Town) -> None:
    town.create("zwolle")
    upload = "/srv/owc/sites/zwolle/shared/uploads/brief.txt"
    town.run("web1", "touch", upload)
    post = "INSERT INTO wp_posts (post_title, post_content, post_excerpt, to_ping, pinged,"
    post += " post_content_filtered, post_status) VALUES ('Bewaard', '', '', '', '', '', 'publish')"
    town.run("web1", "mariadb", "owc_zwolle", "-e", post)
    manifest = town.root / "sites" / "zwolle.yml"
    lock = town.root / "locks" / "zwolle.lock.yml"
    text, locked = manifest.read_text(), lock.read_text()
    manifest.unlink()
    lock.unlink()

    held = town.owc("plan", check=False)
    assert "held zwolle" in held.stdout
    assert town.get("zwolle").status == 200
    command = ("apply", "--decommission", "zwolle", "--yes", "--format", "json")
    result = town.owc(*command, check=False)  # others of this fleet may be broken on purpose
    assert result.outcome("zwolle")["outcome"] == "changed"
    with pytest.raises(OSError, match=r"."):
        town.get("zwolle")

    manifest.write_text(text)
    lock.write_text(locked)
    town.apply("zwolle")
    assert "Gemeente Zwolle" in town.get("zwolle").body
    assert town.run("web1", "ls", upload).strip() == upload
    count = "SELECT COUNT(*) FROM wp_posts WHERE post_title='Bewaard'"
    assert town.run("web1", "mariadb", "-N", "owc_zwolle", "-e", count).strip() == "1"
