"""What the steps of an engine that does several things at once cost, counted as in `test_scale`."""

from __future__ import annotations

from dataclasses import replace

from fakes.walking import FakeClock, MemoryJournal
from unit.rollout.examples import ALWAYS, done
from unit.rollout.test_scale import SIZES, Counting, assert_linear, many_sites

from owc_deploy.rollout.models import NewEvent, Stand, Wait
from owc_deploy.rollout.standing import Standing
from owc_deploy.rollout.steps import Batch, EnterRing, Note, Work, next_step
from owc_deploy.rollout.walk import noted


def stepped_over(number: int) -> int:
    """Return how often the standing of a site is looked at until a rollout ends.

    Several batches are under way at once, and one ends after another. Every ring is soaked;
    nothing waits for a window.
    """
    made = many_sites(number)
    rings = tuple(replace(each, soak_seconds=60) for each in made.rings)
    standing = Standing(replace(made, rings=rings))
    places = {each.site: each for each in made.sites}
    standing.sites = Counting(standing.sites)
    clock = FakeClock()
    journal = MemoryJournal(clock)
    in_flight: list[Batch] = []
    walked = ""
    while True:
        standing.learn(journal.events(after=standing.number))
        names = {
            doing: frozenset(
                name for batch in in_flight if batch.doing == doing for name in batch.sites
            )
            for doing in ("change", "undo", "check")
        }
        standing.take_as_under_way(
            changing=names["change"], undoing=names["undo"], checking=names["check"]
        )
        step = next_step(standing, ALWAYS, clock.now(), walked)
        match step:
            case Note(decision):
                journal.append(*noted(decision))
                continue
            case EnterRing(walked):
                continue
            case Work(batches):
                in_flight += batches
                continue
            case Stand():
                assert step.state == "done"
                return standing.sites.count
            case Wait(until) if not in_flight:
                clock.sleep_until(until)
        if not in_flight:
            walked = ""
            continue
        batch = in_flight.pop(0)
        if batch.doing == "check":
            body = {"ring": batch.ring, "sites": list(batch.sites), "problems": {}}
            journal.append(NewEvent("ring-checked", body=body))
        else:
            journal.append(*done(*(places[name] for name in batch.sites)))


def test_steps_look_at_the_sites_they_are_about() -> None:
    counts = [stepped_over(number) for number in SIZES]
    assert_linear(counts)
    assert counts[-1] < 60 * SIZES[-1], counts
