"""The contract of a resource family, and the one way of carrying any of them out: allowed, intended, receipted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from infra.provider.context import Context
from pachon.errors import PachonError, PermanentError
from pachon.model.base import Frozen
from pachon.model.hardware import Kind
from pachon.progress import Event

Properties = dict[str, Any]

SEEN = "seen"
"""Output that holds what was observed; all other outputs are the inputs."""


@dataclass(frozen=True)
class Found:
    """A resource as it stands in the world."""

    inputs: Properties
    """As they would have to be written to describe it."""
    seen: Properties


class Family(Protocol):
    """One kind of resource. Inputs arrive checked against ``model``; what is returned is what was seen."""

    @property
    def kind(self) -> Kind:
        """Its token."""

    @property
    def stage(self) -> str:
        """Stage its events belong to."""

    @property
    def model(self) -> type[Frozen]:
        """Type of its inputs."""

    async def create(self, context: Context, inputs: Properties) -> Properties:
        """Make it, or adopt what carries exactly its stamp."""

    async def read(self, context: Context, inputs: Properties) -> Found | None:
        """What stands there now under its stamp or an older one of its address; None if nothing does."""

    async def update(self, context: Context, old: Properties, new: Properties) -> Properties:
        """Change it in place."""

    async def delete(self, context: Context, inputs: Properties) -> None:
        """Remove it if it carries exactly this stamp; nothing if it is gone or another's."""


async def create(context: Context, family: Family, inputs: Properties) -> Properties:
    """State of the created or adopted resource."""

    async def work() -> Properties:
        return {**inputs, SEEN: await family.create(context, inputs)}

    return await _carry_out(context, family, "create", inputs, work)


async def update(context: Context, family: Family, old: Properties, new: Properties) -> Properties:
    """State of the changed resource."""

    async def work() -> Properties:
        return {**new, SEEN: await family.update(context, old, new)}

    return await _carry_out(context, family, "update", new, work)


async def delete(context: Context, family: Family, state: Properties) -> None:
    """Nothing; the resource is gone, or was."""
    inputs = {key: value for key, value in state.items() if key != SEEN}

    async def work() -> Properties:
        await family.delete(context, inputs)
        return {}

    await _carry_out(context, family, "delete", inputs, work)


async def _carry_out(
    context: Context, family: Family, verb: str, inputs: Properties, work: Callable[[], Awaitable[Properties]]
) -> Properties:
    address, generation = str(inputs["address"]), str(inputs["generation"])
    step = None
    context.tell(Event(stage=family.stage, address=address, state="started", message=verb))
    try:
        context.require_allowed(address, verb, generation)
        step = await context.journal.intend(address, verb, kind=family.kind.value, generation=generation, inputs=inputs)
        result = await work()
        await context.journal.finish(step, "done")
    except Exception as error:
        told = error if isinstance(error, PachonError) else _unexpected(address, error)
        context.tell(Event(stage=family.stage, address=address, state="failed", message=str(told)))
        context.tell_failure(address, told)
        if step is not None:
            await context.journal.finish(step, "failed", str(told))
        raise told from error
    context.tell(Event(stage=family.stage, address=address, state="done", message=verb))
    return result


def _unexpected(address: str, error: Exception) -> PermanentError:
    return PermanentError(
        f"{address}: {type(error).__name__}: {error}", cure="this is a fault of Pachon itself: report it with this line"
    )
