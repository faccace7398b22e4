"""Rollouts of a service that roles make hosts run: two slots a host, each a server at the front doors of its site.

A release comes into the slot that the other one has not, is tried there before anybody is sent to it, and gets its
share by weight. What each slot is to have is on record before anything starts or stops, and ``pachon up`` goes by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pachon import artefacts
from pachon.drivers.front_door import FrontDoor
from pachon.drivers.prometheus import Prometheus
from pachon.drivers.ssh import Credentials, Fleet
from pachon.drivers.ssh import Host as Connection
from pachon.errors import PachonError, PermanentError, RefusedError, TemporaryError, UsageError
from pachon.hostvars import front_door, metrics, reaching
from pachon.model.facility import Host, Site
from pachon.model.instance import Slot
from pachon.model.probes import endpoint_of
from pachon.model.rollout import HealthGate, Place, QueryGate, Release
from pachon.model.service import Endpoint
from pachon.rollout import slots
from pachon.rollout.beginning import Subject
from pachon.rollout.doors import Doors
from pachon.rollout.measures import Measures, Target
from pachon.rollout.playing import Roles
from pachon.rollout.world import Finding
from pachon.store import instances, releases
from pachon.store.lease import Lease

DRAIN_SECONDS = 60.0
"""For requests to end that an instance has; then it is stopped all the same."""
LOOKS_SECONDS = 0.5
SERVERS = "{servers}"
"""In a query: the servers of the release that takes over, as a pattern."""

Taken = dict[Slot, str]
"""The version in each slot of a host that is to have one."""


@dataclass
class HostWorld:
    """Hosts, front doors and Prometheus of one service's places; to be closed by whoever is through with it."""

    subject: Subject
    roles: Roles
    _fleet: Fleet | None = field(default=None)

    def __post_init__(self) -> None:
        """Refuse what could only fail in the middle.

        Raises:
            RefusedError, UsageError: this service cannot be rolled out so.
        """
        service, rules, facility = self.subject.service, self.subject.rules, self.roles.facility
        if not self._endpoints:
            raise UsageError(
                f"hosts have room for one instance of {service.name} only",
                cure="write a second_port for the front of one of its endpoints, and side_by_side: true",
            )
        if not rules.side_by_side:
            raise UsageError(
                f"{service.name} has two slots on each host, and its rollout.yaml says that there is one",
                cure="write side_by_side: true",
            )
        named = {endpoint.name for endpoint in self._endpoints}
        for gate in rules.gates:
            probe = service.probe(gate.probe) if isinstance(gate, HealthGate) else None
            if probe is not None and endpoint_of(probe) not in named:
                raise UsageError(
                    f"the probe {probe.name} of gate {gate.name} tries no endpoint that has two slots",
                    cure=f"name a probe of {', '.join(sorted(named))}",
                )
        measured = any(isinstance(gate, QueryGate) for gate in rules.gates)
        for name in dict.fromkeys(place.site for place in self.subject.places):
            groups = [front_door.GROUP, *([metrics.GROUP] if measured else [])]
            for group in groups:
                if not reaching.of_group_at(facility.site(name), group):
                    raise RefusedError(f"no host of {name} is in the group {group}", cure="add it to one's groups")

    async def close(self) -> None:
        """Hang up."""
        if self._fleet is not None:
            fleet, self._fleet = self._fleet, None
            await fleet.__aexit__(None, None, None)

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    # ---- what there is -----------------------------------------------------------------------------------------

    async def look(self, place: Place) -> Mapping[str, tuple[str, ...]]:
        """The instances that the place has, by version; of what nobody rolled out, the first release's."""
        found: dict[str, tuple[str, ...]] = {}
        for host, taken in self._taken(place).items():
            for version in taken.values():
                found[version] = (*found.get(version, ()), host)
        return found

    async def artefacts(self, site: str) -> frozenset[str]:
        """Digests of what the controller of the site has."""
        return await asyncio.to_thread(artefacts.shelved, self.roles.state)

    def _taken(self, place: Place) -> dict[str, Taken]:
        """By host what its slots are to have."""
        facility = self.roles.now
        placement = next(each for each in facility.placements if _is_of(each.service, each.site, each.enclave, place))
        first = placement.offer.first if placement.offer is not None else None
        by_host = facility.site(place.site).instances_by_host
        found: dict[str, Taken] = {}
        for name in place.instances:
            own = [each for each in by_host.get(name, ()) if each.service == place.service]
            found[name] = {each.slot: each.version for each in own if each.version}
            if not own and first is not None:
                found[name] = {"a": first.version}
        return found

    # ---- effects -----------------------------------------------------------------------------------------------

    async def start(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have them run, each in a slot of its own, and front doors send them nothing yet."""
        await self._reach(place, instances)
        self._adopt(place, instances, lease)
        taken = self._taken(place)
        chosen = {name: slots.slot_for(taken[name], release.version, instance=name) for name in instances}
        for backend in self._backends:
            await self._doors(place).hold_back(backend, [slots.server_of(*each) for each in chosen.items()])
        for name, slot in chosen.items():
            self._put(place, name, slot, release, lease)
        await self._play(place, instances, lease)

    async def stop(self, place: Place, release: Release, instances: Sequence[str], *, lease: Lease) -> None:
        """Have them end what they were asked, then be gone."""
        await self._reach(place, instances)
        taken = self._taken(place)
        going = {name: slot for name in instances if (slot := slots.slot_of(taken[name], release.version)) is not None}
        servers = [slots.server_of(*each) for each in going.items()]
        doors = self._doors(place)
        for backend in self._backends if servers else ():
            await doors.drain(backend, servers)
        await self._until_idle(doors, servers)
        for backend in self._backends if servers else ():
            await doors.close(backend, servers)
        for name, slot in going.items():
            self._put(place, name, slot, None, lease)
        await self._play(place, instances, lease)

    async def weigh(self, place: Place, shares_percent: Mapping[str, int], *, lease: Lease) -> None:
        """Have front doors share requests out so; what is in force counts as what was there before."""
        before = self._in_force(place)
        ordered = dict(sorted(shares_percent.items(), key=lambda each: each[0] != before))
        servers = self._servers(place)
        for backend in self._backends:
            await self._doors(place).weigh(backend, ordered, servers)

    async def _until_idle(self, doors: Doors, servers: Sequence[str]) -> None:
        end = asyncio.get_running_loop().time() + DRAIN_SECONDS
        for backend in self._backends if servers else ():
            busy = await doors.under_way(backend, servers)
            while busy and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOKS_SECONDS)
                busy = await doors.under_way(backend, servers)

    def _adopt(self, place: Place, names: Sequence[str], lease: Lease) -> None:
        """Put on record what stands without being on record: else a second instance would hide it."""
        there = {each.host for each in instances.standing(self.roles.store, place.service, place.site)}
        for name, taken in self._taken(place).items():
            if name in names and name not in there:
                for slot, version in taken.items():
                    self._put(place, name, slot, self._release(version), lease)

    def _put(self, place: Place, name: str, slot: Slot, release: Release | None, lease: Lease) -> None:
        store, service, enclave = self.roles.store, place.service, place.enclave
        try:
            instances.put(store, lease, service, enclave=enclave, host=name, slot=slot, release=release)
        except RefusedError as error:
            raise TemporaryError(error.message, cure=error.cure) from error

    def _release(self, version: str) -> Release:
        known = releases.on_record(self.roles.store, self.subject.service.name).releases
        found = known.get(version) or self.subject.releases.get(version)
        if found is None:
            raise PermanentError(f"{version}, which stands, is not on record", cure="put its file back into releases/")
        return found

    async def _play(self, place: Place, names: Sequence[str], lease: Lease) -> None:
        """Have roles on hosts as the record has them; a host that is away then is none that has failed."""
        try:
            await self.roles.play(names, lease)
        except PermanentError:
            await self._reach(place, names)
            raise

    async def _reach(self, place: Place, names: Sequence[str]) -> None:
        """Nothing, if all of these hosts answer (TemporaryError otherwise)."""
        for connection in await asyncio.gather(*(self._open(self._host(place, name)) for name in names)):
            await connection.run("true")

    # ---- gates -------------------------------------------------------------------------------------------------

    async def health(self, place: Place, release: Release, instances: Sequence[str], probe: str) -> Finding:
        """Whether each passes the probe, at the port of its slot."""
        found = self.subject.service.probe(probe)
        if found is None:
            raise UsageError(f"{place.service} has no probe {probe!r}", cure="see its service.yaml")
        endpoint = next(each for each in self._endpoints if each.name == endpoint_of(found))
        taken = self._taken(place)
        targets = {}
        for name in instances:
            slot = slots.slot_of(taken[name], release.version)
            if slot is None:
                return Finding(False, f"nothing of {release.version} is to stand on {name}")
            targets[slots.server_of(name, slot)] = self._target(place, name, endpoint, slot)
        return await self._measures(place).health(targets, found)

    async def smoke(self, place: Place, release: Release, instance: str, command: Sequence[str]) -> Finding:
        """Whether the program ends well, told where the instance is, or the front door."""
        endpoint, facility = self._endpoints[0], self.roles.facility
        where = f"{front_door.name_of(facility, place.service, place.site)}:{endpoint.number}"
        if instance:
            slot = slots.slot_of(self._taken(place)[instance], release.version)
            if slot is None:
                return Finding(False, f"nothing of {release.version} is to stand on {instance}")
            target = self._target(place, instance, endpoint, slot)
            where = f"{target.address}:{target.port}"
        return await self._measures(place).smoke(where, command)

    async def query(self, place: Place, query: str) -> float | None:
        """The value; ``{servers}`` is put in: the servers of what takes over, or of what is there alone."""
        servers, before = self._servers(place), self._in_force(place)
        names = [name for version, each in servers.items() if version != before for name in each]
        names = names or [name for each in servers.values() for name in each]
        pattern = "|".join(name.replace(".", "[.]") for name in names)
        return await self._measures(place).query(query.replace(SERVERS, pattern))

    # ---- where it is -------------------------------------------------------------------------------------------

    @property
    def _endpoints(self) -> tuple[Endpoint, ...]:
        """Those that two instances of a host can have each on a port of its own."""
        endpoints = self.subject.service.endpoints
        return tuple(each for each in endpoints if each.front is not None and each.front.port_by_slot)

    @property
    def _backends(self) -> tuple[str, ...]:
        return tuple(front_door.backend_of(self.subject.service.name, each.name) for each in self._endpoints)

    def _servers(self, place: Place) -> dict[str, list[str]]:
        """Names of servers by version."""
        found: dict[str, list[str]] = {}
        for name, taken in self._taken(place).items():
            for slot, version in taken.items():
                found.setdefault(version, []).append(slots.server_of(name, slot))
        return found

    def _in_force(self, place: Place) -> str:
        """The version that the place had before what is under way, or began with."""
        known = releases.on_record(self.roles.store, place.service).in_force
        for each in known:
            if (each.site, each.enclave) == (place.site, place.enclave):
                return each.version
        first = self.subject.service.first
        return first.version if first is not None else ""

    def _site(self, place: Place) -> Site:
        return self.roles.facility.site(place.site)

    def _host(self, place: Place, name: str) -> Host:
        return next(host for host in self._site(place).active_hosts if host.name == name)

    def _target(self, place: Place, name: str, endpoint: Endpoint, slot: Slot) -> Target:
        host = self._host(place, name)
        assert endpoint.front is not None, "it is one of those with slots"
        port = endpoint.front.port_by_slot[slot]
        return Target(str(host.address), port, reaching.fqdn(self.roles.facility, host))

    def _doors(self, place: Place) -> Doors:
        hosts = reaching.of_group_at(self._site(place), front_door.GROUP)
        return Doors({host.name: FrontDoor(host.name, self._opening(host)) for host in hosts})

    def _measures(self, place: Place) -> Measures:
        site = self._site(place)
        endpoint = self._endpoints[0]
        measuring = next(iter(reaching.of_group_at(site, metrics.GROUP)), None)
        asked = measuring or reaching.of_group_at(site, front_door.GROUP)[0]
        return Measures(
            lambda: self._any_door(site),
            Prometheus(asked.name, self._opening(asked), address=str(asked.address)),
            name=front_door.name_of(self.roles.facility, place.service, site.name),
            plain=bool(endpoint.front is not None and endpoint.front.plain),
        )

    async def _any_door(self, site: Site) -> Connection:
        """An open connection to the first front door that answers."""
        failed: PachonError | None = None
        for host in reaching.of_group_at(site, front_door.GROUP):
            try:
                return await self._open(host)
            except TemporaryError as error:
                failed = error
        assert failed is not None, "there is a front door, or nothing would have begun"
        raise failed

    def _opening(self, host: Host) -> Callable[[], Awaitable[Connection]]:
        return lambda: self._open(host)

    async def _open(self, host: Host) -> Connection:
        """An open connection to a host (TemporaryError: it is away)."""
        if self._fleet is None:
            detours = await self.roles.detours()
            self._fleet = Fleet(Credentials.of_state(self.roles.state), detours=detours)
        try:
            return await self._fleet.host(reaching.management_address(self.roles.facility, host))
        except TemporaryError as error:
            raise TemporaryError(f"{host.name} does not answer: {error.message}", cure=error.cure) from error


def _is_of(service: str, site: str, enclave: str, place: Place) -> bool:
    return (service, site, enclave) == (place.service, place.site, place.enclave)
