"""What the hosts of a Slurm cluster have to know of one another; each site has one cluster, of the site's name."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Hardware, Host, Site

MUNGE_KEY_BYTES = 96
STAGING_SECRET = "campaign-rsync"
"""Password with which jobs stage; one for all sites, since a job may stage at each of them."""
STAGING_BYTES = 32
STAGING_MOUNT = "/srv/campaign"


def munge_secret(site: Site) -> str:
    """Name of the secret that the cluster's hosts prove themselves with."""
    return f"munge-{site.name}"


def address_of(site: Site, group: str) -> str:
    """Address of the site's first host in that group, or nothing where there is none."""
    return next((str(host.address) for host in reaching.of_group_at(site, group)), "")


def shares_cores(facility: Facility) -> bool:
    """Whether workers are emulated and share the cores of one machine."""
    return facility.hardware is Hardware.LAB


def munge_secrets(facility: Facility, site: Site, host: Host) -> dict[str, int]:
    """The secret of a host that is in the cluster."""
    return {munge_secret(site): MUNGE_KEY_BYTES}
