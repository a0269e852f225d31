"""A provisioned server: what is open, what runs, what the services were told."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time

import pytest
from testinfra.host import Host


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("port", [22, 80, 443])
def test_is_reachable(address: str, port: int) -> None:
    assert _connects(address, port)


def test_firewall_drops_what_listens_but_was_not_asked_for(server: Host, address: str) -> None:
    server.check_output(
        "systemd-run --quiet --unit=owc-test-listener python3 -m http.server 8123 --bind 0.0.0.0"
    )
    try:
        for _ in range(50):
            if server.socket("tcp://0.0.0.0:8123").is_listening:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the listener did not start")
        assert server.run("curl --silent --fail http://127.0.0.1:8123/").rc == 0
        assert not _connects(address, 8123)
    finally:
        server.check_output("systemctl stop owc-test-listener.service")


def test_firewall_holds_for_ipv6_and_survives_a_reload_together_with_bans(server: Host) -> None:
    server.check_output("fail2ban-client set sshd banip 192.0.2.7")
    server.check_output("systemctl reload nftables")
    rules = server.check_output("nft list ruleset")
    assert "table inet owc_deploy" in rules
    assert "policy drop" in rules
    assert "192.0.2.7" in rules
    server.check_output("fail2ban-client set sshd unbanip 192.0.2.7")


def test_fail2ban_sees_failed_logins(server: Host, address: str) -> None:
    def failed() -> int:
        status = server.check_output("fail2ban-client status sshd")
        return int(status.split("Total failed:")[1].split()[0])

    before = failed()
    subprocess.run(
        [
            *("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
            *("-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityFile=none"),
            f"intruder@{address}",
        ],
        check=False,
        capture_output=True,
    )
    for _ in range(40):
        if failed() > before:
            return
        time.sleep(0.25)
    pytest.fail("a failed login was not noticed")


def test_sshd_wants_keys(server: Host) -> None:
    settings = server.check_output("sshd -T").splitlines()
    assert "passwordauthentication no" in settings
    assert "kbdinteractiveauthentication no" in settings
    assert "permitrootlogin without-password" in settings
    assert "x11forwarding no" in settings


@pytest.mark.parametrize(
    "unit",
    [
        "nginx.service",
        "mariadb.service",
        "redis-server.service",
        "nftables.service",
        "fail2ban.service",
        "certbot.timer",
        "apt-daily-upgrade.timer",
    ],
)
def test_runs_now_and_at_boot(server: Host, unit: str) -> None:
    service = server.service(unit)
    assert service.is_running
    assert service.is_enabled


def test_nothing_failed(server: Host) -> None:
    assert server.check_output("systemctl --failed --no-legend") == ""


def test_distribution_fpm_is_retired(server: Host) -> None:
    units = server.check_output("systemctl list-unit-files --no-legend 'php*-fpm.service'")
    assert units
    assert all(line.split()[1] == "masked" for line in units.splitlines())


def test_database_and_cache_listen_on_sockets_only(server: Host) -> None:
    listening = server.check_output("ss --listening --tcp --numeric --no-header")
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening.splitlines()}
    assert ports == {"22", "80", "443"}
    socket_file = server.file("/run/redis/redis-server.sock")
    assert (socket_file.group, socket_file.mode) == ("owc-redis", 0o770)


def test_database_has_no_open_doors(server: Host) -> None:
    accounts = server.check_output(
        "mariadb --batch --skip-column-names -e %s",
        "SELECT CONCAT(User, '@', Host) FROM mysql.global_priv",
    ).splitlines()
    assert all(account.endswith("@localhost") for account in accounts)
    assert not any(account.startswith("@") for account in accounts)
    databases = server.check_output("mariadb --batch --skip-column-names -e 'SHOW DATABASES'")
    assert "test" not in databases.split()
    assert "utf8mb4_unicode_ci" in server.check_output("mariadb -e 'SELECT @@collation_server'")
    assert server.run("runuser -u nobody -- mariadb -u root -e 'SELECT 1'").rc != 0


def test_journal_is_kept_for_six_months(server: Host) -> None:
    settings = server.check_output("systemd-analyze cat-config systemd/journald.conf")
    assert "MaxRetentionSec=190day" in settings
    assert server.file("/var/log/journal").is_directory


def test_security_upgrades_are_on(server: Host) -> None:
    settings = server.check_output("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in settings


def test_clock(server: Host) -> None:
    assert server.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Europe/Amsterdam"


def test_nginx_takes_its_configuration_without_a_warning(server: Host) -> None:
    assert server.run("nginx -t -q").stderr == ""


def test_unknown_names_are_refused(address: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection((address, 443), timeout=5)
    with plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="unknown.example")


def test_fingerprint_is_written_down(server: Host) -> None:
    written = json.loads(server.file("/etc/owc-deploy/provisioned.json").content_string)
    assert written["fingerprint"] == "molecule"
    assert written["finished_at"].endswith("Z")


def test_folders(server: Host) -> None:
    modes = {
        path: server.file(path).mode
        for path in ("/srv/owc/store", "/srv/owc/sites", "/srv/owc/incoming")
    }
    assert modes == {"/srv/owc/store": 0o755, "/srv/owc/sites": 0o755, "/srv/owc/incoming": 0o700}
