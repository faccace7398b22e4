# ruff: noqa: D103  a test says in its name what would be broken
"""What a site's Slurm accounting must show."""

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("unit", ["mariadb", "slurmdbd"])
def test_the_daemon_runs_and_starts_again_by_itself(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.check_output("systemctl show %s -p Restart --value", unit) == "always"


def test_accounts_and_priorities_were_set_up(host: Host) -> None:
    assert host.check_output("systemctl is-active slurm-accounts") == "active"


def test_the_database_is_reached_by_socket_only(host: Host) -> None:
    assert not any(":3306" in address for address in host.check_output("ss -tln").split())


def test_nobody_but_slurm_reads_how_the_database_is_reached(host: Host) -> None:
    assert host.check_output("stat -c '%U %a' /etc/slurm/slurmdbd.conf") == "slurm 600"
