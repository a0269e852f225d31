"""Telling a fleet's channels, without ever standing in the way of the work."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from owc_deploy.errors import SecretError
from owc_deploy.fleet.models import Fleet, NotificationChannel, NotificationEvent
from owc_deploy.fleet.secrets import Sensitive, read_secret
from owc_deploy.notify.message import Notice, kind_of, message_for

DELIVERY_SECONDS = 20.0
# A channel that did not answer in time is not waited for again so soon.
LEFT_ALONE_SECONDS = 300.0
# Whoever asked for the latter is told of the former as well.
_AS: dict[str, NotificationEvent] = {"rollout-incomplete": "rollout-ended"}

_KEPT = (
    *("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one channel took a message: `trouble` says why it did not, empty when it did."""

    channel: str
    trouble: str = ""


class Notifier:
    """Sends notices to the channels of a fleet that asked for them.

    `narrate` hears of each channel that could not be told. Nothing is raised, and waiting for all
    channels together takes `seconds` at most; one that did not answer by then is left alone for
    five minutes.
    """

    def __init__(
        self,
        fleet: Fleet,
        narrate: Callable[[str], None],
        *,
        seconds: float = DELIVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._narrate = narrate
        self._seconds = seconds
        self._clock = clock
        self._opened: dict[str, Sensitive] = {}
        self._left_alone_until: dict[str, float] = {}

    def tell(self, notice: Notice) -> None:
        """Tell every channel that wants to hear of this event."""
        now = self._clock()
        channels = [
            channel
            for channel in self._fleet.settings.notifications
            if {notice.event, _AS.get(notice.event)} & {*channel.events}
            and self._left_alone_until.get(channel.name, now) <= now
        ]
        for delivery in self.send(notice, channels):
            if delivery.trouble:
                self._narrate(
                    f"{delivery.channel} was not told of {notice.event}: {delivery.trouble}; next:"
                    f" owc-deploy notify test {delivery.channel}"
                )

    def send(self, notice: Notice, channels: Sequence[NotificationChannel]) -> tuple[Delivery, ...]:
        """Send a notice to these channels, whatever they asked for, and return how each took it."""
        if not channels:
            return ()
        troubles: dict[str, str] = {}
        try:
            addresses = self._addresses(channels, troubles)
            title, body = message_for(notice)
            order = {"title": title, "body": body, "kind": kind_of(notice)}
            troubles |= self._deliver(order, addresses) if addresses else {}
        except Exception as error:  # noqa: BLE001  the work that is told of must go on
            failed = f"telling it failed with {type(error).__name__}"
            troubles = {channel.name: failed for channel in channels} | troubles
        return tuple(Delivery(channel.name, troubles[channel.name]) for channel in channels)

    def _addresses(
        self, channels: Iterable[NotificationChannel], troubles: dict[str, str]
    ) -> dict[str, Sensitive]:
        for channel in channels:
            if channel.name not in self._opened:
                try:
                    self._opened[channel.name] = read_secret(
                        self._fleet.settings, self._fleet.root, channel.address
                    )
                except SecretError as error:
                    troubles[channel.name] = error.message
        return {
            channel.name: self._opened[channel.name]
            for channel in channels
            if channel.name in self._opened
        }

    def _deliver(self, order: dict[str, str], addresses: dict[str, Sensitive]) -> dict[str, str]:
        told = {
            **order,
            "channels": [
                {"name": name, "address": address.reveal().strip()}
                for name, address in addresses.items()
            ],
        }
        silent = f"it did not answer within {self._seconds:g} seconds"
        answered = _run(json.dumps(told), self._seconds)
        for name in addresses:
            if name not in answered:
                self._left_alone_until[name] = self._clock() + LEFT_ALONE_SECONDS
        return {name: answered.get(name, silent) for name in addresses}


def _run(order: str, seconds: float) -> dict[str, str]:
    """Have a message delivered; return the trouble of each channel that was heard of in time."""
    with subprocess.Popen(
        # -P: nothing is imported from the folder that the command was typed in.
        [sys.executable, "-P", "-m", "owc_deploy.notify.delivery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            output, _ = process.communicate(order, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    answers = [json.loads(line) for line in output.splitlines(keepends=True) if line[-1:] == "\n"]
    return {str(answer["name"]): str(answer["trouble"]) for answer in answers}


def _environment() -> dict[str, str]:
    """Return what the delivering process needs of ours: the proxy, the time zone, the authorities.

    Servers with a certificate of the organisation's own authority are common: this machine's
    authorities are believed, not those that a library brings along.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    authorities = ssl.get_default_verify_paths()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or authorities.cafile or authorities.capath
    bundles = {"REQUESTS_CA_BUNDLE": bundle} if bundle else {}
    return {**kept, **bundles, "NETRC": os.devnull}
