from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from owc_agent import commands, layout, secret_files, services

RELEASE = "20261123T182200Z-1a2b3c4d"
NO_PASSWORD = serialization.NoEncryption()


def make_pair(
    encryption: serialization.KeySerializationEncryption = NO_PASSWORD,
) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.voorbeeld.example")])
    start = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, form, encryption).decode(),
    )


def items(site: str, chain: str, key: str) -> list[dict[str, Any]]:
    return [
        {"site": site, "path": secret_files.CHAIN, "content": chain},
        {"site": site, "path": secret_files.KEY, "content": key},
    ]


def contents(site: str) -> dict[str, str]:
    """Return every file of a site's tls folder."""
    return {path.name: path.read_text() for path in Path(layout.SitePaths(site).tls).iterdir()}


def make_live(site: str) -> None:
    paths = layout.SitePaths(site)
    Path(paths.releases).mkdir(parents=True)
    Path(paths.current).symlink_to(f"releases/{RELEASE}")


def refuse() -> None:
    raise commands.CommandError("nginx failed with code 1: [emerg] no")


@pytest.fixture(autouse=True)
def reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    done: list[None] = []
    monkeypatch.setattr(layout, "SITES", str(tmp_path))
    monkeypatch.setattr(services, "reload_nginx", lambda: done.append(None))
    return done


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(services, "reload_nginx", refuse)


def test_a_pair_is_placed_for_root_alone_and_only_when_it_is_another(reloads: list[None]) -> None:
    make_live("voorbeeld")
    chain, key = make_pair()
    assert secret_files.place(items("voorbeeld", chain, key)) == ["voorbeeld"]
    assert contents("voorbeeld") == {"fullchain.pem": chain, "privkey.pem": key}
    for path in Path(layout.SitePaths("voorbeeld").tls).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert secret_files.place(items("voorbeeld", chain, key)) == []
    assert len(reloads) == 1


def test_a_site_that_is_not_live_needs_no_reload(reloads: list[None]) -> None:
    secret_files.place(items("voorbeeld", *make_pair()))
    assert reloads == []


def test_what_nginx_refuses_is_put_back_for_every_site(refusing: Callable[[], None]) -> None:
    make_live("voorbeeld")
    before = make_pair()
    secret_files.place(items("voorbeeld", *before))
    refusing()
    wanted = [*items("voorbeeld", *make_pair()), *items("nieuw", *make_pair())]
    with pytest.raises(commands.CommandError, match="emerg"):
        secret_files.place(wanted)
    assert contents("voorbeeld") == {"fullchain.pem": before[0], "privkey.pem": before[1]}
    assert contents("nieuw") == {}


def test_what_cannot_be_written_leaves_the_rest_as_it_was() -> None:
    secret_files.place(items("aa", *make_pair()))
    before = contents("aa")
    (Path(layout.SitePaths("bb").tls) / "privkey.pem").mkdir(parents=True)
    with pytest.raises(OSError, match="privkey"):
        secret_files.place([*items("aa", *make_pair()), *items("bb", *make_pair())])
    assert contents("aa") == before


ENCRYPTED = serialization.BestAvailableEncryption(b"geheim")


@pytest.mark.parametrize(
    ("chain", "key"),
    [
        (make_pair()[0], make_pair()[1]),
        make_pair(ENCRYPTED),
        (make_pair()[0], "geheim"),
        ("geheim", make_pair()[1]),
        ("", ""),
    ],
    ids=["another key", "encrypted key", "no key", "no certificate", "nothing"],
)
def test_a_pair_that_does_not_fit_is_refused_in_words_before_anything_is_written(
    chain: str, key: str
) -> None:
    with pytest.raises(ValueError, match="for voorbeeld cannot be used together") as caught:
        secret_files.place([*items("aa", *make_pair()), *items("voorbeeld", chain, key)])
    assert "geheim" not in str(caught.value)
    assert contents("aa") == {}
    assert contents("voorbeeld") == {}


@pytest.mark.parametrize(
    ("site", "path"), [("../x", secret_files.KEY), ("voorbeeld", "../wp-config.php")]
)
def test_nothing_is_written_elsewhere(tmp_path: Path, site: str, path: str) -> None:
    with pytest.raises(layout.NameRefusedError):
        secret_files.place([{"site": site, "path": path, "content": "x"}])
    assert list(tmp_path.iterdir()) == []
