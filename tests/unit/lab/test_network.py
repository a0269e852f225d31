"""Ranges, addresses and interface names that never collide."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from owc_deploy.errors import LabError
from owc_deploy.lab.network import (
    DOCUMENTATION_RANGE,
    choose_range,
    free_address,
    gateway,
    interface_name,
)

RANGES = tuple(DOCUMENTATION_RANGE.subnets(new_prefix=28))


def test_the_first_range_is_taken_first():
    assert choose_range(()) == IPv4Network("198.51.100.0/28")


@given(st.sets(st.sampled_from(RANGES), max_size=len(RANGES) - 1))
def test_a_chosen_range_overlaps_none_in_use(taken):
    chosen = choose_range(taken)
    assert chosen in RANGES
    assert not any(chosen.overlaps(network) for network in taken)


def test_a_wider_network_of_the_host_is_kept_clear_of():
    assert choose_range([IPv4Network("198.51.100.0/25")]) == IPv4Network("198.51.100.128/28")


def test_without_a_free_range_the_remedy_is_named():
    with pytest.raises(LabError) as refused:
        choose_range(RANGES)
    assert "lab down" in refused.value.hint


def test_addresses_skip_the_gateway_and_those_in_use():
    network = RANGES[1]
    assert gateway(network) == IPv4Address("198.51.100.17")
    assert free_address(network, ()) == IPv4Address("198.51.100.18")
    assert free_address(network, [IPv4Address("198.51.100.18")]) == IPv4Address("198.51.100.19")


def test_a_full_range_is_refused():
    network = RANGES[0]
    with pytest.raises(LabError, match="at most 13 servers"):
        free_address(network, network.hosts())


@given(st.from_regex(r"\A[a-z][a-z0-9-]{0,22}[a-z0-9]\Z"))
def test_interface_names_fit_the_kernel(name):
    assert len(interface_name("owc", name)) <= 15


def test_long_names_that_begin_alike_get_interfaces_of_their_own():
    names = {interface_name("owc", f"integration-{letter}") for letter in "abc"}
    assert len(names) == 3


def test_a_short_name_stays_readable():
    assert interface_name("owc", "lab") == "owc-lab"
