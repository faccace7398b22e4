"""A site's landing page as people see it from outside; its Prometheus and front door as the control layer asks them."""

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pachon.drivers.front_door import FrontDoor, Server
from pachon.drivers.prometheus import Prometheus
from pachon.drivers.ssh import Credentials, connect
from pachon.drivers.ssh import Host as Connection
from pachon.model.facility import Host, Placement, Site
from tests.e2e.shipped import Copy

PATIENCE_SECONDS = 180.0
T = TypeVar("T")


def _member(site: Site, group: str) -> Host:
    return next(host for host in site.active_hosts if group in host.groups)


def placed(copy: Copy, site: Site) -> list[Placement]:
    """What stands at the site."""
    return [each for each in copy.facility.placements if each.site == site.name]


def page(copy: Copy, site: Site) -> str:
    """The page, from a front door's management address, where people outside the facility come in."""
    name = f"service-monitoring.{site.name}.{copy.facility.domain}"
    address = str(copy.machine(_member(site, "front_door")).management_address)
    trust = ssl.create_default_context(cafile=str(copy.rig.state / "pki" / site.name / "ca.crt"))
    link = http.client.HTTPConnection(name)
    link.sock = trust.wrap_socket(socket.create_connection((address, 443), 30), server_hostname=name)
    link.request("GET", "/")
    text = link.getresponse().read().decode()
    link.close()
    return text


def page_that_says(copy: Copy, site: Site, *, works: int) -> str:
    """The page once it says of so many services that they work, or the last one before patience ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (text := page(copy, site)).count(">works<") != works and time.monotonic() < end:
        time.sleep(1)
    return text


def becomes(copy: Copy, site: Site, query: str, wanted: list[float]) -> list[float]:
    """What the site's Prometheus answers once it is this, or last before patience ended: one scrape may be lost."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := values(copy, site, query)) != wanted and time.monotonic() < end:
        time.sleep(1)
    return found


def values(copy: Copy, site: Site, query: str) -> list[float]:
    """What the site's Prometheus answers."""
    host = _member(site, "metrics")

    async def ask(opened: Callable[[], Awaitable[Connection]]) -> list[float]:
        prometheus = Prometheus(host.name, opened, address=str(host.address))
        return [sample.value for sample in await prometheus.instant(query)]

    return _on(copy, host, ask)


def servers(copy: Copy, site: Site) -> tuple[Server, ...]:
    """Servers of the site's front door."""
    host = _member(site, "front_door")
    return _on(copy, host, lambda opened: FrontDoor(host.name, opened).servers())


def _on(copy: Copy, host: Host, ask: Callable[[Callable[[], Awaitable[Connection]]], Awaitable[T]]) -> T:
    """What came of asking over a connection to the host."""

    async def asked() -> T:
        address = str(copy.machine(host).management_address)
        connection = await connect(address, credentials=Credentials.of_state(copy.rig.state), alias=address)

        async def opened() -> Connection:
            return connection

        try:
            return await ask(opened)
        finally:
            await connection.close()

    return asyncio.run(asked())
