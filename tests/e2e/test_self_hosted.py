"""A municipality on its own machine: the wheel is installed inside the server it then prepares."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import PREFIX
from e2e.wheels import send

from owc_deploy.lab.servers import Lab, lab_up

pytestmark = pytest.mark.lab

OWC = "/root/owc/bin/owc-deploy"

SCRIPT = f"""
set -e
apt-get -qq update
export DEBIAN_FRONTEND=noninteractive
apt-get -qq install -y --no-install-recommends python3-venv openssh-client > /dev/null
python3 -m venv /root/owc
/root/owc/bin/pip install --quiet --no-index --find-links /root/wheels owc-deploy
cd /root
{OWC} init fleet --self-hosted
cp -r catalogue fleet/catalogue
cd fleet
sed -i 's/policy: acme/policy: internal/; /^  email:/d' sites/voorbeeld.yml
sed -i 's/name: twentytwentyfive/name: lab-theme/' sites/voorbeeld.yml
printf 'blocks:\\n  lab-woo: ^4.3\\n' >> sites/voorbeeld.yml
{OWC} validate
{OWC} lock
{OWC} apply --yes
{OWC} apply --yes
{OWC} status
"""


@pytest.fixture
def server() -> Iterator[Lab]:
    lab = lab_up(f"{PREFIX}-self", ["server"])
    yield lab
    lab.down()


def test_the_wheel_alone_prepares_its_own_machine_and_serves_a_site(
    server: Lab, wheels: Path, catalogue: Path
) -> None:
    send(server, "server", wheels, "/root/wheels")
    send(server, "server", catalogue, "/root/catalogue")
    command = server.ssh_arguments("server", ["sudo", "bash", "-s"])
    done = subprocess.run(command, input=SCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do." in done.stdout
    assert "live" in done.stdout
    authority = "/root/fleet/.owc-deploy/internal-ca/certificate.pem"
    fetch = "import ssl,urllib.request as u,socket;"
    fetch += "g=socket.getaddrinfo;socket.getaddrinfo=lambda h,*a,**k:g('127.0.0.1',*a,**k);"
    fetch += f"c=ssl.create_default_context(cafile='{authority}');"
    fetch += "print(u.urlopen('https://www.voorbeeld.example/',context=c).read().decode())"
    page = server.run("server", ["sudo", "python3", "-c", fetch])
    assert "Gemeente Voorbeeld" in str(page.stdout)
