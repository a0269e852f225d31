"""Documents that somebody changes while a rollout waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from fakes.province import SERVERS, SITES, Province
from fakes.served_fleet import SlowFleet

from owc_deploy.cli.rollout_walk import EmbeddedEngine
from owc_deploy.errors import DocumentsInvalidError
from owc_deploy.rollout.checkout import CheckoutDiffersError
from owc_deploy.rollout.journal import read

OLD = "1.0.0"


@pytest.fixture
def province(tmp_path: Path) -> Province:
    return Province(tmp_path / "fleet", "waiting", SlowFleet(SERVERS, 0.0), sites=SITES[:8])


def walked(
    province: Province, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
) -> list[datetime]:
    """Walk a rollout whose rings soak; `meanwhile` happens in the first wait. Return the waits."""
    present = [datetime.now(UTC)]
    waits: list[datetime] = []

    def sleep_until(_clock: object, moment: datetime) -> None:
        if not waits:
            meanwhile()
        waits.append(moment)
        present[0] = max(present[0], moment) + timedelta(hours=1)

    monkeypatch.setattr("owc_deploy.cli.rollout_walk.now", lambda: present[0])
    monkeypatch.setattr("owc_deploy.cli.rollout_walk.SystemClock.sleep_until", sleep_until)
    store = province.open_store()
    made = province.begin(store, soak_seconds=600)
    session = province.session
    try:
        EmbeddedEngine(store).walk(session, made.rollout_id, patience=None, take_over=False)
    finally:
        assert not store.holder(f"rollout/{made.rollout_id}")
        assert not read(store, made.rollout_id).is_under_way
    return waits


def rewrite(path: Path, **changes: object) -> None:
    document = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump({**document, **changes}, sort_keys=False), "utf-8")


def test_freeze_days_that_are_added_count(
    province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    frozen = {
        "from_date": today,
        "until_date": today + timedelta(days=3),
        "reason": "elections",
    }
    fleet_yml = province.root / "fleet.yml"
    before = datetime.now(UTC)
    waits = walked(province, monkeypatch, lambda: rewrite(fleet_yml, freeze_days=[frozen]))
    assert waits[-1] > before + timedelta(days=2)
    assert set(province.live().values()) == {"2.0.0"}


def test_a_site_that_is_to_be_another_one_stops_it(
    province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = province.sites[-1]
    manifest = province.root / "sites" / f"{site}.yml"
    with pytest.raises(CheckoutDiffersError, match=f"the documents of {site} are not those") as it:
        walked(province, monkeypatch, lambda: rewrite(manifest, locale="nl_BE"))
    assert "--supersede" in it.value.hint
    assert province.live()[site] == OLD


def test_a_fleet_that_is_not_valid_any_more_stops_it(
    province: Province, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet_yml = province.root / "fleet.yml"
    with pytest.raises(DocumentsInvalidError):
        walked(province, monkeypatch, lambda: rewrite(fleet_yml, rings="none"))
    assert "mend this, and then: owc-deploy rollout resume 2" in capsys.readouterr().err
    assert OLD in province.live().values()
