"""Whatever claims do in whatever order, no name has two owners and no token comes back."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from owc_deploy.errors import LeaseHeldError
from owc_deploy.store import open_store
from owc_deploy.store.leases import EXPIRY_SECONDS, Claim

NAMES = st.lists(st.sampled_from(["site/a", "site/b", "site/c", "server/d"]), min_size=1)
WHO = st.integers(0, 2)


REASONS = ("apply", "rollout 1", "rollout 1")


class Claims(RuleBasedStateMachine):
    """Three claims on one store, one of which takes over; the model knows who should have what."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
        self.owners: dict[str, int] = {}
        self.renewed: dict[str, datetime] = {}
        self.highest: dict[str, int] = {}

    @initialize()
    def open(self) -> None:
        store = open_store(Path(self.folder.name) / "history.sqlite3", clock=lambda: self.now)
        self.claims: list[Claim] = [
            store.claim(reason=reason, take_over=number == 2, narrate=lambda _: None)
            for number, reason in enumerate(REASONS)
        ]

    def teardown(self) -> None:
        self.folder.cleanup()

    def is_free(self, who: int, name: str, *, partly: bool = False) -> bool:
        owner = self.owners.get(name)
        lapsed = self.now >= self.renewed.get(name, self.now) + timedelta(seconds=EXPIRY_SECONDS)
        # Bit by bit only what is left of the same work is taken over.
        takes_over = who == 2 and (not partly or owner is None or REASONS[owner] == REASONS[2])
        return owner is None or owner == who or lapsed or takes_over

    def note(self, who: int, taken: set[str]) -> None:
        for name in taken:
            kind, site = name.split("/")
            token = self.claims[who].fences(kind)[site].token
            assert token > self.highest.get(name, 0)
            self.highest[name] = token
            self.owners[name] = who
            self.renewed[name] = self.now

    def new_to(self, who: int, names: list[str]) -> set[str]:
        """Return the names that a claim does not believe to have; it cannot know better."""
        return set(names) - self.claims[who].held

    @rule(who=WHO, names=NAMES)
    def take(self, who: int, names: list[str]) -> None:
        wanted = self.new_to(who, names)
        held = {name for name in wanted if not self.is_free(who, name)}
        if held:
            with pytest.raises(LeaseHeldError) as caught:
                self.claims[who].take(names)
            assert {holder.name for holder in caught.value.held} == held
        else:
            self.claims[who].take(names)
            self.note(who, wanted)

    @rule(who=WHO, names=NAMES)
    def take_free(self, who: int, names: list[str]) -> None:
        wanted = self.new_to(who, names)
        held = {name for name in wanted if not self.is_free(who, name, partly=True)}
        assert {holder.name for holder in self.claims[who].take_free(names)} == held
        self.note(who, wanted - held)

    @rule(who=WHO, names=NAMES)
    def give(self, who: int, names: list[str]) -> None:
        self.claims[who].give(*names)
        for name in names:
            if self.owners.get(name) == who:
                del self.owners[name]

    @rule(who=WHO)
    def renew(self, who: int) -> None:
        owned = {name for name, owner in self.owners.items() if owner == who}
        all_held = self.claims[who].renew()
        assert self.claims[who].held == owned
        assert all_held == (not self.claims[who].lost)
        self.renewed.update(dict.fromkeys(owned, self.now))

    @rule(seconds=st.sampled_from([1, 30, 89, 91]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def an_owner_knows_what_it_has(self) -> None:
        for name, owner in self.owners.items():
            assert name in self.claims[owner].held


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
