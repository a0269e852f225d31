"""What somebody may try who holds the server, the network, or one stolen key."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from unit.catalogue.archives import plugin_folder
from unit.catalogue.trust.parties import World, forged, later, run_out, world_with_block

from owc_deploy.catalogue.archive import pack_folder
from owc_deploy.catalogue.at_hand import catalogue_at_hand
from owc_deploy.catalogue.models import BlockRelease
from owc_deploy.catalogue.read import artefact_path, read_catalogue
from owc_deploy.catalogue.trust import changes
from owc_deploy.catalogue.trust.client import fetch_artefact, refresh
from owc_deploy.catalogue.trust.errors import (
    CatalogueStaleError,
    CatalogueUnreachableError,
    CatalogueUntrustedError,
    ProposalRefusedError,
)
from owc_deploy.catalogue.trust.proposal import read_proposal
from owc_deploy.errors import OwcError
from owc_deploy.fleet.models import FleetSettings, Ring, SignedCatalogue


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_with_block(tmp_path)


def newest(world: World, role: str) -> Path:
    files = (world.folder / "metadata").glob(f"*.{role}.json")
    return max(files, key=lambda file: int(file.name.split(".")[0]))


def settings(world: World) -> FleetSettings:
    root = world.root / "root.json"
    root.write_bytes(world.trusted_root)
    return FleetSettings(
        name="fleet",
        catalogue=world.root / "mirror",
        state=world.root / "history.sqlite3",
        rings=(Ring("all"),),
        signed_catalogue=SignedCatalogue(str(world.folder), root),
    )


def test_a_tampered_artefact_is_refused(world: World) -> None:
    release = world.used().blocks["cmb2"].releases[0]
    artefact = next(world.folder.glob("targets/blocks/cmb2/*.zip"))
    content = bytearray(artefact.read_bytes())
    content[30] ^= 1
    artefact.write_bytes(content)
    with pytest.raises(CatalogueUntrustedError, match="not the one signed"):
        fetch_artefact(world.root / "mirror", str(world.folder), "cmb2", release)
    assert not artefact_path(world.root / "mirror", release.sha256).exists()
    assert not list((world.root / "mirror").glob("artefacts/.incoming*"))


def test_a_tampered_block_document_is_refused(world: World) -> None:
    document = next(world.folder.glob("targets/blocks/cmb2/*.block.json"))
    document.write_bytes(document.read_bytes().replace(b'"*"', b'"1"'))
    document.write_bytes(document.read_bytes() + b" ")
    with pytest.raises(CatalogueUntrustedError):
        world.used()


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "block-cmb2"])
def test_tampered_metadata_is_refused(world: World, role: str) -> None:
    forged(newest(world, role), lambda signed: signed.update({"x": 1}))
    mirror = world.root / "mirror"
    root = world.trusted_root
    with pytest.raises(CatalogueUntrustedError):
        refresh(mirror, str(world.folder), root)
    assert not (mirror / "catalogue.json").exists()


def test_a_tampered_timestamp_is_refused(world: World) -> None:
    forged(world.folder / "metadata/timestamp.json", lambda signed: signed.update({"version": 99}))
    with pytest.raises(CatalogueUntrustedError):
        world.used()


def test_metadata_that_is_no_metadata_is_refused(world: World) -> None:
    for content in (b"", b"{", b"[]", b"null", b'{"signed": {}}', b"\xff" * 100):
        (world.folder / "metadata/timestamp.json").write_bytes(content)
        with pytest.raises(CatalogueUntrustedError):
            world.used()


def test_an_earlier_state_cannot_be_replayed(world: World) -> None:
    earlier = world.root / "earlier"
    shutil.copytree(world.folder, earlier)
    world.deliver("1.1.0")
    assert world.versions() == ["1.1.0", "1.0.0"]
    shutil.copy(earlier / "metadata/timestamp.json", world.folder / "metadata/timestamp.json")
    with pytest.raises(CatalogueUntrustedError, match="older than what was seen before"):
        world.used()
    assert len(read_catalogue(world.root / "mirror").blocks["cmb2"].releases) == 2


def test_an_earlier_block_cannot_be_mixed_into_a_newer_state(world: World) -> None:
    earlier = newest(world, "block-cmb2").read_bytes()
    world.deliver("1.1.0")
    newest(world, "block-cmb2").write_bytes(earlier)
    with pytest.raises(CatalogueUntrustedError):
        world.used()


def test_a_stolen_publisher_key_cannot_mix_states(world: World) -> None:
    """With the publisher's key one can say what is current, and not what a block is."""
    world.deliver("1.1.0")

    def of_before(signed: dict[str, Any]) -> None:
        signed["version"] += 1
        signed["meta"]["block-cmb2.json"] = {"version": 9}

    forged(newest(world, "snapshot"), of_before, [world.publisher])
    with pytest.raises(CatalogueUntrustedError):
        world.used()


def test_a_frozen_catalogue_is_noticed_when_its_time_has_run_out(world: World) -> None:
    world.used()
    run_out(world)
    with pytest.raises(CatalogueStaleError, match="out of date"):
        world.used()


def test_what_was_verified_last_will_do_for_looking_and_going_back(world: World) -> None:
    at_hand = catalogue_at_hand(settings(world), last_verified_will_do=False)
    assert not at_hand.notes
    run_out(world)
    with pytest.raises(CatalogueStaleError):
        catalogue_at_hand(settings(world), last_verified_will_do=False)
    at_hand = catalogue_at_hand(settings(world), last_verified_will_do=True)
    assert "what was verified last is used" in at_hand.notes[0]
    assert list(at_hand.catalogue.blocks) == ["cmb2"]


def test_without_anything_verified_nothing_will_do(world: World) -> None:
    run_out(world)
    with pytest.raises(CatalogueStaleError):
        catalogue_at_hand(settings(world), last_verified_will_do=True)


def test_one_stolen_key_of_two_releases_nothing(world: World) -> None:
    world.built("6.6.6")
    proposal = world.proposal(world.delivery(), world.supplier)
    role = newest(world, "block-cmb2")
    shutil.copy(proposal.folder / "metadata/block-cmb2.json", role)
    with pytest.raises(CatalogueUntrustedError):
        world.used()


def test_a_steward_cannot_sign_for_the_block_of_another(world: World) -> None:
    world.delegate("openwoo", world.heusden, world.supplier)
    world.built("1.0.0", name="openwoo")
    proposal = world.proposal(world.delivery("openwoo"), world.supplier)
    with pytest.raises(ProposalRefusedError, match="may sign nothing"):
        world.sign(proposal, world.buren)
    # Signed all the same, without asking this tool:
    forged(
        proposal.folder / "metadata/block-openwoo.json",
        dict,
        [world.buren, world.supplier],
    )
    with pytest.raises(ProposalRefusedError, match="1 more of Gemeente Heusden"):
        world.publish(read_proposal(proposal.folder))


def test_a_role_cannot_list_what_is_not_of_its_block(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery())

    def another_block_too(signed: dict[str, Any]) -> None:
        signed["targets"]["blocks/openwoo/block.json"] = signed["targets"]["blocks/cmb2/block.json"]

    forged(
        proposal.folder / "metadata/block-cmb2.json",
        another_block_too,
        [world.buren, world.supplier],
    )
    with pytest.raises(ProposalRefusedError, match="which is not of cmb2"):
        world.publish(read_proposal(proposal.folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda role: role.update(terminating=False), "not delegated terminating"),
        (lambda role: role.update(paths=["blocks/*"]), "something else, than one block"),
        (lambda role: role.update(paths=["blocks/cmb2/*", "blocks/x/*"]), "than one block"),
        (lambda role: role.update(threshold=3), "fewer keys than must sign"),
    ],
)
def test_a_delegation_is_of_one_block_only(world: World, change: Any, reason: str) -> None:
    proposal = world.proposal(changes.renew(world.published, ["targets"], world.clock))

    def altered(signed: dict[str, Any]) -> None:
        change(signed["delegations"]["roles"][0])

    forged(proposal.folder / "metadata/targets.json", altered, [world.buren, world.heusden])
    with pytest.raises(ProposalRefusedError, match=reason):
        world.publish(read_proposal(proposal.folder))


def test_a_published_release_never_becomes_another(world: World) -> None:
    (world.working / "catalogue.json").unlink()
    (plugin_folder(world.root / "source/1.0.0", "cmb2", "1.0.0") / "evil.php").write_text("<?php")
    world.built("1.0.0")
    with pytest.raises(ProposalRefusedError, match="published with another artefact"):
        world.delivery()


def test_a_published_release_is_not_dropped(world: World) -> None:
    (world.working / "catalogue.json").unlink()
    world.built("1.1.0")
    block = read_catalogue(world.working).blocks["cmb2"]
    artefacts = {block.releases[0].sha256: artefact_path(world.working, block.releases[0].sha256)}
    proposal = world.proposal(changes.deliver(world.published, block, artefacts, world.clock))
    with pytest.raises(ProposalRefusedError, match=r"cmb2 1\.0\.0 would be gone"):
        world.publish(proposal)


def test_a_hostile_archive_is_refused_before_anybody_signs(world: World) -> None:
    world.built("1.1.0")
    change = world.delivery()
    other = plugin_folder(world.root / "other", "cmb2", "9.9.9")
    lying = world.root / "lying.zip"
    pack_folder(other, lying, folder="cmb2")
    proposal = world.proposal(change)
    shutil.copy(lying, proposal.folder / "targets/blocks/cmb2/1.1.0.zip")
    with pytest.raises(ProposalRefusedError, match="is not the file that block-cmb2 lists"):
        world.sign(proposal, world.buren)


def test_links_and_strangers_in_a_proposal_are_refused(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery())
    link = proposal.folder / "targets/blocks/cmb2/2.0.0.zip"
    link.symlink_to("/etc/passwd")
    with pytest.raises(ProposalRefusedError, match="neither a file nor a folder"):
        read_proposal(proposal.folder)
    link.unlink()
    link.write_bytes(b"x")
    with pytest.raises(ProposalRefusedError, match="no role lists it"):
        world.sign(proposal, world.buren)
    (proposal.folder / "metadata/timestamp.json").write_text("{}")
    with pytest.raises(ProposalRefusedError, match="belongs in no proposal"):
        read_proposal(proposal.folder)


def test_an_unreachable_source_is_said(world: World, tmp_path: Path) -> None:
    root = world.trusted_root
    shutil.move(world.folder, tmp_path / "elsewhere")
    with pytest.raises(CatalogueUnreachableError):
        refresh(tmp_path / "mirror", str(world.folder), root)


@pytest.mark.parametrize("what", ["timestamp.json", "2.root.json", ".zip"])
def test_endless_data_is_cut_off(world: World, what: str) -> None:
    release = world.used().blocks["cmb2"].releases[0]
    with served(world.folder, endless=what) as (address, sent):
        with pytest.raises(CatalogueUntrustedError, match="more than it should"):
            _everything(world, address, release)
        assert sent[0] < 64 << 20


def _everything(world: World, address: str, release: BlockRelease) -> None:
    refresh(world.root / "another", address, world.trusted_root)
    fetch_artefact(world.root / "another", address, "cmb2", release)


def test_a_catalogue_is_used_over_http_from_this_machine(world: World) -> None:
    with served(world.folder) as (address, _):
        catalogue = world.used(source=address)
        release = catalogue.blocks["cmb2"].releases[0]
        assert fetch_artefact(world.root / "mirror", address, "cmb2", release).exists()


def test_another_root_is_not_believed(world: World, tmp_path: Path) -> None:
    other = world_with_block(tmp_path / "other")
    with pytest.raises(CatalogueUntrustedError):
        refresh(tmp_path / "mirror", str(world.folder), other.trusted_root)


def test_a_trusted_root_that_is_none_is_said(world: World, tmp_path: Path) -> None:
    for content in (b"", b"[]", json.dumps({"signed": {"_type": "targets"}}).encode()):
        with pytest.raises(OwcError):
            refresh(tmp_path / "mirror", str(world.folder), content)


def test_what_expired_of_one_block_leaves_the_others(world: World) -> None:
    world.used()
    later(world, -2000)
    world.built("1.1.0")
    change = world.delivery()
    later(world, 2000)
    world.publish(world.proposal(change, world.buren, world.supplier))
    found = refresh(world.root / "mirror", str(world.folder), world.trusted_root)
    assert "what is said of cmb2 has expired" in found.notes[0]
    assert world.versions() == ["1.0.0"]


@contextmanager
def served(folder: Path, endless: str | None = None) -> Iterator[tuple[str, list[int]]]:
    """Serve a folder on loopback; what ends with `endless` never ends, up to 1 GB."""
    sent = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = folder / self.path.lstrip("/")
            if endless and self.path.endswith(endless):
                self.send_response(200)
                self.end_headers()
                try:
                    while sent[0] < 1 << 30:
                        self.wfile.write(b" " * (1 << 16))
                        sent[0] += 1 << 16
                except OSError:
                    return
                return
            if not file.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(file.read_bytes())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
