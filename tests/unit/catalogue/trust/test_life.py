"""A signed catalogue through its life: begun, delegated, delivered, published, used."""

from dataclasses import replace
from pathlib import Path

import pytest
from unit.catalogue.trust.parties import Party, World, world_with_block

from owc_deploy.catalogue.models import Guarantee
from owc_deploy.catalogue.read import read_catalogue
from owc_deploy.catalogue.trust import changes
from owc_deploy.catalogue.trust.client import fetch_artefact, verify_everything
from owc_deploy.catalogue.trust.errors import ProposalRefusedError
from owc_deploy.catalogue.trust.proposal import read_proposal, write_proposal
from owc_deploy.catalogue.trust.review import review


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_with_block(tmp_path)


def test_a_release_reaches_a_fleet_with_its_artefact(world: World) -> None:
    catalogue = world.used()
    release = catalogue.blocks["cmb2"].releases[0]
    arrived = fetch_artefact(world.root / "mirror", str(world.folder), "cmb2", release)
    assert (release.version, arrived.name) == ("1.0.0", f"{release.sha256}.zip")
    assert verify_everything(str(world.folder), world.trusted_root)[1] == 1


def test_a_next_release_leaves_the_earlier_one_listed(world: World) -> None:
    world.used()
    world.deliver("1.1.0")
    assert world.versions() == ["1.1.0", "1.0.0"]


def test_the_working_folder_may_have_forgotten_what_is_published(world: World) -> None:
    other = World(world.root, world.buren, world.heusden, world.supplier, world.publisher)
    (world.working / "catalogue.json").unlink()
    other.proposals = 100
    other.deliver("1.1.0")
    assert world.versions() == ["1.1.0", "1.0.0"]


def test_neither_party_can_release_alone(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.supplier)
    with pytest.raises(ProposalRefusedError, match="block-cmb2: 1 more of Gemeente Buren"):
        world.publish(proposal)
    assert world.versions() == ["1.0.0"]
    world.sign(proposal, world.buren)
    world.publish(read_proposal(proposal.folder))
    assert world.versions() == ["1.1.0", "1.0.0"]


def test_signing_the_same_again_does_not_count_twice(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.supplier, world.supplier)
    ((role, (count, who)),) = review(world.published, proposal).missing.items()
    assert (role, count, [name.split(" (")[0] for name in who]) == (
        "block-cmb2",
        1,
        ["Gemeente Buren"],
    )


def test_a_review_says_what_is_new_in_words(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery())
    found = review(world.published, proposal)
    assert not found.problems
    assert found.changes[0] == "cmb2 1.1.0 is new"


def test_what_is_published_already_is_no_proposal(world: World) -> None:
    with pytest.raises(ProposalRefusedError, match="published like this already"):
        world.delivery()


def test_nobody_delivers_a_block_that_nobody_speaks_for(world: World) -> None:
    world.built("1.0.0", name="openwoo")
    with pytest.raises(ProposalRefusedError, match="nobody may speak for openwoo yet"):
        world.delivery("openwoo")


def test_a_guarantee_and_a_withdrawal_are_signed_data(world: World) -> None:
    block = world.published.block("cmb2")
    assert block is not None
    promised = replace(
        block,
        guarantee=Guarantee("Gemeente Buren", "2026-01-01", "2027-01-01"),
        releases=(replace(block.releases[0], withdrawn="loses data"),),
    )
    change = changes.deliver(world.published, promised, {}, world.clock)
    proposal = world.proposal(change, world.buren, world.supplier)
    guarantee, withdrawn, valid = review(world.published, proposal).changes
    assert guarantee.startswith('cmb2 guarantee: {"by": "Gemeente Buren"')
    assert withdrawn == "cmb2 1.0.0 withdrawn: loses data"
    assert valid.startswith("block-cmb2 is valid until")
    world.publish(proposal)
    assert world.used().blocks["cmb2"].releases[0].withdrawn == "loses data"
    world.deliver("1.1.0")
    assert world.used().blocks["cmb2"].guarantee == promised.guarantee


def test_a_steward_hands_a_block_to_another(world: World) -> None:
    world.delegate("cmb2", world.heusden, world.supplier)
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.supplier)
    with pytest.raises(ProposalRefusedError, match="may sign nothing"):
        world.sign(proposal, world.buren)
    world.sign(proposal, world.heusden)
    world.publish(read_proposal(proposal.folder))
    assert world.versions() == ["1.1.0", "1.0.0"]


def test_a_stolen_key_is_replaced_and_counts_for_nothing(world: World) -> None:
    world.used()
    fresh = Party.named("Yard 2")
    change = changes.replace_key(world.published, world.supplier.key.keyid, fresh, world.clock)
    assert list(change.roles) == ["targets", "block-cmb2"]
    world.publish(world.proposal(change, world.buren, world.heusden, fresh))
    world.built("1.1.0")
    proposal = world.proposal(world.delivery(), world.buren)
    with pytest.raises(ProposalRefusedError, match="may sign nothing"):
        world.sign(proposal, world.supplier)
    world.sign(proposal, fresh)
    world.publish(read_proposal(proposal.folder))
    assert world.versions() == ["1.1.0", "1.0.0"]


def test_a_root_key_is_rotated_and_a_fleet_follows_from_its_first_root(world: World) -> None:
    world.used()
    fresh = Party.named("Gemeente Buren 2")
    change = changes.replace_key(world.published, world.buren.key.keyid, fresh, world.clock)
    assert list(change.roles) == ["root", "targets", "block-cmb2"]
    proposal = world.proposal(change, fresh, world.heusden, world.supplier)
    with pytest.raises(ProposalRefusedError, match="root: 1 more of Gemeente Buren"):
        world.publish(proposal)
    world.sign(proposal, world.buren)
    world.publish(read_proposal(proposal.folder))
    assert world.versions() == world.versions("another-mirror") == ["1.0.0"]


def test_a_publisher_is_replaced(world: World) -> None:
    fresh = Party.named("Publisher 2")
    change = changes.replace_key(world.published, world.publisher.key.keyid, fresh, world.clock)
    proposal = world.proposal(change, world.buren, world.heusden)
    with pytest.raises(ProposalRefusedError, match="not the publisher's"):
        world.publish(proposal)
    world.publish(proposal, by=fresh)
    assert world.versions() == ["1.0.0"]


def test_a_key_cannot_be_revoked_below_what_must_sign(world: World) -> None:
    with pytest.raises(ProposalRefusedError, match="would have 1 keys of the 2"):
        changes.replace_key(world.published, world.supplier.key.keyid, None, world.clock)


def test_one_party_cannot_be_two(world: World) -> None:
    with pytest.raises(ProposalRefusedError, match="are one key"):
        changes.delegate(world.published, ["openwoo"], [world.buren, world.buren], 2, world.clock)


def test_everything_can_be_renewed(world: World) -> None:
    change = changes.renew(world.published, ["root", "targets", "block-cmb2"], world.clock)
    world.publish(world.proposal(change, world.buren, world.heusden, world.supplier))
    assert world.published.root.signed.version == 2
    assert world.versions() == ["1.0.0"]


def test_publishing_again_says_that_all_is_current(world: World) -> None:
    before = world.published.snapshot.signed.version
    first = world.publish()
    second = world.publish()
    assert second.version == first.version + 1
    assert world.published.snapshot.signed.version == before


def test_a_proposal_from_an_earlier_state_is_refused(world: World) -> None:
    world.built("1.1.0")
    stale = world.proposal(world.delivery(), world.buren, world.supplier)
    world.deliver("1.2.0")
    with pytest.raises(ProposalRefusedError, match="made from an earlier state"):
        world.publish(stale)


def test_a_proposal_is_never_written_over(world: World) -> None:
    world.built("1.1.0")
    proposal = world.proposal(world.delivery())
    with pytest.raises(ProposalRefusedError, match="is there already"):
        write_proposal(proposal.folder, world.delivery())


def test_a_refused_publication_leaves_nothing_behind(world: World) -> None:
    before = sorted(world.folder.rglob("*"))
    world.built("1.1.0")
    good = world.proposal(world.delivery(), world.buren, world.supplier)
    with pytest.raises(ProposalRefusedError):
        world.publish(good, world.proposal(changes.renew(world.published, ["root"], world.clock)))
    assert sorted(world.folder.rglob("*")) == before


def test_a_mirror_reads_as_any_catalogue_does(world: World) -> None:
    world.used()
    assert list(read_catalogue(world.root / "mirror").blocks) == ["cmb2"]
