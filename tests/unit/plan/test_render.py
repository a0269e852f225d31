from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from unit.plan.examples import manifest

from owc_deploy.fleet.models import Redirect
from owc_deploy.plan.render import php_string, render_files


@given(st.text())
def test_php_text_ends_where_it_should(text: str) -> None:
    quoted = php_string(text)
    inside = quoted[1:-1]
    assert quoted[0] == quoted[-1] == "'"
    # PHP ends a single-quoted string at the first quote that no backslash escapes.
    position = 0
    while position < len(inside):
        if inside[position] == "\\":
            position += 2
            continue
        assert inside[position] != "'"
        position += 1
    assert position == len(inside)
    assert inside.replace("\\'", "'").replace("\\\\", "\\") == text or "\\" in text


def test_every_file_names_its_own_site_only() -> None:
    files = render_files(
        manifest(aliases=("heusden.example",), redirects=(Redirect("/oud", "/nieuw", 302),))
    )
    assert sorted(files) == ["freeze.php", "nginx.conf", "php-fpm.conf", "wp-config.php"]
    assert "server_name www.heusden.example;" in files["nginx.conf"]
    assert "server_name heusden.example;" in files["nginx.conf"]
    assert "return 302 /nieuw;" in files["nginx.conf"]
    assert "define('DB_NAME', 'owc_heusden');" in files["wp-config.php"]
    assert "define('DISALLOW_FILE_MODS', true);" in files["wp-config.php"]
    assert "lstat('/srv/owc/sites/heusden/current')" in files["wp-config.php"]
    assert "listen = /run/owc-php-fpm/heusden/php-fpm.sock" in files["php-fpm.conf"]
