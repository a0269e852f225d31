"""What a web manager reads when a set is impossible."""

from typing import Any

import pytest
from unit.catalogue.catalogues import (
    FUNCTION,
    SERVER,
    block,
    catalogue,
    conflict,
    function,
    manifest,
    needs,
    release,
)

from owc_deploy.catalogue.errors import Refusal, ResolutionError
from owc_deploy.catalogue.resolve import resolve
from owc_deploy.fleet.models import BlockChoice, Hold, Manifest, Server, ThemeChoice

OFFERED = catalogue(
    block("cmb2", "2.10.1", "2.11.0", "2.12.0"),
    block(
        "openwoo", release("4.3.0", requires=(needs("cmb2", version="2.11.*"), function(FUNCTION)))
    ),
    block(
        "openpub-base", release("3.9.3", requires=(needs("cmb2"),), provides=(FUNCTION,)), "2.3.13"
    ),
    block(
        "pdc-base",
        release("3.18.1", requires=(needs("meta-box", "meta-box-aio"),), provides=(FUNCTION,)),
    ),
    block("meta-box", "5.14.1"),
    block("meta-box-aio", "1.0", paid=True),
    block("prefill", release("1.9.1", php="^7.4")),
    block("narrow", release("1.0", php=">=8.3")),
    block("wide", release("1.0", wordpress="^6.5")),
    block("mijn", release("0.9", requires=(needs("cmb2", version="^2.12"),))),
    block("deep", release("1.0", requires=(needs("mijn"),))),
    block("zgw", release("1.15", conflicts=(conflict("cmb2", reason="both bring php-di"),))),
    block("portal", release("1.0", requires=(needs("gravityforms"),))),
    block("lonely", release("1.0", requires=(function("nowhere"),))),
    block("spoof-openid", "1.0", environments=("acceptance", "test")),
    block("login", release("1.0", requires=(needs("spoof-openid"),))),
    block("gone", release("1.0", withdrawn="loses attachments")),
    block("old", release("3.14"), release("3.15", train="cpts-5")),
    block("new", release("3.7", train="cpts-5")),
    block("adds-new", release("1.0", requires=(needs("new"),))),
    block("other-theme", release("1.0", requires=(needs("portal"),)), kind="theme"),
    block("must", "1.0", kind="mu-plugin"),
)


def refusals(asked: Manifest, server: Server = SERVER) -> tuple[Refusal, ...]:
    with pytest.raises(ResolutionError) as caught:
        resolve(asked, server, OFFERED)
    assert caught.value.exit_code == 3
    assert all(str(refusal) in caught.value.message for refusal in caught.value.refusals)
    return caught.value.refusals


REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, ...], str]] = [
    (
        "provider",
        ("openwoo",),
        {},
        ("blocks", "openwoo"),
        (
            "openwoo 4.3.0 needs the function register_extended_post_type, which openpub-base or "
            "pdc-base provides, and neither is chosen. "
            'Add `openpub-base: "^3.9"` or `pdc-base: "^3.18"` under blocks.'
        ),
    ),
    (
        "no provider",
        ("lonely",),
        {},
        ("blocks", "lonely"),
        (
            "lonely 1.0 needs the function nowhere, and the catalogue holds none that may run "
            "here. "
            "Add one to the catalogue, or leave lonely out."
        ),
    ),
    (
        "refuse",
        (("openpub-base", "^3"),),
        {"dependencies": "refuse"},
        ("blocks", "openpub-base"),
        (
            "openpub-base 3.9.3 needs cmb2, and cmb2 is not chosen. "
            'Add `cmb2: "^2.12"` under blocks, or set `dependencies: add`.'
        ),
    ),
    (
        "refuse any of",
        ("pdc-base",),
        {"dependencies": "refuse"},
        ("blocks", "pdc-base"),
        (
            "pdc-base 3.18.1 needs meta-box or meta-box-aio, for which meta-box would do, and "
            "meta-box "
            'is not chosen. Add `meta-box: "^5.14"` under blocks, or set `dependencies: add`.'
        ),
    ),
    (
        "php",
        ("prefill",),
        {},
        ("blocks", "prefill"),
        (
            "the manifest asks PHP 8.2, and prefill 1.9.1 works with PHP ^7.4; the server offers "
            "PHP "
            "8.2 and 8.4. Leave one of them out, or let the server offer the PHP branch that is "
            "needed "
            "(owc_php_versions in servers.yml)."
        ),
    ),
    (
        "php that is there",
        ("narrow",),
        {},
        ("blocks", "narrow"),
        (
            "the manifest asks PHP 8.2, and narrow 1.0 works with PHP >=8.3; the server offers "
            "PHP 8.2 "
            'and 8.4. Write `php: "8.4"`.'
        ),
    ),
    (
        "wordpress",
        ("wide",),
        {"wordpress": "^7"},
        ("blocks", "wide"),
        (
            "the manifest asks WordPress ^7, and wide 1.0 works with WordPress ^6.5; the catalogue "
            'holds WordPress 7.1.1 and 6.5. Write `wordpress: "^6.5"`.'
        ),
    ),
    (
        "two needs",
        ("openwoo", "openpub-base", "mijn", "must"),
        {},
        ("blocks", "mijn"),
        (
            "mijn 0.9 needs cmb2 ^2.12, and openwoo 4.3.0 needs cmb2 2.11.*; the catalogue holds "
            "cmb2 "
            "2.12.0, 2.11.0 and 2.10.1. Leave one of them out, or add a release that fits to the "
            "catalogue."
        ),
    ),
    (
        "a need of a need",
        ("deep", ("cmb2", "2.11.*")),
        {},
        ("blocks", "deep"),
        (
            "the manifest asks cmb2 2.11.*, and mijn 0.9 (needed by deep) needs cmb2 ^2.12; the "
            'catalogue holds cmb2 2.12.0, 2.11.0 and 2.10.1. Write `cmb2: "^2.12"`.'
        ),
    ),
    (
        "conflict",
        ("zgw", "cmb2"),
        {},
        ("blocks", "zgw"),
        (
            "the manifest asks cmb2 *, and zgw 1.15 cannot stand beside cmb2 (both bring php-di). "
            "Leave one of them out: cmb2 or zgw."
        ),
    ),
    (
        "train",
        (("old", "3.14"), "new"),
        {},
        ("blocks", "new"),
        (
            "the manifest asks old 3.14, and new 3.7 moves together with old (train cpts-5). "
            "Allow releases of new and old that belong together, or leave one of them out."
        ),
    ),
    (
        "train of what is needed",
        (("old", "3.14"), "adds-new"),
        {},
        ("blocks", "adds-new"),
        (
            "the manifest asks old 3.14, and new 3.7 (needed by adds-new) moves together with old "
            "(train cpts-5). Allow releases of new and old that belong together, or leave one of "
            "them out."
        ),
    ),
    (
        "not in the catalogue",
        ("portal",),
        {},
        ("blocks", "portal"),
        (
            "portal 1.0 needs gravityforms, and the catalogue does not hold gravityforms. "
            "Add it: owc-deploy catalogue add SOURCE --name gravityforms --kind plugin"
        ),
    ),
    (
        "environment of a need",
        ("login",),
        {},
        ("blocks", "login"),
        "login 1.0 needs spoof-openid, and spoof-openid may not run on a site in production.",
    ),
    (
        "environment",
        ("spoof-openid",),
        {},
        ("blocks", "spoof-openid"),
        (
            "spoof-openid may not run on a site in production, only in acceptance and test. "
            "Leave spoof-openid out of this manifest."
        ),
    ),
    (
        "unknown",
        ("opnwoo",),
        {},
        ("blocks", "opnwoo"),
        "the catalogue holds no block called opnwoo. Write `openwoo`, if that is meant.",
    ),
    (
        "no release",
        (("cmb2", "^3"),),
        {},
        ("blocks", "cmb2"),
        (
            "no release of cmb2 is ^3: the catalogue holds 2.12.0, 2.11.0 and 2.10.1. "
            "Write `^2.12`, or add the release to the catalogue."
        ),
    ),
    (
        "withdrawn",
        ("gone",),
        {},
        ("blocks", "gone"),
        "no release of gone is *: no release may be chosen; 1.0 was withdrawn (loses attachments).",
    ),
    (
        "a theme among the blocks",
        ("thema",),
        {},
        ("blocks", "thema"),
        (
            "thema is a theme, not a block. Write it under theme: `name: thema`; a theme that it "
            "builds on is added by itself."
        ),
    ),
    (
        "a block as theme",
        (),
        {"theme": ThemeChoice("must", "^1")},
        ("theme", "name"),
        'must is a mu-plugin, not a theme. Write it under blocks: `must: "^1"`.',
    ),
    (
        "a need of the theme",
        (),
        {"theme": ThemeChoice("other-theme")},
        ("theme", "name"),
        (
            "portal 1.0 (needed by other-theme) needs gravityforms, and the catalogue does not "
            "hold "
            "gravityforms. Add it: owc-deploy catalogue add SOURCE --name gravityforms --kind "
            "plugin"
        ),
    ),
    (
        "wordpress as a block",
        ("wordpress",),
        {},
        ("blocks", "wordpress"),
        "wordpress is WordPress itself, not a block. Its version is chosen with `wordpress`.",
    ),
    (
        "php nowhere",
        (),
        {"php": "9.0"},
        ("php",),
        (
            "the manifest asks PHP 9.0, and its server offers 8.2 and 8.4. Choose one of those, "
            "or add "
            "the branch to owc_php_versions in servers.yml."
        ),
    ),
    (
        "language",
        (),
        {"locale": "fy"},
        ("locale",),
        (
            "the catalogue holds no language files for fy. Add them: owc-deploy catalogue add "
            "SOURCE "
            "--name language-fy --kind language"
        ),
    ),
]


@pytest.mark.parametrize(
    ("blocks", "details", "place", "said"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_one_refusal(blocks: Any, details: Any, place: tuple[str, ...], said: str) -> None:
    (refusal,) = refusals(manifest(*blocks, **details))
    assert str(refusal) == said
    assert refusal.path == place


def test_every_mistake_at_once() -> None:
    asked = manifest("opnwoo", "thema", "gone", php="9.0", wordpress="^9", locale="fy")
    assert {refusal.reference for refusal in refusals(asked)} == {
        "unknown-block",
        "wrong-kind",
        "no-release",
        "no-php",
        "no-language",
    }


def test_clashes_that_stand_apart_are_each_said() -> None:
    asked = manifest("zgw", "cmb2", "portal", "prefill")
    found = {refusal.reference for refusal in refusals(asked)}
    assert found == {"conflict", "not-in-catalogue", "php"}


def test_all_that_is_not_chosen_is_said_at_once() -> None:
    asked = manifest("openwoo", ("openpub-base", "^3"), "pdc-base", dependencies="refuse")
    assert sorted(refusal.suggestion.split('"')[0] for refusal in refusals(asked)) == [
        "Add `cmb2: ",
        "Add `meta-box: ",
    ]


def test_language_files_of_another_wordpress() -> None:
    offered = catalogue(block("language-nl_NL", release("6.5", wordpress="6.5.*")))
    with pytest.raises(ResolutionError) as caught:
        resolve(manifest(wordpress="^7"), SERVER, offered)
    (refusal,) = caught.value.refusals
    assert refusal.path == ("locale",)
    assert "language-nl_NL 6.5" in refusal.message


@pytest.mark.parametrize(
    ("blocks", "details", "said"),
    [
        (
            ("needs-narrow", "prefill-8"),
            {"php": "^8"},
            (
                "the manifest asks PHP ^8, narrow 1.0 (needed by needs-narrow) works "
                "with PHP >=8.3, and "
                "prefill-8 1.0 works with PHP <8.3; the server offers PHP 8.2 and 8.4."
            ),
        ),
        (
            ("needs-wide",),
            {"wordpress": "^7"},
            (
                "the manifest asks WordPress ^7, and wide 1.0 (needed by needs-wide) works with "
                "WordPress ^6.5; the catalogue holds WordPress 7.1.1 and 6.5."
            ),
        ),
        (
            ("either",),
            {},
            (
                "either 1.0 needs cheap or dear ^2; of cheap there is 1.0, and of dear "
                "2.0 is there in "
                "beta only. Leave either out, or take the beta: "
                '`dear: {version: "^2.0", channel: beta}`.'
            ),
        ),
    ],
)
def test_the_whole_chain_is_named(blocks: Any, details: Any, said: str) -> None:
    offered = catalogue(
        *OFFERED.blocks.values(),
        block("needs-narrow", release("1.0", requires=(needs("narrow"),))),
        block("needs-wide", release("1.0", requires=(needs("wide"),))),
        block("prefill-8", release("1.0", php="<8.3")),
        block("either", release("1.0", requires=(needs("cheap", "dear", version="^2"),))),
        block("cheap", "1.0"),
        block("dear", release("2.0", channel="beta")),
    )
    with pytest.raises(ResolutionError) as caught:
        resolve(manifest(*blocks, **details), SERVER, offered)
    (refusal,) = caught.value.refusals
    assert str(refusal).startswith(said)


def test_an_empty_catalogue() -> None:
    empty = catalogue()
    with pytest.raises(ResolutionError) as caught:
        resolve(manifest(), SERVER, type(empty)({}, "0" * 64))
    assert {refusal.reference for refusal in caught.value.refusals} == {
        "no-wordpress",
        "no-wp-cli",
        "no-language",
        "unknown-block",
    }


BETAS = catalogue(
    block("base", "3.8", release("3.9.0", channel="beta"), release("3.7", withdrawn="leaks")),
    block("add-on", release("1.0", requires=(needs("base", version="^3.9"),))),
    block("kit", release("1.0", requires=(needs("add-on"),))),
    block("top", release("1.0", requires=(needs("kit"),))),
)
HOLD = Hold("the auditor looks at it", "2026-12-31")


@pytest.mark.parametrize(
    ("chosen", "place", "said"),
    [
        (
            BlockChoice("base", "^3.9"),
            ("blocks", "base"),
            (
                "no stable release of base is ^3.9: the catalogue holds 3.8; 3.9.0 is "
                "there in beta "
                "only; 3.7 was withdrawn (leaks). Write `^3.8`, or take the beta: "
                '`base: {version: "^3.9", channel: beta}`.'
            ),
        ),
        (
            BlockChoice("base", "=3.7"),
            ("blocks", "base"),
            "base is pinned to 3.7, which is withdrawn (leaks). Write `^3.8`.",
        ),
        (
            BlockChoice("add-on"),
            ("blocks", "add-on"),
            (
                "add-on 1.0 needs base ^3.9; 3.9.0 is there in beta only, the stable ones are 3.8. "
                'To take the beta, write under blocks: `base: {version: "^3.9", channel: beta}`.'
            ),
        ),
        (
            BlockChoice("top"),
            ("blocks", "top"),
            (
                "add-on 1.0 (needed by kit, which top needs) needs base ^3.9; 3.9.0 is "
                "there in beta "
                "only, the stable ones are 3.8. To take the beta, write under blocks: "
                '`base: {version: "^3.9", channel: beta}`.'
            ),
        ),
    ],
)
def test_what_is_there_in_beta_only(chosen: BlockChoice, place: Any, said: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        resolve(manifest(blocks=(chosen,)), SERVER, BETAS)
    (refusal,) = caught.value.refusals
    assert str(refusal) == said
    assert refusal.path == place


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (
            (BlockChoice("base", "^3.9", hold=HOLD),),
            (
                "base is held at 3.8 (until 2026-12-31: the auditor looks at it), and the manifest "
                "asks ^3.9. Write `^3.8`, or take the hold away."
            ),
        ),
        (
            (BlockChoice("base", hold=HOLD), BlockChoice("add-on")),
            (
                "add-on 1.0 needs base ^3.9; base is held at 3.8 (until "
                "2026-12-31: the auditor looks at it). Take the hold on base away, or "
                "leave out what "
                "needs another release of it."
            ),
        ),
    ],
)
def test_what_a_hold_makes_impossible(blocks: tuple[BlockChoice, ...], said: str) -> None:
    previous = resolve(manifest("base"), SERVER, BETAS)
    with pytest.raises(ResolutionError) as caught:
        resolve(manifest(blocks=blocks), SERVER, BETAS, previous=previous)
    (refusal,) = caught.value.refusals
    assert str(refusal) == said
    assert refusal.path[0] == "blocks"
