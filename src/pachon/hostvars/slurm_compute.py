"""What a batch worker is told: where its controller is, and what it offers."""

from pachon.hostvars import slurm_cluster
from pachon.model.facility import Facility, Host, Site

MEMORY_OFFERED = 7 / 8
"""Of the machine's: its kernel keeps a part, and a worker that has less than it says is drained."""


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``slurm_compute``."""
    machine = site.machine_by_serial[host.machine]
    return {
        "slurm_compute_controller": slurm_cluster.address_of(site, "slurm_controller"),
        "slurm_compute_cpus": machine.cpus,
        "slurm_compute_memory_mib": int(machine.memory_mib * MEMORY_OFFERED),
        "slurm_compute_munge_secret": slurm_cluster.munge_secret(site),
        "slurm_compute_staging_secret": slurm_cluster.STAGING_SECRET,
    }


def secrets(facility: Facility, site: Site, host: Host) -> dict[str, int]:
    """Secrets that the role reads."""
    staging = {slurm_cluster.STAGING_SECRET: slurm_cluster.STAGING_BYTES}
    return {**slurm_cluster.munge_secrets(facility, site, host), **staging}
