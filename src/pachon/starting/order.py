"""In which order services start and stop, and which may start now: computed of what needs what. Pure.

Each service waits where it stands for those that it needs at its own site (in its own enclave first), or else for
those of other sites. Nobody starts before what it needs has passed; nobody stops before those who need it have.
"""

from collections.abc import Collection, Mapping

from pachon.checks.contracts import nearest
from pachon.checks.cycles import circle
from pachon.errors import UsageError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Placement
from pachon.model.service import Need, Service

Graph = Mapping[str, Collection[str]]
"""What each needs."""


class Wait(Frozen):
    """One service at one place that another one waits for: the one that it needs, or when stopping who needs it."""

    address: str
    service: str
    contract: str
    """The probe of what is needed that has to pass; empty where none is declared, and when stopping."""
    other_site: bool
    """Whether it stands at another site, so that a link has to carry too."""
    later: bool


class Start(Frozen):
    """A service at one place in the order."""

    address: str
    """``<site>/service/<service>/<enclave>``."""
    service: str
    site: str
    enclave: str
    wave: int
    """From 1; everything that it waits for is in earlier ones."""
    waits: tuple[Wait, ...]


class Order(Frozen):
    """The order of a facility's services: waves one after the other, in each all at once."""

    facility: str
    stopping: bool
    waves: tuple[tuple[Start, ...], ...]


def waves(needs: Graph) -> tuple[tuple[str, ...], ...]:
    """Names in the fewest waves, each as early as what it needs allows; in a wave by name.

    Raises:
        UsageError: some need each other in a circle.
    """
    left = {name: {need for need in wanted if need in needs} for name, wanted in needs.items()}
    needing: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in left.items():
        for need in wanted:
            needing[need].append(name)
    found: list[tuple[str, ...]] = []
    ready = sorted(name for name, wanted in left.items() if not wanted)
    while ready:
        found.append(tuple(ready))
        freed: list[str] = []
        for name in ready:
            for other in needing[name]:
                left[other].discard(name)
                if not left[other]:
                    freed.append(other)
        ready = sorted(freed)
    if sum(map(len, found)) < len(needs):
        members = circle(needs)
        raise UsageError(
            f"services need each other in a circle: {' -> '.join((*members, members[0]))}",
            cure="take one of these needs out",
        )
    return tuple(found)


def startable(needs: Graph, *, passed: Collection[str], begun: Collection[str]) -> tuple[str, ...]:
    """Who may start now: not begun, and all that it needs has passed its contract."""
    return tuple(sorted(name for name in needs if name not in begun and all(need in passed for need in needs[name])))


def stoppable(needs: Graph, *, stopped: Collection[str]) -> tuple[str, ...]:
    """Who may stop now: not stopped, and everybody who needs it has."""
    held = {need for name, wanted in needs.items() if name not in stopped for need in wanted}
    return tuple(sorted(name for name in needs if name not in stopped and name not in held))


def order(facility: Facility, services: Mapping[str, Service], *, stopping: bool = False) -> Order:
    """The order in which everything that is placed starts, or with ``stopping`` the other way round.

    Raises:
        UsageError: some need each other in a circle.
    """
    placed: dict[str, list[Placement]] = {}
    for placement in facility.placements:
        placed.setdefault(placement.service, []).append(placement)
    by_address = {address_of(placement): placement for placement in facility.placements}
    waits = {address: _waits(placement, services, placed) for address, placement in by_address.items()}
    if stopping:
        waits = _turned(waits, by_address)
    starts = tuple(
        tuple(_start(by_address[address], number, waits[address]) for address in wave)
        for number, wave in enumerate(
            waves({address: [wait.address for wait in wanted] for address, wanted in waits.items()}), start=1
        )
    )
    return Order(facility=facility.name, stopping=stopping, waves=starts)


def address_of(placement: Placement) -> str:
    """Address of a service at one place."""
    return f"{placement.site}/service/{placement.service}/{placement.enclave}"


def _waits(
    placement: Placement, services: Mapping[str, Service], placed: Mapping[str, list[Placement]]
) -> tuple[Wait, ...]:
    service = services.get(placement.service)
    found: list[Wait] = []
    for need in service.needs if service is not None else ():
        found += [_wait(placement, other, need) for other in nearest(placement, placed.get(need.service, ()))]
    return tuple(found)


def _wait(placement: Placement, other: Placement, need: Need) -> Wait:
    return Wait(
        address=address_of(other),
        service=other.service,
        contract=need.contract,
        other_site=other.site != placement.site,
        later=need.later,
    )


def _turned(waits: Mapping[str, tuple[Wait, ...]], placements: Mapping[str, Placement]) -> dict[str, tuple[Wait, ...]]:
    """What each has to wait for to stop: those who waited for it to start."""
    found: dict[str, list[Wait]] = {address: [] for address in waits}
    for address, wanted in waits.items():
        for wait in wanted:
            turned = {"address": address, "service": placements[address].service, "contract": ""}
            found[wait.address].append(wait.model_copy(update=turned))
    return {address: tuple(held) for address, held in found.items()}


def _start(placement: Placement, wave: int, waits: tuple[Wait, ...]) -> Start:
    return Start(
        address=address_of(placement),
        service=placement.service,
        site=placement.site,
        enclave=placement.enclave,
        wave=wave,
        waits=waits,
    )
