"""Composer's documented behaviour as tables, and what must hold of every version."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owc_deploy.fleet.constraints import parse_constraint, parse_version

# constraint, what it allows, what it does not; the ranges are those of Composer's manual.
TABLE = [
    ("1.0.2", "1.0.2 v1.0.2 1.0.2.0", "1.0.1 1.0.3 1.0.2.1"),
    ("=1.0.2", "1.0.2", "1.0.3"),
    ("==1.0.2", "1.0.2", "1.0.3"),
    ("v1.2", "1.2 1.2.0 1.2.0.0", "1.2.1"),
    (">=1.0", "1.0 1.0.1 2.5", "0.9.9"),
    (">= 1.0", "1.0", "0.9"),
    (">1.0", "1.0.1", "1.0"),
    ("<2.0", "1.9.9", "2.0 2.0-beta1"),
    ("<=2.0", "2.0", "2.0.1"),
    ("!=1.5", "1.4 1.6", "1.5 1.5.0"),
    ("<>1.5", "1.4", "1.5"),
    (">=1.0 <2.0", "1.0 1.9", "0.9 2.0"),
    (">=1.0,<2.0", "1.0 1.9", "0.9 2.0"),
    (">=1.0 , <2.0", "1.0 1.9", "0.9 2.0"),
    (">=1.0 <1.1 || >=1.2", "1.0.5 1.2 3.0", "1.1 0.9"),
    ("^7.4|^8.0", "7.4 7.4.33 8.0 8.4", "7.3 9.0"),
    ("~1.2", "1.2 1.9.9", "1.1 2.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
    ("~1", "1.0 1.9", "2.0 0.9"),
    ("~1.2.3.4", "1.2.3.4 1.2.3.9", "1.2.3.3 1.2.4"),
    ("~0.3", "0.3 0.9", "1.0 0.2"),
    ("^1.2.3", "1.2.3 1.9", "1.2.2 2.0"),
    ("^1", "1.0 1.9", "2.0"),
    ("^0.3", "0.3 0.3.9", "0.4 0.2"),
    ("^0.0.3", "0.0.3 0.0.3.1", "0.0.4 0.0.2"),
    ("^0", "0.0 0.9", "1.0"),
    ("^0.0", "0.0 0.0.9", "0.1"),
    ("^0.0.0", "0.0.0", "0.0.1"),
    ("^0.0.0.3", "0.0.0.3 0.0.0.9", "0.0.1 0.0.0.2"),
    ("^1.2.3.4", "1.2.3.4 1.9", "1.2.3.3 2.0"),
    ("1.0.*", "1.0 1.0.9", "1.1 0.9"),
    ("1.x", "1.0 1.9", "2.0"),
    ("v2.1.X", "2.1.5", "2.2"),
    ("1.*.*", "1.0 1.9", "2.0"),
    ("6.9.*", "6.9 6.9.4", "6.10 7.0"),
    ("*", "0.1 99.9", "1.0-beta1"),
    ("x", "0.1 99.9", "1.0-RC1"),
    ("1.0 - 2.0", "1.0 2.0 2.0.9", "0.9 2.1"),
    ("1.0.0 - 2.1.0", "1.0.0 2.1.0", "2.1.1"),
    ("1 - 2", "1.0 2.9", "3.0"),
    ("1.0 - 2.0 !=1.5", "1.4 2.0", "1.5 2.1"),
    ("1.0 - 2.0 || ^4", "1.4 4.2", "3.0"),
    ("1.0 - 2.0-beta2", "2.0-beta2 2.0-beta1", "2.0"),
    ("^1.0", "1.0", "1.1-beta1 1.0-RC1 2.0-alpha1"),
    ("^2.0-beta2", "2.0-beta2 2.0-RC1 2.0 2.1-beta1", "2.0-beta1 2.1-alpha1 3.0-beta1"),
    (">=7.0-RC1", "7.0-RC1 7.0-RC2 7.0", "7.0-beta3"),
    ("2.0.0-beta1", "2.0-beta1 2.0.0b1", "2.0 2.0-beta2"),
    ("2.0.0-stable", "2.0", "2.0-RC1"),
    ("^3.18", "3.18.1", "3.17.2"),
    (">=2.10.1 <3", "2.10.1 2.11.0", "2.10.0 3.0"),
]


@pytest.mark.parametrize(("constraint", "allowed", "refused"), TABLE, ids=[row[0] for row in TABLE])
def test_allows_what_composer_allows(constraint: str, allowed: str, refused: str) -> None:
    parsed = parse_constraint(constraint)
    assert {v: parsed.allows(parse_version(v)) for v in allowed.split()} == dict.fromkeys(
        allowed.split(), True
    )
    assert {v: parsed.allows(parse_version(v)) for v in refused.split()} == dict.fromkeys(
        refused.split(), False
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write `*`"),
        ("   ", "write `*`"),
        ("dev-master", "names a branch"),
        ("1.x-dev", "names a branch"),
        ("latest", "names a branch"),
        ("^1.0@dev", "stability flag"),
        ("@dev", "stability flag"),
        ("1.0#1a2b3c", "names a commit"),
        ("1.0 as 1.1", "alias"),
        (">=1.*", "write `>=1` or `1.*`"),
        ("^*", "mixes a wildcard"),
        ("1.2.3.4.5", "is not a version constraint"),
        ("^^1.0", "is not a version constraint"),
        ("newest", "is not a version constraint"),
        ("^1.0 ||", "nothing between two separators"),
        ("|| ^1.0", "nothing between two separators"),
        ("^1.0,,^2.0", "nothing between two separators"),
        ("a - b", "not a range"),
        ("1" * 600, "600 characters"),
        ("=>1.0", "is not a version constraint"),
        ("1.0; rm -rf", "is not a version constraint"),
    ],
)
def test_says_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_constraint(text)


@pytest.mark.parametrize(
    "text", ["", "v", "1.0.0.0.0", "buren-file-server", "1.0-dev", "1!2", "1."]
)
def test_refuses_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        parse_version(text)


def test_orders_versions_as_releases_follow_each_other() -> None:
    ordered = ["1.0-alpha1", "1.0-beta2", "1.0-RC1", "1.0", "1.0-p1", "1.0.0.1", "1.2", "v1.10"]
    assert sorted(ordered, key=parse_version) == ordered
    assert parse_version("6.9-alpha-60093") > parse_version("6.9-alpha")
    assert parse_version("6.9-beta1-60987") < parse_version("6.9")


numbers = st.lists(st.integers(0, 30), min_size=1, max_size=4)
versions = numbers.map(lambda parts: ".".join(map(str, parts)))


@given(versions)
def test_a_version_is_in_the_ranges_that_begin_with_it(version: str) -> None:
    for constraint in (version, f"^{version}", f"~{version}", f">={version}", f"<={version}", "*"):
        assert parse_constraint(constraint).allows(parse_version(version)), constraint
    for constraint in (f"!={version}", f">{version}", f"<{version}"):
        assert not parse_constraint(constraint).allows(parse_version(version)), constraint


@given(versions, versions, versions)
def test_and_or_mean_what_they_say(one: str, other: str, asked: str) -> None:
    version = parse_version(asked)
    first, second = parse_constraint(f"^{one}"), parse_constraint(f">={other}")
    both = parse_constraint(f"^{one} >={other}")
    either = parse_constraint(f"^{one} || >={other}")
    assert both.allows(version) == (first.allows(version) and second.allows(version))
    assert either.allows(version) == (first.allows(version) or second.allows(version))


@given(versions, versions)
def test_caret_never_reaches_into_the_next_major(base: str, asked: str) -> None:
    version = parse_version(asked)
    if parse_constraint(f"^{base}").allows(version):
        assert version >= parse_version(base)
        assert version.major == parse_version(base).major


@given(st.text(max_size=40))
def test_any_text_is_a_constraint_or_a_clear_refusal(text: str) -> None:
    try:
        constraint = parse_constraint(text)
    except ValueError as error:
        said = str(error)
    else:
        said = "write" if parse_constraint(str(constraint)) == constraint else ""
    assert "write" in said


@given(versions, st.sampled_from(["alpha", "beta", "RC"]), st.integers(1, 9))
def test_prereleases_come_only_when_named(base: str, word: str, count: int) -> None:
    prerelease = parse_version(f"{base}-{word}{count}")
    assert not parse_constraint("*").allows(prerelease)
    assert not parse_constraint(f"<={base}").allows(prerelease)
    assert parse_constraint(f"^{base}-{word}{count}").allows(prerelease)
