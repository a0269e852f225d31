"""What signers are shown is all that changes, and compared with what truly is published."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.catalogue.trust.parties import Party, World, forged, world_with_block

from owc_deploy.catalogue.models import Migration
from owc_deploy.catalogue.read import artefact_path
from owc_deploy.catalogue.trust import changes
from owc_deploy.catalogue.trust.client import fetch_artefact, refresh
from owc_deploy.catalogue.trust.errors import CatalogueUntrustedError, ProposalRefusedError
from owc_deploy.catalogue.trust.proposal import Proposal, read_proposal
from owc_deploy.catalogue.trust.publish import sign
from owc_deploy.catalogue.trust.published import verify
from owc_deploy.catalogue.trust.review import Review, review


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_with_block(tmp_path)


def renewed(world: World, role: str, change: Callable[[dict[str, Any]], Any]) -> Review:
    proposal = world.proposal(changes.renew(world.published, [role], world.clock))
    forged(proposal.folder / f"metadata/{role}.json", change)
    return review(world.published, read_proposal(proposal.folder))


def keyid(world: World) -> str:
    return world.buren.key.keyid


def test_a_lower_threshold_is_shown(world: World) -> None:
    def of_root(signed: dict[str, Any]) -> None:
        signed["roles"]["root"]["threshold"] = 1

    def of_block(signed: dict[str, Any]) -> None:
        signed["delegations"]["roles"][0]["threshold"] = 1

    assert "root is signed by 1 of:" in " ".join(renewed(world, "root", of_root).changes)
    changed = " ".join(renewed(world, "targets", of_block).changes)
    assert "cmb2 is spoken for by 1 of:" in changed
    assert "before by 2 of:" in changed


def test_another_key_under_the_same_name_is_refused(world: World) -> None:
    stranger = Party.named("Gemeente Buren").key.keyval

    def swap(signed: dict[str, Any]) -> None:
        keys = signed["keys"] if "keys" in signed else signed["delegations"]["keys"]
        keys[keyid(world)]["keyval"] = stranger

    for role in ("root", "targets"):
        assert "not written in the one way" in renewed(world, role, swap).problems[0]


def test_one_key_is_not_two_parties_however_it_is_written(world: World) -> None:
    def twice(write: Callable[[str], str], name: str) -> Callable[[dict[str, Any]], None]:
        def change(signed: dict[str, Any]) -> None:
            key = json.loads(json.dumps(signed["keys"][keyid(world)]))
            key["keyval"]["public"] = write(key["keyval"]["public"])
            signed["keys"][name] = key
            signed["roles"]["root"]["keyids"].append(name)

        return change

    for change in (twice(str, "0" * 64), twice(str.upper, "0" * 64)):
        assert renewed(world, "root", change).problems


def test_an_impostor_is_told_from_who_was_there(world: World) -> None:
    impostor = Party.named("Gemeente Buren")
    change = changes.delegate(world.published, ["cmb2"], [impostor, world.supplier], 2, world.clock)
    shown = " ".join(review(world.published, world.proposal(change)).changes)
    assert impostor.key.keyid[:16] in shown
    assert world.buren.key.keyid[:16] in shown.split("before by")[1]


def offered(world: World, **details: Any) -> Proposal:
    block = world.published.block("cmb2")
    assert block is not None
    fields = {key: details.pop(key) for key in list(details) if hasattr(block, key)}
    releases = (replace(block.releases[0], **details),)
    changed = replace(block, releases=releases, **fields)
    return world.proposal(changes.deliver(world.published, changed, {}, world.clock))


def test_a_withdrawal_hides_nothing(world: World) -> None:
    proposal = offered(
        world,
        withdrawn="old",
        post_steps=(("eval", "system('id');"),),
        migrations=(Migration("*", "*", (("db", "reset", "--yes"),)),),
    )
    shown = "\n".join(review(world.published, proposal).changes)
    for part in ("withdrawn: old", "system('id');", '"db", "reset", "--yes"'):
        assert part in shown


def test_every_value_of_a_new_release_is_shown(world: World) -> None:
    world.built("1.1.0", post_steps=(("cache", "flush"),), php=">=8.1")
    shown = "\n".join(review(world.published, world.proposal(world.delivery())).changes)
    assert 'cmb2 1.1.0 post_steps: [["cache", "flush"]]' in shown
    assert "cmb2 1.1.0 php: >=8.1" in shown


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"kind": "theme"}, "would become a theme"),
        ({"kind": "core"}, "kind core is listed as wordpress"),
        ({"folder": "openwoo"}, "openwoo"),
        ({"main_file": "other.php"}, "other.php is not in the archive"),
    ],
)
def test_a_block_stays_what_it_is(world: World, details: dict[str, Any], reason: str) -> None:
    problems = review(world.published, offered(world, **details)).problems
    assert any(reason in problem for problem in problems), problems


def test_a_block_does_not_take_the_folder_of_another(world: World) -> None:
    world.delegate("evil", world.heusden, world.supplier)
    block = world.published.block("cmb2")
    assert block is not None
    taken = replace(block, name="evil")
    artefact = artefact_path(world.working, block.releases[0].sha256)
    files = {block.releases[0].sha256: artefact}
    proposal = world.proposal(changes.deliver(world.published, taken, files, world.clock))
    assert "evil would have the folder of cmb2, cmb2" in review(world.published, proposal).problems


def test_a_copy_that_nobody_signed_is_not_compared_with(world: World) -> None:
    root = world.trusted_root
    verify(world.published, root)
    role = next((world.folder / "metadata").glob("*.block-cmb2.json"))
    forged(role, lambda signed: signed["targets"].popitem())
    with pytest.raises(CatalogueUntrustedError, match="not what was signed"):
        verify(world.published, root)


def test_a_copy_is_verified_whatever_its_dates_say(world: World) -> None:
    for role in ("root", "targets"):
        change = changes.renew(world.published, [role], world.clock)
        world.publish(world.proposal(change, world.buren, world.heusden))
    verify(world.published, world.trusted_root)


def test_a_signature_given_meanwhile_is_kept(world: World) -> None:
    world.built("1.1.0")
    read_before = world.proposal(world.delivery())
    world.sign(read_before, world.supplier)
    # Buren signs what it read before the supplier did.
    sign(world.published, read_before, world.buren.signer_object)
    assert not review(world.published, read_proposal(read_before.folder)).missing


@pytest.mark.parametrize("number", range(1, 9))
def test_a_publication_cut_off_at_any_write_can_be_typed_again(world: World, number: int) -> None:
    world.used()
    fresh = Party.named("Publisher 2")
    world.built("1.1.0")
    delivery = world.proposal(world.delivery(), world.buren, world.supplier)
    swap = changes.replace_key(world.published, world.publisher.key.keyid, fresh, world.clock)
    swapped = world.proposal(swap, world.buren, world.heusden)
    after = world.published.snapshot.signed.version + 1
    cut_off(lambda: world.publish(delivery, swapped, by=fresh), number)
    if world.published.snapshot.signed.version < after:
        world.publish(delivery, swapped, by=fresh)
    assert world.versions() == world.versions("another") == ["1.1.0", "1.0.0"]


def cut_off(work: Callable[[], object], number: int) -> None:
    """Do some work in a process of its own, and kill that at its NUMBER-th file put in place."""
    child = os.fork()
    if child == 0:
        done = [0]
        replace_file = Path.replace

        def counting(self: Path, target: Path) -> Path:
            done[0] += 1
            if done[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace_file(self, target)

        Path.replace = counting  # type: ignore[method-assign,assignment]
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_what_an_earlier_publication_left_half_is_written_anew(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.buren, world.supplier)
    for path, target in proposal.roles["block-cmb2"].signed.targets.items():  # type: ignore[union-attr]
        folder, _, name = path.rpartition("/")
        file = world.folder / "targets" / folder / f"{target.hashes['sha256']}.{name}"
        if not file.exists():
            file.write_bytes(b"")
    world.publish(proposal)
    release = world.used().blocks["cmb2"].releases[0]
    fetch_artefact(world.root / "mirror", str(world.folder), "cmb2", release)


def test_a_mirrors_artefact_that_was_cut_short_is_fetched_again(world: World) -> None:
    release = world.used().blocks["cmb2"].releases[0]
    mirror = world.root / "mirror"
    artefact = fetch_artefact(mirror, str(world.folder), "cmb2", release)
    artefact.write_bytes(b"PK")
    assert fetch_artefact(mirror, str(world.folder), "cmb2", release).stat().st_size > 2


def test_a_root_that_lets_files_be_written_over_is_refused(world: World) -> None:
    found = renewed(world, "root", lambda signed: signed.update({"consistent_snapshot": False}))
    assert "root says that published files are written over" in found.problems


def test_a_publication_that_cannot_be_kept_changes_nothing(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.buren, world.supplier)
    (proposal.folder / "targets/blocks/cmb2/1.1.0.zip").write_bytes(b"x")
    before = sorted(world.folder.rglob("*"))
    with pytest.raises(ProposalRefusedError):
        world.publish(proposal)
    assert sorted(world.folder.rglob("*")) == before


def test_what_ends_soon_is_told_in_time(world: World) -> None:
    found = refresh(world.root / "mirror", str(world.folder), world.trusted_root)
    assert found.notes == ()
    change = changes.renew(world.published, ["targets"], world.clock)
    change.roles["targets"].signed.expires = world.published.timestamp.signed.expires
    world.publish(world.proposal(change, world.buren, world.heusden))
    found = refresh(world.root / "mirror", str(world.folder), world.trusted_root)
    assert "owc-deploy catalogue renew targets" in found.notes[0]
