"""mitigations.yml: read with the fleet, held against it, and written so that it reads the same."""

from __future__ import annotations

from pathlib import Path

from unit.fleet.fleet_folder import write_fleet

from owc_deploy.fleet.load import check_fleet, load_fleet
from owc_deploy.fleet.mitigations import write_mitigations
from owc_deploy.fleet.models import Mitigation

ENTRY = """\
schema_version: 1
mitigations:
  - identifier: a
    reason: x
    by: me
    since: "2026-11-24"
"""


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    root = write_fleet(tmp_path)
    assert load_fleet(root).mitigations == ()
    both = (
        Mitigation("a", "een “gat”: # geen", "me", "2026-11-24T10:00:00+00:00", route="owc/x/v1"),
        Mitigation("b", "x", "me", "no", block="news", ajax_actions=("y",), sites=("voorbeeld",)),
    )
    write_mitigations(root, both)
    assert load_fleet(root).mitigations == both
    write_mitigations(root, ())
    assert load_fleet(root).mitigations == ()


def test_everything_wrong_is_told(tmp_path: Path) -> None:
    text = ENTRY + ENTRY.split("mitigations:\n")[1] + "    route: a/b\n    sites: [nergens]\n"
    fleet, problems = check_fleet(write_fleet(tmp_path, {"mitigations.yml": text}))
    assert fleet is None
    assert [problem.reference for problem in problems] == [
        "closes-nothing",
        "duplicate-identifier",
        "unknown-site",
    ]
