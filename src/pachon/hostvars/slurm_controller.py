"""What a site's Slurm controller is told: its cluster, and where accounting is; no worker is named."""

from pachon.hostvars import slurm_cluster
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``slurm_controller``."""
    return {
        "slurm_controller_accounting": slurm_cluster.address_of(site, "slurm_accounting"),
        "slurm_controller_address": str(host.address),
        "slurm_controller_cluster": site.name,
        "slurm_controller_munge_secret": slurm_cluster.munge_secret(site),
        "slurm_controller_name": host.name,
        "slurm_controller_shared_cores": slurm_cluster.shares_cores(facility),
    }
