"""The schemas: valid themselves, described throughout, equal to the models, and fast."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from owc_deploy.fleet import models, schema_check
from owc_deploy.fleet.schema_check import SchemaName
from owc_deploy.resources import resource_folder

OURS: tuple[SchemaName, ...] = ("fleet", "servers", "site", "lock", "block-source")


def properties(part: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        for key, value in part.get("properties", {}).items():
            yield (f"{where}.{key}", value)
        for key, value in part.items():
            yield from properties(value, f"{where}.{key}")
    elif isinstance(part, list):
        for value in part:
            yield from properties(value, where)


@pytest.mark.parametrize("name", OURS)
def test_every_property_has_a_description_and_an_example(name: SchemaName) -> None:
    document = schema_check.schema(name)
    Draft202012Validator.check_schema(document)
    for where, part in properties(document, name):
        assert part.get("description", "").endswith("."), where
        assert part.get("examples"), where


@pytest.mark.parametrize("name", OURS)
def test_examples_keep_to_their_own_schema(name: SchemaName) -> None:
    document = dict(schema_check.schema(name))
    for example in document.get("examples", ()):
        assert schema_check.violations(name, example) == ()
    for where, part in properties(document, name):
        whole = {**part, "$defs": document["$defs"]}
        for example in part["examples"]:
            if part.get("$ref") == "#/$defs/artefact" and len(example) == 1:
                continue
            errors = list(Draft202012Validator(whole).iter_errors(example))
            assert not errors, f"{where}: {errors[0].message}"


@pytest.mark.parametrize("name", OURS)
def test_it_names_itself_and_every_object_is_closed(name: SchemaName) -> None:
    document = schema_check.schema(name)
    assert document["$id"].endswith(f"/{name}.schema.json")
    for part in objects(document):
        if "properties" in part and "owc_php_versions" not in part["properties"]:
            assert part.get("additionalProperties") is False, part.get("description")


def test_every_host_variable_that_roles_read_is_described() -> None:
    read = {
        name
        for path in resource_folder("roles").glob("*/defaults/main.yml")
        for name in re.findall(r"\bowc_[a-z_]+", path.read_text())
        if name != "owc_deploy"
    }
    assert read
    assert read <= set(schema_check.schema("variables")["properties"])


def objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from objects(value)
    elif isinstance(part, list):
        for value in part:
            yield from objects(value)


def resolve(document: Any, *keys: str) -> dict[str, Any]:
    part: Any = document
    for key in keys:
        part = part[key]
        while "$ref" in part:
            part = document["$defs"][part["$ref"].removeprefix("#/$defs/")]
    return dict(part)


SITE = schema_check.schema("site")
FLEET = schema_check.schema("fleet")
LOCK = schema_check.schema("lock")
TEMPORAL = resolve(FLEET, "properties", "engine")["anyOf"][1]["properties"]["temporal"]
RING = resolve(FLEET, "properties", "rings", "items")


@pytest.mark.parametrize(
    ("model", "part", "not_in_model", "not_in_schema"),
    [
        (models.Manifest, SITE, {"schema_version"}, {"source", "sha256"}),
        (models.Municipality, resolve(SITE, "properties", "municipality"), set(), set()),
        (models.SiteServers, resolve(SITE, "properties", "servers"), set(), set()),
        (models.ThemeChoice, resolve(SITE, "properties", "theme"), set(), set()),
        (
            models.BlockChoice,
            SITE["properties"]["blocks"]["additionalProperties"]["anyOf"][1],
            set(),
            {"name"},
        ),
        (models.Redirect, resolve(SITE, "properties", "redirects", "items"), set(), set()),
        (
            models.Administrator,
            resolve(SITE, "properties", "administrators", "items"),
            set(),
            set(),
        ),
        (models.Page, resolve(SITE, "properties", "pages", "items"), set(), set()),
        (models.SiteGate, resolve(SITE, "properties", "gate"), set(), set()),
        (models.Tls, resolve(SITE, "properties", "tls"), set(), set()),
        (
            models.SecretReference,
            resolve(SITE, "properties", "tls", "properties", "private_key"),
            set(),
            set(),
        ),
        (models.FleetSettings, FLEET, {"schema_version"}, {"signed_catalogue", "state_database"}),
        (
            models.PostgresqlState,
            resolve(FLEET, "properties", "state")["anyOf"][1]["properties"]["postgresql"],
            set(),
            set(),
        ),
        (models.TemporalCluster, TEMPORAL, set(), set()),
        (models.TemporalTls, resolve(TEMPORAL, "properties", "tls"), set(), set()),
        (
            models.SignedCatalogue,
            resolve(FLEET, "properties", "catalogue")["anyOf"][1],
            set(),
            set(),
        ),
        (models.Ring, RING, set(), set()),
        (models.FailureBudget, resolve(RING, "properties", "failure_budget"), set(), set()),
        (models.RolloutLimits, resolve(FLEET, "properties", "rollouts"), set(), set()),
        (
            models.SlaTier,
            FLEET["properties"]["sla_tiers"]["additionalProperties"],
            set(),
            {"name"},
        ),
        (
            models.Window,
            FLEET["properties"]["sla_tiers"]["additionalProperties"]["properties"]["windows"][
                "items"
            ],
            set(),
            set(),
        ),
        (models.FreezeDays, resolve(FLEET, "properties", "freeze_days", "items"), set(), set()),
        (
            models.NotificationChannel,
            resolve(FLEET, "properties", "notifications", "items"),
            set(),
            set(),
        ),
        (models.Lock, LOCK, {"schema_version"}, set()),
        (models.LockedArtefact, LOCK["$defs"]["artefact"], set(), set()),
    ],
)
def test_models_and_schemas_name_the_same_keys(
    model: Any, part: dict[str, Any], not_in_model: set[str], not_in_schema: set[str]
) -> None:
    fields = dataclasses.fields(model)
    names = {field.name for field in fields}
    assert set(part["properties"]) - not_in_model == names - not_in_schema
    for field in fields:
        written = part["properties"].get(field.name)
        if written is None:
            continue
        optional = not (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if field.name == "state" or (model is models.Lock and field.name == "language"):
            optional = True
        assert optional == (field.name not in part["required"]), field.name
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if isinstance(default, models.Share):
            default = str(default) if default.is_percentage else default.number
        if "default" in written and default is not dataclasses.MISSING:
            if isinstance(default, tuple):
                default = list(default)
            empty = default in ([], {}, models.SiteGate())
            assert written["default"] == default or (empty and not written["default"]), field.name


def test_a_last_newline_does_not_slip_past_a_pattern() -> None:
    for part in objects(SITE):
        pattern = part.get("pattern")
        if isinstance(pattern, str):
            strict = schema_check.strict_end(pattern)
            for example in part.get("examples", ()):
                assert re.search(strict, example)
                assert not re.search(strict, example + "\n"), pattern


# The compiled check and jsonschema agree ----------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 700)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "voorbeeld", "a b", "https://www.voorbeeld.example", "8.2\n", "acme", "25%", "101%"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "version", "settings", "policy", "source", "x y", "web"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from places(member, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from places(item, (*path, number))


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {
            key: replaced(member, path[1:], new) if key == path[0] else member
            for key, member in value.items()
        }
    return [
        replaced(item, path[1:], new) if number == path[0] else item
        for number, item in enumerate(value)
    ]


FULL = {
    **SITE["examples"][0],
    **{
        key: part["examples"][0]
        for key, part in SITE["properties"].items()
        if key not in SITE["examples"][0]
    },
    "blocks": SITE["properties"]["blocks"]["examples"][0],
}
FULL_RING = {key: part["examples"][0] for key, part in RING["properties"].items()}
FULL_FLEET = {
    **{key: part["examples"][0] for key, part in FLEET["properties"].items()},
    "rings": [FULL_RING],
}
DOCUMENTS: dict[SchemaName, Any] = {
    "site": FULL,
    "fleet": FULL_FLEET,
    "lock": LOCK["examples"][0],
    "servers": {
        "all": {"vars": {"owc_php_versions": ["8.2"], "owc_ssh_port": 22}},
        "web": {"hosts": {"web1": None}, "children": {"inner": {"hosts": {"web2": {"a": 1}}}}},
    },
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_compiled_check_agrees_with_jsonschema(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    document = DOCUMENTS[name]
    path = data.draw(st.sampled_from(list(places(document))))
    new = data.draw(JSON)
    damaged = replaced(document, path, new)
    assert schema_check.check(name)(damaged) == schema_check.validator(name).is_valid(damaged)


def test_the_documents_that_are_damaged_are_good() -> None:
    for name, document in DOCUMENTS.items():
        assert schema_check.violations(name, document) == ()


def test_every_event_that_a_channel_can_name_is_known() -> None:
    events = resolve(FLEET, "properties", "notifications", "items", "properties", "events")
    assert tuple(events["items"]["enum"]) == get_args(models.NotificationEvent)
