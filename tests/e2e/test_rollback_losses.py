"""Going back over a migration: what would be lost is told, exported, and lost only when asked."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2e.conftest import Result, Town

pytestmark = pytest.mark.lab

OLD, NEW = {"lab-agenda": "1.0.0"}, {"lab-agenda": "2.0.0"}
# A table as Action Scheduler makes it, with the columns that matter here.
ACTIONS = """
CREATE TABLE wp_actionscheduler_actions (action_id bigint unsigned NOT NULL AUTO_INCREMENT,
 hook varchar(191) NOT NULL, status varchar(20) NOT NULL, scheduled_date_gmt datetime,
 scheduled_date_local datetime, args varchar(191), schedule longtext, group_id bigint unsigned,
 PRIMARY KEY (action_id));
INSERT INTO wp_actionscheduler_actions (hook, status, scheduled_date_gmt, scheduled_date_local,
 args, schedule) VALUES
 ('zaak_create', 'pending', '2026-01-01 10:00:00', '2026-01-01 11:00:00', '[1]', 'O:30:"x"'),
 ('zaak_later', 'pending', '2036-01-01 10:00:00', '2036-01-01 11:00:00', '[2]', ''),
 ('digest', 'pending', '2026-01-01 10:00:00', '2026-01-01 11:00:00', '[]',
  'O:32:"ActionScheduler_IntervalSchedule":0:{}'),
 ('done_before', 'complete', '2026-01-01 10:00:00', '2026-01-01 11:00:00', '[]', '');
"""
ENTRIES = """
CREATE TABLE wp_gf_entry (id int unsigned NOT NULL AUTO_INCREMENT, form_id mediumint NOT NULL,
 date_created datetime NOT NULL, ip varchar(39), PRIMARY KEY (id));
INSERT INTO wp_gf_entry (form_id, date_created) VALUES (3, '2026-01-01 10:00:00');
"""
# What plugins call their tables and columns is nothing to rely on.
ODD = """
CREATE TABLE `wp_odd ``name\\; -- "x' é` (`the ``key` varchar(40) COLLATE utf8mb4_bin NOT NULL,
 `select` blob, PRIMARY KEY (`the ``key`));
INSERT INTO `wp_odd ``name\\; -- "x' é` VALUES ('A', x'00ff'), ('b', NULL);
CREATE TABLE wp_no_key (line text);
INSERT INTO wp_no_key VALUES ('een'), ('twee');
CREATE TABLE wp_no_key_same (line text);
INSERT INTO wp_no_key_same VALUES ('een');
CREATE TABLE wp_dropped (id int PRIMARY KEY);
INSERT INTO wp_dropped VALUES (1), (2);
"""
SINCE = """
INSERT INTO wp_posts (post_title, post_type, post_status, post_name, post_date, post_content,
 post_excerpt, to_ping, pinged, post_content_filtered) VALUES
 ('Braderie', 'post', 'publish', 'braderie', NOW(), 'Zaterdag', '', '', '', ''),
 ('Kermis é', 'page', 'publish', 'kermis', NOW(), 'Zondag', '', '', '', ''),
 ('Oud', 'revision', 'inherit', 'oud', NOW(), '', '', '', '', ''),
 ('Concept', 'post', 'auto-draft', '', NOW(), '', '', '', '', '');
UPDATE wp_posts SET post_content='Anders' WHERE post_title='Bestond al';
DELETE FROM wp_posts WHERE post_title='Moest weg';
INSERT INTO wp_comments (comment_post_ID, comment_author, comment_content, comment_date) VALUES
 (1, 'Jan', 'Mooi', NOW()), (1, 'Piet', 'Lelijk', NOW());
UPDATE wp_posts SET comment_count=3 WHERE ID=1;
INSERT INTO wp_options (option_name, option_value) VALUES ('eigen_instelling', 'ja'),
 ('_transient_iets', '1');
INSERT INTO wp_gf_entry (form_id, date_created, ip) VALUES (3, NOW(), '192.0.2.1');
UPDATE wp_actionscheduler_actions SET status='complete' WHERE hook IN ('zaak_create', 'digest');
INSERT INTO wp_actionscheduler_actions (hook, status, scheduled_date_gmt, args, schedule) VALUES
 ('digest', 'pending', '2036-05-01 08:00:00', '[]', '');
UPDATE `wp_odd ``name\\; -- "x' é` SET `select`=x'0001' WHERE `the ``key`='b';
INSERT INTO `wp_odd ``name\\; -- "x' é` VALUES ('a', x'fe');
INSERT INTO wp_no_key VALUES ('drie');
DROP TABLE wp_dropped;
CREATE TABLE wp_added (id int PRIMARY KEY);
INSERT INTO wp_added VALUES (7);
"""
BEFORE = """
INSERT INTO wp_posts (post_title, post_type, post_status, post_name, post_content, post_excerpt,
 to_ping, pinged, post_content_filtered) VALUES
 ('Bestond al', 'page', 'publish', 'bestond-al', 'Zo', '', '', '', ''),
 ('Moest weg', 'page', 'publish', 'moest-weg', 'Zo', '', '', '', '');
"""
ODD_NAME = "wp_odd `name\\; -- \"x' é"


def sql(town: Town, site: str, text: str) -> str:
    command = ("mariadb", "--batch", "--skip-column-names", "--default-character-set=utf8mb4")
    done = town.lab.run("web1", ["sudo", *command, f"owc_{site}"], text_input=text)
    return done.stdout


def wp(town: Town, site: str, *arguments: str) -> str:
    live = f"/srv/owc/sites/{site}/current"
    tool = (f"{live}/php", f"{live}/wp-cli.phar", f"--path={live}/public")
    return town.run("web1", "sudo", "-u", f"owc-{site}", *tool, *arguments)


def migrated_and_used(town: Town, site: str) -> tuple[str, str]:
    """Make a site, migrate it, let things happen to it; return both releases."""
    town.create(site, blocks=OLD)
    first = town.status(site)["release_id"]
    sql(town, site, BEFORE + ACTIONS + ENTRIES + ODD)
    for hook in ("lab_once", "lab_waiting", "lab_again"):
        wp(town, site, "cron", "event", "schedule", hook, "+2 hours")
    town.write(site, blocks=NEW)
    town.lock(site)
    town.apply(site)
    sql(town, site, SINCE)
    wp(town, site, "cron", "event", "delete", "lab_once")
    wp(town, site, "cron", "event", "delete", "lab_again")
    wp(town, site, "cron", "event", "schedule", "lab_again", "+5 hours")
    town.run("web1", "touch", f"/srv/owc/sites/{site}/shared/uploads/brief.txt")
    return first, town.status(site)["release_id"]


def refused(town: Town, site: str) -> Result:
    return town.owc("rollback", site, "--yes", "--format", "json", check=False)


def numbers(new: int = 0, changed: int = 0, deleted: int = 0) -> dict[str, int]:
    return {"new": new, "changed": changed, "deleted": deleted}


def counted(count: dict[str, Any]) -> dict[str, int]:
    return {what: count[what] for what in ("new", "changed", "deleted")}


def titles(count: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["what"], item["title"]) for item in count["examples"]}


def check_losses(losses: dict[str, Any], since: str) -> None:
    """See that exactly what was done is told, the update's own work included."""
    assert losses["snapshot_of"] == since
    assert set(losses["posts"]) == {"post", "page"}
    assert counted(losses["posts"]["post"]) == numbers(new=1)
    assert titles(losses["posts"]["post"]) == {("new", "Braderie")}
    assert counted(losses["posts"]["page"]) == numbers(new=1, changed=1, deleted=1)
    assert titles(losses["posts"]["page"]) == {
        ("new", "Kermis é"),
        ("changed", "Bestond al"),
        ("deleted", "Moest weg"),
    }
    assert counted(losses["internal"]) == numbers(new=2)
    assert counted(losses["comments"]) == numbers(new=2)
    assert counted(losses["entries"]) == numbers(new=1)
    assert losses["entries"]["examples"][0]["title"].startswith("#2, form 3, 20")
    assert counted(losses["users"]) == numbers()
    # lab-agenda's migration moves its events from one option to another.
    assert titles(losses["options"]) == {
        ("new", "eigen_instelling"),
        ("new", "lab_agenda_days"),
        ("deleted", "lab_agenda_events"),
    }
    assert counted(losses["uploads"]) == numbers(new=1)
    assert titles(losses["uploads"]) == {("new", "brief.txt")}
    tables = {name: counted(count) for name, count in losses["tables"].items()}
    assert tables == {
        "wp_actionscheduler_actions": numbers(new=1, changed=2),
        ODD_NAME: numbers(new=1, changed=1),
        "wp_dropped": numbers(deleted=2),
        "wp_added": numbers(new=1),
    }
    assert [item["table"] for item in losses["not_compared"]] == ["wp_no_key"]
    assert "3 now, 2 then" in losses["not_compared"][0]["reason"]


def test_what_would_be_lost_is_told_and_only_then_done(town: Town) -> None:
    site = "weert"
    first, second = migrated_and_used(town, site)

    preview = town.owc("rollback", site, "--preview", "--format", "json").document
    assert preview["restore_needed"]
    check_losses(preview["losses"], second)
    for_people = town.owc("rollback", site, "--preview").stdout
    for words in ("pages", "1 new, 1 edited: Kermis é; Bestond al", "form entries", "brief.txt"):
        assert words in for_people
    assert f"/srv/owc/sites/{site}/exports/" in for_people

    no = refused(town, site)
    assert no.code == 1
    assert no.outcome(site)["outcome"] == "not-attempted"
    assert no.document["losses"] == preview["losses"]
    assert f"rollback {site} --to {first} --restore-database --yes" in no.stderr
    assert town.status(site)["release_id"] == second
    assert sql(town, site, "SELECT COUNT(*) FROM wp_posts WHERE post_title='Braderie'") == "1\n"
    databases = town.run("web1", "mariadb", "-N", "-e", "SHOW DATABASES").split()
    assert not [name for name in databases if name.startswith(("owcrestore", "owcaside"))]

    yes = ("--restore-database", "--yes", "--format", "json")
    done = town.owc("rollback", site, *yes).document
    assert done["outcomes"][0]["outcome"] == "changed"
    check_losses(done["losses"], second)
    check_export(town, done["export"], first, second)
    check_jobs(town, site, done["held_jobs"])
    check_restored(town, site, first)


def check_export(town: Town, path: str, first: str, second: str) -> None:
    assert town.run("web1", "stat", "-c", "%a %U", path).split() == ["600", "root"]
    text = town.run("web1", "zcat", path)
    header, *lines = [json.loads(line) for line in text.splitlines()]
    assert (header["to_release"], header["from_release"]) == (first, second)
    assert "rows" in header["what"]
    rows = {
        (line["table"], line["what"], row.get("post_title") or row.get("option_name")): row
        for line in lines
        if "row" in line
        for row in [line["row"] or {}]
    }
    assert rows["wp_posts", "new", "Braderie"]["post_content"] == "Zaterdag"
    assert rows["wp_posts", "changed", "Bestond al"]["post_content"] == "Anders"
    assert rows["wp_posts", "new", "Concept"]["post_status"] == "auto-draft"
    assert rows["wp_options", "new", "eigen_instelling"]["option_value"] == "ja"
    assert not any(key[2] == "_transient_iets" for key in rows)
    assert rows["wp_gf_entry", "new", None]["ip"] == "192.0.2.1"
    assert isinstance(rows["wp_posts", "deleted", None]["ID"], int)
    assert rows["wp_added", "new", None] == {"id": 7}
    assert rows[ODD_NAME, "new", None] == {"the `key": "a", "select": {"hex": "fe"}}
    assert rows[ODD_NAME, "changed", None] == {"the `key": "b", "select": {"hex": "0001"}}
    whole = [line["row"]["line"] for line in lines if line.get("table") == "wp_no_key"]
    assert sorted(whole) == ["drie", "een", "twee"]
    assert [line["upload"] for line in lines if "upload" in line] == ["brief.txt"]
    assert {line["held_job"]["hook"] for line in lines if "held_job" in line} > {"zaak_create"}


def check_jobs(town: Town, site: str, told: list[dict[str, Any]]) -> None:
    actions = sql(
        town,
        site,
        "SELECT hook, status, scheduled_date_gmt, scheduled_date_local"
        " FROM wp_actionscheduler_actions ORDER BY action_id",
    )
    assert [line.split("\t") for line in actions.splitlines()] == [
        ["zaak_create", "canceled", "2026-01-01 10:00:00", "2026-01-01 11:00:00"],
        ["zaak_later", "pending", "2036-01-01 10:00:00", "2036-01-01 11:00:00"],
        ["digest", "pending", "2036-05-01 08:00:00", "2036-05-01 09:00:00"],
        ["done_before", "complete", "2026-01-01 10:00:00", "2026-01-01 11:00:00"],
    ]
    done = {(job["kind"], job["hook"]): job["done"] for job in told}
    assert done["action-scheduler", "zaak_create"] == "canceled"
    assert done["action-scheduler", "digest"] == "moved"
    assert done["cron", "lab_once"] == "removed"
    assert done["cron", "lab_again"] == "moved"
    assert ("cron", "lab_waiting") not in done
    assert ("action-scheduler", "zaak_later") not in done
    events = json.loads(wp(town, site, "cron", "event", "list", "--format=json"))
    planned = {event["hook"]: event["next_run_relative"] for event in events}
    assert "lab_once" not in planned
    assert planned["lab_again"].startswith("4 hours")
    assert planned["lab_waiting"].startswith("1 hour")
    due = [hook for hook, when in planned.items() if when == "now"]
    assert [hook for hook in due if hook.startswith("lab_")] == []


def check_restored(town: Town, site: str, release: str) -> None:
    status = town.status(site)
    assert (status["release_id"], status["state"]) == (release, "live")
    page = town.get(site)
    assert page.status == 200
    assert "lab-agenda 1.0.0: Braderie" in page.body
    tables = sql(town, site, "SHOW TABLES").splitlines()
    assert "wp_dropped" in tables
    assert "wp_added" not in tables
    assert sql(town, site, "SELECT post_content FROM wp_posts WHERE post_name='bestond-al'") == (
        "Zo\n"
    )
    databases = town.run("web1", "mariadb", "-N", "-e", "SHOW DATABASES").split()
    assert not [name for name in databases if name.startswith(("owcrestore", "owcaside"))]
    assert "brief.txt" in town.run("web1", "ls", f"/srv/owc/sites/{site}/shared/uploads").split()


def test_nothing_written_during_a_rollback_is_lost_without_a_trace(town: Town) -> None:
    site = "wierden"
    town.create(site, blocks=OLD)
    town.write(site, blocks=NEW)
    town.lock(site)
    town.apply(site)
    insert = "INSERT INTO wp_comments (comment_author, comment_content) VALUES ('', 'nr $i')"
    writing = f"""i=0; while [ ! -e /run/stop-{site} ]; do i=$((i+1))
        mariadb owc_{site} -e "{insert}" && echo $i; done"""
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(town.run, "web1", "bash", "-c", writing)
        try:
            result = town.owc("rollback", site, "--restore-database", "--yes", "--format", "json")
        finally:
            town.run("web1", "touch", f"/run/stop-{site}")
        acknowledged = {f"nr {number}" for number in written.result().split()}
    lines = town.run("web1", "zcat", result.document["export"]).splitlines()
    rows = [json.loads(line).get("row") or {} for line in lines]
    exported = {row["comment_content"] for row in rows if "comment_content" in row}
    kept = set(sql(town, site, "SELECT comment_content FROM wp_comments").splitlines())
    assert len(acknowledged & exported) > 10
    assert acknowledged & kept
    assert acknowledged <= exported | kept


def test_a_release_that_is_not_whole_is_refused_and_what_is_possible_named(town: Town) -> None:
    site = "wijchen"
    town.create(site, blocks=OLD)
    first = town.status(site)["release_id"]
    town.write(site, blocks=OLD, title="Wijchen twee", pages=[{"path": "/"}])
    town.lock(site)
    town.apply(site)
    second = town.status(site)["release_id"]
    town.write(site, blocks=NEW, pages=[{"path": "/"}])
    town.lock(site)
    town.apply(site)
    third = town.status(site)["release_id"]
    folder = f"/srv/owc/sites/{site}"

    plain = town.owc("rollback", site, "--preview", "--to", second, "--format", "json").document
    assert plain["restore_needed"]
    main = f"{folder}/releases/{second}/public/wp-content/plugins/lab-agenda/lab-agenda.php"
    town.run("web1", "mv", main, main + ".away")
    broken = town.owc("rollback", site, "--restore-database", "--yes", check=False)
    assert broken.code == 1
    assert "lab-agenda.php (of lab-agenda 1.0.0)" in broken.stdout
    assert f"possible: {first}" in broken.stdout
    town.run("web1", "mv", main + ".away", main)

    town.run(
        "web1",
        "sed",
        "-i",
        "s/Wijchen twee/Wijchen drie/",
        f"{folder}/releases/{second}/release.json",
    )
    changed = town.owc("rollback", site, "--preview", check=False)
    assert changed.code == 1
    assert "changed since it was built" in changed.stdout

    town.run("web1", "truncate", "-s", "-100", f"{folder}/snapshots/{third}.sql.gz")
    damaged = town.owc("rollback", site, "--to", first, "--restore-database", "--yes", check=False)
    assert damaged.code == 1
    assert f"{third}.sql.gz" in damaged.stdout
    assert "no other release is possible" in damaged.stdout
    status = town.status(site)
    assert (status["release_id"], status["state"]) == (third, "live")


def test_going_back_in_code_alone_asks_for_no_data(town: Town) -> None:
    site = "winsum"
    town.create(site, blocks={"lab-news": "1.0.0"})
    town.write(site, blocks={"lab-news": "1.1.0"})
    town.lock(site)
    town.apply(site)
    preview = town.owc("rollback", site, "--preview", "--format", "json").document
    assert preview["restore_needed"] is False
    assert preview["losses"] is None
    done = town.owc("rollback", site, "--yes", "--format", "json").document
    assert done["outcomes"][0]["outcome"] == "changed"
    assert (done["export"], done["held_jobs"], done["losses"]) == ("", [], None)
