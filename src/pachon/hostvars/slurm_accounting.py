"""What a site's accounting host is told."""

from pachon.hostvars import slurm_cluster
from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``slurm_accounting``."""
    return {
        "slurm_accounting_address": str(host.address),
        "slurm_accounting_cluster": site.name,
        "slurm_accounting_munge_secret": slurm_cluster.munge_secret(site),
        "slurm_accounting_name": host.name,
    }
