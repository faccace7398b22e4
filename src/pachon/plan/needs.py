"""Which action comes after which, and the waves that follow from it.

The rules are those by which stacks and plays are really carried out (``site_run``): switches before what boots through
them, a host before its volumes, both before its roles; what is removed goes in the opposite order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pachon.errors import PermanentError
from pachon.model.facility import Facility, Host, Machine
from pachon.model.hardware import through_switches
from pachon.model.interfaces import SWITCH_FLAVOUR
from pachon.plan.document import DESTROYING, Action

Inputs = Mapping[str, Any]


@dataclass
class Ground:
    """What the definition wants and what stands by our doing, looked up by address."""

    facility: Facility
    made: Mapping[str, Inputs]
    """Inputs of what stands, from the journal."""
    roles: Sequence[str] = ()
    """In the order in which they are played."""
    _volumes: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Defined hosts by address."""
        return {f"{host.site}/host/{host.name}": host for host in self.facility.hosts}

    @cached_property
    def machines(self) -> dict[str, Machine]:
        """Defined machines by address."""
        return {f"{machine.site}/machine/{machine.serial}": machine for machine in self.facility.machines}

    @cached_property
    def host_of_volume(self) -> dict[str, str]:
        """Address of the host under each volume, defined or standing."""
        standing = {
            address: f"{address.split('/')[0]}/host/{inputs.get('host', '')}"
            for address, inputs in self.made.items()
            if "/volume/" in address
        }
        defined: dict[str, str] = {}
        for site in self.facility.sites:
            host_by_pool = {pool.name: pool.host for pool in site.storage_pools}
            for volume in site.volumes:
                defined[f"{site.name}/volume/{volume.name}"] = f"{site.name}/host/{host_by_pool.get(volume.pool, '')}"
        return {**standing, **defined}

    def volumes_on(self, host: str) -> list[str]:
        """Addresses of the volumes on a host."""
        if not self._volumes:
            for volume, under in sorted(self.host_of_volume.items()):
                self._volumes.setdefault(under, []).append(volume)
        return self._volumes.get(host, [])

    @cached_property
    def boots_through_switches(self) -> frozenset[str]:
        """Sites whose machines boot through switch machines."""
        return frozenset(site.name for site in self.facility.sites if through_switches(self.facility, site))

    @cached_property
    def host_on(self) -> dict[str, str]:
        """Address of the host that is to be on each machine, by serial."""
        active = (host for site in self.facility.sites for host in site.active_hosts)
        return {host.machine: f"{host.site}/host/{host.name}" for host in active}

    def is_in_the_way(self, host: str) -> bool:
        """Whether the machine that this standing host is on is to carry another."""
        return self.host_on.get(self.serial_now(host), host) != host

    def serial_now(self, host: str) -> str:
        """Serial of the machine that a standing host is on."""
        return str(self.made.get(host, {}).get("serial", ""))


def needs_of(actions: Sequence[Action], ground: Ground) -> list[set[int]]:
    """For each action the places of those that come before it."""
    index = _Index(actions)
    needs: list[set[int]] = [set() for _ in actions]
    before_role: dict[str, int] = {}
    for place, action in enumerate(actions):
        if action.layer == "hosts":
            host = action.address.partition("/role/")[0]
            needs[place] |= index.making(host, *ground.volumes_on(host))
        elif action.layer == "clusters":
            needs[place] |= _before_object(action, index)
        elif action.layer == "policies":  # what an engine is to forget has to be gone first, what it is to use there
            host = f"{action.site}/host/{action.address.rpartition('/')[2]}"
            before = index.removing if action.verb == "delete" else index.making
            needs[place] |= before(host, f"{host}/role/slurm_compute")
        elif action.verb == "delete":
            needs[place] |= _before_delete(action, ground, index)
        else:
            needs[place] |= _before_making(action, ground, index)
        needs[place].discard(place)
    for place in index.roles_in_order(ground.roles):
        host = actions[place].address.partition("/role/")[0]
        if host in before_role:
            needs[place].add(before_role[host])
        before_role[host] = place
    return needs


def _before_object(action: Action, index: "_Index") -> set[int]:
    """The cluster's own hosts, and the namespace; what goes, goes by itself."""
    found = set() if action.verb == "delete" else set(index.of_cluster.get(action.site, ()))
    _, _, kind, name = action.address.split("/", 3)
    space = f"{action.site}/object/namespace/{name.partition('.')[0]}"
    return found if kind == "namespace" or action.verb == "delete" else found | index.making(space)


@dataclass
class _Index:
    """Places of actions by address."""

    actions: Sequence[Action]
    _leaving: dict[str, set[int]] | None = None

    @cached_property
    def _made(self) -> dict[str, int]:
        return {action.address: place for place, action in enumerate(self.actions) if action.verb != "delete"}

    @cached_property
    def _gone(self) -> dict[str, int]:
        return {action.address: place for place, action in enumerate(self.actions) if action.verb == "delete"}

    @cached_property
    def of_cluster(self) -> dict[str, list[int]]:
        """By site, roles that make its cluster."""
        found: dict[str, list[int]] = {}
        for place, action in enumerate(self.actions):
            if action.layer == "hosts" and action.verb != "delete" and "/role/kubernetes_" in action.address:
                found.setdefault(action.site, []).append(place)
        return found

    @cached_property
    def network(self) -> dict[str, list[str]]:
        """By site, addresses of the network stack."""
        found: dict[str, list[str]] = {}
        for action in self.actions:
            if action.stack == "network" and "/machine/" not in action.address:
                found.setdefault(action.site, []).append(action.address)
        return found

    def making(self, *addresses: str) -> set[int]:
        """Of the actions that make or change these."""
        return {self._made[address] for address in addresses if address in self._made}

    def removing(self, *addresses: str) -> set[int]:
        """Of the actions that remove these."""
        return {self._gone[address] for address in addresses if address in self._gone}

    def leaving(self, ground: Ground) -> Mapping[str, set[int]]:
        """By serial, actions that take the host off a machine, leftovers' among them."""
        if self._leaving is None:
            self._leaving = {}
            for place, action in enumerate(self.actions):
                if action.layer == "hardware" and "/host/" in action.address and action.verb in DESTROYING:
                    self._leaving.setdefault(ground.serial_now(action.address), set()).add(place)
        return self._leaving

    def roles_in_order(self, known: Sequence[str]) -> list[int]:
        """Places of roles in the order in which they are played; what hosts no longer have goes first."""
        order = {role: number for number, role in enumerate(known)}
        roles = [place for place, action in enumerate(self.actions) if action.layer == "hosts"]

        def key(place: int) -> tuple[bool, int]:
            action = self.actions[place]
            return action.verb != "delete", order.get(action.address.rpartition("/")[2], 0)

        return sorted(roles, key=key)


def _before_making(action: Action, ground: Ground, index: _Index) -> set[int]:
    found = index.removing(action.address)  # it moves from one stack to another
    site = action.site
    if "/host/" in action.address:
        host = ground.hosts.get(action.address)
        if host is None:
            return found
        found |= index.making(f"{site}/machine/{host.machine}")
        found |= {
            place
            for place in index.leaving(ground).get(host.machine, ())
            if index.actions[place].verb == "delete" and index.actions[place].site == site
        }
        if host.flavour != SWITCH_FLAVOUR and site in ground.boots_through_switches:
            found |= index.making(*index.network.get(site, []))
    elif "/network/" in action.address:
        switches = [
            address for address, host in ground.hosts.items() if host.site == site and host.flavour == SWITCH_FLAVOUR
        ]
        found |= index.making(*switches)
    elif "/volume/" in action.address:
        found |= index.making(ground.host_of_volume.get(action.address, ""))
    return found


def _before_delete(action: Action, ground: Ground, index: _Index) -> set[int]:
    if "/machine/" in action.address:
        return index.leaving(ground).get(action.address.rpartition("/")[2], set())
    if "/host/" not in action.address:
        return set()
    found = index.removing(*ground.volumes_on(action.address))
    if action.stack == "network" and not ground.is_in_the_way(action.address):
        networks = [address for address in index.network.get(action.site, []) if "/network/" in address]
        found |= index.making(*networks) | index.removing(*networks)
    return found


def waves_of(needs: Sequence[set[int]]) -> list[list[int]]:
    """Places by wave: each as early as its needs let it.

    Raises:
        PermanentError: actions need one another in a circle.
    """
    left = {place: set(before) for place, before in enumerate(needs)}
    waves: list[list[int]] = []
    while left:
        ready = [place for place, before in left.items() if not before]
        if not ready:
            raise PermanentError(
                f"{len(left)} planned actions need one another in a circle",
                cure="this is a fault of Pachon: report it with the definition",
            )
        waves.append(ready)
        done = set(ready)
        left = {place: before - done for place, before in left.items() if place not in done}
    return waves
