"""One server with a street of sites, each at the first release of its blocks, to be harmed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from e2e.faults.harms import boot, small_disk
from e2e.faults.sent import CALMER, copy_of_plugins
from e2e.faults.street import SERVER, Street
from e2e.faults.wishes import NEW, OLD, STEPS, take_back, want

DISK_MEGABYTES = 3000


@pytest.fixture(scope="session")
def prepared(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Return a fleet without sites on a prepared server whose disk can be filled."""
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "fleet"
    (root / "sites").mkdir(parents=True)
    fleet = {
        "schema_version": 1,
        "name": "faults",
        "catalogue": str(catalogue),
        "rings": [{"name": "all"}],
    }
    (root / "fleet.yml").write_text(yaml.safe_dump(fleet), encoding="utf-8")
    plugins = copy_of_plugins(folder / "plugins", *CALMER)
    with small_disk(folder / "disk", DISK_MEGABYTES) as disk:
        lab = boot(disk)
        try:
            servers = yaml.safe_load(lab.inventory_path.read_text(encoding="utf-8"))
            host = servers["all"]["children"]["web"]["hosts"][SERVER]
            host["runtime_recover_calendar"] = "*-*-* *:*:00/5"
            # The scheduled tasks of twenty sites each minute would slow a small machine down.
            host["runtime_cron_calendar"] = "*-*-* *:00/10:00"
            (root / "servers.yml").write_text(yaml.safe_dump(servers), encoding="utf-8")
            street = Street(root, lab, disk=disk, plugins=plugins)
            street.owc("provision", "--yes", timeout_seconds=900)
            yield street
        finally:
            lab.down()


@pytest.fixture(scope="session")
def built(prepared: Street) -> Street:
    """Return the street with all its sites live at the first release of their block."""
    want(prepared, dict.fromkeys(STEPS, OLD))
    made = prepared.change(*STEPS, parallel=8)
    assert {item["outcome"] for item in made.values()} == {"changed"}, made
    seen = prepared.look()["sites"]
    prepared.first.update({site: seen[site]["state"]["current"] for site in STEPS})
    want(prepared, dict.fromkeys(STEPS, NEW))
    return prepared


@pytest.fixture
def street(built: Street) -> Street:
    """Return the street with every site at the first release, about to go to the second."""
    take_back(built, built.first)
    return built
