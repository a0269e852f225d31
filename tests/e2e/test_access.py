"""Letting an administrator in, without a password anywhere."""

from __future__ import annotations

import re

import pytest
from e2e.conftest import Town

pytestmark = pytest.mark.lab


def test_the_link_lets_its_owner_set_a_password_and_is_in_no_log(town: Town) -> None:
    town.create("meppel")
    link = town.owc("access", "meppel").stdout.strip()
    found = re.fullmatch(
        r"https://www\.meppel\.example(/wp-login\.php\?action=rp&key=(\w+)&.*)", link
    )
    assert found
    path, key = found.groups()
    page = town.get("meppel", path)
    assert page.status == 302
    assert "action=rp" in page.headers["Location"]
    logged = town.run("web1", "journalctl", "--no-pager", "--output=cat")
    assert key not in logged
    places = [*town.root.joinpath(".owc-deploy").rglob("*")]
    assert not any(key.encode() in place.read_bytes() for place in places if place.is_file())


def test_an_unknown_login_is_said(town: Town) -> None:
    town.create("mill")
    refused = town.owc("access", "mill", "--login", "niemand", check=False)
    assert refused.code == 1
    assert "there is no user niemand" in refused.stderr
