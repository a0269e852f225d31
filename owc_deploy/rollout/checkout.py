"""A checkout of the fleet that others change, read again whenever its files did."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from owc_deploy.catalogue.at_hand import catalogue_at_hand
from owc_deploy.catalogue.models import Catalogue
from owc_deploy.catalogue.read import CATALOGUE_FILE
from owc_deploy.errors import OwcError
from owc_deploy.fleet.load import load_fleet
from owc_deploy.fleet.models import Fleet
from owc_deploy.rollout.models import RolloutSite
from owc_deploy.rollout.ports import Tell
from owc_deploy.rollout.rings import is_as_started
from owc_deploy.rollout.standing import Standing

# A signed catalogue is asked for what is new so often.
_CATALOGUE_SECONDS = 600.0
_FILES = ("fleet.yml", "servers.yml", "mitigations.yml")
_FOLDERS = ("sites", "locks", "group_vars", "host_vars")
# Files with when and how long they were written last.
_State = frozenset[tuple[str, int, int]]


class CheckoutDiffersError(OwcError):
    """The documents here are not those that a rollout was started with."""

    reference = "checkout-differs"


class Checkout:
    """The fleet in a folder that somebody else keeps up to date, with `git pull` for example."""

    def __init__(self, root: Path, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self._tell = tell
        self._clock = clock
        self._reading = threading.Lock()
        self._fleet: tuple[_State, Fleet] | None = None
        self._catalogue: tuple[_State, float, Catalogue] | None = None

    def fleet(self) -> Fleet:
        """Return the documents as they are now.

        Raises DocumentsInvalidError.
        """
        paths = [self.root / name for name in _FILES]
        for name in _FOLDERS:
            paths += (self.root / name).rglob("*")
        state = frozenset(_states(paths))
        with self._reading:
            if self._fleet is None or self._fleet[0] != state:
                self._fleet = (state, load_fleet(self.root))
            return self._fleet[1]

    def catalogue(self, fleet: Fleet) -> Catalogue:
        """Return the catalogue of these documents.

        Raises CatalogueError.
        """
        state = frozenset(_states([fleet.settings.catalogue / CATALOGUE_FILE]))
        with self._reading:
            known = self._catalogue
            if known is None or known[0] != state or self._clock() > known[1] + _CATALOGUE_SECONDS:
                found = catalogue_at_hand(fleet.settings, last_verified_will_do=False)
                for note in found.notes:
                    self._tell(note)
                state = frozenset(_states([fleet.settings.catalogue / CATALOGUE_FILE]))
                known = self._catalogue = (state, self._clock(), found.catalogue)
            return known[2]


def moved(fleet: Fleet, standing: Standing) -> str:
    """Say which sites' documents are not those that their rollout was started with, `""` for none.

    Those that had their turn do not count.
    """
    names = [
        site.site
        for site in standing.rollout.sites
        if not standing.sites[site.site].is_settled and not is_as_started(fleet, site)
    ]
    if standing.state != "running" or not names:
        return ""
    named = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
    return f"the documents of {named} are not those it was started with any more"


def _states(paths: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield str(path), status.st_mtime_ns, status.st_size


def require_documents(
    fleet: Fleet, server: str, sites: Iterable[RolloutSite], *, exactly: bool
) -> None:
    """Raise CheckoutDiffersError unless this checkout will do for these sites of a server.

    With `exactly` their documents must be those that the rollout was started with.
    """
    differing = [site.site for site in sites if exactly and not is_as_started(fleet, site)]
    if server not in fleet.servers:
        what = f"it has no server {server}"
    elif differing:
        what = f"the manifest or lock of {', '.join(differing)} is another one"
    else:
        return
    raise CheckoutDiffersError(
        f"the fleet in {fleet.root} is not the one the rollout was started with: {what}",
        hint=f"git -C {fleet.root} pull, on every worker; or owc-deploy rollout start --supersede",
    )
