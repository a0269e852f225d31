"""Harm at every step of a change: what is left is the site as it was, or as it was confirmed."""

from __future__ import annotations

import pytest
from e2e.faults.changing import Change
from e2e.faults.harms import boot, cut_off, cut_the_power, filled, shut_down
from e2e.faults.street import COMMIT, UNCONFIRMED_SECONDS, Street, outcomes, watched
from e2e.faults.wishes import COMMITTED, STEPS

pytestmark = pytest.mark.lab


def test_a_transaction_killed_at_any_step_is_undone_at_once(street: Street) -> None:
    with watched(street, list(STEPS)) as wrong, Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        change.kill()
        told = outcomes(change.process)
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED], told=told) == []
        assert wrong() == []


def test_without_its_controller_a_change_at_any_step_is_undone(street: Street) -> None:
    with (
        watched(street, list(STEPS)) as wrong,
        Change(street, STEPS, confirmation_seconds=UNCONFIRMED_SECONDS) as change,
    ):
        change.wait_until_all_stand_still()
        change.kill_controller()
        change.let_go()
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED]) == []
        assert wrong() == []


def test_cut_off_from_its_controller_a_change_at_any_step_is_undone(street: Street) -> None:
    # Nobody is told of the last moment before the cut either, so that point is left out.
    points = {site: point for site, point in STEPS.items() if point != COMMIT}
    with Change(street, points, confirmation_seconds=UNCONFIRMED_SECONDS) as change:
        change.wait_until_all_stand_still()
        with cut_off(street.address):
            change.let_go()
            street.wait_until_over()
        told = outcomes(change.process)
        assert change.problems(told=told) == []


def test_a_database_killed_at_any_step_costs_nothing(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        street.inside("pkill", "-KILL", "mariadbd")
        change.let_go()
        told = outcomes(change.process)
        street.wait_until_over()
        assert change.problems(may_be_new=STEPS, must_be_new=[COMMITTED], told=told) == []


def test_a_full_disk_at_any_step_is_survived(street: Street) -> None:
    with watched(street, list(STEPS)) as wrong, Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        with filled(street.disk):
            change.let_go()
            told = outcomes(change.process)
            street.wait_until_over()
            assert wrong() == []
        street.wait_until_recovered()
        late = {site for site in STEPS if "undo incomplete" in told[site]["message"]}
        told = {site: outcome for site, outcome in told.items() if site not in late}
        assert change.problems(may_be_new=STEPS, must_be_new=[COMMITTED], told=told) == []


def test_a_power_cut_at_any_step_is_undone_at_boot(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        change.kill_controller()
        cut_the_power(street)
        boot(street.disk)
        street.wait_until_recovered()
        street.wait_until_over()
        assert change.problems(must_be_new=[COMMITTED]) == []


def test_a_server_that_goes_down_in_order_undoes_every_step_first(street: Street) -> None:
    with Change(street, STEPS) as change:
        change.wait_until_all_stand_still()
        change.kill_controller()
        shut_down(street)
        boot(street.disk)
        street.wait_until_recovered()
        assert change.problems(must_be_new=[COMMITTED]) == []
