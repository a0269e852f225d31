"""What `rollout start` is asked for, and the locks that brings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from owc_deploy.catalogue.relock import relock
from owc_deploy.cli.session import Session
from owc_deploy.cli.update import narrate_relocked
from owc_deploy.cli.view import narrate
from owc_deploy.errors import LockRefusedError, UsageError
from owc_deploy.fleet.models import Lock
from owc_deploy.plan.document import plan_from_text
from owc_deploy.rollout import aims
from owc_deploy.rollout.aims import Aim
from owc_deploy.rollout.apply import RELEASING, check_plan
from owc_deploy.store import Store


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    block: str | None = None
    version: str = "*"
    withdrawn: str | None = None
    advisory: str | None = None
    plan_file: Path | None = None

    def check(self, sites: tuple[str, ...]) -> None:
        """Raise UsageError for what cannot be meant, or not together.

        An empty word is what a CI variable that is not set leaves: it must not mean everything.
        """
        given = [self.block, self.withdrawn, self.advisory, self.plan_file]
        if sum(each is not None for each in given) > 1:
            raise UsageError("give one of --block, --withdrawn, --advisory and --plan")
        if "" in given:
            raise UsageError(
                "--block, --withdrawn and --advisory want a name, not an empty word",
                hint="leave the option out for whatever manifests and locks say",
            )
        if self.version != "*" and not self.block:
            raise UsageError("--version says which releases of --block", hint="add --block NAME")
        if self.plan_file is not None and sites:
            raise UsageError("a saved plan names its sites itself")


def aim_of(session: Session, store: Store, wish: Wish, named: frozenset[str]) -> Aim:
    """Return what a wish comes to for the named sites, or for all.

    Raises UsageError for one that comes to nothing.
    """
    fleet, catalogue = session.fleet, session.catalogue
    if wish.plan_file is not None:
        plan = plan_from_text(wish.plan_file.read_bytes())
        check_plan(fleet, catalogue, plan)
        sites = frozenset(site.site for site in plan.sites if site.action in RELEASING)
        if not sites:
            # No names at all would mean every site.
            raise UsageError(
                f"the plan {plan.plan_id[:12]} releases nothing on any site",
                hint="owc-deploy plan --out FILE",
            )
        return Aim(f"the plan {plan.plan_id[:12]}", sites, catalogue, seen=plan.bound_to)
    if wish.block:
        return aims.to_block(fleet, catalogue, named, wish.block, wish.version)
    if wish.withdrawn:
        return aims.off_withdrawn(fleet, catalogue, named, wish.withdrawn)
    if wish.advisory:
        return aims.off_advisory(fleet, catalogue, named, wish.advisory, store.findings.all())
    return aims.to_locks(fleet, catalogue, named)


def relocked(
    session: Session, aim: Aim, *, skip_refused: bool
) -> tuple[Session, Aim, tuple[Lock, ...]]:
    """Return the session as if the locks were renewed, without those refused, and the new locks.

    Raises LockRefusedError when a lock was refused and that is not to be passed over.
    """
    if not aim.blocks:
        return session, aim, ()
    results = relock(session.fleet, aim.catalogue, sorted(aim.sites), only=aim.blocks)
    for result in results:
        narrate_relocked(result)
    refused = frozenset(result.site for result in results if result.lock is None)
    older = {result.site: aim.going_back(result.changes) for result in results}
    for site, changes in older.items():
        for change in changes:
            narrate(f"{site}: {change.name} would go back; it stays at {change.before}")
    refused |= {site for site, changes in older.items() if changes}
    if refused and (not skip_refused or refused == aim.sites):
        raise LockRefusedError(
            f"{len(refused)} of {len(aim.sites)} locks were refused: {', '.join(sorted(refused))}",
            context="nothing was changed",
            hint="change these manifests, or the same command with --skip-refused",
        )
    results = tuple(result for result in results if result.site not in refused)
    locks = {result.site: result.lock for result in results if result.lock is not None}
    fleet = replace(session.fleet, locks={**session.fleet.locks, **locks})
    renewed = tuple(
        result.lock for result in results if result.lock is not None and not result.is_written
    )
    return replace(session, fleet=fleet), replace(aim, sites=aim.sites - refused), renewed
