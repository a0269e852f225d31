"""Which rings a site is in; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from owc_deploy.fleet.models import Ring


def rings_of(ring: str, labels: Mapping[str, str], rings: Iterable[Ring]) -> tuple[str, ...]:
    """Return the names of the rings that a site is in, in their order.

    It is in the one it names (`ring`, empty when it names none) and in those that have labels, all
    of which are among its own. A name that no ring has counts for nothing.
    """
    return tuple(
        dict.fromkeys(
            one.name
            for one in rings
            if one.name == ring or (one.labels and one.labels.items() <= labels.items())
        )
    )
