"""Deliberate faults, put into a child process only: the harness must find each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.provider.context import machine_at
from infra.provider.host import Hosts, stamp_of
from infra.provider.inputs import HostInputs
from pachon.layers import hosts as layer_of_hosts
from pachon.layers.following import Playing
from pachon.layers.hosts import SiteHosts
from pachon.store.receipts import prove


def adopt_by_tag() -> None:
    """A host is adopted because its machine carries its tag, though nobody has asked the host."""
    real = Hosts.create

    async def create(self: Hosts, context: Any, inputs: Any) -> Any:
        wanted = HostInputs.model_validate(inputs)
        seen = await context.world.inspect(machine_at(context, wanted))
        if seen.asset_tag == str(stamp_of(wanted)):
            return {"adopted": True, "asset_tag": seen.asset_tag, "on": True}
        return await real(self, context, inputs)

    Hosts.create = create  # type: ignore[method-assign]  # that is the fault


def image_anew() -> None:
    """A host that stands already is not adopted, but written anew."""

    async def adopt(self: Hosts, *given: Any, **named: Any) -> bool:
        return False

    Hosts._adopt = adopt  # type: ignore[method-assign]  # that is the fault


def tag_cleared_first() -> None:
    """A delete takes the stamp away before it switches the machine off: nobody comes back for it."""

    async def delete(self: Hosts, context: Any, inputs: Any) -> None:
        wanted = HostInputs.model_validate(inputs)
        machine = machine_at(context, wanted)
        seen = await context.world.inspect(machine)
        if seen.asset_tag == str(stamp_of(wanted)):
            await context.world.set_asset_tag(machine, "")
            await context.world.stop(machine)
            await context.world.revoke(machine)

    Hosts.delete = delete  # type: ignore[method-assign]  # that is the fault


def receipt_before_play() -> None:
    """Roles get their receipts before they are played, and nothing afterwards."""

    async def begin(self: SiteHosts, works: Any, lease: Any) -> None:
        prove(
            self.store,
            lease,
            {work.address: work.digest for work in works},
            documents={work.address: {"manifest": {"recorded": True}} for work in works},
        )

    async def nothing(self: Playing, good: Any) -> None:
        return

    SiteHosts._begin = begin  # type: ignore[method-assign]  # that is the fault
    Playing._put_down = nothing  # type: ignore[method-assign]  # that is the fault


def no_intents() -> None:
    """Plays begin without an intent, so handlers that were owed are forgotten."""

    async def begin(self: SiteHosts, works: Any, lease: Any) -> None:
        return

    SiteHosts._begin = begin  # type: ignore[method-assign]  # that is the fault


def no_intent_of_removals() -> None:
    """What a role left is removed without an intent, so that a unit which was to take notice is forgotten."""
    layer_of_hosts.begin = lambda *given: None  # type: ignore[attr-defined]  # that is the fault


@dataclass(frozen=True)
class Broken:
    """A deliberate fault, and a point at which it shows: the product as it is comes through there."""

    fault: Callable[[], None]
    point: str


VARIANTS: Mapping[str, Broken] = {
    "adopt-by-tag": Broken(adopt_by_tag, "make/here/host/filed-03/create/set-asset-tag/after-call"),
    "image-anew": Broken(image_anew, "make/here/stack/compute/state/before-write"),
    "no-intent-of-removals": Broken(no_intent_of_removals, "change/here/host/filed-02/sweep/loaded/before-effect"),
    "no-intents": Broken(no_intents, "make/here/host/filed-03/role/people/task-unit/after-effect"),
    "receipt-before-play": Broken(receipt_before_play, "make/here/host/filed-03/role/people/begin"),
    "tag-cleared-first": Broken(tag_cleared_first, "change/here/host/filed-04/delete/set-asset-tag/after-call"),
}
