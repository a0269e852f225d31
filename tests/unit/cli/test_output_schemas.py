"""What `--format json` prints keeps to the schema that is published for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fleet import FleetSimulator
from jsonschema import Draft202012Validator
from unit.cli.sessions import session, two_servers
from unit.fleet.fleet_folder import MANIFEST, write_fleet

from owc_deploy.cli.apply import carry_out
from owc_deploy.cli.main import run
from owc_deploy.cli.plan import planned, show_plan
from owc_deploy.resources import resource_folder

OUTPUT = resource_folder("schemas") / "output"
NAMES = ("plan", "applied", "validated", "rollout")


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((OUTPUT / f"{name}.schema.json").read_text("utf-8"))
    return loaded


def printed(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema(name)).validate(document)
    return document


def parts(part: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        if "description" in part and isinstance(part["description"], str):
            yield (where, part)
        for key, value in part.items():
            if key not in {"examples", "required"}:
                yield from parts(value, f"{where}.{key}")


def test_each_is_tested() -> None:
    assert {path.name for path in OUTPUT.iterdir()} == {f"{name}.schema.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_it_describes_everything_and_its_examples_keep_to_it(name: str) -> None:
    document = schema(name)
    Draft202012Validator.check_schema(document)
    assert document["$id"].endswith(f"/output/{name}.schema.json")
    assert document["properties"]["schema_version"]["const"] == 1
    described = list(parts(document, name))
    assert len(described) > 10
    for where, part in described:
        assert part["description"].endswith("."), where
        for example in part["examples"]:
            errors = list(Draft202012Validator(part).iter_errors(example))
            assert not errors, f"{where}: {errors[0].message}"


def test_plans_and_outcomes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    servers = FleetSimulator(["web1", "web2"])
    servers.servers["web2"].unreachable = "no route to host"
    opened = session(two_servers(tmp_path), servers)
    plan = planned(opened, (), ())
    options = {"output_format": "json", "yes": True, "reason": "", "take_over": False}
    show_plan(plan, "plan", "json")
    actions = {site["site"]: site["action"] for site in printed(capsys, "plan")["sites"]}
    assert actions == {"altena": "create", "heusden": "not-attempted"}
    assert carry_out(opened, plan, **options) == 1  # type: ignore[arg-type]
    applied = printed(capsys, "applied")
    assert [each["outcome"] for each in applied["outcomes"]] == ["changed", "unreachable"]
    # A change of versions, with a data migration that cannot be undone.
    newer = session(two_servers(tmp_path, news="2.0.0"), servers)
    show_plan(planned(newer, ("altena",), ()), "plan", "json")
    (site,) = printed(capsys, "plan")["sites"]
    assert (site["action"], len(site["migrations"])) == ("update", 1)


def test_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write_fleet(tmp_path, {"sites/voorbeeld.yml": MANIFEST.replace("canary", "canari")})
    assert run(["validate", "--fleet", str(bad), "--format", "json"]) == 3
    assert len(printed(capsys, "validated")["problems"]) == 1
    good = write_fleet(tmp_path / "good")
    assert run(["validate", "--fleet", str(good), "--format", "json"]) == 0
    assert printed(capsys, "validated")["sites"] == 1
