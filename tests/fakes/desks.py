"""Parties who sign, each in a folder of its own, at the command line."""

import shutil
from contextlib import chdir
from pathlib import Path

from owc_deploy.cli.main import run


class Desk:
    """One party's folder: its key, its copy of what is published, proposals it was handed."""

    def __init__(self, root: Path, name: str, holder: str) -> None:
        self.root = root / name
        self.name = name
        self.root.mkdir()
        (self.root / "passphrase").write_text(f"canary-passphrase-of-{name}\n")
        self("key", f"keys/{name}", "--holder", holder, "--passphrase-file", "passphrase")

    def __call__(self, *words: str, exit_code: int = 0) -> None:
        with chdir(self.root):
            assert run(["catalogue", *words]) == exit_code

    def signs(self, proposal: str, exit_code: int = 0) -> None:
        self(
            *("sign", f"proposals/{proposal}", "--key", f"keys/{self.name}"),
            *("--passphrase-file", "passphrase", "--catalogue", "published", "--yes"),
            exit_code=exit_code,
        )

    def publishes(self, *proposals: str, exit_code: int = 0) -> None:
        self(
            *("publish", *(f"proposals/{proposal}" for proposal in proposals)),
            *("--key", f"keys/{self.name}", "--passphrase-file", "passphrase"),
            *("--catalogue", "published"),
            exit_code=exit_code,
        )

    def hands(self, proposal: str, to: "Desk") -> None:
        shutil.copytree(
            self.root / "proposals" / proposal, to.root / "proposals" / proposal, dirs_exist_ok=True
        )

    def copies_published(self, of: "Desk") -> None:
        shutil.rmtree(self.root / "published", ignore_errors=True)
        shutil.copytree(of.root / "published", self.root / "published")
        trusted = self.root / "keys/root.json"
        if not trusted.exists():
            # As they compared it with one another by telephone.
            shutil.copy(of.root / "published/metadata/1.root.json", trusted)

    def public_key(self, of: "Desk") -> str:
        shutil.copy(of.root / f"keys/{of.name}.pub.json", self.root / "keys")
        return f"keys/{of.name}.pub.json"


def signed_by(proposal: str, publisher: Desk, *desks: Desk) -> None:
    """Hand a proposal of the publisher's around, with what is published, until all have signed."""
    for desk in desks:
        if (publisher.root / "published").exists():
            desk.copies_published(publisher)
        publisher.hands(proposal, desk)
        desk.signs(proposal)
        desk.hands(proposal, publisher)
