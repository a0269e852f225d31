"""The network of a lab: a bridge with a range of documentation addresses of its own."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from owc_deploy.errors import LabError
from owc_deploy.lab.commands import run_command

DOCUMENTATION_RANGE = ipaddress.IPv4Network("198.51.100.0/24")
RANGE_PREFIX_LENGTH = 28  # 16 labs of 13 servers
_INTERFACE_NAME_LENGTH = 15  # the kernel's limit, IFNAMSIZ without the final zero
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def interface_name(prefix: str, name: str) -> str:
    """Return an interface name that fits the kernel's limit and is this `name`'s alone."""
    whole = f"{prefix}-{name}"
    if len(whole) <= _INTERFACE_NAME_LENGTH:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[: _INTERFACE_NAME_LENGTH - len(prefix) - 1]
    return f"{prefix}-{digest}"


def choose_range(taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return the first range for a lab that overlaps none of `taken`.

    Raises LabError when all are in use.
    """
    taken = tuple(taken)
    for candidate in DOCUMENTATION_RANGE.subnets(new_prefix=RANGE_PREFIX_LENGTH):
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise LabError(
        f"every range of {DOCUMENTATION_RANGE} is in use on this machine",
        hint="owc-deploy lab down --lab NAME, for a lab that is no longer needed",
    )


def networks_in_use() -> tuple[ipaddress.IPv4Network, ...]:
    """Return the networks this machine's interfaces have addresses in."""
    listed = run_command(["ip", "-json", "-4", "address"], context="reading the interfaces").stdout
    return tuple(
        ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
        for interface in json.loads(listed)
        for address in interface.get("addr_info", [])
        if "local" in address
    )


def gateway(network: ipaddress.IPv4Network) -> ipaddress.IPv4Address:
    """Return the address of the bridge itself."""
    return network.network_address + 1


def free_address(
    network: ipaddress.IPv4Network, taken: Iterable[ipaddress.IPv4Address]
) -> ipaddress.IPv4Address:
    """Return the first address of the range that no server has.

    Raises LabError when the range is full.
    """
    used = {gateway(network), *taken}
    for address in network.hosts():
        if address not in used:
            return address
    raise LabError(
        f"a lab holds at most {network.num_addresses - 3} servers",
        hint="owc-deploy lab up --lab ANOTHER",
    )


def bridge_exists(bridge: str) -> bool:
    """Return whether the interface is there."""
    return (Path("/sys/class/net") / bridge).exists()


def make_bridge(bridge: str, network: ipaddress.IPv4Network) -> None:
    """Make the bridge, give it its address and let its range reach the outside."""
    context = f"making the bridge {bridge}"
    if not bridge_exists(bridge):
        run_command(["ip", "link", "add", bridge, "type", "bridge"], context=context)
    address = f"{gateway(network)}/{network.prefixlen}"
    run_command(["ip", "address", "replace", address, "dev", bridge], context=context)
    run_command(["ip", "link", "set", bridge, "up"], context=context)
    for rule in _rules(bridge, network):
        if not _rule_exists(rule):
            run_command(["iptables", "--wait", "-t", rule[0], "-A", *rule[1:]], context=context)


def remove_bridge(bridge: str) -> bool:
    """Remove the bridge and every rule that names it; return whether there was any of them."""
    context = f"removing the bridge {bridge}"
    removed = False
    for table in ("nat", "filter"):
        listed = run_command(["iptables", "--wait", "-t", table, "-S"], context=context).stdout
        for line in listed.splitlines():
            rule = shlex.split(line)
            if bridge in rule and rule[0] == "-A":
                run_command(["iptables", "--wait", "-t", table, "-D", *rule[1:]], context=context)
                removed = True
    if bridge_exists(bridge):
        run_command(["ip", "link", "delete", bridge], context=context)
        removed = True
    return removed


def forwarding() -> bool:
    """Return whether this machine passes packets on."""
    return _IP_FORWARD.read_text(encoding="ascii").strip() == "1"


def set_forwarding(on: bool) -> None:
    """Let this machine pass packets on, or not."""
    _IP_FORWARD.write_text("1" if on else "0", encoding="ascii")


def _rules(bridge: str, network: ipaddress.IPv4Network) -> tuple[tuple[str, ...], ...]:
    """Return table, chain and match of each rule.

    The two in FORWARD matter where the policy is to drop, as a container engine sets it.
    """
    return (
        ("nat", "POSTROUTING", "-s", str(network), "!", "-o", bridge, "-j", "MASQUERADE"),
        ("filter", "FORWARD", "-i", bridge, "-j", "ACCEPT"),
        ("filter", "FORWARD", "-o", bridge, "-j", "ACCEPT"),
    )


def _rule_exists(rule: tuple[str, ...]) -> bool:
    try:
        run_command(
            ["iptables", "--wait", "-t", rule[0], "-C", *rule[1:]], context="reading iptables"
        )
    except LabError:
        return False
    return True
