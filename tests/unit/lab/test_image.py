"""The recipe of an image: the host's mirrors, whatever the release, and a key of all in it."""

from __future__ import annotations

import threading

import pytest

from owc_deploy.lab.image import AptSource, locked, make_recipe
from owc_deploy.lab.mounts import remove_tree

SOURCES = (
    AptSource("http://mirror.example/debian/", "bookworm", "main"),
    AptSource("http://mirror.example/debian/", "bookworm-updates", "main"),
    AptSource("http://mirror.example/security/", "bookworm-security", "main"),
    AptSource("http://mirror.example/debian/", "bookworm", "contrib"),
    AptSource("http://tools.example/apt/", "stable", "main"),
    AptSource("http://other.example/apt/", "bookworm-pgdg", "main"),
)


def recipe(release="bookworm", **changes):
    return make_recipe(
        release,
        **{
            "sources": SOURCES,
            "apt_settings": (),
            "host_codename": "bookworm",
            "certificates": {},
            **changes,
        },
    )


def test_the_hosts_own_mirror_is_used_and_third_parties_are_left_out():
    made = recipe()
    assert made.mirror == "http://mirror.example/debian/"
    assert made.files["/etc/apt/sources.list"] == (
        "deb http://mirror.example/debian/ bookworm main\n"
        "deb http://mirror.example/debian/ bookworm-updates main\n"
        "deb http://mirror.example/security/ bookworm-security main\n"
    )


def test_another_release_comes_from_the_same_mirror():
    lines = recipe("trixie").files["/etc/apt/sources.list"].splitlines()
    assert [line.split()[2] for line in lines] == ["trixie", "trixie-updates", "trixie-security"]


@pytest.mark.parametrize(
    "changes", [{"sources": ()}, {"host_codename": ""}, {"sources": SOURCES[3:]}]
)
def test_without_usable_sources_debootstrap_decides(changes):
    made = recipe(**changes)
    assert made.mirror == ""
    assert "/etc/apt/sources.list" not in made.files


def test_proxies_and_authorities_of_the_host_go_in():
    made = recipe(
        apt_settings=('Acquire::http::Proxy "http://proxy.example:3128";',),
        certificates={"town.crt": "-----BEGIN CERTIFICATE-----\n"},
    )
    assert "proxy.example" in made.files["/etc/apt/apt.conf.d/90owc-lab"]
    assert "/usr/local/share/ca-certificates/town.crt" in made.files


def test_the_key_follows_everything_that_goes_in():
    keys = {
        recipe().key,
        recipe("trixie").key,
        recipe(sources=()).key,
        recipe(certificates={"town.crt": "x"}).key,
        recipe(apt_settings=('Acquire::Retries "3";',)).key,
    }
    assert len(keys) == 5
    assert recipe().key == recipe().key
    assert recipe().key.startswith("bookworm-")


def test_a_lock_lets_one_in_at_a_time(tmp_path):
    order = []
    inside = threading.Event()

    def second():
        inside.wait(5)
        with locked(tmp_path / "lock"):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with locked(tmp_path / "lock"):
        inside.set()
        other.join(0.2)
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]


def test_removing_a_tree_twice_is_removing_it_once(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()
