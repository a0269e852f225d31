"""Handing one message to Apprise, in a process of its own; nothing else knows Apprise.

Reads a JSON document from standard input and writes one JSON line per channel as each has answered.
A process of its own can be ended when a service does not answer, costs nobody the 0.5 s that
loading Apprise takes, and keeps what libraries log of an address out of our own log.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any

from owc_deploy.notify.addresses import parameter_refusal, scheme_of, scheme_refusal

_STATUS = re.compile(r"\berror=([1-5][0-9]{2})\b")


def deliver(address: str, title: str, body: str, kind: str) -> str:
    """Send one message; return why it was not taken, empty when it was. Quotes no address."""
    refusal = scheme_refusal(address)
    if refusal:
        return refusal
    import apprise  # noqa: PLC0415  slow
    from apprise.plugins import url_to_dict  # noqa: PLC0415

    scheme = scheme_of(address)
    # What is examined is what is used: Apprise's own reading of the address, not another of ours.
    parts = url_to_dict(address)
    if not parts or parts.get("schema") != scheme or "qsd" not in parts:
        return f"its address is not a {scheme}:// address that Apprise understands"
    refusal = parameter_refusal(scheme, parts["qsd"])
    if refusal:
        return refusal
    asset = apprise.AppriseAsset(
        app_id="owc-deploy",
        app_desc="owc-deploy",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        image_path_mask=False,
        storage_mode="memory",
        async_mode=False,
        http_redirects=False,
        allow_templates=False,
    )
    service = apprise.Apprise.instantiate(parts, asset=asset)
    if service is None:
        return f"its address is not a {scheme}:// address that Apprise understands"
    client = apprise.Apprise(asset=asset)
    client.add(service)
    told = client.notify(
        body=body,
        title=title,
        notify_type=apprise.NotifyType(kind),
        body_format=apprise.NotifyFormat.TEXT,
        interpret_escapes=False,
    )
    if told:
        return ""
    statuses = [_STATUS.search(entry.message) for entry in told.logs()]
    status = next((found[1] for found in statuses if found), "")
    return f"it answered {status}" if status else "it could not be reached, or took no message"


def _main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    lock = threading.Lock()

    def work(channel: Mapping[str, str]) -> None:
        try:
            trouble = deliver(channel["address"], order["title"], order["body"], order["kind"])
        except Exception as error:  # noqa: BLE001  a library's words may hold the address
            trouble = f"Apprise failed with {type(error).__name__}"
        with lock:
            print(json.dumps({"name": channel["name"], "trouble": trouble}), flush=True)  # noqa: T201  the answer

    threads = [threading.Thread(target=work, args=(channel,)) for channel in order["channels"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _main()
