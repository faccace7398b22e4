"""What a member of the managed database is told: who is the primary, and who the others are.

The primary is the first host of the group, sites and hosts in the order of the definition; the others follow it.
"""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Site

GROUP = "postgresql"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``postgresql``."""
    primary, *replicas = reaching.of_group(facility.sites, GROUP)
    return {
        "postgresql_address": str(host.address),
        "postgresql_admitted": [_member(facility, each) for each in (primary, *replicas)],
        "postgresql_name": host.name,
        "postgresql_primary": "" if primary.name == host.name else str(primary.address),
        "postgresql_replicas": [_member(facility, each) for each in replicas],
    }


def _member(facility: Facility, host: Host) -> dict[str, str]:
    return {"name": reaching.fqdn(facility, host), "address": str(host.address)}
