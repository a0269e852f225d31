"""The Open Webconcept's catalogue source, and the compositions that are known from practice."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from owc_deploy.catalogue.document import parse_catalogue, render_catalogue
from owc_deploy.catalogue.errors import ResolutionError
from owc_deploy.catalogue.resolve import resolve, warnings_of
from owc_deploy.catalogue.source import BlockSource, catalogue_of, read_sources
from owc_deploy.catalogue.source_check import problems_between, unbuildable
from owc_deploy.errors import DocumentsInvalidError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import BlockChoice, Lock, Server, ThemeChoice
from owc_deploy.resources import resource_folder

OWC = resource_folder("catalogues") / "owc"
COMPOSITIONS = resource_folder("inventories") / "example-compositions"
SOURCES = read_sources((OWC, COMPOSITIONS / "supplied"))
CATALOGUE = catalogue_of(SOURCES)
FLEET = load_fleet(COMPOSITIONS)
PLAIN = "agenda"


def resolved(site: str) -> Lock:
    manifest = FLEET.manifests[site]
    return resolve(manifest, FLEET.servers[manifest.servers.web[0]], CATALOGUE)


def asked(blocks: dict[str, str], *, php: str = "8.2", **details: Any) -> Lock:
    """Resolve a made-up site; it is a plain one where nothing else is said."""
    server = Server("web1", ("web", "database"), ("7.4", "8.2"))
    chosen = tuple(BlockChoice(name, version) for name, version in blocks.items())
    manifest = replace(FLEET.manifests[PLAIN], blocks=chosen, php=php, **details)
    return resolve(manifest, server, CATALOGUE)


def refused(blocks: dict[str, str], **details: Any) -> str:
    with pytest.raises(ResolutionError) as caught:
        asked(blocks, **details)
    return str(caught.value)


def versions(lock: Lock) -> dict[str, str]:
    return {block.name: block.version for block in lock.blocks}


def source(name: str) -> BlockSource:
    return next(one for one in SOURCES if one.block.name == name)


# The files ----------------------------------------------------------------------------------------


def test_the_files_are_sound_together() -> None:
    assert problems_between(read_sources((OWC,))) == ()
    assert problems_between(SOURCES) == ()


def test_everything_promised_nothing_invented() -> None:
    for one in SOURCES:
        assert one.block.guarantee is None, one.block.name
        assert all(release.sha256 == "" for release in one.block.releases)


def test_what_cannot_be_built_is_known() -> None:
    assert {one.block.name: unbuildable(one) for one in SOURCES if unbuildable(one)} == {
        "openwoo": ("3.0.1",),
        "owc-gravityforms-pdc-leges": ("1.0.0",),
    }


def test_stray_tags_are_left_out() -> None:
    assert max(r.version for r in source("pdc-locations").block.releases) == "2.3.2"
    assert "3.0.6" not in {r.version for r in source("pdc-faq").block.releases}


def test_what_is_not_built_cannot_stand_in_a_catalogue() -> None:
    content = render_catalogue(CATALOGUE.blocks.values())
    with pytest.raises(DocumentsInvalidError, match="problems"):
        parse_catalogue(content, Path("catalogue.json"))


# Compositions that are run ------------------------------------------------------------------------


def test_a_data_site_has_both_field_frameworks_and_every_add_on() -> None:
    chosen = versions(resolved("datasite"))
    assert chosen["openpub-base"] == "3.9.3"
    assert chosen["pdc-base"] == "3.18.1"
    assert chosen["pdc-locations"] == "2.3.2"
    assert {"cmb2", "meta-box", "meta-box-group", "persberichten", "pdc-leges"} <= set(chosen)
    order = list(chosen)
    assert order.index("meta-box") < order.index("pdc-base") < order.index("pdc-locations")


def test_woo_is_two_sites_that_name_one_another() -> None:
    data, portal = resolved("woo-data"), resolved("woo-portaal")
    assert versions(data) == {
        "cmb2": "2.12.0",
        "openpub-base": "3.9.3",
        "openconvenanten": "1.2.10",
        "openwoo": "4.3.0",
        "openpub-woo-portal": "1.0.0",
    }
    assert (portal.theme.name, versions(portal)["woo-portal-plugin"]) == (
        "woo-portal-theme",
        "1.0.0",
    )
    assert FLEET.manifests["woo-portaal"].url in str(FLEET.manifests["woo-data"].blocks)
    assert FLEET.manifests["woo-data"].url in str(FLEET.manifests["woo-portaal"].redirects)


def test_forms_of_the_previous_generation_run_on_php_7_4() -> None:
    lock = resolved("e-formulieren")
    assert (lock.php, lock.wordpress.version) == ("7.4", "6.8")
    assert versions(lock)["owc-gravityforms-bag-address"] == "1.1.5"
    assert versions(lock)["owc-gravityforms-zaaksysteem"] == "2.11.2"


def test_mijn_omgeving_is_the_list_of_its_theme() -> None:
    lock = resolved("mijn-omgeving")
    assert (lock.theme.name, lock.wordpress.version) == ("owc-mijn-omgeving", "6.9")
    assert versions(lock)["owc-mijn-services"] == "0.9.4"
    assert versions(lock)["owc-gravityforms-zgw"] == "1.17.0"
    assert warnings_of(lock, CATALOGUE) == ()


@pytest.mark.parametrize(
    ("site", "block", "version"),
    [
        ("intranet", "openpub-internal-data", "2.1.4"),
        ("kaarten", "openkaarten-geodata-for-posts", "0.1.13"),
        ("agenda", "openagenda-base", "1.2.3"),
    ],
)
def test_the_other_compositions_resolve(site: str, block: str, version: str) -> None:
    assert versions(resolved(site))[block] == version


def test_what_is_needed_may_be_added() -> None:
    lock = asked({"openwoo": "^4.3", "openpub-base": "^3"}, dependencies="add")
    assert set(versions(lock)) == {"cmb2", "openpub-base", "openwoo"}


def test_openpub_2_and_3_are_two_lines() -> None:
    assert versions(asked({"openpub-base": "^2.3"}, dependencies="add"))["openpub-base"] == "2.3.13"
    assert versions(asked({"openpub-base": "^3"}, dependencies="add"))["openpub-base"] == "3.9.3"


def test_a_known_leak_is_warned_of() -> None:
    needs = {"action-scheduler": "*", "gravityforms": "*", "cmb2": "*", "gravity-pdf": "*"}
    lock = asked({**needs, "owc-gravityforms-zgw": "1.15.2"})
    assert [advisory.identifier for _, advisory in warnings_of(lock, CATALOGUE)] == [
        "owc-gravityforms-zgw-before-1.15.3"
    ]


# Compositions that cannot be ----------------------------------------------------------------------


def test_openwoo_alone_is_refused_where_nothing_may_be_added() -> None:
    why = refused({"cmb2": "*", "openwoo": "^4.3"})
    assert "register_extended_post_type" in why


def test_zaaksysteem_cannot_stand_beside_zgw() -> None:
    why = refused(
        {"owc-gravityforms-zaaksysteem": "*", "owc-gravityforms-zgw": "*"}, dependencies="add"
    )
    assert "php-di 6 and 7" in why


def test_zaaksysteem_cannot_stand_beside_mijn_services() -> None:
    why = refused(
        {"owc-gravityforms-zaaksysteem": "*", "owc-mijn-services": "*"}, dependencies="add"
    )
    assert "php-di 6 and 7" in why


def test_a_made_up_login_never_reaches_production() -> None:
    why = refused({"spoof-openid": "*"})
    assert "production" in why
    assert "acceptance and test" in why
    assert "spoof-openid" in versions(asked({"spoof-openid": "*"}, environment="acceptance"))


def test_mijn_services_needs_php_8_2() -> None:
    why = refused({"cmb2": "*", "owc-mijn-services": "*"}, php="7.4")
    assert ">=8.2" in why
    assert "7.4" in why


def test_openpub_3_needs_cmb2_whatever_meta_box_there_is() -> None:
    why = refused({"meta-box": "*", "meta-box-group": "*", "openpub-base": "^3"})
    assert "cmb2" in why


def test_pdc_base_needs_meta_box_group() -> None:
    why = refused({"meta-box": "^5.14", "pdc-base": "^3.18"})
    assert "meta-box-group" in why


def test_the_train_is_not_left_half_way() -> None:
    why = refused({"cmb2": "*", "openpub-base": "^3.9", "openwoo": "4.2.8"})
    assert "openwoo" in why
    assert "extended-cpts-2025-03" in why


def test_an_add_on_without_its_base_is_refused() -> None:
    assert "pdc-base" in refused({"pdc-locations": "^2.3"})


def test_paid_blocks_without_a_release_say_so() -> None:
    why = refused({"cmb2": "*"}, theme=ThemeChoice("owc-multisite-theme"), dependencies="add")
    assert "facetwp" in why


# The same on every run ----------------------------------------------------------------------------

SETS = 120
ANSWERS = f"""
from {Path(__file__).stem} import many_answers
print(many_answers())
"""


def many_answers() -> str:
    """Answer for the compositions, and for many sets with something left out; refusals count."""
    shuffled = random.Random(0)
    sites = sorted(FLEET.manifests)
    answers: list[object] = [versions(resolved(site)) for site in sites]
    for number in range(SETS):
        manifest = FLEET.manifests[sites[number % len(sites)]]
        kept = tuple(block for block in manifest.blocks if shuffled.random() < 0.6)
        changed = replace(manifest, blocks=kept, dependencies="add")
        server = FLEET.servers[manifest.servers.web[0]]
        try:
            answers.append(versions(resolve(changed, server, CATALOGUE)))
        except ResolutionError as error:
            answers.append(str(error))
    return json.dumps(answers)


def test_the_same_answers_whatever_the_hash_seed() -> None:
    outputs = set()
    for seed in ("0", "1", "20261124"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }
        run = subprocess.run(
            [sys.executable, "-c", ANSWERS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(json.loads(run.stdout)) == len(FLEET.manifests) + SETS
        outputs.add(run.stdout)
    assert len(outputs) == 1
