"""From the address of a thing in the facility to the line where it is written.

Made only when there is something to complain about.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from pachon.checks import Note
from pachon.checks.connections import flow_address, placement_address
from pachon.checks.notes import subject
from pachon.definition.sources import SiteSources, Sources, Typed
from pachon.definition.written import WrittenFacility, WrittenSite
from pachon.errors import Complaint
from pachon.model.facility import Facility, Site

Source = Typed[WrittenFacility] | Typed[WrittenSite]
Place = Callable[[str], tuple[str, int]]
"""Path and line of a thing, given the key in question."""


class Lines:
    """Where each thing of a facility stands."""

    def __init__(self, sources: Sources, facility: Facility) -> None:
        self._places: defaultdict[str, list[Place]] = defaultdict(list)
        self._fallback = sources.facility.document.path
        self._facility(sources.facility, facility)
        for site in facility.sites:
            self._tables(sources.sites[site.name])
            source = sources.sites[site.name].site
            if source.value is not None:
                self._site(source, source.value, site)

    def complaint(self, note: Note) -> Complaint:
        """The note with the path and line of its subject."""
        places = self._places.get(note.address)
        path, line = places[min(note.occurrence, len(places) - 1)](note.key) if places else (self._fallback, 1)
        return Complaint(path, line, note.message, note.cure)

    def _add(self, address: str, source: Source, *location: str | int) -> None:
        def place(key: str) -> tuple[str, int]:
            where = (*location, key) if key else location
            if not where:
                return source.document.path, 1
            return source.document.path, source.line(str(where[0]), *where[1:])

        self._places[address].append(place)

    def _list(self, source: Source, key: str, addresses: Iterable[str]) -> None:
        for index, address in enumerate(addresses):
            self._add(address, source, key, index)

    def _facility(self, source: Typed[WrittenFacility], facility: Facility) -> None:
        self._add("facility", source)
        self._list(source, "enclaves", (f"enclave/{item.name}" for item in facility.enclaves))
        self._list(source, "flows", (flow_address(index, flow) for index, flow in enumerate(facility.flows)))
        self._list(source, "links", (f"link/{item.name}" for item in facility.links))
        self._list(source, "placements", map(placement_address, facility.placements))
        self._list(source, "people", (f"person/{item.name}" for item in facility.people))

    def _site(self, source: Typed[WrittenSite], written: WrittenSite, site: Site) -> None:
        def addresses(kind: str, names: Iterable[str]) -> list[str]:
            return [subject(site.name, kind, name) for name in names]

        self._add(site.name, source)
        self._list(source, "racks", addresses("rack", (item.name for item in written.racks)))
        self._list(
            source, "unmanaged_switches", addresses("switch", (item.name for item in written.unmanaged_switches))
        )
        self._list(source, "segments", addresses("segment", (item.enclave for item in written.segments)))
        self._list(source, "hosts", addresses("host", (item.name for item in written.hosts)))
        self._list(source, "pools", addresses("pool", (item.name for item in written.pools)))
        self._list(source, "volumes", addresses("volume", (item.name for item in written.volumes)))
        pools = {pool.name: index for index, pool in enumerate(written.pools)}
        for host in site.hosts:
            if host.pool:
                self._add(subject(site.name, "host", host.name), source, "pools", pools[host.pool])
        for index, pool in enumerate(written.storage_pools):
            stems = [pool.name] if pool.each_of is None else []
            stems += [f"{pool.name}-{host.name}" for host in site.hosts if host.pool and host.pool == pool.each_of]
            for name in stems:
                self._add(subject(site.name, "storage-pool", name), source, "storage_pools", index)

    def _tables(self, source: SiteSources) -> None:
        def add(address: str, path: str, line: int) -> None:
            self._places[address].append(lambda _key: (path, line))

        name = source.name
        for machine, line in zip(source.machines.rows, source.machines.lines, strict=True):
            add(subject(name, "machine", machine.serial), source.machines.path, line)
        for nic, line in zip(source.nics.rows, source.nics.lines, strict=True):
            add(subject(name, "nic", nic.machine, nic.nic), source.nics.path, line)
        for disk, line in zip(source.disks.rows, source.disks.lines, strict=True):
            add(subject(name, "disk", disk.machine, disk.disk), source.disks.path, line)
        for cable, line in zip(source.cables.rows, source.cables.lines, strict=True):
            add(subject(name, "cable", cable.machine, cable.nic), source.cables.path, line)
