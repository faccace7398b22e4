"""What a host with the TAP service is told: its name for users, the ports of its two slots, and what it begins with."""

from pachon.hostvars import front_door
from pachon.model.facility import Facility, Host, Site

GROUP = "tap"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``tap``; what its slots run is that of rollouts, once there was one."""
    for each in front_door.passed_on(facility, site.name):
        if each.placement.group == GROUP and each.placement.enclave == host.enclave:
            first = each.offer.first
            slots = {} if first is None else {"a": {"version": first.version, **first.arguments.get(GROUP, {})}}
            return {
                "tap_name": f"{front_door.name_of(facility, each.placement.service, site.name)}:{each.endpoint.number}",
                "tap_ports": dict(each.front.port_by_slot),
                "tap_slots": slots,
            }
    return {}
