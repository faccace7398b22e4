"""What only one may have: names, serials, MACs, places in a rack."""

from collections.abc import Iterator

from pachon.checks.notes import Claim, Note, contested, subject
from pachon.model.facility import Facility, Site

OTHER_NAME = "give it another name"
SEEN_TWICE = "each is there once in the world: look at the thing itself"


def repeated_in_facility(facility: Facility) -> Iterator[Note]:
    """Names and numbers that two things of the facility share."""
    sites = facility.sites
    yield from contested(
        "host name",
        (Claim(host.name, subject(site.name, "host", host.name), "name") for site in sites for host in site.hosts),
        cure=OTHER_NAME,
    )
    machines = [(site, machine) for site in sites for machine in site.machines]
    yield from contested(
        "serial",
        (Claim(machine.serial, subject(site.name, "machine", machine.serial), "serial") for site, machine in machines),
        cure=SEEN_TWICE,
    )
    unique = {(site.name, machine.serial): machine for site, machine in machines}
    yield from contested(
        "MAC",
        (
            Claim(nic.mac, subject(site, "nic", serial, nic.name), "mac")
            for (site, serial), machine in unique.items()
            for nic in machine.nics
        ),
        cure=SEEN_TWICE,
    )
    yield from contested(
        "disk serial",
        (
            Claim(disk.serial, subject(site, "disk", serial, disk.name), "serial")
            for (site, serial), machine in unique.items()
            for disk in machine.disks
        ),
        cure=SEEN_TWICE,
    )
    yield from contested(
        "VNI",
        (
            Claim(segment.vni, subject(site.name, "segment", segment.enclave), "vni")
            for site in sites
            for segment in site.segments
        ),
        cure="give each segment of the facility a VNI of its own",
    )
    yield from contested(
        "enclave name",
        (Claim(enclave.name, f"enclave/{enclave.name}", "name") for enclave in facility.enclaves),
        cure=OTHER_NAME,
    )
    yield from contested(
        "link name", (Claim(link.name, f"link/{link.name}", "name") for link in facility.links), cure=OTHER_NAME
    )
    yield from contested(
        "placement",
        (
            Claim((item.service, item.site, item.enclave), f"placement/{item.service}/{item.site}/{item.enclave}", "")
            for item in facility.placements
        ),
        cure="keep one of them",
    )


def repeated_in_site(facility: Facility, site: Site) -> Iterator[Note]:
    """Names and places that two things of a site share."""
    links = [(name, f"link/{name}") for name in sorted({link.name for link in facility.links})]
    switches = [(switch.name, subject(site.name, "switch", switch.name)) for switch in site.unmanaged_switches]
    serials = [
        (machine.serial, subject(site.name, "machine", machine.serial)) for machine in site.machine_by_serial.values()
    ]
    named = {
        "rack name": [(rack.name, subject(site.name, "rack", rack.name)) for rack in site.racks],
        "name": [*links, *serials, *switches],
        "pool name": [(pool.name, subject(site.name, "pool", pool.name)) for pool in site.pools],
        "storage pool name": [
            (pool.name, subject(site.name, "storage-pool", pool.name)) for pool in site.storage_pools
        ],
        "volume name": [(volume.name, subject(site.name, "volume", volume.name)) for volume in site.volumes],
    }
    for what, claims in named.items():
        yield from contested(what, (Claim(name, address, "name") for name, address in claims), cure=OTHER_NAME)
    yield from contested(
        "segment of",
        (Claim(item.enclave, subject(site.name, "segment", item.enclave), "enclave") for item in site.segments),
        cure="an enclave has one segment at a site",
    )
    yield from contested(
        "place in rack",
        (
            Claim((machine.rack, "unit", machine.unit), subject(site.name, "machine", machine.serial), "unit")
            for machine in site.machines
        ),
        cure="look in the rack",
    )
    yield from contested(
        "NIC",
        (
            Claim((machine.serial, nic.name), subject(site.name, "nic", machine.serial, nic.name), "nic")
            for machine in site.machine_by_serial.values()
            for nic in machine.nics
        ),
        cure="keep one row for each NIC",
    )
    yield from contested(
        "disk",
        (
            Claim((machine.serial, disk.name), subject(site.name, "disk", machine.serial, disk.name), "disk")
            for machine in site.machine_by_serial.values()
            for disk in machine.disks
        ),
        cure="keep one row for each disk",
    )
