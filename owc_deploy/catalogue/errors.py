"""The errors that belong to the catalogue alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from owc_deploy.errors import CatalogueError, OwcError


class ArtefactRefusedError(CatalogueError):
    """An archive that was offered is not what it must be; nothing was added."""

    reference = "artefact-refused"


class NotThereError(ArtefactRefusedError):
    """An address answered, and not with a file; `status` is what it said."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(f"{url} answers {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a site cannot be locked, in words for the person who writes its manifest.

    `path` is the place in the manifest (`("blocks", "openwoo")`), `reference` a stable kebab name,
    `message` what is wrong, `suggestion` what to write instead.
    """

    path: tuple[str, ...]
    reference: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.suggestion}".rstrip()


class ResolutionError(OwcError):
    """A manifest asks for a set that the catalogue cannot give; every reason is in `refusals`.

    `places` says of each in which file and on which line to look, where that is known.
    """

    reference = "resolution"
    exit_code = 3

    def __init__(self, site: str, refusals: Iterable[Refusal], places: Sequence[str] = ()) -> None:
        self.site = site
        self.refusals = tuple(refusals)
        said = itertools.zip_longest(
            (f"{place}: " for place in places), self.refusals, fillvalue=""
        )
        reasons = "\n".join(f"  - {place}{refusal}" for place, refusal in said)
        super().__init__(
            f"the manifest of {site} cannot be resolved:\n{reasons}",
            hint=f"owc-deploy validate, after changing sites/{site}.yml",
        )
