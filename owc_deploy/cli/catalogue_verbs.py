"""`owc-deploy catalogue` with all its verbs, which are in files of their own."""

from __future__ import annotations

from owc_deploy.cli import catalogue_trust
from owc_deploy.cli.catalogue import command

__all__ = ["catalogue_trust", "command"]
