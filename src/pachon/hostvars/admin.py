"""What an admin host is told: how the site's controller reaches the BMCs."""

from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``admin``."""
    return {
        "admin_management_nic": site.machine_by_serial[host.machine].boot_nic.name,
        "admin_management_gateway": str(site.management_gateway),
        "admin_bmc_networks": [str(site.bmc_network)],
    }
