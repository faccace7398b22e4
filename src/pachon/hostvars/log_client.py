"""What a host is told of logs: where it sends its own."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site

GROUP = "log_host"
PORT = 19532


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``log_client``: the first log host of its own site, nobody where there is none."""
    keepers = reaching.of_group([site], GROUP)
    url = f"https://{reaching.name_seen_by(facility, host, keepers[0])}:{PORT}" if keepers else ""
    return {"log_client_url": url}
