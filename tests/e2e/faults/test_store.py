"""Artefacts that are altered on their way or damaged in a server's store: refused, sent anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from e2e.faults.comparing import problems
from e2e.faults.sent import CALMER, copy_of_plugins
from e2e.faults.street import Street, site_of
from e2e.faults.wishes import STEPS

pytestmark = pytest.mark.lab

SITES = (site_of("room"), site_of("stage"))
POINTS = {site: STEPS[site] for site in SITES}
# One bit of what arrived, in the first artefact of the bundle.
ALTER = (
    '    with open(bundle, "r+b") as stream:\n'
    "        stream.seek(700)\n"
    "        byte = stream.read(1)[0]\n"
    "        stream.seek(700)\n"
    "        stream.write(bytes([byte ^ 1]))\n"
    "    received = []"
)
ALTERED = ("module_utils/owc_agent/archive.py", r"^    received = \[\]$", ALTER)
# Run on the server: as a new file, so that what visitors are served stays as it is.
DAMAGE = """
import os, sys
path, how = sys.argv[1:]
content = open(path, "rb").read()
os.unlink(path)
if how != "removed":
    with open(path, "wb") as stream:
        stream.write(content[:10] if how == "truncated" else content[:-1] + b"~")
"""


def stored(street: Street) -> dict[str, str]:
    """Return where the server keeps each block that the first site is to have."""
    lock = yaml.safe_load((street.root / "locks" / f"{SITES[0]}.lock.yml").read_text())
    return {block["name"]: f"/srv/owc/store/{block['sha256']}" for block in lock["blocks"]}


def damage(street: Street, block: str, how: str) -> None:
    path = f"{stored(street)[block]}/{block}/{block}.php"
    street.inside("python3", "-c", DAMAGE, path, how)


def test_an_artefact_altered_on_its_way_is_refused(street: Street, tmp_path: Path) -> None:
    folder = stored(street)["lab-fault"]
    street.inside("rm", "-rf", folder, f"{folder}.files.json")
    before = street.look()["sites"]
    altering = copy_of_plugins(tmp_path / "plugins", *CALMER, ALTERED)
    told = street.change(*SITES, plugins=altering)
    for site in SITES:
        assert told[site]["outcome"] == "failed"
        assert "arrived with another content" in told[site]["message"]
    assert problems(street, before, POINTS, never_begun=SITES) == []


def test_what_is_damaged_in_the_store_is_named_set_aside_and_sent_anew(street: Street) -> None:
    before = street.look()["sites"]
    damage(street, "lab-news", "truncated")
    damage(street, "lab-silent", "removed")
    said = []
    for attempt in range(3):
        told = street.change(*SITES)
        assert {told[site]["outcome"] for site in SITES} == {"failed"}, told
        said += [told[site]["message"] for site in SITES]
        if not attempt:
            # Sent by the first run at the latest.
            damage(street, "lab-fault", "flipped")
    assert problems(street, before, POINTS, told=told) == []
    for block in ("lab-fault 2.0.0", "lab-news 1.0.0", "lab-silent 1.0.0"):
        assert [each for each in said if f"{block} is damaged in this server's store (" in each]
    # One of the sites may have found only that the other had set it aside.
    assert all("run this again and it is sent anew" in each for each in said)
    told = street.change(*SITES)
    assert problems(street, before, POINTS, must_be_new=SITES, told=told) == []
    assert not street.inside("sh", "-c", "ls -d /srv/owc/store/*.damaged || true")
