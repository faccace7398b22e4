"""What an endpoint of the Data Backbone is told: where the others are, and whose certificates are let in."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site

GROUP = "xrootd"
MOUNT = "/srv/backbone"
"""Where its volume is mounted."""
SECRET = "backbone-sss"
"""What the key of all endpoints is made from; one for all sites, since each copies from each."""
SECRET_BYTES = 32


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``xrootd``."""
    endpoints = reaching.of_group(facility.sites, GROUP)
    return {
        "xrootd_address": str(host.address),
        "xrootd_admitted": [reaching.fqdn(facility, each) for each in endpoints],
        "xrootd_peers": [
            {"name": each.name, "address": str(each.address)} for each in endpoints if each.name != host.name
        ],
        "xrootd_secret": SECRET,
    }


def secrets(facility: Facility, site: Site, host: Host) -> dict[str, int]:
    """Secrets that the role reads."""
    return {SECRET: SECRET_BYTES}
