"""From lost hosts to services: which placements are down or have less, and who needs them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pachon.blast.answer import Effect, Hit
from pachon.model.facility import Facility, Placement
from pachon.model.service import Service

Place = tuple[str, str]
"""Site and service."""


def spread_to_services(
    facility: Facility, services: Mapping[str, Service], *, lost: Mapping[str, str], down: Collection[Place]
) -> list[Hit]:
    """A hit for each service that is down or has less at a site; ``lost`` are hosts by name, with why."""
    state = _State(facility, services)
    for site, service in sorted(down):
        state.note((site, service), "down", "itself", "")
    members = _members(facility)
    for placed in facility.placements:
        hosts = members.get((placed.site, placed.enclave, placed.group), [])
        gone = [name for name in hosts if name in lost]
        if placed.group and gone:
            left = len(hosts) - len(gone)
            why = f"{left} of {len(hosts)} {placed.group} hosts of {placed.enclave} are left"
            state.note(
                (placed.site, placed.service), "degraded" if left else "down", why, f"{placed.site}/host/{gone[0]}"
            )
    state.settle()
    return list(state.hits())


def _members(facility: Facility) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for site in facility.sites:
        for host in site.active_hosts:
            for group in host.groups:
                found.setdefault((site.name, host.enclave, group), []).append(host.name)
    return found


@dataclass
class _State:
    facility: Facility
    services: Mapping[str, Service]
    known: dict[Place, tuple[Effect, str, str]] = field(default_factory=dict)

    def note(self, place: Place, effect: Effect, why: str, through: str) -> bool:
        """Whether that is news."""
        before = self.known.get(place)
        if before is not None and (before[0] == "down" or before[0] == effect):
            return False
        self.known[place] = (effect, why, through)
        return True

    def settle(self) -> None:
        """Go from service to who needs it until nothing is added."""
        places: dict[str, list[Placement]] = {}
        for placed in self.facility.placements:
            places.setdefault(placed.service, []).append(placed)
        moved = True
        while moved:
            moved = False
            for placed in self.facility.placements:
                for effect, why, through in self._suffers(placed, places):
                    moved |= self.note((placed.site, placed.service), effect, why, through)

    def _suffers(self, placed: Placement, places: Mapping[str, list[Placement]]) -> Iterator[tuple[Effect, str, str]]:
        service = self.services.get(placed.service)
        for need in () if service is None else service.needs:
            name = need.service
            of_it = sorted({each.site for each in places.get(name, ())})
            dead = [site for site in of_it if self.known.get((site, name), ("",))[0] == "down"]
            if not dead:
                continue
            if len(dead) == len(of_it):
                yield "down", f"needs {name}, which is down", f"{dead[0]}/service/{name}"
            elif placed.site in dead:
                others = ", ".join(site for site in of_it if site not in dead)
                yield "degraded", f"needs {name}, which is left at {others} only", f"{placed.site}/service/{name}"

    def hits(self) -> Iterator[Hit]:
        """What is known, as hits."""
        for (site, service), (effect, why, through) in sorted(self.known.items()):
            yield Hit(address=f"{site}/service/{service}", effect=effect, why=why, through=through)
