"""What a rollout has begun at its places, from its plan and its record. Pure."""

from collections.abc import Sequence
from datetime import datetime

from pachon.model.rollout import Place
from pachon.model.rollout_record import StepRow, Way
from pachon.rollout.plan import EFFECTS, RolloutPlan, Step


def mixed_since(plan: RolloutPlan, taken: Sequence[StepRow], step: Step, *, way: Way) -> datetime | None:
    """Since when two versions stand at the step's place; None: only one does, or the rollout goes back anyway."""
    if way == "back":
        return None
    rows = {row.number: row for row in taken if row.way == "forward"}
    effects = [each.number for each in plan.steps if each.place == step.place and each.verb in EFFECTS]
    begun = [rows[number] for number in effects if number in rows]
    over = all(number in rows and rows[number].outcome == "done" for number in effects)
    return min((row.begun_at for row in begun), default=None) if not over else None


def is_first(taken: Sequence[StepRow], step: Step, *, way: Way) -> bool:
    """Whether with this step its place begins to change."""
    if way == "back" or step.verb not in EFFECTS:
        return False
    return not any(row.place == step.place and row.verb in EFFECTS for row in taken)


def started_at(plan: RolloutPlan, taken: Sequence[StepRow], place: Place) -> tuple[str, ...]:
    """Instances of the new release that were started at a place."""
    numbers = {row.number for row in taken if row.way == "forward"}
    own = [step for step in plan.steps if step.place == place.address and step.number in numbers]
    return tuple(name for step in own if step.verb == "start" for name in step.instances)
