"""The configuration files of a site, as text: pure functions of a manifest and its lock.

Everything that reaches a template was checked by the schemas; what could still mean something to
the language it lands in is quoted for that language here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from owc_deploy.fleet.models import Manifest

ENVIRONMENT_TYPES = {"production": "production", "acceptance": "staging", "test": "development"}


def php_string(text: str) -> str:
    r"""Return `text` as a PHP string in single quotes, where only `\` and `'` mean anything."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("owc_deploy.plan"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  none of the three is HTML; `php_string` quotes for PHP
    )
    environment.filters["php"] = php_string
    return environment


def render_files(manifest: Manifest) -> dict[str, str]:
    """Return every configuration file of a release by name."""
    values: dict[str, Any] = {
        "site": manifest.site,
        "user": f"owc-{manifest.site}",
        "database": "owc_" + manifest.site.replace("-", "_"),
        "url": manifest.url.rstrip("/"),
        "domains": (manifest.domain, *manifest.aliases),
        "redirects": manifest.redirects,
        "environment_type": ENVIRONMENT_TYPES[manifest.environment],
    }
    return {
        name: _environment().get_template(f"{name}.j2").render(values)
        for name in ("freeze.php", "nginx.conf", "php-fpm.conf", "wp-config.php")
    }
