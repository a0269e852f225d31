"""The demonstration fleet: its catalogue of real and made-up blocks, and its documents."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from owc_deploy.catalogue.add import AddRequest, add_release
from owc_deploy.catalogue.listing import read_source_list
from owc_deploy.errors import UsageError
from owc_deploy.lab.inputs import ensure_inputs
from owc_deploy.lab.servers import Lab
from owc_deploy.resources import resource_folder

_INPUTS = "inputs"


def build_lab_catalogue(folder: Path, narrate: Callable[[str], None] = lambda _: None) -> None:
    """Fill the catalogue in `folder` with WordPress and the lab's blocks; what is there stays.

    Raises LabError when WordPress cannot be fetched, CatalogueError when a release was changed.
    """
    inputs = ensure_inputs(narrate)
    for request in read_source_list(_template() / "catalogue-source.yml"):
        archive = Path(request.archive)
        found: AddRequest = request
        if archive.parent.name == _INPUTS:
            found = replace(request, archive=inputs[archive.name])
        result = add_release(folder, found)
        if result.changed:
            narrate(f"added {result.name} {result.version}")


def write_lab_fleet(
    folder: Path, lab: Lab, narrate: Callable[[str], None] = lambda _: None
) -> None:
    """Write the demonstration fleet: three municipalities on the servers web1 and web2 of a lab.

    Raises UsageError when there is a fleet already, or the lab lacks those servers.
    """
    if (folder / "fleet.yml").exists():
        raise UsageError(f"{folder} holds a fleet already", hint="name a new folder")
    missing = [name for name in ("web1", "web2") if name not in lab.servers]
    if missing:
        raise UsageError(
            f"the fleet needs the servers {' and '.join(missing)}, which lab {lab.name} lacks",
            hint=f"owc-deploy lab up --lab {lab.name}",
        )
    (folder / "sites").mkdir(parents=True, exist_ok=True)
    for name in ("locks", "secrets"):
        (folder / name).mkdir(exist_ok=True)
    for source in sorted(_template().glob("sites/*.yml")):
        shutil.copyfile(source, folder / "sites" / source.name)
    shutil.copyfile(lab.inventory_path, folder / "servers.yml")
    build_lab_catalogue(folder / "catalogue", narrate)
    # Last: a folder without it is no fleet, so an interrupted run can be done again.
    shutil.copyfile(_template() / "fleet.yml", folder / "fleet.yml")


def _template() -> Path:
    return resource_folder("inventories") / "lab"
