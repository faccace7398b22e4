"""A packet's way, followed from cable to cable as the definition has them."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from pachon.model.facility import EnclaveName, Facility, Host, HostState, Link, Segment, Serial, Site, SiteName
from pachon.model.hardware import MANAGEMENT_BRIDGE
from pachon.model.interfaces import SWITCH_FLAVOUR, Interface, Use, gateway_of, interfaces_of
from pachon.tracing.answer import Hop, Stop
from pachon.tracing.joints import end_of, links_between, switches_between


@dataclass
class Way:
    """A packet's way as it is followed, hop by hop; what stops it does not end the search for more."""

    facility: Facility
    source: Host
    target: Host
    hops: list[Hop] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    source_address: IPv4Address = field(init=False)

    def __post_init__(self) -> None:
        self.source_address = self.source.address

    def walk(self) -> None:
        """Follow it over the data network."""
        self._ends()
        if self.source.name == self.target.name:
            self._host(self.source, None)
            return
        here = self.facility.site(self.source.site)
        there = self.facility.site(self.target.site)
        near = here.segment(self.source.enclave)
        far = there.segment(self.target.enclave)
        for site, enclave, segment in ((here, self.source.enclave, near), (there, self.target.enclave, far)):
            if segment is None:
                self._stop(
                    f"{enclave} at {site.name}",
                    "the enclave has no segment there",
                    f"add one to segments in site.yaml of {site.name}",
                )
        if near is None or far is None:
            return
        start = self._nic(self.source, near.enclave)
        if start is None and near != far:
            start = self._on(self.source, far)
        self._host(self.source, start)
        if near == far:
            self._within(far, (self.source, start), (self.target, self._nic(self.target, far.enclave)))
        elif (direct := self._on(self.source, far)) is not None:
            self.source_address = direct.addresses[0].ip if direct.addresses else self.source_address
            self._within(far, (self.source, direct), (self.target, self._nic(self.target, far.enclave)))
        else:
            self._routed(near, far, start)
        self._host(self.target, self._nic(self.target, far.enclave))

    def walk_management(self) -> None:
        """Follow it over the management segment."""
        self._ends()
        site = self.facility.site(self.source.site)
        self._host(self.source, self._management_nic(self.source))
        if self.source.name == self.target.name:
            return
        if self.source.site != self.target.site:
            self._stop(
                f"management segment of {self.source.site}",
                f"it ends at the site: {self.target.name} is at {self.target.site}",
                f"start at an admin host of {self.target.site}",
            )
            return
        ends = [(host, self._management_nic(host)) for host in (self.source, self.target)]
        self._cabled(site, ends[0], ends[1], f"management segment {site.management}", MANAGEMENT_BRIDGE)
        self._host(self.target, ends[1][1])

    def _ends(self) -> None:
        for host in dict.fromkeys((self.source.name, self.target.name)):
            self._exists(next(each for each in (self.source, self.target) if each.name == host))

    def _exists(self, host: Host) -> None:
        if host.state is not HostState.ACTIVE:
            self._stop(host.name, f"the host is {host.state.value}", f"set the state of {host.name} to active")

    def _routed(self, near: Segment, far: Segment, start: Interface | None) -> None:
        """From segment to segment over the gateways of the sites between."""
        leaving = self._gateway(near)
        if leaving is None:
            return
        if leaving.name != self.source.name:
            self._within(near, (self.source, start), (leaving, self._on(leaving, near)))
        if near.site == far.site:
            self._forward(leaving, near, far)
            arriving = leaving
        else:
            found = self._across(near, far, leaving)
            if found is None:
                return
            arriving = found
        if arriving.name != self.target.name:
            self._within(far, (arriving, self._on(arriving, far)), (self.target, self._nic(self.target, far.enclave)))

    def _forward(self, gateway: Host, near: Segment, far: Segment) -> None:
        """Within one gateway."""
        inside, outside = self._on(gateway, near), self._on(gateway, far)
        if outside is None:
            self._no_foot(gateway, far)
            return
        about = f"{_shown(inside)} to {_shown(outside)}"
        self.hops.append(Hop(kind="gateway", site=gateway.site, name=gateway.name, about=about))

    def _across(self, near: Segment, far: Segment, leaving: Host) -> Host | None:
        """Over the links; the gateway at the other end, if one is reached."""
        links = links_between(self.facility, near.site, far.site)
        if links is None:
            self._stop(
                f"{near.site} to {far.site}",
                "no link leads there",
                f"add a link between {near.site} and {far.site} to facility.yaml",
            )
            return None
        at, inside = leaving, self._on(leaving, near)
        for number, link in enumerate(links):
            site_name = link.other_end(at.site)
            # On the way only the first segment of a site's gateway matters; at the end that of the target.
            last = number == len(links) - 1
            following = self._gateway(far) if last else self._any_gateway(link, site_name)
            if following is None:
                return None
            out, into = self._plugged(at, link), self._plugged(following, link)
            self.hops.append(
                Hop(kind="gateway", site=at.site, name=at.name, about=f"{_shown(inside)} to {_shown(out)}")
            )
            about = f"{link.rate_mbps} Mbit/s, {link.delay_ms} ms one way"
            if into is not None and into.addresses:
                about += f"; next hop {into.addresses[0].ip}"
            self.hops.append(Hop(kind="link", site=at.site, name=link.name, about=about))
            at, inside = following, into
        outside = self._on(at, far)
        if outside is None:
            self._no_foot(at, far)
        else:
            about = f"{_shown(inside)} to {_shown(outside)}"
            self.hops.append(Hop(kind="gateway", site=at.site, name=at.name, about=about))
        return at

    def _plugged(self, gateway: Host, link: Link) -> Interface | None:
        """The gateway's NIC in that link."""
        found = next((nic for nic in self._nics(gateway) if nic.use is Use.LINK and nic.link == link.name), None)
        if found is None:
            self._stop(
                f"link {link.name}",
                f"no NIC of {gateway.name} is plugged into it at {gateway.site}",
                f"add a row {gateway.machine},NIC,{link.name},{gateway.site} to cables.csv",
            )
        elif link.subnet is None:
            self._stop(f"link {link.name}", "it has no subnet, so its ends have no addresses", "give it a subnet")
        return found

    def _gateway(self, segment: Segment) -> Host | None:
        """The gateway of that segment."""
        site = self.facility.site(segment.site)
        gateway = gateway_of(site, segment.enclave)
        if gateway is None:
            self._stop(
                f"{segment.enclave} at {site.name}",
                f"no gateway has the address {segment.gateway}",
                f"give a host in the group gateway at {site.name} a NIC on {segment.enclave} (nics in site.yaml)",
            )
        else:
            self._exists(gateway)
        return gateway

    def _any_gateway(self, link: Link, site_name: SiteName) -> Host | None:
        """The gateway of a site on the way that hangs on that link."""
        site = self.facility.site(site_name)
        for host in site.hosts:
            if any(nic.link == link.name for nic in self._nics(host)):
                self._exists(host)
                return host
        self._stop(
            f"link {link.name}", f"nothing is plugged into it at {site_name}", f"cable a gateway of {site_name} to it"
        )
        return None

    def _no_foot(self, gateway: Host, segment: Segment) -> None:
        self._stop(
            gateway.name,
            f"it has no NIC on {segment.enclave} at {segment.site}",
            "add one to its nics in site.yaml, and its cable to cables.csv",
        )

    def _nics(self, host: Host) -> tuple[Interface, ...]:
        return interfaces_of(self.facility, self.facility.site(host.site), host)

    def _nic(self, host: Host, enclave: EnclaveName) -> Interface | None:
        """The host's own NIC on its enclave's segment; a stop where it has none."""
        found = next((nic for nic in self._nics(host) if nic.use is Use.SEGMENT and nic.enclave == enclave), None)
        if found is None:
            stop = Stop(
                where=host.name,
                why=f"no NIC of its machine {host.machine} is for {enclave}",
                cure="add one to nics.csv, and its cable to cables.csv",
            )
            self.stops += [] if stop in self.stops else [stop]
        return found

    def _on(self, host: Host, segment: Segment) -> Interface | None:
        """The NIC that a host has on that segment, if any."""
        if host.site != segment.site:
            return None
        return next(
            (nic for nic in self._nics(host) if nic.use is Use.SEGMENT and nic.enclave == segment.enclave), None
        )

    def _management_nic(self, host: Host) -> Interface:
        return next(nic for nic in self._nics(host) if nic.use is Use.MANAGEMENT)

    def _within(
        self, segment: Segment, one: tuple[Host, Interface | None], other: tuple[Host, Interface | None]
    ) -> None:
        """Between two NICs of a segment."""
        site = self.facility.site(segment.site)
        self._cabled(site, one, other, f"{segment.enclave} {segment.subnet}, VNI {segment.vni}", f"br{segment.vni}")

    def _cabled(
        self,
        site: Site,
        one: tuple[Host, Interface | None],
        other: tuple[Host, Interface | None],
        network: str,
        bridge: str,
    ) -> None:
        """Between two NICs of a site: both cables, and the switches between them."""
        ends: list[tuple[str, str]] = []
        for host, nic in (one, other):
            if nic is None:
                return
            end = end_of(site, host.machine, nic.name)
            if end is None:
                self._stop(
                    f"{host.name} {nic.name}",
                    f"{nic.name} of its machine {host.machine} has no cable",
                    f"add a row {host.machine},{nic.name},SWITCH,PORT to cables.csv",
                )
                return
            ends.append(end)
        (first, first_port), (last, last_port) = ends
        between = switches_between(site, first, last)
        self._cable(site, f"{one[0].machine} {_name(one[1])}", f"{first} {first_port}")
        if between is None:
            self._stop(
                f"{first} to {last}",
                "no cables join these switches",
                "cable both ends to one switch, or the switches to each other",
            )
            return
        for number, serial in enumerate(between):
            ports = [first_port] if number == 0 else []
            ports += [last_port] if number == len(between) - 1 else []
            self._switch(site, serial, ports, network=network, bridge=bridge)
        self._cable(site, f"{last} {last_port}", f"{other[0].machine} {_name(other[1])}")

    def _switch(self, site: Site, serial: Serial, ports: list[str], *, network: str, bridge: str) -> None:
        host = next((host for host in site.hosts if host.machine == serial), None)
        joined = f"{' and '.join(ports)}: " if ports else ""
        if serial in {switch.name for switch in site.unmanaged_switches}:
            self.hops.append(Hop(kind="switch", site=site.name, name=serial, about=f"{joined}{network}"))
            return
        if host is None or host.flavour != SWITCH_FLAVOUR:
            self._stop(serial, f"the machine {serial} carries no switch", "add a host of flavour switch on it")
            return
        self._exists(host)
        about = f"{joined}bridge {bridge}, {network}"
        self.hops.append(Hop(kind="switch", site=site.name, name=host.name, about=about))

    def _cable(self, site: Site, one: str, other: str) -> None:
        self.hops.append(Hop(kind="cable", site=site.name, name=f"{one} - {other}", about=""))

    def _host(self, host: Host, nic: Interface | None) -> None:
        about = f"{host.enclave}; {_shown(nic)}" if nic is not None else f"{host.enclave}; {host.address}"
        self.hops.append(Hop(kind="host", site=host.site, name=host.name, about=about))

    def _stop(self, where: str, why: str, cure: str) -> None:
        stop = Stop(where=where, why=why, cure=cure)
        if stop not in self.stops:
            self.stops.append(stop)


def _name(nic: Interface | None) -> str:
    return nic.name if nic is not None else ""


def _shown(nic: Interface | None) -> str:
    """A NIC with its addresses, for people."""
    if nic is None:
        return "no NIC"
    return f"{nic.name} {' and '.join(str(address.ip) for address in nic.addresses)}".strip()
