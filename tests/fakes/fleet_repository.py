"""A fleet's repository, and the clone in which somebody changes it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAME = ("-c", "user.name=Anna", "-c", "user.email=anna@voorbeeld.example")


@dataclass(frozen=True)
class FleetRepository:
    """`root` holds the repository, `owc/fleet` below `origin`, and the clone, `desk`."""

    root: Path

    @property
    def repository(self) -> Path:
        return self.root / "origin" / "owc" / "fleet"

    @property
    def desk(self) -> Path:
        return self.root / "desk"

    def make(self) -> None:
        """Make both, with nothing in them."""
        for folder in (self.repository, self.desk):
            folder.mkdir(parents=True)
        bare = ["git", "init", "--quiet", "--bare", "--initial-branch=main"]
        subprocess.run(bare, cwd=self.repository, check=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", str(self.repository))

    def propose(self) -> str:
        """Push what stands in the clone as the newest commit of a request; return it."""
        self.git("checkout", "--quiet", "-B", "wish")
        return self._push("wish")

    def merge(self) -> str:
        """Bring what stands in the clone into `main`; return its commit."""
        self.git("checkout", "--quiet", "-B", "main")
        return self._push("main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *_NAME, *arguments], cwd=self.desk, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _push(self, branch: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=A change")
        self.git("push", "--quiet", "--force", "origin", branch)
        return self.git("rev-parse", "HEAD")
