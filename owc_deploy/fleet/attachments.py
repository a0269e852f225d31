"""Files that documents point at: supplied certificates and secrets. Looked at, never opened up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from owc_deploy.errors import Problem
from owc_deploy.fleet.documents import Document, Finding, read_bytes
from owc_deploy.fleet.rules import domain_of
from owc_deploy.fleet.secrets import secret_file
from owc_deploy.fleet.yaml_reader import PathKeys


def attachment_findings(root: Path, sites: Iterable[Document]) -> Iterator[Finding]:
    """Find certificates and secrets that are not there or do not fit."""
    for site in sites:
        tls = site.data.get("tls", {})
        if tls.get("policy") != "supplied":
            continue
        domains = [domain_of(site.data.get("url")), *site.data.get("aliases", ())]
        if "certificate" in tls:
            wanted = [domain for domain in domains if domain is not None]
            yield from _certificate(root, site.file, Path(tls["certificate"]), wanted)
        secret = tls.get("private_key", {}).get("secret")
        path = ("tls", "private_key", "secret")
        yield from _secret(root, site.file, path, secret, "KEY.pem")


def channel_findings(root: Path, fleet: Document | None) -> Iterator[Finding]:
    """Find secrets of notification channels that are not there."""
    if fleet is None:
        return
    for number, channel in enumerate(fleet.data.get("notifications", ())):
        secret = (channel or {}).get("address", {}).get("secret")
        path = ("notifications", number, "address", "secret")
        yield from _secret(root, fleet.file, path, secret, "ADDRESS.txt")


def _secret(
    root: Path, file: Path, path: PathKeys, secret: str | None, source: str
) -> Iterator[Finding]:
    if secret is not None and secret_file(root, secret) is None:
        yield Finding(
            file,
            path,
            "missing-secret",
            f"there is no secrets/{secret}.age or secrets/{secret}.vault",
            f"age -R RECIPIENTS -o secrets/{secret}.age {source}",
        )


def _certificate(root: Path, site: Path, file: Path, domains: list[str]) -> Iterator[Finding]:
    # Most fleets have no supplied certificate, and importing this takes 0.05 s.
    from cryptography import x509  # noqa: PLC0415

    path = ("tls", "certificate")
    raw = read_bytes(root, file)
    if isinstance(raw, Problem):
        yield Finding(site, path, "certificate", f"{file}: {raw.message}", raw.suggestion)
        return
    if b"PRIVATE KEY" in raw:
        yield Finding(
            site,
            path,
            "certificate",
            f"{file} holds a private key, which may not stand in the fleet unencrypted",
            "keep only the certificates in it, put the key in secrets/, and replace that key",
        )
        return
    try:
        chain = x509.load_pem_x509_certificates(raw)
        names = (
            chain[0]
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value.get_values_for_type(x509.DNSName)
        )
    except (ValueError, x509.ExtensionNotFound):
        yield Finding(
            site,
            path,
            "certificate",
            f"{file} is not a PEM certificate with host names",
            "the PEM file of your supplier: leaf first, then the intermediates",
        )
        return
    uncovered = [domain for domain in domains if not _covers(names, domain)]
    if uncovered:
        yield Finding(
            site,
            path,
            "certificate",
            f"the certificate is for {', '.join(names)}, not for {', '.join(uncovered)}",
            "a certificate for url and every alias, leaf first in the file",
        )


def _covers(names: Iterable[str], domain: str) -> bool:
    parent = domain.partition(".")[2]
    return any(name.lower() in {domain, f"*.{parent}"} for name in names)
