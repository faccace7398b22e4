# ruff: noqa: D103  a test says in its name what would be broken
"""What a batch worker must show."""

from typing import Any

from testinfra.host import Host


def test_slurmd_runs_and_starts_again_by_itself(host: Host) -> None:
    assert host.service("slurmd").is_running
    assert host.service("slurmd").is_enabled
    assert host.check_output("systemctl show slurmd -p Restart --value") == "always"


def test_the_controller_knows_this_worker_and_what_it_offers(host: Host, arguments: dict[str, Any]) -> None:
    name = host.check_output("hostname -s")
    said = host.check_output("scontrol --oneliner show node %s", name)
    assert "DYNAMIC_NORM" in said
    assert "NOT_RESPONDING" not in said
    assert f"CPUTot={arguments['slurm_compute_cpus']} " in said
    assert f"RealMemory={arguments['slurm_compute_memory_mib']} " in said


def test_a_worker_whose_controller_forgot_it_will_notice(host: Host) -> None:
    assert host.check_output("systemctl is-active slurm-known.timer") == "active"


def test_nobody_but_munge_reads_the_key_of_the_cluster(host: Host) -> None:
    assert host.check_output("stat -c '%U %a' /etc/munge/munge.key") == "munge 400"


def test_the_account_of_campaigns_has_the_number_that_it_has_everywhere(host: Host) -> None:
    assert host.user("campaign").uid == 64100
    assert host.check_output("stat -c '%U %a' /etc/pachon/campaign.rsync") == "campaign 400"


def test_pipelines_find_their_software(host: Host) -> None:
    assert host.run("/usr/bin/python3 -c 'import astropy.io.fits, numpy'").rc == 0
    assert host.file("/usr/lib/pachon/pipelines").is_directory
