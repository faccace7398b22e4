"""From what is written to the facility: rows joined to machines, pools dealt out, storage of pools spread over hosts.

References by name stay as they are: whether what they name is there is for the checks to say.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pachon import allocation
from pachon.checks.spelling import did_you_mean
from pachon.definition.documents import EVERYTHING
from pachon.definition.sources import SiteSources, Sources
from pachon.definition.wording import shown
from pachon.definition.written import WrittenFacility, WrittenPool, WrittenSite
from pachon.errors import Complaint
from pachon.model.facility import (
    Cable,
    DeployLimits,
    Disk,
    Enclave,
    Facility,
    Flow,
    Host,
    HostName,
    HostNic,
    Link,
    Machine,
    Nic,
    Person,
    Placement,
    Pool,
    Rack,
    Segment,
    Selection,
    Serial,
    Site,
    StoragePool,
    UnmanagedSwitch,
    Volume,
)


@dataclass(frozen=True)
class Resolved:
    """The facility as far as its files could be read, and what was wrong with joining them."""

    facility: Facility | None
    complaints: tuple[Complaint, ...]


def _machines(source: SiteSources, complaints: list[Complaint]) -> tuple[Machine, ...]:
    nics: defaultdict[Serial, list[Nic]] = defaultdict(list)
    disks: defaultdict[Serial, list[Disk]] = defaultdict(list)
    serials = {row.serial for row in source.machines.rows}
    blind = EVERYTHING in source.broken

    def known(serial: Serial, path: str, line: int) -> bool:
        if serial in serials:
            return True
        if not blind and serial not in source.broken:
            right = did_you_mean(serial, serials) or "add it to machines.csv"
            complaints.append(Complaint(path, line, f"there is no machine {serial!r} at {source.name}", right))
        return False

    for nic, line in zip(source.nics.rows, source.nics.lines, strict=True):
        if known(nic.machine, source.nics.path, line):
            nics[nic.machine].append(Nic(name=nic.nic, mac=nic.mac, speed_gbps=nic.speed_gbps))
    for disk, line in zip(source.disks.rows, source.disks.lines, strict=True):
        if known(disk.machine, source.disks.path, line):
            disks[disk.machine].append(
                Disk(name=disk.disk, serial=disk.serial, media=disk.media, size_gib=disk.size_gib)
            )
    return tuple(
        Machine(
            serial=row.serial,
            site=source.name,
            rack=row.rack,
            unit=row.unit,
            vendor=row.vendor,
            model=row.model,
            cpus=row.cpus,
            memory_mib=row.memory_mib,
            bmc_address=row.bmc_address,
            management_address=row.management_address,
            bmc_tls_sha256=row.bmc_tls_sha256,
            nics=tuple(nics[row.serial]),
            disks=tuple(disks[row.serial]),
        )
        for row in source.machines.rows
    )


def _pool(site: str, written: WrittenPool) -> Pool:
    return Pool(
        name=written.name,
        site=site,
        machines=Selection(model=written.machines.model, vendor=written.machines.vendor, racks=written.machines.racks),
        host_names=written.host_names,
        first_number=written.first_number,
        first_address=written.first_address,
        count=written.count,
    )


def _hosts(
    site: str, written: WrittenSite, machines: tuple[Machine, ...], existing: Mapping[HostName, Serial]
) -> tuple[Host, ...]:
    """Hosts by name and hosts of pools: existing hosts of all pools keep their machines before any pool adds one."""
    hosts = [
        Host(
            name=host.name,
            site=site,
            machine=host.machine,
            enclave=host.enclave,
            address=host.address,
            groups=host.groups,
            flavour=host.flavour,
            pool="",
            state=host.state,
            nics=tuple(HostNic(name=name, enclave=enclave) for name, enclave in host.nics.items()),
        )
        for host in written.hosts
    ]
    used = {host.machine for host in hosts}
    taken: set[HostName | IPv4Address] = {host.name for host in hosts} | {host.address for host in hosts}
    free = [machine for machine in machines if machine.serial not in used]
    by_serial = {machine.serial: machine for machine in free}
    pools = [_pool(site, pool) for pool in written.pools]
    others = {name: serial for name, serial in existing.items() if name not in taken}
    held: dict[int, set[Serial]] = {}
    for index, pool in enumerate(pools):
        keep = allocation.kept(pool, others, free=by_serial, wanted=pool.count)
        held[index] = {dealt.machine for dealt in keep}.difference(*held.values())
    for index, (pool, like) in enumerate(zip(pools, written.pools, strict=True)):
        elsewhere = set().union(*(serials for other, serials in held.items() if other != index))
        deal = allocation.deal(pool, others, free=free, wanted=pool.count, taken=taken, spoken_for=elsewhere)
        held[index] = {dealt.machine for dealt in deal.hosts}
        for dealt in deal.hosts:
            taken |= {dealt.name, dealt.address}
            hosts.append(
                Host(
                    name=dealt.name,
                    site=site,
                    machine=dealt.machine,
                    enclave=like.enclave,
                    address=dealt.address,
                    groups=like.groups,
                    flavour=like.flavour,
                    pool=pool.name,
                    state=like.state,
                )
            )
    return tuple(hosts)


def _storage_pools(
    site: str, written: WrittenSite, hosts: tuple[Host, ...], machines: tuple[Machine, ...]
) -> tuple[StoragePool, ...]:
    by_serial = {machine.serial: machine for machine in machines}
    by_name = {host.name: host for host in hosts}
    found: list[StoragePool] = []
    for pool in written.storage_pools:
        names = [pool.host] if pool.host is not None else [host.name for host in hosts if host.pool == pool.each_of]
        for name in names:
            machine = by_serial.get(by_name[name].machine) if name in by_name else None
            data = tuple(disk.name for disk in machine.disks[1:]) if machine is not None else ()
            found.append(
                StoragePool(
                    name=pool.name if pool.each_of is None else f"{pool.name}-{name}",
                    site=site,
                    host=name,
                    disks=pool.disks or data,
                    file_system=pool.file_system,
                    mirrored=pool.mirrored,
                )
            )
    return tuple(found)


def _unknown_pools(source: SiteSources, written: WrittenSite, complaints: list[Complaint]) -> None:
    """Complain about storage pools on each host of a pool that is not there."""
    pools = [pool.name for pool in written.pools]
    for index, pool in enumerate(written.storage_pools):
        if pool.each_of is None or pool.each_of in pools or source.broken & {EVERYTHING, pool.each_of}:
            continue
        right = did_you_mean(pool.each_of, pools) or "add it to pools"
        line = source.site.line("storage_pools", index, "each_of")
        wrong = f"there is no pool {pool.each_of!r} at {source.name}"
        complaints.append(Complaint(source.site.document.path, line, wrong, right))
        source.site.broken.add(pool.name)


def _time_zone(source: SiteSources, written: WrittenSite, complaints: list[Complaint]) -> None:
    """Complain about a time zone that this machine does not know."""
    try:
        ZoneInfo(written.time_zone)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        known = available_timezones()
        right = did_you_mean(written.time_zone, known) or "write an IANA name, such as America/Santiago"
        path, line = source.site.document.path, source.site.line("time_zone")
        complaints.append(Complaint(path, line, f"there is no time zone {shown(written.time_zone)}", right))


def _site(
    source: SiteSources, written: WrittenSite, complaints: list[Complaint], existing: Mapping[HostName, Serial]
) -> Site:
    name = source.name
    machines = _machines(source, complaints)
    _time_zone(source, written, complaints)
    _unknown_pools(source, written, complaints)
    hosts = _hosts(name, written, machines, existing)
    return Site(
        name=name,
        title=written.title,
        time_zone=written.time_zone,
        management=written.management,
        bmc_network=written.bmc_network,
        boot_address=written.boot_address,
        machines=machines,
        unmanaged_switches=tuple(
            UnmanagedSwitch(name=switch.name, rack=switch.rack, ports=switch.ports)
            for switch in written.unmanaged_switches
        ),
        cables=tuple(
            Cable(machine=row.machine, nic=row.nic, switch=row.switch, port=row.port) for row in source.cables.rows
        ),
        segments=tuple(
            Segment(enclave=segment.enclave, site=name, subnet=segment.subnet, vni=segment.vni)
            for segment in written.segments
        ),
        hosts=hosts,
        storage_pools=_storage_pools(name, written, hosts, machines),
        volumes=tuple(
            Volume(name=volume.name, site=name, pool=volume.pool, size_gib=volume.size_gib, mount=volume.mount)
            for volume in written.volumes
        ),
        deploy=DeployLimits(**written.deploy.model_dump()),
        racks=tuple(Rack(name=rack.name, units=rack.units) for rack in written.racks),
        pools=tuple(_pool(name, pool) for pool in written.pools),
        kubeconfig=written.kubeconfig or "",
    )


def _people(written: WrittenFacility) -> tuple[Person, ...]:
    everywhere = tuple(enclave.name for enclave in written.enclaves)
    return tuple(
        Person(
            name=person.name,
            title=person.title,
            uid=person.uid,
            sudo=person.sudo,
            enclaves=everywhere if person.enclaves is None else person.enclaves,
        )
        for person in written.people
    )


def resolve(sources: Sources, existing: Mapping[HostName, Serial]) -> Resolved:
    """The facility that the sources describe, with ``existing`` hosts kept on their machines."""
    written = sources.facility.value
    if written is None:
        return Resolved(None, ())
    complaints: list[Complaint] = []
    sites = tuple(
        _site(source, source.site.value, complaints, existing)
        for source in sources.sites.values()
        if source.site.value is not None
    )
    facility = Facility(
        name=written.name,
        title=written.title,
        domain=written.domain,
        hardware=written.hardware,
        prefix=written.prefix,
        sites=sites,
        enclaves=tuple(
            Enclave(name=enclave.name, title=enclave.title, description=enclave.description)
            for enclave in written.enclaves
        ),
        flows=tuple(
            Flow(
                source=flow.source,
                target=flow.target,
                ports=flow.ports,
                reason=flow.reason,
                source_groups=flow.source_groups,
            )
            for flow in written.flows
        ),
        links=tuple(
            Link(
                name=link.name,
                sites=link.sites,
                rate_mbps=link.rate_mbps,
                delay_ms=link.delay_ms,
                subnet=link.subnet,
            )
            for link in written.links
        ),
        placements=tuple(
            Placement(service=item.service, site=item.site, enclave=item.enclave, group=item.group)
            for item in written.placements
        ),
        people=_people(written),
    )
    return Resolved(facility, tuple(complaints))
