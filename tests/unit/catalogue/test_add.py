"""Adding releases: what is compared, what is refused, and that nothing is lost or half done."""

import hashlib
import http.server
import json
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.catalogue.archives import PLUGIN, plugin_folder, plugin_zip, zip_of

from owc_deploy.catalogue.add import AddRequest, add_release
from owc_deploy.catalogue.errors import ArtefactRefusedError
from owc_deploy.catalogue.models import Advisory, Requirement
from owc_deploy.catalogue.read import read_catalogue, sha256_of_file, verify_artefact
from owc_deploy.errors import CatalogueError


def request(archive: Path | str, **details: Any) -> AddRequest:
    return AddRequest(**{"archive": archive, "name": "cmb2", "kind": "plugin", **details})


def leftovers(catalogue: Path) -> list[str]:
    return sorted(
        str(path.relative_to(catalogue))
        for path in catalogue.rglob("*")
        if path.is_file() and path.name not in {".lock", "catalogue.json"}
    )


def test_a_zip_is_listed_with_what_its_header_says(tmp_path: Path) -> None:
    archive = plugin_zip(tmp_path / "a.zip")
    catalogue = tmp_path / "catalogue"
    requires = (Requirement(any_of=("meta-box",), version=">=4"),)
    result = add_release(catalogue, request(archive, requires=requires, php=">=8.1"))
    assert result.changed
    assert (result.version, result.header_version) == ("2.11.0", "2.11.0")
    assert result.sha256 == sha256_of_file(archive) == sha256_of_file(result.artefact)
    block = read_catalogue(catalogue).blocks["cmb2"]
    assert (block.kind, block.folder, block.main_file) == ("plugin", "cmb2", "cmb2.php")
    assert block.releases[0].requires == requires
    assert block.releases[0].php == ">=8.1"
    assert leftovers(catalogue) == [f"artefacts/{result.sha256}.zip"]
    verify_artefact(result.artefact, result.sha256)


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "source")
    catalogue = tmp_path / "catalogue"
    first = add_release(catalogue, request(folder, provides=("f",)))
    before = (catalogue / "catalogue.json").stat()
    again = add_release(catalogue, request(folder, provides=("f",)))
    less = add_release(catalogue, request(folder))
    assert first.changed
    assert not again.changed
    assert not less.changed
    assert (catalogue / "catalogue.json").stat().st_mtime_ns == before.st_mtime_ns
    assert read_catalogue(catalogue).blocks["cmb2"].releases[0].provides == ("f",)


def test_an_artefact_that_went_missing_comes_back(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "source")
    catalogue = tmp_path / "catalogue"
    add_release(catalogue, request(folder)).artefact.unlink()
    again = add_release(catalogue, request(folder))
    assert again.changed
    assert sha256_of_file(again.artefact) == again.sha256


def test_a_release_never_changes(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "source")
    catalogue = tmp_path / "catalogue"
    add_release(catalogue, request(folder))
    (folder / "more.php").write_text("<?php")
    before = (catalogue / "catalogue.json").read_bytes()
    with pytest.raises(CatalogueError, match="a release never changes"):
        add_release(catalogue, request(folder))
    assert (catalogue / "catalogue.json").read_bytes() == before
    assert len(leftovers(catalogue)) == 1


def test_details_change_only_when_that_is_meant(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "source")
    catalogue = tmp_path / "catalogue"
    add_release(catalogue, request(folder, php=">=7.4"))
    with pytest.raises(CatalogueError, match="other details: php, withdrawn"):
        add_release(catalogue, request(folder, php=">=8.1", withdrawn="leaks"))
    add_release(catalogue, request(folder, php=">=8.1", withdrawn="leaks", correct=True))
    release = read_catalogue(catalogue).blocks["cmb2"].releases[0]
    assert (release.php, release.withdrawn) == (">=8.1", "leaks")


def test_releases_stand_newest_first_and_block_details_last(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    for version in ("2.9.0", "2.11.0", "2.10.1"):
        add_release(catalogue, request(plugin_zip(tmp_path / f"{version}.zip", version=version)))
    advisory = Advisory("CVE-2026-1", "<2.10", "high", "leaks")
    archive = plugin_zip(tmp_path / "new.zip", version="2.12.0")
    add_release(catalogue, request(archive, licence="GPL-3.0", advisories=(advisory,), paid=True))
    block = read_catalogue(catalogue).blocks["cmb2"]
    assert [release.version for release in block.releases] == [
        "2.12.0",
        "2.11.0",
        "2.10.1",
        "2.9.0",
    ]
    assert (block.licence, block.paid, block.advisories) == ("GPL-3.0", True, (advisory,))


@pytest.mark.parametrize(
    ("claimed", "listed"),
    [
        ({}, ("2.11.0", "2.11.0")),
        ({"version": "2.11.0"}, ("2.11.0", "2.11.0")),
        ({"version": "v2.11"}, ("v2.11", "2.11.0")),
        ({"version": "2.11.1", "header_version": "2.11.0"}, ("2.11.1", "2.11.0")),
        ({"version": "2.11.1"}, "is offered as 2.11.1, and its header says 2.11.0"),
        ({"version": "2.11.1", "header_version": "2.11.1"}, "its header says 2.11.0"),
        ({"version": "2.11.0", "header_version": ""}, "its header says 2.11.0"),
        ({"version": "newest"}, "is not a version"),
        ({"php": "dev-master"}, "names a branch"),
        ({"updates_from": "dev-master"}, "names a branch"),
        ({"folder": "cmb"}, "must be cmb"),
        ({"main_file": "init.php"}, "init.php is not in the archive"),
        ({"name": "wp-cli", "kind": "core"}, "listed as wordpress"),
        ({"kind": "theme"}, "style.css is not in the archive"),
        ({"sha256": "0" * 64}, "another file than was named"),
    ],
)
def test_claims_are_compared(tmp_path: Path, claimed: dict[str, Any], listed: Any) -> None:
    archive = plugin_zip(tmp_path / "a.zip")
    catalogue = tmp_path / "catalogue"
    if isinstance(listed, tuple):
        result = add_release(catalogue, request(archive, **claimed))
        assert (result.version, result.header_version) == listed
        return
    with pytest.raises(CatalogueError, match=listed):
        add_release(catalogue, request(archive, **claimed))
    assert not (catalogue / "catalogue.json").exists()
    assert leftovers(catalogue) == []


def test_a_header_without_a_version_must_be_said(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"cmb2/a.php": "<?php /* Plugin Name: X */"})
    with pytest.raises(CatalogueError, match="states no version"):
        add_release(tmp_path / "c", request(archive))
    with pytest.raises(ArtefactRefusedError, match="its header says no version"):
        add_release(tmp_path / "c", request(archive, version="1.0"))
    result = add_release(tmp_path / "c", request(archive, version="1.0", header_version=""))
    assert (result.version, result.header_version) == ("1.0", "")


KINDS = [
    (
        "wordpress",
        "core",
        {"wordpress/wp-includes/version.php": "<?php\n$wp_version = '7.1.1';\n"},
        "7.1.1",
    ),
    ("wordpress", "core", {"wp/wp-includes/version.php": ""}, "must be wordpress"),
    ("wordpress", "core", {"wordpress/index.php": ""}, "version.php is not in"),
    ("language-nl_NL", "language", {"languages/nl_NL.mo": "x"}, "7.1.1"),
    ("language-nl_NL", "language", {"languages/readme.txt": "x"}, "holds no language files"),
    ("nl_NL", "language", {"languages/nl_NL.mo": "x"}, "language-LOCALE"),
    ("wp-cli", "tool", {"wp-cli/wp-cli.phar": "x"}, "7.1.1"),
    ("wp-cli", "tool", {"wp-cli/other": "x"}, "wp-cli.phar is not in"),
    ("thema", "theme", {"thema/style.css": "/*\nTheme Name: T\nVersion: 7.1.1\n*/"}, "7.1.1"),
    ("thema", "theme", {"thema/style.css": "/* Version: 7.1.1 */"}, "no `Theme Name:` header"),
    ("must", "mu-plugin", {"must/must.php": PLUGIN.format(name="M", version="7.1.1")}, "7.1.1"),
    ("two", "plugin", {"two/a.php": PLUGIN, "two/b.php": PLUGIN}, "a.php, b.php have one"),
    ("none", "plugin", {"none/a.php": "<?php"}, "none has one"),
    (
        "leges",
        "plugin",
        {"leges/l.php": PLUGIN, "leges/wp-content/plugins/pdc-base/p.php": PLUGIN},
        "carries copies of other blocks",
    ),
]


@pytest.mark.parametrize(("name", "kind", "members", "outcome"), KINDS)
def test_kinds(tmp_path: Path, name: str, kind: Any, members: Any, outcome: str) -> None:
    archive = zip_of(tmp_path / "a.zip", members)
    asked = AddRequest(archive=archive, name=name, kind=kind, version="7.1.1")
    if outcome == "7.1.1":
        assert add_release(tmp_path / "c", asked).version == "7.1.1"
        return
    with pytest.raises(CatalogueError, match=outcome):
        add_release(tmp_path / "c", asked)


def test_what_other_blocks_rely_on_stays(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    add_release(catalogue, request(plugin_zip(tmp_path / "a.zip")))
    renamed = zip_of(tmp_path / "b.zip", {"cmb2/other.php": PLUGIN.format(name="x", version="3.0")})
    with pytest.raises(CatalogueError, match=r"main file cmb2\.php; this one has other\.php"):
        add_release(catalogue, request(renamed))
    with pytest.raises(CatalogueError, match="the folder cmb2 is that of cmb2"):
        add_release(catalogue, request(plugin_zip(tmp_path / "c.zip"), name="cmb2-copy"))


PDF = {"name": "pdf", "kind": "plugin"}


def pdf_zip(path: Path, folder: str, version: str, main_file: str = "pdf.php") -> Path:
    return zip_of(path, {f"{folder}/{main_file}": PLUGIN.format(name="PDF", version=version)})


def test_a_renamed_plugin_is_the_same_block_where_that_is_said(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    old = pdf_zip(tmp_path / "a.zip", "pdf-extended", "6.12")
    new = pdf_zip(tmp_path / "b.zip", "pdf", "6.13", "main.php")
    add_release(catalogue, request(old, **PDF))
    with pytest.raises(CatalogueError, match="with folder pdf-extended; this one has pdf") as said:
        add_release(catalogue, request(new, **PDF))
    assert said.value.hint is not None
    assert said.value.hint.endswith("say so: --folder-name pdf")
    with pytest.raises(CatalogueError, match=r"with main file pdf\.php; this one has main\.php"):
        add_release(catalogue, request(new, folder="pdf", **PDF))
    renamed = request(new, folder="pdf", main_file="main.php", **PDF)
    assert add_release(catalogue, renamed).changed
    assert not add_release(catalogue, renamed).changed
    assert not add_release(catalogue, request(new, **PDF)).changed
    block = read_catalogue(catalogue).blocks["pdf"]
    assert [block.place_of(release) for release in block.releases] == [
        ("pdf", "main.php"),
        ("pdf-extended", "pdf.php"),
    ]
    assert (block.releases[0].folder, block.releases[1].folder) == ("pdf", "")


def test_a_folder_that_another_block_ever_had_stays_its_own(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    add_release(catalogue, request(pdf_zip(tmp_path / "a.zip", "pdf-extended", "6.12"), **PDF))
    new = pdf_zip(tmp_path / "b.zip", "pdf", "6.13")
    add_release(catalogue, request(new, folder="pdf", **PDF))
    for folder in ("pdf", "pdf-extended"):
        other = pdf_zip(tmp_path / f"{folder}.zip", folder, "1.0")
        with pytest.raises(CatalogueError, match=f"the folder {folder} is that of pdf"):
            add_release(catalogue, request(other, name="copy", folder=folder))
    add_release(catalogue, request(plugin_zip(tmp_path / "c.zip")))
    taken = zip_of(tmp_path / "d.zip", {"cmb2/pdf.php": PLUGIN.format(name="PDF", version="7")})
    with pytest.raises(CatalogueError, match="the folder cmb2 is that of cmb2"):
        add_release(catalogue, request(taken, folder="cmb2", **PDF))


def test_a_theme_keeps_its_folder(tmp_path: Path) -> None:
    style = "/*\nTheme Name: T\nVersion: {}\n*/"
    catalogue = tmp_path / "catalogue"
    first = zip_of(tmp_path / "a.zip", {"thema/style.css": style.format("1.0")})
    add_release(catalogue, AddRequest(archive=first, name="thema", kind="theme"))
    second = zip_of(tmp_path / "b.zip", {"nieuw/style.css": style.format("2.0")})
    with pytest.raises(CatalogueError, match="with folder thema; this one has nieuw"):
        add_release(
            catalogue, AddRequest(archive=second, name="thema", kind="theme", folder="nieuw")
        )


@pytest.mark.parametrize("between", ["\n", " "], ids=["as published", "minified"])
def test_the_database_version_of_wordpress_is_read_and_added_later(
    tmp_path: Path, between: str
) -> None:
    text = f"<?php\n$wp_version = '7.1.1';{between}$wp_db_version = 60717;\n"
    archive = zip_of(tmp_path / "a.zip", {"wordpress/wp-includes/version.php": text})
    asked = AddRequest(archive=archive, name="wordpress", kind="core")
    add_release(tmp_path, asked)
    assert read_catalogue(tmp_path).blocks["wordpress"].releases[0].database_version == 60717
    file = tmp_path / "catalogue.json"
    document = json.loads(file.read_text())
    del document["blocks"]["wordpress"]["releases"][0]["database_version"]
    file.write_text(json.dumps(document))
    assert add_release(tmp_path, asked).changed
    assert read_catalogue(tmp_path).blocks["wordpress"].releases[0].database_version == 60717


def _add_one(catalogue: Path, folder: Path, number: int) -> None:
    archive = plugin_zip(folder / f"{number}.zip", version=f"1.{number}")
    add_release(catalogue, request(archive))


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_add_one, args=(catalogue, tmp_path, number)) for number in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert len(read_catalogue(catalogue).blocks["cmb2"].releases) == 8
    assert len(leftovers(catalogue)) == 8


def test_an_address_needs_a_hash_and_https(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="with its hash"):
        add_release(tmp_path, request("https://blocks.example/a.zip"))
    for address in ("http://blocks.example/a.zip", "ftp://blocks.example/a", "https://u:p@x/a"):
        with pytest.raises(ArtefactRefusedError, match="not an https address"):
            add_release(tmp_path, request(address, sha256="0" * 64))


class _Handler(http.server.BaseHTTPRequestHandler):
    archive = b""

    def do_GET(self) -> None:
        steps = {"/loop": "/loop", "/away": "http://192.0.2.1/a.zip", "/once": "/a.zip"}
        if self.path in steps:
            self.send_response(302)
            self.send_header("Location", steps[self.path])
            self.end_headers()
        elif self.path == "/a.zip":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.archive)
        else:
            self.send_response(404)
            self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    _Handler.archive = plugin_zip(tmp_path / "served.zip").read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_downloads(tmp_path: Path, server: str) -> None:
    sha256 = hashlib.sha256(_Handler.archive).hexdigest()
    catalogue = tmp_path / "catalogue"
    for path, said in (
        ("/missing", "answers 404"),
        ("/loop", "redirects more than"),
        ("/away", "not an https address"),
    ):
        with pytest.raises(ArtefactRefusedError, match=said):
            add_release(catalogue, request(server + path, sha256=sha256))
    with pytest.raises(ArtefactRefusedError, match="another file than was named"):
        add_release(catalogue, request(f"{server}/a.zip", sha256="0" * 64))
    assert leftovers(catalogue) == []
    assert add_release(catalogue, request(f"{server}/once", sha256=sha256)).sha256 == sha256


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtefactRefusedError, match="cannot be fetched"):
        add_release(tmp_path, request("http://127.0.0.1:1/a.zip", sha256="0" * 64))


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="neither a zip nor a folder"):
        add_release(tmp_path, request(tmp_path / "nothing.zip"))


def test_damage_is_found(tmp_path: Path) -> None:
    result = add_release(tmp_path, request(plugin_zip(tmp_path / "a.zip")))
    result.artefact.write_bytes(b"damaged")
    with pytest.raises(CatalogueError, match="is damaged"):
        verify_artefact(result.artefact, result.sha256)
    result.artefact.unlink()
    with pytest.raises(CatalogueError, match="is missing"):
        verify_artefact(result.artefact, result.sha256)
