"""What a host is told of its certificate: whose it is, for which names, and which services show it."""

from pachon.hostvars import front_door, reaching
from pachon.model.facility import Facility, Host, Site

SERVICES = {
    "front_door": "haproxy.service",
    "log_host": "systemd-journal-remote.service",
    "xrootd": "pachon-backbone@write.service",
}
"""Units that show the host's certificate, by group; the journal's upload does everywhere."""
UPLOAD = "systemd-journal-upload.service"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``certificates``."""
    return {
        "certificates_site": site.name,
        "certificates_sites": [each.name for each in facility.sites],
        "certificates_name": reaching.fqdn(facility, host),
        "certificates_other_names": [
            host.name,
            reaching.management_name(facility, host),
            *(front_door.names_at(facility, site.name) if front_door.GROUP in host.groups else ()),
        ],
        "certificates_addresses": [
            *dict.fromkeys([str(host.address), *reaching.addresses_of(facility, host, management=True)])
        ],
        "certificates_units": [UPLOAD, *(unit for group, unit in SERVICES.items() if group in host.groups)],
    }
