"""What a change of versions asks beside the files, and in what order."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from unit.catalogue.catalogues import SERVER, block, catalogue, manifest, needs, release
from unit.plan.examples import NOW, fleet

from owc_deploy.catalogue.models import Migration
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.cli.plan_view import print_plan
from owc_deploy.fleet.models import Lock, Manifest
from owc_deploy.plan.difference import difference
from owc_deploy.plan.document import plan_from_text, plan_to_document
from owc_deploy.plan.make import Wishes, make_plan
from owc_deploy.plan.migrations import migrations, post_steps, renamed
from owc_deploy.plan.models import ObservedServer, Plan, PlannedMigration
from owc_deploy.plan.specification import canonical_sha256, specification
from owc_deploy.rollout.apply import sent

MIGRATE = Migration("<2", ">=2", (("a", "migrate"), ("a", "tidy")))
READABLE = Migration("<2", ">=2", (("b", "migrate"),), reversible=True)
OTHER = Migration("^3", "^4", (("a", "other"),))
SYNC = ("elasticpress", "sync")
FLUSH = ("rewrite", "flush")

OFFERED = catalogue(
    block(
        "a",
        "1.0",
        release("2.0", requires=(needs("b"),), migrations=(MIGRATE, OTHER), post_steps=(SYNC,)),
    ),
    block(
        "b", "1.0", release("2.0", migrations=(READABLE,), post_steps=(FLUSH, ("b", "warm"), SYNC))
    ),
    block("pdf", release("6.12"), release("6.13", folder="pdf-new", main_file="main.php")),
    block("thema", "1.0", release("2.0", post_steps=(("thema", "build"),)), kind="theme"),
)


def asked(**versions: str) -> Manifest:
    return manifest(*versions.items())


def locked(**versions: str) -> Lock:
    return resolve(asked(**versions), SERVER, OFFERED)


def live(**versions: str) -> dict[str, Any]:
    return specification(asked(**versions), locked(**versions), OFFERED)


A = PlannedMigration("a", "1.0", "2.0", MIGRATE.commands, reversible=False)
B = PlannedMigration("b", "1.0", "2.0", READABLE.commands, reversible=True)


@pytest.mark.parametrize(
    ("before", "after", "planned"),
    [
        ({"a": "1.0", "b": "1.0"}, {"a": "2.0", "b": "2.0"}, (B, A)),
        ({"a": "1.0", "b": "1.0"}, {"a": "1.0", "b": "2.0"}, (B,)),
        ({"a": "1.0"}, {"a": "2.0", "b": "2.0"}, (A,)),
        ({"a": "2.0", "b": "2.0"}, {"a": "2.0", "b": "2.0"}, ()),
        ({}, {"a": "2.0", "b": "2.0"}, ()),
        ({"a": "1.0"}, {}, ()),
    ],
    ids=["both, the base first", "one", "one is new", "nothing", "all new", "one leaves"],
)
def test_migrations_stand_in_activation_order(
    before: dict[str, str], after: dict[str, str], planned: tuple[PlannedMigration, ...]
) -> None:
    assert migrations(live(**before), locked(**after), OFFERED) == planned


def test_a_new_site_has_nothing_to_migrate() -> None:
    assert migrations(None, locked(a="2.0"), OFFERED) == ()
    assert migrations({}, locked(a="2.0"), OFFERED) == ()


@pytest.mark.parametrize(
    ("before", "after", "files"),
    [
        ("6.12", "6.13", [("pdf/pdf.php", "pdf-new/main.php")]),
        ("6.13", "6.12", [("pdf-new/main.php", "pdf/pdf.php")]),
        ("6.13", "6.13", []),
    ],
)
def test_a_renamed_plugin_goes_on_under_another_file(
    before: str, after: str, files: list[tuple[str, str]]
) -> None:
    expected = tuple({"block": "pdf", "from": old, "to": new} for old, new in files)
    assert renamed(live(pdf=before), locked(pdf=after)) == expected
    assert renamed(None, locked(pdf=after)) == ()
    assert renamed(live(), locked(pdf=after)) == ()


def test_a_rename_is_one_change() -> None:
    lock = locked(pdf="6.13")
    wanted = specification(asked(pdf="6.13"), lock, OFFERED)
    (change,) = difference(live(pdf="6.12"), wanted, lock)
    assert (change.what, change.before, change.after) == (
        "plugin pdf renamed",
        "6.12 in pdf/pdf.php",
        "6.13 in pdf-new/main.php",
    )


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ({"a": "1.0", "b": "1.0"}, {"a": "2.0", "b": "2.0"}, (("b", "warm"), SYNC)),
        ({"a": "1.0", "b": "2.0"}, {"a": "2.0", "b": "2.0"}, (SYNC,)),
        ({"b": "2.0"}, {"b": "2.0"}, ()),
        ({}, {"b": "2.0"}, (("b", "warm"), SYNC)),
        (None, {"b": "2.0"}, (("thema", "build"), ("b", "warm"), SYNC)),
    ],
    ids=["each once", "only what changed", "nothing", "new", "a new site, with its theme"],
)
def test_post_steps_of_what_is_new_or_changed(
    before: dict[str, str] | None, after: dict[str, str], steps: tuple[tuple[str, ...], ...]
) -> None:
    was = None if before is None else live(**before)
    assert post_steps(was, locked(**after), OFFERED) == steps


def planned(before: dict[str, str] | None, **after: str) -> Plan:
    wanted = asked(**after)
    sites: dict[str, Any] = {}
    if before is not None:
        seen = live(**before)
        sites[wanted.site] = {
            "release_id": "20261101T000000Z-aaaaaaaa",
            "specification": seen,
            "specification_sha256": canonical_sha256(seen),
        }
    lock = replace(locked(**after), manifest_sha256=wanted.sha256)
    observed = {"web1": ObservedServer("web1", provisioned="f", sites=sites)}
    return make_plan(
        fleet(wanted, locks=(lock,)), OFFERED, observed, {"web1": "f"}, Wishes(), {}, NOW
    )


def test_what_is_sent_beside_the_specification() -> None:
    plan = planned({"a": "1.0", "pdf": "6.12"}, a="2.0", b="2.0", pdf="6.13")
    document = sent(plan.sites[0], NOW)
    assert document["migrations"] == [
        {
            "block": "a",
            "from_version": "1.0",
            "to_version": "2.0",
            "commands": [["a", "migrate"], ["a", "tidy"]],
            "reversible": False,
            "timeout_seconds": 600,
        }
    ]
    assert document["renamed"] == [
        {"block": "pdf", "from": "pdf/pdf.php", "to": "pdf-new/main.php"}
    ]
    assert document["post_steps"] == [["b", "warm"], ["elasticpress", "sync"]]
    assert not {"migrations", "renamed", "post_steps"} & set(plan.sites[0].specification or {})


def test_they_survive_being_saved() -> None:
    plan = planned({"a": "1.0", "pdf": "6.12"}, a="2.0", b="2.0", pdf="6.13")
    again = plan_from_text(json.dumps(plan_to_document(plan))).sites[0]
    site = plan.sites[0]
    assert (again.migrations, again.renamed, again.post_steps) == (
        site.migrations,
        site.renamed,
        site.post_steps,
    )
    assert asdict(again)["migrations"] == asdict(site)["migrations"]


RESTORE = "the way back will be a restore of the database"


@pytest.mark.parametrize(
    ("before", "after", "said", "unsaid"),
    [
        (
            {"a": "1.0", "b": "2.0"},
            {"a": "2.0", "b": "2.0"},
            (
                "migration: a 1.0 -> 2.0, one way: wp a migrate, wp a tidy",
                RESTORE,
                "writes are held while it migrates",
                "afterwards: wp elasticpress sync",
            ),
            ("b migrate",),
        ),
        ({"b": "1.0"}, {"b": "2.0"}, ("b 1.0 -> 2.0, reversible: wp b migrate",), (RESTORE,)),
        (None, {"b": "2.0"}, ("afterwards: wp thema build, wp b warm",), ("migration", RESTORE)),
        ({"b": "2.0"}, {}, ("plugin b: 2.0 -> removed",), ("migration", RESTORE, "afterwards")),
    ],
    ids=["one way", "reversible", "new", "leaving"],
)
def test_the_view_says_what_migrates_and_what_the_way_back_is(
    capsys: pytest.CaptureFixture[str],
    before: dict[str, str] | None,
    after: dict[str, str],
    said: tuple[str, ...],
    unsaid: tuple[str, ...],
) -> None:
    print_plan(planned(before, **after))
    shown = capsys.readouterr().out
    assert all(words in shown for words in said), shown
    assert not any(words in shown for words in unsaid), shown
    assert shown.count(RESTORE) <= 1
