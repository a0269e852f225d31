"""A worker's own checkout: read again when its files change, refused when it is another one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from unit.catalogue.catalogues import block, catalogue
from unit.fleet.fleet_folder import manifest, other_site, write_fleet

from owc_deploy.catalogue.document import render_catalogue
from owc_deploy.errors import CatalogueError, DocumentsInvalidError
from owc_deploy.rollout.checkout import Checkout, CheckoutDiffersError, require_documents
from owc_deploy.rollout.rings import rollout_rings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_fleet(tmp_path)


def test_documents_are_read_once_until_they_change(root: Path) -> None:
    checkout = Checkout(root, print)
    first = checkout.fleet()
    assert checkout.fleet() is first
    (root / "sites" / "heusden.yml").write_text(other_site("heusden"))
    assert sorted(checkout.fleet().manifests) == ["heusden", "voorbeeld"]
    (root / "sites" / "heusden.yml").unlink()
    assert sorted(checkout.fleet().manifests) == ["voorbeeld"]
    (root / "group_vars").mkdir()
    (root / "group_vars" / "web.yml").write_text("owc_place: delft\n")
    assert checkout.fleet().servers["web1"].place == "delft"


def test_a_file_of_the_same_length_is_seen_to_be_another(root: Path) -> None:
    checkout = Checkout(root, print)
    path = root / "sites" / "voorbeeld.yml"
    before = path.stat()
    checkout.fleet()
    path.write_text(path.read_text().replace("canary", "everyo"[:6]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(DocumentsInvalidError):
        checkout.fleet()


def test_what_is_invalid_is_asked_about_again(root: Path) -> None:
    checkout = Checkout(root, print)
    (root / "sites" / "voorbeeld.yml").write_text(manifest(ring="ring: nowhere"))
    with pytest.raises(DocumentsInvalidError):
        checkout.fleet()
    (root / "sites" / "voorbeeld.yml").write_text(manifest())
    assert checkout.fleet().manifests


def test_the_catalogue_is_read_again_when_it_changes_and_after_a_while(root: Path) -> None:
    now = [0.0]
    checkout = Checkout(root, print, clock=lambda: now[0])
    fleet = checkout.fleet()
    with pytest.raises(CatalogueError):
        checkout.catalogue(fleet)
    (root / "catalogue").mkdir()
    file = root / "catalogue" / "catalogue.json"

    def offer(*versions: str) -> None:
        offered = catalogue(block("news", *versions)).blocks.values()
        file.write_bytes(render_catalogue(offered))

    offer("1.0.0")
    first = checkout.catalogue(fleet)
    assert checkout.catalogue(fleet) is first
    offer("1.0.0", "2.0.0")
    second = checkout.catalogue(fleet)
    assert len(second.blocks["news"].releases) == 2
    now[0] = 601.0
    assert checkout.catalogue(fleet) is not second


def test_another_checkout_than_the_rollouts_is_refused_in_words(root: Path) -> None:
    fleet = Checkout(root, print).fleet()
    (ring,) = rollout_rings(fleet, ["voorbeeld"])
    require_documents(fleet, "web1", ring.sites, exactly=True)
    behind = [replace(site, documents_sha256="other") for site in ring.sites]
    with pytest.raises(CheckoutDiffersError, match="manifest or lock of voorbeeld") as caught:
        require_documents(fleet, "web1", behind, exactly=True)
    assert "git -C" in str(caught.value.hint)
    # What brings a site back needs no documents but those of its server.
    require_documents(fleet, "web1", behind, exactly=False)
    with pytest.raises(CheckoutDiffersError, match="no server web9"):
        require_documents(fleet, "web9", behind, exactly=False)
    gone = [replace(site, site="gone") for site in ring.sites]
    with pytest.raises(CheckoutDiffersError, match="of gone"):
        require_documents(fleet, "web1", gone, exactly=True)
