"""The secret files that a release needs on its server, read or made at the last moment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from owc_deploy.errors import SecretError
from owc_deploy.execution.certificates import InternalAuthority, read_supplied
from owc_deploy.execution.ports import SiteSecret
from owc_deploy.fleet.models import Fleet, Manifest
from owc_deploy.fleet.secrets import Sensitive, read_secret


def supplied_chains(fleet: Fleet, sites: Collection[str] = ()) -> dict[str, str]:
    """Return the chain (PEM) of every site that brings its own certificate, keyed by site.

    Of `sites` only, of all when there are none.
    A file that cannot be read is left out: the plan then asks for it, and `site_secrets` says why.
    """
    chains = {}
    for site in sites or fleet.manifests:
        manifest = fleet.manifests[site]
        if manifest.tls.policy == "supplied" and manifest.tls.certificate is not None:
            try:
                chains[site] = (fleet.root / manifest.tls.certificate).read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError):
                continue
    return chains


def site_secrets(fleet: Fleet, site: str, now: datetime) -> tuple[SiteSecret, ...]:
    """Return a site's new certificate and its key, as files.

    Raises SecretError with everything that is wrong with a supplied certificate, or when the
    fleet's own authority cannot be used.
    """
    manifest = fleet.manifests[site]
    if manifest.tls.policy == "internal":
        authority = InternalAuthority.open(fleet.root, now)
        chain, key = authority.issue((manifest.domain, *manifest.aliases), now)
    else:
        chain, key = _supplied(fleet, manifest, now)
    return (
        SiteSecret(site, "tls/fullchain.pem", Sensitive(chain)),
        SiteSecret(site, "tls/privkey.pem", key),
    )


def _supplied(fleet: Fleet, manifest: Manifest, now: datetime) -> tuple[str, Sensitive]:
    if manifest.tls.certificate is None or manifest.tls.private_key is None:
        raise SecretError(f"{manifest.site} supplies no certificate", hint="owc-deploy validate")
    key = None
    problems = []
    try:
        key = read_secret(fleet.settings, fleet.root, manifest.tls.private_key)
    except SecretError as error:
        problems.append(f"its private key cannot be read: {error.message}")
    found = read_supplied(
        fleet.root / manifest.tls.certificate,
        (manifest.domain, *manifest.aliases),
        now,
        private_key=key,
    )
    problems[:0] = found.problems
    if key is None or problems:
        raise SecretError(
            f"the certificate in {manifest.tls.certificate} will not do: {'; '.join(problems)}",
            hint=f"put one for {manifest.domain} there, then: owc-deploy plan {manifest.site}",
        )
    return found.chain, key
