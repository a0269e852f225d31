from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from owc_deploy.errors import CatalogueError
from owc_deploy.execution.artefacts import packed

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    (tmp_path / "artefacts").mkdir()
    for sha256 in (ONE, TWO):
        (tmp_path / "artefacts" / f"{sha256}.zip").write_bytes(sha256.encode() * 100)
    return tmp_path


def test_servers_that_lack_the_same_share_one_tar(catalogue: Path) -> None:
    wanted = {"web1": (TWO, ONE), "web2": (ONE, TWO, ONE), "web3": (), "web4": (TWO,)}
    with packed(catalogue, wanted) as tars:
        assert tars["web1"] == tars["web2"] != tars["web4"]
        assert tars["web3"] is None
        path = tars["web1"]
        assert path is not None
        with tarfile.open(path, "r:") as archive:
            assert archive.getnames() == [f"{ONE}.zip", f"{TWO}.zip"]
            member = archive.extractfile(f"{TWO}.zip")
            assert member is not None
            assert member.read() == TWO.encode() * 100
    assert not path.exists()


def test_an_artefact_the_catalogue_lacks_is_an_error_that_leaves_nothing(
    catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with (
        pytest.raises(CatalogueError, match="no artefact 333"),
        packed(catalogue, {"web1": (ONE, "3" * 64)}),
    ):
        pass
    assert list(temporary.iterdir()) == []
