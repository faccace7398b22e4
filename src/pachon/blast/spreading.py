"""Follows a loss outwards: machines, then what hangs on them by cable, then what they carried, then who needs that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pachon.blast.answer import EFFECTS, Blast, Effect, Hit
from pachon.blast.needing import spread_to_services
from pachon.blast.starting import Start, start_of
from pachon.model.facility import Facility, Host, HostState, Serial, Site
from pachon.model.interfaces import GATEWAY_GROUP, SWITCH_FLAVOUR, gateway_of, link_by_nic, own_nic
from pachon.model.service import Service

DUTIES = {
    "admin": "nobody configures the site's hosts from inside",
    "bastion": "nobody comes in",
    "dns": "the site's hosts resolve no names",
    "log_host": "what the site's hosts log stays with them",
    "time_server": "the site's clocks go by themselves",
}
"""Groups that all hosts of a site rely on, and what is missing without any of their hosts."""


def blast(facility: Facility, services: Mapping[str, Service], address: str) -> Blast:
    """What is affected if the rack, switch, machine, host, volume, link, service or site at that address goes away.

    Raises:
        UsageError: there is no such thing.
    """
    start = start_of(facility, services, address)
    spread = _Spread(facility, start)
    spread.run()
    placed = spread_to_services(
        facility, services, lost={name: hit.why for name, hit in spread.lost_hosts().items()}, down=start.services
    )
    for hit in placed:
        spread.hit(hit.address, hit.effect, hit.why, hit.through)
    hits = tuple(sorted(spread.hits.values(), key=lambda hit: (EFFECTS.index(hit.effect), hit.address)))
    effects = [hit.effect for hit in hits]
    return Blast(
        facility=facility.name,
        address=start.address,
        title=start.title,
        counts={effect: effects.count(effect) for effect in EFFECTS if effect in effects},
        hits=hits,
        notes=tuple(spread.notes),
    )


@dataclass
class _Spread:
    facility: Facility
    start: Start
    hits: dict[str, Hit] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def hit(self, address: str, effect: Effect, why: str, through: str = "") -> None:
        """Note it, unless something worse is known already."""
        known = self.hits.get(address)
        if known is None or EFFECTS.index(effect) < EFFECTS.index(known.effect):
            self.hits[address] = Hit(address=address, effect=effect, why=why, through=through or self.start.address)

    def run(self) -> None:
        """Follow it through the hardware, all sites in turn."""
        for site in self.facility.sites:
            if self.start.touches(site):
                self._machines(site)
                self._cables(site)
                self._gateways(site)
                self._storage(site)
                self._pools(site)
                self._duties(site)
        self._links()

    def lost_hosts(self) -> dict[str, Hit]:
        """Hosts that nobody reaches any more, by name."""
        return {
            hit.address.rpartition("/")[2]: hit
            for hit in self.hits.values()
            if "/host/" in hit.address and hit.effect in ("gone", "cut off")
        }

    @cached_property
    def _host_on(self) -> dict[Serial, Host]:
        return {host.machine: host for host in self.facility.hosts if host.state is HostState.ACTIVE}

    def _machines(self, site: Site) -> None:
        for name in sorted(self.start.switches):
            self.hit(f"{site.name}/switch/{name}", "gone", self.start.why)
        for machine in site.machines:
            if machine.serial in self.start.machines:
                if self.start.hardware:
                    self.hit(f"{site.name}/machine/{machine.serial}", "gone", self.start.why)
                host = self._host_on.get(machine.serial)
                if host is not None:
                    self.hit(f"{site.name}/host/{host.name}", "gone", self.start.why)

    def _cables(self, site: Site) -> None:
        switches = {host.machine: host.name for host in site.active_hosts if host.flavour == SWITCH_FLAVOUR}
        lost = {*self.start.switches, *(serial for serial in switches if serial in self.start.machines)}
        names = {**{name: name for name in self.start.switches}, **switches}
        if not lost:
            return
        blind = set(lost)
        for serial in switches:  # a switch that cannot pass on the management segment leaves its own without
            ends = {cable.switch for cable in site.cables_by_machine.get(serial, ()) if cable.switch not in switches}
            if ends and ends <= lost:
                blind.add(serial)
        for host in site.active_hosts:
            machine = site.machine_by_serial[host.machine]
            if host.machine in self.start.machines or not machine.nics:
                continue
            ends_by_nic = {cable.nic: cable.switch for cable in site.cables_by_machine.get(host.machine, ())}
            own = own_nic(self.facility, site, host)
            address = f"{site.name}/host/{host.name}"
            if own and ends_by_nic.get(own) in lost:
                switch = ends_by_nic[own]
                self.hit(address, "cut off", f"its cable ends in {names[switch]}", self._switch(site, switch, names))
            elif (end := ends_by_nic.get(machine.boot_nic.name)) in blind and end is not None:
                why = f"its management goes through {names.get(end, end)}"
                self.hit(address, "unmanaged", why, self._switch(site, end, names))

    @staticmethod
    def _switch(site: Site, switch: str, names: Mapping[str, str]) -> str:
        return (
            f"{site.name}/host/{names[switch]}" if switch in site.machine_by_serial else f"{site.name}/switch/{switch}"
        )

    def _gateways(self, site: Site) -> None:
        lost = self.lost_hosts()
        for segment in sorted(site.segments, key=lambda each: each.enclave):
            gateway = gateway_of(site, segment.enclave)
            if gateway is None or gateway.name not in lost:
                continue
            flows = sum(
                1
                for flow in self.facility.flows
                if segment.enclave in (flow.source, flow.target) or flow.source == "any"
            )
            why = f"its gateway {gateway.name} is {lost[gateway.name].effect}: none of its {flows} flows passes"
            through = f"{gateway.site}/host/{gateway.name}"
            self.hit(f"{site.name}/segment/{segment.enclave}", "cut off", why, through)
            standby = [
                host.name
                for host in site.active_hosts
                if GATEWAY_GROUP in host.groups and host.name not in lost and host.enclave == segment.enclave
            ]
            if standby:
                self.notes.append(
                    f"{', '.join(standby)} could take over as gateway of {segment.enclave}; nothing does so"
                )

    def _links(self) -> None:
        lost = self.lost_hosts()
        for link in self.facility.links:
            if link.name in self.start.links:
                self._link_lost(link.name, link.sites, self.start.why, self.start.address)
                continue
            for name in link.sites:
                site = self.facility.site(name)
                for host in site.active_hosts:
                    plugged = (
                        host.name in lost
                        and link.name in link_by_nic(self.facility, site, site.machine_by_serial[host.machine]).values()
                    )
                    if plugged:
                        why = f"{host.name} at its end is {lost[host.name].effect}"
                        self._link_lost(link.name, link.sites, why, f"{name}/host/{host.name}")

    def _link_lost(self, name: str, sites: tuple[str, str], why: str, through: str) -> None:
        self.hit(f"link/{name}", "cut off", why, through)
        left = [
            each.name
            for each in self.facility.links
            if set(each.sites) == set(sites) and f"link/{each.name}" not in self.hits
        ]
        for here, there in (sites, sites[::-1]):
            if left:
                self.hit(here, "degraded", f"{there} is reached by {', '.join(left)} only", f"link/{name}")
            else:
                self.hit(here, "degraded", f"no link leads to {there} directly", f"link/{name}")

    def _storage(self, site: Site) -> None:
        lost = self.lost_hosts()
        under = {pool.name: pool.host for pool in site.storage_pools}
        for pool in site.storage_pools:
            if pool.host in lost:
                hit = lost[pool.host]
                self.hit(f"{site.name}/pool/{pool.name}", hit.effect, f"its host is {hit.effect}", hit.address)
        for volume in site.volumes:
            host = under.get(volume.pool, "")
            if host in lost:
                hit = lost[host]
                self.hit(f"{site.name}/volume/{volume.name}", hit.effect, f"its host is {hit.effect}", hit.address)

    def _pools(self, site: Site) -> None:
        lost = self.lost_hosts()
        carried = {host.machine for host in site.hosts}
        for pool in site.pools:
            members = [host for host in site.active_hosts if host.pool == pool.name]
            missing = [host for host in members if host.name in lost]
            if not missing:
                continue
            left = len(members) - len(missing)
            why = f"{left} of {len(members)} hosts are left"
            self.hit(f"{site.name}/hosts/{pool.name}", "degraded" if left else "down", why)
            free = [
                machine.serial
                for machine in site.machines
                if machine.serial not in carried | self.start.machines and pool.machines.matches(machine)
            ]
            if free:
                self.notes.append(
                    f"{len(free)} free machine{'s' if len(free) > 1 else ''} of {site.name} fit {pool.name}"
                )

    def _duties(self, site: Site) -> None:
        lost = self.lost_hosts()
        for group, why in DUTIES.items():
            members = [host.name for host in site.active_hosts if group in host.groups]
            if members and all(name in lost for name in members):
                self.hit(f"{site.name}/duty/{group}", "down", why, f"{site.name}/host/{members[0]}")
            elif any(name in lost for name in members):
                self.hit(f"{site.name}/duty/{group}", "degraded", _left(members, lost))


def _left(members: list[str], lost: Iterable[str]) -> str:
    gone = set(lost)
    return f"{sum(name not in gone for name in members)} of {len(members)} hosts are left"
