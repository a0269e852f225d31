"""Whether a site needs another certificate. Pure: the certificates and the time come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from owc_deploy.fleet.models import Manifest
from owc_deploy.plan.models import Change

RENEW_BEFORE = timedelta(days=30)


def certificate_change(
    manifest: Manifest, seen: Mapping[str, Any], supplied: str, now: datetime
) -> Change | None:
    """Return the change that a site's certificate needs, `None` when it is fine.

    `seen` is what the probe says of the site, `supplied` the chain in the fleet's own file (PEM,
    leaf first; `""` when it has none or cannot be read). With `acme` the server itself asks and
    renews, so only `internal` and `supplied` are judged here.
    """
    if manifest.tls.policy == "acme":
        return None
    installed = str(seen.get("certificate") or "")
    if not installed:
        wanted = ", ".join(sorted({manifest.domain, *manifest.aliases}))
        return Change("certificate", None, wanted, "there is none yet")
    if manifest.tls.policy == "supplied":
        return _supplied_change(installed, supplied)
    specification = seen.get("specification") or {}
    return _internal_change(manifest, installed, specification.get("tls", {}).get("policy"), now)


def _supplied_change(installed: str, supplied: str) -> Change | None:
    """Compare the chain on the server with the one in the fleet.

    Whether it covers the domains is for `validate` and for the moment it is sent: judging that here
    would make the plan ask for the same certificate again and again.
    """
    if not supplied:
        return Change("certificate", _words(installed), "unreadable", "its file cannot be read")
    if _identity(installed) == _identity(supplied):
        return None
    why = "the fleet's file holds another one"
    return Change("certificate", _words(installed), _words(supplied), why)


def _internal_change(
    manifest: Manifest, installed: str, live_policy: str | None, now: datetime
) -> Change | None:
    wanted = {manifest.domain, *manifest.aliases}
    leaf = _leaf(installed)
    if leaf is None:
        return Change("certificate", "unreadable", ", ".join(sorted(wanted)), "it is damaged")
    if live_policy != "internal":
        why = "the fleet's own authority did not issue it"
        return Change("certificate", _words(installed), ", ".join(sorted(wanted)), why)
    covered = _names(leaf)
    if not wanted <= covered:
        missing = ", ".join(sorted(wanted - covered))
        return Change("certificate", ", ".join(sorted(covered)), missing, "a domain is missing")
    until = leaf.not_valid_after_utc
    if until - now < RENEW_BEFORE:
        return Change("certificate", f"until {until:%Y-%m-%d}", "renewed", "it is about to expire")
    return None


def _leaf(pem: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError:
        return None


def _names(leaf: x509.Certificate) -> set[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return set()
    return set(names.get_values_for_type(x509.DNSName))


def _identity(pem: str) -> tuple[bytes, ...]:
    """Return what makes two chains the same, whatever white space and comments stand between."""
    try:
        chain = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return (pem.strip().encode(),)
    return tuple(certificate.fingerprint(hashes.SHA256()) for certificate in chain)


def _words(pem: str) -> str:
    leaf = _leaf(pem)
    if leaf is None:
        return "unreadable"
    names = ", ".join(sorted(_names(leaf))) or "no host name"
    return f"{names} until {leaf.not_valid_after_utc:%Y-%m-%d}"
