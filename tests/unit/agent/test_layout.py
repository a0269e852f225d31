from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owc_agent import layout


@pytest.mark.parametrize("name", ["heusden", "a1", "veldhoven-oost", "a" * 27])
def test_site_names_that_may_become_paths(name: str) -> None:
    assert layout.SitePaths(name).root == f"/srv/owc/sites/{name}"


@pytest.mark.parametrize(
    "name", ["", "a", "../etc", "a/b", "A", "-a", "a-", "a" * 28, "a\n", "a;b", "é", None, 7]
)
def test_names_that_may_not(name: object) -> None:
    with pytest.raises(layout.NameRefusedError):
        layout.checked_site(name)


@given(st.text())
def test_a_checked_name_never_leaves_its_folder(text: str) -> None:
    for check in (layout.checked_folder, layout.checked_release, layout.checked_sha256):
        try:
            name = check(text)
        except layout.NameRefusedError:
            continue
        assert "/" not in name
        assert ".." not in name
        assert name == name.strip()


def test_names_that_belong_to_one_site() -> None:
    paths = layout.SitePaths("veldhoven-oost")
    assert paths.user == "owc-veldhoven-oost"
    assert paths.database == "owc_veldhoven_oost"
    assert paths.php_fpm_unit == "owc-php-fpm@veldhoven-oost.service"
    assert len(layout.SitePaths("a" * 27).user) <= 31  # useradd's limit is 32
