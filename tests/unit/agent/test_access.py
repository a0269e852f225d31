from __future__ import annotations

from pathlib import Path

import pytest

from owc_agent import access, layout, wordpress

RELEASE = "20261123T182200Z-1a2b3c4d"


@pytest.mark.parametrize("decommissioned", [False, True])
def test_a_site_that_is_not_live_gives_no_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decommissioned: bool
) -> None:
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    if decommissioned:
        paths = layout.SitePaths("voorbeeld")
        Path(paths.release(RELEASE)).mkdir(parents=True)
        Path(paths.current).symlink_to(f"releases/{RELEASE}")
        Path(paths.decommissioned).touch()
    with pytest.raises(wordpress.WordPressError, match="voorbeeld is not live"):
        access.access_link("voorbeeld", "beheer")
