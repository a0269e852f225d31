"""Why a signed catalogue cannot be used, or cannot be changed as was asked."""

from __future__ import annotations

from owc_deploy.errors import CatalogueError


class CatalogueUntrustedError(CatalogueError):
    """What the source hands out is not what those entitled to it signed."""

    reference = "catalogue-untrusted"


class CatalogueStaleError(CatalogueError):
    """What the source hands out was signed, and its time has run out."""

    reference = "catalogue-stale"


class CatalogueUnreachableError(CatalogueError):
    """The source does not answer, or is not there."""

    reference = "catalogue-unreachable"


class KeyUnusableError(CatalogueError):
    """A key cannot be read, opened or used."""

    reference = "key-unusable"


class ProposalRefusedError(CatalogueError):
    """A proposal is not what it must be; nothing was signed or published."""

    reference = "proposal-refused"
