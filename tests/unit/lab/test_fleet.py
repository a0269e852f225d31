"""The demonstration fleet's documents and blocks agree with one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from owc_deploy.catalogue.add import add_release
from owc_deploy.catalogue.headers import plugin_header
from owc_deploy.catalogue.listing import read_source_list
from owc_deploy.catalogue.read import read_catalogue
from owc_deploy.errors import UsageError
from owc_deploy.lab.fleet import write_lab_fleet
from owc_deploy.lab.inputs import INPUTS
from owc_deploy.lab.servers import Lab
from owc_deploy.plan.one_step import way_up
from owc_deploy.resources import resource_folder

TEMPLATE = resource_folder("inventories") / "lab"
REQUESTS = read_source_list(TEMPLATE / "catalogue-source.yml")
BLOCKS = [request for request in REQUESTS if Path(request.archive).is_dir()]
HEADERS = (
    "Description",
    "Requires at least",
    "Requires PHP",
    "Author",
    "License URI",
    "Text Domain",
)


def test_the_list_names_every_block_and_input_there_is():
    folders = {path for path in TEMPLATE.glob("blocks/*/*/*") if path.is_dir()}
    assert {Path(request.archive) for request in BLOCKS} == folders
    files = {Path(request.archive).name for request in REQUESTS} - {path.name for path in folders}
    assert files == {item.file_name for item in INPUTS}


@pytest.mark.parametrize("request_", BLOCKS, ids=lambda item: f"{item.name} {item.version}")
def test_headers_are_complete(request_):
    folder = Path(request_.archive)
    if request_.kind == "theme":
        heads = [(folder / "style.css").read_bytes()]
    else:
        heads = [path.read_bytes() for path in folder.glob("*.php")]
        assert len(heads) == 1
    for name in HEADERS:
        assert plugin_header(heads[0], name), name
    assert plugin_header(heads[0], "Version") == request_.version
    assert plugin_header(heads[0], "License") == "EUPL-1.2"
    assert plugin_header(heads[0], "Text Domain") == folder.name


def test_every_block_is_accepted_by_the_catalogue(tmp_path):
    for request in BLOCKS:
        add_release(tmp_path, request)
    catalogue = read_catalogue(tmp_path)
    assert catalogue.blocks["lab-locations"].main_file == "lab-places.php"
    assert catalogue.blocks["lab-fields"].main_file == "init.php"
    pdf = catalogue.blocks["lab-pdf"]
    assert [pdf.place_of(release) for release in pdf.releases] == [
        ("lab-pdf", "pdf.php"),
        ("lab-pdf-extended", "pdf.php"),
    ]
    register = catalogue.blocks["lab-register"]
    assert way_up(register, "1.0.0", register.releases[0]) == ("2.0.0",)
    assert {release.version for release in catalogue.blocks["lab-fault"].releases} == {
        *(f"1.{number}.0" for number in range(10)),
        "2.0.0",
    }
    assert [release.version for release in catalogue.blocks["lab-news"].releases] == [
        "1.2.0",
        "1.1.0",
        "1.0.0",
    ]


def test_a_fleet_is_never_written_over(tmp_path):
    (tmp_path / "fleet.yml").write_text("schema_version: 1\n")
    with pytest.raises(UsageError, match="holds a fleet already"):
        write_lab_fleet(tmp_path, Lab("lab", "bookworm", tmp_path, {}))


def test_a_lab_without_the_servers_is_refused(tmp_path):
    with pytest.raises(UsageError, match="web1 and web2"):
        write_lab_fleet(tmp_path, Lab("lab", "bookworm", tmp_path, {}))
