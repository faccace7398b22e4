"""How each strategy brings one place from the old release to the new one, as numbers and then as steps. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from pachon.errors import RefusedError
from pachon.model.rollout import BlueGreen, Canary, Pace, Place, Rolling, Strategy
from pachon.rollout.plan import Step


@dataclass(frozen=True)
class Stage:
    """What stands at a place, and who gets how much, once a stage is reached."""

    new: int
    old: int
    share_percent: int
    """Of the requests, to the new release."""


def stages(strategy: Strategy, pace: Pace, place: Place) -> tuple[Stage, ...]:
    """The stages of a place; the last one has no instance of the old release.

    Raises:
        RefusedError: there is no room for it, so that too few would serve.
    """
    count = len(place.instances)
    first = pace.first_share_percent
    match strategy:
        case BlueGreen():
            if place.room < count:
                raise _no_room(place, f"blue-green needs room for {count} more")
            found = [Stage(count, count, 0), Stage(count, count, first), Stage(count, count, 100)]
        case Canary():
            shares = [share for share in strategy.shares_percent if share > first]
            found = [_canary(place, share) for share in (first, *shares)]
        case Rolling():
            found = [_rolling(place, strategy.at_once, min(strategy.at_once, count), first)]
            counts = [*range(strategy.at_once, count, strategy.at_once), count]
            found += [_rolling(place, strategy.at_once, new, 100 * new // count) for new in counts]
    if found[-1].share_percent != 100:
        found.append(Stage(count, min(count, place.room), 100))
    if found[-1].old:
        found.append(Stage(count, 0, 100))
    _refuse_without_room(place, pace, found)
    return tuple(found)


def _canary(place: Place, share: int) -> Stage:
    count = len(place.instances)
    if share == 100:
        return Stage(count, min(count, place.room), 100)
    new = min(max(1, ceil(count * share / 100)), count + place.room - 1)
    return Stage(new, min(count, count + place.room - new), share)


def _rolling(place: Place, at_once: int, new: int, share: int) -> Stage:
    """With room the old ones go after the new ones have come, without it before."""
    count = len(place.instances)
    spare = min(at_once, place.room)
    return Stage(new, max(0, min(count, count - new + spare)), share)


def _refuse_without_room(place: Place, pace: Pace, found: Sequence[Stage]) -> None:
    new, old = 0, len(place.instances)
    for stage in found:
        if _stops_first(place, old, stage):
            old = stage.old
        if stage.share_percent < 100 and not old:
            raise _no_room(place, "its last instance would be stopped before another one serves")
        if new + old < pace.least_serving:
            raise _no_room(place, f"{new + old} would be left serving, and at least {pace.least_serving} have to")
        new, old = stage.new, stage.old


def _no_room(place: Place, why: str) -> RefusedError:
    count = len(place.instances)
    return RefusedError(
        f"{place.address} cannot be drained: {why} (it has {count} instance{'' if count == 1 else 's'} and room for "
        f"{place.room} more)",
        cure="give it another instance, let versions stand side by side (side_by_side), or take a smaller at_once",
    )


def _stops_first(place: Place, old: int, stage: Stage) -> bool:
    """Whether old instances have to go before the stage's new ones find room."""
    return stage.new + old > len(place.instances) + place.room


def steps(place: Place, found: Sequence[Stage], *, old: str, new: str, first_number: int) -> tuple[Step, ...]:
    """The steps that lead through the stages, numbered from there on."""
    drawn = [{"place": place.address, **each} for each in _drawn(place, found, old=old, new=new)]
    return tuple(Step.model_validate({"number": first_number + index, **each}) for index, each in enumerate(drawn))


def _drawn(place: Place, found: Sequence[Stage], *, old: str, new: str) -> Iterator[Mapping[str, object]]:
    names, count = place.instances, len(place.instances)
    started, left, share = 0, count, 0

    def weigh(percent: int) -> Iterator[Mapping[str, object]]:
        yield {"verb": "weigh", "shares_percent": {old: 100 - percent, new: percent}}
        yield {"verb": "watch"}

    for stage in found:
        going = names[count - left : count - stage.old]
        stop = {"verb": "stop", "version": old, "instances": going}
        stops_first = bool(going) and _stops_first(place, left, stage)
        if stops_first:
            if not stage.old and share < 100:
                yield from weigh(100)
                share = 100
            yield stop
        if coming := names[started : stage.new]:
            which = {"version": new, "instances": coming}
            yield {"verb": "start", **which}
            yield {"verb": "ready", **which, "smoke": True}
        if stage.share_percent != share or (coming and share):
            yield from weigh(stage.share_percent)
        if going and not stops_first:
            yield stop
        started, left, share = stage.new, stage.old, stage.share_percent
    yield {"verb": "prove"}
