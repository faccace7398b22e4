"""The way back of a rollout: from what it had begun, the steps that bring every place back to the old release. Pure.

Users come first: where instances of the old release still stand, they get all requests before anything else is done.
"""

from collections.abc import Collection, Iterator, Mapping

from pachon.model.rollout import Place
from pachon.rollout.plan import EFFECTS, RolloutPlan, Step


def way_back(plan: RolloutPlan, begun: Collection[int]) -> tuple[Step, ...]:
    """The steps back, given the numbers of the forward steps that were begun; what changed last comes first."""
    found: list[Step] = []
    for place in reversed(plan.places):
        own = [step for step in plan.steps if step.place == place.address and step.number in begun]
        if any(step.verb in EFFECTS for step in own):
            drawn = [{"place": place.address, **each} for each in _drawn(plan, place, own)]
            found += [
                Step.model_validate({"number": number, **each}) for number, each in enumerate(drawn, len(found) + 1)
            ]
    return tuple(found)


def _drawn(plan: RolloutPlan, place: Place, own: list[Step]) -> Iterator[Mapping[str, object]]:
    """Steps of one place; instances whose start or stop was begun may be there or not, and either is borne."""
    old, new = plan.old.version, plan.new.version
    came = {name for step in own if step.verb == "start" for name in step.instances}
    gone = {name for step in own if step.verb == "stop" for name in step.instances}
    started = [name for name in place.instances if name in came]
    stopped = [name for name in place.instances if name in gone]
    weigh = {"verb": "weigh", "shares_percent": {old: 100, new: 0}}
    if len(stopped) < len(place.instances):
        yield weigh
    if len(started) <= place.room:
        yield from _start(old, stopped)
    else:
        first = _first(plan, place, stopped)
        if first:  # nothing old serves: so many are exchanged while the others go on
            yield from _stop(new, [name for name in started if name in first])
            yield from _start(old, first)
            yield weigh
        rest = [name for name in stopped if name not in first]
        yield from _stop(new, [name for name in started if name not in first])
        yield from _start(old, rest)
        started = []
    if stopped:
        yield weigh
    yield from _stop(new, started)
    yield {"verb": "settle", "version": old}


def _first(plan: RolloutPlan, place: Place, stopped: list[str]) -> list[str]:
    """Where no old instance is left: those that are exchanged first, so that enough serve meanwhile."""
    if len(stopped) < len(place.instances):
        return []
    least = plan.pace.least_serving
    return stopped[: max(1, min(least, len(place.instances) - least))]


def _start(version: str, instances: list[str]) -> Iterator[Mapping[str, object]]:
    if instances:
        yield {"verb": "start", "version": version, "instances": tuple(instances)}
        yield {"verb": "ready", "version": version, "instances": tuple(instances)}


def _stop(version: str, instances: list[str]) -> Iterator[Mapping[str, object]]:
    if instances:
        yield {"verb": "stop", "version": version, "instances": tuple(instances)}
