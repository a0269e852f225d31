"""Where a lab cannot run it says why, and what to type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from owc_deploy.errors import LabError
from owc_deploy.lab.requirements import Host, refuse_unfit_host

FIT = Host(system="Linux", user_id=0, missing_programs=(), has_overlay=True, has_cgroups=True)


def test_a_fit_host_is_accepted():
    refuse_unfit_host(FIT)


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        (replace(FIT, system="Darwin"), "need Linux; this is Darwin", "virtual machine"),
        (replace(FIT, user_id=1000), "need root", "sudo owc-deploy lab up"),
        (
            replace(FIT, missing_programs=("systemd-nspawn", "debootstrap")),
            "missing on this machine: systemd-nspawn, debootstrap",
            "apt-get install --yes debootstrap systemd-container",
        ),
        (replace(FIT, has_overlay=False), "overlay", "modprobe overlay"),
        (replace(FIT, has_cgroups=False), "control groups", "mount -t cgroup2"),
    ],
)
def test_an_unfit_host_is_refused_with_the_remedy(host, message, hint):
    with pytest.raises(LabError) as refused:
        refuse_unfit_host(host)
    assert message in refused.value.message
    assert hint in refused.value.hint
