"""What one site's PHP may not do: write code, run uploads, read its neighbours."""

from __future__ import annotations

from itertools import count

import pytest
from e2e.conftest import Town

pytestmark = pytest.mark.lab
_numbers = count()


@pytest.fixture(scope="module")
def pair(town: Town) -> Town:
    town.create("laren")
    town.create("leiden")
    return town


def as_site(town: Town, site: str, php: str) -> str:
    """Run PHP in the site's own PHP-FPM, through a file that only this test may place there."""
    # Each time another, as code that is live is compiled once and not looked at again.
    name = f"proef-{next(_numbers)}.php"
    path = f"/srv/owc/sites/{site}/current/public/{name}"
    town.run("web1", "python3", "-c", f"open({path!r}, 'w').write({'<?php ' + php!r})")
    town.run("web1", "chmod", "644", path)
    try:
        return town.get(site, f"/{name}").body.strip()
    finally:
        town.run("web1", "rm", path)


@pytest.mark.parametrize(
    "path",
    [
        "/srv/owc/sites/laren/current/public/index.php",
        "/srv/owc/sites/laren/current/public/wp-content/plugins/x.php",
        "/srv/owc/sites/laren/current/wp-config.php",
        "/srv/owc/sites/laren/shared/salts.php",
        "/srv/owc/sites/laren/current",
        "/srv/owc/store/x",
        "/etc/x",
    ],
)
def test_code_is_not_writable(pair: Town, path: str) -> None:
    assert as_site(pair, "laren", f"var_dump(@file_put_contents('{path}', 'x'));") == "bool(false)"


def test_uploads_are_writable_and_never_run(pair: Town) -> None:
    target = "/srv/owc/sites/laren/shared/uploads/kwaad.php"
    written = as_site(pair, "laren", f"var_dump(file_put_contents('{target}', '<?php echo 6*7;'));")
    assert written == "int(15)"
    answer = pair.get("laren", "/wp-content/uploads/kwaad.php")
    assert answer.status == 403
    assert "42" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/srv/owc/sites/leiden/current/wp-config.php",
        "/srv/owc/sites/leiden/shared/salts.php",
        "/srv/owc/sites/leiden/shared/uploads",
        "/srv/owc/sites/laren/tls/privkey.pem",
        "/srv/owc/sites/leiden/snapshots",
        "/etc/shadow",
    ],
)
def test_a_neighbour_and_the_keys_are_out_of_sight(pair: Town, path: str) -> None:
    assert as_site(pair, "laren", f"var_dump(@is_readable('{path}'));") == "bool(false)"


def test_a_link_in_the_uploads_shows_nothing_of_a_neighbour(pair: Town) -> None:
    for target in ("/srv/owc/sites/leiden/shared/salts.php", "/etc/passwd"):
        link = "/srv/owc/sites/laren/shared/uploads/foto.jpg"
        made = as_site(
            pair, "laren", f"@unlink('{link}'); var_dump(symlink('{target}', '{link}'));"
        )
        assert made == "bool(true)"
        assert pair.get("laren", "/wp-content/uploads/foto.jpg").status in {403, 404}
    as_site(pair, "laren", f"unlink('{link}'); file_put_contents('{link}', 'echt');")
    assert pair.get("laren", "/wp-content/uploads/foto.jpg").body == "echt"


def test_a_site_cannot_make_the_database_run_anything_as_root(pair: Town) -> None:
    php = (
        "mysqli_report(MYSQLI_REPORT_OFF);"
        "$c = mysqli_connect('localhost', 'owc-laren', '', 'owc_laren', 0,"
        " '/run/mysqld/mysqld.sock');"
        "var_dump($c->query('CREATE FUNCTION f() RETURNS INT SQL SECURITY INVOKER RETURN 1'),"
        " $c->query('CREATE VIEW v AS SELECT 1'),"
        " $c->query('CREATE TABLE t (a INT)'), $c->query('DROP TABLE t'));"
    )
    assert as_site(pair, "laren", php).split() == ["bool(false)"] * 2 + ["bool(true)"] * 2


def test_a_neighbours_database_is_out_of_reach(pair: Town) -> None:
    php = (
        "mysqli_report(MYSQLI_REPORT_OFF);"
        "$c = mysqli_connect('localhost', 'owc-laren', '', '', 0, '/run/mysqld/mysqld.sock');"
        "var_dump($c->select_db('owc_laren'), $c->select_db('owc_leiden'));"
    )
    assert as_site(pair, "laren", php).split() == ["bool(true)", "bool(false)"]
    php = (
        "mysqli_report(MYSQLI_REPORT_OFF);"
        "var_dump(@mysqli_connect('localhost','owc-leiden','','',0,'/run/mysqld/mysqld.sock'));"
    )
    assert as_site(pair, "laren", php) == "bool(false)"


@pytest.mark.parametrize(
    "path",
    [
        "/wp-config.php",
        "/../wp-config.php",
        "/readme.html",
        "/xmlrpc.php",
        "/.git/config",
        "/wp-cron.php",
        "/wp-content/debug.log",
        "/release.json",
        "/wp-json/wp/v2/users",
        "/?author=1",
    ],
)
def test_what_scanners_ask_for_is_refused(pair: Town, path: str) -> None:
    assert pair.get("laren", path).status in {400, 401, 403, 404}


def test_every_answer_carries_the_headers(pair: Town) -> None:
    for path in ("/", "/bestaat-niet", "/wp-content/plugins/lab-news/lab-news.php", "/xmlrpc.php"):
        headers = pair.get("laren", path).headers
        assert "max-age=" in headers["Strict-Transport-Security"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "PHP" not in headers.get("X-Powered-By", "")
