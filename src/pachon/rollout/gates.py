"""Reads gates off the world: what holds, what fails, and what cannot be asked just now.

A query that has no answer says nothing of the release, whatever the reason: Prometheus is never what shuts a gate.
"""

import asyncio
import math
from collections.abc import Sequence

from pachon.errors import PachonError, TemporaryError
from pachon.model.rollout import Gate, HealthGate, Place, QueryGate, Release, SmokeGate
from pachon.rollout.judging import Reading
from pachon.rollout.plan import RolloutPlan
from pachon.rollout.world import World

FRONT_DOOR = ("",)
"""In place of instances: the service as its users reach it."""


async def read(
    world: World, plan: RolloutPlan, place: Place, gates: Sequence[Gate], *, version: str, instances: Sequence[str]
) -> tuple[Reading, ...]:
    """Each of the gates as it is now, for these instances of that version."""
    return tuple(await asyncio.gather(*(_read(world, plan, place, (gate, version, instances)) for gate in gates)))


async def _read(world: World, plan: RolloutPlan, place: Place, asked: tuple[Gate, str, Sequence[str]]) -> Reading:
    gate, version, instances = asked
    release = plan.release(version)
    try:
        match gate:
            case HealthGate():
                found = await world.health(place, release, instances, gate.probe)
                return Reading(gate.name, "holds" if found.passed else "fails", found.said)
            case SmokeGate():
                why = await _smoke(world, place, (release, instances), gate)
                return Reading(gate.name, "fails" if why else "holds", why or "the smoke test ends well")
            case QueryGate():
                return _compared(gate, await world.query(place, query_of(gate, place, version)))
    except TemporaryError as error:
        return Reading(gate.name, "unknown", error.message)
    except PachonError as error:
        return Reading(gate.name, "unknown" if isinstance(gate, QueryGate) else "fails", error.message)


async def _smoke(world: World, place: Place, asked: tuple[Release, Sequence[str]], gate: SmokeGate) -> str:
    """Why the smoke test fails with the first of the instances that it fails with; empty if with none."""
    release, instances = asked
    for instance in instances:
        found = await world.smoke(place, release, instance, gate.command)
        if not found.passed:
            where = f"{instance} of {release.version}" if instance else f"{place.address} ({release.version})"
            return f"the smoke test of {where} fails: {found.said}"
    return ""


def _compared(gate: QueryGate, value: float | None) -> Reading:
    if value is None:
        return Reading(gate.name, "unknown", "Prometheus has no value for it yet")
    if math.isnan(value):
        return Reading(gate.name, "unknown", "what Prometheus has for it is no number (nothing was divided by nothing)")
    told = f"{value:g}, to be {gate.threshold}"
    return Reading(gate.name, "holds" if gate.holds(value) else "fails", told, value)


def query_of(gate: QueryGate, place: Place, version: str) -> str:
    """The query with place and version put in; braces of PromQL stay as they are."""
    put = {"{site}": place.site, "{enclave}": place.enclave, "{service}": place.service, "{version}": version}
    query = gate.query
    for name, value in put.items():
        query = query.replace(name, value)
    return query


def shut(readings: Sequence[Reading]) -> str:
    """Why gates are shut; empty if none is."""
    return "; ".join(f"{each.gate}: {each.said}" for each in readings if each.state == "fails")


def unknown(readings: Sequence[Reading]) -> str:
    """What cannot be asked; empty if all could be."""
    return "; ".join(f"{each.gate}: {each.said}" for each in readings if each.state == "unknown")
