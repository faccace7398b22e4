"""A facility as it is now: what every host and machine says, and what is known of those that say nothing."""

from pachon.status.facts import FacilityStatus, HostStatus, LinkStatus, ServiceStatus, SiteStatus
from pachon.status.observing import Observer

__all__ = [
    "FacilityStatus",
    "HostStatus",
    "LinkStatus",
    "Observer",
    "ServiceStatus",
    "SiteStatus",
]
