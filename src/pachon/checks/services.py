"""Rules over the catalogue by itself: circles, needs that nothing can enforce, and what an entry still lacks. Pure.

A note's address is the folder of the service; its key is the field, with the place in a list where it is of one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pachon.checks.cycles import circles
from pachon.checks.notes import Note, near
from pachon.model.probes import endpoint_of
from pachon.model.service import Need, Service, ServiceState, Tier

RUNBOOK = ("Check", "Start", "Stop", "Restore", "Who")
"""Headings that a runbook has at least."""
FIRST_TIERS = frozenset({Tier.REAL_TIME, Tier.CRITICAL})


def catalogue(services: Mapping[str, Service]) -> list[Note]:
    """Everything about the entries together that no start could cope with."""
    found = [note for service in services.values() for note in _own(service, services)]
    return found + list(_circles(services))


def _own(service: Service, services: Mapping[str, Service]) -> Iterator[Note]:
    names = [item.name for item in service.endpoints]
    for index, probe in enumerate(service.probes):
        endpoint = endpoint_of(probe)
        if endpoint and endpoint not in names:
            cure = near(endpoint, names, otherwise=f"its endpoints are {', '.join(sorted(names)) or 'none'}")
            wrong = f"it has no endpoint {endpoint!r}"
            yield Note(service.name, wrong, cure, "probes", occurrence=index, missing=service.name)
        if probe.name in [other.name for other in service.probes[:index]]:
            wrong = f"the probe {probe.name!r} stands twice"
            yield Note(service.name, wrong, "give each a name of its own", "probes", occurrence=index)
    for index, need in enumerate(service.needs):
        yield from _need(service, need, index, services)


def _need(service: Service, need: Need, index: int, services: Mapping[str, Service]) -> Iterator[Note]:
    """Notes on one need: of what is not there, and of an edge that a start cannot wait for."""

    def note(wrong: str, cure: str) -> Note:
        return Note(service.name, wrong, cure, "needs", occurrence=index, missing=need.service)

    needed = services.get(need.service)
    if needed is None:
        cure = near(need.service, services, otherwise="add it to the catalogue")
        yield note(f"there is no service {need.service!r}", cure)
        return
    endpoints = [item.name for item in needed.endpoints]
    if need.endpoint and need.endpoint not in endpoints:
        cure = near(need.endpoint, endpoints, otherwise=f"its endpoints are {', '.join(sorted(endpoints)) or 'none'}")
        yield note(f"the service {needed.name} has no endpoint {need.endpoint!r}", cure)
    probes = [probe.name for probe in needed.probes]
    if need.contract and need.contract not in probes:
        cure = near(need.contract, probes, otherwise=f"its probes are {', '.join(sorted(probes)) or 'none'}")
        yield note(f"the service {needed.name} has no probe {need.contract!r}", cure)
    if service.state is not ServiceState.DEPLOYABLE:
        return
    if need.later and needed.state is ServiceState.DEPLOYABLE:
        yield note(f"{needed.name} is deployable, so that it need not wait for later", "leave 'later' out")
    if need.later:
        return
    if needed.state is ServiceState.DECLARED:
        wrong = f"it is deployable and needs {needed.name}, which is only declared: nothing can be waited for"
        yield note(wrong, f"make {needed.name} deployable first, or say 'later: true' if it does without until then")
    elif not need.contract:
        wrong = f"nothing says when {needed.name} is well enough: the need cannot be enforced"
        yield note(wrong, f"add contract: one of its probes {', '.join(probes) or '(it has none yet)'}")


def _circles(services: Mapping[str, Service]) -> Iterator[Note]:
    needs = {
        name: {need.service for need in service.needs if need.service in services} for name, service in services.items()
    }
    for members in circles(needs):
        first = min(range(len(members)), key=lambda place: members[place])
        turned = members[first:] + members[:first]
        after = turned[1] if len(turned) > 1 else turned[0]
        index = [need.service for need in services[turned[0]].needs].index(after)
        wrong = (
            f"services need each other in a circle, so that none can start first: {' -> '.join((*turned, turned[0]))}"
        )
        yield Note(turned[0], wrong, "take one of these needs out", "needs", occurrence=index)


@dataclass(frozen=True)
class _Field:
    """Something that an entry says, and how to tell that it does not."""

    key: str
    missing: Callable[[Service], bool]
    cure: str


_FIELDS = (
    _Field("hours", lambda each: each.hours is None, "say when it has to be there"),
    _Field("probes", lambda each: not each.probes, "say how it is told that it works"),
    _Field("objectives", lambda each: not each.objectives, "say what is promised"),
    _Field("recovery_time", lambda each: each.recovery_time is None, "say how long recovery may take"),
    _Field("recovery_point", lambda each: each.recovery_point is None, "say how much of the newest may be lost"),
    _Field("backup", lambda each: each.backup is None, "say how what it keeps survives, and how that is verified"),
    _Field("cold_start", lambda each: not each.cold_start, "write its steps"),
    _Field("cold_stop", lambda each: not each.cold_stop, "write its steps"),
    _Field("change", lambda each: each.change is None, "say who lets a change in, and when"),
    _Field("deployment", lambda each: each.deployment is None, "name its roles or its manifests"),
    _Field("proof", lambda each: not each.proof, "name the tests that show it working"),
)


def gaps(service: Service) -> list[Note]:
    """What an entry does not say yet: errors where it is deployable and of the first two tiers, else warnings."""
    found = [(field.key, f"{field.key} is not declared", field.cure, 0) for field in _FIELDS if field.missing(service)]
    for index, need in enumerate(service.needs):
        if not need.contract:
            cure = f"add contract: a probe of {need.service}"
            found.append(("needs", f"the need of {need.service} has no health contract", cure, index))
    if service.backup is not None and service.backup.verified is None:
        found.append(("backup", "its backup is not verified", "add verified: how it is known that it works", 0))
    absent = [heading for heading in RUNBOOK if heading not in service.runbook]
    if not service.runbook:
        cure = f"write runbook.md with the headings {', '.join(RUNBOOK)}"
        found.append(("runbook", "there is no runbook", cure, 0))
    elif absent:
        cure = f"write a part ## {absent[0]}"
        found.append(("runbook", f"its runbook has nothing under {', '.join(absent)}", cure, 0))
    must = service.state is ServiceState.DEPLOYABLE and service.tier in FIRST_TIERS
    return [
        Note(service.name, wrong, cure, key, occurrence=index, severity="error" if must else "warning")
        for key, wrong, cure, index in found
    ]
