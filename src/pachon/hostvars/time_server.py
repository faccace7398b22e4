"""What a time server is told: whom it answers."""

from pachon.model.facility import Facility, Host, Site


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``time_server``."""
    return {"time_server_networks": [str(facility.prefix)]}
