"""Whether a place may begin to change at a moment: in a window long enough, and with the Observatory's yes."""

from collections.abc import Iterator
from datetime import datetime

from pachon.model.rollout import Place
from pachon.rollout import windows
from pachon.rollout.plan import RolloutPlan
from pachon.rollout.planning import least_time
from pachon.rollout.words import Heard

Told = dict[str, str]
"""For the record."""


def waits_for(plan: RolloutPlan, place: Place, now: datetime, yes: Heard | None, *, rollout: str) -> tuple[str, Told]:
    """What it waits for, all of it, and what holds; ``yes`` is the Observatory's last word, if that was a yes."""
    waits, holds = list[str](), Told()
    for name, shut, told in (*_window(plan, place, now), *_word(plan, now, yes, rollout)):
        if shut:
            waits.append(told)
        else:
            holds[name] = told
    return "; and for ".join(waits), holds


def _window(plan: RolloutPlan, place: Place, now: datetime) -> Iterator[tuple[str, bool, str]]:
    if not plan.windows:
        return
    own = [step for step in plan.steps if step.place == place.address]
    needed = least_time(plan.pace.soak_seconds, own)
    found = windows.opening(plan.windows, plan.zones[place.site], now, needed=needed)
    if found is None:
        yield "window", True, f"a window for {place.address}: no window is ever long enough"
    elif found.open_at(now):
        closes, clocks = windows.clocks(found.closes, plan.zones), windows.clocks(now, plan.zones)
        yield "window", False, f"open until {closes}; it was {clocks}"
    else:
        opens = windows.clocks(found.opens, plan.zones)
        yield "window", True, f"a window for {place.address}: the next one opens {opens}"


def _word(plan: RolloutPlan, now: datetime, yes: Heard | None, rollout: str) -> Iterator[tuple[str, bool, str]]:
    if not plan.needs_word:
        return
    if yes is not None and (yes.saying.until is None or now < yes.saying.until):
        yield "word", False, f"yes, signed by {yes.by}: {yes.saying.why}"
        return
    over = " (the one that was given is over)" if yes is not None else ""
    cure = f"'pachon rollout say {rollout} yes --key KEY'"
    yield "word", True, f"the Observatory's yes{over}, as {plan.needs_word} asks: {cure}"
