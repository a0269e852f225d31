"""Two municipalities, a supplier and a publisher, each with a key, and a catalogue of theirs."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata
from unit.catalogue.archives import plugin_folder

from owc_deploy.catalogue.add import AddRequest, add_release
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.catalogue.read import artefact_path, read_catalogue
from owc_deploy.catalogue.trust import changes
from owc_deploy.catalogue.trust.changes import Change
from owc_deploy.catalogue.trust.client import Verified, refresh
from owc_deploy.catalogue.trust.keys import HOLDER_FIELD, Holder
from owc_deploy.catalogue.trust.proposal import Proposal, read_proposal, write_proposal
from owc_deploy.catalogue.trust.publish import publish, sign
from owc_deploy.catalogue.trust.published import Published, must_be_published, read_published

NOW = datetime.now(UTC)


class Party(Holder):
    """A holder whose private key is at hand."""

    signer_object: CryptoSigner

    @staticmethod
    def named(name: str) -> "Party":
        signer = CryptoSigner.generate_ed25519()
        signer.public_key.unrecognized_fields[HOLDER_FIELD] = name
        party = Party(name, signer.public_key, "file", Path(name))
        object.__setattr__(party, "signer_object", signer)
        return party


@dataclass
class World:
    """A published folder and everybody around it. `clock` is what they take the time to be."""

    root: Path
    buren: Party = field(default_factory=lambda: Party.named("Gemeente Buren"))
    heusden: Party = field(default_factory=lambda: Party.named("Gemeente Heusden"))
    supplier: Party = field(default_factory=lambda: Party.named("Yard"))
    publisher: Party = field(default_factory=lambda: Party.named("Publisher"))
    clock: datetime = NOW
    proposals: int = 0

    @property
    def folder(self) -> Path:
        return self.root / "published"

    @property
    def working(self) -> Path:
        return self.root / "working"

    @property
    def trusted_root(self) -> bytes:
        return (self.folder / "metadata" / "1.root.json").read_bytes()

    @property
    def published(self) -> Published:
        return must_be_published(self.folder)

    def begin(self) -> None:
        change = changes.found([self.buren, self.heusden], 2, [self.publisher], self.clock)
        self.publish(self.proposal(change, self.buren, self.heusden))

    def delegate(self, block: str, *parties: Party) -> None:
        change = changes.delegate(self.published, [block], parties, 2, self.clock)
        speaking = parties if self.published.block(block) else ()
        self.publish(self.proposal(change, self.buren, self.heusden, *speaking))

    def built(self, version: str = "1.0.0", name: str = "cmb2", **details: Any) -> None:
        """Build a release into the working folder of the supplier."""
        source = plugin_folder(self.root / "source" / version, name, version)
        add_release(self.working, AddRequest(archive=source, name=name, kind="plugin", **details))

    def delivery(self, name: str = "cmb2") -> Change:
        known = self.published.block(name)
        offered = read_catalogue(self.working).blocks[name]
        listed = {release.sha256 for release in known.releases} if known else set()
        artefacts = {
            release.sha256: artefact_path(self.working, release.sha256)
            for release in offered.releases
            if release.sha256 not in listed
        }
        return changes.deliver(
            self.published, changes.merged(known, offered), artefacts, self.clock
        )

    def deliver(self, version: str = "1.0.0", **details: Any) -> None:
        self.built(version, **details)
        self.publish(self.proposal(self.delivery(), self.buren, self.supplier))

    def proposal(self, change: Change, *parties: Party) -> Proposal:
        self.proposals += 1
        proposal = write_proposal(self.root / "proposals" / str(self.proposals), change)
        for party in parties:
            self.sign(proposal, party)
        return read_proposal(proposal.folder)

    def sign(self, proposal: Proposal, party: Party) -> tuple[str, ...]:
        return sign(
            read_published(self.folder), read_proposal(proposal.folder), party.signer_object
        )

    def publish(self, *proposals: Proposal, by: Party | None = None, days: int = 14) -> Verified:
        signer = (by or self.publisher).signer_object
        return publish(self.folder, proposals, signer, self.clock, valid_days=days)

    def used(self, mirror: str = "mirror", source: str | None = None) -> Catalogue:
        """Refresh a fleet's mirror and read it."""
        folder = self.root / mirror
        refresh(folder, source or str(self.folder), self.trusted_root)
        return read_catalogue(folder)

    def versions(self, mirror: str = "mirror") -> list[str]:
        return [release.version for release in self.used(mirror).blocks["cmb2"].releases]


def world_with_block(root: Path) -> World:
    """A catalogue with cmb2 1.0.0 in it, spoken for by Buren and the supplier."""
    world = World(root)
    world.begin()
    world.delegate("cmb2", world.buren, world.supplier)
    world.deliver("1.0.0")
    return world


def forged(file: Path, change: Any, signers: Iterable[Party] = ()) -> None:
    """Change a metadata file with `change(signed)`; sign with these only, or not at all."""
    document = json.loads(file.read_bytes())
    change(document["signed"])
    text = json.dumps(document)
    for party in signers:
        metadata: Metadata[Any] = Metadata.from_bytes(text.encode())
        metadata.sign(party.signer_object, append=True)
        text = json.dumps(metadata.to_dict())
    file.write_text(text)


def run_out(world: World) -> None:
    """Let the publisher's word have run out yesterday."""
    yesterday = f"{world.clock - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    world.publish()
    forged(
        world.folder / "metadata/timestamp.json",
        lambda signed: signed.update({"expires": yesterday}),
        [world.publisher],
    )


def later(world: World, days: int) -> None:
    world.clock += timedelta(days=days)
