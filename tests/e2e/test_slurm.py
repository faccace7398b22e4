"""Each site's own Slurm, used as campaigns use it, on the shipped lab."""

import time

import pytest

from tests.e2e.shipped import Copy

pytestmark = pytest.mark.real

WAIT_SECONDS = 300.0
"""Until something that must come counts as never coming."""


@pytest.mark.parametrize("site", ["base", "archive"])
def test_a_job_runs_over_all_workers_of_a_site_and_accounting_has_it(copy: Copy, site: str) -> None:
    hosts = copy.facility.site(site).active_hosts
    controller = next(host for host in hosts if "slurm_controller" in host.groups)
    workers = sorted(host.name for host in hosts if "slurm_compute" in host.groups)
    assert workers
    job = f"cd /tmp && sudo -u campaign srun --job-name=over-all --nodes={len(workers)} --ntasks-per-node=1 --mem=32"
    assert sorted(copy.rig.ssh(controller.name, f"{job} hostname -s").split()) == workers
    until = time.monotonic() + WAIT_SECONDS
    which = "--allocations --starttime=now-1hours --user=campaign --name=over-all"
    asked = f"sudo -u campaign sacct {which} --noheader --parsable2 --format=cluster,nnodes,state"
    wanted = [f"{site}|{len(workers)}|COMPLETED"]
    while (told := copy.rig.ssh(controller.name, asked).split()) != wanted:
        assert time.monotonic() < until, f"accounting has {told}"
        time.sleep(1)


def test_a_job_is_held_to_the_memory_that_it_asked_for(copy: Copy) -> None:
    controller = copy.host("slurm_controller")
    eater = "/usr/bin/python3 -c 'print(len(bytearray(400 << 20)))'"
    job = f"cd /tmp && sudo -u campaign srun --mem=64 {eater} 2>&1; true"
    assert "oom" in copy.rig.ssh(controller.name, job).lower()
