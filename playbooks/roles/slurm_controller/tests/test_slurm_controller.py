# ruff: noqa: D103  a test says in its name what would be broken
"""What a site's Slurm controller must show."""

from typing import Any

from testinfra.host import Host


def test_slurmctld_runs_and_starts_again_by_itself(host: Host) -> None:
    assert host.service("slurmctld").is_running
    assert host.service("slurmctld").is_enabled
    assert host.check_output("systemctl show slurmctld -p Restart --value") == "always"


def test_the_controller_answers(host: Host) -> None:
    assert "is UP" in host.check_output("scontrol ping")


def test_accounting_has_been_told_of_this_controller(host: Host, arguments: dict[str, Any]) -> None:
    assert host.check_output("sacctmgr --noheader --parsable2 show cluster format=cluster,controlport").endswith(
        "|6817"
    )


def test_campaigns_may_submit_with_every_priority(host: Host) -> None:
    said = host.check_output(
        "sacctmgr --noheader --parsable2 show association user=campaign format=account,user,defaultqos,qos"
    )
    assert said.startswith("campaign|campaign|")
    assert set(said.split("|")[3].split(",")) >= {"p1", "p5", "p9"}


def test_nobody_but_munge_reads_the_key_of_the_cluster(host: Host) -> None:
    assert host.check_output("stat -c '%U %a' /etc/munge/munge.key") == "munge 400"
